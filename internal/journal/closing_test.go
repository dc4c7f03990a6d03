package journal

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate"
)

// Closings that come while a commit is under way share an entry. Each of them
// closes its release: none is lost, none is there twice.
func TestClosingsShareEntries(t *testing.T) {
	q := newQueue(DefaultQueue, "acme")
	c := newClock("")
	const n = 3*maxCloses + 7
	want := map[isogate.EntryID]bool{}
	for range n {
		if _, _, err := q.put(context.Background(), item{tail: []byte("x")}); err != nil {
			t.Fatal(err)
		}
		id, _ := c.stamp(time.Now())
		want[id] = true
		if err := q.close(isogate.Closing{Of: id, Status: 200, DurationUS: 5}); err != nil {
			t.Fatal(err)
		}
	}
	g := q.take(nil)
	entries := 0
	for _, it := range g.items {
		if len(it.closes) == 0 {
			continue
		}
		entries++
		if body := append(appendHead(nil, "01ARZ3NDEKTSV4RRFFQ69G5FAV", 1, time.Now()), it.tail...); len(body) > maxEntry {
			t.Errorf("an entry of %d closings has %d bytes", len(it.closes), len(body))
		}
		e, err := decode(append(appendHead(nil, "01ARZ3NDEKTSV4RRFFQ69G5FAV", 1, time.Now()), it.tail...))
		if err != nil {
			t.Fatal(err)
		}
		if e.Tenant != "acme" || e.Kind != isogate.KindEgress || e.Stage != isogate.StageClosed {
			t.Errorf("entry %+v", e)
		}
		for _, c := range e.Closes {
			if !want[c.Of] || c.Status != 200 || c.DurationUS != 5 {
				t.Errorf("closing %+v", c)
			}
			delete(want, c.Of)
		}
	}
	if len(want) > 0 || entries != 4 {
		t.Errorf("%d closings are lost; there are %d entries", len(want), entries)
	}
	q.end()
	q.stop()
	if err := q.close(isogate.Closing{Of: "x"}); err == nil {
		t.Error("a stopped queue took a closing")
	}
}

// An auditor sees which releases were closed by a shared entry, in every export.
func TestSharedClosingsAreExported(t *testing.T) {
	conformance(t, func(t *testing.T, fresh func(testing.TB) site) { sharedClosings(t, fresh(t)) })
}

func sharedClosings(t *testing.T, at site) {
	key := newKey(t, "isogate/acme")
	j, _ := open(t, at.config(key))
	var ids []isogate.EntryID
	for range 3 {
		e := &isogate.Entry{Kind: isogate.KindEgress, Stage: isogate.StageOpened, Decision: "released"}
		if err := j.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, e.ID)
	}
	for _, id := range ids[:2] {
		if err := j.AppendClosing(isogate.Closing{Of: id, Status: 201, DurationUS: 7000}); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.AppendClosing(isogate.Closing{Status: 200}); err == nil {
		t.Error("a closing of nothing was taken")
	}
	// What is queued before another entry is durable with it.
	if err := j.Append(t.Context(), &isogate.Entry{Kind: isogate.KindAdmin, Act: "flush"}); err != nil {
		t.Fatal(err)
	}
	sealedAll(t, j)
	var out bytes.Buffer
	if err := j.Export(t.Context(), &out, Range{}); err != nil {
		t.Fatal(err)
	}
	report, err := VerifyExport(&out, j.cfg.Verifier)
	if err != nil || len(report.Unclosed) != 1 || report.Unclosed[0] != ids[2] {
		t.Errorf("%+v, %v; want one unclosed: %s", report, err, ids[2])
	}
	var events, rows strings.Builder
	if err := j.ExportOCSF(t.Context(), &events, Filter{Stage: isogate.StageClosed}); err != nil {
		t.Fatal(err)
	}
	if err := j.ExportCSV(t.Context(), &rows, Filter{Stage: isogate.StageClosed}); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids[:2] {
		if strings.Count(events.String(), `"correlation_uid":"`+string(id)+`"`) != 1 || !strings.Contains(rows.String(), string(id)+" 201") {
			t.Errorf("%s is not in the exports:\n%s\n%s", id, events.String(), rows.String())
		}
	}
}

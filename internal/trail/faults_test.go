package trail

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/journal"
)

// tamper changes the journal's database behind its back.
func (h *history) tamper(query string, args ...any) {
	h.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(h.dir, "journal", "journal.db")+"?_pragma=busy_timeout(5000)")
	if err != nil {
		h.t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(query, args...); err != nil {
		h.t.Fatal(err)
	}
}

func (h *history) grow(n int) {
	for range n {
		h.act()
	}
}

// Attack: whoever can write the journal's database takes entries out and garbles others.
// This test verifies that the trail says how many and from where on, shows a garbled one as what cannot
// be read, counts nothing for it, and answers for all others as before.
func TestAttackJournalChanged(t *testing.T) {
	h := newHistory(t, 11)
	h.grow(120)
	all := h.all()
	var rows []isogate.Entry
	for _, e := range all {
		if e.Kind == isogate.KindEgress && e.Stage == isogate.StageRefused {
			rows = append(rows, e)
		}
	}
	gone, garbled := rows[1].Seq, rows[3].Seq
	h.tamper(`DELETE FROM entry WHERE seq = ?`, gone)
	h.tamper(`UPDATE entry SET body = CAST(replace(CAST(body AS TEXT), '"kind"', 'kind') AS BLOB) WHERE seq = ?`, garbled)
	tr := begun(t, Config{Dir: filepath.Join(h.dir, "trail"), Journal: h.j, Logger: quiet(t)}, narrow)
	caughtUp(t, tr)
	for range 2 { // and the same after a restart
		s := tr.Standing()
		if s.Missing != 1 || s.Unreadable != 1 || s.First != min(gone, garbled) || !s.Current() {
			t.Errorf("stands %+v, with entry %d missing and %d garbled", s, gone, garbled)
		}
		c, err := tr.Count(t.Context(), Query{Decision: "refused"})
		if err != nil || c.Refused != uint64(len(rows)-2) {
			t.Errorf("%d refused, want %d: %v", c.Refused, len(rows)-2, err)
		}
		at := garbled
		page, err := tr.List(t.Context(), Query{}, Paging{From: &at, Limit: 1})
		if err != nil || len(page.Rows) != 1 || !page.Rows[0].Unreadable || page.Rows[0].Entry.Seq != garbled || page.Rows[0].Entry.Kind != "" {
			t.Errorf("the garbled entry is shown as %+v: %v", page.Rows, err)
		}
		tr = begun(t, Config{Dir: filepath.Join(h.dir, "trail"), Journal: h.j, Logger: quiet(t)}, narrow)
		caughtUp(t, tr)
	}
	// What was read before it was changed is shown as what it is now.
	h.tamper(`UPDATE entry SET body = x'00' WHERE seq = ?`, rows[0].Seq)
	page, err := tr.List(t.Context(), Query{}, Paging{From: &rows[0].Seq, Limit: 1})
	if err != nil || len(page.Rows) != 1 || !page.Rows[0].Unreadable {
		t.Errorf("an entry that was garbled after it was read is shown as %+v: %v", page.Rows, err)
	}
}

// Fault: the journal is put back to an older state and goes on from there. This test
// verifies that the trail notices, once, and is built again.
func TestJournalPutBack(t *testing.T) {
	h := newHistory(t, 12)
	h.grow(200)
	log := newLoud()
	cfg := Config{Dir: filepath.Join(h.dir, "trail"), Journal: h.j, Logger: slog.New(log)}
	for _, c := range []struct {
		name  string
		query string
	}{
		{"shorter", `DELETE FROM entry WHERE seq > 100`},
		{"another entry", `UPDATE entry SET body = CAST(replace(CAST(body AS TEXT), '{"id":"01M', '{"id":"01K') AS BLOB) WHERE seq = (SELECT max(seq) FROM entry)`},
	} {
		tr := begun(t, cfg, narrow)
		caughtUp(t, tr)
		before := len(log.all())
		h.tamper(c.query)
		if current, err := tr.step(t.Context()); current || err != nil {
			t.Fatalf("%s: current %v, %v", c.name, current, err)
		}
		if _, err := tr.Count(t.Context(), Query{}); !errors.Is(err, ErrBehind) {
			t.Errorf("%s: a count of what is thrown away: %v", c.name, err)
		}
		caughtUp(t, tr)
		if said := log.all()[before:]; len(said) != 1 || !strings.Contains(said[0], "put back") {
			t.Errorf("%s: it says %q", c.name, said)
		}
		rows, _ := naiveFold(h.all())
		got, err := tr.Count(t.Context(), Query{})
		if want := naiveCount(rows, Query{}); err != nil || got != want {
			t.Errorf("%s: %+v, want %+v: %v", c.name, got, want, err)
		}
	}
}

// What is in the trail's directory and is not this journal's trail is thrown away, and the
// trail is built again; what is said about it is said once.
func TestWhatIsNoTrailOfThisJournal(t *testing.T) {
	h := newHistory(t, 13)
	h.grow(100)
	rows, _ := naiveFold(h.all())
	file := func(dir string) string { return filepath.Join(dir, fileName) }
	change := func(t *testing.T, dir, query string) {
		db, err := sql.Open("sqlite", "file:"+file(dir))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Exec(query); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		make func(t *testing.T, dir string)
		want string
	}{
		{"another tenant", func(t *testing.T, dir string) { change(t, dir, `UPDATE position SET tenant = 'umbrella'`) }, `tenant "umbrella"`},
		{"another format", func(t *testing.T, dir string) { change(t, dir, `PRAGMA user_version = 99`) }, "format 99"},
		{"another program's", func(t *testing.T, dir string) { change(t, dir, `PRAGMA application_id = 7`) }, "it is of format"},
		{"garbage", func(t *testing.T, dir string) {
			if err := os.WriteFile(file(dir), bytes.Repeat([]byte("x"), 50_000), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "not a database"},
		{"a shape gone", func(t *testing.T, dir string) {
			change(t, dir, `DELETE FROM shape WHERE no = (SELECT max(no) FROM shape)`)
		}, "damaged"},
		{"a block gone", func(t *testing.T, dir string) { change(t, dir, `DELETE FROM block WHERE no = 1`) }, "damaged"},
		{"ahead of the journal", func(t *testing.T, dir string) { change(t, dir, `UPDATE position SET next = next + 1000`) }, "put back"},
		{"nothing wrong", func(*testing.T, string) {}, ""},
		{"deleted", func(t *testing.T, dir string) {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			log := newLoud()
			cfg := Config{Dir: dir, Journal: h.j, Logger: slog.New(log)}
			tr, err := open(t.Context(), cfg, narrow)
			if err != nil {
				t.Fatal(err)
			}
			caughtUp(t, tr)
			if err := tr.Close(); err != nil {
				t.Fatal(err)
			}
			c.make(t, dir)
			tr = begun(t, cfg, narrow)
			caughtUp(t, tr)
			got, err := tr.Count(t.Context(), Query{})
			if want := naiveCount(rows, Query{}); err != nil || got != want {
				t.Errorf("%+v, want %+v: %v", got, want, err)
			}
			switch said := log.all(); {
			case c.want == "" && len(said) > 0:
				t.Errorf("it says %q", said)
			case c.want != "" && (len(said) != 1 || !strings.Contains(said[0], c.want)):
				t.Errorf("it says %q, want it to say %q once", said, c.want)
			}
		})
	}
}

// Fault: the trail cannot be written. This test verifies that to open it is no error,
// since nothing that lets anything out may depend on it, that it says why, and that Run
// goes on once it can.
func TestTheTrailCannotBeWritten(t *testing.T) {
	h := newHistory(t, 14)
	h.grow(50)
	dir := filepath.Join(h.dir, "trail")
	if err := os.WriteFile(dir, []byte("in the way"), 0o600); err != nil {
		t.Fatal(err)
	}
	tr, err := Open(t.Context(), Config{Dir: dir, Journal: h.j, Every: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	run(t, tr)
	if s := tr.Standing(); s.Fault == nil || s.Current() || s.Behind.IsZero() {
		t.Errorf("stands %+v", s)
	}
	if _, err := tr.List(t.Context(), Query{}, Paging{}); !errors.Is(err, ErrBehind) {
		t.Errorf("a list without a trail: %v", err)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	current(t, tr)
	rows, _ := naiveFold(h.all())
	if c, err := tr.Count(t.Context(), Query{}); err != nil || c != naiveCount(rows, Query{}) {
		t.Errorf("%+v, %v", c, err)
	}
}

// run runs a trail until the test ends.
func run(t testing.TB, tr *Trail) {
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- tr.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	})
}

// current waits until a trail that runs has everything.
func current(t testing.TB, tr *Trail) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if tr.Standing().Current() {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("it does not catch up: %+v", tr.Standing())
		}
	}
}

// failing is a journal that cannot be read at times.
type failing struct {
	Journal
	down bool
}

var errDown = errors.New("the journal is down")

func (f *failing) Bodies(ctx context.Context, from uint64, limit int, do func(uint64, []byte) error) (next, of uint64, err error) {
	if f.down {
		return 0, 0, errDown
	}
	return f.Journal.Bodies(ctx, from, limit, do)
}

// Fault: the journal cannot be read for a while. The trail says so and since when, answers what it knew, and goes on.
func TestJournalOutOfReach(t *testing.T) {
	h := newHistory(t, 15)
	h.grow(60)
	f := &failing{Journal: h.j}
	tr := begun(t, Config{Dir: filepath.Join(h.dir, "trail"), Journal: f, Logger: quiet(t)}, narrow)
	caughtUp(t, tr)
	was, err := tr.Count(t.Context(), Query{})
	if err != nil {
		t.Fatal(err)
	}
	f.down = true
	h.grow(20)
	if _, err := tr.step(t.Context()); !errors.Is(err, errDown) {
		t.Fatal(err)
	}
	if s := tr.Standing(); !errors.Is(s.Fault, errDown) || s.Current() || s.Behind.IsZero() || s.Rebuilding {
		t.Errorf("stands %+v", s)
	}
	if c, err := tr.Count(t.Context(), Query{}); err != nil || c != was {
		t.Errorf("%+v, want what it knew, %+v: %v", c, was, err)
	}
	f.down = false
	_, more := tr.Watch()
	caughtUp(t, tr)
	select {
	case <-more:
	default:
		t.Error("nobody who watches is told")
	}
	if s := tr.Standing(); s.Fault != nil || !s.Behind.IsZero() {
		t.Errorf("stands %+v", s)
	}
}

// Pages ask while the trail is read: each answer is of some moment, and no two contradict
// each other.
func TestAskedWhileItRuns(t *testing.T) {
	h := newHistory(t, 16)
	tr, err := open(t.Context(), Config{Dir: filepath.Join(h.dir, "trail"), Journal: h.j, Every: time.Millisecond, Share: 1, Logger: quiet(t)}, narrow)
	if err != nil {
		t.Fatal(err)
	}
	run(t, tr)
	h.grow(1)
	current(t, tr)
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		var was uint64
		for was < 300 {
			c, err := tr.Count(t.Context(), Query{})
			if err != nil || c.Rows < was {
				t.Errorf("%d rows after %d: %v", c.Rows, was, err)
				return
			}
			was = c.Rows
			page, err := tr.List(t.Context(), Query{}, Paging{Limit: 30})
			if err != nil || len(page.Rows) < min(30, int(was)) {
				t.Errorf("%d rows of %d: %v", len(page.Rows), was, err)
				return
			}
			groups, err := tr.Tally(t.Context(), Query{}, ByDay)
			if err != nil {
				t.Error(err)
				return
			}
			n := uint64(0)
			for _, g := range groups {
				n += g.Rows
			}
			if n < was {
				t.Errorf("%d rows by day after %d", n, was)
				return
			}
		}
	}()
	for range 500 {
		h.act()
		select {
		case <-asked:
		default:
		}
	}
	<-asked
	current(t, tr)
	if t.Failed() {
		return
	}
	for next, _ := tr.Watch(); next < uint64(len(h.all())); next, _ = tr.Watch() {
		current(t, tr)
	}
	same(t, h, tr)
}

// The trail holds nothing that it needs not: no reason, detail or digest of an entry is in its files.
//
// promise: P22
func TestAttackTheTrailKeepsNoMore(t *testing.T) {
	h := newHistory(t, 17)
	const canary = "canary5a81"
	for range 50 {
		h.append(&isogate.Entry{Kind: isogate.KindConsent, Act: "granted", Actor: "ada", Reason: canary + "-reason", Detail: map[string]string{canary + "-key": canary + "-detail"}})
		h.append(&isogate.Entry{Kind: isogate.KindEgress, Stage: isogate.StageRefused, Decision: "refused", Reason: canary + "-reason", DigestIn: canary + "-in", DigestOut: canary + "-out",
			Seals: []isogate.SealUse{{Key: canary + "-seal", Request: 1, Handling: "persisted"}}})
	}
	dir := filepath.Join(h.dir, "trail")
	tr, err := open(t.Context(), Config{Dir: dir, Journal: h.j}, narrow)
	if err != nil {
		t.Fatal(err)
	}
	caughtUp(t, tr)
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	found := false
	for _, f := range files {
		src, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(src, []byte(canary)) {
			t.Errorf("%s has what only the journal should have", f.Name())
		}
		found = found || bytes.Contains(src, []byte("granted"))
		if info, err := f.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s may be read by others: %v %v", f.Name(), info.Mode(), err)
		}
	}
	if !found {
		t.Error("the act is not in the files: the test looks at nothing")
	}
}

// What is asked wrongly is an error that says so.
func TestAskedWrongly(t *testing.T) {
	h := newHistory(t, 18)
	h.grow(30)
	tr := begun(t, Config{Dir: filepath.Join(h.dir, "trail"), Journal: h.j}, narrow)
	if _, err := tr.Count(t.Context(), Query{}); !errors.Is(err, ErrBehind) {
		t.Errorf("asked before it was built: %v", err)
	}
	caughtUp(t, tr)
	for _, after := range []string{"x", "o", "n", "o-1", "o1x", "n99999999999999999999", "12"} {
		if _, err := tr.List(t.Context(), Query{}, Paging{After: after}); err == nil || !strings.Contains(err.Error(), "no cursor") {
			t.Errorf("cursor %q: %v", after, err)
		}
	}
	if _, err := tr.Tally(t.Context(), Query{}, By(99)); err == nil {
		t.Error("a tally by nothing")
	}
	if _, err := tr.Get(t.Context(), "01ARZ3NDEKTSV4RRFFQ69G5FAV"); !errors.Is(err, journal.ErrNotFound) {
		t.Errorf("an entry that is not there: %v", err)
	}
	if _, err := Open(t.Context(), Config{}); err == nil {
		t.Error("opened without anything")
	}
	for _, e := range h.all() {
		r, err := tr.Get(t.Context(), e.ID)
		if err != nil || r.Entry.ID != e.ID {
			t.Errorf("entry %d is got as %+v: %v", e.Seq, r, err)
		}
	}
}

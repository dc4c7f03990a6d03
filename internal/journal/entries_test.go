package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/isogate/isogate"
)

func TestEntries(t *testing.T) {
	conformance(t, func(t *testing.T, fresh func(testing.TB) site) { ofFilter(t, fresh(t)) })
}

func ofFilter(t *testing.T, at site) {
	j, _ := open(t, at.config(newKey(t, "isogate/acme")))
	const n = 2*scanPage + 7
	for i := range n {
		e := &isogate.Entry{Kind: isogate.KindEgress, Stage: isogate.StageOpened, Purpose: "support", Pack: "sha256:1", Fields: []isogate.Field{{Path: "a", Label: "personal.name"}}}
		if i%3 == 0 {
			e = &isogate.Entry{Kind: isogate.KindConsent, Act: "granted", Actor: "ada", Consent: "01Q"}
		}
		if err := j.AppendLater(e); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the entries", func() bool { c, err := j.count(t.Context()); return err == nil && c == n })
	for _, c := range []struct {
		name string
		f    Filter
		want int
	}{
		{"newest", Filter{Newest: true}, n}, {"limited", Filter{Limit: scanPage + 3}, scanPage + 3}, {"limited to a page", Filter{Limit: scanPage}, scanPage},
		{"kind", Filter{Kind: isogate.KindConsent}, n / 3}, {"purpose", Filter{Purpose: "support"}, n - n/3}, {"pack", Filter{Pack: "sha256:1"}, n - n/3},
		{"label", Filter{Label: "personal.name"}, n - n/3}, {"consent", Filter{Consent: "01Q"}, n / 3}, {"actor and act", Filter{Actor: "ada", Act: "granted"}, n / 3},
		{"none", Filter{Label: "personal"}, 0}, {"no remote", Filter{Remote: "x"}, 0},
		{"all", Filter{}, n},
	} {
		var seqs []uint64
		for e, err := range j.Entries(t.Context(), c.f) {
			if err != nil {
				t.Fatal(c.name, err)
			}
			if len(seqs) == 0 && c.name == "all" { // what comes meanwhile is not among them
				if err := j.Append(t.Context(), egress(1)); err != nil {
					t.Fatal(err)
				}
			}
			seqs = append(seqs, e.Seq)
		}
		if c.f.Newest {
			slices.Reverse(seqs)
		}
		if len(seqs) != c.want || !slices.IsSorted(seqs) || len(slices.Compact(slices.Clone(seqs))) != c.want {
			t.Errorf("%s: %d entries, want %d in their order, each once", c.name, len(seqs), c.want)
		}
	}
	for range j.Entries(t.Context(), Filter{}) {
		break // and nothing is left open
	}
	var b bytes.Buffer
	if err := WriteJSONL(&b, j.Entries(t.Context(), Filter{Limit: 3})); err != nil || strings.Count(b.String(), "\n") != 3 {
		t.Fatalf("%q %v", b.String(), err)
	}
	var first isogate.Entry
	if err := json.Unmarshal(b.Bytes()[:bytes.IndexByte(b.Bytes(), '\n')], &first); err != nil || first.Act != "granted" {
		t.Errorf("%+v %v", first, err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	var failed error
	for _, err := range j.Entries(gone, Filter{}) {
		failed = errors.Join(failed, err)
	}
	if failed == nil {
		t.Error("whoever has gone gets entries")
	}
}

package trail

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/isogate/isogate"
)

// small has so little room for names and sets of fields that all of it is used up, and tiny
// for shapes too.
var (
	small = bounds{rows: 20, lines: 256, names: 3, refused: 2, fields: 1 << 17, sets: 4, shapes: 1000}
	tiny  = bounds{rows: 20, lines: 256, names: 3, refused: 2, fields: 1 << 17, sets: 4, shapes: 30}
)

// narrow has blocks of few rows, whose digests do not tell all consents apart, and room for the rest.
var narrow = bounds{rows: 20, lines: 3, names: 4096, refused: 512, fields: 1 << 17, sets: 2048, shapes: 1 << 15}

// Whatever happened, in whatever order, and however often the gateway was stopped or killed
// while the trail was read: what the trail answers is what a reading of the whole journal gives.
//
// promise: P21
func TestTheTrailIsTheJournal(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			h := newHistory(t, seed)
			cfg := Config{Dir: filepath.Join(h.dir, "trail"), Journal: h.j, Logger: quiet(t)}
			tr := begun(t, cfg, narrow)
			for range 8 {
				for range 30 + h.r.IntN(150) {
					h.act()
					switch h.r.IntN(12) {
					case 0:
						stepped(t, tr)
					case 1: // killed: what is in memory is lost
						tr = begun(t, cfg, narrow)
					}
				}
				caughtUp(t, tr)
				same(t, h, tr)
			}
		})
	}
}

// begun opens a trail. Nobody closes the one before it, as nobody does who is killed.
func begun(t testing.TB, cfg Config, b bounds) *Trail {
	t.Helper()
	tr, err := open(t.Context(), cfg, b)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tr.Close() })
	return tr
}

func stepped(t testing.TB, tr *Trail) (current bool) {
	t.Helper()
	current, err := tr.step(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return current
}

func caughtUp(t testing.TB, tr *Trail) {
	t.Helper()
	for !stepped(t, tr) {
	}
	if s := tr.Standing(); !s.Current() {
		t.Fatalf("caught up, and stands %+v", s)
	}
}

// same compares every kind of answer, by queries at random.
func same(t *testing.T, h *history, tr *Trail) {
	t.Helper()
	rows, stray := naiveFold(h.all())
	if s := tr.Standing(); s.Stray != stray || s.Missing+s.Unreadable != 0 {
		t.Errorf("stands %+v, want %d ends of nothing", s, stray)
	}
	for i := range 60 {
		q := h.query()
		if i == 0 {
			q = Query{}
		}
		ask(t, h.r, tr, rows, q)
		if t.Failed() {
			return
		}
	}
	lastUsed(t, tr, rows, h.grants)
}

// lastUsed compares when each consent was last used.
func lastUsed(t *testing.T, tr *Trail, rows []*naiveRow, consents []isogate.EntryID) {
	t.Helper()
	got, err := tr.LastUses(t.Context(), append(slices.Clone(consents), "01ARZ3NDEKTSV4RRFFQ69G5FAV", ""))
	if err != nil {
		t.Fatal(err)
	}
	want := map[isogate.EntryID]time.Time{}
	for _, c := range consents {
		if n := naiveCount(rows, Query{Consent: c, Kind: isogate.KindEgress, Decision: "released"}); n.Rows > 0 {
			want[c] = n.Last
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("last uses:\n got %v\nwant %v", got, want)
	}
}

// Somebody inside makes as many different entries as they like, by the hosts that they
// ask for, their methods and the fields that they send. This test verifies that the
// trail keeps its bounds, that what it answers is exact all the same where it can be, and that where it
// cannot, in a search for text, it says how much it may have missed.
func TestAttackMoreShapesThanFit(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			h := newHistory(t, seed)
			h.wild = true
			cfg := Config{Dir: filepath.Join(h.dir, "trail"), Journal: h.j, Logger: quiet(t)}
			room := small
			if seed%2 == 1 {
				room = tiny
			}
			tr := begun(t, cfg, room)
			missed := false
			for range 5 {
				for range 100 {
					if h.act(); h.r.IntN(60) == 0 {
						tr = begun(t, cfg, room)
					}
				}
				caughtUp(t, tr)
				rows, _ := naiveFold(h.all())
				for range 60 {
					q := h.query()
					if q.Text == "" && seed%2 == 0 {
						exact(t, h.r, tr, rows, q)
						continue
					}
					c, err := tr.Count(t.Context(), q)
					if want := naiveCount(rows, q).Rows; err != nil || want < c.Rows || want > c.Rows+c.Unlisted {
						t.Fatalf("count of %+v: %d, and %d unlisted, want %d: %v", q, c.Rows, c.Unlisted, want, err)
					}
					missed = missed || c.Unlisted > 0
				}
			}
			if !missed {
				t.Error("nothing was lost: the test asks for too little")
			}
			d := tr.dict
			for m, known := range d.names {
				if len(known) > small.names && dim(m) != dKind {
					t.Errorf("%d names of member %d", len(known), m)
				}
			}
			wide := 0
			for _, s := range d.shapes {
				if s.wide {
					wide++
				}
			}
			if len(d.vain) > room.refused || len(d.shapes) > 2*room.shapes+40 || wide == 0 {
				t.Errorf("%d hosts in vain, %d shapes, %d of them wide", len(d.vain), len(d.shapes), wide)
			}
		})
	}
}

// exact compares what needs no name that may be lost.
func exact(t *testing.T, r *rand.Rand, tr *Trail, rows []*naiveRow, q Query) {
	t.Helper()
	c, err := tr.Count(t.Context(), q)
	if want := naiveCount(rows, q); err != nil || c != want {
		t.Fatalf("count of %+v (%v):\n got %+v\nwant %+v", q, err, c, want)
	}
	by := []By{pick(r, ByHour, ByDay, ByKind, ByDecision, ByConsent), pick(r, ByFamily, ByLabel, ByPath, ByAction, ByHandling, ByRule)}
	groups, err := tr.Tally(t.Context(), q, by...)
	if want := naiveTally(rows, q, by...); err != nil || len(groups)+len(want) > 0 && !reflect.DeepEqual(groups, want) {
		t.Fatalf("tally by %v of %+v (%v):\n got %+v\nwant %+v", by, q, err, groups, want)
	}
	listed(t, r, tr, rows, q)
	used(t, tr, rows, q)
}

func ask(t *testing.T, r *rand.Rand, tr *Trail, rows []*naiveRow, q Query) {
	t.Helper()
	fail := func(what string, got, want any) {
		t.Helper()
		t.Fatalf("%s of %+v:\n got %+v\nwant %+v", what, q, got, want)
	}
	c, err := tr.Count(t.Context(), q)
	if want := naiveCount(rows, q); err != nil || c != want {
		fail(fmt.Sprintf("count (%v)", err), c, want)
	}
	by := []By{pick(r, bys...)}
	for r.IntN(3) == 0 {
		by = append(by, pick(r, bys...))
	}
	groups, err := tr.Tally(t.Context(), q, by...)
	if want := naiveTally(rows, q, by...); err != nil || len(groups)+len(want) > 0 && !reflect.DeepEqual(groups, want) {
		fail(fmt.Sprintf("tally by %v (%v)", by, err), groups, want)
	}
	listed(t, r, tr, rows, q)
	used(t, tr, rows, q)
	f, err := tr.Facets(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	less := q
	less.Transit = ""
	if want := naiveFacets(naiveTally(rows, less, ByTransit)); !reflect.DeepEqual(f.Transit, want) {
		fail("facets of transit", f.Transit, want)
	}
	less = q
	less.Label = ""
	if want := naiveFacets(naiveTally(rows, less, ByLabel)); !reflect.DeepEqual(f.Label, want) {
		fail("facets of label", f.Label, want)
	}
	less = q
	less.Destination = ""
	if want := naiveFacets(naiveTally(rows, less, ByRemote)); !reflect.DeepEqual(f.Remote, want) {
		fail("facets of remote", f.Remote, want)
	}
}

func naiveFacets(groups []Group) (all []Facet) {
	for _, g := range groups {
		if g.Key[0] != "" {
			all = append(all, Facet{g.Key[0], g.Rows})
		}
	}
	slices.SortStableFunc(all, func(a, b Facet) int { return int(b.Rows) - int(a.Rows) })
	return all
}

func used(t *testing.T, tr *Trail, rows []*naiveRow, q Query) {
	t.Helper()
	u, err := tr.Usage(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	if q.Decision == "refused" {
		if u.Rows != 0 {
			t.Errorf("usage of what was refused: %+v", u)
		}
		return
	}
	if q.Kind != "" && q.Kind != isogate.KindEgress {
		if u.Rows != 0 {
			t.Errorf("usage of what is no release: %+v", u)
		}
		return
	}
	q.Decision, q.Kind = "released", isogate.KindEgress
	if want := naiveCount(rows, q); u.Count != want {
		t.Errorf("usage of %+v:\n got %+v\nwant %+v", q, u.Count, want)
	}
	groups := naiveTally(rows, q, ByLabel, ByAction)
	if len(groups) != len(u.Labels) {
		t.Errorf("usage of %+v has %d labels, want %d", q, len(u.Labels), len(groups))
		return
	}
	for _, l := range u.Labels {
		i := slices.IndexFunc(groups, func(g Group) bool { return g.Key[0] == string(l.Label) && g.Key[1] == l.Action.String() })
		if i < 0 || l.Rows != groups[i].Rows || l.Values != groups[i].Values[l.Action] || l.First != groups[i].First || l.Last != groups[i].Last {
			t.Errorf("usage of %+v: label %+v", q, l)
		}
	}
}

// listed compares lists, page by page, in both directions.
func listed(t *testing.T, r *rand.Rand, tr *Trail, rows []*naiveRow, q Query) {
	t.Helper()
	var want []*naiveRow
	for _, n := range rows {
		if n.selected(&q) {
			want = append(want, n)
		}
	}
	p := Paging{Limit: 1 + r.IntN(40)}
	if r.IntN(3) == 0 {
		from := uint64(r.IntN(len(rows) + 5))
		p.From = &from
		want = slices.DeleteFunc(want, func(n *naiveRow) bool { return n.e.Seq < from })
	} else {
		slices.Reverse(want)
	}
	for {
		page, err := tr.List(t.Context(), q, p)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Rows) > p.Limit || len(page.Rows) > len(want) {
			t.Fatalf("list of %+v: a page of %d, limit %d, with %d left", q, len(page.Rows), p.Limit, len(want))
		}
		for i := range page.Rows {
			if why := differs(&page.Rows[i], want[i]); why != "" {
				t.Fatalf("list of %+v, %+v: row %d: %s", q, p, i, why)
			}
		}
		want = want[len(page.Rows):]
		if page.Next == "" || p.From != nil && len(page.Rows) < p.Limit {
			break
		}
		p.After = page.Next
	}
	if len(want) > 0 {
		t.Fatalf("list of %+v, %+v ends before entry %d", q, p, want[0].e.Seq)
	}
}

func differs(got *Row, want *naiveRow) string {
	if !reflect.DeepEqual(got.Entry, want.e) {
		return fmt.Sprintf("got %+v, want %+v", got.Entry, want.e)
	}
	if got.Open() != want.open() || (got.End == nil) != (want.end == nil) {
		return fmt.Sprintf("end %+v, want %+v", got.End, want.end)
	}
	if e := got.End; e != nil {
		reason := ""
		if want.end.Of == want.e.ID {
			reason = want.end.Reason
		}
		if e.Seq != want.end.Seq || e.Status != want.status || e.Took.Microseconds() != want.took || e.Reason != reason {
			return fmt.Sprintf("end %+v, want %+v", e, want.end)
		}
	}
	return ""
}

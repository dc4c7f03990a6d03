package hub

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/isogate/isogate/internal/consent"
)

// waits are the requests that can still be answered, the oldest first; those that
// somebody put off come last.
func waits(s *consent.State, at time.Time) []Waiting {
	out := []Waiting{}
	for _, st := range s.Parties() {
		for _, r := range st.Requests {
			if r.Waits(at) {
				out = append(out, Waiting{ID: r.ID, Party: r.Party, Rows: len(r.Rows), Since: r.Opened.UTC(), Ends: r.Ends.UTC(), Status: r.Status.String(), Second: len(r.Approvals) > 0})
			}
		}
	}
	slices.SortFunc(out, func(a, b Waiting) int {
		return cmp.Or(strings.Compare(b.Status, a.Status), a.Since.Compare(b.Since), strings.Compare(string(a.ID), string(b.ID)))
	})
	return out
}

// waiting is how many requests wait that nobody has put off.
func waiting(s *consent.State, at time.Time) (n int) {
	for _, st := range s.Parties() {
		for _, r := range st.Requests {
			if r.Status == consent.Open && r.Waits(at) {
				n++
			}
		}
	}
	return n
}

// ending is what lets data out and is over soon, what is over first before the rest.
// Rules that are over stand in it until the pack drops them: somebody may count on them.
func (h *Hub) ending(s *consent.State, now time.Time) []Ending {
	out := []Ending{}
	before := now.Add(endsSoon)
	if h.running != nil {
		out = append(out, h.running.Ends(before)...)
	}
	for _, st := range s.Parties() {
		for _, g := range st.Grants {
			if g.InForce(now) && !g.Terms.Until.IsZero() && g.Terms.Until.Before(before) {
				out = append(out, Ending{What: KindGrant, Party: string(g.Party), ID: g.ID, At: g.Terms.Until.UTC()})
			}
		}
	}
	for i := range out {
		out[i].Over = !now.Before(out[i].At)
	}
	slices.SortStableFunc(out, func(a, b Ending) int { return a.At.Compare(b.At) })
	return out
}

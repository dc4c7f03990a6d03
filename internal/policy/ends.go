package policy

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/isogate/isogate"
)

// End is a rule, or a tunnel, that is over one day.
type End struct {
	Transit isogate.Transit
	// Tunnel says that it is a tunnel, over which everything passes; Label is then "".
	Tunnel  bool
	Label   string // the pattern, as the rule has it
	As      isogate.Action
	Because string
	Owner   string
	Rule    string    // file:line
	LastDay string    // the last day on which it is in force, as the pack has it
	At      time.Time // the first instant at which it is over
}

// Ends are all rules and tunnels of the plan that have an end date, those that end
// first before the others. Those that are over are among them.
//
// promise: P09
func (p *Plan) Ends() []End {
	var out []End
	add := func(t *Transit, r *rule, tunnel bool) {
		if !r.end.IsZero() {
			out = append(out, End{Transit: t.Name, Tunnel: tunnel, Label: r.text, As: r.as, Because: r.because, Owner: r.owner, Rule: r.at.rule(), LastDay: r.lastDay(), At: r.end})
		}
	}
	for _, t := range p.transits {
		for i := range t.rules {
			add(t, &t.rules[i], false)
		}
		if t.tunnel != nil {
			add(t, t.tunnel, true)
		}
	}
	slices.SortStableFunc(out, func(a, b End) int {
		return cmp.Or(a.At.Compare(b.At), strings.Compare(string(a.Transit), string(b.Transit)), strings.Compare(a.Rule, b.Rule))
	})
	return out
}

package policy

import (
	"slices"
	"time"

	"github.com/isogate/isogate"
)

// Release is one rule of a transit, for people.
type Release struct {
	Label isogate.LabelPattern `json:"label"` // a pattern; ** of a tunnel
	RuleReason
	Ends *time.Time `json:"ends,omitempty"` // the first instant at which it is over; nil if it has no end
	// Plain says that people outside see of the value: it is an exemption.
	Plain bool `json:"plain"`
	// Enforced says how a landing keeps the handling; "" where it is declared only.
	Enforced string `json:"enforced,omitempty"`
	// Carried are the labels of the transit's fields that it selects.
	Carried []isogate.Label `json:"carried"`
}

// Releases are the transit's rules at an instant, the loosest first; of a tunnel, what it
// amounts to.
func (t *Transit) Releases(at time.Time) []Release {
	rules := t.rules
	if t.Mode == Tunnel {
		rules = []rule{*t.tunnel}
	}
	m := allGuards(at)
	out := make([]Release, 0, len(rules))
	labels := t.labels()
	for i := range rules {
		r := &rules[i]
		one := Release{Label: r.label, RuleReason: t.explainRule(r, m), Plain: plaintext(r.as), Carried: []isogate.Label{}}
		if !r.end.IsZero() {
			end := r.end
			one.Ends = &end
		}
		if t.Mode != Tunnel {
			v := r.verdict("")
			one.Enforced = t.enforced(enforce(v, true, t.landed()))
		}
		for _, l := range labels {
			if r.label.Match(l) {
				one.Carried = append(one.Carried, l)
			}
		}
		out = append(out, one)
	}
	slices.SortStableFunc(out, func(a, b Release) int { return int(b.As) - int(a.As) })
	return out
}

// Sample is a request of the pack's own tests, which are made up.
type Sample struct {
	Name    string // what the test shows
	At      string // file:line
	Request Request
}

// Samples are the requests of the pack's tests that go over a transit.
func (p *Pack) Samples(t *Transit) (out []Sample) {
	for _, c := range p.cases {
		if way, err := p.plan.wayOf(c); err == nil && way == t {
			out = append(out, Sample{c.name, c.at.rule(), c.request})
		}
	}
	return out
}

package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/isogate/isogate"
)

// invariant is one line of never.yaml: what may never leave, whatever the rules say.
type invariant struct {
	label       isogate.LabelPattern
	as          []isogate.Action
	purpose     isogate.Purpose     // NoPurpose is every purpose
	destination isogate.Destination // "" is every destination
	source      isogate.Source      // "" is every source
	labels      []isogate.Label     // that label selects
	at          position
}

// Invariant is one line of never.yaml, for people: what may never leave, and who
// wrote it down. A plan is not made unless all of them hold.
type Invariant struct {
	Never   string `json:"never"` // label personal.** as allow, for observability, to any destination
	Because string `json:"because,omitempty"`
	At      string `json:"at"` // file:line
}

// Invariants are the lines of the pack's never.yaml, in their order.
func (p *Plan) Invariants() []Invariant { return slices.Clone(p.invariants) }

// text is the invariant in words; two that forbid the same have one.
func (inv *invariant) text() string {
	actions := slices.Clone(inv.as)
	slices.Sort(actions)
	words := textsOf(slices.Compact(actions), isogate.Action.String)
	s := fmt.Sprintf("%s as %s", inv.label, strings.Join(words, ", "))
	if inv.purpose != isogate.NoPurpose {
		s += " for " + inv.purpose.String()
	}
	if inv.destination != "" {
		s += " to " + string(inv.destination)
	}
	if inv.source != "" {
		s += " from " + string(inv.source)
	}
	return s
}

// readNever reads never.yaml and checks every invariant against every transit.
func (r *reader) readNever(root *node, plan *Plan) {
	for _, n := range r.items(root, "never.yaml") {
		o, ok := r.object(n, "an item of never.yaml", "never", "because")
		if !ok {
			continue
		}
		because, _ := r.optional(o, "because")
		if inv, ok := r.readInvariant(n, o.need("never", "write never: {label: personal.**, as: allow}")); ok {
			r.hold(inv, plan.transits)
			plan.invariants = append(plan.invariants, Invariant{inv.text(), because, inv.at.rule()})
		}
	}
}

func (r *reader) readInvariant(item, n *node) (invariant, bool) {
	before := r.n
	inv := invariant{at: item.at}
	o, ok := r.object(n, "never", "label", "as", "purpose", "destination", "source")
	if !ok {
		return inv, false
	}
	r.readInvariantLabel(o, &inv)
	r.readInvariantActions(o, &inv)
	if n := o.get("purpose"); n != nil {
		if s, ok := r.text(n, "purpose"); ok && s != "*" {
			var err error
			if inv.purpose, err = isogate.ParsePurpose(s); err != nil {
				r.add(n.at, "unknown purpose %q; %s", s, didYouMean(s, purposeWords()))
			}
		}
	}
	if n := o.get("destination"); n != nil {
		if s, ok := r.text(n, "destination"); ok && s != "*" {
			inv.destination = isogate.Destination(s)
			r.destination(n, s)
		}
	}
	if n := o.get("source"); n != nil {
		if s, ok := r.text(n, "source"); ok && s != "*" {
			s, _ = r.name(n, "source", true)
			inv.source = isogate.Source(s)
		}
	}
	return inv, r.n == before
}

func (r *reader) readInvariantLabel(o object, inv *invariant) {
	n := o.need("label", "say which labels: personal.**")
	s, ok := r.text(n, "label")
	if !ok {
		return
	}
	p, err := isogate.ParseLabelPattern(s)
	if err != nil {
		r.add(n.at, "%v; write a label such as personal.contact.email, or a pattern such as personal.**", err)
		return
	}
	exact, isExact := p.Exact()
	switch inv.label, inv.labels = p, r.taxonomy.Match(p); {
	case isExact && exact.Reserved():
		inv.labels = []isogate.Label{exact} // no rule releases it, but a tunnel does
	case isExact:
		r.checkLabel(n, exact)
	case len(inv.labels) == 0 && r.known("taxonomy"):
		r.add(n.at, "the pattern %q selects no label of the taxonomy; check its segments", s)
	}
}

func (r *reader) readInvariantActions(o object, inv *invariant) {
	n := o.need("as", "say what may never happen: allow, or a list such as [allow, mask, generalise]")
	if n == nil {
		return
	}
	items := []*node{n}
	if n.shape == list {
		items = r.items(n, "as")
	}
	for _, item := range items {
		s, ok := r.text(item, "as")
		if !ok {
			continue
		}
		a, err := isogate.ParseAction(s)
		if err != nil {
			r.add(item.at, "unknown action %q; %s", s, didYouMean(s, actionWords))
			continue
		}
		inv.as = append(inv.as, a)
	}
}

// forbids reports whether the invariant forbids what the rules say or what a
// landing makes of it, and names the one. A landing that seals what is allowed is
// no leave to allow it: whoever forbade it did not mean that people outside may
// see the value for a while, nor that it depends on a line in destinations.yaml.
// A rule that means to seal says so.
func (inv *invariant) forbids(ruled, enforced isogate.Action) (isogate.Action, bool) {
	if slices.Contains(inv.as, enforced) {
		return enforced, true
	}
	return ruled, slices.Contains(inv.as, ruled)
}

// hold checks an invariant by going through every transit it covers and every
// label it selects. Guards count as possibly true and possibly false, and rules
// with an end date as in force and as ended, so that the answer holds at any
// time and for any request. Whichever rules are in force, the verdict on a label
// is one of two: all of them say one thing as soon as any is in force (see judge).
//
// promise: P39
func (r *reader) hold(inv invariant, transits []*Transit) {
	for _, t := range transits {
		if !r.covers(&inv, t) {
			continue
		}
		if t.Mode == Tunnel {
			r.holdTunnel(inv, t)
			continue
		}
		carried := append(t.labels(), isogate.Unclassified) // what nobody names may stand anywhere
		byRule := map[string][]isogate.Label{}              // what each rule lets out
		for _, l := range inv.labels {
			base := t.taxonomy.Treatment(l)
			for _, m := range []moment{t.moment(0, ^uint32(0)), {}} {
				v := judge(base, t.rules, m)
				action, forbidden := inv.forbids(v.Action, t.settle([]isogate.Verdict{v}).Action)
				if forbidden && (v.Rule != "" || slices.Contains(carried, l)) {
					key := action.String() + " " + v.Rule
					if known := byRule[key]; len(known) == 0 || known[len(known)-1] != l {
						byRule[key] = append(known, l)
					}
				}
			}
		}
		for _, key := range sortedKeys(byRule) {
			action, rule, _ := strings.Cut(key, " ")
			by := "by the rule at " + rule
			next := "change the rule"
			if rule == "" {
				by, next = "by the label's default treatment", "add a rule to the transit that is stricter, or label the field otherwise"
			}
			r.add(inv.at, "the transit %s treats %s with %s %s, which this line forbids; %s, or change this line", t.Name, severally(byRule[key]), action, by, next)
		}
	}
}

// holdTunnel checks an invariant against a tunnel, which lets every label out as
// it is, those that nobody has judged among them, for the far side to keep.
func (r *reader) holdTunnel(inv invariant, t *Transit) {
	if !slices.Contains(inv.as, t.tunnel.as) || len(inv.labels) == 0 {
		return
	}
	r.add(inv.at, "the transit %s lets %s pass unread, as %s and %s, by the tunnel at %s, which this line forbids; let the transit inspect, or change this line",
		t.Name, severally(inv.labels), t.tunnel.as, t.tunnel.handling, t.tunnel.at.rule())
}

// severally is the first of some labels, and how many more there are.
func severally(labels []isogate.Label) string {
	if len(labels) == 1 {
		return string(labels[0])
	}
	return fmt.Sprintf("%s (and %d more labels)", labels[0], len(labels)-1)
}

// covers reports whether the invariant is about a transit.
func (r *reader) covers(inv *invariant, t *Transit) bool {
	return (inv.purpose == isogate.NoPurpose || inv.purpose == t.Purpose) &&
		(inv.destination == "" || r.reaches(t, inv.destination)) &&
		(inv.source == "" || slices.Contains(t.Sources, inv.source))
}

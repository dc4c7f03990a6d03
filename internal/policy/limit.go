package policy

import (
	"errors"
	"slices"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/payload"
	"github.com/isogate/isogate/internal/taxonomy"
)

// Limit is what a consent was given for, where that is less than the pack would
// let out. The zero value withholds all end-user data and all storage.
type Limit struct {
	// Labels is what rules may release; nil is every label, an empty list none.
	Labels []isogate.LabelPattern
	// Persist says that the far side may keep what it gets, for a time or for good.
	Persist bool
	// EndUserData says that data of the tenant's users may go; see
	// [taxonomy.Taxonomy.EndUser].
	EndUserData bool
}

// errNarrowTunnel is why a tunnel does not pass with a consent for a part of it.
var errNarrowTunnel = errors.New("the consent is limited, and of a tunnel no part can be withheld; grant the tunnel whole, or let the transit inspect")

// Everything reports whether the limit withholds nothing. A tunnel may be used
// with no other: nobody reads what passes there, so nothing of it can be withheld.
func (l Limit) Everything() bool { return l.Labels == nil && l.Persist && l.EndUserData }

// Equal reports whether two limits say the same in the same words.
func (l Limit) Equal(m Limit) bool {
	return l.Persist == m.Persist && l.EndUserData == m.EndUserData && (l.Labels == nil) == (m.Labels == nil) && slices.Equal(l.Labels, m.Labels)
}

// withholds reports whether rules may not release a label.
func (l Limit) withholds(label isogate.Label, tax *taxonomy.Taxonomy) bool {
	if l.Labels != nil && !slices.ContainsFunc(l.Labels, func(p isogate.LabelPattern) bool { return p.Match(label) }) {
		return true
	}
	return !l.EndUserData && tax.EndUser(label)
}

// narrow is the verdict on a value with some labels, no looser than v: where a
// label is withheld, or what may be kept must not be, the label's default
// treatment holds, unless v is stricter than that already. A rule's handling stays
// asked for as long as some label of the value is granted, or the rule decides.
func (l Limit) narrow(v isogate.Verdict, labels []isogate.Label, tax *taxonomy.Taxonomy, landing bool) isogate.Verdict {
	out := v
	kept := !l.Persist && v.Handling != isogate.TransitOnly
	granted := false
	for _, label := range labels {
		switch {
		case label.Reserved(): // out of reach of rules, and so of what narrows them
		case kept || l.withholds(label, tax):
			out = out.Strictest(tax.Treatment(label))
		default:
			granted = true
		}
	}
	if kept {
		out.Handling, out.TTL = isogate.TransitOnly, 0 // a rule may be stricter than the default, and let that be kept
	}
	return enforce(out, out.Rule != "" || granted && bound(v), landing)
}

// narrowed is one table that Narrow has made.
type narrowed struct {
	from  *Rules
	limit Limit
	rules *Rules
}

// maxNarrowed is how many tables a transit remembers. There is one for each way
// in which an administrator limited a grant, times the stretches between the end
// dates of rules, of which one or two are current.
const maxNarrowed = 128

// Narrow is what a request is judged by when the consent for it is limited: the
// verdicts of r, one of this transit's, each as strict or stricter. A label that
// the limit does not select gets its default treatment, which for what the
// makers of the product wrote may be plaintext; so does end-user data unless it
// was granted, and what the far side would keep unless that was.
//
// The same rules and limit give the same pointer while the transit remembers it;
// then it is a look-up that allocates nothing. The patterns of a limit are
// compared one by one, so that no key has to be made of them.
//
// promise: P14
func (t *Transit) Narrow(r *Rules, l Limit) *Rules {
	if l.Everything() {
		return r
	}
	for {
		known := t.narrowed.Load()
		if known != nil {
			for i := range *known {
				if n := &(*known)[i]; n.from == r && n.limit.Equal(l) {
					return n.rules
				}
			}
		}
		l.Labels = slices.Clone(l.Labels) // the caller may change its own
		more := []narrowed{{from: r, limit: l, rules: t.narrow(r, l)}}
		if known != nil {
			more = append(more, (*known)[:min(len(*known), maxNarrowed-1)]...)
		}
		if t.narrowed.CompareAndSwap(known, &more) { // otherwise another request was faster, maybe with the same
			return more[0].rules
		}
	}
}

func (t *Transit) narrow(r *Rules, l Limit) *Rules {
	verdicts := func(from []isogate.Verdict, sets [][]isogate.Label) []isogate.Verdict {
		out := make([]isogate.Verdict, len(from))
		for i, v := range from {
			out[i] = l.narrow(v, sets[i], t.taxonomy, t.landed())
		}
		return out
	}
	out := *r
	if r.Body.Tree != nil {
		out.Body.Verdicts = verdicts(r.Body.Verdicts, r.Body.Tree.Sets())
	}
	for _, part := range []*payload.NameRules{&out.Query, &out.Path, &out.Headers, &out.Cookies, &out.Trailers} {
		part.Verdicts = verdicts(part.Verdicts, part.Names.Sets())
	}
	out.sum()
	return &out
}

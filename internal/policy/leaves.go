package policy

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/isogate/isogate"
)

// Leaf is how values whose treatment one label decides leave over a transit.
type Leaf struct {
	Label isogate.Label `json:"label"`
	Answer
	Because string `json:"because,omitempty"` // the rule's reason; "" where the label's default treatment decides
}

// Leaves is every treatment that values get over the transit at an instant, under
// the limit of a consent: what somebody who consents should know before. Guards are
// taken to hold, so that it is the most that leaves. The loosest come first. Of a
// tunnel, over which everything passes, there are none.
func (t *Transit) Leaves(at time.Time, l Limit) []Leaf {
	if t.Mode == Tunnel {
		return nil
	}
	rules := t.Narrow(t.table(t.stretch(at), 1<<len(t.guards)-1), l)
	var all []Leaf
	add := func(verdicts []isogate.Verdict) {
		for _, v := range verdicts {
			leaf := Leaf{Label: v.Label, Answer: t.answer(v), Because: t.Because(v.Rule)}
			if !slices.Contains(all, leaf) {
				all = append(all, leaf)
			}
		}
	}
	if rules.Body.Tree != nil {
		add(rules.Body.Verdicts)
	}
	add(rules.Query.Verdicts)
	add(rules.Path.Verdicts)
	add(rules.Headers.Verdicts)
	add(rules.Cookies.Verdicts)
	add(rules.Trailers.Verdicts)
	slices.SortFunc(all, func(a, b Leaf) int {
		return cmp.Or(cmp.Compare(b.Action, a.Action), cmp.Compare(a.Label, b.Label), cmp.Compare(a.Answer.String(), b.Answer.String()), cmp.Compare(a.Rule, b.Rule))
	})
	return all
}

// largestSample is the largest body of a test that is shown as a sample, in bytes.
const largestSample = 2 << 10

// Sample is the largest body of the pack's own tests of a transit that is let out,
// and what leaves of it under the limit of a consent. The replacements are made
// with keys that are the same everywhere and guard nothing.
func (p *Pack) Sample(t *Transit, at time.Time, l Limit) (before, after string, ok bool) {
	if t.Mode == Tunnel {
		return "", "", false
	}
	rep, err := p.plan.Obfuscator("test", t.Destination.Name, ThrowawayKeys([]byte(seedOfTests)))
	if err != nil {
		return "", "", false
	}
	for _, c := range p.cases {
		req := c.request
		if len(req.Body) > largestSample || c.expect.refused != nil {
			continue
		}
		if way, err := p.plan.wayOf(c); err != nil || way != t {
			continue
		}
		req.Time, req.Grant = at, &l
		out, err := t.Preview(req, rep)
		if err != nil || !utf8.Valid(req.Body) || !utf8.Valid(out.Body) {
			continue
		}
		if in := oneLine(req.Body); len(in) > len(before) {
			before, after, ok = in, oneLine(out.Body), true
		}
	}
	return before, after, ok
}

// oneLine is a JSON text without white space; another text as it is.
func oneLine(b []byte) string {
	var out bytes.Buffer
	if json.Compact(&out, b) != nil {
		return string(b)
	}
	return out.String()
}

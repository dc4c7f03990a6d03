package policy

import (
	"slices"
	"strings"
	"time"

	"github.com/isogate/isogate"
)

// testCase is one case of tests/*.yaml: a request, and what must leave of it.
//
//	test: a session carries the e-mail address and nothing else
//	transit: support-session
//	at: 2026-11-02T12:00:00Z            # without it, the present
//	method: POST                        # without it, that of the transit's first pattern
//	path: /v1/sessions                  # without it, path and query are not judged
//	query: tab=open
//	headers: {X-Request-Id: "7"}        # cookies and trailers alike
//	source: product/help-desk         # without it, the transit's first
//	input: '{"user": {"email": "ada@example.com"}}'   # or a structure, or file: bodies/a.json
//	expect:
//	  output: {user: {email: ada@example.com}}        # a text is compared byte by byte
//	  path: /v1/sessions
//	  query: {tab: $any}
//	  headers: {X-Request-Id: "7"}
//	  verdicts: {user.email: {action: allow, label: personal.contact.email, handling: persisted}}
//	  refused: duplicate                # instead of all these: a part of the reason
//
// In a structure, a text of $token, $hash, $redacted or $any stands for a value
// of that kind, and the key $name for every member whose name was replaced.
type testCase struct {
	name    string
	at      position
	transit *Transit
	when    time.Time // zero is the present
	request Request
	expect  expectation
}

// expectation is what a case says must come out. What is nil is not compared.
type expectation struct {
	at       position
	output   *node
	path     *node
	query    *node
	headers  *node
	cookies  *node
	trailers *node
	verdicts *node
	refused  *node
}

// readCases reads one file below tests/: a case, or a list of them.
func (r *reader) readCases(root *node, p *Pack) []*testCase {
	items := []*node{root}
	if root.shape == list {
		items = r.items(root, "a file of tests")
	}
	var cases []*testCase
	for _, n := range items {
		if c := r.readCase(n, p); c != nil {
			cases = append(cases, c)
		}
	}
	return cases
}

func (r *reader) readCase(n *node, p *Pack) *testCase {
	before := r.n
	o, ok := r.object(n, "a test case", "test", "transit", "at", "source", "method", "path", "query", "headers", "cookies", "trailers",
		"content_type", "input", "file", "expect")
	if !ok {
		return nil
	}
	c := &testCase{at: n.at}
	c.name, _ = r.text(o.need("test", "say in a few words what the case shows"), "test")
	r.readCaseTransit(o, c)
	if at := o.get("at"); at != nil {
		if s, ok := r.text(at, "at"); ok {
			var err error
			if c.when, err = time.Parse(time.RFC3339, s); err != nil {
				r.add(at.at, "at is %q, which is not an instant; write it as 2026-11-02T12:00:00Z", s)
			}
		}
	}
	source, _ := r.optional(o, "source")
	c.request.Source = isogate.Source(source)
	c.request.Method, _ = r.optional(o, "method")
	c.request.Path, _ = r.optional(o, "path")
	c.request.Query, _ = r.optional(o, "query")
	c.request.ContentType, _ = r.optional(o, "content_type")
	c.request.Headers = r.named(o.get("headers"), "headers")
	c.request.Cookies = r.named(o.get("cookies"), "cookies")
	c.request.Trailers = r.named(o.get("trailers"), "trailers")
	r.readInput(o, c, p)
	r.readExpect(o.need("expect", "say what must leave: output, verdicts, or refused"), c)
	if r.n > before {
		return nil
	}
	return c
}

func (r *reader) readCaseTransit(o object, c *testCase) {
	n := o.need("transit", "name the transit that the request goes over")
	s, ok := r.text(n, "transit")
	if !ok {
		return
	}
	c.transit = r.transits[isogate.Transit(s)]
	if c.transit == nil && r.known("transits") {
		r.add(n.at, "unknown transit %q; %s", s, didYouMean(s, sortedKeys(r.transits)))
	}
}

// named reads headers, cookies or trailers.
func (r *reader) named(n *node, what string) []Named {
	if n == nil {
		return nil
	}
	if n.shape != mapping {
		r.add(n.at, "%s is %s; write a mapping from names to values", what, n.shape)
		return nil
	}
	var out []Named
	for _, p := range n.pairs {
		if p.value.shape != scalar {
			r.add(p.value.at, "%s.%s is %s; write a single value", what, p.key.text, p.value.shape)
			continue
		}
		out = append(out, Named{p.key.text, p.value.text})
	}
	return out
}

func (r *reader) readInput(o object, c *testCase, p *Pack) {
	in, file := o.get("input"), o.get("file")
	switch {
	case in != nil && file != nil:
		r.add(file.at, "the case has input and file; keep one")
	case file != nil:
		s, ok := r.text(file, "file")
		if !ok {
			return
		}
		body, ok := p.files["tests/"+s]
		if !ok {
			r.add(file.at, "there is no file tests/%s; put the body there, under a name that does not end in .yaml", s)
		}
		c.request.Body = body
	case in == nil:
	case in.shape == scalar:
		c.request.Body = []byte(in.text)
	default:
		c.request.Body = in.appendJSON(nil)
	}
}

func (r *reader) readExpect(n *node, c *testCase) {
	keys := []string{"output", "path", "query", "headers", "cookies", "trailers", "verdicts", "refused"}
	o, ok := r.object(n, "expect", keys...)
	if !ok {
		return
	}
	if len(o.pairs) == 0 {
		r.add(n.at, "the case expects nothing; say what must leave: output, verdicts, or refused")
	}
	e := &c.expect
	e.at = n.at
	for i, to := range []**node{&e.output, &e.path, &e.query, &e.headers, &e.cookies, &e.trailers, &e.verdicts, &e.refused} {
		*to = o.get(keys[i])
	}
	if e.refused != nil {
		r.text(e.refused, "refused")
		if len(o.pairs) > 1 {
			r.add(e.refused.at, "a case that expects refused expects nothing else; remove the other keys")
		}
	}
	r.checkExpectedVerdicts(e.verdicts, c)
}

// checkExpectedVerdicts notes what can never be met, so that a case does not fail
// for its spelling.
func (r *reader) checkExpectedVerdicts(n *node, c *testCase) {
	if n == nil {
		return
	}
	if n.shape != mapping {
		r.add(n.at, "verdicts is %s; write a mapping: user.email: {action: allow, label: personal.contact.email}", n.shape)
		return
	}
	for _, p := range n.pairs {
		o, ok := r.object(p.value, "a verdict", "action", "label", "rule", "handling", "ttl", "form")
		if !ok {
			continue
		}
		if a := o.get("action"); a != nil {
			if s, ok := r.text(a, "action"); ok && !slices.Contains(actionWords, s) {
				r.add(a.at, "unknown action %q; %s", s, didYouMean(s, actionWords))
			}
		}
		if l := o.get("label"); l != nil {
			if s, ok := r.text(l, "label"); ok && !isogate.Label(s).Reserved() {
				r.checkLabel(l, isogate.Label(s))
			}
		}
		if c.transit != nil && !c.transit.incomplete {
			if _, err := c.transit.labelled(p.key.text); err != nil {
				r.add(p.key.at, "the field %s is not understood: %s", p.key.text, withHint(err.Error(), "write it as user.email or query:tab"))
			}
		}
	}
}

// appendJSON writes the node as JSON: a scalar without quotes that reads as a
// number, a boolean or null is one, every other is a string.
func (n *node) appendJSON(dst []byte) []byte {
	switch n.shape {
	case scalar:
		if !n.quoted && bareJSON(n.text) {
			return append(dst, n.text...)
		}
		return appendJSONString(dst, n.text)
	case list:
		dst = append(dst, '[')
		for i, item := range n.items {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = item.appendJSON(dst)
		}
		return append(dst, ']')
	case mapping:
		dst = append(dst, '{')
		for i, p := range n.pairs {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendJSONString(dst, p.key.text), ':')
			dst = p.value.appendJSON(dst)
		}
		return append(dst, '}')
	}
	return append(dst, "null"...)
}

// trimNewline takes one final newline away, which a block of YAML ends with.
func trimNewline(s string) string { return strings.TrimSuffix(s, "\n") }

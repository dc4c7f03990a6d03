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
//	transit: support-session            # or, with source: remote: api.example.com:443, and the plan finds the transit
//	at: 2026-11-02T12:00:00Z            # without it, the present
//	method: POST                        # without it, that of the transit's first pattern
//	path: /v1/sessions                  # without it, path and query are not judged
//	query: tab=open
//	headers: {X-Request-Id: "7"}        # cookies and trailers alike
//	source: product/help-desk         # without it, the transit's first
//	grant: {labels: [ugc.**], persist: true, end_user_data: true}   # what the consent is limited to; without it, to nothing
//	input: '{"user": {"email": "ada@example.com"}}'   # or a structure, or file: bodies/a.json
//	expect:
//	  output: {user: {email: ada@example.com}}        # a text is compared byte by byte
//	  path: /v1/sessions
//	  query: {tab: $any}
//	  headers: {X-Request-Id: "7"}
//	  verdicts: {user.email: {action: allow, label: personal.contact.email, handling: persisted}}
//	  transit: support-session          # which transit it went over
//	  tunnel: true                      # it passes unread
//	  refused: duplicate                # instead of all these: a part of the reason
//
// In a structure, a text of $token, $hash, $seal, $redacted or $any stands for a value
// of that kind, and the key $name for every member whose name was replaced.
type testCase struct {
	name    string
	at      position
	transit *Transit    // nil when the case names a remote
	remote  *RemoteHost // what the source connects to
	when    time.Time   // zero is the present
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
	transit  *node
	tunnel   *node
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
	o, ok := r.object(n, "a test case", "test", "transit", "remote", "at", "source", "grant", "method", "path", "query", "headers", "cookies", "trailers",
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
	c.request.Grant = r.readGrant(o)
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
	if o.has("remote") {
		r.readCaseRemote(o, c)
		return
	}
	n := o.need("transit", "name the transit that the request goes over, or with source, the remote of an app that it goes to")
	s, ok := r.text(n, "transit")
	if !ok {
		return
	}
	c.transit = r.transits[isogate.Transit(s)]
	if c.transit == nil && r.known("transits") {
		r.add(n.at, "unknown transit %q; %s", s, didYouMean(s, sortedKeys(r.transits)))
	}
}

// readCaseRemote reads the remote that an app connects to. Its transit is found
// when the case runs, as the gateway finds it.
func (r *reader) readCaseRemote(o object, c *testCase) {
	if o.has("transit") {
		r.add(o.place("transit"), "the case has transit and remote; keep transit to try one, or remote to see which it is, and expect: {transit: NAME}")
	}
	o.need("source", "name the app that connects to the remote")
	n := o.get("remote")
	if c.remote = r.readRemote(n); c.remote != nil && c.remote.Wildcard() {
		r.add(n.at, "the remote %q is more than one host; name one that an app would connect to", n.text)
	}
}

// readGrant reads what the consent is limited to: nil when the case does not say.
func (r *reader) readGrant(o object) *Limit {
	n := o.get("grant")
	if n == nil {
		return nil
	}
	g, ok := r.object(n, "grant", "labels", "persist", "end_user_data")
	if !ok {
		return nil
	}
	l := &Limit{Persist: r.boolean(g.get("persist"), "persist"), EndUserData: r.boolean(g.get("end_user_data"), "end_user_data")}
	labels := g.get("labels")
	if labels == nil {
		return l
	}
	l.Labels = []isogate.LabelPattern{}
	if labels.shape == list && len(labels.items) == 0 {
		return l // none at all
	}
	for _, item := range r.items(labels, "labels") {
		s, ok := r.text(item, "a label")
		if !ok {
			continue
		}
		p, err := isogate.ParseLabelPattern(s)
		if err != nil {
			r.add(item.at, "%v; write a label such as personal.contact.email, or a pattern such as personal.**", err)
			continue
		}
		if exact, ok := p.Exact(); ok && exact.Reserved() {
			r.add(item.at, "no grant reaches the label %q: it stands for what nobody has judged; remove it", s)
		} else if ok {
			r.checkLabel(item, exact)
		} else if len(r.taxonomy.Match(p)) == 0 && r.known("taxonomy") {
			r.add(item.at, "the pattern %q selects no label of the taxonomy; check its segments", s)
		}
		l.Labels = append(l.Labels, p)
	}
	return l
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
	keys := []string{"output", "path", "query", "headers", "cookies", "trailers", "verdicts", "transit", "tunnel", "refused"}
	o, ok := r.object(n, "expect", keys...)
	if !ok {
		return
	}
	if len(o.pairs) == 0 {
		r.add(n.at, "the case expects nothing; say what must leave: output, verdicts, or refused")
	}
	e := &c.expect
	e.at = n.at
	for i, to := range []**node{&e.output, &e.path, &e.query, &e.headers, &e.cookies, &e.trailers, &e.verdicts, &e.transit, &e.tunnel, &e.refused} {
		*to = o.get(keys[i])
	}
	if e.refused != nil {
		r.text(e.refused, "refused")
		if len(o.pairs) > 1 {
			r.add(e.refused.at, "a case that expects refused expects nothing else; remove the other keys")
		}
	}
	if s, ok := r.text(e.transit, "transit"); ok && r.transits[isogate.Transit(s)] == nil && r.known("transits") {
		r.add(e.transit.at, "unknown transit %q; %s", s, didYouMean(s, sortedKeys(r.transits)))
	}
	r.boolean(e.tunnel, "tunnel")
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
		o, ok := r.object(p.value, "a verdict", "action", "label", "rule", "handling", "ttl", "form", "sealed", "registered")
		if !ok {
			continue
		}
		r.boolean(o.get("sealed"), "sealed")
		r.boolean(o.get("registered"), "registered")
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

package policy

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/obfuscate"
)

// TestReport is how the cases of a pack went.
type TestReport struct {
	Cases []CaseResult `json:"cases"`
}

// Failed is how many cases failed.
func (r TestReport) Failed() int {
	n := 0
	for _, c := range r.Cases {
		if len(c.Failures) > 0 {
			n++
		}
	}
	return n
}

// CaseResult is how one case went.
type CaseResult struct {
	Name     string    `json:"name"`
	File     string    `json:"file"`
	Line     int       `json:"line"`
	Failures []Finding `json:"failures,omitempty"` // none: the case passed
}

// seedOfTests makes the keys of every test of every pack, so that what a case
// expects byte by byte is the same everywhere.
const seedOfTests = "isogate pack test"

// Test runs the cases of the pack, each at its own instant, or at now when it
// names none. The replacements are made with keys that are the same everywhere
// and guard nothing.
//
// promise: P08
func (p *Pack) Test(now time.Time) (TestReport, error) {
	var report TestReport
	made := map[isogate.Destination]*obfuscate.Obfuscator{}
	for _, c := range p.cases {
		run := caseRun{testCase: c}
		if run.transit, run.noWay = p.plan.wayOf(c); run.noWay == nil {
			dst := run.transit.Destination.Name
			if made[dst] == nil {
				o, err := p.plan.Obfuscator("test", dst, ThrowawayKeys([]byte(seedOfTests)))
				if err != nil {
					return TestReport{}, fmt.Errorf("pack test: %w", err)
				}
				made[dst] = o
			}
			run.rep = made[dst]
		}
		run.run(now)
		report.Cases = append(report.Cases, CaseResult{Name: c.name, File: c.at.file, Line: c.at.line, Failures: run.list})
	}
	return report, nil
}

// wayOf is the transit that a case goes over, found as the gateway finds it when
// the case names a remote.
func (p *Plan) wayOf(c *testCase) (*Transit, error) {
	if c.remote == nil {
		return c.transit, nil
	}
	src := c.request.Source
	dst, ok := p.Remote(src, c.remote.Host, c.remote.Port)
	if !ok {
		return nil, fmt.Errorf("no transit leads from %s to %s; declare the host in destinations.yaml, and a transit to it", src, c.remote)
	}
	if t := p.Tunnel(src, dst.Name); t != nil {
		return t, nil
	}
	if c.request.Method == "" || c.request.Path == "" {
		return nil, fmt.Errorf("the way to %s inspects, and the case lacks a method or a path; add both", dst.Name)
	}
	t, _, err := p.Match(src, dst.Name, c.request.Method, c.request.Path)
	return t, err
}

// caseRun is one case while it runs. Its findings are the differences.
type caseRun struct {
	findings
	*testCase
	transit *Transit // the one of the case, or what its remote led to
	noWay   error    // why there is none
	rep     *obfuscate.Obfuscator
}

// try is what comes out of the request.
func (c *caseRun) try(req *Request) (*Outcome, error) {
	if c.noWay != nil {
		return nil, &RefusedError{Reason: c.noWay}
	}
	return c.transit.Preview(*req, c.rep)
}

func (c *caseRun) run(now time.Time) {
	req := c.request
	req.Time = c.when
	if req.Time.IsZero() {
		req.Time = now
	}
	out, err := c.try(&req)
	var refused *RefusedError
	switch want := c.expect.refused; {
	case errors.As(err, &refused) && want == nil:
		c.add(c.expect.at, "the request was refused: %v", refused.Reason)
	case errors.As(err, &refused):
		if !strings.Contains(refused.Reason.Error(), want.text) {
			c.add(want.at, "refused: want a reason with %q, got: %v", want.text, refused.Reason)
		}
	case want != nil:
		c.add(want.at, "refused: want a reason with %q, but the request left", want.text)
	default:
		c.compareOutcome(out)
	}
	if c.noWay != nil {
		return
	}
	if want := c.expect.transit; want != nil && want.text != string(c.transit.Name) {
		c.add(want.at, "transit: want %s, but it goes over %s", want.text, c.transit.Name)
	}
	if want := c.expect.tunnel; want != nil && (want.text == "true") != (c.transit.Mode == Tunnel) {
		c.add(want.at, "tunnel: want %s, but the transit %s has the mode %s", want.text, c.transit.Name, c.transit.Mode)
	}
	if c.expect.verdicts != nil {
		c.compareVerdicts(&req)
	}
}

func (c *caseRun) compareOutcome(out *Outcome) {
	e := &c.expect
	if e.output != nil {
		c.compareBody(e.output, out.Body)
	}
	if e.path != nil {
		c.compareText(e.path, "path", out.Path)
	}
	if e.query != nil {
		c.compareForm(e.query, "query", out.Query)
	}
	for _, part := range []struct {
		want *node
		name string
		got  []Named
	}{{e.headers, "headers", out.Headers}, {e.cookies, "cookies", out.Cookies}, {e.trailers, "trailers", out.Trailers}} {
		if part.want == nil {
			continue
		}
		got := map[string]any{}
		for _, v := range part.got {
			got[v.Name] = v.Value
		}
		c.compare(part.want, part.name, got)
	}
}

// compareBody compares the body: a text byte by byte, a structure by what it means.
func (c *caseRun) compareBody(want *node, body []byte) {
	switch f := c.transit.Format; {
	case want.shape == scalar:
		c.compareText(want, "output", string(body))
	case f == nil:
		c.differ(want, "output", nil) // no body goes in, and none comes out
	case f.Name() == "form":
		c.compareForm(want, "output", string(body))
	case f.Name() == "ndjson":
		var lines []any
		for line := range bytes.Lines(body) {
			lines = append(lines, decodeJSON(line))
		}
		c.compare(want, "output", lines)
	default:
		c.compare(want, "output", decodeJSON(body))
	}
}

// decodeJSON reads what a walker has written; numbers stay as spelled.
func decodeJSON(b []byte) any {
	var v any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	_ = d.Decode(&v) // an empty body is nil, and a walker writes nothing else that is not JSON
	return v
}

// compareForm compares a query or form: a name with several values has a list.
func (c *caseRun) compareForm(want *node, what, raw string) {
	if want.shape == scalar {
		c.compareText(want, what, raw)
		return
	}
	got := map[string]any{}
	values, _ := url.ParseQuery(raw) // the walker's own output
	for name, list := range values {
		if len(list) == 1 {
			got[name] = list[0]
			continue
		}
		items := make([]any, len(list))
		for i, v := range list {
			items[i] = v
		}
		got[name] = items
	}
	c.compare(want, what, got)
}

func (c *caseRun) compareText(want *node, what, got string) {
	if want.shape != scalar || !c.matches(want, got) && trimNewline(want.text) != trimNewline(got) {
		c.differ(want, what, got)
	}
}

// The matchers that stand for a value in what a case expects.
const (
	matchAny      = "$any"
	matchToken    = "$token"
	matchHash     = "$hash"
	matchSeal     = "$seal"
	matchRedacted = "$redacted"
	matchName     = "$name"
)

// compare walks expectation and result together and notes every difference.
func (c *caseRun) compare(want *node, what string, got any) {
	switch g := got.(type) {
	case map[string]any:
		if want.shape == mapping {
			c.compareMembers(want, what, g)
			return
		}
	case []any:
		if want.shape == list {
			c.compareItems(want, what, g)
			return
		}
	}
	if !c.matches(want, got) {
		c.differ(want, what, got)
	}
}

func (c *caseRun) compareItems(want *node, what string, got []any) {
	for i, item := range want.items {
		if at := fmt.Sprintf("%s[%d]", what, i); i < len(got) {
			c.compare(item, at, got[i])
		} else {
			c.add(item.at, "%s: want %s, but it did not leave", at, item.brief())
		}
	}
	for i := len(want.items); i < len(got); i++ {
		c.add(want.at, "%s[%d]: left as %s, which the case does not expect", what, i, brief(got[i]))
	}
}

func (c *caseRun) compareMembers(want *node, what string, got map[string]any) {
	rest := make(map[string]any, len(got))
	for name, v := range got {
		rest[name] = v
	}
	var replaced *node
	for _, p := range want.pairs {
		name := p.key.text
		if name == matchName {
			replaced = p.value
			continue
		}
		at := what + "." + name
		v, ok := rest[name]
		if !ok {
			c.add(p.key.at, "%s: want %s, but it did not leave", at, p.value.brief())
			continue
		}
		delete(rest, name)
		c.compare(p.value, at, v)
	}
	pseudonyms := 0
	for _, name := range sortedKeys(rest) {
		if replaced != nil && (c.token(name) || isHash(name)) {
			pseudonyms++
			c.compare(replaced, what+"."+matchName, rest[name])
			continue
		}
		c.add(want.at, "%s.%s: left as %s, which the case does not expect", what, name, brief(rest[name]))
	}
	if replaced != nil && pseudonyms == 0 {
		c.add(replaced.at, "%s: want a member whose name was replaced, but there is none", what)
	}
}

// matches reports whether one value is what the case expects, or what its
// matcher stands for.
func (c *caseRun) matches(want *node, got any) bool {
	text, isText := got.(string)
	if want.shape == empty {
		return got == nil
	}
	if want.shape != scalar {
		return false
	}
	switch want.text {
	case matchAny:
		return true
	case matchToken:
		return c.token(text)
	case matchHash:
		// A number is hashed to a number, of which only this can be told: the body had another.
		number, isNumber := got.(json.Number)
		return isHash(text) || isNumber && !bytes.Contains(c.request.Body, []byte(number))
	case matchSeal:
		return obfuscate.IsSeal(text)
	case matchRedacted:
		return got == obfuscate.Redacted || got == false || got == nil || got == json.Number("0")
	}
	if isText {
		return want.text == text
	}
	bare, err := json.Marshal(got)
	return err == nil && !want.quoted && string(bare) == want.text
}

// token reports whether a text is a token of the keys of tests.
func (c *caseRun) token(s string) bool {
	_, _, err := c.rep.Reveal(s)
	return err == nil
}

// isHash reports whether a text has the form of a hash.
func isHash(s string) bool {
	const prefix, length = "igh1", 36
	return strings.HasPrefix(s, prefix) && len(s) == length
}

func (c *caseRun) differ(want *node, what string, got any) {
	c.add(want.at, "%s: want %s, got %s", what, want.brief(), brief(got))
}

// compareVerdicts compares the verdicts that a case names with those of its request.
func (c *caseRun) compareVerdicts(req *Request) {
	verdict := func(string) (isogate.Verdict, error) { return c.transit.tunnelVerdict(req.Time), nil }
	if c.transit.Mode != Tunnel {
		rules := c.transit.rulesFor(req)
		verdict = func(field string) (isogate.Verdict, error) { return c.transit.verdict(field, rules) }
	}
	for _, p := range c.expect.verdicts.pairs {
		v, err := verdict(p.key.text)
		if err != nil { // only of a remote's transit, which was not known when the case was read
			c.add(p.key.at, "the field %s is not understood: %s", p.key.text, withHint(err.Error(), "write it as user.email or query:tab"))
			continue
		}
		got := answerOf(v)
		for _, q := range p.value.pairs {
			is := map[string]string{
				"action": got.Action.String(), "label": string(got.Label), "rule": got.Rule,
				"handling": cmp.Or(got.Handling, isogate.TransitOnly.String()), "ttl": got.TTL, "form": got.Form,
				"sealed": strconv.FormatBool(v.Sealed), "registered": strconv.FormatBool(v.Register),
			}[q.key.text]
			if want, err := time.ParseDuration(q.value.text); is != q.value.text && (err != nil || is != want.String()) {
				c.add(q.value.at, "verdicts.%s.%s: want %q, got %q", p.key.text, q.key.text, q.value.text, is)
			}
		}
	}
}

// brief shows a value in a difference, cut to one line.
func brief(v any) string {
	b, _ := json.Marshal(v) // it came from JSON
	return short(string(b))
}

func (n *node) brief() string {
	if n.shape == scalar && strings.HasPrefix(n.text, "$") {
		return n.text
	}
	return short(string(n.appendJSON(nil)))
}

func short(s string) string {
	const most = 120
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// bareJSON reports whether a text is a number, a boolean or null of JSON.
func bareJSON(s string) bool {
	return s != "" && !slices.Contains([]byte(`"[{ `), s[0]) && json.Valid([]byte(s))
}

func appendJSONString(dst []byte, s string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string never fails
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}

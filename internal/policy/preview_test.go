package policy

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/obfuscate"
)

func obfuscator(t testing.TB, p *Pack, secret string) *obfuscate.Obfuscator {
	t.Helper()
	o, err := p.Plan().Obfuscator("acme", "support-portal", ThrowawayKeys([]byte(secret)))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestPreview(t *testing.T) {
	p := good(t).load(t)
	tr, _ := p.Plan().Transit("support-session")
	rep := obfuscator(t, p, "a")
	req := Request{
		Path: "/v1/sessions", Query: "tab=open&who=ada",
		Headers:     []Named{{"X-Request-Id", "req-1"}, {"X-Other", "ada"}, {"x-urgent", "1"}},
		Cookies:     []Named{{"locale", "de"}, {"sid", "ada"}},
		Trailers:    []Named{{"X-Checksum", "9"}, {"X-Other", "ada"}},
		ContentType: "application/vnd.x+json; charset=utf-8",
		Body:        []byte(`{"user":{"email":"ada@example.com","pager":"0123 456","displayName":"Ada","x":"ada"}}`),
		Time:        instantOfTests,
	}
	out, err := tr.Preview(req, rep)
	if err != nil {
		t.Fatal(err)
	}
	if out.Template != "/v1/sessions" || out.Path != "/v1/sessions" || !strings.HasPrefix(out.Query, "tab=open&") {
		t.Errorf("%+v", out)
	}
	if len(out.Headers) != 2 || out.Headers[0].Name != "X-Request-Id" || !strings.HasPrefix(out.Headers[0].Value, "igt1") || out.Headers[1].Value != "1" {
		t.Errorf("headers %+v", out.Headers)
	}
	if !slices.Equal(out.Cookies, []Named{{"locale", "de"}}) || !slices.Equal(out.Trailers, []Named{{"X-Checksum", "9"}}) {
		t.Errorf("cookies %+v, trailers %+v", out.Cookies, out.Trailers)
	}
	for _, want := range []string{`"email":"ada@example.com"`, `"displayName":"Ada"`, `56"`} {
		if !bytes.Contains(out.Body, []byte(want)) {
			t.Errorf("no %s in %s", want, out.Body)
		}
	}
	if bytes.Contains(out.Body, []byte(`"ada"`)) || bytes.Contains(out.Body, []byte("0123")) {
		t.Errorf("%s", out.Body)
	}
	again, err := tr.Preview(req, obfuscator(t, p, "a"))
	if err != nil || !bytes.Equal(again.Body, out.Body) || again.Query != out.Query {
		t.Errorf("the same secret gives %s %v", again.Body, err)
	}
	other, err := tr.Preview(req, obfuscator(t, p, "b"))
	if err != nil || bytes.Equal(other.Body, out.Body) || other.Query == out.Query {
		t.Errorf("another secret gives %s %v", other.Body, err)
	}
	i := slices.IndexFunc(out.Fields, func(f isogate.Field) bool { return f.Path == "user.pager" })
	if i < 0 || out.Fields[i].Action != isogate.Mask || out.Fields[i].TTL != "5m0s" || out.Fields[i].Rule != "transits/support-session.yaml:15" {
		t.Errorf("%+v", out.Fields)
	}
}

func TestPreviewRefuses(t *testing.T) {
	p := good(t).replace(t, "transits/support-session.yaml", "- {label: security.secret.**, as: refuse}",
		"- {label: identifier.correlation.request_id, as: refuse}\n    - {label: system.metadata, as: refuse}\n    - {label: identifier.user.account_id, as: drop}").load(t)
	rep := obfuscator(t, p, "a")
	tr, _ := p.Plan().Transit("support-session")
	signals, _ := p.Plan().Transit("signals")
	for name, c := range map[string]struct {
		transit *Transit
		req     Request
		want    string
	}{
		"a header":         {tr, Request{Headers: []Named{{"X-Request-Id", "1"}}}, "header:x-request-id"},
		"a query":          {tr, Request{Path: "/v1/sessions", Query: "tab=1"}, "query:tab"},
		"a path parameter": {tr, Request{Method: "GET", Path: "/v1/users/7/tickets"}, "path"},
		"a path":           {tr, Request{Path: "/v1/sessions/7"}, "no transit has this path"},
		"a method":         {tr, Request{Method: "GET", Path: "/v1/sessions"}, "method"},
		"a body":           {tr, Request{Body: []byte(`{"raw":`)}, "byte 7"},
		"a content type":   {tr, Request{Body: []byte(`{}`), ContentType: "text/html"}, `"text/html" is not json`},
		"a charset":        {tr, Request{Body: []byte(`{}`), ContentType: "application/json; charset=utf-16"}, "in UTF-8"},
		"a parameter":      {tr, Request{Body: []byte(`{}`), ContentType: "application/json; profile=x"}, "in UTF-8"},
		"two parameters":   {tr, Request{Body: []byte(`{}`), ContentType: "application/json; charset=utf-8; profile=x"}, "in UTF-8"},
		"a broken type":    {tr, Request{Body: []byte(`{}`), ContentType: ";;"}, "is not json"},
		"another format":   {signals, Request{Body: []byte(`{"a":1}`), ContentType: "application/json"}, "is not form"},
	} {
		c.req.Time = instantOfTests
		out, err := c.transit.Preview(c.req, rep)
		var refused *RefusedError
		if !errors.As(err, &refused) || out != nil || !strings.Contains(err.Error(), c.want) || errors.Unwrap(err) == nil {
			t.Errorf("%s: %+v %v", name, out, err)
		}
	}
}

// TestThrowawayKeys: what is derived depends on the secret and on the whole
// context, and on nothing else.
func TestThrowawayKeys(t *testing.T) {
	derive := func(secret string, context ...string) string {
		out := make([]byte, 32)
		k := ThrowawayKeys([]byte(secret))
		if err := k.Derive(out, k.Primary(), context...); err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	seen := map[string]bool{}
	for _, s := range []string{
		derive("s"), derive("t"), derive("s", ""), derive("s", "ab", "c"), derive("s", "a", "bc"), derive("s", "abc"), derive("s", "", "abc"), derive("", "abc"),
	} {
		if seen[s] {
			t.Error("two contexts give one key")
		}
		seen[s] = true
	}
	if again := derive("s", "ab", "c"); !seen[again] {
		t.Error("one context gives two keys")
	}
	k := ThrowawayKeys([]byte("s"))
	if err := k.Derive(make([]byte, 32), 2, "a"); err == nil || !slices.Equal(k.IDs(), []uint32{k.Primary()}) {
		t.Errorf("%v: %v", k.IDs(), err)
	}
	if err := k.Derive(make([]byte, 256*32), k.Primary()); err == nil {
		t.Error("more was derived than HKDF gives")
	}
}

// TestLabels: an obfuscator is made for every label on the way, and no other.
func TestLabels(t *testing.T) {
	plan := good(t).load(t).Plan()
	got := plan.Labels("metrics")
	want := []isogate.Label{"personal.contact.email", isogate.Unclassified, "usage.count"}
	if !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	if got := plan.Labels("nowhere"); !slices.Equal(got, []isogate.Label{isogate.Unclassified}) {
		t.Errorf("%v", got)
	}
}

func TestPlan(t *testing.T) {
	plan := good(t).load(t).Plan()
	if plan.Name != "acme" || plan.Version != 12 {
		t.Errorf("%+v", plan)
	}
	var names []string
	for _, d := range plan.Destinations() {
		names = append(names, string(d.Name)+" "+d.URL.String()+" "+d.LandingKey)
	}
	if got := strings.Join(names, "|"); got != "metrics https://metrics.example:8443/v2 landing.example+c5902534+Aa03HmV1jTEiiVqgP1xg45rBwlAnDJyy4C9MgRD2LVbO|support-portal https://support.example " {
		t.Error(got)
	}
	tr, ok := plan.Transit("support-session")
	if !ok || len(plan.Transits()) != 2 || plan.Transits()[1] != tr {
		t.Errorf("%v", plan.Transits())
	}
	if tr.Purpose != isogate.Support || tr.Consent != UserConsent || tr.Consent.String() != "user-action" || tr.SessionHeader != "Isogate-Session" ||
		tr.Response != (Response{Restore: true, Max: 2 << 20}) || tr.Destination.Name != "support-portal" || tr.Format.Name() != "json" {
		t.Errorf("%+v", tr)
	}
	signals, _ := plan.Transit("signals")
	if signals.Response != (Response{Max: DefaultResponseMax}) || signals.SessionHeader != "" || signals.Consent != NoConsent || len(signals.Sources) != 2 || signals.Subject != "personal.contact.email" {
		t.Errorf("%+v", signals)
	}
	if _, ok := plan.Transit("nothing"); ok {
		t.Error("a transit that is not there")
	}
	var zero Consent
	if zero != AdminConsent {
		t.Error("the zero consent is not the strictest")
	}
}

package hub

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/guess"
)

// ATTACK: somebody without a token, with a wrong one, or with one put where none
// is read calls the API. THIS TEST VERIFIES that every path answers 401 and that
// nothing is recorded.
func TestAttackNoToken(t *testing.T) {
	o := newOffice(t)
	now := time.Now()
	o.hub.failed = guess.New(func() time.Time { now = now.Add(time.Minute); return now })
	for _, r := range routes {
		path := Prefix + strings.NewReplacer("{kind}", "app", "{name}", "bot", "{id}", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "{digest}", "sha256:00").Replace(r.path)
		for _, header := range [][]string{nil, {""}, {"Bearer"}, {"Bearer "}, {"Bearer wrong"}, {"Basic " + tokens["ada"]}, {tokens["ada"]}, {"Bearer  " + tokens["ada"]},
			{"Bearer " + tokens["ada"] + " "}, {"Bearer " + strings.ToUpper(tokens["ada"])}, {"Bearer " + sum(tokens["ada"])}, {"Bearer " + tokens["ada"], "Bearer " + tokens["ada"]}} {
			req := httptest.NewRequest(r.method, path+"?token="+tokens["ada"], strings.NewReader("{}"))
			for _, h := range header {
				req.Header.Add("Authorization", h)
			}
			w := httptest.NewRecorder()
			o.api.ServeHTTP(w, req)
			if w.Code != 401 || w.Header().Get("WWW-Authenticate") == "" || w.Header().Get("Content-Type") != ProblemType {
				t.Errorf("%s %s with %q: %d %s", r.method, path, header, w.Code, w.Body)
			}
		}
		if o.journal.count() != 0 {
			t.Errorf("%s %s was recorded", r.method, path)
		}
	}
}

// ATTACK: tokens are guessed. THIS TEST VERIFIES that an address has a few wrong
// ones, that another address does not suffer, and that a token is not told from
// the status of the next.
func TestAttackGuessedTokens(t *testing.T) {
	o := newOffice(t)
	now := time.Now()
	o.hub.failed = guess.New(func() time.Time { return now })
	try := func(from, token string) int {
		r := httptest.NewRequest("GET", Prefix+"/apps", nil)
		r.RemoteAddr = from
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		o.api.ServeHTTP(w, r)
		if w.Code == 429 && w.Header().Get("Retry-After") == "" {
			t.Error("429 without Retry-After")
		}
		return w.Code
	}
	for i := range guess.AtOnce {
		if got := try("[2001:db8::1]:1234", fmt.Sprint("guess", i)); got != 401 {
			t.Fatalf("guess %d: %d", i, got)
		}
	}
	for _, token := range []string{"another", tokens["ada"]} {
		if got := try("[2001:db8::2]:1", token); got != 429 {
			t.Errorf("the same network with %s: %d", token, got)
		}
	}
	if got := try("[2001:db8:1::1]:1234", tokens["ada"]); got != 200 {
		t.Errorf("another network: %d", got)
	}
	now = now.Add(time.Second)
	if got := try("[2001:db8::3]:1", tokens["ada"]); got != 200 {
		t.Errorf("a second later: %d", got)
	}
}

// ATTACK: a page of another site makes an administrator's browser post. THIS TEST
// VERIFIES that what a browser marks as coming from elsewhere is refused.
func TestAttackCrossSite(t *testing.T) {
	o := newOffice(t)
	c := o.asked(api)
	for _, header := range [][2]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"}} {
		r := httptest.NewRequest("POST", Prefix+"/consents/"+string(c.ID)+"/grant", strings.NewReader(granted(c, "")))
		r.Header.Set("Authorization", "Bearer "+tokens["ada"])
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set(header[0], header[1])
		o.send(r).want(403, "another site")
	}
	for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded"} {
		r := httptest.NewRequest("POST", Prefix+"/consents/"+string(c.ID)+"/grant", strings.NewReader(granted(c, "")))
		r.Header.Set("Authorization", "Bearer "+tokens["ada"])
		r.Header.Set("Content-Type", kind)
		o.send(r).want(415)
	}
	if o.allows(api) {
		t.Error("it was granted")
	}
}

// ATTACK: an app is updated, the pack changed or something else granted while an
// administrator reads; their grant arrives afterwards. THIS TEST VERIFIES that a
// grant without the digest of the prompt as it is now grants nothing.
func TestAttackStalePrompt(t *testing.T) {
	o := newOffice(t)
	c := o.asked(api)
	o.call("ada", "POST", "/consents/"+string(c.ID)+"/grant", `{"reason":"x"}`).want(400, "prompt")
	for digest, status := range map[string]int{"sha256:" + strings.Repeat("0", 64): 409, strings.ToUpper(c.PromptDigest): 400, "x": 400, "": 400} {
		o.call("ada", "POST", "/consents/"+string(c.ID)+"/grant", fmt.Sprintf(`{"reason":"x","prompt":%q}`, digest)).want(status)
	}
	o.pack = "sha256:02"
	o.grant("ada", c, "").want(409, "stale-prompt", "look again")
	o.pack = ""
	o.grant("ada", into[Consent](o.call("ada", "GET", "/consents/"+string(c.ID), "").want(200)), "").want(409, "no pack is known")
	o.pack = "sha256:01"
	o.call("ada", "POST", "/apps", manifest("Bot", api, "more.example.com")).want(200)
	o.grant("ada", c, "").want(409, "invalidated")
	if o.allows(api) {
		t.Error("it was granted")
	}
}

// ATTACK: a grant names rows that nobody asked for; a modification widens. THIS
// TEST VERIFIES that neither has an effect.
func TestAttackWiden(t *testing.T) {
	o := newOffice(t)
	c := o.asked(api)
	const more = "backend *.example.com:443 operations=storage end-user-data"
	p := into[Problem](o.grant("ada", c, fmt.Sprintf(`,"rows":[%q]`, more)).want(409, "does not ask for"))
	if p.Entry == "" {
		t.Error("the attempt is not on record")
	}
	c = into[Consent](o.call("ada", "GET", "/consents/"+string(c.ID), "").want(200))
	d := into[Done](o.grant("ada", c, `,"labels":["system.**"],"until":"2030-01-01"`).want(200))
	modify := "/consents/" + string(d.Consent.ID) + "/modify"
	for _, body := range []string{fmt.Sprintf(`{"reason":"x","rows":[%q]}`, more), `{"reason":"x","labels":["**"]}`, `{"reason":"x","labels":["system.**","personal.name"]}`,
		`{"reason":"x","until":"2031-01-01"}`, `{"reason":"x","for":"3650d"}`} {
		o.call("ada", "POST", modify, body).want(409, "only narrows")
	}
	for _, body := range []string{`{"reason":"x"}`, `{"reason":"x","rows":[]}`, `{"reason":"x","until":"2020-01-01"}`, `{"reason":"x","until":"soon"}`, `{"reason":"x","for":"30"}`,
		`{"reason":"x","for":"-1h"}`, `{"reason":"x","for":"9999d"}`, `{"reason":"x","for":"1h","until":"2029-01-01"}`, `{"until":"2029-01-01"}`, `{"reason":"x","labels":["A"]}`} {
		o.call("ada", "POST", modify, body).want(400)
	}
	if g, _ := o.ledger.State().Grant(d.Consent.ID); len(g.Rows) != 1 || len(g.Terms.Labels) != 1 {
		t.Errorf("the grant is %+v", g)
	}
}

// ATTACK: IDs of nothing, of another kind of thing, or of no form. THIS TEST
// VERIFIES that they are told apart from what is, and change nothing.
func TestAttackIDs(t *testing.T) {
	o := newOffice(t)
	c := o.asked(api)
	d := into[Done](o.grant("ada", c, "").want(200))
	before := o.journal.count()
	for _, id := range []string{"01ARZ3NDEKTSV4RRFFQ69G5FAV", "x", "..%2F..", "%00", "*", strings.Repeat("9", 5000), "%E2%80%AE"} {
		o.call("ada", "GET", "/consents/"+id, "").want(404)
		for _, what := range []string{"deny", "defer", "revoke"} {
			o.call("ada", "POST", "/consents/"+id+"/"+what, `{}`).want(404)
		}
		o.call("ada", "POST", "/consents/"+id+"/modify", `{"reason":"x","for":"1h"}`).want(404)
		o.call("ada", "POST", "/consents/"+id+"/grant", `{"reason":"x","prompt":"sha256:`+strings.Repeat("0", 64)+`"}`).want(404)
	}
	o.call("ada", "POST", "/consents/"+string(d.Consent.ID)+"/deny", `{}`).want(409, "is a grant")
	o.call("ada", "POST", "/consents/"+string(c.ID)+"/revoke", `{}`).want(409, "is a request")
	for _, path := range []string{"/apps/app/..", "/apps/user/bot", "/apps/app/Bot", "/apps/app/b%00t", "/apps/app/%3Cscript%3E", "/apps/app/" + strings.Repeat("b", 10_000)} {
		r := o.call("ada", "GET", path, "")
		if r.status < 300 || r.status >= 500 {
			t.Errorf("%.40s: %d", path, r.status)
		}
	}
	o.call("ada", "GET", "/apps/app/other", "").want(404, "must be imported")
	o.call("ada", "GET", "/nothing", "").want(404, "openapi.json")
	if r := o.call("ada", "POST", "/consents", ""); r.status != 405 || r.header.Get("Allow") != "GET" {
		t.Errorf("%d %q", r.status, r.header.Get("Allow"))
	}
	if o.journal.count() != before {
		t.Error("something was recorded")
	}
	// Revoking what is not there is recorded: it must never be refused.
	o.call("ada", "POST", "/revocations", `{"party":"app/other"}`).want(200, "nothing of it was in force")
	for _, body := range []string{`{}`, `{"party":""}`, `{"party":"bot"}`, `{"party":"**"}`, `{"party":"app/bot","rows":[]}`, `{"party":"app/bot","rows":["backend"]}`} {
		o.call("ada", "POST", "/revocations", body).want(400)
	}
	if !o.allows(api) {
		t.Error("something was revoked")
	}
}

// ATTACK: a manifest whose name would act on a terminal or a page, is endless, or
// that is too large. THIS TEST VERIFIES that those that could mislead are refused
// or shown escaped, that no answer has a control character, and that HTML is inert.
func TestAttackHostileManifest(t *testing.T) {
	o := newOffice(t)
	for _, name := range []string{`"a\e[2Jb"`, `"a\u202Eb"`, `"a\u200Bb"`, `"a\u2028b"`, `"a\0b"`, `"a\nb"`, `"` + strings.Repeat("x", 10_000) + `"`, `"<script>alert(1)</script>"`} {
		r := o.call("ada", "POST", "/apps", manifest(name, api))
		if r.status != 422 && r.status != 200 {
			t.Errorf("%.30s: %d %s", name, r.status, r.body)
		}
		for _, b := range []string{"\x1b", "\u202e", "\u200b", "\u2028", "\x00", "<script"} {
			if strings.Contains(strings.TrimSuffix(string(r.body), "\n"), b) {
				t.Errorf("%.30s: the answer has %q", name, b)
			}
		}
		if len(r.body) > 8<<10 {
			t.Errorf("%.30s: the answer has %d bytes", name, len(r.body))
		}
	}
	o.call("ada", "POST", "/apps", strings.Repeat("#", 1<<20+1)).want(413)
	o.call("ada", "POST", "/apps", strings.Repeat("#", 1<<20)).want(422)
	for _, body := range []string{"", "\x00\x01", "a: &a [*a]", "[]", "isogate: 2\napp: bot\n", "isogate: 1\napp: ../../etc\n", "isogate: 1\napp: bot\nremotes: [{host: 10.0.0.1}]\nmore: x\n"} {
		o.call("ada", "POST", "/apps", body).want(422)
	}
	for _, q := range []string{"?as=transit/x", "?as=*", "?as=app/A", "?dry_run=yes", "?reason=a%0Ab", "?other=1", "?as=app/a&as=app/b", "?env=X", "?a;b", "?reason=" + strings.Repeat("x", 501)} {
		o.call("ada", "POST", "/apps"+q, manifest("Bot", api)).want(400)
	}
}

// ATTACK: another app's manifest is imported under the name of one that has
// grants. THIS TEST VERIFIES that it has no effect.
func TestAttackTakeOver(t *testing.T) {
	o := newOffice(t)
	o.grant("ada", o.asked(api), "").want(200)
	evil := strings.Replace(manifest("Bot", api, "evil.example.net"), "app: bot", "app: evil", 1)
	o.call("ada", "POST", "/apps?as=app/bot&dry_run=true", evil).want(409, "the manifest is of evil")
	o.call("ada", "POST", "/apps?as=app/bot", evil).want(409, "the manifest is of evil")
	if !o.allows(api) {
		t.Error("the grant is gone")
	}
}

// ATTACK: JSON that two readers read differently, or that says something else than
// its writer meant. THIS TEST VERIFIES that only one reading is taken.
func TestAttackJSON(t *testing.T) {
	o := newOffice(t)
	o.asked(api)
	for _, body := range []string{`[]`, `{`, `{"party":"app/bot"}{}`, `{"party":"app/bot","party":"app/other"}`, `{"Party":"app/bot"}`, `{"party":"app/bot","row":["x"]}`,
		`{"party":null}`, `{"party":["app/bot"]}`, `{"party":"app/bot","rows":"x"}`, `{"party":"app/bot","reason":"a\u001bb"}`, `{"party":"app/bot","reason":"\u202e"}`,
		"{\"party\":\"app/b\xff\"}", `{"party":"app/bot",}`, `{"party":"app/bot","reason":"` + strings.Repeat("x", 501) + `"}`, "\ufeff{}"} {
		o.call("ada", "POST", "/revocations", body).want(400)
	}
	o.call("ada", "POST", "/revocations", `{"party":"app/bot","reason":"`+strings.Repeat("x", 1<<20)+`"}`).want(413)
}

// ATTACK: the journal cannot be heard or written. THIS TEST VERIFIES that nothing
// is granted by what may be old, that what shuts is still tried, and that an act
// that was not recorded is told as such.
func TestAttackOutOfTouch(t *testing.T) {
	l := &fakeLedger{state: &consent.State{}, lost: fmt.Errorf("not heard for 2s")}
	h, err := New(Config{Ledger: l, Logger: slog.New(slog.DiscardHandler), Describe: func(consent.Party, row) consent.Egress { return consent.Egress{} },
		Desk: newDesk(t, &memory{news: make(chan struct{})})})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/apps", "", 503}, {"GET", "/consents", "", 503}, {"POST", "/apps", manifest("Bot", api), 503}, {"POST", "/consents/01ARZ3NDEKTSV4RRFFQ69G5FAV/grant", "{}", 503},
		{"POST", "/revocations", `{"party":"*"}`, 503}, {"POST", "/apps/app/bot/block", `{}`, 503}, {"GET", "/openapi.json", "", 200},
	} {
		r := httptest.NewRequest(c.method, Prefix+c.path, strings.NewReader(c.body))
		r.Header.Set("Authorization", "Bearer "+tokens["ada"])
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.API().ServeHTTP(w, r)
		if w.Code != c.status {
			t.Errorf("%s %s: %d %s", c.method, c.path, w.Code, w.Body)
		}
	}
	if l.tried != 2 {
		t.Errorf("%d acts were tried, want the revocation and the block", l.tried)
	}
}

// Every answer says how it is to be handled.
func TestSecurityHeaders(t *testing.T) {
	o := newOffice(t)
	for _, r := range []result{o.call("ada", "GET", "/apps", ""), o.call("nobody", "GET", "/apps", ""), o.call("ada", "GET", "/nothing", "")} {
		for _, name := range []string{"Content-Security-Policy", "X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy", "Cache-Control"} {
			if r.header.Get(name) == "" {
				t.Errorf("status %d: no %s", r.status, name)
			}
		}
	}
}

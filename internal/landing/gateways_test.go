package landing

import (
	"net/http"
	"strings"
	"testing"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/seal"
	"github.com/isogate/isogate/internal/vault"
)

// THIS TEST VERIFIES: the whole trip: a value leaves as a seal, the service keeps
// the seal, the viewer with the right sees the value, others do not; when the
// session has ended nobody does, and the receipts say all of it.
//
// promise: P16
// promise: P41
func TestWholeTrip(t *testing.T) {
	w := newWorld(t, nil)
	g := w.gateway("acme")
	k := w.key(seal.Context{Session: session})
	igs := sealValue(t, k, display, "Ada Lovelace")
	r := w.send(g, `{"name":"`+igs+`"}`, []*seal.Sealer{k}, "Isogate-Handling", "transit-only", "Isogate-Forged", "x")
	if r.status != 200 || !holds(r, k) {
		t.Fatalf("answered %d %v %s", r.status, r.header, r.body)
	}
	got, bodies := w.far.requests()
	if bodies[0] != `{"name":"`+igs+`"}` {
		t.Errorf("the service got the body %q", bodies[0])
	}
	h := got[0].Header
	if h.Get("Isogate-Session") != session || h.Get("Isogate-Entry") == "" || h.Get("Isogate-Handling") != "transit-only" {
		t.Errorf("the service got the fields %v", h)
	}
	for name := range h {
		if strings.HasPrefix(name, "Isogate-") && name != "Isogate-Session" && name != "Isogate-Entry" && name != "Isogate-Handling" {
			t.Errorf("the service got %s", name)
		}
	}

	w.far.says("text/html", "<p>"+igs+"</p>")
	page := w.look(agent, "/tickets/1")
	if page.status != 200 || page.body != "<p>Ada Lovelace</p>" || page.header.Get("Cache-Control") != "no-store" || page.header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("ada sees %d %v %s", page.status, page.header, page.body)
	}
	if page := w.look(other, "/tickets/1"); page.body != "<p>[sealed]</p>" {
		t.Errorf("bob, who may not see names, sees %s", page.body)
	}
	e := w.events("acme", func(e seal.Event) bool { return e.Kind == seal.RevealedTo })
	if e.Viewer != "ada" || e.Label != display || e.Key != k.ID() || e.N != 1 {
		t.Errorf("the receipt says %+v", e)
	}

	w.far.answers(func(rw http.ResponseWriter, _ *http.Request, _ string) {
		rw.Header().Set("Isogate-Session-End", session)
	})
	if r := w.do(g, "GET", "https://"+w.gateways+"/v1/end", ""); r.status != 200 || r.header.Get("Isogate-Session-End") != "" {
		t.Errorf("answered %d %v", r.status, r.header)
	}
	w.far.says("text/html", "<p>"+igs+"</p>")
	if page := w.look(agent, "/tickets/1"); page.body != "<p>[expired]</p>" {
		t.Errorf("after the session ada sees %s", page.body)
	}
	w.events("acme", func(e seal.Event) bool {
		return e.Kind == seal.Destroyed && e.Key == k.ID() && e.Cause == seal.CauseEnded
	})
}

// ATTACK: a gateway of one tenant sends, ends or asks for what is another's; a
// caller without a certificate, or with one of nobody, sends at all; somebody
// spells the landing's own paths so that the service might take them.
//
// THIS TEST VERIFIES: it is refused, and the service never sees it.
func TestGatewaysAreWhoTheyShow(t *testing.T) {
	w := newWorld(t, nil)
	globex := w.gateway("globex")
	k := w.key(seal.Context{Session: session})
	if r := w.send(globex, "{}", []*seal.Sealer{k}); r.status != 400 || r.header.Get(seal.HeaderLanding) == "" {
		t.Errorf("another tenant's key was answered %d %v", r.status, r.header)
	}
	w.take(w.gateway("acme"), k)
	seen := func() int { got, _ := w.far.requests(); return len(got) }
	before := seen()
	if r := w.do(globex, "POST", "https://"+w.gateways+"/.isogate/sessions/end", `{"session":"`+session+`"}`, "Content-Type", "application/json"); r.body != "{\"ended\":0}\n" {
		t.Errorf("another tenant ended a session: %d %s", r.status, r.body)
	}
	if r := w.do(globex, "GET", "https://"+w.gateways+"/.isogate/receipts", "", "Isogate-Tenant", "acme"); r.status != 403 {
		t.Errorf("another tenant's receipts were answered %d %s", r.status, r.body)
	}
	if r := w.do(w.gateway("initech"), "GET", "https://"+w.gateways+"/.isogate/statement", ""); r.status != 401 {
		t.Errorf("a gateway of nobody was answered %d", r.status)
	}
	if res, err := w.browser().Get("https://" + w.gateways + "/"); err == nil {
		_ = res.Body.Close()
		t.Errorf("a caller without a certificate was answered %d", res.StatusCode)
	}
	for _, path := range []string{"/.isogate", "/.isogate/", "/.isogate/x", "/.Isogate/statement", "/%2eisogate/statement", "/.isogate/statement/", "/.ISOGATE"} {
		r := w.do(w.gateway("acme"), "POST", "https://"+w.gateways+path, "")
		if r.status != 404 && r.status != 405 && r.status != 400 {
			t.Errorf("%s was answered %d", path, r.status)
		}
	}
	if seen() != before {
		t.Error("the service saw something of it")
	}
	if r := w.do(w.gateway("acme"), "GET", "https://"+w.gateways+"/.isogate/statement", ""); r.status != 200 || r.body != string(w.v.Statement()) {
		t.Errorf("the statement was answered %d", r.status)
	}
}

// ATTACK: a wrapped key is sent again after its end; a header is changed; a key is
// named that never came.
//
// THIS TEST VERIFIES: each is refused with a code, and nothing is passed on.
func TestKeysThatAreNotTaken(t *testing.T) {
	w := newWorld(t, nil)
	g := w.gateway("acme")
	k := w.key(seal.Context{Session: session})
	member := string(k.AppendHeader(nil))
	w.take(g, k)
	w.do(g, "POST", "https://"+w.gateways+"/.isogate/sessions/end", `{"session":"`+session+`"}`, "Content-Type", "application/json")
	before, _ := w.far.requests()
	for _, tc := range []struct{ field, code string }{
		{member, seal.CodeGone},
		{string(k.AppendHeader(nil)), seal.CodeGone}, // without the wrapped key
		{string(w.key(seal.Context{Session: session}).AppendHeader(nil)) + "x", codeMalformed},
		{"nonsense", codeMalformed},
	} {
		r := w.do(g, "POST", "https://"+w.gateways+"/v1", "", seal.HeaderSeal, tc.field)
		if r.header.Get(seal.HeaderLanding) != tc.code || r.status < 400 || r.status >= 500 {
			t.Errorf("%.40q was answered %d %s %s", tc.field, r.status, r.header.Get(seal.HeaderLanding), r.body)
		}
	}
	if after, _ := w.far.requests(); len(after) != len(before) {
		t.Error("the service saw a refused request")
	}
}

// THIS TEST VERIFIES: a key without a session ends with its response, also if the
// service fails.
func TestByRequestEndsWithTheResponse(t *testing.T) {
	w := newWorld(t, nil)
	g := w.gateway("acme")
	for _, fails := range []bool{false, true} {
		if fails {
			w.far.answers(func(http.ResponseWriter, *http.Request, string) { panic(http.ErrAbortHandler) })
		}
		k := w.key(seal.Context{ByRequest: true})
		igs := sealValue(t, k, display, "Ada")
		r := w.send(g, igs, []*seal.Sealer{k})
		if fails != (r.status == 502) || r.header.Get(seal.HeaderLanding) != "" {
			t.Errorf("answered %d %v", r.status, r.header)
		}
		// The gateway may have the response's last byte before the landing goes on.
		w.events("acme", func(e seal.Event) bool {
			return e.Kind == seal.Destroyed && e.Key == k.ID() && e.Cause == seal.CauseRequest
		})
		w.far.says("text/plain", igs)
		if page := w.look(agent, "/"); page.body != "[expired]" {
			t.Errorf("after the response ada sees %s", page.body)
		}
	}
}

// ATTACK: the service forges fields that only the two halves may write, and leads
// callers around the landing.
//
// THIS TEST VERIFIES: they are stripped, and its own origin becomes a path.
func TestServiceCannotForge(t *testing.T) {
	w := newWorld(t, nil)
	w.far.answers(func(rw http.ResponseWriter, r *http.Request, _ string) {
		rw.Header().Set("Isogate-Held", "aaaa")
		rw.Header().Set("Isogate-Landing", "gone")
		rw.Header().Set("Isogate-Entry", "x")
		rw.Header().Set("Alt-Svc", `h2="evil:443"`)
		rw.Header().Set("Set-Cookie", "__Host-isogate=chosen; Secure; Path=/")
		rw.Header().Add("Set-Cookie", "=__Host-isogate=chosen; Secure; Path=/")
		rw.Header().Add("Set-Cookie", "mine=1")
		rw.Header().Set("Location", "http://"+r.Host+"/next?a=b")
		rw.WriteHeader(302)
	})
	for _, r := range []reply{w.send(w.gateway("acme"), "", nil), w.look(agent, "/")} {
		for name := range r.header {
			if strings.HasPrefix(name, "Isogate-") || name == "Alt-Svc" {
				t.Errorf("%s came through", name)
			}
		}
		if r.status != 302 || r.header.Get("Location") != "/next?a=b" {
			t.Errorf("answered %d %s", r.status, r.header.Get("Location"))
		}
	}
	if r := w.look(agent, "/"); len(r.header.Values("Set-Cookie")) != 1 || !strings.HasPrefix(r.header.Get("Set-Cookie"), "mine=") {
		t.Errorf("cookies: %v", r.header.Values("Set-Cookie"))
	}
}

// ATTACK: a viewer writes our fields, and those that say where a request comes from,
// in another spelling, which the service's CGI takes for the same; and asks for our
// paths with a parameter, which the service leaves out.
//
// THIS TEST VERIFIES: none of them reaches the service.
func TestOtherSpellingsOfOurs(t *testing.T) {
	w := newWorld(t, nil)
	names := []string{"Isogate_Session", "isogate_entry", "Isogate.Session", "ISOGATE_handling", "X_Forwarded_For", "x_real-ip", "X-Forwarded_Proto"}
	header := []string{"Their_own", "theirs"}
	for _, n := range names {
		header = append(header, n, "forged")
	}
	if r := w.look(agent, "/", header...); r.status != 200 {
		t.Fatalf("answered %d %s", r.status, r.body)
	}
	got, _ := w.far.requests()
	for name, values := range got[0].Header {
		if strings.Contains(strings.Join(values, " "), "forged") {
			t.Errorf("the service got %s", name)
		}
	}
	if got[0].Header.Get("Their_own") != "theirs" {
		t.Error("the service did not get a field of its own")
	}
	for _, path := range []string{"/.isogate;a=b/open", "/.isogate;", "/%2eisogate%3b/open", "/.ISOGATE;x/sign-in"} {
		if r := w.look(agent, path); r.status != 404 {
			t.Errorf("%s was answered %d", path, r.status)
		}
	}
	if after, _ := w.far.requests(); len(after) != len(got) {
		t.Error("the service got a path of ours")
	}
}

// THIS TEST VERIFIES: identifiers are in the register before the service has them,
// those that are not acknowledged do not pass, and they are listed by pages.
//
// promise: P17
func TestRegister(t *testing.T) {
	w := newWorld(t, func(c *Config, _ *vault.Config) { c.MaxIdentifiers = 5 })
	g := w.gateway("acme")
	row := func(l isogate.Label, id string) string {
		return string(seal.AppendRegister(nil, &seal.RegisterRow{Label: l, ID: "igt1c" + id, Subject: "igt1csubject", Because: "Primary identifier", Rule: "transits/x.yaml:7"}))
	}
	w.far.answers(func(rw http.ResponseWriter, _ *http.Request, _ string) {
		if rows, err := w.l.register.store.list(t.Context(), "acme", "", "", place{}, 10); err != nil || len(rows) != 2 {
			t.Errorf("when the service gets it, the register has %v, %v", rows, err)
		}
	})
	if r := w.send(g, "a", nil, seal.HeaderRegister, row(email, "aaaa")+", "+row(email, "bbbb")); r.status != 200 {
		t.Fatalf("answered %d %s", r.status, r.body)
	}
	for range 3 {
		if r := w.send(g, "a", nil, seal.HeaderRegister, row(email, "aaaa")); r.status != 200 {
			t.Fatalf("answered %d %s", r.status, r.body)
		}
	}
	before, _ := w.far.requests()
	if r := w.send(g, "a", nil, seal.HeaderRegister, row(display, "cccc")); r.status != 403 || r.header.Get(seal.HeaderLanding) != codeNotAcknowledged {
		t.Errorf("a label that is not acknowledged was answered %d %s", r.status, r.body)
	}
	many := row(email, "dddd") + ", " + row(email, "eeee") + ", " + row(email, "ffff") + ", " + row(email, "gggg")
	if r := w.send(g, "a", nil, seal.HeaderRegister, many); r.status != 507 || r.header.Get(seal.HeaderLanding) != seal.CodeRegisterFull {
		t.Errorf("too many were answered %d %s", r.status, r.body)
	}
	if after, _ := w.far.requests(); len(after) != len(before) {
		t.Error("the service saw a refused request")
	}
	for i, h := range before {
		if h.Header.Get(seal.HeaderRegister) != "" {
			t.Errorf("request %d brought %s to the service", i, seal.HeaderRegister)
		}
	}
	type list struct {
		Rows []struct{ Label, ID, Subject, Because, Rule, Entry, Since, Last string }
		Next string
	}
	one := getJSON[list](w, g, "/.isogate/register?limit=1")
	if len(one.Rows) != 1 || one.Rows[0].ID != "igt1caaaa" || one.Next == "" || one.Rows[0].Because != "Primary identifier" || one.Rows[0].Entry == "" {
		t.Errorf("the first page is %+v", one)
	}
	two := getJSON[list](w, g, "/.isogate/register?after="+one.Next)
	if len(two.Rows) != 1 || two.Rows[0].ID != "igt1cbbbb" || two.Next != "" {
		t.Errorf("the second page is %+v", two)
	}
	if l := getJSON[list](w, w.gateway("globex"), "/.isogate/register"); len(l.Rows) != 0 {
		t.Errorf("another tenant sees %+v", l)
	}
	if l := getJSON[list](w, g, "/.isogate/register?id=igt1cbbbb"); len(l.Rows) != 1 {
		t.Errorf("by id there is %+v", l)
	}
}

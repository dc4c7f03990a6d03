package hub

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/guess"
)

// everyRole is a house where each role has somebody of its name, and nobody has none.
func everyRole(t *testing.T) *house {
	t.Helper()
	return newHouse(t, func(c *Config) {
		var people []access.Configured
		for _, r := range access.Roles {
			people = append(people, access.Configured{Name: "the-" + string(r), Roles: []access.Role{r}, TokenSHA256: sum("token of the " + string(r))})
		}
		people = append(people, access.Configured{Name: "the-nobody", TokenSHA256: sum("token of the nobody")})
		c.Desk = newDesk(t, &memory{news: make(chan struct{})}, people...)
		c.Custody = &outsideOf{}
	})
}

// paths fills the variables of a pattern in.
var paths = strings.NewReplacer("{kind}", "app", "{name}", "bot", "{id}", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "{digest}", "sha256:"+strings.Repeat("0", 64), "{path...}", "x", "{$}", "")

// ATTACK: somebody calls what their role does not allow: by the address of a page, by
// posting its form, or by the API. THIS TEST VERIFIES, for each role and somebody
// without any, every page, form and operation that there is: what needs a right that
// they do not have is refused as such before anything of it is read, and what they
// may do is not. A page or operation that names no right is for nobody, and found here.
func TestAttackRoleEscalation(t *testing.T) {
	h := everyRole(t)
	for _, role := range append([]access.Role{"nobody"}, access.Roles...) {
		token := "token of the " + string(role)
		b := h.browser()
		signIn := func() { b.post("/signin/token", url.Values{"token": {token}}).want(http.StatusSeeOther) }
		signIn()
		for i := range pages {
			p := &pages[i]
			method, path, _ := strings.Cut(p.pattern, " ")
			r, err := http.NewRequest(method, h.server.URL+paths.Replace(path), strings.NewReader("="))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			g := b.do(r)
			refused := g.status == http.StatusForbidden && strings.Contains(g.body, "his needs the right to")
			if may := p.self || role.May(p.need); refused == may {
				t.Errorf("%s: %s: %d", role, p.pattern, g.status)
			}
			if strings.HasPrefix(g.header.Get("Location"), "/signin?") {
				signIn() // it was a sign-out
			}
		}
		for _, op := range routes {
			r, err := http.NewRequest(op.method, h.server.URL+Prefix+paths.Replace(op.path), strings.NewReader("="))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+token)
			g := h.browser().do(r)
			refused := g.status == http.StatusForbidden && strings.Contains(g.body, "urn:isogate:problem:right")
			if refused == role.May(op.need) {
				t.Errorf("%s: %s %s: %d %s", role, op.method, op.path, g.status, g.body)
			}
		}
	}
}

// What changes something needs more than the right to read, but for what these lists
// name. No page of an act is for whoever is signed in unless it is about themself.
func TestActsNeedMoreThanReading(t *testing.T) {
	reads := []string{"POST /apps/{kind}/{name}/diff"} // compares what is posted, and keeps nothing
	mine := []string{"POST /tokens", "POST /tokens/{id}/revoke"}
	for _, op := range routes {
		name := op.method + " " + op.path
		if op.need == 0 || op.method != http.MethodGet && op.need == access.Read && !slices.Contains(reads, name) && !slices.Contains(mine, name) {
			t.Errorf("the operation %s needs the right to %s", name, op.need)
		}
	}
	for _, p := range pages {
		about := []string{"/account", "/signin/again", "/signout"}
		switch {
		case p.self && !slices.ContainsFunc(about, func(s string) bool { return strings.Contains(p.pattern, " "+s) }):
			t.Errorf("the page %s is for whoever is signed in", p.pattern)
		case !p.self && p.need == 0:
			t.Errorf("the page %s is for nobody: it names no right", p.pattern)
		case !p.self && !strings.HasPrefix(p.pattern, "GET ") && p.need == access.Read && !strings.HasPrefix(p.pattern, "POST /explore/views"):
			t.Errorf("the act %s needs no more than the right to read", p.pattern)
		}
	}
	for _, p := range doors {
		if !strings.Contains(p.pattern, " /signin") {
			t.Errorf("the page %s is for anybody", p.pattern)
		}
	}
}

// ATTACK: somebody puts a session of their own making, or their own session, into the
// browser of somebody who then signs in (session fixation), or two cookies beside one
// another. THIS TEST VERIFIES that the secret after a sign-in is one that nobody had
// before, that the one before is over, and that two cookies are nobody.
func TestAttackSessionFixation(t *testing.T) {
	h := newHouse(t, nil)
	u, _ := url.Parse(h.server.URL)
	evil := h.browser().as("bob").secret()
	for _, planted := range []string{"chosen", strings.Repeat("A", 43), evil} {
		b := h.browser()
		b.client.Jar.SetCookies(u, []*http.Cookie{{Name: "isogate-acme", Value: planted}})
		b.as("olga")
		if got := b.secret(); got == planted || len(got) != 43 {
			t.Errorf("after the sign-in the secret is %q", got)
		}
		if _, err := h.desk.Visitor(planted); err == nil {
			t.Errorf("%q still opens a session", planted)
		}
	}
	r, _ := http.NewRequest(http.MethodGet, h.server.URL+"/account", nil)
	r.Header.Set("Cookie", "isogate-acme="+h.browser().as("olga").secret()+"; isogate-acme=x")
	(&browser{h, &http.Client{Transport: h.server.Client().Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}).do(r).want(http.StatusSeeOther, "/signin")
}

// ATTACK: a page of another site, or of another host of the same one, has the browser
// of somebody who is signed in post. THIS TEST VERIFIES that nothing is done, for every
// form that there is, and that no sign-in is either (login CSRF).
func TestAttackCrossSiteForms(t *testing.T) {
	h := newHouse(t, nil)
	b := h.browser().as("olga")
	before := h.journal.count()
	for _, p := range append(slices.Clone(pages), doors...) {
		method, path, _ := strings.Cut(p.pattern, " ")
		if method != http.MethodPost {
			continue
		}
		for _, header := range [][2]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"}} {
			r, _ := http.NewRequest(method, h.server.URL+paths.Replace(path), strings.NewReader("token="+tokens["olga"]+"&name=eve&roles[]=owner&role=owner"))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set(header[0], header[1])
			b.do(r).want(http.StatusForbidden, "another site")
		}
	}
	if h.journal.count() != before {
		t.Error("something was recorded")
	}
	b.get("/account").want(200, "olga")
}

// ATTACK: an address of the Hub's sign-in leads, once somebody has signed in, to a page
// of another site that looks like it (open redirect). THIS TEST VERIFIES that of many
// spellings of such addresses none leads off the Hub.
func TestAttackOpenRedirect(t *testing.T) {
	h := newHouse(t, nil)
	for _, to := range []string{"//evil.example", "///evil.example", "/\\evil.example", "\\/evil.example", "\\\\evil.example", "https://evil.example", "https:evil.example", "https:/evil.example",
		"HTTPS://evil.example", "javascript:alert(1)", "data:text/html,x", "/%2f/evil.example", "/%2F%2Fevil.example", "/%5cevil.example", "/\t/evil.example", "/\n/evil.example", "\t//evil.example",
		" //evil.example", "/ /evil.example", "/\r\nLocation: https://evil.example", "/.//evil.example", "/..//evil.example", "/x/..//evil.example", "/x/../../evil.example", "//evil.example/..", "evil.example",
		"@evil.example", "/@evil.example", "//olga@evil.example", "/\u2028/evil.example", "/\u3002/evil", "／／evil.example", "", "?", "#//evil.example", "/#//evil.example", "/x#@evil.example",
		"/signin/again?to=//evil.example", "/signout", "/" + strings.Repeat("x", 5000)} {
		b := h.browser()
		for _, g := range []got{b.post("/signin/token", url.Values{"token": {tokens["olga"]}, "to": {to}}), b.post("/signin/token?to="+url.QueryEscape(to), url.Values{"token": {tokens["olga"]}, "again": {"1"}})} {
			where := g.want(http.StatusSeeOther).header.Get("Location")
			u, err := url.Parse(where)
			base, _ := url.Parse(h.server.URL)
			if err != nil || base.ResolveReference(u).Host != base.Host || strings.HasPrefix(where, "//") || strings.ContainsAny(where, "\\\t\r\n") || strings.Contains(where, "evil") && where != "/@evil.example" {
				t.Errorf("%q leads to %q", to, where)
			}
		}
	}
	for _, to := range []string{"/", "/consents/01ARZ3NDEKTSV4RRFFQ69G5FAV", "/explore?label=personal.*&n=2", "/apps/app/a%2Fb"} {
		if where := local(to); where != to {
			t.Errorf("%q leads to %q", to, where)
		}
	}
}

// ATTACK: somebody ends or reads the session or token of somebody else by its ID
// (IDOR). THIS TEST VERIFIES that whoever is no owner cannot, by a page or the API, that
// they are told the same as of an ID of nothing, and that what they see is theirs.
func TestAttackOthersSessions(t *testing.T) {
	h := newHouse(t, nil)
	olga, bob, ada := h.browser().as("olga"), h.browser().as("bob"), h.browser().as("ada")
	ada.post("/account/tokens", url.Values{"name": {"adas"}, "rights[]": {"read"}, "days": {"1"}}).want(200)
	session, token := h.desk.State().Sessions("ada", time.Now())[0], h.desk.State().Tokens("ada", time.Now())[0]
	nothing := access.DigestOf("nothing")
	call := func(path string) got {
		r, _ := http.NewRequest(http.MethodPost, h.server.URL+Prefix+path, nil)
		r.Header.Set("Authorization", "Bearer "+tokens["bob"])
		return h.browser().do(r)
	}
	for _, b := range []*browser{bob, olga} { // an owner on the page about themself, too
		for _, id := range []access.Digest{session.ID, nothing} {
			b.post("/account/sessions/"+string(id)+"/end", nil).want(http.StatusNotFound, "here is none such of yours")
		}
		for _, id := range []access.Digest{token.ID, nothing} {
			b.post("/account/tokens/"+string(id)+"/revoke", nil).want(http.StatusNotFound, "here is none such of yours")
		}
	}
	for _, id := range []access.Digest{token.ID, nothing} {
		call("/tokens/"+string(id)+"/revoke").want(http.StatusNotFound, "here is none such of yours")
	}
	for _, path := range []string{"/sessions/" + string(session.ID) + "/end", "/tokens/" + string(token.ID) + "/revoke", "/people/ada/end", "/people/ada/remove"} {
		bob.post(path, nil).want(http.StatusForbidden, "the right to own")
	}
	if page := bob.get("/account").want(200).body; strings.Contains(page, "adas") || strings.Contains(page, string(session.ID)) {
		t.Error("bob sees what is ada's")
	}
	r, _ := http.NewRequest(http.MethodGet, h.server.URL+Prefix+"/tokens", nil)
	r.Header.Set("Authorization", "Bearer "+tokens["bob"])
	if g := h.browser().do(r).want(200); strings.Contains(g.body, "adas") {
		t.Errorf("bob is told of %s", g.body)
	}
	ada.get("/account").want(200, "adas")
	olga.post("/sessions/"+string(session.ID)+"/end", nil).want(http.StatusSeeOther, "session-ended")
	ada.get("/account").want(http.StatusSeeOther, "/signin")
}

// ATTACK: a session's cookie or an API token of one tenant is brought to another's
// Hub. THIS TEST VERIFIES that it is nobody's there.
func TestAttackOtherTenant(t *testing.T) {
	one, two := newHouse(t, nil), newHouse(t, func(c *Config) { c.Tenant = "umbrella" })
	olga := one.browser().as("olga")
	made := olga.post("/account/tokens", url.Values{"name": {"ci"}, "rights[]": {"read"}, "days": {"1"}}).want(200)
	at := strings.Index(made.body, access.TokenPrefix)
	token := made.body[at : at+len(access.TokenPrefix)+43]
	for _, c := range []struct {
		h       *house
		browser int
		api     int
	}{{one, 200, 200}, {two, http.StatusSeeOther, 401}} {
		b := c.h.browser()
		u, _ := url.Parse(c.h.server.URL)
		b.client.Jar.SetCookies(u, []*http.Cookie{{Name: "isogate-acme", Value: olga.secret()}, {Name: "isogate-umbrella", Value: olga.secret()}})
		b.get("/account").want(c.browser)
		r, _ := http.NewRequest(http.MethodGet, c.h.server.URL+Prefix+"/me", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		c.h.browser().do(r).want(c.api)
	}
}

// ATTACK: the Hub is put into a frame of another page, and a person made to click what
// they do not see. THIS TEST VERIFIES that every page, form and operation, for anybody
// or for somebody who is signed in, says that nobody may frame, sniff or store it.
func TestAttackClickjacking(t *testing.T) {
	h := newHouse(t, nil)
	for _, b := range []*browser{h.browser(), h.browser().as("olga")} {
		all := []string{"GET /nothing", "GET /%zz", "POST /nothing", "GET " + Prefix + "/nothing", "GET /assets/hub.css"}
		for _, p := range append(slices.Clone(pages), doors...) {
			all = append(all, p.pattern)
		}
		for _, r := range routes {
			all = append(all, r.method+" "+Prefix+r.path)
		}
		for _, name := range all {
			method, path, _ := strings.Cut(name, " ")
			if path == "/signout" || path == "/account/sessions/end" {
				continue
			}
			r, err := http.NewRequest(method, h.server.URL+paths.Replace(path), nil)
			if err != nil {
				continue
			}
			g := b.do(r)
			for header, value := range map[string]string{"X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin"} {
				if g.header.Get(header) != value {
					t.Errorf("%s: %s is %q", name, header, g.header.Get(header))
				}
			}
			if csp := g.header.Get("Content-Security-Policy"); !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") {
				t.Errorf("%s: the policy is %q", name, csp)
			}
			if cc := g.header.Get("Cache-Control"); cc != "no-store" && !strings.HasPrefix(path, "/assets/") {
				t.Errorf("%s: Cache-Control is %q", name, cc)
			}
		}
	}
}

// ATTACK: a name, a reason or a path has what acts on a terminal, ends a line or opens
// an element, so that a log or a page says what its writer chose (log injection). THIS
// TEST VERIFIES that no such name is anybody's, and that what was sent comes back, and
// is logged, escaped.
func TestAttackNamesInLogs(t *testing.T) {
	var log strings.Builder
	h := newHouse(t, func(c *Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	olga := h.browser().as("olga")
	before := h.journal.count()
	for _, name := range []string{"eve\nlevel=INFO msg=\"signed in\"", "eve\x1b[2J", "eve\u202e", "<script>alert(1)</script>", "Eve", "\u0435ve", "eve ", "", strings.Repeat("e", 101), "isogate serve", "../eve", "eve%0a"} {
		g := olga.post("/people", url.Values{"name": {name}, "roles[]": {"viewer"}})
		if g.status != http.StatusBadRequest {
			t.Errorf("%q: %d", name, g.status)
		}
		for _, bad := range []string{"\x1b", "\u202e", "<script>alert"} {
			if strings.Contains(g.body, bad) {
				t.Errorf("%q comes back as it was sent", name)
			}
		}
		olga.post("/people/"+url.PathEscape(name)+"/give", url.Values{"role": {"owner"}})
		h.browser().post("/signin/token", url.Values{"token": {name}})
		h.browser().get("/signin/link?key=" + url.QueryEscape(name))
	}
	olga.post("/people/ada/give", url.Values{"role": {"auditor"}, "reason": {"x\ny"}}).want(http.StatusBadRequest)
	r, _ := http.NewRequest(http.MethodGet, h.server.URL+Prefix+"/apps%0Alevel=INFO%20msg=owned", nil)
	r.Header.Set("Authorization", "Bearer x")
	h.browser().do(r).want(http.StatusTooManyRequests)
	if h.journal.count() != before {
		t.Error("something was recorded")
	}
	for line := range strings.Lines(log.String()) {
		if !strings.HasPrefix(line, "time=") || strings.ContainsAny(line, "\x1b\u202e") {
			t.Errorf("the log has the line %q", line)
		}
	}
}

// ATTACK: links and tokens are guessed at the Hub's sign-in. THIS TEST VERIFIES that an
// address has a few wrong ones, after which no right one is taken from it either, and
// that the journal gets one entry for all of them, not one each.
func TestAttackGuessedLinks(t *testing.T) {
	now := time.Now()
	h := newHouse(t, func(c *Config) { c.Now = func() time.Time { return now } })
	b := h.browser()
	for i := range guess.AtOnce {
		if i%2 == 0 {
			b.get("/signin/link?key=" + fmt.Sprint("guess", i)).want(http.StatusNotFound)
		} else {
			b.post("/signin/token", url.Values{"token": {fmt.Sprint("guess", i)}}).want(http.StatusForbidden)
		}
	}
	b.post("/signin/token", url.Values{"token": {tokens["olga"]}}).want(http.StatusTooManyRequests)
	b.get("/signin/link?key=x").want(http.StatusTooManyRequests)
	r, _ := http.NewRequest(http.MethodGet, h.server.URL+Prefix+"/me", nil)
	r.Header.Set("Authorization", "Bearer "+tokens["olga"])
	b.do(r).want(http.StatusTooManyRequests)
	if h.journal.count() != 0 {
		t.Errorf("%d entries", h.journal.count())
	}
}

package landing

import (
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/seal"
	"github.com/isogate/isogate/internal/vault"
)

// signIn signs a browser in and returns its Cookie field.
func (w *world) signIn(c *http.Client, token string, header ...string) reply {
	w.t.Helper()
	return w.do(c, "POST", "https://"+w.viewers+signInPath, url.Values{"token": {token}, "next": {"/tickets?id=1"}}.Encode(),
		append([]string{"Content-Type", "application/x-www-form-urlencoded"}, header...)...)
}

func cookieOf(r reply) string {
	c, _, _ := strings.Cut(r.header.Get("Set-Cookie"), ";")
	return c
}

// THIS TEST VERIFIES: a browser is asked to sign in, signs in, sees values, signs
// out and sees none; nothing of the landing's own reaches the service.
//
// promise: P41
func TestSignIn(t *testing.T) {
	w := newWorld(t, nil)
	k := w.key(seal.Context{Session: session})
	w.take(w.gateway("acme"), k)
	w.far.says("text/html; charset=utf-8", "<p>"+sealValue(t, k, display, "Ada")+"</p>")
	b := w.browser()
	asked := w.do(b, "GET", "https://"+w.viewers+"/tickets?id=1", "", "Accept", "text/html,*/*")
	if asked.status != 303 || asked.header.Get("Location") != signInPath+"?next=%2Ftickets%3Fid%3D1" {
		t.Fatalf("answered %d %s", asked.status, asked.header.Get("Location"))
	}
	form := w.do(b, "GET", "https://"+w.viewers+asked.header.Get("Location"), "")
	if form.status != 200 || !strings.Contains(form.body, `name="next" value="/tickets?id=1"`) || strings.Contains(form.body, "<script") ||
		!strings.Contains(form.body, "<style>"+signInCSS+"</style>") || // what the policy has the digest of
		!strings.HasPrefix(form.header.Get("Content-Security-Policy"), "default-src 'none'; style-src 'sha256-") {
		t.Fatalf("the form is %d %v %s", form.status, form.header, form.body)
	}
	in := w.signIn(b, agent)
	set := in.header.Get("Set-Cookie")
	if in.status != 303 || in.header.Get("Location") != "/tickets?id=1" || !strings.HasPrefix(set, "__Host-isogate=") ||
		!strings.Contains(set, "; HttpOnly") || !strings.Contains(set, "; Secure") || !strings.Contains(set, "; SameSite=Strict") {
		t.Fatalf("signing in was answered %d %v %s", in.status, in.header, in.body)
	}
	cookie := cookieOf(in)
	page := w.do(b, "GET", "https://"+w.viewers+"/tickets?id=1", "", "Cookie", "theirs=1; "+cookie+"; more=2", "Authorization", "Bearer the service's own")
	if page.body != "<p>Ada</p>" {
		t.Errorf("ada sees %s", page.body)
	}
	got, _ := w.far.requests()
	last := got[len(got)-1].Header
	if last.Get("Cookie") != "theirs=1; more=2" || last.Get("Authorization") != "Bearer the service's own" || last.Get("Accept-Encoding") != "identity" || last.Get("X-Forwarded-Proto") != "https" {
		t.Errorf("the service got %v", last)
	}
	w.look(agent, "/")
	got, _ = w.far.requests()
	if last := got[len(got)-1].Header; last.Get("Authorization") != "" {
		t.Error("the service got a viewer's token")
	}
	if again := w.do(b, "GET", "https://"+w.viewers+signInPath, "", "Cookie", cookie); !strings.Contains(again.body, "signed in as <strong>ada</strong>") {
		t.Errorf("the page says %s", again.body)
	}
	out := w.do(b, "POST", "https://"+w.viewers+signOutPath, "", "Content-Type", "application/x-www-form-urlencoded", "Cookie", cookie)
	if out.status != 303 || !strings.Contains(out.header.Get("Set-Cookie"), "Max-Age=0") {
		t.Errorf("signing out was answered %d %v", out.status, out.header)
	}
	if page := w.do(b, "GET", "https://"+w.viewers+"/", "", "Cookie", cookie); page.status != 401 {
		t.Errorf("a session that was signed out is answered %d", page.status)
	}
}

// ATTACK: session fixation: a victim's browser is given a cookie that the attacker
// knows, before the victim signs in; or two cookies of the name.
//
// THIS TEST VERIFIES: signing in makes a new session, ends the one that was shown,
// and of two cookies neither is believed.
func TestSessionFixation(t *testing.T) {
	w := newWorld(t, nil)
	b := w.browser()
	first := cookieOf(w.signIn(b, agent))
	second := cookieOf(w.signIn(b, other, "Cookie", first))
	if first == second || second == "" {
		t.Fatalf("the second session is %q", second)
	}
	for cookie, want := range map[string]int{first: 401, second: 200, first + "; " + second: 401, "__Host-isogate=AAAA; " + second: 401} {
		if r := w.do(b, "GET", "https://"+w.viewers+"/", "", "Cookie", cookie); r.status != want {
			t.Errorf("%q was answered %d", cookie, r.status)
		}
	}
}

// ATTACK: a link to the sign-in page carries another site as where to go next.
//
// THIS TEST VERIFIES: the browser is only ever sent to a path here.
func TestNoOpenRedirect(t *testing.T) {
	for _, next := range []string{"", "https://evil.example/", "//evil.example", "/\\evil.example", "\\/evil.example", "/\t/evil.example", "/ /evil", "/a\r\nSet-Cookie: x",
		"javascript:alert(1)", "/.isogate/sign-out", "/.Isogate/x", "evil", "/%2f/../\\evil", "http:evil"} {
		if got := nextOf(next); got != "/" {
			t.Errorf("%q leads to %q", next, got)
		}
	}
	for _, next := range []string{"/", "/tickets?id=1&x=//y", "/a/b//c"} {
		if got := nextOf(next); got != next {
			t.Errorf("%q leads to %q", next, got)
		}
	}
}

// ATTACK: tokens are guessed, by form and by header; another site's page posts the form.
//
// THIS TEST VERIFIES: after ten wrong ones no token of that address is tried, not
// even a right one; cross-site posts are refused.
func TestSignInIsNotGuessed(t *testing.T) {
	now := time.Now()
	w := newWorld(t, func(c *Config, _ *vault.Config) { c.Now = func() time.Time { return now } })
	b := w.browser()
	for _, field := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"}} {
		if r := w.signIn(b, agent, field...); r.status != 403 {
			t.Errorf("%v was answered %d", field, r.status)
		}
	}
	for i := range 10 {
		var r reply
		if i%2 == 0 {
			r = w.signIn(b, "guess"+strconv.Itoa(i))
		} else {
			r = w.look("guess"+strconv.Itoa(i), "/")
		}
		if r.status != 401 {
			t.Errorf("guess %d was answered %d", i, r.status)
		}
	}
	if r := w.signIn(b, agent); r.status != 429 || r.header.Get("Set-Cookie") != "" {
		t.Errorf("the right token was answered %d in the middle of guesses", r.status)
	}
	if r := w.look(agent, "/"); r.status != 429 {
		t.Errorf("the right token as a header was answered %d in the middle of guesses", r.status)
	}
	if got, _ := w.far.requests(); len(got) != 0 {
		t.Error("a guess reached the service")
	}
}

// ATTACK: a cookie is stolen where there is no TLS.
//
// THIS TEST VERIFIES: the edges for viewers and services do not listen without TLS
// but on loopback, and gateways' never.
func TestNoPlainEdges(t *testing.T) {
	w := newWorld(t, nil)
	ln := wildcard(t)
	if err := w.l.ServeViewers(t.Context(), ln, nil); err == nil || !strings.Contains(err.Error(), "without TLS") {
		t.Errorf("the viewers' edge listens on %s: %v", ln.Addr(), err)
	}
	if err := w.l.ServeService(t.Context(), ln, nil); err == nil {
		t.Error("the service's edge listens on every address")
	}
	if err := w.l.ServeGateways(t.Context(), ln, nil); err == nil {
		t.Error("the gateways' edge listens without TLS")
	}
}

// THIS TEST VERIFIES: JSON, HTML and text are shown with values in their own
// escapes, whole and streamed, and in pieces of every size; other types, encoded
// ones and other charsets pass untouched.
func TestShapes(t *testing.T) {
	w := newWorld(t, nil)
	k := w.key(seal.Context{Session: session})
	w.take(w.gateway("acme"), k)
	igs := sealValue(t, k, display, "A\"<b>\n")
	p := k.Passage()
	number, _ := p.Append(nil, display, isogate.Value{Kind: isogate.Number, Text: []byte("42")})
	for _, tc := range []struct{ media, body, want string }{
		{"application/json", `{"a":"` + igs + `","b":"` + string(number) + `"}`, `{"a":"A\"<b>\n","b":42}`},
		{"application/problem+json", `["` + igs + `"]`, `["A\"<b>\n"]`},
		{"text/html", "<b>" + igs, "<b>A&#34;&lt;b&gt;\n"},
		{"text/plain; charset=UTF-8", "x " + igs, "x A\"<b>\n"},
		{"text/html; charset=utf-16", igs, igs},
		{"text/css", igs, igs},
		{"application/javascript", igs, igs},
		{"image/svg+xml", igs, igs},
		{"", igs, igs},
	} {
		for _, piece := range []int{0, 1, 7, 50} { // 0 is whole
			w.far.answers(func(rw http.ResponseWriter, _ *http.Request, _ string) {
				rw.Header()["Content-Type"] = nil
				if tc.media != "" {
					rw.Header().Set("Content-Type", tc.media)
				}
				rw.Header().Set("Etag", `"1"`)
				rw.Header().Set("Cache-Control", "max-age=60")
				if piece == 0 {
					_, _ = io.WriteString(rw, tc.body)
					return
				}
				for at := 0; at < len(tc.body); at += piece {
					_, _ = io.WriteString(rw, tc.body[at:min(at+piece, len(tc.body))])
					_ = http.NewResponseController(rw).Flush()
				}
			})
			r := w.look(agent, "/")
			if r.body != tc.want || r.err != nil {
				t.Errorf("%s in pieces of %d:\n got %q %v\nwant %q", tc.media, piece, r.body, r.err, tc.want)
			}
			if revealed := tc.body != tc.want; revealed != (r.header.Get("Cache-Control") == "no-store") || revealed != (r.header.Get("Etag") == "") {
				t.Errorf("%s in pieces of %d: the head is %v", tc.media, piece, r.header)
			}
		}
	}
	w.far.answers(func(rw http.ResponseWriter, r *http.Request, _ string) {
		rw.Header().Set("Content-Type", "text/html")
		rw.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(rw)
		_, _ = io.WriteString(z, igs)
		_ = z.Close()
		if r.Header.Get("Range") != "" {
			t.Error("the service was asked for a part")
		}
	})
	if r := w.look(agent, "/", "Accept-Encoding", "gzip", "Range", "bytes=0-10"); r.header.Get(seal.HeaderLanding) != "encoded" || r.header.Get("Content-Encoding") != "gzip" {
		t.Errorf("an encoded page has the head %v", r.header)
	}
}

// ATTACK: the service installs a worker in the browser that keeps pages and shows
// them when the values are long gone; a page of a sibling site embeds an answer.
//
// THIS TEST VERIFIES: no worker's script is served, and browsers are told whose the
// answer is.
func TestNoServiceWorker(t *testing.T) {
	w := newWorld(t, nil)
	if r := w.look(agent, "/worker.js", "Service-Worker", "script"); r.status != 403 {
		t.Errorf("a worker's script is answered %d", r.status)
	}
	if got, _ := w.far.requests(); len(got) != 0 {
		t.Error("the service was asked for it")
	}
	k := w.key(seal.Context{Session: session})
	w.take(w.gateway("acme"), k)
	w.far.says("application/json", `["`+sealValue(t, k, display, "Ada")+`"]`)
	if r := w.look(agent, "/"); r.header.Get("Cross-Origin-Resource-Policy") != "same-origin" || r.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("the head is %v", r.header)
	}
}

// THIS TEST VERIFIES: a request may bring as many wrapped keys as there may be.
func TestManyKeysAtOnce(t *testing.T) {
	w := newWorld(t, nil)
	keys := make([]*seal.Sealer, seal.MaxKeys)
	for i := range keys {
		keys[i] = w.key(seal.Context{Handling: isogate.Temporary, TTL: time.Duration(i+1) * time.Minute})
	}
	r := w.send(w.gateway("acme"), "", keys)
	ids, err := seal.ParseHeld(r.header.Values(seal.HeaderHeld))
	if r.status != 200 || err != nil || len(ids) != len(keys) {
		t.Errorf("%d keys were answered %d %v, %d are held", len(keys), r.status, r.body, len(ids))
	}
}

// THIS TEST VERIFIES: an answer to HEAD and one without a body pass.
func TestBodiless(t *testing.T) {
	w := newWorld(t, nil)
	w.far.answers(func(rw http.ResponseWriter, r *http.Request, _ string) {
		rw.Header().Set("Content-Type", "text/html")
		if r.URL.Path == "/304" {
			rw.WriteHeader(304)
		}
		if r.URL.Path == "/204" {
			rw.WriteHeader(204)
		}
	})
	for path, want := range map[string]int{"/": 200, "/304": 304, "/204": 204} {
		for _, method := range []string{"GET", "HEAD"} {
			if r := w.do(w.browser(), method, "https://"+w.viewers+path, "", "Authorization", "Bearer "+agent); r.status != want || r.body != "" {
				t.Errorf("%s %s was answered %d %q", method, path, r.status, r.body)
			}
		}
	}
}

// THIS TEST VERIFIES: with Anonymous, somebody who is not known gets pages with
// every seal as [sealed], and without it nothing.
func TestAnonymous(t *testing.T) {
	for _, anonymous := range []bool{false, true} {
		w := newWorld(t, func(c *Config, _ *vault.Config) { c.Anonymous = anonymous })
		k := w.key(seal.Context{Session: session})
		w.take(w.gateway("acme"), k)
		before, _ := w.far.requests()
		w.far.says("text/plain", sealValue(t, k, display, "Ada"))
		r := w.look("", "/")
		after, _ := w.far.requests()
		if anonymous && (r.status != 200 || r.body != "[sealed]") {
			t.Errorf("anonymous: %d %s", r.status, r.body)
		}
		if !anonymous && (r.status != 401 || len(after) != len(before)) {
			t.Errorf("not anonymous: %d %s", r.status, r.body)
		}
	}
}

// ATTACK: a hostile service shows one viewer the seals of another tenant, of
// another transit, seals that it changed, and seals of keys that never were.
//
// THIS TEST VERIFIES: no value is shown that the viewer has no right to.
func TestHostileServiceEchoesSeals(t *testing.T) {
	w := newWorld(t, func(c *Config, _ *vault.Config) {
		c.Viewers = append(c.Viewers, Viewer{Name: "one-transit", TokenSHA256: sum("t3"), Tenants: []isogate.Tenant{"acme"}, Labels: []isogate.LabelPattern{"**"}, Transits: []isogate.Transit{"tickets"}},
			Viewer{Name: "nothing", TokenSHA256: sum("t4")})
	})
	mine, theirs := w.key(seal.Context{Session: session}), w.key(seal.Context{Tenant: "globex", Session: session})
	w.take(w.gateway("acme"), mine)
	w.take(w.gateway("globex"), theirs)
	never := w.key(seal.Context{Session: session})
	a, b, c := sealValue(t, mine, display, "Ada"), sealValue(t, theirs, display, "Grace"), sealValue(t, never, display, "Nobody")
	changed := []byte(a)
	if at := len(changed) - 3; changed[at] == 'a' {
		changed[at] = 'b'
	} else {
		changed[at] = 'a'
	}
	w.far.says("text/plain", strings.Join([]string{a, b, c, string(changed), strings.ToUpper(a)}, " "))
	for token, want := range map[string]string{
		agent: "Ada [sealed] [expired] [sealed] Ada",
		other: "[sealed] [sealed] [expired] [sealed] [sealed]",
		"t3":  "[sealed] [sealed] [expired] [sealed] [sealed]",
		"t4":  "[sealed] [sealed] [expired] [sealed] [sealed]",
	} {
		if r := w.look(token, "/"); r.body != want {
			t.Errorf("%s sees %q, want %q", token, r.body, want)
		}
	}
}

// ATTACK: somebody with a stolen token reads through the database.
//
// THIS TEST VERIFIES: beyond their measure seals are withheld, those that they
// have seen are not, and the next minute there is room again.
func TestMeasure(t *testing.T) {
	var later atomic.Int64
	w := newWorld(t, func(c *Config, _ *vault.Config) {
		c.RevealsPerMinute, c.Now = 3, func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	})
	k := w.key(seal.Context{Session: session})
	w.take(w.gateway("acme"), k)
	var igs []string
	for i := range 5 {
		igs = append(igs, sealValue(t, k, display, "v"+strconv.Itoa(i)))
	}
	w.far.says("text/plain", strings.Join(igs, " "))
	for range 2 {
		if r := w.look(agent, "/"); r.body != "v0 v1 v2 [sealed] [sealed]" {
			t.Errorf("ada sees %q", r.body)
		}
	}
	later.Store(int64(time.Minute))
	w.far.says("text/plain", igs[4])
	if r := w.look(agent, "/"); r.body != "v4" {
		t.Errorf("a minute later ada sees %q", r.body)
	}
}

// ATTACK: the service breaks off inside a page, or sends one without end.
//
// THIS TEST VERIFIES: the viewer's answer is broken off too and not taken for
// whole, and a page larger than memory would be wise to hold is streamed.
func TestBrokenAndGiantPages(t *testing.T) {
	w := newWorld(t, nil)
	k := w.key(seal.Context{Session: session})
	w.take(w.gateway("acme"), k)
	igs := sealValue(t, k, display, "Ada")
	for _, length := range []string{"100000", ""} {
		w.far.answers(func(rw http.ResponseWriter, _ *http.Request, _ string) {
			rw.Header().Set("Content-Type", "text/html")
			if length != "" {
				rw.Header().Set("Content-Length", length)
			}
			_, _ = io.WriteString(rw, "<p>"+igs+"</p>"+igs[:30])
			_ = http.NewResponseController(rw).Flush()
			panic(http.ErrAbortHandler)
		})
		req, _ := http.NewRequest("GET", "https://"+w.viewers+"/", nil)
		req.Header.Set("Authorization", "Bearer "+agent)
		res, err := w.browser().Do(req)
		if err != nil {
			continue
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err == nil && res.StatusCode == 200 {
			t.Errorf("a broken page passed for whole: %q", body)
		}
	}
	const rows = 200_000
	w.far.answers(func(rw http.ResponseWriter, _ *http.Request, _ string) {
		rw.Header().Set("Content-Type", "text/html")
		for range rows {
			if _, err := fmt.Fprintf(rw, "<tr><td title=\"x\">%s</td></tr>\n", "row"); err != nil {
				return
			}
		}
		_, _ = io.WriteString(rw, igs)
	})
	if r := w.look(agent, "/"); r.err != nil || !strings.HasSuffix(r.body, "</tr>\nAda") || len(r.body) < 20*rows {
		t.Errorf("of the giant page there are %d bytes, %v", len(r.body), r.err)
	}
}

// ATTACK: a service sends a page's seals, and the rest once the session has ended.
//
// THIS TEST VERIFIES: what is shown then are no values: none is opened before the
// page can leave, in one piece or as it comes.
func TestPageThatWaitsForTheEnd(t *testing.T) {
	for _, length := range []string{"", "100000"} {
		w := newWorld(t, nil)
		g := w.gateway("acme")
		k := w.key(seal.Context{Session: session})
		w.take(g, k)
		igs := sealValue(t, k, display, "Ada")
		w.far.answers(func(rw http.ResponseWriter, _ *http.Request, _ string) {
			rw.Header().Set("Content-Type", "text/html")
			text := igs
			if length != "" {
				rw.Header().Set("Content-Length", length)
				text = "<p>" + igs + "</p>"
			}
			_, _ = io.WriteString(rw, text)
			_ = http.NewResponseController(rw).Flush()
			if r := w.do(g, "POST", "https://"+w.gateways+"/.isogate/sessions/end", `{"session":"`+session+`"}`, "Content-Type", "application/json"); r.status != 200 {
				t.Errorf("the end is answered %d %s", r.status, r.body)
			}
			_, _ = io.WriteString(rw, strings.Repeat(" ", 100_000-len(text)))
		})
		if r := w.look(agent, "/"); r.err != nil || r.status != 200 || strings.Contains(r.body, "Ada") || !strings.Contains(r.body, "[expired]") {
			t.Errorf("length %q: ada sees %d %.40q %v", length, r.status, r.body, r.err)
		}
	}
}

// THIS TEST VERIFIES: a page that comes slowly is shown as it comes.
func TestSlowPage(t *testing.T) {
	w := newWorld(t, nil)
	k := w.key(seal.Context{Session: session})
	w.take(w.gateway("acme"), k)
	igs := sealValue(t, k, display, "Ada")
	more := make(chan struct{})
	w.far.answers(func(rw http.ResponseWriter, _ *http.Request, _ string) {
		rw.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(rw, "<p>"+igs+"</p>")
		_ = http.NewResponseController(rw).Flush()
		<-more
		_, _ = io.WriteString(rw, "end")
	})
	req, _ := http.NewRequest("GET", "https://"+w.viewers+"/", nil)
	req.Header.Set("Authorization", "Bearer "+agent)
	res, err := w.browser().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	first := make([]byte, len("<p>Ada</p>"))
	if _, err := io.ReadFull(res.Body, first); err != nil || string(first) != "<p>Ada</p>" {
		t.Fatalf("first came %q %v", first, err)
	}
	close(more)
	if rest, err := io.ReadAll(res.Body); err != nil || string(rest) != "end" {
		t.Errorf("then came %q %v", rest, err)
	}
}

// ATTACK: /.isogate/open is used as an oracle: without a token, with another's
// rights, with seals of others, with more than the measure.
//
// THIS TEST VERIFIES: it shows what a page would show and no more, records it, and
// counts it.
func TestOpenIsNoOracle(t *testing.T) {
	w := newWorld(t, func(c *Config, _ *vault.Config) { c.RevealsPerMinute = 2 })
	mine, theirs := w.key(seal.Context{Session: session}), w.key(seal.Context{Tenant: "globex", Session: session})
	w.take(w.gateway("acme"), mine)
	w.take(w.gateway("globex"), theirs)
	plain := &http.Client{Transport: &http.Transport{}}
	open := func(token string, igs ...string) reply {
		return w.do(plain, "POST", "http://"+w.service+"/.isogate/open", `{"seals":["`+strings.Join(igs, `","`)+`"]}`, "Content-Type", "application/json", "Authorization", "Bearer "+token)
	}
	a, b := sealValue(t, mine, display, `Ada "<&>`), sealValue(t, theirs, display, "Grace")
	if r := open(agent, a, b, "igs1nonsense", ""); r.status != 200 ||
		r.body != `{"values":[{"state":"revealed","kind":"string","value":"Ada \"\u003c\u0026\u003e"},{"state":"sealed"},{"state":"sealed"},{"state":"sealed"}]}`+"\n" {
		t.Errorf("answered %d %s", r.status, r.body)
	}
	if r := open(other, a); r.body != `{"values":[{"state":"sealed"}]}`+"\n" {
		t.Errorf("bob is answered %d %s", r.status, r.body)
	}
	if e := w.events("acme", func(e seal.Event) bool { return e.Kind == seal.RevealedTo }); e.Viewer != "ada" {
		t.Errorf("the receipt says %+v", e)
	}
	if r := open(agent, sealValue(t, mine, display, "2"), sealValue(t, mine, display, "3")); !strings.Contains(r.body, `"2"`) || !strings.HasSuffix(r.body, `,{"state":"sealed"}]}`+"\n") {
		t.Errorf("over the measure: %s", r.body)
	}
	for _, token := range []string{"", "wrong", program} {
		if r := open(token, a); r.status != 401 {
			t.Errorf("the token %q is answered %d %s", token, r.status, r.body)
		}
	}
	// A page's script may ask as who is signed in, but no page of another site.
	cookie := cookieOf(w.signIn(w.browser(), agent))
	for site, want := range map[string]int{"same-origin": 200, "cross-site": 403} {
		if r := w.do(w.browser(), "POST", "https://"+w.viewers+"/.isogate/open", `{"seals":["`+a+`"]}`, "Content-Type", "application/json", "Cookie", cookie, "Sec-Fetch-Site", site); r.status != want {
			t.Errorf("from %s: %d %s", site, r.status, r.body)
		}
	}
}

// THIS TEST VERIFIES: the service ends sessions with its token, and nobody else does.
func TestServiceEndsSessions(t *testing.T) {
	w := newWorld(t, nil)
	k := w.key(seal.Context{Session: session})
	w.take(w.gateway("acme"), k)
	plain := &http.Client{Transport: &http.Transport{}}
	for token, want := range map[string]int{agent: 401, "": 401, program: 200} {
		header := []string{"Content-Type", "application/json"}
		if token != "" {
			header = append(header, "Authorization", "Bearer "+token)
		}
		if r := w.do(plain, "POST", "http://"+w.service+"/.isogate/sessions/end", `{"session":"`+session+`"}`, header...); r.status != want {
			t.Errorf("%q is answered %d %s", token, r.status, r.body)
		}
	}
	w.events("acme", func(e seal.Event) bool { return e.Kind == seal.Destroyed && e.Key == k.ID() })
	if r := w.do(plain, "GET", "http://"+w.service+"/", ""); r.status != 404 {
		t.Errorf("the service's edge passes requests on: %d", r.status)
	}
}

// wildcard is a listener on every address.
func wildcard(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

package browsertest

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
)

// good is a page without faults, whose look is changed by each preference.
const good = `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Good</title><meta name="viewport" content="width=device-width"><link rel="icon" href="data:,"><link rel="stylesheet" href="/good.css"><script src="/good.js" defer></script></head>
<body><main><h1>Good</h1><p><a href="/bad">to the bad page</a></p>
<form method="post" action="/form"><fieldset><legend>How</legend><label><input type="radio" name="how" value="a"> one way</label> <label><input type="radio" name="how" value="b" checked> another way</label></fieldset>
<p><label>Name <input name="name" value="old" autofocus></label></p><p><label>Day <input type="date" name="day"></label></p><p><label>What <select name="what"><option value="1">first</option><option value="2">second</option></select></label></p>
<p><label><input type="checkbox" name="sure" value="yes"> I am sure</label></p><p><button>Send it</button></p></form>
<p><a href="/file" download>Get the file</a></p><div class="scrolls" tabindex="0" role="region" aria-label="Wide"><div class="wide">wide</div></div><p id="script">no script</p></main></body></html>`

const goodCSS = `body{margin:1em;background:#fff;color:#111;font:16px/1.5 sans-serif} a{color:#00f;display:inline-block;padding:4px} button,input,select{font:inherit;min-height:24px;min-width:24px}
:focus-visible{outline:3px solid #05a} .scrolls{overflow-x:auto} .wide{width:2000px} a{transition:color .3s}
@media (prefers-color-scheme:dark){body{background:#111;color:#eee} a{color:#9cf} :focus-visible{outline-color:#9cf}}
@media (prefers-reduced-motion:reduce){a{transition:none}}`

// bad has a fault of each kind.
const bad = `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Bad</title><meta name="viewport" content="width=device-width"><link rel="icon" href="data:,"><link rel="stylesheet" href="/bad.css"><script src="/bad.js" defer></script></head>
<body><div class="cover">in front</div><main><h1>Bad</h1><p class="pale">pale text</p><p><a class="hidden" href="/1">behind</a></p><p><a class="unseen" href="/2">unseen focus</a></p>
<p><a class="shadow" href="/3">only a shadow</a></p><p><button class="nameless"></button></p><p><a href="/4" tabindex="-1">mouse only</a></p><p class="cut">cut off when letters are wider</p><p class="tiny"><a href="/5">1</a><a href="/6">2</a></p><div class="wide">wide</div>
<img src="http://other.example/x.png" alt=""><p onclick="alert(1)">inline</p></main></body></html>`

const badCSS = `body{margin:1em;background:#fff;color:#111} .pale{color:#ccc} .wide{width:2000px} .cut{width:200px;overflow:hidden;white-space:nowrap} .cover{position:fixed;top:0;left:0;right:0;height:150px;background:#eee;z-index:2} main{padding-top:20px} .hidden{position:absolute;top:20px}
:focus{outline:none} a:focus,button:focus{outline:3px solid #05a} a.unseen:focus{outline:none} a.shadow:focus{outline:none;box-shadow:0 0 0 3px #05a} .tiny a{font-size:8px;display:inline-block;width:8px;height:8px} h1{transition:color 1s}`

// pages serves both, under a policy that forbids what is not theirs.
func pages(t *testing.T) *httptest.Server {
	mux := http.NewServeMux()
	serve := func(path, kind, text string) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; form-action 'self'; require-trusted-types-for 'script'; trusted-types 'none'")
			_, _ = w.Write([]byte(text))
		})
	}
	const html, css, js = "text/html; charset=utf-8", "text/css", "text/javascript"
	serve("/good", html, good)
	serve("/good.css", css, goodCSS)
	serve("/good.js", js, `document.getElementById("script").textContent = "script ran"`)
	serve("/bad", html, bad)
	serve("/bad.css", css, badCSS)
	serve("/bad.js", js, `console.error("it broke"); document.querySelector("h1").textContent = "Scripted"; document.querySelector("h1").innerHTML = "x"`)
	mux.HandleFunc("GET /file", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Disposition", `attachment; filename="named.txt"`)
		_, _ = w.Write([]byte("what is in it"))
	})
	mux.HandleFunc("POST /form", func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		http.SetCookie(w, &http.Cookie{Name: "was", Value: "here", HttpOnly: true})
		w.Header().Set("Content-Type", html)
		w.WriteHeader(http.StatusForbidden)
		_, _ = fmt.Fprintf(w, `<!doctype html><title>Sent</title><link rel="icon" href="data:,"><p>%s`, r.PostForm.Encode())
	})
	s := httptest.NewUnstartedServer(mux)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// certificates are those of a server.
func certificates(s *httptest.Server) []*x509.Certificate {
	return []*x509.Certificate{s.Certificate()}
}

// A page that is good has nothing said against it, and each fault of one that is not
// is noticed: a check that notices nothing is worth nothing.
func TestFaultsAreNoticed(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser takes seconds to start")
	}
	s := pages(t)
	trusted := StartIn(t, Options{Hosts: map[string]string{"hub.example": s.Listener.Addr().String()}, Trust: certificates(s)})
	trusted.See(Sight{Width: 600, Height: 600})

	t.Run("good", func(t *testing.T) {
		b := trusted.For(t)
		if status := b.Open("https://hub.example/good"); status != http.StatusOK {
			t.Fatalf("status %d", status)
		}
		if violations, unsure := b.Axe(); len(violations)+len(unsure) > 0 {
			t.Errorf("axe: %v, unsure: %v", violations, unsure)
		}
		w := b.Walk()
		if faults := w.Faults(); len(faults) > 0 || len(w.Stops) != 9 {
			t.Errorf("walk: %v %q", w.Stops, faults)
		}
		if got := b.Glance(); len(got) > 0 {
			t.Errorf("glance: %q", got)
		}
		if got := b.Sideways(); len(got) > 0 {
			t.Errorf("sideways: %q", got)
		}
		if got := b.Moving(); len(got) == 0 {
			t.Error("a transition is not seen")
		}
		if got := b.Spaced(); len(got) > 0 {
			t.Errorf("cut off: %q", got)
		}
		if got := b.Complaints(); len(got) > 0 {
			t.Errorf("complaints: %q", got)
		}
		if !strings.Contains(b.Text(), "script ran") {
			t.Error("its script did not run")
		}
	})
	t.Run("sights", func(t *testing.T) {
		b := trusted.For(t)
		defer b.See(Sight{Width: 600, Height: 600})
		ground := `getComputedStyle(document.body).backgroundColor`
		b.See(Sight{Width: 1280, Height: 800, Zoom: 200, Dark: true, LessMotion: true, NoScript: true})
		b.Open("https://hub.example/good")
		if got := b.Script(ground); got != "rgb(17, 17, 17)" {
			t.Errorf("in the dark the ground is %s", got)
		}
		if got := b.Number("window.innerWidth"); got != 640 {
			t.Errorf("with 200 %%, 1280 pixels are %v", got)
		}
		if got := b.Moving(); len(got) > 0 {
			t.Errorf("moves: %q", got)
		}
		if !strings.Contains(b.Text(), "no script") {
			t.Error("a script ran")
		}
		b.See(Sight{ForcedColours: true})
		if b.Script(`String(matchMedia("(forced-colors: active)").matches)`) != "true" {
			t.Error("colours are not forced")
		}
		if got := b.Number(`devicePixelRatio`); got != 1 {
			t.Errorf("the zoom stays at %v", got)
		}
	})
	t.Run("inspected", func(t *testing.T) {
		b := trusted.Window(t)
		pictures := map[string]int{}
		faults, unsure := b.Inspect(Inspection{URL: "https://hub.example/good", Picture: func(how string, png []byte) { pictures[how] = len(png) }})
		if len(faults)+len(unsure) > 0 || len(pictures) != 4 {
			t.Errorf("the good page: %q, unsure %q, pictures %v", faults, unsure, pictures)
		}
		faults, _ = b.Inspect(Inspection{URL: "https://hub.example/bad"})
		for _, part := range []string{"on a screen, axe", "by the keyboard", "with wider spacing", "in the dark, axe", "on a phone", "at 200 %", "in forced colours", "with less motion", "without scripts", "complaint"} {
			if !slices.ContainsFunc(faults, func(f string) bool { return strings.HasPrefix(f, part) }) {
				t.Errorf("of the bad page nothing is said about %q:\n%s", part, strings.Join(faults, "\n"))
			}
		}
	})
	t.Run("acts", func(t *testing.T) {
		b := trusted.For(t)
		b.Open("https://hub.example/good")
		file, called := b.Download("Get the file")
		if text, err := os.ReadFile(file); err != nil || string(text) != "what is in it" || called != "named.txt" {
			t.Errorf("downloaded %q %q (%v)", text, called, err)
		}
		b.Tick("one way")
		b.Tick("I am sure")
		b.Type("Name", "née Byron")
		b.Choose("What", "second")
		if b.Has("Send it all") || !b.Has("Send it") {
			t.Error("buttons are not known by their names")
		}
		if status := b.Press("Send it"); status != http.StatusForbidden {
			t.Errorf("status %d", status)
		}
		if got := b.Text(); got != "day=&how=a&name=n%C3%A9e+Byron&sure=yes&what=2" {
			t.Errorf("sent %s", got)
		}
		if b.Cookie("was") != "here" {
			t.Error("there is no cookie")
		}
		other := b.Window(t)
		other.Open("https://hub.example/good")
		if got := other.Cookie("was"); got != "" {
			t.Errorf("another person's window has the cookie %s", got)
		}
		if got := b.Complaints(); len(got) > 0 {
			t.Errorf("complaints: %q", got)
		}
		if got := b.Hosts(); !slices.Equal(got, []string{"hub.example"}) {
			t.Errorf("hosts %q", got)
		}
	})
	t.Run("bad", func(t *testing.T) {
		b := trusted.For(t)
		b.Open("https://hub.example/bad")
		violations, _ := b.Axe()
		var rules []string
		for _, v := range violations {
			rules = append(rules, v.Rule)
		}
		for _, rule := range []string{"button-name", "color-contrast", "target-size"} {
			if !slices.Contains(rules, rule) {
				t.Errorf("axe does not notice %s: %q", rule, rules)
			}
		}
		if only, _ := b.Axe("color-contrast"); len(only) != 1 || only[0].Rule != "color-contrast" || !strings.Contains(only[0].String(), "pale") {
			t.Errorf("asked for one rule: %v", only)
		}
		faults := strings.Join(b.Walk().Faults(), "\n")
		for _, part := range []string{"“unseen focus”: the focus is not seen", "button.nameless “” has no name", "“mouse only” is not reached", "“inline” is not reached"} {
			if !strings.Contains(faults, part) {
				t.Errorf("the walk does not notice %q:\n%s", part, faults)
			}
		}
		glance := strings.Join(b.Glance(), "\n")
		for _, part := range []string{"“unseen focus”: the focus is not seen", "a.hidden “behind” is hidden behind something"} {
			if !strings.Contains(glance, part) {
				t.Errorf("a glance does not notice %q:\n%s", part, glance)
			}
		}
		if strings.Contains(faults+glance, "only a shadow") {
			t.Errorf("a shadow is not seen:\n%s", faults)
		}
		// The browser scrolls what is focused into view; at the top there is nothing to scroll.
		if !strings.Contains(faults, "a.hidden “behind” is hidden behind something") {
			t.Errorf("the walk does not notice what is covered:\n%s", faults)
		}
		if got := b.Spaced(); len(got) == 0 || !strings.Contains(got[0], "p.cut") {
			t.Errorf("what is cut off with wider spacing: %q", got)
		}
		if got := strings.Join(b.Sideways(), "\n"); !strings.Contains(got, "the page: ") || !strings.Contains(got, "div.wide") {
			t.Errorf("sideways: %s", got)
		}
		complaints := strings.Join(b.Complaints(), "\n")
		for _, part := range []string{"it broke", "img-src", "require-trusted-types-for", "script-src-attr"} {
			if !strings.Contains(complaints, part) {
				t.Errorf("no complaint of %q:\n%s", part, complaints)
			}
		}
		b.See(Sight{Width: 600, Height: 600, ForcedColours: true})
		defer b.See(Sight{Width: 600, Height: 600})
		for how, faults := range map[string][]string{"walk": b.Walk().Faults(), "glance": b.Glance()} {
			if all := strings.Join(faults, "\n"); !strings.Contains(all, "“only a shadow”: the focus is not seen") {
				t.Errorf("under forced colours there is no shadow, by a %s:\n%s", how, all)
			}
		}
	})
	t.Run("authenticator", func(t *testing.T) {
		b := trusted.Window(t)
		b.Open("https://hub.example/good")
		a := b.Authenticator()
		make := `navigator.credentials.create({publicKey: {rp: {id: "hub.example", name: "Hub"}, user: {id: new Uint8Array([1]), name: "ada", displayName: "Ada"}, challenge: new Uint8Array(32),
			pubKeyCredParams: [{type: "public-key", alg: -7}], authenticatorSelection: {residentKey: "required", userVerification: "required"}}}).then(() => window.made = "made", e => window.made = String(e)); ""`
		b.Script(make)
		b.Await("it is made", `window.made`)
		if got := b.Script(`window.made`); got != "made" || len(a.Credentials()) != 1 {
			t.Errorf("%s, %d", got, len(a.Credentials()))
		}
	})
	t.Run("one name", func(t *testing.T) {
		// Without the certificate, the page is not shown.
		b := StartIn(t, Options{Hosts: map[string]string{"hub.example": s.Listener.Addr().String()}})
		if _, err := b.TryOpen("https://hub.example/good"); err == nil || !strings.Contains(err.Error(), "ERR_CERT") {
			t.Errorf("opened: %v", err)
		}
		if _, err := b.TryOpen("https://elsewhere.example/"); err == nil || !strings.Contains(err.Error(), "ERR_NAME_NOT_RESOLVED") {
			t.Errorf("opened: %v", err)
		}
	})
}

// The file that pages are judged by is the one that its makers published.
func TestAxeIsUnchanged(t *testing.T) {
	sum := sha256.Sum256([]byte(axe))
	if got := hex.EncodeToString(sum[:]); got != axeSum {
		t.Errorf("testdata/axe/axe.min.js has the SHA-256 %s, not %s", got, axeSum)
	}
	if !strings.HasPrefix(axe, "/*! axe v4.14.1\n") {
		t.Error("it is another release")
	}
}

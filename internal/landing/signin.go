package landing

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"log/slog"
	"mime"
	"net/url"
	"strings"

	"github.com/isogate/isogate/internal/http1"
)

const (
	signInPath  = "/.isogate/sign-in"
	signOutPath = "/.isogate/sign-out"
	// maxForm is the largest form of ours, in bytes.
	maxForm = 16 << 10
)

//go:embed signin.html
var signInHTML string

//go:embed signin.css
var signInCSS string

// signInPage is the page where viewers sign in: no script, one style, nothing from
// elsewhere.
type signInPage struct {
	title string
	t     *template.Template
	csp   string
}

func newSignInPage(title string) *signInPage {
	sum := sha256.Sum256([]byte(signInCSS))
	return &signInPage{
		title: title,
		t:     template.Must(template.New("sign-in").Parse(signInHTML)),
		csp: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
	}
}

// signInView is what the page shows.
type signInView struct {
	Title, Problem string
	Style          template.CSS
	Viewer         string // signed in already
	Sessions       int
	Next           string
}

func (l *Landing) viewerCall(x *http1.Exchange, path string) *refusal {
	method := x.Request.Method
	switch {
	case path == "sign-in" && (method == "GET" || method == "HEAD"):
		return l.signInForm(x)
	case path == "sign-in" && method == "POST":
		return l.signIn(x)
	case path == "sign-out" && method == "POST":
		return l.signOut(x)
	case path == "open" && method == "POST":
		return l.openBySession(x)
	case path == "sign-in", path == "sign-out", path == "open":
		return wrongMethod()
	}
	return notFound()
}

func (l *Landing) signInForm(x *http1.Exchange) *refusal {
	q, r := query(x, "next")
	if r != nil {
		return r
	}
	v := signInView{Next: nextOf(q["next"])}
	if c := l.who(x); c.viewer != nil && c.session != "" {
		v.Viewer, v.Sessions = c.viewer.Name, l.viewers.count(c.viewer)
	}
	l.signInAnswer(x, 200, v)
	return nil
}

func (l *Landing) signInAnswer(x *http1.Exchange, status int, v signInView, header ...http1.Field) {
	v.Title, v.Style = l.page.title, template.CSS(signInCSS) //nolint:gosec // it is ours, and compiled in
	var b bytes.Buffer
	if err := l.page.t.Execute(&b, v); err != nil {
		l.refuse(x, l.broken("the sign-in page cannot be written", err))
		return
	}
	_ = x.Respond(status, append(header,
		http1.Field{Name: "Content-Type", Value: "text/html; charset=utf-8"},
		http1.Field{Name: "Content-Security-Policy", Value: l.page.csp},
		http1.Field{Name: "Cache-Control", Value: "no-store"},
		http1.Field{Name: "Cross-Origin-Opener-Policy", Value: "same-origin"},
		http1.Field{Name: "Referrer-Policy", Value: "no-referrer"},
		http1.Field{Name: "X-Content-Type-Options", Value: "nosniff"},
		http1.Field{Name: "X-Frame-Options", Value: "DENY"}), b.Bytes()) // whoever asked is gone; there is nobody to tell
}

// signIn begins a session. It always has a new name, and the one that was shown
// ends: nobody can choose a session for somebody else.
func (l *Landing) signIn(x *http1.Exchange) *refusal {
	form, r := formOf(x)
	if r != nil {
		return r
	}
	next := nextOf(form.Get("next"))
	w, tooMany := l.viewers.byToken(strings.TrimSpace(form.Get("token")), x.Request.Remote.Addr())
	switch {
	case tooMany:
		l.signInAnswer(x, 429, signInView{Next: next, Problem: "Too many wrong tokens came from your address. Wait a little, and use the right one."},
			http1.Field{Name: "Retry-After", Value: "1"})
		return nil
	case w == nil:
		l.metrics.signIns.WithLabelValues("refused").Inc()
		l.logger.Warn("a wrong viewer's token", slog.String("remote", x.Request.Remote.Addr().String()))
		l.signInAnswer(x, 401, signInView{Next: next, Problem: "That token is nobody's."})
		return nil
	}
	name := cookieName(x)
	old, _ := splitCookies(x.Request.Header.Get("Cookie"), name)
	l.viewers.signOut(old, false)
	l.metrics.signIns.WithLabelValues("done").Inc()
	cookie := name + "=" + l.viewers.signIn(w) + "; Path=/; HttpOnly; SameSite=Strict"
	if x.Request.TLS != nil {
		cookie += "; Secure"
	}
	respondEmpty(x, 303, http1.Field{Name: "Location", Value: next}, http1.Field{Name: "Set-Cookie", Value: cookie})
	return nil
}

func (l *Landing) signOut(x *http1.Exchange) *refusal {
	form, r := formOf(x)
	if r != nil {
		return r
	}
	name := cookieName(x)
	id, _ := splitCookies(x.Request.Header.Get("Cookie"), name)
	l.viewers.signOut(id, form.Get("all") == "yes")
	cookie := name + "=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"
	if x.Request.TLS != nil {
		cookie += "; Secure"
	}
	respondEmpty(x, 303, http1.Field{Name: "Location", Value: signInPath}, http1.Field{Name: "Set-Cookie", Value: cookie},
		http1.Field{Name: "Clear-Site-Data", Value: `"cache"`})
	return nil
}

// formOf reads a form of ours that a page of ours sent.
func formOf(x *http1.Exchange) (url.Values, *refusal) {
	if !sameOrigin(x) {
		return nil, &refusal{status: 403, code: codeCrossSite, detail: "a page of another site sent this; use the one at " + signInPath}
	}
	if media, _, err := mime.ParseMediaType(x.Request.Header.Get("Content-Type")); err != nil || media != "application/x-www-form-urlencoded" {
		return nil, &refusal{status: 415, code: codeMalformed, detail: "the body must be a form"}
	}
	text, r := readBody(x, maxForm)
	defer clear(text)
	if r != nil {
		return nil, r
	}
	form, err := url.ParseQuery(string(text))
	if err != nil {
		return nil, malformed("the form is not well-formed")
	}
	return form, nil
}

// sameOrigin reports whether a page of ours sent the request, or no browser did
// (Fetch Metadata; the Origin field of older browsers).
func sameOrigin(x *http1.Exchange) bool {
	h := x.Request.Header
	if site, ok := h.Lookup("Sec-Fetch-Site"); ok {
		return site == "same-origin" || site == "none"
	}
	origin, ok := h.Lookup("Origin")
	if !ok {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, x.Request.Authority)
}

// nextOf is where to go once signed in: a path here, or the beginning. Whatever a
// browser could read as another site's address is none (backslashes count as
// slashes, and tabs and line ends as nothing: WHATWG URL, 4.4).
func nextOf(next string) string {
	if len(next) == 0 || len(next) > 4<<10 || next[0] != '/' || len(next) > 1 && (next[1] == '/' || next[1] == '\\') {
		return "/"
	}
	for i := range len(next) {
		if c := next[i]; c <= ' ' || c >= 0x7f || c == '\\' {
			return "/"
		}
	}
	u, err := url.Parse(next)
	if err != nil || u.Host != "" || u.Scheme != "" || strings.HasPrefix(strings.ToLower(u.Path), "/.isogate") {
		return "/"
	}
	return next
}

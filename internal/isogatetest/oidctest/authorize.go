package oidctest

import (
	"crypto/rand"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// cookie is the name of the provider's own session in a browser.
const cookie = "oidctest"

// codeLife is how long a code may wait for its exchange.
const codeLife = time.Minute

// request is one of authorization, while its user signs in.
type request struct {
	redirect, state, nonce, challenge string
	scope                             string
}

// code is what a browser carries back.
type code struct {
	request
	user   User
	at     time.Time // of the sign-in
	issued time.Time
	used   bool
}

// form is the page on which people sign in.
var form = template.Must(template.New("login").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Sign in · test provider</title><meta name="viewport" content="width=device-width"></head>
<body><main><h1>Sign in</h1>{{with .Wrong}}<p role="alert">{{.}}</p>{{end}}
<form method="post" action="{{.Action}}"><input type="hidden" name="request" value="{{.Request}}">
<label>Name <input name="user" autocomplete="username" autofocus></label>
<button type="submit">Sign in</button> <button type="submit" name="cancel" value="yes">Cancel</button></form></main></body></html>
`))

// authorize checks a request of authorization. Whoever has a session here already goes
// straight back, unless the client wants to know them anew.
func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	for name, values := range q {
		if len(values) != 1 {
			http.Error(w, p.refuse("authorize: %s is there %d times", name, len(values)), http.StatusBadRequest)
			return
		}
	}
	p.mu.Lock()
	known := slices.Contains(p.cfg.Redirects, q.Get("redirect_uri"))
	p.mu.Unlock()
	if q.Get("client_id") != p.cfg.ClientID || !known {
		http.Error(w, p.refuse("authorize: client %q with redirect URI %q is not known", q.Get("client_id"), q.Get("redirect_uri")), http.StatusBadRequest)
		return
	}
	req := request{redirect: q.Get("redirect_uri"), state: q.Get("state"), nonce: q.Get("nonce"), challenge: q.Get("code_challenge"), scope: q.Get("scope")}
	wrong := ""
	switch {
	case q.Get("response_type") != "code":
		wrong = "response_type is not code"
	case !scoped(req.scope, "openid"):
		wrong = "scope lacks openid"
	case q.Get("code_challenge_method") != "S256" || len(req.challenge) != 43:
		wrong = "no code_challenge by S256"
	case len(req.state) < 22 || len(req.nonce) < 22:
		wrong = "state or nonce can be guessed"
	case req.state == req.nonce:
		wrong = "state and nonce are the same"
	}
	if wrong != "" {
		p.refuse("authorize: %s", wrong)
		p.back(w, r, req, url.Values{"error": {"invalid_request"}, "error_description": {wrong}})
		return
	}
	s, signedIn := p.session(r)
	prompts := strings.Fields(q.Get("prompt"))
	if age, err := strconv.Atoi(q.Get("max_age")); err == nil && signedIn && p.cfg.Now().Sub(s.at) > time.Duration(age)*time.Second || q.Get("max_age") == "0" {
		signedIn = false
	}
	switch {
	case slices.Contains(prompts, "none") && !signedIn:
		p.back(w, r, req, url.Values{"error": {"login_required"}})
	case signedIn && !slices.Contains(prompts, "login"):
		p.grant(w, r, req, s)
	default:
		id := rand.Text()
		p.mu.Lock()
		p.requests[id] = req
		p.mu.Unlock()
		p.ask(w, id, "")
	}
}

// ask shows the form.
func (p *Provider) ask(w http.ResponseWriter, id, wrong string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_ = form.Execute(w, map[string]string{"Action": p.path + "/login", "Request": id, "Wrong": wrong})
}

// login takes the form.
func (p *Provider) login(w http.ResponseWriter, r *http.Request) {
	id := r.PostFormValue("request")
	p.mu.Lock()
	req, waits := p.requests[id]
	user, known := p.users[r.PostFormValue("user")]
	p.mu.Unlock()
	cancelled := r.PostFormValue("cancel") != ""
	switch {
	case !waits:
		http.Error(w, "nobody waits for this sign-in any more", http.StatusBadRequest)
		return
	case !known && !cancelled:
		p.ask(w, id, "Nobody is known by this name.")
		return
	}
	s := authSession{user: user, at: p.cfg.Now()}
	secret := rand.Text()
	p.mu.Lock()
	delete(p.requests, id)
	if !cancelled {
		p.sessions[secret] = s
	}
	p.mu.Unlock()
	if cancelled {
		p.back(w, r, req, url.Values{"error": {"access_denied"}})
		return
	}
	http.SetCookie(w, &http.Cookie{Name: cookie, Value: secret, Path: "/", HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode})
	p.grant(w, r, req, s)
}

// session is that of a browser.
func (p *Provider) session(r *http.Request) (authSession, bool) {
	c, err := r.Cookie(cookie)
	if err != nil {
		return authSession{}, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s, ok := p.sessions[c.Value]
	return s, ok
}

// grant sends a browser back with a code.
func (p *Provider) grant(w http.ResponseWriter, r *http.Request, req request, s authSession) {
	secret := rand.Text()
	p.mu.Lock()
	p.codes[secret] = &code{request: req, user: s.user, at: s.at, issued: p.cfg.Now()}
	p.mu.Unlock()
	p.back(w, r, req, url.Values{"code": {secret}})
}

// back sends a browser back to the client. A redirect after a POST is a 303: the
// browser must come by GET.
func (p *Provider) back(w http.ResponseWriter, r *http.Request, req request, q url.Values) {
	if req.state != "" {
		q.Set("state", req.state)
	}
	q.Set("iss", p.Issuer()) // RFC 9207
	to := req.redirect
	if strings.Contains(to, "?") {
		to += "&" + q.Encode()
	} else {
		to += "?" + q.Encode()
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// logout ends a browser's session here.
func (p *Provider) logout(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	to := q.Get("post_logout_redirect_uri")
	p.mu.Lock()
	if c, err := r.Cookie(cookie); err == nil {
		delete(p.sessions, c.Value)
	}
	p.ended = append(p.ended, q.Get("id_token_hint"))
	known := slices.Contains(p.cfg.LoggedOut, to)
	p.mu.Unlock()
	http.SetCookie(w, &http.Cookie{Name: cookie, Path: "/", MaxAge: -1, HttpOnly: true, Secure: true})
	switch {
	case to == "":
		_, _ = w.Write([]byte("You are signed out.\n"))
	case !known:
		http.Error(w, p.refuse("logout: %q is not known", to), http.StatusBadRequest)
	default:
		if state := q.Get("state"); state != "" {
			to += "?state=" + url.QueryEscape(state)
		}
		http.Redirect(w, r, to, http.StatusSeeOther)
	}
}

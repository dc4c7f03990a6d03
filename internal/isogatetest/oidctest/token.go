package oidctest

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// tokenLife is how long an ID token is valid.
const tokenLife = 5 * time.Minute

// token exchanges a code, once.
func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		fault(w, http.StatusBadRequest, "invalid_request", err.Error())
		return
	}
	if !p.client(r) {
		w.Header().Set("WWW-Authenticate", "Basic")
		fault(w, http.StatusUnauthorized, "invalid_client", p.refuse("token: the client did not say who it is"))
		return
	}
	f := r.PostForm
	now := p.cfg.Now()
	wrong := ""
	p.mu.Lock()
	c, known := p.codes[f.Get("code")]
	switch {
	case f.Get("grant_type") != "authorization_code":
		wrong = "grant_type is not authorization_code"
	case !known:
		wrong = "the code is not known"
	case c.used:
		wrong = "the code was used before"
	case now.Sub(c.issued) > codeLife:
		wrong = "the code is too old"
	case c.redirect != f.Get("redirect_uri"):
		wrong = "redirect_uri differs"
	case len(f.Get("code_verifier")) < 43 || len(f.Get("code_verifier")) > 128 || challengeOf(f.Get("code_verifier")) != c.challenge:
		wrong = "the code_verifier is not that of the challenge"
	}
	if known {
		c.used = true // also when something else is wrong
	}
	p.mu.Unlock()
	if wrong != "" {
		fault(w, http.StatusBadRequest, "invalid_grant", p.refuse("token: %s", wrong))
		return
	}
	access := rand.Text()
	claims := p.claims(c, now)
	half := sha256.Sum256([]byte(access))
	claims["at_hash"] = base64.RawURLEncoding.EncodeToString(half[:16])
	p.mu.Lock()
	p.access[access] = c.user
	a, s := p.attack, p.signer
	p.mu.Unlock()
	overlay(claims, a.Claims)
	id, err := s.sign(claims, a)
	if err != nil {
		fault(w, http.StatusInternalServerError, "server_error", err.Error())
		return
	}
	reply := map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": int(tokenLife.Seconds())}
	if !a.NoIDToken {
		reply["id_token"] = id
	}
	answer(w, http.StatusOK, reply)
}

// client checks who exchanges a code.
func (p *Provider) client(r *http.Request) bool {
	id, secret, basic := r.BasicAuth()
	if basic { // RFC 6749, 2.3.1: both are form-encoded first
		var err1, err2 error
		id, err1 = url.QueryUnescape(id)
		secret, err2 = url.QueryUnescape(secret)
		if err1 != nil || err2 != nil || r.PostForm.Has("client_secret") {
			return false
		}
	} else {
		id, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	}
	return id == p.cfg.ClientID && subtle.ConstantTimeCompare([]byte(secret), []byte(p.cfg.ClientSecret)) == 1
}

// claims are those of an ID token.
func (p *Provider) claims(c *code, now time.Time) map[string]any {
	out := person(c.user)
	out["iss"], out["aud"] = p.Issuer(), p.cfg.ClientID
	out["iat"], out["exp"] = now.Unix(), now.Add(tokenLife).Unix()
	out["auth_time"], out["nonce"] = c.at.Unix(), c.nonce
	return out
}

// person is what is claimed of a user.
func person(u User) map[string]any {
	out := map[string]any{"sub": u.Subject, "preferred_username": u.Name}
	if u.Subject == "" {
		out["sub"] = "sub-" + u.Name
	}
	if u.Email != "" {
		out["email"], out["email_verified"] = u.Email, true
	}
	if u.Groups != nil {
		out["groups"] = u.Groups
	}
	overlay(out, u.Claims)
	return out
}

// overlay puts values over others; nil takes one away.
func overlay(under, over map[string]any) {
	maps.Copy(under, over)
	maps.DeleteFunc(under, func(_ string, v any) bool { return v == nil })
}

// userinfo answers with what is claimed of whom an access token is.
func (p *Provider) userinfo(w http.ResponseWriter, r *http.Request) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	p.mu.Lock()
	u, known := p.access[token]
	p.mu.Unlock()
	if !ok || !known {
		w.Header().Set("WWW-Authenticate", "Bearer")
		fault(w, http.StatusUnauthorized, "invalid_token", "no access token that is known")
		return
	}
	answer(w, http.StatusOK, person(u))
}

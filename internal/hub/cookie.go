package hub

import (
	"net/http"
	"time"

	"github.com/isogate/isogate/internal/access"
)

// cookieName is what the cookie of a session, or of something else, is called. Over
// TLS it has the prefix by which browsers refuse one that another host, or a page
// over plain HTTP, would put beside it (RFC 6265bis section 4.1.3.2). Without, on
// this machine alone, they would not keep one with that prefix.
//
// It has the tenant's name, for cookies know hosts and no ports: with one name for all,
// who signs in at the Hub of one tenant would be signed out of another's beside it.
func (h *Hub) cookieName(what string) string {
	name := "isogate" + what
	if h.tenant != "" {
		name = "isogate-" + string(h.tenant) + what
	}
	if h.url.Scheme == "https" {
		name = "__Host-" + name
	}
	return name
}

// Whose cookies there are.
const (
	ofSession = ""
	ofSignIn  = "-signin"  // of a way to the provider and back
	ofPasskey = "-passkey" // of a question for a passkey
)

// cookie is one with a value.
//
// SameSite is Lax: whoever comes back from their provider, or follows a link to a
// consent in a message, comes from another site, and with Strict would not be known
// on that first page. What is sent along with a link is a GET, which changes nothing
// here; every POST of another site is refused before anything reads the cookie.
func (h *Hub) cookie(what, value string, holds time.Duration) *http.Cookie {
	c := &http.Cookie{ //nolint:gosec // Secure wherever there is TLS; without, on this machine alone, it would not be kept
		Name: h.cookieName(what), Value: value, Path: "/", Secure: h.url.Scheme == "https", HttpOnly: true, SameSite: http.SameSiteLaxMode}
	if holds != 0 {
		c.MaxAge = int(holds.Seconds())
	}
	if value == "" {
		c.MaxAge = -1
	}
	return c
}

// secretOf is the value of a cookie that a request brings. Of two with one name,
// one was put there by somebody else: neither counts.
func (h *Hub) secretOf(r *http.Request, what string) string {
	if all := r.CookiesNamed(h.cookieName(what)); len(all) == 1 {
		return all[0].Value
	}
	return ""
}

// sitting is who sits at the browser that a request comes from.
func (h *Hub) sitting(r *http.Request) (access.Visitor, error) {
	secret := h.secretOf(r, ofSession)
	if h.desk == nil || secret == "" {
		return access.Visitor{}, access.ErrNobody
	}
	return h.desk.Visitor(secret)
}

// watching is as sitting, for what a page asks by itself.
func (h *Hub) watching(r *http.Request) (access.Visitor, error) {
	secret := h.secretOf(r, ofSession)
	if h.desk == nil || secret == "" {
		return access.Visitor{}, access.ErrNobody
	}
	return h.desk.Watcher(secret)
}

// sitDown gives the browser the secret of a session that has begun, and ends the one
// that it had before, whoever's that was.
func (h *Hub) sitDown(w http.ResponseWriter, r *http.Request, secret string) {
	if before, err := h.sitting(r); err == nil {
		// It has ended already if it was proved again.
		_ = h.desk.SignOut(r.Context(), before)
	}
	http.SetCookie(w, h.cookie(ofSession, secret, 0))
}

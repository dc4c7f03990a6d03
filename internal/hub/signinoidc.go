package hub

import (
	"net/http"
	"time"

	"github.com/isogate/isogate/internal/access"
)

// walkHolds is how long a browser keeps what it needs when it comes back from the provider.
const walkHolds = 10 * time.Minute

// ReturnPath is where the provider sends browsers back to.
const ReturnPath = "/signin/oidc/return"

// toProvider sends a browser to the provider. It is a link that leads there, and no
// form: browsers hold the address that a form's answer redirects to against
// form-action, too, which names nobody but the Hub. Whoever makes somebody follow it
// has them sign in as themself, at the Hub that they know.
func (h *Hub) toProvider(v *visit) error {
	if h.desk == nil || h.provider == nil {
		return h.noSuchPage(v)
	}
	again := v.URL.Query().Get("again") != "" && v.who.Name != ""
	address, kept, err := h.provider.Begin(v.Context(), local(v.URL.Query().Get("to")), again)
	if err != nil {
		return h.seated(v, "", err, "/")
	}
	http.SetCookie(v.w, h.cookie(ofSignIn, kept, walkHolds))
	http.Redirect(v.w, v.Request, address, http.StatusSeeOther)
	return nil
}

// fromProvider takes a browser that comes back. What it kept is forgotten first, so that
// the same answer finds nothing to fit to a second time.
func (h *Hub) fromProvider(v *visit) error {
	if h.desk == nil || h.provider == nil {
		return h.noSuchPage(v)
	}
	if h.failed.Reached(caller(v.Request)) {
		return problem(http.StatusTooManyRequests, "too-many-attempts", "too many sign-ins from this address were refused; wait a second")
	}
	kept := h.secretOf(v.Request, ofSignIn)
	http.SetCookie(v.w, h.cookie(ofSignIn, "", 0))
	secret, to, err := h.desk.Finish(v.Context(), h.provider, kept, v.URL.Query(), v.who)
	if err != nil && kept != "" {
		// Without what a browser keeps nothing was tried. It does not bring it where a page of
		// another site has it ask for this address, to have its person kept out.
		h.wrong(v.Request, access.ByOIDC)
	}
	return h.seated(v, secret, err, to)
}

package hub

import (
	"log/slog"
	"net/http"
	"net/url"
)

// signInFirst sends somebody who is not signed in to where they can, and back
// afterwards if they only wanted to look.
func (h *Hub) signInFirst(v *visit, why error) {
	h.logger.Debug("a page was asked for by nobody", slog.String("page", v.page.pattern), slog.Any("why", why))
	to := "/signin"
	if v.Method == http.MethodGet && v.URL.Path != "/" {
		to += "?to=" + url.QueryEscape(v.URL.RequestURI())
	}
	http.Redirect(v.w, v.Request, to, http.StatusSeeOther)
}

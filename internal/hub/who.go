package hub

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"

	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/guess"
)

type visitorKey struct{}

// visitorOf is who calls the API.
func visitorOf(ctx context.Context) access.Visitor {
	v, _ := ctx.Value(visitorKey{}).(access.Visitor)
	return v
}

// bearer is the token that a request brings, "" if it brings none that can be read.
func bearer(r *http.Request) string {
	header := r.Header.Values("Authorization")
	if len(header) != 1 {
		return ""
	}
	scheme, token, _ := strings.Cut(header[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return token
}

// known lets in who has a token and nobody else. A session of a browser opens no
// call: a page that could make a browser call could read what it answers.
func (h *Hub) known(w http.ResponseWriter, r *http.Request) {
	from := caller(r)
	if h.failed.Reached(from) {
		w.Header().Set("Retry-After", "1")
		h.refuse(w, problem(http.StatusTooManyRequests, "too-many-attempts", "too many wrong tokens came from this address; wait a second and use the right one"))
		return
	}
	token, v, err := bearer(r), access.Visitor{}, access.ErrNobody
	if h.desk != nil {
		v, err = h.desk.Bearer(token)
	}
	switch {
	case errors.Is(err, access.ErrOutOfTouch):
		h.refuse(w, problem(http.StatusServiceUnavailable, "out-of-touch", err.Error()))
		return
	case err != nil:
		if token != "" {
			h.wrong(r, access.ByBearer)
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="isogate"`)
		h.refuse(w, problem(http.StatusUnauthorized, "no-administrator",
			"this needs the token of an administrator, or an API token made at the Hub, as Authorization: Bearer TOKEN; administrators are listed under hub.administrators of the configuration"))
		return
	}
	r = r.WithContext(context.WithValue(r.Context(), visitorKey{}, v))
	if _, pattern := h.mux.Handler(r); !h.patterns[pattern] {
		h.nowhere(w, r)
		return
	}
	h.mux.ServeHTTP(w, r)
}

// wrong notes that somebody tried what opens nothing, for the limit of their address
// and for the log. The desk counts it for the journal.
func (h *Hub) wrong(r *http.Request, what string) {
	from := caller(r)
	h.failed.Wrong(from)
	h.logger.Warn("a wrong secret", slog.String("what", what), slog.String("remote", guess.Network(from).String()), slog.String("path", consent.Shown(r.URL.Path)))
}

// nowhere answers for a path or method that the API does not have.
func (h *Hub) nowhere(w http.ResponseWriter, r *http.Request) {
	var methods []string
	for _, m := range []string{http.MethodGet, http.MethodPost} {
		other := r.Clone(r.Context())
		other.Method = m
		if _, pattern := h.mux.Handler(other); h.patterns[pattern] {
			methods = append(methods, m)
		}
	}
	if len(methods) == 0 {
		h.refuse(w, problem(http.StatusNotFound, "not-found", "the API has no such path; it is described at "+Prefix+"/openapi.json"))
		return
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	h.refuse(w, problem(http.StatusMethodNotAllowed, "method", "this path takes "+strings.Join(methods, " and ")))
}

// caller is the address that a request came from; the zero address where that
// cannot be read.
func caller(r *http.Request) netip.Addr {
	ap, _ := netip.ParseAddrPort(r.RemoteAddr)
	return ap.Addr()
}

package hub

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/guess"
)

// Administrator is a person who may act, and by what they are known.
type Administrator struct {
	Name string
	// TokenSHA256 is the SHA-256 of their bearer token, in lower-case hexadecimal.
	TokenSHA256 string
}

// SignedIn is how an actor of the API proved who they are, as entries say it.
const SignedIn = "bearer token"

type administrators []struct {
	name string
	sum  [sha256.Size]byte
}

// newAdministrators checks who they are. Two administrators with one token would
// be one person who can agree with themself.
func newAdministrators(list []Administrator) (administrators, error) {
	out := make(administrators, len(list))
	names, sums := map[string]bool{}, map[string]bool{}
	for i, a := range list {
		if err := isogate.CheckName(a.Name, false); err != nil {
			return nil, fmt.Errorf("administrators[%d].name: %w", i, err)
		}
		sum, err := hex.DecodeString(a.TokenSHA256)
		if err != nil || len(sum) != sha256.Size || strings.ToLower(a.TokenSHA256) != a.TokenSHA256 {
			return nil, fmt.Errorf("administrators[%d].token_sha256: is not 64 hexadecimal digits in lower case; make it with: printf %%s TOKEN | sha256sum", i)
		}
		switch {
		case names[a.Name]:
			return nil, fmt.Errorf("administrators[%d].name: %q is there twice", i, a.Name)
		case sums[a.TokenSHA256]:
			return nil, fmt.Errorf("administrators[%d].token_sha256: another administrator has the same token; give each their own, so that two are two", i)
		case sha256.Sum256(nil) == [sha256.Size]byte(sum):
			return nil, fmt.Errorf("administrators[%d].token_sha256: is that of an empty token", i)
		}
		names[a.Name], sums[a.TokenSHA256] = true, true
		out[i].name, out[i].sum = a.Name, [sha256.Size]byte(sum)
	}
	return out, nil
}

// of finds whose token it is. It takes as long whoever it is.
func (as administrators) of(token string) (name string, ok bool) {
	sum := sha256.Sum256([]byte(token))
	for i := range as {
		if subtle.ConstantTimeCompare(sum[:], as[i].sum[:]) == 1 {
			name, ok = as[i].name, true
		}
	}
	return name, ok && token != ""
}

type actorKey struct{}

func actorOf(ctx context.Context) consent.Actor {
	a, _ := ctx.Value(actorKey{}).(consent.Actor)
	return a
}

// known lets administrators in and nobody else.
func (h *Hub) known(w http.ResponseWriter, r *http.Request) {
	from := caller(r)
	if h.failed.Reached(from) {
		w.Header().Set("Retry-After", "1")
		h.refuse(w, problem(http.StatusTooManyRequests, "too-many-attempts", "too many wrong tokens came from this address; wait a second and use the right one"))
		return
	}
	token := ""
	if header := r.Header.Values("Authorization"); len(header) == 1 {
		if scheme, rest, ok := strings.Cut(header[0], " "); ok && strings.EqualFold(scheme, "Bearer") {
			token = rest
		}
	}
	name, ok := h.admins.of(token)
	if !ok {
		if token != "" {
			h.failed.Wrong(from)
			h.logger.Warn("a wrong administrator's token", slog.String("remote", guess.Network(from).String()), slog.String("path", consent.Shown(r.URL.Path)))
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="isogate"`)
		h.refuse(w, problem(http.StatusUnauthorized, "no-administrator",
			"this needs the token of an administrator as Authorization: Bearer TOKEN; administrators are listed under hub.administrators of the configuration"))
		return
	}
	actor := consent.Actor{Name: name, SignedIn: SignedIn}
	r = r.WithContext(context.WithValue(r.Context(), actorKey{}, actor))
	if _, pattern := h.mux.Handler(r); !h.patterns[pattern] {
		h.nowhere(w, r)
		return
	}
	h.mux.ServeHTTP(w, r)
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

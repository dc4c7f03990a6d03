package oidctest

import (
	"net/http"
	"slices"
	"strings"
)

// Attack is how a provider, or somebody who passes for one, misbehaves. The zero value
// is an honest one. Endpoints are named by their last part: openid-configuration, jwks,
// authorize, token, userinfo.
type Attack struct {
	// Claims replaces claims of ID tokens: another nonce, another aud or azp, an exp that is over,
	// an auth_time of yesterday; nil takes one away.
	Claims map[string]any
	// Algorithm is what ID tokens say they are signed by: "none" without a signature,
	// "HS256" with the public key for a secret.
	Algorithm string
	// UnknownKey has another key sign than the one that is published, under its name.
	UnknownKey bool
	// NoIDToken leaves the ID token out.
	NoIDToken bool
	// Discovery replaces members of the discovery document: an endpoint inside the
	// isolated network, another issuer.
	Discovery map[string]any
	// Huge are endpoints whose answers do not end before HugeSize bytes.
	Huge []string
	// Loop are endpoints that answer with a redirect to themselves.
	Loop []string
	// Stall are endpoints that take a request and never answer.
	Stall []string
}

// HugeSize is how many bytes an endless answer has at most.
const HugeSize = 64 << 20

// Attack has the provider misbehave from now on. A later one replaces it whole.
func (p *Provider) Attack(a Attack) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.attack = a
}

// attacked notes each request, and misbehaves where that is asked for.
func (p *Provider) attacked(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		a := p.attack
		p.asked = append(p.asked, r.Method+" "+strings.TrimPrefix(r.URL.Path, p.path))
		p.mu.Unlock()
		endpoint := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		switch {
		case slices.Contains(a.Stall, endpoint):
			<-r.Context().Done()
		case slices.Contains(a.Loop, endpoint):
			http.Redirect(w, r, r.URL.String(), http.StatusTemporaryRedirect)
		case slices.Contains(a.Huge, endpoint):
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"padding":"`))
			for part, sent := []byte(strings.Repeat("0", 64<<10)), 0; sent < HugeSize; sent += len(part) {
				if _, err := w.Write(part); err != nil {
					return
				}
			}
			_, _ = w.Write([]byte(`"}`))
		default:
			next.ServeHTTP(w, r)
		}
	})
}

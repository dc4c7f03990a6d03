// Package oidctest is an OpenID Connect provider for tests: small, on loopback, over
// real TLS, with a login form that a browser fills in. It insists on what a careful
// client does (the code flow with PKCE S256, a state, a nonce, an exact redirect URI), and
// a test may have it lie in the ways that a client must notice.
//
// OpenID Connect Core 1.0, Discovery 1.0, RP-Initiated Logout 1.0; RFC 6749, 7636, 7519.
package oidctest

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"
)

// TB is the part of testing.TB that a provider needs.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Cleanup(f func())
}

// Config describes a provider and its one client.
type Config struct {
	// Path stands behind the issuer's host, as /realms/acme; "" by default.
	Path string
	// ClientID is the client's; "isogate" by default.
	ClientID string
	// ClientSecret is what the client must show; "" for a public client.
	ClientSecret string
	// Redirects are the client's redirect URIs, compared byte by byte.
	Redirects []string
	// LoggedOut are where a browser may be sent after the end of its session.
	LoggedOut []string
	// Users are who can sign in.
	Users []User
	// Algorithm signs ID tokens: ES256 (the default), RS256, PS256 or EdDSA.
	Algorithm string
	// Now is the time; the machine's by default.
	Now func() time.Time
}

// User is somebody who can sign in, by typing their name.
type User struct {
	Name    string   // typed into the form; preferred_username
	Subject string   // sub; "sub-" and the name by default
	Email   string   // email, with email_verified; none by default
	Groups  []string // groups
	// Claims are further ones, or other ones than those above; nil takes one away.
	Claims map[string]any
}

// Provider is one that runs.
type Provider struct {
	cfg    Config
	server *httptest.Server
	path   string

	mu       sync.Mutex // guards what follows
	users    map[string]User
	signer   *signer
	attack   Attack
	requests map[string]request     // of authorization, that wait for a login, by form
	codes    map[string]*code       // by themselves
	access   map[string]User        // by access token
	sessions map[string]authSession // of browsers, by cookie
	ended    []string               // ID tokens that came with the end of a session
	refused  []string               // what the client did wrong
	asked    []string               // method and path of each request
}

// authSession is somebody who has signed in at the provider.
type authSession struct {
	user User
	at   time.Time
}

// New starts a provider, which ends with the test.
func New(tb TB, c Config) *Provider {
	tb.Helper()
	if c.ClientID == "" {
		c.ClientID = "isogate"
	}
	if c.Algorithm == "" {
		c.Algorithm = "ES256"
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	p := &Provider{cfg: c, path: c.Path, users: map[string]User{}, requests: map[string]request{}, codes: map[string]*code{},
		access: map[string]User{}, sessions: map[string]authSession{}}
	for _, u := range c.Users {
		p.users[u.Name] = u
	}
	var err error
	if p.signer, err = newSigner(c.Algorithm); err != nil {
		tb.Fatalf("oidctest: %v", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+p.path+"/.well-known/openid-configuration", p.discovery)
	mux.HandleFunc("GET "+p.path+"/jwks", p.jwks)
	mux.HandleFunc("GET "+p.path+"/authorize", p.authorize)
	mux.HandleFunc("POST "+p.path+"/login", p.login)
	mux.HandleFunc("POST "+p.path+"/token", p.token)
	mux.HandleFunc("GET "+p.path+"/userinfo", p.userinfo)
	mux.HandleFunc("GET "+p.path+"/logout", p.logout)
	p.server = httptest.NewUnstartedServer(p.attacked(mux))
	p.server.Config.ErrorLog = log.New(io.Discard, "", 0) // a refused handshake is the client's to tell
	p.server.StartTLS()
	tb.Cleanup(p.server.Close)
	return p
}

// Issuer is the provider's URL, at 127.0.0.1.
func (p *Provider) Issuer() string { return p.server.URL + p.path }

// ClientID is the client's.
func (p *Provider) ClientID() string { return p.cfg.ClientID }

// ClientSecret is the client's, or "" where it is public.
func (p *Provider) ClientSecret() string { return p.cfg.ClientSecret }

// Roots are the certificates by which the provider is known, as PEM.
func (p *Provider) Roots() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.server.Certificate().Raw})
}

// Certificate is the provider's own.
func (p *Provider) Certificate() *x509.Certificate { return p.server.Certificate() }

// Client is an HTTP client that knows the provider's certificate and follows no redirect.
func (p *Provider) Client() *http.Client {
	c := *p.server.Client()
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &c
}

// Redirects replaces the client's redirect URIs, and where a browser may be sent after the
// end of its session.
func (p *Provider) Redirects(redirects, loggedOut []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cfg.Redirects, p.cfg.LoggedOut = redirects, loggedOut
}

// Change replaces what is known of a user, or adds one. Who has signed in at the
// provider already keeps what was known then, until they sign in again.
func (p *Provider) Change(u User) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.users[u.Name] = u
}

// Rotate has another key sign from now on. The one before is not known any more.
func (p *Provider) Rotate(tb TB) {
	tb.Helper()
	s, err := newSigner(p.cfg.Algorithm)
	if err != nil {
		tb.Fatalf("oidctest: %v", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.signer = s
}

// Asked are the requests that came, as "GET /authorize", without their queries.
func (p *Provider) Asked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.asked...)
}

// Refused is what the client did that no careful client does.
func (p *Provider) Refused() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.refused...)
}

// Ended are the ID tokens by which sessions at the provider were ended.
func (p *Provider) Ended() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.ended...)
}

// discovery answers with where everything is.
func (p *Provider) discovery(w http.ResponseWriter, _ *http.Request) {
	base := p.Issuer()
	doc := map[string]any{
		"issuer":                                base,
		"authorization_endpoint":                base + "/authorize",
		"token_endpoint":                        base + "/token",
		"jwks_uri":                              base + "/jwks",
		"userinfo_endpoint":                     base + "/userinfo",
		"end_session_endpoint":                  base + "/logout",
		"response_types_supported":              []string{"code"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{p.cfg.Algorithm},
		"scopes_supported":                      []string{"openid", "profile", "email", "groups"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_basic", "client_secret_post", "none"},
		"code_challenge_methods_supported":      []string{"S256"},
		"claims_supported":                      []string{"sub", "email", "email_verified", "groups", "auth_time"},
	}
	p.mu.Lock()
	for member, value := range p.attack.Discovery {
		doc[member] = value
	}
	p.mu.Unlock()
	answer(w, http.StatusOK, doc)
}

// refuse notes what the client did wrong.
func (p *Provider) refuse(format string, args ...any) string {
	what := fmt.Sprintf(format, args...)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused = append(p.refused, what)
	return what
}

// answer is one in JSON, which nobody keeps.
func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// fault is RFC 6749's answer to what is wrong.
func fault(w http.ResponseWriter, status int, kind, what string) {
	answer(w, status, map[string]string{"error": kind, "error_description": what})
}

// challengeOf is RFC 7636's S256.
func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// scoped reports whether a list of scopes has one.
func scoped(list, scope string) bool {
	for s := range strings.SplitSeq(list, " ") {
		if s == scope {
			return true
		}
	}
	return false
}

package access

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// ProviderConfig is an OpenID provider, as the configuration knows it. Issuer,
// ClientID, Redirect and Transport are required.
type ProviderConfig struct {
	Issuer   string // exactly as the provider names itself
	ClientID string
	// ClientSecret is "" for a public client, whose sign-ins PKCE alone protects.
	ClientSecret string
	// Redirect is where the provider sends browsers back to, exactly as it knows it.
	Redirect string
	// Hosts are those beside the issuer's that its endpoints may be on.
	Hosts []string
	// Roles are what a group of the provider gives.
	Roles map[string][]Role
	// RolesClaim lists somebody's groups, and NameClaim names them; "" is groups and email.
	RolesClaim, NameClaim string
	// Transport sends requests to the provider; it dials through remote.
	Transport http.RoundTripper
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Provider is where people sign in by OpenID Connect: the authorization code flow with
// PKCE, a state and a nonce (OpenID Connect Core 1.0 section 3.1; RFC 7636; RFC 9700).
// It asks the provider for nothing before somebody signs in, so that a provider that is
// away keeps nothing from starting. It is safe for concurrent use.
type Provider struct {
	cfg    ProviderConfig
	fence  *fence
	client *http.Client

	// asking is full while the provider is asked about itself. That may take long, so that
	// nothing which can do without waits for it.
	asking chan struct{}

	mu    sync.Mutex // guards what follows
	found *discovered
	at    time.Time // when it was found, or tried
	why   error     // it was not found
	spent map[string]time.Time
}

// discovered is what the provider says of itself (OpenID Connect Discovery 1.0).
type discovered struct {
	provider *oidc.Provider
	verifier *oidc.IDTokenVerifier
	oauth    oauth2.Config
	userinfo bool
	logout   string // endpoint, "" if there is none that can be used
	namesIss bool   // it says who it is when it sends a browser back (RFC 9207)
}

const (
	// providerPatience bounds each exchange with the provider.
	providerPatience = 10 * time.Second
	// discoverEvery is how often the provider is asked about itself, and discoverAgain
	// how soon after it could not be.
	discoverEvery, discoverAgain = time.Hour, 5 * time.Second
	// walkHolds is how long somebody may take at the provider.
	walkHolds = 10 * time.Minute
	// skew is how far the provider's clock may be ahead.
	skew = time.Minute
	// maxSpent is how many states are remembered that were used.
	maxSpent = 4096
)

// algorithms are those that ID tokens may be signed by: none of them works with a
// secret that both sides have, or without one.
var algorithms = []string{oidc.RS256, oidc.PS256, oidc.ES256, oidc.EdDSA}

// NewProvider makes a provider. It asks it nothing.
func NewProvider(cfg ProviderConfig) (*Provider, error) {
	issuer, err := url.Parse(cfg.Issuer)
	if err != nil || issuer.Scheme != "https" || issuer.Host == "" {
		return nil, fmt.Errorf("access: the issuer %q is no https URL", cfg.Issuer)
	}
	if cfg.ClientID == "" || cfg.Redirect == "" || cfg.Transport == nil {
		return nil, errors.New("access: a provider needs a client, a redirect URI and a transport")
	}
	if cfg.RolesClaim == "" {
		cfg.RolesClaim = "groups"
	}
	if cfg.NameClaim == "" {
		cfg.NameClaim = "email"
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	p := &Provider{cfg: cfg, fence: newFence(issuer, cfg.Hosts, cfg.Transport), spent: map[string]time.Time{}, asking: make(chan struct{}, 1)}
	p.client = &http.Client{Transport: p.fence, Timeout: providerPatience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return p, nil
}

// Host is the issuer's host, as people are told.
func (p *Provider) Host() string {
	u, err := url.Parse(p.cfg.Issuer)
	if err != nil {
		return ""
	}
	return u.Host
}

// find is what the provider says of itself, asked anew once that is old. One asks for
// all; meanwhile what it said before holds.
func (p *Provider) find(ctx context.Context) (*discovered, error) {
	d, known, err := p.before()
	if known {
		return d, err
	}
	if d != nil {
		select {
		case p.asking <- struct{}{}:
		default:
			return d, nil
		}
	} else {
		select {
		case p.asking <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	defer func() { <-p.asking }()
	if d, known, err = p.before(); known {
		return d, err
	}
	d, err = p.discover(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil && ctx.Err() != nil {
		return p.found, err // whoever asked has gone; the provider is not to blame
	}
	p.at = p.cfg.Now()
	if err != nil && p.found != nil {
		p.at = p.at.Add(discoverAgain - discoverEvery) // what it said before holds a little longer
		return p.found, nil
	}
	p.found, p.why = d, err
	return d, err
}

// before is what the provider said of itself when it was last asked, and whether that is
// new enough not to ask again.
func (p *Provider) before() (d *discovered, known bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	age := p.cfg.Now().Sub(p.at)
	if p.found != nil {
		return p.found, age < discoverEvery, nil
	}
	return nil, p.why != nil && age < discoverAgain, p.why
}

func (p *Provider) discover(ctx context.Context) (*discovered, error) {
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, p.client), p.cfg.Issuer)
	if err != nil {
		return nil, fmt.Errorf("the provider cannot be asked about itself: %w", err)
	}
	var doc struct {
		Authorization string   `json:"authorization_endpoint"`
		Token         string   `json:"token_endpoint"`
		JWKS          string   `json:"jwks_uri"`
		UserInfo      string   `json:"userinfo_endpoint"`
		Logout        string   `json:"end_session_endpoint"`
		Algorithms    []string `json:"id_token_signing_alg_values_supported"`
		Auth          []string `json:"token_endpoint_auth_methods_supported"`
		Scopes        []string `json:"scopes_supported"`
		Challenges    []string `json:"code_challenge_methods_supported"`
		NamesIss      bool     `json:"authorization_response_iss_parameter_supported"`
	}
	if err := provider.Claims(&doc); err != nil {
		return nil, errors.New("what the provider says of itself is not understood")
	}
	for name, endpoint := range map[string]string{"authorization_endpoint": doc.Authorization, "token_endpoint": doc.Token, "jwks_uri": doc.JWKS, "userinfo_endpoint": doc.UserInfo} {
		if endpoint == "" && name == "userinfo_endpoint" {
			continue
		}
		if err := p.fence.check(endpoint); err != nil {
			return nil, fmt.Errorf("the provider's %s is not used: %w", name, err)
		}
	}
	if len(doc.Challenges) > 0 && !slices.Contains(doc.Challenges, "S256") {
		return nil, errors.New("the provider does not take PKCE with S256")
	}
	if len(doc.Algorithms) == 0 {
		doc.Algorithms = []string{oidc.RS256}
	}
	algs := slices.DeleteFunc(slices.Clone(algorithms), func(a string) bool { return !slices.Contains(doc.Algorithms, a) })
	if len(algs) == 0 {
		return nil, fmt.Errorf("the provider signs by none of %s", strings.Join(algorithms, ", "))
	}
	d := &discovered{provider: provider, userinfo: doc.UserInfo != "", namesIss: doc.NamesIss,
		verifier: provider.Verifier(&oidc.Config{ClientID: p.cfg.ClientID, SupportedSigningAlgs: algs, Now: p.cfg.Now}),
		oauth: oauth2.Config{ClientID: p.cfg.ClientID, ClientSecret: p.cfg.ClientSecret, RedirectURL: p.cfg.Redirect, Scopes: []string{oidc.ScopeOpenID, "email", "profile"},
			Endpoint: oauth2.Endpoint{AuthURL: doc.Authorization, TokenURL: doc.Token, AuthStyle: oauth2.AuthStyleInParams}}}
	// By the names of the methods, and never by trying: a second try would come with a code that is used up.
	if p.cfg.ClientSecret != "" && (len(doc.Auth) == 0 || slices.Contains(doc.Auth, "client_secret_basic")) {
		d.oauth.Endpoint.AuthStyle = oauth2.AuthStyleInHeader
	}
	if slices.Contains(doc.Scopes, "groups") {
		d.oauth.Scopes = append(d.oauth.Scopes, "groups")
	}
	if p.fence.check(doc.Logout) == nil {
		d.logout = doc.Logout
	}
	return d, nil
}

// walk is what a browser keeps, in a cookie, while its person is at the provider: what
// the answer must fit. Nobody but that browser can finish the walk, and nothing of it
// must be kept here, so that any gateway can.
type walk struct {
	State    string `json:"s"`
	Nonce    string `json:"n"`
	Verifier string `json:"v"` // of PKCE
	To       string `json:"t"`
	Again    bool   `json:"a,omitempty"`
	Begun    int64  `json:"b"`
}

// Begin is where to send a browser whose person wants to sign in, and what it keeps
// meanwhile. To is where they go afterwards. Where again is true, the provider must ask
// them anew for a proof of who they are.
func (p *Provider) Begin(ctx context.Context, to string, again bool) (address, kept string, err error) {
	d, err := p.find(ctx)
	if err != nil {
		return "", "", refusedBy(err)
	}
	w := walk{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), To: to, Again: again, Begun: p.cfg.Now().Unix()}
	options := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(w.Verifier), oidc.Nonce(w.Nonce)}
	if again {
		options = append(options, oauth2.SetAuthURLParam("prompt", "login"), oauth2.SetAuthURLParam("max_age", "0"))
	} else {
		// Who asks for an age is told when somebody was last asked.
		options = append(options, oauth2.SetAuthURLParam("max_age", fmt.Sprint(int(DefaultMax.Seconds()))))
	}
	text, err := json.Marshal(w)
	if err != nil {
		return "", "", err
	}
	return d.oauth.AuthCodeURL(w.State, options...), base64.RawURLEncoding.EncodeToString(text), nil
}

// Logout is where somebody signs out at the provider too; "" if it has no such place,
// or was not asked yet.
func (p *Provider) Logout(back string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.found == nil || p.found.logout == "" {
		return ""
	}
	u, err := url.Parse(p.found.logout)
	if err != nil {
		return ""
	}
	q := u.Query()
	q.Set("client_id", p.cfg.ClientID)
	q.Set("post_logout_redirect_uri", back)
	u.RawQuery = q.Encode()
	return u.String()
}

// errNoWalk says that a browser came back that was not sent.
var errNoWalk = refused("no-walk", "this browser was not on its way to the provider, took longer than 10 minutes, or has been back already; sign in again")

// finish takes a browser that the provider has sent back.
func (p *Provider) finish(ctx context.Context, kept string, q url.Values) (known, walk, error) {
	var w walk
	text, err := base64.RawURLEncoding.DecodeString(kept)
	if err != nil || json.Unmarshal(text, &w) != nil || len(w.State) < 20 || len(w.Nonce) < 20 {
		return known{}, walk{}, errNoWalk
	}
	age := p.cfg.Now().Sub(time.Unix(w.Begun, 0))
	if subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(w.State)) != 1 || len(q["state"]) != 1 || age < -skew || age > walkHolds || !p.spend(w.State) {
		return known{}, walk{}, errNoWalk
	}
	d, err := p.find(ctx)
	if err != nil {
		return known{}, w, refusedBy(err)
	}
	if iss := q.Get("iss"); iss != "" && iss != p.cfg.Issuer || iss == "" && d.namesIss {
		return known{}, w, refused("provider", "the browser comes from another provider than the one it was sent to")
	}
	if code := q.Get("error"); code != "" {
		return known{}, w, refused("provider", "the provider did not sign you in: %s", errorCode(code))
	}
	k, err := p.exchange(ctx, d, w, q.Get("code"))
	return k, w, err
}

// spend reports whether a state is used for the first time here.
func (p *Provider) spend(state string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.cfg.Now()
	if _, used := p.spent[state]; used {
		return false
	}
	if len(p.spent) >= maxSpent {
		maps.DeleteFunc(p.spent, func(_ string, at time.Time) bool { return now.Sub(at) > walkHolds+2*skew })
	}
	for s := range p.spent {
		if len(p.spent) < maxSpent {
			break
		}
		delete(p.spent, s) // its code was used up at the provider, too
	}
	p.spent[state] = now
	return true
}

// exchange has the provider say who brought a code.
func (p *Provider) exchange(ctx context.Context, d *discovered, w walk, code string) (known, error) {
	if code == "" {
		return known{}, refused("provider", "the provider sent no code")
	}
	ctx = oidc.ClientContext(ctx, p.client)
	token, err := d.oauth.Exchange(ctx, code, oauth2.VerifierOption(w.Verifier))
	if err != nil {
		var no *oauth2.RetrieveError
		if errors.As(err, &no) { // its text is all that the provider sent
			return known{}, refused("provider", "the provider did not take the code: %s", errorCode(no.ErrorCode))
		}
		return known{}, refusedBy(err)
	}
	raw, _ := token.Extra("id_token").(string)
	if raw == "" {
		return known{}, refused("provider", "the provider sent no ID token")
	}
	id, err := d.verifier.Verify(ctx, raw)
	if err != nil {
		return known{}, refused("provider", "the provider's ID token does not verify; whoever runs the gateway finds why in its log").because(err)
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(w.Nonce)) != 1 {
		return known{}, refused("provider", "the provider's ID token is not of this sign-in")
	}
	var claims map[string]json.RawMessage
	if err := id.Claims(&claims); err != nil || id.Subject == "" {
		return known{}, refused("provider", "the provider's ID token says nothing that is understood")
	}
	azp := text(claims["azp"])
	if azp != "" && azp != p.cfg.ClientID || azp == "" && len(id.Audience) > 1 {
		return known{}, refused("provider", "the provider's ID token was made for another client")
	}
	if d.userinfo && (claims[p.cfg.NameClaim] == nil || p.groups(claims) == nil) {
		if err := p.more(ctx, d, token, id.Subject, claims); err != nil {
			return known{}, err
		}
	}
	return p.known(id, claims, w)
}

// more adds what the userinfo endpoint says, where the ID token has not said it.
func (p *Provider) more(ctx context.Context, d *discovered, token *oauth2.Token, subject string, claims map[string]json.RawMessage) error {
	info, err := d.provider.UserInfo(ctx, oauth2.StaticTokenSource(token))
	if err != nil {
		return refused("provider", "the provider did not say more of you when it was asked").because(err)
	}
	var more map[string]json.RawMessage
	if err := info.Claims(&more); err != nil || info.Subject != subject {
		return refused("provider", "the provider says more of somebody else than of you")
	}
	for name, v := range more {
		if claims[name] == nil {
			claims[name] = v
		}
	}
	return nil
}

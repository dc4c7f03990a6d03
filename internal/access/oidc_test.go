package access

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate/internal/isogatetest/oidctest"
)

const redirect = "https://hub.acme.example/signin/oidc/return"

// abroad is a desk and a provider by which people sign in.
type abroad struct {
	t        *testing.T
	journal  *memory
	desk     *Desk
	idp      *oidctest.Provider
	provider *Provider
	now      time.Time
}

func newAbroad(t *testing.T, idp oidctest.Config, change func(*ProviderConfig), people ...Configured) *abroad {
	t.Helper()
	a := &abroad{t: t, journal: newMemory(), now: time.Now()}
	idp.Redirects = []string{redirect}
	if idp.Users == nil {
		idp.Users = []oidctest.User{{Name: "grace", Subject: "g1", Email: "Grace@acme.example", Groups: []string{"staff", "isogate-owners"}}, {Name: "eve", Email: "eve@acme.example", Groups: []string{"staff"}},
			{Name: "ada", Subject: "a1", Email: "ada@acme.example", Groups: []string{"isogate-owners"}}}
	}
	a.idp = oidctest.New(t, idp)
	cfg := ProviderConfig{Issuer: a.idp.Issuer(), ClientID: a.idp.ClientID(), ClientSecret: a.idp.ClientSecret(), Redirect: redirect, Roles: map[string][]Role{"isogate-owners": {Owner}, "auditors": {Auditor}},
		Transport: a.idp.Client().Transport, Now: func() time.Time { return a.now }}
	if change != nil {
		change(&cfg)
	}
	var err error
	if a.provider, err = NewProvider(cfg); err != nil {
		t.Fatal(err)
	}
	if a.desk, err = New(Config{Journal: a.journal, Logger: discard, People: people, Lease: time.Hour}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.desk.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	for a.desk.InTouch() != nil {
		select {
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		case <-time.After(time.Millisecond):
		}
	}
	return a
}

// walk has somebody go to the provider and come back; the answer is what the browser
// brings and what it kept.
func (a *abroad) walk(user string, again bool) (url.Values, string) {
	a.t.Helper()
	to, kept, err := a.provider.Begin(a.t.Context(), "/explore?n=1", again)
	if err != nil {
		a.t.Fatal(err)
	}
	back, err := a.idp.Walk(a.t.Context(), to, user)
	if err != nil {
		a.t.Fatal(err)
	}
	u, err := url.Parse(back)
	if err != nil || !strings.HasPrefix(back, redirect+"?") {
		a.t.Fatalf("the provider sends the browser to %s: %v", back, err)
	}
	return u.Query(), kept
}

// signIn is who signed in.
func (a *abroad) signIn(user string) (Visitor, error) {
	a.t.Helper()
	q, kept := a.walk(user, false)
	secret, to, err := a.desk.Finish(a.t.Context(), a.provider, kept, q, Visitor{})
	if err != nil {
		return Visitor{}, err
	}
	if to != "/explore?n=1" {
		a.t.Errorf("they go on to %q", to)
	}
	return a.desk.Visitor(secret)
}

// wantRefusal checks why somebody was refused.
func wantRefusal(t *testing.T, err error, code string, words ...string) {
	t.Helper()
	var no *Refusal
	if !errors.As(err, &no) || no.Code != code {
		t.Fatalf("want a refusal of code %s: %v", code, err)
	}
	for _, w := range words {
		if !strings.Contains(no.Detail, w) {
			t.Errorf("there is no %q in %q", w, no.Detail)
		}
	}
}

// Somebody signs in by their provider, with each kind of client and each algorithm; they
// have the name and the roles that it says, and the client did nothing that a careful one
// does not do.
//
// promise: P15
func TestSignInByAProvider(t *testing.T) {
	for _, c := range []oidctest.Config{{}, {ClientSecret: "s3cret with: + % signs"}, {Algorithm: "RS256", Path: "/realms/acme"}, {Algorithm: "PS256"}, {Algorithm: "EdDSA"}} {
		a := newAbroad(t, c, nil)
		v, err := a.signIn("grace")
		if err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
		if v.Name != "grace@acme.example" || v.SignedIn != ByOIDC || !slices.Equal(v.Roles, []Role{Owner}) || !v.Fresh(time.Now(), DefaultProof) {
			t.Errorf("%+v: %+v", c, v)
		}
		if r := a.idp.Refused(); len(r) > 0 {
			t.Errorf("the client did %s", r)
		}
		a.idp.Rotate(t)
		if _, err := a.signIn("grace"); err != nil {
			t.Errorf("after the provider's key is another: %v", err)
		}
	}
}

// Whoever nothing gives a role is told what was missing, and is nobody; roles that the
// provider takes are gone, from open sessions too; names that it cannot vouch for are not
// taken.
func TestWhoMaySignInByAProvider(t *testing.T) {
	a := newAbroad(t, oidctest.Config{}, nil)
	_, err := a.signIn("eve")
	wantRefusal(t, err, "no-role", "of the 1 groups", "claim groups")
	a.idp.Change(oidctest.User{Name: "eve", Email: "eve@acme.example"})
	_, err = a.signIn("eve")
	wantRefusal(t, err, "no-role", "its claim groups is missing")
	for what, u := range map[string]oidctest.User{
		"no e-mail":          {Name: "eve", Groups: []string{"isogate-owners"}},
		"not verified":       {Name: "eve", Email: "eve@acme.example", Groups: []string{"isogate-owners"}, Claims: map[string]any{"email_verified": false}},
		"verified by a word": {Name: "eve", Email: "eve@acme.example", Groups: []string{"isogate-owners"}, Claims: map[string]any{"email_verified": "yes"}},
		"unsaid":             {Name: "eve", Email: "eve@acme.example", Groups: []string{"isogate-owners"}, Claims: map[string]any{"email_verified": nil}},
		"no text":            {Name: "eve", Email: "eve@acme.example", Groups: []string{"isogate-owners"}, Claims: map[string]any{"email": []string{"eve@acme.example"}}},
		"control characters": {Name: "eve", Email: "eve\n@acme.example", Groups: []string{"isogate-owners"}},
		"look-alike":         {Name: "eve", Email: "\u0435ve@acme.example", Groups: []string{"isogate-owners"}},
		"long":               {Name: "eve", Email: strings.Repeat("e", 100) + "@acme.example", Groups: []string{"isogate-owners"}},
		"the system's":       {Name: "eve", Email: "isogate serve", Groups: []string{"isogate-owners"}},
	} {
		a.idp.Change(u)
		_, err := a.signIn("eve")
		t.Run(what, func(t *testing.T) { wantRefusal(t, err, "no-name") })
	}
	if n := a.journal.acts(SignedIn); n != 0 {
		t.Errorf("%d sign-ins are on record", n)
	}
	grace, err := a.signIn("grace")
	if err != nil {
		t.Fatal(err)
	}
	secret, _, err := a.desk.MakeToken(t.Context(), grace, "ci", []Right{Own}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	a.idp.Change(oidctest.User{Name: "grace", Subject: "g1", Email: "grace@acme.example", Groups: []string{"staff"}})
	_, err = a.signIn("grace")
	wantRefusal(t, err, "no-role")
	if v, _ := a.desk.Bearer(secret); v.May(Own) {
		t.Error("the provider says no more that grace is an owner, and her token is one")
	}
	// An owner may know somebody whom the provider's groups do not.
	a.idp.Change(oidctest.User{Name: "eve", Email: "eve@acme.example"})
	if err := a.desk.GiveRoles(t.Context(), Visitor{Name: "olga", Roles: []Role{Owner}}, "eve@acme.example", []Role{Viewer}, ""); err != nil {
		t.Fatal(err)
	}
	if v, err := a.signIn("eve"); err != nil || !slices.Equal(v.Roles, []Role{Viewer}) {
		t.Errorf("%+v %v", v, err)
	}
}

// Groups may be elsewhere: in other claims, in one word, or said by the userinfo
// endpoint alone.
func TestWhereGroupsAre(t *testing.T) {
	for claim, claims := range map[string]map[string]any{
		"groups":             {"groups": "isogate-owners"},
		"realm_access.roles": {"realm_access": map[string]any{"roles": []string{"x", "isogate-owners"}}},
		"https://acme/roles": {"https://acme/roles": []string{"isogate-owners"}},
	} {
		a := newAbroad(t, oidctest.Config{Users: []oidctest.User{{Name: "grace", Email: "grace@acme.example", Claims: claims}}}, func(c *ProviderConfig) { c.RolesClaim = claim })
		if v, err := a.signIn("grace"); err != nil || !v.May(Own) {
			t.Errorf("%s: %+v %v", claim, v, err)
		}
	}
	a := newAbroad(t, oidctest.Config{}, nil)
	a.idp.Attack(oidctest.Attack{Claims: map[string]any{"groups": nil, "email": nil, "email_verified": nil}}) // of the ID token alone
	if v, err := a.signIn("grace"); err != nil || v.Name != "grace@acme.example" || !v.May(Own) {
		t.Errorf("by userinfo: %+v %v", v, err)
	}
}

// One person, several ways: an account that the configuration ties to somebody is that
// person, and a name that somebody else has is never given to an account.
func TestOnePersonSeveralWays(t *testing.T) {
	adas := Configured{Name: "ada", Roles: []Role{ConsentAdministrator}, TokenSHA256: ada.TokenSHA256, Subject: "a1"}
	bob := Configured{Name: "grace@acme.example", Roles: []Role{Viewer}, TokenSHA256: string(DigestOf("g"))}
	a := newAbroad(t, oidctest.Config{}, nil, adas, bob)
	v, err := a.signIn("ada")
	if err != nil || v.Name != "ada" || !v.May(Decide) || !v.May(Own) {
		t.Errorf("ada by the provider is %+v: %v", v, err)
	}
	if v, err := a.desk.Bearer(adaToken); err != nil || v.Name != "ada" {
		t.Errorf("ada by her token is %+v: %v", v, err)
	}
	_, err = a.signIn("grace") // the configuration's grace has no account
	wantRefusal(t, err, "name-taken", "not tied to your account")

	a = newAbroad(t, oidctest.Config{}, nil)
	if _, err = a.signIn("grace"); err != nil {
		t.Fatal(err)
	}
	a.idp.Change(oidctest.User{Name: "mallory", Subject: "m1", Email: "grace@acme.example", Groups: []string{"isogate-owners"}})
	_, err = a.signIn("mallory")
	wantRefusal(t, err, "name-taken", "names are not merged")
	// Who marries keeps their name here: it is the account that counts.
	a.idp.Change(oidctest.User{Name: "grace", Subject: "g1", Email: "grace.hopper@acme.example", Groups: []string{"isogate-owners"}})
	if v, err := a.signIn("grace"); err != nil || v.Name != "grace@acme.example" {
		t.Errorf("by another address: %+v %v", v, err)
	}
	// Somebody who was invited by a link has the name, from then on.
	if _, err := a.desk.Invite(t.Context(), Visitor{Name: "olga", Roles: []Role{Owner}}, "eve@acme.example", []Role{Owner}); err != nil {
		t.Fatal(err)
	}
	a.idp.Change(oidctest.User{Name: "eve", Email: "eve@acme.example", Groups: []string{"isogate-owners"}})
	_, err = a.signIn("eve")
	wantRefusal(t, err, "name-taken", "invited by a link")
}

// A proof is the provider's word, signed, of when it last asked: not the browser's, nor
// that somebody has just come back from there.
func TestProofByAProvider(t *testing.T) {
	a := newAbroad(t, oidctest.Config{}, nil)
	grace, err := a.signIn("grace")
	if err != nil {
		t.Fatal(err)
	}
	q, kept := a.walk("grace", true)
	secret, _, err := a.desk.Finish(t.Context(), a.provider, kept, q, grace)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := a.desk.Visitor(secret); err != nil || !v.Fresh(time.Now(), time.Minute) || v.Session == grace.Session {
		t.Errorf("%+v %v", v, err)
	}
	if a.journal.acts(Proved) != 1 || len(a.desk.State().Sessions("", time.Now())) != 1 {
		t.Errorf("the journal has:\n%s", a.journal.text())
	}
	for what, claims := range map[string]map[string]any{"yesterday": {"auth_time": time.Now().Add(-24 * time.Hour).Unix()}, "unsaid": {"auth_time": nil}, "no time": {"auth_time": "now"}} {
		a.idp.Attack(oidctest.Attack{Claims: claims})
		q, kept := a.walk("grace", true)
		_, _, err := a.desk.Finish(t.Context(), a.provider, kept, q, grace)
		t.Run(what, func(t *testing.T) { wantRefusal(t, err, "stale", "auth_time") })
		q, kept = a.walk("grace", false)
		secret, _, err := a.desk.Finish(t.Context(), a.provider, kept, q, Visitor{})
		if err != nil {
			t.Fatal(err)
		}
		if v, _ := a.desk.Visitor(secret); v.Fresh(time.Now(), DefaultProof) {
			t.Errorf("%s: a sign-in is a proof", what)
		}
	}
	a.idp.Attack(oidctest.Attack{Claims: map[string]any{"auth_time": time.Now().Add(time.Hour).Unix()}})
	_, err = a.signIn("grace")
	wantRefusal(t, err, "provider", "in the future")
	a.idp.Attack(oidctest.Attack{})
	q, kept = a.walk("ada", true) // somebody else sits down at grace's session
	_, _, err = a.desk.Finish(t.Context(), a.provider, kept, q, grace)
	wantRefusal(t, err, "other-person")
}

// ATTACK: what a browser brings back from the provider is used again, by another
// browser, for another sign-in or too late; or the answer is one that somebody made up.
// THIS TEST VERIFIES that an answer is taken once, from the browser that was sent, for
// what it was sent for.
func TestAttackReplayedAnswers(t *testing.T) {
	a := newAbroad(t, oidctest.Config{}, nil)
	finish := func(kept string, q url.Values) error {
		_, _, err := a.desk.Finish(t.Context(), a.provider, kept, q, Visitor{})
		return err
	}
	q, kept := a.walk("grace", false)
	_, other := a.walk("grace", false)
	for what, k := range map[string]string{"none": "", "another browser's": other, "no base64": "!", "no JSON": "AAAA", "empty": "e30", "state alone": "eyJzIjoiIn0"} {
		t.Run(what, func(t *testing.T) { wantRefusal(t, finish(k, q), "no-walk") })
	}
	for what, change := range map[string]func(url.Values){"no state": func(q url.Values) { q.Del("state") }, "another state": func(q url.Values) { q.Set("state", "x") }, "two states": func(q url.Values) { q.Add("state", q.Get("state")) }} {
		bad := url.Values{}
		for name := range q {
			bad[name] = slices.Clone(q[name])
		}
		change(bad)
		t.Run(what, func(t *testing.T) { wantRefusal(t, finish(kept, bad), "no-walk") })
	}
	if err := finish(kept, q); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, finish(kept, q), "no-walk") // here
	elsewhere, err := NewProvider(a.provider.cfg)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = a.desk.Finish(t.Context(), elsewhere, kept, q, Visitor{}) // on another gateway
	wantRefusal(t, err, "provider", "invalid_grant")

	q, _ = a.walk("grace", false)
	q2, kept2 := a.walk("ada", false)
	q2.Set("code", q.Get("code")) // a code that was injected into another's walk
	wantRefusal(t, finish(kept2, q2), "provider", "invalid_grant")

	q, kept = a.walk("grace", false)
	a.now = a.now.Add(walkHolds + time.Second)
	wantRefusal(t, finish(kept, q), "no-walk")
	a.now = time.Now()

	for what, change := range map[string]func(url.Values){
		"another provider": func(q url.Values) { q.Set("iss", "https://evil.example") },
		"an error":         func(q url.Values) { q.Set("error", "access_denied") },
		"no code":          func(q url.Values) { q.Del("code") },
		"no such code":     func(q url.Values) { q.Set("code", "x") },
	} {
		q, kept := a.walk("grace", false)
		change(q)
		t.Run(what, func(t *testing.T) { wantRefusal(t, finish(kept, q), "provider") })
	}
	q, kept = a.walk("grace", false)
	q.Set("error", "<script>alert(1)</script>")
	wantRefusal(t, finish(kept, q), "provider", "it gives no reason")
	if n := a.journal.acts(SignedIn); n != 1 {
		t.Errorf("%d sign-ins", n)
	}
}

// ATTACK: a provider, or somebody who passes for one, sends an ID token that is not
// signed, signed by a secret that is public or by another key, for another client, of
// another sign-in, or over. THIS TEST VERIFIES that none of them signs anybody in.
func TestAttackForgedIDTokens(t *testing.T) {
	a := newAbroad(t, oidctest.Config{}, nil)
	for what, attack := range map[string]oidctest.Attack{
		"none":                {Algorithm: "none"},
		"HS256":               {Algorithm: "HS256"},
		"another key":         {UnknownKey: true},
		"no ID token":         {NoIDToken: true},
		"another nonce":       {Claims: map[string]any{"nonce": "x"}},
		"no nonce":            {Claims: map[string]any{"nonce": nil}},
		"another audience":    {Claims: map[string]any{"aud": "other"}},
		"two audiences":       {Claims: map[string]any{"aud": []string{"isogate", "other"}}},
		"another party":       {Claims: map[string]any{"azp": "other"}},
		"over":                {Claims: map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}},
		"no end":              {Claims: map[string]any{"exp": nil}},
		"another issuer":      {Claims: map[string]any{"iss": "https://evil.example"}},
		"no subject":          {Claims: map[string]any{"sub": nil}},
		"an endless answer":   {Huge: []string{"token"}},
		"a redirect":          {Loop: []string{"token"}},
		"userinfo of another": {Claims: map[string]any{"sub": "somebody-else", "groups": nil}},
	} {
		a.idp.Attack(attack)
		q, kept := a.walk("grace", false)
		_, _, err := a.desk.Finish(t.Context(), a.provider, kept, q, Visitor{})
		t.Run(what, func(t *testing.T) { wantRefusal(t, err, "provider") })
	}
	if n := a.journal.acts(SignedIn); n != 0 {
		t.Errorf("%d sign-ins", n)
	}
	a.idp.Attack(oidctest.Attack{})
	if _, err := a.signIn("grace"); err != nil {
		t.Error(err)
	}
}

// ATTACK: a provider says that its endpoints are inside the isolated cloud, at another
// scheme or on another host, so that the Hub asks there (SSRF through the issuer's
// discovery), or answers without an end. THIS TEST VERIFIES that no request is sent but
// to the hosts that the configuration has, that nobody is sent elsewhere, and that one
// such answer does not last: the next one counts.
func TestAttackDiscovery(t *testing.T) {
	var sent []string
	a := newAbroad(t, oidctest.Config{}, nil)
	a.provider.fence.next = spy{a.idp.Client().Transport, func(r *http.Request) { sent = append(sent, r.URL.Host) }}
	for _, endpoint := range []string{"authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"} {
		for _, at := range []string{"http://169.254.169.254/latest/meta-data", "https://169.254.169.254/", "https://10.0.0.1/", "https://localhost/", "https://127.0.0.1/", "https://evil.example/", "file:///etc/passwd", "gopher://x/",
			"//evil.example/", "/token", strings.Replace(a.idp.Issuer(), "https:", "http:", 1) + "/x", strings.Replace(a.idp.Issuer(), "https://", "https://user@", 1), strings.Replace(a.idp.Issuer(), "https://", "https://evil.example@", 1) + "#x"} {
			a.idp.Attack(oidctest.Attack{Discovery: map[string]any{endpoint: at}})
			_, _, err := a.provider.Begin(t.Context(), "/", false)
			if err == nil {
				t.Errorf("%s at %s is used", endpoint, at)
			}
			a.now = a.now.Add(discoverAgain)
		}
	}
	for what, attack := range map[string]oidctest.Attack{
		"another issuer": {Discovery: map[string]any{"issuer": "https://evil.example"}}, "an endless answer": {Huge: []string{"openid-configuration"}}, "a redirect": {Loop: []string{"openid-configuration"}},
		"secrets only": {Discovery: map[string]any{"id_token_signing_alg_values_supported": []string{"HS256", "none"}}}, "no PKCE": {Discovery: map[string]any{"code_challenge_methods_supported": []string{"plain"}}},
	} {
		a.idp.Attack(attack)
		if _, _, err := a.provider.Begin(t.Context(), "/", false); err == nil {
			t.Errorf("%s: it is used", what)
		}
		a.now = a.now.Add(discoverAgain)
	}
	issuer, err := url.Parse(a.idp.Issuer())
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range sent {
		if host != issuer.Host {
			t.Errorf("a request went to %s", host)
		}
	}
	a.idp.Attack(oidctest.Attack{})
	if _, err := a.signIn("grace"); err != nil {
		t.Error(err)
	}
	a.idp.Attack(oidctest.Attack{Discovery: map[string]any{"end_session_endpoint": "https://evil.example/out"}})
	a.now = a.now.Add(discoverEvery)
	if _, _, err := a.provider.Begin(t.Context(), "/", false); err != nil || strings.Contains(a.provider.Logout("https://hub.acme.example/signin"), "evil") {
		t.Errorf("who signs out is sent elsewhere: %v", err)
	}
}

// spy tells of each request.
type spy struct {
	next http.RoundTripper
	tell func(*http.Request)
}

func (s spy) RoundTrip(r *http.Request) (*http.Response, error) {
	s.tell(r)
	return s.next.RoundTrip(r)
}

// A provider that is away keeps nobody out who comes in another way, is not asked at
// each try, and is asked again soon.
func TestProviderAway(t *testing.T) {
	a := newAbroad(t, oidctest.Config{}, nil, ada)
	asked := 0
	away := true
	next := a.provider.fence.next
	a.provider.fence.next = spyFunc(func(r *http.Request) (*http.Response, error) {
		asked++
		if away {
			return nil, errors.New("no route to host")
		}
		return next.RoundTrip(r)
	})
	for range 10 {
		_, _, err := a.provider.Begin(t.Context(), "/", false)
		wantRefusal(t, err, "provider", "cannot be asked now")
	}
	if asked != 1 {
		t.Errorf("it was asked %d times", asked)
	}
	if _, err := a.desk.SignInByToken(t.Context(), adaToken, Visitor{}); err != nil {
		t.Error(err)
	}
	away, a.now = false, a.now.Add(discoverAgain)
	if _, err := a.signIn("grace"); err != nil {
		t.Error(err)
	}
	// What it said holds while it is away.
	away, a.now = true, a.now.Add(discoverEvery)
	if _, _, err := a.provider.Begin(t.Context(), "/", false); err != nil {
		t.Error(err)
	}
}

type spyFunc func(*http.Request) (*http.Response, error)

func (f spyFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

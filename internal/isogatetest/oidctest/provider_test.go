package oidctest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

const redirect = "https://hub.example/signin/return"

// flow is what a careful client does.
type flow struct {
	t        *testing.T
	p        *Provider
	verifier string
	query    url.Values
}

func newFlow(t *testing.T, p *Provider) *flow {
	f := &flow{t: t, p: p, verifier: rand.Text() + rand.Text()}
	f.query = url.Values{"client_id": {p.ClientID()}, "redirect_uri": {redirect}, "response_type": {"code"}, "scope": {"openid email groups"},
		"state": {rand.Text()}, "nonce": {rand.Text()}, "code_challenge": {challengeOf(f.verifier)}, "code_challenge_method": {"S256"}}
	return f
}

func (f *flow) link() string { return f.p.Issuer() + "/authorize?" + f.query.Encode() }

// walk signs in, and gives back what the client's redirect URI was asked with.
func (f *flow) walk(user string) url.Values {
	f.t.Helper()
	back, err := f.p.Walk(f.t.Context(), f.link(), user)
	if err != nil {
		f.t.Fatal(err)
	}
	to, err := url.Parse(back)
	if err != nil || !strings.HasPrefix(back, redirect+"?") {
		f.t.Fatalf("sent back to %q (%v)", back, err)
	}
	return to.Query()
}

// exchange exchanges a code.
func (f *flow) exchange(code, secret string) (int, map[string]any) {
	f.t.Helper()
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirect}, "code_verifier": {f.verifier}}
	req, err := http.NewRequestWithContext(f.t.Context(), http.MethodPost, f.p.Issuer()+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(f.p.ClientID(), secret)
	resp, err := f.p.Client().Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	reply := map[string]any{}
	if err := json.NewDecoder(resp.Body).Decode(&reply); err != nil {
		f.t.Fatal(err)
	}
	return resp.StatusCode, reply
}

func provider(t *testing.T, c Config) *Provider {
	c.Redirects, c.Users = []string{redirect}, []User{{Name: "ada", Email: "ada@acme.example", Groups: []string{"owners"}}}
	return New(t, c)
}

// Somebody signs in, and the client learns who, once, by a token that the published
// key has signed.
func TestSignIn(t *testing.T) {
	p := provider(t, Config{Path: "/realms/acme", ClientSecret: "of the client"})
	f := newFlow(t, p)
	q := f.walk("ada")
	if q.Get("state") != f.query.Get("state") || q.Get("iss") != p.Issuer() {
		t.Errorf("sent back with %v", q)
	}
	status, reply := f.exchange(q.Get("code"), "of the client")
	if status != http.StatusOK {
		t.Fatalf("%d %v", status, reply)
	}
	claims := verified(t, p, reply["id_token"].(string))
	for name, want := range map[string]string{"sub": "sub-ada", "email": "ada@acme.example", "aud": "isogate", "iss": p.Issuer(), "nonce": f.query.Get("nonce")} {
		if claims[name] != want {
			t.Errorf("%s is %v, want %v", name, claims[name], want)
		}
	}
	if at, _ := claims["auth_time"].(float64); time.Since(time.Unix(int64(at), 0)) > time.Minute {
		t.Errorf("auth_time is %v", claims["auth_time"])
	}
	if status, reply = f.exchange(q.Get("code"), "of the client"); status != http.StatusBadRequest || reply["error"] != "invalid_grant" {
		t.Errorf("a code is taken twice: %d %v", status, reply)
	}
}

// What a careful client never does is refused, and noted.
func TestCarelessClients(t *testing.T) {
	p := provider(t, Config{ClientSecret: "of the client"})
	for what, spoil := range map[string]func(*flow){
		"no challenge":      func(f *flow) { f.query.Del("code_challenge") },
		"plain challenge":   func(f *flow) { f.query.Set("code_challenge_method", "plain") },
		"no state":          func(f *flow) { f.query.Del("state") },
		"state for a nonce": func(f *flow) { f.query.Set("nonce", f.query.Get("state")) },
		"implicit":          func(f *flow) { f.query.Set("response_type", "id_token") },
		"no openid":         func(f *flow) { f.query.Set("scope", "email") },
	} {
		before := len(p.Refused())
		f := newFlow(t, p)
		spoil(f)
		if q := f.walk("ada"); q.Get("code") != "" || q.Get("error") == "" {
			t.Errorf("%s: sent back with %v", what, q)
		}
		if len(p.Refused()) != before+1 {
			t.Errorf("%s: not noted", what)
		}
	}
	for what, spoil := range map[string]func(*flow){
		"another verifier": func(f *flow) { f.verifier = strings.Repeat("x", 43) },
	} {
		f := newFlow(t, p)
		q := f.walk("ada")
		spoil(f)
		if status, reply := f.exchange(q.Get("code"), "of the client"); status != http.StatusBadRequest {
			t.Errorf("%s: %d %v", what, status, reply)
		}
	}
	f := newFlow(t, p)
	if status, reply := f.exchange(f.walk("ada").Get("code"), "another"); status != http.StatusUnauthorized {
		t.Errorf("a wrong secret: %d %v", status, reply)
	}
	f = newFlow(t, p)
	f.query.Set("redirect_uri", redirect+"/")
	if back, err := p.Walk(t.Context(), f.link(), "ada"); err == nil {
		t.Errorf("another redirect URI is sent to: %s", back)
	}
}

// Who has a session goes straight back, unless the client wants to know them anew.
func TestProvedAgain(t *testing.T) {
	now := time.Date(2026, 12, 1, 8, 0, 0, 0, time.UTC)
	p := provider(t, Config{Now: func() time.Time { return now }})
	p.sessions["known"] = authSession{user: p.users["ada"], at: now.Add(-time.Hour)}
	for extra, straight := range map[string]bool{"": true, "&max_age=7200": true, "&prompt=none": true, "&prompt=login": false, "&max_age=60": false, "&max_age=0": false} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, newFlow(t, p).link()+extra, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.AddCookie(&http.Cookie{Name: cookie, Value: "known"})
		resp, err := p.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		page, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if went := resp.StatusCode == http.StatusSeeOther && strings.Contains(resp.Header.Get("Location"), "code="); went != straight {
			t.Errorf("%q: %d %s %s", extra, resp.StatusCode, resp.Header.Get("Location"), page)
		}
	}
}

// Each attack is one: an honest verifier notices it.
func TestAttacksAreWhatTheySay(t *testing.T) {
	p := provider(t, Config{})
	for what, a := range map[string]Attack{"none": {Algorithm: "none"}, "HS256": {Algorithm: "HS256"}, "an unknown key": {UnknownKey: true}} {
		p.Attack(a)
		f := newFlow(t, p)
		_, reply := f.exchange(f.walk("ada").Get("code"), "")
		if _, err := verify(p, reply["id_token"].(string)); err == nil {
			t.Errorf("%s verifies", what)
		}
	}
	p.Attack(Attack{Claims: map[string]any{"nonce": "other", "email": nil}})
	f := newFlow(t, p)
	_, reply := f.exchange(f.walk("ada").Get("code"), "")
	if claims := verified(t, p, reply["id_token"].(string)); claims["nonce"] != "other" || claims["email"] != nil {
		t.Errorf("claims are %v", claims)
	}
	p.Attack(Attack{})
	p.Rotate(t)
	f = newFlow(t, p)
	_, again := f.exchange(f.walk("ada").Get("code"), "")
	verified(t, p, again["id_token"].(string))
	if _, err := verify(p, reply["id_token"].(string)); err == nil {
		t.Error("what the key before the rotation signed still verifies")
	}
}

// All algorithms give a signature that is as long as it must be.
func TestAlgorithms(t *testing.T) {
	for algorithm, size := range map[string]int{"ES256": 64, "RS256": 256, "PS256": 256, "EdDSA": 64} {
		s, err := newSigner(algorithm)
		if err != nil {
			t.Fatal(err)
		}
		text, err := s.sign(map[string]any{"sub": "ada"}, Attack{})
		if err != nil {
			t.Fatal(err)
		}
		signature, err := base64.RawURLEncoding.DecodeString(text[strings.LastIndexByte(text, '.')+1:])
		if err != nil || len(signature) != size {
			t.Errorf("%s: %d bytes (%v)", algorithm, len(signature), err)
		}
	}
}

func verified(t *testing.T, p *Provider, token string) map[string]any {
	t.Helper()
	claims, err := verify(p, token)
	if err != nil {
		t.Fatal(err)
	}
	return claims
}

// verify checks an ES256 token by what the provider publishes.
func verify(p *Provider, token string) (map[string]any, error) {
	resp, err := p.Client().Get(p.Issuer() + "/jwks")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var set struct{ Keys []struct{ Kid, X, Y string } }
	if err := json.NewDecoder(resp.Body).Decode(&set); err != nil {
		return nil, err
	}
	parts := strings.Split(token, ".")
	var decoded [3][]byte
	for i := range decoded {
		if decoded[i], err = base64.RawURLEncoding.DecodeString(parts[i]); err != nil {
			return nil, err
		}
	}
	x, _ := base64.RawURLEncoding.DecodeString(set.Keys[0].X)
	y, _ := base64.RawURLEncoding.DecodeString(set.Keys[0].Y)
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, x...), y...))
	if err != nil {
		return nil, err
	}
	var head struct{ Alg, Kid string }
	if err := json.Unmarshal(decoded[0], &head); err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if sig := decoded[2]; head.Alg != "ES256" || head.Kid != set.Keys[0].Kid || len(sig) != 64 ||
		!ecdsa.Verify(key, sum[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
		return nil, errors.New("not signed by the published key")
	}
	claims := map[string]any{}
	return claims, json.Unmarshal(decoded[1], &claims)
}

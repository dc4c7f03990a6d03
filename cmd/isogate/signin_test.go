package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate/internal/isogatetest"
	"github.com/isogate/isogate/internal/isogatetest/oidctest"
)

// visitor is a browser at a site's Hub, without its scripts.
func (s *site) visitor() *http.Client {
	s.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &http.Client{Jar: jar, Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.inside.Pool()}}}
}

// read is the page that an answer is.
func read(t *testing.T, resp *http.Response, err error) (int, string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// On an empty installation serve writes a link by which the first owner signs in. The
// link works once, no link is written when the next gateway starts, the owner's session
// is known after a restart, and neither the journal nor any other file has a secret.
//
// promise: P15
func TestTheFirstOwner(t *testing.T) {
	s := newSite(t, "")
	s.start()
	line := s.await("becomes its owner")
	key := regexp.MustCompile(`/signin/link\?key=([A-Za-z0-9_-]{43})`).FindStringSubmatch(line)
	if key == nil {
		t.Fatalf("there is no link in %s", line)
	}
	ada := s.visitor()
	resp, err := ada.Get(s.hub + key[0])
	if status, page := read(t, resp, err); status != 200 || !strings.Contains(page, "You become the owner") {
		t.Fatalf("%d %s", status, page)
	}
	resp, err = ada.PostForm(s.hub+"/signin/link", url.Values{"key": {key[1]}, "name": {"ada"}})
	if status, page := read(t, resp, err); status != 200 || !strings.Contains(page, "one-time link") || !strings.Contains(page, "owner") {
		t.Fatalf("%d %s", status, page)
	}
	resp, err = s.visitor().PostForm(s.hub+"/signin/link", url.Values{"key": {key[1]}, "name": {"eve"}})
	if status, page := read(t, resp, err); status != http.StatusForbidden {
		t.Errorf("the link works twice: %d %s", status, page)
	}
	u, err := url.Parse(s.hub)
	if err != nil {
		t.Fatal(err)
	}
	session := ada.Jar.Cookies(u)[0]
	s.stop(os.Interrupt)
	s.start()
	resp, err = s.visitor().Get(s.hub + "/account")
	if status, page := read(t, resp, err); status != 200 || !strings.Contains(page, "Sign in") {
		t.Errorf("somebody else: %d %s", status, page)
	}
	again := s.visitor()
	if u, err = url.Parse(s.hub); err != nil {
		t.Fatal(err)
	}
	again.Jar.SetCookies(u, []*http.Cookie{session})
	resp, err = again.Get(s.hub + "/people")
	if status, page := read(t, resp, err); status != 200 || !strings.Contains(page, "ada (you)") {
		t.Errorf("after a restart: %d %s", status, page)
	}
	s.stop(os.Interrupt)
	if strings.Contains(s.log.text.String(), "becomes its owner") {
		t.Error("another link was written")
	}
	err = filepath.WalkDir(filepath.Join(s.dir, "state"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		for what, secret := range map[string]string{"link": key[1], "session": session.Value} {
			if strings.Contains(string(text), secret) {
				t.Errorf("%s has the %s's secret", path, what)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Beyond this machine and without TLS nobody signs in, and none is invited to.
func TestNobodySignsInInPlain(t *testing.T) {
	c := config{Tenant: "acme", Hub: hubConfig{Listen: "192.0.2.1:7080"}}
	if !c.inPlain() {
		t.Error("192.0.2.1 is this machine")
	}
	for _, listen := range []string{"127.0.0.1:7080", "[::1]:7080", "localhost:7080", ""} {
		if c.Hub.Listen = listen; c.inPlain() {
			t.Errorf("%q crosses a network", listen)
		}
	}
	c.Hub.Listen, c.Hub.TLS.Cert = ":7080", "hub.pem"
	if c.inPlain() {
		t.Error("TLS is plain")
	}
	c.Hub.TLS.Cert = ""
	if !c.inPlain() {
		t.Error("every address is this machine")
	}
}

// What is wrong about people, their provider and their sessions is named, each with its key.
func TestWrongSignInConfiguration(t *testing.T) {
	sum := tokenSum("x")
	for hub, want := range map[string]string{
		`administrators: [{name: ada}]`:                                                                              "hub.administrators[0]: ada has no way to sign in",
		`administrators: [{name: Ada, token_sha256: ` + sum + `}]`:                                                   "hub.administrators[0].name",
		`administrators: [{name: ada, roles: [root], token_sha256: ` + sum + `}]`:                                    `hub.administrators[0].roles: unknown role "root"`,
		`administrators: [{name: ada, token_sha256: ` + sum + `}, {name: bob, token_sha256: ` + sum + `}]`:           "hub.administrators[1].token_sha256: another administrator has the same token",
		`administrators: [{name: ada, token_sha256: ` + sum + `}, {name: ada, token_sha256: ` + tokenSum("y") + `}]`: `hub.administrators[1].name: "ada" is there twice`,
		`administrators: [{name: ada, token_sha256: abc}]`:                                                           "hub.administrators[0].token_sha256: is not 64 hexadecimal digits",
		`administrators: [{name: ada, oidc: "1"}]`:                                                                   "hub.oidc: is missing",
		`oidc: {client_id: x}`: "hub.oidc.issuer: is missing",
		`url: https://h.example, oidc: {issuer: "http://id.example", client_id: x, roles: {a: [owner]}}`:                        "hub.oidc.issuer",
		`url: https://h.example, oidc: {issuer: "https://id.example", roles: {a: [owner]}}`:                                     "hub.oidc.client_id: is missing",
		`oidc: {issuer: "https://id.example", client_id: x, roles: {a: [owner]}}`:                                               "hub.url: is missing",
		`url: https://h.example, oidc: {issuer: "https://id.example", client_id: x}`:                                            "hub.oidc.roles: are missing",
		`url: https://h.example, oidc: {issuer: "https://id.example", client_id: x, roles: {a: [root]}}`:                        `hub.oidc.roles.a: unknown role "root"`,
		`url: https://h.example, oidc: {issuer: "https://id.example", client_id: x, hosts: ["https://x"], roles: {a: [owner]}}`: "hub.oidc.hosts[0]",
		`url: "http://h.example"`:      "hub.url: begins with http",
		`url: "https://h.example/hub"`: "hub.url: has more than scheme and host",
		`url: "h.example"`:             "hub.url:",
		`sessions: {idle: 1s}`:         "hub.sessions.idle: must be",
		`sessions: {max: 1000h}`:       "hub.sessions.max: must be",
		`sessions: {proof: 2h}`:        "hub.sessions.proof: must be",
	} {
		s := newSite(t, "")
		s.edit(`hub: {listen: "127.0.0.1:0"`, `hub: {listen: "127.0.0.1:0", `+hub)
		if _, err := loadConfig(s.config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: want %q: %v", hub, want, err)
		}
	}
}

// hubName is what browsers call the Hub of these tests.
const hubName = "hub.acme.example"

// named is a browser for which the Hub has its name, and that goes where it is sent
// only as far as the Hub.
func (s *site) named() *http.Client {
	s.t.Helper()
	c := s.visitor()
	_, address, _ := strings.Cut(s.hub, "//")
	dialer := &net.Dialer{}
	c.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, network, address)
	}
	c.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if r.URL.Host != hubName {
			return http.ErrUseLastResponse
		}
		return nil
	}
	return c
}

// People sign in at the gateway that serve runs by their provider, over TLS, with a
// cookie that nobody else can set; the provider's groups say what they may do, and the
// journal who they are. A provider on a network that is not allowed is not asked.
//
// promise: P15
func TestSignInByTheProvider(t *testing.T) {
	const home = "https://" + hubName
	idp := oidctest.New(t, oidctest.Config{ClientSecret: "of the client", Redirects: []string{home + "/signin/oidc/return"},
		Users: []oidctest.User{{Name: "grace", Email: "grace@acme.example", Groups: []string{"owners"}}, {Name: "eve", Email: "eve@acme.example", Groups: []string{"others"}}}})
	for _, allowed := range []bool{true, false} {
		s := newSite(t, "")
		_, _, err := s.inside.WriteFiles(s.dir, "hub", isogatetest.Leaf{Name: "hub", Hosts: []string{hubName}})
		try(t, err)
		s.write("idp.pem", string(idp.Roots()))
		s.write("secret", "of the client\n")
		allow := ""
		if allowed {
			allow = "allow: [127.0.0.0/8], "
		}
		s.edit(anyPort, fmt.Sprintf("%s, tls: {cert: hub.pem, key: hub.key}, url: %s, oidc: {issuer: %q, client_id: isogate, client_secret_file: secret, roots: idp.pem, %sroles: {owners: [owner]}}", anyPort, home, idp.Issuer(), allow))
		s.start()
		grace := s.named()
		resp, err := grace.Get(home + "/people")
		if status, page := read(t, resp, err); status != 200 || !strings.Contains(page, "Sign in at 127.0.0.1") {
			t.Fatalf("%d %s", status, page)
		}
		resp, err = grace.Get(home + "/signin/oidc?to=/people")
		status, page := read(t, resp, err)
		if !allowed {
			if status != http.StatusForbidden || !strings.Contains(page, "cannot be asked now") {
				t.Errorf("a provider on a network that is not allowed: %d %s", status, page)
			}
			s.stop(os.Interrupt)
			continue
		}
		back, err := idp.Walk(t.Context(), resp.Header.Get("Location"), "grace")
		if status != http.StatusSeeOther || err != nil {
			t.Fatalf("%d %v %s", status, err, page)
		}
		resp, err = grace.Get(back)
		if status, page := read(t, resp, err); status != 200 || !strings.Contains(page, "grace@acme.example (you)") {
			t.Fatalf("%d %s", status, page)
		}
		u, err := url.Parse(home)
		try(t, err)
		for _, c := range grace.Jar.Cookies(u) {
			if !strings.HasPrefix(c.Name, "__Host-isogate") {
				t.Errorf("a cookie is called %s", c.Name)
			}
		}
		resp, err = s.named().Get(back)
		if status, page := read(t, resp, err); status != http.StatusForbidden || !strings.Contains(page, "was not on its way") {
			t.Errorf("another browser, or once more: %d %s", status, page)
		}
		eve := s.named()
		resp, err = eve.Get(home + "/signin/oidc")
		read(t, resp, err)
		back, err = idp.Walk(t.Context(), resp.Header.Get("Location"), "eve")
		try(t, err)
		resp, err = eve.Get(back)
		if status, page := read(t, resp, err); status != http.StatusForbidden || !strings.Contains(page, "claim groups") {
			t.Errorf("eve, whom no group gives a role: %d %s", status, page)
		}
		s.stop(os.Interrupt)
		found := false
		for _, e := range s.entries() {
			found = found || e.Act == "signed in" && e.Actor == "grace@acme.example" && e.Detail["signed_in"] == "OpenID Connect" && e.Detail["claimed_roles"] == "owner"
		}
		if !found {
			t.Error("the journal does not say who signed in, and how")
		}
		if r := idp.Refused(); len(r) > 0 {
			t.Errorf("the client did %s", r)
		}
	}
}

package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/isogatetest/browsertest"
	"github.com/isogate/isogate/internal/isogatetest/oidctest"
)

// hubURL is where browsers find the Hub.
const hubURL = "https://" + demoHubHost

// people are those who can sign in at the provider, one for each role, by the group
// that the configuration maps to it; and somebody in no group.
var people = map[access.Role]string{
	access.Viewer: "vera", access.Auditor: "audrey", access.ConsentAdministrator: "connie", access.PolicyAuthor: "paula",
	access.PolicyApprover: "petra", access.Operator: "oskar", access.Owner: "olga", "": "nils",
}

// hubWorld is the demo's world after its story, with a provider by which its people
// sign in, and a browser with a window for each of them.
type hubWorld struct {
	*demo
	t       *testing.T
	idp     *oidctest.Provider
	browser *browsertest.Browser
	windows map[string]*browsertest.Browser
	// proposed is the page of the pack that an author has proposed, whose files are in proposedDir.
	proposed, proposedDir string
	later                 atomic.Int64 // how much later it is in the world, in nanoseconds
}

// now is the world's time.
func (w *hubWorld) now() time.Time { return time.Now().Add(time.Duration(w.later.Load())) }

// wait lets time pass in the world, at once.
func (w *hubWorld) wait(d time.Duration) { w.later.Add(int64(d)) }

// newHubWorld makes the world, lets its story happen, and puts a second pack in force.
func newHubWorld(t *testing.T) *hubWorld {
	t.Helper()
	if testing.Short() {
		t.Skip("a browser takes seconds to start, and the demo's story as well")
	}
	w := &hubWorld{t: t, windows: map[string]*browsertest.Browser{}}
	var users []oidctest.User
	var roles strings.Builder
	for role, name := range people {
		u := oidctest.User{Name: name, Email: name + "@acme.example", Groups: []string{"everybody"}}
		if role != "" {
			u.Groups = append(u.Groups, "isogate-"+string(role))
			fmt.Fprintf(&roles, "      isogate-%s: [%s]\n", role, role)
		}
		users = append(users, u)
	}
	w.idp = oidctest.New(t, oidctest.Config{Path: "/realms/acme", ClientSecret: "of the hub", Users: users, Now: w.now,
		Redirects: []string{hubURL + "/signin/oidc/return"}, LoggedOut: []string{hubURL + "/signin"}})
	dir := t.TempDir()
	for name, text := range map[string]string{"client-secret": "of the hub", "provider.pem": string(w.idp.Roots())} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.demo = demoWorld(t, fmt.Sprintf(`hub:
  listen: HUB
  url: %s
  tls: {cert: tls/hub.pem, key: tls/hub.key}
  administrators:
    - {name: ada, roles: [consent-administrator], token_sha256: ADA}
  oidc:
    issuer: %s
    client_id: %s
    client_secret_file: %s
    roots: %s
    allow: [127.0.0.0/8]
    name_claim: email
    roles:
%s`, hubURL, w.idp.Issuer(), w.idp.ClientID(), filepath.Join(dir, "client-secret"), filepath.Join(dir, "provider.pem"), roles.String()), w.now)
	w.out = io.Discard
	w.live(t.Context())
	if w.failures > 0 {
		t.Fatalf("%d observations of the demo's story were not as they must be; see: isogate demo --once", w.failures)
	}
	w.browser = browsertest.StartIn(t, browsertest.Options{Hosts: map[string]string{demoHubHost: w.server.hub.Addr().String()},
		Trust: []*x509.Certificate{certificateOf(t, filepath.Join(w.dir, "tls", "hub.pem")), w.idp.Certificate()}})
	return w
}

// certificateOf reads one.
func certificateOf(t *testing.T, file string) *x509.Certificate {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatalf("%s has no certificate", file)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// window is a new one, of somebody who has not signed in.
func (w *hubWorld) window(t *testing.T) *browsertest.Browser {
	t.Helper()
	b := w.browser.Window(t)
	b.See(browsertest.Sight{})
	return b
}

// as is the window of somebody who has a role and has signed in. It is the same each
// time, so that they sign in once.
func (w *hubWorld) as(t *testing.T, role access.Role) *browsertest.Browser {
	t.Helper()
	name := people[role]
	b, there := w.windows[name]
	if !there {
		b = w.browser.Window(w.t)
		w.windows[name] = b
		b.See(browsertest.Sight{})
		w.signIn(b.For(t), name)
	}
	return b.For(t)
}

// signIn is what a person does to sign in, from the Hub's first page on.
func (w *hubWorld) signIn(b *browsertest.Browser, name string) {
	b.Open(hubURL + "/")
	b.Press("Sign in at")
	b.Fill("input[name=user]", name)
}

// prove is what a person does who is asked whether it is still they.
func (w *hubWorld) prove(b *browsertest.Browser, role access.Role) {
	if strings.HasPrefix(b.Where(), hubURL+"/signin/again") || b.Has("Confirm that it is you") && b.Press("Confirm that it is you") != 0 {
		b.Press("Confirm at")
		b.Fill("input[name=user]", people[role])
	}
}

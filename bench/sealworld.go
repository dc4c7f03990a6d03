package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/isogatetest"
	"github.com/isogate/isogate/internal/seal"
	"github.com/isogate/isogate/internal/tenant"
)

// The destinations of these questions: one without a landing, one whose landing is
// a double that holds whatever it is sent, and one with a landing.
const (
	plainHost  = "plain.example"
	doubleHost = "double.example"
	landedHost = "landed.example"

	viewerToken = "the token of a viewer"
)

// sealFields is how many values of a request are released.
const sealFields = 10

// newSealWorld makes the files of the questions about seals, and starts the far
// side, the double and the landing.
func newSealWorld(ctx context.Context, b *bench, name string) (_ *world, err error) {
	w := &world{dir: filepath.Join(b.dir, name), isogate: filepath.Join(b.dir, "isogate"), at: map[string]string{}}
	defer func() {
		if err != nil {
			w.stop()
		}
	}()
	if err := os.MkdirAll(w.path("pages"), 0o700); err != nil {
		return nil, err
	}
	if err := b.build(ctx, w.isogate); err != nil {
		return nil, err
	}
	if err := w.certificates(plainHost, doubleHost, landedHost); err != nil {
		return nil, err
	}
	for _, name := range []string{"direct", "double", "landing", "viewers", "ReverseProxy", "isogate", "hub"} {
		if w.at[name], err = freePort(); err != nil {
			return nil, err
		}
	}
	if err := w.configureSeals(); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	for _, p := range []struct {
		name string
		args []string
	}{
		{"direct", []string{self, "far", "-addr", w.at["direct"], "-cert", w.cert, "-key", w.key, "-keep", w.path("arrived.json"), "-pages", w.path("pages")}},
		{"double", []string{self, "far", "-addr", w.at["double"], "-cert", w.cert, "-key", w.key, "-keep", w.path("arrived.json"), "-landing", w.path("double.note")}},
		{"landing", []string{w.isogate, "landing", "serve", "-c", w.path("landing.yaml")}},
	} {
		if err := w.start(ctx, p.name, p.args); err != nil {
			return nil, err
		}
	}
	// The landing's other edge is the same process.
	w.named["viewers"] = w.named["landing"]
	return w, nil
}

// configureSeals writes what everybody reads.
func (w *world) configureSeals() error {
	double, err := w.stateDouble()
	if err != nil {
		return err
	}
	id, err := tenant.CreateIdentity(w.path("outside"), "landed")
	if err != nil {
		return err
	}
	fill := strings.NewReplacer(
		"@ISOGATE", w.at["isogate"], "@HUB", w.at["hub"], "@FAR", w.at["direct"], "@DOUBLEAT", w.at["double"], "@LANDINGAT", w.at["landing"], "@VIEWERS", w.at["viewers"],
		"@DOUBLEKEY", double, "@LANDEDKEY", id.Verifier(), "@PLAIN", plainHost, "@DOUBLE", doubleHost, "@LANDED", landedHost, "@GATEWAY", gatewaySPIFFE,
		"@TOKEN", hash(viewerToken), "@SPIFFE", isogatetest.SPIFFE(isogatetest.Product), "@SOURCE", string(isogatetest.Product))
	files := map[string]string{
		"isogate.yaml":              sealsYAML,
		"landing.yaml":              landingYAML,
		"pack/pack.yaml":            "pack: bench\nversion: 1\n",
		"pack/destinations.yaml":    sealDestinations,
		"pack/contracts/desk.yaml":  deskContract(),
		"pack/transits/tokens.yaml": deskTransit("tokens", "plain", false, false),
		"desk.json":                 string(deskBody(func(int) string { return sealText })),
		"sessions":                  deskSessions(),
		"viewer":                    "Authorization: Bearer " + viewerToken + "\n",
	}
	for _, to := range []string{"plain", "double", "landed"} {
		for _, session := range []bool{false, true} {
			name := to + "-request"
			if session {
				name = to + "-session"
			}
			files["pack/transits/"+name+".yaml"] = deskTransit(name, to, true, session)
		}
	}
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(w.path(name)), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(w.path(name), []byte(fill.Replace(text)), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// stateDouble writes what the double states, and returns the key that it is signed by.
func (w *world) stateDouble() (verifier string, err error) {
	side, err := newSealSide("double")
	if err != nil {
		return "", err
	}
	return side.verifier, os.WriteFile(w.path("double.note"), side.signed, 0o600)
}

const sealsYAML = `tenant: bench
state: ./state
pack: ./pack
gateway:
  transits: {listen: "@ISOGATE", tls: {cert: server.pem, key: server.key, client_ca: ca.pem}}
  upstream:
    roots: ca.pem
    cert: gateway.pem
    key: gateway.key
    allow: [127.0.0.0/8]
    hosts: {@PLAIN: "@FAR", @DOUBLE: "@DOUBLEAT", @LANDED: "@LANDINGAT"}
sources:
  - {name: @SOURCE, spiffe: "@SPIFFE"}
hub: {listen: "@HUB"}
`

const landingYAML = `landing: landed
destination: landed
state: ./outside
tenants:
  - {name: bench, spiffe: "@GATEWAY"}
gateways:
  listen: "@LANDINGAT"
  tls: {cert: server.pem, key: server.key, client_ca: ca.pem}
viewers:
  listen: "@VIEWERS"
  tls: {cert: server.pem, key: server.key}
  allowed:
    - {name: agent, token_sha256: @TOKEN, labels: ["personal.**"], tenants: [bench], transits: ["*"]}
service: {url: "https://@FAR", roots: ca.pem, allow: [127.0.0.0/8]}
limits: {reveals: 1000000}
`

const sealDestinations = `destinations:
  - {name: plain, url: "https://@PLAIN"}
  - {name: double, url: "https://@DOUBLE", landing: {public_key: "@DOUBLEKEY"}}
  - {name: landed, url: "https://@LANDED", landing: {public_key: "@LANDEDKEY"}}
`

// deskTransit is a way out for the body of these questions, by which its values are
// allowed, or leave as tokens.
func deskTransit(name, to string, allowed, session bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "transit: %s\npurpose: support\nsource: [@SOURCE]\ndestination: %s\nconsent: none\nmatch: [POST /v1/%[1]s]\n", name, to)
	if session {
		b.WriteString("session: header Isogate-Session\n")
	}
	b.WriteString("request:\n  contract: desk\n")
	if allowed {
		fmt.Fprintf(&b, "  release:\n    - {label: %s, as: allow, handling: transit-only, because: Shown to the agent, owner: bench, until: 2099-12-31}\n", replaced)
	}
	b.WriteString("response: {restore: true, max: 1MiB}\n")
	return b.String()
}

func deskContract() string {
	var b strings.Builder
	b.WriteString("contract: desk\nformat: json\nfields:\n")
	for i := range sealFields {
		fmt.Fprintf(&b, "  by%d: %s\n", i, replaced)
	}
	fmt.Fprintf(&b, "  tickets[].key: %s\n  tickets[].status: %[1]s\n  tickets[].queue: %[1]s\n", passed)
	return b.String()
}

// deskBody is 1 KiB with ten values in it, each as of writes it.
func deskBody(of func(i int) string) []byte {
	var b strings.Builder
	b.WriteByte('{')
	for i := range sealFields {
		fmt.Fprintf(&b, `"by%d":"%s",`, i, of(i))
	}
	b.WriteString(`"tickets":[`)
	for i := range 10 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"key":"HELP-%d","status":"waiting","queue":"first-line"}`, 4000+i)
	}
	b.WriteString("]}")
	return []byte(b.String())
}

// deskSessions are the header lines of as many sessions as a load has connections.
func deskSessions() string {
	var b strings.Builder
	for i := range 32 {
		fmt.Fprintf(&b, "Isogate-Session: 7f3c9a52-session-%d\n", i)
	}
	return b.String()
}

// fetched asks the landing for its statement, as a gateway does.
func (w *world) fetched(ctx context.Context) (*seal.Statement, error) {
	client, err := w.trusting("gateway")
	if err != nil {
		return nil, err
	}
	id, err := tenant.OpenIdentity(w.path("outside"), "landed")
	if err != nil {
		return nil, err
	}
	verifier, err := note.NewVerifier(id.Verifier())
	if err != nil {
		return nil, err
	}
	_, text, err := fetch(ctx, client, http.MethodGet, "https://"+w.at["landing"]+"/.isogate/statement", nil)
	if err != nil {
		return nil, err
	}
	return seal.OpenStatement(text, verifier)
}

// landedContext is that of a session's key at the landing.
func landedContext(session string) seal.Context {
	return seal.Context{Tenant: "bench", Destination: "landed", Transit: "landed-session", Handling: isogate.TransitOnly, Session: session}
}

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const goodLanding = `landing: portal
destination: support-portal
tenants:
  - {name: acme, spiffe: spiffe://acme.isolated/gateway}
gateways: {listen: "10.0.0.1:8443", tls: {cert: l.pem, key: l.key, client_ca: g.pem}}
viewers:
  listen: 127.0.0.1:8080
  allowed:
    - {name: agents, token_sha256: 4a9d8c2c0a5b1e7f3d6b8e9f0a1b2c3d4e5f60718293a4b5c6d7e8f901a2b3c4, labels: ["personal.**"], tenants: [acme], transits: ["*"]}
service: {url: "http://127.0.0.1:9000", listen: "127.0.0.1:8082", token_sha256: 5a9d8c2c0a5b1e7f3d6b8e9f0a1b2c3d4e5f60718293a4b5c6d7e8f901a2b3c4}
acknowledges: [personal.contact.*]
erase: {url: "https://portal.internal/erasures"}
`

// A landing.yaml that is wrong is refused with what is wrong and what to do: nothing
// of it is guessed, and what would cross a network readable is not served.
func TestLandingMistakes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "landing.yaml")
	load := func(text string) (*landingConfig, error) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return loadLanding(file)
	}
	good, err := load(goodLanding)
	if err != nil {
		t.Fatal(err)
	}
	if good.State != filepath.Join(filepath.Dir(file), "state") || good.Session.Idle != duration(15*time.Minute) || good.Limits.Reveals != 600 {
		t.Errorf("defaults: %+v", good)
	}
	for _, c := range []struct{ name, old, new, want string }{
		{"unknown key", "landing: portal", "landing: portal\nlandign: x", ":2:1: unknown field"},
		{"twice", "landing: portal", "landing: portal\nlanding: portal", `:2:1: mapping key "landing" already defined`},
		{"no name", "landing: portal", "landing: \"a b\"", "landing: "},
		{"no destination", "destination: support-portal", "", "destination: "},
		{"no tenants", "tenants:\n  - {name: acme, spiffe: spiffe://acme.isolated/gateway}", "", "no gateway may come"},
		{"no spiffe id", "spiffe://acme.isolated/gateway", "acme", "is no SPIFFE ID"},
		{"one gateway of two tenants", "tenants:\n", "tenants:\n  - {name: other, spiffe: spiffe://acme.isolated/gateway}\n", "another tenant has the same"},
		{"tenant twice", "tenants:\n", "tenants:\n  - {name: acme, spiffe: spiffe://acme.isolated/other}\n", "tenants[1].name: \"acme\" is there twice"},
		{"no authority of gateways", ", client_ca: g.pem", "", "gateways come over TLS, with certificates"},
		{"viewers in the clear", "listen: 127.0.0.1:8080", "listen: 0.0.0.0:8080", "viewers' tokens would cross the network readable"},
		{"half a certificate", "listen: 127.0.0.1:8080", "listen: 127.0.0.1:8080\n  tls: {cert: v.pem}", "viewers.tls: cert and key go together"},
		{"anonymous", "listen: 127.0.0.1:8080", "listen: 127.0.0.1:8080\n  anonymous: allow", "use refuse or sealed"},
		{"no labels", "labels: [\"personal.**\"], ", "", "the viewer would see nothing"},
		{"bad pattern", "\"personal.**\"", "\"personal.**.x\"", "labels[0]: "},
		{"no transits", ", transits: [\"*\"]", "", "tenants and transits are both needed"},
		{"unknown tenant", "tenants: [acme]", "tenants: [amce]", `"amce" is none of tenants`},
		{"token in the clear", "4a9d8c2c0a5b1e7f3d6b8e9f0a1b2c3d4e5f60718293a4b5c6d7e8f901a2b3c4", "hunter2", "sha256sum"},
		{"one token for two", "5a9d8c2c", "4a9d8c2c", "service.token_sha256: a viewer has the same"},
		{"service in the clear", "http://127.0.0.1:9000", "http://portal.internal", "is not this machine; use https"},
		{"service with a path", "http://127.0.0.1:9000", "http://127.0.0.1:9000/portal", "has a path"},
		{"service without token", ", token_sha256: 5a9d8c2c0a5b1e7f3d6b8e9f0a1b2c3d4e5f60718293a4b5c6d7e8f901a2b3c4", "", "listen and token_sha256 go together"},
		{"nobody erases", "erase: {url: \"https://portal.internal/erasures\"}", "", "must be able to have it erased"},
		{"long sessions", "landing: portal", "landing: portal\nsession: {max: 240h}", "session.max: must be 1s to 24h"},
		{"idle beyond max", "landing: portal", "landing: portal\nsession: {idle: 2h, max: 1h}", "longer than session.max"},
		{"short epoch", "landing: portal", "landing: portal\nepoch: 1s", "epoch: must be 1m"},
		{"too many keys", "landing: portal", "landing: portal\nlimits: {keys: 100000000}", "limits.keys: must be"},
	} {
		text := strings.Replace(goodLanding, c.old, c.new, 1)
		if text == goodLanding {
			t.Errorf("%s: nothing was changed", c.name)
		}
		if _, err := load(text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", c.name, err, c.want)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error shows a token: %v", c.name, err)
		}
	}
}

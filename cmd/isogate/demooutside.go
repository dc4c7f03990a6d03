package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/isogate/isogate/internal/isogatetest"
	"github.com/isogate/isogate/internal/tenant"
)

// outside is the vendor's side of the demo: the portal, the landing in front of it
// as isogate landing runs it, and who looks at the portal through it.
type outside struct {
	portal  *portal
	landing *landingServer
	dir     string // of both
	agent   viewer // may see who is asking
	counter viewer // counts tickets, and may see nothing of anybody
	nobody  viewer // has no token
}

// viewer is somebody at the landing's edge towards people.
type viewer struct {
	name, token string
}

const landingName = "support-portal"

// newOutside writes what the vendor has on disk, as newDemo does for the customer.
func newOutside(dir string, gateways, own *isogatetest.Authority, e *env) (*outside, error) {
	o := &outside{dir: dir, agent: viewer{"agent", rand.Text()}, counter: viewer{"counter", rand.Text()}, nobody: viewer{"nobody", ""}}
	tlsDir := filepath.Join(dir, "tls")
	err := os.MkdirAll(tlsDir, 0o700)
	if err == nil {
		_, _, err = own.WriteFiles(tlsDir, "landing", isogatetest.Leaf{Name: portalHost, Hosts: []string{portalHost}, Valid: demoHolds})
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(tlsDir, "gateways-ca.pem"), gateways.PEM(), 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("demo: the outside: %w", err)
	}
	if o.portal, err = newPortal(dir); err != nil {
		return nil, err
	}
	if err = o.newLanding(e); err != nil {
		o.portal.close()
		return nil, err
	}
	return o, nil
}

// newLanding wires the landing from its file, and writes the file anew with the
// ports that there are now.
func (o *outside) newLanding(e *env) error {
	const anyPort = "127.0.0.1:0"
	file, err := o.configure(anyPort, anyPort, anyPort)
	if err != nil {
		return err
	}
	cfg, err := loadLanding(file)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(e.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if o.landing, err = newLandingServer(cfg, logger, e.Now); err != nil {
		return err
	}
	o.portal.mu.Lock()
	o.portal.landingKey, err = o.key()
	o.portal.mu.Unlock()
	if err != nil {
		o.landing.release()
		return err
	}
	_, err = o.configure(addr(o.landing.gateways), addr(o.landing.viewers), addr(o.landing.healthAt))
	if err != nil {
		o.landing.release()
	}
	return err
}

// key is the public half of the landing's key, made as isogate landing init makes it.
func (o *outside) key() (string, error) {
	state := filepath.Join(o.dir, "state")
	id, err := tenant.OpenIdentity(state, landingName)
	if errors.Is(err, fs.ErrNotExist) {
		id, err = tenant.CreateIdentity(state, landingName)
	}
	if err != nil {
		return "", fmt.Errorf("demo: %w", err)
	}
	return id.Verifier(), nil
}

// configure writes landing.yaml.
func (o *outside) configure(gateways, viewers, health string) (file string, err error) {
	text := strings.NewReplacer("GATEWAYS", gateways, "VIEWERS", viewers, "HEALTH", health, "SERVICE", o.portal.address(),
		"AGENT", sumOf(o.agent.token), "COUNTER", sumOf(o.counter.token)).Replace(demoLanding)
	file = filepath.Join(o.dir, "landing.yaml")
	return file, os.WriteFile(file, []byte(text), 0o600)
}

// view opens a page of the portal through the landing, as a program of the viewer's does.
func (o *outside) view(ctx context.Context, v viewer, path string) (status int, page string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.pageURL(path), nil)
	if err != nil {
		return 0, "", err
	}
	if v.token != "" {
		req.Header.Set("Authorization", "Bearer "+v.token)
	}
	c := isogatetest.NewCaller()
	defer c.CloseIdleConnections()
	resp, err := c.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

// pageURL is where people see a page of the portal.
func (o *outside) pageURL(path string) string { return "http://" + addr(o.landing.viewers) + path }

// await looks until the page is as it must be. Each look is one that receipts count.
func (o *outside) await(ctx context.Context, v viewer, path string, as func(page string) bool) (page string, err error) {
	err = awaitTrue(ctx, 500*time.Millisecond, func() (bool, error) {
		var err error
		_, page, err = o.view(ctx, v, path)
		return err == nil && as(page), err
	})
	return page, err
}

func (o *outside) close() { o.portal.close() }

const demoLanding = `# Written by isogate demo; isogate landing -c runs it as well, once the demo has stopped.
landing: support-portal
destination: support-portal
state: ./state
tenants:
  - {name: acme, spiffe: spiffe://acme.isolated/gateway}
gateways:
  listen: GATEWAYS
  tls: {cert: tls/landing.pem, key: tls/landing.key, client_ca: tls/gateways-ca.pem}
viewers:
  listen: VIEWERS
  allowed:
    - {name: agent, token_sha256: AGENT, labels: [personal.name.*, personal.contact.email, personal.preference.locale], tenants: [acme], transits: ["*"]}
    - {name: counter, token_sha256: COUNTER, labels: [usage.**], tenants: [acme], transits: ["*"]}
service: {url: "http://SERVICE"}
acknowledges: [personal.contact.email, ugc.file.content, identifier.destination.id]
erase: {url: "http://SERVICE/erasures"}
health: {listen: HEALTH}
`

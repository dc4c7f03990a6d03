package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/isogate/isogate/internal/isogatetest"
)

// demoHolds is how long the world's certificates hold: none of them is to end soon when
// somebody looks at the Hub.
const demoHolds = 90 * 24 * time.Hour

// newDemo writes what a deployment has on disk (certificates, pack,
// configuration) and wires the gateway from that, as serve does. hub is the part of the
// configuration about the Hub: demoHub, or that of a test.
func newDemo(ctx context.Context, dir, hub string, e *env) (*demo, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	tlsDir := filepath.Join(dir, "tls")
	if err := os.MkdirAll(tlsDir, 0o700); err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	inside, err := isogatetest.NewAuthority("Isolated cloud", demoHolds)
	if err != nil {
		return nil, err
	}
	outside, err := isogatetest.NewAuthority("Commercial cloud", demoHolds)
	if err != nil {
		return nil, err
	}
	if _, _, err = inside.WriteFiles(tlsDir, "gateway", isogatetest.Leaf{Name: "gateway", Hosts: []string{"127.0.0.1"}, Valid: demoHolds}); err != nil {
		return nil, err
	}
	if _, _, err = inside.WriteFiles(tlsDir, "hub", isogatetest.Leaf{Name: "hub", Hosts: []string{"127.0.0.1", demoHubHost}, Valid: demoHolds}); err != nil {
		return nil, err
	}
	if _, _, err = inside.WriteFiles(tlsDir, "product", isogatetest.Leaf{Name: "help-center", SPIFFE: "spiffe://acme.isolated/help-center", Valid: demoHolds}); err != nil {
		return nil, err // for who looks at the world from a terminal
	}
	if _, _, err = inside.WriteFiles(tlsDir, "gateway-outwards", isogatetest.Leaf{Name: "gateway", SPIFFE: "spiffe://acme.isolated/gateway", Valid: demoHolds}); err != nil {
		return nil, err
	}
	for name, pem := range map[string][]byte{"inside-ca.pem": inside.PEM(), "outside-ca.pem": outside.PEM()} {
		if err := os.WriteFile(filepath.Join(tlsDir, name), pem, 0o600); err != nil {
			return nil, fmt.Errorf("demo: %w", err)
		}
	}
	d := &demo{out: e.Stdout, dir: dir, hubConfig: hub}
	if d.product, err = inside.Client(isogatetest.Leaf{Name: "help-center", SPIFFE: "spiffe://acme.isolated/help-center"}); err != nil {
		return nil, err
	}
	if d.stranger, err = inside.Client(isogatetest.Leaf{}); err != nil {
		return nil, err
	}
	d.ada = &api{client: d.stranger, token: rand.Text()}
	if d.outside, err = newOutside(filepath.Join(dir, "outside"), inside, outside, e); err != nil {
		return nil, err
	}
	if d.bot, err = newBot(outside); err != nil {
		d.outside.close()
		return nil, err
	}
	if err := d.serve(ctx, e); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// serve wires the gateway, and tells everybody where it listens.
func (d *demo) serve(ctx context.Context, e *env) error {
	key, err := d.key()
	if err == nil {
		err = writeDemoPack(filepath.Join(d.dir, "pack"), key)
	}
	if err != nil {
		return err
	}
	const anyPort = "127.0.0.1:0"
	file, err := d.configure(anyPort, anyPort, anyPort)
	if err != nil {
		return err
	}
	cfg, err := loadConfig(file)
	if err != nil {
		return err
	}
	if d.server, err = newServer(ctx, cfg, slog.New(slog.NewTextHandler(e.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})), e.Now); err != nil {
		return err
	}
	scheme := "http://"
	if cfg.Hub.TLS.Cert != "" {
		scheme = "https://"
	}
	d.base, d.ada.base = "https://"+d.server.transits.Addr().String(), scheme+d.server.hub.Addr().String()
	err = d.bot.install(d.server.remotes.listener.Addr().String(), filepath.Join(keysDir(cfg), "intercept.pem"))
	if err == nil {
		// With the ports that there are now, commands find the gateway.
		_, err = d.configure(d.server.transits.Addr().String(), d.bot.Door, d.server.hub.Addr().String())
	}
	if err != nil {
		d.server.release()
	}
	return err
}

// configure writes isogate.yaml.
func (d *demo) configure(transits, remotes, hub string) (file string, err error) {
	hosts := []string{fmt.Sprintf("%s: %q", portalHost, addr(d.landing.gateways))}
	for _, host := range []string{apiHost, statsHost, modelsHost} {
		hosts = append(hosts, fmt.Sprintf("%s: %q", host, d.bot.hosts[host].address()))
	}
	hosts = append(hosts, fmt.Sprintf("%s: %q", queueHost, d.bot.queue.Address()))
	text := strings.NewReplacer("TRANSITS", transits, "REMOTES", remotes, "HUB", hub, "HOSTS", strings.Join(hosts, "\n      "),
		"APP", string(botSource), "BOT", sumOf(d.bot.Token), "ADA", sumOf(d.ada.token)).Replace(demoConfig + d.hubConfig)
	file = filepath.Join(d.dir, "isogate.yaml")
	return file, os.WriteFile(file, []byte(text), 0o600)
}

// sumOf is a token as the configuration has it.
func sumOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

const demoConfig = `# Written by isogate demo; isogate serve -c runs it as well, once the demo has stopped.
tenant: acme
state: ./state
pack: ./pack
gateway:
  transits:
    listen: TRANSITS
    tls: {cert: tls/gateway.pem, key: tls/gateway.key, client_ca: tls/inside-ca.pem}
  remotes: {listen: REMOTES}
  upstream:
    roots: tls/outside-ca.pem
    cert: tls/gateway-outwards.pem # who the gateway is to the landing
    key: tls/gateway-outwards.key
    allow: [127.0.0.0/8]          # the outside of the demo is on loopback
    hosts:
      HOSTS
sources:
  - {name: product/help-center, spiffe: spiffe://acme.isolated/help-center}
  - {name: APP, token_sha256: BOT}
consent: {lease: 10s}             # a laptop may be busy
landings: {receipts: 1s}
`

// demoHubHost is the Hub's name, where it has one.
const demoHubHost = "hub.acme.example"

const demoHub = `hub:
  listen: HUB
  administrators:
    - {name: ada, roles: [owner, policy-author], token_sha256: ADA}
`

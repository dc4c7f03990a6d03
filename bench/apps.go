package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/isogate/isogate/internal/isogatetest"
)

// The hosts that the app of these questions may reach, all of them on loopback.
const (
	apiHost  = "api.far.example"   // inspected
	fileHost = "files.far.example" // tunnelled
	wildHost = "*.wild.example"    // inspected, with a certificate for each name
)

// wildNames is how many names below wildHost there are: more than any contestant
// has connections made to in a run, and than the gateway keeps certificates of.
const wildNames = 40_000

func wildName(n int) string { return fmt.Sprintf("n%05d.wild.example", n) }

const (
	appToken   = "the token of the app"
	adminToken = "the token of an administrator"
)

// newAppWorld makes the files of the questions about door two, and starts isogate
// with an app that was granted its hosts by an administrator. The far side is not
// started: which it is depends on the question. So many names below wildHost are
// known to it.
func newAppWorld(ctx context.Context, b *bench, name string, names int) (_ *world, err error) {
	w := &world{dir: filepath.Join(b.dir, name), isogate: filepath.Join(b.dir, "isogate"), at: map[string]string{}}
	defer func() {
		if err != nil {
			w.stop()
		}
	}()
	if err := os.MkdirAll(w.dir, 0o700); err != nil {
		return nil, err
	}
	if err := b.build(ctx, w.isogate); err != nil {
		return nil, err
	}
	if err := w.certificates(fileHost, apiHost, wildHost); err != nil {
		return nil, err
	}
	for _, name := range []string{"direct", "sink", "isogate", "one", "hub", "goproxy", "squid", "squid tunnel", "mitmproxy", "haproxy"} {
		if w.at[name], err = freePort(); err != nil {
			return nil, err
		}
	}
	if err := w.configureApps(names); err != nil {
		return nil, err
	}
	if err := w.grantAll(ctx); err != nil {
		return nil, err
	}
	return w, nil
}

// configureApps writes what isogate and its app's pack are made of.
func (w *world) configureApps(names int) error {
	_, farPort, err := net.SplitHostPort(w.at["direct"])
	if err != nil {
		return err
	}
	_, sinkPort, err := net.SplitHostPort(w.at["sink"])
	if err != nil {
		return err
	}
	var hosts strings.Builder
	for n := range names {
		fmt.Fprintf(&hosts, "      %s: \"%s\"\n", wildName(n), w.at["direct"])
	}
	fill := strings.NewReplacer(
		"@ISOGATE", w.at["isogate"], "@ONE", w.at["one"], "@HUB", w.at["hub"], "@FARPORT", farPort, "@SINKPORT", sinkPort, "@FAR", w.at["direct"], "@SINK", w.at["sink"],
		"@API", apiHost, "@FILES", fileHost, "@WILD", wildHost, "@NAMES", hosts.String(),
		"@APPHASH", hash(appToken), "@ADMINHASH", hash(adminToken), "@SOURCE", string(isogatetest.Product), "@SPIFFE", isogatetest.SPIFFE(isogatetest.Product), "@DIR", w.dir)
	files := map[string]string{
		"isogate.yaml":                   appsYAML,
		"app.yaml":                       appManifest,
		"pack/pack.yaml":                 "pack: bench\nversion: 1\n",
		"pack/destinations.yaml":         appDestinations,
		"pack/contracts/tickets.yaml":    ticketsContract,
		"pack/transits/tickets-put.yaml": ticketsTransit,
		"pack/transits/app-api.yaml":     appTransit("app-api", "bench-api"),
		"pack/transits/app-wild.yaml":    appTransit("app-wild", "bench-wild"),
		"pack/transits/app-files.yaml":   appTunnel,
		"small.json":                     string(ticketsBody(1 << 10)),
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

func hash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

const appsYAML = `tenant: bench
state: ./state
pack: ./pack
gateway:
  transits: {listen: "@ONE", tls: {cert: server.pem, key: server.key, client_ca: ca.pem}}
  remotes: {listen: "@ISOGATE"}
  limits: {connections: 50000}
  upstream:
    roots: ca.pem
    allow: [127.0.0.0/8]
    hosts:
      support.example: "@FAR"
      @API: "@FAR"
      @FILES: "@SINK"
@NAMES
sources:
  - {name: app/bench, token_sha256: @APPHASH}
  - {name: @SOURCE, spiffe: "@SPIFFE"}
hub:
  listen: "@HUB"
  administrators:
    - {name: ada, token_sha256: @ADMINHASH}
`

const appManifest = `isogate: 1
app: bench
name: Bench
version: "1"
remotes:
  - {host: @API, port: @FARPORT, kind: backend}
  - {host: "@WILD", port: @FARPORT, kind: backend}
  - {host: @FILES, port: @SINKPORT, kind: backend}
`

const appDestinations = `destinations:
  - {name: support-portal, url: "https://support.example"}
  - {name: bench-api, remote: "@API:@FARPORT"}
  - {name: bench-wild, remote: "@WILD:@FARPORT"}
  - {name: bench-files, remote: "@FILES:@SINKPORT"}
`

// appTransit is ticketsTransit as an app has it.
func appTransit(name, destination string) string {
	_, request, _ := strings.Cut(ticketsTransit, "request:")
	return fmt.Sprintf("transit: %s\npurpose: app\nsource: [app/bench]\ndestination: %s\nconsent: admin\nmatch: [POST /v1/tickets, GET /v1/tickets]\nrequest:%s", name, destination, request)
}

const appTunnel = `transit: app-files
purpose: app
source: [app/bench]
destination: bench-files
consent: admin
mode: tunnel
because: it is measured
owner: bench
until: 2099-12-31
`

// grantAll has the app's manifest imported and everything that it asks for granted,
// as an administrator does it, before the gateway runs.
func (w *world) grantAll(ctx context.Context) error {
	for _, args := range [][]string{{"tenant", "create"}, {"app", "import", "app.yaml"}} {
		if _, err := w.command(ctx, args...); err != nil {
			return err
		}
	}
	if err := w.grantRequested(ctx); err != nil {
		return err
	}
	pem, err := w.command(ctx, "tenant", "intercept", "show")
	if err != nil {
		return err
	}
	ours, err := os.ReadFile(w.ca)
	if err != nil {
		return err
	}
	return os.WriteFile(w.path("roots.pem"), append(ours, pem...), 0o600)
}

// grantRequested grants the one request that waits.
func (w *world) grantRequested(ctx context.Context) error {
	out, err := w.command(ctx, "--json", "consent", "list", "--status", "requested")
	if err != nil {
		return err
	}
	var list struct {
		Consents []struct {
			ID string `json:"id"`
		} `json:"consents"`
	}
	if err := json.Unmarshal(out, &list); err != nil || len(list.Consents) != 1 {
		return fmt.Errorf("one request of the app should wait: %w: %s", err, out)
	}
	_, err = w.command(ctx, "consent", "grant", list.Consents[0].ID, "--reason", "to measure", "--yes")
	return err
}

// command runs isogate in the world's directory as the administrator.
func (w *world) command(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, w.isogate, args...)
	var stderr bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stderr = w.dir, append(os.Environ(), "ISOGATE_TOKEN="+adminToken), &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("isogate %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}

// startApps starts isogate and waits until it is ready.
func (w *world) startApps(ctx context.Context) error {
	return w.launch(ctx, "isogate", []string{w.isogate, "serve", "-c", w.path("isogate.yaml")}, func(ctx context.Context, _ string) error { return ready(ctx, w.at["hub"]) })
}

// ready waits until a gateway says that it is.
func ready(ctx context.Context, hub string) error {
	return await(ctx, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+hub+"/readyz", nil)
		if err != nil {
			return err
		}
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	})
}

// await calls f until it succeeds, for at most 60 seconds.
func await(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-tick.C:
		}
	}
}

// awaitTCP waits until something listens on addr.
func awaitTCP(ctx context.Context, addr string) error {
	return await(ctx, func(ctx context.Context) error {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil {
			err = c.Close()
		}
		return err
	})
}

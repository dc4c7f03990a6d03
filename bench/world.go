package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/isogate/isogate/internal/isogatetest"
)

// The host that the pack sends to; the configuration says that it is on loopback.
const farHost = "support.example"

const gatewaySPIFFE = "spiffe://bench.isolated/gateway"

// world is the processes and files of the gateway's question.
type world struct {
	dir, isogate      string
	ca, caKey         string // of the authority
	cert, key         string // of every server
	client, clientKey string // of the caller
	at                map[string]string
	running           []*exec.Cmd
	named             map[string]*exec.Cmd // of running
}

func newWorld(ctx context.Context, b *bench) (_ *world, err error) {
	w := &world{dir: filepath.Join(b.dir, "world"), isogate: filepath.Join(b.dir, "isogate"), at: map[string]string{}}
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
	if err := w.certificates(); err != nil {
		return nil, err
	}
	for _, name := range []string{"direct", "nginx", "haproxy", "ReverseProxy", "isogate", "hub"} {
		if w.at[name], err = freePort(); err != nil {
			return nil, err
		}
	}
	if err := w.configure(); err != nil {
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
		{"direct", []string{self, "far", "-addr", w.at["direct"], "-cert", w.cert, "-key", w.key, "-keep", w.path("arrived.json")}},
		{"nginx", []string{program("nginx"), "-p", w.dir, "-e", "nginx.log", "-c", "nginx.conf"}},
		{"haproxy", []string{program("haproxy"), "-q", "-db", "-f", w.path("haproxy.cfg")}},
		{"ReverseProxy", []string{self, "reverseproxy", "-addr", w.at["ReverseProxy"], "-to", w.at["direct"], "-cert", w.cert, "-key", w.key, "-ca", w.ca}},
		{"isogate", []string{w.isogate, "serve", "-c", w.path("isogate.yaml")}},
	} {
		if err := w.start(ctx, p.name, p.args); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// build builds the command as it is shipped, once in a run.
func (b *bench) build(ctx context.Context, to string) error {
	if _, err := os.Stat(to); err == nil {
		return nil
	}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", to, "./cmd/isogate")
	build.Dir, build.Env, build.Stderr = "..", append(os.Environ(), "CGO_ENABLED=0"), os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("isogate does not build: %w", err)
	}
	return nil
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) certificates(hosts ...string) error {
	a, err := isogatetest.NewAuthority("bench", 24*time.Hour)
	if err != nil {
		return err
	}
	w.ca, w.caKey = w.path("ca.pem"), w.path("ca.key")
	if err := os.WriteFile(w.ca, a.PEM(), 0o600); err != nil {
		return err
	}
	caKey, err := a.KeyPEM()
	if err != nil {
		return err
	}
	if err := os.WriteFile(w.caKey, caKey, 0o600); err != nil {
		return err
	}
	if w.cert, w.key, err = a.WriteFiles(w.dir, "server", isogatetest.Leaf{Name: "server", Hosts: append([]string{"127.0.0.1", farHost}, hosts...)}); err != nil {
		return err
	}
	// haproxy wants both in one file.
	cert, err := os.ReadFile(w.cert)
	if err != nil {
		return err
	}
	key, err := os.ReadFile(w.key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(w.path("both.pem"), append(cert, key...), 0o600); err != nil {
		return err
	}
	// What a gateway is known to a landing by.
	if _, _, err = a.WriteFiles(w.dir, "gateway", isogatetest.Leaf{Name: "gateway", SPIFFE: gatewaySPIFFE}); err != nil {
		return err
	}
	w.client, w.clientKey, err = a.WriteFiles(w.dir, "caller", isogatetest.Leaf{Name: "caller", SPIFFE: isogatetest.SPIFFE(isogatetest.Product)})
	return err
}

// configure writes what every contestant reads. All of them take TLS 1.3 in
// and make TLS 1.3 out to a verified far side, and keep connections open on both sides.
func (w *world) configure() error {
	fill := strings.NewReplacer(
		"@DIR", w.dir, "@CA", w.ca, "@CERT", w.cert, "@KEY", w.key, "@HOST", farHost,
		"@FAR", w.at["direct"], "@NGINX", w.at["nginx"], "@HAPROXY", w.at["haproxy"], "@ISOGATE", w.at["isogate"], "@HUB", w.at["hub"],
		"@SPIFFE", isogatetest.SPIFFE(isogatetest.Product), "@SOURCE", string(isogatetest.Product))
	files := map[string]string{
		"nginx.conf":                     nginxConf,
		"haproxy.cfg":                    haproxyCfg,
		"isogate.yaml":                   isogateYAML,
		"pack/pack.yaml":                 "pack: bench\nversion: 1\n",
		"pack/destinations.yaml":         "destinations:\n  - {name: support-portal, url: https://@HOST}\n",
		"pack/contracts/tickets.yaml":    ticketsContract,
		"pack/transits/tickets-put.yaml": ticketsTransit,
		"small.json":                     string(ticketsBody(1 << 10)),
		"large.json":                     string(ticketsBody(64 << 10)),
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

const nginxConf = `daemon off;
worker_processes auto;
pid @DIR/nginx.pid;
error_log @DIR/nginx.log error;
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path @DIR/n1; proxy_temp_path @DIR/n2; fastcgi_temp_path @DIR/n3; uwsgi_temp_path @DIR/n4; scgi_temp_path @DIR/n5;
  client_body_buffer_size 128k;
  keepalive_requests 100000000;
  upstream far { server @FAR; keepalive 64; keepalive_requests 100000000; }
  server {
    listen @NGINX ssl reuseport;
    ssl_certificate @CERT; ssl_certificate_key @KEY; ssl_protocols TLSv1.3;
    location / {
      proxy_pass https://far; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_ssl_protocols TLSv1.3; proxy_ssl_verify on; proxy_ssl_trusted_certificate @CA; proxy_ssl_name @HOST;
    }
  }
}
`

const haproxyCfg = `global
  nbthread 2
  maxconn 4000
  ssl-default-bind-options ssl-min-ver TLSv1.3
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend in
  bind @HAPROXY ssl crt @DIR/both.pem alpn http/1.1
  default_backend far
backend far
  server far @FAR ssl verify required ca-file @CA verifyhost @HOST alpn http/1.1 pool-max-conn 100
`

const isogateYAML = `tenant: bench
state: ./state
pack: ./pack
gateway:
  transits: {listen: "@ISOGATE", tls: {cert: server.pem, key: server.key, client_ca: ca.pem}}
  upstream: {roots: ca.pem, allow: [127.0.0.0/8], hosts: {@HOST: "@FAR"}}
sources:
  - {name: @SOURCE, spiffe: "@SPIFFE"}
hub: {listen: "@HUB"}
`

const ticketsTransit = `transit: tickets-put
purpose: support
source: [@SOURCE]
destination: support-portal
consent: none
match: [POST /v1/tickets]
request:
  contract: tickets
  release:
    - {label: personal.contact.email, as: allow, handling: persisted, because: Primary identifier, owner: bench, until: 2099-12-31}
    - {label: personal.name.display, as: allow, handling: transit-only, because: Shown in the support UI, owner: bench, until: 2099-12-31}
    - {label: identifier.**, as: allow, handling: transit-only, because: The far side finds the ticket by it, owner: bench, until: 2099-12-31}
    - {label: system.**, as: allow, handling: transit-only, because: The far side shows it, owner: bench, until: 2099-12-31}
response: {restore: true, max: 1MiB}
`

const ticketsContract = `contract: tickets
format: json
fields:
  user.email: personal.contact.email
  user.displayName: personal.name.display
  user.accountId: identifier.user.account_id
  user.locale: personal.preference.locale
  site.id: identifier.tenant.site_id
  site.plan: system.metadata
  tickets[].id: identifier.content.id
  tickets[].key: identifier.content.id
  tickets[].title: ugc.title
  tickets[].status: system.status
  tickets[].priority: system.status
  tickets[].created: system.timestamp
  tickets[].updated: system.timestamp
  tickets[].assignee: identifier.user.account_id
  tickets[].queue: system.metadata
  tickets[].watchers: system.size
  tickets[].open: system.flag
`

// secret stands in every title of the body; it must not arrive.
const secret = "cannot sign in since the merger"

// ticketsBody makes a document of about n bytes: what a product sends when its
// support pages are opened. One string in seven is replaced by a token, and the
// locale of the user.
func ticketsBody(n int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"user":{"email":"ada.byron@example.com","displayName":"Ada Byron","accountId":"5b10ac8d82e05b22cc7d4ef5","locale":"en-GB"},` +
		`"site":{"id":"a436116f-02ce-4520-8fbb-7301462a1674","plan":"premium"},"tickets":[`)
	for i := 0; ; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"id":"%d","key":"HELP-%d","title":"%s (%d)","status":"waiting-for-support","priority":"medium","created":"2026-11-%02dT09:%02d:00Z",`+
			`"updated":"2026-11-%02dT17:%02d:00Z","assignee":"70121:8ffc0c46-%04d-4e35-9cf5-dd0bbf2f9bcd","queue":"first-line","watchers":%d,"open":%v}`,
			100200+i, 4000+i, secret, i, 1+i%28, i%60, 1+i%28, i*7%60, i%10000, i%17, i%3 != 0)
		if b.Len() > n-200 {
			b.WriteString("]}")
			return b.Bytes()
		}
	}
}

// freePort finds a port that nobody listens on.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String(), nil
}

func (w *world) start(ctx context.Context, name string, args []string) error {
	return w.launch(ctx, name, args, awaitTLS)
}

// launch starts a process and waits until it answers at its address.
func (w *world) launch(ctx context.Context, name string, args []string, answers func(ctx context.Context, addr string) error) error {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	log, err := os.Create(w.path(name + ".out"))
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, w.dir
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		return err
	}
	w.running = append(w.running, cmd)
	if w.named == nil {
		w.named = map[string]*exec.Cmd{}
	}
	w.named[name] = cmd
	if err := answers(ctx, w.at[name]); err != nil {
		out, _ := os.ReadFile(log.Name())
		return fmt.Errorf("%s does not come up: %w\n%s", name, err, out)
	}
	return nil
}

// awaitTLS waits until something speaks TLS on addr.
func awaitTLS(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		// Whose certificate it is does not matter for knowing that it is there.
		d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // see above
		c, err := d.DialContext(ctx, "tcp", addr)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-tick.C:
		}
	}
}

// stop ends what start started, the last first.
func (w *world) stop() {
	for i := len(w.running) - 1; i >= 0; i-- {
		cmd := w.running[i]
		_ = cmd.Process.Signal(syscall.SIGTERM)
		done := make(chan struct{})
		go func() { _ = cmd.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			<-done
		}
	}
	w.running = nil
}

// asking is what a load asks for.
type asking struct {
	of     string // the contestant
	path   string
	method string // POST, if it is empty
	body   string // file; "" is none
	lines  string // file of header lines, one for each connection; "" is none
	cert   string // client certificate and key, where they are asked for
	key    string
}

// load runs the load against one contestant in a process of its own.
func (w *world) load(ctx context.Context, name, body string, conns int, d time.Duration) (loaded, error) {
	a := asking{of: name, path: "/v1/tickets", body: body}
	if name == "isogate" {
		a.path, a.cert, a.key = "/to/support-portal/v1/tickets", w.client, w.clientKey
	}
	return w.ask(ctx, a, conns, d)
}

// ask runs a load in a process of its own. Its CPU time is the contestant's.
func (w *world) ask(ctx context.Context, a asking, conns int, d time.Duration) (loaded, error) {
	var out loaded
	args := []string{"-addr", w.at[a.of], "-ca", w.ca, "-conns", strconv.Itoa(conns), "-for", d.String(), "-path", a.path}
	if a.method != "" {
		args = append(args, "-method", a.method)
	}
	if a.body != "" {
		args = append(args, "-body", w.path(a.body))
	}
	if a.lines != "" {
		args = append(args, "-lines", w.path(a.lines))
	}
	if a.cert != "" {
		args = append(args, "-cert", a.cert, "-key", a.key)
	}
	before, err := w.cpuOf(a.of)
	if err != nil {
		return out, err
	}
	if _, err := w.measure(ctx, &out, "load", args...); err != nil {
		return out, fmt.Errorf("load on %s: %w", a.of, err)
	}
	after, err := w.cpuOf(a.of)
	if err != nil {
		return out, err
	}
	out.CPU = after - before
	if out.Failed > 0 {
		return out, fmt.Errorf("%d of %d answers of %s to %s were not 200; the first: %s", out.Failed, out.Requests, a.of, a.path, out.Answer)
	}
	return out, nil
}

// process is a contestant that start started.
func (w *world) process(name string) (*os.Process, error) {
	if cmd := w.named[name]; cmd != nil {
		return cmd.Process, nil
	}
	return nil, fmt.Errorf("%s does not run", name)
}

// held is what a contestant holds, in MiB: all that is resident, and of that
// what is not a page of a file.
type held struct{ all, anon float64 }

func (h held) String() string { return fmt.Sprintf("%.1f MiB, of which %.1f anonymous", h.all, h.anon) }

func (w *world) memory(name string) (held, error) {
	p, err := w.process(name)
	if err != nil {
		return held{}, err
	}
	read := func(what string) float64 {
		kb, _, _ := strings.Cut(field(fmt.Sprintf("/proc/%d/status", p.Pid), what), " ")
		f, _ := strconv.ParseFloat(kb, 64)
		return f / 1024
	}
	h := held{read("VmRSS"), read("RssAnon")}
	if h.all == 0 {
		return h, fmt.Errorf("the memory of %s cannot be read", name)
	}
	return h, nil
}

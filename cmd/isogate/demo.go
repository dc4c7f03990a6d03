package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/isogatetest"
	"github.com/isogate/isogate/internal/journal"
	"github.com/isogate/isogate/packs"
)

// demoCmd runs the whole world on loopback: a product inside, the gateway at the
// boundary as serve runs it, a support portal outside. Everything speaks real
// TLS over real sockets; only the people are made up.
type demoCmd struct {
	Once  bool   `help:"Stop after the story; exit 0 only if everything was as it must be."`
	State string `placeholder:"DIR" help:"Keep the state here (default: a temporary directory that is removed)."`
}

// Run implements the command.
func (c *demoCmd) Run(e *env) error {
	dir, keep := c.State, true
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "isogate-demo-"); err != nil {
			return fmt.Errorf("demo: %w; name a directory with --state DIR", err)
		}
		keep = false
	}
	if !keep {
		defer func() { _ = os.RemoveAll(dir) }()
	}
	ctx, stop := context.WithCancel(e.Context)
	defer stop()
	d, err := newDemo(ctx, dir, e)
	if err != nil {
		return err
	}
	defer d.portal.close()
	served := make(chan error, 1)
	go func() { served <- d.server.run(ctx, nil) }()

	d.introduce()
	for i, s := range d.story() {
		d.tell(i+1, s)
	}
	d.audit(ctx)
	if !c.Once && e.Context.Err() == nil {
		d.invite()
		<-ctx.Done()
	}
	stop()
	if err := <-served; err != nil {
		d.failf("the gateway did not stop well: %v", err)
	}
	if d.failures > 0 {
		return errNo{fmt.Errorf("demo: %d observations were not as they must be; they are marked WRONG above", d.failures)}
	}
	d.say("\nEverything was as it must be.\n")
	return nil
}

// demo is the world and what was observed in it.
type demo struct {
	out      io.Writer
	dir      string
	server   *server
	portal   *portal
	product  *http.Client // the product's workload, with its certificate
	stranger *http.Client // on the same network, with none
	base     string       // of door one
	failures int
}

// portalHost is where the reference pack says that the support portal is.
const portalHost = "support.example"

// newDemo writes what a deployment has on disk (certificates, pack,
// configuration) and wires the gateway from that, as serve does.
func newDemo(ctx context.Context, dir string, e *env) (*demo, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	tlsDir := filepath.Join(dir, "tls")
	pack := filepath.Join(dir, "pack")
	if err := errors.Join(os.MkdirAll(tlsDir, 0o700), os.RemoveAll(pack)); err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	if err := os.CopyFS(pack, packs.Reference()); err != nil {
		return nil, fmt.Errorf("demo: the pack: %w", err)
	}
	inside, err := isogatetest.NewAuthority("Isolated cloud", 24*time.Hour)
	if err != nil {
		return nil, err
	}
	outside, err := isogatetest.NewAuthority("Commercial cloud", 24*time.Hour)
	if err != nil {
		return nil, err
	}
	p, err := newPortal(outside, portalHost)
	if err != nil {
		return nil, err
	}
	if _, _, err = inside.WriteFiles(tlsDir, "gateway", isogatetest.Leaf{Name: "gateway", Hosts: []string{"127.0.0.1"}}); err != nil {
		return nil, err
	}
	for name, pem := range map[string][]byte{"inside-ca.pem": inside.PEM(), "outside-ca.pem": outside.PEM()} {
		if err := os.WriteFile(filepath.Join(tlsDir, name), pem, 0o600); err != nil {
			return nil, fmt.Errorf("demo: %w", err)
		}
	}
	file := filepath.Join(dir, "isogate.yaml")
	if err := os.WriteFile(file, []byte(fmt.Sprintf(demoConfig, portalHost, p.address())), 0o600); err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	cfg, err := loadConfig(file)
	if err != nil {
		return nil, err
	}
	s, err := newServer(ctx, cfg, slog.New(slog.NewTextHandler(e.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})), e.Now)
	if err != nil {
		return nil, err
	}
	product, err := inside.Client(isogatetest.Leaf{Name: "help-center", SPIFFE: "spiffe://acme.isolated/help-center"})
	if err != nil {
		return nil, err
	}
	stranger, err := inside.Client(isogatetest.Leaf{})
	if err != nil {
		return nil, err
	}
	return &demo{out: e.Stdout, dir: dir, server: s, portal: p, product: product, stranger: stranger,
		base: "https://" + s.transits.Addr().String()}, nil
}

const demoConfig = `# Written by isogate demo; isogate serve -c runs it as well, once the demo has stopped.
tenant: acme
state: ./state
pack: ./pack
gateway:
  transits:
    listen: 127.0.0.1:0
    tls: {cert: tls/gateway.pem, key: tls/gateway.key, client_ca: tls/inside-ca.pem}
  upstream:
    roots: tls/outside-ca.pem
    allow: [127.0.0.0/8]          # the outside of the demo is on loopback
    hosts: {%s: "%s"}
sources:
  - {name: product/help-center, spiffe: spiffe://acme.isolated/help-center}
hub: {listen: 127.0.0.1:0}
`

func (d *demo) say(format string, args ...any) { _, _ = fmt.Fprintf(d.out, format, args...) }

func (d *demo) failf(format string, args ...any) {
	d.failures++
	d.say("   WRONG: "+format+"\n", args...)
}

func (d *demo) introduce() {
	plan := d.server.gate.Rules().Plan()
	d.say("An isolated product, a gateway and a support portal, on loopback with real TLS.\n\n")
	d.say("  product   spiffe://acme.isolated/help-center (client certificate)\n")
	d.say("  gateway   %s, tenant acme\n", d.base)
	d.say("            pack %s version %d, %.19s…\n", plan.Name, plan.Version, plan.Digest)
	d.say("  portal    https://%s, at %s\n", portalHost, d.portal.address())
	d.say("  auditor   holds %s and nothing else\n", d.server.keys.Verifier())
}

// tell runs one scene and shows what was sent beside what arrived.
func (d *demo) tell(n int, s scene) {
	d.say("\n%d. %s\n", n, s.title)
	if s.moral != "" {
		d.say("   %s\n", s.moral)
	}
	d.say("\n")
	before := len(d.portal.received())
	client := d.product
	if s.stranger {
		client = d.stranger
	}
	status, header, answer, err := send(client, d.base, s)
	if err != nil {
		d.failf("the request failed: %v", err)
		return
	}
	arrived := d.portal.received()[before:]
	d.show(s, arrived, status, answer)
	d.check(s, arrived, status, header, answer)
}

func send(c *http.Client, base string, s scene) (status int, header http.Header, body []byte, err error) {
	req, err := http.NewRequest(s.method, base+s.path, strings.NewReader(s.body)) //nolint:noctx // the client has a timeout
	if err != nil {
		return 0, nil, nil, err
	}
	if s.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("X-Request-Id", "3f1c2a")
	req.Header.Set("Isogate-Session", "demo-session")
	req.Header.Set("Cookie", "sid=product-cookie-secret")
	resp, err := c.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, body, err
}

func (d *demo) show(s scene, arrived []isogatetest.Received, status int, answer []byte) {
	if len(arrived) == 0 {
		columns(d.out, "SENT     "+s.method+" "+s.path, "ARRIVED  nothing", pretty([]byte(s.body)), nil)
	}
	for _, r := range arrived {
		left, right := pretty([]byte(s.body)), pretty(r.Body)
		columns(d.out, "SENT     "+s.method+" "+s.path, "ARRIVED  "+r.Method+" "+r.Target, left, right)
		if h := r.Header.Get("Isogate-Handling"); h != "" {
			for i, member := range strings.Split(h, ", ") {
				d.say("   %-18s %s\n", map[bool]string{true: "Isogate-Handling:"}[i == 0], member)
			}
		}
	}
	d.say("   answer %d", status)
	if status >= 400 || s.showAnswer {
		var problem struct{ Detail string }
		if json.Unmarshal(answer, &problem) == nil && problem.Detail != "" {
			d.say(": %s", problem.Detail)
		}
	}
	d.say("\n")
	if s.showAnswer {
		columns(d.out, "THE PORTAL ANSWERED", "THE PRODUCT GOT", pretty(d.portal.lastAnswer()), pretty(answer))
	}
}

// check compares what was observed with what must be.
func (d *demo) check(s scene, arrived []isogatetest.Received, status int, header http.Header, answer []byte) {
	if status != s.status {
		d.failf("the answer has status %d, not %d: %s", status, s.status, answer)
	}
	want := 1
	if s.status >= 400 {
		want = 0
	}
	if len(arrived) != want {
		d.failf("%d requests arrived, not %d", len(arrived), want)
	}
	for _, r := range arrived {
		all := r.Target + "\n" + fmt.Sprint(r.Header) + "\n" + string(r.Body)
		for _, secret := range append(s.withheld, "product-cookie-secret") {
			if strings.Contains(all, secret) {
				d.failf("%q left in plaintext", secret)
			}
		}
		for _, plain := range s.released {
			if !strings.Contains(all, plain) {
				d.failf("%q did not arrive", plain)
			}
		}
		for _, h := range s.handling {
			if !strings.Contains(r.Header.Get("Isogate-Handling"), h) {
				d.failf("the portal was not told %s", h)
			}
		}
	}
	for _, back := range s.returned {
		if !bytes.Contains(answer, []byte(back)) {
			d.failf("%q did not come back to the product", back)
		}
	}
	entry := header.Get("Isogate-Entry")
	if status >= 400 {
		var problem struct{ Entry string }
		if err := json.Unmarshal(answer, &problem); err != nil {
			d.failf("the refusal is no problem+json: %v", err)
		}
		entry = problem.Entry
	}
	e, err := d.server.journal.Get(context.Background(), isogate.EntryID(entry))
	switch {
	case err != nil:
		d.failf("the journal has no entry %q: %v", entry, err)
	case (status >= 400) != (e.Decision == isogate.Refused.String()):
		d.failf("the entry says %s", e.Decision)
	default:
		d.say("   entry  %s %s%s\n", e.ID, e.Decision, counts(e.Fields))
	}
	for _, secret := range append(s.withheld, s.released...) {
		if raw, err := json.Marshal(e); err != nil || bytes.Contains(raw, []byte(secret)) {
			d.failf("the journal holds the value %q", secret)
		}
	}
}

// audit does what an auditor does: takes an export, verifies it by the public
// key alone, and finds out what happens when somebody changes one byte of it.
func (d *demo) audit(ctx context.Context) {
	d.say("\nThe auditor's part\n   The journal is exported, and verified by the public key alone.\n\n")
	export, err := d.export(ctx)
	if err != nil {
		d.failf("no export: %v", err)
		return
	}
	report, err := journal.VerifyExport(bytes.NewReader(export), d.server.keys.Verifier())
	if err != nil {
		d.failf("the export does not verify: %v", err)
		return
	}
	d.say("   verified: %d entries of %s, Merkle root %.16s…\n", report.Count, report.Tenant, report.Root)
	if len(report.Unclosed) > 0 {
		d.failf("%d releases were never closed: %v", len(report.Unclosed), report.Unclosed)
	}
	tampered := bytes.Replace(export, []byte(`"decision":"refused"`), []byte(`"decision":"refusex"`), 1)
	if _, err = journal.VerifyExport(bytes.NewReader(tampered), d.server.keys.Verifier()); err == nil {
		d.failf("an export with one byte changed verifies")
		return
	}
	d.say("   one byte changed: %v\n", err)
}

// export waits until a checkpoint covers what has happened so far.
func (d *demo) export(ctx context.Context) ([]byte, error) {
	mark := &isogate.Entry{Kind: isogate.KindAdmin, Actor: "isogate demo", Act: "the story ended"}
	if err := d.server.journal.Append(ctx, mark); err != nil {
		return nil, err
	}
	ctx, stop := context.WithTimeout(ctx, 30*time.Second)
	defer stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		cp, err := d.server.journal.Checkpoint(ctx)
		if err == nil && cp.Size > mark.Seq {
			var b bytes.Buffer
			err := d.server.journal.Export(ctx, &b, journal.Range{})
			return b.Bytes(), err
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(errors.New("no checkpoint came"), err)
		case <-tick.C:
		}
	}
}

func (d *demo) invite() {
	d.say("\nThe world is still running. In another terminal:\n\n")
	d.say("  isogate journal list --state %s\n", filepath.Join(d.dir, "state"))
	d.say("  isogate pack explain %s --transit support-session\n", filepath.Join(d.dir, "pack"))
	d.say("  curl http://%s/readyz\n", d.server.hub.Addr())
	d.say("  curl http://%s/metrics\n", d.server.hub.Addr())
	d.say("\nCtrl-C stops it.\n")
}

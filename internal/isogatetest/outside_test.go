package isogatetest_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/custody"
	"github.com/isogate/isogate/internal/gateway"
	"github.com/isogate/isogate/internal/http1"
	"github.com/isogate/isogate/internal/isogatetest"
	"github.com/isogate/isogate/internal/landing"
	"github.com/isogate/isogate/internal/obfuscate"
	"github.com/isogate/isogate/internal/policy"
	"github.com/isogate/isogate/internal/remote"
	"github.com/isogate/isogate/internal/vault"
)

const (
	gatewayID = "spiffe://acme.isolated/gateway"
	agent     = "the token of an agent who may see"
)

// portal is an outside service that keeps what it gets, and shows it to whoever
// comes. It knows nothing of seals.
type portal struct {
	mu    sync.Mutex
	kept  []string
	heads []http.Header
}

func (p *portal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if r.Method == http.MethodGet {
		_, _ = fmt.Fprintf(w, "[%s]", strings.Join(p.kept, ","))
		return
	}
	body, _ := io.ReadAll(r.Body)
	p.kept, p.heads = append(p.kept, string(body)), append(p.heads, r.Header.Clone())
	_, _ = w.Write(body)
}

func (p *portal) store() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.kept, "\n")
}

// outside is a landing in front of a portal, on loopback.
type outside struct {
	portal   *portal
	ca       *isogatetest.Authority
	vkey     string
	verifier note.Verifier
	gateways string // addresses
	viewers  string
}

func newOutside(t *testing.T) *outside {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	o := &outside{portal: &portal{}}
	service := httptest.NewServer(o.portal)
	t.Cleanup(service.Close)
	skey, vkey, err := note.GenerateKey(nil, "far")
	must(err)
	signer, err := note.NewSigner(skey)
	must(err)
	o.vkey = vkey
	o.verifier, err = note.NewVerifier(vkey)
	must(err)
	o.ca, err = isogatetest.NewAuthority("outside", time.Hour)
	must(err)
	dir := t.TempDir()
	labels := []isogate.LabelPattern{"personal.contact.**"}
	v, err := vault.Open(vault.Config{Destination: "far", Tenants: []isogate.Tenant{isogatetest.Tenant}, Signer: signer, Dir: dir + "/vault",
		Acknowledges: labels, Logger: slog.New(slog.DiscardHandler), MaxKeys: 1000})
	must(err)
	sum := sha256.Sum256([]byte(agent))
	dialer := &remote.Dialer{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	l, err := landing.New(landing.Config{Vault: v, Destination: "far", Acknowledges: labels, Signer: signer, Dir: dir, Service: service.URL, Dial: dialer.DialContext, Erase: landing.Erase{URL: service.URL + "/erase"},
		Gateways: []landing.Gateway{{Tenant: isogatetest.Tenant, SPIFFE: gatewayID}},
		Viewers: []landing.Viewer{{Name: "agent", TokenSHA256: hex.EncodeToString(sum[:]), Tenants: []isogate.Tenant{"*"},
			Labels: []isogate.LabelPattern{"personal.**", "identifier.**"}, Transits: []isogate.Transit{"*"}}}})
	must(err)
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	run := func(what string, do func(context.Context) error) {
		work.Go(func() {
			if err := do(ctx); err != nil && ctx.Err() == nil {
				t.Errorf("%s: %v", what, err)
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		work.Wait()
		must(l.Close())
		must(v.Close())
	})
	run("vault", v.Run)
	run("landing", l.Run)
	leaf, err := o.ca.Issue(isogatetest.Leaf{Name: "landing", Hosts: []string{isogatetest.FarHost, "127.0.0.1"}})
	must(err)
	listen := func(edge string, serve func(context.Context, net.Listener, *tls.Config) error) string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		must(err)
		run(edge, func(ctx context.Context) error {
			return serve(ctx, ln, &tls.Config{Certificates: []tls.Certificate{leaf}, ClientCAs: o.ca.Pool(), MinVersion: tls.VersionTLS13})
		})
		return ln.Addr().String()
	}
	o.gateways, o.viewers = listen("gateways", l.ServeGateways), listen("viewers", l.ServeViewers)
	return o
}

// page is what the agent sees.
func (o *outside) page(t *testing.T) string {
	t.Helper()
	c, err := o.ca.Client(isogatetest.Leaf{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseIdleConnections()
	req, err := http.NewRequest(http.MethodGet, "https://"+o.viewers+"/tickets", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+agent)
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("%s %s %v", res.Status, text, err)
	}
	return string(text)
}

func outsidePack(vkey string) map[string]string {
	return map[string]string{
		"pack.yaml":         "pack: test\nversion: 1\n",
		"destinations.yaml": "destinations:\n  - {name: far, url: https://far.example.com, landing: {public_key: " + vkey + "}}\n",
		"contracts/ticket.yaml": "contract: ticket\nformat: json\nfields:\n  email: personal.contact.email\n  name: personal.name.display\n" +
			"  nick: personal.name.nickname\n  title: ugc.title\n",
		"transits/tickets.yaml": `transit: tickets
purpose: support
source: [product/help-center]
destination: far
consent: none
session: header X-Session
subject: personal.contact.email
match: [POST /tickets]
request:
  contract: ticket
  release:
    - {label: personal.contact.email, as: allow, handling: persisted, because: Tickets need an address, owner: team-a, until: 2099-01-01}
    - {label: personal.name.display, as: allow, handling: transit-only, because: Shown to agents, owner: team-a, until: 2099-01-01}
    - {label: personal.name.nickname, as: allow, handling: temporary, ttl: 5m, because: Shown to agents, owner: team-a, until: 2099-01-01}
response: {restore: true, max: 1MiB}
`,
	}
}

// custodian runs a custody of a world that has a landing.
func (o *outside) custodian(t *testing.T) (func(*isogatetest.World) gateway.Landings, func() *custody.Custody) {
	var c *custody.Custody
	return func(w *isogatetest.World) gateway.Landings {
		pack, err := policy.Load(w.PackDir)
		if err != nil {
			t.Fatal(err)
		}
		of := obfuscate.Config{Tenant: isogatetest.Tenant, Destination: "far", Labels: pack.Plan().Labels("far"), Keys: w.Keys, Use: obfuscate.Identifiers}
		identifiers, err := obfuscate.New(of)
		if err != nil {
			t.Fatal(err)
		}
		of.Use = obfuscate.Subjects
		subjects, err := obfuscate.New(of)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := o.ca.Issue(isogatetest.Leaf{Name: "gateway", SPIFFE: gatewayID})
		if err != nil {
			t.Fatal(err)
		}
		client := &http1.Client{Dial: w.Dialer.DialContext, TLS: &tls.Config{RootCAs: o.ca.Pool(), Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}}
		c, err = custody.New(custody.Config{Tenant: isogatetest.Tenant, Journal: w.Journal, Client: client, Keys: w.Keys, Logger: slog.New(slog.DiscardHandler), Receipts: 20 * time.Millisecond},
			custody.Landing{Destination: "far", URL: &url.URL{Scheme: "https", Host: isogatetest.FarHost}, At: o.gateways, Key: o.verifier, Identifiers: identifiers, Subjects: subjects})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}, func() *custody.Custody { return c }
}

// The whole way, with nothing pretended but the service: gateway, custody, landing
// and vault. What is sealed is shown to the agent while the session lives, and to
// nobody afterwards; the store has seals alone; the receipt comes into the journal.
//
// promise: P16
// promise: P17
// promise: P18
func TestTheWholeWayOutside(t *testing.T) {
	o := newOutside(t)
	landings, get := o.custodian(t)
	w := isogatetest.New(t, isogatetest.Config{Pack: outsidePack(o.vkey), Outside: o.ca, FarAt: o.gateways, ID: gatewayID, Landings: landings})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- get().Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	client := w.Client(isogatetest.Product)
	send := func(method, url, body string) (*http.Response, string) {
		req, err := http.NewRequest(method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-Session", "ada's")
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res, string(text)
	}
	const body = `{"email": "ada@acme.example", "name": "Ada Lovelace", "nick": "countess", "title": "My salary"}`
	var res *http.Response
	var text string
	until(t, "a statement was fetched", func() bool {
		res, text = send("POST", w.URL("/tickets"), body)
		return res.StatusCode != 503 && res.StatusCode != 403
	})
	if res.StatusCode != 200 || text != body {
		t.Fatalf("%s %s", res.Status, text)
	}
	if res, text = send("POST", w.URL("/tickets"), body); res.StatusCode != 200 || text != body {
		t.Fatalf("%s %s", res.Status, text)
	}
	store := o.portal.store()
	for _, secret := range []string{"Lovelace", "countess", "salary"} {
		if strings.Contains(store, secret) {
			t.Errorf("the service has %q: %s", secret, store)
		}
	}
	if !strings.Contains(store, "ada@acme.example") {
		t.Errorf("the service does not have the address: %s", store)
	}
	if page := o.page(t); strings.Count(page, "Ada Lovelace") != 2 || strings.Count(page, "countess") != 2 || strings.Contains(page, "salary") {
		t.Errorf("the agent sees %s", page)
	}
	if res, text := send("POST", "https://"+w.Addr+"/sessions/end", `{"session": "ada's"}`); res.StatusCode != 204 {
		t.Fatalf("%s %s", res.Status, text)
	}
	if page := o.page(t); strings.Contains(page, "Ada Lovelace") || strings.Count(page, "[expired]") != 2 || strings.Count(page, "countess") != 2 {
		t.Errorf("after the session the agent sees %s", page)
	}
	// The next request of the session has a key of its own.
	if res, text = send("POST", w.URL("/tickets"), body); res.StatusCode != 200 || text != body {
		t.Fatalf("%s %s", res.Status, text)
	}
	if page := o.page(t); strings.Count(page, "Ada Lovelace") != 1 {
		t.Errorf("in the session after it the agent sees %s", page)
	}
	page, err := get().Subjects(t.Context(), custody.Query{})
	if err != nil {
		t.Fatal(err)
	}
	if line := fmt.Sprintf("%+v", page); !strings.Contains(line, "personal.contact.email") {
		t.Errorf("the register: %s", line)
	}
	until(t, "the receipt of the session's key is in the journal", func() bool {
		line, err := json.Marshal(w.Entries())
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(line), "destroyed") && strings.Contains(string(line), "revealed")
	})
}

// until waits for something that comes by itself.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-ctx.Done():
			t.Fatalf("in vain waited until %s", what)
		case <-tick.C:
		}
	}
}

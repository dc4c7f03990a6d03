package landing

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/isogatetest"
	"github.com/isogate/isogate/internal/remote"
	"github.com/isogate/isogate/internal/seal"
	"github.com/isogate/isogate/internal/vault"
)

const (
	portal  = isogate.Destination("support-portal")
	display = isogate.Label("personal.name.display")
	email   = isogate.Label("personal.contact.email")
	agent   = "the token of agent ada, as long as it should be"
	other   = "the token of a viewer who may see little"
	program = "the token of the service's own program"
)

func sum(token string) string {
	s := sha256.Sum256([]byte(token))
	return hex.EncodeToString(s[:])
}

// world is a landing before a pretend service, on loopback.
type world struct {
	t        testing.TB
	l        *Landing
	v        *vault.Vault
	verifier note.Verifier
	vkey     string
	ca       *isogatetest.Authority
	gateways string // addresses
	viewers  string
	service  string
	far      *far
	log      *bytes.Buffer
}

// far is the pretend service: it keeps what it gets, and answers as it is told.
type far struct {
	mu     sync.Mutex
	got    []*http.Request
	bodies []string
	answer func(w http.ResponseWriter, r *http.Request, body string)
	server *httptest.Server
}

func (f *far) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	f.mu.Lock()
	f.got, f.bodies = append(f.got, r), append(f.bodies, string(body))
	answer := f.answer
	f.mu.Unlock()
	if answer != nil {
		answer(w, r, string(body))
	}
}

func (f *far) answers(answer func(w http.ResponseWriter, r *http.Request, body string)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

// says answers every request with a body.
func (f *far) says(media, body string) {
	f.answers(func(w http.ResponseWriter, _ *http.Request, _ string) {
		w.Header().Set("Content-Type", media)
		_, _ = io.WriteString(w, body)
	})
}

func (f *far) requests() (got []*http.Request, bodies []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*http.Request(nil), f.got...), append([]string(nil), f.bodies...)
}

// newFar starts a pretend service.
func newFar(t testing.TB, f *far) (url string) {
	f.server = httptest.NewServer(f)
	t.Cleanup(f.server.Close)
	return f.server.URL
}

type locked struct {
	mu sync.Mutex
	b  *bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// newWorld starts a landing; change may change how it is made.
func newWorld(t testing.TB, change func(*Config, *vault.Config)) *world {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	w := &world{t: t, far: &far{}, log: &bytes.Buffer{}}
	newFar(t, w.far)
	skey, vkey, err := note.GenerateKey(rand.Reader, string(portal))
	must(err)
	signer, err := note.NewSigner(skey)
	must(err)
	w.vkey = vkey
	w.verifier, err = note.NewVerifier(vkey)
	must(err)
	w.ca, err = isogatetest.NewAuthority("landing test", time.Hour)
	must(err)
	dir := t.TempDir()
	logger := slog.New(slog.NewTextHandler(&locked{b: w.log}, nil))
	vc := vault.Config{Destination: portal, Tenants: []isogate.Tenant{"acme", "globex"}, Signer: signer, Dir: dir + "/vault",
		Acknowledges: []isogate.LabelPattern{"personal.contact.**"}, Logger: logger, MaxKeys: 10_000}
	dialer := &remote.Dialer{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	cfg := Config{Destination: portal, Acknowledges: vc.Acknowledges, Signer: signer, Dir: dir, Service: w.far.server.URL, Dial: dialer.DialContext,
		Gateways: []Gateway{{"acme", "spiffe://acme.isolated/gateway"}, {"globex", "spiffe://globex.isolated/gateway"}},
		Viewers: []Viewer{
			{Name: "ada", TokenSHA256: sum(agent), Tenants: []isogate.Tenant{"acme"}, Labels: []isogate.LabelPattern{"personal.**"}, Transits: []isogate.Transit{"*"}},
			{Name: "bob", TokenSHA256: sum(other), Tenants: []isogate.Tenant{"*"}, Labels: []isogate.LabelPattern{"personal.contact.**"}, Transits: []isogate.Transit{"*"}},
		},
		ServiceTokenSHA256: []string{sum(program)}, Erase: Erase{URL: w.far.server.URL + "/erase"}, Logger: logger}
	if change != nil {
		change(&cfg, &vc)
	}
	w.v, err = vault.Open(vc)
	must(err)
	cfg.Vault = w.v
	w.l, err = New(cfg)
	must(err)

	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	run := func(what string, do func(context.Context) error) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if err := do(ctx); err != nil && ctx.Err() == nil {
				t.Errorf("%s: %v", what, err)
			}
		}()
	}
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		if err := w.l.Close(); err != nil {
			t.Error(err)
		}
		if err := w.v.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(w.log.String())
		}
	})
	run("vault", w.v.Run)
	run("landing", w.l.Run)
	leaf, err := w.ca.Issue(isogatetest.Leaf{Name: "landing", Hosts: []string{"127.0.0.1"}})
	must(err)
	listen := func(edge string, serve func(context.Context, net.Listener, *tls.Config) error, config *tls.Config) string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		must(err)
		run(edge, func(ctx context.Context) error { return serve(ctx, ln, config) })
		return ln.Addr().String()
	}
	secure := &tls.Config{Certificates: []tls.Certificate{leaf}, ClientCAs: w.ca.Pool()}
	w.gateways = listen("gateways", w.l.ServeGateways, secure)
	w.viewers = listen("viewers", w.l.ServeViewers, &tls.Config{Certificates: []tls.Certificate{leaf}})
	w.service = listen("service", w.l.ServeService, nil)
	return w
}

// gateway is a pretend gateway of a tenant.
func (w *world) gateway(t isogate.Tenant) *http.Client {
	w.t.Helper()
	c, err := w.ca.Client(isogatetest.Leaf{Name: "gateway", SPIFFE: "spiffe://" + string(t) + ".isolated/gateway"})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.CloseIdleConnections)
	return c
}

// browser is a client that trusts the landing and follows nothing.
func (w *world) browser() *http.Client {
	w.t.Helper()
	c, err := w.ca.Client(isogatetest.Leaf{})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.CloseIdleConnections)
	return c
}

type reply struct {
	status int
	header http.Header
	body   string
	err    error
}

// do sends a request and reads the whole answer.
func (w *world) do(c *http.Client, method, url, body string, header ...string) reply {
	w.t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	res, err := c.Do(req)
	if err != nil {
		w.t.Fatalf("%s %s: %v", method, url, err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	return reply{res.StatusCode, res.Header, string(b), err}
}

func (w *world) statement() *seal.Statement {
	w.t.Helper()
	s, err := seal.OpenStatement(w.v.Statement(), w.verifier)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// key makes a seal key as a gateway does.
func (w *world) key(c seal.Context) *seal.Sealer {
	w.t.Helper()
	if c.Tenant == "" {
		c.Tenant = "acme"
	}
	if c.Transit == "" {
		c.Transit = "support-session"
	}
	c.Destination = portal
	s, err := seal.NewSealer(c, w.statement(), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

const session = "abcdefghijklmnopqrstuvwxya"

func sealValue(t testing.TB, s *seal.Sealer, l isogate.Label, value string) string {
	t.Helper()
	p := s.Passage()
	out, ok := p.Append(nil, l, isogate.Value{Kind: isogate.String, Text: []byte(value)})
	if !ok {
		t.Fatal("the value could not be sealed")
	}
	return string(out)
}

// send brings keys to the landing with a request, as a gateway does.
func (w *world) send(c *http.Client, body string, keys []*seal.Sealer, header ...string) reply {
	w.t.Helper()
	var field []byte
	for i, k := range keys {
		if i > 0 {
			field = append(field, ", "...)
		}
		field = k.AppendHeader(field)
	}
	if len(field) > 0 {
		header = append(header, seal.HeaderSeal, string(field))
	}
	return w.do(c, "POST", "https://"+w.gateways+"/v1/sessions", body, append(header, "Isogate-Entry", "01J000000000000000000ENTRY")...)
}

// holds reports whether an answer says that a key is held.
func holds(r reply, k *seal.Sealer) bool {
	ids, err := seal.ParseHeld(r.header.Values(seal.HeaderHeld))
	return err == nil && len(ids) == 1 && ids[0] == k.ID()
}

// take sends a key with a request and wants it held.
func (w *world) take(c *http.Client, k *seal.Sealer) {
	w.t.Helper()
	if r := w.send(c, "", []*seal.Sealer{k}); r.status != 200 || !holds(r, k) {
		w.t.Fatalf("the key was answered %d %v %s", r.status, r.header, r.body)
	}
	k.SetHeld()
}

// look gets a page as the viewer with a token.
func (w *world) look(token, path string, header ...string) reply {
	w.t.Helper()
	if token != "" {
		header = append(header, "Authorization", "Bearer "+token)
	}
	return w.do(w.browser(), "GET", "https://"+w.viewers+path, "", header...)
}

// events waits until a tenant's receipts have an event that is wanted.
func (w *world) events(t isogate.Tenant, wanted func(seal.Event) bool) seal.Event {
	w.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		r := w.do(w.gateway(t), "GET", "https://"+w.gateways+"/.isogate/receipts?after=0&limit=500", "")
		var body struct {
			Receipts []string
			More     bool
		}
		if r.status != 200 || json.Unmarshal([]byte(r.body), &body) != nil {
			w.t.Fatalf("receipts: %d %s", r.status, r.body)
		}
		for _, n := range body.Receipts {
			receipt, err := seal.OpenReceipt([]byte(n), w.verifier)
			if err != nil {
				w.t.Fatal(err)
			}
			if receipt.Tenant != t {
				w.t.Fatalf("%s got a receipt of %s", t, receipt.Tenant)
			}
			for _, e := range receipt.Events {
				if wanted(e) {
					return e
				}
			}
		}
		<-time.After(50 * time.Millisecond)
	}
	w.t.Fatal("the receipt did not come")
	return seal.Event{}
}

// getJSON asks the gateways' edge.
func getJSON[T any](w *world, c *http.Client, path string) (v T) {
	w.t.Helper()
	r := w.do(c, "GET", "https://"+w.gateways+path, "")
	if r.status != 200 {
		w.t.Fatalf("%s: %d %s", path, r.status, r.body)
	}
	if err := json.Unmarshal([]byte(r.body), &v); err != nil {
		w.t.Fatalf("%s: %v", path, err)
	}
	return v
}

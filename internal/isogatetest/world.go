package isogatetest

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/gateway"
	"github.com/isogate/isogate/internal/http1"
	"github.com/isogate/isogate/internal/journal"
	"github.com/isogate/isogate/internal/payload"
	"github.com/isogate/isogate/internal/policy"
	"github.com/isogate/isogate/internal/remote"
	"github.com/isogate/isogate/internal/tenant"
)

// TB is the part of testing.TB that a world needs.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
	Cleanup(f func())
	TempDir() string
}

// The names in a world.
const (
	Tenant  isogate.Tenant = "acme"
	Product isogate.Source = "product/help-center"
	Other   isogate.Source = "product/other" // a source that no transit lists
	// Token is the bearer token of the source product/batch.
	Token = "a-token-for-tests-only"
	// FarHost is the host of the destination far.
	FarHost = "far.example.com"
)

// Config says in what a world differs from the plain one.
type Config struct {
	// Pack is the pack's files by path; destinations.yaml must point to https://far.example.com.
	Pack map[string]string
	// Hold and Limits are the gateway's; zero is 1 MiB and the defaults.
	Hold   int64
	Limits payload.Limits
	// Timeouts are the server's, and Client those towards the outside.
	Timeouts http1.Timeouts
	Client   http1.ClientTimeouts
	// Body is the largest body that the doors take; zero is 64 MiB.
	Body int64
	// Journal stands in for the world's own; it must say no to be useful.
	Journal func(*journal.Journal) gateway.Journal
	// Database is the journal's PostgreSQL database; "" is SQLite below State.
	Database string
	// Now is the policy's clock; nil is time.Now.
	Now func() time.Time
	// NoAllow leaves loopback forbidden to the dialer, as it is in production.
	NoAllow bool
	// Far is the pool that signs the destination; nil is the one the gateway trusts.
	Far *Authority
	// Logger takes the gateway's log; nil discards it.
	Logger *slog.Logger
	// Apps are sources that may use door two, each with the token that AppToken says.
	// Without any there is no second door, and no ledger unless Ledger is set.
	Apps []gateway.SourceID
	// Ledger has consents kept even without an app; its Journal and Logger are the world's.
	Ledger *consent.Config
	// Resolver looks names up; nil is the system's.
	Resolver *net.Resolver
	// Allow are the networks that may be dialled although they are not public; nil
	// is 127.0.0.0/8.
	Allow []netip.Prefix
	// Region is the tenant's.
	Region string
	// Landings makes what the gateway knows of landings; needed for a pack that has
	// one. Journal, Keys and Outside of the world are there by then.
	Landings func(*World) gateway.Landings
	// FarAt is where FarHost is, as IP:port; "" is the world's Far.
	FarAt string
	// ID is the SPIFFE id that the gateway shows to destinations; "" shows none.
	ID string
	// Outside is the authority of destinations that the gateway trusts; nil is one of
	// the world's own.
	Outside *Authority
}

// World is a running system: callers, gateway, journal and destination.
type World struct {
	tb        TB
	Callers   *Authority // signs callers and the gateway
	Outside   *Authority // signs destinations
	Far       *Far
	Journal   *journal.Journal
	Keys      *tenant.Keyring
	Gateway   *gateway.Gateway
	State     string
	PackDir   string
	Addr      string // of the gateway
	Dialer    *remote.Dialer
	Apps      *Apps // door two, when there are apps or a ledger
	cfg       Config
	sources   *gateway.Sources
	stop      context.CancelFunc
	doorDone  chan error
	journaled chan error
}

// New builds and starts a world, which ends with the test.
func New(tb TB, cfg Config) *World {
	tb.Helper()
	w := &World{tb: tb, cfg: cfg, State: tb.TempDir(), PackDir: tb.TempDir()}
	if cfg.Now == nil {
		w.cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		w.cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Hold == 0 {
		w.cfg.Hold = 1 << 20
	}
	if cfg.Body == 0 {
		w.cfg.Body = 64 << 20
	}
	callers, err := NewAuthority("callers", time.Hour*24)
	w.must(err)
	w.Callers = callers
	outside := cfg.Outside
	if outside == nil {
		outside, err = NewAuthority("outside", time.Hour*24)
		w.must(err)
	}
	signer := outside
	if cfg.Far != nil {
		signer = cfg.Far
	}
	w.Far, err = NewFar(signer, FarHost)
	w.must(err)
	tb.Cleanup(w.Far.Close)
	w.WritePack(cfg.Pack)

	w.Keys, err = tenant.Create(filepath.Join(w.State, "keys"), Tenant)
	w.must(err)
	ctx, stop := context.WithCancel(context.Background())
	w.stop = stop
	w.Journal, err = journal.Open(ctx, journal.Config{Dir: filepath.Join(w.State, "journal"), Tenant: Tenant,
		Database: cfg.Database, Dial: new(net.Dialer).DialContext,
		Signer: w.Keys.Signer(), Verifier: w.Keys.Verifier(), Logger: w.cfg.Logger})
	w.must(err)
	w.journaled = make(chan error, 1)
	journalCtx, stopJournal := context.WithCancel(context.Background())
	go func() { w.journaled <- w.Journal.Run(journalCtx) }()

	sum := sha256.Sum256([]byte(Token))
	ids := []gateway.SourceID{
		{Name: Product, SPIFFE: SPIFFE(Product)},
		{Name: Other, SPIFFE: SPIFFE(Other)},
		{Name: "product/batch", TokenSHA256: hex.EncodeToString(sum[:])},
	}
	for _, app := range cfg.Apps {
		if app.SPIFFE == "" && app.TokenSHA256 == "" {
			sum := sha256.Sum256([]byte(AppToken(app.Name)))
			app.TokenSHA256 = hex.EncodeToString(sum[:])
		}
		ids = append(ids, app)
	}
	w.sources, err = gateway.NewSources(ids, callers.Pool())
	w.must(err)
	metrics, err := gateway.NewMetrics(prometheus.NewRegistry())
	w.must(err)
	dialer := &remote.Dialer{Timeout: 5 * time.Second, Resolver: cfg.Resolver, Allow: cfg.Allow}
	if !cfg.NoAllow && cfg.Allow == nil {
		dialer.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	}
	w.Dialer = dialer
	w.Outside = outside
	var taker gateway.Journal = w.Journal
	if cfg.Journal != nil {
		taker = cfg.Journal(w.Journal)
	}
	gc := gateway.Config{
		Journal: taker, Rules: w.Rules(), Logger: w.cfg.Logger, Metrics: metrics, Now: w.cfg.Now,
		Hold: w.cfg.Hold, Limits: cfg.Limits,
		Client: &http1.Client{Timeouts: cfg.Client, Dial: dialer.DialContext, TLS: &tls.Config{RootCAs: outside.Pool(), MinVersion: tls.VersionTLS12}},
	}
	if cfg.ID != "" {
		cert, err := outside.Issue(Leaf{Name: "gateway", SPIFFE: cfg.ID})
		w.must(err)
		gc.Client.TLS.Certificates = []tls.Certificate{cert}
	}
	if cfg.Landings != nil {
		gc.Landings = cfg.Landings(w)
	}
	if len(cfg.Apps) > 0 || cfg.Ledger != nil {
		w.Apps = newApps(w, &gc)
	}
	w.Gateway, err = gateway.New(gc)
	w.must(err)
	if w.Apps != nil {
		w.Apps.open(ctx)
	}
	cert, err := callers.Issue(Leaf{Name: "gateway", Hosts: []string{"127.0.0.1"}})
	w.must(err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	w.Addr = l.Addr().String()
	door := &http1.Server{Handler: w.Gateway, Timeouts: cfg.Timeouts, Limits: http1.Limits{Body: w.cfg.Body}, TLS: &tls.Config{
		Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}}
	w.doorDone = make(chan error, 1)
	go func() { w.doorDone <- door.Serve(ctx, l) }()
	tb.Cleanup(func() {
		w.Stop()
		stopJournal()
		if err := <-w.journaled; err != nil {
			tb.Errorf("journal: %v", err)
		}
		if err := w.Journal.Close(); err != nil {
			tb.Errorf("journal: %v", err)
		}
	})
	return w
}

// Stop drains the door and waits for its end. The world's end does it too.
func (w *World) Stop() {
	w.stop()
	if w.Apps != nil {
		w.Apps.closed()
	}
	if w.doorDone != nil {
		if err := <-w.doorDone; err != nil {
			w.tb.Errorf("door: %v", err)
		}
		w.doorDone = nil
	}
}

// SPIFFE is the id of a source's certificate.
func SPIFFE(s isogate.Source) string { return "spiffe://acme.isolated/" + string(s) }

// WritePack replaces the files of the pack.
func (w *World) WritePack(files map[string]string) {
	w.tb.Helper()
	w.must(os.RemoveAll(w.PackDir))
	for name, text := range files {
		file := filepath.Join(w.PackDir, filepath.FromSlash(name))
		w.must(os.MkdirAll(filepath.Dir(file), 0o700))
		w.must(os.WriteFile(file, []byte(text), 0o600))
	}
}

// Rules loads the pack as it is on disk.
func (w *World) Rules() *gateway.Rules {
	w.tb.Helper()
	pack, err := policy.Load(w.PackDir)
	w.must(err)
	at := w.cfg.FarAt
	if at == "" {
		at = w.Far.Address()
	}
	r, err := gateway.NewRules(gateway.RulesConfig{Tenant: Tenant, Plan: pack.Plan(), Sources: w.sources, Keys: w.Keys,
		Hosts: map[string]string{FarHost: at}, Region: w.cfg.Region})
	w.must(err)
	return r
}

// TLS is a caller's side of TLS, with the certificate of a source, or with none
// when source is empty.
func (w *World) TLS(source isogate.Source) *tls.Config {
	w.tb.Helper()
	conf := &tls.Config{RootCAs: w.Callers.Pool(), MinVersion: tls.VersionTLS12, ServerName: "127.0.0.1"}
	if source != "" {
		cert, err := w.Callers.Issue(Leaf{Name: string(source), SPIFFE: SPIFFE(source)})
		w.must(err)
		conf.Certificates = []tls.Certificate{cert}
	}
	return conf
}

// Client is an HTTP client of a source, or of nobody when source is empty.
func (w *World) Client(source isogate.Source) *http.Client {
	w.tb.Helper()
	l := Leaf{}
	if source != "" {
		l = Leaf{Name: string(source), SPIFFE: SPIFFE(source)}
	}
	c, err := w.Callers.Client(l)
	w.must(err)
	w.tb.Cleanup(c.CloseIdleConnections)
	return c
}

// Dial is a raw TLS connection of a source, for bytes that no HTTP client would send.
func (w *World) Dial(source isogate.Source) *tls.Conn {
	w.tb.Helper()
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: 5 * time.Second}, Config: w.TLS(source)}
	c, err := d.DialContext(context.Background(), "tcp", w.Addr)
	w.must(err)
	w.tb.Cleanup(func() { _ = c.Close() })
	return c.(*tls.Conn) //nolint:forcetypeassert // tls.Dialer says so
}

// URL is the address of a path at the destination far.
func (w *World) URL(path string) string { return "https://" + w.Addr + "/to/far" + path }

// Entries returns the journal's entries, oldest first.
func (w *World) Entries() []isogate.Entry {
	w.tb.Helper()
	entries, err := w.Journal.List(context.Background(), journal.Filter{Limit: 1 << 20})
	w.must(err)
	return entries
}

func (w *World) must(err error) {
	if err != nil {
		w.tb.Helper()
		w.tb.Fatalf("%v", err)
	}
}

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/archive"
	"github.com/isogate/isogate/internal/change"
	"github.com/isogate/isogate/internal/custody"
	"github.com/isogate/isogate/internal/gateway"
	"github.com/isogate/isogate/internal/http1"
	"github.com/isogate/isogate/internal/journal"
	"github.com/isogate/isogate/internal/payload"
	"github.com/isogate/isogate/internal/policy"
	"github.com/isogate/isogate/internal/remote"
	"github.com/isogate/isogate/internal/tenant"
	"github.com/isogate/isogate/internal/trail"
)

// serveCmd runs the gateway.
type serveCmd struct {
	Config string `short:"c" default:"isogate.yaml" placeholder:"FILE" help:"Configuration (default isogate.yaml)."`
	Debug  bool   `help:"Log more."`
}

// Run implements the command. It ends on SIGINT and SIGTERM after draining, and
// reads pack, certificates and keys anew on SIGHUP.
func (c *serveCmd) Run(e *env) error {
	// Before anything else: a signal to reload must not end a start.
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)
	cfg, err := loadConfig(c.Config)
	if err != nil {
		return err
	}
	s, err := newServer(e.Context, cfg, newLogger(e, c.Debug), e.Now)
	if err != nil {
		return err
	}
	return s.run(e.Context, reload)
}

// newLogger is the log of a command that serves.
func newLogger(e *env, debug bool) *slog.Logger {
	level := slog.LevelInfo
	if debug {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(e.Stderr, &slog.HandlerOptions{Level: level}))
}

// server is everything that serve runs, wired.
type server struct {
	cfg    *config
	logger *slog.Logger
	now    func() time.Time

	keys    *tenant.Keyring
	journal *journal.Journal
	archive *archive.Archive // of the packs that were in force
	trail   *trail.Trail     // what left, counted
	gate    *gateway.Gateway
	client  *http1.Client
	custody *custody.Custody
	traces  *traces
	office  *office
	remotes *remotes // nil where there is no second door

	intercept interception
	transits  net.Listener
	hub       net.Listener
	door      *http1.Server
	health    *http.Server
	certs     *certificates
	primary   uint32 // the key that the journal last named as the primary; owned by reload once it runs
}

// newServer opens, checks and binds everything, so that what can be wrong is
// wrong before the first request. It starts nothing.
func newServer(ctx context.Context, cfg *config, logger *slog.Logger, now func() time.Time) (_ *server, err error) {
	s := &server{cfg: cfg, logger: logger, now: now}
	defer func() {
		if err != nil {
			s.release()
		}
	}()
	pack, files, err := loadFiles(cfg.Pack)
	if err != nil {
		return nil, err
	}
	plan := pack.Plan()
	if s.certs, err = loadCertificates("gateway.transits.tls", cfg.Gateway.Transits.TLS, now()); err != nil {
		return nil, err
	}
	var created bool
	if s.keys, created, err = openKeys(cfg, now()); err != nil {
		return nil, err
	}
	s.primary = s.keys.Primary()
	if s.archive, err = archive.New(packsDir(cfg)); err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	journalMetrics := journal.NewMetrics()
	registry.MustRegister(journalMetrics, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	floor, err := readFloor(cfg)
	if err != nil {
		return nil, err
	}
	dial, err := dialDatabase(cfg)
	if err != nil {
		return nil, err
	}
	s.journal, err = journal.Open(ctx, journal.Config{
		Dir: filepath.Join(cfg.State, "journal"), Database: cfg.Database, Dial: dial, Tenant: cfg.Tenant, Signer: s.keys.Signer(), Verifier: s.keys.Verifier(),
		MaxAge: time.Duration(cfg.Journal.MaxAge), Logger: logger, Now: now, Metrics: journalMetrics,
	})
	if err != nil {
		return nil, err
	}
	if err := raiseFloor(ctx, cfg, floor); err != nil {
		return nil, err
	}
	if err := s.approved(ctx, plan.Digest); err != nil {
		return nil, err
	}
	s.archivePack(files)
	if err := s.openTrail(ctx); err != nil {
		return nil, err
	}
	metrics, err := gateway.NewMetrics(registry)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	rules, err := s.rules(plan, s.certs.callers())
	if err != nil {
		return nil, err
	}
	if s.transits, err = net.Listen("tcp", cfg.Gateway.Transits.Listen); err != nil {
		return nil, fmt.Errorf("gateway.transits.listen: %w; stop what listens there, or choose another port", err)
	}
	if err := s.listenRemotes(); err != nil {
		return nil, err
	}
	if cfg.Hub.Listen != "" {
		if s.hub, err = net.Listen("tcp", cfg.Hub.Listen); err != nil {
			return nil, fmt.Errorf("hub.listen: %w; stop what listens there, or choose another port", err)
		}
	}
	dialer := s.newDialer()
	if s.client, err = s.newClient(dialer.DialContext); err != nil {
		return nil, err
	}
	custodyMetrics := custody.NewMetrics()
	registry.MustRegister(custodyMetrics)
	if s.custody, err = s.newCustody(plan, custodyMetrics); err != nil {
		return nil, err
	}
	if s.office, err = s.newOffice(pack); err != nil {
		return nil, err
	}
	if s.traces, err = newTraces(ctx, cfg.Traces, dialer.DialContext); err != nil {
		return nil, err
	}
	intercepts, err := s.loadInterception()
	if err != nil {
		return nil, err
	}
	limits := payload.Limits{Depth: cfg.Gateway.Limits.Depth, Body: int64(cfg.Gateway.Limits.Body)}
	s.gate, err = gateway.New(gateway.Config{
		Journal: s.journal, Rules: rules, Client: s.client, Logger: logger, Metrics: metrics, Now: now,
		Hold: int64(cfg.Gateway.Limits.Hold), Limits: limits, Tracer: s.traces.tracer(),
		Ledger: s.office.ledger, Dial: dialer.DialContext, Authority: &s.intercept,
		Landings: s.custody,
	})
	if err != nil {
		return nil, err
	}
	s.door = s.newDoor(s.gate)
	s.door.TLS = s.certs.config()
	s.serveRemotes()
	s.health = newHealth(registry, s.ready, func() string { return s.gate.Rules().Plan().Digest }, s.office)
	s.admit(created, plan)
	if intercepts {
		s.later(interceptEntry(s.intercept.current.Load()))
	}
	return s, nil
}

// ready says why not everything that may leave could leave now, or nil.
func (s *server) ready() error { return errors.Join(s.journal.Ready(), s.office.ledger.InTouch()) }

// admit remembers what the journal must say first: which keys and which pack are in force.
func (s *server) admit(created bool, plan *policy.Plan) {
	if created {
		s.later(&isogate.Entry{Kind: isogate.KindKey, Actor: "isogate serve", Act: "keys created",
			Detail: map[string]string{"verifier": s.keys.Verifier(), "primary": keyName(s.keys.Primary())}})
	}
	s.later(s.packEntry("pack loaded", plan))
}

// packEntry says what this gateway judges by, and with which key it mints, or that
// it did so until now.
//
// promise: P10
func (s *server) packEntry(act string, plan *policy.Plan) *isogate.Entry {
	return &isogate.Entry{Kind: isogate.KindPack, Actor: "isogate serve", Act: act, Pack: plan.Digest,
		Detail: map[string]string{"gateway": s.cfg.Gateway.Name, "name": plan.Name, "version": fmt.Sprint(plan.Version), "primary": keyName(s.keys.Primary())}}
}

// refusedEntry says that a pack was not loaded, and which one stays in force.
func (s *server) refusedEntry(err error) *isogate.Entry {
	e := s.packEntry("pack refused", s.gate.Rules().Plan())
	e.Reason = "it does not load; the one named here stays in force"
	var no *change.UnapprovedError
	if errors.As(err, &no) {
		e.Reason, e.Detail["refused"] = "another is not approved; the one named here stays in force", no.Pack
	}
	return e
}

func (s *server) later(e *isogate.Entry) {
	if err := s.journal.AppendLater(e); err != nil {
		s.logger.Error("the journal did not take an entry", slog.String("act", e.Act), slog.Any("error", err))
	}
}

// run serves until ctx ends, and then drains.
func (s *server) run(ctx context.Context, reload <-chan os.Signal) error {
	defer s.release()
	// The journal outlives the doors: what they still let out must be recorded.
	journalCtx, stopJournal := context.WithCancel(context.WithoutCancel(ctx))
	defer stopJournal()
	recorder := make(chan error, 1)
	go func() { recorder <- s.journal.Run(journalCtx) }()
	ledgerCtx, stopLedger := context.WithCancel(journalCtx)
	defer stopLedger()
	go s.office.run(ledgerCtx)
	keeper := make(chan error, 1)
	go func() { keeper <- s.custody.Run(ledgerCtx) }()
	counter := make(chan struct{})
	go s.keepTrail(ledgerCtx, counter)
	cutter := make(chan error, 1)
	go func() { cutter <- s.gate.Run(ledgerCtx) }()

	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.door.Serve(gctx, s.transits) })
	if s.remotes != nil {
		g.Go(func() error { return s.remotes.run(gctx) })
	}
	if s.hub != nil {
		g.Go(func() error {
			serve := s.health.Serve
			if s.health.TLSConfig != nil {
				serve = func(l net.Listener) error { return s.health.ServeTLS(l, "", "") }
			}
			if err := serve(s.hub); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
		g.Go(func() error {
			<-gctx.Done()
			return s.health.Close()
		})
	}
	g.Go(func() error { return giveBack(gctx, s.gate.Activity) })
	g.Go(func() error { return failed(gctx, "the ledger or who may sit at the Hub", s.office.ran) })
	g.Go(func() error { return failed(gctx, "what knows of the outside", keeper) })
	g.Go(func() error {
		for {
			select {
			case <-gctx.Done():
				return nil
			case <-reload:
				s.reload(gctx)
			}
		}
	})
	// The doors are open; what waits for a consent is refused until the ledger has read the journal.
	soon, done := context.WithTimeout(ctx, time.Second)
	if err := reach(soon, s.office.ledger); err != nil && ctx.Err() == nil {
		s.logger.Warn("nothing leaves yet that waits for a consent", slog.Any("error", err))
	}
	done()
	s.logger.Info("serving", slog.String("tenant", string(s.cfg.Tenant)), slog.String("transits", s.transits.Addr().String()), slog.String("remotes", addr(s.appListener())), slog.String("hub", addr(s.hub)),
		slog.String("pack", s.gate.Rules().Plan().Digest), slog.String("verifier", s.keys.Verifier()))
	if s.hub != nil {
		g.Go(func() error {
			s.office.welcome(gctx, s.logger)
			return nil
		})
	}
	err := g.Wait()
	s.logger.Info("drained")
	s.later(s.packEntry("gateway stopped", s.gate.Rules().Plan()))
	s.client.CloseIdle()
	stopLedger()
	err = errors.Join(err, <-s.office.ran, <-cutter, <-keeper)
	<-counter
	stopJournal()
	err = errors.Join(err, <-recorder)
	return errors.Join(err, raiseFloor(context.WithoutCancel(ctx), s.cfg, 0), s.traces.stop(context.WithoutCancel(ctx)))
}

// reload puts the pack, certificates and keys that are on disk in force. What
// does not load leaves what was in force as it was.
//
// promise: P10
func (s *server) reload(ctx context.Context) {
	pack, files, err := loadFiles(s.cfg.Pack)
	if err == nil {
		err = s.approved(ctx, pack.Plan().Digest)
	}
	var certs *certificates
	if err == nil {
		certs, err = s.certs.again(s.now())
	}
	if err == nil {
		err = s.loadHubCertificate(s.office)
	}
	if err == nil { // last of what is read: a keyring takes what it reads at once
		_, err = s.keys.Reload()
	}
	var remoteCerts *certificates
	if err == nil && s.remotes != nil && s.remotes.certs != nil {
		remoteCerts, err = s.remotes.certs.again(s.now())
	}
	var intercepts bool
	if err == nil {
		intercepts, err = s.loadInterception()
	}
	var rules *gateway.Rules
	if err == nil {
		rules, err = s.rules(pack.Plan(), certs.callers())
	}
	if err == nil { // before the rules: what they let out is sealed for these
		err = s.swapLandings(pack.Plan())
	}
	if err == nil { // before it judges anything
		s.archivePack(files)
	}
	if err != nil {
		s.logger.Error("not reloaded; what was in force stays in force", slog.Any("error", err))
		s.later(s.refusedEntry(err))
		return
	}
	s.certs.take(certs)
	if remoteCerts != nil {
		s.remotes.certs.take(remoteCerts)
	}
	if intercepts {
		s.later(interceptEntry(s.intercept.current.Load()))
	}
	s.gate.Swap(rules)
	s.office.inForce(pack, s.now())
	plan := pack.Plan()
	s.later(s.packEntry("pack loaded", plan))
	// Not what this reload found new: an earlier one may have failed behind the keys.
	if primary := s.keys.Primary(); primary != s.primary {
		s.primary = primary
		s.later(&isogate.Entry{Kind: isogate.KindKey, Actor: "isogate serve", Act: "keys rotated",
			Detail: map[string]string{"primary": keyName(primary)}})
	}
	s.logger.Info("reloaded", slog.String("pack", plan.Digest))
}

// rules makes the one value that requests are judged by.
func (s *server) rules(plan *policy.Plan, callers *x509.CertPool) (*gateway.Rules, error) {
	ids := make([]gateway.SourceID, 0, len(s.cfg.Sources))
	for _, src := range s.cfg.Sources {
		id, err := src.id()
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	sources, err := gateway.NewSources(ids, callers)
	if err != nil {
		return nil, err
	}
	return gateway.NewRules(gateway.RulesConfig{
		Tenant: s.cfg.Tenant, Plan: plan, Sources: sources, Keys: s.keys,
		Hosts: s.cfg.Gateway.Upstream.Hosts, EmailDomain: s.cfg.Gateway.Upstream.EmailDomain,
		Region: s.cfg.Region,
	})
}

// newCustody makes what gives the keys of seals, and knows what the outside holds.
func (s *server) newCustody(plan *policy.Plan, metrics *custody.Metrics) (*custody.Custody, error) {
	landings, err := s.landings(plan)
	if err != nil {
		return nil, err
	}
	return custody.New(custody.Config{Tenant: s.cfg.Tenant, Journal: s.journal, Client: s.client, Keys: s.keys, Logger: s.logger, Metrics: metrics, Now: s.now,
		Receipts: time.Duration(s.cfg.Landings.Receipts), Grace: time.Duration(s.cfg.Landings.Grace)}, landings...)
}

// swapLandings puts a plan's landings in force, with the tenant's newest keys.
func (s *server) swapLandings(plan *policy.Plan) error {
	landings, err := s.landings(plan)
	if err != nil {
		return err
	}
	return s.custody.Swap(landings...)
}

// landings are those of a plan, as this gateway reaches them.
func (s *server) landings(plan *policy.Plan) ([]custody.Landing, error) {
	return custodyLandings(plan, s.cfg.Gateway.Upstream.Hosts, s.keys, s.cfg.Gateway.Upstream.EmailDomain)
}

// newDialer makes the only way out to the network. It never dials ourselves.
func (s *server) newDialer() *remote.Dialer {
	up := s.cfg.Gateway.Upstream
	return &remote.Dialer{Allow: up.Allow, Self: portsOf(s.transits, s.appListener(), s.hub), Timeout: time.Duration(up.Timeout)}
}

// portsOf is where listeners listen; those that are nil do not.
func portsOf(listeners ...net.Listener) (out []netip.AddrPort) {
	for _, l := range listeners {
		if l == nil {
			continue
		}
		if ap, err := netip.ParseAddrPort(l.Addr().String()); err == nil {
			out = append(out, ap)
		}
	}
	return out
}

// newClient makes the way out to destinations: verified TLS over the guarded dialer.
//
// promise: P04
func (s *server) newClient(dial dialFunc) (*http1.Client, error) {
	up := s.cfg.Gateway.Upstream
	conf, err := upstreamTLS("gateway.upstream.roots", up.Roots)
	if err != nil {
		return nil, err
	}
	if up.Cert != "" {
		pair, err := loadPair("gateway.upstream", up.Cert, up.Key, s.now())
		if err != nil {
			return nil, err
		}
		conf.Certificates = []tls.Certificate{*pair}
	}
	return &http1.Client{
		Dial: dial,
		TLS:  conf,
		Timeouts: http1.ClientTimeouts{
			Dial: time.Duration(up.Timeout), Head: time.Duration(up.Timeout), Body: time.Duration(up.Timeout),
		},
		Limits: http1.Limits{Body: 1 << 40}, // each transit has a limit of its own
	}, nil
}

// upstreamTLS is the TLS towards others, whose certificates must come from the
// authorities of a file; "" is the system's.
func upstreamTLS(key, roots string) (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(256)}
	if roots == "" {
		return conf, nil
	}
	var err error
	conf.RootCAs, err = loadPool(key, roots)
	return conf, err
}

// appListener is the second door's, or nil.
func (s *server) appListener() net.Listener {
	if s.remotes == nil {
		return nil
	}
	return s.remotes.listener
}

// release closes what was opened, also when only some of it was.
func (s *server) release() {
	for _, l := range []net.Listener{s.transits, s.appListener(), s.hub} {
		if l != nil {
			_ = l.Close()
		}
	}
	if s.archive != nil {
		_ = s.archive.Close()
	}
	if s.trail != nil {
		_ = s.trail.Close()
	}
	if s.journal != nil {
		if err := s.journal.Close(); err != nil {
			s.logger.Error("the journal did not close well", slog.Any("error", err))
		}
	}
}

// openKeys opens the tenant's keys, or makes them where there are none yet. Keys
// that it makes come with an interception authority if there is a door for apps,
// which needs one. Keys that were there already get none by themselves: their
// directory may be one of several copies, and each gateway would make its own
// (isogate tenant intercept create).
func openKeys(cfg *config, now time.Time) (_ *tenant.Keyring, created bool, err error) {
	if err := os.MkdirAll(cfg.State, 0o700); err != nil {
		return nil, false, fmt.Errorf("state: %w; create the directory, or name another", err)
	}
	kc := tenant.Config{Dir: keysDir(cfg), Tenant: cfg.Tenant}
	if cfg.Keys.KEK != "" {
		if kc.KEK, err = tenant.OpenKEK(cfg.Keys.KEK); err != nil {
			return nil, false, err
		}
	}
	if _, err := os.Stat(kc.Dir); errors.Is(err, os.ErrNotExist) {
		k, err := kc.Create()
		if err == nil && cfg.Gateway.Remotes.Listen != "" {
			_, err = k.CreateAuthority(now)
		}
		return k, true, err
	}
	k, err := kc.Open()
	return k, false, err
}

// loadPolicy loads a pack; its error lists every mistake, one a line.
func loadPolicy(dir string) (*policy.Pack, error) {
	pack, _, err := loadFiles(dir)
	return pack, err
}

// loadFiles is loadPolicy that also returns the files that the pack is of.
func loadFiles(dir string) (*policy.Pack, *policy.Files, error) {
	files, err := policy.ReadFiles(dir)
	var pack *policy.Pack
	if err == nil {
		pack, err = files.Load()
	}
	if err != nil {
		return nil, nil, fmt.Errorf("the pack does not load:\n%w\nnext: isogate pack check %s", err, dir)
	}
	return pack, files, nil
}

// archivePack keeps a pack that is about to judge. A gateway that cannot keep it
// goes on all the same: what it lets out is judged and recorded as before, with the
// pack's digest, and a full disk must not stop what is allowed to leave.
func (s *server) archivePack(files *policy.Files) {
	if _, err := s.archive.Put(files); err != nil {
		s.logger.Error("the pack was not archived; entries that it judges can be explained from version control alone", slog.String("pack", files.Digest()), slog.Any("error", err))
	}
}

func addr(l net.Listener) string {
	if l == nil {
		return ""
	}
	return strings.TrimPrefix(l.Addr().String(), "http://")
}

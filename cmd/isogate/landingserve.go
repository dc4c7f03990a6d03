package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/http1"
	"github.com/isogate/isogate/internal/landing"
	"github.com/isogate/isogate/internal/remote"
	"github.com/isogate/isogate/internal/tenant"
	"github.com/isogate/isogate/internal/vault"
)

// landingServeCmd runs a landing.
type landingServeCmd struct {
	Config string `short:"c" default:"landing.yaml" placeholder:"FILE" help:"Configuration (default landing.yaml)."`
	Debug  bool   `help:"Log more."`
}

// Run implements the command. It ends on SIGINT and SIGTERM after draining, and
// reads certificates anew on SIGHUP.
//
// promise: P41
func (c *landingServeCmd) Run(e *env) error {
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)
	cfg, err := loadLanding(c.Config)
	if err != nil {
		return err
	}
	logger := newLogger(e, c.Debug)
	// Before any key comes: nobody else reads this process's memory.
	if err := vault.Harden(); err != nil {
		return err
	}
	s, err := newLandingServer(cfg, logger, e.Now)
	if err != nil {
		return err
	}
	return s.run(e.Context, reload)
}

// landingServer is everything that landing runs, wired.
type landingServer struct {
	cfg    *landingConfig
	logger *slog.Logger
	now    func() time.Time

	identity *tenant.Identity
	vault    *vault.Vault
	landing  *landing.Landing
	health   *http.Server

	gateways, viewers, service, healthAt net.Listener // nil where there is none
	peers                                net.Listener // nil for a landing that is alone
	gatewayCerts                         *certificates
	viewerCerts, serviceCerts            *certificates // nil without TLS
	clusterCerts                         *certificates // nil for a landing that is alone
}

// newLandingServer opens, checks and binds everything, so that what can be wrong is
// wrong before the first request. It starts nothing.
func newLandingServer(cfg *landingConfig, logger *slog.Logger, now func() time.Time) (_ *landingServer, err error) {
	s := &landingServer{cfg: cfg, logger: logger, now: now}
	defer func() {
		if err != nil {
			s.release()
		}
	}()
	if err := s.loadCertificates(); err != nil {
		return nil, err
	}
	var created bool
	if s.identity, created, err = openIdentity(cfg); err != nil {
		return nil, err
	}
	if created {
		logger.Info("the landing's key was made; packs name its public half", slog.String("public_key", s.identity.Verifier()))
	}
	if err := s.listen(); err != nil {
		return nil, err
	}
	cluster, err := s.joinCluster()
	if err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	vaultMetrics, landingMetrics := vault.NewMetrics(), landing.NewMetrics()
	registry.MustRegister(vaultMetrics, landingMetrics, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if s.vault, err = vault.Open(vault.Config{
		Destination: cfg.Destination, Tenants: cfg.tenantNames(), Signer: s.identity.Signer(),
		Idle: time.Duration(cfg.Session.Idle), Max: time.Duration(cfg.Session.Max), EpochLife: time.Duration(cfg.Epoch),
		Acknowledges: cfg.Acknowledges, Dir: cfg.State, Keep: cfg.Keep, Cluster: cluster, MaxKeys: cfg.Limits.Keys, Logger: logger, Metrics: vaultMetrics,
	}); err != nil {
		return nil, err
	}
	if s.landing, err = s.newLanding(landingMetrics); err != nil {
		return nil, err
	}
	s.health = newLandingHealth(registry, s.landing.Ready)
	return s, nil
}

// newLanding makes the edges over the vault.
func (s *landingServer) newLanding(metrics *landing.Metrics) (*landing.Landing, error) {
	cfg := s.cfg
	roots, err := upstreamTLS("service.roots", cfg.Service.Roots)
	if err != nil {
		return nil, err
	}
	lc := landing.Config{
		Vault: s.vault, Destination: cfg.Destination, Acknowledges: cfg.Acknowledges, Signer: s.identity.Signer(), Dir: cfg.State,
		Service: cfg.Service.URL, Dial: s.newDialer().DialContext, ServiceTLS: roots,
		Timeouts:   http1.ClientTimeouts{Dial: time.Duration(cfg.Service.Timeout), Head: time.Duration(cfg.Service.Timeout), Body: time.Duration(cfg.Service.Timeout)},
		MaxRequest: int64(cfg.Limits.Body), MaxResponse: int64(cfg.Limits.Response), Anonymous: cfg.Viewers.Anonymous == "sealed",
		RevealsPerMinute: cfg.Limits.Reveals, MaxIdentifiers: int64(cfg.Limits.Registered),
		Erase:  landing.Erase{URL: cfg.Erase.URL, EscalateAfter: time.Duration(cfg.Erase.EscalateAfter)},
		Server: http1.Timeouts{Drain: time.Duration(cfg.Drain)}, ConnLimit: cfg.Limits.Connections,
		Logger: s.logger, Metrics: metrics, Now: s.now,
	}
	for _, t := range cfg.Tenants {
		lc.Gateways = append(lc.Gateways, landing.Gateway{Tenant: t.Name, SPIFFE: t.SPIFFE})
	}
	for _, v := range cfg.Viewers.Allowed {
		lc.Viewers = append(lc.Viewers, landing.Viewer{Name: v.Name, TokenSHA256: v.TokenSHA256, Tenants: v.Tenants, Labels: v.Labels, Transits: v.Transits})
	}
	if cfg.Service.TokenSHA256 != "" {
		lc.ServiceTokenSHA256 = []string{cfg.Service.TokenSHA256}
	}
	return landing.New(lc)
}

// tenantNames are the tenants of the configuration.
func (c *landingConfig) tenantNames() []isogate.Tenant {
	names := make([]isogate.Tenant, len(c.Tenants))
	for i, t := range c.Tenants {
		names[i] = t.Name
	}
	return names
}

func (s *landingServer) loadCertificates() (err error) {
	if s.gatewayCerts, err = loadCertificates("gateways.tls", s.cfg.Gateways.TLS, s.now()); err != nil {
		return err
	}
	for _, edge := range []struct {
		key   string
		files hubTLSConfig
		certs **certificates
	}{{"viewers.tls", s.cfg.Viewers.TLS, &s.viewerCerts}, {"service.tls", s.cfg.Service.TLS, &s.serviceCerts},
		{"cluster.tls", hubTLSConfig{Cert: s.cfg.Cluster.TLS.Cert, Key: s.cfg.Cluster.TLS.Key}, &s.clusterCerts}} {
		if edge.files.Cert == "" {
			continue
		}
		if *edge.certs, err = loadCertificates(edge.key, tlsConfig{Cert: edge.files.Cert, Key: edge.files.Key}, s.now()); err != nil {
			return err
		}
	}
	return nil
}

func (s *landingServer) listen() (err error) {
	for _, edge := range []struct {
		key, at string
		ln      *net.Listener
	}{
		{"gateways.listen", s.cfg.Gateways.Listen, &s.gateways}, {"viewers.listen", s.cfg.Viewers.Listen, &s.viewers},
		{"service.listen", s.cfg.Service.Listen, &s.service}, {"health.listen", s.cfg.Health.Listen, &s.healthAt},
		{"cluster.listen", s.cfg.Cluster.Listen, &s.peers},
	} {
		if edge.at == "" {
			continue
		}
		if *edge.ln, err = net.Listen("tcp", edge.at); err != nil {
			return fmt.Errorf("%s: %w; stop what listens there, or choose another port", edge.key, err)
		}
	}
	return nil
}

// listeners are those that there are.
func (s *landingServer) listeners() (out []net.Listener) {
	for _, l := range []net.Listener{s.gateways, s.viewers, s.service, s.healthAt, s.peers} {
		if l != nil {
			out = append(out, l)
		}
	}
	return out
}

// newDialer makes the only way to the service. It never dials ourselves.
func (s *landingServer) newDialer() *remote.Dialer {
	return &remote.Dialer{Allow: s.cfg.dialled(), Self: portsOf(s.listeners()...), Timeout: time.Duration(s.cfg.Service.Timeout)}
}

// dialled are the networks that the configuration allows, and the addresses of this
// machine that it names itself.
func (c *landingConfig) dialled() []netip.Prefix {
	allow := append([]netip.Prefix(nil), c.Service.Allow...)
	for _, text := range []string{c.Service.URL, c.Erase.URL} {
		u, err := url.Parse(text)
		if err != nil {
			continue
		}
		if ip, err := netip.ParseAddr(u.Hostname()); err == nil && ip.IsLoopback() {
			allow = append(allow, netip.PrefixFrom(ip, ip.BitLen()))
		} else if u.Hostname() == "localhost" {
			allow = append(allow, netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"))
		}
	}
	return allow
}

// newLandingHealth serves /healthz, /readyz and /metrics to anybody: none says
// anything of anybody.
func newLandingHealth(registry *prometheus.Registry, ready func() error) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, map[string]string{"status": "ok"}) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := ready(); err != nil {
			answer(w, 503, map[string]string{"status": "not ready", "reason": err.Error()})
			return
		}
		answer(w, 200, map[string]string{"status": "ready"})
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
}

// run serves until ctx ends, and then drains: the edges first, then every key that
// does not outlive the process, and what is stated of that is signed before it ends.
func (s *landingServer) run(ctx context.Context, reload <-chan os.Signal) error {
	// The vault outlives the edges: what they still show must be recorded.
	innerCtx, stopInner := context.WithCancel(context.WithoutCancel(ctx))
	defer stopInner()
	inner, innerDone := errgroup.WithContext(innerCtx)
	inner.Go(func() error { return s.vault.Run(innerCtx) })
	inner.Go(func() error { return s.landing.Run(innerCtx) })
	// Peers are answered until the keys are handed over, which is the vault's last work.
	peersCtx, stopPeers := context.WithCancel(context.WithoutCancel(ctx))
	var peers errgroup.Group
	if s.peers != nil {
		peers.Go(func() error { return s.vault.ServePeers(peersCtx, s.peers) })
	}
	defer func() {
		s.release()
		stopPeers()
		if err := peers.Wait(); err != nil {
			s.logger.Error("the listener for the other landings ended badly", slog.Any("error", err))
		}
	}()

	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.landing.ServeGateways(gctx, s.gateways, s.gatewayCerts.mutual()) })
	if s.viewers != nil {
		g.Go(func() error { return s.landing.ServeViewers(gctx, s.viewers, s.viewerCerts.oneSided()) })
	}
	if s.service != nil {
		g.Go(func() error { return s.landing.ServeService(gctx, s.service, s.serviceCerts.oneSided()) })
	}
	if s.healthAt != nil {
		g.Go(func() error {
			if err := s.health.Serve(s.healthAt); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
		g.Go(func() error {
			<-gctx.Done()
			return s.health.Close()
		})
	}
	g.Go(func() error {
		for {
			select {
			case <-gctx.Done():
				return nil
			case <-innerDone.Done():
				return errors.New("the vault or the register stopped")
			case <-reload:
				s.reload()
			}
		}
	})
	s.logger.Info("serving", slog.String("landing", s.cfg.Landing), slog.String("gateways", addr(s.gateways)), slog.String("viewers", addr(s.viewers)),
		slog.String("service", addr(s.service)), slog.String("health", addr(s.healthAt)), slog.String("public_key", s.identity.Verifier()))
	err := g.Wait()
	stopInner()
	err = errors.Join(err, inner.Wait())
	s.logger.Info("drained")
	return err
}

// reload puts the certificates that are on disk in force. What does not load leaves
// what was in force as it was.
func (s *landingServer) reload() {
	in := []*certificates{s.gatewayCerts, s.viewerCerts, s.serviceCerts, s.clusterCerts}
	read := make([]*certificates, len(in))
	for i, c := range in {
		if c == nil {
			continue
		}
		var err error
		if read[i], err = c.again(s.now()); err != nil {
			s.logger.Error("not reloaded; what was in force stays in force", slog.Any("error", err))
			return
		}
	}
	for i, c := range in {
		if c != nil {
			c.take(read[i])
		}
	}
	s.logger.Info("reloaded")
}

// release closes what was opened, also when only some of it was.
func (s *landingServer) release() {
	for _, l := range s.listeners() {
		if l != s.peers {
			_ = l.Close()
		}
	}
	if s.vault != nil {
		if err := s.vault.Close(); err != nil {
			s.logger.Error("the vault did not close well", slog.Any("error", err))
		}
	}
	if s.peers != nil {
		// Until here the others were told where the keys went.
		_ = s.peers.Close()
	}
	if s.landing != nil {
		if err := s.landing.Close(); err != nil {
			s.logger.Error("the register did not close well", slog.Any("error", err))
		}
	}
}

// mutual is the TLS of an edge whose callers must show a certificate of the
// authorities that are in force when they connect.
func (c *certificates) mutual() *tls.Config {
	base := &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: c.callers(), SessionTicketsDisabled: true,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.pair.Load(), nil },
	}
	base.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now := base.Clone()
		now.ClientCAs, now.GetConfigForClient = c.callers(), nil
		return now, nil
	}
	return base
}

// oneSided is the TLS of an edge whose callers show a token, or nil for the edge
// without TLS, which c is nil for.
func (c *certificates) oneSided() *tls.Config {
	if c == nil {
		return nil
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.pair.Load(), nil },
	}
}

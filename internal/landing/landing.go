// Package landing is the outside half's edges. It stands before an outside
// service, as a reverse proxy:
//
//	gateways ──mTLS──▶ ┌─────────┐ ──▶ the service, which gets and keeps seals
//	viewers  ──TLS───▶ │ landing │ ──▶ the service's pages, seals become values
//	service  ──token─▶ └─────────┘     while they live and to whom has the right
//
// Towards gateways (gateways.go) it takes seal keys, registers the identifiers
// that stay in plaintext, ends sessions, and hands out receipts. Towards viewers
// (viewers.go) it shows each what their rights say, and records it before they see
// it. Towards the service (service.go) it opens seals for programs. It erases by
// calling the service (erasures.go). The keys themselves are the vault's.
//
// Promises kept here: P16, P17, P18, P41.
package landing

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/http1"
	"github.com/isogate/isogate/internal/seal"
	"github.com/isogate/isogate/internal/vault"
)

// Config is what a landing is made of. Vault, Service, Dir, Signer and Dial are
// required.
type Config struct {
	Vault *vault.Vault
	// Destination and Acknowledges are those that the vault states.
	Destination  isogate.Destination
	Acknowledges []isogate.LabelPattern
	// Signer signs call-outs; it is the vault's.
	Signer note.Signer
	// Dir is where register.db is: which identifiers the service was given, as
	// tokens. It is created for its owner only.
	Dir string

	// Service is the origin of the service, such as https://10.0.0.7:8443: https, or
	// http to an address of this machine.
	Service string
	// Dial opens every connection; remote.Dialer's.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// ServiceTLS is for an https Service and Erase.URL; nil verifies against the system's roots.
	ServiceTLS *tls.Config
	// Timeouts bound requests to the service.
	Timeouts http1.ClientTimeouts
	// MaxRequest and MaxResponse are the largest bodies, in bytes; 64 MiB and 1 GiB
	// if they are 0.
	MaxRequest, MaxResponse int64

	// Gateways are the certificates that gateways show, and whose they are.
	Gateways []Gateway
	// Viewers are who may see values.
	Viewers []Viewer
	// Anonymous lets requests through to the service that come from nobody who is
	// known, with every seal shown as [sealed]. Otherwise they are asked to sign in.
	Anonymous bool
	// ServiceTokenSHA256 are the SHA-256, in lower-case hexadecimal, of bearer tokens
	// by which the service ends sessions and confirms erasures.
	ServiceTokenSHA256 []string
	// RevealsPerMinute is how many different seals one viewer may see as values in a
	// minute; 600 if it is 0.
	RevealsPerMinute int
	// MaxIdentifiers is how many identifiers of one tenant are registered at the
	// most; 10,000,000 if it is 0.
	MaxIdentifiers int64
	// Erase is how the service is told to erase.
	Erase Erase

	// Server bounds connections of all edges.
	Server http1.Timeouts
	// ConnLimit is how many connections each edge has at the most; http1's default if it is 0.
	ConnLimit int
	// Logger takes what no entry or receipt is for; nil discards it.
	Logger *slog.Logger
	// Metrics counts; nil counts for nobody.
	Metrics *Metrics
	// Now is the wall clock; nil is time.Now.
	Now func() time.Time
}

// Gateway is one client certificate's SPIFFE id and the tenant it speaks for.
type Gateway struct {
	Tenant isogate.Tenant
	SPIFFE string // spiffe://trust-domain/path
}

// Landing has the edges. It is safe for concurrent use; New starts nothing.
type Landing struct {
	cfg      Config
	service  *upstream
	gateways map[string]isogate.Tenant // by SPIFFE id
	tenants  []isogate.Tenant
	register *register
	erasures *erasures
	viewers  *viewers
	tokens   [][32]byte // of the service
	meter    *meter
	page     *signInPage
	logger   *slog.Logger
	metrics  *Metrics
	now      func() time.Time
}

const (
	defaultMaxRequest  = 64 << 20
	defaultMaxResponse = 1 << 30
	defaultReveals     = 600
	defaultIdentifiers = 10_000_000
)

// New makes a landing and opens its register.
func New(cfg Config) (_ *Landing, err error) {
	if cfg.Vault == nil || cfg.Signer == nil || cfg.Dial == nil || cfg.Dir == "" || cfg.Destination == "" {
		return nil, errors.New("landing: a vault, a destination, a signer, a directory and a way to dial are all needed")
	}
	cfg.MaxRequest, cfg.MaxResponse = or(cfg.MaxRequest, defaultMaxRequest), or(cfg.MaxResponse, defaultMaxResponse)
	cfg.RevealsPerMinute, cfg.MaxIdentifiers = or(cfg.RevealsPerMinute, defaultReveals), or(cfg.MaxIdentifiers, defaultIdentifiers)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics()
	}
	l := &Landing{cfg: cfg, logger: cfg.Logger, metrics: cfg.Metrics, now: cfg.Now, page: newSignInPage(string(cfg.Destination)),
		meter: newMeter(cfg.RevealsPerMinute, cfg.Now)}
	if l.service, err = newUpstream(&cfg); err != nil {
		return nil, err
	}
	if l.gateways, l.tenants, err = gatewaysOf(cfg.Gateways); err != nil {
		return nil, err
	}
	if l.viewers, err = newViewers(cfg.Viewers, cfg.Now); err != nil {
		return nil, err
	}
	if l.tokens, err = digests("service tokens", cfg.ServiceTokenSHA256); err != nil {
		return nil, err
	}
	var store *store
	if db := cfg.Vault.Database(); db != nil {
		store = openSharedStore(db)
	} else if store, err = openStore(cfg.Dir); err != nil {
		return nil, err
	}
	l.register, err = newRegister(store, cfg.MaxIdentifiers, cfg.Now)
	if err == nil {
		l.erasures, err = newErasures(l, store)
	}
	if err != nil {
		return nil, errors.Join(err, store.close())
	}
	return l, nil
}

func or[T int | int64](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

// Run calls the service about erasures and writes down what may wait, until ctx
// ends.
func (l *Landing) Run(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.register.run(ctx)
	}()
	l.erasures.run(ctx)
	<-done
	return nil
}

// Ready reports why no request should be taken, if so.
func (l *Landing) Ready() error { return errors.Join(l.cfg.Vault.Ready(), l.register.ready()) }

// Close closes the register. The edges and Run must have ended.
func (l *Landing) Close() error {
	l.erasures.forget()
	l.service.client.CloseIdle()
	return l.register.close()
}

// ServeGateways serves the gateways' edge on ln until ctx ends: see
// [http1.Server.Serve]. The config needs a certificate and ClientCAs; a client
// certificate is demanded whatever it says.
//
// promise: P16
func (l *Landing) ServeGateways(ctx context.Context, ln net.Listener, config *tls.Config) error {
	if config == nil || config.ClientCAs == nil {
		return errors.New("landing: the gateways' edge needs TLS and the authorities of client certificates; set gateways.tls")
	}
	config = config.Clone()
	config.ClientAuth = tls.RequireAndVerifyClientCert
	config.MinVersion = max(config.MinVersion, tls.VersionTLS13)
	s := l.server(gatewayEdge{l}, config)
	s.Limits.Line, s.Limits.Header = seal.MaxFields, http1.DefaultHeader+seal.MaxFields // all members may be in one line
	return s.Serve(ctx, ln)
}

// ServeViewers serves the viewers' edge. Without TLS it only listens on loopback:
// a token or cookie that is read on the way opens what its owner may see.
func (l *Landing) ServeViewers(ctx context.Context, ln net.Listener, config *tls.Config) error {
	if err := private(ln, config, "viewers"); err != nil {
		return err
	}
	return l.server(viewerEdge{l}, config).Serve(ctx, ln)
}

// ServeService serves the edge for the service's own programs. Without TLS it only
// listens on loopback.
func (l *Landing) ServeService(ctx context.Context, ln net.Listener, config *tls.Config) error {
	if err := private(ln, config, "service"); err != nil {
		return err
	}
	return l.server(serviceEdge{l}, config).Serve(ctx, ln)
}

func private(ln net.Listener, config *tls.Config, edge string) error {
	if config != nil {
		return nil
	}
	if a, ok := ln.Addr().(*net.TCPAddr); ok && a.IP.IsLoopback() {
		return nil
	}
	return fmt.Errorf("landing: the %s' edge would listen on %s without TLS; set %[1]s.tls, or listen on 127.0.0.1", edge, ln.Addr())
}

func (l *Landing) server(h http1.Handler, config *tls.Config) *http1.Server {
	return &http1.Server{
		Handler: h, TLS: config, Timeouts: l.cfg.Server, ConnLimit: l.cfg.ConnLimit, Logger: l.logger, Wipe: true,
		Limits: http1.Limits{Body: l.cfg.MaxRequest, Fields: 200},
	}
}

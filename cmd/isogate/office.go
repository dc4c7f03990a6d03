package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/hub"
	"github.com/isogate/isogate/internal/policy"
)

// office is what serve runs for administrators: the ledger, and the API over it.
type office struct {
	ledger *consent.Ledger
	api    http.Handler
	pages  http.Handler
	pack   atomic.Pointer[policy.Pack]     // in force, for what prompts say
	since  atomic.Int64                    // when that was loaded, in milliseconds since 1970
	cert   atomic.Pointer[tls.Certificate] // of the hub's listener; nil without TLS

	ran chan error // what became of the ledger; it has one element once it ended
}

// newOffice makes it, once the journal is open and what the outside holds is known. It starts nothing.
func (s *server) newOffice(pack *policy.Pack) (*office, error) {
	o := &office{ran: make(chan error, 1)}
	o.inForce(pack, s.now())
	if err := s.loadHubCertificate(o); err != nil {
		return nil, err
	}
	var err error
	if o.ledger, err = newLedger(s.cfg, s.journal, s.logger, s.now); err != nil {
		return nil, err
	}
	h, err := hub.New(hub.Config{Tenant: s.cfg.Tenant, Ledger: o.ledger, Describe: describer{pack: o.pack.Load, now: s.now, sources: s.cfg.senders}.describe,
		Administrators: s.cfg.administrators(), Custody: custodian{s.custody}, Running: standing{s}, Logger: s.logger, Now: s.now})
	if err != nil {
		return nil, err
	}
	o.api, o.pages = h.API(), h.Pages()
	return o, nil
}

// inForce takes the pack that requests are judged by from now on.
func (o *office) inForce(pack *policy.Pack, now time.Time) {
	if was := o.pack.Swap(pack); was == nil || was.Plan().Digest != pack.Plan().Digest {
		o.since.Store(now.UnixMilli())
	}
}

// loadHubCertificate reads the certificate of the hub's listener, if it has one.
func (s *server) loadHubCertificate(o *office) error {
	if s.cfg.Hub.TLS.Cert == "" {
		return nil
	}
	pair, err := loadPair("hub.tls", s.cfg.Hub.TLS.Cert, s.cfg.Hub.TLS.Key, s.now())
	if err != nil {
		return err
	}
	o.cert.Store(pair)
	return nil
}

// run runs the ledger until ctx ends. It must outlive the doors: what drains is
// judged by it.
func (o *office) run(ctx context.Context) { o.ran <- o.ledger.Run(ctx) }

// failed waits until ctx ends, or what runs beside the doors has stopped by itself.
// What became of it goes back into ran.
func failed(ctx context.Context, what string, ran chan error) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-ran:
		ran <- err
		if err == nil {
			err = errors.New(what + " stopped")
		}
		return err
	}
}

// tls is that of the hub's listener, or nil.
func (o *office) tls() *tls.Config {
	if o.cert.Load() == nil {
		return nil
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return o.cert.Load(), nil },
	}
}

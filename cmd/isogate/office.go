package main

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/change"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/hub"
	"github.com/isogate/isogate/internal/policy"
)

// office is what serve runs for people: the ledger, who they are, and the Hub over both.
type office struct {
	ledger *consent.Ledger
	book   *change.Book // which packs were proposed and approved
	desk   *access.Desk // nil where nobody can sign in, as what they sent would cross a network readable
	url    *url.URL     // where browsers find the Hub
	// provider says that people sign in by OpenID Connect.
	provider bool
	api      http.Handler
	pages    http.Handler
	pack     atomic.Pointer[policy.Pack]     // in force, for what prompts say
	since    atomic.Int64                    // when that was loaded, in milliseconds since 1970
	cert     atomic.Pointer[tls.Certificate] // of the hub's listener; nil without TLS

	logger *slog.Logger

	ran chan error // what became of the ledger; it has one element once it ended
}

// newOffice makes it, once the journal is open and what the outside holds is known. It starts nothing.
func (s *server) newOffice(pack *policy.Pack) (*office, error) {
	o := &office{ran: make(chan error, 1), logger: s.logger}
	o.inForce(pack, s.now())
	if err := s.loadHubCertificate(o); err != nil {
		return nil, err
	}
	var err error
	if o.ledger, err = newLedger(s.cfg, s.journal, s.logger, s.now); err != nil {
		return nil, err
	}
	o.book = change.New(journalPacks{s.journal})
	o.url, o.provider = s.cfg.hubURL(listensAt(s.hub)), s.cfg.Hub.OIDC.Issuer != ""
	if s.cfg.inPlain() {
		s.logger.Warn("nobody can sign in at the Hub: it listens beyond this machine without TLS; give hub.tls, or listen on 127.0.0.1")
	} else if o.desk, err = newDesk(s.cfg, s.journal, s.logger, s.now); err != nil {
		return nil, err
	}
	provider, err := s.newProvider(o)
	if err != nil {
		return nil, err
	}
	var keys *access.Passkeys
	if o.desk != nil {
		if keys, err = access.NewPasskeys(o.url, "Isogate "+string(s.cfg.Tenant), s.now); err != nil {
			s.logger.Info("nobody can add a passkey", slog.Any("why", err))
		}
	}
	h, err := hub.New(hub.Config{Tenant: s.cfg.Tenant, Ledger: o.ledger, Describe: describer{pack: o.pack.Load, now: s.now, sources: s.cfg.senders}.describe,
		Desk: o.desk, Provider: provider, Passkeys: keys, URL: o.url, Custody: custodian{s.custody}, Trail: s.trail, Open: s.underway, Running: standing{s},
		Journal: s.journal, Packs: s.archive, Policies: hub.Policies{InForce: o.pack.Load, Archive: s.archive, Changes: o.book, Approvals: s.cfg.Packs.Approvals},
		Evidence: s.evidence(), Logger: s.logger, Now: s.now})
	if err != nil {
		return nil, err
	}
	o.api, o.pages = h.API(), h.Pages()
	return o, nil
}

// underway is how much of a party the gateway has under way by grants.
func (s *server) underway(party consent.Party) int { return s.gate.Underway(party) }

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

// run runs the ledger and the desk until ctx ends. They must outlive the doors: what
// drains is judged by the ledger.
func (o *office) run(ctx context.Context) {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return o.ledger.Run(ctx) })
	if o.desk != nil {
		g.Go(func() error { return o.desk.Run(ctx) })
	}
	g.Go(func() error {
		// Pages say that it is not known; what leaves does not depend on it.
		if err := o.book.Run(ctx); err != nil {
			o.logger.Error("which packs are proposed and approved is not followed any more", slog.Any("error", err))
		}
		return nil
	})
	o.ran <- g.Wait()
}

// listensAt is where a listener listens, nil if there is none.
func listensAt(l net.Listener) net.Addr {
	if l == nil {
		return nil
	}
	return l.Addr()
}

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

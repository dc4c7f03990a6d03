package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/gateway"
	"github.com/isogate/isogate/internal/http1"
	"github.com/isogate/isogate/internal/tenant"
)

// remotes is the second door as serve runs it: the listener for apps, over TLS
// or on loopback, and the authority that it inspects by.
type remotes struct {
	listener net.Listener
	server   *http1.Server
	h2       *gateway.HTTP2
	certs    *certificates // nil without TLS
}

// interception is the tenant's authority of now. It is there before the door is,
// because the gateway is made with it; without one, nothing is inspected.
type interception struct {
	current atomic.Pointer[tenant.Authority]
}

// Leaf implements [gateway.Authority].
func (i *interception) Leaf(host string, now time.Time) (*tls.Certificate, error) {
	a := i.current.Load()
	if a == nil {
		return nil, errors.New("there is no interception authority; make one: isogate tenant intercept create")
	}
	return a.Leaf(host, now)
}

// expiresSoon is how long before its end an authority is warned of.
const expiresSoon = 30 * 24 * time.Hour

// loadInterception reads the tenant's authority, where the second door is open
// and it is not the one in force. The answer is whether there is a new one.
func (s *server) loadInterception() (bool, error) {
	if s.cfg.Gateway.Remotes.Listen == "" {
		return false, nil
	}
	if was := s.intercept.current.Load(); was != nil && !was.Stale() {
		return false, nil
	}
	a, err := s.keys.Authority()
	if errors.Is(err, fs.ErrNotExist) {
		s.logger.Warn("there is no interception authority: apps get out by tunnels alone", slog.String("next", "isogate tenant intercept create"))
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if left := a.NotAfter().Sub(s.now()); left < expiresSoon {
		s.logger.Warn("the interception authority ends soon", slog.Time("at", a.NotAfter()), slog.String("next", "isogate tenant intercept rotate"))
	}
	s.intercept.current.Store(a)
	return true, nil
}

func interceptEntry(a *tenant.Authority) *isogate.Entry {
	return &isogate.Entry{Kind: isogate.KindKey, Actor: "isogate serve", Act: "interception authority loaded",
		Detail: map[string]string{"fingerprint": a.Fingerprint(), "not_after": a.NotAfter().UTC().Format(time.RFC3339)}}
}

// listenRemotes binds the second door, if it is configured. It starts nothing.
func (s *server) listenRemotes() error {
	rc := s.cfg.Gateway.Remotes
	if rc.Listen == "" {
		return nil
	}
	r := &remotes{}
	var err error
	if rc.TLS.Cert != "" {
		if r.certs, err = loadCertificates("gateway.remotes.tls", rc.TLS, s.now()); err != nil {
			return err
		}
	}
	if r.listener, err = net.Listen("tcp", rc.Listen); err != nil {
		return fmt.Errorf("gateway.remotes.listen: %w; stop what listens there, or choose another port", err)
	}
	if a, ok := r.listener.Addr().(*net.TCPAddr); ok && r.certs == nil && !a.IP.IsLoopback() {
		_ = r.listener.Close()
		return fmt.Errorf("gateway.remotes.listen: %s is no loopback address, and tokens would cross the network in the clear; give gateway.remotes.tls", rc.Listen)
	}
	s.remotes = r
	return nil
}

// serveRemotes makes the second door's server, once the gateway is there.
func (s *server) serveRemotes() {
	r := s.remotes
	if r == nil {
		return
	}
	door := s.gate.Remotes()
	r.server = s.newDoor(door)
	r.server.Forms = http1.OriginForm | http1.AbsoluteForm | http1.AuthorityForm // the first to be refused with a reason
	if r.certs != nil {
		r.h2 = door.HTTP2()
		r.server.TLS = r.certs.config()
		r.server.NextProto = map[string]http1.Protocol{"h2": r.h2.Serve}
		r.server.Draining = r.h2.Drain
	}
}

// newDoor is a server with the limits that both doors have.
func (s *server) newDoor(h http1.Handler) *http1.Server {
	l := s.cfg.Gateway.Limits
	return &http1.Server{
		Handler:   h,
		Limits:    http1.Limits{Header: int(l.Header), Body: int64(l.Body)},
		Timeouts:  http1.Timeouts{Drain: time.Duration(s.cfg.Gateway.Drain)},
		ConnLimit: l.Connections,
		Logger:    s.logger,
		HandshakeFailed: func(remote netip.AddrPort, err error) {
			s.logger.Info("a TLS handshake failed", slog.String("remote", remote.String()), slog.Any("error", err))
		},
	}
}

// run serves until ctx ends, and then drains. HTTP/2 outlives ctx, as what drains does.
func (r *remotes) run(ctx context.Context) error {
	g := new(errgroup.Group)
	alive, stop := context.WithCancel(context.WithoutCancel(ctx))
	g.Go(func() error {
		defer stop()
		return r.server.Serve(ctx, r.listener)
	})
	if r.h2 != nil {
		g.Go(func() error { return r.h2.Run(alive) })
	}
	return g.Wait()
}

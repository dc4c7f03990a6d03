package gateway

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/isogate/isogate/internal/http1"
)

const (
	// helloWithin is how long an app may take for its first TLS message.
	helloWithin = 10 * time.Second
	// tunnelIdle is how long a tunnel may be silent in both directions.
	tunnelIdle = 10 * time.Minute
	// tunnelWrite is how long one side may take to accept what the other sent.
	tunnelWrite = 30 * time.Second
	// leasePatience is how long a tunnel waits for the ledger before it is cut.
	leasePatience = 30 * time.Second
	leaseLook     = 10 * time.Millisecond
)

// passUnread opens a tunnel: what the app and the host say to each other under
// their own TLS passes as it is. Before the first byte of it leaves, the entry is
// durable and the app's TLS has been seen to be meant for the host that was
// granted.
//
// promise: P04
// promise: P21
func (p *passage) passUnread() {
	if p.x.Pipelined() {
		p.refuse(&refusal{status: 400, code: "pipelined", detail: "there are bytes behind the CONNECT, sent before it was answered; wait for the answer"})
		return
	}
	if p.refuse(p.spend(1, 0)) {
		return
	}
	p.in, p.body, p.scratch, p.url = nil, nil, nil, nil // a tunnel may be open for days
	p.entry.URL, p.streams = p.via.name(), true
	if p.refuse(p.record()) || p.refuse(p.still()) {
		return
	}
	outside, err := p.gate.cfg.Dial(p.ctx, "tcp", p.rules.dialAddress(p.via))
	if err != nil {
		p.refuse(p.notReached(err))
		return
	}
	defer func() { _ = outside.Close() }()
	inside, err := p.x.Tunnel(nil)
	if err != nil {
		p.close(499, "the app went away")
		return
	}
	p.status = 200
	p.gate.cfg.Metrics.tunnels.Inc()
	defer p.gate.cfg.Metrics.tunnels.Dec()
	defer func() { _ = inside.Close() }()
	t := &tunnel{p: p, inside: inside, outside: outside}
	defer context.AfterFunc(p.ctx, t.cut)()

	hello, raw, err := readHello(inside, helloWithin)
	if why := p.misled(hello, err); why != "" {
		p.close(403, why)
		p.refused = &refusal{status: 403, code: "tls", detail: why}
		return
	}
	t.last.Store(time.Now().UnixNano())
	why := t.run(raw)
	if r := p.cut(); r != nil {
		why = r.detail
	} else if why != "" && p.ctx.Err() != nil {
		why = "cut: the gateway stopped, or the connection around the tunnel ended"
	}
	p.bytesOut, p.bytesIn = t.out.Load(), t.in.Load()
	p.close(200, why)
}

// misled says what about an app's first TLS message is not as the grant has it.
func (p *passage) misled(hello clientHello, err error) string {
	switch r := p.cut(); {
	case err != nil && r != nil: // which is why the hello did not come
		return "nothing left: " + r.detail
	case err != nil:
		return "nothing left: " + err.Error()
	case hello.ServerName != p.via.host:
		return "nothing left: the TLS inside the tunnel is for another host than the CONNECT"
	}
	return ""
}

// notReached says why the host could not be connected to.
func (p *passage) notReached(err error) *refusal {
	if r := p.cut(); r != nil {
		return r
	}
	p.gate.cfg.Logger.Warn("the far side failed", slog.String("transit", p.transitName()), slog.String("entry", string(p.entry.ID)), slog.Any("error", err))
	r := farSide(err)
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		r.status = 504
	}
	return r
}

// tunnel is two connections of which each gets what the other sends.
type tunnel struct {
	p       *passage
	inside  *http1.Tunnel
	outside net.Conn
	last    atomic.Int64 // when something passed last, in Unix nanoseconds
	in, out atomic.Int64 // bytes
}

// run passes bytes until both sides have ended or one of them fails, and says
// what went wrong, "" if nothing did.
func (t *tunnel) run(first []byte) string {
	if why := t.leave(first); why != "" {
		return why
	}
	back := make(chan string, 1)
	go func() { back <- t.pass(t.inside, t.outside, t.arrive) }()
	why := t.pass(t.outside, t.inside, t.leave)
	if other := <-back; why == "" {
		why = other
	}
	return why
}

// cut ends both directions at once, so that neither side takes what it got for
// complete. It waits for nobody.
func (t *tunnel) cut() {
	if c, ok := t.outside.(*net.TCPConn); ok {
		_ = c.SetLinger(0)
	}
	_ = t.outside.Close()
	t.inside.Cut()
}

// leave sends b out, once the ledger is in touch and the budget allows it.
func (t *tunnel) leave(b []byte) string {
	if why := t.inTouch(); why != "" {
		return why
	}
	if t.p.spend(0, int64(len(b))) != nil {
		return "cut: the transit's budget is spent"
	}
	t.out.Add(int64(len(b)))
	return t.write(t.outside, b)
}

func (t *tunnel) arrive(b []byte) string {
	t.in.Add(int64(len(b)))
	return t.write(t.inside, b)
}

func (t *tunnel) write(to net.Conn, b []byte) string {
	t.last.Store(time.Now().UnixNano())
	_ = to.SetWriteDeadline(time.Now().Add(tunnelWrite))
	if _, err := to.Write(b); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return "one side did not take what the other sent"
		}
		return "one side broke off"
	}
	return ""
}

// inTouch waits while the ledger has not heard from the journal, or the journal
// cannot be written: a revocation might not have come through, or could not even
// be recorded. It costs less to wait a moment than to have every tunnel opened
// anew.
//
// promise: P23
func (t *tunnel) inTouch() string {
	if t.p.gate.mayPass() == nil {
		return ""
	}
	tick := time.NewTicker(leaseLook)
	defer tick.Stop()
	for began := time.Now(); time.Since(began) < leasePatience; {
		select {
		case <-t.p.ctx.Done():
			return "cut"
		case <-tick.C:
		}
		if t.p.gate.mayPass() == nil {
			return ""
		}
	}
	return "cut: the gateway has lost touch with the ledger of consents, or with its journal"
}

// mayPass says why nothing may pass now through what is open, or nil.
func (g *Gateway) mayPass() error {
	if err := g.cfg.Ledger.InTouch(); err != nil {
		return err
	}
	return g.cfg.Journal.Ready()
}

// pass hands what comes from one side to deliver, until its end, which it passes
// to the other side too.
func (t *tunnel) pass(to, from net.Conn, deliver func([]byte) string) (why string) {
	defer func() {
		if why != "" {
			t.cut() // wakes the other direction
		}
	}()
	for much := false; ; {
		_ = from.SetReadDeadline(time.Now().Add(tunnelIdle))
		var err error
		much, err = t.p.gate.pieces.read(from, much, func(b []byte) { why = deliver(b) })
		switch {
		case why != "":
			return why
		case err == nil:
		case errors.Is(err, io.EOF):
			if c, ok := to.(interface{ CloseWrite() error }); ok {
				_ = c.CloseWrite() // fails if that side is gone as well, which its own direction tells
				return ""
			}
			return "one side ended, and the other cannot be told"
		case errors.Is(err, os.ErrDeadlineExceeded) && time.Since(time.Unix(0, t.last.Load())) < tunnelIdle:
			// The other direction is alive.
		case errors.Is(err, os.ErrDeadlineExceeded):
			return "nothing was said for too long"
		default:
			return "one side broke off"
		}
	}
}

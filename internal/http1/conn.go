package http1

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// A connection is busy, or idle, or was idle when the server chose to end it.
const (
	busy int32 = iota
	idle
	ended
)

// conn is one connection of a server, served by one goroutine.
type conn struct {
	v      *serving
	raw    net.Conn // what was accepted
	nc     net.Conn // raw, or TLS over it
	remote netip.AddrPort
	tls    *tls.ConnectionState
	h      Handler
	forms  Form
	outer  *conn // whose tunnel this one runs in; nil when it runs in none
	free   bool  // it runs inside a connection that stays when it ends
	state  atomic.Int32
	since  atomic.Int64 // when it became idle, in Unix nanoseconds

	// Owned by the goroutine of serve, and by the exchange it runs.
	first [1]byte // of a request, while there is no buffer
	ahead bool    // bytes were sent behind CONNECT, and one may have been taken
	in    input
	p     headParser
	x     Exchange
	body  body
	rb    requestBody

	// Owned by whoever reads the body.
	waited   time.Duration // spent waiting for bytes of the body
	received int64         // of the body, framing included

	mu      sync.Mutex // guards the order of deadlines, aborted and tunnel
	aborted bool       // reads are over
	tunnel  bool       // the connection was handed over

	turn      sync.Mutex // guards answering; held while an interim response is written
	answering bool       // the final answer was begun
}

func newConn(v *serving, raw net.Conn) *conn {
	c := &conn{v: v, raw: raw, nc: raw, h: v.Handler, forms: v.Forms}
	if a, err := netip.ParseAddrPort(raw.RemoteAddr().String()); err == nil {
		c.remote = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	}
	if v.TLS != nil {
		c.nc = tls.Server(raw, v.TLS)
	}
	c.bind()
	return c
}

// bind ties the parts of the connection together.
func (c *conn) bind() {
	c.in.src, c.in.wipe = c.nc, c.v.Wipe
	c.body.in, c.body.feed = &c.in, c
	c.rb.c = c
}

// serve reads and answers requests until the connection ends.
func (c *conn) serve(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer func() { _ = c.nc.Close() }()
	c.x.ctx, c.x.c = ctx, c //nolint:fatcontext // set once for each connection
	if !c.handshake(ctx) || c.otherProtocol(ctx) {
		return
	}
	c.exchanges(ctx)
}

// exchanges reads and answers requests while there are any.
func (c *conn) exchanges(ctx context.Context) {
	c.x.ctx, c.x.c = ctx, c //nolint:fatcontext // set once for each connection
	defer c.in.release()
	for c.await() {
		if !c.exchange() {
			return
		}
	}
}

// handshake does the TLS handshake, if there is TLS.
func (c *conn) handshake(ctx context.Context) bool {
	t, ok := c.nc.(*tls.Conn)
	if !ok {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, c.v.Timeouts.Handshake)
	defer cancel()
	err := t.HandshakeContext(ctx)
	if err == nil {
		state := t.ConnectionState()
		c.tls = &state
		return true
	}
	if c.v.HandshakeFailed != nil {
		c.v.HandshakeFailed(c.remote, err)
	}
	var header tls.RecordHeaderError
	if errors.As(err, &header) && header.Conn != nil && is(header.RecordHeader[0], isToken) {
		// Somebody speaks HTTP where TLS is due, and will understand an answer.
		c.nc = c.raw
		c.begin()
		c.fault(fault(PlainText))
	}
	return false
}

// await waits for the first byte of the next request.
func (c *conn) await() bool {
	if c.in.w > c.in.r {
		return true // pipelined; while draining, its answer is the last
	}
	c.in.release()
	c.deadline(c.v.Timeouts.Idle)
	c.since.Store(time.Now().UnixNano())
	c.state.Store(idle)
	if c.v.draining.Load() {
		return false
	}
	n, err := c.nc.Read(c.first[:])
	if !c.state.CompareAndSwap(idle, busy) {
		return false
	}
	if n == 0 || err != nil {
		return false
	}
	c.in.take()
	c.in.buf[0], c.in.w = c.first[0], 1
	return true
}

// endIfIdle ends the connection if it waits for a request.
func (c *conn) endIfIdle() {
	if c.state.CompareAndSwap(idle, ended) {
		_ = c.raw.SetReadDeadline(longAgo)
	}
}

var longAgo = time.Unix(1, 0)

// begin makes the exchange ready for the next request.
func (c *conn) begin() {
	c.p.reset()
	c.body.start(0, &c.v.Limits)
	c.waited, c.received = 0, 0
	c.mu.Lock()
	c.aborted = false
	c.mu.Unlock()
	header := c.x.Request.Header[:0]
	c.x.phase, c.x.closing = unanswered, false
	c.x.Request = Request{Header: header, Body: &c.rb, TLS: c.tls, Remote: c.remote, Minor: 1}
	c.x.out = response{x: &c.x}
	c.turn.Lock()
	c.answering = false
	c.turn.Unlock()
}

// exchange reads one request and has it answered. It reports whether another
// may follow.
func (c *conn) exchange() bool {
	c.begin()
	if f := c.head(); f != nil {
		c.fault(f)
		return false
	}
	c.handle(func() { c.h.ServeExchange(&c.x) })
	return c.finish(500)
}

// head reads the head of the request into the exchange.
func (c *conn) head() *Fault {
	r := &c.x.Request
	lim := &c.v.Limits
	for armed := false; ; {
		n, f := c.p.parse(c.in.buffered(), lim, c.forms)
		if f == nil && n == 0 {
			if !armed {
				c.deadline(c.v.Timeouts.Head)
				armed = true
			}
			if f = headFault(c.in.more(lim.Header + 1)); f == nil {
				continue
			}
		}
		if f != nil {
			if f.Detail == "" {
				f.Detail = c.p.position()
			}
			r.Received = time.Now()
			c.p.partial(r, string(c.in.buffered()))
			return f
		}
		r.Received = time.Now()
		head := string(c.in.buffered()[:n])
		c.in.r += n
		if f = c.p.request(r, head, lim, c.forms); f != nil {
			return f
		}
		c.body.start(r.ContentLength, lim)
		c.received = int64(c.in.w - c.in.r)
		if c.p.expect && c.in.r == c.in.w {
			c.body.begin = c.x.out.interim
		}
		return nil
	}
}

func headFault(err error) *Fault {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errFull):
		return fault(HeaderTooLarge)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fault(HeadTimeout)
	}
	return fault(HeadTruncated)
}

// fault has a malformed request answered and ends the connection.
func (c *conn) fault(f *Fault) {
	c.x.closing = true
	c.body.start(0, &c.v.Limits)
	c.handle(func() { c.h.ServeFault(&c.x, f) })
	c.finish(f.Status)
}

// handle calls the handler. A panic ends this connection, not the program; what
// it carried may be payload, so only where it happened is logged.
func (c *conn) handle(call func()) {
	defer func() {
		if recover() != nil {
			c.x.closing = true
			if c.x.phase == streaming || c.x.phase == tunnelled {
				c.x.phase = failed
			}
			c.v.Logger.Error("a handler panicked", slog.String("stack", string(debug.Stack())))
		}
	}()
	call()
}

// finish brings the answer to its end, answering status if there is none yet,
// and reports whether the connection can be used further.
func (c *conn) finish(status int) bool {
	x := &c.x
	if x.phase == unanswered {
		x.closing = true
		_ = x.Respond(status, nil, nil)
	}
	c.mu.Lock()
	closing := x.closing || c.aborted
	c.mu.Unlock()
	x.out.release()
	switch {
	case x.phase == tunnelled:
		return false
	case x.phase != answered:
		c.cut()
		return false
	case x.out.last || closing:
		// A client whose CONNECT is refused may have gone on talking already.
		if !closing && c.body.settled() && c.in.r == c.in.w && x.Request.Method != "CONNECT" {
			return false // the client asked for the end and has said all
		}
		c.linger()
		return false
	}
	return true
}

// cut ends the connection so that the client sees an incomplete answer.
func (c *conn) cut() {
	if t, ok := c.raw.(interface{ SetLinger(sec int) error }); ok { // a *net.TCPConn, or what stands for one
		_ = t.SetLinger(0)
	}
	_ = c.raw.Close()
}

// linger ends the connection from our side and reads on for a while: closing
// with unread bytes would reset the connection, and could take the answer away
// from the client before it has read it (RFC 9112, 9.6).
func (c *conn) linger() {
	_ = c.raw.SetReadDeadline(time.Now().Add(c.v.Timeouts.Linger))
	if c.outer != nil {
		_ = c.closeWrite()
		_ = c.outer.closeWrite()
	} else if t, ok := c.nc.(*tls.Conn); ok {
		_ = t.CloseWrite()
	}
	if shut(c.raw) != nil {
		return
	}
	c.in.take()
	for left := max(c.v.Limits.Body, 1<<20); left > 0; {
		n, err := c.raw.Read(c.in.buf)
		if err != nil {
			return
		}
		left -= int64(n)
	}
}

// closeWrite ends our direction, and leaves the client's open.
func (c *conn) closeWrite() error { return shut(c.nc) }

var errNoCloseWrite = errors.New("the connection cannot end one direction alone")

func shut(nc net.Conn) error {
	if t, ok := nc.(interface{ CloseWrite() error }); ok {
		return t.CloseWrite()
	}
	return errNoCloseWrite
}

// stop ends the connection from outside, at once.
func (c *conn) stop() {
	c.mu.Lock()
	tunnel := c.tunnel || c.outer != nil
	c.mu.Unlock()
	if tunnel {
		c.cut() // what went through it must not be taken for complete
		return
	}
	_ = c.raw.Close()
}

// deadline bounds the next reads.
func (c *conn) deadline(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := longAgo
	if !c.aborted {
		t = time.Now().Add(d)
	}
	_ = c.raw.SetReadDeadline(t)
}

// abort ends reading for good, a read that is under way included. A tunnel is
// cut off.
func (c *conn) abort() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.aborted = true
	if c.tunnel {
		c.cut()
		return
	}
	_ = c.raw.SetReadDeadline(longAgo)
}

// feed implements [feeder]: each wait is bounded, and so is their sum in
// proportion to what came in.
func (c *conn) feed(max int) error {
	return c.timed(func() (int, error) {
		before := c.in.w - c.in.r
		err := c.in.more(max)
		return c.in.w - c.in.r - before, err
	})
}

// direct implements [feeder].
func (c *conn) direct(p []byte) (n int, err error) {
	err = c.timed(func() (int, error) {
		n, err = c.nc.Read(p)
		return n, err
	})
	return n, err
}

func (c *conn) timed(read func() (int, error)) error {
	t := &c.v.Timeouts
	earned := time.Duration(float64(c.received) / float64(t.Rate) * float64(time.Second))
	c.deadline(min(t.Body, t.Body+earned-c.waited))
	begin := time.Now()
	n, err := read()
	c.waited += time.Since(begin)
	c.received += int64(n)
	return err
}

// bodyFault says what an error of reading a body means to the client.
func (c *conn) bodyFault(err error) error {
	var f *Fault
	switch {
	case err == io.EOF || errors.As(err, &f): //nolint:errorlint // body returns it as it is
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.aborted {
			return fault(BodyAborted)
		}
		return fault(BodyTimeout)
	}
	return fault(BodyTruncated)
}

package http1

import (
	"context"
	"crypto/tls"
	"net"
	"time"
)

// Protocol serves a connection that speaks another protocol, from behind the TLS
// handshake to its end; the connection is closed when it returns. No deadlines
// are set. ctx ends with the connection, which is closed under it when the
// server gives up draining; see Server.Draining for the beginning of that. What
// it finds tunnelled inside the connection it can have served by outer. It is
// called on the connection's goroutine.
type Protocol func(ctx context.Context, c *tls.Conn, outer Outer)

// otherProtocol hands the connection to the protocol that was agreed on, if it
// is another than ours, and reports whether it did.
func (c *conn) otherProtocol(ctx context.Context) bool {
	t, ok := c.nc.(*tls.Conn)
	if !ok {
		return false
	}
	serve := c.v.NextProto[c.tls.NegotiatedProtocol]
	if serve == nil {
		return false
	}
	if !c.v.draining.Load() && c.raw.SetDeadline(time.Time{}) == nil {
		c.handle(func() { serve(ctx, t, Outer{c}) })
	}
	return true
}

// Outer is a connection of a server that others run inside of.
type Outer struct{ c *conn }

// Serve reads requests from nc, which runs inside the connection, and has h
// answer them, with the limits, timeouts and forms of the server. It returns, with nc closed, when the client has ended nc, when a request
// was malformed, when the server drains and no request is under way, when it
// gives up draining, or when ctx ends: that cuts off what is being read or
// written and ends the contexts of the exchanges. ConnLimit does not count nc.
//
// state is what the requests have as their TLS, the connection's address their
// Remote. Deadlines of nc, or of what is under it if it is a *tls.Conn, must
// work, and closing that may not wait. It may run beside other calls.
func (o Outer) Serve(ctx context.Context, nc net.Conn, state *tls.ConnectionState, h Handler) {
	raw := nc
	if t, ok := nc.(*tls.Conn); ok {
		raw = t.NetConn()
	}
	o.c.inside(ctx, &conn{raw: raw, nc: nc, tls: state, h: h, free: true, forms: o.c.v.Forms})
}

// Serve reads requests from nc, which came out of the exchange's Tunnel, and has
// h answer them, in origin form alone: see [Outer.Serve]. When ctx ends, the tunnel is cut off with
// nc. While no request is under way, the tunnel makes room for a new connection
// like any that is idle, if ConnLimit is reached. It panics before Tunnel.
func (x *Exchange) Serve(ctx context.Context, nc net.Conn, state *tls.ConnectionState, h Handler) {
	if x.phase != tunnelled {
		panic("http1: Exchange.Serve without a Tunnel")
	}
	x.c.inside(ctx, &conn{raw: x.c.raw, nc: nc, tls: state, h: h, outer: x.c})
}

// inside runs the inner connection in, made ready but for what it has of c.
//
// promise: P14
func (c *conn) inside(ctx context.Context, in *conn) {
	in.v, in.remote = c.v, c.remote
	if in.forms == 0 {
		in.forms = OriginForm
	}
	in.bind()
	defer func() { _ = in.nc.Close() }()
	if !c.v.enter(in) {
		return
	}
	defer c.v.leave(in)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.x.ctx, cancel)()
	// By a reset: a bare end would pass for an orderly one between two records of
	// TLS, and so in HTTP/1.0 for the end of a body.
	defer context.AfterFunc(ctx, in.cut)()
	in.exchanges(ctx)
}

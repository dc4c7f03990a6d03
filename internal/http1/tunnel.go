package http1

import (
	"errors"
	"net"
	"strings"
	"time"
)

var (
	errNotConnect = errors.New("only CONNECT is answered by a tunnel; use Respond or Stream")
	errConnect    = errors.New("CONNECT is answered 2xx by Tunnel alone; use another status to refuse it")
	errPipelined  = errors.New("the client sent bytes behind CONNECT without waiting for its answer; refuse it with 400")
	errAborted    = errors.New("the exchange was closed")
)

// Pipelined reports whether the client of a CONNECT sent more behind its head
// without having seen an answer. Such bytes belong to nobody: they were sent by
// somebody who did not know whether they would be tunnel data or the next
// request (RFC 9931, RFC 9112, 11.2), so no tunnel is opened and they are never
// read as either. Bytes that arrive while the answer is on its way cannot be
// told from later ones. It is false for other methods.
func (x *Exchange) Pipelined() bool {
	return x.Request.Method == "CONNECT" && x.phase != tunnelled && x.c.early()
}

// Tunnel answers CONNECT with 200 and header, without a length and without a
// coding (RFC 9110, 9.3.6), and hands the connection over. Timeouts of the
// server do not apply to it any more, nor does ConnLimit end it; the caller sets
// deadlines. It ends when the handler returns, when the exchange is closed, and,
// cut off together with the exchange's context, when the server gives up
// draining.
//
// What was read is dropped, so that an open tunnel holds none of this package's
// buffers: afterwards Request.Header is empty, and Target and Authority are what
// is left of the head. An error that leaves Answered false says what stands in
// the way, Pipelined among it; any other, that the client is gone.
func (x *Exchange) Tunnel(header Fields) (*Tunnel, error) {
	c := x.c
	switch {
	case x.Request.Method != "CONNECT":
		return nil, errNotConnect
	case x.phase != unanswered:
		return nil, errAnswered
	}
	if err := header.check(framing); err != nil {
		return nil, err
	}
	if c.early() {
		return nil, errPipelined
	}
	c.mu.Lock()
	aborted := c.aborted
	c.mu.Unlock()
	if aborted {
		return nil, errAborted
	}

	x.phase = streaming
	w := &x.out.w
	w.start(c.nc, c.raw, c.v.Timeouts.Write)
	b := appendStatusLine(w.buf, 200)
	if header.Count("Date") == 0 {
		b = appendField(b, "Date", c.v.now())
	}
	for i := range header {
		b = appendField(b, header[i].Name, header[i].Value)
	}
	w.buf = append(b, "\r\n"...)
	err := w.whole(nil)
	w.release()
	c.in.release()
	if err == nil {
		err = c.handOver()
	}
	if err != nil {
		x.phase = failed
		return nil, err
	}
	x.phase = tunnelled

	// What is kept of the head would keep all of it, up to Limits.Header.
	x.Request.Header = nil
	x.Request.Target, x.Request.Authority = strings.Clone(x.Request.Target), strings.Clone(x.Request.Authority)
	c.p = headParser{}
	return &Tunnel{c}, nil
}

// handOver lifts the deadlines, unless the exchange was closed meanwhile.
func (c *conn) handOver() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.aborted {
		return errAborted
	}
	c.tunnel = true
	return c.raw.SetDeadline(time.Time{})
}

// early reports whether something was received behind the head. It may take a
// byte of it, and remembers that.
func (c *conn) early() bool {
	if c.ahead || c.in.w > c.in.r {
		return true
	}
	var p peeker
	p.init(c.raw)
	if c.ahead = p.waiting(); c.ahead {
		return true
	}
	if p.rc != nil && c.nc == c.raw {
		return false
	}
	// TLS may hold bytes that the socket has not any more. A read whose deadline
	// has passed returns those, and does not wait for others.
	_ = c.raw.SetReadDeadline(longAgo)
	n, _ := c.nc.Read(c.first[:])
	c.ahead = n > 0
	return c.ahead
}

// Tunnel is the connection of a client after its CONNECT was answered. It
// implements [net.Conn]; one goroutine may read while another writes, and any
// may end it. Reads and writes go straight to the connection, over TLS or not:
// there is no buffer in between, so reading one byte to wait for data costs a
// system call and no memory.
type Tunnel struct{ c *conn }

// Read implements [net.Conn]. io.EOF says that the client ended its direction;
// writing may go on.
func (t *Tunnel) Read(p []byte) (int, error) { return t.c.nc.Read(p) }

// Write implements [net.Conn].
func (t *Tunnel) Write(p []byte) (int, error) { return t.c.nc.Write(p) }

// CloseWrite ends our direction: the client reads io.EOF, and may go on writing.
// Over TLS that is a close_notify (RFC 8446, 6.1), otherwise a FIN.
func (t *Tunnel) CloseWrite() error { return t.c.closeWrite() }

// Close ends both directions, and calls that wait in them. What was written
// still arrives, if the client sends nothing more. Over TLS the client is told,
// for which a client that does not read is waited for, 5 s at the most; Cut
// waits for nobody.
func (t *Tunnel) Close() error { return t.c.nc.Close() }

// Cut ends both directions at once by a reset, so that neither the client nor
// the program behind it takes what arrived for complete. It never waits.
func (t *Tunnel) Cut() { t.c.cut() }

// TCP returns the connection itself where there is no TLS around the tunnel, and
// nil where there is. The kernel can move bytes between it and another
// *net.TCPConn (see [net.TCPConn.ReadFrom]), at the price of a pipe, two file
// descriptors, for each direction for as long as it goes on.
func (t *Tunnel) TCP() *net.TCPConn {
	if t.c.nc != t.c.raw {
		return nil
	}
	nc, _ := t.c.raw.(*net.TCPConn)
	return nc
}

// LocalAddr implements [net.Conn].
func (t *Tunnel) LocalAddr() net.Addr { return t.c.raw.LocalAddr() }

// RemoteAddr implements [net.Conn].
func (t *Tunnel) RemoteAddr() net.Addr { return t.c.raw.RemoteAddr() }

// SetDeadline implements [net.Conn]. Over TLS nothing can be written any more
// after a write has met its deadline.
func (t *Tunnel) SetDeadline(at time.Time) error { return t.c.raw.SetDeadline(at) }

// SetReadDeadline implements [net.Conn].
func (t *Tunnel) SetReadDeadline(at time.Time) error { return t.c.raw.SetReadDeadline(at) }

// SetWriteDeadline implements [net.Conn].
func (t *Tunnel) SetWriteDeadline(at time.Time) error { return t.c.raw.SetWriteDeadline(at) }

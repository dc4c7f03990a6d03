package http1

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// clientConn is one connection of a client, used by one request at a time.
type clientConn struct {
	c      *Client
	key    poolKey
	raw    net.Conn // what was dialled
	nc     net.Conn // raw, or TLS over it
	remote netip.AddrPort
	tls    *tls.ConnectionState
	peek   peeker
	end    *endWatch     // under TLS, where responses may end with the connection
	keep   time.Duration // how long it may be kept, as far as the server said; 0 means it did not
	until  time.Time     // kept at the longest until then; owned by the pool
	spent  bool          // not to be kept; owned by the pool
	place  int           // among the used; owned by the pool

	// Owned by the request that uses the connection.
	one  [1]byte
	in   input
	p    statusParser
	body body
	w    recordWriter // owned by the sending goroutine while there is one

	mu       sync.Mutex // guards what follows, and the order of read deadlines
	sent     bool       // the request is out, or will not be sent any further
	headDone bool       // the response's head is in
}

// inlineSize is how large a request may be to be sent before its response is
// looked for: it fits into what a connection buffers. Larger ones are sent by a
// goroutine of their own, for the response may come first, and a peer that is
// not listened to may not listen either.
const inlineSize = recordSize

// sending is a request that is sent beside the reading of its response.
type sending struct {
	stop atomic.Bool   // nothing more is to be sent
	done chan struct{} // closed when it is over
	err  error         // why the request is incomplete; set before done is closed
	src  bool          // err came from Outgoing.Stream
}

// do sends out and reads the response's head. After an error the connection is gone.
func (cc *clientConn) do(ctx context.Context, out *Outgoing, reused bool) (_ *Incoming, err error) {
	stop := context.AfterFunc(ctx, func() { _ = cc.raw.Close() })
	cc.sent, cc.headDone = false, false
	cc.w.start(cc.nc, cc.raw, cc.c.timeouts.Write)
	cc.w.wipe = cc.c.Wipe
	cc.w.buf = out.appendHead(cc.w.buf, cc.key)

	var s *sending
	fail := func(kind ErrorKind, err error) (*Incoming, error) {
		stop()
		cc.close()
		s.wait(out)
		if s != nil && s.src {
			kind, err = ErrSource, s.err
		}
		sent := cc.w.wrote
		cc.release()
		cc.c.pool.drop(cc)
		return nil, &Error{Kind: kindOf(ctx, kind, err), Sent: sent, Err: err}
	}

	if out.Stream == nil && len(cc.w.buf)+len(out.Body) <= inlineSize {
		if err := cc.w.whole(out.Body); err != nil {
			cc.w.wrote = cc.w.partial > 0 || kindOf(ctx, ErrClosed, err) != ErrClosed
			return fail(ErrClosed, err)
		}
		cc.sentAll()
	} else {
		_ = cc.raw.SetReadDeadline(time.Time{}) // until it is sent
		s = &sending{done: make(chan struct{})}
		cc.w.stop = &s.stop
		go cc.send(out, s)
	}

	in := &incoming{}
	in.Reused = reused
	if kind, err := cc.head(in, out.Method); err != nil {
		return fail(kind, err)
	}
	in.cc, in.ctx, in.stop, in.out, in.s = cc, ctx, stop, out, s
	in.TLS, in.Remote, in.Body = cc.tls, cc.remote, in
	if s != nil && in.Status >= 300 {
		// The rest is not wanted (RFC 9112, 9.5), and what is not wanted does not leave.
		s.stop.Store(true)
		_ = cc.raw.SetWriteDeadline(longAgo)
	}
	if in.ContentLength == 0 {
		in.err = io.EOF
		in.end() // so that the connection is back before the caller is
	}
	return &in.Incoming, nil
}

// appendHead writes the head of the request.
func (o *Outgoing) appendHead(b []byte, key poolKey) []byte {
	b = append(b, o.Method...)
	b = append(b, ' ')
	b = append(b, o.Target...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	if ip, err := netip.ParseAddr(key.host); err == nil && ip.Is6() {
		b = append(b, '[')
		b = append(b, key.host...)
		b = append(b, ']')
	} else {
		b = append(b, key.host...)
	}
	if key.scheme == "http" && key.port != 80 || key.scheme == "https" && key.port != 443 {
		b = append(b, ':')
		b = strconv.AppendUint(b, uint64(key.port), 10)
	}
	b = append(b, "\r\n"...)
	for i := range o.Header {
		b = appendField(b, o.Header[i].Name, o.Header[i].Value)
	}
	switch {
	case o.Stream != nil && o.Length < 0:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	case o.Stream != nil:
		b = appendLength(b, o.Length)
	case len(o.Body) > 0 || o.Method == "POST" || o.Method == "PUT" || o.Method == "PATCH":
		b = appendLength(b, int64(len(o.Body)))
	}
	return append(b, "\r\n"...)
}

// send sends the request on a goroutine of its own.
func (cc *clientConn) send(out *Outgoing, s *sending) {
	defer close(s.done)
	if out.Stream == nil {
		s.err = cc.w.whole(out.Body)
	} else {
		s.src, s.err = cc.stream(out)
	}
	if s.src {
		cc.close() // the far side must not take it for complete
	}
	cc.sentAll()
}

// stream sends out.Stream. src reports that it is the stream that failed.
func (cc *clientConn) stream(out *Outgoing) (src bool, err error) {
	chunks := out.Length < 0
	piece := buffers.Get().(*[]byte)
	defer func() {
		if cc.c.Wipe {
			clear(*piece)
		}
		buffers.Put(piece)
	}()
	left := out.Length
	for {
		n, err := out.Stream.Read(*piece)
		end := err == io.EOF
		if err != nil && !end {
			return true, err
		}
		if !chunks {
			if left -= int64(n); left < 0 {
				return true, errLong
			}
			if left == 0 && !end {
				// Nothing may follow; the last piece waits until that is sure.
				var one [1]byte
				for !end {
					m, err := out.Stream.Read(one[:])
					if m > 0 {
						return true, errLong
					}
					if end = err == io.EOF; err != nil && !end {
						return true, err
					}
				}
			}
			if end && left > 0 {
				return true, errShort
			}
		}
		var trailer Fields
		if chunks && end && out.Trailer != nil {
			trailer = out.Trailer()
			if err := trailer.check(headOnly); err != nil {
				return true, err
			}
		}
		if err := cc.w.write((*piece)[:n], chunks); err != nil {
			return false, err
		}
		if err := cc.w.flush(chunks, end, trailer); err != nil || end {
			return false, err
		}
	}
}

// wait waits until nothing is sent any more, once the connection was closed.
func (s *sending) wait(out *Outgoing) {
	if s == nil {
		return
	}
	select {
	case <-s.done:
		return
	default:
	}
	if closer, ok := out.Stream.(io.Closer); ok {
		_ = closer.Close()
	}
	<-s.done
}

// sentAll starts the wait for the response.
func (cc *clientConn) sentAll() {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	cc.sent = true
	if !cc.headDone {
		_ = cc.raw.SetReadDeadline(time.Now().Add(cc.c.timeouts.Head))
	}
}

// maxInterim is how many 1xx responses may come before the final one.
const maxInterim = 8

// head reads response heads up to the final one.
func (cc *clientConn) head(in *incoming, method string) (ErrorKind, error) {
	for {
		cc.p.reset()
		var n int
		for n == 0 {
			var f *Fault
			if n, f = cc.p.parse(cc.in.buffered(), &cc.c.limits); f != nil {
				return protocolKind(f), f
			}
			if n == 0 {
				if err := cc.in.more(cc.c.limits.Header + 1); err != nil {
					return ErrClosed, err
				}
			}
		}
		head := string(cc.in.buffered()[:n])
		cc.in.r += n
		length, f := cc.p.response(&in.Incoming, head, method, cc.c.CloseDelimited, &cc.c.limits)
		if f != nil {
			return protocolKind(f), f
		}
		if in.Status >= 200 {
			cc.mu.Lock()
			cc.headDone = true
			cc.mu.Unlock()
			cc.body.start(length, &cc.c.limits)
			if in.CloseDelimited {
				cc.body.chunked, cc.body.forever = false, true
			}
			cc.keep = cc.p.keep
			return 0, nil
		}
		if in.Interim++; in.Interim > maxInterim {
			return ErrProtocol, errInterim
		}
	}
}

var errInterim = errors.New("there are too many interim responses")

func protocolKind(f *Fault) ErrorKind {
	switch f.Reason {
	case HeaderTooLarge, LineTooLong, TooManyFields, BodyTooLarge:
		return ErrTooLarge
	}
	return ErrProtocol
}

// feed implements [feeder].
func (cc *clientConn) feed(max int) error {
	_ = cc.raw.SetReadDeadline(time.Now().Add(cc.c.timeouts.Body))
	return cc.in.more(max)
}

// direct implements [feeder].
func (cc *clientConn) direct(p []byte) (int, error) {
	_ = cc.raw.SetReadDeadline(time.Now().Add(cc.c.timeouts.Body))
	return cc.nc.Read(p)
}

// close ends the connection at once.
func (cc *clientConn) close() { _ = cc.raw.Close() }

// release gives the buffers back.
func (cc *clientConn) release() {
	cc.in.release()
	cc.w.release()
}

// incoming is a response and the connection that its body comes from.
type incoming struct {
	Incoming
	cc   *clientConn     // nil once the connection went back to the pool, or was closed
	ctx  context.Context //nolint:containedctx // the request's, which a body being read is part of
	stop func() bool
	out  *Outgoing
	s    *sending
	err  error
}

// Read implements [io.Reader].
func (in *incoming) Read(p []byte) (int, error) {
	if in.err != nil {
		return 0, in.err
	}
	n, err := in.cc.body.Read(p)
	switch {
	case err == nil:
		return n, nil
	case err == io.EOF && in.CloseDelimited && in.cc.end != nil && in.cc.end.seen: //nolint:errorlint // body returns it as it is
		err = io.ErrUnexpectedEOF
	case err == io.EOF: //nolint:errorlint // body returns it as it is
		in.Trailer = append(Fields(nil), in.cc.body.trailer...)
		in.err = err
		in.end()
		return n, err
	}
	kind := ErrClosed
	var f *Fault
	if errors.As(err, &f) {
		kind = protocolKind(f)
	}
	in.err = &Error{Kind: kindOf(in.ctx, kind, err), Sent: true, Err: err}
	in.abandon()
	return n, in.err
}

// end puts the connection back if the request is out too.
func (in *incoming) end() {
	if in.s != nil {
		select {
		case <-in.s.done:
		default:
			return // Close sees to it
		}
	}
	in.giveBack()
}

func (in *incoming) giveBack() {
	cc := in.cc
	in.cc = nil
	ok := in.stop() && (in.s == nil || in.s.err == nil) && !cc.p.closing && !in.CloseDelimited && cc.in.r == cc.in.w
	cc.release()
	switch {
	case !ok:
		cc.close()
		cc.c.pool.drop(cc)
	case !cc.c.pool.put(cc, cc.c.timeouts.Idle):
		cc.close()
	}
}

// abandon closes the connection and waits until the request is not sent any more.
func (in *incoming) abandon() {
	cc := in.cc
	in.cc = nil
	in.stop()
	cc.close()
	in.s.wait(in.out)
	cc.release()
	cc.c.pool.drop(cc)
}

var errClosedBody = &Error{Kind: ErrUsage, Sent: true, Err: errors.New("the response's body was closed")}

// Close implements [io.Closer].
func (in *incoming) Close() error {
	switch {
	case in.cc == nil:
	case in.err == io.EOF && in.Status < 300: //nolint:errorlint // Read sets it as it is
		<-in.s.done // the server is content with what it has so far: it may have the rest
		in.giveBack()
	default:
		in.abandon()
	}
	if in.err == nil {
		in.err = errClosedBody
	}
	return nil
}

// endWatch notices that a connection ended without TLS's own end: crypto/tls
// takes that for an end between two records, and only the peer's word for it
// tells a complete message from a truncated one.
type endWatch struct {
	net.Conn
	seen bool
}

func (e *endWatch) Read(p []byte) (int, error) {
	n, err := e.Conn.Read(p)
	e.seen = e.seen || err != nil
	return n, err
}

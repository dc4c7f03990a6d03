package http1

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ClientTimeouts bound the parts of a request. A zero field means its default.
// The context bounds the whole.
type ClientTimeouts struct {
	Dial      time.Duration // 10 s
	Handshake time.Duration // the TLS handshake; 10 s
	Head      time.Duration // from the last byte of the request to the last of the response's head; 30 s
	Body      time.Duration // the longest silence inside a response's body; 30 s
	Write     time.Duration // for each 256 KiB written; 30 s
	Idle      time.Duration // a kept connection; 4 s, below the 5 s after which common servers hang up
}

func (t ClientTimeouts) orDefaults() ClientTimeouts {
	return ClientTimeouts{
		Dial:      or(t.Dial, 10*time.Second),
		Handshake: or(t.Handshake, 10*time.Second),
		Head:      or(t.Head, 30*time.Second),
		Body:      or(t.Body, 30*time.Second),
		Write:     or(t.Write, 30*time.Second),
		Idle:      or(t.Idle, 4*time.Second),
	}
}

// Client sends requests over kept connections. Its fields may not change once
// it was used. It starts no goroutine for a request of up to 16 KiB, nor for a
// kept connection.
type Client struct {
	// Dial opens connections; required. See the remote package's Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// TLS is for https. A copy is used, with ALPN restricted to http/1.1 and the
	// server's name set; nil verifies against the system's roots.
	TLS *tls.Config
	// Limits bound a response; their Target means nothing.
	Limits Limits
	// Timeouts bound the parts of a request.
	Timeouts ClientTimeouts
	// MaxIdlePerHost is how many connections are kept per destination; 0 means 64.
	MaxIdlePerHost int
	// CloseDelimited accepts responses whose body ends with the connection, and
	// with TLS's own end where there is TLS. Without TLS they cannot be told from
	// truncated ones; they say so in Incoming.CloseDelimited.
	CloseDelimited bool
	// Wipe is Server.Wipe for the client's buffers.
	Wipe bool

	once     sync.Once // sets what follows
	timeouts ClientTimeouts
	limits   Limits
	tls      *tls.Config
	pool     pool
}

// Outgoing is a request to send. Host, Content-Length, Transfer-Encoding,
// Connection and their kin are written by the client and may not be in Header.
type Outgoing struct {
	Scheme     string // "http" or "https"
	Host       string // a DNS name or an IP address without brackets
	Port       uint16 // 0 means the scheme's own
	ServerName string // the name that the server's certificate must have; "" means Host

	Method string
	Target string // path and query, as they are to be sent
	Header Fields // sent in this order, after Host

	// Body is sent with its length, when Stream is nil. No body and a method that
	// usually has one (POST, PUT, PATCH) is sent as "Content-Length: 0".
	Body []byte
	// Stream, when set, is sent instead: Length bytes, or in chunks when Length is
	// -1; each piece that it yields is sent at once. An error of Stream, and more
	// or fewer bytes than Length, cut the request off so that the far side sees
	// that it is incomplete. If it is an io.Closer it is closed when its rest is
	// not wanted, which must make a blocked Read return. It is not read any more
	// once Do has failed or the response's body was closed.
	Stream io.Reader
	Length int64
	// Trailer, when set, is called after the last byte of a chunked Stream.
	Trailer func() Fields
}

// Incoming is the response to a request.
type Incoming struct {
	Status        int
	Header        Fields // without the fields that belong to the connection alone
	ContentLength int64  // -1 when it is not known beforehand
	// Body is never nil and must be closed. Closing it before its end closes the
	// connection. Errors that are not io.EOF are *Error.
	Body io.ReadCloser
	// Trailer is what followed a chunked body; set once Body has returned io.EOF.
	Trailer Fields

	CloseDelimited bool                 // the body ends with the connection
	TLS            *tls.ConnectionState // nil without TLS
	Remote         netip.AddrPort       // the address really connected to
	Reused         bool                 // the connection had been used before
	Interim        int                  // how many 1xx responses came first
}

// ReadBody appends the whole body to dst and closes it.
func (in *Incoming) ReadBody(dst []byte) ([]byte, error) {
	dst, err := readAll(in.Body, in.ContentLength, dst)
	return dst, errors.Join(err, in.Body.Close())
}

// Do sends a request and returns the response once its head is there. An error
// is an *Error; then there is nothing to close. Nothing is ever sent twice,
// unless a kept connection turned out to be closed before it took the first
// piece of the request, of which the far side then cannot have seen anything.
//
// A response that comes before the request was sent completely is returned, and
// the rest is still sent while its body is read; when that ends, or is closed,
// first, what is left of the request is sent only if the status is below 300.
func (c *Client) Do(ctx context.Context, out *Outgoing) (*Incoming, error) {
	c.once.Do(c.init)
	if err := out.check(); err != nil {
		return nil, &Error{Kind: ErrUsage, Err: err}
	}
	key := out.key()
	for {
		cc := c.pool.get(key)
		reused := cc != nil
		if !reused {
			var err error
			if cc, err = c.dial(ctx, key); err != nil {
				return nil, err
			}
		}
		in, err := cc.do(ctx, out, reused)
		var e *Error
		if reused && errors.As(err, &e) && e.Kind == ErrClosed && !e.Sent {
			continue // each turn takes one connection out of the pool
		}
		return in, err
	}
}

// CloseIdle closes the connections that are kept.
func (c *Client) CloseIdle() {
	c.once.Do(c.init)
	c.pool.closeAll()
}

// CloseHost closes the kept connections to a host, written as in
// Outgoing.Host, and a port, of which 0 means any; it is for what may not be
// reached any more. Connections to there that requests are using, or that are
// being dialled for some, are closed instead of kept when those have ended; ending
// them earlier is done by their contexts.
//
// promise: P14
func (c *Client) CloseHost(host string, port uint16) {
	c.once.Do(c.init)
	c.pool.closeIf(func(k poolKey) bool { return equalFold(k.host, host) && (port == 0 || k.port == port) })
}

func (c *Client) init() {
	c.timeouts, c.limits = c.Timeouts.orDefaults(), c.Limits.orDefaults()
	c.tls = &tls.Config{MinVersion: tls.VersionTLS12}
	if c.TLS != nil {
		c.tls = c.TLS.Clone()
	}
	c.tls.NextProtos = []string{"http/1.1"}
	c.tls.DynamicRecordSizingDisabled = true // a request of up to 16 KiB is one record
	c.pool.max = or(c.MaxIdlePerHost, 64)
}

// poolKey is what two requests must have in common to use the same connection.
type poolKey struct {
	scheme, host, server string
	port                 uint16
}

func (o *Outgoing) key() poolKey {
	k := poolKey{o.Scheme, o.Host, o.ServerName, o.Port}
	if k.server == "" {
		k.server = k.host
	}
	if k.port == 0 {
		k.port = 80
		if k.scheme == "https" {
			k.port = 443
		}
	}
	return k
}

// dial opens a connection and does the TLS handshake.
func (c *Client) dial(ctx context.Context, key poolKey) (*clientConn, error) {
	cc := &clientConn{c: c, key: key}
	c.pool.use(cc) // it may be said meanwhile that it is not to be kept
	if err := cc.dial(ctx); err != nil {
		c.pool.drop(cc)
		return nil, err
	}
	return cc, nil
}

func (cc *clientConn) dial(ctx context.Context) error {
	c, key := cc.c, cc.key
	if c.Dial == nil {
		return &Error{Kind: ErrUsage, Err: errors.New("the client has no Dial; set Client.Dial")}
	}
	dctx, cancel := context.WithTimeout(ctx, c.timeouts.Dial)
	defer cancel()
	raw, err := c.Dial(dctx, "tcp", net.JoinHostPort(key.host, strconv.Itoa(int(key.port))))
	if err != nil {
		return &Error{Kind: kindOf(ctx, ErrDial, err), Err: err}
	}
	cc.raw, cc.nc = raw, raw
	if a, err := netip.ParseAddrPort(raw.RemoteAddr().String()); err == nil {
		cc.remote = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	}
	if key.scheme == "https" {
		config := c.tls.Clone()
		config.ServerName = key.server
		under := raw
		if c.CloseDelimited {
			cc.end = &endWatch{Conn: raw}
			under = cc.end
		}
		t := tls.Client(under, config)
		hctx, cancel := context.WithTimeout(ctx, c.timeouts.Handshake)
		defer cancel()
		if err := t.HandshakeContext(hctx); err != nil {
			_ = raw.Close()
			return &Error{Kind: kindOf(ctx, ErrTLS, err), Err: err}
		}
		state := t.ConnectionState()
		cc.nc, cc.tls = t, &state
	}
	cc.in.src, cc.in.wipe = cc.nc, c.Wipe
	cc.peek.init(raw)
	cc.body.in, cc.body.feed = &cc.in, cc
	return nil
}

// check refuses what cannot be sent, or would be read differently from how it
// was meant. What the target means is the caller's to judge; here it may only
// not end early.
func (o *Outgoing) check() error {
	if o.Scheme != "http" && o.Scheme != "https" {
		return fmt.Errorf("the scheme is %.20q; use http or https", o.Scheme)
	}
	if _, err := netip.ParseAddr(o.Host); err != nil && (!validHost(o.Host) || strings.Contains(o.Host, ":")) {
		return errors.New("the host is not a DNS name or IP address")
	}
	if strings.Contains(o.Host, "%") {
		return errors.New("the host has a zone")
	}
	if o.Method == "" || !all(o.Method, isToken) || o.Method == "CONNECT" {
		return fmt.Errorf("the method %.20q cannot be sent", o.Method)
	}
	if o.Target == "" || o.Target[0] != '/' {
		return errors.New("the target does not begin with /")
	}
	for i := range len(o.Target) {
		if c := o.Target[i]; c <= ' ' || c >= 0x7f || c == '#' || c == '\\' {
			return fmt.Errorf("the target has a byte at %d that must be percent-encoded", i)
		}
	}
	return o.Header.check(framing | set(kHost, kExpect))
}

// kindOf tells timeouts and cancellations from other errors.
func kindOf(ctx context.Context, other ErrorKind, err error) ErrorKind {
	var ne net.Error
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return ErrCanceled
	case ctx.Err() != nil, errors.Is(err, context.DeadlineExceeded), errors.As(err, &ne) && ne.Timeout():
		return ErrTimeout
	}
	return other
}

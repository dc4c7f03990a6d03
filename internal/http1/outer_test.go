package http1_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isogate/isogate/internal/http1"
)

// opened is a handler that takes the TLS inside its tunnels off, and has h
// answer the requests. ctx, when set, is what Serve gets.
func opened(t testing.TB, inner *tls.Config, ctx func(x *http1.Exchange) context.Context, h http1.Handler) handler {
	return tunnels(t, func(x *http1.Exchange, tunnel *http1.Tunnel) {
		c := tls.Server(tunnel, inner)
		if err := c.HandshakeContext(x.Context()); err != nil {
			return
		}
		state := c.ConnectionState()
		within := x.Context()
		if ctx != nil {
			within = ctx(x)
		}
		x.Serve(within, c, &state, h)
	})
}

// innerTLS is without tickets, which nobody reads from a pipe before he writes.
func innerTLS(t testing.TB) *tls.Config {
	config, _ := certificates(t)
	config.SessionTicketsDisabled = true
	return config
}

// into opens a tunnel on nc and does the TLS handshake in it. Certificates are not
// looked at: a bubble's time is not theirs.
func into(t testing.TB, nc net.Conn) *tls.Conn {
	t.Helper()
	c := tls.Client(asks(t, nc), &tls.Config{ServerName: "upstream.test", InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
	if err := c.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// Requests inside a tunnel are read like any others, and know both connections.
func TestInside(t *testing.T) {
	innerServer := innerTLS(t)
	for name, h := range map[string]http1.Handler{"echo": handler{exchange: echo}, "request": handler{exchange: func(x *http1.Exchange) {
		r := &x.Request
		if r.TLS == nil || r.TLS.ServerName != "upstream.test" || !r.Remote.Addr().IsLoopback() || r.Form != http1.OriginForm || r.Authority != "h" || x.Context().Err() != nil {
			t.Errorf("the request is %+v", r)
		}
		_ = x.Respond(200, nil, []byte(r.Path))
	}}} {
		t.Run(name, func(t *testing.T) {
			overTLS(t, opened(t, innerServer, nil, h), func(t *testing.T, dial func() net.Conn) {
				c := into(t, dial())
				r := bufio.NewReader(c)
				for range 3 {
					_, _ = io.WriteString(c, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n/x")
					if status, body := answer(t, r, "POST"); status != 200 || body != "/x" {
						t.Fatalf("%d %s", status, body)
					}
				}
				_, _ = io.WriteString(c, "GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
				if status, _ := answer(t, r, "GET"); status != 200 {
					t.Error(status)
				}
				if b, err := io.ReadAll(r); err != nil || len(b) > 0 {
					t.Errorf("%q, %v", b, err)
				}
				if b, err := io.ReadAll(c.NetConn()); err != nil || len(b) > 0 {
					t.Errorf("the tunnel ended with %q, %v", b, err)
				}
			})
		})
	}
}

// ATTACK: what a forward proxy would take is sent inside a tunnel, to leave it
// for another host: an absolute target, another CONNECT, HTTP/2; or a request
// that is malformed.
// THIS TEST VERIFIES that requests inside are in origin form, that the inner
// handler is told of each fault, and that its refusal arrives and ends the tunnel.
func TestInsideRefused(t *testing.T) {
	innerServer := innerTLS(t)
	var outer, inner atomic.Int64
	h := opened(t, innerServer, nil, handler{exchange: echo, fault: func(x *http1.Exchange, f *http1.Fault) {
		inner.Add(1)
		if x.Request.TLS == nil || x.Request.TLS.ServerName != "upstream.test" {
			t.Error("a fault does not know its connection")
		}
		_ = x.Respond(f.Status, nil, []byte(f.Reason.String()))
	}})
	h.fault = func(*http1.Exchange, *http1.Fault) { outer.Add(1) }
	long := strings.Repeat("a", 1<<20) // goes on while it is refused
	overTLS(t, h, func(t *testing.T, dial func() net.Conn) {
		for request, reason := range map[string]http1.Reason{
			"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n": http1.TargetForm,
			connectTo:                          http1.MethodNotAllowed,
			"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n": http1.HTTP2Preface,
			"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n":               http1.WebSocketRefused,
			"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n" + long: http1.LengthAndCoding,
		} {
			before := inner.Load()
			c := into(t, dial())
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				_, _ = io.WriteString(c, request)
			}()
			r := bufio.NewReader(c)
			if status, body := answer(t, r, "GET"); status != reason.Status() || body != reason.String() {
				t.Errorf("%.30q: %d %s", request, status, body)
			}
			if b, err := io.ReadAll(r); err != nil || len(b) > 0 {
				t.Errorf("%.30q: %q, %v", request, b, err)
			}
			<-sent
			if outer, ok := c.NetConn().(*tls.Conn); ok {
				if b, err := io.ReadAll(outer); err != nil || len(b) > 0 || outer.NetConn().(*endSeen).seen {
					t.Errorf("%.30q: the tunnel ended with %q, %v, and without TLS's end", request, b, err)
				}
			}
			_ = c.NetConn().Close()
			if inner.Load() != before+1 || outer.Load() != 0 {
				t.Errorf("%.30q: %d faults inside, %d outside", request, inner.Load()-before, outer.Load())
			}
		}
	})
}

// ATTACK: consent is revoked while a request inside a tunnel is being read, its
// answer being written, or the connection idle.
// THIS TEST VERIFIES that the end of the context cuts each off at once and ends
// the context of the exchange.
//
// promise: P14
func TestInsideRevoked(t *testing.T) {
	innerServer := innerTLS(t)
	at := make(chan struct{}, 1)
	ended := make(chan error, 1)
	revokes := make(chan context.CancelFunc, 1)
	inner := handler{exchange: func(x *http1.Exchange) {
		at <- struct{}{}
		var err error
		switch x.Request.Path {
		case "/read":
			_, err = x.ReadBody(nil)
		case "/write":
			err = x.Respond(200, nil, make([]byte, 64<<20))
		case "/wait":
			<-x.Context().Done()
			err = x.Context().Err()
		}
		if x.Context().Err() == nil {
			t.Error("the context goes on")
		}
		ended <- err
	}}
	h := opened(t, innerServer, func(x *http1.Exchange) context.Context {
		ctx, cancel := context.WithCancel(x.Context())
		revokes <- cancel
		return ctx
	}, inner)
	overTLS(t, h, func(t *testing.T, dial func() net.Conn) {
		for _, path := range []string{"/read", "/write", "/wait"} {
			c := into(t, dial())
			revoke := <-revokes
			_, _ = io.WriteString(c, "POST "+path+" HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhel")
			<-at
			revoke()
			if err := <-ended; err == nil {
				t.Errorf("%s ended well", path)
			}
			if b, err := io.ReadAll(c); err == nil && !(path == "/wait" && bytes.HasPrefix(b, []byte("HTTP/1.1 500 "))) {
				t.Errorf("%s: the client got %d bytes and an end", path, len(b))
			}
		}
		c := into(t, dial())
		(<-revokes)()
		if b, err := io.ReadAll(c); len(b) > 0 {
			t.Errorf("the idle connection got %q, %v", b, err)
		}
	})
}

// The requests inside a tunnel have the server's times, and its end: idle
// connections are ended, running exchanges answered, what does not end cut off.
func TestInsideTime(t *testing.T) {
	innerServer := innerTLS(t)
	var proceed chan struct{}
	// Serve ends at the server's end even with a context that does not know of it.
	detached := func(x *http1.Exchange) context.Context { return context.WithoutCancel(x.Context()) }
	s := &http1.Server{Forms: proxyForms, Handler: opened(t, innerServer, detached, handler{exchange: func(x *http1.Exchange) {
		switch x.Request.Path {
		case "/slow":
			<-proceed
		case "/stuck":
			<-x.Context().Done()
			return
		}
		_, _ = x.ReadBody(nil)
		_ = x.Respond(200, nil, []byte("done"))
	}})}
	get := func(c net.Conn, path string) { _, _ = io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: h\r\n\r\n") }
	inBubble(t, s, func(t *testing.T, p *pipes, stop context.CancelFunc) {
		proceed = make(chan struct{})
		// A head that does not come, and a connection that is idle for too long.
		begin := time.Now()
		slow := into(t, p.dial())
		_, _ = io.WriteString(slow, "GET / HTT")
		if status, _ := answer(t, bufio.NewReader(slow), "GET"); status != 408 || time.Since(begin) != 10*time.Second {
			t.Errorf("%d after %v", status, time.Since(begin))
		}
		_ = slow.NetConn().Close()
		begin = time.Now()
		silent := into(t, p.dial())
		if b, err := io.ReadAll(silent); err != nil || len(b) > 0 || time.Since(begin) != time.Minute {
			t.Errorf("%q, %v after %v", b, err, time.Since(begin))
		}
		_ = silent.NetConn().Close()

		idle, busy, stuck := into(t, p.dial()), into(t, p.dial()), into(t, p.dial())
		get(idle, "/")
		if status, _ := answer(t, bufio.NewReader(idle), "GET"); status != 200 {
			t.Error(status)
		}
		get(busy, "/slow")
		get(stuck, "/stuck")
		synctest.Wait()
		stop()
		begin = time.Now()
		if b, err := io.ReadAll(idle); err != nil || len(b) > 0 || time.Since(begin) > 0 {
			t.Errorf("the idle connection got %q, %v after %v", b, err, time.Since(begin))
		}
		_ = idle.NetConn().Close()
		<-time.After(time.Second)
		close(proceed)
		if b, err := io.ReadAll(busy); err != nil || !bytes.Contains(b, []byte("\r\nConnection: close\r\n")) || !bytes.HasSuffix(b, []byte("done")) {
			t.Errorf("the busy connection got %q, %v", b, err)
		}
		_ = busy.NetConn().Close()
		// Its handler may still say that it failed.
		if b, err := io.ReadAll(stuck); len(b) > 0 && !bytes.HasPrefix(b, []byte("HTTP/1.1 500 ")) || time.Since(begin) != 30*time.Second {
			t.Errorf("the stuck connection got %q, %v after %v", b, err, time.Since(begin))
		}
	})
}

// ATTACK: tunnels take all the connections there may be.
// THIS TEST VERIFIES that those that are idle inside make room, and that those
// that are blind, or busy inside, do not.
func TestInsideConnLimit(t *testing.T) {
	innerServer := innerTLS(t)
	var proceed chan struct{}
	s := &http1.Server{ConnLimit: 2, Forms: proxyForms}
	s.Handler = opened(t, innerServer, nil, handler{exchange: func(x *http1.Exchange) {
		if x.Request.Path == "/busy" {
			<-proceed
		}
		_ = x.Respond(200, nil, nil)
	}})
	inBubble(t, s, func(t *testing.T, p *pipes, _ context.CancelFunc) {
		proceed = make(chan struct{})
		idle, busy := into(t, p.dial()), into(t, p.dial())
		_, _ = io.WriteString(busy, "GET /busy HTTP/1.1\r\nHost: h\r\n\r\n")
		synctest.Wait()
		begin := time.Now()
		ended := make(chan error)
		go func() {
			_, err := io.ReadAll(idle)
			_ = idle.NetConn().Close()
			ended <- err
		}()
		blind := asks(t, p.dial())
		if err := <-ended; err != nil || time.Since(begin) > time.Second {
			t.Errorf("the idle one ended with %v after %v", err, time.Since(begin))
		}
		served := make(chan net.Conn, 1)
		go func() { served <- asks(t, p.dial()) }()
		<-time.After(5 * time.Second)
		select {
		case <-served:
			t.Error("a third connection was served")
		default:
		}
		_ = blind.Close()
		third := <-served
		synctest.Wait()
		_ = third.Close()
		close(proceed)
		if status, _ := answer(t, bufio.NewReader(busy), "GET"); status != 200 {
			t.Error(status)
		}
		_ = busy.NetConn().Close()
	})
}

// Serve is for what came out of a tunnel.
func TestInsideNeedsTunnel(t *testing.T) {
	got := exchangeOnce(t, closing, func(x *http1.Exchange) {
		x.Serve(x.Context(), nil, nil, handler{exchange: echo})
	})
	if !strings.HasPrefix(got, "HTTP/1.1 500 ") {
		t.Errorf("%q", got)
	}
}

// other is a server that speaks "other" besides, and a client's configuration
// that offers protocols.
func other(t *testing.T, s *http1.Server, p http1.Protocol) func(protocols ...string) *tls.Config {
	s.TLS, s.NextProto = innerTLS(t), map[string]http1.Protocol{"other": p, "another": p}
	if s.Handler == nil {
		s.Handler = handler{exchange: echo}
	}
	return func(protocols ...string) *tls.Config {
		return &tls.Config{ServerName: "gateway.test", InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, NextProtos: protocols}
	}
}

// Another protocol is spoken where the client offers it, and nowhere else; what
// is tunnelled in it is served like what is tunnelled in ours.
func TestNextProto(t *testing.T) {
	s := &http1.Server{}
	offer := other(t, s, func(ctx context.Context, c *tls.Conn, outer http1.Outer) {
		if c.ConnectionState().NegotiatedProtocol == "another" {
			panic("secret")
		}
		_, _ = io.WriteString(c, "hello\n")
		outer.Serve(ctx, c, nil, handler{exchange: func(x *http1.Exchange) {
			if x.Request.TLS != nil || !x.Request.Remote.Addr().IsLoopback() {
				t.Errorf("the request is %+v", x.Request)
			}
			_ = x.Respond(200, nil, []byte(x.Request.Path))
		}})
	})
	at := serve(t, s)
	for _, tt := range []struct {
		offers []string
		want   string
	}{
		{[]string{"http/1.1", "other"}, "other"}, {[]string{"other"}, "other"}, {[]string{"other", "another"}, "another"}, {[]string{"http/1.1"}, "http/1.1"}, {nil, ""},
	} {
		nc, err := tls.Dial("tcp", at.String(), offer(tt.offers...))
		if err != nil {
			t.Fatalf("%v: %v", tt.offers, err)
		}
		if got := nc.ConnectionState().NegotiatedProtocol; got != tt.want {
			t.Errorf("%v: %q was agreed on", tt.offers, got)
		}
		_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
		r := bufio.NewReader(nc)
		switch tt.want {
		case "another": // the panic ends the connection, and not the server
			if b, err := io.ReadAll(r); len(b) > 0 {
				t.Errorf("%q, %v", b, err)
			}
			continue
		case "other":
			if line, err := r.ReadString('\n'); line != "hello\n" {
				t.Fatalf("%q, %v", line, err)
			}
		}
		_, _ = io.WriteString(nc, "GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
		if status, body := answer(t, r, "GET"); status != 200 || tt.want == "other" && body != "/x" {
			t.Errorf("%v: %d %s", tt.offers, status, body)
		}
		if b, err := io.ReadAll(r); err != nil || len(b) > 0 {
			t.Errorf("%v: %q, %v", tt.offers, b, err)
		}
	}
	if _, err := tls.Dial("tcp", at.String(), offer("h2")); err == nil {
		t.Error("a protocol that is not spoken was agreed on")
	}
	none := func(context.Context, *tls.Conn, http1.Outer) {}
	for name, s := range map[string]*http1.Server{
		"no TLS": {NextProto: map[string]http1.Protocol{"h2": none}},
		"ours":   {TLS: s.TLS, NextProto: map[string]http1.Protocol{"http/1.1": none}},
		"empty":  {TLS: s.TLS, NextProto: map[string]http1.Protocol{"": none}},
		"none":   {TLS: s.TLS, NextProto: map[string]http1.Protocol{"h2": nil}},
	} {
		s.Handler = handler{exchange: echo}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Serve(ctx, newPipes()); err == nil {
			t.Errorf("%s: the server serves", name)
		}
	}
}

// Other protocols are told that the server drains, cut off at the end of that,
// and counted for the limit.
func TestNextProtoDrain(t *testing.T) {
	var begun, draining chan struct{}
	var ended chan error
	s := &http1.Server{ConnLimit: 1, Draining: func() { close(draining) }}
	offer := other(t, s, func(ctx context.Context, c *tls.Conn, _ http1.Outer) {
		close(begun)
		<-draining
		if ctx.Err() != nil {
			t.Error("the context ended when draining began")
		}
		_, err := c.Read(make([]byte, 1))
		if ctx.Err() == nil {
			t.Error("the context did not end with the connection")
		}
		ended <- err
	})
	inBubble(t, s, func(t *testing.T, p *pipes, stop context.CancelFunc) {
		begun, draining, ended = make(chan struct{}), make(chan struct{}), make(chan error, 1)
		nc := tls.Client(p.dial(), offer("other"))
		if err := nc.Handshake(); err != nil {
			t.Fatal(err)
		}
		<-begun
		waiting := p.dial()
		refused := make(chan error)
		go func() { refused <- tls.Client(waiting, offer("other")).Handshake() }()
		<-time.After(5 * time.Second)
		select {
		case err := <-refused:
			t.Errorf("a second connection was served: %v", err)
		default:
		}
		begin := time.Now()
		stop()
		if err := <-refused; err == nil {
			t.Error("a connection was served that waited when draining began")
		}
		if err := <-ended; err == nil || time.Since(begin) != 30*time.Second {
			t.Errorf("the connection ended with %v after %v", err, time.Since(begin))
		}
		_ = nc.NetConn().Close()
	})
}

// What is idle inside a connection that stays makes no room when it ends, and
// so is not ended.
func TestNextProtoConnLimit(t *testing.T) {
	s := &http1.Server{ConnLimit: 1}
	offer := other(t, s, func(ctx context.Context, c *tls.Conn, outer http1.Outer) {
		outer.Serve(ctx, c, nil, handler{exchange: echo})
	})
	inBubble(t, s, func(t *testing.T, p *pipes, _ context.CancelFunc) {
		nc := tls.Client(p.dial(), offer("other"))
		if err := nc.Handshake(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		served := make(chan error)
		waiting := p.dial()
		go func() {
			served <- tls.Client(waiting, offer("other")).Handshake()
			_ = waiting.Close()
		}()
		<-time.After(5 * time.Second)
		_, _ = io.WriteString(nc, closing)
		if status, _ := answer(t, bufio.NewReader(nc), "GET"); status != 200 {
			t.Error(status)
		}
		_ = nc.NetConn().Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// handedOver is a listener of connections that somebody else accepted.
type handedOver struct {
	conns chan net.Conn
	over  chan struct{}
	once  sync.Once
}

// Accept implements [net.Listener].
func (h *handedOver) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.over:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (h *handedOver) Close() error {
	h.once.Do(func() { close(h.over) })
	return nil
}

// Addr implements [net.Listener].
func (*handedOver) Addr() net.Addr { return &net.TCPAddr{} }

// HTTP/2 as net/http has it says goodbye when draining begins: a request under way
// is answered, and Serve has not to wait for the idle connection until it is over.
func TestHTTP2Drain(t *testing.T) {
	begun, proceed := make(chan struct{}), make(chan struct{})
	l2, ended := &handedOver{conns: make(chan net.Conn), over: make(chan struct{})}, make(chan struct{}, 16)
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	hs := &http.Server{
		ReadHeaderTimeout: time.Minute, Protocols: protocols,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				close(begun)
				<-proceed
			}
			_, _ = io.WriteString(w, r.Proto)
		}),
		ConnState: func(_ net.Conn, s http.ConnState) {
			if s == http.StateClosed {
				ended <- struct{}{}
			}
		},
	}
	go func() { _ = hs.Serve(l2) }()
	defer func() { _ = hs.Close() }()
	serverTLS, clientTLS := certificates(t)
	s := &http1.Server{
		TLS: serverTLS, Handler: handler{exchange: echo}, Timeouts: http1.Timeouts{Drain: time.Hour},
		Draining: func() {
			gone, cancel := context.WithCancel(context.Background())
			cancel() // it only says so
			_ = hs.Shutdown(gone)
		},
		NextProto: map[string]http1.Protocol{"h2": func(_ context.Context, c *tls.Conn, _ http1.Outer) {
			l2.conns <- c
			<-ended
		}},
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: clientTLS.RootCAs, ServerName: "gateway.test", MinVersion: tls.VersionTLS13}}
	defer transport.CloseIdleConnections()
	get := func(path string) (string, error) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+l.Addr().String()+path, nil)
		if err != nil {
			return "", err
		}
		resp, err := transport.RoundTrip(r)
		if err != nil {
			return "", err
		}
		b, err := io.ReadAll(resp.Body)
		return string(b), errors.Join(err, resp.Body.Close())
	}
	if got, err := get("/"); err != nil || got != "HTTP/2.0" {
		t.Fatalf("%q, %v", got, err)
	}
	slow := make(chan error)
	go func() {
		got, err := get("/slow")
		if err == nil && got != "HTTP/2.0" {
			err = errors.New(got)
		}
		slow <- err
	}()
	<-begun
	stop()
	select {
	case err := <-done:
		t.Errorf("Serve did not wait for the request: %v", err)
	default:
	}
	close(proceed)
	if err := <-slow; err != nil {
		t.Errorf("the request under way: %v", err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

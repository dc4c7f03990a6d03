package http1_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate/internal/http1"
)

const (
	proxyForms = http1.AbsoluteForm | http1.AuthorityForm
	connectTo  = "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n"
)

// tunnels is a handler that opens a tunnel for each exchange.
func tunnels(t testing.TB, f func(x *http1.Exchange, tunnel *http1.Tunnel)) handler {
	return handler{exchange: func(x *http1.Exchange) {
		tunnel, err := x.Tunnel(nil)
		if err != nil {
			t.Errorf("Tunnel: %v", err)
			return
		}
		f(x, tunnel)
	}}
}

// asks wants a tunnel and returns the connection once it is open.
func asks(t testing.TB, nc net.Conn) net.Conn {
	t.Helper()
	if _, err := io.WriteString(nc, connectTo); err != nil {
		t.Fatal(err)
	}
	// One byte at a time: what follows the head belongs to the tunnel.
	var head []byte
	for one := make([]byte, 1); !bytes.HasSuffix(head, []byte("\r\n\r\n")); head = append(head, one[0]) {
		if _, err := io.ReadFull(nc, one); err != nil {
			t.Fatalf("%v after %q", err, head)
		}
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 200 ")) {
		t.Fatalf("CONNECT was answered %q", head)
	}
	return nc
}

// overTLS runs f for a plain proxy and for one that is spoken to over TLS.
func overTLS(t *testing.T, h http1.Handler, f func(t *testing.T, dial func() net.Conn)) {
	serverTLS, clientTLS := certificates(t)
	for name, secure := range map[string]bool{"plain": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			s := &http1.Server{Handler: h, Forms: proxyForms}
			if secure {
				s.TLS = serverTLS
			}
			at := serve(t, s)
			f(t, func() net.Conn {
				nc := connect(t, at)
				if secure {
					nc = tls.Client(&endSeen{Conn: nc}, &tls.Config{RootCAs: clientTLS.RootCAs, ServerName: "gateway.test", MinVersion: tls.VersionTLS13})
				}
				return nc
			})
		})
	}
}

// endSeen notices that a connection ended, which TLS knows by its own end before.
type endSeen struct {
	net.Conn
	seen bool
}

func (e *endSeen) Read(p []byte) (int, error) {
	n, err := e.Conn.Read(p)
	e.seen = e.seen || err != nil
	return n, err
}

func half(t testing.TB, nc net.Conn) {
	t.Helper()
	if err := nc.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Error(err)
	}
}

// What the answer to CONNECT looks like, and what else is no answer to it.
func TestTunnelAnswer(t *testing.T) {
	field := http1.Fields{{Name: "X-A", Value: "1"}, {Name: "Date", Value: "today"}}
	overTLS(t, handler{exchange: func(x *http1.Exchange) {
		for name, header := range map[string]http1.Fields{
			"length": {{Name: "Content-Length", Value: "0"}}, "coding": {{Name: "transfer-encoding", Value: "chunked"}}, "line end": {{Name: "A", Value: "b\r\nc: d"}},
		} {
			if tunnel, err := x.Tunnel(header); err == nil || tunnel != nil || x.Answered() {
				t.Errorf("%s: Tunnel: %v", name, err)
			}
		}
		for _, status := range []int{200, 204, 299} {
			if err := x.Respond(status, nil, nil); err == nil || x.Answered() {
				t.Errorf("Respond(%d): %v", status, err)
			}
		}
		if _, err := x.Stream(200, nil, -1); err == nil || x.Answered() {
			t.Errorf("Stream: %v", err)
		}
		tunnel, err := x.Tunnel(field)
		if err != nil || !x.Answered() {
			t.Fatalf("Tunnel: %v", err)
		}
		if _, err := x.Tunnel(nil); err == nil {
			t.Error("a second tunnel")
		}
		if err := x.Respond(403, nil, nil); err == nil {
			t.Error("answered twice")
		}
		if x.Request.Method != "CONNECT" || x.Request.Target != "h:443" || x.Request.Authority != "h:443" || x.Request.Form != http1.AuthorityForm || len(x.Request.Header) != 0 || x.Pipelined() {
			t.Errorf("the request is %+v", x.Request)
		}
		if (tunnel.TCP() == nil) != (x.Request.TLS != nil) || tunnel.RemoteAddr() == nil || tunnel.LocalAddr() == nil {
			t.Error("the tunnel does not know its connection")
		}
		_ = tunnel.Close()
	}}, func(t *testing.T, dial func() net.Conn) {
		nc := dial()
		if _, err := io.WriteString(nc, connectTo); err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(nc); err != nil || string(b) != "HTTP/1.1 200 OK\r\nX-A: 1\r\nDate: today\r\n\r\n" {
			t.Errorf("%q, %v", b, err)
		}
	})
	for name, h := range map[string]func(x *http1.Exchange){
		"another method": func(x *http1.Exchange) {
			if _, err := x.Tunnel(nil); err == nil || x.Answered() || x.Pipelined() {
				t.Errorf("Tunnel: %v", err)
			}
			_ = x.Respond(403, nil, nil)
		},
		"answered": func(x *http1.Exchange) {
			_ = x.Respond(403, nil, nil)
			if _, err := x.Tunnel(nil); err == nil {
				t.Error("a tunnel behind an answer")
			}
		},
		"closed": func(x *http1.Exchange) {
			if x.Request.Method == "CONNECT" {
				x.Close()
				if _, err := x.Tunnel(nil); err == nil || x.Answered() {
					t.Errorf("a tunnel of what was closed: %v", err)
				}
			}
			_ = x.Respond(403, nil, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			at := serve(t, &http1.Server{Handler: handler{exchange: h}, Forms: proxyForms})
			nc := connect(t, at)
			request := connectTo
			if name == "another method" {
				request = "GET http://h/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
			}
			_, _ = io.WriteString(nc, request)
			b, err := io.ReadAll(nc)
			if err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 403 ") || !strings.Contains(string(b), "\r\nConnection: close\r\n") {
				t.Errorf("%q, %v", b, err)
			}
		})
	}
}

// ATTACK: bytes come behind a CONNECT while it is being judged, so late that
// they were not read together with it (RFC 9931).
// THIS TEST VERIFIES that they are found where they wait, in the socket or in
// TLS, that no tunnel is opened, and that they are not read as a request.
func TestPipelinedLate(t *testing.T) {
	for _, late := range []string{"\x16", "GET http://h/smuggled HTTP/1.1\r\nHost: h\r\n\r\n", strings.Repeat("x", 1<<20)} {
		judging, sent := make(chan struct{}), make(chan struct{})
		overTLS(t, handler{exchange: func(x *http1.Exchange) {
			if x.Request.Method != "CONNECT" {
				t.Error("what follows CONNECT was read as a request")
			}
			if x.Pipelined() {
				t.Error("bytes before they were sent")
			}
			judging <- struct{}{}
			<-sent
			for begin := time.Now(); !x.Pipelined(); runtime.Gosched() { // until they are here
				if time.Since(begin) > 10*time.Second {
					t.Error("bytes that were sent are not seen")
					break
				}
			}
			if _, err := x.Tunnel(nil); err == nil || x.Answered() {
				t.Errorf("Tunnel: %v", err)
			}
			_ = x.Respond(400, nil, []byte("no"))
		}}, func(t *testing.T, dial func() net.Conn) {
			nc := dial()
			_, _ = io.WriteString(nc, connectTo)
			<-judging
			go func() {
				_, _ = io.WriteString(nc, late)
			}()
			sent <- struct{}{}
			r := bufio.NewReader(nc)
			if status, body := answer(t, r, "CONNECT"); status != 400 || body != "no" {
				t.Errorf("%d %s", status, body)
			}
			if b, err := io.ReadAll(r); err != nil || len(b) > 0 {
				t.Errorf("%q, %v", b, err)
			}
		})
	}
	// In one TLS record with the CONNECT, and in one of its own that came along.
	overTLS(t, handler{exchange: func(x *http1.Exchange) {
		if !x.Pipelined() {
			t.Error("not seen")
		}
		if _, err := x.Tunnel(nil); err == nil {
			t.Error("spliced")
		}
		_ = x.Respond(400, nil, nil)
	}}, func(t *testing.T, dial func() net.Conn) {
		nc := dial()
		_, _ = io.WriteString(nc, connectTo+"x")
		if status, _ := answer(t, bufio.NewReader(nc), "CONNECT"); status != 400 {
			t.Error(status)
		}
		secure, ok := dial().(*tls.Conn)
		if !ok {
			return
		}
		together := &together{Conn: secure.NetConn().(*endSeen).Conn}
		config := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}
		secure = tls.Client(together, config)
		if err := secure.Handshake(); err != nil {
			t.Fatal(err)
		}
		together.hold = true
		_, _ = io.WriteString(secure, connectTo)
		_, _ = io.WriteString(secure, "x")
		_, _ = together.Conn.Write(together.held)
		if status, _ := answer(t, bufio.NewReader(secure), "CONNECT"); status != 400 {
			t.Error(status)
		}
	})
}

// together holds what is written, so that it can be sent at once.
type together struct {
	net.Conn
	hold bool
	held []byte
}

func (c *together) Write(p []byte) (int, error) {
	if !c.hold {
		return c.Conn.Write(p)
	}
	c.held = append(c.held, p...)
	return len(p), nil
}

// Either side may end its direction first; the other goes on.
func TestTunnelHalfClose(t *testing.T) {
	long := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
	overTLS(t, tunnels(t, func(_ *http1.Exchange, tunnel *http1.Tunnel) {
		b, err := io.ReadAll(tunnel)
		if err != nil || !bytes.Equal(b, long) {
			t.Errorf("%d bytes, %v", len(b), err)
		}
		if _, err := tunnel.Write(long); err != nil {
			t.Error(err)
		}
		if err := tunnel.CloseWrite(); err != nil {
			t.Error(err)
		}
		if _, err := tunnel.Write([]byte("x")); err == nil {
			t.Error("written after the end")
		}
	}), func(t *testing.T, dial func() net.Conn) {
		nc := asks(t, dial())
		if _, err := nc.Write(long); err != nil {
			t.Error(err)
		}
		half(t, nc)
		if b, err := io.ReadAll(nc); err != nil || !bytes.Equal(b, long) {
			t.Errorf("%d bytes, %v", len(b), err)
		}
	})
	over := make(chan struct{})
	overTLS(t, tunnels(t, func(_ *http1.Exchange, tunnel *http1.Tunnel) {
		defer func() { over <- struct{}{} }()
		_, _ = io.WriteString(tunnel, "first")
		if err := tunnel.CloseWrite(); err != nil {
			t.Error(err)
		}
		if b, err := io.ReadAll(tunnel); err != nil || !bytes.Equal(b, long) {
			t.Errorf("%d bytes, %v", len(b), err)
		}
	}), func(t *testing.T, dial func() net.Conn) {
		nc := asks(t, dial())
		if b, err := io.ReadAll(nc); err != nil || string(b) != "first" {
			t.Errorf("%q, %v", b, err)
		}
		if _, err := nc.Write(long); err != nil {
			t.Error(err)
		}
		half(t, nc)
		<-over
	})
}

// A tunnel ends with its handler, in order, or cut off where it broke.
func TestTunnelEnds(t *testing.T) {
	cut := make(chan error, 1)
	for name, tt := range map[string]struct {
		end    func(x *http1.Exchange, tunnel *http1.Tunnel)
		inTime bool // an end and not a reset
	}{
		"return": {func(*http1.Exchange, *http1.Tunnel) {}, true},
		"close":  {func(_ *http1.Exchange, tunnel *http1.Tunnel) { _ = tunnel.Close() }, true},
		"cut":    {func(_ *http1.Exchange, tunnel *http1.Tunnel) { tunnel.Cut() }, false},
		"panic":  {func(*http1.Exchange, *http1.Tunnel) { panic("secret") }, false},
		"exchange closed elsewhere": {func(x *http1.Exchange, tunnel *http1.Tunnel) {
			go x.Close()
			_ = tunnel.SetReadDeadline(time.Time{})
			_, err := tunnel.Read(make([]byte, 1))
			cut <- err
		}, false},
		"cut under a read": {func(_ *http1.Exchange, tunnel *http1.Tunnel) {
			go tunnel.Cut()
			_, err := tunnel.Read(make([]byte, 1))
			cut <- err
		}, false},
		"closed under a write": {func(_ *http1.Exchange, tunnel *http1.Tunnel) {
			go func() { _ = tunnel.Close() }()
			var err error
			for err == nil {
				_, err = tunnel.Write(make([]byte, 64<<10))
			}
			cut <- err
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			overTLS(t, tunnels(t, func(x *http1.Exchange, tunnel *http1.Tunnel) {
				_, _ = io.WriteString(tunnel, "x")
				_, _ = tunnel.Read(make([]byte, 1))
				tt.end(x, tunnel)
			}), func(t *testing.T, dial func() net.Conn) {
				nc := asks(t, dial())
				if _, err := io.ReadFull(nc, make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
				_, _ = io.WriteString(nc, "y")
				if name == "closed under a write" {
					if err := <-cut; err == nil {
						t.Error("a closed tunnel goes on")
					}
					return
				}
				if b, err := io.ReadAll(nc); len(b) > 0 || (err == nil) != tt.inTime {
					t.Errorf("the client got %q, %v", b, err)
				}
				if strings.Contains(name, "read") || strings.Contains(name, "elsewhere") {
					if err := <-cut; err == nil {
						t.Error("a closed tunnel goes on")
					}
				}
			})
		})
	}
}

// ATTACK: a client opens a tunnel and says nothing in it for ever, or never
// reads; or sends the head of its CONNECT byte by byte.
// THIS TEST VERIFIES that the server's times end with the head, that the
// caller's deadlines hold in both directions, and that a slow head is refused.
func TestTunnelTime(t *testing.T) {
	s := &http1.Server{Forms: proxyForms}
	s.Handler = tunnels(t, func(_ *http1.Exchange, tunnel *http1.Tunnel) {
		var b [5]byte
		begin := time.Now()
		if _, err := io.ReadFull(tunnel, b[:]); err != nil || string(b[:]) != "hello" || time.Since(begin) != time.Hour {
			t.Errorf("%q, %v after %v", b, err, time.Since(begin))
		}
		<-time.After(time.Hour)
		begin = time.Now()
		_ = tunnel.SetReadDeadline(begin.Add(time.Minute))
		if _, err := tunnel.Read(b[:]); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) != time.Minute {
			t.Errorf("reading ended with %v after %v", err, time.Since(begin))
		}
		begin = time.Now()
		_ = tunnel.SetWriteDeadline(begin.Add(2 * time.Minute))
		if _, err := tunnel.Write(b[:]); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) != 2*time.Minute {
			t.Errorf("writing ended with %v after %v", err, time.Since(begin))
		}
		_ = tunnel.SetDeadline(time.Time{})
		if _, err := io.WriteString(tunnel, "bye"); err != nil {
			t.Error(err)
		}
	})
	inBubble(t, s, func(t *testing.T, p *pipes, _ context.CancelFunc) {
		nc := asks(t, p.dial())
		<-time.After(time.Hour)
		_, _ = io.WriteString(nc, "hello")
		<-time.After(time.Hour + 4*time.Minute) // it does not read meanwhile
		if b, err := io.ReadAll(nc); err != nil || string(b) != "bye" {
			t.Errorf("%q, %v", b, err)
		}
	})
	inBubble(t, s, func(t *testing.T, p *pipes, _ context.CancelFunc) {
		nc := p.dial()
		begin := time.Now()
		over := make(chan struct{})
		go func() {
			defer close(over)
			for _, c := range connectTo {
				if _, err := nc.Write([]byte{byte(c)}); err != nil {
					return
				}
				<-time.After(time.Second)
			}
		}()
		if status, body := answer(t, bufio.NewReader(nc), "CONNECT"); status != 408 || time.Since(begin) > 11*time.Second {
			t.Errorf("%d %s after %v", status, body, time.Since(begin))
		}
		_ = nc.Close()
		<-over
	})
}

// Tunnels are left open while the server drains, and cut off at its end, with
// their contexts.
func TestTunnelDrain(t *testing.T) {
	var ended chan error
	s := &http1.Server{Forms: proxyForms}
	s.Handler = tunnels(t, func(x *http1.Exchange, tunnel *http1.Tunnel) {
		_, err := io.Copy(tunnel, tunnel)
		if x.Context().Err() == nil {
			t.Error("the context did not end with the tunnel")
		}
		ended <- err
	})
	inBubble(t, s, func(t *testing.T, p *pipes, stop context.CancelFunc) {
		ended = make(chan error, 1)
		nc := asks(t, p.dial())
		stop()
		begin := time.Now()
		<-time.After(29 * time.Second)
		go func() { _, _ = io.WriteString(nc, "still") }()
		if b, err := io.ReadAll(nc); string(b) != "still" || time.Since(begin) != 30*time.Second {
			t.Errorf("%q, %v after %v", b, err, time.Since(begin))
		}
		if err := <-ended; err == nil {
			t.Error("the tunnel ended as if by its client")
		}
	})
}

// ATTACK: two thousand tunnels with large heads are opened and left open, then
// closed (one gateway kept every tunnel for ever).
// THIS TEST VERIFIES that an open one costs one goroutine, its handler's, and
// none of its head or of the buffers it was read with; and that nothing stays
// when they have ended.
func TestManyTunnels(t *testing.T) {
	const n = 2000
	opened := make(chan struct{}, n)
	s := &http1.Server{ConnLimit: n, Forms: proxyForms, Handler: tunnels(t, func(_ *http1.Exchange, tunnel *http1.Tunnel) {
		opened <- struct{}{}
		_, _ = tunnel.Read(make([]byte, 1))
	})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	heap := inUse()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	conns := make([]net.Conn, n)
	request := []byte("CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n" + strings.Repeat("X-A: "+strings.Repeat("a", 1000)+"\r\n", 30) + "\r\n")
	for i := range conns {
		if conns[i], err = net.Dial("tcp", l.Addr().String()); err != nil {
			t.Fatal(err)
		}
		if _, err := conns[i].Write(request); err != nil {
			t.Fatal(err)
		}
		<-opened
	}
	if got := goroutines(); got != n+1 {
		t.Errorf("%d tunnels have %d goroutines beside Serve's", n, got-1)
	}
	if got := inUse(); got > heap+n*6<<10 {
		t.Errorf("an open tunnel holds %d bytes, the client's side included", (got-heap)/n)
	}
	for _, nc := range conns {
		_ = nc.Close()
	}
	clear(conns)
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for deadline := time.Now().Add(10 * time.Second); goroutines() != 0; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines are left", goroutines())
		}
	}
	if got := inUse(); got > heap+1<<20 {
		t.Errorf("%d KiB are left", (got-heap)>>10)
	}
}

// goroutines counts those that a server started, or runs in.
func goroutines() (n int) {
	b := make([]byte, 32<<20)
	for g := range bytes.SplitSeq(b[:runtime.Stack(b, true)], []byte("\n\n")) {
		if bytes.Contains(g, []byte("internal/http1.(*")) {
			n++
		}
	}
	return n
}

// inUse is how many bytes of the heap are reachable.
func inUse() uint64 {
	for range 3 { // pools keep things over two collections
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

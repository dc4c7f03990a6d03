package http1_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isogate/isogate/internal/http1"
)

// failure checks an error of the client.
func failure(t *testing.T, err error, kind http1.ErrorKind, sent bool) *http1.Error {
	t.Helper()
	var e *http1.Error
	if !errors.As(err, &e) {
		t.Fatalf("%v is no *Error", err)
	}
	if e.Kind != kind || e.Sent != sent {
		t.Errorf("%v (sent %v), want %v (sent %v)", e, e.Sent, kind, sent)
	}
	return e
}

// ATTACK: a header, target, host or trailer of a request carries a line end or a
// framing field, and becomes a second request at the upstream.
// THIS TEST VERIFIES that such a request is not sent, nor a connection made.
func TestOutgoingRefused(t *testing.T) {
	ok := func() *http1.Outgoing {
		return &http1.Outgoing{Scheme: "http", Host: "upstream.test", Method: "POST", Target: "/"}
	}
	for name, change := range map[string]func(o *http1.Outgoing){
		"value":           func(o *http1.Outgoing) { o.Header = http1.Fields{{Name: "A", Value: "b\r\nC: d"}} },
		"name":            func(o *http1.Outgoing) { o.Header = http1.Fields{{Name: "A: b\r\nC", Value: "d"}} },
		"NUL":             func(o *http1.Outgoing) { o.Header = http1.Fields{{Name: "A", Value: "\x00"}} },
		"length":          func(o *http1.Outgoing) { o.Header = http1.Fields{{Name: "content-length", Value: "1"}} },
		"coding":          func(o *http1.Outgoing) { o.Header = http1.Fields{{Name: "TRANSFER-ENCODING", Value: "chunked"}} },
		"host field":      func(o *http1.Outgoing) { o.Header = http1.Fields{{Name: "host", Value: "a"}} },
		"connection":      func(o *http1.Outgoing) { o.Header = http1.Fields{{Name: "Connection", Value: "X-A"}} },
		"expect":          func(o *http1.Outgoing) { o.Header = http1.Fields{{Name: "Expect", Value: "100-continue"}} },
		"te":              func(o *http1.Outgoing) { o.Header = http1.Fields{{Name: "TE", Value: "trailers"}} },
		"trailer":         func(o *http1.Outgoing) { o.Header = http1.Fields{{Name: "Trailer", Value: "X-A"}} },
		"target space":    func(o *http1.Outgoing) { o.Target = "/a b" },
		"target lines":    func(o *http1.Outgoing) { o.Target = "/ HTTP/1.1\r\nA: b" },
		"target form":     func(o *http1.Outgoing) { o.Target = "http://other.test/" },
		"target none":     func(o *http1.Outgoing) { o.Target = "" },
		"target UTF-8":    func(o *http1.Outgoing) { o.Target = "/ä" },
		"target fragment": func(o *http1.Outgoing) { o.Target = "/#a" },
		"backslash":       func(o *http1.Outgoing) { o.Target = "/\\a" },
		"method lines":    func(o *http1.Outgoing) { o.Method = "GET / HTTP/1.1\r\n\r\nGET" },
		"method none":     func(o *http1.Outgoing) { o.Method = "" },
		"CONNECT":         func(o *http1.Outgoing) { o.Method = "CONNECT" },
		"scheme":          func(o *http1.Outgoing) { o.Scheme = "ftp" },
		"scheme none":     func(o *http1.Outgoing) { o.Scheme = "" },
		"host lines":      func(o *http1.Outgoing) { o.Host = "a\r\nb" },
		"host port":       func(o *http1.Outgoing) { o.Host = "a:80" },
		"host user":       func(o *http1.Outgoing) { o.Host = "a@b" },
		"host brackets":   func(o *http1.Outgoing) { o.Host = "[::1]" },
		"host zone":       func(o *http1.Outgoing) { o.Host = "fe80::1%lo" },
		"host none":       func(o *http1.Outgoing) { o.Host = "" },
	} {
		t.Run(name, func(t *testing.T) {
			c := &http1.Client{Dial: func(context.Context, string, string) (net.Conn, error) {
				t.Error("a connection was made")
				return nil, errors.New("no")
			}}
			o := ok()
			change(o)
			_, err := c.Do(t.Context(), o)
			if e := failure(t, err, http1.ErrUsage, false); e.Status() != 500 {
				t.Errorf("status %d", e.Status())
			}
		})
	}
	_, err := (&http1.Client{}).Do(t.Context(), ok())
	failure(t, err, http1.ErrUsage, false)
}

// The bytes of a request, and that head and body leave in one piece.
func TestOutgoingBytes(t *testing.T) {
	long := strings.Repeat("a", 20000)
	for name, tt := range map[string]struct {
		out   http1.Outgoing
		want  string
		whole bool // in one write
	}{
		"get":     {http1.Outgoing{Method: "GET", Target: "/a?b"}, "GET /a?b HTTP/1.1\r\nHost: upstream.test\r\n\r\n", true},
		"port":    {http1.Outgoing{Method: "GET", Target: "/", Port: 8080}, "GET / HTTP/1.1\r\nHost: upstream.test:8080\r\n\r\n", true},
		"usual":   {http1.Outgoing{Method: "GET", Target: "/", Port: 80}, "GET / HTTP/1.1\r\nHost: upstream.test\r\n\r\n", true},
		"IPv6":    {http1.Outgoing{Method: "GET", Target: "/", Host: "::1", Port: 81}, "GET / HTTP/1.1\r\nHost: [::1]:81\r\n\r\n", true},
		"IPv4":    {http1.Outgoing{Method: "GET", Target: "/", Host: "127.0.0.1"}, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", true},
		"post":    {http1.Outgoing{Method: "POST", Target: "/", Body: []byte("hello"), Header: http1.Fields{{Name: "x-A", Value: "1"}}}, "POST / HTTP/1.1\r\nHost: upstream.test\r\nx-A: 1\r\nContent-Length: 5\r\n\r\nhello", true},
		"no body": {http1.Outgoing{Method: "PUT", Target: "/"}, "PUT / HTTP/1.1\r\nHost: upstream.test\r\nContent-Length: 0\r\n\r\n", true},
		"stream":  {http1.Outgoing{Method: "POST", Target: "/", Stream: strings.NewReader("hello"), Length: 5}, "POST / HTTP/1.1\r\nHost: upstream.test\r\nContent-Length: 5\r\n\r\nhello", true},
		"chunks":  {http1.Outgoing{Method: "POST", Target: "/", Stream: strings.NewReader("hello"), Length: -1}, "POST / HTTP/1.1\r\nHost: upstream.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", false},
		"trailer": {http1.Outgoing{Method: "POST", Target: "/", Stream: strings.NewReader(""), Length: -1, Trailer: func() http1.Fields { return http1.Fields{{Name: "X-A", Value: "1"}} }}, "POST / HTTP/1.1\r\nHost: upstream.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-A: 1\r\n\r\n", true},
		"large":   {http1.Outgoing{Method: "POST", Target: "/", Body: []byte(long)}, "POST / HTTP/1.1\r\nHost: upstream.test\r\nContent-Length: 20000\r\n\r\n" + long, false},
	} {
		t.Run(name, func(t *testing.T) {
			var got bytes.Buffer
			var writes int
			done := make(chan struct{})
			c := &http1.Client{Dial: func(context.Context, string, string) (net.Conn, error) {
				client, server := net.Pipe()
				go func() {
					defer close(done)
					defer func() { _ = server.Close() }()
					b := make([]byte, 1<<16)
					for got.Len() < len(tt.want) {
						n, err := server.Read(b)
						if err != nil {
							return
						}
						writes++
						got.Write(b[:n])
					}
					_, _ = io.WriteString(server, "HTTP/1.1 204 No Content\r\n\r\n")
				}()
				return client, nil
			}}
			tt.out.Scheme = "http"
			if tt.out.Host == "" {
				tt.out.Host = "upstream.test"
			}
			in, err := c.Do(t.Context(), &tt.out)
			<-done
			if err != nil || in.Status != 204 || got.String() != tt.want {
				t.Fatalf("%v, sent %.300q", err, got.String())
			}
			if tt.whole != (writes == 1) {
				t.Errorf("%d writes", writes)
			}
			_ = in.Body.Close()
			c.CloseIdle()
		})
	}
}

// What an upstream's fields look like to a caller: in order, without those of
// the connection and those that it nominates.
func TestIncomingHeader(t *testing.T) {
	at := upstream(t, func(nc net.Conn, _ int) {
		_ = skipRequest(bufio.NewReader(nc))
		_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nb: 2\r\na: 1\r\nSet-Cookie: x\r\nset-cookie: y\r\nKeep-Alive: timeout=5\r\nConnection: X-Hop, keep-alive, Set-Cookie\r\n"+
			"X-Hop: h\r\nUpgrade: h2\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-T: t\r\n\r\n")
	})
	c := &http1.Client{Dial: dial}
	defer c.CloseIdle()
	in, err := c.Do(t.Context(), to("http", at, "GET", "/", nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.ReadBody(nil); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(in.Header, in.Trailer, in.ContentLength); got != "[{B 2} {A 1} {Set-Cookie x} {Set-Cookie y}] [{X-T t}] -1" {
		t.Error(got)
	}
	for name, hop := range map[string]bool{"connection": true, "TE": true, "Upgrade": true, "proxy-authorization": true, "Content-Length": false, "X-A": false, "Content-Type": false} {
		if http1.HopByHop(name) != hop {
			t.Errorf("HopByHop(%s) = %v", name, !hop)
		}
	}
}

// ATTACK: a request waits in a connection that the upstream has closed, or on
// which it has already sent an answer to whatever comes next.
// THIS TEST VERIFIES that such a connection is noticed before it is used, in
// plain and over TLS, and that requests are not repeated.
func TestKeptConnections(t *testing.T) {
	serverTLS, clientTLS := certificates(t)
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	for name, after := range map[string]func(nc net.Conn, raw net.Conn){
		"stays":         func(net.Conn, net.Conn) {},
		"closes":        func(nc, _ net.Conn) { _ = nc.Close() },
		"closes hard":   func(_, raw net.Conn) { _ = raw.(*net.TCPConn).SetLinger(0); _ = raw.Close() },
		"closes softly": func(nc, _ net.Conn) { _ = nc.(interface{ CloseWrite() error }).CloseWrite() },
		"says more":     func(nc, _ net.Conn) { _, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil") },
		"says a byte":   func(nc, _ net.Conn) { _, _ = nc.Write([]byte("\r")) },
	} {
		for _, scheme := range []string{"http", "https"} {
			t.Run(name+" "+scheme, func(t *testing.T) {
				var requests, conns atomic.Int64
				finished := make(chan struct{}, 4)
				at := upstream(t, func(raw net.Conn, _ int) {
					conns.Add(1)
					nc := raw
					if scheme == "https" {
						nc = tls.Server(raw, serverTLS)
					}
					r := bufio.NewReader(nc)
					for skipRequest(r) == nil {
						n := requests.Add(1)
						_, _ = io.WriteString(nc, ok)
						if n == 1 {
							after(nc, raw)
						}
						finished <- struct{}{}
					}
				})
				c := &http1.Client{Dial: dial, TLS: clientTLS}
				defer c.CloseIdle()
				for turn := range 2 {
					in, err := c.Do(t.Context(), to(scheme, at, "POST", "/", []byte("x")))
					if err != nil {
						t.Fatalf("request %d: %v", turn+1, err)
					}
					body, err := in.ReadBody(nil)
					if err != nil || string(body) != "ok" {
						t.Fatalf("request %d: %q, %v", turn+1, body, err)
					}
					if in.Reused != (turn == 1 && name == "stays") {
						t.Errorf("request %d: reused %v", turn+1, in.Reused)
					}
					<-finished
				}
				if n := requests.Load(); n != 2 {
					t.Errorf("the upstream saw %d requests", n)
				}
				if n := conns.Load(); n != 2 && name != "stays" || n != 1 && name == "stays" {
					t.Errorf("%d connections", n)
				}
			})
		}
	}
}

// ATTACK: an upstream reads a request and closes. A client that repeats the
// request on another connection has sent it twice.
// THIS TEST VERIFIES that it is not repeated once a byte of it was taken, and
// that it is when the connection took nothing.
func TestNoBlindRetry(t *testing.T) {
	var requests atomic.Int64
	at := upstream(t, func(nc net.Conn, _ int) {
		r := bufio.NewReader(nc)
		if skipRequest(r) != nil {
			return
		}
		requests.Add(1)
		_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		if skipRequest(r) == nil {
			requests.Add(1)
		}
	})
	c := &http1.Client{Dial: dial}
	defer c.CloseIdle()
	for turn := range 2 {
		in, err := c.Do(t.Context(), to("http", at, "GET", "/", nil))
		if turn == 0 && err == nil {
			_ = in.Body.Close()
			continue
		}
		if e := failure(t, err, http1.ErrClosed, true); e.Status() != 502 {
			t.Errorf("status %d", e.Status())
		}
	}
	if n := requests.Load(); n != 2 {
		t.Errorf("the upstream saw %d requests", n)
	}

	// A connection that fails on its first byte has sent nothing: the next one is tried.
	for _, partial := range []int{0, 1} {
		var dials int
		c := &http1.Client{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			dials++
			nc, err := dial(ctx, network, address)
			if dials == 1 {
				nc = &failsSecond{Conn: nc, partial: partial}
			}
			return nc, err
		}}
		ok := upstream(t, func(nc net.Conn, _ int) {
			r := bufio.NewReader(nc)
			for skipRequest(r) == nil {
				_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			}
		})
		for turn := range 2 {
			in, err := c.Do(t.Context(), to("http", ok, "POST", "/", []byte("x")))
			if turn == 1 && partial == 1 {
				failure(t, err, http1.ErrClosed, true)
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if in.Reused {
				t.Error("reused")
			}
			_ = in.Body.Close()
		}
		if dials != 2-partial {
			t.Errorf("%d dials", dials)
		}
		c.CloseIdle()
	}
}

// failsSecond is a connection whose second write fails.
type failsSecond struct {
	net.Conn
	writes, partial int
}

func (f *failsSecond) Write(p []byte) (int, error) {
	if f.writes++; f.writes == 2 {
		return f.partial, errors.New("broken pipe")
	}
	return f.Conn.Write(p)
}

// ATTACK: an upstream answers before it has read the request (golang/go#40747:
// some 2 % of answers to 64 KiB were truncated). A client that goes on writing
// and gives up on the first error loses the answer.
// THIS TEST VERIFIES that the whole answer arrives, however large the request
// and the answer, when the upstream then closes and when it reads on.
func TestEarlyAnswer(t *testing.T) {
	large := strings.Repeat("0123456789abcdef", 1<<16)
	for _, length := range []int{0, 5, 1 << 20} {
		for _, size := range []int{64 << 10, 8 << 20} {
			for _, how := range []string{"body", "stream", "chunks"} {
				t.Run(fmt.Sprintf("%d to %d by %s", length, size, how), func(t *testing.T) {
					at := upstream(t, func(nc net.Conn, _ int) {
						r := bufio.NewReader(nc)
						for {
							line, err := r.ReadString('\n')
							if err != nil {
								return
							}
							if line == "\r\n" {
								break
							}
						}
						_, _ = fmt.Fprintf(nc, "HTTP/1.1 413 Content Too Large\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", length, large[:length])
						_ = nc.(*net.TCPConn).CloseWrite()
						if length > 5 {
							// Closing now would take back what is still on its way.
							_, _ = io.Copy(io.Discard, r)
							return
						}
						_, _ = io.CopyN(io.Discard, r, 1<<18) // and then closes with unread bytes
					})
					c := &http1.Client{Dial: dial}
					for range 5 {
						out := to("http", at, "POST", "/", make([]byte, size))
						if how != "body" {
							out.Stream, out.Length, out.Body = bytes.NewReader(out.Body), int64(size), nil
							if how == "chunks" {
								out.Length = -1
							}
						}
						in, err := c.Do(t.Context(), out)
						if err != nil {
							t.Fatal(err)
						}
						body, err := in.ReadBody(nil)
						if err != nil || in.Status != 413 || string(body) != large[:length] {
							t.Fatalf("status %d, %d bytes, %v", in.Status, len(body), err)
						}
					}
				})
			}
		}
	}
}

// A request whose answer is an error already is not sent to its end.
func TestEarlyErrorStopsSending(t *testing.T) {
	const size = 64 << 20
	got := make(chan int64, 1)
	at := upstream(t, func(nc net.Conn, _ int) {
		r := bufio.NewReader(nc)
		for line := ""; line != "\r\n"; {
			line, _ = r.ReadString('\n')
		}
		_, _ = io.WriteString(nc, "HTTP/1.1 403 Forbidden\r\nContent-Length: 6\r\n\r\nno")
		n, _ := io.Copy(io.Discard, io.LimitReader(r, 32<<20)) // ends early only if the client stops
		got <- n
		_, _ = io.WriteString(nc, "more")
	})
	c := &http1.Client{Dial: dial, Timeouts: http1.ClientTimeouts{Body: 200 * time.Millisecond}}
	in, err := c.Do(t.Context(), to("http", at, "POST", "/", make([]byte, size)))
	if err != nil {
		t.Fatal(err)
	}
	// The upstream goes on reading, and the rest of its answer never comes.
	_, err = in.ReadBody(nil)
	failure(t, err, http1.ErrTimeout, true)
	if n := <-got; n >= 32<<20 {
		t.Errorf("the upstream got %d bytes", n)
	}
}

// A success that comes early does not cut the request off: the upstream gets
// the rest, and the connection is kept.
func TestEarlySuccess(t *testing.T) {
	const size = 4 << 20
	got := make(chan int64, 2)
	at := upstream(t, func(nc net.Conn, _ int) {
		r := bufio.NewReader(nc)
		for {
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if line == "\r\n" {
					break
				}
			}
			_, _ = io.WriteString(nc, "HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok")
			n, _ := io.CopyN(io.Discard, r, size)
			got <- n
		}
	})
	c := &http1.Client{Dial: dial}
	defer c.CloseIdle()
	for turn := range 2 {
		in, err := c.Do(t.Context(), to("http", at, "POST", "/", make([]byte, size)))
		if err != nil {
			t.Fatal(err)
		}
		if body, err := in.ReadBody(nil); err != nil || string(body) != "ok" {
			t.Fatalf("%q, %v", body, err)
		}
		if n := <-got; n != size {
			t.Errorf("the upstream got %d bytes", n)
		}
		if in.Reused != (turn == 1) {
			t.Errorf("reused %v", in.Reused)
		}
	}
}

// Both directions flow at once: an echo that begins before the request ends.
func TestFullDuplex(t *testing.T) {
	at := serve(t, &http1.Server{Handler: handler{exchange: func(x *http1.Exchange) {
		w, err := x.Stream(200, nil, -1)
		if err != nil {
			t.Error(err)
			return
		}
		b := make([]byte, 1000)
		for {
			n, err := x.Request.Body.Read(b)
			_, _ = w.Write(b[:n])
			_ = w.Flush()
			if err != nil {
				break
			}
		}
		_ = w.Close()
	}}})
	pr, pw := io.Pipe()
	c := &http1.Client{Dial: dial}
	out := to("http", at, "POST", "/", nil)
	out.Stream, out.Length = pr, -1
	go func() { _, _ = io.WriteString(pw, "first ") }()
	in, err := c.Do(t.Context(), out)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 6)
	for _, word := range []string{"first ", "second", "third!"} {
		if word != "first " {
			_, _ = io.WriteString(pw, word)
		}
		if _, err := io.ReadFull(in.Body, b); err != nil || string(b) != word {
			t.Fatalf("%q, %v", b, err)
		}
	}
	_ = pw.Close()
	if rest, err := io.ReadAll(in.Body); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v", rest, err)
	}
	_ = in.Body.Close()
}

// ATTACK: a request that fails half-way is completed by whoever sends it on, and
// the far side acts on the stump.
// THIS TEST VERIFIES that the far side sees an incomplete message, whatever made
// it so.
func TestAbortedRequest(t *testing.T) {
	errSource := errors.New("the source broke")
	for name, tt := range map[string]struct {
		source func() io.Reader
		length int64
	}{
		"error in chunks":    {func() io.Reader { return io.MultiReader(strings.NewReader("hello"), failsRead{errSource}) }, -1},
		"error in a length":  {func() io.Reader { return io.MultiReader(strings.NewReader("hello"), failsRead{errSource}) }, 10},
		"error at the end":   {func() io.Reader { return io.MultiReader(strings.NewReader("hello"), failsRead{errSource}) }, 5},
		"short":              {func() io.Reader { return strings.NewReader("hello") }, 10},
		"long":               {func() io.Reader { return strings.NewReader("hello!") }, 5},
		"long, in two":       {func() io.Reader { return io.MultiReader(strings.NewReader("hello"), strings.NewReader("!")) }, 5},
		"nothing of a hello": {func() io.Reader { return strings.NewReader("") }, 5},
	} {
		t.Run(name, func(t *testing.T) {
			bodies := make(chan error, 1)
			at := serve(t, &http1.Server{Handler: handler{exchange: func(x *http1.Exchange) {
				_, err := x.ReadBody(nil)
				bodies <- err
				_ = x.Respond(200, nil, nil)
			}, fault: func(_ *http1.Exchange, f *http1.Fault) { bodies <- f }}})
			c := &http1.Client{Dial: dial}
			out := to("http", at, "POST", "/", nil)
			out.Stream, out.Length = tt.source(), tt.length
			_, err := c.Do(t.Context(), out)
			e := failure(t, err, http1.ErrSource, name != "nothing of a hello" && name != "long" && name != "long, in two" && name != "error at the end")
			if strings.HasPrefix(name, "error") && !errors.Is(err, errSource) {
				t.Error(err)
			}
			if !e.Sent {
				return
			}
			var f *http1.Fault
			if err := <-bodies; !errors.As(err, &f) || f.Reason != http1.BodyTruncated {
				t.Errorf("the far side saw %v", err)
			}
		})
	}
	out := to("http", netip.MustParseAddrPort("127.0.0.1:1"), "POST", "/", nil)
	at := upstream(t, func(nc net.Conn, _ int) { _, _ = io.Copy(io.Discard, nc) })
	out.Port, out.Stream, out.Length = at.Port(), strings.NewReader("x"), -1
	out.Trailer = func() http1.Fields { return http1.Fields{{Name: "Content-Length", Value: "5"}} }
	_, err := (&http1.Client{Dial: dial}).Do(t.Context(), out)
	failure(t, err, http1.ErrSource, true)
}

type failsRead struct{ err error }

func (f failsRead) Read([]byte) (int, error) { return 0, f.err }

// closer is a stream that blocks until it is closed.
type closer struct {
	first  string
	closed chan struct{}
	once   sync.Once
}

func (c *closer) Read(p []byte) (int, error) {
	if c.first != "" {
		n := copy(p, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	<-c.closed
	return 0, errors.New("closed")
}

func (c *closer) Close() error { c.once.Do(func() { close(c.closed) }); return nil }

// A stream that nobody wants any more is closed, and never read after Do has
// failed or the body was closed.
func TestStreamIsClosed(t *testing.T) {
	at := upstream(t, func(nc net.Conn, _ int) {
		r := bufio.NewReader(nc)
		_, _ = r.ReadString('\n')
		_, _ = io.WriteString(nc, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
		_, _ = io.Copy(io.Discard, nc)
	})
	c := &http1.Client{Dial: dial}
	out := to("http", at, "POST", "/", nil)
	s := &closer{first: "hello", closed: make(chan struct{})}
	out.Stream, out.Length = s, -1
	in, err := c.Do(t.Context(), out)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := in.ReadBody(nil); err != nil || string(body) != "no" {
		t.Errorf("%q, %v", body, err)
	}
	<-s.closed
	if _, err := in.Body.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("reading on: %v", err)
	}
}

// The end of the context ends each part of a request.
func TestCancel(t *testing.T) {
	asked := make(chan struct{}, 1)
	silent := upstream(t, func(nc net.Conn, _ int) {
		_ = skipRequest(bufio.NewReader(nc))
		asked <- struct{}{}
		_, _ = io.Copy(io.Discard, nc)
	})
	half := upstream(t, func(nc net.Conn, _ int) {
		_ = skipRequest(bufio.NewReader(nc))
		_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
		_, _ = io.Copy(io.Discard, nc)
	})
	c := &http1.Client{Dial: dial}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := c.Do(ctx, to("http", silent, "GET", "/", nil))
	failure(t, err, http1.ErrCanceled, false)

	ctx, cancel = context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	_, err = c.Do(ctx, to("http", silent, "GET", "/", nil))
	failure(t, err, http1.ErrCanceled, true)

	piped := &http1.Client{}
	inPipe(t, piped, func(nc net.Conn) { _, _ = io.Copy(io.Discard, nc) }, func(t *testing.T) {
		for _, body := range [][]byte{nil, make([]byte, 10<<20)} {
			ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
			defer cancel()
			begin := time.Now()
			_, err := piped.Do(ctx, &http1.Outgoing{Scheme: "http", Host: "upstream.test", Method: "POST", Target: "/", Body: body})
			if e := failure(t, err, http1.ErrTimeout, true); e.Status() != 504 || time.Since(begin) != 7*time.Second {
				t.Errorf("status %d after %v", e.Status(), time.Since(begin))
			}
		}
	})

	ctx, cancel = context.WithCancel(t.Context())
	in, err := c.Do(ctx, to("http", half, "GET", "/", nil))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	_, err = in.ReadBody(nil)
	failure(t, err, http1.ErrCanceled, true)
	if _, again := in.Body.Read(make([]byte, 1)); again == nil {
		t.Error("a failed body goes on")
	}
}

// Closing a body early ends the connection; it is not used again.
func TestCloseEarly(t *testing.T) {
	at := serve(t, &http1.Server{Handler: handler{exchange: func(x *http1.Exchange) { _ = x.Respond(200, nil, make([]byte, 1<<20)) }}})
	c := &http1.Client{Dial: dial}
	defer c.CloseIdle()
	for range 2 {
		in, err := c.Do(t.Context(), to("http", at, "GET", "/", nil))
		if err != nil {
			t.Fatal(err)
		}
		if in.Reused {
			t.Error("reused")
		}
		if err := in.Body.Close(); err != nil {
			t.Error(err)
		}
		_, err = in.Body.Read(make([]byte, 1))
		failure(t, err, http1.ErrUsage, true)
	}
}

// inPipe runs f with a client whose upstream is serve, and with time under the
// test's control.
func inPipe(t *testing.T, c *http1.Client, serve func(nc net.Conn), f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c.Dial = func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			go func() {
				defer func() { _ = server.Close() }()
				serve(server)
			}()
			return client, nil
		}
		f(t)
		c.CloseIdle()
		synctest.Wait()
	})
}

// ATTACK: an upstream is slow in every way there is.
// THIS TEST VERIFIES that each part of a request has its time and that its end
// is reported as a timeout, with what was sent.
func TestSlowUpstream(t *testing.T) {
	get := &http1.Outgoing{Scheme: "http", Host: "upstream.test", Method: "GET", Target: "/"}
	for name, tt := range map[string]struct {
		serve func(nc net.Conn)
		after time.Duration
		body  bool // it is the body that fails
	}{
		"no head": {func(nc net.Conn) { _, _ = io.Copy(io.Discard, nc) }, 30 * time.Second, false},
		"a dripping head": {func(nc net.Conn) {
			_ = skipRequest(bufio.NewReader(nc))
			for _, c := range "HTTP/1.1 200 OK\r\nX-A: aaaaaaaaaaaaaaaaaaaaaaa" {
				<-time.After(time.Second)
				if _, err := nc.Write([]byte{byte(c)}); err != nil {
					return
				}
			}
			_, _ = io.Copy(io.Discard, nc)
		}, 30 * time.Second, false},
		"does not read": {func(nc net.Conn) { <-time.After(time.Hour) }, 30 * time.Second, false},
		"a silent body": {func(nc net.Conn) {
			_ = skipRequest(bufio.NewReader(nc))
			_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
			_, _ = io.Copy(io.Discard, nc)
		}, 30 * time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			c := &http1.Client{}
			inPipe(t, c, tt.serve, func(t *testing.T) {
				begin := time.Now()
				in, err := c.Do(t.Context(), get)
				if tt.body && err == nil {
					_, err = in.ReadBody(nil)
				}
				if e := failure(t, err, http1.ErrTimeout, true); e.Status() != 504 {
					t.Errorf("status %d", e.Status())
				}
				if took := time.Since(begin); took != tt.after {
					t.Errorf("it took %v", took)
				}
				<-time.After(2 * time.Hour)
			})
		})
	}
	t.Run("does not take the body", func(t *testing.T) {
		c := &http1.Client{}
		inPipe(t, c, func(nc net.Conn) {
			_, _ = nc.Read(make([]byte, 100))
			<-time.After(time.Hour)
		}, func(t *testing.T) {
			begin := time.Now()
			post := *get
			post.Method, post.Body = "POST", make([]byte, 1<<20)
			_, err := c.Do(t.Context(), &post)
			failure(t, err, http1.ErrTimeout, true)
			if took := time.Since(begin); took != time.Minute {
				t.Errorf("it took %v", took)
			}
			<-time.After(2 * time.Hour)
		})
	})
	t.Run("no handshake", func(t *testing.T) {
		c := &http1.Client{}
		inPipe(t, c, func(nc net.Conn) { _, _ = io.Copy(io.Discard, nc) }, func(t *testing.T) {
			begin := time.Now()
			secure := *get
			secure.Scheme = "https"
			_, err := c.Do(t.Context(), &secure)
			failure(t, err, http1.ErrTimeout, false)
			if took := time.Since(begin); took != 10*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	})
	t.Run("no connection", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := &http1.Client{Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}}
			begin := time.Now()
			_, err := c.Do(t.Context(), get)
			failure(t, err, http1.ErrTimeout, false)
			if took := time.Since(begin); took != 10*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	})
}

// Kept connections end by themselves, sooner if the upstream said so; there are
// no more of them than there may be.
func TestIdleConnections(t *testing.T) {
	get := &http1.Outgoing{Scheme: "http", Host: "upstream.test", Method: "GET", Target: "/"}
	var mu sync.Mutex
	open := 0
	keepAlive := ""
	serve := func(nc net.Conn) {
		mu.Lock()
		open++
		mu.Unlock()
		r := bufio.NewReader(nc)
		for skipRequest(r) == nil {
			_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\n"+keepAlive+"Content-Length: 1\r\n\r\nx")
		}
		mu.Lock()
		open--
		mu.Unlock()
	}
	count := func() int {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		return open
	}
	c := &http1.Client{MaxIdlePerHost: 2}
	inPipe(t, c, serve, func(t *testing.T) {
		do := func() *http1.Incoming {
			t.Helper()
			in, err := c.Do(t.Context(), get)
			if err != nil {
				t.Fatal(err)
			}
			return in
		}
		three := []*http1.Incoming{do(), do(), do()}
		if n := count(); n != 3 {
			t.Errorf("%d connections at work", n)
		}
		for _, in := range three {
			if _, err := in.ReadBody(nil); err != nil {
				t.Fatal(err)
			}
		}
		if n := count(); n != 2 {
			t.Errorf("%d connections are kept", n)
		}
		<-time.After(3 * time.Second)
		in := do()
		if !in.Reused {
			t.Error("a connection of 3 s was not used")
		}
		_, _ = in.ReadBody(nil)
		<-time.After(5 * time.Second)
		if n := count(); n > 1 {
			t.Errorf("%d connections are kept after 8 and 5 s", n)
		}
		<-time.After(5 * time.Second)
		if n := count(); n != 0 {
			t.Errorf("%d connections are kept for ever", n)
		}
		keepAlive = "Keep-Alive: timeout=3\r\n"
		_, _ = do().ReadBody(nil)
		<-time.After(2500 * time.Millisecond)
		if in = do(); in.Reused {
			t.Error("a connection was used that the upstream was about to close")
		}
		_, _ = in.ReadBody(nil)
		c.CloseIdle()
		if n := count(); n != 0 {
			t.Errorf("%d connections survive CloseIdle", n)
		}
	})
}

// ATTACK: somebody else answers for the upstream; or the same connection is
// used for two names.
// THIS TEST VERIFIES that the certificate must be valid for the name asked for,
// that nothing is sent before, and that connections are not shared by names.
func TestServerName(t *testing.T) {
	serverTLS, clientTLS := certificates(t)
	at := serve(t, &http1.Server{TLS: serverTLS, Handler: handler{exchange: func(x *http1.Exchange) {
		_ = x.Respond(200, nil, []byte(x.Request.TLS.ServerName))
	}}})
	c := &http1.Client{Dial: dial, TLS: clientTLS}
	defer c.CloseIdle()
	for _, name := range []string{"gateway.test", "upstream.test", "gateway.test"} {
		out := to("https", at, "GET", "/", nil)
		out.ServerName = name
		in, err := c.Do(t.Context(), out)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := in.ReadBody(nil); err != nil || string(body) != name {
			t.Errorf("%s got %q, %v", name, body, err)
		}
	}
	out := to("https", at, "GET", "/", nil)
	out.ServerName = "evil.test"
	_, err := c.Do(t.Context(), out)
	e := failure(t, err, http1.ErrTLS, false)
	var verification *tls.CertificateVerificationError
	if !errors.As(e, &verification) || e.Status() != 502 {
		t.Error(err)
	}
	_, err = (&http1.Client{Dial: dial}).Do(t.Context(), to("https", at, "GET", "/", nil))
	failure(t, err, http1.ErrTLS, false) // the system's roots do not know it
	plain := upstream(t, func(nc net.Conn, _ int) { _, _ = io.WriteString(nc, "HTTP/1.1 400 Bad Request\r\n\r\n") })
	_, err = c.Do(t.Context(), to("https", plain, "GET", "/", nil))
	failure(t, err, http1.ErrTLS, false)
	_, err = c.Do(t.Context(), to("http", netip.MustParseAddrPort("127.0.0.1:1"), "GET", "/", nil))
	failure(t, err, http1.ErrDial, false)
}

// Many requests at once over few connections, under the race detector.
func TestConcurrent(t *testing.T) {
	serverTLS, clientTLS := certificates(t)
	at := serve(t, &http1.Server{TLS: serverTLS, Handler: handler{exchange: echo}})
	c := &http1.Client{Dial: dial, TLS: clientTLS, MaxIdlePerHost: 4}
	defer c.CloseIdle()
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 30 {
				body := bytes.Repeat([]byte{byte('a' + g)}, i*i*100)
				out := to("https", at, "POST", "/", body)
				if i%3 == 0 {
					out.Body, out.Stream, out.Length = nil, bytes.NewReader(body), -1
				}
				in, err := c.Do(t.Context(), out)
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := in.ReadBody(nil); err != nil || !bytes.Equal(got, body) {
					t.Errorf("%d bytes of %d, %v", len(got), len(body), err)
				}
			}
		})
	}
	wg.Wait()
}

// Names of errors and reasons are all there, and different.
func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for k := http1.ErrUsage; k <= http1.ErrSource; k++ {
		if s := k.String(); seen[s] || strings.Contains(s, "invalid") {
			t.Errorf("kind %d is %q", k, s)
		} else {
			seen[s] = true
		}
	}
	for r := http1.Unspecified; r <= http1.NoLength; r++ {
		if s := r.String(); s == "" || seen[s] || strings.Contains(s, "invalid(") || r.Status() < 400 || http1.Phrase(r.Status()) == "" {
			t.Errorf("reason %d is %q, %d", r, s, r.Status())
		} else {
			seen[s] = true
		}
	}
	if s := http1.ErrorKind(99).String(); s != "invalid(99)" {
		t.Error(s)
	}
	if s := http1.Reason(200).String(); s != "invalid(200)" || http1.Reason(200).Status() != 400 {
		t.Error(s)
	}
	if s := (&http1.Error{Kind: http1.ErrDial}).Error(); s != "cannot connect" {
		t.Error(s)
	}
}

// ATTACK: a response that ends with its connection is cut off by somebody who
// can reset connections but not forge TLS.
// THIS TEST VERIFIES that over TLS such a response is complete only if the
// upstream says so.
func TestCloseDelimitedTLS(t *testing.T) {
	serverTLS, clientTLS := certificates(t)
	for _, notify := range []bool{true, false} {
		at := upstream(t, func(raw net.Conn, _ int) {
			nc := tls.Server(raw, serverTLS)
			_ = skipRequest(bufio.NewReader(nc))
			_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\n\r\nhello")
			if notify {
				_ = nc.CloseWrite()
			}
			_ = raw.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, raw)
		})
		c := &http1.Client{Dial: dial, TLS: clientTLS, CloseDelimited: true}
		in, err := c.Do(t.Context(), to("https", at, "GET", "/", nil))
		if err != nil || !in.CloseDelimited || in.ContentLength != -1 {
			t.Fatalf("%+v, %v", in, err)
		}
		body, err := in.ReadBody(nil)
		if notify && (err != nil || string(body) != "hello") {
			t.Errorf("%q, %v", body, err)
		}
		if !notify {
			failure(t, err, http1.ErrClosed, true)
		}
	}
}

package http1_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isogate/isogate/internal/http1"
)

// ATTACK: a destination may not be reached any more, but connections to it are
// still there, kept, used, or in the making.
// THIS TEST VERIFIES that none of them takes another request once CloseHost was
// called, and that connections to other places do.
//
// promise: P14
func TestCloseHost(t *testing.T) {
	proceed := make(chan struct{})
	asked := make(chan struct{}, 10)
	var conns atomic.Int64
	start := func() netip.AddrPort {
		return upstream(t, func(nc net.Conn, _ int) {
			conns.Add(1)
			r := bufio.NewReader(nc)
			for {
				line, err := r.Peek(10)
				if err != nil || skipRequest(r) != nil {
					return
				}
				if strings.HasPrefix(string(line), "GET /slow") {
					asked <- struct{}{}
					<-proceed
				}
				_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			}
		})
	}
	here, there := start(), start()
	var dialling, dialled chan struct{}
	c := &http1.Client{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if dialling != nil {
			close(dialling)
			<-dialled
		}
		return dial(ctx, network, address)
	}}
	defer c.CloseIdle()
	get := func(at netip.AddrPort, target string) bool {
		in, err := c.Do(t.Context(), to("http", at, "GET", target, nil))
		if err != nil {
			t.Error(err)
			return false
		}
		if b, err := in.ReadBody(nil); err != nil || string(b) != "ok" {
			t.Errorf("%q, %v", b, err)
		}
		return in.Reused
	}
	kept := func(at netip.AddrPort, want bool, when string) {
		t.Helper()
		if got := get(at, "/"); got != want {
			t.Errorf("%s: Reused is %v", when, got)
		}
	}
	kept(here, false, "first")
	kept(there, false, "first")
	kept(here, true, "second")
	c.CloseHost("127.0.0.1", here.Port())
	kept(here, false, "closed")
	kept(there, true, "elsewhere")
	c.CloseHost("127.0.0.2", here.Port())
	c.CloseHost("127.0.0.1", 1)
	kept(here, true, "another host and another port closed")

	over := make(chan struct{})
	go func() {
		get(here, "/slow")
		over <- struct{}{}
	}()
	<-asked
	c.CloseHost("127.0.0.1", here.Port())
	proceed <- struct{}{}
	<-over
	kept(here, false, "closed while it was used")
	kept(here, true, "and then kept")

	// A body that was not read to its end when it was closed.
	in, err := c.Do(t.Context(), to("http", here, "GET", "/", nil))
	if err != nil {
		t.Fatal(err)
	}
	c.CloseHost("127.0.0.1", 0)
	if b, err := in.ReadBody(nil); err != nil || string(b) != "ok" {
		t.Errorf("%q, %v", b, err)
	}
	kept(here, false, "closed under a body, every port")
	kept(there, false, "every port")

	c.CloseIdle()
	dialling, dialled = make(chan struct{}), make(chan struct{})
	go func() {
		get(here, "/")
		over <- struct{}{}
	}()
	<-dialling
	c.CloseHost("127.0.0.1", here.Port())
	close(dialled)
	<-over
	dialling = nil
	before := conns.Load()
	kept(here, false, "closed while it was dialled")
	if conns.Load() != before+1 {
		t.Error("no new connection")
	}
	(&http1.Client{}).CloseHost("h", 443) // before anything was sent
}

// ATTACK: consent is revoked in the middle of a request whose body and whose
// response are still under way, both slow, with nobody saying anything.
// THIS TEST VERIFIES that the end of the context ends both directions at once,
// towards the upstream and in the goroutine that sends, and that the connection
// is gone.
//
// promise: P14
func TestCancelBothWays(t *testing.T) {
	for _, length := range []int64{-1, 1 << 20} {
		for _, when := range []string{"head", "body"} {
			c := &http1.Client{}
			var got chan string
			inPipe(t, c, func(nc net.Conn) {
				r := bufio.NewReader(nc)
				for line := ""; line != "\r\n"; {
					var err error
					if line, err = r.ReadString('\n'); err != nil {
						got <- err.Error()
						return
					}
				}
				if when == "body" {
					_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
				}
				b, _ := io.ReadAll(r)
				got <- string(b)
			}, func(t *testing.T) {
				got = make(chan string, 1)
				body, write := io.Pipe()
				ctx, cancel := context.WithCancel(t.Context())
				out := &http1.Outgoing{Scheme: "http", Host: "upstream.test", Method: "POST", Target: "/", Stream: body, Length: length}
				go func() {
					_, _ = io.WriteString(write, "piece")
					synctest.Wait()
					cancel()
				}()
				begin := time.Now()
				in, err := c.Do(ctx, out)
				if when == "head" {
					failure(t, err, http1.ErrCanceled, true)
				} else {
					if err != nil {
						t.Fatal(err)
					}
					var b []byte
					b, err = in.ReadBody(nil)
					failure(t, err, http1.ErrCanceled, true)
					if string(b) != "hello" {
						t.Errorf("the response is %q", b)
					}
				}
				if time.Since(begin) > 0 {
					t.Errorf("it took %v", time.Since(begin))
				}
				if _, err := write.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
					t.Errorf("the request's body is still read: %v", err)
				}
				if b := <-got; !strings.Contains(b, "piece") || strings.HasSuffix(b, "0\r\n\r\n") {
					t.Errorf("the upstream got %q", b)
				}
			})
		}
	}
}

// ATTACK: an upstream splits the framing of a chunk so that an event that is
// here already waits for the next.
// THIS TEST VERIFIES that each piece of a response is handed on as it comes, in
// every way that it may be cut, through a proxy that flushes what it reads.
func TestEventStream(t *testing.T) {
	for name, pieces := range map[string][2]string{
		"whole chunks":           {"5\r\nhello\r\n", "5\r\nworld\r\n0\r\n\r\n"},
		"a chunk's end behind":   {"5\r\nhello", "\r\n5\r\nworld\r\n0\r\n\r\n"},
		"half a chunk's end":     {"5\r\nhello\r", "\n5\r\nworld\r\n0\r\n\r\n"},
		"the next size begun":    {"5\r\nhello\r\n5", "\r\nworld\r\n0\r\n\r\n"},
		"the next size not over": {"5\r\nhello\r\n5\r", "\nworld\r\n0\r\n\r\n"},
		"the next size":          {"5\r\nhello\r\n5\r\n", "world\r\n0\r\n\r\n"},
		"a trailer begun":        {"5\r\nhello\r\n0\r\nX-A", ": b\r\n\r\n"},
		"half a chunk":           {"a\r\nhello", "world\r\n0\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			seen := make(chan struct{}, 1)
			at := upstream(t, func(nc net.Conn, _ int) {
				_ = skipRequest(bufio.NewReader(nc))
				_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"+pieces[0])
				<-seen // the client has it before more is sent
				_, _ = io.WriteString(nc, pieces[1])
			})
			c := &http1.Client{Dial: dial}
			defer c.CloseIdle()
			proxy := serve(t, &http1.Server{Handler: handler{exchange: func(x *http1.Exchange) {
				in, err := c.Do(x.Context(), to("http", at, "GET", "/", nil))
				if err != nil {
					t.Error(err)
					return
				}
				w, err := x.Stream(in.Status, nil, -1)
				if err != nil {
					t.Error(err)
				}
				buf := make([]byte, 8<<10)
				for err == nil {
					var n int
					n, err = in.Body.Read(buf)
					_, _ = w.Write(buf[:n])
					_ = w.Flush()
				}
				if !errors.Is(err, io.EOF) {
					t.Error(err)
				}
				_ = w.Close()
			}}})
			nc := connect(t, proxy)
			_, _ = io.WriteString(nc, closing)
			r := bufio.NewReader(nc)
			for line := ""; line != "hello\r\n"; {
				var err error
				if line, err = r.ReadString('\n'); err != nil {
					t.Fatalf("%q, %v", line, err)
				}
			}
			seen <- struct{}{}
			want := "5\r\nworld\r\n0\r\n\r\n"
			if strings.HasPrefix(name, "a trailer") {
				want = "0\r\n\r\n"
			}
			if b, err := io.ReadAll(r); err != nil || string(b) != want {
				t.Errorf("then %q, %v", b, err)
			}
		})
	}
}

package http1_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isogate/isogate/internal/http1"
)

// pipes is a listener whose connections are made by dial, within one process
// and one clock.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial() net.Conn {
	client, server := net.Pipe()
	p.conns <- server
	return client
}

// inBubble runs f with a server whose time is under the test's control.
func inBubble(t *testing.T, s *http1.Server, f func(t *testing.T, p *pipes, stop context.CancelFunc)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx, p) }()
		f(t, p, stop)
		stop()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

// ATTACK: slowloris: a client holds connections by saying nothing, or by sending
// a head or a body byte by byte; or by never reading its answers.
// THIS TEST VERIFIES that each part has its time, that the slow client is told,
// and that its connection ends.
func TestSlow(t *testing.T) {
	const head = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n"
	echoing := handler{exchange: echo}
	for name, tt := range map[string]struct {
		send   string        // at once
		drip   time.Duration // then a byte every
		status int           // 0: ended without an answer
		after  time.Duration // at the least
		before time.Duration // at the most
	}{
		"nothing":             {"", 0, 0, 60 * time.Second, 61 * time.Second},
		"part of a head":      {"GET / HTT", 0, 408, 10 * time.Second, 11 * time.Second},
		"a dripping head":     {"GET /", time.Second, 408, 10 * time.Second, 11 * time.Second},
		"a silent body":       {head, 0, 408, 10 * time.Second, 11 * time.Second},
		"a dripping body":     {head, 9 * time.Second, 408, 10 * time.Second, 20 * time.Second},
		"a body that stops":   {head + strings.Repeat("a", 90000), 0, 408, 10 * time.Second, 11 * time.Second},
		"a body that trickle": {head + strings.Repeat("a", 50000), 5 * time.Second, 408, 50 * time.Second, 70 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, &http1.Server{Handler: echoing}, func(t *testing.T, p *pipes, _ context.CancelFunc) {
				begin := time.Now()
				nc := p.dial()
				over := make(chan struct{})
				go func() {
					defer close(over)
					var err error
					if tt.send != "" {
						_, err = io.WriteString(nc, tt.send)
					}
					for err == nil && tt.drip > 0 {
						<-time.After(tt.drip)
						_, err = io.WriteString(nc, "a")
					}
				}()
				r := bufio.NewReader(nc)
				if tt.status != 0 {
					if status, body := answer(t, r, "GET"); status != tt.status {
						t.Errorf("answer %d %s", status, body)
					}
				}
				if b, err := io.ReadAll(r); err != nil || len(b) > 0 {
					t.Errorf("the connection ended with %q, %v", b, err)
				}
				if took := time.Since(begin); took < tt.after || took > tt.before {
					t.Errorf("it took %v", took)
				}
				_ = nc.Close()
				<-over
			})
		})
	}
	t.Run("a client that does not read", func(t *testing.T) {
		var failed chan error
		inBubble(t, &http1.Server{Handler: handler{exchange: func(x *http1.Exchange) {
			failed <- x.Respond(200, nil, make([]byte, 1<<20))
		}}}, func(t *testing.T, p *pipes, _ context.CancelFunc) {
			failed = make(chan error, 1)
			begin := time.Now()
			nc := p.dial()
			if _, err := io.WriteString(nc, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			if err := <-failed; err == nil {
				t.Error("the answer was sent to nobody")
			}
			if took := time.Since(begin); took < 30*time.Second || took > 31*time.Second {
				t.Errorf("it took %v", took)
			}
			if b, err := io.ReadAll(nc); err == nil && len(b) >= 1<<20 {
				t.Error("the answer is complete")
			}
		})
	})
	t.Run("a handshake that does not come", func(t *testing.T) {
		config, _ := certificates(t)
		var failed chan error
		s := &http1.Server{Handler: echoing, TLS: config, HandshakeFailed: func(_ netip.AddrPort, err error) { failed <- err }}
		inBubble(t, s, func(t *testing.T, p *pipes, _ context.CancelFunc) {
			failed = make(chan error, 1)
			begin := time.Now()
			nc := p.dial()
			if err := <-failed; !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			if took := time.Since(begin); took != 10*time.Second {
				t.Errorf("it took %v", took)
			}
			_ = nc.Close()
		})
	})
}

// A slow body is not refused for time that the handler took.
func TestSlowHandler(t *testing.T) {
	s := &http1.Server{Handler: handler{exchange: func(x *http1.Exchange) {
		var b [1]byte
		for range 5 {
			if _, err := io.ReadFull(x.Request.Body, b[:]); err != nil {
				t.Error(err)
			}
			<-time.After(time.Minute)
		}
		_ = x.Respond(200, nil, nil)
	}}}
	inBubble(t, s, func(t *testing.T, p *pipes, _ context.CancelFunc) {
		nc := p.dial()
		go func() {
			_, _ = io.WriteString(nc, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
			for range 5 {
				_, _ = io.WriteString(nc, "1\r\na\r\n")
			}
		}()
		if status, _ := answer(t, bufio.NewReader(nc), "POST"); status != 200 {
			t.Errorf("status %d", status)
		}
		_ = nc.Close()
	})
}

// At the end of Serve idle connections are closed, running exchanges are
// answered and told to close, and what does not end is cut off.
func TestDrain(t *testing.T) {
	begun := make(chan struct{})
	proceed := make(chan struct{})
	ended := make(chan error, 1)
	s := &http1.Server{Handler: handler{exchange: func(x *http1.Exchange) {
		switch x.Request.Path {
		case "/slow":
			close(begun)
			<-proceed
			_ = x.Respond(200, nil, []byte("done"))
		case "/stuck":
			close(begun)
			<-x.Context().Done()
			ended <- x.Context().Err()
		default:
			_ = x.Respond(200, nil, nil)
		}
	}}}
	synctest.Test(t, func(t *testing.T) {
		begun, proceed = make(chan struct{}), make(chan struct{})
		p := newPipes()
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx, p) }()
		idle, slow := p.dial(), p.dial()
		for _, nc := range []net.Conn{idle, slow} {
			if _, err := io.WriteString(nc, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			if status, _ := answer(t, bufio.NewReader(nc), "GET"); status != 200 {
				t.Fatal(status)
			}
		}
		if _, err := io.WriteString(slow, "GET /slow HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		<-begun
		synctest.Wait()
		stop()
		if b, err := io.ReadAll(idle); err != nil || len(b) > 0 {
			t.Errorf("the idle connection ended with %q, %v", b, err)
		}
		synctest.Wait()
		select {
		case p.conns <- nil:
			t.Error("a new connection is accepted")
		default:
		}
		select {
		case <-done:
			t.Error("Serve did not wait")
		default:
		}
		close(proceed)
		b, err := io.ReadAll(slow)
		if err != nil || !bytes.Contains(b, []byte("\r\nConnection: close\r\n")) || !bytes.HasSuffix(b, []byte("\r\n\r\ndone")) {
			t.Errorf("the running exchange got %q, %v", b, err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		begun, ended = make(chan struct{}), make(chan error, 1)
		p := newPipes()
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx, p) }()
		nc := p.dial()
		if _, err := io.WriteString(nc, "GET /stuck HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		<-begun
		stop()
		at := time.Now()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if err := <-done; err != nil || time.Since(at) != 30*time.Second {
			t.Errorf("Serve ended after %v with %v", time.Since(at), err)
		}
		if b, err := io.ReadAll(nc); len(b) > 0 {
			t.Errorf("the stuck exchange got %q, %v", b, err)
		}
	})
}

// An error of the listener ends Serve and is returned; what passes is waited for.
func TestAcceptErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &failing{errs: []error{&net.OpError{Op: "accept", Err: temporary{}}, &net.OpError{Op: "accept", Err: temporary{}}, errors.New("broken")}}
		var log bytes.Buffer
		s := &http1.Server{Handler: handler{exchange: echo}, Logger: slog.New(slog.NewTextHandler(&log, nil))}
		begin := time.Now()
		if err := s.Serve(t.Context(), l); err == nil || err.Error() != "broken" {
			t.Errorf("Serve: %v", err)
		}
		if took := time.Since(begin); took != 15*time.Millisecond || strings.Count(log.String(), "accept failed") != 2 {
			t.Errorf("after %v: %s", took, &log)
		}
		l.errs = []error{&net.OpError{Op: "accept", Err: temporary{}}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := s.Serve(ctx, l); err != nil {
			t.Errorf("Serve at the end of its context: %v", err)
		}
	})
	if err := (&http1.Server{}).Serve(t.Context(), newPipes()); err == nil {
		t.Error("a server without a handler serves")
	}
}

type temporary struct{}

func (temporary) Error() string   { return "too many open files" }
func (temporary) Temporary() bool { return true }
func (temporary) Timeout() bool   { return false }

type failing struct{ errs []error }

func (f *failing) Accept() (net.Conn, error) {
	err := f.errs[0]
	f.errs = f.errs[1:]
	return nil, err
}
func (f *failing) Close() error   { return nil }
func (f *failing) Addr() net.Addr { return &net.TCPAddr{} }

// ATTACK: a client opens as many connections as there may be and does nothing
// with them, so that nobody else gets in.
// THIS TEST VERIFIES that idle connections make room, that busy ones do not,
// and that the limit holds.
func TestConnLimit(t *testing.T) {
	proceed := make(chan struct{})
	s := &http1.Server{ConnLimit: 2, Handler: handler{exchange: func(x *http1.Exchange) {
		if x.Request.Path == "/busy" {
			<-proceed
		}
		_ = x.Respond(200, nil, nil)
	}}}
	inBubble(t, s, func(t *testing.T, p *pipes, _ context.CancelFunc) {
		proceed = make(chan struct{})
		ask := func(nc net.Conn, path string) {
			t.Helper()
			if _, err := io.WriteString(nc, "GET "+path+" HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
		}
		busy, idle := p.dial(), p.dial()
		ask(busy, "/busy")
		synctest.Wait()
		begin := time.Now()
		third := p.dial() // takes the place of the idle one
		ask(third, "/busy")
		if b, err := io.ReadAll(idle); err != nil || len(b) > 0 || time.Since(begin) > time.Second {
			t.Errorf("the idle connection got %q, %v after %v", b, err, time.Since(begin))
		}
		fourth := p.dial()
		served := make(chan struct{})
		go func() {
			ask(fourth, "/")
			close(served)
		}()
		<-time.After(5 * time.Second)
		select {
		case <-served:
			t.Error("a third connection was served")
		default:
		}
		close(proceed)
		for _, nc := range []net.Conn{busy, third} {
			if status, _ := answer(t, bufio.NewReader(nc), "GET"); status != 200 {
				t.Error(status)
			}
		}
		<-served
		if status, _ := answer(t, bufio.NewReader(fourth), "GET"); status != 200 {
			t.Error(status)
		}
		for _, nc := range []net.Conn{busy, third, fourth} {
			_ = nc.Close()
		}
	})
}

// exchangeOnce sends one request to a handler and returns all that comes back
// until the connection ends.
func exchangeOnce(t *testing.T, request string, h func(x *http1.Exchange)) string {
	t.Helper()
	at := serve(t, &http1.Server{Handler: handler{exchange: h}})
	nc := connect(t, at)
	if _, err := io.WriteString(nc, request); err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(nc)
	return string(b)
}

const closing = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"

// ATTACK: a value that came from elsewhere carries a line end into a header
// field of an answer (response splitting), or a field that frames it.
// THIS TEST VERIFIES that such an answer is not sent, and that a proper one can
// still be.
func TestRespondRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		status int
		header http1.Fields
		body   string
	}{
		"line end":         {200, http1.Fields{{Name: "X-A", Value: "a\r\nSet-Cookie: b"}}, ""},
		"CR":               {200, http1.Fields{{Name: "X-A", Value: "a\rb"}}, ""},
		"NUL":              {200, http1.Fields{{Name: "X-A", Value: "a\x00"}}, ""},
		"space before":     {200, http1.Fields{{Name: "X-A", Value: " a"}}, ""},
		"tab after":        {200, http1.Fields{{Name: "X-A", Value: "a\t"}}, ""},
		"colon in a name":  {200, http1.Fields{{Name: "X-A:", Value: "a"}}, ""},
		"line end in name": {200, http1.Fields{{Name: "X\r\nA", Value: "a"}}, ""},
		"no name":          {200, http1.Fields{{Value: "a"}}, ""},
		"length":           {200, http1.Fields{{Name: "content-LENGTH", Value: "5"}}, ""},
		"coding":           {200, http1.Fields{{Name: "Transfer-Encoding", Value: "chunked"}}, ""},
		"connection":       {200, http1.Fields{{Name: "Connection", Value: "close"}}, ""},
		"upgrade":          {200, http1.Fields{{Name: "Upgrade", Value: "h2c"}}, ""},
		"interim":          {100, nil, ""},
		"101":              {101, nil, ""},
		"600":              {600, nil, ""},
		"zero":             {0, nil, ""},
		"body of 204":      {204, nil, "x"},
		"body of 304":      {304, nil, "x"},
	} {
		t.Run(name, func(t *testing.T) {
			got := exchangeOnce(t, closing, func(x *http1.Exchange) {
				if err := x.Respond(tt.status, tt.header, []byte(tt.body)); err == nil || x.Answered() {
					t.Errorf("Respond: %v, answered %v", err, x.Answered())
				}
				if w, err := x.Stream(tt.status, tt.header, int64(len(tt.body))); err == nil || w != nil {
					t.Errorf("Stream: %v", err)
				}
				if err := x.Respond(201, nil, []byte("fine")); err != nil || !x.Answered() {
					t.Error(err)
				}
				if err := x.Respond(202, nil, nil); err == nil {
					t.Error("answered twice")
				}
			})
			if !strings.HasPrefix(got, "HTTP/1.1 201 Created\r\nDate: ") || !strings.HasSuffix(got, "\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfine") || strings.Count(got, "HTTP/1.1") != 1 {
				t.Errorf("got %q", got)
			}
		})
	}
}

// What an answer looks like, byte for byte but for its date.
func TestAnswers(t *testing.T) {
	field := http1.Fields{{Name: "X-A", Value: "1"}, {Name: "Date", Value: "today"}}
	big := strings.Repeat("0123456789abcdef", 4096)
	const head = "HTTP/1.1 200 OK\r\nX-A: 1\r\nDate: today\r\n"
	stream := func(length int64, pieces ...string) func(*http1.Exchange) {
		return func(x *http1.Exchange) {
			w, err := x.Stream(200, field, length)
			if err != nil {
				t.Error(err)
				return
			}
			for _, p := range pieces {
				if p == "flush" {
					err = w.Flush()
				} else {
					_, err = io.WriteString(w, p)
				}
				if err != nil {
					t.Error(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Error(err)
			}
			if w.Close() == nil || w.Flush() == nil {
				t.Error("closed twice")
			}
			if _, err := w.Write([]byte("x")); err == nil {
				t.Error("written after the end")
			}
		}
	}
	for name, tt := range map[string]struct {
		request string
		answer  func(x *http1.Exchange)
		want    string
	}{
		"body":                {closing, func(x *http1.Exchange) { _ = x.Respond(200, field, []byte("hello")) }, head + "Content-Length: 5\r\nConnection: close\r\n\r\nhello"},
		"none":                {closing, func(x *http1.Exchange) { _ = x.Respond(200, field, nil) }, head + "Content-Length: 0\r\nConnection: close\r\n\r\n"},
		"large":               {closing, func(x *http1.Exchange) { _ = x.Respond(200, field, []byte(big)) }, head + "Content-Length: 65536\r\nConnection: close\r\n\r\n" + big},
		"unknown status":      {closing, func(x *http1.Exchange) { _ = x.Respond(299, field[1:], nil) }, "HTTP/1.1 299 \r\nDate: today\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"},
		"204":                 {closing, func(x *http1.Exchange) { _ = x.Respond(204, field[1:], nil) }, "HTTP/1.1 204 No Content\r\nDate: today\r\nConnection: close\r\n\r\n"},
		"304":                 {closing, func(x *http1.Exchange) { _ = x.Respond(304, field[1:], nil) }, "HTTP/1.1 304 Not Modified\r\nDate: today\r\nConnection: close\r\n\r\n"},
		"HEAD":                {strings.Replace(closing, "GET", "HEAD", 1), func(x *http1.Exchange) { _ = x.Respond(200, field, []byte("hello")) }, head + "Content-Length: 5\r\nConnection: close\r\n\r\n"},
		"stream of a length":  {closing, stream(5, "he", "llo"), head + "Content-Length: 5\r\nConnection: close\r\n\r\nhello"},
		"stream of nothing":   {closing, stream(0), head + "Content-Length: 0\r\nConnection: close\r\n\r\n"},
		"large stream":        {closing, stream(65536, big[:20000], big[20000:]), head + "Content-Length: 65536\r\nConnection: close\r\n\r\n" + big},
		"chunks":              {closing, stream(-1, "he", "llo"), head + "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
		"chunks, flushed":     {closing, stream(-1, "flush", "he", "flush", "flush", "llo", "flush"), head + "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"},
		"no chunks":           {closing, stream(-1), head + "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n"},
		"chunks to HEAD":      {strings.Replace(closing, "GET", "HEAD", 1), stream(-1, "hello"), head + "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"},
		"length to HEAD":      {strings.Replace(closing, "GET", "HEAD", 1), stream(5), head + "Content-Length: 5\r\nConnection: close\r\n\r\n"},
		"chunks to HTTP 1.0":  {"GET / HTTP/1.0\r\nHost: h\r\n\r\n", stream(-1, "hello"), head + "Connection: close\r\n\r\nhello"},
		"no answer":           {closing, func(*http1.Exchange) {}, "HTTP/1.1 500 Internal Server Error\r\n*Content-Length: 0\r\nConnection: close\r\n\r\n"},
		"no answer, kept":     {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", func(*http1.Exchange) {}, "HTTP/1.1 500 Internal Server Error\r\n*Content-Length: 0\r\nConnection: close\r\n\r\n"},
		"closed by a handler": {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", func(x *http1.Exchange) { x.Close(); _ = x.Respond(200, field, nil) }, head + "Content-Length: 0\r\nConnection: close\r\n\r\n"},
		"body not read":       {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhel", func(x *http1.Exchange) { _ = x.Respond(200, field, nil) }, head + "Content-Length: 0\r\nConnection: close\r\n\r\n"},
		"body not asked for":  {"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n", func(x *http1.Exchange) { _ = x.Respond(403, field, nil) }, "HTTP/1.1 403 Forbidden\r\nX-A: 1\r\nDate: today\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got := exchangeOnce(t, tt.request, tt.answer)
			before, after, wild := strings.Cut(tt.want, "*")
			if wild && (!strings.HasPrefix(got, before) || !strings.HasSuffix(got, after)) || !wild && got != tt.want {
				t.Errorf("got %.300q (%d bytes)", got, len(got))
			}
		})
	}
	// A long stream of chunks arrives whole, in pieces of a record.
	got := exchangeOnce(t, closing, stream(-1, big, big[:1], "flush", big[1:]))
	_, body, _ := strings.Cut(got, "\r\n\r\n")
	var b bytes.Buffer
	for {
		size, rest, _ := strings.Cut(body, "\r\n")
		var n int
		if _, err := fmt.Sscanf(size, "%x", &n); err != nil || len(rest) < n+2 || rest[n:n+2] != "\r\n" {
			t.Fatalf("chunk %q of %d, %d bytes left, %v", size, n, len(rest), err)
		}
		if n == 0 {
			break
		}
		b.WriteString(rest[:n])
		body = rest[n+2:]
	}
	if b.String() != big+big {
		t.Errorf("%d bytes arrived", b.Len())
	}
}

// ATTACK: an answer is cut short, and taken for complete.
// THIS TEST VERIFIES that an answer that its handler did not complete is seen to
// be incomplete.
func TestCutOff(t *testing.T) {
	for name, h := range map[string]func(x *http1.Exchange){
		"length": func(x *http1.Exchange) {
			w, _ := x.Stream(200, nil, 10)
			_, _ = io.WriteString(w, "hello")
			if w.Close() == nil {
				t.Error("a short answer was closed")
			}
		},
		"too long": func(x *http1.Exchange) {
			w, _ := x.Stream(200, nil, 5)
			_, _ = io.WriteString(w, "hello")
			_ = w.Flush()
			if _, err := io.WriteString(w, "!"); err == nil {
				t.Error("a long answer was written")
			}
		},
		"not closed": func(x *http1.Exchange) {
			w, _ := x.Stream(200, nil, -1)
			_, _ = io.WriteString(w, "hello")
			_ = w.Flush()
		},
		"panic": func(x *http1.Exchange) {
			w, _ := x.Stream(200, nil, -1)
			_, _ = io.WriteString(w, "hello")
			_ = w.Flush()
			panic("secret")
		},
	} {
		t.Run(name, func(t *testing.T) {
			at := serve(t, &http1.Server{Handler: handler{exchange: h}})
			c := &http1.Client{Dial: dial}
			in, err := c.Do(t.Context(), to("http", at, "GET", "/", nil))
			if err != nil {
				return // the reset overtook the head
			}
			if name == "too long" {
				_ = in.Body.Close()
				return // its length was complete
			}
			body, err := in.ReadBody(nil)
			var e *http1.Error
			if !errors.As(err, &e) || e.Kind != http1.ErrClosed {
				t.Errorf("%q, %v", body, err)
			}
		})
	}
	// HTTP/1.0 has nothing but the end of the connection to say that it is complete.
	at := serve(t, &http1.Server{Handler: handler{exchange: func(x *http1.Exchange) {
		w, _ := x.Stream(200, nil, -1)
		_, _ = io.WriteString(w, "hello")
		_ = w.Flush()
	}}})
	nc := connect(t, at)
	_, _ = io.WriteString(nc, "GET / HTTP/1.0\r\nHost: h\r\n\r\n")
	if b, err := io.ReadAll(nc); err == nil {
		t.Errorf("%q ended as if complete", b)
	}
}

// A panic ends its exchange with 500 and its connection, not the server, and
// what it carried is not logged.
func TestPanic(t *testing.T) {
	var log bytes.Buffer
	s := &http1.Server{
		Handler: handler{exchange: func(x *http1.Exchange) {
			if x.Request.Path == "/panic" {
				panic("secret payload")
			}
			_ = x.Respond(200, nil, nil)
		}},
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	}
	at := serve(t, s)
	for path, want := range map[string]int{"/panic": 500, "/": 200} {
		nc := connect(t, at)
		r := bufio.NewReader(nc)
		_, _ = io.WriteString(nc, "GET "+path+" HTTP/1.1\r\nHost: h\r\n\r\n")
		if status, _ := answer(t, r, "GET"); status != want {
			t.Errorf("%s: %d", path, status)
		}
		if want == 500 {
			if b, err := io.ReadAll(r); err != nil || len(b) > 0 {
				t.Errorf("%q, %v", b, err)
			}
		}
	}
	if s := log.String(); !strings.Contains(s, "handler panicked") || strings.Contains(s, "secret payload") {
		t.Errorf("the log has %s", s)
	}
}

// ATTACK: a client goes on sending a body that was refused; a server that closes
// at once resets the connection, and the client never sees why.
// THIS TEST VERIFIES that the refusal arrives, over TLS too.
func TestLinger(t *testing.T) {
	serverTLS, clientTLS := certificates(t)
	for _, secure := range []bool{false, true} {
		s := &http1.Server{Handler: handler{exchange: func(x *http1.Exchange) { _ = x.Respond(403, nil, []byte("no")) }}}
		if secure {
			s.TLS = serverTLS
		}
		at := serve(t, s)
		for range 20 {
			nc := connect(t, at)
			if secure {
				nc = tls.Client(nc, &tls.Config{RootCAs: clientTLS.RootCAs, ServerName: "gateway.test"})
			}
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				_, _ = io.WriteString(nc, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4000000\r\n\r\n")
				_, _ = nc.Write(make([]byte, 4000000))
			}()
			if status, body := answer(t, bufio.NewReader(nc), "POST"); status != 403 || body != "no" {
				t.Errorf("%d %s", status, body)
			}
			<-sent
			_ = nc.Close()
		}
	}
}

// Close makes a read of the body return while another goroutine waits in it.
func TestCloseUnblocks(t *testing.T) {
	at := serve(t, &http1.Server{Handler: handler{exchange: func(x *http1.Exchange) {
		done := make(chan error)
		go func() {
			_, err := x.ReadBody(nil)
			done <- err
		}()
		_, _ = io.WriteString(io.Discard, "")
		x.Close()
		var f *http1.Fault
		if err := <-done; !errors.As(err, &f) || f.Reason != http1.BodyAborted {
			t.Errorf("the read ended with %v", err)
		}
		_ = x.Respond(503, nil, nil)
	}}})
	nc := connect(t, at)
	_, _ = io.WriteString(nc, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhel")
	r := bufio.NewReader(nc)
	if status, _ := answer(t, r, "POST"); status != 503 {
		t.Error(status)
	}
	if b, err := io.ReadAll(r); err != nil || len(b) > 0 {
		t.Errorf("%q, %v", b, err)
	}
}

// What a request knows of its connection, and what stays valid after it.
func TestRequest(t *testing.T) {
	serverTLS, clientTLS := certificates(t)
	var kept http1.Request
	var values []string
	at := serve(t, &http1.Server{TLS: serverTLS, Handler: handler{exchange: func(x *http1.Exchange) {
		kept = x.Request
		for _, f := range x.Request.Header {
			values = append(values, f.Name+"="+f.Value)
		}
		_ = x.Respond(200, nil, nil)
	}}})
	c := &http1.Client{Dial: dial, TLS: clientTLS}
	defer c.CloseIdle()
	for _, target := range []string{"/a%20b?c=d", "/second"} {
		out := to("https", at, "PUT", target, []byte("x"))
		out.Header = http1.Fields{{Name: "x-one", Value: "1"}, {Name: "ACCEPT", Value: "*/*"}}
		in, err := c.Do(t.Context(), out)
		if err != nil {
			t.Fatal(err)
		}
		_ = in.Body.Close()
		if in.TLS == nil || in.TLS.NegotiatedProtocol != "http/1.1" || in.Remote != at {
			t.Errorf("the client knows %+v, %v", in.TLS, in.Remote)
		}
		if target != "/second" {
			if kept.Target != target || kept.Path != "/a b" || kept.RawQuery != "c=d" || kept.Method != "PUT" || kept.ContentLength != 1 || kept.Minor != 1 ||
				kept.Form != http1.OriginForm || kept.Authority != at.String() || kept.Remote.Addr() != at.Addr() || kept.TLS == nil || time.Since(kept.Received) > time.Minute {
				t.Errorf("the request is %+v", kept)
			}
		}
	}
	want := "Host=" + at.String() + " X-One=1 Accept=*/* Content-Length=1"
	if got := strings.Join(values[:4], " "); got != want {
		t.Errorf("fields %s", got)
	}
	h := http1.Fields{{Name: "A", Value: "1"}, {Name: "a", Value: "2"}}
	if h.Get("a") != "1" || h.Count("A") != 2 || h.Get("b") != "" {
		t.Error("fields are found by exact name only")
	}
	if _, ok := h.Lookup("ab"); ok {
		t.Error("a field was found by its beginning")
	}
}

// ATTACK: a client speaks plain HTTP to the TLS port, another protocol within
// TLS (ALPACA, CVE-2021-31971 and others), or offers no protocol of ours.
// THIS TEST VERIFIES that the first is told, the others end in the handshake,
// and each is reported.
func TestHandshake(t *testing.T) {
	serverTLS, clientTLS := certificates(t)
	failed := make(chan error, 10)
	s := &http1.Server{TLS: serverTLS, Handler: handler{exchange: echo}, HandshakeFailed: func(remote netip.AddrPort, err error) {
		if !remote.Addr().IsLoopback() {
			t.Errorf("remote %v", remote)
		}
		failed <- err
	}}
	at := serve(t, s)
	nc := connect(t, at)
	_, _ = io.WriteString(nc, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	r := bufio.NewReader(nc)
	if status, body := answer(t, r, "GET"); status != 400 || body != http1.PlainText.String() {
		t.Errorf("%d %s", status, body)
	}
	if b, err := io.ReadAll(r); err != nil || len(b) > 0 {
		t.Errorf("%q, %v", b, err)
	}
	<-failed
	for _, protocols := range [][]string{{"h2"}, {"ftp", "smtp"}} {
		config := clientTLS.Clone()
		config.ServerName, config.NextProtos = "gateway.test", protocols
		if tc, err := tls.Dial("tcp", at.String(), config); err == nil {
			_ = tc.Close()
			t.Errorf("%v was accepted", protocols)
		}
		<-failed
	}
	for _, protocols := range [][]string{nil, {"http/1.1"}, {"h2", "http/1.1"}} {
		config := clientTLS.Clone()
		config.ServerName, config.NextProtos = "gateway.test", protocols
		tc, err := tls.Dial("tcp", at.String(), config)
		if err != nil {
			t.Errorf("%v: %v", protocols, err)
			continue
		}
		_, _ = io.WriteString(tc, closing)
		if status, _ := answer(t, bufio.NewReader(tc), "GET"); status != 200 {
			t.Errorf("%v: %d", protocols, status)
		}
		_ = tc.Close()
	}
}

// Announcing a large body costs its sender's bytes, not our memory.
func TestAnnouncedLength(t *testing.T) {
	at := serve(t, &http1.Server{Handler: handler{exchange: func(x *http1.Exchange) {
		body, err := x.ReadBody(nil)
		if err == nil || cap(body) > 1<<18 {
			t.Errorf("%d bytes were made ready, %v", cap(body), err)
		}
		_ = x.Respond(400, nil, nil)
	}}})
	nc := connect(t, at)
	_, _ = io.WriteString(nc, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 8000000\r\n\r\n0123456789")
	_ = nc.(*net.TCPConn).CloseWrite()
	if status, _ := answer(t, bufio.NewReader(nc), "POST"); status != 400 {
		t.Error(status)
	}
}

// What was closed stays closed: a body that is read after Close is not waited for.
func TestReadAfterClose(t *testing.T) {
	s := &http1.Server{Handler: handler{exchange: func(x *http1.Exchange) {
		begin := time.Now()
		x.Close()
		_, err := x.ReadBody(nil)
		var f *http1.Fault
		if !errors.As(err, &f) || f.Reason != http1.BodyAborted || time.Since(begin) > 0 {
			t.Errorf("the read ended with %v after %v", err, time.Since(begin))
		}
		_ = x.Respond(503, nil, nil)
	}}}
	inBubble(t, s, func(t *testing.T, p *pipes, _ context.CancelFunc) {
		nc := p.dial()
		_, _ = io.WriteString(nc, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n")
		if status, _ := answer(t, bufio.NewReader(nc), "POST"); status != 503 {
			t.Error(status)
		}
		_ = nc.Close()
	})
}

// "100 Continue" is never sent to HTTP/1.0, nor once the final answer was begun.
func TestNoInterim(t *testing.T) {
	for name, tt := range map[string]struct {
		version string
		early   bool
	}{"HTTP 1.0": {"1.0", false}, "begun": {"1.1", true}} {
		t.Run(name, func(t *testing.T) {
			s := &http1.Server{Handler: handler{exchange: func(x *http1.Exchange) {
				var w *http1.ResponseBody
				if tt.early {
					w, _ = x.Stream(200, nil, 2)
					_ = w.Flush()
				}
				if body, err := x.ReadBody(nil); err != nil || string(body) != "hello" {
					t.Errorf("%q, %v", body, err)
				}
				if !tt.early {
					w, _ = x.Stream(200, nil, 2)
				}
				_, _ = io.WriteString(w, "ok")
				_ = w.Close()
			}}}
			inBubble(t, s, func(t *testing.T, p *pipes, _ context.CancelFunc) {
				nc := p.dial()
				_, _ = io.WriteString(nc, "POST / HTTP/"+tt.version+"\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
				synctest.Wait() // the server waits for the body, or writes what it must not
				go func() {
					synctest.Wait()
					_, _ = io.WriteString(nc, "hello")
				}()
				b, err := io.ReadAll(nc)
				if err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 200 OK") || !strings.HasSuffix(string(b), "\r\n\r\nok") || strings.Count(string(b), "HTTP/1.1") != 1 {
					t.Errorf("%q, %v", b, err)
				}
			})
		})
	}
}

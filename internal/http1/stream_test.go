package http1_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isogate/isogate/internal/http1"
)

// streaming is a proxy that holds nothing: it sends the request on while it
// comes in and the response while that comes in.
func streaming(t *testing.T, c *http1.Client, out func(x *http1.Exchange) *http1.Outgoing) func(x *http1.Exchange) {
	return func(x *http1.Exchange) {
		o := out(x)
		o.Stream, o.Length = x.Request.Body, x.Request.ContentLength
		o.Trailer = func() http1.Fields { return x.Request.Trailer }
		in, err := c.Do(x.Context(), o)
		if err != nil {
			var e *http1.Error
			if !errors.As(err, &e) {
				t.Errorf("%v", err)
				return
			}
			var f *http1.Fault
			if errors.As(err, &f) {
				_ = x.Respond(f.Status, nil, []byte(f.Reason.String()))
				return
			}
			_ = x.Respond(e.Status(), nil, []byte(e.Kind.String()))
			return
		}
		defer func() { _ = in.Body.Close() }()
		w, err := x.Stream(in.Status, nil, in.ContentLength)
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := io.Copy(w, in.Body); err == nil {
			_ = w.Close()
		}
	}
}

// A proxy that streams passes on requests and responses of every size and
// framing, over kept connections.
func TestStreamingProxy(t *testing.T) {
	at := serve(t, &http1.Server{Handler: handler{exchange: func(x *http1.Exchange) {
		body, err := x.ReadBody(nil)
		if err != nil {
			_ = x.Respond(400, nil, nil)
			return
		}
		body = append(body, fmt.Sprint(x.Request.Trailer)...)
		w, _ := x.Stream(200, nil, -1)
		_, _ = w.Write(body)
		_ = w.Close()
	}}})
	inner := &http1.Client{Dial: dial}
	defer inner.CloseIdle()
	proxy := serve(t, &http1.Server{Handler: handler{exchange: streaming(t, inner, func(x *http1.Exchange) *http1.Outgoing {
		return to("http", at, x.Request.Method, x.Request.Target, nil)
	})}})
	outer := &http1.Client{Dial: dial}
	defer outer.CloseIdle()
	for _, size := range []int{0, 1, 20000, 1 << 20} {
		for _, length := range []int64{int64(size), -1} {
			body := bytes.Repeat([]byte("x"), size)
			out := to("http", proxy, "POST", "/", nil)
			out.Stream, out.Length = bytes.NewReader(body), length
			trailer := "[]"
			if length < 0 {
				out.Trailer = func() http1.Fields { return http1.Fields{{Name: "X-T", Value: "t"}} }
				trailer = "[{X-T t}]"
			}
			in, err := outer.Do(t.Context(), out)
			if err != nil {
				t.Fatal(err)
			}
			got, err := in.ReadBody(nil)
			if err != nil || string(got) != string(body)+trailer {
				t.Errorf("%d of %d: %d bytes, %v", size, length, len(got), err)
			}
		}
	}
}

// ATTACK: a client sends half a body and waits, while the upstream has long
// answered; a proxy that waits for the rest is held, and one that drops the
// answer hides it.
// THIS TEST VERIFIES that the answer comes through at once, and that the
// upstream never sees a complete message.
func TestStreamingProxyRefused(t *testing.T) {
	saw := make(chan error, 1)
	at := serve(t, &http1.Server{Handler: handler{exchange: func(x *http1.Exchange) {
		w, _ := x.Stream(403, nil, 2)
		_, _ = io.WriteString(w, "no")
		_ = w.Close()
		_, err := x.ReadBody(nil)
		saw <- err
	}}})
	c := &http1.Client{Dial: dial}
	proxy := serve(t, &http1.Server{Handler: handler{exchange: streaming(t, c, func(x *http1.Exchange) *http1.Outgoing {
		return to("http", at, x.Request.Method, x.Request.Target, nil)
	})}})
	for _, framing := range []string{"Content-Length: 1000\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"} {
		nc := connect(t, proxy)
		_, _ = io.WriteString(nc, "POST / HTTP/1.1\r\nHost: h\r\n"+framing)
		r := bufio.NewReader(nc)
		begin := time.Now()
		if status, body := answer(t, r, "POST"); status != 403 || body != "no" {
			t.Errorf("%d %s", status, body)
		}
		if b, err := io.ReadAll(r); err != nil || len(b) > 0 {
			t.Errorf("%q, %v", b, err)
		}
		if err := <-saw; err == nil {
			t.Error("the upstream saw a complete message")
		}
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
	}
}

// ATTACK: the chunks of a request turn malformed after valid ones were sent on.
// THIS TEST VERIFIES that the upstream sees an incomplete message and the client
// its mistake.
func TestStreamingProxyMalformed(t *testing.T) {
	saw := make(chan error, 1)
	at := serve(t, &http1.Server{Handler: handler{exchange: func(x *http1.Exchange) {
		_, err := x.ReadBody(nil)
		saw <- err
		_ = x.Respond(200, nil, nil)
	}}})
	c := &http1.Client{Dial: dial}
	proxy := serve(t, &http1.Server{Handler: handler{exchange: streaming(t, c, func(x *http1.Exchange) *http1.Outgoing {
		return to("http", at, x.Request.Method, x.Request.Target, nil)
	})}})
	nc := connect(t, proxy)
	_, _ = io.WriteString(nc, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0x5\r\n")
	if status, body := answer(t, bufio.NewReader(nc), "POST"); status != 400 || body != http1.BadChunkSize.String() {
		t.Errorf("%d %s", status, body)
	}
	if err := <-saw; err == nil {
		t.Error("the upstream saw a complete message")
	}
}

// Heads of every size up to the limit are read, however they come in.
func TestLargeHeads(t *testing.T) {
	at := serve(t, &http1.Server{Handler: handler{exchange: func(x *http1.Exchange) {
		n := 0
		for _, f := range x.Request.Header {
			n += len(f.Name) + len(f.Value) + 4
		}
		body, err := x.ReadBody(nil)
		if err != nil {
			t.Error(err)
		}
		_ = x.Respond(200, nil, []byte(fmt.Sprint(n, len(body))))
	}}})
	nc := connect(t, at)
	r := bufio.NewReader(nc)
	for _, lines := range []int{1, 16, 17, 40, 63} {
		field := "X-A: " + strings.Repeat("a", 1024-7) + "\r\n"
		head := "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 20000\r\n" + strings.Repeat(field, lines) + "\r\n"
		request := head + strings.Repeat("b", 20000)
		for len(request) > 0 {
			n := min(len(request), 3000)
			_, _ = io.WriteString(nc, request[:n])
			request = request[n:]
		}
		want := fmt.Sprint(len("Host: h\r\nContent-Length: 20000\r\n")+lines*1024, 20000)
		if status, body := answer(t, r, "POST"); status != 200 || body != want {
			t.Errorf("%d lines: %d %s, want %s", lines, status, body, want)
		}
	}
	_, _ = io.WriteString(nc, "GET / HTTP/1.1\r\nHost: h\r\n"+strings.Repeat("X-A: "+strings.Repeat("a", 1024-7)+"\r\n", 64))
	if status, body := answer(t, r, "GET"); status != 431 || !strings.HasPrefix(body, http1.HeaderTooLarge.String()) {
		t.Errorf("%d %s", status, body)
	}
}

// A response's head may be large too.
func TestLargeResponseHeads(t *testing.T) {
	for _, lines := range []int{20, 63, 64} {
		at := upstream(t, func(nc net.Conn, _ int) {
			_ = skipRequest(bufio.NewReader(nc))
			_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"+strings.Repeat("X-A: "+strings.Repeat("a", 1024-7)+"\r\n", lines)+"\r\n")
		})
		in, err := (&http1.Client{Dial: dial}).Do(t.Context(), to("http", at, "GET", "/", nil))
		if lines == 64 {
			failure(t, err, http1.ErrTooLarge, true)
			continue
		}
		if err != nil || in.Header.Count("X-A") != lines {
			t.Errorf("%d lines: %v", lines, err)
		}
		_ = in.Body.Close()
	}
}

// Where origin form is not accepted, it is refused like the others.
func TestFormsOnly(t *testing.T) {
	at := serve(t, &http1.Server{Forms: http1.AbsoluteForm, Handler: handler{exchange: func(x *http1.Exchange) {
		_ = x.Respond(200, nil, []byte(x.Request.Scheme+" "+x.Request.Authority+" "+x.Request.Path))
	}}})
	for target, want := range map[string]string{"http://h/x": "200 http h /x", "https://h/x": "200 https h /x", "/x": "400 " + http1.TargetFormProxy.String()} {
		nc := connect(t, at)
		_, _ = io.WriteString(nc, "GET "+target+" HTTP/1.1\r\nHost: h\r\n\r\n")
		if status, body := answer(t, bufio.NewReader(nc), "GET"); fmt.Sprint(status, " ", body) != want {
			t.Errorf("%s: %d %s", target, status, body)
		}
	}
}

// A body that another goroutine still reads is not the end of its request: the
// connection is not used again.
func TestAnswerWhileReading(t *testing.T) {
	at := serve(t, &http1.Server{Handler: handler{exchange: func(x *http1.Exchange) {
		reading, done := make(chan struct{}), make(chan error)
		go func() {
			close(reading)
			_, err := x.ReadBody(nil)
			done <- err
		}()
		<-reading
		_ = x.Respond(200, nil, nil)
		if err := <-done; err != nil {
			t.Error(err)
		}
	}}})
	nc := connect(t, at)
	_, _ = io.WriteString(nc, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 20000\r\n\r\nhello")
	r := bufio.NewReader(nc)
	if status, _ := answer(t, r, "POST"); status != 200 {
		t.Error(status)
	}
	_, _ = io.WriteString(nc, strings.Repeat("a", 20000-5))
	if b, err := io.ReadAll(r); err != nil || len(b) > 0 {
		t.Errorf("%q, %v", b, err)
	}
}

// Serve ends while a connection waits for its place.
func TestDrainAtTheLimit(t *testing.T) {
	var proceed chan struct{}
	s := &http1.Server{ConnLimit: 1, Handler: handler{exchange: func(x *http1.Exchange) {
		<-proceed
		_ = x.Respond(200, nil, nil)
	}}}
	inBubble(t, s, func(t *testing.T, p *pipes, stop context.CancelFunc) {
		proceed = make(chan struct{})
		busy := p.dial()
		_, _ = io.WriteString(busy, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		synctest.Wait()
		waiting := p.dial()
		<-time.After(time.Second)
		stop()
		if b, err := io.ReadAll(waiting); err != nil || len(b) > 0 {
			t.Errorf("the waiting connection got %q, %v", b, err)
		}
		synctest.Wait() // until every connection knows that the server drains
		close(proceed)
		if b, err := io.ReadAll(busy); err != nil || !strings.Contains(string(b), "Connection: close") {
			t.Errorf("the busy connection got %q, %v", b, err)
		}
	})
}

// A client that sends two requests at once while the server drains gets an
// answer to the second too, the last.
func TestDrainPipelined(t *testing.T) {
	var begun, proceed chan struct{}
	s := &http1.Server{Handler: handler{exchange: func(x *http1.Exchange) {
		_ = x.Respond(200, nil, nil)
		if x.Request.Path == "/1" {
			close(begun)
			<-proceed
		}
	}}}
	inBubble(t, s, func(t *testing.T, p *pipes, stop context.CancelFunc) {
		begun, proceed = make(chan struct{}), make(chan struct{})
		nc := p.dial()
		go func() {
			_, _ = io.WriteString(nc, "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\nGET /3 HTTP/1.1\r\nHost: h\r\n\r\n")
		}()
		r := bufio.NewReader(nc)
		if status, _ := answer(t, r, "GET"); status != 200 {
			t.Error(status)
		}
		<-begun
		stop()
		synctest.Wait()
		close(proceed)
		b, err := io.ReadAll(r)
		if err != nil || strings.Count(string(b), "HTTP/1.1 200") != 1 || !strings.Contains(string(b), "Connection: close") {
			t.Errorf("%q, %v", b, err)
		}
	})
}

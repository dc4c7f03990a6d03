package http1

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"testing"
)

// wiped is a handler that answers with a secret in every way there is, and looks
// at the connection's buffer after it was flushed.
type wiped struct {
	t      *testing.T
	secret string
	stream bool
}

func (h wiped) ServeFault(*Exchange, *Fault) {}

func (h wiped) ServeExchange(x *Exchange) {
	if _, err := io.Copy(io.Discard, x.Request.Body); err != nil {
		h.t.Error(err)
	}
	if h.stream {
		w, err := x.Stream(200, nil, -1)
		if err != nil {
			h.t.Error(err)
			return
		}
		_, _ = io.WriteString(w, h.secret)
		_ = w.Flush()
		h.look(x)
		_, _ = io.WriteString(w, h.secret)
		_ = w.Close()
	} else if err := x.Respond(200, nil, []byte(h.secret)); err != nil {
		h.t.Error(err)
	}
	h.look(x)
}

func (h wiped) look(x *Exchange) {
	buf := x.out.w.buf
	if bytes.Contains(buf[:cap(buf)], []byte(h.secret)) {
		h.t.Error("what was answered is still in the write buffer")
	}
}

// ATTACK: somebody who can read the program's memory after a value was shown
// looks for it in the buffers that connections leave behind.
//
// THIS TEST VERIFIES: with Wipe neither what was written nor what was read is in
// a buffer once it was sent, or given back.
func TestWipeLeavesNothingInBuffers(t *testing.T) {
	for _, stream := range []bool{false, true} {
		h := wiped{t: t, secret: "the-answer-nobody-keeps", stream: stream}
		client, server := net.Pipe()
		v := &serving{Server: Server{Handler: h, Wipe: true}, conns: map[*conn]struct{}{}}
		v.Limits, v.Timeouts, v.Forms = v.Limits.orDefaults(), v.Timeouts.orDefaults(), OriginForm
		c := newConn(v, server)
		var held []byte
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.in.take()
			held = c.in.buf
			c.exchanges(context.Background())
			_ = server.Close()
		}()
		body := "what-the-caller-said"
		if _, err := io.WriteString(client, "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 20\r\n\r\n"+body); err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(client)
		_ = client.Close()
		<-done
		if !strings.Contains(string(got), h.secret) {
			t.Fatalf("the client got %q", got)
		}
		if bytes.Contains(held, []byte(body)) {
			t.Error("what was read is still in the read buffer")
		}
	}
}

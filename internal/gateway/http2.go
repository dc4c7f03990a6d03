package gateway

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isogate/isogate/internal/http1"
)

// HTTP2 is door two for clients that speak HTTP/2 to their proxy. It decides
// nothing: each CONNECT stream (RFC 9113, 8.5) is handed to the HTTP/1.1 side of
// the door as a connection of its own, so that there is one place in which a
// CONNECT is judged. Framing, flow control and the floods that HTTP/2 has a name
// for are net/http's to bound.
type HTTP2 struct {
	door   http1.Handler
	pieces *pieces
	server *http.Server
	conns  chan net.Conn
	over   chan struct{} // closed when no more connections are taken
	once   sync.Once

	mu   sync.Mutex // guards open
	open map[net.Conn]*h2conn
}

// h2conn is one connection that speaks HTTP/2.
type h2conn struct {
	outer  http1.Outer
	state  *tls.ConnectionState
	closed chan struct{}
}

// The bounds of one connection. A stream is a tunnel, so that what is at stake
// in one is a client's, not a request's.
const (
	h2Streams = 250
	h2Idle    = 5 * time.Minute
	h2Header  = 16 << 10 // bytes
)

type h2Key struct{}

// HTTP2 makes the door's other side. It serves while its Run runs.
func (d *Remotes) HTTP2() *HTTP2 {
	h := &HTTP2{door: d, pieces: &d.gate.pieces, conns: make(chan net.Conn), over: make(chan struct{}), open: map[net.Conn]*h2conn{}}
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	h.server = &http.Server{
		Handler: h, Protocols: protocols, MaxHeaderBytes: h2Header, IdleTimeout: h2Idle, ReadHeaderTimeout: h2Idle,
		HTTP2:    &http.HTTP2Config{MaxConcurrentStreams: h2Streams, SendPingTimeout: time.Minute, PingTimeout: 15 * time.Second, WriteByteTimeout: tunnelWrite},
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, h2Key{}, h.conn(c))
		},
		ConnState: func(c net.Conn, s http.ConnState) {
			if s == http.StateClosed {
				h.closed(c)
			}
		},
	}
	return h
}

// Run serves the connections that Serve is given, until ctx ends.
func (h *HTTP2) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = h.server.Close() })
	defer stop()
	if err := h.server.Serve(h); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	<-ctx.Done()
	return nil
}

// Drain says goodbye on every connection; tunnels go on until they are cut.
func (h *HTTP2) Drain() {
	gone, cancel := context.WithCancel(context.Background())
	cancel() // it only says so; http1 waits
	_ = h.server.Shutdown(gone)
}

// Serve is an [http1.Protocol]: it serves one connection to its end.
func (h *HTTP2) Serve(ctx context.Context, c *tls.Conn, outer http1.Outer) {
	state := c.ConnectionState()
	k := &h2conn{outer: outer, state: &state, closed: make(chan struct{})}
	h.mu.Lock()
	h.open[c] = k
	h.mu.Unlock()
	select {
	case h.conns <- c:
	case <-h.over:
		h.closed(c)
		return
	case <-ctx.Done():
		h.closed(c)
		return
	}
	select {
	case <-k.closed:
	case <-ctx.Done():
	}
}

func (h *HTTP2) conn(c net.Conn) *h2conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.open[c]
}

func (h *HTTP2) closed(c net.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if k := h.open[c]; k != nil {
		close(k.closed)
		delete(h.open, c)
	}
}

// Accept implements [net.Listener].
func (h *HTTP2) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.over:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (h *HTTP2) Close() error {
	h.once.Do(func() { close(h.over) })
	return nil
}

// Addr implements [net.Listener].
func (h *HTTP2) Addr() net.Addr { return &net.TCPAddr{} }

// ServeHTTP implements [http.Handler] for one stream.
func (h *HTTP2) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k, _ := r.Context().Value(h2Key{}).(*h2conn)
	if k == nil {
		http.Error(w, "", http.StatusInternalServerError)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	toDoor, fromStream := net.Pipe()
	fromDoor, toStream := net.Pipe()
	inner := &duplex{r: toDoor, w: toStream}
	served := make(chan struct{})
	go func() {
		defer close(served)
		k.outer.Serve(ctx, inner, k.state, h.door)
	}()
	defer func() {
		cancel()
		_ = fromStream.Close()
		_ = fromDoor.Close()
		<-served
	}()
	_ = fromStream.SetWriteDeadline(time.Now().Add(helloWithin))
	if _, err := io.WriteString(fromStream, connectHead(r)); err != nil {
		return
	}
	in := bufio.NewReader(fromDoor)
	res, err := http.ReadResponse(in, r)
	if err != nil {
		return
	}
	for name, values := range res.Header {
		if name != "Connection" && name != "Content-Length" && name != "Transfer-Encoding" {
			w.Header()[name] = values
		}
	}
	w.WriteHeader(res.StatusCode)
	rc := http.NewResponseController(w)
	if res.StatusCode != http.StatusOK || r.Method != http.MethodConnect {
		_, _ = io.Copy(w, res.Body)
		_ = res.Body.Close()
		return
	}
	if rc.Flush() != nil {
		return
	}
	_ = fromStream.SetWriteDeadline(time.Time{})
	out := make(chan struct{})
	go func() { // what the client sends; it ends with the stream
		defer close(out)
		if _, err := io.Copy(fromStream, r.Body); err != nil {
			cancel() // broken off, which is no end
			return
		}
		_ = fromStream.Close()
	}()
	held := h.pieces.hold(false)
	defer h.pieces.release(held, len(held.bytes()))
	b := held.bytes()
	for {
		n, err := in.Read(b)
		if n > 0 {
			if _, err := w.Write(b[:n]); err != nil || rc.Flush() != nil {
				break
			}
			clear(b[:n])
		}
		if err != nil {
			break
		}
	}
	select {
	case <-out:
	case <-served:
	case <-r.Context().Done():
	}
	if inner.cut.Load() {
		panic(http.ErrAbortHandler) // resets the stream, so that it is not taken for complete
	}
}

// connectHead is the stream's request as the door's HTTP/1.1 side reads it. Of
// the header only what says who asks is passed on. What is no CONNECT becomes a
// request that the door refuses, and records, in its own words.
func connectHead(r *http.Request) string {
	var b strings.Builder
	switch {
	case r.Method != http.MethodConnect:
		b.WriteString("GET / HTTP/1.1\r\nHost: http2.invalid\r\n")
	case !plainAuthority(r.Host):
		b.WriteString("CONNECT ? HTTP/1.1\r\nHost: ?\r\n")
	default:
		b.WriteString("CONNECT " + r.Host + " HTTP/1.1\r\nHost: " + r.Host + "\r\n")
	}
	for _, v := range r.Header["Proxy-Authorization"] {
		if strings.ContainsAny(v, "\r\n\x00") {
			v = "?"
		}
		b.WriteString("Proxy-Authorization: " + v + "\r\n")
	}
	b.WriteString("\r\n")
	return b.String()
}

// plainAuthority reports whether an authority can be written into a request line
// without being more than one word of it.
func plainAuthority(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return s != ""
}

// duplex is a connection whose two directions end apart.
type duplex struct {
	r, w net.Conn
	cut  atomic.Bool // it ends by a reset
}

// SetLinger has the next Close end the connection by a reset, where sec is 0, as
// it does for a [net.TCPConn].
func (d *duplex) SetLinger(sec int) error {
	d.cut.Store(sec == 0)
	return nil
}

// Read implements [net.Conn].
func (d *duplex) Read(p []byte) (int, error) { return d.r.Read(p) }

// Write implements [net.Conn].
func (d *duplex) Write(p []byte) (int, error) { return d.w.Write(p) }

// CloseWrite ends our direction.
func (d *duplex) CloseWrite() error { return d.w.Close() }

// Close implements [net.Conn].
func (d *duplex) Close() error { return errors.Join(d.r.Close(), d.w.Close()) }

// LocalAddr implements [net.Conn].
func (d *duplex) LocalAddr() net.Addr { return d.r.LocalAddr() }

// RemoteAddr implements [net.Conn].
func (d *duplex) RemoteAddr() net.Addr { return d.r.RemoteAddr() }

// SetDeadline implements [net.Conn].
func (d *duplex) SetDeadline(t time.Time) error {
	return errors.Join(d.r.SetDeadline(t), d.w.SetDeadline(t))
}

// SetReadDeadline implements [net.Conn].
func (d *duplex) SetReadDeadline(t time.Time) error { return d.r.SetReadDeadline(t) }

// SetWriteDeadline implements [net.Conn].
func (d *duplex) SetWriteDeadline(t time.Time) error { return d.w.SetWriteDeadline(t) }

package isogatetest

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
)

// Received is one request as a destination got it.
type Received struct {
	Method  string
	Target  string // path and query as sent
	Header  http.Header
	Trailer http.Header
	Body    []byte
	Broken  bool // the body ended before its end
}

// Far is a destination on loopback that keeps what it received. It is a plain
// net/http server: what it reads is what any receiver would read.
type Far struct {
	server *httptest.Server

	mu       sync.Mutex // guards what follows
	received []Received
	conns    int
	answer   func(w http.ResponseWriter, r Received)
}

// NewFar starts a destination with a certificate for host, signed by a.
func NewFar(a *Authority, host string) (*Far, error) {
	cert, err := a.Issue(Leaf{Name: host, Hosts: []string{host}})
	if err != nil {
		return nil, err
	}
	f := newFar()
	f.server.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}
	f.server.StartTLS()
	return f, nil
}

// NewService starts a service that speaks plain HTTP to its own machine alone, as
// one does behind a landing.
func NewService() *Far {
	f := newFar()
	f.server.Start()
	return f
}

func newFar() *Far {
	f := &Far{}
	f.server = httptest.NewUnstartedServer(http.HandlerFunc(f.serve))
	f.server.Config.ErrorLog = log.New(io.Discard, "", 0) // a refused handshake is the caller's to tell
	f.server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			f.mu.Lock()
			f.conns++
			f.mu.Unlock()
		}
	}
	return f
}

func (f *Far) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	got := Received{Method: r.Method, Target: r.RequestURI, Header: r.Header.Clone(), Trailer: r.Trailer.Clone(), Body: body, Broken: err != nil}
	f.mu.Lock()
	f.received = append(f.received, got)
	answer := f.answer
	f.mu.Unlock()
	if answer != nil {
		answer(w, got)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"ok":true}`)
}

// Answer sets what later requests are answered with; nil is {"ok":true}.
func (f *Far) Answer(answer func(w http.ResponseWriter, r Received)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

// Received returns what has arrived so far.
func (f *Far) Received() []Received {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Received(nil), f.received...)
}

// Connections is how often somebody has connected so far.
func (f *Far) Connections() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.conns
}

// Address is where it listens, as IP:port.
func (f *Far) Address() string { return f.server.Listener.Addr().String() }

// Close stops it.
func (f *Far) Close() {
	f.server.CloseClientConnections()
	f.server.Close()
}

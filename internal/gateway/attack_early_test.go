package gateway_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isogate/isogate/internal/gateway"
	"github.com/isogate/isogate/internal/http1"
	"github.com/isogate/isogate/internal/isogatetest"
)

// pipes is a network in which nothing is under way: what is written waits until it
// is read. It is a listener, of what dial connects.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes(t *testing.T) *pipes {
	t.Helper()
	p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (*pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 443} }

// ATTACK: the far side knows originals by their tokens alone. It answers before it
// has taken the body of a request, with a token in Content-Location, and reads on
// only when the gateway has turned that back for the caller: if it does so where
// the body still waits to be sent, the original leaves in it. The head is large, as
// with wrapped keys and registered identifiers, so that little of the body has been
// copied behind it.
// THIS TEST VERIFIES that nothing of an answer, as the caller gets it, is in what
// leaves afterwards, however slowly both sides take their parts: the race detector
// sees what a record of TLS that is already encrypted mostly hides.
//
// promise: P02
// promise: P37
func TestAttackAnAnswerBeforeTheBodyWasTaken(t *testing.T) {
	const secret = "My%20salary%20is%20wrong" // leaves as a token
	p := pack()
	p["transits/tickets.yaml"] = strings.Replace(p["transits/tickets.yaml"], "query: {tab: system.metadata}", "query: {title: ugc.title, tab: system.metadata}", 1)
	w := world(t, isogatetest.Config{Pack: p})
	outside, inside := newPipes(t), newPipes(t)
	metrics, err := gateway.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	g, err := gateway.New(gateway.Config{Journal: w.Journal, Rules: w.Rules(), Logger: slog.New(slog.DiscardHandler), Metrics: metrics, Now: time.Now, Hold: 1 << 20,
		Client: &http1.Client{Dial: outside.dial, TLS: &tls.Config{RootCAs: w.Outside.Pool(), MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true}}})
	if err != nil {
		t.Fatal(err)
	}
	cert, err := w.Outside.Issue(isogatetest.Leaf{Name: isogatetest.FarHost, Hosts: []string{isogatetest.FarHost}})
	if err != nil {
		t.Fatal(err)
	}
	door, err := w.Callers.Issue(isogatetest.Leaf{Name: "gateway", Hosts: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		served <- (&http1.Server{Handler: g, Limits: http1.Limits{Body: 1 << 20}, TLS: &tls.Config{Certificates: []tls.Certificate{door}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true}}).Serve(ctx, inside)
	}()
	t.Cleanup(func() {
		stop()
		<-served
	})

	answered := make(chan struct{}) // the caller has the beginning of its answer
	took := make(chan string, 1)
	go func() {
		got, err := answerEarly(outside, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true}, answered)
		if err != nil {
			t.Errorf("the far side: %v", err)
		}
		took <- got
	}()
	c := w.Client(isogatetest.Product)
	transport, ok := c.Transport.(*http.Transport)
	if !ok {
		t.Fatalf("the caller's transport is a %T", c.Transport)
	}
	transport.DialContext = inside.dial
	req, err := http.NewRequestWithContext(t.Context(), "POST", w.URL("/v1/tickets?title=My+salary+is+wrong&tab="+strings.Repeat("t", 7<<10)), strings.NewReader(`{"state":"`+strings.Repeat("s", 600<<10)+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Request-Id", strings.Repeat("r", 7<<10))
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Fatalf("the request was answered with %s", resp.Status)
	}
	close(answered)
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || !strings.Contains(resp.Header.Get("Content-Location"), secret) {
		t.Errorf("the caller did not get the original: %v, %v", resp.Header, err)
	}
	got := <-took
	if len(got) < 500<<10 || strings.Contains(got, secret) {
		t.Errorf("%d bytes left, with the original in them %d times", len(got), strings.Count(got, secret))
	}
}

// answerEarly answers a request of which it has read the head, with its token, and
// returns all that it could read once it was let.
func answerEarly(l net.Listener, conf *tls.Config, let <-chan struct{}) (string, error) {
	raw, err := l.Accept()
	if err != nil {
		return "", err
	}
	defer raw.Close()
	c := tls.Server(raw, conf)
	var got bytes.Buffer
	piece := make([]byte, 1<<10)
	for !aToken.Match(got.Bytes()) {
		n, err := c.Read(piece)
		if err != nil {
			return "", err
		}
		got.Write(piece[:n])
	}
	const rest = 300 << 10 // more than is answered in one piece
	if _, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Location: /%s\r\nContent-Length: %d\r\n\r\n", strings.Repeat(aToken.FindString(got.String())+"-", 100), rest); err != nil {
		return "", err
	}
	if _, err := c.Write(bytes.Repeat([]byte("x"), rest/2)); err != nil { // so that the head goes on to the caller
		return "", err
	}
	<-let
	for got.Len() < 550<<10 {
		n, err := c.Read(piece)
		if got.Write(piece[:n]); err != nil {
			break
		}
	}
	_, err = c.Write(bytes.Repeat([]byte("x"), rest/2))
	return got.String(), err
}

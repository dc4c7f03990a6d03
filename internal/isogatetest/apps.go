package isogatetest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/gateway"
	"github.com/isogate/isogate/internal/http1"
	"github.com/isogate/isogate/internal/remote"
	"github.com/isogate/isogate/internal/tenant"
)

// Apps is the second door of a world, and the ledger behind it.
type Apps struct {
	Ledger    *consent.Ledger
	Authority *tenant.Authority
	Addr      string // of the door, without TLS
	TLSAddr   string // of the door, with TLS and HTTP/2

	w      *World
	group  *errgroup.Group
	silent atomic.Bool
}

// AppToken is the bearer token of an app of a world.
func AppToken(s isogate.Source) string { return "the token of " + string(s) }

// Administrator is who decides in a world.
var Administrator = consent.Actor{Name: "ada", SignedIn: "bearer token"}

// newApps makes the ledger and has the gateway use it.
func newApps(w *World, gc *gateway.Config) *Apps {
	cc := consent.Config{}
	if w.cfg.Ledger != nil {
		cc = *w.cfg.Ledger
	}
	a := &Apps{w: w, group: &errgroup.Group{}}
	cc.Journal, cc.Logger = silenceable{Follower{w.Journal}, &a.silent}, w.cfg.Logger
	ledger, err := consent.New(cc)
	w.must(err)
	authority, err := w.Keys.CreateAuthority(time.Now())
	w.must(err)
	gc.Ledger, gc.Dial, gc.Authority = ledger, w.Dialer.DialContext, authority
	a.Ledger, a.Authority = ledger, authority
	return a
}

// silenceable is a journal from which nothing is heard while silent is set.
type silenceable struct {
	consent.Journal
	silent *atomic.Bool
}

// Follow implements [consent.Journal].
func (s silenceable) Follow(ctx context.Context, from uint64, every time.Duration, take func(consent.Batch) error) error {
	return s.Journal.Follow(ctx, from, every, func(b consent.Batch) error {
		for s.silent.Load() {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Millisecond):
			}
		}
		return take(b)
	})
}

// Silence cuts the ledger off from the journal, or lets it hear again.
func (a *Apps) Silence(on bool) { a.silent.Store(on) }

// ConnectHTTP2 sends a CONNECT of an app over HTTP/2 and returns the tunnel and
// the status of the answer.
func (a *Apps) ConnectHTTP2(tb TB, app isogate.Source, authority string) (net.Conn, int) {
	tb.Helper()
	t := &http.Transport{TLSClientConfig: a.w.TLS(""), DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext, ForceAttemptHTTP2: true}
	tb.Cleanup(t.CloseIdleConnections)
	body, sent := io.Pipe()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	tb.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodConnect, "https://"+a.TLSAddr, body)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	req.Host = authority
	req.Header.Set("Proxy-Authorization", "Bearer "+AppToken(app))
	res, err := t.RoundTrip(req)
	if err != nil {
		tb.Fatalf("CONNECT %s over HTTP/2: %v", authority, err)
	}
	if res.ProtoMajor != 2 {
		tb.Fatalf("the door speaks %s", res.Proto)
	}
	return &streamConn{Reader: res.Body, PipeWriter: sent, body: res.Body}, res.StatusCode
}

// streamConn is a stream as a connection. It knows no deadlines.
type streamConn struct {
	io.Reader
	*io.PipeWriter
	body io.Closer
}

// Reset breaks the stream off, in both directions.
func (s *streamConn) Reset() error {
	return errors.Join(s.CloseWithError(context.Canceled), s.body.Close())
}

// Close implements [net.Conn].
func (s *streamConn) Close() error { return errors.Join(s.PipeWriter.Close(), s.body.Close()) }

// LocalAddr implements [net.Conn].
func (*streamConn) LocalAddr() net.Addr { return &net.TCPAddr{} }

// RemoteAddr implements [net.Conn].
func (*streamConn) RemoteAddr() net.Addr { return &net.TCPAddr{} }

// SetDeadline implements [net.Conn].
func (*streamConn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements [net.Conn].
func (*streamConn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements [net.Conn].
func (*streamConn) SetWriteDeadline(time.Time) error { return nil }

// open starts the ledger and the door, which end with ctx.
func (a *Apps) open(ctx context.Context) {
	a.group.Go(func() error { return a.Ledger.Run(ctx) })
	a.group.Go(func() error { return a.w.Gateway.Run(ctx) })
	door := a.w.Gateway.Remotes()
	h2 := door.HTTP2()
	a.group.Go(func() error { return h2.Run(ctx) })
	cert, err := a.w.Callers.Issue(Leaf{Name: "gateway", Hosts: []string{"127.0.0.1"}})
	a.w.must(err)
	serve := func(secure bool) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		a.w.must(err)
		s := &http1.Server{Handler: door, Timeouts: a.w.cfg.Timeouts, Limits: http1.Limits{Body: a.w.cfg.Body}, Forms: http1.OriginForm | http1.AbsoluteForm | http1.AuthorityForm,
			ConnLimit: 100_000}
		if secure {
			s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
			s.NextProto, s.Draining = map[string]http1.Protocol{"h2": h2.Serve}, h2.Drain
		}
		a.group.Go(func() error { return s.Serve(ctx, l) })
		return l.Addr().String()
	}
	a.Addr, a.TLSAddr = serve(false), serve(true)
	a.Await(func() bool { return a.Ledger.InTouch() == nil })
}

// closed waits for the end of what open started.
func (a *Apps) closed() {
	if err := a.group.Wait(); err != nil {
		a.w.tb.Errorf("door two: %v", err)
	}
}

// Await waits until something is so.
func (a *Apps) Await(so func() bool) {
	a.w.tb.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); !so(); <-tick.C {
		if time.Now().After(end) {
			a.w.tb.Fatalf("what was waited for did not come")
		}
	}
}

// Do does an act, as Administrator unless it says otherwise.
func (a *Apps) Do(act consent.Act) consent.Act {
	a.w.tb.Helper()
	if act.Actor == (consent.Actor{}) {
		act.Actor = Administrator
	}
	done, err := a.Ledger.Do(context.Background(), act)
	a.w.must(err)
	return done
}

// Install imports a manifest of an app, and grants nothing.
func (a *Apps) Install(app isogate.Source, rows ...remote.Row) {
	a.w.tb.Helper()
	a.Do(consent.Act{What: consent.Declared, Party: consent.App(app), Rows: rows,
		Manifest: consent.Manifest{ID: "id of " + string(app), Name: string(app), Version: "1", Digest: "sha256:of-a-test"}})
}

// Grant asks for rows and grants them.
func (a *Apps) Grant(party consent.Party, terms consent.Terms, rows ...remote.Row) consent.Act {
	a.w.tb.Helper()
	q, err := a.Ledger.Do(context.Background(), a.Ledger.NewRequest(party, rows, Administrator, "a test"))
	id := q.ID
	if r := a.Ledger.State().Party(party).Waiting(rows[0], time.Now()); errors.Is(err, consent.ErrNoEffect) && r != nil {
		id = r.ID // an attempt has asked already
	} else {
		a.w.must(err)
	}
	return a.Do(consent.Act{What: consent.Granted, Party: party, Of: id, Rows: rows, Terms: terms, Base: a.Ledger.State().Party(party).Last})
}

// Revoke revokes rows of a party, or all it has.
func (a *Apps) Revoke(party consent.Party, rows ...remote.Row) {
	a.w.tb.Helper()
	a.Do(consent.Act{What: consent.Revoked, Party: party, Rows: rows, Reason: "a test"})
}

// Backend is the row of a server's traffic to a host and port, of any data.
func Backend(host string, port uint16) remote.Row {
	return remote.Row{Kind: remote.Backend, Host: host, Port: port, Operations: remote.Storage, EndUserData: true}
}

// Client is an HTTP client that has door two as its proxy, as an app would. What
// is inspected it trusts by the tenant's authority, and tunnels by the outside's.
func (a *Apps) Client(app isogate.Source) *http.Client {
	t := &http.Transport{
		Proxy:           http.ProxyURL(&url.URL{Scheme: "http", Host: a.Addr}),
		TLSClientConfig: &tls.Config{RootCAs: a.Roots(), MinVersion: tls.VersionTLS12},
		DialContext:     (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		ProxyConnectHeader: http.Header{"Proxy-Authorization": {
			"Basic " + base64.StdEncoding.EncodeToString([]byte(string(app)+":"+AppToken(app)))}},
		ForceAttemptHTTP2: false,
	}
	a.w.tb.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t, Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// Roots are the authorities that an app trusts: the tenant's for what is
// inspected, and the outside's.
func (a *Apps) Roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(a.Authority.PEM())
	pool.AppendCertsFromPEM(a.w.Outside.PEM())
	return pool
}

// Connect sends a CONNECT of an app and returns the connection with the answer
// that came. The connection is the tunnel if the answer is 200.
func (a *Apps) Connect(app isogate.Source, authority string) (net.Conn, *http.Response) {
	a.w.tb.Helper()
	c, res, err := Proxied{Door: a.Addr, Token: AppToken(app)}.Connect(context.Background(), authority)
	a.w.must(err)
	a.w.tb.Cleanup(func() { _ = c.Close() })
	return c, res
}

package gateway_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/gateway"
	"github.com/isogate/isogate/internal/isogatetest"
	"github.com/isogate/isogate/internal/isogatetest/dnstest"
)

// openInspected opens an inspected connection of the bot, and returns what sends a
// request in it and reads the answer.
func (w *appWorld) openInspected(t *testing.T, host string) func(method, path, body string) (*http.Response, string, error) {
	t.Helper()
	c, res := w.Apps.Connect(bot, w.at(host))
	if res.StatusCode != 200 {
		t.Fatalf("CONNECT %s: %d %+v", host, res.StatusCode, problemOf(t, res))
	}
	s, in := w.toHost(c, host)
	return func(method, path, body string) (*http.Response, string, error) {
		t.Helper()
		_, err := fmt.Fprintf(s, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", method, path, w.at(host), len(body), body)
		if err != nil {
			return nil, "", err
		}
		res, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			return nil, "", err
		}
		defer res.Body.Close()
		text, err := readAll(res)
		return res, text, err
	}
}

// entryOf is the entry of a refusal, which must have one.
func (w *appWorld) entryOf(t *testing.T, p gateway.Problem) isogate.Entry {
	t.Helper()
	e, err := w.Journal.Get(t.Context(), p.Entry)
	if err != nil {
		t.Fatalf("the entry %q of %+v: %v", p.Entry, p, err)
	}
	return e
}

// ATTACK: whoever runs an allowed host's name server answers with an address
// inside: from the second time on, beside one that is fine, behind an alias, in
// IPv6, or in an IPv6 spelling of IPv4 (rebinding; envoy issue 45664).
// THIS TEST VERIFIES that the address that is dialled is the one that was judged,
// at every dial, so that nothing comes inside; that a connection to an address
// that was fine may be used further; and that each refusal has an entry.
//
// promise: P01
// promise: P12
func TestAttackRebinding(t *testing.T) {
	rebound := map[string]dnstest.Answer{
		"inside, once asked again": func(turn int) []string {
			if turn == 0 {
				return []string{outside}
			}
			return []string{inside}
		},
		"both at once":           dnstest.Always(outside, inside),
		"an alias to inside":     dnstest.Always("CNAME metadata.inside.example.com.", inside),
		"the metadata service":   dnstest.Always("169.254.169.254"),
		"inside, in IPv6":        dnstest.Always("::1"),
		"IPv4 mapped into IPv6":  dnstest.Always("::ffff:127.0.0.1"),
		"beside it, in IPv6":     dnstest.Always(outside, "fd00:ec2::254"),
		"the gateway's own host": dnstest.Always(inside, inside),
		"everything":             dnstest.Always("0.0.0.0"),
	}
	for name, answer := range rebound {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newAppWorld(t, nil)
			w.grant(apiHost, fileHost)
			came := insideTrap(t, w.out.port)
			w.out.answer.Store(handler(func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Connection", "close") // each request makes the gateway dial again
				rw.WriteHeader(204)
			}))
			w.dns.Set(apiHost, answer)
			w.dns.Set(fileHost, answer)
			fine := 0
			if strings.Contains(name, "again") {
				fine = 1
			}
			send := w.openInspected(t, apiHost)
			for i := range 3 {
				res, text, err := send("GET", "/v1/items", "")
				switch {
				case err != nil:
					t.Fatal(err)
				case i < fine && res.StatusCode != 204:
					t.Errorf("request %d: %d %s", i, res.StatusCode, text)
				case i >= fine && (res.StatusCode != 403 || !strings.Contains(text, "urn:isogate:problem:address")):
					t.Errorf("request %d: %d %s", i, res.StatusCode, text)
				case i >= fine:
					e := w.entryOf(t, parseProblem(t, text))
					if e.Stage != isogate.StageOpened { // it was let out as far as anybody could know
						t.Errorf("its entry says %+v", e)
					}
				}
			}
			for i := range 3 {
				c, res := w.Apps.Connect(bot, w.at(fileHost))
				if i >= fine && (res.StatusCode != 403 || problemOf(t, res).Type != "urn:isogate:problem:address") || i < fine && res.StatusCode != 200 {
					t.Errorf("tunnel %d: %d", i, res.StatusCode)
				}
				_ = c.Close()
			}
			if n := came.Load(); n != 0 {
				t.Errorf("%d connections came inside", n)
			}
			if n := len(w.out.received()); n != fine {
				t.Errorf("%d requests arrived", n)
			}
		})
	}
}

// ATTACK: the name server moves an allowed host inside while the gateway keeps a
// connection to where it was.
// THIS TEST VERIFIES that requests go on over that connection, which leads where it
// led, and that no new one is made.
//
// promise: P12
func TestAttackRebindingUnderAKeptConnection(t *testing.T) {
	w := newAppWorld(t, nil)
	w.grant(apiHost)
	came := insideTrap(t, w.out.port)
	send := w.openInspected(t, apiHost)
	for i := range 4 {
		res, text, err := send("GET", "/v1/items", "")
		if err != nil || res.StatusCode != 200 && i < 2 || res.StatusCode != 200 && res.StatusCode != 403 {
			t.Fatalf("request %d: %v %v %s", i, res, err, text) // 403 where the kept connection took too long here
		}
		w.dns.Set(apiHost, dnstest.Always(inside))
	}
	if n := w.out.conn.Load(); n != 1 {
		t.Errorf("%d connections were made", n)
	}
	if came.Load() != 0 {
		t.Error("a connection came inside")
	}
}

// ATTACK: the name of an allowed host does not exist any more, or its name server
// says nothing, so that requests would wait for ever; and a revocation comes while
// one waits.
// THIS TEST VERIFIES that each is answered in bounded time with 502 or 504 and an
// entry, and that the revocation does not wait for the name server.
//
// promise: P14
// promise: P21
func TestAttackDeadNameServer(t *testing.T) {
	t.Parallel()
	// A socket that nobody reads from.
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	asked := make(chan struct{}, 64)
	dead := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		asked <- struct{}{}
		var d net.Dialer
		return d.DialContext(ctx, "udp", silent.LocalAddr().String())
	}}

	t.Run("no such name", func(t *testing.T) {
		t.Parallel()
		w := newAppWorld(t, nil)
		w.grant(apiHost, fileHost)
		w.dns.Set(apiHost, nil)
		w.dns.Set(fileHost, nil)
		res, text, err := w.openInspected(t, apiHost)("GET", "/v1/items", "")
		if err != nil || res.StatusCode != 502 {
			t.Fatalf("%v %v %s", res, err, text)
		}
		w.entryOf(t, parseProblem(t, text))
		_, res = w.Apps.Connect(bot, w.at(fileHost))
		if p := problemOf(t, res); res.StatusCode != 502 || w.entryOf(t, p).Remote != w.at(fileHost) {
			t.Errorf("a tunnel: %d %+v", res.StatusCode, p)
		}
	})
	t.Run("no answer", func(t *testing.T) {
		t.Parallel()
		w := newAppWorld(t, func(c *isogatetest.Config) { c.Resolver = dead })
		w.grant(apiHost, fileHost)
		tunnel := make(chan *http.Response, 1)
		go func() {
			_, res := w.Apps.Connect(bot, w.at(fileHost))
			tunnel <- res
		}()
		res, text, err := w.openInspected(t, apiHost)("GET", "/v1/items", "")
		if err != nil || res.StatusCode != 504 {
			t.Fatalf("%v %v %s", res, err, text)
		}
		w.entryOf(t, parseProblem(t, text))
		res = <-tunnel
		if p := problemOf(t, res); res.StatusCode != 504 || w.entryOf(t, p).Remote != w.at(fileHost) {
			t.Errorf("a tunnel: %d %+v", res.StatusCode, p)
		}
	})
	t.Run("revoked meanwhile", func(t *testing.T) {
		t.Parallel()
		looked := make(chan struct{}, 64)
		w := newAppWorld(t, func(c *isogatetest.Config) {
			c.Resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
				looked <- struct{}{}
				<-ctx.Done() // for as long as anybody wants to wait
				return nil, ctx.Err()
			}}
		})
		w.grant(fileHost)
		tunnel := make(chan *http.Response, 1)
		go func() {
			_, res := w.Apps.Connect(bot, w.at(fileHost))
			tunnel <- res
		}()
		<-looked
		w.Apps.Revoke(consent.App(bot))
		select {
		case res := <-tunnel:
			if p := problemOf(t, res); res.StatusCode != 403 || p.Type != "urn:isogate:problem:no-consent" {
				t.Errorf("%d %+v", res.StatusCode, p)
			}
		case <-time.After(20 * time.Second):
			t.Error("the revocation waits for the name server")
		}
	})
}

// ATTACK: an app that may reach every subdomain of a domain asks for names that
// carry data, which whoever runs the domain's name servers would read.
// THIS TEST VERIFIES that they are refused before anything is looked up, and that
// nobody is asked to consent to them.
//
// promise: P12
func TestAttackDataInNames(t *testing.T) {
	w := newAppWorld(t, nil)
	w.grant(wildHost)
	for _, label := range []string{
		"6d79206e616d65206973206d6961206d", "nbswy3dpeb3w64tmmqqho2dpo5zwizlsonuxgy3b", "a94fc9cc-4ce2-49ec-b588-42e609969d26",
		"a.b.c.d.e.f.g.h.i", "6d79206e616d65.6973206d6961206d.6d79206e616d65.6973206d6961206d",
	} {
		_, res := w.Apps.Connect(bot, w.at(label+".wild.example.com"))
		if p := problemOf(t, res); res.StatusCode != 403 || p.Type != "urn:isogate:problem:data-in-name" || p.Consent != "" || p.Entry == "" {
			t.Errorf("%s: %d %+v", label, res.StatusCode, p)
		}
	}
	if names := w.dns.Names(); len(names) != 0 {
		t.Errorf("%v were looked up", names)
	}
	if n := len(w.Apps.Ledger.State().Party(consent.App(bot)).Requests); n != 1 {
		t.Errorf("%d requests for consent", n)
	}
}

package gateway_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/http1"
	"github.com/isogate/isogate/internal/isogatetest"
)

// rawOutside is an outside that serves each connection by serve, and no TLS. The
// gateway reads no further than the app's first message in a tunnel.
func rawOutside(t *testing.T, serve func(*net.TCPConn)) *outsideHosts {
	t.Helper()
	l, err := net.Listen("tcp", outside+":0")
	if err != nil {
		t.Fatal(err)
	}
	o := &outsideHosts{port: netip.MustParseAddrPort(l.Addr().String()).Port(), got: make(chan isogatetest.Received, 1)}
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			o.conn.Add(1)
			mu.Lock()
			open[c] = true
			mu.Unlock()
			all.Go(func() {
				defer func() {
					_ = c.Close()
					mu.Lock()
					delete(open, c)
					mu.Unlock()
				}()
				serve(c.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return o
}

func newRawWorld(t *testing.T, serve func(*net.TCPConn), change func(*isogatetest.Config)) *appWorld {
	t.Helper()
	signer, err := isogatetest.NewAuthority("outside", 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return newAppWorldWith(t, signer, rawOutside(t, serve), change)
}

// helloFor is a ClientHello for a host.
func helloFor(t *testing.T, host string) []byte {
	t.Helper()
	a, b := net.Pipe()
	go func() {
		_ = tls.Client(a, &tls.Config{ServerName: host, InsecureSkipVerify: true}).HandshakeContext(t.Context())
	}()
	defer a.Close()
	head := make([]byte, 5)
	if _, err := io.ReadFull(b, head); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, int(head[3])<<8|int(head[4]))
	if _, err := io.ReadFull(b, body); err != nil {
		t.Fatal(err)
	}
	return slices.Concat(head, body)
}

// closedEntry waits for the entry that ends a tunnel to a host.
func (w *appWorld) closedEntry(t *testing.T, host string) (closed isogate.Entry) {
	t.Helper()
	w.Apps.Await(func() bool {
		for _, e := range w.Entries() {
			if e.Stage == isogate.StageClosed && e.Remote == w.at(host) {
				closed = e
				return true
			}
		}
		return false
	})
	return closed
}

// ATTACK: bytes stand behind a CONNECT before it was answered, so that nobody can
// say whether they are the tunnel's or the next request (RFC 9931); or the CONNECT
// has a body.
// THIS TEST VERIFIES that no tunnel is opened, nothing behind is read as a request,
// and nothing reaches the outside, by either way and over TLS too.
//
// promise: P12
func TestAttackBytesBehindConnect(t *testing.T) {
	w := newAppWorld(t, nil)
	w.grant(fileHost, apiHost)
	for _, host := range []string{fileHost, apiHost} {
		at := w.at(host)
		head := "CONNECT " + at + " HTTP/1.1\r\nHost: " + at + "\r\n" + bearer()
		for name, raw := range map[string]string{
			"a hello":               head + "\r\n" + string(helloFor(t, host)),
			"a request":             head + "\r\nGET https://" + at + "/v1/items HTTP/1.1\r\nHost: " + at + "\r\n" + bearer() + "\r\n",
			"one byte":              head + "\r\n\x16",
			"a line break":          head + "\r\n\r\n",
			"a body of a length":    head + "Content-Length: 4\r\n\r\nabcd",
			"a body in chunks":      head + "Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n",
			"an empty body":         head + "Content-Length: 0\r\n\r\n",
			"it expects a continue": head + "Expect: 100-continue\r\nContent-Length: 1\r\n\r\n",
			"an upgrade":            head + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
			"two tokens":            head + bearer() + "\r\n",
			"another Host":          strings.Replace(head, "Host: "+host, "Host: "+elseHost, 1) + "\r\n",
		} {
			for _, secure := range []bool{false, true} {
				var c net.Conn
				var err error
				if secure {
					c, err = tls.Dial("tcp", w.Apps.TLSAddr, w.TLS(""))
				} else {
					c, err = net.Dial("tcp", w.Apps.Addr)
				}
				if err != nil {
					t.Fatal(err)
				}
				_ = c.SetDeadline(time.Now().Add(30 * time.Second))
				_, _ = io.WriteString(c, raw)
				in := bufio.NewReader(c)
				res, err := http.ReadResponse(in, &http.Request{Method: "CONNECT"})
				if err != nil {
					t.Errorf("%s, %s, TLS %v: %v", host, name, secure, err)
				} else if refusedWell(t, name, res); res.StatusCode/100 != 4 && res.StatusCode != 501 {
					t.Errorf("%s, %s, TLS %v: %d", host, name, secure, res.StatusCode)
				} else if rest, _ := io.ReadAll(in); bytes.Contains(rest, []byte("HTTP/1.1")) {
					t.Errorf("%s, %s, TLS %v: what stood behind is answered too", host, name, secure)
				}
				_ = c.Close()
			}
		}
	}
	if len(w.out.received()) != 0 || w.out.conn.Load() != 0 {
		t.Errorf("%d connections reached the outside", w.out.conn.Load())
	}
}

// ATTACK: one side of a tunnel ends its direction, and then means to be heard
// further, or not.
// THIS TEST VERIFIES that each direction ends by itself, both ways round, and that
// nothing is lost in the other.
func TestAttackHalfClosedTunnels(t *testing.T) {
	const size = 1 << 20
	big := bytes.Repeat([]byte("x"), size)
	hello := helloFor(t, fileHost)
	arrived := make(chan int, 8)
	w := newRawWorld(t, func(c *net.TCPConn) {
		first := make([]byte, len(hello)+1)
		if _, err := io.ReadFull(c, first); err != nil {
			return
		}
		if first[len(hello)] == 'o' { // the outside ends first
			_ = c.CloseWrite()
			b, err := io.ReadAll(c)
			if err == nil {
				arrived <- len(b)
			}
			return
		}
		b, err := io.ReadAll(c) // the app ends first
		if err != nil {
			return
		}
		arrived <- len(b)
		_, _ = c.Write(big)
	}, nil)
	w.grant(fileHost)
	open := func() *net.TCPConn {
		t.Helper()
		c, res := w.Apps.Connect(bot, w.at(fileHost))
		if res.StatusCode != 200 {
			t.Fatal(res.StatusCode)
		}
		return c.(*net.TCPConn)
	}
	c := open()
	_, _ = c.Write(append(append(hello[:len(hello):len(hello)], 'a'), big...))
	_ = c.CloseWrite()
	if b, err := io.ReadAll(c); err != nil || len(b) != size {
		t.Errorf("behind the app's end %d bytes came: %v", len(b), err)
	}
	if n := <-arrived; n != size {
		t.Errorf("%d bytes arrived", n)
	}
	c = open()
	_, _ = c.Write(append(hello[:len(hello):len(hello)], 'o'))
	if b, err := io.ReadAll(c); err != nil || len(b) != 0 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	_, _ = c.Write(big)
	_ = c.CloseWrite()
	if n := <-arrived; n != size {
		t.Errorf("behind the outside's end %d bytes arrived", n)
	}
	w.Apps.Await(func() bool { return w.Gateway.Open() == 0 })
	for _, e := range w.Entries() {
		if e.Stage == isogate.StageClosed && e.Reason != "" {
			t.Errorf("an orderly end is called %q", e.Reason)
		}
	}
}

// ATTACK: an app opens a tunnel or an inspection and sends the first bytes of its
// TLS one by one, or a hello and then nothing; the host behind one takes the
// connection and says nothing.
// THIS TEST VERIFIES that each ends in bounded time, with an entry, and nothing of
// it left.
//
// promise: P21
func TestAttackSlowHandshakes(t *testing.T) {
	t.Parallel()
	w := newRawWorld(t, func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) }, func(c *isogatetest.Config) {
		c.Client.Handshake = 300 * time.Millisecond
	})
	w.grant(apiHost, fileHost)
	var all sync.WaitGroup
	for _, host := range []string{apiHost, fileHost} {
		c, res := w.Apps.Connect(bot, w.at(host))
		if res.StatusCode != 200 {
			t.Fatal(res.StatusCode)
		}
		hello := helloFor(t, host)
		all.Go(func() { // a byte at a time, as long as anybody listens
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_, _ = io.Copy(io.Discard, c)
			}()
			for i := range len(hello) - 1 {
				if _, err := c.Write(hello[i : i+1]); err != nil {
					return
				}
				select {
				case <-tick.C:
				case <-ended:
					return
				}
			}
			<-ended
		})
	}
	// All of the hello, and then silence: the app's side of an inspection.
	c, res := w.Apps.Connect(bot, w.at(apiHost))
	if res.StatusCode != 200 {
		t.Fatal(res.StatusCode)
	}
	_, _ = c.Write(helloFor(t, apiHost))
	all.Go(func() { _, _ = io.Copy(io.Discard, c) })
	// The far side's.
	res, text, err := w.openInspected(t, apiHost)("POST", "/v1/items", `{"title":"x"}`)
	if err != nil || res.StatusCode != 504 {
		t.Errorf("%v %v %s", res, err, text)
	} else {
		w.entryOf(t, parseProblem(t, text))
	}
	all.Wait()
	w.Apps.Await(func() bool {
		late, untaken := 0, 0
		for _, e := range w.Entries() {
			if strings.Contains(e.Reason, "did not come to its end in time") {
				late++
			}
			if strings.Contains(e.Reason, "did not take the gateway's certificate") {
				untaken++
			}
			if e.BytesOut != 0 && e.Remote == w.at(fileHost) {
				t.Fatalf("%d bytes left: %+v", e.BytesOut, e)
			}
		}
		return late == 2 && untaken == 1
	})
}

// ATTACK: one side of a tunnel sends for ever and the other reads nothing, so that
// what is between them fills up; and then the grant is revoked.
// THIS TEST VERIFIES that the gateway holds a bounded part of it, and that the
// revocation waits for neither side: both see the connection broken off.
//
// promise: P14
func TestAttackNobodyReads(t *testing.T) {
	for _, over := range []string{"HTTP/1.1", "HTTP/2"} {
		for _, direction := range []string{"inward", "outward"} {
			t.Run(direction+" over "+over, func(t *testing.T) {
				t.Parallel()
				hello := helloFor(t, fileHost)
				broken := make(chan error, 1)
				began, stuck := make(chan struct{}), make(chan struct{})
				// pour writes until it is told that nobody reads, and then until it fails.
				pour := func(c io.Writer) error {
					piece := make([]byte, 64<<10)
					for i := 0; ; i++ {
						if i == 4 {
							close(began)
						}
						if _, err := c.Write(piece); err != nil {
							return err
						}
						if i > 4096 {
							return errors.New("256 MiB went into a tunnel that nobody reads from")
						}
					}
				}
				w := newRawWorld(t, func(c *net.TCPConn) {
					if _, err := io.ReadFull(c, make([]byte, len(hello))); err != nil {
						broken <- err // revoked before anything had left, which is as good
						return
					}
					if direction == "inward" {
						broken <- pour(c)
						return
					}
					<-stuck
					_, err := io.Copy(io.Discard, c)
					broken <- err
				}, nil)
				w.grant(fileHost)
				var c net.Conn
				if over == "HTTP/2" {
					var status int
					if c, status = w.Apps.ConnectHTTP2(t, bot, w.at(fileHost)); status != 200 {
						t.Fatal(status)
					}
				} else {
					var res *http.Response
					if c, res = w.Apps.Connect(bot, w.at(fileHost)); res.StatusCode != 200 {
						t.Fatal(res.StatusCode)
					}
				}
				if _, err := c.Write(hello); err != nil {
					t.Fatal(err)
				}
				app := make(chan error, 1)
				if direction == "outward" {
					go func() { app <- pour(c) }()
				}
				select {
				case <-began:
				case <-time.After(20 * time.Second):
					t.Fatal("nothing was poured in")
				}
				w.Apps.Revoke(consent.App(bot))
				w.Apps.Await(func() bool { return w.Gateway.Open() == 0 })
				close(stuck)
				if err := <-broken; err == nil || strings.Contains(err.Error(), "MiB") {
					t.Errorf("the outside saw %v", err)
				}
				if direction == "inward" {
					_, err := io.Copy(io.Discard, c)
					app <- err
				}
				if err := <-app; err == nil || strings.Contains(err.Error(), "MiB") || timeout(err) {
					t.Errorf("the app saw %v", err)
				}
				if e := w.closedEntry(t, fileHost); !strings.Contains(e.Reason, "revoked") {
					t.Errorf("%+v", e)
				}
			})
		}
	}
}

// ATTACK: over HTTP/2, a stream is cut off in the middle of what it sends, or the
// gateway cuts it: the other side must not take what it has for all there was.
// THIS TEST VERIFIES that a reset is passed on as a reset, both ways round.
//
// promise: P14
func TestAttackTruncationOverHTTP2(t *testing.T) {
	hello := helloFor(t, fileHost)
	ended := make(chan error, 2)
	w := newRawWorld(t, func(c *net.TCPConn) {
		if _, err := io.ReadFull(c, make([]byte, len(hello))); err != nil {
			return
		}
		_, _ = c.Write([]byte("half"))
		_, err := io.ReadAll(c)
		ended <- err
	}, nil)
	w.grant(fileHost)
	open := func() net.Conn {
		t.Helper()
		c, status := w.Apps.ConnectHTTP2(t, bot, w.at(fileHost))
		if status != 200 {
			t.Fatal(status)
		}
		_, _ = c.Write(hello)
		if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	// By the app.
	c := open()
	_ = c.(interface{ Reset() error }).Reset()
	if err := <-ended; err == nil {
		t.Error("the outside takes what an app broke off for complete")
	}
	// By the gateway.
	c = open()
	w.Apps.Revoke(consent.App(bot))
	if _, err := io.ReadAll(c); err == nil {
		t.Error("the app takes what was cut for complete")
	}
	if err := <-ended; err == nil {
		t.Error("the outside takes what was cut for complete")
	}
}

// ATTACK: a body is one byte larger than what is taken.
// THIS TEST VERIFIES that it is refused with 413, and that nothing of it arrives, or
// what had to be streamed arrives incomplete, by its length or in chunks.
//
// promise: P03
func TestAttackBodyOverTheLimit(t *testing.T) {
	const limit = 1 << 20
	for name, hold := range map[string]int64{"held": 4 << 20, "streamed": 64 << 10} {
		t.Run(name, func(t *testing.T) {
			w := newAppWorld(t, func(c *isogatetest.Config) { c.Body, c.Hold = limit, hold })
			w.grant(apiHost)
			body := func(n int) string { return `{"title":"` + strings.Repeat("x", n-len(`{"title":""}`)) + `"}` }
			for _, c := range []struct {
				size   int
				chunks bool
				status int
			}{{limit, false, 200}, {limit, true, 200}, {limit + 1, false, 413}, {limit + 1, true, 413}} {
				conn, res := w.Apps.Connect(bot, w.at(apiHost))
				if res.StatusCode != 200 {
					t.Fatal(res.StatusCode)
				}
				s, in := w.toHost(conn, apiHost)
				head := "POST /v1/items HTTP/1.1\r\nHost: " + w.at(apiHost) + "\r\nContent-Type: application/json\r\n"
				go func() {
					if c.chunks {
						_, _ = fmt.Fprintf(s, "%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", head, c.size, body(c.size))
					} else {
						_, _ = fmt.Fprintf(s, "%sContent-Length: %d\r\n\r\n%s", head, c.size, body(c.size))
					}
				}()
				res, err := http.ReadResponse(in, nil)
				if err != nil {
					t.Fatalf("%d, chunks %v: %v", c.size, c.chunks, err)
				}
				text, _ := readAll(res)
				if res.StatusCode != c.status {
					t.Errorf("%d, chunks %v: %d %s", c.size, c.chunks, res.StatusCode, text)
				}
				_ = conn.Close()
				got := w.out.received()
				switch {
				case c.status == 200:
					if len(got) != 1 || got[0].Broken {
						t.Errorf("%d, chunks %v: %d arrived", c.size, c.chunks, len(got))
					}
				case name == "streamed" && c.chunks: // it could not be known before
					for _, r := range got {
						if !r.Broken {
							t.Errorf("what is too large arrived as complete")
						}
					}
				case len(got) != 0:
					t.Errorf("%d, chunks %v: %d arrived", c.size, c.chunks, len(got))
				}
			}
		})
	}
}

// ATTACK: an app opens very many tunnels, one after the other and at once.
// THIS TEST VERIFIES that nothing is left of them when they have ended: not a
// goroutine, not what the ledger's changes go over, and no memory to speak of.
//
// promise: P06
func TestAttackManyTunnels(t *testing.T) {
	hello := helloFor(t, fileHost)
	w := newRawWorld(t, func(c *net.TCPConn) {
		if _, err := io.ReadFull(c, make([]byte, len(hello))); err == nil {
			_, _ = c.Write([]byte{1})
		}
		_, _ = io.Copy(io.Discard, c)
	}, nil)
	w.grant(fileHost)
	batch := func(n int) {
		var all sync.WaitGroup
		full := make(chan struct{})
		var open sync.WaitGroup
		open.Add(n)
		for range n {
			all.Go(func() {
				c, res := w.door(t, http.MethodConnect, "CONNECT "+w.at(fileHost)+" HTTP/1.1\r\nHost: "+w.at(fileHost)+"\r\n"+bearer()+"\r\n")
				if c == nil || res.StatusCode != 200 {
					open.Done()
					if c != nil {
						t.Errorf("no tunnel: %d %+v", res.StatusCode, problemOf(t, res))
						_ = c.Close()
					}
					return
				}
				defer c.Close()
				_, _ = c.Write(hello)
				if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
					t.Error(err)
				}
				open.Done()
				<-full
			})
		}
		open.Wait()
		if got := w.Gateway.Open(); got != n {
			t.Errorf("%d are open of %d", got, n)
		}
		if all, none := w.Gateway.Underway(consent.Everybody), w.Gateway.Underway("app/nobody"); all != n || none != 0 {
			t.Errorf("%d are under way of %d, and %d of nobody's", all, n, none)
		}
		close(full)
		all.Wait()
		w.Apps.Await(func() bool { return w.Gateway.Open() == 0 })
	}
	heap := func() int64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	batch(100) // pools fill
	w.Apps.Await(func() bool { return w.Gateway.Open() == 0 })
	idle := runtime.NumGoroutine()
	before := heap()
	for range 10 {
		batch(200)
	}
	w.Apps.Await(func() bool { return runtime.NumGoroutine() <= idle })
	if grown := heap() - before; grown > 32<<20 {
		t.Errorf("the heap grew by %d KiB over 2,000 tunnels", grown>>10)
	}
	if n := w.out.conn.Load(); n != 2100 {
		t.Errorf("%d connections arrived", n)
	}
}

// ATTACK: an answer is an endless stream of events, which a gateway might hold back,
// or let run on when the grant is over.
// THIS TEST VERIFIES that each event arrives before the next one is sent, and that
// a revocation breaks the stream off, so that it cannot be taken for its end.
//
// promise: P14
func TestAttackEventStream(t *testing.T) {
	w := newAppWorld(t, nil)
	w.grant(apiHost)
	next := make(chan struct{})
	w.out.answer.Store(handler(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		for i := 0; ; i++ {
			if _, err := fmt.Fprintf(rw, "data: %d\n\n", i); err != nil {
				return
			}
			rw.(http.Flusher).Flush()
			select {
			case <-next:
			case <-r.Context().Done():
				return
			}
		}
	}))
	c, res := w.Apps.Connect(bot, w.at(apiHost))
	if res.StatusCode != 200 {
		t.Fatal(res.StatusCode)
	}
	s, in := w.toHost(c, apiHost)
	_, _ = fmt.Fprintf(s, "GET /v1/items HTTP/1.1\r\nHost: %s\r\n\r\n", w.at(apiHost))
	res, err := http.ReadResponse(in, nil)
	if err != nil || res.StatusCode != 200 {
		t.Fatal(res, err)
	}
	lines := bufio.NewReader(res.Body)
	for i := range 20 {
		line, err := lines.ReadString('\n')
		if want := fmt.Sprintf("data: %d\n", i); err != nil || line != want {
			t.Fatalf("%q %v, want %q", line, err, want)
		}
		if _, err := lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		next <- struct{}{}
	}
	w.Apps.Revoke(consent.App(bot))
	if _, err := io.ReadAll(lines); err == nil || errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) || timeout(err) {
		t.Errorf("the stream ends with %v", err)
	}
	w.Apps.Await(func() bool {
		for _, e := range w.Entries() {
			if e.Stage == isogate.StageClosed && strings.Contains(e.Reason, "revoked") {
				return true
			}
		}
		return false
	})
}

// ATTACK: the gateway is stopped while tunnels and streams are open that never end
// by themselves.
// THIS TEST VERIFIES that it ends all the same within the time it has for that, and
// that every entry is closed with a reason.
//
// promise: P21
func TestAttackDrainWithOpenTunnels(t *testing.T) {
	w := newAppWorld(t, func(c *isogatetest.Config) { c.Timeouts = http1.Timeouts{Drain: 200 * time.Millisecond} })
	w.grant(apiHost, fileHost)
	w.out.answer.Store(handler(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(rw, "data: 0\n\n")
		rw.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	var readers []*bufio.Reader
	for _, host := range []string{apiHost, fileHost} {
		for _, h2 := range []bool{false, true} {
			var c net.Conn
			if h2 {
				c, _ = w.Apps.ConnectHTTP2(t, bot, w.at(host))
			} else {
				c, _ = w.Apps.Connect(bot, w.at(host))
			}
			s, in := w.toHost(c, host)
			_, _ = fmt.Fprintf(s, "GET /v1/items HTTP/1.1\r\nHost: %s\r\n\r\n", w.at(host))
			res, err := http.ReadResponse(in, nil)
			if err != nil || res.StatusCode != 200 {
				t.Fatal(res, err)
			}
			body := bufio.NewReader(res.Body)
			if _, err := body.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
			readers = append(readers, body)
		}
	}
	w.Stop()
	for i, r := range readers {
		if _, err := io.ReadAll(r); err == nil || timeout(err) {
			t.Errorf("connection %d ended with %v", i, err)
		}
	}
	w.Apps.Await(func() bool {
		reasons := 0
		for _, e := range w.Entries() {
			if e.Stage == isogate.StageClosed {
				if e.Reason == "" || e.Transit == "bot-files" && !strings.Contains(e.Reason, "the gateway stopped") {
					t.Errorf("%+v", e)
				}
				reasons++
			}
		}
		return reasons == 4
	})
}

package gateway_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/isogate/isogate/internal/gateway"
	"github.com/isogate/isogate/internal/isogatetest"
	"github.com/isogate/isogate/internal/remote"
)

// attempt is a spelling as it is sent in a world.
type attempt struct {
	text string
	want bool   // it must reach host
	host string // canonical, if it has such a form
	why  string
}

// attempts are all spellings, with the world's port instead of 443.
//
// One trailing dot is one spelling more than the door takes: whoever sends one is
// refused, as by http1 everywhere, because the name in TLS has none (RFC 6066, 3).
func (w *appWorld) attempts() (all []attempt) {
	port := strconv.Itoa(int(w.out.port))
	replace := strings.NewReplacer(
		"65979", strconv.Itoa(1<<16+int(w.out.port)), "4294967739", strconv.Itoa(1<<32+int(w.out.port)),
		"0x1bb", "0x"+strconv.FormatInt(int64(w.out.port), 16), "443", port)
	for _, s := range isogatetest.Spellings() {
		a := attempt{text: replace.Replace(s.Text), why: s.Why, want: s.Want == isogatetest.Reach && !strings.Contains(s.Text, ".:")}
		if host, _, err := remote.ParseAuthority(a.text, 0); err == nil {
			a.host = host
		}
		all = append(all, a)
	}
	return all
}

// insideTrap listens inside on the port of the outside, and counts who comes.
func insideTrap(t *testing.T, port uint16) *atomic.Int64 {
	t.Helper()
	var came atomic.Int64
	for _, at := range []string{inside, "::1"} {
		l, err := net.Listen("tcp", net.JoinHostPort(at, strconv.Itoa(int(port))))
		if err != nil {
			t.Logf("no trap at %s: %v", at, err) // the port is somebody's, or there is no IPv6 here
			continue
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				came.Add(1)
				_ = c.Close()
			}
		}()
		t.Cleanup(func() {
			_ = l.Close()
			<-done
		})
	}
	return &came
}

// door sends bytes to door two and reads the answer.
func (w *appWorld) door(t *testing.T, method, text string) (net.Conn, *http.Response) {
	t.Helper()
	c, err := net.DialTimeout("tcp", w.Apps.Addr, 20*time.Second)
	if err != nil {
		t.Error(err)
		return nil, nil
	}
	_ = c.SetDeadline(time.Now().Add(60 * time.Second))
	_, _ = io.WriteString(c, text)
	res, err := http.ReadResponse(bufio.NewReaderSize(readOne{c}, 16), &http.Request{Method: method})
	if err != nil {
		t.Errorf("%.80q has no answer: %v", text, err)
		_ = c.Close()
		return nil, nil
	}
	return c, res
}

// readOne reads byte by byte, so that nothing of what follows is taken.
type readOne struct{ r io.Reader }

func (o readOne) Read(p []byte) (int, error) { return o.r.Read(p[:1]) }

func bearer() string { return "Proxy-Authorization: Bearer " + isogatetest.AppToken(bot) + "\r\n" }

// toHost makes a TLS client for a host in a tunnel or inspection.
func (w *appWorld) toHost(c net.Conn, host string) (*tls.Conn, *bufio.Reader) {
	s := tls.Client(c, &tls.Config{RootCAs: w.Apps.Roots(), ServerName: host, MinVersion: tls.VersionTLS12})
	return s, bufio.NewReader(s)
}

// each runs f for every item, eight at a time.
func each[T any](items []T, f func(T)) {
	var wg sync.WaitGroup
	next := make(chan T)
	for range 8 {
		wg.Go(func() {
			for x := range next {
				f(x)
			}
		})
	}
	for _, x := range items {
		next <- x
	}
	close(next)
	wg.Wait()
}

// refusedWell makes sure that an answer is a refusal in our words. Of an app's
// refusals only so many have an entry each.
func refusedWell(t *testing.T, what string, res *http.Response) {
	t.Helper()
	var p gateway.Problem
	err := json.NewDecoder(res.Body).Decode(&p)
	if res.StatusCode < 400 || err != nil || p.Entry == "" && res.StatusCode != 429 || p.Detail == "" || p.Status != res.StatusCode {
		t.Errorf("%s: status %d, %+v, %v", what, res.StatusCode, p, err)
	}
}

// ATTACK: a destination is spelled so that whoever judges it and whoever connects
// to it understand two different ones: addresses in every notation, escapes,
// delimiters, look-alikes, odd ports; or its name tells what should not leave.
// Each is tried as CONNECT, as the target of a request in absolute form, as the
// Host inside of an inspected connection, and as CONNECT over HTTP/2.
// THIS TEST VERIFIES that what is not granted is never reached, outside or inside,
// nor looked up, and refused with an entry; and that what is granted is reached.
//
// promise: P01
// promise: P12
func TestAttackSpellingsAtEveryDoor(t *testing.T) {
	w := newAppWorld(t, nil)
	w.grant(apiHost, wildHost)
	came := insideTrap(t, w.out.port)
	all := w.attempts()
	port := ":" + strconv.Itoa(int(w.out.port))
	granted := map[string]bool{}
	for _, a := range all {
		if a.want {
			granted[a.host] = true
		}
	}

	var tried, reached atomic.Int64
	arrivedAll := func(t *testing.T) {
		t.Helper()
		for _, r := range w.out.received() {
			host, _, _ := strings.Cut(r.Target, ":")
			if !granted[host] || r.Target != host+port+"/v1/items" {
				t.Errorf("%s arrived", r.Target)
			}
			reached.Add(1)
		}
		for _, name := range w.dns.Names() {
			if !granted[name] {
				t.Errorf("%s was looked up", name)
			}
		}
		if n := came.Load(); n != 0 {
			t.Errorf("%d connections came inside", n)
		}
	}

	t.Run("CONNECT", func(t *testing.T) {
		each(all, func(a attempt) {
			tried.Add(1)
			c, res := w.door(t, http.MethodConnect, "CONNECT "+a.text+" HTTP/1.1\r\nHost: "+a.text+"\r\n"+bearer()+"\r\n")
			if c == nil {
				return
			}
			defer c.Close()
			if !a.want {
				refusedWell(t, fmt.Sprintf("%q (%s)", a.text, a.why), res)
				return
			}
			if res.StatusCode != 200 {
				t.Errorf("%q (%s): status %d", a.text, a.why, res.StatusCode)
				return
			}
			s, in := w.toHost(c, a.host)
			_, _ = fmt.Fprintf(s, "GET /v1/items HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", a.host+port)
			if res, err := http.ReadResponse(in, nil); err != nil || res.StatusCode != 200 {
				t.Errorf("%q: inside %v %v", a.text, res, err)
			}
		})
		arrivedAll(t)
	})

	t.Run("absolute form", func(t *testing.T) {
		each(all, func(a attempt) {
			tried.Add(1)
			c, res := w.door(t, http.MethodGet, "GET https://"+a.text+"/v1/items HTTP/1.1\r\nHost: "+a.text+"\r\n"+bearer()+"\r\n")
			if c == nil {
				return
			}
			defer c.Close()
			if !a.want {
				refusedWell(t, fmt.Sprintf("%q (%s)", a.text, a.why), res)
			} else if res.StatusCode != 200 {
				t.Errorf("%q (%s): status %d", a.text, a.why, res.StatusCode)
			}
		})
		arrivedAll(t)
	})

	t.Run("Host inside", func(t *testing.T) {
		each(all, func(a attempt) {
			tried.Add(1)
			c, res := w.door(t, http.MethodConnect, "CONNECT "+apiHost+port+" HTTP/1.1\r\nHost: "+apiHost+port+"\r\n"+bearer()+"\r\n")
			if c == nil {
				return
			}
			defer c.Close()
			if res.StatusCode != 200 {
				t.Errorf("CONNECT: %d", res.StatusCode)
				return
			}
			s, in := w.toHost(c, apiHost)
			_, _ = fmt.Fprintf(s, "GET /v1/items HTTP/1.1\r\nHost: %s\r\n\r\n", a.text)
			res, err := http.ReadResponse(in, nil)
			switch {
			case err != nil:
				t.Errorf("%q: %v", a.text, err)
			case a.want && a.host == apiHost:
				if res.StatusCode != 200 {
					t.Errorf("%q: %d", a.text, res.StatusCode)
				}
			default: // also a host that is granted: it is not the one of the CONNECT
				refusedWell(t, fmt.Sprintf("inside: %q (%s)", a.text, a.why), res)
				if _, err := in.ReadByte(); err == nil {
					t.Errorf("%q: the connection goes on", a.text)
				}
			}
		})
		arrivedAll(t)
	})

	t.Run("CONNECT over HTTP/2", func(t *testing.T) {
		h := &rawHTTP2{t: t, w: w}
		defer h.close()
		for _, a := range all {
			tried.Add(1)
			if status := h.connect(a.text); (status == 200) != a.want {
				t.Errorf("%q (%s): status %d", a.text, a.why, status)
			}
		}
		arrivedAll(t)
	})
	wants := int64(len(slices.DeleteFunc(slices.Clone(all), func(a attempt) bool { return !a.want })))
	if tried.Load() < 1000 || reached.Load() < 2*wants {
		t.Errorf("%d were tried, and %d reached an outside that is granted", tried.Load(), reached.Load())
	}
	w.Apps.Await(func() bool { return w.Gateway.Open() == 0 })
}

// rawHTTP2 is a client that sends whatever it is told as :authority.
type rawHTTP2 struct {
	t      *testing.T
	w      *appWorld
	conn   net.Conn
	framer *http2.Framer
	stream uint32
}

func (h *rawHTTP2) open() error {
	conf := h.w.TLS("")
	conf.NextProtos = []string{"h2"}
	c, err := tls.Dial("tcp", h.w.Apps.TLSAddr, conf)
	if err != nil {
		return err
	}
	_ = c.SetDeadline(time.Now().Add(60 * time.Second))
	h.conn, h.stream, h.framer = c, 1, http2.NewFramer(c, c)
	h.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_, err = io.WriteString(c, http2.ClientPreface)
	return errors.Join(err, h.framer.WriteSettings())
}

func (h *rawHTTP2) close() {
	if h.conn != nil {
		_ = h.conn.Close()
		h.conn = nil
	}
}

// connect is the status of the answer to a CONNECT, 0 for an error of the stream
// or the connection.
func (h *rawHTTP2) connect(authority string) int {
	if h.conn == nil {
		if err := h.open(); err != nil {
			h.t.Fatal(err)
		}
	}
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, f := range []hpack.HeaderField{{Name: ":method", Value: "CONNECT"}, {Name: ":authority", Value: authority}, {Name: "proxy-authorization", Value: "Bearer " + isogatetest.AppToken(bot)}} {
		_ = enc.WriteField(f)
	}
	id := h.stream
	h.stream += 2
	if err := h.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndHeaders: true}); err != nil {
		h.close()
		return 0
	}
	for {
		f, err := h.framer.ReadFrame()
		if err != nil {
			h.close()
			return 0
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = h.framer.WriteSettingsAck()
			}
		case *http2.GoAwayFrame:
			h.close()
			return 0
		case *http2.RSTStreamFrame:
			if f.StreamID == id {
				return 0
			}
		case *http2.MetaHeadersFrame:
			if f.StreamID == id {
				status, _ := strconv.Atoi(f.PseudoValue("status"))
				_ = h.framer.WriteRSTStream(id, http2.ErrCodeCancel)
				return status
			}
		}
	}
}

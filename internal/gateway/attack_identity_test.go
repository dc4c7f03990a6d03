package gateway_test

import (
	"bufio"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate/internal/gateway"
	"github.com/isogate/isogate/internal/isogatetest"
)

func readAll(res *http.Response) (string, error) {
	b, err := io.ReadAll(res.Body)
	return string(b), err
}

func parseProblem(t *testing.T, text string) (p gateway.Problem) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		t.Fatalf("no problem: %q", text)
	}
	return p
}

// ATTACK: an app forges what only the gateway says: the entry, the handling, a
// consent; or sends what tells where it comes from or who it is to the proxy. The
// far side forges the same in its answer, and what would lead around the gateway.
// THIS TEST VERIFIES that none of it passes, in an inspection or in absolute form.
//
// promise: P03
// promise: P04
func TestAttackForgedHeadersOfApps(t *testing.T) {
	w := newAppWorld(t, nil)
	w.grant(apiHost)
	w.out.answer.Store(handler(func(rw http.ResponseWriter, _ *http.Request) {
		for _, name := range []string{"Isogate-Entry", "Isogate-Consent", "Isogate-Seal", "Isogate-X", "Alt-Svc", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection"} {
			rw.Header().Set(name, "forged")
		}
		rw.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(rw, `{}`)
	}))
	const mark = "forged-by-an-app"
	names := []string{"Isogate-Entry", "Isogate-Handling", "Isogate-Seal", "Isogate-Consent", "isogate-entry", "Isogate-Anything", "Proxy-Connection",
		"Proxy-X", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via", "Traceparent", "Tracestate", "Baggage", "Authorization", "Cookie",
		"X-Request-Id", "Referer", "Origin", "User-Agent", "X-Http-Method-Override", "X-Original-Url", "Cf-Connecting-Ip", "Proxy"}
	var fields strings.Builder
	for _, n := range names {
		_, _ = fmt.Fprintf(&fields, "%s: a=%s\r\n", n, mark)
	}
	head := fields.String()
	check := func(t *testing.T, res *http.Response, err error) {
		t.Helper()
		if err != nil || res.StatusCode != 200 {
			t.Fatalf("%v %v", res, err)
		}
		for name, values := range res.Header {
			if strings.Contains(strings.Join(values, " "), "forged") {
				t.Errorf("the app got %s of the far side", name)
			}
		}
		got := w.out.received()
		if len(got) != 1 {
			t.Fatalf("%d arrived", len(got))
		}
		for name, values := range got[0].Header {
			if text := strings.Join(values, " "); strings.Contains(text, mark) || strings.Contains(text, "token") {
				t.Errorf("%s: %s left", name, text)
			}
		}
		if e := got[0].Header.Values("Isogate-Entry"); len(e) != 1 || e[0] == "" {
			t.Errorf("the far side was told the entries %v", e)
		}
	}
	t.Run("inspected", func(t *testing.T) {
		c, res := w.Apps.Connect(bot, w.at(apiHost))
		if res.StatusCode != 200 {
			t.Fatal(res.StatusCode)
		}
		s, in := w.toHost(c, apiHost)
		_, _ = fmt.Fprintf(s, "GET /v1/items HTTP/1.1\r\nHost: %s\r\n%sProxy-Authorization: Bearer %s\r\n\r\n", w.at(apiHost), head, isogatetest.AppToken(other))
		res, err := http.ReadResponse(in, nil)
		check(t, res, err)
	})
	t.Run("absolute form", func(t *testing.T) {
		_, res := w.door(t, "GET", fmt.Sprintf("GET https://%s/v1/items HTTP/1.1\r\nHost: %s\r\n%s%s\r\n", w.at(apiHost), w.at(apiHost), head, bearer()))
		check(t, res, nil)
	})
}

// ATTACK: somebody else answers in the place of an allowed host, with a
// certificate of another authority, of another host, or that has expired.
// THIS TEST VERIFIES that an inspected request is refused with an entry before a
// byte of it leaves; and that in a tunnel the app sees the certificate itself and
// can refuse it.
//
// promise: P04
func TestAttackUpstreamCertificates(t *testing.T) {
	trusted, err := isogatetest.NewAuthority("outside", 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := isogatetest.NewAuthority("outside", 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	both := []string{apiHost, fileHost}
	for name, c := range map[string]struct {
		signer *isogatetest.Authority
		leaf   isogatetest.Leaf
	}{
		"of another authority":   {stranger, isogatetest.Leaf{Hosts: both}},
		"expired":                {trusted, isogatetest.Leaf{Hosts: both, Valid: -time.Hour}},
		"of another host":        {trusted, isogatetest.Leaf{Hosts: []string{elseHost}}},
		"of the parent's others": {trusted, isogatetest.Leaf{Hosts: []string{"*.example.com"}}},
		"of the address":         {trusted, isogatetest.Leaf{Hosts: []string{outside}}},
		"of nobody":              {trusted, isogatetest.Leaf{}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newAppWorldWith(t, trusted, newOutside(t, c.signer, c.leaf), nil)
			w.grant(apiHost, fileHost)
			res, text, err := w.openInspected(t, apiHost)("POST", "/v1/items", `{"title":"a secret title"}`)
			if err != nil || res.StatusCode != 502 {
				t.Fatalf("inspected: %v %v", res, err)
			}
			w.entryOf(t, parseProblem(t, text))
			conn, res := w.Apps.Connect(bot, w.at(fileHost))
			if res.StatusCode != 200 {
				t.Fatal(res.StatusCode)
			}
			s, _ := w.toHost(conn, fileHost)
			var ce *tls.CertificateVerificationError
			if err := s.HandshakeContext(t.Context()); !errors.As(err, &ce) {
				t.Errorf("in a tunnel the app does not see it: %v", err)
			}
			if n := len(w.out.received()); n != 0 {
				t.Errorf("%d requests arrived", n)
			}
		})
	}
}

// ATTACK: a request inside an inspected connection has a head that two programs
// read differently: two Hosts, none, one with more in it, an absolute target of
// another host, a CONNECT; or it would change the protocol, so that what follows is
// judged by nobody (RFC 9931).
// THIS TEST VERIFIES that it is refused with an entry, that the connection ends,
// and that neither it nor what was sent behind it arrives.
//
// promise: P03
// promise: P12
func TestAttackHeadsInsideAnInspection(t *testing.T) {
	w := newAppWorld(t, nil)
	w.grant(apiHost)
	at := w.at(apiHost)
	behind := "GET /v1/items HTTP/1.1\r\nHost: " + at + "\r\n\r\n"
	for name, raw := range map[string]string{
		"two hosts":             "GET /v1/items HTTP/1.1\r\nHost: " + at + "\r\nHost: " + w.at(elseHost) + "\r\n\r\n",
		"the same host twice":   "GET /v1/items HTTP/1.1\r\nHost: " + at + "\r\nHost: " + at + "\r\n\r\n",
		"no host":               "GET /v1/items HTTP/1.1\r\n\r\n",
		"an empty host":         "GET /v1/items HTTP/1.1\r\nHost:\r\n\r\n",
		"HTTP/1.0 without host": "GET /v1/items HTTP/1.0\r\n\r\n",
		"an absolute target":    "GET https://" + at + "/v1/items HTTP/1.1\r\nHost: " + at + "\r\n\r\n",
		"another's target":      "GET https://" + w.at(elseHost) + "/v1/items HTTP/1.1\r\nHost: " + at + "\r\n\r\n",
		"CONNECT":               "CONNECT " + at + " HTTP/1.1\r\nHost: " + at + "\r\n\r\n",
		"CONNECT to another":    "CONNECT " + w.at(elseHost) + " HTTP/1.1\r\nHost: " + w.at(elseHost) + "\r\n\r\n",
		"WebSocket":             "GET /v1/items HTTP/1.1\r\nHost: " + at + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
		"a WebSocket of old":    "GET /v1/items HTTP/1.1\r\nHost: " + at + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 0\r\n\r\n",
		"h2c":                   "GET /v1/items HTTP/1.1\r\nHost: " + at + "\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
		"h2c unasked":           "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"any upgrade":           "GET /v1/items HTTP/1.1\r\nHost: " + at + "\r\nUpgrade: x/1\r\n\r\n",
		"length and coding":     "POST /v1/items HTTP/1.1\r\nHost: " + at + "\r\nContent-Type: application/json\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"a folded line":         "GET /v1/items HTTP/1.1\r\nHost: " + at + "\r\nX-A: b\r\n c\r\n\r\n",
		"TRACE":                 "TRACE /v1/items HTTP/1.1\r\nHost: " + at + "\r\n\r\n",
	} {
		c, res := w.Apps.Connect(bot, at)
		if res.StatusCode != 200 {
			t.Fatal(res.StatusCode)
		}
		s, in := w.toHost(c, apiHost)
		_, _ = io.WriteString(s, raw+behind)
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		text, err := readAll(res)
		if err != nil || res.StatusCode < 400 || res.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s %v", name, res.StatusCode, text, err)
			continue
		}
		if e := w.entryOf(t, parseProblem(t, text)); e.Source != bot || e.Remote != at {
			t.Errorf("%s: the entry says %+v", name, e)
		}
		if _, err := in.ReadByte(); err == nil {
			t.Errorf("%s: the connection goes on", name)
		}
	}
	if got := w.out.received(); len(got) != 0 || w.out.conn.Load() != 0 {
		t.Errorf("%d requests and %d connections arrived: %+v", len(got), w.out.conn.Load(), got)
	}
}

// ATTACK: the far side answers 101 to a request that asked for no other protocol,
// or sends more than its answer.
// THIS TEST VERIFIES that nothing of it is spliced to the app, and that the bytes
// are not the answer to the next request.
//
// promise: P03
func TestAttackForged101(t *testing.T) {
	w := newAppWorld(t, nil)
	w.grant(apiHost)
	for name, answer := range map[string]string{
		"101":           "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhidden",
		"101, then 200": "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhidden",
		"two answers":   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhidden",
	} {
		w.out.answer.Store(handler(func(rw http.ResponseWriter, _ *http.Request) {
			c, buf, err := rw.(http.Hijacker).Hijack()
			if err != nil {
				panic(err)
			}
			_, _ = buf.WriteString(answer)
			_ = buf.Flush()
			_, _ = c.Read(make([]byte, 1)) // until the gateway ends it
			_ = c.Close()
		}))
		c, res := w.Apps.Connect(bot, w.at(apiHost))
		if res.StatusCode != 200 {
			t.Fatal(res.StatusCode)
		}
		s, in := w.toHost(c, apiHost)
		ask := "GET /v1/items HTTP/1.1\r\nHost: " + w.at(apiHost) + "\r\n\r\n"
		for i := range 2 {
			if _, err := io.WriteString(s, ask); err != nil {
				t.Fatal(err)
			}
			res, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			text, _ := readAll(res)
			if strings.Contains(text, "hidden") || res.StatusCode == 101 || strings.HasPrefix(name, "101") && res.StatusCode != 502 {
				t.Errorf("%s, request %d: %d %s", name, i, res.StatusCode, text)
			}
		}
	}
}

// ATTACK: what was true of a TLS session when it began is carried into a later
// one (CVE-2025-68121).
// THIS TEST VERIFIES that the gateway resumes no session of an inspected host, and
// that the case of a server's name makes no difference.
//
// promise: P12
func TestAttackSessionsAreNotResumed(t *testing.T) {
	w := newAppWorld(t, nil)
	w.grant(apiHost)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cache := tls.NewLRUClientSessionCache(4)
		for i, name := range []string{apiHost, "API.Allowed.Example.COM", apiHost} {
			c, res := w.Apps.Connect(bot, w.at(apiHost))
			if res.StatusCode != 200 {
				t.Fatal(res.StatusCode)
			}
			s := tls.Client(c, &tls.Config{RootCAs: w.Apps.Roots(), ServerName: name, ClientSessionCache: cache, MaxVersion: version, MinVersion: version})
			_, _ = fmt.Fprintf(s, "GET /v1/items HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", w.at(apiHost))
			res, err := http.ReadResponse(bufio.NewReader(s), nil)
			if err != nil || res.StatusCode != 200 {
				t.Fatalf("%v %v", res, err)
			}
			if _, err := io.Copy(io.Discard, s); err != nil {
				t.Error(err)
			}
			if s.ConnectionState().DidResume {
				t.Errorf("connection %d of version %x is resumed", i, version)
			}
		}
	}
}

// ATTACK: a client hides its server's name in an encrypted hello, or sends random
// bytes in its place as browsers do.
// THIS TEST VERIFIES that a tunnel passes it where the name in the clear is the one
// granted, and that what is meant for another name in the clear does not leave.
//
// promise: P12
func TestAttackEncryptedHello(t *testing.T) {
	w := newAppWorld(t, nil)
	w.grant(fileHost)
	hello := func(public string) error {
		c, res := w.Apps.Connect(bot, w.at(fileHost))
		if res.StatusCode != 200 {
			t.Fatal(res.StatusCode)
		}
		defer c.Close()
		s := tls.Client(c, &tls.Config{RootCAs: w.Apps.Roots(), ServerName: elseHost, MinVersion: tls.VersionTLS13, EncryptedClientHelloConfigList: echList(t, public)})
		return s.HandshakeContext(t.Context())
	}
	// The far side has no key, which it can only say if the hello arrived.
	var rejected *tls.ECHRejectionError
	if err := hello(fileHost); !errors.As(err, &rejected) {
		t.Errorf("by the granted name: %v", err)
	}
	if err := hello(elseHost); err == nil || errors.As(err, &rejected) {
		t.Errorf("by another name: %v", err)
	}
	if n := w.out.conn.Load(); n > 2 || len(w.out.received()) != 0 {
		t.Errorf("%d connections, and requests arrived", n)
	}
}

// echList is a list of one configuration of a key that nobody keeps (RFC 9849, 4).
func echList(t *testing.T, public string) []byte {
	t.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var c []byte
	c = append(c, 7)                           // config_id
	c = binary.BigEndian.AppendUint16(c, 0x20) // X25519, HKDF-SHA256
	c = binary.BigEndian.AppendUint16(c, 32)   // public key
	c = append(c, key.PublicKey().Bytes()...)  //
	c = binary.BigEndian.AppendUint16(c, 4)    // cipher suites
	c = binary.BigEndian.AppendUint16(c, 1)    // HKDF-SHA256
	c = binary.BigEndian.AppendUint16(c, 1)    // AES-128-GCM
	c = append(c, 32)                          // maximum_name_length
	c = append(c, byte(len(public)))           //
	c = append(c, public...)                   //
	c = binary.BigEndian.AppendUint16(c, 0)    // extensions
	var one []byte
	one = binary.BigEndian.AppendUint16(one, 0xfe0d)
	one = binary.BigEndian.AppendUint16(one, uint16(len(c)))
	one = append(one, c...)
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(one))), one...)
}

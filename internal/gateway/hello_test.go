package gateway

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/isogate/isogate/internal/tenant"
)

// said is the client's end of a tunnel on which everything was said already. What
// is written to it and how its deadline is set is kept.
type said struct {
	io.Reader
	written   []byte
	deadlines []time.Time
	closed    bool
}

func say(b []byte) *said { return &said{Reader: bytes.NewReader(b)} }

func (s *said) Write(p []byte) (int, error) { s.written = append(s.written, p...); return len(p), nil }
func (s *said) Close() error                { s.closed = true; return nil }
func (*said) LocalAddr() net.Addr           { return &net.TCPAddr{} }
func (*said) RemoteAddr() net.Addr          { return &net.TCPAddr{} }
func (s *said) SetDeadline(t time.Time) error {
	return s.SetReadDeadline(t)
}

func (s *said) SetReadDeadline(t time.Time) error {
	s.deadlines = append(s.deadlines, t)
	return nil
}
func (*said) SetWriteDeadline(time.Time) error { return nil }

// hello is the first flight of a real TLS client.
func hello(t testing.TB, change func(*tls.Config)) []byte {
	t.Helper()
	s := say(nil)
	c := &tls.Config{ServerName: "api.example.com", NextProtos: []string{"h2", "http/1.1"}}
	change(c)
	if err := tls.Client(s, c).HandshakeContext(context.Background()); err == nil {
		t.Fatal("nobody answered, and the handshake is done")
	}
	if len(s.written) == 0 {
		t.Fatal("the client says nothing")
	}
	return s.written
}

// anonymous is the first flight of a client that names no server.
func anonymous(t testing.TB) []byte {
	return hello(t, func(c *tls.Config) { c.ServerName, c.InsecureSkipVerify = "", true })
}

// message takes the handshake message out of the records, of which each is one
// byte of type, two of version, two of length.
func message(records []byte) (m []byte) {
	for len(records) >= 5 {
		n := int(binary.BigEndian.Uint16(records[3:]))
		m, records = append(m, records[5:5+n]...), records[5+n:]
	}
	return m
}

// records puts a message into records of at most size bytes.
func records(m []byte, size int) (b []byte) {
	for chunk := range slices.Chunk(m, size) {
		b = append(b, 22, 3, 1, byte(len(chunk)>>8), byte(len(chunk)))
		b = append(b, chunk...)
	}
	return b
}

// extended adds an extension to a client's first flight, at the end of the message.
func extended(flight []byte, id uint16, body []byte) []byte {
	m := message(flight)
	at := 4 + 2 + 32                                     // header, version, random
	at += 1 + int(m[at])                                 // session
	at += 2 + int(binary.BigEndian.Uint16(m[at:]))       // cipher suites
	at += 1 + int(m[at])                                 // compression
	m = binary.BigEndian.AppendUint16(m, id)             //
	m = binary.BigEndian.AppendUint16(m, u16(len(body))) //
	m = append(m, body...)
	binary.BigEndian.PutUint16(m[at:], u16(len(m)-at-2))
	n := len(m) - 4
	m[1], m[2], m[3] = byte(n>>16), byte(n>>8), byte(n)
	return records(m, 1<<14)
}

func u16(n int) uint16 { return uint16(n) }

// named is a first flight that names these servers, whatever they are.
func named(t testing.TB, names ...string) []byte {
	var list []byte
	for _, n := range names {
		list = append(binary.BigEndian.AppendUint16(append(list, 0), u16(len(n))), n...)
	}
	return extended(anonymous(t), 0, append(binary.BigEndian.AppendUint16(nil, u16(len(list))), list...))
}

// encrypted is a list of one configuration for encrypted hellos (RFC 9849, 4).
func encrypted(t testing.TB, public string) []byte {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := []byte{7, 0, 0x20, 0, 32} // its number, the KEM, the key's length
	c = append(c, key.PublicKey().Bytes()...)
	c = append(c, 0, 4, 0, 1, 0, 1, 0, byte(len(public))) // one cipher suite, no largest name
	c = append(append(c, public...), 0, 0)
	c = append([]byte{0xfe, 0x0d, 0, byte(len(c))}, c...)
	return append([]byte{0, byte(len(c))}, c...)
}

func TestReadHello(t *testing.T) {
	grease := append([]byte{0, 0, 1, 0, 1, 7, 0, 32}, make([]byte, 32)...)
	grease = append(append(grease, 0, 144), make([]byte, 144)...)
	plain := hello(t, func(*tls.Config) {})
	for name, c := range map[string]struct {
		said []byte
		want clientHello
		err  error
	}{
		"TLS 1.3":                 {plain, clientHello{ServerName: "api.example.com", ALPN: []string{"h2", "http/1.1"}}, nil},
		"TLS 1.2 only":            {hello(t, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }), clientHello{ServerName: "api.example.com", ALPN: []string{"h2", "http/1.1"}}, nil},
		"no ALPN":                 {hello(t, func(c *tls.Config) { c.NextProtos = nil }), clientHello{ServerName: "api.example.com"}, nil},
		"upper case":              {hello(t, func(c *tls.Config) { c.ServerName = "API.Example.COM" }), clientHello{ServerName: "api.example.com", ALPN: []string{"h2", "http/1.1"}}, nil},
		"punycode":                {named(t, "xn--bcher-kva.example"), clientHello{ServerName: "xn--bcher-kva.example", ALPN: []string{"h2", "http/1.1"}}, nil},
		"like an encrypted hello": {extended(plain, 0xfe0d, grease), clientHello{ServerName: "api.example.com", ALPN: []string{"h2", "http/1.1"}, ECH: true}, nil},
		"an encrypted hello": {hello(t, func(c *tls.Config) {
			c.ServerName, c.EncryptedClientHelloConfigList = "hidden.example.com", encrypted(t, "public.example.net")
		}), clientHello{ServerName: "public.example.net", ALPN: []string{"h2", "http/1.1"}, ECH: true}, nil},
		"something behind it":        {append(slices.Clone(plain), "early data of some kind"...), clientHello{ServerName: "api.example.com", ALPN: []string{"h2", "http/1.1"}}, nil},
		"records of one byte":        {records(message(plain), 1), clientHello{ServerName: "api.example.com", ALPN: []string{"h2", "http/1.1"}}, nil},
		"records of three bytes":     {records(message(plain), 3), clientHello{ServerName: "api.example.com", ALPN: []string{"h2", "http/1.1"}}, nil},
		"records of 500 bytes":       {records(message(plain), 500), clientHello{ServerName: "api.example.com", ALPN: []string{"h2", "http/1.1"}}, nil},
		"almost too long":            {extended(plain, 21, make([]byte, 63000)), clientHello{ServerName: "api.example.com", ALPN: []string{"h2", "http/1.1"}}, nil},
		"too long":                   {extended(plain, 21, make([]byte, 65535-len(plain))), clientHello{}, errHelloLong},
		"too long by its records":    {records(message(extended(plain, 21, make([]byte, 12000))), 1), clientHello{}, errHelloLong},
		"says that it is 16 MB long": {append([]byte{22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff}, plain...), clientHello{}, errHelloLong},
		"no name":                    {anonymous(t), clientHello{}, errHelloNoName},
		"an address":                 {named(t, "127.0.0.1"), clientHello{}, errHelloName},
		"an IPv6 address":            {named(t, "2001:db8::1"), clientHello{}, errHelloName},
		"a number":                   {named(t, "2130706433"), clientHello{}, errHelloName},
		"a dot at the end":           {named(t, "api.example.com."), clientHello{}, errHelloBroken},
		"a NUL in it":                {named(t, "api.example.com\x00.evil.com"), clientHello{}, errHelloName},
		"a wildcard":                 {named(t, "*.example.com"), clientHello{}, errHelloName},
		"an underscore":              {named(t, "a_b.example.com"), clientHello{}, errHelloName},
		"a port":                     {named(t, "api.example.com:443"), clientHello{}, errHelloName},
		"a space":                    {named(t, "api.example.com "), clientHello{}, errHelloName},
		"not ASCII":                  {named(t, "bücher.example"), clientHello{}, errHelloName},
		"a Kelvin sign":              {named(t, "\u212aelvin.example.com"), clientHello{}, errHelloName},
		"broken punycode":            {named(t, "xn--a.example.com"), clientHello{}, errHelloName},
		"an empty name":              {named(t, ""), clientHello{}, errHelloBroken},
		"two names":                  {named(t, "api.example.com", "evil.example.com"), clientHello{}, errHelloBroken},
		"an extension twice":         {extended(plain, 0, []byte{0, 6, 0, 0, 3, 'a', '.', 'b'}), clientHello{}, errHelloBroken},
		"TLS 1.1 only": {hello(t, func(c *tls.Config) {
			c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
		}), clientHello{}, errHelloOld},
		"another message in its record": {records(append(message(plain), message(plain)...), 1<<14), clientHello{}, errHelloBroken},
		"a warning in front":            {append([]byte{21, 3, 1, 0, 2, 1, 90}, plain...), clientHello{}, errHelloNotTLS},
		"a warning inside":              {slices.Concat(records(message(plain)[:50], 50), []byte{21, 3, 1, 0, 2, 1, 90}, records(message(plain)[50:], 1<<14)), clientHello{}, errHelloBroken},
		"an empty record inside":        {slices.Concat(records(message(plain)[:50], 50), []byte{22, 3, 1, 0, 0}, records(message(plain)[50:], 1<<14)), clientHello{}, errHelloBroken},
		"a record of SSL 3.0":           {append([]byte{22, 3, 0}, plain[3:]...), clientHello{}, errHelloBroken},
		"another message":               {records([]byte{2, 0, 0, 2, 3, 3}, 100), clientHello{}, errHelloBroken},
		"cut":                           {plain[:len(plain)-1], clientHello{}, errHelloCut},
		"cut at a record":               {records(message(plain)[:50], 50), clientHello{}, errHelloCut},
		"nothing":                       {nil, clientHello{}, errHelloCut},
		"HTTP":                          {[]byte("GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n"), clientHello{}, errHelloNotTLS},
		"SSH":                           {[]byte("SSH-2.0-OpenSSH_9.2\r\n"), clientHello{}, errHelloNotTLS},
		"SSLv2":                         {[]byte{0x80, 46, 1, 0, 2, 0, 21, 0, 0, 0, 16, 1, 0, 0x80}, clientHello{}, errHelloNotTLS},
		"zeros":                         {make([]byte, 2000), clientHello{}, errHelloNotTLS},
		"one byte of something else":    {[]byte("G"), clientHello{}, errHelloNotTLS},
		"two bytes, then not":           {[]byte{22, 9, 1, 0, 1, 0}, clientHello{}, errHelloNotTLS},
	} {
		t.Run(name, func(t *testing.T) {
			for how, r := range map[string]io.Reader{
				"at once":          bytes.NewReader(c.said),
				"byte by byte":     iotest.OneByteReader(bytes.NewReader(c.said)),
				"the end with it":  iotest.DataErrReader(bytes.NewReader(c.said)),
				"half of each ask": iotest.HalfReader(bytes.NewReader(c.said)),
			} {
				conn := &said{Reader: r}
				got, raw, err := readHello(conn, time.Minute)
				if !errors.Is(err, c.err) || got.ServerName != c.want.ServerName || !slices.Equal(got.ALPN, c.want.ALPN) || got.ECH != c.want.ECH {
					t.Fatalf("%s: %+v %v, want %+v %v", how, got, err, c.want, c.err)
				}
				if conn.closed || len(conn.written) != 0 {
					t.Errorf("%s: the client was told %x, closed %v", how, conn.written, conn.closed)
				}
				if n := len(conn.deadlines); n != 2 || conn.deadlines[0].IsZero() || !conn.deadlines[1].IsZero() {
					t.Errorf("%s: deadlines %v", how, conn.deadlines)
				}
				if err != nil {
					if raw != nil {
						t.Errorf("%s: refused, and %d bytes to send on", how, len(raw))
					}
					continue
				}
				rest, err := io.ReadAll(&replayConn{Conn: conn, raw: raw})
				if err != nil || !bytes.Equal(rest, c.said) {
					t.Errorf("%s: what is sent on is not what was said: %d bytes, want %d, %v", how, len(rest), len(c.said), err)
				}
			}
		})
	}
}

// ATTACK: a client says the ClientHello slowly, or nothing at all, and keeps a
// tunnel open for as long as it likes without anything being known of it.
//
// THIS TEST VERIFIES that the whole message has a time limit, which pieces do not
// renew, and that the connection can be used afterwards.
func TestAttackSlowHello(t *testing.T) {
	flight := hello(t, func(*tls.Config) {})
	for name, every := range map[string]time.Duration{"a byte a second": time.Second, "nothing": time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				defer func() { _ = far.Close() }()
				stop := make(chan struct{})
				go func() {
					for _, b := range flight {
						select {
						case <-time.After(every):
						case <-stop:
							return
						}
						if _, err := near.Write([]byte{b}); err != nil {
							return
						}
					}
				}()
				began := time.Now()
				_, raw, err := readHello(far, 10*time.Second)
				if !errors.Is(err, errHelloLate) || raw != nil {
					t.Errorf("%d bytes, %v", len(raw), err)
				}
				if took := time.Since(began); took != 10*time.Second {
					t.Errorf("took %v, want 10s", took)
				}
				close(stop)
				synctest.Wait()
				// A deadline that was left would end this at once.
				go func() { _, _ = near.Write([]byte("x")); _ = near.Close() }()
				if b, err := io.ReadAll(far); err != nil || !strings.HasSuffix(string(b), "x") {
					t.Errorf("afterwards: %q %v", b, err)
				}
			})
		})
	}
}

// ATTACK: what the errors say goes to the journal and the log. A client writes
// something of its own there, by a name that is refused.
//
// THIS TEST VERIFIES that no error repeats what the client sent.
func TestAttackHelloInErrors(t *testing.T) {
	for _, flight := range [][]byte{named(t, "secret_value.example.com"), named(t, "secret_value\nlevel=ERROR"), named(t, "secret_value."), []byte("secret_value"),
		append([]byte{22, 3, 1, 0, 16}, "secret_valuesecret"...)} {
		if _, _, err := readHello(say(flight), time.Minute); err == nil || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "7365") {
			t.Errorf("%q: %v", flight, err)
		}
	}
}

// A client whose hello was read and is read again shakes hands with a server that
// has the tenant's certificate, and both talk.
func TestHelloReadAgain(t *testing.T) {
	keys, err := tenant.Create(filepath.Join(t.TempDir(), "keys"), "acme")
	if err != nil {
		t.Fatal(err)
	}
	authority, err := keys.CreateAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	trust := x509.NewCertPool()
	if !trust.AppendCertsFromPEM(authority.PEM()) {
		t.Fatal("no certificate")
	}
	near, far := net.Pipe()
	answer := make(chan string, 1)
	go func() {
		c := tls.Client(near, &tls.Config{ServerName: "API.example.com", RootCAs: trust})
		_, err := c.Write([]byte("ping"))
		b := make([]byte, 4)
		if err == nil {
			_, err = io.ReadFull(c, b)
		}
		if err != nil {
			answer <- err.Error()
		}
		answer <- string(b)
	}()
	h, raw, err := readHello(far, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := authority.Leaf(h.ServerName, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	again := &replayConn{Conn: far, raw: raw}
	server := tls.Server(again, &tls.Config{Certificates: []tls.Certificate{*leaf}, MinVersion: tls.VersionTLS12})
	b := make([]byte, 4)
	if _, err := io.ReadFull(server, b); err != nil || string(b) != "ping" {
		t.Fatalf("%q %v", b, err)
	}
	if _, err := server.Write([]byte("pong")); err != nil {
		t.Fatal(err)
	}
	if got := <-answer; got != "pong" {
		t.Error(got)
	}
	if again.raw != nil {
		t.Error("what was read again is still held")
	}
}

// What is understood is understood however it comes in pieces, nothing is
// answered, and what is sent on is what was said.
func FuzzReadHello(f *testing.F) {
	plain := hello(f, func(*tls.Config) {})
	f.Add(plain, 1)
	f.Add(records(message(plain), 7), 3)
	f.Add(append(slices.Clone(plain), plain...), 100)
	f.Add(named(f, "127.0.0.1"), 100)
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), 2)
	f.Add([]byte{22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff}, 2)
	f.Fuzz(func(t *testing.T, b []byte, piece int) {
		whole := say(b)
		h, raw, err := readHello(whole, time.Minute)
		if len(whole.written) != 0 {
			t.Fatalf("answered %x", whole.written)
		}
		pieces := &said{Reader: &inPieces{b: b, size: max(piece, 1)}}
		h2, raw2, err2 := readHello(pieces, time.Minute)
		if (err == nil) != (err2 == nil) || h.ServerName != h2.ServerName || !slices.Equal(h.ALPN, h2.ALPN) || h.ECH != h2.ECH {
			t.Fatalf("%+v %v, in pieces of %d %+v %v", h, err, piece, h2, err2)
		}
		if err != nil {
			if raw != nil || raw2 != nil || h.ServerName != "" {
				t.Fatalf("refused, and %d and %d bytes to send on, %+v", len(raw), len(raw2), h)
			}
			return
		}
		if len(raw) > maxHello || !bytes.HasPrefix(b, raw) || !bytes.HasPrefix(b, raw2) {
			t.Fatalf("%d and %d bytes to send on that were not said", len(raw), len(raw2))
		}
		if h.ServerName == "" || h.ServerName != strings.ToLower(h.ServerName) || strings.ContainsAny(h.ServerName, "\x00 :*/@%") {
			t.Fatalf("the name %q", h.ServerName)
		}
	})
}

// inPieces gives at most size bytes at a time.
type inPieces struct {
	b    []byte
	size int
}

func (r *inPieces) Read(p []byte) (int, error) {
	if len(r.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), r.size)], r.b)
	r.b = r.b[n:]
	return n, nil
}

func BenchmarkReadHello(b *testing.B) {
	flight := hello(b, func(*tls.Config) {})
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := readHello(say(flight), time.Minute); err != nil {
			b.Fatal(err)
		}
	}
}

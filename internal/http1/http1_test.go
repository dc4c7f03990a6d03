package http1_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/isogate/isogate/internal/http1"
)

// certificates makes a server's and a client's TLS configuration that trust each other.
func certificates(tb testing.TB) (server, client *tls.Config) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"gateway.test", "upstream.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		tb.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS13},
		&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}
}

// handler is an http1.Handler made of functions.
type handler struct {
	exchange func(x *http1.Exchange)
	fault    func(x *http1.Exchange, f *http1.Fault)
}

func (h handler) ServeExchange(x *http1.Exchange) { h.exchange(x) }

func (h handler) ServeFault(x *http1.Exchange, f *http1.Fault) {
	if h.fault != nil {
		h.fault(x, f)
		return
	}
	_ = x.Respond(f.Status, http1.Fields{{Name: "Content-Type", Value: "text/plain"}}, []byte(f.Error()))
}

// echo answers with the body it got.
func echo(x *http1.Exchange) {
	body, err := x.ReadBody(nil)
	var f *http1.Fault
	if errors.As(err, &f) {
		_ = x.Respond(f.Status, nil, []byte(f.Error()))
		return
	}
	_ = x.Respond(200, http1.Fields{{Name: "Content-Type", Value: "application/octet-stream"}}, body)
}

// serve runs s on a loopback port until the test ends.
func serve(tb testing.TB, s *http1.Server) netip.AddrPort {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Errorf("Serve: %v", err)
		}
	})
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func dial(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, address)
}

// to is a request to a loopback server.
func to(scheme string, at netip.AddrPort, method, target string, body []byte) *http1.Outgoing {
	return &http1.Outgoing{Scheme: scheme, Host: at.Addr().String(), Port: at.Port(), Method: method, Target: target, Body: body}
}

func TestRoundTrip(t *testing.T) {
	serverTLS, clientTLS := certificates(t)
	for _, scheme := range []string{"http", "https"} {
		s := &http1.Server{Handler: handler{exchange: echo}}
		if scheme == "https" {
			s.TLS = serverTLS
		}
		at := serve(t, s)
		c := &http1.Client{Dial: dial, TLS: clientTLS}
		defer c.CloseIdle()
		for i, size := range []int{0, 1, 1000, 15 << 10, 16 << 10, 17 << 10, 64 << 10, 1 << 20} {
			for _, stream := range []string{"", "length", "chunks"} {
				body := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
				out := to(scheme, at, "POST", "/echo?x=1", body)
				if stream != "" {
					out.Body, out.Stream, out.Length = nil, bytes.NewReader(body), int64(size)
					if stream == "chunks" {
						out.Length = -1
					}
				}
				t.Run(fmt.Sprintf("%s %d %s", scheme, size, stream), func(t *testing.T) {
					in, err := c.Do(t.Context(), out)
					if err != nil {
						t.Fatal(err)
					}
					got, err := in.ReadBody(nil)
					if err != nil || in.Status != 200 || !bytes.Equal(got, body) {
						t.Fatalf("status %d, %d bytes, %v", in.Status, len(got), err)
					}
					if in.Reused != (i > 0 || stream != "") {
						t.Errorf("Reused = %v", in.Reused)
					}
				})
			}
		}
	}
}

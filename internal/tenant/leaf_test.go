package tenant

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A host's certificate is, byte for byte, what crypto/x509 makes of the template.
func TestLeafIsWhatX509Makes(t *testing.T) {
	a := mustAuthority(t, Config{})
	label := strings.Repeat("a", 63)
	for _, host := range []string{"a.io", "api.example.com", "xn--bcher-kva.example", "1.2.3.example",
		label + ".example.com", label + "." + label + "." + label + "." + label[:61]} {
		for _, now := range []time.Time{noon, noon.Add(-30 * time.Minute), noon.Add(364*day + 12*time.Hour)} {
			got := mustLeaf(t, a, host, now)
			leaf := parsed(t, got)
			template := leafTemplate(a.certs[0])
			template.SerialNumber, template.NotBefore, template.NotAfter, template.DNSNames = leaf.SerialNumber, leaf.NotBefore, leaf.NotAfter, []string{host}
			der, err := x509.CreateCertificate(rand.Reader, template, a.certs[0], got.PrivateKey.(*ecdsa.PrivateKey).Public(), a.issuer.key)
			if err != nil {
				t.Fatal(err)
			}
			want, err := x509.ParseCertificate(der)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(leaf.RawTBSCertificate, want.RawTBSCertificate) {
				t.Errorf("%s: %x\nwant %x", host, leaf.RawTBSCertificate, want.RawTBSCertificate)
			}
			verify(t, got, a.PEM(), host, now)
			if !slices.Equal(leaf.DNSNames, []string{host}) || leaf.IsCA || len(leaf.IPAddresses)+len(leaf.URIs)+len(leaf.EmailAddresses) != 0 {
				t.Errorf("%s: for %v %v, CA %v", host, leaf.DNSNames, leaf.IPAddresses, leaf.IsCA)
			}
			if leaf.SerialNumber.Sign() <= 0 || leaf.SerialNumber.BitLen() < 120 {
				t.Errorf("%s: serial number %x", host, leaf.SerialNumber)
			}
		}
	}
	if a, b := parsed(t, mustLeaf(t, a, "a.example.com", noon)), parsed(t, mustLeaf(t, a, "b.example.com", noon)); a.SerialNumber.Cmp(b.SerialNumber) == 0 {
		t.Error("two certificates have one serial number")
	}
}

func TestLeafInHandshake(t *testing.T) {
	a := mustAuthority(t, Config{})
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		near, far := net.Pipe()
		done := make(chan error, 1)
		go func() {
			s := tls.Server(far, &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) { return a.Leaf(h.ServerName, noon) }})
			done <- s.Handshake()
		}()
		c := tls.Client(near, &tls.Config{RootCAs: roots(t, a.PEM()), ServerName: "api.example.com", MaxVersion: version, Time: func() time.Time { return noon }})
		if err := c.Handshake(); err != nil {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		if err := <-done; err != nil {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		_, _ = near.Close(), far.Close()
	}
}

func TestLeafRenewal(t *testing.T) {
	a := mustAuthority(t, Config{})
	start := noon.Add(100 * day)
	first := mustLeaf(t, a, "api.example.com", start)
	cert := parsed(t, first)
	if !cert.NotBefore.Equal(start.Add(-time.Hour)) || !cert.NotAfter.Equal(start.Add(24*time.Hour)) {
		t.Errorf("made at %v, valid from %v to %v", start, cert.NotBefore, cert.NotAfter)
	}
	// Requests that read the clock a little earlier than the first are no reason for another.
	for _, at := range []time.Duration{0, -time.Minute, 15 * time.Hour, 16*time.Hour - 1} {
		if mustLeaf(t, a, "api.example.com", start.Add(at)) != first {
			t.Errorf("after %v it is another one", at)
		}
	}
	later := start.Add(16 * time.Hour)
	if next := mustLeaf(t, a, "api.example.com", later); next == first || !parsed(t, next).NotAfter.Equal(later.Add(24*time.Hour)) {
		t.Error("after 16 hours it is not renewed")
	}
	// A clock that was set back makes one that is valid then.
	back := start.Add(-50 * day)
	verify(t, mustLeaf(t, a, "api.example.com", back), a.PEM(), "api.example.com", back)

	// Near the authority's end the certificate ends with it, and is not made anew at each request.
	end := a.NotAfter()
	last := mustLeaf(t, a, "api.example.com", end.Add(-time.Hour))
	if got := parsed(t, last).NotAfter; !got.Equal(end) {
		t.Errorf("valid to %v, the authority to %v", got, end)
	}
	if mustLeaf(t, a, "api.example.com", end.Add(-time.Second)) != last {
		t.Error("made anew before it is over")
	}
	for _, now := range []time.Time{end, end.Add(day), a.certs[0].NotBefore.Add(-time.Second)} {
		for _, host := range []string{"api.example.com", "new.example.com"} {
			_, err := a.Leaf(host, now)
			wants(t, err, nil, "valid from", "isogate tenant intercept rotate")
		}
	}
	if n := len(a.leaves.of); n != 1 {
		t.Errorf("%d hosts are kept, want 1: what was refused takes no place", n)
	}
}

func TestLeafIsMadeOnce(t *testing.T) {
	a := mustAuthority(t, Config{})
	got := make([]*tls.Certificate, 64)
	var g sync.WaitGroup
	start := make(chan struct{})
	for i := range got {
		g.Go(func() {
			<-start
			got[i], _ = a.Leaf("api.example.com", noon)
		})
	}
	close(start)
	g.Wait()
	for i, c := range got {
		if c == nil || c != got[0] {
			t.Fatalf("request %d got another certificate than request 0", i)
		}
	}
}

// What is kept is bounded by number, and who is asked for often stays.
func TestLeavesAreBounded(t *testing.T) {
	a := mustAuthority(t, Config{Intercept: Intercept{Hosts: 100}})
	often := mustLeaf(t, a, "often.example.com", noon)
	for i := range 1000 {
		mustLeaf(t, a, fmt.Sprintf("h%d.example.com", i), noon)
		if mustLeaf(t, a, "often.example.com", noon) != often {
			t.Fatalf("after %d hosts that were asked for once, one that is always asked for was lost", i+1)
		}
		if n := len(a.leaves.of); n > 100 || len(a.leaves.ring) != n {
			t.Fatalf("%d hosts are kept, %d in the ring, want 100 at the most", n, len(a.leaves.ring))
		}
	}
	for host, s := range a.leaves.of {
		if s.host != host || !slices.Contains(a.leaves.ring, s) {
			t.Errorf("%s is not where the hand comes by", host)
		}
	}
	one := mustAuthority(t, Config{Intercept: Intercept{Hosts: 1}})
	for i := range 10 {
		verify(t, mustLeaf(t, one, fmt.Sprintf("h%d.example.com", i%3), noon), one.PEM(), fmt.Sprintf("h%d.example.com", i%3), noon)
	}
	if n := len(one.leaves.of); n != 1 {
		t.Errorf("%d hosts are kept, want 1", n)
	}
	if d := mustAuthority(t, Config{}); d.leaves.max != 10_000 {
		t.Errorf("%d hosts are kept by default", d.leaves.max)
	}
}

// Requests for more hosts than are kept, from all sides, while certificates are
// evicted under them.
func TestLeavesFromAllSides(t *testing.T) {
	a := mustAuthority(t, Config{Intercept: Intercept{Hosts: 8}})
	var g sync.WaitGroup
	for w := range 8 {
		g.Go(func() {
			for i := range 200 {
				host := fmt.Sprintf("h%d.example.com", (i*7+w)%24)
				c, err := a.Leaf(host, noon)
				if err != nil {
					t.Error(err)
					return
				}
				if cert, err := x509.ParseCertificate(c.Certificate[0]); err != nil || cert.DNSNames[0] != host {
					t.Errorf("asked for %s, got %v %v", host, cert.DNSNames, err)
					return
				}
			}
		})
	}
	g.Wait()
	if n := len(a.leaves.of); n != 8 || len(a.leaves.ring) != 8 {
		t.Errorf("%d hosts are kept, %d in the ring, want 8", n, len(a.leaves.ring))
	}
}

// A certificate that is kept costs nothing to find.
func TestLeafHitAllocatesNothing(t *testing.T) {
	a := mustAuthority(t, Config{})
	mustLeaf(t, a, "api.example.com", noon)
	if n := testing.AllocsPerRun(100, func() { _, _ = a.Leaf("api.example.com", noon) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkLeaf(b *testing.B) {
	b.Run("hit", func(b *testing.B) {
		a := mustAuthority(b, Config{})
		mustLeaf(b, a, "api.example.com", noon)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				_, _ = a.Leaf("api.example.com", noon)
			}
		})
	})
	b.Run("miss", func(b *testing.B) {
		a := mustAuthority(b, Config{Intercept: Intercept{Hosts: 1000}})
		hosts := make([]string, 5000)
		for i := range hosts {
			hosts[i] = fmt.Sprintf("h%d.example.com", i)
		}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			mustLeaf(b, a, hosts[i%len(hosts)], noon)
		}
	})
	b.Run("x509", func(b *testing.B) { // what it would cost without the issuer
		a := mustAuthority(b, Config{})
		template := leafTemplate(a.certs[0])
		b.ReportAllocs()
		for b.Loop() {
			if _, err := x509.CreateCertificate(rand.Reader, template, a.certs[0], a.issuer.leafKey.Public(), a.issuer.key); err != nil {
				b.Fatal(err)
			}
		}
	})
}

package tenant

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// noon is a time that tests begin at.
var noon = time.Date(2026, time.November, 25, 12, 0, 0, 0, time.UTC)

func mustAuthority(t testing.TB, c Config) *Authority {
	t.Helper()
	if c.Dir == "" {
		c.Dir = filepath.Join(t.TempDir(), "keys")
	}
	if c.Tenant == "" {
		c.Tenant = "acme"
	}
	k, err := c.Create()
	if err != nil {
		t.Fatal(err)
	}
	a, err := k.CreateAuthority(noon)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func mustLeaf(t testing.TB, a *Authority, host string, now time.Time) *tls.Certificate {
	t.Helper()
	c, err := a.Leaf(host, now)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func parsed(t testing.TB, c *tls.Certificate) *x509.Certificate {
	t.Helper()
	cert, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func roots(t testing.TB, bundle []byte) *x509.CertPool {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(bundle) {
		t.Fatal("no certificate in the bundle")
	}
	return pool
}

// verify fails unless an app that trusts bundle takes c for host.
func verify(t testing.TB, c *tls.Certificate, bundle []byte, host string, now time.Time) {
	t.Helper()
	if _, err := parsed(t, c).Verify(x509.VerifyOptions{DNSName: host, Roots: roots(t, bundle), CurrentTime: now}); err != nil {
		t.Fatal(err)
	}
}

func TestAuthorityIsMadeOnceAndRead(t *testing.T) {
	k, dir := mustCreate(t)
	_, err := k.Authority()
	wants(t, err, fs.ErrNotExist, filepath.Join(dir, interceptFile), "acme", "isogate tenant intercept create")
	_, err = k.RotateAuthority(noon)
	wants(t, err, fs.ErrNotExist, "isogate tenant intercept create")
	_, err = k.DistrustAuthority(noon)
	wants(t, err, fs.ErrNotExist, "isogate tenant intercept create")
	made, err := k.CreateAuthority(noon)
	if err != nil {
		t.Fatal(err)
	}
	_, err = k.CreateAuthority(noon)
	wants(t, err, fs.ErrExist, filepath.Join(dir, interceptFile), "isogate tenant intercept rotate")
	read, err := mustOpen(t, dir).Authority()
	if err != nil {
		t.Fatal(err)
	}
	if read.Fingerprint() != made.Fingerprint() || !bytes.Equal(read.PEM(), made.PEM()) || made.Stale() || read.Stale() {
		t.Error("read again, it is another authority")
	}
	verify(t, mustLeaf(t, read, "api.example.com", noon), made.PEM(), "api.example.com", noon)
	for name, want := range map[string]fs.FileMode{interceptFile: 0o600, interceptPublic: 0o644} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, interceptPublic)); err != nil || !bytes.Equal(b, made.PEM()) {
		t.Errorf("the public file is not PEM: %s %v", b, err)
	}
	_, err = new(Keyring).Authority()
	wants(t, err, nil, "not open")
	_, err = new(Authority).Leaf("api.example.com", noon)
	wants(t, err, nil, "no authority")
}

// The certificate lets its key do what it is for, and nothing else.
func TestAuthorityCertificate(t *testing.T) {
	a := mustAuthority(t, Config{})
	c := a.certs[0]
	if !c.IsCA || !c.BasicConstraintsValid || !c.MaxPathLenZero || c.MaxPathLen != 0 {
		t.Errorf("CA %v, path length %d", c.IsCA, c.MaxPathLen)
	}
	if c.KeyUsage != x509.KeyUsageCertSign || len(c.ExtKeyUsage) != 1 || c.ExtKeyUsage[0] != x509.ExtKeyUsageServerAuth {
		t.Errorf("key usage %b, %v", c.KeyUsage, c.ExtKeyUsage)
	}
	for _, e := range c.Extensions {
		switch id := e.Id.String(); id {
		case "2.5.29.15", "2.5.29.19": // key usage, basic constraints
			if !e.Critical {
				t.Errorf("%s is not critical", id)
			}
		}
	}
	if o := c.Subject.Organization; len(o) != 1 || o[0] != "acme" {
		t.Errorf("the subject %v does not name the tenant", c.Subject)
	}
	key, ok := c.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() || c.SignatureAlgorithm != x509.ECDSAWithSHA256 {
		t.Errorf("%T, %v", c.PublicKey, c.SignatureAlgorithm)
	}
	if !c.NotBefore.Equal(noon.Add(-time.Hour)) || !c.NotAfter.Equal(c.NotBefore.Add(365*24*time.Hour)) || !a.NotAfter().Equal(c.NotAfter) {
		t.Errorf("valid from %v to %v", c.NotBefore, c.NotAfter)
	}
	short := mustAuthority(t, Config{Intercept: Intercept{Life: 48 * time.Hour}})
	if got := short.certs[0].NotAfter.Sub(short.certs[0].NotBefore); got != 48*time.Hour {
		t.Errorf("valid for %v, want 48h", got)
	}
	for _, i := range []Intercept{{Life: -1}, {Life: time.Hour}, {Life: 10 * 366 * 24 * time.Hour}, {Hosts: -1}} {
		if _, err := (Config{Dir: t.TempDir(), Tenant: "acme", Intercept: i}).Create(); err == nil {
			t.Errorf("%+v is accepted", i)
		}
	}
}

func TestAuthorityRotates(t *testing.T) {
	k, dir := mustCreate(t)
	first, err := k.CreateAuthority(noon)
	if err != nil {
		t.Fatal(err)
	}
	running, err := mustOpen(t, dir).Authority()
	if err != nil {
		t.Fatal(err)
	}
	second, err := k.RotateAuthority(noon)
	if err != nil {
		t.Fatal(err)
	}
	if second.Fingerprint() == first.Fingerprint() || !running.Stale() || second.Stale() {
		t.Fatal("another process does not notice, or it is no other authority")
	}
	// Trust overlaps: by the new bundle, both are believed; by the old one, only the first.
	of := func(a *Authority) *tls.Certificate { return mustLeaf(t, a, "api.example.com", noon) }
	verify(t, of(running), second.PEM(), "api.example.com", noon)
	verify(t, of(second), second.PEM(), "api.example.com", noon)
	if _, err := parsed(t, of(second)).Verify(x509.VerifyOptions{Roots: roots(t, first.PEM()), CurrentTime: noon}); err == nil {
		t.Error("the new authority's certificates verify by the old one alone")
	}
	if !second.certs[1].Equal(first.certs[0]) || second.certs[0].Subject.String() == first.certs[0].Subject.String() {
		t.Error("the bundle is not the new certificate, then the old one, each with a name of its own")
	}
	if of(second).PrivateKey.(*ecdsa.PrivateKey).Equal(of(first).PrivateKey.(*ecdsa.PrivateKey)) {
		t.Error("the hosts' key was not rotated with the authority")
	}
	// The oldest make room, and those that are over go.
	for range maxCertificates {
		if second, err = k.RotateAuthority(noon); err != nil {
			t.Fatal(err)
		}
	}
	if len(second.certs) != maxCertificates {
		t.Errorf("%d certificates are kept, want %d", len(second.certs), maxCertificates)
	}
	last, err := k.RotateAuthority(noon.Add(366 * 24 * time.Hour))
	if err != nil || len(last.certs) != 1 {
		t.Errorf("%d certificates after the others are over, %v", len(last.certs), err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, interceptPublic)); err != nil || !bytes.Equal(b, last.PEM()) {
		t.Error("the public file still has them", err)
	}
}

func TestAuthorityWrapped(t *testing.T) {
	kek, _ := mustKEK(t)
	c := Config{Dir: filepath.Join(t.TempDir(), "keys"), Tenant: "acme", KEK: kek}
	a := mustAuthority(t, c)
	path := filepath.Join(c.Dir, interceptFile)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(b, []byte(keyBlock)) || bytes.Contains(b, []byte(certificateBlock)) {
		t.Errorf("the key is in the clear: %s", b)
	}
	k, err := c.Open()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := k.Authority(); err != nil || again.Fingerprint() != a.Fingerprint() {
		t.Error("unwrapped, it is another authority", err)
	}
	if next, err := k.RotateAuthority(noon); err != nil || len(next.certs) != 2 {
		t.Error(err)
	}
	// Another wrapped file of the same tenant in its place.
	checkpoint, err := os.ReadFile(filepath.Join(c.Dir, checkpointFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, checkpoint, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = k.Authority()
	wants(t, err, nil, path, "does not open it")
}

// promise: P42 — without the customer's key there is no authority: none is read,
// rotated or made.
func TestAuthorityWithKEKWithdrawn(t *testing.T) {
	kek, _ := mustKEK(t)
	c := Config{Dir: filepath.Join(t.TempDir(), "keys"), Tenant: "acme", KEK: kek}
	mustAuthority(t, c)
	k, err := c.Open()
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(c.Dir, interceptFile))
	if err != nil {
		t.Fatal(err)
	}
	k.cfg.KEK = withdrawn{}
	for what, f := range map[string]func() (*Authority, error){
		"read":     k.Authority,
		"rotate":   func() (*Authority, error) { return k.RotateAuthority(noon) },
		"distrust": func() (*Authority, error) { return k.DistrustAuthority(noon) },
	} {
		a, err := f()
		if a != nil {
			t.Errorf("%s: gives an authority", what)
		}
		wants(t, err, errWithdrawn, interceptFile)
	}
	if after, err := os.ReadFile(filepath.Join(c.Dir, interceptFile)); err != nil || !bytes.Equal(before, after) {
		t.Error("the file has changed", err)
	}
	fresh, err := Config{Dir: filepath.Join(t.TempDir(), "keys"), Tenant: "acme", KEK: kek}.Create()
	if err != nil {
		t.Fatal(err)
	}
	fresh.cfg.KEK = withdrawn{}
	_, err = fresh.CreateAuthority(noon)
	wants(t, err, errWithdrawn, interceptFile)
	fresh.cfg.KEK = kek
	_, err = fresh.Authority()
	wants(t, err, fs.ErrNotExist)
}

func TestAuthorityRefusesSpoiltFiles(t *testing.T) {
	var foreign, plain []byte
	key := func(change func(*x509.Certificate)) []byte {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := *mustAuthority(t, Config{}).certs[0]
		template = x509.Certificate{SerialNumber: big.NewInt(1), Subject: template.Subject, NotBefore: noon, NotAfter: noon.Add(day),
			KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true}
		change(&template)
		der, err := x509.CreateCertificate(rand.Reader, &template, &template, k.Public(), k)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		b, err := encodeAuthority(k, []*x509.Certificate{cert})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	foreign = key(func(*x509.Certificate) {})
	kek, _ := mustKEK(t)
	for name, c := range map[string]struct {
		file  string
		spoil func(b []byte) []byte
		says  string
	}{
		"empty":          {interceptFile, func([]byte) []byte { return nil }, "does not begin with a private key"},
		"text in front":  {interceptFile, func(b []byte) []byte { return append([]byte("x\n"), b...) }, "has more in it"},
		"text behind":    {interceptFile, func(b []byte) []byte { return append(b, "x\n"...) }, "no certificate"},
		"no certificate": {interceptFile, func(b []byte) []byte { return b[:bytes.Index(b, []byte("-----BEGIN CERT"))] }, "is not the key's"},
		"another key": {interceptFile, func(b []byte) []byte {
			return slices.Concat(foreign[:bytes.Index(foreign, []byte("-----BEGIN CERT"))], plain)
		}, "is not the key's"},
		"cut": {interceptFile, func(b []byte) []byte { return b[:len(b)-30] }, "no certificate"},
		"a path length": {interceptFile, func([]byte) []byte {
			return key(func(c *x509.Certificate) { c.MaxPathLenZero, c.MaxPathLen = false, 3 })
		}, "no interception authority's"},
		"more usages":  {interceptFile, func([]byte) []byte { return key(func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCRLSign }) }, "no interception authority's"},
		"no authority": {interceptFile, func([]byte) []byte { return key(func(c *x509.Certificate) { c.IsCA, c.MaxPathLenZero = false, false }) }, "no interception authority's"},
		"another tenant": {interceptFile, func([]byte) []byte {
			return key(func(c *x509.Certificate) { c.Subject.Organization = []string{"umbrella"} })
		}, "umbrella"},
		"not in the public":   {interceptFile, func([]byte) []byte { return foreign }, "lacks a certificate"},
		"wrapped":             {interceptFile, func([]byte) []byte { return []byte(wrappedLine + "AAAA\n") }, "none is configured"},
		"public empty":        {interceptPublic, func([]byte) []byte { return nil }, "lacks a certificate"},
		"public with a key":   {interceptPublic, func(b []byte) []byte { return append(b, foreign...) }, "something that is no certificate"},
		"public with garbage": {interceptPublic, func(b []byte) []byte { return append(b, "x"...) }, "something that is no certificate"},
		"public broken": {interceptPublic, func([]byte) []byte {
			return pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: []byte("no certificate")})
		}, "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			k, dir := mustCreate(t)
			a, err := k.CreateAuthority(noon)
			if err != nil {
				t.Fatal(err)
			}
			plain = a.PEM()
			path := filepath.Join(dir, c.file)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, c.spoil(b), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err = k.Authority()
			wants(t, err, nil, dir, c.says)
		})
	}
	k, dir := mustCreate(t)
	if _, err := k.CreateAuthority(noon); err != nil {
		t.Fatal(err)
	}
	k.cfg.KEK = kek
	_, err := k.Authority()
	wants(t, err, nil, interceptFile, "in the clear")
	k.cfg.KEK = nil
	if err := os.Remove(filepath.Join(dir, interceptPublic)); err != nil {
		t.Fatal(err)
	}
	_, err = k.Authority()
	wants(t, err, fs.ErrNotExist, interceptPublic, "is missing")
	if _, err = k.RotateAuthority(noon); err != nil { // as the message for a file that does not belong there says
		t.Error(err)
	}
	if _, err = k.Authority(); err != nil {
		t.Error(err)
	}
}

func TestAuthorityPrintsNothing(t *testing.T) {
	a := mustAuthority(t, Config{})
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", slog.Any("authority", a))
	j, err := json.Marshal(map[string]any{"authority": a})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{log.String(), string(j), fmt.Sprint(a), fmt.Sprintf("%+v %#v %x", a, a, a), fmt.Sprintf("%v", struct{ A *Authority }{a})} {
		if !strings.Contains(s, redacted) || strings.Contains(s, "D:") {
			t.Errorf("prints %s", s)
		}
	}
}

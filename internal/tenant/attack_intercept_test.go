package tenant

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// ATTACK: an app has the gateway issue a certificate that stands for more than one
// host, or for a host that one program reads differently from another: a wildcard,
// an IP address in one of its notations, a name with a NUL before which a reader in
// C stops, one in upper case, with a dot at its end, with letters that look alike.
// Whoever got hold of the process's key could then stand for hosts that nobody
// consented to.
//
// THIS TEST VERIFIES that no such certificate is issued, whoever asks, and that
// asking takes no place among those that are kept.
func TestAttackLeafForOddHosts(t *testing.T) {
	a := mustAuthority(t, Config{})
	long := strings.Repeat("a", 64)
	for _, host := range []string{
		"", ".", "..", "*", "*.example.com", "a*.example.com", "api.*.com", "*.*.example.com",
		"127.0.0.1", "10.1", "1", "2130706433", "0x7f.0.0.1", "a.0x7f", "017700000001", "1.2.3.04", "::1", "[::1]", "::ffff:127.0.0.1", "fe80::1%lo",
		"api.example.com\x00.evil.com", "api\x00.example.com", "\x00", "api.example.com\n", "api.example.com ", " api.example.com", "api example.com",
		"API.example.com", "api.example.com.", ".example.com", "api..example.com", "api.example.com:443", "user@api.example.com",
		"api.example.com/", "api.example.com\\@evil.com", "api.example.com#", "api.example.com?", "api%2eexample.com", "api,example.com",
		"-api.example.com", "api-.example.com", "ab--c.example.com", "_dns.example.com", "api_1.example.com",
		"bücher.example", "ａpi.example.com", "api。example.com", "\u212aelvin.example.com", "api.example.com\u200b",
		"localhost", "com", long + ".example.com", strings.Repeat("a.", 126) + "aa",
	} {
		if c, err := a.Leaf(host, noon); err == nil || c != nil {
			t.Errorf("%q: a certificate was issued", host)
		} else if host != "" && len(host) > 3 && strings.Contains(err.Error(), host) {
			t.Errorf("%q: the error repeats it: %v", host, err)
		}
	}
	if n := len(a.leaves.of); n != 0 {
		t.Errorf("%d of them are kept", n)
	}
}

// ATTACK: a certificate that one tenant's gateway issued, or one signed with its
// stolen key, is shown to an app of another tenant; and one tenant's key files are
// put into another's directory.
//
// THIS TEST VERIFIES that apps of a tenant believe that tenant's authority only,
// and that a gateway does not take another tenant's.
//
// promise: P06
func TestAttackAuthorityOfAnotherTenant(t *testing.T) {
	mine, theirs := Config{Dir: filepath.Join(t.TempDir(), "keys")}, Config{Dir: filepath.Join(t.TempDir(), "keys"), Tenant: "umbrella"}
	a, b := mustAuthority(t, mine), mustAuthority(t, theirs)
	for _, c := range []struct{ from, to *Authority }{{a, b}, {b, a}} {
		leaf := parsed(t, mustLeaf(t, c.from, "api.example.com", noon))
		if _, err := leaf.Verify(x509.VerifyOptions{DNSName: "api.example.com", Roots: roots(t, c.to.PEM()), CurrentTime: noon}); err == nil {
			t.Error("one tenant's certificate verifies by another's authority")
		}
		if o := leaf.Subject.Organization[0]; o != leaf.Issuer.Organization[0] || o != c.from.certs[0].Subject.Organization[0] {
			t.Errorf("the certificate says it is of %s", o)
		}
	}
	for _, name := range []string{interceptFile, interceptPublic} {
		content, err := os.ReadFile(filepath.Join(theirs.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(mine.Dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := mustOpen(t, mine.Dir).Authority()
	wants(t, err, nil, interceptFile, "umbrella", "acme")
}

// ATTACK: whoever has stolen the key that the hosts' certificates share, or the
// authority's key itself, makes an authority of their own with it, or certificates
// for people and programs instead of servers.
//
// THIS TEST VERIFIES that nothing below a host's certificate verifies, and no
// authority below the tenant's, and that what verifies does so for servers only.
func TestAttackAuthorityBelowAnAuthority(t *testing.T) {
	a := mustAuthority(t, Config{})
	host := mustLeaf(t, a, "api.example.com", noon)
	hostCert := parsed(t, host)
	sign := func(template, parent *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
		t.Helper()
		der, err := x509.CreateCertificate(rand.Reader, template, parent, a.issuer.leafKey.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(7), NotBefore: noon, NotAfter: noon.Add(day), DNSNames: []string{"bank.example.com"}}
	below := sign(template, hostCert, host.PrivateKey.(*ecdsa.PrivateKey))

	authority := *template
	authority.IsCA, authority.BasicConstraintsValid, authority.KeyUsage = true, true, x509.KeyUsageCertSign
	authority.Subject.CommonName = "another"
	another := sign(&authority, a.certs[0], a.issuer.key)
	belowAnother := sign(template, another, a.issuer.leafKey)

	between := x509.NewCertPool()
	between.AddCert(hostCert)
	between.AddCert(another)
	for what, cert := range map[string]*x509.Certificate{"a host's certificate": below, "an authority that the tenant's has signed": belowAnother} {
		if _, err := cert.Verify(x509.VerifyOptions{Roots: roots(t, a.PEM()), Intermediates: between, CurrentTime: noon}); err == nil {
			t.Errorf("what %s has signed verifies", what)
		}
	}
	client := *template
	client.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	for _, cert := range []*x509.Certificate{hostCert, sign(&client, a.certs[0], a.issuer.key)} {
		if _, err := cert.Verify(x509.VerifyOptions{Roots: roots(t, a.PEM()), CurrentTime: noon,
			KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageCodeSigning, x509.ExtKeyUsageEmailProtection}}); err == nil {
			t.Errorf("%v verifies for something else than a server", cert.ExtKeyUsage)
		}
	}
}

// ATTACK: another user of the machine reads the authority's key, or puts one of
// their own in its place.
//
// THIS TEST VERIFIES that files which others can reach, that belong to another
// user, or that are links, are refused like those of the other keys.
func TestAttackAuthorityFilesOfOthers(t *testing.T) {
	for name, mode := range map[string]fs.FileMode{interceptFile: 0o640, interceptPublic: 0o664} {
		made := func(t *testing.T) (*Keyring, string) {
			k, dir := mustCreate(t)
			if _, err := k.CreateAuthority(noon); err != nil {
				t.Fatal(err)
			}
			return k, filepath.Join(dir, name)
		}
		t.Run("mode of "+name, func(t *testing.T) {
			k, path := made(t)
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
			_, err := k.Authority()
			wants(t, err, fs.ErrPermission, path, "chmod 0", fmt.Sprintf("%04o", mode))
		})
		t.Run("owner of "+name, func(t *testing.T) {
			if os.Geteuid() != 0 {
				t.Skip("only root can give a file away")
			}
			k, path := made(t)
			if err := os.Chown(path, 65534, -1); err != nil {
				t.Fatal(err)
			}
			_, err := k.Authority()
			wants(t, err, fs.ErrPermission, path, "belongs to user 65534")
		})
		t.Run("link at "+name, func(t *testing.T) {
			k, path := made(t)
			elsewhere := filepath.Join(t.TempDir(), "elsewhere")
			if err := os.Rename(path, elsewhere); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(elsewhere, path); err != nil {
				t.Fatal(err)
			}
			_, err := k.Authority()
			wants(t, err, fs.ErrPermission, path, "symbolic link")
		})
	}
}

// ATTACK: the authority's key was stolen. The operator rotates, and the thief goes
// on standing for hosts, because the old certificate is still handed to apps.
//
// THIS TEST VERIFIES that distrusting leaves nothing by which a certificate of the
// old key verifies, in the public file and in the key file's next rotation alike.
func TestAttackStolenAuthority(t *testing.T) {
	k, dir := mustCreate(t)
	stolen, err := k.CreateAuthority(noon)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.DistrustAuthority(noon); err != nil {
		t.Fatal(err)
	}
	next, err := k.RotateAuthority(noon)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(filepath.Join(dir, interceptPublic))
	if err != nil {
		t.Fatal(err)
	}
	leaf := parsed(t, mustLeaf(t, stolen, "api.example.com", noon))
	for _, bundle := range [][]byte{file, next.PEM()} {
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots(t, bundle), CurrentTime: noon}); err == nil {
			t.Error("a certificate of the stolen key still verifies")
		}
	}
	if len(next.certs) != 2 {
		t.Errorf("%d certificates, want the two made since", len(next.certs))
	}
}

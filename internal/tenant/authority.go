package tenant

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"slices"
	"time"
)

const (
	interceptFile   = "intercept.key"
	interceptPublic = "intercept.pem"

	keyBlock         = "PRIVATE KEY"
	certificateBlock = "CERTIFICATE"

	day         = 24 * time.Hour
	defaultLife = 365 * day
	minLife     = 2 * day
	maxLife     = 5 * defaultLife
	// clockSkew is how far behind a caller's clock may be.
	clockSkew = time.Hour
	// maxCertificates is how many certificates an authority has, the newest and
	// those that a rotation has kept.
	maxCertificates = 8
)

// Intercept bounds an interception authority. Its zero value is the defaults.
type Intercept struct {
	// Life is how long a new authority is valid: 2 days to 5 years, 0 is 365 days.
	Life time.Duration
	// Hosts is for how many hosts a certificate is kept in memory, about 1 KiB
	// each; 0 is 10,000. More hosts are served, by making certificates anew.
	Hosts int
}

func (i Intercept) check() error {
	if i.Life != 0 && (i.Life < minLife || i.Life > maxLife) {
		return fmt.Errorf("keyring: an interception authority cannot be valid for %v; use %v to %v", i.Life, minLife, maxLife)
	}
	if i.Hosts < 0 {
		return fmt.Errorf("keyring: certificates of %d hosts cannot be kept; use 1 or more, or 0 for %d", i.Hosts, defaultHosts)
	}
	return nil
}

// Authority is the tenant's certificate authority for TLS interception: it
// vouches, towards the tenant's own apps and nobody else, that the gateway stands
// for a remote. It is an X.509 root (RFC 5280) with an ECDSA P-256 key, of which
// an app is given the certificate to trust, and which signs certificates of
// hosts and nothing else. It is safe for concurrent use, and immutable but for
// the certificates it keeps; the zero value issues none.
//
// An authority can read whatever an app that trusts it sends. None is there that
// nobody asked for: [Config.Create] makes none and no reading makes one, only
// [Keyring.CreateAuthority] does, because gateways of one tenant share copies of
// a directory, and each would make its own.
//
// promise: P06 — one tenant's apps trust one tenant's authority, which says whose it is.
type Authority struct {
	dir    string
	mark   mark // of the key file that it came from
	issuer *issuer
	certs  []*x509.Certificate // the signer's first, then from the newest to the oldest
	leaves leaves
}

// Authority reads the tenant's interception authority. Every call gives a new
// one, with a key of its own for the hosts' certificates and none kept yet. The
// error wraps [fs.ErrNotExist] where there is none. Once the key-encryption key
// is withdrawn, none is given; one that was given goes on.
//
// promise: P42
func (k *Keyring) Authority() (*Authority, error) {
	return k.withDir((*dir).lockReading, func(d *dir) (*Authority, error) {
		a, err := k.cfg.readAuthority(d)
		if err != nil {
			return nil, err
		}
		return a, a.checkPublic(d)
	})
}

// CreateAuthority makes the tenant's first interception authority, valid from an
// hour before now for [Intercept.Life]. Where there is one already, the error
// wraps [fs.ErrExist] and nothing has changed. A process that dies at any instant
// leaves none or a whole one.
func (k *Keyring) CreateAuthority(now time.Time) (*Authority, error) {
	return k.withDir((*dir).lock, func(d *dir) (*Authority, error) {
		names, err := d.names()
		if err != nil {
			return nil, err
		}
		if slices.Contains(names, interceptFile) {
			return nil, fmt.Errorf("%s: is there already: %w; use it, or isogate tenant intercept rotate for a new authority",
				d.file(interceptFile), fs.ErrExist)
		}
		return k.cfg.replaceAuthority(d, nil, nil, now)
	})
}

// RotateAuthority makes a new interception authority, which signs from now on.
// The certificates of the older ones stay in intercept.pem and in PEM, as long as
// they are valid and at most seven, so that trust stores can be brought up to date
// before and after; their keys are gone. Other processes go on with what they
// have read until they call Authority again, so there is time to hand out
// intercept.pem. A process that dies at any instant leaves the old authority or
// the new one.
func (k *Keyring) RotateAuthority(now time.Time) (*Authority, error) {
	return k.withDir((*dir).lock, func(d *dir) (*Authority, error) {
		old, err := k.cfg.readAuthority(d)
		if err != nil {
			return nil, err
		}
		var keep, leave []*x509.Certificate
		for _, c := range old.certs {
			if now.Before(c.NotAfter) && len(keep) < maxCertificates-1 {
				keep = append(keep, c)
			} else {
				leave = append(leave, c)
			}
		}
		return k.cfg.replaceAuthority(d, keep, leave, now)
	})
}

// DistrustAuthority makes a new interception authority like RotateAuthority and
// keeps no certificate of an older one: for when their key may be in other hands.
// What is intercepted fails until the apps trust the new one.
func (k *Keyring) DistrustAuthority(now time.Time) (*Authority, error) {
	return k.withDir((*dir).lock, func(d *dir) (*Authority, error) {
		old, err := k.cfg.readAuthority(d)
		if err != nil {
			return nil, err
		}
		return k.cfg.replaceAuthority(d, nil, old.certs, now)
	})
}

// withDir runs do in the directory of an open keyring, locked.
func (k *Keyring) withDir(lock func(*dir) error, do func(*dir) (*Authority, error)) (*Authority, error) {
	if k.state.Load() == nil {
		return nil, errors.New("keyring: not open; use Open")
	}
	d, err := openDir(k.cfg.Dir)
	if err != nil {
		return nil, err
	}
	defer d.close()
	if err := lock(d); err != nil {
		return nil, err
	}
	a, err := do(d)
	if err != nil {
		return nil, err
	}
	return a, nil
}

// replaceAuthority writes a new authority, beside which the certificates in keep
// stay and those in leave go.
//
// The key file says which authority there is, certificates included. The public
// file is written before it and then has all that either the old key file or the
// new one names: whatever instant the process dies at, the two agree, and apps
// are never handed less than what signs.
func (c Config) replaceAuthority(d *dir, keep, leave []*x509.Certificate, now time.Time) (*Authority, error) {
	key, cert, err := c.newAuthority(now)
	if err != nil {
		return nil, fmt.Errorf("%s: new authority: %w", d.file(interceptFile), err)
	}
	certs := append([]*x509.Certificate{cert}, keep...)
	content, err := encodeAuthority(key, certs)
	if err != nil {
		return nil, fmt.Errorf("%s: new authority: %w", d.file(interceptFile), err)
	}
	if content, err = c.wrap(d, interceptFile, content); err != nil {
		return nil, err
	}
	if err := d.write(interceptPublic, encodeCertificates(slices.Concat(certs, leave)), publicMode); err != nil {
		return nil, err
	}
	if err := d.write(interceptFile, content, secretMode); err != nil {
		return nil, err
	}
	if len(leave) > 0 {
		if err := d.write(interceptPublic, encodeCertificates(certs), publicMode); err != nil {
			return nil, err
		}
	}
	return c.readAuthority(d)
}

// newAuthority makes a key and its certificate: a root (RFC 5280, 4.2.1.9) that
// may sign certificates of servers, no other authority's, and nothing else.
func (c Config) newAuthority(now time.Time) (*ecdsa.PrivateKey, *x509.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial := newSerial()
	from := now.Add(-clockSkew).UTC().Truncate(time.Second)
	life := c.Intercept.Life
	if life == 0 {
		life = defaultLife
	}
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial),
		// Named anew each time: some verifiers look an issuer up by its name alone.
		Subject:               pkix.Name{Organization: []string{string(c.Tenant)}, CommonName: fmt.Sprintf("Isogate interception %x", serial[:4])},
		NotBefore:             from,
		NotAfter:              from.Add(life),
		KeyUsage:              x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return key, cert, err
}

func (c Config) readAuthority(d *dir) (*Authority, error) {
	path := d.file(interceptFile)
	content, m, err := c.readWrapped(d, interceptFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: tenant %s has no interception authority: %w; make it with: isogate tenant intercept create",
			path, c.Tenant, fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	key, certs, err := parseAuthority(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; restore it from a backup", path, err)
	}
	for _, cert := range certs {
		if len(cert.Subject.Organization) != 1 || cert.Subject.Organization[0] != string(c.Tenant) {
			return nil, fmt.Errorf("%s: is the authority of %.63q, but the tenant is %q; check the configured tenant and state directory",
				path, cert.Subject.Organization, c.Tenant)
		}
	}
	a := &Authority{dir: d.path, mark: m, certs: certs, leaves: newLeaves(c.Intercept.Hosts)}
	if a.issuer, err = newIssuer(key, certs[0]); err != nil {
		return nil, fmt.Errorf("%s: %w; restore it from a backup", path, err)
	}
	return a, nil
}

// encodeAuthority is what the key file holds: the key, then the certificates.
func encodeAuthority(key *ecdsa.PrivateKey, certs []*x509.Certificate) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der}), encodeCertificates(certs)...), nil
}

// parseAuthority reads what encodeAuthority writes, and nothing else.
func parseAuthority(b []byte) (*ecdsa.PrivateKey, []*x509.Certificate, error) {
	block, rest := pem.Decode(b)
	if block == nil || block.Type != keyBlock {
		return nil, nil, errors.New("does not begin with a private key")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(*ecdsa.PrivateKey)
	if err != nil || !ok || key.Curve != elliptic.P256() {
		return nil, nil, errors.New("is no ECDSA P-256 key")
	}
	certs, err := decodeCertificates(rest)
	switch {
	case err != nil:
		return nil, nil, err
	case len(certs) == 0 || !key.PublicKey.Equal(certs[0].PublicKey):
		return nil, nil, errors.New("its first certificate is not the key's")
	case len(certs) > maxCertificates:
		return nil, nil, fmt.Errorf("has more than %d certificates", maxCertificates)
	}
	for _, cert := range certs {
		if !cert.IsCA || !cert.MaxPathLenZero || cert.KeyUsage != x509.KeyUsageCertSign || cert.CheckSignatureFrom(cert) != nil {
			return nil, nil, errors.New("has a certificate that is no interception authority's")
		}
	}
	if again, err := encodeAuthority(key, certs); err != nil || !bytes.Equal(again, b) {
		return nil, nil, errors.New("has more in it than a key and its certificates")
	}
	return key, certs, nil
}

// checkPublic makes sure that apps are not handed another authority's certificate.
func (a *Authority) checkPublic(d *dir) error {
	path := d.file(interceptPublic)
	b, _, err := d.read(interceptPublic, public)
	if err != nil {
		return err
	}
	certs, err := decodeCertificates(b)
	if err != nil {
		return fmt.Errorf("%s: %w; restore it from a backup", path, err)
	}
	for _, want := range a.certs {
		if !slices.ContainsFunc(certs, want.Equal) {
			return fmt.Errorf("%s: lacks a certificate that is in %s; restore both from one backup, or make a new authority with: "+
				"isogate tenant intercept rotate", path, interceptFile)
		}
	}
	return nil
}

func encodeCertificates(certs []*x509.Certificate) []byte {
	var b bytes.Buffer
	for _, c := range certs {
		_ = pem.Encode(&b, &pem.Block{Type: certificateBlock, Bytes: c.Raw}) // a buffer takes everything
	}
	return b.Bytes()
}

func decodeCertificates(b []byte) (certs []*x509.Certificate, err error) {
	for {
		block, rest := pem.Decode(b)
		if block == nil {
			break
		}
		if block.Type != certificateBlock {
			return nil, errors.New("has something that is no certificate")
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errors.New("has a certificate that cannot be read")
		}
		certs, b = append(certs, cert), rest
	}
	if len(bytes.TrimSpace(b)) != 0 {
		return nil, errors.New("has something that is no certificate")
	}
	return certs, nil
}

// newSerial returns a serial number of 16 bytes, positive and in its shortest
// form (RFC 5280, 4.1.2.2), that nobody can guess.
func newSerial() []byte {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	b[0] = b[0]&0x7f | 0x40
	return b
}

// PEM returns the certificates that an app's trust store needs, the signer's
// first: what intercept.pem holds.
func (a *Authority) PEM() []byte { return encodeCertificates(a.certs) }

// Fingerprint is the SHA-256 of the signer's certificate in hex, by which people
// compare certificates.
func (a *Authority) Fingerprint() string {
	sum := sha256.Sum256(a.certs[0].Raw)
	return hex.EncodeToString(sum[:])
}

// NotAfter is when the authority ends; it issues nothing after that.
func (a *Authority) NotAfter() time.Time { return a.certs[0].NotAfter }

// Stale reports whether the authority on disk is not this one any more: another
// process has rotated it, or the file cannot be reached. It costs one call of the
// system and reads nothing.
func (a *Authority) Stale() bool { return markOf(a.dir, interceptFile) != a.mark }

func (*Authority) String() string { return redacted }

// GoString implements [fmt.GoStringer].
func (*Authority) GoString() string { return redacted }

// LogValue implements [slog.LogValuer].
func (*Authority) LogValue() slog.Value { return slog.StringValue(redacted) }

// Format implements [fmt.Formatter], so that no verb reaches the key.
func (*Authority) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(redacted)) }

// MarshalText implements [encoding.TextMarshaler].
func (*Authority) MarshalText() ([]byte, error) { return []byte(redacted), nil }

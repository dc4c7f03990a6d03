package tenant

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	defaultHosts = 10_000

	// leafLife is how long a host's certificate is valid from its making, and
	// leafUse how long it is handed out: who gets it has eight hours left.
	leafLife = day
	leafUse  = 16 * time.Hour
)

// Leaf returns the certificate of one host, for TLS servers: ECDSA P-256, with
// that DNS name and no other, for authenticating servers (RFC 5280, 4.2.1.12),
// valid from an hour before it was made until 24 hours after, at most as long as
// the authority. It is made at the first request and after 16 hours; requests
// meanwhile for the same host wait for it and get the same. It must not be
// changed. Its key is this Authority's, of this process: it is on no disk, and
// all hosts share it, as one machine is behind them all.
//
// host is a DNS name in its one spelling, such as remote.CanonicalHost gives, of
// two labels or more. Everything else is refused, whoever asks: a wildcard, an IP
// address in any notation, upper case, a dot at the end, what is not ASCII.
func (a *Authority) Leaf(host string, now time.Time) (*tls.Certificate, error) {
	if l := a.leaves.fresh(host, now); l != nil {
		return &l.cert, nil
	}
	if err := checkLeafHost(host); err != nil {
		return nil, fmt.Errorf("interception: no certificate is issued: %w", err)
	}
	if a.issuer == nil {
		return nil, errors.New("interception: no authority; use Keyring.Authority")
	}
	if now.Before(a.certs[0].NotBefore) || !now.Before(a.certs[0].NotAfter) {
		return nil, fmt.Errorf("interception: the authority is valid from %s to %s only; check the clock, or run isogate tenant intercept rotate",
			a.certs[0].NotBefore.Format(time.RFC3339), a.certs[0].NotAfter.Format(time.RFC3339))
	}
	s := a.leaves.slot(host)
	s.mu.Lock() // whoever comes meanwhile waits here, and then finds it made
	defer s.mu.Unlock()
	if l := s.leaf.Load(); l.fresh(now) {
		return &l.cert, nil
	}
	l, err := a.issuer.issue(host, now)
	if err != nil {
		return nil, fmt.Errorf("interception: %w", err)
	}
	s.leaf.Store(l)
	return &l.cert, nil
}

// leaf is a certificate that was issued, and when it may be handed out.
type leaf struct {
	cert        tls.Certificate
	from, until time.Time
}

func (l *leaf) fresh(now time.Time) bool {
	return l != nil && !now.Before(l.from) && now.Before(l.until)
}

// leaves are the certificates that are kept. Finding one takes a lock for
// reading only: what is evicted is chosen by a clock hand (second chance), which
// needs no order to be changed at each use as LRU does.
type leaves struct {
	max int

	mu   sync.RWMutex // guards what follows, not what slots hold
	of   map[string]*slot
	ring []*slot
	hand int
}

// slot is where one host's certificate is kept.
type slot struct {
	host string
	used atomic.Bool // since the hand came by
	leaf atomic.Pointer[leaf]
	mu   sync.Mutex // serialises those who issue
}

func newLeaves(hosts int) leaves {
	if hosts == 0 {
		hosts = defaultHosts
	}
	return leaves{max: hosts, of: map[string]*slot{}}
}

// fresh returns the host's certificate, if one that may be handed out is kept.
func (l *leaves) fresh(host string, now time.Time) *leaf {
	l.mu.RLock()
	s := l.of[host]
	l.mu.RUnlock()
	if s == nil {
		return nil
	}
	kept := s.leaf.Load()
	if !kept.fresh(now) {
		return nil
	}
	if !s.used.Load() { // written once, so that the cores need not pass its cache line around
		s.used.Store(true)
	}
	return kept
}

// slot returns the host's slot, for which it makes room.
func (l *leaves) slot(host string) *slot {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.of[host]; s != nil {
		return s
	}
	host = strings.Clone(host) // it may be part of something long
	s := &slot{host: host}
	l.of[host] = s
	if len(l.ring) < l.max {
		l.ring = append(l.ring, s)
		return s
	}
	for l.ring[l.hand].used.Swap(false) {
		l.hand = (l.hand + 1) % l.max
	}
	delete(l.of, l.ring[l.hand].host)
	l.ring[l.hand] = s
	l.hand = (l.hand + 1) % l.max
	return s
}

// issuer signs the certificates of hosts. Of two of them only the serial number,
// the validity and the name differ; all else was encoded once, by crypto/x509.
// x509.CreateCertificate takes three times as long: it encodes everything anew and
// verifies its own signature.
type issuer struct {
	key     *ecdsa.PrivateKey
	leafKey *ecdsa.PrivateKey
	ends    time.Time // with the authority
	begins  time.Time

	algorithm  []byte // DER, as everything here
	name       []byte
	subject    []byte // and the public key
	extensions []byte // but the subject alternative name, which is the last
}

func newIssuer(key *ecdsa.PrivateKey, cert *x509.Certificate) (*issuer, error) {
	i := &issuer{key: key, begins: cert.NotBefore, ends: cert.NotAfter}
	var err error
	if i.leafKey, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	sample, err := x509.CreateCertificate(rand.Reader, leafTemplate(cert), cert, i.leafKey.Public(), key)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(sample)
	if err != nil {
		return nil, err
	}
	i.name = parsed.RawIssuer
	i.subject = append(append(i.subject, parsed.RawSubject...), parsed.RawSubjectPublicKeyInfo...)
	for _, e := range parsed.Extensions {
		b, err := asn1.Marshal(e)
		if err != nil {
			return nil, err
		}
		if !e.Id.Equal(oidAltName) {
			i.extensions = append(i.extensions, b...)
		}
	}
	i.algorithm, err = asn1.Marshal(pkix.AlgorithmIdentifier{Algorithm: oidECDSAWithSHA256})
	return i, err
}

// leafTemplate is what every host's certificate is like. It says in its subject
// what it is, to whoever looks at it in a browser; the host is in the subject
// alternative name alone (RFC 9525).
func leafTemplate(authority *x509.Certificate) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{Organization: authority.Subject.Organization, CommonName: "Intercepted by Isogate"},
		NotBefore:    authority.NotBefore,
		NotAfter:     authority.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{"host.invalid"},
	}
}

var (
	oidAltName         = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidECDSAWithSHA256 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
)

// issue makes a host's certificate (RFC 5280, 4.1). The host was checked.
func (i *issuer) issue(host string, now time.Time) (*leaf, error) {
	from, to := now.Add(-clockSkew).UTC().Truncate(time.Second), now.Add(leafLife).UTC().Truncate(time.Second)
	if from.Before(i.begins) {
		from = i.begins
	}
	if to.After(i.ends) {
		to = i.ends
	}
	l := &leaf{from: from, until: now.Add(leafUse)}
	if l.until.After(to) {
		l.until = to
	}
	validity, err := asn1.Marshal(struct{ From, To time.Time }{from, to})
	if err != nil {
		return nil, err
	}
	name := der(tagSequence,
		[]byte{tagOID, 3, 2*40 + 5, 29, 17}, // oidAltName
		der(tagOctets, der(tagSequence, der(tagDNSName, []byte(host)))))
	unsigned := der(tagSequence,
		[]byte{tagVersion, 3, tagInteger, 1, 2}, // version 3
		der(tagInteger, newSerial()), i.algorithm, i.name, validity, i.subject,
		der(tagExtensions, der(tagSequence, i.extensions, name)))
	sum := sha256.Sum256(unsigned)
	signature, err := ecdsa.SignASN1(rand.Reader, i.key, sum[:])
	if err != nil {
		return nil, err
	}
	whole := der(tagSequence, unsigned, i.algorithm, der(tagBits, []byte{0}, signature))
	l.cert = tls.Certificate{Certificate: [][]byte{whole}, PrivateKey: i.leafKey}
	return l, nil
}

// Tags of DER (X.690), and of a certificate's parts (RFC 5280, A).
const (
	tagInteger    = 0x02
	tagBits       = 0x03
	tagOctets     = 0x04
	tagOID        = 0x06
	tagSequence   = 0x30
	tagDNSName    = 0x82 // [2], of a GeneralName
	tagVersion    = 0xa0 // [0]
	tagExtensions = 0xa3 // [3]
)

// der encodes one element of up to 65,535 bytes, which the parts are.
func der(tag byte, parts ...[]byte) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	b := append(make([]byte, 0, n+4), tag)
	switch {
	case n < 0x80:
		b = append(b, byte(n))
	case n < 0x100:
		b = append(b, 0x81, byte(n))
	default:
		b = append(b, 0x82, byte(n>>8), byte(n))
	}
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// checkLeafHost accepts a DNS name (RFC 1123, 2.1; RFC 5890, 2.3.1) that reads as
// itself and as nothing else.
func checkLeafHost(host string) error {
	if len(host) > 253 {
		return errors.New("the host is longer than 253 bytes")
	}
	labels, last := 0, ""
	for label := range strings.SplitSeq(host, ".") {
		if !isLabel(label) {
			return errors.New("the host is not a DNS name in its canonical spelling: lower-case labels of a-z, 0-9 and, inside, hyphens, " +
				"without a wildcard or a dot at the end")
		}
		labels, last = labels+1, label
	}
	switch {
	case labels < 2:
		return errors.New("the host has one label; an outside service has a domain")
	case last[0] >= '0' && last[0] <= '9':
		return errors.New("the host ends in a number, as IP addresses do") // 10.0.0.1, 10.1, 1.0x7f; no top-level domain begins so
	}
	return nil
}

func isLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	// Hyphens in these two places belong to punycode (RFC 5891, 4.2.3.1).
	return len(s) < 4 || s[2:4] != "--" || s[:2] == "xn"
}

package gateway

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/remote"
)

// Sources says who may call. It is immutable; a change makes a new one, and with
// it every certificate is verified anew.
//
// promise: P04
type Sources struct {
	ids    map[isogate.Source]SourceID
	spiffe map[string]isogate.Source
	tokens map[[sha256.Size]byte]isogate.Source
	roots  *x509.CertPool

	mu       sync.RWMutex
	verified map[[sha256.Size]byte]verified // guarded by mu; leaf certificate digest → who it is
}

type verified struct {
	source    isogate.Source
	notBefore time.Time
	notAfter  time.Time
}

// maxVerified bounds the certificates remembered as verified.
const maxVerified = 4096

// SourceID is one workload that may call: by SPIFFE id or by bearer token.
type SourceID struct {
	Name        isogate.Source
	SPIFFE      string // spiffe://trust-domain/path
	TokenSHA256 string // SHA-256 of the bearer token, lower-case hex
	// App is the app whose grants hold for what the source sends by door two; "" is
	// the source itself.
	App isogate.Source
	// Kinds is what the source's traffic by door two is; none is that of an app's
	// servers.
	Kinds []remote.Kind
}

// NewSources checks the ids and makes the table. Roots are the authorities of
// callers' certificates; nil trusts none.
func NewSources(ids []SourceID, roots *x509.CertPool) (*Sources, error) {
	s := &Sources{
		ids:      map[isogate.Source]SourceID{},
		spiffe:   map[string]isogate.Source{},
		tokens:   map[[sha256.Size]byte]isogate.Source{},
		roots:    roots,
		verified: map[[sha256.Size]byte]verified{},
	}
	for _, id := range ids {
		switch {
		case id.SPIFFE != "":
			sid, err := spiffeid.FromString(id.SPIFFE)
			if err != nil {
				return nil, fmt.Errorf("source %s: %q is not a SPIFFE id: %w; use spiffe://trust-domain/path", id.Name, id.SPIFFE, err)
			}
			if other, ok := s.spiffe[sid.String()]; ok {
				return nil, fmt.Errorf("sources %s and %s have the same SPIFFE id %s; give each its own", other, id.Name, sid)
			}
			s.spiffe[sid.String()] = id.Name
		case id.TokenSHA256 != "":
			var sum [sha256.Size]byte
			if n, err := hex.Decode(sum[:], []byte(id.TokenSHA256)); err != nil || n != len(sum) {
				return nil, fmt.Errorf("source %s: token_sha256 is not 64 hexadecimal digits", id.Name)
			}
			if other, ok := s.tokens[sum]; ok {
				return nil, fmt.Errorf("sources %s and %s have the same token; give each its own", other, id.Name)
			}
			s.tokens[sum] = id.Name
		default:
			return nil, fmt.Errorf("source %s: has neither a SPIFFE id nor a token", id.Name)
		}
		if id.App == "" {
			id.App = id.Name
		}
		if len(id.Kinds) == 0 {
			id.Kinds = []remote.Kind{remote.Backend, remote.Remote}
		}
		s.ids[id.Name] = id
	}
	return s, nil
}

// of is what is configured of a source that was identified.
func (s *Sources) of(name isogate.Source) SourceID { return s.ids[name] }

// known reports whether the source may still call.
func (s *Sources) known(name isogate.Source) bool {
	_, ok := s.ids[name]
	return ok
}

// identify answers who calls, by client certificate and by the value of
// Proxy-Authorization, which must agree where both are there.
func (s *Sources) identify(state *tls.ConnectionState, authorization string, now time.Time) (isogate.Source, *refusal) {
	var byCert, byToken isogate.Source
	if state != nil && len(state.PeerCertificates) > 0 {
		var why string
		if byCert, why = s.byCertificate(state.PeerCertificates, now); why != "" {
			return "", unknownCaller(why)
		}
	}
	if authorization != "" {
		scheme, token, ok := strings.Cut(authorization, " ")
		if !ok || !strings.EqualFold(scheme, "Bearer") || token == "" {
			return "", unknownCaller("Proxy-Authorization is not of the form: Bearer TOKEN")
		}
		// Looking the digest up tells by its time nothing that helps to find a token.
		if byToken, ok = s.tokens[sha256.Sum256([]byte(token))]; !ok {
			return "", unknownCaller("the bearer token is nobody's; add its SHA-256 to the sources")
		}
	}
	switch {
	case byCert == "" && byToken == "":
		return "", unknownCaller("neither a client certificate nor a bearer token was shown; send one of the two")
	case byCert == "":
		return byToken, nil
	case byToken == "" || byToken == byCert:
		return byCert, nil
	}
	return "", unknownCaller("the client certificate and the bearer token name two different sources")
}

// byCertificate verifies a caller's certificate. The handshake asks for a
// certificate and proves that the caller holds its key, but leaves judging it to
// this place, so that a wrong one is refused with an entry instead of a bare
// alert that nobody records.
func (s *Sources) byCertificate(chain []*x509.Certificate, now time.Time) (_ isogate.Source, why string) {
	leaf := chain[0]
	digest := sha256.Sum256(leaf.Raw)
	s.mu.RLock()
	v, ok := s.verified[digest]
	s.mu.RUnlock()
	if ok && !now.Before(v.notBefore) && !now.After(v.notAfter) {
		return v.source, ""
	}
	if s.roots == nil {
		return "", "no authority for client certificates is configured; set gateway.transits.tls.client_ca"
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots: s.roots, Intermediates: between, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return "", "the client certificate does not verify: it has expired, or another authority signed it"
	}
	id, err := x509svid.IDFromCert(leaf)
	if err != nil {
		return "", "the client certificate has no single SPIFFE URI name"
	}
	source, ok := s.spiffe[id.String()]
	if !ok {
		return "", "the client certificate's SPIFFE id is nobody's; add it to the sources"
	}
	v = verified{source: source, notBefore: leaf.NotBefore, notAfter: leaf.NotAfter}
	for _, c := range chains[0] { // the answer holds only as long as every link does
		if c.NotAfter.Before(v.notAfter) {
			v.notAfter = c.NotAfter
		}
		if c.NotBefore.After(v.notBefore) {
			v.notBefore = c.NotBefore
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.verified) >= maxVerified {
		clear(s.verified)
	}
	s.verified[digest] = v
	return source, ""
}

func unknownCaller(detail string) *refusal {
	return &refusal{status: 401, code: "unknown-caller", detail: detail}
}

package custody

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strconv"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/obfuscate"
)

// site is one landing as it is reached. It is immutable but for what it holds.
type site struct {
	Landing
	chain      Chain
	scheme     string
	host       string // what is dialled
	port       uint16
	serverName string
	digests    []digester // of sessions; the first is used, the others were before a rotation of keys
	hold       *hold
}

func (c *Custody) newSite(l Landing) (*site, error) {
	if l.URL == nil || l.Key == nil || l.Identifiers == nil || l.Subjects == nil {
		return nil, errors.New("the URL, the landing's key and both obfuscators are all needed")
	}
	s := &site{Landing: l, chain: Chain{l.Destination, l.signer()}, scheme: l.URL.Scheme, host: l.URL.Hostname(), serverName: l.URL.Hostname()}
	port := l.URL.Port()
	if l.At != "" {
		ap, err := netip.ParseAddrPort(l.At)
		if err != nil {
			return nil, fmt.Errorf("the address %q is not IP:port", l.At)
		}
		s.host, port = ap.Addr().String(), strconv.Itoa(int(ap.Port()))
	}
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("port %q is not 1 to 65535", port)
		}
		s.port = uint16(n)
	}
	var err error
	if s.digests, err = newDigesters(c.cfg.Keys, c.cfg.Tenant, l.Destination); err != nil {
		return nil, err
	}
	s.hold = newHold(l.Destination, &c.cfg)
	return s, nil
}

// same reports whether both are the same landing, at the same place.
func (s *site) same(o *site) bool {
	return s.chain == o.chain && s.scheme == o.scheme && s.host == o.host && s.port == o.port && s.serverName == o.serverName
}

// digester makes the digests of sessions for one destination under one of the
// tenant's keys.
type digester struct{ key [32]byte }

func newDigesters(keys obfuscate.Deriver, t isogate.Tenant, d isogate.Destination) ([]digester, error) {
	ids := keys.IDs()
	if len(ids) == 0 {
		return nil, errors.New("there are no keys for sessions; use the tenant's keyring")
	}
	all := make([]digester, len(ids))
	for i, id := range ids {
		if err := keys.Derive(all[i].key[:], id, "isogate/session/v1", string(t), string(d)); err != nil {
			return nil, fmt.Errorf("the key for sessions: %w", err)
		}
		if id == keys.Primary() {
			all[0], all[i] = all[i], all[0]
		}
	}
	return all, nil
}

// lowerBase32 is the alphabet of tokens and seals.
var lowerBase32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding) //nolint:gochecknoglobals // immutable

// of is a session's digest: half of HMAC-SHA256, in 26 characters.
func (d *digester) of(session string) string {
	h := hmac.New(sha256.New, d.key[:])
	_, _ = h.Write([]byte(session))
	return lowerBase32.EncodeToString(h.Sum(nil)[:16])
}

const redacted = "REDACTED"

// LogValue implements [slog.LogValuer].
func (digester) LogValue() slog.Value { return slog.StringValue(redacted) }

// Format implements [fmt.Formatter], so that no verb reaches a key.
func (digester) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(redacted)) }

// MarshalText implements [encoding.TextMarshaler].
func (digester) MarshalText() ([]byte, error) { return []byte(redacted), nil }

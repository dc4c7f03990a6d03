// Package obfuscate turns one payload value into its replacement, and back.
//
// Every replacement is made under keys of one tenant, for one destination and
// one label. Equal values under the same three are replaced equally, so that
// the far side can still count and join; under any other they have nothing in
// common.
//
// A token is text that only this side can turn back:
//
//	igt1 b hbeqgzq…
//	│  │ │ └ base32 of tag, synthetic IV and ciphertext
//	│  │ └ how long the ciphertext is: one of 32 sizes
//	│  └ version
//	└ mark
//
// The tag is four bytes that look random and say, to this side only, which
// label and which key the token was minted under. The rest is AES-SIV (RFC
// 5297) of the value, padded so that its length shows as one of few sizes. A
// hash is igh1 and 32 characters and cannot be turned back. docs/formats.md
// has both byte by byte, with a worked example that a test reads.
//
// The package is given its keys, does no I/O and starts nothing.
package obfuscate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/isogate/isogate"
)

// Deriver gives out key material by name. The tenant's keyring is one.
type Deriver interface {
	// Primary is the key that mints.
	Primary() uint32
	// IDs are all keys that may still read, the primary among them.
	IDs() []uint32
	// Derive fills out with bytes that only key id and this very context give,
	// and that say nothing about any other.
	Derive(out []byte, id uint32, context ...string) error
}

// DefaultEmailDomain is where e-mail-shaped tokens are addressed to. The
// top-level domain never resolves (RFC 6761 §6.4), so nothing is ever delivered.
const DefaultEmailDomain = "isogate.invalid"

// Config is what an Obfuscator is made of.
type Config struct {
	Tenant      isogate.Tenant
	Destination isogate.Destination
	// Labels are all labels that may be met on the way to Destination;
	// unclassified and opaque need not be named. A value under another label is
	// an error.
	Labels []isogate.Label
	Keys   Deriver
	// Use keeps apart what is minted to different ends: no use opens the tokens of
	// another. "" is what leaves in place of values.
	Use Use
	// EmailDomain ends e-mail-shaped tokens; "" is DefaultEmailDomain. At most
	// 63 characters of a-z, 0-9, "-" and ".".
	EmailDomain string
}

// Use is to what end tokens are minted.
type Use string

// The uses beside that of standing in place of values in what leaves.
const (
	// Identifiers are tokens of what stays outside in plaintext, for its register.
	Identifiers Use = "identifiers"
	// Subjects are tokens of whom identifiers belong to.
	Subjects Use = "subjects"
)

// Obfuscator replaces the values that leave for one destination of one tenant.
// It is immutable and safe for concurrent use. After a key rotation a new one
// is made; it reads what the old one wrote. The zero value replaces nothing:
// every call is an error.
type Obfuscator struct {
	destination isogate.Destination
	domain      string
	labels      map[isogate.Label]*labelKeys
	names       *labelKeys
	tags        map[uint32]*tokenKey
	scratches   *sync.Pool
}

// labelKeys are what the values of one label are replaced under now.
type labelKeys struct {
	token *tokenKey
	hash  prf
}

// tokenKey reads, and if it is the primary's mints, the tokens of one label.
type tokenKey struct {
	label isogate.Label
	tag   [tagSize]byte
	siv   *siv
	next  *tokenKey // another key that happens to have the same tag
}

// scratch is the working memory of one call; it keeps the fast path free of allocations.
type scratch struct {
	blocks blocks
	iv     block
	sha    sha
	domain [1]byte
	digest [32]byte
	buf    []byte      // tag, IV and ciphertext
	text   []byte      // the characters of a token that was broken over an e-mail address
	of     *Obfuscator // whose tokens it finds, during a scan
}

// keepScratch is the largest buffer, in bytes, that is kept for the next call.
const keepScratch = 64 << 10

// nameKeys is the label, of no taxonomy, that member names are replaced under.
const nameKeys isogate.Label = ""

// New derives every key that will be needed. It costs a few microseconds per
// label and key.
func New(cfg Config) (*Obfuscator, error) {
	if err := isogate.CheckName(string(cfg.Tenant), false); err != nil {
		return nil, fmt.Errorf("obfuscate: tenant: %w", err)
	}
	if err := isogate.CheckName(string(cfg.Destination), false); err != nil {
		return nil, fmt.Errorf("obfuscate: destination: %w", err)
	}
	if cfg.Keys == nil {
		return nil, errors.New("obfuscate: no keys; use the tenant's keyring")
	}
	domain := cfg.EmailDomain
	if domain == "" {
		domain = DefaultEmailDomain
	}
	if err := checkDomain(domain); err != nil {
		return nil, fmt.Errorf("obfuscate: e-mail domain: %w", err)
	}
	o := &Obfuscator{
		destination: cfg.Destination,
		domain:      domain,
		labels:      make(map[isogate.Label]*labelKeys, len(cfg.Labels)+2),
		tags:        make(map[uint32]*tokenKey),
		scratches:   &sync.Pool{New: func() any { return &scratch{sha: newSHA()} }},
	}
	var err error
	labels := append(slices.Clone(cfg.Labels), isogate.Unclassified, isogate.Opaque)
	for _, label := range labels {
		if _, err := isogate.ParseLabel(string(label)); err != nil {
			return nil, fmt.Errorf("obfuscate: %w", err)
		}
		if o.labels[label] != nil {
			continue
		}
		if o.labels[label], err = o.derive(cfg, "value", label); err != nil {
			return nil, err
		}
	}
	if o.names, err = o.derive(cfg, "name", nameKeys); err != nil {
		return nil, err
	}
	return o, nil
}

// derive makes the keys of one label: those that read under every key that is
// still kept, and those that replace under the primary.
//
// promise: P06 P38 — the tenant, the destination and the label are all part of
// what the key is derived from.
func (o *Obfuscator) derive(cfg Config, what string, label isogate.Label) (*labelKeys, error) {
	scheme := "isogate/obfuscate/v1"
	if cfg.Use != "" {
		scheme += "/" + string(cfg.Use)
	}
	context := []string{scheme, "", what, string(cfg.Tenant), string(cfg.Destination), string(label)}
	now := new(labelKeys)
	primary := cfg.Keys.Primary()
	for _, id := range cfg.Keys.IDs() {
		var material [64 + tagSize]byte
		context[1] = "token"
		if err := cfg.Keys.Derive(material[:], id, context...); err != nil {
			return nil, fmt.Errorf("obfuscate: token key of %q for %s: %w", label, cfg.Destination, err)
		}
		s, err := newSIV(material[:64])
		if err != nil {
			return nil, fmt.Errorf("obfuscate: %w", err)
		}
		k := &tokenKey{label: label, tag: [tagSize]byte(material[64:]), siv: s}
		clear(material[:])
		tag := binary.BigEndian.Uint32(k.tag[:])
		k.next = o.tags[tag]
		o.tags[tag] = k
		if id == primary {
			now.token = k
		}
	}
	if now.token == nil {
		return nil, fmt.Errorf("obfuscate: the primary key %d is not among the keys that may read; check the keyring", primary)
	}
	var material [32]byte
	context[1] = "hash"
	if err := cfg.Keys.Derive(material[:], primary, context...); err != nil {
		return nil, fmt.Errorf("obfuscate: hash key of %q for %s: %w", label, cfg.Destination, err)
	}
	now.hash = newPRF(material[:])
	clear(material[:])
	return now, nil
}

// checkDomain reports what is wrong with s as the domain of an e-mail address
// in lower case (RFC 1123 §2.1).
func checkDomain(s string) error {
	if len(s) > 63 {
		return fmt.Errorf("%.20q… is longer than 63 characters", s)
	}
	for part := range strings.SplitSeq(s, ".") {
		if part == "" || part[0] == '-' || part[len(part)-1] == '-' {
			return fmt.Errorf("%q is no domain; use one such as %s", s, DefaultEmailDomain)
		}
		for i := range len(part) {
			if c := part[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
				return fmt.Errorf("%q has the character %q; use a-z, 0-9, dot and dash", s, c)
			}
		}
	}
	return nil
}

func (o *Obfuscator) borrow() *scratch {
	s, _ := o.scratches.Get().(*scratch)
	return s
}

func (o *Obfuscator) giveBack(s *scratch) {
	if cap(s.buf) > keepScratch {
		s.buf = nil
	}
	o.scratches.Put(s)
}

// redacted is what every way of printing an Obfuscator prints: it holds keys.
const redacted = "REDACTED"

// LogValue implements [slog.LogValuer].
func (*Obfuscator) LogValue() slog.Value { return slog.StringValue(redacted) }

// Format implements [fmt.Formatter], so that no verb reaches a key.
func (*Obfuscator) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(redacted)) }

// MarshalText implements [encoding.TextMarshaler].
func (*Obfuscator) MarshalText() ([]byte, error) { return []byte(redacted), nil }

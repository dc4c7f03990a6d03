package remote

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode"

	"golang.org/x/net/idna"
)

var (
	errHostEmpty    = errors.New("the host is empty")
	errHostLong     = errors.New("the host is longer than 253 bytes")
	errHostDot      = errors.New("the host has a dot at its beginning or end, or two in a row; leave it out")
	errHostBrackets = errors.New("the host has brackets; write an IPv6 address without them")
	errHostZone     = errors.New("the host has a zone or a percent escape")
	errHostUserinfo = errors.New("the host has user information (@)")
	errHostNumber   = errors.New("the host ends in a number but is not an IPv4 address in its usual spelling")
	errHostIPv6     = errors.New("the host has a colon but is not an IPv6 address in its canonical spelling (RFC 5952)")
	errHostMapped   = errors.New("the host is an IPv4 address spelled as IPv6; write the IPv4 address")
	errHostName     = errors.New("the host is not a name that has one ASCII form (IDNA 2008)")
)

// profile is IDNA for lookup (RFC 5891, 5; UTS #46 without transitional
// processing), with all checks on.
var profile = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.BidiRule(), idna.CheckHyphens(true),
	idna.CheckJoiners(true), idna.StrictDomainName(true), idna.ValidateLabels(true), idna.VerifyDNSLength(true))

// CanonicalHost returns the one spelling of a host: a DNS name in lower-case
// ASCII, with punycode for what is not ASCII, or an IP address as RFC 5952 has
// it, without brackets. Case is all that is ever changed, and Unicode made
// punycode; whatever else is not in its canonical form is refused, because two
// programs could take it for two different hosts: numbers that are an IPv4
// address to some (0x7f.1, 2130706433, 127.0.0.01), full-width letters and dots,
// trailing dots, escapes, user information, zones, brackets.
func CanonicalHost(s string) (string, error) {
	for i := range len(s) {
		switch c := s[i]; {
		case c == '@':
			return "", errHostUserinfo
		case c == '%':
			return "", errHostZone
		case c == '[' || c == ']':
			return "", errHostBrackets
		case c < 0x80 && !isNameByte(c) && c != ':':
			return "", fmt.Errorf("the host has the character %q at %d", c, i)
		}
	}
	switch {
	case s == "":
		return "", errHostEmpty
	case len(s) > 253:
		return "", errHostLong
	case strings.Contains(s, ":"):
		return canonicalIPv6(s)
	case s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, ".."):
		return "", errHostDot
	case numeric(s):
		return canonicalIPv4(s)
	}
	name, err := profile.ToASCII(s)
	if err != nil || name == "" {
		return "", errHostName
	}
	if numeric(name) || len(name) > 253 {
		return "", errHostNumber
	}
	// There and back: what was written must be what is meant, and punycode must
	// stand for what it would be written as.
	back, err := profile.ToUnicode(name)
	again, err2 := profile.ToASCII(back)
	low := strings.Map(lower, s)
	if err != nil || err2 != nil || again != name || back != low && name != low || strings.ContainsFunc(back, symbol) {
		return "", errHostName
	}
	return name, nil
}

// lower changes the case of r, but never turns what is not ASCII into ASCII, as
// the Kelvin sign would be.
func lower(r rune) rune {
	if l := unicode.ToLower(r); l >= 0x80 || r < 0x80 {
		return l
	}
	return r
}

// symbol reports what UTS #46 lets pass and IDNA 2008 does not: signs that look
// like slashes and dots are among them.
func symbol(r rune) bool {
	return r >= 0x80 && !unicode.In(r, unicode.L, unicode.M, unicode.Nd, unicode.Join_Control) && r != '·'
}

func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.'
}

// numeric reports whether the last label is a number in any notation that
// inet_aton takes: then the host is an IPv4 address to some programs.
func numeric(s string) bool {
	last := s[strings.LastIndexByte(s, '.')+1:]
	hex := len(last) >= 2 && last[0] == '0' && last[1]|0x20 == 'x'
	if hex {
		last = last[2:]
	}
	for i := range len(last) {
		c := last[i]
		if (c < '0' || c > '9') && (!hex || c|0x20 < 'a' || c|0x20 > 'f') {
			return false
		}
	}
	return true
}

func canonicalIPv4(s string) (string, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() || a.String() != s {
		return "", errHostNumber
	}
	return s, nil
}

func canonicalIPv6(s string) (string, error) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return "", errHostIPv6
	}
	if a.Is4In6() {
		return "", errHostMapped
	}
	if a.String() != strings.ToLower(s) {
		return "", errHostIPv6
	}
	return a.String(), nil
}

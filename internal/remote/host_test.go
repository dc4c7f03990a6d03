package remote

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// ATTACK: a host is spelled so that the program that judges it and the one that
// connects to it understand different hosts (CVE-2022-24825, CVE-2022-29188,
// CVE-2025-22870, CVE-2026-25679, CVE-2026-39821): numbers, escapes, full-width
// characters, user information, punycode of plain ASCII.
// THIS TEST VERIFIES that a host has one spelling, and that what has none is
// refused with its reason.
func TestCanonicalHost(t *testing.T) {
	long := strings.Repeat("a", 63)
	same := []string{
		"example.com", "localhost", "a", "a.b", "x-y.example", "1.example", "127.0.0.1.example", "0x7f.example", "xn--bcher-kva.example",
		"xn--fiqs8s", "example.xn--p1ai", "127.0.0.1", "8.8.8.8", "255.255.255.255", "0.0.0.0", "::1", "::", "2001:db8::1", "fe80::1",
		"64:ff9b::808:808", long + ".example", long + "." + long + "." + long + "." + strings.Repeat("a", 61), "0x.example", "a1.2b", "e.0a", "3com",
	}
	for _, s := range same {
		if got, err := CanonicalHost(s); err != nil || got != s {
			t.Errorf("CanonicalHost(%q) = %q, %v; want it as it is", s, got, err)
		}
	}
	for s, want := range map[string]string{
		"EXAMPLE.com": "example.com", "Example.Com": "example.com", "bücher.example": "xn--bcher-kva.example", "BÜCHER.example": "xn--bcher-kva.example",
		"Xn--Bcher-Kva.example": "xn--bcher-kva.example", "пример.рф": "xn--e1afmkfd.xn--p1ai", "faß.example": "xn--fa-hia.example",
		"2001:DB8::A": "2001:db8::a", "例え.テスト": "xn--r8jz45g.xn--zckzah", "ı.example": "xn--cfa.example", "l·l.example": "xn--ll-0ea.example",
	} {
		if got, err := CanonicalHost(s); err != nil || got != want {
			t.Errorf("CanonicalHost(%q) = %q, %v; want %q", s, got, err, want)
		}
		if got, err := CanonicalHost(want); err != nil || got != want {
			t.Errorf("CanonicalHost(%q) = %q, %v: the canonical form is not its own", want, got, err)
		}
	}
	for s, want := range map[string]error{
		"": errHostEmpty, "example.com.": errHostDot, ".example.com": errHostDot, "a..b": errHostDot, ".": errHostDot, "..": errHostDot,
		"[::1]": errHostBrackets, "[127.0.0.1]": errHostBrackets, "a]": errHostBrackets,
		"::1%lo": errHostZone, "::1%25lo": errHostZone, "fe80::1%eth0": errHostZone, "127.0.0.1%00": errHostZone, "a%2fb": errHostZone, "%31%32%37.0.0.1": errHostZone,
		"user@example.com": errHostUserinfo, "example.com@127.0.0.1": errHostUserinfo, "a:b@c": errHostUserinfo, "@": errHostUserinfo,

		// IPv4 as inet_aton and browsers read it.
		"127.1": errHostNumber, "127.0.1": errHostNumber, "2130706433": errHostNumber, "0x7f000001": errHostNumber, "0X7F000001": errHostNumber,
		"017700000001": errHostNumber, "0177.0.0.1": errHostNumber, "0x7f.0.0.1": errHostNumber, "0x7f.1": errHostNumber, "127.0.0.01": errHostNumber,
		"127.000.000.001": errHostNumber, "0": errHostNumber, "1": errHostNumber, "0x": errHostNumber, "256.256.256.256": errHostNumber, "1.2.3.4.5": errHostNumber,
		"1.2.3.256": errHostNumber, "4294967296": errHostNumber, "999999999999": errHostNumber, "a.1": errHostNumber, "example.0x1": errHostNumber, "foo.09": errHostNumber,
		"0.0.0.0x0": errHostNumber, "10.0.0.0xa": errHostNumber, "1.1.1.1.0xff": errHostNumber, "00000000000": errHostNumber, "127.0.0.0x1": errHostNumber,

		// Characters that become others.
		"１２７.０.０.１": errHostNumber, "ｅxample.com": errHostName, "ＥＸＡＭＰＬＥ.com": errHostName, "example。com": errHostName, "example．com": errHostName,
		"example｡com": errHostName, "127。0。0。1": errHostNumber, "①.example": errHostName, "ⅷ.example": errHostName, "℡.example": errHostName, "exam\u00adple.com": errHostName,
		"exa\u200bmple.com": errHostName, "exa\u200dmple.com": errHostName, "\ufeffexample.com": errHostName, "⒈.example": errHostName,
		"ﬀ.example": errHostName, "⑯⑨。②⑤④。⑯⑨｡②⑤④": errHostNumber, "example\u2024com": errHostName, "\u202eexample.com": errHostName, "a\u2044b.example": errHostName,
		"example.com\u2028": errHostName, "\u212a.example": errHostName, "☃.example": errHostName, "\xff.example": errHostName, "\xc0\xae.example": errHostName,

		// Punycode of nothing, of ASCII, or malformed.
		"xn--": errHostName, "xn--.example": errHostName, "xn--example-.com": errHostName, "xn--localhost-": errHostName, "xn--127-.0.0.1": errHostNumber,
		"xn--a.example": errHostName, "xn--a-ecp.ru": errHostName, "xn--0.example": errHostName, "xn--99999999": errHostName, "xn--bcher-kv.example": nil,
		"xn--zn7c.com": errHostName, "xn--ls8h=.la": nil,

		// LDH.
		"a_b.example": nil, "_dmarc.example": nil, "-a.example": errHostName, "a-.example": errHostName, "ab--cd.example": errHostName, "a b": nil, " a": nil, "a ": nil,
		"a\tb": nil, "a\nb": nil, "a\r\nb": nil, "a\x00b": nil, "a\x7f": nil, "a/b": nil, "a\\b": nil, "a?b": nil, "a#b": nil, "a,b": nil, "a;b": nil, "a'b": nil, "a\"b": nil,
		"a<b": nil, "a|b": nil, "a^b": nil, "a`b": nil, "a{b}": nil, "*.example": nil, "a!b": nil, "a$b": nil, "a&b": nil, "a(b)": nil, "a+b": nil, "a=b": nil, "~a": nil,
		long + "a.example": errHostName, strings.Repeat("a.", 126) + "aa": errHostLong,

		// IPv6.
		"::ffff:127.0.0.1": errHostMapped, "::ffff:7f00:1": errHostMapped, "::FFFF:8.8.8.8": errHostMapped, "0:0:0:0:0:0:0:1": errHostIPv6, "::01": errHostIPv6,
		"2001:db8:0:0::1": errHostIPv6, "2001:0db8::1": errHostIPv6, "::127.0.0.1": errHostIPv6, "1::2::3": errHostIPv6, ":": errHostIPv6, ":::": errHostIPv6, "::g": errHostIPv6,
		"example.com:80": errHostIPv6, "127.0.0.1:80": errHostIPv6, "::1.": errHostIPv6, "64:ff9b::8.8.8.8": errHostIPv6, "1:2:3:4:5:6:7:8:9": errHostIPv6, "0::1": errHostIPv6,
	} {
		got, err := CanonicalHost(s)
		if err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("CanonicalHost(%q) = %q, %v; want %v", s, got, err, want)
		}
		if err != nil && len(s) > 3 && s != "localhost" && strings.Contains(err.Error(), s) {
			t.Errorf("CanonicalHost(%q): the error quotes the host: %v", s, err)
		}
	}
}

func FuzzCanonicalHost(f *testing.F) {
	for _, s := range []string{"example.com", "xn--bcher-kva.example", "bücher.example", "127.0.0.1", "0x7f.1", "::1", "xn--a.example", "ß.de", "１.com"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := CanonicalHost(s)
		if err != nil {
			return
		}
		again, err := CanonicalHost(got)
		if err != nil || again != got {
			t.Fatalf("%q -> %q -> %q, %v", s, got, again, err)
		}
		for i := range len(got) {
			if c := got[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != ':' {
				t.Fatalf("%q -> %q", s, got)
			}
		}
		if numeric(got) && !strings.Contains(got, ":") {
			if a, err := netip.ParseAddr(got); err != nil || a.String() != got {
				t.Fatalf("%q -> %q, a number", s, got)
			}
		}
	})
}

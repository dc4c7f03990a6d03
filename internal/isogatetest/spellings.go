package isogatetest

import "strings"

// Outcome is what must become of a request to a destination as it is spelled.
type Outcome uint8

const (
	// Refuse: no byte reaches the outside, and no name is looked up.
	Refuse Outcome = iota
	// Reach: it is the allowed host, spelled as its canonical form or in a way that
	// everybody reads alike; the decision is that of the canonical form.
	Reach
)

// Where the spellings are judged: an app may reach port 443 of one host and of
// every subdomain of another, which is also what it was granted, and nothing else.
const (
	AllowedHost     = "api.allowed.example.com"
	AllowedWildcard = "*.wild.example.com"
	AllowedPort     = 443
	DeniedHost      = "denied.example.com" // resolves, and is somebody else's
)

// Spelling is one way to write a destination, as it stands after CONNECT, between
// https:// and the path of an absolute target, and in Host.
type Spelling struct {
	Text string
	Want Outcome
	Why  string
}

// Spellings returns every spelling, each Text once. None has a line break.
func Spellings() []Spelling {
	var all []Spelling
	add := func(want Outcome, why string, texts ...string) {
		for _, t := range texts {
			all = append(all, Spelling{Text: t, Want: want, Why: why})
		}
	}
	add(Reach, "the allowed host", "api.allowed.example.com:443")
	add(Reach, "case is not a difference (RFC 4343)", "API.allowed.example.com:443", "api.ALLOWED.Example.Com:443", "Api.Allowed.Example.Com:443")
	add(Reach, "one trailing dot is the same name (CVE-2022-24825, CVE-2022-29188)", "api.allowed.example.com.:443", "API.allowed.example.COM.:443", "a.wild.example.com.:443")
	add(Reach, "a subdomain of the wildcard, at any depth", "a.wild.example.com:443", "a.b.wild.example.com:443", "x.y.z.wild.example.com:443", "A.Wild.Example.Com:443", "1.wild.example.com:443", "wild.wild.example.com:443")
	add(Reach, "punycode of a name (IDNA 2008)", "xn--bcher-kva.wild.example.com:443", "XN--BCHER-KVA.wild.example.com:443")
	add(Reach, "a label of a content network, no data", "d111111abcdef8.wild.example.com:443", "5366-213-52-61-2.wild.example.com:443")

	add(Refuse, "another host", "denied.example.com:443", "example.com:443", "DENIED.example.com.:443", "localhost.example.com:443")
	add(Refuse, "the wildcard's parent is not in it", "wild.example.com:443", "wild.example.com.:443", "WILD.example.com:443")
	add(Refuse, "no name of the wildcard, although it ends like one", "notwild.example.com:443", "a-wild.example.com:443", "awild.example.com:443")
	add(Refuse, "the allowed name is only the beginning or the end", "api.allowed.example.com.denied.example.com:443", "a.wild.example.com.denied.example.com:443", "x.api.allowed.example.com:443",
		"xapi.allowed.example.com:443", "allowed.example.com:443", "api.allowed.example.co:443", "api.allowed.example.comm:443", "api-allowed.example.com:443", "api.allowed.example:443")
	add(Refuse, "a wildcard is a row's, not a request's", "*.wild.example.com:443", "*:443", "*.example.com:443", "*.*:443", "?.wild.example.com:443")
	add(Refuse, "more than one dot, or one at the beginning", "api.allowed.example.com..:443", ".api.allowed.example.com:443", "api..allowed.example.com:443", ".wild.example.com:443", "..wild.example.com:443", ".:443", "..:443", "a..wild.example.com:443")
	add(Refuse, "another port", "api.allowed.example.com:80", "api.allowed.example.com:444", "api.allowed.example.com:8443", "api.allowed.example.com:22", "a.wild.example.com:4430", "api.allowed.example.com:1")
	add(Refuse, "no port", "api.allowed.example.com:0", "api.allowed.example.com:00", "api.allowed.example.com:65536", "api.allowed.example.com:65979", "api.allowed.example.com:84979",
		"api.allowed.example.com:4294967739", "api.allowed.example.com:+443", "api.allowed.example.com:-443", "api.allowed.example.com:0443", "api.allowed.example.com:00443", "api.allowed.example.com:https",
		"api.allowed.example.com:", "api.allowed.example.com:0x1bb", "api.allowed.example.com:443a", "api.allowed.example.com:4.43", "api.allowed.example.com:443:443", "api.allowed.example.com::443", "api.allowed.example.com:４４３", "api.allowed.example.com:%34%34%33")
	add(Refuse, "no host", ":443", "@:443", "[]:443")
	add(Refuse, "user information: who reads to the @ and who from it disagree", "api.allowed.example.com@denied.example.com:443", "api.allowed.example.com:443@denied.example.com:443", "denied.example.com@api.allowed.example.com:443",
		"user:pw@api.allowed.example.com:443", "@api.allowed.example.com:443", "api.allowed.example.com@:443", "a@b@api.allowed.example.com:443", "api.allowed.example.com%40denied.example.com:443")
	add(Refuse, "a delimiter inside the host (CVE-2026-25679)", `denied.example.com\.wild.example.com:443`, `denied.example.com\@a.wild.example.com:443`, `api.allowed.example.com\:443`, "denied.example.com#.wild.example.com:443",
		"denied.example.com#@a.wild.example.com:443", "denied.example.com?.wild.example.com:443", "denied.example.com/.wild.example.com:443", "denied.example.com;.wild.example.com:443", "denied.example.com,api.allowed.example.com:443",
		"denied.example.com%23.wild.example.com:443", "denied.example.com%3f.wild.example.com:443", "api.allowed.example.com'.wild.example.com:443", "<a>.wild.example.com:443", "{a}.wild.example.com:443", "a|b.wild.example.com:443")
	add(Refuse, "an escape", "api.allowed.example.com%00.denied.example.com:443", "denied.example.com%00.wild.example.com:443", "%61pi.allowed.example.com:443", "api%2eallowed.example.com:443", "api.allowed.example.com%2e:443",
		"denied.example.com%2f.wild.example.com:443", "denied.example.com%5c.wild.example.com:443", "%00:443", "a%0d%0ab.wild.example.com:443", "denied.example.com%252f.wild.example.com:443", "a%20.wild.example.com:443")
	add(Refuse, "a character that no name has", "a_b.wild.example.com:443", "denied.example.com\x00.wild.example.com:443", "a\x7f.wild.example.com:443", "a\x01.wild.example.com:443", "a!.wild.example.com:443", "a+b.wild.example.com:443", "a=b.wild.example.com:443", "~a.wild.example.com:443")
	add(Refuse, "labels that begin or end with a dash, or are too long", "-a.wild.example.com:443", "a-.wild.example.com:443", "ab--cd.wild.example.com:443", strings.Repeat("word-", 12)+"word.wild.example.com:443", strings.Repeat("w.", 120)+"wild.example.com:443")
	add(Refuse, "not ASCII: full-width, ideographic dots, look-alikes, what does not show", "ａｐｉ.allowed.example.com:443", "api。allowed。example。com:443", "api．allowed．example．com:443", "api｡allowed.example.com:443", "аpi.allowed.example.com:443",
		"api.allowed.ex\u212aample.com:443", "api.a\u200bllowed.example.com:443", "api.allowed.example.com\u00ad:443", "api.allowed.example.com\u2024:443", "\u202eapi.allowed.example.com:443", "bücher.wild.example.com:443", "denied.example.com⁄.wild.example.com:443", "a.wild.example.com\u3002:443",
		"ß.wild.example.com:443", "\xff.wild.example.com:443", "\xc0\xae.wild.example.com:443")
	add(Refuse, "punycode of nothing, of ASCII, or malformed (CVE-2026-39821)", "xn--.wild.example.com:443", "xn--a.wild.example.com:443", "xn--example-.wild.example.com:443", "xn--0.wild.example.com:443", "xn--99999999.wild.example.com:443", "xn--api-.allowed.example.com:443",
		"xn--zn7c.wild.example.com:443", "xn---.wild.example.com:443")
	add(Refuse, "data in the name, which a lookup would already tell", "6d79206e616d65206973206d6961206d.wild.example.com:443", "6d79-206e-616d-6520-6973-206d-6961-206d.wild.example.com:443", "nbswy3dpeb3w64tmmqqho2dpo5zwizlsonuxgy3b.wild.example.com:443",
		"nbswy3dpeb3w64tm.mqqho2dpo5zwizls.onuxgy3bnbswy3dp.wild.example.com:443", "a94fc9cc-4ce2-49ec-b588-42e609969d26.wild.example.com:443", "a.b.c.d.e.f.g.h.i.wild.example.com:443",
		"6D79206E616D65206973206D6961206D.wild.example.com.:443", "00000000000000000000000000000001.wild.example.com:443", "dghpcybpcybhihnly3jldcbtzxnzywdlihroyxq0.wild.example.com:443")

	add(Refuse, "an IPv4 address, also a public one: consent is given to names", "127.0.0.1:443", "10.0.0.1:443", "172.16.0.1:443", "192.168.0.1:443", "169.254.169.254:443", "100.64.0.1:443", "0.0.0.0:443", "255.255.255.255:443", "224.0.0.1:443", "198.18.0.1:443", "192.0.2.1:443", "8.8.8.8:443", "93.184.216.34:443", "127.0.0.1.:443")
	add(Refuse, "an IPv4 address as inet_aton reads it", "2130706433:443", "0x7f000001:443", "0X7F000001:443", "017700000001:443", "0177.0.0.1:443", "0x7f.0.0.1:443", "0x7f.1:443", "127.1:443", "127.0.1:443", "127.0.0.01:443", "127.000.000.001:443", "0:443", "1:443", "0x:443", "00000000000:443",
		"2852039166:443", "0xa9fea9fe:443", "0251.0376.0251.0376:443", "169.254.43518:443", "4294967296:443", "256.256.256.256:443", "1.2.3.4.5:443", "1.2.3.256:443", "a.wild.example.com.1:443", "wild.example.0x1:443", "127.0.0.0x1:443")
	add(Refuse, "an IPv4 address in other digits", "１２７.０.０.１:443", "127。0。0。1:443", "①②⑦.⓪.⓪.①:443", "⑯⑨。②⑤④。⑯⑨｡②⑤④:443", "١٢٧.0.0.1:443")
	add(Refuse, "an IPv6 address", "[::1]:443", "[::]:443", "[fe80::1]:443", "[fd00:ec2::254]:443", "[fc00::1]:443", "[ff02::1]:443", "[2001:db8::1]:443", "[2606:4700:4700::1111]:443", "[fec0::1]:443", "[100::1]:443", "[0:0:0:0:0:0:0:1]:443", "[::0001]:443")
	add(Refuse, "an IPv4 address inside IPv6 (CVE-2024-24790, NAT64, 6to4, Teredo, ISATAP)", "[::ffff:127.0.0.1]:443", "[::ffff:7f00:1]:443", "[::FFFF:169.254.169.254]:443", "[0:0:0:0:0:ffff:127.0.0.1]:443", "[::127.0.0.1]:443", "[::ffff:0:127.0.0.1]:443",
		"[64:ff9b::127.0.0.1]:443", "[64:ff9b::7f00:1]:443", "[64:ff9b:1::7f00:1]:443", "[2002:7f00:1::]:443", "[2001:0:7f00:1::]:443", "[fe80::5efe:7f00:1]:443")
	add(Refuse, "an IPv6 address with a zone (CVE-2025-22870)", "[::1%25lo]:443", "[::1%lo]:443", "[fe80::1%25eth0]:443", "[::1%25]:443", "[::%25.wild.example.com]:443", "[fe80::1%25.wild.example.com]:443")
	add(Refuse, "brackets that are not those of an address", "::1:443", "[::1:443", "::1]:443", "[127.0.0.1]:443", "[api.allowed.example.com]:443", "[::1].wild.example.com:443", "[[::1]]:443", "[::1]443", "[v1.fe80::a]:443", "[::1]:443:443")
	add(Refuse, "names of one network or of special use", "localhost:443", "LOCALHOST.:443", "localhost.localdomain:443", "app.localhost:443", "metadata.google.internal:443", "metadata:443", "kubernetes.default.svc.cluster.local:443", "router.local:443", "gateway.home.arpa:443",
		"1.0.0.127.in-addr.arpa:443", "wild:443", "api:443", "instance-data:443", "a.internal:443")
	add(Refuse, "another name that leads inside", "127.0.0.1.nip.io:443", "169-254-169-254.sslip.io:443", "localtest.me:443")
	add(Refuse, "a scheme where a host is wanted", "https://api.allowed.example.com:443", "//api.allowed.example.com:443", "http:api.allowed.example.com:443", "https:api.allowed.example.com:443")
	return all
}

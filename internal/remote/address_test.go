package remote

import (
	"strings"
	"testing"
)

func TestCanonicalAddress(t *testing.T) {
	for _, c := range []struct {
		kind       Kind
		in         string
		host       string
		port       uint16
		path       string
		registered string
	}{
		{Backend, "api.example.com", "api.example.com", 443, "", "example.com"},
		{Backend, "https://api.example.com", "api.example.com", 443, "", "example.com"},
		{Backend, "https://api.example.com/", "api.example.com", 443, "", "example.com"},
		{Backend, "HTTPS://API.Example.COM", "api.example.com", 443, "", "example.com"},
		{Backend, "https://api.example.com.", "api.example.com", 443, "", "example.com"},
		{Backend, "https://api.example.com.:443/", "api.example.com", 443, "", "example.com"},
		{Backend, "wss://api.example.com", "api.example.com", 443, "", "example.com"},
		{Backend, "api.example.com:8443", "api.example.com", 8443, "", "example.com"},
		{Backend, "https://api.example.com:1/x", "api.example.com", 1, "", "example.com"},
		{Backend, "https://api.example.com/org/*/keys.json", "api.example.com", 443, "", "example.com"},
		{Backend, "https://api.example.com/../x//y", "api.example.com", 443, "", "example.com"},
		{Remote, "https://api.example.com/base/", "api.example.com", 443, "", "example.com"},
		{Backend, "*.example.com", "*.example.com", 443, "", "example.com"},
		{Backend, "https://*.example.com", "*.example.com", 443, "", "example.com"},
		{Backend, "*.EU.example.co.uk:8443", "*.eu.example.co.uk", 8443, "", "example.co.uk"},
		{Backend, "*.example.com.", "*.example.com", 443, "", "example.com"},
		{Backend, "*.example", "", 0, "", ""}, // a top-level domain like any other
		{Backend, "far.example", "far.example", 443, "", "far.example"},
		{Backend, "*.far.example", "*.far.example", 443, "", "far.example"},
		{Backend, "bücher.example", "xn--bcher-kva.example", 443, "", "xn--bcher-kva.example"},
		{Backend, "https://*.Bücher.example/", "*.xn--bcher-kva.example", 443, "", "xn--bcher-kva.example"},
		{Backend, "XN--BCHER-KVA.example", "xn--bcher-kva.example", 443, "", "xn--bcher-kva.example"},
		{Backend, "пример.рф", "xn--e1afmkfd.xn--p1ai", 443, "", "xn--e1afmkfd.xn--p1ai"},
		{Backend, "mybucket.s3.amazonaws.com", "mybucket.s3.amazonaws.com", 443, "", "mybucket.s3.amazonaws.com"},
		{Backend, "httpbin.org", "httpbin.org", 443, "", "httpbin.org"}, // a private suffix, and one host
		{Backend, "5366-213-52-61-2.ngrok-free.app", "5366-213-52-61-2.ngrok-free.app", 443, "", "5366-213-52-61-2.ngrok-free.app"},
		{Backend, "localhost.example.com", "localhost.example.com", 443, "", "example.com"},
		{Backend, "internal.example.com", "internal.example.com", 443, "", "example.com"},
		{Images, "https://img.example.com/a/b.png", "img.example.com", 443, "/a/b.png", "example.com"},
		{Images, "img.example.com/A/B.PNG", "img.example.com", 443, "/A/B.PNG", "example.com"},
		{Client, "https://img.example.com/*", "img.example.com", 443, "", "example.com"},
		{Client, "https://img.example.com/", "img.example.com", 443, "", "example.com"},
		{Client, "https://img.example.com/v1/*", "img.example.com", 443, "/v1/", "example.com"},
		{Client, "https://img.example.com/v1/", "img.example.com", 443, "/v1/", "example.com"},
		{Client, "https://img.example.com/%7euser/%c3%bc", "img.example.com", 443, "/~user/%C3%BC", "example.com"},
		{Client, "https://img.example.com/a;b=c,d:e@f", "img.example.com", 443, "/a;b=c,d:e@f", "example.com"},
		{Client, "https://img.example.com/a...b", "", 0, "", ""}, // looks like a placeholder
	} {
		host, port, path, err := CanonicalAddress(c.kind, c.in)
		if host != c.host || port != c.port || path != c.path || (err != nil) != (c.host == "") {
			t.Errorf("CanonicalAddress(%s, %q) = %q, %d, %q, %v; want %q, %d, %q", c.kind, c.in, host, port, path, err, c.host, c.port, c.path)
		}
		if err == nil && Registrable(host) != c.registered {
			t.Errorf("Registrable(%q) = %q; want %q", host, Registrable(host), c.registered)
		}
	}
}

// ATTACK: a manifest declares an address that a reader takes for one place and a
// program for another, or that is wider than anybody would consent to: the forms
// that the reference's validator accepts (*.com, https://*.x/*, 10.0.0.1, ftp://x,
// user:pw@, //host, https:\\host, mailto:), IP addresses in every spelling,
// private names, public suffixes, look-alike letters.
// THIS TEST VERIFIES that none of them is an address, and that the reason says
// which.
//
// promise: P12
func TestAddressesThatCannotBeConsentedTo(t *testing.T) {
	long := strings.Repeat("a", 63)
	for want, list := range map[string][]string{
		"is empty":       {"", "https://.:443"},
		"more than 1000": {"https://example.com/" + strings.Repeat("a", 1000)},
		"every host":     {"*", "https://*", "https://*/", "wss://*/*", "*:443", "*.", "https://*./x"},
		"placeholder":    {"<your-host>", "https://<host>/x", "...", "api.…", "https://{tenant}.example.com", "{{host}}", "<GIPHY source link >"},
		"no dot":         {"YOUR_HOSTED_APP_URL", "https://intranet1/", "a", "com", "*.com", "https://*.de/*", "localhostx", "api:8080"},
		"without a value": {
			"${URL}", "https://${HOST}/x",
		},
		"keyword":                 {"unsafe-inline", "'self'", "'unsafe-eval'", "data:", "blob:", "Self", "none"},
		"sends in the clear":      {"http://api.example.com", "ws://api.example.com", "HTTP://api.example.com/", "http:api.example.com"},
		"scheme that is not":      {"ftp://api.example.com", "mailto:a@b.example", "javascript:alert(1)", "file:///etc/passwd", "*://api.example.com", "x-app://api.example.com", "data:text/html,x"},
		"no // after":             {"https:api.example.com", "https:/api.example.com", "wss:api.example.com"},
		"no scheme":               {"//api.example.com"},
		"backslash":               {`https:\\api.example.com`, `https://evil.example\@a.example.com/`, `https://evil.example\.example.com/`, `\\api.example.com\x`},
		"no host":                 {"https://", "https:///x", "/v1/x", "wss://?x"},
		"user information":        {"https://user:pw@api.example.com", "https://api.example.com@evil.example", "a@b.example", "https://@api.example.com", "user@api.example.com:443"},
		"U+0020":                  {"https://api.example.com /x", " api.example.com", "api.example.com "},
		"U+0000":                  {"api.example.com\x00.evil.example"},
		"U+000A":                  {"api.example.com\nx"},
		"U+0009":                  {"api\t.example.com"},
		"U+202E":                  {"https://api.\u202eexample.com"},
		"U+200B":                  {"api.\u200bexample.com"},
		"U+00AD":                  {"ex\u00adample.com"},
		"U+FEFF":                  {"\ufeffapi.example.com"},
		"U+2028":                  {"api.example.com\u2028"},
		"not UTF-8":               {"api.\xffexample.com", "\xc0\xae.example.com"},
		"not one whole label":     {"https://a*.example.com", "a.*.example.com", "*.*.example.com", "*example.com", "**.example.com", "api.example.*", "https://api.*/x"},
		"everybody's domains":     {"*.co.uk", "*.github.io", "*.cloudfront.net", "*.us-east-1.elasticbeanstalk.com", "*.ngrok.io", "*.trycloudflare.com", "*.COM.AU", "*.cloudfunctions.net", "*.kobe.jp", "*.compute.amazonaws.com"},
		"is a public suffix":      {"co.uk", "https://com.au/", "x.ck", "x.kobe.jp"},
		"no public top-level":     {"api.example.tld", "*.yourdomain.tld", "svc.cluster.svc", "a.b.notatld", "router.fritzbox", "api.consul"},
		"private or special use":  {"localhost", "LOCALHOST:3000", "https://localhost/", "app.localhost", "printer.local", "metadata.google.internal", "x.internal", "a.test", "a.invalid", "abc.onion", "router.home.arpa", "1.0.0.127.in-addr.arpa", "a.lan", "a.corp", "a.home", "a.intranet", "*.local", "*.svc.cluster.local", "local", "a.alt", "a.localhost."},
		"is an IP address":        {"10.0.0.1", "https://127.0.0.1/", "8.8.8.8", "169.254.169.254", "https://[::1]/", "[::1]:443", "[::ffff:127.0.0.1]", "::1", "2130706433", "0x7f000001", "017700000001", "127.1", "0x7f.1", "127.0.0.01", "10.0.0.1:8443", "https://[fd00:ec2::254]", "[fe80::1%25lo]", "1.2.3.4.", "１２７.０.０.１", "*.0.0.1", "*.1", "999", "api.example.com:443:443"},
		"dot at its beginning":    {"api.example.com..", ".example.com", "api..example.com", "*..example.com", "*.example.com.."},
		"character '_'":           {"a_b.example.com", "https://YOUR_APP.example.com"},
		"percent escape":          {"api%2eexample.com", "https://api.example.com%2f.evil.example", "%61pi.example.com", "api.example.com%00"},
		"not a name that has one": {"api.ex\u212aample.com", "ｅxample.com", "a.example。com", "xn--a.example.com", "xn--example-.com", "-a.example.com", "a--.example.com", "ab--cd.example.com", "☃.example.com", long + "a.example.com", "a⁄b.example.com"},
		"longer than 253":         {strings.Repeat("a.", 126) + "example.com", "*." + strings.Repeat("a.", 121) + "example.com"},
		"port is not a plain":     {"api.example.com:0", "api.example.com:", "https://api.example.com:84979", "api.example.com:+443", "api.example.com:0443", "api.example.com:https", "https://api.example.com:-1", "api.example.com:443a", "api.example.com:4３"},
		"has a query":             {"https://api.example.com?x=1", "https://api.example.com/a?b", "api.example.com?"},
		"has a fragment":          {"https://api.example.com#x", "https://api.example.com/#", "https://api.example.com/?a#b"},
	} {
		for _, s := range list {
			for _, kind := range []Kind{Backend, Client} {
				host, port, path, err := CanonicalAddress(kind, s)
				if err == nil || !strings.Contains(err.Error(), want) || host != "" || port != 0 || path != "" {
					t.Errorf("CanonicalAddress(%s, %q) = %q, %d, %q, %v; want an error with %q", kind, s, host, port, path, err, want)
				}
				if err != nil && len(s) > 12 && strings.Contains(err.Error(), s) {
					t.Errorf("the error quotes the address: %v", err)
				}
			}
		}
	}
	for want, list := range map[string][]string{
		"a * that is not":        {"/org/*/keys.json", "/a*", "/*/b", "/a/**", "/**"},
		"empty segment or a dot": {"/a//b", "//a", "/./a", "/a/..", "/a/../b", "/a/%2e%2e/b", "/%2E/x"},
		"escaped slash":          {"/a%2fb", "/a%5Cb", "/a%00", "/%0d%0a"},
		"% that is no escape":    {"/a%", "/a%2", "/a%zz"},
		"must be escaped":        {"/ü", `/a"b`, "/a|b", "/a^b", "/a`b"},
	} {
		for _, s := range list {
			if _, _, path, err := CanonicalAddress(Images, "https://img.example.com"+s); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("path %q = %q, %v; want an error with %q", s, path, err, want)
			}
		}
	}
}

func TestParseAuthority(t *testing.T) {
	for _, c := range []struct {
		in   string
		def  uint16
		host string
		port uint16
	}{
		{"api.example.com:443", 0, "api.example.com", 443},
		{"API.Example.com.:8443", 0, "api.example.com", 8443},
		{"api.example.com", 443, "api.example.com", 443},
		{"api.example.com:80", 443, "api.example.com", 80},
		{"xn--bcher-kva.example:443", 0, "xn--bcher-kva.example", 443},
		{"localhost:443", 0, "localhost", 443}, // a name; no row has it
		{"api.example.com", 0, "", 0},
		{"bücher.example:443", 0, "", 0},
		{"api.example.com..:443", 0, "", 0},
		{"10.0.0.1:443", 0, "", 0},
		{"[::1]:443", 443, "", 0},
		{"[2001:db8::1]", 443, "", 0},
		{"::1", 443, "", 0},
		{"api.example.com:", 443, "", 0},
		{"api.example.com:0", 0, "", 0},
		{"api.example.com:443:443", 443, "", 0},
		{"user@api.example.com:443", 0, "", 0},
		{":443", 0, "", 0},
		{"", 443, "", 0},
		{"", 0, "", 0},
		{".:443", 0, "", 0},
		{"*.example.com:443", 0, "", 0},
	} {
		host, port, err := ParseAuthority(c.in, c.def)
		if host != c.host || port != c.port || (err != nil) != (c.host == "") {
			t.Errorf("ParseAuthority(%q, %d) = %q, %d, %v; want %q, %d", c.in, c.def, host, port, err, c.host, c.port)
		}
	}
}

func TestDisplayHost(t *testing.T) {
	for in, want := range map[string]string{
		"example.com": "example.com", "xn--bcher-kva.example": "bücher.example", "*.xn--bcher-kva.example": "*.bücher.example",
		"xn--e1afmkfd.xn--p1ai": "пример.рф", "xn--a.example": "xn--a.example", "a.xn--80ak6aa92e.com": "a.аррӏе.com", "xn--": "xn--", "": "",
	} {
		if got := DisplayHost(in); got != want {
			t.Errorf("DisplayHost(%q) = %q; want %q", in, got, want)
		}
	}
}

func FuzzCanonicalAddress(f *testing.F) {
	for _, s := range []string{
		"api.example.com", "https://API.example.com.:8443/v1/*", "*.example.com", "wss://bücher.example/a%7e", "https://u@h/", `https:\\x`, "*", "${X}.example.com", "[::1]:443",
		"mailto:a@b", "localhost:3000", "*.co.uk", "https://img.example.com/a/b.png?x#y", "0x7f.1", "example。com",
	} {
		f.Add(uint8(Backend), s)
		f.Add(uint8(Images), s)
	}
	f.Fuzz(func(t *testing.T, k uint8, s string) {
		kind := Kind(1 + k%uint8(Navigation))
		host, port, path, err := CanonicalAddress(kind, s)
		if err != nil {
			if err.Error() == "" || host != "" || port != 0 || path != "" {
				t.Fatalf("%q -> %q %d %q %v", s, host, port, path, err)
			}
			return
		}
		r := Row{Kind: kind, Host: host, Port: port, Path: path}
		back, err := ParseRow(r.String())
		if err != nil || back != r {
			t.Fatalf("%q -> %q -> %+v, %v", s, r, back, err)
		}
		again, port2, path2, err := CanonicalAddress(kind, strings.TrimPrefix(r.String(), kind.String()+" "))
		if err != nil || again != host || port2 != port || path2 != path {
			t.Fatalf("%q -> %q -> %q %d %q, %v", s, r, again, port2, path2, err)
		}
		if host == "*" || strings.Count(host, "*") > 1 || port == 0 || kind.servers() && path != "" {
			t.Fatalf("%q -> %q", s, r)
		}
		r.Warnings()
		DisplayHost(host)
		DataInName(strings.TrimPrefix(host, "*."))
	})
}

package remote

import (
	"math/rand/v2"
	"testing"
)

func parsed(t testing.TB, s string) Row {
	t.Helper()
	r, err := ParseRow(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAllows(t *testing.T) {
	for _, c := range []struct {
		row     string
		yes, no []ask
	}{
		{
			row: "backend api.example.com:443 operations=storage end-user-data",
			yes: []ask{{Backend, "api.example.com", 443, "/x"}, {Backend, "api.example.com", 443, ""}, {Backend, "api.example.com", 443, "/a/../b"}},
			no: []ask{
				{Remote, "api.example.com", 443, "/x"}, {Client, "api.example.com", 443, "/x"}, {NoKind, "api.example.com", 443, ""}, {Backend, "api.example.com", 80, ""}, {Backend, "api.example.com", 0, ""},
				{Backend, "example.com", 443, ""}, {Backend, "a.api.example.com", 443, ""}, {Backend, "API.example.com", 443, ""}, {Backend, "api.example.com.", 443, ""}, {Backend, "", 443, ""},
			},
		},
		{
			row: "backend *.example.com:8443 operations=storage",
			yes: []ask{{Backend, "a.example.com", 8443, ""}, {Backend, "a.b.c.example.com", 8443, ""}},
			no: []ask{
				{Backend, "example.com", 8443, ""}, {Backend, ".example.com", 8443, ""}, {Backend, "..example.com", 8443, ""}, {Backend, "*.example.com", 8443, ""}, {Backend, "a.example.com", 443, ""},
				{Backend, "aexample.com", 8443, ""}, {Backend, "a.example.com.evil.example", 8443, ""}, {Backend, "a.example.com.", 8443, ""}, {Backend, "", 8443, ""}, {Backend, "com", 8443, ""},
			},
		},
		{
			row: "images img.example.com:443/a/ operations=storage",
			yes: []ask{{Images, "img.example.com", 443, "/a/"}, {Images, "img.example.com", 443, "/a/b.png"}, {Images, "img.example.com", 443, "/a/b/c"}},
			no: []ask{
				{Images, "img.example.com", 443, "/a"}, {Images, "img.example.com", 443, "/"}, {Images, "img.example.com", 443, ""}, {Images, "img.example.com", 443, "/ab"}, {Images, "img.example.com", 443, "/a/../b"},
				{Images, "img.example.com", 443, "/a/%2e%2e/b"}, {Images, "img.example.com", 443, "/a/%2e%2e%2fb"}, {Images, "img.example.com", 443, "/a//b"}, {Images, "img.example.com", 443, "/a/%62"}, {Images, "img.example.com", 443, "/a/%c3%bc"}, {Images, "img.example.com", 443, `/a/\..\b`},
				{Backend, "img.example.com", 443, "/a/b"}, {Scripts, "img.example.com", 443, "/a/b"},
			},
		},
		{
			row: "scripts s.example.com:443/a.js operations=storage",
			yes: []ask{{Scripts, "s.example.com", 443, "/a.js"}},
			no:  []ask{{Scripts, "s.example.com", 443, "/a.js/"}, {Scripts, "s.example.com", 443, "/A.js"}, {Scripts, "s.example.com", 443, ""}, {Scripts, "s.example.com", 443, "/a.jsx"}},
		},
		{
			row: "fonts f.example.com:443 operations=storage",
			yes: []ask{{Fonts, "f.example.com", 443, "/a.js"}, {Fonts, "f.example.com", 443, ""}, {Fonts, "f.example.com", 443, "/a//b"}},
		},
		{
			row: "transit support-session",
			yes: []ask{{TransitWay, "support-session", 0, ""}},
			no:  []ask{{TransitWay, "support", 0, ""}, {Backend, "support-session", 0, ""}, {TransitWay, "support-session", 443, ""}},
		},
	} {
		r := parsed(t, c.row)
		for _, a := range c.yes {
			if !r.Allows(a.kind, a.host, a.port, a.path) {
				t.Errorf("%s does not allow %+v", r, a)
			}
		}
		for _, a := range c.no {
			if r.Allows(a.kind, a.host, a.port, a.path) {
				t.Errorf("%s allows %+v", r, a)
			}
		}
	}
	if (Row{}).Allows(NoKind, "", 0, "") {
		t.Error("the zero row allows something")
	}
}

// universe is a small world in which rows meet often.
var (
	someKinds   = []Kind{Backend, Remote, Images, Client}
	someHosts   = []string{"example.com", "a.example.com", "b.a.example.com", "*.example.com", "*.a.example.com", "*.b.a.example.com", "example.org"}
	somePorts   = []uint16{443, 8443}
	somePaths   = []string{"", "/a", "/a/", "/a/b", "/a/b/", "/ab"}
	someRegions = []string{"", "EU", "US"}
)

func randomRow(r *rand.Rand) Row {
	row := Row{
		Kind: someKinds[r.IntN(len(someKinds))], Host: someHosts[r.IntN(len(someHosts))], Port: somePorts[r.IntN(10)/9], Region: someRegions[r.IntN(12)%10%3],
		Operations: Operations(r.IntN(4)), Tokens: Tokens(r.IntN(3)), EndUserData: r.IntN(2) == 0,
	}
	if !row.Kind.servers() {
		row.Path = somePaths[r.IntN(len(somePaths))]
	}
	return row
}

func randomRows(r *rand.Rand, most int) []Row {
	rows := make([]Row, 0, most)
	for range r.IntN(most + 1) {
		rows = append(rows, randomRow(r))
	}
	return rows
}

// ask is one place that is asked for.
type ask struct {
	kind Kind
	host string
	port uint16
	path string
}

// questions is every place of the universe, and some around it.
func questions(yield func(ask) bool) {
	for _, kind := range someKinds {
		for _, host := range []string{"example.com", "a.example.com", "b.a.example.com", "c.b.a.example.com", "x.example.com", "example.org", "x.example.org"} {
			for _, port := range somePorts {
				for _, path := range append([]string{"/", "/a/b/c", "/abc"}, somePaths...) {
					if !yield(ask{kind, host, port, path}) {
						return
					}
				}
			}
		}
	}
}

func (r Row) answers(a ask) bool { return r.Allows(a.kind, a.host, a.port, a.path) }

func allowed(rows []Row, a ask) bool {
	for _, r := range rows {
		if r.answers(a) {
			return true
		}
	}
	return false
}

// Covers is a partial order, and what is covered is let out by what covers it.
func TestCoversIsAnOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	covered, chains := 0, 0
	for range 60000 {
		a, b, c := randomRow(r), randomRow(r), randomRow(r)
		if r.IntN(2) == 0 { // make chains likely
			a.Host, a.Path, a.Region = "*.example.com", "", ""
			b.Kind, b.Port, b.Operations, b.Tokens, b.EndUserData = a.Kind, a.Port, a.Operations&b.Operations, a.Tokens&b.Tokens, a.EndUserData && b.EndUserData
			c.Kind, c.Port, c.Operations, c.Tokens, c.EndUserData = a.Kind, a.Port, b.Operations&c.Operations, b.Tokens&c.Tokens, b.EndUserData && c.EndUserData
			if a.Kind.servers() {
				b.Path, c.Path = "", ""
			}
		}
		if !a.Covers(a) {
			t.Fatalf("%s does not cover itself", a)
		}
		if a.Covers(b) && b.Covers(a) && a != b {
			t.Fatalf("%s and %s cover each other", a, b)
		}
		if a.Covers(b) && b.Covers(c) {
			if chains++; !a.Covers(c) {
				t.Fatalf("%s covers %s covers %s, and the first not the last", a, b, c)
			}
		}
		if !a.Covers(b) || a == b {
			continue
		}
		covered++
		for q := range questions {
			if b.answers(q) && !a.answers(q) {
				t.Fatalf("%s covers %s, and does not allow %+v", a, b, q)
			}
		}
		if b.Operations&^a.Operations != 0 || b.Tokens&^a.Tokens != 0 || b.EndUserData && !a.EndUserData || a.Region != "" && a.Region != b.Region {
			t.Fatalf("%s covers %s", a, b)
		}
	}
	if covered < 200 || chains < 200 {
		t.Errorf("only %d pairs and %d chains met", covered, chains)
	}
}

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"backend *.example.com:443", "backend a.b.example.com:443", true},
		{"backend *.example.com:443", "backend *.b.example.com:443", true},
		{"backend *.example.com:443", "backend example.com:443", false},
		{"backend *.example.com:443", "backend *.badexample.com:443", false},
		{"backend *.b.example.com:443", "backend *.example.com:443", false},
		{"backend a.example.com:443", "remote a.example.com:443", false},
		{"backend a.example.com:443", "backend a.example.com:444", false},
		{"backend a.example.com:443 operations=storage", "backend a.example.com:443 operations=compute", false},
		{"backend a.example.com:443 operations=storage,compute", "backend a.example.com:443 operations=compute", true},
		{"backend a.example.com:443 end-user-data", "backend a.example.com:443", true},
		{"backend a.example.com:443", "backend a.example.com:443 end-user-data", false},
		{"backend a.example.com:443 tokens=app-user", "backend a.example.com:443 tokens=app-system", false},
		{"backend a.example.com:443", "backend a.example.com:443 region=EU", true},
		{"backend a.example.com:443 region=EU", "backend a.example.com:443", false},
		{"images a.example.com:443", "images a.example.com:443/x", true},
		{"images a.example.com:443/x/", "images a.example.com:443/x/y", true},
		{"images a.example.com:443/x", "images a.example.com:443/x/y", false},
		{"images a.example.com:443/x/", "images a.example.com:443/x", false},
		{"images a.example.com:443/x/", "images a.example.com:443", false},
		{"transit support", "transit support", true},
		{"transit support", "transit supports", false},
	} {
		if got := parsed(t, c.a).Covers(parsed(t, c.b)); got != c.want {
			t.Errorf("%q covers %q: %v", c.a, c.b, got)
		}
	}
}

// ATTACK: an app that may ask for every subdomain of a domain writes what it
// wants to tell into the name; looking it up tells it to the domain's name
// servers, and nothing has to be connected to (dnscat, iodine).
// THIS TEST VERIFIES that names which carry much are seen before they are looked
// up, and that names of real services are not taken for them.
func TestDataInName(t *testing.T) {
	for _, host := range []string{
		"d111111abcdef8.cloudfront.net", "5366-213-52-61-2.ngrok-free.app", "dz8aopenkvv6s.cloudfront.net", "8k6j5ojiqw-dsn.algolia.net", "o4504512345678912.ingest.sentry.io",
		"api.example.com", "example.com", "a.b.c.d.example.com", "jenkins-for-jira-analytics.dev.services.example.com", "forge-remote-refapp-nodejs.services.example.com",
		"ec2-203-0-113-25.compute-1.amazonaws.com", "vpce-0123456789abcdef0-abcdefgh.execute-api.us-east-1.vpce.amazonaws.com", "s3.eu-central-1.amazonaws.com",
		"internal-k8s-default-web-1234567890-1234567890.us-west-2.elb.amazonaws.com", "my-app-git-main-team-a1b2c3d4e.vercel.app", "xn--bcher-kva.example", "wonderful-something-another-thing.trycloudflare.com",
		"r3---sn-4g5e6nzz.googlevideo.com", "abcdefghijklmnopqrstuvwxyz.appsync-api.eu-west-1.amazonaws.com", "uw-team-rcbm7f2u.atlassian.net", "xn--vckfdb7e3c7hma3m9657c16c.jp", "192-0-2-1.dyn.example.net",
		"project-default-rtdb.europe-west1.firebasedatabase.app", "arg-quality.debater.res.example.com",
	} {
		if DataInName(host) {
			t.Errorf("%s is taken for data", host)
		}
	}
	for _, host := range []string{
		"6d79206e616d65206973206d6961206d69.example.com",                 // hexadecimal
		"6d79-206e-616d-6520-6973-206d-6961-206d.example.com",            // with dashes
		"a94fc9cc-4ce2-49ec-b588-42e609969d26.example.com",               // 16 bytes as a UUID
		"nbswy3dpeb3w64tmmqqho2dpo5zwizlsonuxgy3b.example.com",           // base32
		"nbswy3dpeb3w64tm.mqqho2dpo5zwizls.onuxgy3bnbswy3dp.example.com", // base32 in three labels
		"dGhpcyBpcyBhIHNlY3JldCBtZXNzYWdlIHRoYXQ0.example.com",           // base64, lower-cased or not
		"abcdefghijklmnopabcdefghijklmnopabcdefgh.example.com",           // hexadecimal in letters
		"a.b.c.d.e.f.g.h.i.example.com",                                  // a letter in each label
		"mia-smith-lives-in-london.and-her-number-is-written-here.as-words-that-nobody-looks-for.because-they-are-words-and-no-code.example.com", // plain words
		"00000000000000000000000000000001.example.com",
		"xkcdqzjwvbnmxkcdqzjwvbnmxkcdqzjwvbnm.example.com",
	} {
		if !DataInName(host) {
			t.Errorf("%s is not taken for data", host)
		}
	}
	if DataInName("") || DataInName("com") {
		t.Error("no name and a suffix are taken for data")
	}
}

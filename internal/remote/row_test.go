package remote

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestParseRow(t *testing.T) {
	for _, s := range []string{
		"backend api.example.com:443 operations=storage,compute end-user-data tokens=app-user region=EU",
		"remote *.example.com:8443 operations=fetch,other tokens=app-user,app-system",
		"images img.example.com:443/a/%C3%BC/ operations=storage",
		"scripts xn--bcher-kva.example:443/a.js",
		"client a.co.uk:1 end-user-data region=GB",
		"navigation example.com:65535/a:b=c@d",
		"backend *.co.uk:443", // could be declared no more, and was perhaps granted once
		"transit support-session", "transit support-session end-user-data",
	} {
		r, err := ParseRow(s)
		if err != nil || r.String() != s {
			t.Errorf("ParseRow(%q) = %q, %v", s, r, err)
		}
		b, err := json.Marshal(r)
		var back Row
		if err != nil || json.Unmarshal(b, &back) != nil || back != r {
			t.Errorf("%q as JSON: %s, %v, back %q", s, b, err, back)
		}
	}
	for s, want := range map[string]string{
		"": "a row is", "backend": "a row is", "none ": "unknown kind", "fetch api.example.com:443": "unknown kind", "Backend api.example.com:443": "unknown kind",
		"backend api.example.com": "port", "backend api.example.com:": "port", "backend api.example.com:0": "port", "backend api.example.com:0443": "port", "backend api.example.com:65536": "port",
		"backend api.example.com:+443": "port", "backend api.example.com:443:443": "port", "backend [::1]:443": "port", "backend ::1": "port",
		"backend API.example.com:443": "canonical form; use api.example.com", "backend bücher.example:443": "canonical form", "backend api.example.com.:443": "dot",
		"backend 10.0.0.1:443": "IP address", "backend 0x7f.1:443": "IP address", "backend localhost:443": "private or special", "backend a.local:443": "private or special", "backend intranet1:443": "no dot",
		"backend *:443": "", "backend *.com:443": "no dot", "backend *.*.example.com:443": "character", "backend a.*.example.com:443": "character", "backend :443": "empty", "backend u@example.com:443": "user information",
		"backend api.example.com:443/x": "has a path", "images api.example.com:443/": "path", "images api.example.com:443/*": "path", "images api.example.com:443/a/../b": "path", "images api.example.com:443/%7e": "path",
		"images api.example.com:443//a": "path", "backend  api.example.com:443": "port", "backend api.example.com:443 ": "unknown part", "backend api.example.com:443  end-user-data": "unknown part",
		"backend api.example.com:443 operations=": "unknown operation", "backend api.example.com:443 operations=compute,storage": "one form", "backend api.example.com:443 operations=storage,storage": "one form",
		"backend api.example.com:443 operations=all": "unknown operation", "backend api.example.com:443 tokens=user": "unknown token", "backend api.example.com:443 end-user-data=1": "one form",
		"backend api.example.com:443 end-user-data operations=storage": "one form", "backend api.example.com:443 region=": "one form", "backend api.example.com:443 region=eu": "region", "backend api.example.com:443 region=default": "region",
		"backend api.example.com:443 region=EU region=US": "one form", "backend api.example.com:443\n": "port", "transit ": "empty", "transit a:1": "", "transit A": "", "transit a/b": "", "transit support x": "unknown part",
		"images api.example.com:443/" + strings.Repeat("a", 5000): "at most",
	} {
		if r, err := ParseRow(s); err == nil || !strings.Contains(err.Error(), want) || r != (Row{}) {
			t.Errorf("ParseRow(%.80q) = %q, %v; want an error with %q", s, r, err, want)
		}
	}
}

func TestEveryRowHasOneText(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	texts := map[string]Row{}
	for range 20000 {
		a := randomRow(r)
		s := a.String()
		if b, err := ParseRow(s); err != nil || a != b {
			t.Fatalf("%+v -> %q -> %+v, %v", a, s, b, err)
		}
		if b, twice := texts[s]; twice && a != b {
			t.Fatalf("%+v and %+v are both %q", a, b, s)
		}
		texts[s] = a
	}
}

func TestWarnings(t *testing.T) {
	for s, want := range map[string]string{
		"backend api.example.com:443":               "",
		"backend *.example.com:443":                 "wildcard",
		"backend *.example.com:8443":                "wildcard port",
		"backend a.ngrok-free.app:443":              "tunnel",
		"backend ngrok-free.app:443":                "shared tunnel",
		"backend notngrok.io.example:443":           "",
		"backend httpbin.org:443":                   "shared",
		"backend *.us-west-2.amazonaws.com:443":     "wildcard shared",
		"backend a.trycloudflare.com:443":           "tunnel",
		"backend a.loca.lt:443":                     "tunnel",
		"backend xn--bcher-kva.example:443":         "unicode",
		"backend a.xn--80ak6aa92e.com:443":          "unicode",               // all Cyrillic, looks Latin
		"images xn--pple-43d.com:443":               "unicode mixed-scripts", // one Cyrillic letter among Latin ones
		"images *.xn--pple-43d.com:443":             "wildcard unicode mixed-scripts",
		"images xn--r8jz45g.xn--zckzah.example:443": "unicode", // Han with Hiragana, and Katakana
		"transit support":                           "",
	} {
		var codes []string
		for _, w := range parsed(t, s).Warnings() {
			codes = append(codes, w.Code)
			if w.Message == "" {
				t.Errorf("%s: %s says nothing", s, w.Code)
			}
		}
		if got := strings.Join(codes, " "); got != want {
			t.Errorf("%s: %q; want %q", s, got, want)
		}
	}
	if w := (Row{}).Warnings(); w != nil {
		t.Errorf("the zero row: %v", w)
	}
}

func FuzzParseRow(f *testing.F) {
	for _, s := range []string{
		"backend api.example.com:443 operations=storage,compute end-user-data tokens=app-user region=EU", "images *.example.com:8443/a/%C3%BC/ operations=storage", "transit support-session",
		"backend 10.0.0.1:443", "backend bücher.example:443", "remote a.example.com:0443", "none ", "images a.example.com:443/a/../b", "client a.example.com:443 operations=storage,storage",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRow(s)
		if err != nil {
			if r != (Row{}) {
				t.Fatalf("%q -> %+v beside %v", s, r, err)
			}
			return
		}
		if r.String() != s || r.Kind == NoKind || !r.Covers(r) {
			t.Fatalf("%q -> %+v -> %q", s, r, r)
		}
		if r.Kind == TransitWay {
			return
		}
		if host, err := CanonicalHost(strings.TrimPrefix(r.Host, "*.")); err != nil || "*."+host != r.Host && host != r.Host || r.Port == 0 || isLiteral(host) {
			t.Fatalf("%q -> %+v", s, r)
		}
		ask := strings.Replace(r.Host, "*", "a", 1)
		if !r.Allows(r.Kind, ask, r.Port, r.Path) {
			t.Fatalf("%q does not allow itself", s)
		}
	})
}

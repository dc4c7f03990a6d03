package obfuscate

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/isogate/isogate"
)

func TestMask(t *testing.T) {
	for _, c := range []struct{ form, text, want string }{
		{"", "", "****"},
		{"", "Mia Krystof", "****"},
		{"first-4", "Mia Krystof", "Mia ****"},
		{"first-8", "Mia Krystof", "Mia K****"},
		{"first-3", "日本語テキスト", "日本語****"},
		{"first-3", "日本語", "日****"},
		{"first-1", "x", "****"},
		{"first-1", "", "****"},
		{"last-4", "4111111111114242", "****4242"},
		{"last-4", "4242", "****42"},
		{"last-4", "123", "****3"},
		{"last-2", "a🦊🐢", "****🐢"},
		{"last-1", "", "****"},
		{"first-4", "not \xff UTF-8", "****"},
		{"email", "mia.krystof.the.second@acme.org", "m****@acme.org"},
		{"email", "mia@example.com", "m****@****"},
		{"email", "me@a.b", "m****@****"},
		{"email", "m@a", "****@****"},
		{"email", "émile.zola.the.writer@acme.org", "é****@acme.org"},
		{"email", "no address", "****"},
		{"email", "@example.com", "****"},
		{"email", "mia@", "****"},
		{"email", "a@b@example.com", "****"},
	} {
		out, kind, applied, err := mustNew(t).Replace(nil, verdict(isogate.Mask, c.form), isogate.Value{Kind: isogate.String, Text: []byte(c.text)})
		if err != nil || string(out) != c.want || kind != isogate.String || applied != isogate.Mask {
			t.Errorf("%s of %q: %q, %v, %v, %v; want %q", c.form, c.text, out, kind, applied, err, c.want)
		}
	}
}

func TestMaskNumber(t *testing.T) {
	for _, c := range []struct{ form, text, want string }{
		{"last-4", "4111111111114242", "4242"},
		{"last-4", "4111111111110042", "42"},
		{"last-4", "4111111111110000", "0"},
		{"last-4", "-123456", "456"},
		{"first-3", "41111111", "4110000"},
		{"first-8", "1234", "120000"},
		{"", "1234", ""},
		{"email", "1234", ""},
		{"last-4", "7", ""},
		{"last-4", "1.25", ""},
		{"last-4", "1e25", ""},
		{"last-4", "-", ""},
		{"first-4", "007", ""},
	} {
		out, kind, applied, err := mustNew(t).Replace(nil, verdict(isogate.Mask, c.form), isogate.Value{Kind: isogate.Number, Text: []byte(c.text)})
		want, as := c.want, isogate.Mask
		if want == "" {
			want, as = "0", isogate.Redact
		}
		if err != nil || string(out) != want || kind != isogate.Number || applied != as {
			t.Errorf("%s of %s: %s, %v, %v, %v; want %s", c.form, c.text, out, kind, applied, err, want)
		}
	}
}

// Whatever the form and the value: at most half of its characters are shown.
func FuzzMask(f *testing.F) {
	for _, s := range []string{"", "a", "ab", "mia@example.com", "日本語テキスト", "\xff", "****", "a@b"} {
		f.Add(s, 3)
	}
	f.Fuzz(func(t *testing.T, s string, n int) {
		n = 1 + (n%8+8)%8
		for _, form := range []isogate.Form{{}, {Name: "email"}, {Name: "first", N: n}, {Name: "last", N: n}, {Name: "unheard of", N: n}} {
			out := string(maskText(nil, form, []byte(s)))
			if !utf8.ValidString(out) {
				t.Fatalf("%v of %q: %q is not UTF-8", form, s, out)
			}
			// What is not the mask was shown.
			shown := utf8.RuneCountInString(out) - len(hidden)
			if form.Name == "email" && strings.Contains(out, "@****") {
				shown -= len(hidden)
			}
			if out == "****@****" {
				shown = 0 // an "@" and nothing else
			}
			if half := utf8.RuneCountInString(s) / 2; shown > half {
				t.Fatalf("%v of %q: %q shows %d, more than %d", form, s, out, shown, half)
			}
		}
	})
}

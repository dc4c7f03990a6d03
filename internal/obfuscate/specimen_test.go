package obfuscate

import (
	"strings"
	"testing"

	"github.com/isogate/isogate"
)

func specimen(tb testing.TB, o *Obfuscator, text string) string {
	tb.Helper()
	out, ok := o.Specimen([]byte("x"), verdict(isogate.Seal, ""), isogate.Value{Kind: isogate.String, Text: []byte(text)})
	if !ok || out[0] != 'x' {
		tb.Fatalf("%q: no specimen", text)
	}
	return string(out[1:])
}

// TestSpecimen: the lengths are those of seals: 16 bytes of id, 12 of nonce, the
// bucket that holds age, label and value, 16 of tag.
func TestSpecimen(t *testing.T) {
	o := mustNew(t)
	room := 32 - 4 - 1 - len(email) - 1 // the value that fills the second bucket
	for _, c := range []struct {
		value  int
		bucket string
		bytes  int
	}{{0, "b", 32}, {room, "b", 32}, {room + 1, "c", 48}, {5000, "q", 6144}} {
		s := specimen(t, o, strings.Repeat("v", c.value))
		if want := 5 + ((44+c.bytes)*8+4)/5; !strings.HasPrefix(s, "igs1"+c.bucket) || len(s) != want || !IsSeal(s) {
			t.Errorf("%d bytes: %.12s…, %d characters, want %d", c.value, s, len(s), want)
		}
	}
	if a, b := specimen(t, o, "ada"), specimen(t, o, "ada"); a != b {
		t.Errorf("a specimen changes: %s, %s", a, b)
	}
	if a, b := specimen(t, o, "ada"), specimen(t, o, "bob"); a == b || len(a) != len(b) {
		t.Errorf("%s, %s", a, b)
	}
	long := isogate.Value{Kind: isogate.String, Text: make([]byte, MaxToken)}
	if out, ok := o.Specimen(nil, verdict(isogate.Seal, ""), long); ok || len(out) > 0 {
		t.Error("a specimen of what no seal holds")
	}
	if out, ok := o.Specimen(nil, labelled("ugc.title", isogate.Seal, ""), isogate.Value{}); ok || len(out) > 0 {
		t.Error("a specimen without keys")
	}
}

// A specimen is made of what a token is made of; it must not be one.
func TestASpecimenIsNotTurnedBack(t *testing.T) {
	o := mustNew(t)
	s := specimen(t, o, "ada@example.com")
	for _, text := range []string{s, "igt1" + s[4:]} {
		if v, _, err := o.Reveal(text); err == nil {
			t.Errorf("%s is turned back to %s", text, v)
		}
	}
}

func TestIsSeal(t *testing.T) {
	o := mustNew(t)
	s := specimen(t, o, "ada")
	for _, not := range []string{"", "igs1", "igs11", s[:len(s)-1], s + "a", "igt1" + s[4:], "igs1a" + s[5:], s[:20] + "1" + s[21:], " " + s, token(t, o, "ada")} {
		if IsSeal(not) {
			t.Errorf("%q passes for a seal", not)
		}
	}
}

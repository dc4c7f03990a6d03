package payload

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// TestScanRunesKnowsEveryCharacter compares with unicode/utf8 over all of
// Unicode, and over every two and three bytes that could begin a character.
func TestScanRunesKnowsEveryCharacter(t *testing.T) {
	check := func(b []byte, want fault) {
		t.Helper()
		for _, tail := range []string{"", "abcdefgh"} { // near the end, and far from it
			end, f := scanRunes(append(b[:len(b):len(b)], tail...), 0)
			if f != want || f == fine && end != len(b) {
				t.Fatalf("% x: %d, %d; want %d", b, f, end, want)
			}
		}
	}
	for r := rune(0x80); r <= utf8.MaxRune; r++ {
		b := utf8.AppendRune(nil, r)
		switch {
		case r >= 0xd800 && r < 0xe000:
			check([]byte{0xed, byte(0x80 | r>>6&0x3f), byte(0x80 | r&0x3f)}, badUTF8)
		case r >= 0xfdd0 && r <= 0xfdef || r&0xfffe == 0xfffe:
			check(b, badNonchar)
		default:
			check(b, fine)
		}
	}
	for pair, want := range map[string]fault{"ああ": fine, "あああ": fine, "あ\xed\xa0\x80": badUTF8, "あ\xe0\x80\x80": badUTF8, "あ\uffff": badNonchar, "あ\ufdd0あ": badNonchar, "あé𝄞": fine} {
		check([]byte(pair), want)
	}
	for lead := 0x80; lead < 0x100; lead++ {
		for second := range 0x100 {
			for _, rest := range []string{"", "\x80", "\x80\x80", "\xbf\xbd", "a", "\x80a"} {
				b := append([]byte{byte(lead), byte(second)}, rest...)
				b = append(b, "zzzzzzzz"...)
				_, f := scanRunes(b, 0)
				r, n := utf8.DecodeRune(b)
				if bad := r == utf8.RuneError && n == 1; bad != (f == badUTF8) {
					// What follows a good character may be bad.
					if _, m := utf8.DecodeRune(b[n:]); !bad && m == 1 && b[n] >= 0x80 {
						continue
					}
					t.Fatalf("% x: %d, utf8: %v", b[:6], f, bad)
				}
			}
		}
	}
}

// TestScanEscapesKnowsEveryUnit has every \\u escape, alone and as half of a pair.
func TestScanEscapesKnowsEveryUnit(t *testing.T) {
	const hex = "0123456789aBcDeF"
	escape := func(u int) string {
		return `\u` + string([]byte{hex[u>>12], hex[u>>8&15], hex[u>>4&15], hex[u&15]})
	}
	for u := range 0x10000 {
		want := fine
		switch {
		case u >= 0xd800 && u < 0xe000:
			want = badSurrogate
		case u >= 0xfdd0 && u <= 0xfdef || u >= 0xfffe:
			want = badNonchar
		}
		if _, f := scanEscapes([]byte(escape(u)+"zzzzzzzz"), 0); f != want {
			t.Fatalf("%s: %d, not %d", escape(u), f, want)
		}
	}
	for high := 0xd800; high < 0xdc00; high++ {
		for low := 0xdc00; low < 0xe000; low += 1 + (high%7)*31 {
			want := fine
			if r := 0x10000 + (high-0xd800)<<10 + low - 0xdc00; r&0xfffe == 0xfffe {
				want = badNonchar
			}
			if end, f := scanEscapes([]byte(escape(high)+escape(low)), 0); f != want || f == fine && end != 12 {
				t.Fatalf("%s%s: %d, not %d", escape(high), escape(low), f, want)
			}
		}
	}
	for c := range 0x100 {
		_, f := scanEscapes([]byte{'\\', byte(c), 'z', 'z', 'z', 'z', 'z'}, 0)
		if ok := f == fine; ok != (strings.IndexByte(`"\/bfnrt`, byte(c)) >= 0) {
			t.Fatalf("escape of %q: %d", byte(c), f)
		}
		for at := 2; at < 6; at++ {
			b := []byte(`\u0041zz`)
			b[at] = byte(c)
			_, f := scanEscapes(b, 0)
			if isHex := strings.IndexByte("0123456789abcdefABCDEF", byte(c)) >= 0; (f == badEscape) == isHex {
				t.Fatalf("%q: %d", b, f)
			}
		}
	}
}

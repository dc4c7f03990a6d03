package obfuscate

import (
	"bytes"
	"encoding/base32"
	"testing"
)

var peer32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

func FuzzBase32(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("foobar"))
	f.Add(bytes.Repeat([]byte{0xff}, 41))
	f.Fuzz(func(t *testing.T, b []byte) {
		got := AppendBase32([]byte("x"), b)
		if want := "x" + peer32.EncodeToString(b); string(got) != want {
			t.Fatalf("%x: %s, want %s", b, got, want)
		}
		if len(got)-1 != Base32Len(len(b)) || decodedLen(len(got)-1) != len(b) {
			t.Fatalf("%d bytes make %d characters and back %d", len(b), Base32Len(len(b)), decodedLen(len(got)-1))
		}
		for _, text := range [][]byte{got[1:], bytes.ToUpper(got[1:])} {
			back, ok := DecodeBase32(nil, text)
			if !ok || !bytes.Equal(back, b) {
				t.Fatalf("%s: %x, %v", text, back, ok)
			}
		}
		// Whatever decodes at all is spelled the one way there is.
		if back, ok := DecodeBase32(nil, b); ok {
			if again := AppendBase32(nil, back); !bytes.EqualFold(again, b) {
				t.Fatalf("%q and %q mean the same", b, again)
			}
		}
	})
}

func TestDecodeBase32Refuses(t *testing.T) {
	for s, why := range map[string]string{
		"a": "one character holds no byte", "aaa": "three hold no whole number of bytes", "aaaaaa": "nor do six",
		"mz": "a low bit of the last character is set", "my=": "padding", "m1": "1 is not of the alphabet", "m y": "nor is a space",
		"my8aaaaa": "nor is 8", "mzxw\u00e9": "nor is é",
	} {
		if b, ok := DecodeBase32(nil, []byte(s)); ok {
			t.Errorf("%q was decoded to %x, but: %s", s, b, why)
		}
	}
}

func TestBase32Run(t *testing.T) {
	for s, want := range map[string]int{"": 0, "abc": 3, "aZ27": 4, "ab1c": 2, "0": 0, "ab8": 2, "ab9": 2, "é": 0} {
		if got := Base32Run([]byte(s)); got != want {
			t.Errorf("%q: %d, want %d", s, got, want)
		}
	}
}

package obfuscate

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// What a sieve has handed on does not stay in the array that it uses again, and
// nothing at all once it is wiped.
func TestSieveForgets(t *testing.T) {
	var arrays [][]byte
	s := NewSieve(&pieces{src: []byte("one, two"), size: func() int { return 5 }}, func(dst, src []byte, _ bool) ([]byte, int) {
		if old := dst[:cap(dst)]; bytes.Contains(old, []byte("secret")) {
			t.Errorf("a scan was given %q", old)
		}
		out := append(dst, "secret of "...)
		out = append(out, src...)
		arrays = append(arrays, out)
		return out, len(src)
	})
	b := make([]byte, 100)
	for range 2 {
		if n, err := s.Read(b); err != nil || !bytes.HasPrefix(b[:n], []byte("secret of ")) {
			t.Fatalf("%q, %v", b[:n], err)
		}
	}
	gone := errors.New("gone")
	s.Wipe(gone)
	for _, a := range arrays {
		if bytes.Contains(a[:cap(a)], []byte("secret")) {
			t.Errorf("after Wipe: %q", a)
		}
	}
	if n, err := s.Read(b); n != 0 || !errors.Is(err, gone) {
		t.Error(n, err)
	}
	if n, err := io.ReadFull(s, b); n != 0 || !errors.Is(err, gone) {
		t.Error(n, err)
	}
}

package seal

import (
	"bytes"
	"testing"
)

func TestUnder(t *testing.T) {
	w, key, got := &[32]byte{1}, &[32]byte{2}, &[32]byte{3}
	wrapped, err := WrapUnder([]byte("x"), w, key, []byte("what for"))
	if err != nil {
		t.Fatal(err)
	}
	again, _ := WrapUnder(nil, w, key, []byte("what for"))
	if wrapped = wrapped[1:]; bytes.Equal(wrapped, again) || bytes.Contains(wrapped, key[:]) {
		t.Error("wrapping the same key twice gave the same bytes, or the key itself")
	}
	if err := UnwrapUnder(w, got, wrapped, []byte("what for")); err != nil || *got != *key {
		t.Errorf("got %x, %v", got[:], err)
	}
	for i := range wrapped {
		bad := bytes.Clone(wrapped)
		bad[i] ^= 1
		if err := UnwrapUnder(w, got, bad, []byte("what for")); err == nil || *got != [32]byte{} {
			t.Errorf("byte %d changed: got %x, %v", i, got[:], err)
		}
	}
	for name, try := range map[string]error{
		"other w":   UnwrapUnder(&[32]byte{9}, got, wrapped, []byte("what for")),
		"other aad": UnwrapUnder(w, got, wrapped, []byte("what fo")),
		"cut":       UnwrapUnder(w, got, wrapped[:len(wrapped)-1], []byte("what for")),
		"nothing":   UnwrapUnder(w, got, nil, []byte("what for")),
	} {
		if try == nil || *got != [32]byte{} {
			t.Errorf("%s: it opened", name)
		}
	}
}

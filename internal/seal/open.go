package seal

import (
	"crypto/cipher"
	"encoding/binary"
	"slices"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/obfuscate"
)

// plainHead is what stands before label and value in a seal: the age in
// milliseconds (4 bytes) and the length of the label (1).
const plainHead = 4 + 1

// OpenKey opens one decoded seal under key, which may lie outside the Go heap and
// of which no copy and no key schedule stays behind. C is the key's context. Raw is
// the seal decoded, as [Opener] is given it; it is not changed. The value is
// appended to scratch[:0]: with the capacity that [Opener] is given nothing is
// allocated for it, and where it is wiped is the caller's to choose.
//
// It does not say whether the value may still be seen: see [Opened.Age].
func OpenKey(key *[32]byte, c *Context, raw, scratch []byte) (Opened, error) {
	if len(raw) < len(ID{}) {
		return Opened{}, errDamaged
	}
	gcm, err := newGCM(key)
	if err != nil {
		return Opened{}, err
	}
	defer wipeGCM(gcm)
	// What the seal is bound to stands behind the value, where there is room.
	var aad []byte
	if end := max(0, len(raw)-headSize-tagSize); cap(scratch) >= end+maxContext {
		aad = scratch[end:end:cap(scratch)]
	} else {
		aad = make([]byte, 0, maxContext)
	}
	return openRaw(gcm, append(c.append(aad), raw[:len(ID{})]...), raw, scratch)
}

// openRaw opens a decoded seal. Aad is the context and the ID of the key.
//
// promise: P38 — a seal is bound to tenant, destination, transit, session and label.
func openRaw(gcm cipher.AEAD, aad, raw, scratch []byte) (Opened, error) {
	if len(raw) < headSize+tagSize {
		return Opened{}, errDamaged
	}
	nonce := raw[len(ID{}):headSize]
	scratch = slices.Grow(scratch[:0], len(raw)-headSize-tagSize)
	p, err := gcm.Open(scratch, nonce, raw[headSize:], aad)
	if err != nil {
		return Opened{}, errDamaged
	}
	o, ok := parsePlain(p)
	if !ok {
		// Whoever has the key has made a seal that no gateway makes.
		clear(p)
		return Opened{}, errDamaged
	}
	o.Request = binary.BigEndian.Uint64(nonce)
	if o.Request == 0 {
		clear(p)
		return Opened{}, errDamaged
	}
	return o, nil
}

// parsePlain takes a decrypted seal apart. It is strict: of what is inside, some
// is written into pages without escaping.
func parsePlain(p []byte) (Opened, bool) {
	p, kind, ok := obfuscate.Unpad(p)
	if !ok || len(p) < plainHead || len(p) < plainHead+int(p[4]) {
		return Opened{}, false
	}
	age := time.Duration(binary.BigEndian.Uint32(p)) * time.Millisecond
	label, value := p[plainHead:plainHead+int(p[4])], p[plainHead+int(p[4]):]
	l, err := isogate.ParseLabel(string(label))
	if err != nil {
		return Opened{}, false
	}
	switch kind {
	case isogate.Bool:
		ok = string(value) == "true" || string(value) == "false"
	case isogate.Number:
		ok = isNumber(value)
	}
	return Opened{Label: l, Kind: kind, Value: value, Age: age}, ok
}

// isNumber reports whether s is a number of JSON (RFC 8259 §6).
func isNumber(s []byte) bool {
	digits := func() bool {
		n := 0
		for n < len(s) && s[n] >= '0' && s[n] <= '9' {
			n++
		}
		s = s[n:]
		return n > 0
	}
	if len(s) > 0 && s[0] == '-' {
		s = s[1:]
	}
	if len(s) > 0 && s[0] == '0' {
		s = s[1:]
	} else if !digits() {
		return false
	}
	if len(s) > 0 && s[0] == '.' {
		if s = s[1:]; !digits() {
			return false
		}
	}
	if len(s) > 0 && s[0]|0x20 == 'e' {
		if s = s[1:]; len(s) > 0 && (s[0] == '+' || s[0] == '-') {
			s = s[1:]
		}
		if !digits() {
			return false
		}
	}
	return len(s) == 0
}

// Parse reads one seal that is all of text, in any case of letters: the ID of its
// key, and the seal decoded.
func Parse(text []byte) (id ID, raw []byte, ok bool) {
	if !hasPrefix(text) || len(text) <= len(prefix) {
		return ID{}, nil, false
	}
	bucket, ok := obfuscate.BucketOf(text[len(prefix)])
	if !ok || len(text) != textLen(bucket) {
		return ID{}, nil, false
	}
	raw, ok = obfuscate.DecodeBase32(make([]byte, 0, rawLen(bucket)), text[len(prefix)+1:])
	if !ok {
		return ID{}, nil, false
	}
	return ID(raw), raw, true
}

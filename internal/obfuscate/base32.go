package obfuscate

import "encoding/binary"

// The alphabet of RFC 4648 §6 in lower case: a-z 2-7, no padding. The digits 0,
// 1, 8 and 9 are not in it, which is why a version digit out of them ends every
// prefix: a run of base32 never reaches over the beginning of the next token.

// Base32Len is how many characters n bytes make as base32.
func Base32Len(n int) int { return (n*8 + 4) / 5 }

// decodedLen is how many whole bytes n characters hold.
func decodedLen(n int) int { return n * 5 / 8 }

// AppendBase32 appends src in the alphabet of all replacements: RFC 4648 §6 in
// lower case, without padding. Unused low bits of the last character are zero.
func AppendBase32(dst, src []byte) []byte {
	var text [8]byte
	for len(src) >= 8 {
		// Five bytes are used of the eight that one load takes.
		binary.BigEndian.PutUint64(text[:], spread(binary.BigEndian.Uint64(src)>>24))
		dst = append(dst, text[:]...)
		src = src[5:]
	}
	for len(src) > 0 {
		var five [8]byte
		n := copy(five[3:], src[:min(5, len(src))])
		binary.BigEndian.PutUint64(text[:], spread(binary.BigEndian.Uint64(five[:])))
		dst = append(dst, text[:Base32Len(n)]...)
		src = src[n:]
	}
	return dst
}

// spread turns the low 40 bits of x into eight characters, all at once.
func spread(x uint64) uint64 {
	x = x>>20&0xfffff<<32 | x&0xfffff
	x = x>>10&0x3ff000003ff<<16 | x&0x3ff000003ff
	x = x>>5&0x1f001f001f001f<<8 | x&0x1f001f001f001f
	// 0 to 25 become a to z; from 26 on, bit 7 of v+102 is set and 2 to 7 result.
	digit := (x + 0x6666666666666666) >> 7 & 0x0101010101010101
	return x + 0x6161616161616161 - digit*('a'-'2'+26)
}

// notBase32 marks a byte that is no character of the alphabet.
const notBase32 = 0xff

// base32Value returns the five bits of one character, upper case or lower case.
func base32Value(c byte) byte {
	switch {
	case c >= 'a' && c <= 'z':
		return c - 'a'
	case c >= 'A' && c <= 'Z':
		return c - 'A'
	case c >= '2' && c <= '7':
		return c - '2' + 26
	}
	return notBase32
}

// Base32Run returns how many bytes at the beginning of s are of the alphabet, in any case of letters.
func Base32Run(s []byte) int {
	for i, c := range s {
		if base32Value(c) == notBase32 {
			return i
		}
	}
	return len(s)
}

// DecodeBase32 appends the bytes that text spells. It reports false for a
// character outside the alphabet and for any spelling but the one that
// AppendBase32 would have written (upper case apart).
func DecodeBase32(dst, text []byte) ([]byte, bool) {
	var acc uint64
	bits := 0
	for _, c := range text {
		v := base32Value(c)
		if v == notBase32 {
			return dst, false
		}
		acc = acc<<5 | uint64(v)
		if bits += 5; bits >= 8 {
			bits -= 8
			dst = append(dst, byte(acc>>bits)) //nolint:gosec // the low eight bits are meant
		}
	}
	return dst, bits < 5 && acc&(1<<bits-1) == 0
}

package payload

import (
	"encoding/binary"
	"math/bits"
	"strconv"
)

// fault is what a scanner stopped at.
type fault uint8

const (
	fine     fault = iota
	cutShort       // the bytes at hand end first
	badControl
	badEscape
	badUTF8
	badSurrogate
	badNonchar
	badNumber
	badRange
)

var faultReasons = [...]string{
	badControl:   "a string has a control character that is not escaped",
	badEscape:    "a string has an escape that JSON does not know",
	badUTF8:      "a string is not valid UTF-8",
	badSurrogate: "a string has a surrogate without its other half",
	badNonchar:   "a string has a noncharacter, which I-JSON forbids",
	badNumber:    "a number is not spelled as JSON demands",
	badRange:     "a number is too large for a float64, which I-JSON forbids",
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// special8 marks, by the top bit of its byte, each of eight bytes that may not
// simply be passed over in a string: quote, backslash, control characters and
// what is not ASCII. Marks above the lowest may be wrong, for subtractions borrow.
func special8(x uint64) uint64 {
	quote := x ^ '"'*ones
	slash := x ^ '\\'*ones
	return ((quote-ones)&^quote | (slash-ones)&^slash | (x-' '*ones)&^x | x) & highs
}

// scanString goes from b[i], inside a string, to its closing quote and returns
// where that is, and whether there are escapes on the way. On cutShort the
// returned index is where to go on once there are more bytes; on a fault, where
// the offending character begins.
func scanString(b []byte, i int) (end int, escaped bool, f fault) {
	for {
		for len(b)-i >= 8 {
			m := special8(binary.LittleEndian.Uint64(b[i:]))
			if m != 0 {
				i += bits.TrailingZeros64(m) >> 3
				goto special
			}
			i += 8
		}
		for i < len(b) && b[i] >= ' ' && b[i] < 0x80 && b[i] != '"' && b[i] != '\\' {
			i++
		}
		if i >= len(b) {
			return i, escaped, cutShort
		}
	special:
		switch c := b[i]; {
		case c == '"':
			return i, escaped, fine
		case c == '\\':
			escaped = true
			var f fault
			if i, f = scanEscapes(b, i); f != fine {
				return i, escaped, f
			}
		case c < ' ':
			return i, escaped, badControl
		default:
			var f fault
			if i, f = scanRunes(b, i); f != fine {
				return i, escaped, f
			}
		}
	}
}

// scanRunes passes over characters outside ASCII. Those that are well formed and
// no noncharacters are told by their bits at once; scanRune says what is wrong
// with the others, and sees to those near the end of b.
func scanRunes(b []byte, i int) (int, fault) {
	for i < len(b) && b[i] >= 0x80 {
		if len(b)-i >= 8 {
			x := binary.LittleEndian.Uint64(b[i:])
			switch {
			case x&0xc0c0f0 == 0x8080e0 && threeBytes(x):
				i += 3
				if x >>= 24; x&0xc0c0f0 == 0x8080e0 && threeBytes(x) {
					i += 3
				}
				continue
			case x&0xc0e0 == 0x80c0 && x&0x1e != 0: // from 0xC2
				i += 2
				continue
			case x&0xc0c0c0f8 == 0x808080f0 && fourBytes(x):
				i += 4
				continue
			}
		}
		n, f := scanRune(b[i:])
		if f != fine {
			return i, f
		}
		i += n
	}
	return i, fine
}

// threeBytes reports whether the three lowest bytes of x, which have the bits of
// a character, are not an overlong form, a surrogate or possibly a noncharacter.
func threeBytes(x uint64) bool {
	switch x & 0x0f {
	case 0x0:
		return x&0x2000 != 0
	case 0xd:
		return x&0x2000 == 0
	case 0xf:
		return x&0xff00 != 0xb700 && x&0xff00 != 0xbf00
	}
	return true
}

// fourBytes reports whether the four lowest bytes of x, which have the bits of a
// character, are not an overlong form, above U+10FFFF or a noncharacter.
func fourBytes(x uint64) bool {
	switch x & 0x07 {
	case 0:
		if x&0x3000 == 0 {
			return false
		}
	case 1, 2, 3:
	case 4:
		if x&0x3000 != 0 {
			return false
		}
	default:
		return false
	}
	return x&0xfeff0f00 != 0xbebf0f00
}

// scanEscapes passes over escapes that follow one another.
func scanEscapes(b []byte, i int) (int, fault) {
	for i < len(b) && b[i] == '\\' {
		if len(b)-i >= 6 {
			switch c := b[i+1]; {
			case shortEscapes[c]:
				i += 2
				continue
			case c == 'u':
				h0, h1 := uint32(hexDigits[b[i+2]]), uint32(hexDigits[b[i+3]])
				h2, h3 := uint32(hexDigits[b[i+4]]), uint32(hexDigits[b[i+5]])
				if u := h0<<12 | h1<<8 | h2<<4 | h3; u < 0xd800 && h1|h2|h3 <= 15 { // h0 too, or u would be larger
					i += 6
					continue
				}
			}
		}
		n, f := scanEscape(b[i:])
		if f != fine {
			return i, f
		}
		i += n
	}
	return i, fine
}

// shortEscapes marks what may follow a backslash and is the whole escape.
var shortEscapes = [256]bool{'"': true, '\\': true, '/': true, 'b': true, 'f': true, 'n': true, 'r': true, 't': true}

// scanRune checks one character outside ASCII by the table of well-formed byte
// sequences (Unicode 17, table 3-7) and returns its length.
func scanRune(b []byte) (int, fault) {
	c := b[0]
	size, lo, hi := 2, byte(0x80), byte(0xbf)
	switch {
	case c < 0xc2 || c > 0xf4:
		return 0, badUTF8
	case c < 0xe0:
	case c < 0xf0:
		size = 3
		if c == 0xe0 {
			lo = 0xa0
		} else if c == 0xed {
			hi = 0x9f
		}
	default:
		size = 4
		if c == 0xf0 {
			lo = 0x90
		} else if c == 0xf4 {
			hi = 0x8f
		}
	}
	for j := 1; j < size; j++ {
		if j >= len(b) {
			return 0, cutShort
		}
		if b[j] < lo || b[j] > hi {
			return 0, badUTF8
		}
		lo, hi = 0x80, 0xbf
	}
	switch {
	case size == 3 && c == 0xef && (b[1] == 0xbf && b[2] >= 0xbe || b[1] == 0xb7 && b[2] >= 0x90 && b[2] <= 0xaf):
		return 0, badNonchar // U+FFFE, U+FFFF, U+FDD0 to U+FDEF
	case size == 4 && b[1]&0x0f == 0x0f && b[2] == 0xbf && b[3] >= 0xbe:
		return 0, badNonchar // the last two of each further plane
	}
	return size, fine
}

// scanEscape checks the escape that b begins with and returns its length.
func scanEscape(b []byte) (int, fault) {
	if len(b) < 2 {
		return 0, cutShort
	}
	switch {
	case shortEscapes[b[1]]:
		return 2, fine
	case b[1] != 'u':
		return 0, badEscape
	}
	u, f := hex4(b[2:])
	switch {
	case f != fine:
		return 0, f
	case u >= 0xdc00 && u < 0xe000:
		return 0, badSurrogate
	case u >= 0xd800 && u < 0xdc00:
		if len(b) < 8 {
			// What is here may already show that the other half does not follow.
			if len(b) > 6 && b[6] != '\\' {
				return 0, badSurrogate
			}
			return 0, cutShort
		}
		if b[6] != '\\' || b[7] != 'u' {
			return 0, badSurrogate
		}
		low, f := hex4(b[8:])
		switch {
		case f != fine:
			return 0, f
		case low < 0xdc00 || low >= 0xe000:
			return 0, badSurrogate
		case low&0x3fe == 0x3fe && u&0x3f == 0x3f:
			return 0, badNonchar
		}
		return 12, fine
	case u >= 0xfffe || u >= 0xfdd0 && u <= 0xfdef:
		return 0, badNonchar
	}
	return 6, fine
}

// hex4 reads four hexadecimal digits.
func hex4(b []byte) (uint32, fault) {
	var u uint32
	for j := range 4 {
		if j >= len(b) {
			return 0, cutShort
		}
		h := hexDigits[b[j]] //nolint:gosec // it has a place for every byte
		if h > 15 {
			return 0, badEscape
		}
		u = u<<4 | uint32(h)
	}
	return u, fine
}

// hexDigits is the worth of each byte as a hexadecimal digit; 0xff is none.
var hexDigits = func() (t [256]byte) {
	for c := range t {
		t[c] = 0xff
	}
	for v, c := range "0123456789abcdef" {
		t[c] = byte(v)
	}
	for v, c := range "ABCDEF" {
		t[c] = byte(10 + v)
	}
	return t
}()

// scanNumber goes from b[i], the first byte of a number, to the byte after it.
// Unless b is the last of the body, a number that reaches its end is cutShort.
func scanNumber(b []byte, i int, last bool) (end int, f fault) {
	start, exp := i, 0
	if b[i] == '-' {
		i++
	}
	digits := i
	if i = skipDigits(b, i); i == digits {
		return i, endOr(i, b, last)
	}
	if b[digits] == '0' {
		i = digits + 1 // what follows the zero is not of the number
	}
	if i < len(b) && b[i] == '.' {
		digits = i + 1
		if i = skipDigits(b, digits); i == digits {
			return i, endOr(i, b, last)
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		exp = i
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		digits = i
		if i = skipDigits(b, i); i == digits {
			return i, endOr(i, b, last)
		}
	}
	if i == len(b) && !last {
		return i, cutShort
	}
	// Without an exponent of three digits only a very long number can be out of range.
	if (i-start > 200 || exp > 0 && i-digits > 2) && !inRange(b[start:i], exp-start) {
		return i, badRange
	}
	return i, fine
}

// skipDigits returns the index of the first byte from i on that is no digit.
func skipDigits(b []byte, i int) int {
	for len(b)-i >= 8 {
		x := binary.LittleEndian.Uint64(b[i:]) ^ '0'*ones
		if m := (x + 6*ones | x) & 0xf0f0f0f0f0f0f0f0; m != 0 {
			return i + bits.TrailingZeros64(m)>>3
		}
		i += 8
	}
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	return i
}

// endOr tells a number whose next digit is not at hand from one that has none.
func endOr(i int, b []byte, last bool) fault {
	if i == len(b) && !last {
		return cutShort
	}
	return badNumber
}

// inRange reports whether a number's magnitude fits a float64; exp is where its
// exponent begins, not positive for none.
func inRange(num []byte, exp int) bool {
	// The decimal exponent of the leading digit decides unless it is 308.
	mantissa, e := num, 0
	if exp > 0 {
		mantissa = num[:exp-1]
		digits, neg := num[exp:], false
		if digits[0] == '+' || digits[0] == '-' {
			neg = digits[0] == '-'
			digits = digits[1:]
		}
		for _, c := range digits {
			if e = 10*e + int(c-'0'); e > 1<<30 {
				e = 1 << 30 // far beyond what the mantissa's length could outweigh
			}
		}
		if neg {
			e = -e
		}
	}
	point, lead := len(mantissa), -1
	for j, c := range mantissa {
		switch {
		case c == '.':
			point = j
		case c > '0' && lead < 0:
			lead = j
		}
	}
	if lead < 0 {
		return true // zero, whatever its exponent
	}
	e += point - lead
	if lead < point {
		e--
	}
	if e != 308 {
		return e < 308
	}
	_, err := strconv.ParseFloat(string(num), 64)
	return err == nil
}

// spaces marks JSON's white space.
var spaces = [256]bool{' ': true, '\n': true, '\r': true, '\t': true}

// skipSpace returns the index of the first byte from i on that is not white space.
func skipSpace(b []byte, i int) int {
	for i < len(b) && spaces[b[i]] {
		i++
		for len(b)-i >= 8 { // indentation
			x := binary.LittleEndian.Uint64(b[i:]) ^ ' '*ones
			if x != 0 {
				i += bits.TrailingZeros64(x) >> 3
				break
			}
			i += 8
		}
	}
	return i
}

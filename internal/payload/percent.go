package payload

import "unicode/utf8"

// formBytes marks the bytes that may stand in a form or query as they are, apart
// from % + & and =. Left out are those that receivers are known to read in
// different ways, ";" before all, and those that no encoder leaves.
var formBytes = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = true, true
	}
	for _, c := range "-._~!$'()*,:@/?[]=" {
		t[c] = true
	}
	return t
}()

// appendDecoded appends the text of a name or value. On failure bad is the index
// of what cannot be read, and reason why; otherwise reason is empty.
func appendDecoded(dst, raw []byte) (out []byte, bad int, reason string) {
	start := len(dst)
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '+':
			dst = append(dst, ' ')
		case c == '%':
			if len(raw)-i < 3 || hexDigits[raw[i+1]] > 15 || hexDigits[raw[i+2]] > 15 {
				return dst, i, "a percent sign is not followed by two hexadecimal digits"
			}
			c = hexDigits[raw[i+1]]<<4 | hexDigits[raw[i+2]]
			if c == 0 {
				return dst, i, "an encoded NUL, at which some receivers stop reading"
			}
			dst = append(dst, c)
			i += 2
		case c == ';':
			return dst, i, "a semicolon, which some receivers take for a separator; encode it as %3B"
		case !formBytes[c]:
			return dst, i, "a character that must be percent-encoded"
		default:
			dst = append(dst, c)
		}
	}
	if !utf8.Valid(dst[start:]) {
		return dst, 0, "text that is not valid UTF-8"
	}
	return dst, 0, ""
}

// appendEncoded appends a text as any receiver of a form or query reads it:
// everything but letters, digits and - . _ ~ percent-encoded.
func appendEncoded(dst, text []byte) []byte {
	const hex = "0123456789ABCDEF"
	for _, c := range text {
		switch {
		case c >= '0' && c <= '9', c|0x20 >= 'a' && c|0x20 <= 'z', c == '-', c == '.', c == '_', c == '~':
			dst = append(dst, c)
		default:
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		}
	}
	return dst
}

package obfuscate

import "slices"

// An e-mail-shaped token is a token broken over an address that every validator
// takes: the first 64 characters are the local part (RFC 5321 §4.5.3.1.1), the
// rest is labels of at most 63 characters before the domain.
//
//	igt1b…64 characters…@…the rest…isogate.invalid
const (
	maxLocal   = 64
	maxPart    = 63
	maxAddress = 254 // RFC 5321 §4.5.3.1.3, less the angle brackets
)

// emailLen is how long the address of a token of n characters is.
func (o *Obfuscator) emailLen(n int) int {
	parts := (max(n-maxLocal, 0) + maxPart - 1) / maxPart
	return n + 1 + parts + len(o.domain)
}

// appendEmail breaks text over an address.
func (o *Obfuscator) appendEmail(dst, text []byte) []byte {
	dst = slices.Grow(dst, o.emailLen(len(text)))
	n := min(maxLocal, len(text))
	dst = append(dst, text[:n]...)
	dst = append(dst, '@')
	for text = text[n:]; len(text) > 0; text = text[n:] {
		n = min(maxPart, len(text))
		dst = append(dst, text[:n]...)
		dst = append(dst, '.')
	}
	return append(dst, o.domain...)
}

// joinEmail reads an address whose local part has n characters before its "@",
// as appendEmail wrote it for a token of want characters. It returns the
// token's characters, in buf, and the length of the address. More is true when
// src ends before that can be said.
func (o *Obfuscator) joinEmail(buf, src []byte, want int, esc Escape) (text []byte, length int, more, ok bool) {
	n := min(maxLocal, want)
	text = append(buf[:0], src[:n]...)
	at, more := atSign(src[n:], esc)
	if at == 0 {
		return text, 0, more, false
	}
	length = n + at
	for want > len(text) {
		n = min(maxPart, want-len(text))
		rest := src[length:]
		if run := Base32Run(rest[:min(n, len(rest))]); run < n {
			return text, 0, run == len(rest), false
		}
		if len(rest) == n {
			return text, 0, true, false
		}
		if rest[n] != '.' {
			return text, 0, false, false
		}
		text = append(text, rest[:n]...)
		length += n + 1
	}
	rest := src[length:]
	for i := range len(o.domain) {
		if i == len(rest) {
			return text, 0, true, false
		}
		if lower(rest[i]) != o.domain[i] {
			return text, 0, false, false
		}
	}
	return text, length + len(o.domain), false, true
}

// atSign returns how many bytes at the beginning of src stand for "@", in any
// of the spellings that an escaping has for it; more says that src is too short
// to tell.
func atSign(src []byte, esc Escape) (n int, more bool) {
	if len(src) == 0 {
		return 0, true
	}
	if src[0] == '@' {
		return 1, false
	}
	for _, spelling := range atSpellings[esc] {
		for i := range len(spelling) {
			if i == len(src) {
				return 0, true
			}
			if lower(src[i]) != spelling[i] {
				break
			}
			if i == len(spelling)-1 {
				return len(spelling), false
			}
		}
	}
	return 0, false
}

// atSpellings are in lower case.
var atSpellings = [...][]string{
	Plain: nil,
	JSON:  {`\u0040`},
	HTML:  {"&#64;", "&#x40;", "&commat;"},
	URL:   {"%40"},
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

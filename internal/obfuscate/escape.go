package obfuscate

import "unicode/utf8"

// Escape says how an original is written into the text that its token stood in.
type Escape uint8

const (
	// Plain writes it as it is.
	Plain Escape = iota
	// JSON writes it into a string of JSON (RFC 8259 §7).
	JSON
	// HTML writes it into HTML text or a quoted attribute.
	HTML
	// URL writes it into a path, query or form, percent-encoding everything but
	// the unreserved characters (RFC 3986 §2.3).
	URL
)

const (
	lowerHex = "0123456789abcdef"
	upperHex = "0123456789ABCDEF"
)

// maxEscaped is how many bytes one byte of a value becomes at the most (\u0001).
const maxEscaped = 6

// append appends value, and reports false if it cannot be written. Quoted says,
// of JSON, that the place stands behind an escaped quote: the string may hold
// JSON itself, in which one escaping would be too few, or plain text, in which
// two would be too many, so that only what needs none is written.
func (e Escape) append(dst, value []byte, quoted bool) ([]byte, bool) {
	switch e {
	case JSON:
		return appendJSON(dst, value, quoted)
	case HTML:
		return appendHTML(dst, value), true
	case URL:
		return appendURL(dst, value), true
	default:
		return append(dst, value...), true
	}
}

func appendJSON(dst, value []byte, quoted bool) ([]byte, bool) {
	if !utf8.Valid(value) {
		return dst, false
	}
	for _, c := range value {
		if c >= ' ' && c != '"' && c != '\\' {
			dst = append(dst, c)
			continue
		}
		if quoted {
			return dst, false
		}
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, `\n`...)
		case '\r':
			dst = append(dst, `\r`...)
		case '\t':
			dst = append(dst, `\t`...)
		default:
			dst = append(dst, '\\', 'u', '0', '0', lowerHex[c>>4], lowerHex[c&15])
		}
	}
	return dst, true
}

func appendHTML(dst, value []byte) []byte {
	for _, c := range value {
		switch c {
		case '&':
			dst = append(dst, "&amp;"...)
		case '<':
			dst = append(dst, "&lt;"...)
		case '>':
			dst = append(dst, "&gt;"...)
		case '"':
			dst = append(dst, "&#34;"...)
		case '\'':
			dst = append(dst, "&#39;"...)
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

func appendURL(dst, value []byte) []byte {
	for _, c := range value {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.', c == '_', c == '~':
			dst = append(dst, c)
		default:
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return dst
}

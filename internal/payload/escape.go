package payload

import (
	"encoding/binary"
	"unicode/utf8"
)

// appendUnescaped appends the text that a string spells; raw has been scanned.
func appendUnescaped(dst, raw []byte) []byte {
	for i := 0; i < len(raw); {
		c := raw[i]
		if c != '\\' {
			start := i
			for i < len(raw) && raw[i] != '\\' {
				i++
			}
			dst = append(dst, raw[start:i]...)
			continue
		}
		switch c = raw[i+1]; c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			u, _ := hex4(raw[i+2:])
			i += 6
			if u >= 0xd800 && u < 0xdc00 {
				low, _ := hex4(raw[i+2:])
				u = 0x10000 + (u-0xd800)<<10 + (low - 0xdc00)
				i += 6
			}
			dst = utf8.AppendRune(dst, rune(u)) //nolint:gosec // at most U+10FFFF
			continue
		}
		dst = append(dst, c)
		i += 2
	}
	return dst
}

// appendEscaped appends a text as JSON writes it between quotes.
func appendEscaped(dst, text []byte) []byte {
	start := 0
	for i, c := range text {
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, text[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			const hex = "0123456789abcdef"
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(dst, text[start:]...)
}

// plainText reports whether a text is ASCII that JSON writes without escapes.
func plainText(text []byte) bool {
	i := 0
	for ; len(text)-i >= 8; i += 8 {
		if special8(binary.LittleEndian.Uint64(text[i:])) != 0 {
			return false
		}
	}
	for ; i < len(text); i++ {
		if c := text[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// validText reports whether a text may stand in a string of I-JSON.
func validText(text []byte) bool {
	for i := 0; i < len(text); {
		if text[i] < utf8.RuneSelf {
			i++
			continue
		}
		n, f := scanRune(text[i:])
		if f != fine {
			return false
		}
		i += n
	}
	return true
}

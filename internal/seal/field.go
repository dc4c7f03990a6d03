package seal

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// The fields between gateway and landing side are lists of RFC 9651 whose members
// are strings with parameters. No value that we write has a comma or a semicolon in
// it (a display string has them percent-encoded), so a member can be cut out
// without reading it. Each parser writes what it read again and compares: of all
// that RFC 9651 allows, only our own spelling is taken.

type param struct{ name, value string }

// splitMembers cuts field lines, of at most limit bytes together, into members.
// No lines, and empty ones, have none (RFC 9651 §4.2).
func splitMembers(lines []string, limit int) ([]string, error) {
	var out []string
	size := 0
	for _, line := range lines {
		if size += len(line); size > limit {
			return nil, fmt.Errorf("is longer than %d bytes", limit)
		}
		if strings.Trim(line, " ") == "" {
			continue
		}
		for m := range strings.SplitSeq(line, ",") {
			if m = strings.Trim(m, " \t"); m == "" {
				return nil, errors.New("has an empty member")
			}
			out = append(out, m)
		}
	}
	return out, nil
}

// maxParams is more parameters than any member has.
const maxParams = 16

func splitParams(m string) (item string, params []param, err error) {
	item, rest, more := strings.Cut(m, ";")
	for more {
		if len(params) == maxParams {
			return "", nil, errors.New("has too many parameters")
		}
		var p string
		p, rest, more = strings.Cut(rest, ";")
		name, value, _ := strings.Cut(p, "=")
		params = append(params, param{name, value})
	}
	return item, params, nil
}

// unquote returns what is between the quotes of a string without escapes, "" of
// what is none.
func unquote(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return ""
	}
	return s[1 : len(s)-1]
}

func parseInteger(s string, most int64) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > most {
		return 0, fmt.Errorf("not a whole number from 0 to %d", most)
	}
	return n, nil
}

const lowerHex = "0123456789abcdef"

// appendDisplay appends s, which is UTF-8, as a display string (RFC 9651 §4.1.11);
// comma and semicolon are encoded as well.
func appendDisplay(dst []byte, s string) []byte {
	dst = append(dst, `%"`...)
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ' || c > '~', c == '%', c == '"', c == ',', c == ';':
			dst = append(dst, '%', lowerHex[c>>4], lowerHex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// parseDisplay reads a display string; what is not encoded as appendDisplay does
// comes out as something that appendDisplay writes in another way.
func parseDisplay(s string) (string, error) {
	s, ok := strings.CutPrefix(s, "%")
	if !ok || len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return "", errors.New("not a display string")
	}
	s = s[1 : len(s)-1]
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b = append(b, s[i])
			continue
		}
		if len(s)-i < 3 {
			return "", errors.New("not a display string")
		}
		hi, lo := strings.IndexByte(lowerHex, s[i+1]), strings.IndexByte(lowerHex, s[i+2])
		if hi < 0 || lo < 0 {
			return "", errors.New("not a display string")
		}
		b = append(b, byte(hi<<4|lo)) //nolint:gosec // two hexadecimal digits
		i += 2
	}
	return string(b), nil
}

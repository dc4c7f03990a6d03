package policy

import (
	"net/url"
	"strings"
)

// Param is one path parameter of a matched request.
type Param struct {
	Name    string // as the pattern names it; "**" for each segment of a catch-all
	Value   string // the segment, percent-decoded
	Segment int    // which segment of the path it is, from 0
}

// splitPath cuts a path as it stands in a request line (percent-encoded,
// without query) into decoded segments, of which "/" has none. ok is false for
// every path that another program might read as another one.
func splitPath(dst []string, path string) (segments []string, ok bool) {
	if len(path) == 0 || path[0] != '/' {
		return nil, false
	}
	if path == "/" {
		return dst, true
	}
	for rest, more := path[1:], true; more; {
		var s string
		s, rest, more = strings.Cut(rest, "/")
		if len(dst) == maxSegments || s == "" {
			return nil, false
		}
		plain, ok := decodeSegment(s)
		if !ok {
			return nil, false
		}
		dst = append(dst, plain)
	}
	return dst, true
}

func decodeSegment(s string) (string, bool) {
	encoded := false
	for i := range len(s) {
		switch c := s[i]; {
		case c == '%':
			encoded = true
		case c <= ' ', c >= 0x7f, c == '\\', c == '?', c == '#':
			return "", false
		}
	}
	if encoded {
		var err error
		if s, err = url.PathUnescape(s); err != nil {
			return "", false
		}
		for i := range len(s) {
			if c := s[i]; c < ' ' || c == 0x7f || c == '/' || c == '\\' {
				return "", false
			}
		}
	}
	return s, s != "." && s != ".."
}

// AppendPath appends the path of a matched request to dst, in canonical
// percent-encoding, with what replace appends in the place of each parameter.
func AppendPath(dst []byte, path string, params []Param, replace func(dst []byte, p Param) ([]byte, error)) ([]byte, error) {
	var buf [16]string
	segments, ok := splitPath(buf[:0], path)
	if !ok {
		return dst, ErrBadPath
	}
	if len(segments) == 0 {
		return append(dst, '/'), nil
	}
	var plain []byte
	for i, s := range segments {
		dst = append(dst, '/')
		if len(params) > 0 && params[0].Segment == i {
			var err error
			if plain, err = replace(plain[:0], params[0]); err != nil {
				return dst, err
			}
			s, params = string(plain), params[1:]
			if s == "" || s == "." || s == ".." {
				return dst, ErrBadPath // a replacement must stay one segment
			}
		}
		dst = append(dst, url.PathEscape(s)...)
	}
	return dst, nil
}

// Template is the pattern's view of a matched path: each parameter as {name}, a
// catch-all as one **. It holds nothing that a caller chose.
func Template(path string, params []Param) string {
	var buf [16]string
	segments, ok := splitPath(buf[:0], path)
	if !ok {
		return ""
	}
	if len(segments) == 0 {
		return "/"
	}
	var b strings.Builder
	for i, s := range segments {
		b.WriteByte('/')
		switch {
		case len(params) == 0 || params[0].Segment != i:
			b.WriteString(s)
		case params[0].Name == catchAll:
			b.WriteString(catchAll)
			return b.String()
		default:
			b.WriteString("{" + params[0].Name + "}")
			params = params[1:]
		}
	}
	return b.String()
}

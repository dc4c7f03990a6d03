package http1

import (
	"strings"
	"unicode/utf8"
)

// parseTarget reads and checks the target of r (RFC 9112, 3.2), of which
// Method and Target are set, and sets Form, Scheme, Authority, Path and RawQuery.
func parseTarget(r *Request, accept Form) *Fault {
	t := r.Target
	switch {
	case r.Method == "CONNECT":
		r.Form, r.Authority = AuthorityForm, t // the request line is accepted, so the form is
		if !validHost(t) {
			return faultAt(TargetAuthority, whyHost(t))
		}
		if !hasPort(t) {
			return faultAt(TargetAuthority, "there is no port; CONNECT needs host:port")
		}
		return nil
	case t == "*":
		r.Form = AsteriskForm
		if accept&AsteriskForm == 0 || r.Method != "OPTIONS" {
			return formFault(accept)
		}
		return nil
	case t[0] == '/':
		r.Form = OriginForm
	default:
		r.Form = AbsoluteForm
		scheme, rest, ok := strings.Cut(t, "://")
		if accept&AbsoluteForm == 0 || !ok || scheme != "http" && scheme != "https" {
			return formFault(accept)
		}
		i := strings.IndexAny(rest, "/?#")
		switch {
		case i >= 0 && rest[i] == '#':
			return fault(TargetFragment)
		case i < 0 || rest[i] != '/':
			// http://host?query and http://host are read as "/?query" and "/" by some
			// programs and as an empty path by others.
			return fault(TargetNoPath)
		}
		r.Scheme, r.Authority, t = scheme, rest[:i], rest[i:]
		if !validHost(r.Authority) {
			return faultAt(TargetAuthority, whyHost(r.Authority))
		}
	}
	if r.Form&accept == 0 {
		return formFault(accept)
	}
	path, query, _ := strings.Cut(t, "?")
	var f *Fault
	if r.Path, f = decodePath(path); f != nil {
		return f
	}
	if f = checkQuery(query); f != nil {
		return f
	}
	r.RawQuery = query
	return nil
}

// formFault says which form a target should have had.
func formFault(accept Form) *Fault {
	if accept&AbsoluteForm != 0 {
		return fault(TargetFormProxy)
	}
	return fault(TargetForm)
}

// decodePath checks a path and decodes it. What is returned splits at "/" into
// the segments that every receiver sees, whether it decodes before or after
// splitting, and whether or not it removes dot segments, merges slashes, strips
// parameters (";…") from segments or decodes twice.
func decodePath(p string) (string, *Fault) {
	escaped := false
	for i := 0; i < len(p); i++ {
		c := p[i]
		if is(c, isPath) {
			continue
		}
		switch {
		case c == '%':
			if i+2 >= len(p) || !is(p[i+1], isHexa) || !is(p[i+2], isHexa) {
				return "", fault(TargetEscape)
			}
			escaped = true
			switch d := hexValue(p[i+1])<<4 | hexValue(p[i+2]); {
			case d == '/':
				return "", fault(TargetEncodedSlash)
			case d == '\\':
				return "", fault(TargetBackslash)
			case d < 0x20 || d == 0x7f:
				return "", fault(TargetEncodedControl)
			}
			i += 2
		case c == '#':
			return "", fault(TargetFragment)
		case c == '\\':
			return "", fault(TargetBackslash)
		default:
			return "", fault(TargetByte)
		}
	}
	if escaped {
		p = unescape(p)
		if !utf8.ValidString(p) || hasC1(p) {
			return "", fault(TargetEncoding)
		}
		// An escape that decodes to an escape, however its parts were written.
		for i := 0; i+2 < len(p); i++ {
			if p[i] == '%' && is(p[i+1], isHexa) && is(p[i+2], isHexa) {
				return "", fault(TargetDoubleEncoded)
			}
		}
	}
	for rest, more := p[1:], true; more; {
		var seg string
		seg, rest, more = strings.Cut(rest, "/")
		if seg == "" && more {
			return "", fault(TargetEmptySegment)
		}
		if seg, _, _ = strings.Cut(seg, ";"); seg == "." || seg == ".." {
			return "", fault(TargetDotSegment)
		}
	}
	return p, nil
}

func unescape(p string) string {
	b := make([]byte, 0, len(p))
	for i := 0; i < len(p); i++ {
		c := p[i]
		if c == '%' {
			c = hexValue(p[i+1])<<4 | hexValue(p[i+2])
			i += 2
		}
		b = append(b, c)
	}
	return string(b)
}

// hasC1 reports the control characters U+0080 to U+009F.
func hasC1(s string) bool {
	for i := 0; i+1 < len(s); i++ {
		if s[i] == 0xc2 && s[i+1] < 0xa0 {
			return true
		}
	}
	return false
}

// checkQuery checks the escapes and bytes of a query. Line feeds and the like
// are data that forms have; only NUL, which ends strings, is refused.
func checkQuery(q string) *Fault {
	high := false
	for i := 0; i < len(q); i++ {
		c := q[i]
		if is(c, isQuery) {
			continue
		}
		switch {
		case c == '%':
			if i+2 >= len(q) || !is(q[i+1], isHexa) || !is(q[i+2], isHexa) {
				return fault(TargetEscape)
			}
			if q[i+1] == '0' && q[i+2] == '0' {
				return fault(TargetEncodedControl)
			}
			high = high || q[i+1] >= '8'
			i += 2
		case c == '#':
			return fault(TargetFragment)
		case c == '\\':
			return fault(TargetBackslash)
		default:
			return fault(TargetByte)
		}
	}
	if high && !utf8.ValidString(unescape(q)) {
		return fault(TargetEncoding)
	}
	return nil
}

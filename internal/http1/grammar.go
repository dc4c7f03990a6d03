package http1

// Classes of bytes (RFC 9110, 5.6.2 and 5.5; RFC 3986, appendix A). One table,
// so that a byte is looked up once.
const (
	isToken = 1 << iota // tchar: names of fields, methods
	isValue             // VCHAR, obs-text, SP and HTAB: values of fields
	isPath              // pchar without "%", and "/"
	isQuery             // pchar without "%", "/", "?", and the brackets that many clients leave as they are
	isHexa              // HEXDIG
	isName              // of a host: letters, digits, "-", ".", "_"
	isDigit
)

var bytesOf = classTable()

func classTable() (t [256]uint8) {
	each := func(s string, class uint8) {
		for i := range len(s) {
			t[s[i]] |= class
		}
	}
	const (
		digits  = "0123456789"
		letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
		pchar   = digits + letters + "-._~" + "!$&'()*+,;=" + ":@"
	)
	each(digits+letters+"!#$%&'*+-.^_`|~", isToken)
	for c := 0x20; c < 0x100; c++ {
		if c != 0x7f {
			t[c] |= isValue
		}
	}
	each("\t", isValue)
	each(pchar+"/", isPath)
	each(pchar+"/?[]", isQuery)
	each(digits+"abcdefABCDEF", isHexa)
	each(digits+letters+"-._", isName)
	each(digits, isDigit)
	return t
}

func is(c byte, class uint8) bool { return bytesOf[c]&class != 0 }

func all[T string | []byte](s T, class uint8) bool {
	for i := range len(s) {
		if bytesOf[s[i]]&class == 0 {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// equalFold compares names of fields, which are ASCII.
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if a[i] != b[i] && lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

// canonicalise gives a name its one spelling, in place: Upper-Case after each dash.
func canonicalise(name []byte) {
	up := true
	for i, c := range name {
		switch {
		case up && 'a' <= c && c <= 'z':
			name[i] = c - ('a' - 'A')
		case !up && 'A' <= c && c <= 'Z':
			name[i] = c + ('a' - 'A')
		}
		up = c == '-'
	}
}

// hexValue is the value of a HEXDIG.
func hexValue(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}

// parseLength reads a Content-Length: digits alone, without leading zeros, at
// most 18 of them, which no int64 overflows on.
func parseLength(s string) (int64, bool) {
	if s == "" || len(s) > 18 || s[0] == '0' && len(s) > 1 {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		if !is(s[i], isDigit) {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, true
}

package remote

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/publicsuffix"
)

// maxAddress is how many characters an address of a manifest has at the most, as
// in Forge's own schema.
const maxAddress = 1000

// address is one address of a manifest in its canonical form.
type address struct {
	host string // canonical, perhaps with "*." before it
	port uint16
	path string // of what a page loads; "" is any
	// dropped is the path that was written and means nothing: servers' traffic is
	// let out by host and port.
	dropped string
}

// CanonicalAddress reads an address as an app's manifest declares it: an https or
// wss URL, a bare host, or either with "*." before the host. It returns the host
// in ASCII and lower case, perhaps with "*." before it, the port (443 where none
// is written), and for what a page loads the path ("" is any; one that ends with
// "/" stands for everything below it). For kinds of servers' traffic the path is
// left out, because no row of theirs has one.
//
// Canonical comes first and matching second: what two readers could take for two
// places is no address. One trailing dot is removed, case is lowered, Unicode is
// made punycode; other schemes, user information, backslashes, queries and
// fragments are refused. So is what nobody can consent to with open eyes: IP
// addresses, names of private or special use (RFC 6761, 6762, 7686, 8375, 9476),
// names that are no public ones, public suffixes, and wildcards that are not one
// whole label above a registrable domain. The error says which and what to write
// instead; it quotes no more than single characters of s.
//
// promise: P12
func CanonicalAddress(kind Kind, s string) (host string, port uint16, path string, err error) {
	a, err := parseAddress(kind, s)
	if err != nil {
		return "", 0, "", err
	}
	return a.host, a.port, a.path, nil
}

// ParseAuthority reads the place that a request on the wire names, in CONNECT,
// in an absolute target or in Host: host:port, or a host alone where port is not
// 0. It returns it in the form that [Row.Allows] takes. Letters of either case
// and one trailing dot are all that is put right; an IP address is refused in
// every spelling, because consent is given to names.
func ParseAuthority(s string, port uint16) (host string, _ uint16, err error) {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return "", 0, errors.New("the host is not ASCII; write it in punycode")
		}
	}
	host = s
	if i := strings.IndexByte(s, ':'); i >= 0 && (s[0] != '[' && strings.IndexByte(s[i+1:], ':') < 0) {
		if port, err = parsePort(s[i+1:]); err != nil {
			return "", 0, err
		}
		host = s[:i]
	}
	if port == 0 {
		return "", 0, errors.New("the place has no port; write host:port")
	}
	if host, err = CanonicalHost(strings.TrimSuffix(host, ".")); err != nil {
		return "", 0, err
	}
	if isLiteral(host) {
		return "", 0, errLiteral
	}
	return host, port, nil
}

var (
	errPlaceholder = errors.New("the address is a placeholder, not a host; write the app's real address")
	errLiteral     = errors.New("the host is an IP address; consent is given to names, so write the host's name")
	errEvery       = errors.New("a bare * is every host there is and cannot be consented to; name the hosts, or *.example.com for the subdomains of one domain")
	errVariable    = errors.New("the address has a ${VARIABLE} without a value; give the value that it has in this environment")
	errWildcard    = errors.New("the * is not one whole label at the left; write *.example.com for every subdomain of example.com")
)

func parseAddress(kind Kind, s string) (a address, err error) {
	switch {
	case s == "":
		return a, errors.New("the address is empty; write https://api.example.com")
	case utf8.RuneCountInString(s) > maxAddress:
		return a, fmt.Errorf("the address has more than %d characters; write scheme and host, as in https://api.example.com", maxAddress)
	}
	if err := checkCharacters(s); err != nil {
		return a, err
	}
	rest, err := withoutScheme(s)
	if err != nil {
		return a, err
	}
	authority, tail := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	if a.host, a.port, err = declaredHost(authority); err != nil {
		return address{}, err
	}
	switch {
	case strings.ContainsRune(tail, '#'):
		err = errors.New("the address has a fragment (#), which no server ever sees; leave it out")
	case strings.ContainsRune(tail, '?'):
		err = errors.New("the address has a query (?), which no row narrows by; leave it out")
	case kind.servers():
		if tail != "/" {
			a.dropped = tail
		}
	default:
		a.path, err = canonicalPath(tail)
	}
	if err != nil {
		return address{}, err
	}
	return a, nil
}

// checkCharacters refuses what has no place anywhere in an address, and tells a
// template that nobody filled in from a mistake.
func checkCharacters(s string) error {
	if strings.ContainsAny(s, "<>") || strings.Contains(s, "...") || strings.Contains(s, "…") {
		return errPlaceholder
	}
	if strings.Contains(s, "${") {
		return errVariable
	}
	for i, r := range s {
		switch {
		case r == utf8.RuneError:
			return fmt.Errorf("the address has a byte at %d that is not UTF-8; write it in ASCII", i+1)
		case r == '\\':
			return errors.New(`the address has a backslash, which some programs read as a slash; leave it out`)
		case r == ' ' || !unicode.IsPrint(r):
			return fmt.Errorf("the address has the character U+%04X at %d; leave it out", r, i+1)
		}
	}
	return nil
}

// keywords are sources of a content security policy that stand among addresses
// although they are none.
var keywords = []string{"self", "none", "unsafe-inline", "unsafe-eval", "unsafe-hashes", "wasm-unsafe-eval", "strict-dynamic", "blob:", "data:"}

// withoutScheme returns what comes after the scheme. A bare host is https.
func withoutScheme(s string) (string, error) {
	for _, k := range keywords {
		if strings.EqualFold(strings.Trim(s, "'"), k) {
			return "", errors.New("the address is a keyword of content security policies, not a host; it belongs to permissions.content")
		}
	}
	if strings.HasPrefix(s, "//") {
		return "", errors.New("the address begins with // and has no scheme; write https:// before the host")
	}
	colon := strings.IndexByte(s, ':')
	if colon < 0 || strings.ContainsAny(s[:colon], "/?#@[") {
		return s, nil
	}
	scheme, rest := strings.ToLower(s[:colon]), s[colon+1:]
	slashes := strings.HasPrefix(rest, "//")
	switch {
	case (scheme == "https" || scheme == "wss") && slashes:
		return rest[2:], nil
	case scheme == "https" || scheme == "wss":
		return "", fmt.Errorf("the address has no // after %s:; write %s://api.example.com", scheme, scheme)
	case scheme == "http" || scheme == "ws":
		return "", fmt.Errorf("the scheme %s sends in the clear and is not let out; use %ss", scheme, scheme)
	case slashes || !strings.Contains(scheme, ".") && (rest == "" || rest[0] < '0' || rest[0] > '9') && isScheme(scheme):
		return "", errors.New("the address has a scheme that is not let out; use https or wss")
	}
	return s, nil
}

// isScheme reports whether s, in lower case, has the form of a scheme (RFC 3986,
// 3.1).
func isScheme(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (i == 0 || (c < '0' || c > '9') && c != '+' && c != '-' && c != '.') {
			return false
		}
	}
	return s != ""
}

// declaredHost reads the authority of a declared address.
func declaredHost(s string) (host string, port uint16, err error) {
	switch {
	case s == "":
		return "", 0, errors.New("the address has no host; write https://api.example.com")
	case strings.Contains(s, "@"):
		return "", 0, errors.New("the address has user information (@); leave it out")
	case strings.ContainsAny(s, "[]") || strings.Count(s, ":") > 1:
		return "", 0, errLiteral
	}
	host, portText, with := strings.Cut(s, ":")
	port = 443
	if strings.ContainsAny(host, "{}") {
		return "", 0, errPlaceholder
	}
	if with {
		if port, err = parsePort(portText); err != nil {
			return "", 0, fmt.Errorf("%w; leave it out for 443", err)
		}
	}
	if host == "*" || host == "*." {
		return "", 0, errEvery
	}
	base := strings.TrimSuffix(host, ".")
	base, wild := strings.CutPrefix(base, "*.")
	if strings.Contains(base, "*") {
		return "", 0, errWildcard
	}
	if base, err = consentableName(base); err != nil {
		return "", 0, err
	}
	if err := belongsToSomebody(base, wild); err != nil {
		return "", 0, err
	}
	if wild {
		// The longest name below the wildcard must be a name.
		if len(base) > 253-len("x.") {
			return "", 0, errHostLong
		}
		return "*." + base, port, nil
	}
	return base, port, nil
}

// consentableName returns the canonical form of a name that somebody can consent
// to as far as its form says: a public DNS name of two labels or more.
func consentableName(s string) (string, error) {
	if !strings.Contains(s, ".") && !numeric(s) && !isSpecial(strings.ToLower(s)) && s != "" {
		return "", errors.New("the name has no dot: it is a placeholder, not a host, or a name that only one network knows; write a public host name")
	}
	host, err := CanonicalHost(s)
	switch {
	case errors.Is(err, errHostNumber):
		return "", errLiteral
	case err != nil:
		return "", err
	case isLiteral(host):
		return "", errLiteral
	case isSpecial(host):
		return "", errors.New("the name is for private or special use and no host of the public DNS (RFC 6761 and others); write a public host name")
	}
	return host, nil
}

// isLiteral reports whether a canonical host is an IP address.
func isLiteral(host string) bool { return strings.Contains(host, ":") || numeric(host) }

// special are names below which there is nobody of the public DNS to consent to:
// RFC 6761 (test, localhost, invalid), RFC 6762 (local and, in its appendix G,
// what private networks use), RFC 7686 (onion), RFC 8375 and 3172 (arpa), RFC
// 9476 (alt), ICANN's board for private use (internal), and those which ICANN
// will never delegate because private networks use them (home, corp, mail).
// "example", which RFC 6761 has as well, is not here: it leads nowhere, and
// documents need a name.
var special = []string{
	"test", "localhost", "invalid", "local", "onion", "arpa", "alt", "internal", "intranet", "private", "corp", "home", "lan", "mail",
	"localdomain",
}

func isSpecial(host string) bool {
	return slices.Contains(special, host[strings.LastIndexByte(host, '.')+1:])
}

// belongsToSomebody refuses a host, or every subdomain of it, where there is no
// one who answers for it. For a wildcard both sections of the public-suffix list
// count: below cloudfront.net anybody rents a name as below com, so a consent to
// all of it would be a consent to whoever comes. The one host cloudfront.net is
// its operator's, and is let out with a warning; there is none that is com or
// co.uk. A top-level domain that the list does not have is not in the DNS, or
// younger than this program.
func belongsToSomebody(host string, wild bool) error {
	suffix, icann := publicsuffix.PublicSuffix(host)
	unlisted := !icann && !strings.Contains(suffix, ".")
	switch {
	case unlisted && suffix != "example":
		return errors.New("the name's last label is no public top-level domain; write a public host name")
	case wild && (host == suffix || isSuffix("a."+host)): // some rules are wildcards themselves: *.kobe.jp
		return errors.New("the * stands for everybody's domains below a public suffix (publicsuffix.org); name the hosts, or put * before a domain of the app's vendor")
	case host == suffix && icann:
		return errors.New("the host is a public suffix (publicsuffix.org), below which anybody may have a name; name the host itself")
	}
	return nil
}

// isSuffix reports whether a name is a public suffix as a whole.
func isSuffix(host string) bool {
	suffix, _ := publicsuffix.PublicSuffix(host)
	return suffix == host
}

// Registrable returns the part of a row's host that somebody registered, which is
// what tells who answers for it: example.co.uk of api.eu.example.co.uk and of
// *.example.co.uk. Where there is none it is the whole name.
func Registrable(host string) string {
	host = strings.TrimPrefix(host, "*.")
	if d, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil {
		return d
	}
	return host
}

// DisplayHost returns the Unicode form of a canonical host, or of a row's with
// "*." before it. What has none, and what is not punycode of it, is returned as
// it is. A prompt shows both forms: look-alikes are told apart by the ASCII one.
func DisplayHost(ascii string) string {
	name, wild := strings.CutPrefix(ascii, "*.")
	if !strings.Contains(name, "xn--") {
		return ascii
	}
	shown, err := profile.ToUnicode(name)
	if err != nil {
		return ascii
	}
	if back, err := CanonicalHost(shown); err != nil || back != name {
		return ascii
	}
	if wild {
		return "*." + shown
	}
	return shown
}

// canonicalPath reads the path of what a page loads, as content security
// policies do: "/a/" and "/a/*" are everything below, "/a" is exactly that, and
// no path or "/" is everything. Percent escapes are written in upper case, and
// those of characters that need none are undone (RFC 3986, 6.2.2).
func canonicalPath(s string) (string, error) {
	if s == "" || s == "/" || s == "/*" {
		return "", nil
	}
	if strings.HasSuffix(s, "/*") {
		s = s[:len(s)-1]
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '*':
			return "", errors.New("the path has a * that is not all of its last segment; end the path with /* for everything below, or leave it out")
		case c == '%':
			if i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2]) {
				return "", errors.New("the path has a % that is no escape; write %25")
			}
			d := unhex(s[i+1])<<4 | unhex(s[i+2])
			switch {
			case d == '/' || d == '\\' || d < ' ' || d == 0x7f:
				return "", errors.New("the path has an escaped slash, backslash or control character; leave it out")
			case isUnreserved(d):
				b.WriteByte(d)
			default:
				fmt.Fprintf(&b, "%%%02X", d)
			}
			i += 2
		case isUnreserved(c) || strings.IndexByte("/!$&'()+,;=:@", c) >= 0:
			b.WriteByte(c)
		default:
			return "", fmt.Errorf("the path has a character at %d that must be escaped; write it as %%XX", i+1)
		}
	}
	p := b.String()
	if len(p) == 0 || p[0] != '/' {
		return "", errors.New("the path does not begin with /")
	}
	segments := strings.Split(p[1:], "/")
	for i, seg := range segments {
		if seg == "" && i < len(segments)-1 || seg == "." || seg == ".." {
			return "", errors.New("the path has an empty segment or a dot segment; write it without")
		}
	}
	return p, nil
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}

// isUnreserved is RFC 3986, 2.3.
func isUnreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

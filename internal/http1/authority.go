package http1

import (
	"net/netip"
	"strings"
)

// validHost checks the form of host[:port] (RFC 9110, 7.2): a name of letters,
// digits, "-", "." and "_" without empty labels, an IPv4 address, or an IPv6
// address in brackets without a zone; a port from 1 to 65535 without a sign or
// leading zeros. User information, lists, escapes and paths have no place in it.
// What it names, and whether that may be connected to, is not looked at.
func validHost(s string) bool {
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return false
		}
		a, err := netip.ParseAddr(s[1:end])
		return err == nil && a.Is6() && a.Zone() == "" && validPort(s[end+1:])
	}
	name, port := s, ""
	if i := strings.IndexByte(s, ':'); i >= 0 {
		name, port = s[:i], s[i:]
	}
	if name == "" || len(name) > maxName || !all(name, isName) || name[0] == '.' || name[len(name)-1] == '.' ||
		strings.Contains(name, "..") {
		return false
	}
	return validPort(port)
}

// maxName is how long a host's name may be in DNS (RFC 1035, 2.3.4).
const maxName = 253

// validPort checks ":port" or "".
func validPort(s string) bool {
	if s == "" {
		return true
	}
	if s[0] != ':' || len(s) < 2 || len(s) > 6 || s[1] == '0' {
		return false
	}
	n := 0
	for i := 1; i < len(s); i++ {
		if !is(s[i], isDigit) {
			return false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n <= 65535
}

func hasPort(hostport string) bool {
	return strings.LastIndexByte(hostport, ':') > strings.LastIndexByte(hostport, ']')
}

// whyHost says what keeps s from being host[:port], for whoever sent it; it
// quotes nothing of it.
func whyHost(s string) string {
	switch {
	case s == "" || s[0] == ':' && strings.Count(s, ":") == 1:
		return "there is no host"
	case strings.Contains(s, "@"):
		return "there is user information before an @"
	case strings.Contains(s, `\`):
		return "there is a backslash"
	case strings.HasPrefix(s, "[") && strings.Contains(s, "%"):
		return "there is a zone"
	case strings.Contains(s, "%"):
		return "there is a percent escape"
	case strings.ContainsAny(s, "/?#"):
		return "there is more than a host and a port"
	case strings.ContainsAny(s, ", \t"):
		return "there is more than one host"
	case s[0] == '[':
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "a bracket is open"
		}
		if a, err := netip.ParseAddr(s[1:end]); err != nil || !a.Is6() {
			return "there is no IPv6 address in the brackets"
		}
		if end+1 < len(s) && s[end+1] != ':' {
			return "something other than a port follows the brackets"
		}
		return whyPort
	case strings.ContainsAny(s, "[]"):
		return "a bracket is not around the host"
	case strings.Count(s, ":") > 1:
		return "there is more than one colon; put an IPv6 address into brackets"
	}
	name, port, _ := strings.Cut(s, ":")
	for i := range len(name) {
		switch {
		case name[i] >= 0x80:
			return "the host is not ASCII; write it in punycode"
		case !is(name[i], isName):
			return "the host has a character that hosts do not have"
		}
	}
	switch {
	case name[len(name)-1] == '.':
		return "the host ends with a dot"
	case name[0] == '.' || strings.Contains(name, ".."):
		return "the host has an empty label"
	case len(name) > maxName:
		return "the host is longer than a name in DNS can be"
	case !validPort(":" + port):
		return whyPort
	}
	return ""
}

const whyPort = "the port is not a plain decimal number from 1 to 65535"

// sameHost reports whether Host says the same as the target does. They are
// compared to the letter, a default port that only one of them writes included:
// RFC 9112, 3.2, has clients repeat the target's authority, and whoever does not
// is read by its Host by some programs and by its target by others. A CONNECT to
// one of the two default ports alone may leave the port out of Host, as some
// widespread clients do: it goes to the host in either reading, and the port
// stands nowhere but in the target.
func sameHost(r *Request, host string) bool {
	if r.Authority == host {
		return true
	}
	if r.Form != AuthorityForm || hasPort(host) {
		return false
	}
	port, ok := strings.CutPrefix(r.Authority, host)
	return ok && (port == ":443" || port == ":80")
}

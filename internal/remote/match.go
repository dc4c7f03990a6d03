package remote

import (
	"strings"

	"golang.org/x/net/publicsuffix"
)

// servers reports whether the traffic is that of an app's servers' side, which is
// let out by host and port: a path inside TLS says nothing that could be held.
func (k Kind) servers() bool { return k == Backend || k == Remote }

// Allows reports whether the row lets out traffic of the kind to the place. Host
// is in canonical form, as [ParseAuthority] returns it; a name that is not is
// matched by no row. Path is that of the request without its query; servers'
// traffic is let out whatever it is, and a path that is not canonical (dot
// segments, escaped slashes) matches no row that has one. Of a [TransitWay] the
// name is the host, and the port 0.
//
// A wildcard lets out every subdomain at any depth, not the domain itself.
// Whether the name is one that carries data is for [DataInName] to say.
//
// promise: P12
func (r Row) Allows(kind Kind, host string, port uint16, path string) bool {
	if r.Kind == NoKind || r.Kind != kind || r.Port != port || !r.hasHost(host) {
		return false
	}
	if r.Path == "" || kind.servers() {
		return true
	}
	p, err := canonicalPath(path)
	return err == nil && p == path && withinPath(r.Path, p)
}

func (r Row) hasHost(host string) bool {
	if host == "" {
		return false
	}
	if !r.Wildcard() {
		return r.Host == host
	}
	return host[0] != '.' && host[0] != '*' && strings.HasSuffix(host, r.Host[1:])
}

// withinPath reports whether a row with the path have lets out all of path want.
func withinPath(have, want string) bool {
	return have == "" || have == want || strings.HasSuffix(have, "/") && strings.HasPrefix(want, have)
}

// withinHost is the same of hosts that may be wildcards.
func withinHost(have, want string) bool {
	if have == want {
		return true
	}
	base, wild := strings.CutPrefix(have, "*.")
	if !wild {
		return false
	}
	if below, ok := strings.CutPrefix(want, "*."); ok {
		return below == base || strings.HasSuffix(below, "."+base)
	}
	return strings.HasSuffix(want, "."+base)
}

// Covers reports whether everything that other lets out r lets out as well, to
// the same places and with no more said about it: no further operation, token or
// end-user data. A row without a region covers every region's. It is a partial
// order of rows: two rows that cover each other are equal.
func (r Row) Covers(other Row) bool {
	return r.Kind == other.Kind && r.Port == other.Port && withinHost(r.Host, other.Host) && withinPath(r.Path, other.Path) &&
		other.Operations&^r.Operations == 0 && other.Tokens&^r.Tokens == 0 && (r.EndUserData || !other.EndUserData) &&
		(r.Region == "" || r.Region == other.Region)
}

// Limits of what a name may say by itself, in characters that look like code
// rather than words: hexadecimal, base32, base64. 16 bytes are 32 characters in
// hexadecimal. Real names stay below: 14 in a content network's, 20 in a
// tunnel's, 26 in an interface's.
const (
	maxCode     = 31  // in one label
	maxCodeName = 47  // in the labels below the registrable domain together
	maxDepth    = 8   // labels below the registrable domain
	maxBelow    = 120 // characters below the registrable domain, whatever they look like
)

// DataInName reports whether a canonical host looks as if its labels carried
// data. Before a name is looked up under a wildcard, which the app fills in as it
// likes, this must have said no: the lookup alone would tell the name to whoever
// runs the domain's servers. It finds what carries much at once; a few bits in
// every name are always possible, and what bounds those is the number of names
// that an app may ask for.
func DataInName(host string) bool {
	domain, err := publicsuffix.EffectiveTLDPlusOne(host)
	if err != nil {
		domain = ""
	}
	below := strings.TrimSuffix(strings.TrimSuffix(host, domain), ".")
	if below == "" {
		return false
	}
	if len(below) > maxBelow || strings.Count(below, ".")+1 > maxDepth {
		return true
	}
	total := 0
	for label := range strings.SplitSeq(below, ".") {
		n := codeIn(label)
		total += n
		if n > maxCode {
			return true
		}
	}
	return total > maxCodeName
}

// codeIn counts the characters of a label that look like code. Words are
// separated by dashes; one is code if it is long beyond all words, if it has
// digits among its letters or is digits in a row, or has letters that no word
// has in a row.
func codeIn(label string) int {
	n := 0
	for word := range strings.SplitSeq(strings.TrimPrefix(label, "xn--"), "-") {
		if looksLikeCode(word) {
			n += len(word)
		}
	}
	return n
}

func looksLikeCode(word string) bool {
	const (
		longest    = 28 // letters of a word, or of two or three written as one
		consonants = 6  // in a row
	)
	changes, run, digits, hex := 0, 0, 0, true
	for i := range len(word) {
		c := word[i]
		digit := c >= '0' && c <= '9'
		if digit {
			digits++
		}
		if i > 0 && digit != (word[i-1] >= '0' && word[i-1] <= '9') {
			changes++
		}
		if c > 'f' {
			hex = false
		}
		switch {
		case digit || strings.IndexByte("aeiouy", c) >= 0:
			run = 0
		default:
			run++
		}
		if run >= consonants {
			return true
		}
	}
	return len(word) > longest || changes >= 2 || hex && (digits > 0 || len(word) >= 8) || digits >= 4
}

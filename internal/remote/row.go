package remote

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/isogate/isogate"
)

// Kind is what sort of traffic a row lets out. The zero value lets none out.
type Kind uint8

// The kinds of traffic. Backend and Remote are an app's own servers' side;
// the others are what its pages load in a browser.
const (
	NoKind     Kind = iota
	Backend         // the app's server-side code fetches
	Remote          // the app's own server is called, by its endpoints or on its behalf
	Client          // the app's pages fetch
	Fonts           // the app's pages load fonts
	Frames          // the app's pages show frames
	Images          // the app's pages load images
	Media           // the app's pages load sound and video
	Scripts         // the app's pages load scripts
	Styles          // the app's pages load style sheets
	Navigation      // the app's pages lead there
	TransitWay      // a transit of ours that waits for an administrator; Host is its name
)

var kindNames = [...]string{"none", "backend", "remote", "client", "fonts", "frames", "images", "media", "scripts", "styles", "navigation", "transit"}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("invalid(%d)", uint8(k))
}

// MarshalText implements [encoding.TextMarshaler].
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (k *Kind) UnmarshalText(b []byte) (err error) { *k, err = ParseKind(string(b)); return err }

// ParseKind reads the name of a kind; "none" is not one.
func ParseKind(s string) (Kind, error) {
	for i, n := range kindNames[1:] {
		if n == s {
			return Kind(i + 1), nil
		}
	}
	return NoKind, fmt.Errorf("unknown kind %.40q; use one of %s", s, strings.Join(kindNames[1:], ", "))
}

// Operations is what a remote does with what it gets, as a set. The zero value is
// none of it.
type Operations uint8

// The operations that a manifest may declare.
const (
	Storage Operations = 1 << iota
	Compute
	Fetch
	Other
)

// Tokens is which of an app's tokens are handed to a remote, as a set.
type Tokens uint8

// The tokens that a manifest may ask for.
const (
	AppUser Tokens = 1 << iota
	AppSystem
)

var (
	operationNames = []string{"storage", "compute", "fetch", "other"}
	tokenNames     = []string{"app-user", "app-system"}
)

func (o Operations) String() string { return setString(uint8(o), operationNames) }

// ParseOperations reads names joined by commas.
func ParseOperations(s string) (Operations, error) {
	b, err := parseSet(s, "operation", operationNames)
	return Operations(b), err
}

func (t Tokens) String() string { return setString(uint8(t), tokenNames) }

// ParseTokens reads names joined by commas.
func ParseTokens(s string) (Tokens, error) {
	b, err := parseSet(s, "token", tokenNames)
	return Tokens(b), err
}

func setString(b uint8, names []string) string {
	var in []string
	for i, n := range names {
		if b&(1<<i) != 0 {
			in = append(in, n)
		}
	}
	return strings.Join(in, ",")
}

func parseSet(s, what string, names []string) (b uint8, err error) {
	for name := range strings.SplitSeq(s, ",") {
		i := 0
		for i < len(names) && names[i] != name {
			i++
		}
		if i == len(names) {
			return 0, fmt.Errorf("unknown %s %.40q; use one of %s", what, name, strings.Join(names, ", "))
		}
		b |= 1 << i
	}
	return b, nil
}

// Row is one line of the table of what an app may reach: the normal form of a
// manifest's entry, and of what was granted. It is comparable; two rows that let
// out the same are equal. Its zero value lets out nothing.
type Row struct {
	Kind Kind
	// Host is canonical ASCII ([CanonicalHost]), or "*." before a registrable
	// domain or one below it: every subdomain at any depth, not the domain itself.
	Host string
	Port uint16
	// Path narrows what a page may load; "" is any. It ends with "/" where it
	// stands for everything below. Rows of servers' traffic have none.
	Path string
	// Operations is what is done with the data; Storage includes keeping it.
	Operations Operations
	// EndUserData says that data of the tenant's users goes there.
	EndUserData bool
	// Tokens is what is handed over for calling back.
	Tokens Tokens
	// Region is the tenant region that the row is for; "" is every one.
	Region string
}

// Wildcard reports whether the row stands for more than one host.
func (r Row) Wildcard() bool { return strings.HasPrefix(r.Host, "*.") }

// String is the row's one text form, in which it stands in the journal, for
// example:
//
//	backend api.example.com:443 operations=storage,compute end-user-data tokens=app-user region=EU
//
// [ParseRow] reads it.
func (r Row) String() string {
	var b strings.Builder
	b.WriteString(r.Kind.String())
	b.WriteByte(' ')
	b.WriteString(r.Host)
	if r.Port != 0 {
		b.WriteString(":" + strconv.Itoa(int(r.Port)))
	}
	b.WriteString(r.Path)
	if r.Operations != 0 {
		b.WriteString(" operations=" + r.Operations.String())
	}
	if r.EndUserData {
		b.WriteString(" end-user-data")
	}
	if r.Tokens != 0 {
		b.WriteString(" tokens=" + r.Tokens.String())
	}
	if r.Region != "" {
		b.WriteString(" region=" + r.Region)
	}
	return b.String()
}

// ParseRow reads the text form of a row. What it accepts is what [Row.String]
// writes of a row that could be declared, and nothing else: a host in canonical
// form, two labels or more, no IP address, no name of private or special use. It
// does not ask the public-suffix list, which changes: what was granted once can
// be read for ever. For that, see [CanonicalAddress].
func ParseRow(s string) (Row, error) {
	if len(s) > maxRow {
		return Row{}, fmt.Errorf("a row has at most %d bytes", maxRow)
	}
	parts := strings.Split(s, " ")
	if len(parts) < 2 {
		return Row{}, errors.New("a row is: KIND HOST:PORT/PATH and what it lets out")
	}
	var r Row
	var err error
	if r.Kind, err = ParseKind(parts[0]); err != nil {
		return Row{}, err
	}
	r.Host = parts[1]
	if r.Kind != TransitWay {
		if i := strings.IndexByte(r.Host, '/'); i >= 0 {
			r.Host, r.Path = r.Host[:i], r.Host[i:]
		}
		host, port, _ := strings.Cut(r.Host, ":")
		if r.Port, err = parsePort(port); err != nil {
			return Row{}, fmt.Errorf("the row %.200q: %w", s, err)
		}
		r.Host = host
	}
	for _, p := range parts[2:] {
		name, value, _ := strings.Cut(p, "=")
		switch name {
		case "operations":
			r.Operations, err = ParseOperations(value)
		case "end-user-data":
			r.EndUserData = true
		case "tokens":
			r.Tokens, err = ParseTokens(value)
		case "region":
			r.Region = value
		default:
			err = fmt.Errorf("unknown part %.40q of a row", p)
		}
		if err != nil {
			return Row{}, err
		}
	}
	if err := r.check(); err != nil {
		return Row{}, fmt.Errorf("the row %.200q: %w", s, err)
	}
	if r.String() != s {
		return Row{}, fmt.Errorf("the row %.200q is not in its one form, %q", s, r)
	}
	return r, nil
}

// maxRow bounds the text of a row: 253 bytes of host, the longest path that an
// address can have with every character escaped, and what follows.
const maxRow = 4096

// check reports why a row could not have been declared.
func (r Row) check() error {
	if r.Region != "" && !IsRegion(r.Region) {
		return errors.New("the region is not two capital letters, such as EU")
	}
	if r.Kind == TransitWay {
		if err := isogate.CheckName(r.Host, false); err != nil {
			return err
		}
		return nil
	}
	host, err := consentableName(strings.TrimPrefix(r.Host, "*."))
	if err != nil {
		return err
	}
	if host != strings.TrimPrefix(r.Host, "*.") {
		return errors.New("the host is not in canonical form; use " + host)
	}
	if r.Path == "" {
		return nil
	}
	if r.Kind.servers() {
		return errors.New("a row of servers' traffic has a path; leave it out")
	}
	if p, err := canonicalPath(r.Path); err != nil || p != r.Path {
		return errors.Join(errors.New("the path is not in canonical form"), err)
	}
	return nil
}

// IsRegion reports whether s has the form of a tenant region's code.
func IsRegion(s string) bool {
	return len(s) == 2 && s[0] >= 'A' && s[0] <= 'Z' && s[1] >= 'A' && s[1] <= 'Z'
}

// MarshalText implements [encoding.TextMarshaler] with [Row.String].
func (r Row) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler] with [ParseRow].
func (r *Row) UnmarshalText(b []byte) (err error) { *r, err = ParseRow(string(b)); return err }

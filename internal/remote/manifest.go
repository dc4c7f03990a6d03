package remote

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/goccy/go-yaml/ast"

	"github.com/isogate/isogate"
)

// ManifestOptions says how a manifest is read. The zero value is the strictest.
type ManifestOptions struct {
	// Env is what ${NAME} stands for in addresses and in the app's id, before the
	// defaults that a Forge manifest gives itself.
	Env map[string]string
	// Fragment accepts a manifest whose app has no id, or a template's: enough to
	// look at, not to consent to. It has a warning then, and no [Manifest.Source].
	Fragment bool
}

// Formats of manifests.
const (
	Forge  = "forge"
	Native = "native"
)

// Manifest is what an app's manifest declares about where its data goes, in normal
// form. Texts of it come from the app's vendor and are shown, never obeyed.
type Manifest struct {
	Format string `json:"format"` // Forge or Native
	// App is the app's own id: ari:cloud:ecosystem::app/UUID in lower case, or the
	// name that a native manifest gives; "" in a fragment.
	App     string `json:"app,omitempty"`
	Name    string `json:"name,omitempty"`
	Vendor  string `json:"vendor,omitempty"`
	Version string `json:"version,omitempty"`
	// Digest is that of the bytes that were read: sha256: and hexadecimal.
	Digest string `json:"digest"`
	// Rows are the addresses that can be consented to, in the order of the file.
	Rows []Declared `json:"rows"`
	// Refused are those that cannot. They stop nothing else.
	Refused []RefusedAddress `json:"refused,omitempty"`
	// Configurable are the places for addresses that the tenant's administrator
	// enters. They let nothing out until one was entered and consented to.
	Configurable []Configurable `json:"configurable,omitempty"`
	Warnings     []Finding      `json:"warnings,omitempty"`
}

// Declared is one row of a manifest with its origin.
type Declared struct {
	Row Row `json:"row"`
	// Written is the address as it is in the file, variables unexpanded; characters
	// that do not show are escaped.
	Written string `json:"written"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	// RemoteKey is the key of the remote whose address it is, if it is one's.
	RemoteKey string `json:"remote,omitempty"`
	Category  string `json:"category,omitempty"` // "analytics" or ""
	// Configurable says that the administrator may enter another address for it.
	Configurable bool `json:"configurable,omitempty"`
	// Warnings are the row's own.
	Warnings []Warning `json:"warnings,omitempty"`
}

// RefusedAddress is an address that cannot be consented to, and why.
type RefusedAddress struct {
	Written   string `json:"written"`
	Kind      Kind   `json:"kind"`
	Line      int    `json:"line"`
	Column    int    `json:"column"`
	RemoteKey string `json:"remote,omitempty"`
	Reason    string `json:"reason"`
}

// Configurable is a place for an address that an administrator enters.
type Configurable struct {
	RemoteKey   string `json:"remote,omitempty"` // "" is any address for the app's own fetches
	Name        string `json:"name,omitempty"`
	Description string `json:"description,omitempty"`
	// Patterns are the hosts that the app can work with; none is any.
	Patterns []string `json:"patterns,omitempty"`
	Line     int      `json:"line"`
	Column   int      `json:"column"`
}

// Table returns the manifest's rows without their origins.
func (m *Manifest) Table() []Row {
	rows := make([]Row, 0, len(m.Rows))
	for _, d := range m.Rows {
		rows = append(rows, d.Row)
	}
	return rows
}

// Source returns the name of the app as a source: app/ and the UUID of its id, or
// the name in a native manifest. It fails for a fragment.
func (m *Manifest) Source() (isogate.Source, error) {
	if m.App == "" {
		return "", errors.New("the manifest has no usable app id; name the source yourself, as app/NAME")
	}
	s := "app/" + strings.TrimPrefix(m.App, ariPrefix)
	if err := isogate.CheckName(s, true); err != nil {
		return "", fmt.Errorf("the app's id as a source: %w; name the source yourself, as app/NAME", err)
	}
	return isogate.Source(s), nil
}

const (
	maxRows    = 200      // addresses of one manifest
	maxRowText = 16 << 10 // bytes of all rows' text form
	maxLabel   = 200      // characters of a name, vendor or version
)

// ParseManifest reads an app's manifest, a Forge manifest.yml or a native one (see
// docs/formats.md). Name is the file's name for messages. In what concerns egress
// it is strict: an unknown key or a value of another type is a mistake. Of a Forge
// manifest's other parts it wants no more than YAML without references.
//
// It fails with a *[ManifestError] that has all mistakes if the manifest cannot
// be understood. An address that is understood but cannot be consented to is no
// mistake: it is in Refused.
//
// Limits: 512 KiB, 200 addresses, 16 KiB of rows' text.
//
// promise: P12
func ParseManifest(name string, src []byte, opts ManifestOptions) (*Manifest, error) {
	sum := sha256.Sum256(src)
	m := &manifestReader{
		reader:   reader{file: name},
		opts:     opts,
		Manifest: Manifest{Digest: "sha256:" + hex.EncodeToString(sum[:])},
		remotes:  map[string]*remoteDeclaration{},
	}
	root := m.parse(src)
	if root == nil {
		return nil, m.err()
	}
	top := map[string]value{}
	var keys []string
	m.mapping(value{root, placeOf(root), "the manifest"}, nil, func(key string, v value) {
		v.path = key
		top[key] = v
		keys = append(keys, key)
	})
	_, native := top["isogate"]
	switch {
	case len(m.mistakes) > 0:
	case native:
		m.native(value{root, placeOf(root), "the manifest"})
	case slices.ContainsFunc(keys, func(k string) bool { return slices.Contains(forgeKeys, k) }):
		m.forge(top, keys)
	default:
		m.fail(place{1, 1}, "the file is no app manifest: it has none of app, permissions, remotes, modules; give a Forge manifest.yml, or begin a native one with isogate: 1")
	}
	m.finish()
	if err := m.err(); err != nil {
		return nil, err
	}
	return &m.Manifest, nil
}

// manifestReader is the state of reading one manifest of either format.
type manifestReader struct {
	reader
	Manifest
	opts      ManifestOptions
	variables map[string]string // the manifest's own defaults
	remotes   map[string]*remoteDeclaration
	inOrder   []*remoteDeclaration // those of remotes, as the file has them
	connect   value                // what app.connect names
	addresses int
	rowText   int
	tooMany   bool
}

// finish sorts what was read.
func (m *manifestReader) finish() {
	byPlace := func(aLine, aColumn, bLine, bColumn int) int {
		return cmp.Or(cmp.Compare(aLine, bLine), cmp.Compare(aColumn, bColumn))
	}
	slices.SortStableFunc(m.Rows, func(a, b Declared) int { return byPlace(a.Line, a.Column, b.Line, b.Column) })
	slices.SortStableFunc(m.Refused, func(a, b RefusedAddress) int { return byPlace(a.Line, a.Column, b.Line, b.Column) })
	slices.SortStableFunc(m.Configurable, func(a, b Configurable) int { return byPlace(a.Line, a.Column, b.Line, b.Column) })
	first := map[Row]int{}
	m.Rows = slices.DeleteFunc(m.Rows, func(d Declared) bool {
		line, twice := first[d.Row]
		if twice {
			m.warn(place{d.Line, d.Column}, "the same is declared in line %d already; leave one out", line)
		} else {
			first[d.Row] = d.Line
		}
		return twice
	})
	m.Warnings = sorted(m.warnings)
}

// terms is what a manifest says about an address.
type terms struct {
	operations   Operations
	endUserData  bool
	tokens       Tokens
	region       string
	remoteKey    string
	category     string
	configurable bool
}

// worst is what an address without a word about it is taken for: whoever gets the
// data keeps it, and it is the users'. It holds for what a page loads as well:
// an image's address can say as much as a request's body.
var worst = terms{operations: Storage, endUserData: true}

// address adds a row for an address as it was written at a place, or a refusal.
func (m *manifestReader) address(kind Kind, written string, at place, t terms) {
	if m.addresses++; m.addresses > maxRows || m.tooMany {
		m.tooManyRows(at, "more than %d addresses", maxRows)
		return
	}
	expanded, err := m.expand(written)
	var a address
	if err == nil {
		a, err = parseAddress(kind, expanded)
	}
	if err != nil {
		m.Refused = append(m.Refused, RefusedAddress{Written: visible(written), Kind: kind, Line: at.line, Column: at.column, RemoteKey: t.remoteKey, Reason: err.Error()})
		return
	}
	if a.dropped != "" {
		m.warn(at, "the path of %s means nothing for servers' traffic, which is let out by host and port; leave it out", visible(written))
	}
	row := Row{
		Kind: kind, Host: a.host, Port: a.port, Path: a.path,
		Operations: t.operations, EndUserData: t.endUserData, Tokens: t.tokens, Region: t.region,
	}
	if m.rowText += len(row.String()); m.rowText > maxRowText {
		m.tooManyRows(at, "more than %d KiB of rows", maxRowText>>10)
		return
	}
	m.Rows = append(m.Rows, Declared{
		Row: row, Written: visible(written), Line: at.line, Column: at.column, RemoteKey: t.remoteKey,
		Category: t.category, Configurable: t.configurable, Warnings: row.Warnings(),
	})
}

// tooManyRows notes once that nobody could read such a table before consenting.
func (m *manifestReader) tooManyRows(at place, format string, args ...any) {
	if !m.tooMany {
		m.tooMany = true
		m.fail(at, "the manifest declares "+format+", which nobody can review; declare fewer, with *.example.com where they are one domain's", args...)
	}
}

// expand puts in the values of ${NAME}. What it puts in is not expanded again.
func (m *manifestReader) expand(s string) (string, error) {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, "${")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		name, rest, closed := strings.Cut(after, "}")
		if !closed || !isVariable(name) {
			return "", errors.New("the address has a ${ that is no variable's; write ${NAME}")
		}
		v, ok := m.opts.Env[name]
		if !ok {
			v, ok = m.variables[name]
		}
		if !ok || v == "" {
			return "", fmt.Errorf("the variable %s has no value; give the one that the app is deployed with", name)
		}
		b.WriteString(v)
		s = rest
	}
}

func isVariable(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '_' && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != "" && len(s) <= 100
}

// label reads a text that people are shown.
func (m *manifestReader) label(v value) string {
	s, ok := m.text(v)
	switch {
	case !ok:
	case len(s) > maxLabel*4 || len([]rune(s)) > maxLabel:
		m.fail(v.at, "%s is longer than %d characters; shorten it", v.path, maxLabel)
	case strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		m.fail(v.at, "%s has a character that does not show; remove it", v.path)
	default:
		return s
	}
	return ""
}

// visible escapes the characters of a text that do not show, or turn others round,
// and shortens it.
func visible(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case b.Len() > maxAddress:
			return b.String() + "…"
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, "\\u%04x", r)
		}
	}
	return b.String()
}

// scalar reports whether a node is text or looks like a number.
func scalar(n ast.Node) bool {
	switch n.(type) {
	case *ast.StringNode, *ast.LiteralNode, *ast.IntegerNode, *ast.FloatNode:
		return true
	}
	return false
}

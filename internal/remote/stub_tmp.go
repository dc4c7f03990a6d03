package remote

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/isogate/isogate"
)

func (r Row) Allows(kind Kind, host string, port uint16, path string) bool {
	if r.Kind != kind || r.Port != port {
		return false
	}
	if r.Wildcard() {
		return strings.HasSuffix(host, r.Host[1:])
	}
	return r.Host == host
}
func (r Row) Covers(o Row) bool {
	if r.Wildcard() && strings.HasSuffix(o.Host, r.Host[1:]) {
		o.Host = r.Host
	}
	if r.Tokens&o.Tokens == o.Tokens {
		o.Tokens = r.Tokens
	}
	return r == o
}
func Keep(approved, declared []Row) []Row {
	var out []Row
	for _, a := range approved {
		for _, d := range declared {
			if a == d || d.Covers(a) {
				out = append(out, a)
				break
			}
		}
	}
	return out
}

func Registrable(host string) string {
	p := strings.Split(strings.TrimPrefix(host, "*."), ".")
	return strings.Join(p[max(0, len(p)-2):], ".")
}
func DisplayHost(ascii string) string { return ascii }

type ChangeClass uint8

const (
	Added ChangeClass = iota
	Widened
	Narrowed
	Removed
	Unchanged
)

func (c ChangeClass) String() string {
	return [...]string{"added", "widened", "narrowed", "removed", "unchanged"}[c]
}

type Change struct {
	Class ChangeClass
	Row   Row
	From  []Row
	Why   []string
}

func Compare(approved, declared []Row) (out []Change) {
next:
	for _, d := range declared {
		for _, a := range approved {
			if a == d {
				out = append(out, Change{Class: Unchanged, Row: d, From: []Row{a}})
				continue next
			}
			if a.Covers(d) {
				out = append(out, Change{Class: Narrowed, Row: d, From: []Row{a}})
				continue next
			}
			if d.Covers(a) {
				out = append(out, Change{Class: Widened, Row: d, From: []Row{a}, Why: []string{"wider"}})
				continue next
			}
		}
		out = append(out, Change{Class: Added, Row: d})
	}
	for _, a := range approved {
		ok := false
		for _, d := range declared {
			ok = ok || d.Covers(a)
		}
		if !ok {
			out = append(out, Change{Class: Removed, From: []Row{a}})
		}
	}
	return out
}

type ManifestOptions struct {
	Env map[string]string
}
type Finding struct {
	File         string
	Line, Column int
	Message      string
	Hint         string
}

func (f Finding) String() string {
	return fmt.Sprintf("%s:%d:%d: %s", f.File, f.Line, f.Column, f.Message)
}

type ManifestError struct{ Findings []Finding }

func (e *ManifestError) Error() string { return fmt.Sprint(e.Findings) }

type Declared struct {
	Row
	Written             string
	Line, Column        int
	RemoteKey, Category string
}
type RefusedAddress struct {
	Written      string
	Kind         Kind
	Line, Column int
	Reason       string
}
type Manifest struct {
	Format, App, Name, Vendor, Version, Digest string
	Rows                                       []Declared
	Refused                                    []RefusedAddress
	Warnings                                   []Finding
}

func (m *Manifest) Source() (isogate.Source, error) { return isogate.Source("app/" + m.App), nil }

func ParseManifest(name string, src []byte, opts ManifestOptions) (*Manifest, error) {
	m := &Manifest{Format: "native"}
	s := sha256.Sum256(src)
	m.Digest = "sha256:" + hex.EncodeToString(s[:])
	for i, line := range strings.Split(string(bytes.TrimSpace(src)), "\n") {
		k, v, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch k {
		case "app":
			m.App = v
		case "name":
			m.Name = v
		case "version":
			m.Version = v
		case "- host":
			if v == "*" {
				m.Refused = append(m.Refused, RefusedAddress{v, Backend, i + 1, 9, "everything is not consentable"})
				continue
			}
			m.Rows = append(m.Rows, Declared{Row: Row{Kind: Backend, Host: v, Port: 443, Operations: Storage, EndUserData: true}, Written: v, Line: i + 1, Column: 9})
		case "isogate", "remotes:":
		default:
			return nil, &ManifestError{[]Finding{{name, i + 1, 1, fmt.Sprintf("unknown key %.40q", k), ""}}}
		}
	}
	return m, nil
}

type Warning struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (r Row) Warnings() (w []Warning) {
	if r.Wildcard() {
		w = append(w, Warning{"wildcard", "every subdomain"})
	}
	return w
}
func (c ChangeClass) Asks() bool { return c == Added || c == Widened }

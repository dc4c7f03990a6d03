package isogate

import (
	"fmt"
	"strings"
)

// Label is a key of the taxonomy: one to four dotted segments, most general
// first, such as personal.contact.email. It says what a value means; what may
// leave of the value follows from it. A Label read from outside goes through
// [ParseLabel]; whether the key exists is the taxonomy's to say.
type Label string

const (
	// Unclassified is the label of every field that no contract names. It is
	// never released in plaintext and no rule may name it.
	Unclassified Label = "unclassified"
	// Opaque is the label of what could not be parsed. It is always refused.
	Opaque Label = "opaque"
)

// MaxLabelDepth is how many segments a label has at the most.
const MaxLabelDepth = 4

// ParseLabel checks the form of a label: one to four segments of a-z, 0-9 and
// underscore, each beginning with a letter, joined by dots.
func ParseLabel(s string) (Label, error) {
	if err := checkSegments(s, false); err != nil {
		return "", fmt.Errorf("label %q: %w", s, err)
	}
	return Label(s), nil
}

// Parent returns the label one segment shorter, or "" for a label of one segment.
func (l Label) Parent() Label {
	i := strings.LastIndexByte(string(l), '.')
	if i < 0 {
		return ""
	}
	return l[:i]
}

// Reserved reports whether rules are forbidden to name the label: unclassified
// and opaque stand for what nobody has judged.
func (l Label) Reserved() bool { return l == Unclassified || l == Opaque || l == "" }

// LabelPattern selects labels by whole segments: "*" stands for exactly one
// segment, a final "**" for any number of further ones, none included. It never
// selects a reserved label, however wide it is. The zero value selects nothing.
type LabelPattern string

// ParseLabelPattern checks the form of a pattern.
func ParseLabelPattern(s string) (LabelPattern, error) {
	if err := checkSegments(s, true); err != nil {
		return "", fmt.Errorf("label pattern %q: %w", s, err)
	}
	return LabelPattern(s), nil
}

// Match reports whether the pattern selects l.
func (p LabelPattern) Match(l Label) bool {
	if p == "" || l.Reserved() {
		return false
	}
	ps, ls := string(p), string(l)
	for {
		seg, prest, pmore := strings.Cut(ps, ".")
		if seg == "**" {
			return true
		}
		lseg, lrest, lmore := strings.Cut(ls, ".")
		if seg != "*" && seg != lseg {
			return false
		}
		switch {
		case !pmore:
			return !lmore
		case !lmore:
			return prest == "**"
		}
		ps, ls = prest, lrest
	}
}

// Exact returns the one label that the pattern selects, and whether it has no wildcard.
func (p LabelPattern) Exact() (Label, bool) {
	return Label(p), p != "" && !strings.Contains(string(p), "*")
}

func checkSegments(s string, wild bool) error {
	if s == "" {
		return fmt.Errorf("is empty")
	}
	n := 0
	for rest, more := s, true; more; {
		var seg string
		seg, rest, more = strings.Cut(rest, ".")
		n++
		switch {
		case n > MaxLabelDepth && seg != "**":
			return fmt.Errorf("has more than %d segments", MaxLabelDepth)
		case seg == "":
			return fmt.Errorf("has an empty segment")
		case wild && seg == "**" && more:
			return fmt.Errorf("has ** before its last segment")
		case wild && (seg == "*" || seg == "**"):
			continue
		case seg[0] < 'a' || seg[0] > 'z':
			return fmt.Errorf("segment %q does not begin with a letter a-z", seg)
		}
		for i := range len(seg) {
			if c := seg[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
				return fmt.Errorf("segment %q has the character %q; use a-z, 0-9 and _", seg, c)
			}
		}
	}
	return nil
}

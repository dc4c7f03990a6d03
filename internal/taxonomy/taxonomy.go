// Package taxonomy says what a label means and what happens to a value of it
// when no rule says otherwise. It ships a default taxonomy, embedded, which a
// pack may extend: with labels of its own and with stricter treatments, never
// with looser ones.
//
// A label is a key of at most four segments. Each has a definition, two
// examples of what it is and one of what it is not, a default treatment, the
// types of value it takes, and, where one exists, the same notion in W3C DPV
// or in fideslang. Two labels are reserved and stand for what nobody judged:
// unclassified and opaque.
package taxonomy

import (
	"cmp"
	_ "embed"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/isogate/isogate"
)

// Definition is one key of the taxonomy.
type Definition struct {
	Label      isogate.Label
	Definition string   // what it means, one sentence without a full stop
	Examples   []string // two values or fields that are of this label
	Not        string   // one that is not, with the label it has instead
	Treat      isogate.Action
	Form       isogate.Form
	// Types are the kinds of value the label takes, in the order of their
	// declaration; a value of another kind is unclassified. Empty means every
	// kind. Null says that there is no value and is taken by every label.
	Types      []isogate.Kind
	DPV        string        // a term of W3C DPV, such as dpv-pd:EmailAddress, or ""
	Fides      string        // a fideslang data category, such as user.contact.email, or ""
	ReplacedBy isogate.Label // the key to use instead of this deprecated one, or ""

	File         string // where it was defined
	Line, Column int
}

// Verdict is the treatment of a value of this label when no rule says otherwise.
func (d *Definition) Verdict() isogate.Verdict {
	return isogate.Verdict{Action: d.Treat, Form: d.Form, Label: d.Label}
}

// Takes reports whether a value of kind k can be of this label.
func (d *Definition) Takes(k isogate.Kind) bool {
	return len(d.Types) == 0 || k == isogate.Null || slices.Contains(d.Types, k)
}

// Taxonomy is a set of keys. It is immutable and safe for concurrent use; the
// zero value knows no key, so that everything is refused.
type Taxonomy struct {
	byLabel map[isogate.Label]*Definition
	labels  []isogate.Label // sorted
}

//go:embed default.yaml
var defaultYAML []byte

var shipped = sync.OnceValue(func() *Taxonomy { return mustBuild(Parse("default.yaml", defaultYAML)) })

// mustBuild panics on a taxonomy that does not parse: the embedded one is part
// of the program, and a program without it must not run.
func mustBuild(defs []Definition, err error) *Taxonomy {
	if err != nil {
		panic("taxonomy: the embedded default does not parse: " + err.Error())
	}
	return build(defs)
}

// Default returns the shipped taxonomy.
func Default() *Taxonomy { return shipped() }

func build(defs []Definition) *Taxonomy {
	t := &Taxonomy{byLabel: make(map[isogate.Label]*Definition, len(defs))}
	for i := range defs {
		t.byLabel[defs[i].Label] = &defs[i]
	}
	t.labels = slices.Sorted(maps.Keys(t.byLabel))
	return t
}

// Lookup returns the definition of a label. An unknown label is an
// [*UnknownError], which suggests the key that was most likely meant. A
// deprecated one is returned together with a [*ReplacedError], which names its
// successor.
func (t *Taxonomy) Lookup(l isogate.Label) (Definition, error) {
	d, ok := t.byLabel[l]
	if !ok {
		return Definition{}, &UnknownError{Label: l, Nearest: t.nearest(l)}
	}
	if d.ReplacedBy != "" {
		return *d, &ReplacedError{Label: l, By: d.ReplacedBy}
	}
	return *d, nil
}

// Treatment returns the verdict on a value of label l when no rule says
// otherwise. A label that is not a key is refused.
func (t *Taxonomy) Treatment(l isogate.Label) isogate.Verdict {
	if d, ok := t.byLabel[l]; ok {
		return d.Verdict()
	}
	return isogate.Verdict{Label: l}
}

// All returns every definition, sorted by label.
func (t *Taxonomy) All() []Definition {
	out := make([]Definition, len(t.labels))
	for i, l := range t.labels {
		out[i] = *t.byLabel[l]
	}
	return out
}

// Match returns the labels that pattern selects, sorted. Deprecated keys are
// among them, so that an invariant over a pattern covers packs that still use
// one; reserved labels never are.
func (t *Taxonomy) Match(pattern isogate.LabelPattern) []isogate.Label {
	var out []isogate.Label
	for _, l := range t.labels {
		if pattern.Match(l) {
			out = append(out, l)
		}
	}
	return out
}

// ancestor returns the definition of the longest proper prefix of l that is a key.
func (t *Taxonomy) ancestor(l isogate.Label) *Definition {
	for p := l.Parent(); p != ""; p = p.Parent() {
		if d, ok := t.byLabel[p]; ok {
			return d
		}
	}
	return nil
}

func compareDefinitions(a, b Definition) int {
	return cmp.Or(strings.Compare(a.File, b.File), a.Line-b.Line, a.Column-b.Column)
}

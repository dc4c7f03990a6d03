package policy

import (
	"cmp"
	"slices"
	"time"

	"github.com/isogate/isogate"
)

// Effect is what changes for what leaves when one plan takes another's place.
type Effect struct {
	Before string    `json:"before"` // the plans' digests
	After  string    `json:"after"`
	At     time.Time `json:"at"` // the instant from which on it is about
	// MoreExposing says that something may leave that did not, or in a looser form, or
	// to be kept longer, or elsewhere; now or at any later time. What could not be compared counts as that.
	MoreExposing bool            `json:"more_exposing"`
	Transits     []TransitEffect `json:"transits"` // those that differ, sorted by name
	Invariants   []InvariantDiff `json:"invariants,omitempty"`
}

// Standing is what becomes of a transit.
type Standing string

// The standings.
const (
	Added   Standing = "new"
	Removed Standing = "removed"
	Changed Standing = "changed"
)

// TransitEffect is what changes about one transit.
type TransitEffect struct {
	Transit  isogate.Transit `json:"transit"`
	Standing Standing        `json:"standing"`
	Looser   bool            `json:"looser"` // something of it is
	// Ways is what changes about who may send where, and on whose word.
	Ways []Change `json:"ways,omitempty"`
	// Fields is what changes about what leaves. Of a new transit it is all that it lets
	// out in plaintext or sealed; of one that is removed, what it let out.
	Fields []FieldChange `json:"fields,omitempty"`
}

// Change is one thing that differs, in words.
type Change struct {
	What   string `json:"what"`             // source, match, destination, consent, …
	Before string `json:"before,omitempty"` // "" if there was none
	After  string `json:"after,omitempty"`  // "" if there is none any more
	Looser bool   `json:"looser"`
	Why    string `json:"why,omitempty"` // why it counts as looser, where that is not plain
}

// FieldChange is one field that is treated otherwise.
type FieldChange struct {
	Field  string `json:"field"` // as [Transit.Explain] takes it, or such a path with "(names)" behind it
	Before Answer `json:"before"`
	After  Answer `json:"after"`
	Looser bool   `json:"looser"`
	// From is since when, where that is later than the instant that was asked about.
	From *time.Time `json:"from,omitempty"`
	// When are the guards that hold then, where it depends on them; the others do not.
	When []string `json:"when,omitempty"`
	// Kind is the type of value, where it depends on that.
	Kind string `json:"kind,omitempty"`
	Why  string `json:"why,omitempty"` // why it counts as looser, where that is not plain
}

// InvariantDiff is a line of never.yaml that only one of the plans has.
type InvariantDiff struct {
	Standing Standing `json:"standing"`
	Never    string   `json:"never"`
	At       string   `json:"at"` // file:line
}

// Compare says what changes when after takes the place of before, from an instant on:
// now, and when rules of either end. It compares tables and not texts, so that
// what is written otherwise and means the same is no change. Guards count as possibly
// true and possibly false, those of one text as one.
//
// It says that after is no more exposing only if there is no transit, source, path
// or destination that before has not, and no value, at any place that either contract
// tells apart, gets a looser verdict at any time, under any guards and any
// consent. What it cannot compare it calls more exposing.
//
// promise: P09
// promise: P40
func Compare(before, after *Plan, at time.Time) Effect {
	e := Effect{Before: before.Digest, After: after.Digest, At: at, Transits: []TransitEffect{}, Invariants: diffInvariants(before, after)}
	for _, name := range transitNames(before, after) {
		was, _ := before.Transit(name)
		is, _ := after.Transit(name)
		te := TransitEffect{Transit: name, Standing: Changed}
		switch {
		case was == nil:
			te.Standing, te.Ways, te.Fields = Added, newWays(is), released(is, at, true)
		case is == nil:
			te.Standing, te.Fields = Removed, released(was, at, false)
			te.Ways = append(oldWays(was), elsewhere(was, nil, after)...)
		default:
			te.Ways = append(compareWays(was, is), elsewhere(was, is, after)...)
			te.Fields = compareFields(was, is, at, &te.Ways)
		}
		if len(te.Ways) == 0 && len(te.Fields) == 0 {
			continue
		}
		te.Looser = te.Standing == Added || slices.ContainsFunc(te.Ways, func(c Change) bool { return c.Looser }) ||
			slices.ContainsFunc(te.Fields, func(f FieldChange) bool { return f.Looser })
		e.MoreExposing = e.MoreExposing || te.Looser
		e.Transits = append(e.Transits, te)
	}
	return e
}

// None reports whether nothing changes for what leaves.
func (e *Effect) None() bool { return len(e.Transits) == 0 && len(e.Invariants) == 0 }

// transitNames are the names of both plans' transits, sorted.
func transitNames(plans ...*Plan) (names []isogate.Transit) {
	for _, p := range plans {
		for _, t := range p.transits {
			names = append(names, t.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// diffInvariants are the lines of never.yaml that one plan has and the other has not.
func diffInvariants(before, after *Plan) (out []InvariantDiff) {
	for _, one := range []struct {
		in, not  *Plan
		standing Standing
	}{{before, after, Removed}, {after, before, Added}} {
		for _, inv := range one.in.invariants {
			if !slices.ContainsFunc(one.not.invariants, func(o Invariant) bool { return o.Never == inv.Never }) {
				out = append(out, InvariantDiff{one.standing, inv.Never, inv.At})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b InvariantDiff) int { return cmp.Compare(a.Never, b.Never) })
	return out
}

package remote

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// ChangeClass says what a declared row, or one that is declared no longer, is beside
// what was approved. The zero value waits for a new prompt, as Widened does.
type ChangeClass uint8

// The classes of change.
const (
	Added     ChangeClass = iota // nothing like it was approved
	Widened                      // more than was approved of the same hosts
	Narrowed                     // less than was approved
	Removed                      // approved, and declared no longer
	Unchanged                    // approved
)

var changeNames = [...]string{"added", "widened", "narrowed", "removed", "unchanged"}

func (c ChangeClass) String() string {
	if int(c) < len(changeNames) {
		return changeNames[c]
	}
	return fmt.Sprintf("invalid(%d)", uint8(c))
}

// MarshalText implements [encoding.TextMarshaler].
func (c ChangeClass) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (c *ChangeClass) UnmarshalText(b []byte) error {
	i := slices.Index(changeNames[:], string(b))
	if i < 0 {
		return fmt.Errorf("unknown class of change %.40q; use one of %s", b, strings.Join(changeNames[:], ", "))
	}
	*c = ChangeClass(i) //nolint:gosec // there are five
	return nil
}

// Asks reports whether a change waits for a new prompt. The others take effect by
// themselves, for they let out no more than was approved.
func (c ChangeClass) Asks() bool { return c != Narrowed && c != Removed && c != Unchanged }

// Change is one line of the difference between what a tenant approved and what a
// manifest declares.
type Change struct {
	Class ChangeClass `json:"class"`
	// Row is what is declared; zero if it is Removed.
	Row Row `json:"row,omitzero"`
	// From are the approved rows that it is held against: those of the same hosts
	// if it is Widened, those that cover it if it is Narrowed or Unchanged.
	From []Row `json:"from,omitempty"`
	// Why says what differs from the approved row that is nearest.
	Why []string `json:"why,omitempty"`
}

// Compare holds what a manifest declares against what the tenant approved, which
// is the base and not the manifest of before: what was denied once is new each
// time. It depends on neither's order. A row that one approved row covers waits
// for nothing; one that no single approved row covers does, even if several
// together would, because each was approved for what it said.
//
// Changes are sorted: what waits for a prompt first.
//
// promise: P13
func Compare(approved, declared []Row) []Change {
	approved, declared = distinct(approved), distinct(declared)
	var changes []Change
	for _, d := range declared {
		changes = append(changes, compareRow(d, approved, declared))
	}
	for _, a := range approved {
		if !slices.ContainsFunc(declared, func(d Row) bool { return shares(a, d) }) {
			changes = append(changes, Change{Class: Removed, From: []Row{a}})
		}
	}
	slices.SortStableFunc(changes, func(a, b Change) int {
		if c := cmp.Or(cmp.Compare(a.Class, b.Class), compareRows(a.Row, b.Row)); c != 0 || len(a.From) == 0 || len(b.From) == 0 {
			return c
		}
		return compareRows(a.From[0], b.From[0])
	})
	return changes
}

func compareRow(d Row, approved, declared []Row) Change {
	if slices.Contains(approved, d) {
		return Change{Class: Unchanged, Row: d, From: []Row{d}}
	}
	var covering, kept, related []Row
	for _, a := range approved {
		switch {
		case a.Covers(d):
			covering = append(covering, a)
			if slices.ContainsFunc(declared, func(d Row) bool { return shares(a, d) && meet(a, d) == a }) {
				kept = append(kept, a)
			}
		case relates(a, d):
			related = append(related, a)
		}
	}
	switch {
	case len(kept) > 0:
		return Change{Class: Unchanged, Row: d, From: kept}
	case len(covering) > 0:
		return Change{Class: Narrowed, Row: d, From: covering, Why: narrower(nearest(covering, d), d)}
	case len(related) > 0:
		return Change{Class: Widened, Row: d, From: related, Why: wider(nearest(related, d), d)}
	}
	return Change{Class: Added, Row: d}
}

// Keep returns what remains of an approval by itself, without anybody being
// asked, when a manifest declares something else: what both let out. A row that
// is declared wider stays as it was approved; one that is declared narrower
// shrinks; one for places and traffic that are declared no longer goes. Nothing
// that is returned lets out more than an approved row did.
//
// promise: P13
func Keep(approved, declared []Row) []Row {
	var kept []Row
	for _, a := range distinct(approved) {
		for _, d := range declared {
			if shares(a, d) {
				kept = append(kept, meet(a, d))
			}
		}
	}
	kept = distinct(kept)
	return slices.DeleteFunc(slices.Clone(kept), func(k Row) bool {
		return slices.ContainsFunc(kept, func(other Row) bool { return other != k && other.Covers(k) })
	})
}

// shares reports whether two rows let out some of the same traffic to some of the
// same places.
func shares(a, b Row) bool {
	return a.Kind == b.Kind && a.Kind != NoKind && a.Port == b.Port && overlaps(withinHost, a.Host, b.Host) && overlaps(withinPath, a.Path, b.Path) &&
		(a.Region == "" || b.Region == "" || a.Region == b.Region)
}

// relates reports whether somebody who approved a would ask what b has to do with
// it: they name some of the same hosts.
func relates(a, b Row) bool {
	return a.Kind != NoKind && (a.Kind == TransitWay) == (b.Kind == TransitWay) && overlaps(withinHost, a.Host, b.Host)
}

func overlaps(within func(a, b string) bool, a, b string) bool { return within(a, b) || within(b, a) }

// meet is the widest row that is no wider than a and lets out only traffic that
// d lets out too. What d says to do with the data may have nothing in common with
// what a does; then a's words stand, for the places are the same and nothing
// more was approved.
func meet(a, d Row) Row {
	m := a
	if withinHost(a.Host, d.Host) {
		m.Host = d.Host
	}
	if withinPath(a.Path, d.Path) {
		m.Path = d.Path
	}
	if a.Region == "" {
		m.Region = d.Region
	}
	if both := a.Operations & d.Operations; both != 0 {
		m.Operations = both
	}
	m.Tokens &= d.Tokens
	m.EndUserData = a.EndUserData && d.EndUserData
	return m
}

// nearest is the row that d differs least from.
func nearest(rows []Row, d Row) Row {
	return slices.MinFunc(rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(len(wider(a, d))+len(narrower(a, d)), len(wider(b, d))+len(narrower(b, d))), compareRows(a, b))
	})
}

// wider says in what d lets out more than a.
func wider(a, d Row) []string {
	var why []string
	say := func(yes bool, format string, args ...any) {
		if yes {
			why = append(why, fmt.Sprintf(format, args...))
		}
	}
	say(a.Kind != d.Kind, "another kind of traffic: %s, not %s", d.Kind, a.Kind)
	say(!withinHost(a.Host, d.Host), "every subdomain of %s instead of %s", strings.TrimPrefix(d.Host, "*."), inWords(a.Host))
	say(a.Port != d.Port, "another port: %d, not %d", d.Port, a.Port)
	say(!withinPath(a.Path, d.Path) && d.Path == "", "every path instead of %s", a.Path)
	say(!withinPath(a.Path, d.Path) && d.Path != "", "the path %s instead of %s", d.Path, a.Path)
	say(d.Operations&^a.Operations != 0, "new operations: %s", d.Operations&^a.Operations)
	say(d.Tokens&^a.Tokens != 0, "new tokens handed over: %s", d.Tokens&^a.Tokens)
	say(d.EndUserData && !a.EndUserData, "end-user data goes there now")
	say(a.Region != "" && d.Region == "", "every region instead of %s", a.Region)
	say(a.Region != "" && d.Region != "" && a.Region != d.Region, "another region: %s, not %s", d.Region, a.Region)
	return why
}

// narrower says in what d lets out less than a.
func narrower(a, d Row) []string {
	var why []string
	say := func(yes bool, format string, args ...any) {
		if yes {
			why = append(why, fmt.Sprintf(format, args...))
		}
	}
	say(a.Host != d.Host && withinHost(a.Host, d.Host), "%s instead of %s", inWords(d.Host), inWords(a.Host))
	say(a.Path != d.Path && withinPath(a.Path, d.Path), "only the path %s", d.Path)
	say(a.Operations&^d.Operations != 0, "no longer: %s", a.Operations&^d.Operations)
	say(a.Tokens&^d.Tokens != 0, "tokens no longer handed over: %s", a.Tokens&^d.Tokens)
	say(a.EndUserData && !d.EndUserData, "no end-user data any more")
	say(a.Region == "" && d.Region != "", "only the region %s", d.Region)
	return why
}

// inWords says which hosts a row's host is.
func inWords(host string) string {
	if base, wild := strings.CutPrefix(host, "*."); wild {
		return "every subdomain of " + base
	}
	return "the host " + host
}

// distinct returns the rows sorted, each once.
func distinct(rows []Row) []Row {
	rows = slices.Clone(rows)
	slices.SortFunc(rows, compareRows)
	return slices.Compact(rows)
}

func compareRows(a, b Row) int {
	data := func(r Row) int {
		if r.EndUserData {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), strings.Compare(a.Host, b.Host), cmp.Compare(a.Port, b.Port), strings.Compare(a.Path, b.Path),
		strings.Compare(a.Region, b.Region), cmp.Compare(a.Operations, b.Operations), cmp.Compare(a.Tokens, b.Tokens), cmp.Compare(data(a), data(b)))
}

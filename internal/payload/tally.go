package payload

import (
	"cmp"
	"slices"

	"github.com/isogate/isogate"
)

// ledger is what the places of a Tree or of Names are counted by.
type ledger struct {
	paths []string // by place
	defs  []int32  // by place: the set that what stands there is judged by, unless its type or name says otherwise
}

// nameSuffix marks the places that count replaced names.
const nameSuffix = "#name"

// Tally counts how the values of one request were treated. It may be handed to
// the walkers of its query, headers and body in turn, and is meant to be reused:
// a Tally that has seen a contract before counts without allocating. The zero
// value is ready. It is not for use by several goroutines at once.
type Tally struct {
	parts []*part
}

// part counts the places of one contract under one table of verdicts.
type part struct {
	of       *ledger
	verdicts []isogate.Verdict
	counts   []uint32          // by place: treated as the verdict of its set says
	dirty    []uint32          // places with a count
	odd      map[oddity]uint32 // treated otherwise
}

// oddity is a treatment that the place alone does not tell.
type oddity struct {
	place   uint32
	set     int32
	mixed   bool // judged by the stricter of set and unclassified
	applied isogate.Action
}

// maxParts is how many contracts a Tally remembers over a Reset: those of one
// transit are its body, query, path, headers, cookies and trailers.
const maxParts = 8

// Reset forgets the counts.
func (t *Tally) Reset() {
	if len(t.parts) > maxParts {
		t.parts = nil
	}
	for _, p := range t.parts {
		for _, place := range p.dirty {
			p.counts[place] = 0
		}
		p.dirty = p.dirty[:0]
		clear(p.odd)
	}
}

// Fields appends the counts to dst, sorted by path, label, action and rule. The
// paths are those of the contract; parent.? is a member it does not name, [] an
// element, and a path ending in #name counts member names that were replaced, or
// registered.
// The places of a query and the like begin with "query:", "path:", "header:",
// "cookie:" or "trailer:".
func (t *Tally) Fields(dst []isogate.Field) []isogate.Field {
	first := len(dst)
	for _, p := range t.parts {
		for _, place := range p.dirty {
			v := p.verdicts[p.of.defs[place]]
			dst = append(dst, isogate.FieldOf(p.of.paths[place], v, v.Action, p.counts[place]))
		}
		for o, n := range p.odd {
			dst = append(dst, isogate.FieldOf(p.of.paths[o.place], judge(p.verdicts, o.set, o.mixed), o.applied, n))
		}
	}
	fields := dst[first:]
	slices.SortFunc(fields, compareFields)
	kept := fields[:0]
	for _, f := range fields {
		if n := len(kept); n > 0 && compareFields(kept[n-1], f) == 0 {
			kept[n-1].N += f.N
		} else {
			kept = append(kept, f)
		}
	}
	return dst[:first+len(kept)]
}

func compareFields(a, b isogate.Field) int {
	if c := cmp.Compare(a.Path, b.Path); c != 0 { // nearly always
		return c
	}
	return cmp.Or(
		cmp.Compare(a.Label, b.Label), cmp.Compare(a.Action, b.Action),
		cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Handling, b.Handling), cmp.Compare(a.TTL, b.TTL),
		compareBools(a.Sealed, b.Sealed), compareBools(a.Registered, b.Registered), compareBools(a.Declared, b.Declared),
	)
}

// compareBools orders false before true.
func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// judge returns the verdict of a set; mixed, the stricter of it and of
// unclassified. What the table does not have refuses.
func judge(verdicts []isogate.Verdict, set int32, mixed bool) isogate.Verdict {
	if int(set) >= len(verdicts) {
		return isogate.Verdict{}
	}
	if mixed {
		return verdicts[set].Strictest(verdicts[0])
	}
	return verdicts[set]
}

// part returns the counters for a contract under a table of verdicts.
func (t *Tally) part(of *ledger, verdicts []isogate.Verdict) *part {
	var idle *part
	for _, p := range t.parts {
		if p.of == of {
			if len(p.verdicts) == len(verdicts) && (len(verdicts) == 0 || &p.verdicts[0] == &verdicts[0]) {
				return p
			}
			if len(p.dirty) == 0 && len(p.odd) == 0 {
				idle = p
			}
		}
	}
	if idle == nil {
		idle = &part{of: of, counts: make([]uint32, len(of.paths)), odd: map[oddity]uint32{}}
		t.parts = append(t.parts, idle)
	}
	idle.verdicts = verdicts
	return idle
}

// count counts one value.
func (p *part) count(place uint32, set int32, mixed bool, applied isogate.Action) {
	if mixed || p.of.defs[place] != set || p.verdicts[set].Action != applied {
		p.odd[oddity{place, set, mixed, applied}]++
		return
	}
	p.plain(place)
}

// plain counts one value that was treated as the verdict of its place says.
func (p *part) plain(place uint32) {
	n := p.counts[place]
	if n == 0 {
		p.dirty = append(p.dirty, place)
	}
	p.counts[place] = n + 1
}

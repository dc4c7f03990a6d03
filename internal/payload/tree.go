package payload

import (
	"encoding/binary"
	"hash/maphash"
	"sync"

	"github.com/isogate/isogate"
)

// Types is a set of [isogate.Kind]: the types of value that a place takes. The
// zero value takes every scalar.
type Types uint8

const allTypes = Types(1<<isogate.Null | 1<<isogate.Bool | 1<<isogate.Number | 1<<isogate.String)

// TypesOf returns the set of kinds; no kinds are every kind.
func TypesOf(kinds ...isogate.Kind) Types {
	var t Types
	for _, k := range kinds {
		t |= 1 << k & allTypes
	}
	return t
}

// Has reports whether the set has k.
func (t Types) Has(k isogate.Kind) bool { return t == 0 || t&(1<<k) != 0 }

// Spec is one line of a contract: what stands at a path.
type Spec struct {
	Path  Path
	Label isogate.Label
	Types Types         // what the place takes; a value of another type is unclassified
	Key   isogate.Label // what the names are that the path's * and ** stand for; "" when they are judged with their values
	Parse bool          // a string here holds JSON; the paths below go on inside it, and what they do not name has this Label
}

// Tree is a compiled contract. It is immutable and serves any number of bodies
// at once.
type Tree struct {
	ledger
	root   *node
	sets   [][]isogate.Label
	places []Place
	byPath map[string]int // index of the first of places with the path
	slots  int            // length of a walker's table of learned successors
	shapes []*shape

	seed maphash.Seed
	pool sync.Pool // of *walker, whose learned successors are this tree's
}

// Place is where values stand, as a contract sees it.
type Place struct {
	Path     string
	Labels   []isogate.Label // sorted; a value is judged by the strictest of their verdicts
	Set      int             // index into Tree.Sets
	Types    Types
	None     bool            // no type is taken: the lines that name the place contradict one another, and all there is unclassified
	Parse    bool            // strings here hold JSON
	Keys     []isogate.Label // of the names a wildcard at the path's end stands for; empty when they are judged with the value
	KeySet   int             // index into Tree.Sets; 0 when Keys is empty
	Declared bool            // false when no line of the contract names it
}

// Sets returns the distinct combinations of labels that the contract leads to,
// each sorted. The first is unclassified alone.
func (t *Tree) Sets() [][]isogate.Label { return t.sets }

// Places returns every place that the contract names, sorted by path. Where
// wildcards make places of one path carry different labels, each is listed.
func (t *Tree) Places() []Place { return t.places }

// Find returns the place that a path leads to: a path of the contract, or the
// path of one value, whose elements may be written [3] for []. A path the
// contract does not name leads to an unclassified place. An error is a
// [*PathError].
func (t *Tree) Find(path string) (Place, error) {
	if i, ok := t.byPath[path]; ok {
		return t.places[i], nil
	}
	p, err := ParsePath(withoutIndexes(path))
	if err != nil {
		return Place{}, err
	}
	if i, ok := t.byPath[p.String()]; ok {
		return t.places[i], nil
	}
	n, via := t.look(p)
	place := t.place(n, via)
	place.Path = p.String()
	return place, nil
}

// look walks along a path that was read; via is the shape whose wildcard led to its
// end, if one did.
func (t *Tree) look(p Path) (*node, *shape) {
	n := t.root
	var via *shape
	for _, seg := range p.segs {
		if n.inner != nil {
			n = n.inner
		}
		via = nil
		switch seg.kind {
		case segKey:
			next, any := n.find(t.seed, seg.key)
			if any {
				via = n.shape
			}
			n = next
		case segAny, segDeep:
			n, via = n.child(), n.shape
		case segElem, segWhere:
			to := n.elements()
			if to == nil {
				to = n.selected(n.shape.where.sum(seg.key, seg.value))
			}
			n = to
		}
	}
	return n, via
}

// Names reports whether a line of the contract names the place that a path leads to.
func (t *Tree) Names(p Path) bool {
	n, _ := t.look(p)
	return n.declared
}

// place describes a node; via is the shape whose wildcard led to it, if one did.
func (t *Tree) place(n *node, via *shape) Place {
	p := Place{
		Path:     t.paths[n.place],
		Labels:   t.sets[n.set],
		Set:      int(n.set),
		Types:    n.takes,
		None:     n.takes == 0,
		Parse:    n.inner != nil,
		Declared: n.declared,
	}
	if p.Types == allTypes {
		p.Types = 0
	}
	if via != nil && via.any != nil && via.anyKeys >= 0 {
		p.Keys, p.KeySet = t.sets[via.anyKeys], int(via.anyKeys)
	}
	return p
}

// withoutIndexes writes [] for every [digits] outside quotes.
func withoutIndexes(path string) string {
	out := make([]byte, 0, len(path))
	quoted := false
	for i := 0; i < len(path); i++ {
		c := path[i]
		out = append(out, c)
		if c == '\'' {
			quoted = !quoted
		}
		if c == '[' && !quoted {
			j := i + 1
			for j < len(path) && path[j] >= '0' && path[j] <= '9' {
				j++
			}
			if j < len(path) && path[j] == ']' {
				i = j - 1
			}
		}
	}
	return string(out)
}

// node is a place of a body, as a walker meets it: a state of the automaton
// that a contract is compiled to.
type node struct {
	shape    *shape // what is named below; nil for nothing
	member   *node  // a member that shape does not name
	elem     *node  // an element that shape does not name
	inner    *node  // where the JSON inside a string begins; nil when strings hold text
	set      int32
	place    uint32 // place+1 counts the names that came here by a wildcard
	takes    Types  // exact: 0 takes nothing
	declared bool
}

// shape is what may follow a place. Places that differ in their labels only
// share one.
type shape struct {
	keys    []edge
	table   []uint32 // open addressing; index into keys, plus 1
	any     *node    // every other member; nil when it is not named
	anyKeys int32    // set that the names of those members are judged by; -1 for the value's
	elem    *node    // every element; nil when it is not named
	where   *selector
	slot    int // of the learned successors: slot for the first key, slot+1+i for what follows key i
}

// edge leads on by a name. What follows the opening quote is compared eight bytes
// at once; a name that JSON must escape has a head that nothing matches.
type edge struct {
	head, mask uint64 // the first eight bytes of quoted, and which of them count
	tail       uint64 // the last eight
	size       int    // of quoted, in bytes
	node       *node
	quoted     string // the name, its closing quote and the colon, as compact JSON has it
	key        string
}

func newEdge(key string, n *node) edge {
	e := edge{key: key, node: n, quoted: key + `":`}
	e.size = len(e.quoted)
	for i := range len(key) {
		if c := key[i]; c < ' ' || c == '"' || c == '\\' {
			e.head = 1 // mask is 0
			return e
		}
	}
	for i := range min(8, e.size) {
		e.head |= uint64(e.quoted[i]) << (8 * i)
		e.mask |= 0xff << (8 * i)
	}
	if e.size > 8 {
		e.tail = binary.LittleEndian.Uint64([]byte(e.quoted[e.size-8:]))
	}
	return e
}

// ends reports whether b, which has the head, goes on as quoted does.
func (e *edge) ends(b []byte) bool {
	return len(b) >= e.size && binary.LittleEndian.Uint64(b[e.size-8:]) == e.tail &&
		(e.size <= 16 || string(b[8:e.size-8]) == e.quoted[8:e.size-8])
}

// lookup returns the index of the key whose hash is h, or -1.
func (s *shape) lookup(h uint64, key []byte) int {
	mask := uint64(len(s.table) - 1) //nolint:gosec // a table is never empty
	for at := h >> 32 & mask; ; at = (at + 1) & mask {
		i := int(s.table[at]) - 1
		if i < 0 {
			return -1
		}
		if s.keys[i].key == string(key) {
			return i
		}
	}
}

// find returns the member with a name, and whether a wildcard led to it.
func (n *node) find(seed maphash.Seed, key string) (*node, bool) {
	if s := n.shape; s != nil && len(s.keys) > 0 {
		if i := s.lookup(maphash.String(seed, key), []byte(key)); i >= 0 {
			return s.keys[i].node, false
		}
	}
	return n.child(), true
}

// child returns where the members lead that the contract does not spell.
func (n *node) child() *node {
	if n.shape != nil && n.shape.any != nil {
		return n.shape.any
	}
	return n.member
}

// elements returns where the elements lead, or nil when a selector says.
func (n *node) elements() *node {
	switch {
	case n.shape == nil:
		return n.elem
	case n.shape.where != nil:
		return nil
	case n.shape.elem != nil:
		return n.shape.elem
	}
	return n.elem
}

// selected returns where an element leads whose members sum up to sum.
func (n *node) selected(sum int) *node { return n.shape.where.nodes[sum] }

// selector leads to an element by the texts of some of its members.
type selector struct {
	keys  []selectorKey
	nodes []*node // by the sum of stride × value
}

type selectorKey struct {
	key    string
	values map[string]int // from 1; 0 stands for any other text, another type and no such member
	stride int
}

// sum returns what one member adds to the index of an element's place.
func (s *selector) sum(key, text string) int {
	for i := range s.keys {
		if k := &s.keys[i]; k.key == key {
			return k.values[text] * k.stride
		}
	}
	return 0
}

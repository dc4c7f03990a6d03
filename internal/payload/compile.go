package payload

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"github.com/isogate/isogate"
)

// The bounds of a compiled contract. One path makes one place; only paths that
// can match the same value in many ways make more.
const (
	maxNodes = 1 << 16
	maxEdges = 1 << 19
)

// Compile makes a tree of a contract. The order of the lines does not matter to
// what a value is judged by. A value that several lines match carries the
// labels of all of them and must be of a type that each of them takes. It is an
// error when a label is missing or opaque, when Key is given without a wildcard
// in the path, when a parsed place does not take strings, and when the paths
// would make more than 65,536 places or 524,288 ways between them.
func Compile(specs []Spec) (*Tree, error) { return compileWithin(specs, maxNodes, maxEdges) }

func compileWithin(specs []Spec, nodes, edges int) (*Tree, error) {
	c := &compiler{
		maxNodes: nodes, maxEdges: edges,
		tree:   &Tree{seed: maphash.MakeSeed(), byPath: map[string]int{}},
		nodes:  map[string]*node{},
		shapes: map[string]*shape{},
		sets:   map[string]int32{},
	}
	c.set([]isogate.Label{isogate.Unclassified})
	root := c.grow(nil, segment{})
	for i := range specs {
		if err := c.add(root, &specs[i]); err != nil {
			return nil, fmt.Errorf("%s: %w", specs[i].Path, err)
		}
	}
	c.tree.root = c.node(c.close([]int{0}))
	for len(c.todo) > 0 && c.err == nil {
		job := c.todo[len(c.todo)-1]
		c.todo = c.todo[:len(c.todo)-1]
		c.expand(job.node, job.set)
	}
	if c.err != nil {
		return nil, c.err
	}
	c.finish()
	return c.tree, nil
}

// step is a node of the trie that the paths make: the automaton before it is
// determinised. A state of the determinised one is a set of steps.
type step struct {
	parent   *step
	seg      segment
	id       int
	children []*step // in the order of the contract
	deep     *step   // the child **, if there is one
	byKey    map[segment]*step
	path     string // as printed
	vague    int    // how much path leaves open

	labels []isogate.Label
	keys   []isogate.Label // of the names that seg stands for
	takes  Types

	// Of the JSON inside a string. The place P of the string has two shadows, which
	// take its place inside, so that a string there is not parsed for P again: in,
	// where the inner value begins, with P's labels and children; and rest, whatever
	// is inside, which has P's labels where no path below P matches.
	in, rest *step
	shadow   *step // P, of a shadow
	loop     bool  // stays on every member and element: ** and rest
}

// vagueness orders paths that match one value by what they leave open: ** most of
// all, then *, then [].
var vagueness = [...]int{segKey: 0, segAny: 1 << 8, segDeep: 1 << 16, segElem: 1, segWhere: 0}

type compiler struct {
	tree   *Tree
	steps  []*step
	nodes  map[string]*node
	shapes map[string]*shape
	sets   map[string]int32
	todo   []job
	edges  int

	maxNodes, maxEdges int
	err                error // the first bound that was met
}

// job is a state whose ways out are still to be found.
type job struct {
	node *node
	set  []int
}

// limit notes that a bound was met, after which nothing more is built.
func (c *compiler) limit(format string, bound int) {
	if c.err == nil {
		c.err = fmt.Errorf(format, bound)
	}
}

// grow adds a step below parent.
func (c *compiler) grow(parent *step, seg segment) *step {
	s := &step{parent: parent, seg: seg, id: len(c.steps), loop: seg.kind == segDeep}
	c.steps = append(c.steps, s)
	if parent != nil {
		parent.children = append(parent.children, s)
		if seg.kind == segDeep {
			parent.deep = s
		}
		s.path = parent.path + seg.joined(parent.path == "")
		s.vague = parent.vague + vagueness[seg.kind]
	}
	return s
}

// child returns the step that follows s by seg, grown if need be.
func (c *compiler) child(s *step, seg segment) *step {
	next := s.byKey[seg]
	if next == nil {
		next = c.grow(s, seg)
		if s.byKey == nil {
			s.byKey = map[segment]*step{}
		}
		s.byKey[seg] = next
	}
	return next
}

func (c *compiler) add(root *step, spec *Spec) error {
	switch {
	case spec.Label == "":
		return errors.New("has no label; use one of the taxonomy")
	case spec.Label == isogate.Opaque || spec.Key == isogate.Opaque:
		return errors.New("the label opaque is for what could not be parsed; use another")
	case spec.Parse && !spec.Types.Has(isogate.String):
		return errors.New("parse needs a place that takes strings; leave out the types")
	}
	s, wild := root, false
	for _, seg := range spec.Path.segs {
		if seg.kind == segWhere {
			// The contract spells the name of the selecting member, so that it may leave; its value is unclassified.
			c.child(c.child(s, segment{kind: segElem}), segment{kind: segKey, key: seg.key})
		}
		s = c.child(s, seg)
		if seg.kind == segAny || seg.kind == segDeep {
			wild = true
			if spec.Key != "" {
				s.keys = union(s.keys, spec.Key)
			}
		}
	}
	if spec.Key != "" && !wild {
		return errors.New("a label for names needs * or ** in the path; names that the path spells always leave")
	}
	if len(s.labels) == 0 {
		s.takes = allTypes
	}
	s.labels = union(s.labels, spec.Label)
	if spec.Types != 0 {
		s.takes &= spec.Types
	}
	if spec.Parse && s.in == nil {
		s.in, s.rest = c.grow(nil, s.seg), c.grow(nil, s.seg)
		s.in.shadow, s.in.loop = s, s.loop
		s.rest.shadow, s.rest.loop = s, true
		s.in.path, s.rest.path = s.path, memberOf(s.path)
		s.in.vague, s.rest.vague = s.vague, s.vague+vagueness[segDeep]
		s.rest.seg.kind = segDeep
	}
	return nil
}

func union(labels []isogate.Label, l isogate.Label) []isogate.Label {
	i, found := slices.BinarySearch(labels, l)
	if found {
		return labels
	}
	return slices.Insert(slices.Clone(labels), i, l)
}

// below returns the steps that follow s; a shadow has those of what it stands for.
func (s *step) below() []*step {
	switch {
	case s.shadow == nil:
		return s.children
	case s == s.shadow.in:
		return s.shadow.children
	}
	return nil
}

// names returns the labels of the names that s stands for. What rest lets in, the
// path of the string does not: its label for names is for those on the way there.
func (s *step) names() []isogate.Label {
	switch {
	case s.shadow == nil:
		return s.keys
	case s == s.shadow.in:
		return s.shadow.keys
	}
	return nil
}

// close adds what ** reaches without a member or element between, and puts the set in order.
func (c *compiler) close(set []int) []int {
	for i := 0; i < len(set); i++ {
		s := c.steps[set[i]]
		if s.shadow != nil && s == s.shadow.in {
			s = s.shadow
		}
		if s.deep != nil {
			set = append(set, s.deep.id)
		}
	}
	return c.ordered(set)
}

// ordered puts a set in order. A ** that strings were parsed for and that goes on
// inside them is there as its shadow, and does not come in again by another way.
func (c *compiler) ordered(set []int) []int {
	slices.Sort(set)
	set = slices.Compact(set)
	return slices.DeleteFunc(set, func(id int) bool {
		in := c.steps[id].in
		if in == nil || !in.loop {
			return false
		}
		return slices.Contains(set, in.id)
	})
}

// key makes a map key of a set.
func setKey(set []int) string {
	b := make([]byte, 0, 3*len(set))
	for _, id := range set {
		b = binary.AppendUvarint(b, uint64(id)) //nolint:gosec // ids are indexes
	}
	return string(b)
}

// node returns the state for a set of steps, closed and in order; nil for none.
func (c *compiler) node(set []int) *node {
	if len(set) == 0 || c.err != nil {
		return nil
	}
	id := setKey(set)
	if n := c.nodes[id]; n != nil {
		return n
	}
	if len(c.nodes) == c.maxNodes {
		c.limit("the paths make more than %d places; use fewer * and ** that match the same values", c.maxNodes)
		return nil
	}
	n := &node{}
	c.nodes[id] = n
	labels, takes := c.accepted(set)
	if len(labels) == 0 {
		labels = []isogate.Label{isogate.Unclassified}
	}
	n.declared = slices.ContainsFunc(set, func(id int) bool { return len(c.steps[id].labels) > 0 })
	n.set, n.takes = c.set(labels), takes
	path := c.bestPath(set)
	n.place = c.place(path, n.set)
	n.member = c.unknown(memberOf(path))
	n.elem = c.unknown(elementOf(path))
	c.todo = append(c.todo, job{n, set})
	return n
}

// unknown makes the state of what is not named: it has no way out.
func (c *compiler) unknown(path string) *node {
	n := &node{takes: allTypes, place: c.place(path, 0)}
	n.member, n.elem = n, n
	return n
}

func (c *compiler) place(path string, set int32) uint32 {
	i := len(c.tree.paths)
	c.tree.paths = append(c.tree.paths, path, path+nameSuffix)
	c.tree.defs = append(c.tree.defs, set, set)
	return uint32(i) //nolint:gosec // bounded by maxNodes
}

func memberOf(path string) string {
	if path == "$" || path == "" {
		return "?"
	}
	return path + ".?"
}

func elementOf(path string) string {
	if path == "$" {
		return "[]"
	}
	return path + "[]"
}

// expand finds what follows a state.
func (c *compiler) expand(n *node, set []int) {
	var inner, live []int
	for _, id := range set {
		s := c.steps[id]
		if s.in != nil {
			inner = append(inner, s.in.id, s.rest.id)
		}
		if s.loop || len(s.below()) > 0 {
			live = append(live, id)
		}
	}
	if inner != nil {
		inner = append(c.close(inner), set...)
		// What was parsed for does not come in again, be it as the ** below another.
		inner = slices.DeleteFunc(c.ordered(inner), func(id int) bool {
			_, was := slices.BinarySearch(set, id)
			return was && c.steps[id].in != nil
		})
		n.inner = c.node(inner)
	}
	if live == nil {
		return
	}
	id := setKey(live)
	if n.shape = c.shapes[id]; n.shape == nil {
		n.shape = c.shape(live)
		c.shapes[id] = n.shape
	}
}

// shape finds what may follow the steps of a state that have followers.
func (c *compiler) shape(live []int) *shape {
	sh := &shape{anyKeys: -1}
	var names []string
	seen := map[string]bool{}
	var any, elem []int
	var keys []isogate.Label
	for _, id := range live {
		s := c.steps[id]
		if s.loop {
			any, elem = append(any, id), append(elem, id)
			for _, l := range s.names() {
				keys = union(keys, l)
			}
		}
		for _, child := range s.below() {
			switch child.seg.kind {
			case segKey:
				if !seen[child.seg.key] {
					seen[child.seg.key] = true
					names = append(names, child.seg.key)
				}
			case segAny:
				any = append(any, child.id)
				for _, l := range child.keys {
					keys = union(keys, l)
				}
			case segElem:
				elem = append(elem, child.id)
			}
		}
	}
	if c.edges += len(names) + 2; c.edges > c.maxEdges {
		c.limit("the paths make more than %d ways between places; use fewer * and ** that match the same values", c.maxEdges)
		return nil
	}
	if keys != nil {
		sh.anyKeys = c.set(keys)
	}
	sh.any = c.node(c.close(slices.Clone(any)))
	sh.elem = c.node(c.close(slices.Clone(elem)))
	byName := map[string][]int{}
	for _, id := range live {
		for _, child := range c.steps[id].below() {
			if child.seg.kind == segKey {
				byName[child.seg.key] = append(byName[child.seg.key], child.id)
			}
		}
	}
	for _, name := range names {
		sh.keys = append(sh.keys, newEdge(name, c.node(c.close(append(byName[name], any...)))))
	}
	sh.where = c.selector(live, elem)
	sh.index(c.tree.seed)
	sh.slot = c.tree.slots
	c.tree.slots += len(sh.keys) + 1
	c.tree.shapes = append(c.tree.shapes, sh)
	return sh
}

// index builds the hash table over the keys.
func (s *shape) index(seed maphash.Seed) {
	size := 4
	for size < 3*len(s.keys) {
		size *= 2
	}
	s.table = make([]uint32, size)
	mask := uint64(size - 1) //nolint:gosec // positive
	for i := range s.keys {
		at := maphash.String(seed, s.keys[i].key) >> 32 & mask
		for s.table[at] != 0 {
			at = (at + 1) & mask
		}
		s.table[at] = uint32(i + 1)
	}
}

// selector determinises the selectors that follow a set of steps: one state for
// each combination of texts that their members can have.
func (c *compiler) selector(live, elem []int) *selector {
	sel := &selector{}
	at := map[string]int{}
	type choice struct {
		key, value int
		id         int
	}
	var choices []choice
	for _, id := range live {
		for _, child := range c.steps[id].below() {
			if child.seg.kind != segWhere {
				continue
			}
			k, ok := at[child.seg.key]
			if !ok {
				k = len(sel.keys)
				at[child.seg.key] = k
				sel.keys = append(sel.keys, selectorKey{key: child.seg.key, values: map[string]int{}})
			}
			v, ok := sel.keys[k].values[child.seg.value]
			if !ok {
				v = len(sel.keys[k].values) + 1
				sel.keys[k].values[child.seg.value] = v
			}
			choices = append(choices, choice{k, v, child.id})
		}
	}
	if choices == nil {
		return nil
	}
	total := 1
	for i := range sel.keys {
		sel.keys[i].stride = total
		total *= len(sel.keys[i].values) + 1
		if c.edges+total > c.maxEdges {
			c.limit("selectors by different members make more than %d combinations; use fewer of them on one array", c.maxEdges)
			return nil
		}
	}
	c.edges += total
	sel.nodes = make([]*node, total)
	for i := range sel.nodes {
		set := slices.Clone(elem)
		for _, ch := range choices {
			k := &sel.keys[ch.key]
			if i/k.stride%(len(k.values)+1) == ch.value {
				set = append(set, ch.id)
			}
		}
		sel.nodes[i] = c.node(c.close(set))
	}
	return sel
}

// accepted returns the labels of a state and the types that all of its lines take.
func (c *compiler) accepted(set []int) ([]isogate.Label, Types) {
	var labels []isogate.Label
	takes := allTypes
	for _, id := range set {
		s := c.steps[id]
		if s.shadow != nil {
			if s == s.shadow.in || !c.named(set, s.shadow) {
				for _, l := range s.shadow.labels {
					labels = union(labels, l)
				}
			}
			continue
		}
		for _, l := range s.labels {
			labels = union(labels, l)
		}
		if len(s.labels) > 0 {
			takes &= s.takes
		}
	}
	return labels, takes
}

// named reports whether a line whose path goes on below s is in the set.
func (c *compiler) named(set []int, s *step) bool {
	for _, id := range set {
		o := c.steps[id]
		if o.shadow != nil {
			o = o.shadow
		}
		if len(o.labels) == 0 || o == s {
			continue
		}
		for o = o.parent; o != nil; o = o.parent {
			if o == s {
				return true
			}
		}
	}
	return false
}

// bestPath returns the path to print for a state: that of a line, if one names
// it, that leaves the least open.
func (c *compiler) bestPath(set []int) string {
	var best *step
	better := func(a, b *step) bool {
		la, lb := len(a.labels) > 0, len(b.labels) > 0
		switch {
		case la != lb:
			return la
		case a.vague != b.vague:
			return a.vague < b.vague
		}
		return strings.Compare(a.path, b.path) < 0
	}
	for _, id := range set {
		if s := c.steps[id]; best == nil || better(s, best) {
			best = s
		}
	}
	if best.path == "" {
		return "$"
	}
	return best.path
}

// set returns the index of a combination of labels.
func (c *compiler) set(labels []isogate.Label) int32 {
	var id strings.Builder
	for _, l := range labels {
		id.WriteString(string(l))
		id.WriteByte(0)
	}
	i, ok := c.sets[id.String()]
	if !ok {
		i = int32(len(c.tree.sets)) //nolint:gosec // bounded by maxNodes
		c.sets[id.String()] = i
		c.tree.sets = append(c.tree.sets, labels)
	}
	return i
}

// finish lists the places.
func (c *compiler) finish() {
	t := c.tree
	via := map[*node]*shape{}
	for _, sh := range t.shapes {
		if sh.any != nil {
			via[sh.any] = sh
		}
	}
	for _, n := range c.nodes {
		if n.declared {
			t.places = append(t.places, t.place(n, via[n]))
		}
	}
	slices.SortFunc(t.places, comparePlaces)
	t.places = slices.CompactFunc(t.places, func(a, b Place) bool { return comparePlaces(a, b) == 0 })
	for i := len(t.places) - 1; i >= 0; i-- {
		t.byPath[t.places[i].Path] = i
	}
}

func comparePlaces(a, b Place) int {
	return cmp.Or(
		strings.Compare(a.Path, b.Path), len(a.Labels)-len(b.Labels), a.Set-b.Set, int(a.Types)-int(b.Types), a.KeySet-b.KeySet,
	)
}

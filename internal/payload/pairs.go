package payload

import (
	"errors"
	"maps"
	"slices"

	"github.com/isogate/isogate"
)

// Pair is one place of a body as two contracts see it. Any value that a body can
// hold stands at a place of some pair, or is unclassified to both.
type Pair struct {
	// Path is one way there.
	Path string
	// Name says that it is about the names of members at the path, not their values.
	Name bool
	// Spelled says that After's contract spells the name, so that it leaves as it is.
	// After says nothing then.
	Spelled       bool
	Before, After Place
}

// Takes reports whether a place takes values of a kind by its labels. Any other is
// judged by the stricter of them and of unclassified.
func (p Place) Takes(k isogate.Kind) bool { return !p.None && p.Types.Has(k) }

// ErrManyPairs says that two contracts have too many places between them.
var ErrManyPairs = errors.New("the two contracts have too many places between them to be compared")

// maxPairs bounds what [Pairs] looks at.
const maxPairs = 1 << 18

// Pairs goes through two contracts together and calls f with every pair of places
// that one value can have, however the paths of one and the other overlap. It walks
// the product of the two automata, so that nothing is a matter of how a path
// is written. The error is f's or [ErrManyPairs].
//
// Names that the first contract spells are texts of the contract, not of the body;
// they are not among the pairs.
func Pairs(before, after *Tree, f func(Pair) error) error {
	blank := func() *node {
		n := &node{takes: allTypes}
		n.member, n.elem = n, n
		return n
	}
	p := &pairing{a: before, b: after, blankA: blank(), blankB: blank(), seen: map[[2]*node]bool{}, frozen: map[*node]*node{}, f: f}
	p.reach(before.root, after.root, Path{})
	for len(p.todo) > 0 {
		next := p.todo[0]
		p.todo = p.todo[1:]
		if err := p.expand(next); err != nil {
			return err
		}
	}
	return p.err
}

// pairing is one call of Pairs.
type pairing struct {
	a, b           *Tree
	blankA, blankB *node // stand for all that one contract does not name
	seen           map[[2]*node]bool
	frozen         map[*node]*node
	todo           []paired
	f              func(Pair) error
	err            error
}

type paired struct {
	a, b *node
	path Path
}

// bare reports whether a state names nothing, here or below.
func bare(n *node) bool {
	return n.shape == nil && n.inner == nil && !n.declared && n.set == 0 && n.takes == allTypes
}

// reach notes a pair that is still to be looked at.
func (p *pairing) reach(a, b *node, path Path) {
	if bare(a) {
		a = p.blankA
	}
	if bare(b) {
		b = p.blankB
	}
	key := [2]*node{a, b}
	if p.err != nil || p.seen[key] || a == p.blankA && b == p.blankB {
		return
	}
	if p.seen[key] = true; len(p.seen) > maxPairs {
		p.err = ErrManyPairs
		return
	}
	p.todo = append(p.todo, paired{a, b, path})
}

func (path Path) with(seg segment) Path {
	return Path{append(path.segs[:len(path.segs):len(path.segs)], seg)}
}

// expand tells of one pair and notes those that follow it.
func (p *pairing) expand(at paired) error {
	a, b := at.a, at.b
	if err := p.f(Pair{Path: at.path.String(), Before: p.a.sight(a), After: p.b.sight(b)}); err != nil {
		return err
	}
	if a.inner != nil || b.inner != nil {
		inA, inB := a.inner, b.inner
		if inA == nil {
			inA = p.freeze(a)
		}
		if inB == nil {
			inB = p.freeze(b)
		}
		p.reach(inA, inB, at.path)
	}
	member := at.path.with(segment{kind: segAny})
	p.reach(a.child(), b.child(), member) // before the names: of two ways to one place, the wider is told
	names := map[string]bool{}
	for _, n := range []*node{a, b} {
		if n.shape == nil {
			continue
		}
		for i := range n.shape.keys {
			if key := n.shape.keys[i].key; !names[key] {
				names[key] = true
				nextA, _ := a.find(p.a.seed, key)
				nextB, _ := b.find(p.b.seed, key)
				path := at.path.with(segment{kind: segKey, key: key})
				if n == b { // a does not spell it, or it would be known by now
					if err := p.f(Pair{Path: path.String(), Name: true, Spelled: true, Before: p.a.nameSight(a)}); err != nil {
						return err
					}
				}
				p.reach(nextA, nextB, path)
			}
		}
	}
	if a.wild() || b.wild() {
		err := p.f(Pair{Path: member.String(), Name: true, Before: p.a.nameSight(a), After: p.b.nameSight(b)})
		if err != nil {
			return err
		}
	}
	p.elements(at)
	return p.err
}

// elements notes what the elements of a pair lead to: one pair for each combination
// of texts that the selectors of either tell apart.
func (p *pairing) elements(at paired) {
	texts := map[string]map[string]bool{}
	combinations := 1
	for _, n := range []*node{at.a, at.b} {
		if n.shape == nil || n.shape.where == nil {
			continue
		}
		for _, k := range n.shape.where.keys {
			if texts[k.key] == nil {
				texts[k.key] = map[string]bool{}
			}
			for v := range k.values {
				texts[k.key][v] = true
			}
		}
	}
	type choice struct {
		key    string
		values []string
	}
	var choices []choice
	for _, key := range slices.Sorted(maps.Keys(texts)) {
		c := choice{key: key, values: slices.Sorted(maps.Keys(texts[key]))}
		choices = append(choices, c)
		if combinations *= len(c.values) + 1; combinations > maxPairs {
			p.err = ErrManyPairs
			return
		}
	}
	for i := range combinations {
		seg := segment{kind: segElem}
		sumA, sumB, rest := 0, 0, i
		for _, c := range choices {
			which := rest % (len(c.values) + 1)
			rest /= len(c.values) + 1
			if which == 0 {
				continue // some other text, or none
			}
			text := c.values[which-1]
			sumA += at.a.sum(c.key, text)
			sumB += at.b.sum(c.key, text)
			seg = segment{kind: segWhere, key: c.key, value: text}
		}
		p.reach(at.a.element(sumA), at.b.element(sumB), at.path.with(seg))
	}
}

// sum is what one member of an element adds to the index of its place.
func (n *node) sum(key, text string) int {
	if n.shape == nil || n.shape.where == nil {
		return 0
	}
	return n.shape.where.sum(key, text)
}

// element is where an element leads whose members sum up to sum.
func (n *node) element(sum int) *node {
	if to := n.elements(); to != nil {
		return to
	}
	return n.selected(sum)
}

// wild reports whether a wildcard of the contract stands for members here.
func (n *node) wild() bool { return n.shape != nil && n.shape.any != nil }

// freeze is a state that stays what n is to a string as a whole, however deep the
// other contract goes into what the string holds.
func (p *pairing) freeze(n *node) *node {
	f := p.frozen[n]
	if f == nil {
		f = &node{set: n.set, declared: true}
		if n.takes>>isogate.String&1 != 0 {
			f.takes = allTypes
		}
		f.member, f.elem = f, f
		p.frozen[n], p.frozen[f] = f, f
	}
	return f
}

// sight is a state as a place, without its path.
func (t *Tree) sight(n *node) Place {
	p := Place{Labels: t.sets[n.set], Set: int(n.set), Types: n.takes, None: n.takes == 0, Parse: n.inner != nil, Declared: n.declared}
	if p.Types == allTypes {
		p.Types = 0
	}
	return p
}

// nameSight is what the names are judged by that n's contract does not spell.
func (t *Tree) nameSight(n *node) Place {
	set := n.child().set
	if n.wild() && n.shape.anyKeys >= 0 {
		set = n.shape.anyKeys
	}
	return Place{Labels: t.sets[set], Set: int(set), Declared: n.wild()}
}

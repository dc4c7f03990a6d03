package policy

import (
	"slices"
)

// The checks that need the whole pack.

// unknowable remembers that something of a kind could not be read, so that what
// refers to it is not called unknown as well.
func (r *reader) unknowable(kind string) {
	if r.unreadable == nil {
		r.unreadable = map[string]bool{}
	}
	r.unreadable[kind] = true
}

// known reports whether everything of a kind was read.
func (r *reader) known(kind string) bool { return !r.unreadable[kind] }

// route puts the transits' patterns into tries, and notes two transits that
// could both judge one request: which of them did must never be a question.
func (r *reader) route(transits []*Transit) map[way]*routes {
	all := map[way]*routes{}
	for _, t := range transits {
		if t.Destination == nil || t.Mode == Tunnel {
			continue
		}
		noted := map[position]bool{} // one note for each line, however many sources share it
		for _, s := range t.Sources {
			w := way{s, t.Destination.Name}
			trie := all[w]
			if trie == nil {
				trie = &routes{}
				all[w] = trie
			}
			for _, p := range t.patterns {
				other, twice := trie.overlap(p, p.segments, func(o route) bool {
					return o.transit != t || o.pattern.shape() == p.shape()
				})
				if !twice {
					trie.add(p, t)
					continue
				}
				if noted[p.at] {
					continue
				}
				noted[p.at] = true
				if other.transit == t {
					r.add(p.at, "%q matches the same requests as line %d; keep one", p.text, other.pattern.at.line)
				} else {
					r.add(p.at, "%q overlaps with %q of the transit %s (%s) for the source %s: both could judge one request; make the paths, methods or sources differ",
						p.text, other.pattern.text, other.transit.Name, other.pattern.at, s)
				}
			}
		}
	}
	return all
}

// shape is the pattern without the names of its parameters.
func (p *pattern) shape() string {
	s := p.method
	for _, seg := range p.segments {
		if s += "/"; seg.param != "" {
			s += "{}"
		}
		s += seg.literal
	}
	if p.rest {
		s += "/**"
	}
	return s
}

// checkUnused notes what a pack holds and never uses: each is a mistake, or more
// than the purpose needs.
//
// promise: P05
func (r *reader) checkUnused(transits []*Transit) {
	for _, name := range sortedKeys(r.contracts) {
		if c := r.contracts[name]; !c.used && r.known("transits") {
			r.add(c.at, "no transit uses the contract %q; remove it, or name it in a transit's request", name)
		}
	}
	for _, t := range transits {
		labels := t.labels()
		for i := range t.rules {
			rule := &t.rules[i]
			if !plaintext(rule.as) || t.incomplete || slices.ContainsFunc(labels, rule.label.Match) {
				continue
			}
			r.add(rule.at, "the rule for %s releases nothing: no field of the transit carries such a label; remove it, or label a field", rule.text)
		}
	}
}

// checkEnds notes rules that are past their end.
func (r *reader) checkEnds(transits []*Transit) {
	if r.now.IsZero() {
		return
	}
	for _, t := range transits {
		for i := range t.rules {
			if rule := &t.rules[i]; rule.overAt(r.now) {
				r.add(rule.until, "the rule for %s ended after %s and releases nothing any more; remove it, or have it approved anew with a later date", rule.text, rule.lastDay())
			}
		}
		if t.tunnel != nil && t.tunnel.overAt(r.now) {
			r.add(t.tunnel.until, "the tunnel ended after %s and lets nothing pass any more; remove it, or have it approved anew with a later date", t.tunnel.lastDay())
		}
	}
}

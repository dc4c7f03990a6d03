package payload

import (
	"encoding/binary"
	"math/bits"
)

// prescan looks through an element of a keyed array for the members that say
// which place it is, before it is walked. It trusts the element to be JSON: the
// walk that follows refuses one that is not. It goes on where it stopped when
// the element is not yet at hand in full.
type prescan struct {
	i, depth int // where it is, from the element's beginning
	token    int // where the string at hand begins; -1 outside strings
	escaped  bool
	value    bool // a colon has been seen: a string is a value
	key      int  // the selector's key that the member is, plus 1; 0 for none
	sum      int  // index into the selector's places
	begun    bool
	text     []byte // an unescaped string
}

func (p *prescan) reset() { *p = prescan{text: p.text} }

// scan reads b, which begins with the element, and reports whether it reached
// the element's end.
func (p *prescan) scan(b []byte, where *selector) bool {
	if !p.begun {
		p.begun, p.token = true, -1
	}
	for p.i < len(b) {
		if p.token >= 0 {
			if !p.inside(b, where) {
				return false
			}
			continue
		}
		c := b[p.i]
		p.i++
		switch c {
		case '"':
			p.token, p.escaped = p.i, false
		case '{', '[':
			p.depth++
		case '}', ']':
			if p.depth--; p.depth == 0 {
				return true
			}
		case ':':
			p.value = p.value || p.depth == 1
		case ',':
			if p.depth == 1 {
				p.value, p.key = false, 0
			}
		}
	}
	return false
}

// inside reads on in a string, and reports whether it reached its end.
func (p *prescan) inside(b []byte, where *selector) bool {
	for p.i < len(b) && b[p.i] != '"' {
		if len(b)-p.i >= 8 {
			m := special8(binary.LittleEndian.Uint64(b[p.i:]))
			if m == 0 {
				p.i += 8
				continue
			}
			p.i += bits.TrailingZeros64(m) >> 3
			if b[p.i] == '"' {
				break
			}
		}
		if b[p.i] == '\\' {
			p.escaped = true
			if p.i+1 == len(b) {
				return false
			}
			p.i++
		}
		p.i++
	}
	if p.i >= len(b) {
		return false
	}
	text := b[p.token:p.i]
	p.token = -1
	p.i++
	if p.depth != 1 {
		return true
	}
	if p.escaped {
		p.text = appendUnescaped(p.text[:0], text)
		text = p.text
	}
	switch {
	case !p.value:
		p.key = 0
		for k := range where.keys {
			if where.keys[k].key == string(text) {
				p.key = k + 1
			}
		}
	case p.key > 0:
		k := &where.keys[p.key-1]
		p.sum += k.values[string(text)] * k.stride
		p.key = 0
	}
	return true
}

package payload

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"math/bits"

	"github.com/isogate/isogate"
)

// state is what a walk expects next, for when it has to wait for more of the body.
type state uint8

const (
	atValue       state = iota // a value
	inString                   // the rest of a string that is a value
	inToken                    // a number or a literal, from its beginning; the body may end here
	atFirstMember              // a member or }
	atMember                   // a member
	inName                     // the rest of a name
	atColon                    // :
	atFirstElem                // an element or ]
	atElem                     // an element
	inElem                     // an element that is being looked through; the body may end here
	atAfter                    // a comma or what closes
	atEnd                      // nothing but white space
	atLine                     // the next line of NDJSON
)

// walk rewrites the value, or the lines, in the window. After it, what is left
// to put out is buf[copied:].
//
// It is one function, with the position and the frame at hand in registers: the
// usual value (a member in the order of the contract, of the right type, allowed)
// goes through it without a call except for the one that finds the end of a
// string.
//
// promise: P03
func (w *walker) walk(root *node) error {
	var (
		b       = w.buf
		i       = w.i
		f       = &w.frames[0]
		n       = root // the place of the value at hand
		how     wildness
		kind    isogate.Kind
		start   int // of the token at hand
		end     int // of it, or where its scan goes on
		escaped bool
	)
	*f = frame{node: root, more: -1}
	if w.lines {
		goto line
	}
	goto value

refill:
	w.i = i
	if !w.more() {
		if w.ioErr != nil {
			return w.ioErr
		}
		if w.resume != inToken && w.resume != inElem && w.resume != atEnd && w.resume != atLine {
			return w.broken(len(w.buf), n.place, "the text ends too early")
		}
	}
	if w.base+int64(len(w.buf)) > w.limits.Body {
		return w.tooLarge()
	}
	b, i = w.buf, w.i
	switch w.resume {
	case atValue, inToken:
		goto value
	case inString:
		start, end = i, i+end
		goto stringRest
	case atFirstMember:
		goto firstMember
	case atMember:
		goto member
	case inName:
		start, end = i, i+end
		goto nameRest
	case atColon:
		goto colon
	case atFirstElem:
		goto firstElem
	case atElem, inElem:
		goto elem
	case atAfter:
		goto after
	case atEnd:
		goto bodyEnd
	default:
		goto line
	}

value:
	if i >= len(b) {
		w.resume = atValue
		goto refill
	}
	start = i
	switch c := b[i]; c {
	case '"':
		// The usual string ends in sight and has nothing special in it.
		end, escaped = i+1, false
		for len(b)-end >= 8 {
			m := special8(binary.LittleEndian.Uint64(b[end:]))
			if m == 0 {
				end += 8
				continue
			}
			end += bits.TrailingZeros64(m) >> 3
			if b[end] == '"' && end-start <= w.limits.Value {
				kind = isogate.String
				end++
				goto scalar
			}
			break
		}
		goto stringRest
	case '{', '[':
		goto open
	case 't', 'f', 'n':
		word := literals[c]
		if len(b)-i < len(word) && !w.last {
			w.resume = inToken
			goto refill
		}
		if !bytes.HasPrefix(b[i:], []byte(word)) {
			return w.broken(i, n.place, "no value begins like this")
		}
		kind, end = isogate.Bool, i+len(word)
		if c == 'n' {
			kind = isogate.Null
		}
		goto scalar
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		seen, last := b, w.last
		if limit := i + w.limits.Number + 1; limit < len(b) {
			seen, last = b[:limit], false
		}
		var flt fault
		end, flt = scanNumber(seen, i, last)
		switch {
		case end-i > w.limits.Number: // told before its range, wherever the body is cut
			return w.broken(i, n.place, fmt.Sprintf("a number is longer than %d bytes", w.limits.Number))
		case flt == cutShort:
			w.resume = inToken
			goto refill
		case flt == badRange:
			return w.broken(i, n.place, faultReasons[flt])
		case flt != fine:
			return w.broken(end, n.place, faultReasons[flt])
		}
		kind = isogate.Number
		goto scalar
	case ' ', '\n', '\r', '\t':
		if c == ' ' && i+1 < len(b) && b[i+1] > ' ' { // as after a colon
			i++
			goto value
		}
		j, err := w.space(b, i, n.place)
		if err != nil {
			return err
		}
		if j == len(b) {
			w.resume = atValue
			goto refill
		}
		i = j
		goto value
	default:
		return w.broken(i, n.place, "no value begins like this")
	}

stringRest:
	{
		seen := b
		limit := start + w.limits.Value + 2 // with both quotes
		if limit < len(b) {
			seen = b[:limit]
		}
		var x bool
		var flt fault
		end, x, flt = scanString(seen, end)
		escaped = escaped || x
		if flt != fine {
			switch {
			case flt != cutShort:
				return w.broken(end, n.place, faultReasons[flt])
			case len(seen) == limit:
				return w.broken(start, n.place, fmt.Sprintf("a string is longer than %d bytes", w.limits.Value))
			}
			i, end, w.resume = start, end-start, inString
			goto refill
		}
		kind = isogate.String
		end++
	}

scalar:
	if how == spelled && uint(n.set) < uint(len(w.verdicts)) && w.verdicts[n.set].Action == isogate.Allow && !w.verdicts[n.set].Register && //nolint:gosec // a set that is negative is out of range as well
		n.takes>>kind&1 != 0 && w.mute == 0 && (kind != isogate.String || n.inner == nil) {
		w.part.plain(n.place)
		f.kept = true
	} else {
		kept, err := w.scalar(f, n, kind, start, end, escaped, how)
		if err != nil {
			return err
		}
		f.kept = f.kept || kept
	}
	i = end

after:
	if i >= len(b) {
		if w.depth == 0 {
			goto bodyEnd
		}
		w.resume = atAfter
		goto refill
	}
	if w.depth == 0 {
		goto bodyEnd
	}
	switch b[i] {
	case ',':
		if f.kept {
			w.sep = i
			i++
		} else {
			i++
			w.sep, w.copied = i, i
		}
		if f.object {
			goto member
		}
		goto elem
	case '}', ']':
		if f.object != (b[i] == '}') {
			return w.broken(i, n.place, "an array or object is closed by the other's bracket")
		}
		goto shut
	case ' ', '\n', '\r', '\t':
		j, err := w.space(b, i, n.place)
		if err != nil {
			return err
		}
		if j == len(b) {
			w.resume = atAfter
			goto refill
		}
		i = j
		goto after
	default:
		return w.broken(i, n.place, "a comma or a closing bracket is missing")
	}

open:
	if how != spelled && w.mute == 0 {
		mute, err := w.container(f, n, how)
		if err != nil {
			return err
		}
		if mute {
			w.mute = w.depth + 1
		} else {
			f.kept = true
		}
	}
	w.depth++
	if w.depth+w.outer > w.limits.Depth {
		return w.broken(i, n.place, fmt.Sprintf("objects and arrays are nested deeper than %d", w.limits.Depth))
	}
	if w.depth == len(w.frames) {
		w.frames = append(w.frames, make([]frame, len(w.frames))...)
	}
	f = &w.frames[w.depth]
	f.node, f.kept = n, w.mute != 0
	i++
	w.sep = i
	if b[start] == '[' {
		f.object = false
		f.elem = n.elements()
		goto firstElem
	}
	f.object = true
	f.bits, f.more, f.count = 0, -1, 0
	f.names = w.seen.open()
	if f.shape = nil; n.shape != nil && len(n.shape.keys) > 0 {
		f.shape = n.shape
		f.slot = n.shape.slot
	}

firstMember:
	if i >= len(b) {
		w.resume = atFirstMember
		goto refill
	}
	if c := b[i]; c == '}' {
		goto shut
	} else if spaces[c] {
		j, err := w.space(b, i, n.place)
		if err != nil {
			return err
		}
		if j == len(b) {
			w.resume = atFirstMember
			goto refill
		}
		i = j
		goto firstMember
	}

member:
	if i >= len(b) {
		w.resume = atMember
		goto refill
	}
	if c := b[i]; c != '"' {
		if !spaces[c] {
			return w.broken(i, f.node.place, "the name of a member is missing")
		}
		j, err := w.space(b, i, n.place)
		if err != nil {
			return err
		}
		if j == len(b) {
			w.resume = atMember
			goto refill
		}
		i = j
		goto member
	}
	if f.count++; f.count > w.limits.Members {
		return w.broken(i, f.node.place, fmt.Sprintf("an object has more than %d members", w.limits.Members))
	}
	start = i
	if s := f.shape; s != nil {
		// The usual case: the key that followed last time.
		k := int(w.succ[f.slot])
		e := &s.keys[k]
		if rest := b[i+1:]; len(rest) >= 8 && binary.LittleEndian.Uint64(rest)&e.mask == e.head &&
			(e.size <= 8 || e.ends(rest)) {
			f.slot = s.slot + 1 + k
			if bit := uint64(1) << k; k < 64 && f.bits&bit == 0 {
				f.bits |= bit
			} else if !w.mark(f, k) {
				return w.duplicate(i, e.node)
			}
			n, how = e.node, spelled
			i += 1 + e.size
			goto value
		}
	}
	end, escaped = i+1, false

nameRest:
	{
		seen := b
		limit := start + w.limits.Value + 2
		if limit < len(b) {
			seen = b[:limit]
		}
		var x bool
		var flt fault
		end, x, flt = scanString(seen, end)
		escaped = escaped || x
		if flt != fine {
			switch {
			case flt != cutShort:
				return w.broken(end, f.node.member.place, faultReasons[flt])
			case len(seen) == limit:
				return w.broken(start, f.node.member.place, fmt.Sprintf("a name is longer than %d bytes", w.limits.Value))
			}
			i, end, w.resume = start, end-start, inName
			goto refill
		}
		key := b[start+1 : end]
		if escaped {
			w.text = appendUnescaped(w.text[:0], key)
			key = w.text
		}
		h := maphash.Bytes(w.tree.seed, key)
		i = end + 1
		if s := f.shape; s != nil {
			if k := s.lookup(h, key); k >= 0 {
				w.succ[f.slot] = uint32(k) //nolint:gosec // bounded by maxEdges
				f.slot = s.slot + 1 + k
				n, how = s.keys[k].node, spelled
				if !w.mark(f, k) {
					return w.duplicate(start, n)
				}
				goto colon
			}
		}
		n, how = f.node.member, unnamed
		if s := f.node.shape; s != nil && s.any != nil {
			n, how = s.any, wild
		}
		if !w.seen.add(&f.names, h) {
			return w.duplicate(start, n)
		}
		if w.seen.names > w.limits.Members {
			return w.broken(start, n.place, fmt.Sprintf("more than %d members that the contract does not name are in open objects", w.limits.Members))
		}
		w.n0, w.n1 = start+1, end
	}

colon:
	if i >= len(b) {
		w.resume = atColon
		goto refill
	}
	if c := b[i]; c == ':' {
		i++
		goto value
	} else if !spaces[c] {
		return w.broken(i, n.place, "a colon is missing")
	}
	{
		j, err := w.space(b, i, n.place)
		if err != nil {
			return err
		}
		if j == len(b) {
			w.resume = atColon
			goto refill
		}
		i = j
		goto colon
	}

firstElem:
	if i >= len(b) {
		w.resume = atFirstElem
		goto refill
	}
	if c := b[i]; c == ']' {
		goto shut
	} else if spaces[c] {
		j, err := w.space(b, i, n.place)
		if err != nil {
			return err
		}
		if j == len(b) {
			w.resume = atFirstElem
			goto refill
		}
		i = j
		goto firstElem
	}

elem:
	how = spelled
	if n = f.elem; n != nil {
		goto value
	}
	n = f.node // until the element has been looked at
	if i >= len(b) {
		w.resume = atElem
		goto refill
	}
	if c := b[i]; c == '{' {
		seen := b
		limit := i + w.limits.Value
		if limit < len(b) {
			seen = b[:limit]
		}
		if !w.pre.scan(seen[i:], f.node.shape.where) {
			if len(seen) == limit {
				return w.broken(i, n.place, fmt.Sprintf("an element that is selected by a member is longer than %d bytes", w.limits.Value))
			}
			if !w.last {
				w.resume = inElem
				goto refill
			}
		}
		n = f.node.selected(w.pre.sum)
		w.pre.reset()
	} else if spaces[c] {
		j, err := w.space(b, i, n.place)
		if err != nil {
			return err
		}
		if j == len(b) {
			w.resume = atElem
			goto refill
		}
		i = j
		goto elem
	} else {
		n = f.node.selected(0)
	}
	goto value

shut:
	i++
	if f.object {
		w.seen.close(&f.names)
		if f.more >= 0 {
			w.bits = w.bits[:f.more]
		}
	}
	n = f.node
	if w.mute == w.depth {
		w.mute = 0
		w.copied = i
		w.depth--
		f = &w.frames[w.depth]
	} else {
		w.depth--
		f = &w.frames[w.depth]
		f.kept = true
	}
	w.sep = i
	goto after

bodyEnd:
	switch j, ok := w.tail(b, i); {
	case !ok:
		return w.broken(i, n.place, spaceReason)
	case j == len(b) && !w.last:
		w.resume = atEnd
		goto refill
	case j == len(b):
		w.sep = i
		return nil
	case w.lines && b[j] == '\n':
		i = j + 1
		goto line
	default:
		return w.broken(j, n.place, "something follows the value")
	}

line:
	w.sep = i
	n, how = root, spelled
	if i >= len(b) {
		if !w.last {
			w.resume = atLine
			goto refill
		}
		return nil
	}
	switch j, ok := w.tail(b, i); {
	case !ok:
		return w.broken(i, n.place, spaceReason)
	case j == len(b) && !w.last:
		w.resume = atLine
		goto refill
	case j == len(b) || b[j] == '\n':
		return w.broken(i, n.place, "a line is blank")
	default:
		i = j
	}
	goto value
}

// literals are the words of JSON by their first letter.
var literals = [256]string{'t': "true", 'f': "false", 'n': "null"}

const spaceReason = "there is too much white space in one place"

// space returns where the white space at b[i] ends.
func (w *walker) space(b []byte, i int, place uint32) (int, error) {
	j := skipSpace(b, i)
	if j-i > maxSpace {
		return j, w.broken(i, place, spaceReason)
	}
	if w.lines {
		if k := bytes.IndexByte(b[i:j], '\n'); k >= 0 {
			return j, w.broken(i+k, place, "a line ends inside its value")
		}
	}
	return j, nil
}

// tail returns where the white space after a value ends, which in NDJSON is at
// the end of the line, and whether it is short enough.
func (w *walker) tail(b []byte, i int) (int, bool) {
	j := i
	for j < len(b) && spaces[b[j]] && (!w.lines || b[j] != '\n') {
		j++
	}
	return j, j-i <= maxSpace
}

// mark notes that the object has the key k, and reports whether it is new.
func (w *walker) mark(f *frame, k int) bool {
	if k < 64 {
		bit := uint64(1) << k
		if f.bits&bit != 0 {
			return false
		}
		f.bits |= bit
		return true
	}
	if f.more < 0 {
		f.more = len(w.bits)
		w.bits = append(w.bits, make([]uint64, (len(f.shape.keys)+63)/64)...)
	}
	word, bit := &w.bits[f.more+k/64], uint64(1)<<(k%64)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	return true
}

func (w *walker) duplicate(i int, n *node) error {
	return w.broken(i, n.place, "an object has two members with the same name, which I-JSON forbids")
}

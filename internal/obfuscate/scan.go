package obfuscate

import (
	"bytes"

	"github.com/isogate/isogate"
)

// FindState is what a [Finder] says.
type FindState uint8

const (
	// FoundNone: no replacement begins here; the text stays.
	FoundNone FindState = iota
	// FoundPart: what is there may yet become one.
	FoundPart
	// FoundOne: one begins here.
	FoundOne
)

// Found is what a [Finder] found.
type Found struct {
	State FindState
	// Length is how many bytes the replacement has. Of a part, it is how many
	// characters behind the prefix and the bucket have been looked at, and need not
	// be again.
	Length int
	// Kind is what Value is: a bool or number loses its quotes where it is a whole
	// string of JSON.
	Kind isogate.Kind
	// Value is what is written instead, not escaped; valid until the next call.
	Value []byte
	// Else is written instead where Value cannot be, as it is. Nil leaves the text.
	Else []byte
}

// Finder reads what a replacement looks like and what stands behind it.
type Finder interface {
	// Find reads the beginning of src, which has the finder's prefix. The first
	// known characters behind prefix and bucket are those that an earlier call
	// counted; that many as a whole one has, or more, say that the last call found
	// this very one, and that the scanner could not yet tell what stands behind it.
	// Final says that nothing follows src.
	Find(src []byte, esc Escape, known int, final bool) Found
}

// Scanner goes through a text that comes in pieces and has replacements of one
// prefix turned back. The cost is linear if the finder's is, whatever the text
// and its pieces.
type Scanner struct {
	// Esc says what the text is.
	Esc Escape
	// Letter is the third of the prefix, in lower case: "ig", Letter, "1".
	Letter byte
	// Wipe has the output wiped where it has to be moved, and where a value could
	// not be written whole.
	Wipe bool

	// Replaced and Unwritten are how many values were written, and could not be.
	Replaced, Unwritten int

	behind behind
	// known is how many characters of the body of what the next piece begins with
	// have been looked at: they are not looked at again, so that a long one in small
	// pieces costs no more than in one.
	known int
}

const (
	prefixSize = len(tokenPrefix)
	digit      = '1' // of every prefix
)

// Scan appends src to dst with what f finds replaced, and says how much of src it
// has dealt with. What is left, when more is to come, may yet become a
// replacement; it must begin the next piece.
func (sc *Scanner) Scan(f Finder, dst, src []byte, final bool) (out []byte, used int) {
	for at := 0; ; {
		// Of the prefix the digit is looked for, being rarer than its letters.
		i := bytes.IndexByte(src[at:], digit)
		if i < 0 {
			break
		}
		at += i + 1
		start := at - prefixSize
		if start < used || !hasPrefix(src[start:], sc.Letter) {
			continue
		}
		known := 0
		if start <= 1 {
			known = sc.known // what was held back is this one, or its quote and this one
		}
		m := f.Find(src[start:], sc.Esc, known, final)
		if m.State == FoundPart {
			return sc.hold(dst, src, used, start, m.Length)
		}
		if m.State != FoundOne {
			continue
		}
		behind := sc.behind.after(src[used:start], sc.Esc)
		end := start + m.Length
		if sc.Esc == JSON && m.Kind != isogate.String && start > used && !behind.quoted {
			whole, more := wholeString(src, start, end, final)
			if more {
				return sc.hold(dst, src, used, start, m.Length)
			}
			if whole {
				dst = sc.room(dst, start-used+len(m.Value))
				dst = append(append(dst, src[used:start-1]...), m.Value...)
				used, at = end+1, end+1
				sc.behind = behind
				sc.Replaced++
				continue
			}
		}
		dst = append(sc.room(dst, start-used+m.Length+len(m.Else)+maxEscaped*len(m.Value)), src[used:start]...)
		kept := len(dst)
		var ok bool
		if dst, ok = sc.Esc.append(dst, m.Value, behind.quoted); ok {
			sc.Replaced++
		} else {
			sc.Unwritten++
			if sc.Wipe {
				clear(dst[kept:])
			}
			if dst = dst[:kept]; m.Else != nil {
				dst = append(dst, m.Else...)
			} else {
				dst = append(dst, src[start:end]...)
			}
		}
		used, at = end, end
		sc.behind = behind
	}
	cut := len(src)
	if !final {
		cut = max(used, cut-sc.tail(src))
	}
	return sc.emit(dst, src, used, cut), cut
}

// room returns dst with room for n bytes more if what it holds is to be wiped
// where it has to move, which append would leave behind.
func (sc *Scanner) room(dst []byte, n int) []byte {
	if !sc.Wipe || cap(dst)-len(dst) >= n {
		return dst
	}
	grown := append(make([]byte, 0, max(2*cap(dst), len(dst)+n)), dst...)
	clear(dst)
	return grown
}

// emit appends what lies between used and cut as it is.
func (sc *Scanner) emit(dst, src []byte, used, cut int) []byte {
	sc.known = 0
	sc.behind = sc.behind.after(src[used:cut], sc.Esc)
	return append(sc.room(dst, cut-used), src[used:cut]...)
}

// hold deals with src up to a replacement that is not complete, and to the quote
// before it, which may have to go.
func (sc *Scanner) hold(dst, src []byte, used, start, known int) ([]byte, int) {
	if sc.Esc == JSON && start > used && src[start-1] == '"' {
		start--
	}
	dst = sc.emit(dst, src, used, start)
	sc.known = known
	return dst, start
}

// tail is how many bytes at the end of src may be the beginning of a replacement.
func (sc *Scanner) tail(src []byte) int {
	prefix := [prefixSize - 1]byte{'i', 'g', sc.Letter}
	n := min(len(src), len(prefix))
	for n > 0 && !bytes.EqualFold(src[len(src)-n:], prefix[:n]) {
		n--
	}
	if sc.Esc == JSON && n < len(src) && src[len(src)-n-1] == '"' {
		n++
	}
	return n
}

// maxSpace is how much white space may stand between a string and the colon
// that makes it a member name. With more of it the quotes stay.
const maxSpace = 64

// wholeString reports whether what is between start and end is a whole JSON
// string and no member name; more says that src ends before that can be said.
// The quote before start, if there is one, is known not to be escaped.
func wholeString(src []byte, start, end int, final bool) (whole, more bool) {
	if src[start-1] != '"' {
		return false, false
	}
	if end == len(src) {
		return false, !final
	}
	if src[end] != '"' {
		return false, false
	}
	for i := end + 1; i <= end+maxSpace; i++ {
		if i >= len(src) {
			return final, !final
		}
		switch src[i] {
		case ' ', '\t', '\n', '\r':
		case ':':
			return false, false
		default:
			return true, false
		}
	}
	return false, false
}

// behind is what has to be known of the JSON before a place in it.
type behind struct {
	slash  bool // it ends in an odd number of backslashes (never before a token: JSON has no escape \i)
	quoted bool // its last quote was an escaped one
}

// after returns the state behind b.
func (st behind) after(b []byte, esc Escape) behind {
	if esc != JSON || len(b) == 0 {
		return st
	}
	if q := bytes.LastIndexByte(b, '"'); q >= 0 {
		st = behind{quoted: st.oddSlashes(b[:q])}
		b = b[q+1:]
	}
	st.slash = st.oddSlashes(b)
	return st
}

// oddSlashes reports whether b, standing behind st, ends in an odd number of backslashes.
func (st behind) oddSlashes(b []byte) bool {
	n := len(b)
	for n > 0 && b[n-1] == '\\' {
		n--
	}
	odd := (len(b)-n)%2 == 1
	return odd != (n == 0 && st.slash)
}

package obfuscate

import (
	"bytes"

	"github.com/isogate/isogate"
)

// scanner turns tokens back in a text that comes in pieces.
type scanner struct {
	o        *Obfuscator
	esc      Escape
	restored int
	behind   behind
	// known is how many characters of the body of the token that the next piece
	// begins with have been looked at: they are not looked at again, so that a
	// long token in small pieces costs no more than in one.
	known int
}

// scan appends src to dst with its tokens turned back, and says how much of src
// it has dealt with. What is left, when more is to come, may yet become a token;
// it must begin the next piece.
func (sc *scanner) scan(dst, src []byte, final bool) (out []byte, used int) {
	if sc.o.scratches == nil {
		return append(dst, src...), len(src)
	}
	s := sc.o.borrow()
	defer sc.o.giveBack(s)
	for at := 0; ; {
		// Of the prefix the digit is looked for, being rarer than its letters.
		i := bytes.IndexByte(src[at:], tokenPrefix[3])
		if i < 0 {
			break
		}
		at += i + 1
		start := at - len(tokenPrefix)
		if start < used || !isPrefix(src[start:]) {
			continue
		}
		known := 0
		if start <= 1 {
			known = sc.known // what was held back is this token, or its quote and this token
		}
		m := sc.o.match(s, src[start:], sc.esc, known, final)
		if m.verdict == matchMore {
			return sc.hold(dst, src, used, start, m.length)
		}
		if m.verdict != matchToken {
			continue
		}
		behind := sc.behind.after(src[used:start], sc.esc)
		end := start + m.length
		if sc.esc == JSON && m.kind != isogate.String && start > used && !behind.quoted {
			whole, more := wholeString(src, start, end, final)
			if more {
				return sc.hold(dst, src, used, start, 0)
			}
			if whole {
				dst = append(append(dst, src[used:start-1]...), m.value...)
				used, at = end+1, end+1
				sc.behind = behind
				sc.restored++
				continue
			}
		}
		var ok bool
		if s.plain, ok = sc.esc.append(s.plain[:0], m.value, behind.quoted); ok {
			dst = append(append(dst, src[used:start]...), s.plain...)
			sc.restored++
		} else {
			dst = append(dst, src[used:end]...)
		}
		used, at = end, end
		sc.behind = behind
	}
	cut := len(src)
	if !final {
		cut = max(used, cut-tail(src, sc.esc))
	}
	return sc.emit(dst, src, used, cut), cut
}

// emit appends what lies between used and cut as it is.
func (sc *scanner) emit(dst, src []byte, used, cut int) []byte {
	sc.known = 0
	sc.behind = sc.behind.after(src[used:cut], sc.esc)
	return append(dst, src[used:cut]...)
}

// hold deals with src up to a token that is not complete, and to the quote
// before it, which may have to go.
func (sc *scanner) hold(dst, src []byte, used, start, known int) ([]byte, int) {
	if sc.esc == JSON && start > used && src[start-1] == '"' {
		start--
	}
	dst = sc.emit(dst, src, used, start)
	sc.known = known
	return dst, start
}

// tail is how many bytes at the end of src may be the beginning of a token.
func tail(src []byte, esc Escape) int {
	n := min(len(src), len(tokenPrefix)-1)
	for n > 0 && !bytes.EqualFold(src[len(src)-n:], []byte(tokenPrefix[:n])) {
		n--
	}
	if esc == JSON && n < len(src) && src[len(src)-n-1] == '"' {
		n++
	}
	return n
}

// maxSpace is how much white space may stand between a string and the colon
// that makes it a member name. With more of it the quotes stay.
const maxSpace = 64

// wholeString reports whether the token between start and end is a whole JSON
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

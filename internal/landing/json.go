package landing

import (
	"bytes"
	"io"
	"unicode"
	"unicode/utf8"

	"github.com/isogate/isogate/internal/obfuscate"
	"github.com/isogate/isogate/internal/seal"
)

// quoted reads JSON and says of each seal in it what it stands in, before it
// hands the seal on. A seal that is a whole string becomes whatever its value is:
// the page that gets it knows that it is a value. One inside a longer string
// stands in something that the service wrote around it, which a page may well take
// for HTML (a rendered part of a page, in JSON), and which the service could not
// escape the value for. There a value must not bring markup along; and where the
// string has markup already, it must be nothing but letters, digits and the like.
type quoted struct {
	src  io.Reader
	in   []byte
	out  []byte // to hand on, up to free
	free int
	err  error
	seen map[sealID]*standings // of seals that are handed on and not opened yet

	inside  bool // a string
	escaped bool // the next byte
	hex     int  // digits of \u that are to come
	char    rune // of those that came
	markup  bool // the string has "<"
	fresh   bool // the string has begun just now
	run     int  // where in out the letters and digits begin that may be a seal; -1 is nowhere
	whole   bool // they are the beginning of the string
}

// standing is what a seal stands in, from the strictest to the loosest.
type standing uint8

const (
	inMarkup standing = iota
	inString
	asString // it is the whole string
)

// standings is the strictest standing of n equal seals.
type standings struct {
	standing
	n int
}

func newQuoted(r io.Reader) *quoted {
	return &quoted{src: r, in: make([]byte, pieceSize), seen: map[sealID]*standings{}, run: -1}
}

// Read implements [io.Reader].
func (s *quoted) Read(b []byte) (int, error) {
	for s.free == 0 {
		if s.err != nil {
			return 0, s.err
		}
		n, err := s.src.Read(s.in)
		s.take(s.in[:n])
		if s.err = err; err != nil && s.run >= 0 {
			s.endRun(0, len(s.out))
		}
		s.free = len(s.out)
		if s.run >= 0 {
			switch held := s.out[s.run:]; {
			case len(held) > maxHeld:
				s.endRun(0, len(s.out)) // longer than any seal
			case bytes.IndexByte(held, mark[3]) >= 0:
				s.free = s.run
			default: // its end may be the beginning of a mark
				s.free = max(s.run, len(s.out)-len(mark)+1)
			}
		}
	}
	n := copy(b, s.out[:s.free])
	s.out = s.out[:copy(s.out, s.out[n:])]
	if s.free -= n; s.run >= 0 {
		s.run -= n
		if s.run < 0 {
			s.run, s.whole = 0, false // its beginning, which has no mark, is gone
		}
	}
	return n, nil
}

// take reads a piece and appends it to out: what leads to no other state at once, and
// the rest byte by byte.
func (s *quoted) take(b []byte) {
	from := len(s.out)
	s.out = append(s.out, b...)
	for i := 0; i < len(b); i++ {
		switch {
		case !s.inside:
			n := bytes.IndexByte(b[i:], '"')
			if n < 0 {
				return
			}
			i += n
		case s.run >= 0:
			for i < len(b) && inSeal(b[i]) {
				i++
			}
			if i == len(b) {
				return
			}
		}
		s.step(b[i], from+i)
	}
}

// step reads one byte, which is at that place of out.
func (s *quoted) step(c byte, at int) {
	if s.inside && !s.escaped && s.hex == 0 && inSeal(c) {
		if s.run < 0 {
			s.run, s.whole = at, s.fresh
		}
		s.fresh = false
		return
	}
	if s.run >= 0 {
		s.endRun(c, at)
	}
	s.fresh = false
	switch {
	case !s.inside:
		if c == '"' {
			s.inside, s.fresh, s.markup = true, true, false
		}
	case s.hex > 0:
		s.char = s.char<<4 | hexValue(c)
		if s.hex--; s.hex == 0 && s.char == '<' {
			s.markup = true
		}
	case s.escaped:
		s.escaped = false
		if c == 'u' {
			s.hex, s.char = 4, 0
		}
	case c == '\\':
		s.escaped = true
	case c == '"':
		s.inside = false
	case c == '<':
		s.markup = true
	}
}

// endRun notes what the seals in the run stand in, which ends before c, at that place
// of out.
func (s *quoted) endRun(c byte, at int) {
	run := s.out[s.run:at]
	whole := s.whole && c == '"'
	s.run = -1
	const head = len(mark) + 1
	if len(run) < head+nameChars {
		return
	}
	for at := 0; ; at++ {
		i := bytes.IndexByte(run[at:], mark[3])
		if i < 0 {
			return
		}
		at += i
		begin := at - len(mark) + 1
		if begin < 0 || len(run)-begin < head+nameChars || !bytes.EqualFold(run[begin:begin+len(mark)], []byte(mark)) {
			continue
		}
		raw, ok := obfuscate.DecodeBase32(make([]byte, 0, nameChars), run[begin+head:begin+head+nameChars])
		if !ok {
			continue
		}
		standing := inString
		switch {
		case whole && begin == 0 && all(run):
			standing = asString
		case s.markup:
			standing = inMarkup
		}
		name := sealID(raw)
		if one := s.seen[name]; one != nil {
			one.n++
			one.standing = min(one.standing, standing)
		} else {
			s.seen[name] = &standings{standing, 1}
		}
	}
}

// all reports whether a run is one seal and nothing else.
func all(run []byte) bool {
	_, _, ok := seal.Parse(run)
	return ok
}

// of is what a seal that is being opened stands in. One that was not noticed is
// treated most strictly.
func (s *quoted) of(name sealID) standing {
	one := s.seen[name]
	if one == nil {
		return inMarkup
	}
	if one.n--; one.n == 0 {
		delete(s.seen, name)
	}
	return one.standing
}

// nameChars is how many characters have the name of a seal: a whole number of
// bytes, and no fewer than a sealID.
const nameChars = 48

func hexValue(c byte) rune {
	switch {
	case c >= '0' && c <= '9':
		return rune(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return rune(c|0x20-'a') + 10
	}
	return 0
}

// gated opens seals of JSON whose values fit what they stand in.
type gated struct {
	seal.Opener
	s *quoted
}

// OpenSeal implements [seal.Opener].
func (g gated) OpenSeal(scratch []byte, id seal.ID, raw []byte) (seal.Opened, seal.Outcome) {
	o, outcome := g.Opener.OpenSeal(scratch, id, raw)
	fits := true
	switch standing := g.s.of(sealID(raw)); {
	case outcome != seal.Revealed || standing == asString:
	case standing == inString:
		fits = !bytes.ContainsAny(o.Value, "<>")
	default:
		fits = tame(o.Value)
	}
	if !fits {
		clear(o.Value)
		return seal.Opened{}, seal.Withheld
	}
	return o, outcome
}

// tame reports whether a value is harmless wherever in HTML it stands: with none
// of the signs by which a tag, a value of an attribute, an address's scheme, a call
// or an entity is written.
func tame(value []byte) bool {
	for len(value) > 0 {
		r, n := utf8.DecodeRune(value)
		switch {
		case r == utf8.RuneError && n < 2:
			return false
		case unicode.IsLetter(r), unicode.IsMark(r), unicode.IsDigit(r):
		case r == ' ', r == '.', r == ',', r == '-', r == '_', r == '@', r == '+', r == '\'', r == '’':
		default:
			return false
		}
		value = value[n:]
	}
	return true
}

// jsonBody is a JSON body with its seals replaced.
func jsonBody(r io.Reader, o seal.Opener) revealer {
	s := newQuoted(r)
	return seal.RevealReader(s, obfuscate.JSON, gated{o, s}, false)
}

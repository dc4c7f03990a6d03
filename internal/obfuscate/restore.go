package obfuscate

import (
	"bytes"
	"errors"

	"github.com/isogate/isogate"
)

// Why a text is not turned back.
var (
	// ErrNotToken says that the text has not the form of a token.
	ErrNotToken = errors.New("obfuscate: this is no token; a token begins with igt1")
	// ErrForeign says that no key that is kept here has minted the token.
	ErrForeign = errors.New("obfuscate: the token was minted for another tenant or destination, under a label that the pack no longer has, or under a key that is no longer kept")
	// ErrDamaged says that the token is one of ours, but has been changed.
	ErrDamaged = errors.New("obfuscate: the token has been changed or cut; use it as it was sent")
)

// Reveal turns one token back, in its text or its e-mail shape and in any case
// of letters, into the label it was minted under and the value. The label of a
// member name is "".
//
// promise: P37
func (o *Obfuscator) Reveal(token string) (isogate.Label, []byte, error) {
	if o.scratches == nil {
		return "", nil, ErrForeign
	}
	s := o.borrow()
	defer o.giveBack(s)
	m := o.match(s, []byte(token), Plain, 0, true)
	switch {
	case m.verdict == matchToken && m.length == len(token):
		return m.label, bytes.Clone(m.value), nil
	case m.verdict == matchDamaged:
		return "", nil, ErrDamaged
	case m.verdict == matchForeign:
		return "", nil, ErrForeign
	}
	return "", nil, ErrNotToken
}

// Restore appends src to dst with every token of this tenant and destination
// turned back into the original, escaped for the place it stands in, and says
// how many there were. Tokens are found wherever they stand, also inside longer
// text; one that is forged, damaged, cut, or minted for somebody else stays as
// it is. The cost is linear in src, whatever it holds.
//
// In JSON, a token that remembers a number or a bool gives it back without
// quotes if it is a whole string and no member name. It stays as it is where
// its original cannot be written: one that is not UTF-8, or one that needs
// escaping behind an escaped quote, where the string may itself hold JSON.
//
// The originals were the sender's; whether they may stand in the place that the
// far side put their tokens in (a line break in a header) is for the caller to
// judge.
//
// promise: P37
func (o *Obfuscator) Restore(dst, src []byte, esc Escape) (out []byte, n int) {
	sc := Scanner{Esc: esc, Letter: tokenLetter}
	out, _ = o.scan(&sc, dst, src, true)
	return out, sc.Replaced
}

// scan lends the scanner what it finds tokens with.
func (o *Obfuscator) scan(sc *Scanner, dst, src []byte, final bool) (out []byte, used int) {
	if o.scratches == nil {
		return append(dst, src...), len(src)
	}
	s := o.borrow()
	defer o.giveBack(s)
	s.of = o
	return sc.Scan(s, dst, src, final)
}

// Find implements [Finder].
func (s *scratch) Find(src []byte, esc Escape, known int, final bool) Found {
	m := s.of.match(s, src, esc, known, final)
	switch m.verdict {
	case matchToken:
		return Found{State: FoundOne, Length: m.length, Kind: m.kind, Value: m.value}
	case matchMore:
		return Found{State: FoundPart, Length: m.length}
	default:
		return Found{}
	}
}

type matchVerdict uint8

const (
	matchNone    matchVerdict = iota // not the form of a token
	matchMore                        // src ends too early to tell
	matchForeign                     // the form, but no tag of ours
	matchDamaged                     // a tag of ours, but not what was minted
	matchToken
)

type match struct {
	opened
	verdict matchVerdict
	length  int // in characters of src; of matchMore: how many have been looked at and need not be again
}

// match reads the token at the beginning of src. The first known characters of
// its body are known to be of the alphabet. Final says that nothing follows src.
func (o *Obfuscator) match(s *scratch, src []byte, esc Escape, known int, final bool) match {
	const head = len(tokenPrefix) + 1
	if !hasPrefix(src, tokenLetter) {
		return match{verdict: matchNone}
	}
	if run := Base32Run(src[len(tokenPrefix):min(head+tagChars, len(src))]); run < 1+tagChars {
		if len(tokenPrefix)+run < len(src) {
			return match{verdict: matchNone}
		}
		return unfinished(final)
	}
	body := src[head:]
	k, ok := o.keyOf(body)
	if !ok {
		return match{verdict: matchForeign}
	}
	bucket, _ := BucketOf(src[head-1])
	want := tokenLen(bucket) - head
	run := min(known, len(body), want)
	run += Base32Run(body[run:min(len(body), want)])

	// The address is looked for first where the token fits its local part, for
	// then the token alone would be found within it.
	text, length := body[:run], head+run
	if breakAt := min(want, maxLocal-head); run == breakAt {
		joined, n, more, ok := o.joinEmail(s.text, src, tokenLen(bucket), esc)
		s.text = joined
		switch {
		case ok:
			text, length = joined[head:], n
		case more && !final:
			return match{verdict: matchMore, length: run}
		}
	}
	switch {
	case len(text) == want:
	case run == len(body) && !final:
		return match{verdict: matchMore, length: run}
	default:
		return match{verdict: matchDamaged}
	}
	v, ok := k.open(s, bucket, text)
	if !ok {
		return match{verdict: matchDamaged}
	}
	return match{opened: v, verdict: matchToken, length: length}
}

func unfinished(final bool) match {
	if final {
		return match{verdict: matchNone}
	}
	return match{verdict: matchMore}
}

// hasPrefix reports whether src begins with the prefix that has this third letter,
// in any case of letters.
func hasPrefix(src []byte, letter byte) bool {
	return len(src) >= prefixSize && src[3] == digit && src[2]|0x20 == letter && src[1]|0x20 == 'g' && src[0]|0x20 == 'i'
}

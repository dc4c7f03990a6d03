package payload

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"io"

	"github.com/isogate/isogate"
)

// walker rewrites JSON. It is one pass over a window of the body: the whole body
// when it is held, a buffer that moves along when it is streamed. What leaves
// unchanged is never looked at twice: text is copied in spans that reach from one
// change to the next.
//
// Walkers are pooled by tree, for what they learn about the order of names is
// the tree's; everything they hold on to is reused, so that a body costs no
// allocation.
type walker struct {
	tree *Tree
	succ []uint32 // by slot: the key that followed last time

	// Of the body.
	rules    *Rules
	verdicts []isogate.Verdict
	limits   Limits
	rep      Replacer
	part     *part
	lines    bool  // NDJSON
	at       int64 // where the parsed string begins in the body; -1 for the body itself
	outer    int   // frames around the parsed string

	// The window. Positions are indexes into buf.
	buf    []byte
	base   int64 // of buf[0] in the body
	last   bool  // buf reaches to the end of the body
	src    io.Reader
	ioErr  error // what reading or writing ended with
	i      int   // next byte
	resume state // what is expected there
	sep    int   // what is before has been settled, except for copied
	copied int   // what is before has been put out or left out
	n0, n1 int   // the name of the member at hand, without its quotes

	// The output.
	out     []byte
	dst     io.Writer // of a streamed body
	changed bool      // something was replaced or left out

	// The objects and arrays around.
	frames []frame
	depth  int // frames in use; frames[0] stands for the body itself
	mute   int // depth of the frame that is being left out with all it holds; 0 for none
	seen   seen
	bits   []uint64 // of frames with more than 64 keys
	pre    prescan

	text    []byte          // an unescaped text
	decoded []byte          // a decoded value of a form
	made    []byte          // a replacement that has to be escaped
	stored  []byte          // buf of a streamed body or an unescaped parsed string
	result  []byte          // out of a parsed string or a streamed body
	strict  isogate.Verdict // the stricter of two verdicts, while it is being used
	inner   *walker         // for parsed strings
}

// frame is an open object or array.
type frame struct {
	node   *node
	shape  *shape // of an object with named members; nil otherwise
	elem   *node  // of an array: where its elements lead; nil when a selector says
	slot   int    // of the successor to expect
	bits   uint64 // the first 64 keys that have been seen
	more   int    // where the others' bits are in walker.bits; -1 before the first
	count  int    // members
	names  names
	object bool
	kept   bool // something has been put out since it was opened
}

// wildness is how the contract names a member.
type wildness uint8

const (
	spelled wildness = iota // by its name; or it is not a member
	wild                    // by a wildcard
	unnamed                 // not at all
)

const (
	window   = 32 << 10 // bytes of a stream's first buffer
	keepable = 1 << 20  // bytes that a pooled walker may hold on to
)

func (t *Tree) walker() *walker {
	if w, ok := t.pool.Get().(*walker); ok {
		return w
	}
	w := &walker{tree: t, succ: make([]uint32, t.slots), frames: make([]frame, 16)}
	for _, s := range t.shapes {
		for i := range s.keys {
			w.succ[s.slot+i] = uint32(i)
		}
	}
	return w
}

// begin readies a walker for a body.
func (w *walker) begin(r *Rules, rep Replacer, p *part) {
	w.rules, w.verdicts, w.limits, w.rep, w.part = r, r.Verdicts, r.Limits.withDefaults(), rep, p
	w.lines, w.at, w.outer = false, -1, 0
	w.buf, w.base, w.last, w.src, w.ioErr = nil, 0, false, nil, nil
	w.dst, w.changed = nil, false
	w.restart()
}

// restart readies a walker for the next value at the top.
func (w *walker) restart() {
	w.i, w.sep, w.copied, w.n0, w.n1 = 0, 0, 0, 0, 0
	w.depth, w.mute = 0, 0
	w.seen.hashes, w.seen.names, w.bits = w.seen.hashes[:0], 0, w.bits[:0]
	w.pre.reset()
}

// release puts a walker back, without what it must not keep alive.
func (w *walker) release() {
	w.rules, w.verdicts, w.rep, w.part = nil, nil, nil, nil
	w.buf, w.src, w.dst, w.out, w.ioErr = nil, nil, nil, nil, nil
	w.strict = isogate.Verdict{}
	for _, b := range [...]*[]byte{&w.text, &w.decoded, &w.made, &w.stored, &w.result} {
		if cap(*b) > keepable {
			*b = nil
		}
	}
	if cap(w.seen.hashes) > keepable/8 {
		w.seen.hashes = nil
	}
	if w.inner != nil {
		w.inner.release()
	}
	if w.outer == 0 {
		w.tree.pool.Put(w)
	}
}

// errRead and errWrite mark the errors of a stream's two ends.
var (
	errRead  = errors.New("reading the body")
	errWrite = errors.New("writing the body")
)

// more brings in more of a streamed body: it puts out what is settled, moves the
// rest to the front of the buffer and reads. It reports whether there is more.
func (w *walker) more() bool {
	if w.last || w.ioErr != nil {
		return false
	}
	hold := w.sep
	switch {
	case w.mute != 0:
		w.copied = hold
	case w.copied > hold:
		hold = w.copied
	default:
		w.out = append(w.out, w.buf[w.copied:hold]...)
		w.copied = hold
	}
	if !w.flush() {
		return false
	}
	n := copy(w.stored, w.buf[hold:])
	if n > len(w.stored)/2 {
		grown := make([]byte, 2*len(w.stored))
		copy(grown, w.stored[:n])
		w.stored = grown
	}
	w.buf = w.stored[:n]
	w.base += int64(hold)
	w.i, w.sep, w.copied, w.n0, w.n1 = w.i-hold, max(w.sep-hold, 0), w.copied-hold, w.n0-hold, w.n1-hold
	for range 100 {
		room := w.stored[n:]
		if left := w.limits.Body + 1 - w.base - int64(n); left < int64(len(room)) {
			room = room[:left]
		}
		k, err := w.src.Read(room)
		if k < 0 || k > len(room) {
			w.ioErr = fmt.Errorf("%w: the reader returned a count out of range", errRead)
			return false
		}
		w.buf = w.stored[:n+k]
		switch {
		case err == io.EOF:
			w.last = true
			return k > 0
		case err != nil:
			w.ioErr = fmt.Errorf("%w: %w", errRead, err)
			return false
		case k > 0:
			return true
		}
	}
	w.ioErr = fmt.Errorf("%w: %w", errRead, io.ErrNoProgress)
	return false
}

// flush writes what has been put out of a streamed body.
func (w *walker) flush() bool {
	if len(w.out) == 0 {
		return true
	}
	n, err := w.dst.Write(w.out)
	if err == nil && n < len(w.out) {
		err = io.ErrShortWrite
	}
	w.out = w.out[:0]
	if err != nil {
		w.ioErr = fmt.Errorf("%w: %w", errWrite, err)
	}
	return err == nil
}

// refuse makes a refusal for buf[i] at a place.
func (w *walker) refuse(i int, place uint32, reason string) error {
	at := w.at
	if at < 0 {
		at = w.base + int64(i)
	}
	return &Refusal{Offset: at, Path: w.part.of.paths[place], Reason: reason}
}

// broken makes the refusal of what is not the JSON it should be.
func (w *walker) broken(i int, place uint32, reason string) error {
	if w.at >= 0 {
		reason = "the string is opaque, for it does not hold JSON: " + reason
	}
	return w.refuse(i, place, reason)
}

func (w *walker) tooLarge() error {
	return &Refusal{Offset: w.limits.Body, Path: w.part.of.paths[w.tree.root.place], Reason: fmt.Sprintf("the body is larger than %d bytes", w.limits.Body)}
}

// verdict returns that of a set; mixed, the stricter of it and of unclassified.
// The pointer is good until the next call with mixed.
func (w *walker) verdict(set int32, mixed bool) *isogate.Verdict {
	if !mixed && int(set) < len(w.verdicts) {
		return &w.verdicts[set]
	}
	w.strict = judge(w.verdicts, set, mixed)
	return &w.strict
}

// scalar judges and rewrites the value buf[v0:v1], which may not simply stay.
// It reports whether the value was kept.
func (w *walker) scalar(f *frame, n *node, kind isogate.Kind, v0, v1 int, escaped bool, how wildness) (kept bool, err error) {
	mixed := n.takes>>kind&1 == 0
	v := w.verdict(n.set, mixed)
	parse := n.inner != nil && kind == isogate.String && !mixed
	if v.Action == isogate.Refuse && !parse {
		return false, w.refuse(v0, n.place, reasonRefused(v))
	}
	mark, copied := len(w.out), w.copied
	muted := w.mute != 0
	name := naming{action: isogate.Allow}
	if how != spelled && !muted {
		if name, err = w.name(f, n, v, mixed, how); err != nil {
			return false, err
		}
		v = w.verdict(n.set, mixed) // name may have used the room of the stricter verdict
	}
	applied := v.Action
	switch {
	case muted || name.action == isogate.Drop:
		applied = isogate.Drop
		if parse { // what it holds may still refuse
			err = w.parsed(n, v0, v1, escaped, true)
		}
	case parse:
		err = w.parsed(n, v0, v1, escaped, false)
		applied = isogate.Allow
	case applied != isogate.Allow && applied != isogate.Drop:
		applied, err = w.replace(n, v, kind, v0, v1, escaped)
	case applied == isogate.Allow && v.Register:
		err = w.noteValue(n, v, kind, v0, v1, escaped)
	}
	switch {
	case err != nil:
		return false, err
	case applied == isogate.Refuse:
		return false, w.refuse(v0, n.place, reasonRefused(v))
	case !parse:
		w.part.count(n.place, n.set, mixed, applied)
	}
	switch {
	case muted:
		return false, nil
	case applied == isogate.Drop:
		w.out, w.copied = w.out[:mark], copied
		return false, w.drop(v0, v1)
	}
	return true, w.named(name)
}

// noteValue tells the replacer of the scalar buf[v0:v1], which leaves as it is.
func (w *walker) noteValue(n *node, v *isogate.Verdict, kind isogate.Kind, v0, v1 int, escaped bool) error {
	err := note(w.rep, v, isogate.Value{Kind: kind, Text: w.plain(kind, v0, v1, escaped)})
	if err != nil {
		return atPlace(w.part.of.paths[n.place], err)
	}
	return nil
}

// plain is the decoded text of the scalar buf[v0:v1], good until w.text is used again.
func (w *walker) plain(kind isogate.Kind, v0, v1 int, escaped bool) []byte {
	text := w.buf[v0:v1]
	if kind == isogate.String {
		text = text[1 : len(text)-1]
		if escaped {
			w.text = appendUnescaped(w.text[:0], text)
			text = w.text
		}
	}
	return text
}

// drop leaves out the member or element at hand, which ends at end.
func (w *walker) drop(start, end int) error {
	if w.depth == 0 {
		return w.refuse(start, w.tree.root.place, "its verdict is drop, and a whole body cannot be dropped; use redact, or refuse")
	}
	if w.copied < w.sep {
		w.out = append(w.out, w.buf[w.copied:w.sep]...)
	}
	w.copied, w.changed = end, true
	return nil
}

// put puts out what stands before buf[v0:v1], which is being replaced.
func (w *walker) put(v0, v1 int) {
	w.out = append(w.out, w.buf[w.copied:v0]...)
	w.copied, w.changed = v1, true
}

// replace puts out what may leave of a scalar instead of it.
func (w *walker) replace(n *node, v *isogate.Verdict, kind isogate.Kind, v0, v1 int, escaped bool) (isogate.Action, error) {
	text := w.plain(kind, v0, v1, escaped)
	w.put(v0, v1)
	if v.Action == isogate.Redact {
		w.out = append(w.out, redacted[kind]...)
		return isogate.Redact, nil
	}
	mark := len(w.out)
	w.out = append(w.out, '"')
	out, kind, applied, err := w.rep.Replace(w.out, v, isogate.Value{Kind: kind, Text: text})
	switch {
	case err == nil && applied > v.Action:
		err = errLooser
	case err == nil && len(out) <= mark:
		err = errReplacement
	}
	if err != nil {
		return applied, atPlace(w.part.of.paths[n.place], err)
	}
	w.out = out
	if applied <= isogate.Drop {
		return applied, nil
	}
	switch made := out[mark+1:]; {
	case kind == isogate.String && plainText(made):
		w.out = append(out, '"')
	case kind == isogate.String && validText(made):
		w.escape(mark + 1)
		w.out = append(w.out, '"')
	case kind != isogate.String && validScalar(kind, made, w.limits.Number):
		w.out = append(out[:mark], made...) // without the quote
	default:
		return applied, atPlace(w.part.of.paths[n.place], errReplacement)
	}
	return applied, nil
}

// redacted is what redact puts in place of a value of each kind.
var redacted = [...]string{
	isogate.Null:   redactedNull,
	isogate.Bool:   redactedBool,
	isogate.Number: redactedNumber,
	isogate.String: `"` + redactedString + `"`,
}

// validScalar reports whether a replacement is what its kind says.
func validScalar(kind isogate.Kind, text []byte, limit int) bool {
	switch kind {
	case isogate.Null:
		return string(text) == "null"
	case isogate.Bool:
		return string(text) == "true" || string(text) == "false"
	case isogate.Number:
		if len(text) == 0 || len(text) > limit || text[0] != '-' && text[0]-'0' > 9 {
			return false
		}
		end, f := scanNumber(text, 0, true)
		return f == fine && end == len(text)
	}
	return false
}

// escape escapes the text that was put out from mark on, if it must be.
func (w *walker) escape(mark int) {
	if text := w.out[mark:]; !plainText(text) {
		w.made = append(w.made[:0], text...)
		w.out = appendEscaped(w.out[:mark], w.made)
	}
}

// naming is what becomes of a member's name.
type naming struct {
	action isogate.Action // the action applied; Allow for a name that stays
	place  uint32
	set    int32
	mixed  bool
	noted  bool // it stays and must be registered
}

// judgeName judges the name of a member that the contract does not spell: by v,
// the verdict of its value, unless the names have a label of their own. The
// action of the answer is Allow for a name that stays, Drop for one that takes
// its value with it; any other needs a replacement under the verdict returned.
//
// promise: P03
func (w *walker) judgeName(f *frame, n *node, v *isogate.Verdict, mixed bool, how wildness, text []byte) (naming, *isogate.Verdict, error) {
	name := naming{place: n.place + 1, set: n.set, mixed: mixed}
	if how == wild {
		if keys := f.node.shape.anyKeys; keys >= 0 {
			name.set, name.mixed = keys, false
			v = w.verdict(keys, false)
			name.noted = v.Register // by a label of its own; a name under the label of its value is not what that label means
		}
		if v.Action == isogate.Allow {
			if NameLike(text) {
				name.action = isogate.Allow
				return name, v, nil
			}
			name.set, name.mixed, name.noted = 0, false, false
			v = w.verdict(0, false)
		}
	}
	if v.Action == isogate.Refuse {
		return name, v, w.refuse(w.n0, name.place, reasonRefused(v))
	}
	name.action, name.noted = v.Action, false
	return name, v, nil
}

// pseudonym appends the replacement of a name to dst.
func (w *walker) pseudonym(dst []byte, f *frame, name *naming, v *isogate.Verdict, text []byte) ([]byte, error) {
	out, applied, err := w.rep.ReplaceName(dst, v, text)
	switch {
	case err != nil:
	case applied > max(v.Action, isogate.Hash): // a constant could not stay unique, so redact is a hash here
		err = errLooser
	case applied <= isogate.Drop || len(out) <= len(dst) || !validText(out[len(dst):]):
		err = errReplacement
	}
	if err != nil {
		return dst, atPlace(w.part.of.paths[name.place], err)
	}
	name.action = applied
	if !w.fresh(f, out[len(dst):]) {
		return dst, w.refuse(w.n0, name.place, "the replacement of its name is the name of another member")
	}
	return out, nil
}

// name judges the name of the member at hand and puts out its replacement when
// it may not leave as it is.
func (w *walker) name(f *frame, n *node, v *isogate.Verdict, mixed bool, how wildness) (naming, error) {
	text := w.buf[w.n0:w.n1]
	if bytes.IndexByte(text, '\\') >= 0 {
		w.text = appendUnescaped(w.text[:0], text)
		text = w.text
	}
	name, v, err := w.judgeName(f, n, v, mixed, how, text)
	if err != nil || name.action == isogate.Allow || name.action == isogate.Drop {
		return name, err
	}
	w.put(w.n0, w.n1)
	mark := len(w.out)
	out, err := w.pseudonym(w.out, f, &name, v, text)
	if err != nil {
		return name, err
	}
	w.out = out
	w.escape(mark)
	return name, nil
}

// fresh reports whether no other member of an object has the name, and makes it taken.
func (w *walker) fresh(f *frame, name []byte) bool {
	h := maphash.Bytes(w.tree.seed, name)
	return (f.shape == nil || f.shape.lookup(h, name) < 0) && w.seen.add(&f.names, h)
}

// named settles the name of a member that is kept: it is counted when it was
// replaced, and noted when it stays and must be registered.
func (w *walker) named(name naming) error {
	if name.noted {
		raw := w.buf[w.n0:w.n1]
		if bytes.IndexByte(raw, '\\') >= 0 {
			w.text = appendUnescaped(w.text[:0], raw)
			raw = w.text
		}
		if err := w.noteName(name, raw); err != nil {
			return err
		}
	}
	w.count(name)
	return nil
}

// count counts a name that was replaced or noted.
func (w *walker) count(name naming) {
	if name.noted || name.action != isogate.Allow {
		w.part.count(name.place, name.set, name.mixed, name.action)
	}
}

// noteName tells the replacer of a name that leaves as it is.
func (w *walker) noteName(name naming, text []byte) error {
	if err := note(w.rep, w.verdict(name.set, name.mixed), isogate.Value{Kind: isogate.String, Text: text}); err != nil {
		return atPlace(w.part.of.paths[name.place], err)
	}
	return nil
}

// container judges the name of a member whose value is an object or array, and
// reports whether the member is left out.
func (w *walker) container(f *frame, n *node, how wildness) (mute bool, err error) {
	name, err := w.name(f, n, w.verdict(n.set, false), false, how)
	if err != nil {
		return false, err
	}
	if name.action == isogate.Drop {
		return true, w.drop(w.n0, w.n1)
	}
	return false, w.named(name)
}

// parsed rewrites the JSON inside a string; mute leaves it out, but judges it.
func (w *walker) parsed(n *node, v0, v1 int, escaped, mute bool) error {
	text := w.buf[v0+1 : v1-1]
	if escaped {
		w.text = appendUnescaped(w.text[:0], text)
		text = w.text
	}
	made, changed, err := w.nested(n, text, v0, mute)
	if err == nil && changed && !mute {
		w.put(v0, v1)
		w.out = append(w.out, '"')
		w.out = appendEscaped(w.out, made)
		w.out = append(w.out, '"')
	}
	return err
}

// nested rewrites a text that holds JSON and stands at buf[at]. The result is
// good until the next call.
func (w *walker) nested(n *node, text []byte, at int, mute bool) (made []byte, changed bool, err error) {
	if w.inner == nil {
		w.inner = &walker{tree: w.tree, succ: w.succ, frames: make([]frame, 4)}
	}
	in := w.inner
	in.begin(w.rules, w.rep, w.part)
	in.outer = w.outer + w.depth + 1
	if in.at = w.at; in.at < 0 {
		in.at = w.base + int64(at)
	}
	in.buf, in.last, in.out = text, true, in.result[:0]
	if mute {
		in.mute = -1
	}
	if err := in.walk(n.inner); err != nil {
		return nil, false, err
	}
	in.result = append(in.out, in.buf[in.copied:]...)
	return in.result, in.changed, nil
}

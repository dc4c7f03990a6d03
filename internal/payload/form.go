package payload

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"io"

	"github.com/isogate/isogate"
)

// formFormat is application/x-www-form-urlencoded. The names of fields, decoded,
// are the members of the body; brackets and dots in them are plain characters,
// so a contract quotes them: 'user[email]'. All values are strings; one may hold
// JSON where the contract says parse. Refused, besides what [appendDecoded]
// refuses: a field without "=", an empty field, and two fields with one name.
type formFormat struct{}

func (formFormat) Name() string { return "form" }

func (formFormat) Accepts(mediaType string) bool {
	return mediaType == "application/x-www-form-urlencoded"
}

func (formFormat) MediaType() string { return "application/x-www-form-urlencoded" }

func (formFormat) Rewrite(dst, src []byte, r *Rules, rep Replacer, tally *Tally) ([]byte, error) {
	return rewrite((*walker).fields, dst, src, r, rep, tally)
}

func (formFormat) Stream(dst io.Writer, src io.Reader, r *Rules, rep Replacer, tally *Tally) error {
	return stream((*walker).fields, dst, src, r, rep, tally)
}

// fields rewrites the fields in the window. Each is put out as a whole, so that
// the window never goes back behind the field at hand.
func (w *walker) fields() error {
	root := w.tree.root
	f := &w.frames[0]
	*f = frame{node: root, more: -1}
	if s := root.shape; s != nil && len(s.keys) > 0 {
		f.shape = s
	}
	end := w.i
	for {
		at := bytes.IndexByte(w.buf[end:], '&')
		long := len(w.buf) - w.i
		if at >= 0 {
			long = end + at - w.i
		}
		if long > w.limits.Value {
			return w.refuse(w.i, root.member.place, fmt.Sprintf("a field is longer than %d bytes", w.limits.Value))
		}
		if at < 0 && !w.last {
			seen := len(w.buf) - w.i
			if !w.more() && w.ioErr != nil {
				return w.ioErr
			}
			if w.base+int64(len(w.buf)) > w.limits.Body {
				return w.tooLarge()
			}
			end = w.i + seen
			continue
		}
		if err := w.field(f, w.i, w.i+long); err != nil {
			return err
		}
		w.i += long + 1
		if at < 0 {
			w.sep, w.copied = len(w.buf), len(w.buf)
			return nil
		}
		w.sep, w.copied, end = w.i, w.i, w.i
	}
}

// field rewrites the field buf[start:end].
func (w *walker) field(f *frame, start, end int) error {
	n, how := f.node.member, unnamed
	if s := f.node.shape; s != nil && s.any != nil {
		n, how = s.any, wild
	}
	raw := w.buf[start:end]
	eq := bytes.IndexByte(raw, '=')
	if eq < 0 {
		return w.refuse(start, n.place, "a field is empty or has no = sign")
	}
	var bad int
	var reason string
	if w.text, bad, reason = appendDecoded(w.text[:0], raw[:eq]); reason != "" {
		return w.refuse(start+bad, n.place, "a name has "+reason)
	}
	if f.count++; f.count > w.limits.Members {
		return w.refuse(start, n.place, fmt.Sprintf("there are more than %d fields", w.limits.Members))
	}
	h := maphash.Bytes(w.tree.seed, w.text)
	k := -1
	if f.shape != nil {
		k = f.shape.lookup(h, w.text)
	}
	var fresh bool
	if k >= 0 {
		n, how = f.shape.keys[k].node, spelled
		fresh = w.mark(f, k)
	} else {
		fresh = w.seen.add(&f.names, h)
	}
	if !fresh {
		return w.refuse(start, n.place, "two fields have the same name")
	}
	if w.decoded, bad, reason = appendDecoded(w.decoded[:0], raw[eq+1:]); reason != "" {
		return w.refuse(start+eq+1+bad, n.place, "a value has "+reason)
	}
	return w.judgeField(f, n, how, raw, start, eq)
}

// judgeField judges and puts out a field whose name is in w.text and whose value is in w.decoded.
func (w *walker) judgeField(f *frame, n *node, how wildness, raw []byte, start, eq int) error {
	mixed := n.takes>>isogate.String&1 == 0
	v := *w.verdict(n.set, mixed)
	parse := n.inner != nil && !mixed
	if v.Action == isogate.Refuse && !parse {
		return w.refuse(start+eq+1, n.place, reasonRefused(&v))
	}
	mark := len(w.out)
	if f.kept {
		w.out = append(w.out, '&')
	}
	name := naming{action: isogate.Allow}
	if how != spelled {
		w.n0 = start
		var nv *isogate.Verdict
		var err error
		if name, nv, err = w.judgeName(f, n, &v, mixed, how, w.text); err != nil {
			return err
		}
		if name.action != isogate.Allow && name.action != isogate.Drop {
			if w.made, err = w.pseudonym(w.made[:0], f, &name, nv, w.text); err != nil {
				return err
			}
			w.out = appendEncoded(w.out, w.made)
		}
	}
	if name.action == isogate.Allow {
		w.out = append(w.out, raw[:eq]...)
	}
	w.out = append(w.out, '=')
	applied := v.Action
	var err error
	switch {
	case parse:
		var made []byte
		var changed bool
		made, changed, err = w.nested(n, w.decoded, start+eq+1, name.action == isogate.Drop)
		if applied = isogate.Allow; changed {
			w.out = appendEncoded(w.out, made)
		} else {
			w.out = append(w.out, raw[eq+1:]...)
		}
	case name.action == isogate.Drop:
	case applied == isogate.Allow:
		w.out = append(w.out, raw[eq+1:]...)
		if v.Register {
			err = note(w.rep, &v, isogate.Value{Kind: isogate.String, Text: w.decoded})
		}
	default:
		w.made, applied, err = replaceText(w.made[:0], &v, w.decoded, w.rep)
		w.out = appendEncoded(w.out, w.made)
	}
	if name.action == isogate.Drop {
		applied = isogate.Drop
	}
	switch {
	case err != nil && parse:
		return err
	case err != nil:
		return atPlace(w.part.of.paths[n.place], err)
	case applied == isogate.Refuse:
		return w.refuse(start+eq+1, n.place, reasonRefused(&v))
	case !parse:
		w.part.count(n.place, n.set, mixed, applied)
	}
	if applied == isogate.Drop {
		w.out = w.out[:mark]
		return nil
	}
	f.kept = true
	if name.noted {
		if err := w.noteName(name, w.text); err != nil {
			return err
		}
	}
	w.count(name)
	return nil
}

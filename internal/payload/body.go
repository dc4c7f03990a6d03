package payload

import (
	"io"
	"strings"
)

// rewrite has one way of walking work on a body that is held.
func rewrite(walk func(*walker) error, dst, src []byte, r *Rules, rep Replacer, tally *Tally) ([]byte, error) {
	w, err := r.walker(rep, tally)
	if err != nil {
		return dst, err
	}
	defer w.release()
	w.buf, w.last, w.out = src, true, dst
	if err := w.head(); err != nil {
		return dst, err
	}
	if err := walk(w); err != nil {
		return dst, err
	}
	return append(w.out, src[w.copied:]...), nil
}

// stream has one way of walking work on a body as it comes in.
func stream(walk func(*walker) error, dst io.Writer, src io.Reader, r *Rules, rep Replacer, tally *Tally) error {
	w, err := r.walker(rep, tally)
	if err != nil {
		return err
	}
	defer w.release()
	if w.stored == nil {
		w.stored = make([]byte, window)
	}
	w.src, w.dst, w.out = src, dst, w.result[:0]
	w.buf = w.stored[:0]
	for len(w.buf) < len(byteOrderMark) && w.more() {
	}
	if w.ioErr != nil {
		return w.ioErr
	}
	if err := w.head(); err != nil {
		return err
	}
	if err := walk(w); err != nil {
		return err
	}
	w.out = append(w.out, w.buf[w.copied:]...)
	w.flush()
	w.result = w.out
	return w.ioErr
}

// walker returns one that is ready for a body but for its window.
func (r *Rules) walker(rep Replacer, tally *Tally) (*walker, error) {
	if err := checkUnclassified(r.Verdicts); err != nil {
		return nil, err
	}
	w := r.Tree.walker()
	w.begin(r, rep, tally.part(&r.Tree.ledger, r.Verdicts))
	return w, nil
}

const byteOrderMark = "\xef\xbb\xbf"

// head refuses what can be told from the first bytes.
func (w *walker) head() error {
	root := w.tree.root.place
	switch {
	case len(w.buf) == 0:
		return w.refuse(0, root, "the body is empty")
	case w.base+int64(len(w.buf)) > w.limits.Body:
		return w.tooLarge()
	case strings.HasPrefix(string(w.buf[:min(len(w.buf), len(byteOrderMark))]), byteOrderMark):
		return w.refuse(0, root, "the body begins with a byte order mark; send UTF-8 without one")
	}
	return nil
}

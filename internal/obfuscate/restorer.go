package obfuscate

import (
	"io"
	"slices"
)

// Restorer is a reader that turns tokens back as [Obfuscator.Restore] does,
// wherever the pieces it is given are cut. It holds back only what may yet
// become a token: nothing of a text that has none, and at most one token
// ([MaxTokenText] characters) once its tag is known to be ours. It is for one
// goroutine.
type Restorer struct {
	r   io.Reader
	sc  scanner
	in  []byte // read, not yet dealt with
	out []byte // dealt with
	off int    // of out: already handed on
	err error
}

// pieceSize is how many bytes are asked for at once.
const pieceSize = 16 << 10

// RestoreReader returns a reader of r with its tokens turned back.
func (o *Obfuscator) RestoreReader(r io.Reader, esc Escape) *Restorer {
	return &Restorer{r: r, sc: scanner{o: o, esc: esc}}
}

// Restored is how many tokens have been turned back so far.
func (r *Restorer) Restored() int { return r.sc.restored }

// Read implements [io.Reader]. What was read before an error of the underlying
// reader is handed on before the error is.
func (r *Restorer) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for r.off == len(r.out) {
		if r.err != nil {
			return 0, r.err
		}
		r.fill()
	}
	n := copy(p, r.out[r.off:])
	r.off += n
	return n, nil
}

// fill takes in one piece and deals with what it can.
func (r *Restorer) fill() {
	const patience = 100 // as bufio has
	r.in = slices.Grow(r.in, pieceSize)
	n := 0
	for range patience {
		n, r.err = r.r.Read(r.in[len(r.in) : len(r.in)+pieceSize])
		if n > 0 || r.err != nil {
			break
		}
	}
	if n == 0 && r.err == nil {
		r.err = io.ErrNoProgress
	}
	r.in = r.in[:len(r.in)+n]
	out, used := r.sc.scan(r.out[:0], r.in, r.err != nil)
	r.out, r.off = out, 0
	if used > 0 { // else all of it is kept where it is, however small the pieces
		r.in = r.in[:copy(r.in, r.in[used:])]
	}
}

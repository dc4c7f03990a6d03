package obfuscate

import (
	"io"
	"slices"
)

// Sieve is a reader that hands on what a scan makes of the pieces of another
// reader. It holds back what the scan does. It is for one goroutine.
type Sieve struct {
	r    io.Reader
	scan func(dst, src []byte, final bool) (out []byte, used int)
	in   []byte // read, not yet dealt with
	out  []byte // dealt with
	off  int    // of out: already handed on
	err  error
}

// pieceSize is how many bytes are asked for at once.
const pieceSize = 16 << 10

// NewSieve returns a sieve of r. Scan is called as [Scanner.Scan] is: what it did
// not use is in front of what it is given next. It is given an output of the sieve's
// own to append to, and never again after one call with final.
func NewSieve(r io.Reader, scan func(dst, src []byte, final bool) (out []byte, used int)) *Sieve {
	return &Sieve{r: r, scan: scan}
}

// Read implements [io.Reader]. What was read before an error of the underlying
// reader is handed on before the error is.
func (s *Sieve) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for s.off == len(s.out) {
		if s.err != nil {
			return 0, s.err
		}
		s.fill()
	}
	n := copy(p, s.out[s.off:])
	s.off += n
	return n, nil
}

// Wipe overwrites all that the scan has put out and ends the sieve: every further
// Read gives err.
func (s *Sieve) Wipe(err error) {
	clear(s.out[:cap(s.out)])
	s.in, s.out, s.off, s.err = nil, nil, 0, err
}

// fill takes in one piece and deals with what it can.
func (s *Sieve) fill() {
	const patience = 100 // as bufio has
	s.in = slices.Grow(s.in, pieceSize)
	n := 0
	for range patience {
		n, s.err = s.r.Read(s.in[len(s.in) : len(s.in)+pieceSize])
		if n > 0 || s.err != nil {
			break
		}
	}
	if n == 0 && s.err == nil {
		s.err = io.ErrNoProgress
	}
	s.in = s.in[:len(s.in)+n]
	clear(s.out) // handed on; a scan that wipes what it moves knows of nothing behind its output
	out, used := s.scan(s.out[:0], s.in, s.err != nil)
	s.out, s.off = out, 0
	if used > 0 { // else all of it is kept where it is, however small the pieces
		s.in = s.in[:copy(s.in, s.in[used:])]
	}
}

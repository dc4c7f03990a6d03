package obfuscate

import "io"

// Restorer is a reader that turns tokens back as [Obfuscator.Restore] does,
// wherever the pieces it is given are cut. It holds back only what may yet
// become a token: nothing of a text that has none, and at most one token
// ([MaxTokenText] characters) once its tag is known to be ours. It is for one
// goroutine.
type Restorer struct {
	o     *Obfuscator
	sc    Scanner
	sieve *Sieve
}

// RestoreReader returns a reader of r with its tokens turned back.
func (o *Obfuscator) RestoreReader(r io.Reader, esc Escape) *Restorer {
	rr := &Restorer{o: o, sc: Scanner{Esc: esc, Letter: tokenLetter}}
	rr.sieve = NewSieve(r, rr.scan)
	return rr
}

func (r *Restorer) scan(dst, src []byte, final bool) (out []byte, used int) {
	return r.o.scan(&r.sc, dst, src, final)
}

// Restored is how many tokens have been turned back so far.
func (r *Restorer) Restored() int { return r.sc.Replaced }

// Read implements [io.Reader]. What was read before an error of the underlying
// reader is handed on before the error is.
func (r *Restorer) Read(p []byte) (int, error) { return r.sieve.Read(p) }

package seal

import (
	"io"

	"github.com/isogate/isogate/internal/obfuscate"
)

// Outcome is what becomes of a seal in a text.
type Outcome uint8

const (
	// Withheld seals are replaced by [TextWithheld]: the reader has no right, or
	// the seal has been changed.
	Withheld Outcome = iota
	// Expired seals are replaced by [TextExpired]: the key is gone or was never here.
	Expired
	// Revealed seals are replaced by their value.
	Revealed
)

// What stands for a seal that is not revealed.
const (
	TextWithheld = "[sealed]"
	TextExpired  = "[expired]"
)

// Opener opens seals. Raw is the seal decoded, for [OpenKey]; scratch has room for
// its value, is wiped by the caller, and nothing may be kept of either. Every
// Outcome but Revealed comes with the zero Opened.
type Opener interface {
	OpenSeal(scratch []byte, id ID, raw []byte) (Opened, Outcome)
}

// Counts says what became of the seals of a text.
type Counts struct{ Revealed, Expired, Withheld int }

// Reveal appends src to dst with its seals replaced, the values escaped for the
// place they stand in as tokens are (see [obfuscate.Obfuscator.Restore]). Seals
// are found wherever they stand. With leave, those that are not revealed stay as
// they are. The cost is linear in src, whatever it holds.
//
// No value stays behind but in out: where dst has to grow, the old array is wiped.
func Reveal(dst, src []byte, esc obfuscate.Escape, o Opener, leave bool) (out []byte, n Counts) {
	panic("seal: not yet")
}

// Revealer is a reader that replaces seals as [Reveal] does, wherever the pieces
// it is given are cut. It holds back what may yet become a seal, which is at most
// one. It is for one goroutine.
type Revealer struct{}

// RevealReader returns a reader of r with its seals replaced.
func RevealReader(r io.Reader, esc obfuscate.Escape, o Opener, leave bool) *Revealer {
	panic("seal: not yet")
}

// Read implements [io.Reader]. What was read before an error of the underlying
// reader is handed on before the error is.
func (r *Revealer) Read(p []byte) (int, error) { panic("seal: not yet") }

// Counts says what became of the seals so far.
func (r *Revealer) Counts() Counts { panic("seal: not yet") }

// Close wipes what the reader has of revealed text. It does not close the
// underlying reader, and never fails.
func (r *Revealer) Close() error { panic("seal: not yet") }

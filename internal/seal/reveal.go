package seal

import (
	"errors"
	"io"
	"slices"

	"github.com/isogate/isogate"
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

// What stands for a seal that is not revealed. Neither needs escaping in JSON or HTML.
const (
	TextWithheld = "[sealed]"
	TextExpired  = "[expired]"
)

// Opener opens seals. Raw is the seal decoded, for [OpenKey], and begins with id;
// scratch has room for its value, is wiped by the caller, and nothing may be kept
// of either. Every Outcome but Revealed comes with the zero Opened.
type Opener interface {
	OpenSeal(scratch []byte, id ID, raw []byte) (Opened, Outcome)
}

// Counts says what became of the seals of a text.
type Counts struct{ Revealed, Expired, Withheld int }

// Reveal appends src to dst with its seals replaced, the values escaped for the
// place they stand in as tokens are (see [obfuscate.Obfuscator.Restore]). Seals
// are found wherever they stand, in any case of letters. One that is not
// revealed, and one that is cut but still says which key it is of, is replaced by
// [TextExpired] or [TextWithheld]; so is one whose value cannot be written where it
// stands. With leave, all of these stay as they are. The cost is linear in src,
// whatever it holds.
//
// No value stays behind but in out: where dst has to move to grow, its old array
// is wiped, up to its length.
func Reveal(dst, src []byte, esc obfuscate.Escape, o Opener, leave bool) (out []byte, n Counts) {
	f := finder{opener: o, leave: leave}
	sc := scanner(esc)
	out, _ = sc.Scan(&f, dst, src, true)
	f.wipe()
	return out, f.counts(&sc)
}

func scanner(esc obfuscate.Escape) obfuscate.Scanner {
	return obfuscate.Scanner{Esc: esc, Letter: letter, Wipe: true}
}

// finder reads seals for an [obfuscate.Scanner].
type finder struct {
	opener Opener
	leave  bool
	n      Counts

	raw     []byte // the seal that was read last, decoded
	scratch []byte // its value
	dirty   int    // how much of scratch may hold something

	// What came of the last seal, so that one is opened, and recorded, once.
	length  int // in characters; 0 of none
	outcome Outcome
	opened  Opened
}

const idCut = (len(ID{})*8 + 4) / 5 // characters that say which key a seal is of

// Find implements [obfuscate.Finder].
func (f *finder) Find(src []byte, _ obfuscate.Escape, known int, final bool) obfuscate.Found {
	const head = len(prefix) + 1
	if run := obfuscate.Base32Run(src[len(prefix):min(head+idCut, len(src))]); run < 1+idCut {
		if final || len(prefix)+run < len(src) {
			return obfuscate.Found{}
		}
		return obfuscate.Found{State: obfuscate.FoundPart}
	}
	bucket, _ := obfuscate.BucketOf(src[head-1])
	body, want := src[head:], textLen(bucket)-head
	if known < want || f.length != head+want {
		run := min(known, len(body), want)
		run += obfuscate.Base32Run(body[run:min(len(body), want)])
		if run == len(body) && run < want && !final {
			return obfuscate.Found{State: obfuscate.FoundPart, Length: run}
		}
		f.length = head + run
		f.outcome, f.opened = Withheld, Opened{}
		if run == want {
			f.open(body[:want], bucket)
		}
	}
	if f.outcome == Revealed {
		found := obfuscate.Found{State: obfuscate.FoundOne, Length: f.length, Kind: f.opened.Kind, Value: f.opened.Value}
		if !f.leave {
			found.Else = []byte(TextWithheld)
		}
		return found
	}
	next, more := nextBegins(src, f.length, final)
	if more {
		return obfuscate.Found{State: obfuscate.FoundPart, Length: f.length - head}
	}
	return f.not(next)
}

// open opens a seal by the characters of its body.
func (f *finder) open(body []byte, bucket obfuscate.Bucket) {
	raw, ok := obfuscate.DecodeBase32(slices.Grow(f.raw[:0], rawLen(bucket)), body)
	f.raw = raw
	if !ok {
		return
	}
	clear(f.scratch[:f.dirty])
	if f.dirty = bucket.Size(); len(f.scratch) < f.dirty+maxContext {
		f.scratch = make([]byte, max(f.dirty+maxContext, leastScratch))
	}
	f.opened, f.outcome = f.opener.OpenSeal(f.scratch[:0], ID(raw), raw)
	if f.outcome == Revealed && f.opened.Kind == isogate.Null {
		f.outcome = Withheld
	}
}

// leastScratch saves small values an allocation each time they get longer.
const leastScratch = 1 << 10

// nextBegins returns where the seal at the beginning of src, which is taken to end
// at end, really ends: it may have been cut and be followed by another at once, the
// first letters of whose prefix look like its own. More says that src is too short
// to tell.
func nextBegins(src []byte, end int, final bool) (at int, more bool) {
	for k := len(prefix) - 1; k > 0; k-- {
		rest := src[end-k:]
		like := rest[0]|0x20 == 'i' &&
			(len(rest) < 2 || rest[1]|0x20 == 'g') &&
			(len(rest) < 3 || rest[2]|0x20 == letter || rest[2]|0x20 == 't' || rest[2]|0x20 == 'h') &&
			(len(rest) < 4 || rest[3] == prefix[3])
		switch {
		case like && len(rest) >= len(prefix):
			return end - k, false
		case like && !final:
			return 0, true
		}
	}
	return end, false
}

// not is what is found where nothing is revealed.
func (f *finder) not(length int) obfuscate.Found {
	text := TextWithheld
	if f.outcome == Expired {
		text = TextExpired
		f.n.Expired++
	} else {
		f.n.Withheld++
	}
	if f.leave {
		return obfuscate.Found{}
	}
	return obfuscate.Found{State: obfuscate.FoundOne, Length: length, Kind: isogate.String, Value: []byte(text)}
}

// counts says what became of the seals, once the scanner knows what could be written.
func (f *finder) counts(sc *obfuscate.Scanner) Counts {
	n := f.n
	n.Withheld += sc.Unwritten
	n.Revealed = sc.Replaced
	if !f.leave {
		n.Revealed -= f.n.Expired + f.n.Withheld // these were written, too
	}
	return n
}

func (f *finder) wipe() {
	clear(f.scratch[:f.dirty])
	f.scratch, f.dirty, f.length, f.opened = nil, 0, 0, Opened{}
}

// Revealer is a reader that replaces seals as [Reveal] does, wherever the pieces
// it is given are cut. It holds back what may yet become a seal, which is at most
// one ([MaxText] characters). It is for one goroutine.
type Revealer struct {
	f     finder
	sc    obfuscate.Scanner
	sieve *obfuscate.Sieve
}

// RevealReader returns a reader of r with its seals replaced.
func RevealReader(r io.Reader, esc obfuscate.Escape, o Opener, leave bool) *Revealer {
	rr := &Revealer{f: finder{opener: o, leave: leave}, sc: scanner(esc)}
	rr.sieve = obfuscate.NewSieve(r, rr.scan)
	return rr
}

func (r *Revealer) scan(dst, src []byte, final bool) (out []byte, used int) {
	return r.sc.Scan(&r.f, dst, src, final)
}

// Read implements [io.Reader]. What was read before an error of the underlying
// reader is handed on before the error is.
func (r *Revealer) Read(p []byte) (int, error) { return r.sieve.Read(p) }

// Counts says what became of the seals so far.
func (r *Revealer) Counts() Counts { return r.f.counts(&r.sc) }

// Close wipes what the reader has of revealed text, also of what was read
// already; what lies in the buffers that were given to Read is their owner's to
// wipe. It does not close the underlying reader, and never fails.
func (r *Revealer) Close() error {
	r.f.wipe()
	r.sieve.Wipe(errors.New("seal: read after Close"))
	return nil
}

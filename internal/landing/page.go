package landing

import (
	"bytes"
	"io"
	"mime"
	"strings"

	"github.com/isogate/isogate/internal/http1"
	"github.com/isogate/isogate/internal/obfuscate"
	"github.com/isogate/isogate/internal/seal"
)

// shape is how values are written into a response.
type shape uint8

const (
	asItIs shape = iota // nothing in it is revealed
	asText
	asJSON
	asPage
)

// shapeOf decides by the response's head. Only formats that a value can be
// escaped for qualify, in an encoding in which it is the bytes that we write.
func shapeOf(h http1.Fields) shape {
	media, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		return asItIs
	}
	switch strings.ToLower(params["charset"]) {
	case "", "utf-8", "us-ascii":
	default:
		return asItIs
	}
	switch {
	case media == "application/json" || strings.HasSuffix(media, "+json") || media == "application/x-ndjson" || media == "application/jsonl":
		return asJSON
	case media == "text/html":
		return asPage
	case media == "text/plain":
		return asText
	}
	return asItIs
}

// encoded reports whether the body is in an encoding, in which seals are not seen.
func encoded(h http1.Fields) bool {
	enc, ok := h.Lookup("Content-Encoding")
	return ok && !strings.EqualFold(enc, "identity")
}

// revealer is a body with its seals replaced.
type revealer interface {
	io.ReadCloser
	Counts() seal.Counts
}

func reveal(r io.Reader, s shape, o seal.Opener) revealer {
	switch s {
	case asPage:
		return &page{src: r, opener: o, in: make([]byte, pieceSize)}
	case asJSON:
		return jsonBody(r, o)
	default:
		return seal.RevealReader(r, obfuscate.Plain, o, false)
	}
}

const (
	pieceSize = 16 << 10
	// maxHeld is the longest seal, and a piece.
	maxHeld = seal.MaxText + pieceSize
	mark    = "igs1"
)

// page is an HTML body with its seals replaced where markup allows it. What it
// has not yet handed on is at most one piece and one seal, and is wiped.
type page struct {
	src    io.Reader
	opener seal.Opener
	m      markup
	in     []byte // as the service sent it: seals, no values
	held   []byte // of the run: what may yet become a seal
	long   bool   // held begins with the mark
	out    []byte // to hand on, from at on; has values
	at     int
	err    error
	counts seal.Counts
}

// Read implements [io.Reader].
func (p *page) Read(b []byte) (int, error) {
	for p.at == len(p.out) {
		if p.err != nil {
			return 0, p.err
		}
		p.wipe()
		n, err := p.src.Read(p.in)
		p.take(p.in[:n])
		if p.err = err; err != nil {
			p.run(nil, p.m.plain(), true)
		}
	}
	n := copy(b, p.out[p.at:])
	p.at += n
	return n, nil
}

// Counts says what became of the seals so far.
func (p *page) Counts() seal.Counts { return p.counts }

// Close implements [io.Closer].
func (p *page) Close() error {
	p.wipe()
	if p.err == nil {
		p.err = io.ErrClosedPipe
	}
	return nil
}

func (p *page) wipe() {
	clear(p.out)
	p.out, p.at = p.out[:0], 0
}

// take reads a piece, run by run: a run is what is plain throughout, or nowhere.
// No seal is cut by that, for what ends a run is in no seal. Most runs are a few
// bytes of markup, or text without a seal in it; they are passed on together.
func (p *page) take(b []byte) {
	begin, plain := 0, p.m.plain()
	passed := 0 // what is before was handed on
	for i := 0; i < len(b); i++ {
		if i += p.m.skip(b[i:]); i == len(b) {
			break
		}
		p.m.step(b[i])
		if now := p.m.plain(); now != plain {
			if run := b[begin:i]; plain && (len(p.held) > 0 || bytes.IndexByte(run, mark[3]) >= 0) {
				p.add(b[passed:begin])
				p.run(run, true, true)
				passed = i
			}
			begin, plain = i, now
		}
	}
	p.add(b[passed:begin])
	p.run(b[begin:], plain, false)
}

// run deals with more of a run, which ends behind b if end is set.
func (p *page) run(b []byte, plain, end bool) {
	if !plain {
		p.add(b)
		return
	}
	if p.long && !end {
		// Until something comes that is in no seal, nothing has to be looked at twice.
		i := 0
		for i < len(b) && inSeal(b[i]) {
			i++
		}
		if i == len(b) && len(p.held)+len(b) <= maxHeld {
			p.held = append(p.held, b...)
			return
		}
	}
	src := b
	if len(p.held) > 0 {
		src = append(p.held, b...)
		p.held = nil
	}
	p.long = false
	cut := len(src)
	if !end {
		cut = p.hold(src)
	}
	if bytes.IndexByte(src[:cut], mark[3]) < 0 {
		p.add(src[:cut])
		p.keep(src[cut:])
		return
	}
	grown, n := seal.Reveal(p.out, src[:cut], obfuscate.HTML, p.opener, false)
	p.out = grown
	p.counts.Revealed += n.Revealed
	p.counts.Expired += n.Expired
	p.counts.Withheld += n.Withheld
	p.keep(src[cut:])
}

func (p *page) keep(b []byte) {
	if len(b) > 0 {
		p.held = bytes.Clone(b)
	}
}

// hold says from where on src may yet become a seal.
func (p *page) hold(src []byte) int {
	i := len(src)
	for i > 0 && len(src)-i < maxHeld && inSeal(src[i-1]) {
		i--
	}
	tail := bytes.ToLower(src[i:])
	if j := bytes.Index(tail, []byte(mark)); j >= 0 {
		if len(tail)-j > maxHeld-pieceSize {
			return len(src) // longer than any seal
		}
		p.long = true
		return i + j
	}
	for n := min(len(mark)-1, len(tail)); n > 0; n-- {
		if string(tail[len(tail)-n:]) == mark[:n] {
			return len(src) - n
		}
	}
	return len(src)
}

// add appends what stays as it is. What has to give way to a larger array is wiped.
func (p *page) add(b []byte) {
	if need := len(p.out) + len(b); need > cap(p.out) {
		grown := make([]byte, len(p.out), max(need, 2*cap(p.out), pieceSize))
		copy(grown, p.out)
		clear(p.out)
		p.out = grown
	}
	p.out = append(p.out, b...)
}

// inSeal reports whether a byte may be part of a seal.
func inSeal(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

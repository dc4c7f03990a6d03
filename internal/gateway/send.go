package gateway

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"log/slog"

	"github.com/isogate/isogate/internal/http1"
	"github.com/isogate/isogate/internal/remote"
)

// send passes the request on and waits for the head of the response.
func (p *passage) send() *refusal {
	var s *stream
	if p.streams {
		s = p.newStream()
		p.out.Stream, p.out.Length = s.reader, -1
		p.out.Trailer = func() http1.Fields { return s.trailer }
	}
	p.streaming = s
	in, err := p.gate.cfg.Client.Do(p.ctx, &p.out)
	p.incoming = in
	if err == nil {
		return nil
	}
	p.endStream()
	if r := p.cut(); r != nil { // why the rest, the walker of a stream included, broke off
		return r
	}
	if s != nil && s.err != nil && !errors.Is(s.err, errUnwanted) {
		return s.refusal()
	}
	p.gate.cfg.Logger.Warn("the far side failed", slog.String("transit", p.transitName()), slog.String("entry", string(p.entry.ID)), slog.Any("error", err))
	return farSide(err)
}

// farSide says what went wrong at the other end, without its words.
func farSide(err error) *refusal {
	var denied *remote.Refusal
	if errors.As(err, &denied) {
		return &refusal{status: 403, code: "address", detail: "the destination's address may not be dialled: " + denied.Reason}
	}
	var he *http1.Error
	if !errors.As(err, &he) {
		return &refusal{status: 502, code: "far-side", detail: "the destination could not be reached"}
	}
	return &refusal{status: he.Status(), code: "far-side", detail: "the destination failed: " + he.Kind.String()}
}

// errUnwanted ends a stream whose rest the far side does not want.
var errUnwanted = errors.New("the rest of the body is not wanted")

// stream judges a body while it leaves. The walker writes into one end of a
// pipe and the client reads from the other.
type stream struct {
	reader  *io.PipeReader
	done    chan struct{} // closed when the walker has ended
	err     error         // of the walker; read after done
	trailer http1.Fields  // set before the reader's end
}

// newStream starts the walker. endStream waits for it, so that it never
// outlives the request.
func (p *passage) newStream() *stream {
	r, w := io.Pipe()
	s := &stream{reader: r, done: make(chan struct{})}
	count := &counted{w: w, sum: sha256.New(), spend: func(n int64) *refusal { return p.spend(0, n) }}
	read := &countedReader{r: io.MultiReader(bytes.NewReader(p.in), p.x.Request.Body)}
	go func() {
		defer close(s.done)
		defer func() {
			if cause := recover(); cause != nil {
				s.err = errors.New("the walker broke")
				_ = w.CloseWithError(s.err)
			}
		}()
		s.err = p.transit.Format.Stream(count, read, &p.bodyRules, p.replacer(), &p.tally)
		if s.err == nil {
			var r *refusal
			if s.trailer, r = p.rewriteTrailer(); r != nil {
				s.err = errors.New(r.detail)
			}
		}
		if count.spent {
			s.err = errSpent
		}
		p.bytesIn, p.bytesOut = read.n, count.n
		p.entry.DigestOut = "sha256:" + hex.EncodeToString(count.sum.Sum(nil))
		_ = w.CloseWithError(s.err) // nil ends the body well
	}()
	return s
}

// endStream stops the walker if it still runs, and waits for its end.
func (p *passage) endStream() {
	s := p.streaming
	if s == nil {
		return
	}
	select {
	case <-s.done:
	default:
		_ = s.reader.CloseWithError(errUnwanted)
		p.x.Close() // wakes a read that waits for the caller
		<-s.done
	}
}

// refusal explains why a stream was broken off. Part of the body has left; the
// far side saw it end before its end.
func (s *stream) refusal() *refusal {
	var f *http1.Fault
	switch {
	case errors.Is(s.err, errSpent):
		return overBudget()
	case errors.As(s.err, &f):
		return bodyFault(s.err)
	}
	return contentRefused("body", s.err)
}

// errSpent ends a stream for the rest of which there is no budget.
var errSpent = errors.New("the budget is spent")

// counted counts and digests what leaves, once it was taken from the budget.
type counted struct {
	w     io.Writer
	n     int64
	sum   hash.Hash
	spend func(n int64) *refusal
	spent bool // there was not enough
}

func (c *counted) Write(b []byte) (int, error) {
	if c.spent = c.spent || c.spend(int64(len(b))) != nil; c.spent {
		return 0, errSpent
	}
	n, err := c.w.Write(b)
	c.n += int64(n)
	_, _ = c.sum.Write(b[:n])
	return n, err
}

type countedReader struct {
	r io.Reader
	n int64
}

func (c *countedReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}

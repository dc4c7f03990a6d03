package http1

import (
	"bytes"
	"io"
	"sync"
)

// bufferSize is what most heads, and one TLS record, fit into.
const bufferSize = 16<<10 + 512

// buffers are read and write buffers that no connection is using. An idle
// connection has none.
var buffers = sync.Pool{New: func() any { b := make([]byte, bufferSize); return &b }}

// input is the one place where the bytes of a connection are read into.
// buf[r:w] was received and not yet consumed.
type input struct {
	src  io.Reader
	buf  []byte
	r, w int
	pool *[]byte // where buf came from; nil while there is none, or when it outgrew the pool
	wipe bool    // nothing of what was read stays in a buffer that is given up
}

func (in *input) buffered() []byte { return in.buf[in.r:in.w] }

// take makes sure that there is a buffer.
func (in *input) take() {
	if in.buf == nil {
		in.pool = buffers.Get().(*[]byte)
		in.buf = *in.pool
	}
}

// release gives the buffer back; unread bytes are lost.
func (in *input) release() {
	if in.wipe {
		clear(in.buf)
	}
	if in.pool != nil {
		buffers.Put(in.pool)
	}
	in.buf, in.pool, in.r, in.w = nil, nil, 0, 0
}

// more reads once. It makes room first: by moving what is unread to the front,
// and then by growing, so that up to max unread bytes fit.
func (in *input) more(max int) error {
	in.take()
	if in.r > 0 && (in.r == in.w || in.w == len(in.buf)) {
		in.w = copy(in.buf, in.buf[in.r:in.w])
		in.r = 0
	}
	if in.w == len(in.buf) {
		if len(in.buf) >= max {
			return errFull
		}
		grown := make([]byte, min(2*len(in.buf), max))
		copy(grown, in.buf[:in.w])
		if in.wipe {
			clear(in.buf)
		}
		if in.pool != nil {
			buffers.Put(in.pool)
			in.pool = nil
		}
		in.buf = grown
	}
	n, err := in.src.Read(in.buf[in.w:])
	in.w += n
	if n > 0 {
		return nil // an error will come again
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

type fullError struct{}

func (fullError) Error() string { return "the buffer is full" }

var errFull error = fullError{}

// lines finds the lines of a head one after another, across reads.
type lines struct {
	start int // of the line that is being looked for, relative to input.r
	scan  int // what has been looked at
}

// next returns the next line without its CR LF, as offsets relative to input.r,
// once it is complete. A bare LF is a fault at once: its sender may be waiting
// for an answer, and would be made to wait for the timeout.
func (l *lines) next(b []byte) (from, to int, ok bool, f *Fault) {
	i := bytes.IndexByte(b[l.scan:], '\n')
	if i < 0 {
		l.scan = len(b)
		return 0, 0, false, nil
	}
	i += l.scan
	if i == l.start || b[i-1] != '\r' {
		return 0, 0, false, fault(BareLF)
	}
	from, to = l.start, i-1
	l.start, l.scan = i+1, i+1
	return from, to, true, nil
}

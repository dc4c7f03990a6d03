package http1

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// response writes the one answer of an exchange.
type response struct {
	x      *Exchange
	w      recordWriter
	last   bool  // the connection ends after it
	silent bool  // no body is sent: HEAD, 204, 304
	length int64 // announced, or -1
	sent   int64
	chunks bool
}

// begin writes the head of the answer into the buffer.
func (r *response) begin(status int, header Fields, length int64) error {
	x := r.x
	c := x.c
	bodiless := status == 204 || status == 304
	switch {
	case x.phase != unanswered:
		return errAnswered
	case status < 200 || status > 599:
		return errStatus
	case bodiless && length > 0:
		return errNoBody
	case x.Request.Method == "CONNECT" && status < 300:
		return errConnect
	}
	if err := header.check(framing); err != nil {
		return err
	}
	x.phase = streaming
	c.turn.Lock()
	c.answering = true
	c.turn.Unlock()
	c.mu.Lock()
	closing := x.closing || c.aborted
	c.mu.Unlock()
	r.silent = bodiless || x.Request.Method == "HEAD"
	r.length, r.sent, r.chunks = length, 0, length < 0 && x.Request.Minor == 1 && !bodiless
	// What follows a CONNECT that is refused may have been meant for its tunnel,
	// and is not read as a request (RFC 9931).
	r.last = closing || c.p.closing || length < 0 && !r.chunks && !r.silent || c.v.draining.Load() || !c.body.settled() ||
		x.Request.Method == "CONNECT"

	r.w.start(c.nc, c.raw, c.v.Timeouts.Write)
	r.w.wipe = c.v.Wipe
	b := appendStatusLine(r.w.buf, status)
	if header.Count("Date") == 0 {
		b = appendField(b, "Date", c.v.now())
	}
	for i := range header {
		b = appendField(b, header[i].Name, header[i].Value)
	}
	switch {
	case r.chunks:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	case length >= 0 && !bodiless:
		b = appendLength(b, length)
	}
	if r.last {
		b = append(b, "Connection: close\r\n"...)
	}
	r.w.buf = append(b, "\r\n"...)
	r.chunks = r.chunks && !r.silent
	return nil
}

// interim tells a client that waits for it to send its body.
func (r *response) interim() error {
	c := r.x.c
	c.turn.Lock()
	defer c.turn.Unlock()
	if c.answering {
		return nil // too late: the client has its final answer and need not send
	}
	_ = c.raw.SetWriteDeadline(time.Now().Add(c.v.Timeouts.Write))
	_, err := io.WriteString(c.nc, "HTTP/1.1 100 Continue\r\n\r\n")
	return err
}

// whole sends the head and a body that is at hand.
func (r *response) whole(body []byte) error {
	if r.silent {
		body = nil
	}
	return r.end(r.w.whole(body))
}

func (r *response) write(p []byte) (int, error) {
	switch {
	case r.x.phase != streaming:
		return 0, errAnswered
	case r.length >= 0 && r.sent+int64(len(p)) > r.length:
		r.x.phase = failed
		return 0, errLong
	}
	r.sent += int64(len(p))
	if r.silent {
		return len(p), nil
	}
	if err := r.w.write(p, r.chunks); err != nil {
		r.x.phase = failed
		return 0, err
	}
	return len(p), nil
}

func (r *response) flush(end bool) error {
	if r.x.phase != streaming {
		return errAnswered
	}
	err := r.w.flush(r.chunks, end, nil)
	if err != nil {
		r.x.phase = failed
	}
	return err
}

func (r *response) close() error {
	if r.x.phase != streaming {
		return errAnswered
	}
	if r.length >= 0 && r.sent != r.length && !r.silent {
		r.x.phase = failed
		return errShort
	}
	return r.end(r.flush(true))
}

func (r *response) end(err error) error {
	r.x.phase = answered
	if err != nil {
		r.x.phase = failed
	}
	return err
}

// release gives the buffer back.
func (r *response) release() { r.w.release() }

// recordWriter collects a message into pieces of one TLS record each: the head
// and the beginning of the body go out together.
type recordWriter struct {
	nc, raw net.Conn
	timeout time.Duration
	wrote   bool         // anything may have left
	stop    *atomic.Bool // when set and true, nothing more is sent; may be nil
	partial int          // bytes that the connection took of a piece that it then failed on
	buf     []byte
	pool    *[]byte
	wipe    bool // nothing of what was written stays in buf
	head    int  // of buf: what comes before the data of the chunk; -1 while no chunk is begun
}

func (w *recordWriter) start(nc, raw net.Conn, timeout time.Duration) {
	w.nc, w.raw, w.timeout, w.wrote, w.partial, w.head, w.stop, w.wipe = nc, raw, timeout, false, 0, -1, nil, false
	w.pool = buffers.Get().(*[]byte)
	w.buf = (*w.pool)[:0]
}

func (w *recordWriter) release() {
	if w.wipe {
		clear(w.buf[:cap(w.buf)])
	}
	if w.pool != nil {
		buffers.Put(w.pool)
	}
	w.buf, w.pool = nil, nil
}

// whole sends what is in the buffer and then body.
func (w *recordWriter) whole(body []byte) error {
	n := min(len(body), max(recordSize-len(w.buf), 0))
	w.buf = append(w.buf, body[:n]...)
	err := w.send(w.buf)
	if w.wipe {
		clear(w.buf)
	}
	if w.buf = w.buf[:0]; err != nil {
		return err
	}
	return w.send(body[n:])
}

// write adds p to the message, as chunks or plainly.
func (w *recordWriter) write(p []byte, chunks bool) error {
	for len(p) > 0 {
		if chunks && w.head < 0 {
			w.head = len(w.buf)
			w.buf = append(w.buf, make([]byte, gap)...)
		}
		if !chunks && len(w.buf) == 0 && len(p) >= recordSize {
			n := len(p) / recordSize * recordSize
			if err := w.send(p[:n]); err != nil {
				return err
			}
			p = p[n:]
			continue
		}
		n := min(len(p), max(recordSize-gapTail-len(w.buf), 0))
		w.buf = append(w.buf, p[:n]...)
		p = p[n:]
		if len(w.buf) >= recordSize-gapTail {
			if err := w.flush(chunks, false, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush sends what is in the buffer; at the end of chunks, the last chunk and
// the trailer section as well.
func (w *recordWriter) flush(chunks, end bool, trailer Fields) error {
	start, out := 0, w.buf
	if w.head >= 0 {
		if len(out) == w.head+gap {
			out = out[:w.head] // an empty chunk would be the last one
		} else {
			start, out = frame(out, w.head)
		}
	}
	if chunks && end {
		out = append(out, "0\r\n"...)
		for i := range trailer {
			out = appendField(out, trailer[i].Name, trailer[i].Value)
		}
		out = append(out, "\r\n"...)
	}
	err := w.send(out[start:])
	if w.wipe {
		clear(w.buf)
		clear(out)
	}
	w.buf, w.head = w.buf[:0], -1
	return err
}

var errStopped = errors.New("the rest is not wanted")

// send writes b, each piece of writeSize within the timeout.
func (w *recordWriter) send(b []byte) error {
	for len(b) > 0 {
		n := min(len(b), writeSize)
		if w.stop != nil && w.stop.Load() {
			return errStopped
		}
		if err := w.raw.SetWriteDeadline(time.Now().Add(w.timeout)); err != nil {
			return err
		}
		w.wrote = true
		if m, err := w.nc.Write(b[:n]); err != nil {
			w.partial = m
			return err
		}
		b = b[n:]
	}
	return nil
}

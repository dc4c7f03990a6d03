package http1

import (
	"errors"
	"io"
)

// phase is how far the answer of an exchange has come.
type phase uint8

const (
	unanswered phase = iota
	streaming        // begun, not complete
	answered         // complete
	failed           // begun, and never to be completed
	tunnelled        // by handing the connection over
)

// requestBody is the Body of a request.
type requestBody struct{ c *conn }

func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.c.body.Read(p)
	if err == nil {
		return n, nil
	}
	if err == io.EOF { //nolint:errorlint // body returns it as it is
		b.c.x.Request.Trailer = b.c.body.trailer
		return n, err
	}
	return n, b.c.bodyFault(err)
}

// Close makes a blocked Read return; the connection ends after the exchange
// unless the body was read to its end.
func (b *requestBody) Close() error {
	if !b.c.body.settled() {
		b.c.abort()
	}
	return nil
}

// ReadBody appends the whole body to dst. The error, if any, is a *Fault.
func (x *Exchange) ReadBody(dst []byte) ([]byte, error) {
	return readAll(x.Request.Body, x.Request.ContentLength, dst)
}

// readAll appends what r has to dst. A length that is known is believed only in
// proportion to what came in: announcing much must not cost memory.
func readAll(r io.Reader, length int64, dst []byte) ([]byte, error) {
	const step = 64 << 10
	begin := len(dst)
	for {
		if room := cap(dst) - len(dst); room == 0 {
			got := len(dst) - begin
			add := max(2*got, step)
			if rest := length - int64(got); length >= 0 {
				// One byte more than the rest, so that the end is met without growing again.
				add = int(min(rest+1, int64(add)))
			} else if got == 0 {
				add = 4 << 10
			}
			grown := make([]byte, len(dst), len(dst)+max(add, 1))
			copy(grown, dst)
			dst = grown
		}
		n, err := r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if err != nil {
			return dst, notEOF(err)
		}
		if int64(len(dst)-begin) == length {
			// Complete; the reader only has to say so.
			var end [1]byte
			_, err = r.Read(end[:])
			return dst, notEOF(err)
		}
	}
}

func notEOF(err error) error {
	if err == io.EOF { //nolint:errorlint // body returns it as it is
		return nil
	}
	return err
}

// Close makes the connection end after the exchange and makes a blocked read of
// Request.Body return; a tunnel it cuts off. It may be called from any goroutine
// while the handler runs.
func (x *Exchange) Close() { x.c.abort() }

// Answered reports whether an answer was begun.
func (x *Exchange) Answered() bool { return x.phase != unanswered }

var (
	errAnswered = errors.New("the exchange was answered already")
	errStatus   = errors.New("the status is not between 200 and 599")
	errNoBody   = errors.New("an answer with this status has no body")
)

// Respond answers with a body that is at hand. The framing fields
// (Content-Length, Transfer-Encoding, Connection and their kin) are written by
// Respond and may not be in header; so is Date, unless header has one. An answer
// to HEAD sends the length of body alone. An error that leaves Answered false
// says what is wrong with the arguments; any other, that the client may not have
// got the answer.
func (x *Exchange) Respond(status int, header Fields, body []byte) error {
	if err := x.out.begin(status, header, int64(len(body))); err != nil {
		return err
	}
	return x.out.whole(body)
}

// Stream begins an answer whose body follows: length bytes, or, when length is
// -1, in chunks. It must be closed to be complete; an answer that is not closed
// when the handler returns is cut off, so that the client notices.
func (x *Exchange) Stream(status int, header Fields, length int64) (*ResponseBody, error) {
	if err := x.out.begin(status, header, length); err != nil {
		return nil, err
	}
	return &ResponseBody{&x.out}, nil
}

// ResponseBody is the body of an answer in the making. What is written is sent
// in pieces of about 16 KiB; Flush sends at once.
type ResponseBody struct{ r *response }

// Write implements [io.Writer]. After an error the answer is cut off.
func (b *ResponseBody) Write(p []byte) (int, error) { return b.r.write(p) }

// Flush sends what was written.
func (b *ResponseBody) Flush() error { return b.r.flush(false) }

// Close completes the answer. It is an error, and cuts the answer off, when
// fewer bytes were written than announced.
func (b *ResponseBody) Close() error { return b.r.close() }

package http1

import (
	"bytes"
	"io"
	"sync"
)

// feeder brings in more of a connection's bytes, within the time that is left.
type feeder interface {
	// feed makes room for and reads into the connection's input once.
	feed(max int) error
	// direct reads into p once, past the input, which is empty.
	direct(p []byte) (int, error)
}

// chunkState is where in a chunked body the reader is (RFC 9112, 7.1).
type chunkState uint8

const (
	atSize chunkState = iota
	inData
	atDataEnd
	inTrailer
)

// maxChunkDigits is how many digits a chunk size may have: chunks are below 4 GiB.
const maxChunkDigits = 8

// body reads one body from a connection, strictly, and stops where it ends. Its
// errors are io.EOF, a *Fault for what the peer did wrong, or what feed says.
type body struct {
	mu   sync.Mutex // guards all; held while a Read is under way
	in   *input
	feed feeder

	begin   func() error // called before the first read; may be nil
	chunked bool
	forever bool  // ends with the connection
	remain  int64 // of the body, or of the chunk
	left    int64 // of the limit on the body
	state   chunkState
	err     error // sticky; io.EOF once the end was seen

	lines
	fieldLines
	limits  *Limits
	trailer Fields
}

// start sets b up for a body of length bytes, or in chunks when it is -1.
func (b *body) start(length int64, limits *Limits) {
	b.chunked, b.forever, b.remain, b.left, b.state = length < 0, false, max(length, 0), limits.Body, atSize
	b.limits, b.begin, b.err = limits, nil, nil
	b.lines, b.trailer = lines{}, b.trailer[:0]
	b.fieldLines.reset()
	if length == 0 {
		b.err = io.EOF
	}
}

// Read implements [io.Reader].
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return 0, b.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if b.begin != nil {
		if err := b.begin(); err != nil {
			b.err = err
			return 0, err
		}
		b.begin = nil
	}
	var n int
	if b.chunked {
		n, b.err = b.readChunked(p)
	} else {
		n, b.err = b.readPlain(p)
	}
	if n > 0 {
		return n, nil // the error, if any, stays for the next call
	}
	return 0, b.err
}

// directSize is from where on reading past the input saves more than it costs.
const directSize = 4 << 10

// data reads up to b.remain bytes of data.
func (b *body) data(p []byte) (int, error) {
	if int64(len(p)) > b.remain {
		p = p[:b.remain]
	}
	if b.in.r == b.in.w {
		if len(p) >= directSize {
			n, err := b.feed.direct(p)
			b.remain -= int64(n)
			if n > 0 {
				err = nil
			}
			return n, err
		}
		if err := b.feed.feed(bufferSize); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.in.buffered())
	b.in.r += n
	b.remain -= int64(n)
	return n, nil
}

func (b *body) readPlain(p []byte) (int, error) {
	if b.forever {
		b.remain = int64(len(p))
		n, err := b.data(p)
		if b.left -= int64(n); b.left < 0 {
			return 0, fault(BodyTooLarge)
		}
		return n, err
	}
	n, err := b.data(p)
	if err == nil && b.remain == 0 {
		err = io.EOF
	}
	return n, unexpected(err, b.remain == 0)
}

// unexpected turns the end of the connection inside a body into what it is.
func unexpected(err error, done bool) error {
	if err == io.EOF && !done { //nolint:errorlint // feeders return it as it is
		return io.ErrUnexpectedEOF
	}
	return err
}

func (b *body) readChunked(p []byte) (int, error) {
	n := 0
	for {
		switch b.state {
		case inData:
			m, err := b.data(p[n:])
			n += m
			if err != nil {
				return n, unexpected(err, false)
			}
			if b.remain > 0 {
				if n == len(p) || b.in.r == b.in.w {
					return n, nil
				}
				continue
			}
			b.state = atDataEnd
		default:
			done, err := b.between()
			if err != nil {
				return n, unexpected(err, done)
			}
			if done {
				return n, io.EOF
			}
		}
		// Go on with the next chunk only as far as it is here already: what came in is
		// not withheld, such as an event, until more does.
		if n == len(p) || n > 0 && !b.here() {
			return n, nil
		}
	}
}

// between makes one step that is not data: the size of a chunk, its end, or the
// trailer section. It waits for bytes only when there are none for the step.
func (b *body) between() (done bool, err error) {
	switch b.state {
	case atSize:
		return false, b.size()
	case atDataEnd:
		if err := b.need(2); err != nil {
			return false, err
		}
		if got := b.in.buffered(); got[0] != '\r' || got[1] != '\n' {
			return false, fault(BadChunkEnd)
		}
		b.in.r += 2
		b.state = atSize
		return false, nil
	default:
		return b.trailerLine()
	}
}

// here reports whether the next step can be made without waiting.
func (b *body) here() bool {
	got := b.in.buffered()
	switch b.state {
	case inData:
		return len(got) > 0
	case atDataEnd:
		return len(got) >= 2
	}
	return bytes.IndexByte(got, '\n') >= 0
}

// need waits until n bytes are there.
func (b *body) need(n int) error {
	for b.in.w-b.in.r < n {
		if err := b.feed.feed(bufferSize); err != nil {
			return err
		}
	}
	return nil
}

// size reads a chunk-size line: one to eight hexadecimal digits and CR LF.
func (b *body) size() error {
	var n int64
	for i := 0; ; i++ {
		if err := b.need(i + 1); err != nil {
			return err
		}
		c := b.in.buffered()[i]
		switch {
		case is(c, isHexa):
			if i == maxChunkDigits {
				return fault(ChunkTooLarge)
			}
			n = n<<4 | int64(hexValue(c))
			continue
		case c == ';' && i > 0:
			return fault(ChunkExtension)
		case c == '\n':
			return fault(BareLF)
		case c != '\r' || i == 0:
			return fault(BadChunkSize)
		}
		if err := b.need(i + 2); err != nil {
			return err
		}
		if b.in.buffered()[i+1] != '\n' {
			return fault(BareCR)
		}
		b.in.r += i + 2
		break
	}
	if b.left -= n; b.left < 0 {
		return fault(BodyTooLarge)
	}
	b.remain, b.state = n, inData
	if n == 0 {
		b.state = inTrailer
	}
	return nil
}

// trailerLine reads one line of the trailer section, the last of which is empty.
func (b *body) trailerLine() (done bool, err error) {
	from, to, ok, f := b.next(b.in.buffered())
	switch {
	case f != nil:
		return false, f
	case !ok:
		if b.in.w-b.in.r >= b.limits.Header || b.in.w-b.in.r-b.lines.start > b.limits.Line+2 {
			return false, faultAt(BadTrailer, "too large")
		}
		return false, b.feed.feed(b.limits.Header)
	case from != to:
		if to-from > b.limits.Line {
			return false, faultAt(BadTrailer, "too large")
		}
		if f := b.add(b.in.buffered()[from:to], from, b.limits.Fields); f != nil {
			return false, f
		}
		return false, nil
	case b.seen&headOnly != 0:
		return false, fault(ForbiddenTrailer)
	}
	if len(b.spans) > 0 {
		b.trailer = b.fields(b.trailer, string(b.in.buffered()[:to]))
	}
	b.in.r += to + 2
	return true, nil
}

// settled reports whether the body was consumed to its end, so that what
// follows in the input is the next message. What is left of a body of known
// length is skipped when all of it is here already.
func (b *body) settled() bool {
	if !b.mu.TryLock() {
		return false // it is being read
	}
	defer b.mu.Unlock()
	if b.err == nil && b.begin == nil && !b.chunked && !b.forever && b.remain <= int64(b.in.w-b.in.r) {
		b.in.r += int(b.remain)
		b.remain, b.err = 0, io.EOF
	}
	return b.err == io.EOF //nolint:errorlint // set here as it is
}

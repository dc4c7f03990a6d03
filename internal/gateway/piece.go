package gateway

import (
	"net"
	"sync"
	"sync/atomic"
)

// piece is a buffer that bytes of a tunnel pass through.
type piece [16 << 10]byte

// largePiece is one for a tunnel that has much to pass: an eighth of the system
// calls for the same bytes.
type largePiece [128 << 10]byte

// maxLarge is how many large pieces may be held at once. A piece is held while
// whoever its bytes are for does not take them, and then an app with many such
// tunnels must not hold much: the others have small ones.
const maxLarge = 32

// pieces are the buffers of a gateway that are not in use. One is held only while
// there is something to pass, where the connection allows that.
type pieces struct {
	small, large sync.Pool    // of *piece, and of *largePiece
	held         atomic.Int64 // large ones that are in use
}

// buffer is a piece that is held, of either size.
type buffer struct {
	small *piece
	large *largePiece
}

// hold takes a piece, a large one if that is wanted and there are not too many.
func (s *pieces) hold(much bool) (b buffer) {
	if much {
		if s.held.Add(1) <= maxLarge {
			if b.large, _ = s.large.Get().(*largePiece); b.large == nil {
				b.large = new(largePiece)
			}
			return b
		}
		s.held.Add(-1)
	}
	if b.small, _ = s.small.Get().(*piece); b.small == nil {
		b.small = new(piece)
	}
	return b
}

// release takes a piece back, of which n bytes were used: no payload is kept.
func (s *pieces) release(b buffer, n int) {
	clear(b.bytes()[:n])
	if b.large != nil {
		s.large.Put(b.large)
		s.held.Add(-1)
		return
	}
	s.small.Put(b.small)
}

// bytes is all of the piece, nil if none is held.
func (b buffer) bytes() []byte {
	switch {
	case b.large != nil:
		return b.large[:]
	case b.small != nil:
		return b.small[:]
	}
	return nil
}

// readWaiting reads what arrives at c, holding a buffer while it waits: TLS keeps
// one of its own in any case.
func (s *pieces) readWaiting(c net.Conn, use func([]byte)) error {
	b := s.hold(false)
	n, err := c.Read(b.bytes())
	defer s.release(b, max(n, 0))
	if n > 0 {
		use(b.bytes()[:n])
	}
	return err
}

package gateway

import (
	"net"
	"sync"
)

// piece is a buffer that bytes of a tunnel pass through.
type piece [16 << 10]byte

// pieces are those not in use. One is held only while there is something to pass,
// where the connection allows that.
var pieces = sync.Pool{New: func() any { return new(piece) }}

// readWaiting reads what arrives at c, holding a buffer while it waits: TLS keeps
// one of its own in any case.
func readWaiting(c net.Conn, use func([]byte)) error {
	b := pieces.Get().(*piece) //nolint:forcetypeassert // the pool holds nothing else
	defer pieces.Put(b)
	n, err := c.Read(b[:])
	if n > 0 {
		use(b[:n])
		clear(b[:n]) // no payload is kept
	}
	return err
}

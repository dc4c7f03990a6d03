//go:build unix

package gateway

import (
	"io"
	"net"

	"golang.org/x/sys/unix"
)

// readPiece reads what has arrived at c, waiting for it without a buffer, and
// hands it to use. Twenty thousand silent tunnels would hold half a gigabyte of
// buffers otherwise.
func readPiece(c net.Conn, use func([]byte)) error {
	t, ok := c.(interface{ TCP() *net.TCPConn })
	var tcp *net.TCPConn
	if ok {
		tcp = t.TCP()
	} else {
		tcp, _ = c.(*net.TCPConn)
	}
	if tcp == nil {
		return readWaiting(c, use)
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	var b *piece
	var n int
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		b = pieces.Get().(*piece) //nolint:forcetypeassert // the pool holds nothing else
		n, failed = unix.Read(int(fd), b[:])
		if failed == unix.EAGAIN || failed == unix.EINTR {
			pieces.Put(b)
			b = nil
			return false // wait until there is something
		}
		return true
	})
	if b == nil {
		return err
	}
	// Not inside: whoever closes c waits for what runs inside.
	defer pieces.Put(b)
	switch {
	case err != nil:
		return err
	case failed != nil:
		return failed
	case n == 0:
		return io.EOF
	}
	use(b[:n])
	clear(b[:n]) // no payload is kept
	return nil
}

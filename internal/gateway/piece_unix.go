//go:build unix

package gateway

import (
	"io"
	"net"

	"golang.org/x/sys/unix"
)

// read reads what has arrived at c, waiting for it without a buffer, and
// hands it to use. Twenty thousand silent tunnels would hold half a gigabyte of
// buffers otherwise. much is what the read before said: there was more than a
// small piece holds, or as much, so that a large one is worth it.
func (s *pieces) read(c net.Conn, much bool, use func([]byte)) (more bool, err error) {
	t, ok := c.(interface{ TCP() *net.TCPConn })
	var tcp *net.TCPConn
	if ok {
		tcp = t.TCP()
	} else {
		tcp, _ = c.(*net.TCPConn)
	}
	if tcp == nil {
		return false, s.readWaiting(c, use)
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return false, err
	}
	var b buffer
	var n int
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		b = s.hold(much)
		for {
			if n, failed = unix.Read(int(fd), b.bytes()); failed != unix.EINTR {
				break
			}
		}
		if failed == unix.EAGAIN {
			s.release(b, 0)
			b, much = buffer{}, false // who has to wait has little
			return false              // wait until there is something
		}
		return true
	})
	if b.bytes() == nil {
		return false, err
	}
	// Not inside: whoever closes c waits for what runs inside.
	defer s.release(b, max(n, 0))
	switch {
	case err != nil:
		return false, err
	case failed != nil:
		return false, failed
	case n == 0:
		return false, io.EOF
	}
	use(b.bytes()[:n])
	return n >= len(piece{}), nil
}

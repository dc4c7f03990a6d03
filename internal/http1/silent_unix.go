//go:build unix

package http1

import (
	"net"
	"syscall"
)

// peeker looks for bytes, or the end, in a socket without waiting and without
// taking anything.
type peeker struct {
	rc    syscall.RawConn // nil when the connection is not a socket
	look  func(fd uintptr)
	quiet bool // there was nothing, and no end
	some  bool // there was a byte
	b     [1]byte
}

func (p *peeker) init(nc net.Conn) {
	if sc, ok := nc.(syscall.Conn); ok {
		p.rc, _ = sc.SyscallConn()
	}
	p.look = func(fd uintptr) {
		n, _, err := syscall.Recvfrom(int(fd), p.b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		p.quiet = err == syscall.EAGAIN || err == syscall.EWOULDBLOCK
		p.some = n > 0
	}
}

// silent reports whether there is nothing; known is false when it cannot tell.
func (p *peeker) silent() (quiet, known bool) {
	if p.rc == nil {
		return false, false
	}
	p.quiet = false
	err := p.rc.Control(p.look)
	return p.quiet && err == nil, true
}

// waiting reports whether there is a byte; it is false when it cannot tell.
func (p *peeker) waiting() bool {
	p.some = false
	return p.rc != nil && p.rc.Control(p.look) == nil && p.some
}

//go:build unix

package http1

import (
	"net"
	"syscall"
)

// silentSocket looks for bytes, or the end, in a socket without waiting and
// without taking anything. known is false when the connection is not a socket.
func silentSocket(nc net.Conn) (quiet, known bool) {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return false, false
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return false, true
	}
	err = rc.Control(func(fd uintptr) {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		quiet = err == syscall.EAGAIN || err == syscall.EWOULDBLOCK //nolint:errorlint // errno
	})
	return quiet && err == nil, true
}

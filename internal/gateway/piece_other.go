//go:build !unix

package gateway

import "net"

// read reads what arrives at c and hands it to use.
func (s *pieces) read(c net.Conn, _ bool, use func([]byte)) (much bool, err error) {
	return false, s.readWaiting(c, use)
}

package gateway

import "net"

// replayConn is a connection of which the beginning was read already and is read
// again. Like any connection it is for one reader at a time.
type replayConn struct {
	net.Conn
	raw []byte // what is still to be read again; let go of as soon as it was
}

// Read implements [net.Conn].
func (c *replayConn) Read(p []byte) (int, error) {
	if len(c.raw) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.raw)
	if c.raw = c.raw[n:]; len(c.raw) == 0 {
		c.raw = nil
	}
	return n, nil
}

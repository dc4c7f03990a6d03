//go:build !unix

package http1

import "net"

// peeker cannot look into sockets here.
type peeker struct{}

func (*peeker) init(net.Conn) {}

func (*peeker) silent() (quiet, known bool) { return false, false }

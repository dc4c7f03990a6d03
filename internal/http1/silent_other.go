//go:build !unix

package http1

import (
	"net"
	"syscall"
)

// peeker cannot look into sockets here.
type peeker struct{ rc syscall.RawConn }

func (*peeker) init(net.Conn) {}

func (*peeker) silent() (quiet, known bool) { return false, false }

func (*peeker) waiting() bool { return false }

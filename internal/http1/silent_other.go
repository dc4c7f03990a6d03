//go:build !unix

package http1

import "net"

func silentSocket(net.Conn) (quiet, known bool) { return false, false }

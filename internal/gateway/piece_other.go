//go:build !unix

package gateway

import "net"

// readPiece reads what arrives at c and hands it to use.
func readPiece(c net.Conn, use func([]byte)) error { return readWaiting(c, use) }

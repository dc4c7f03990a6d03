//go:build unix && !linux

package vault

import "golang.org/x/sys/unix"

// guard keeps mem out of swap as far as the process may lock memory. It returns
// how many bytes from the beginning are locked.
func guard(mem []byte) (locked int) { return lockPrefix(mem, unix.Mlock) }

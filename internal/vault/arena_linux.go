package vault

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// onFault is MLOCK_ONFAULT of mlock2(2): a page is locked when something first
// comes into it, so that room for a million keys takes memory as they come.
const onFault = 1

// guard keeps mem out of core files, of children and, as far as RLIMIT_MEMLOCK
// goes, of swap. It returns how many bytes from the beginning are locked.
func guard(mem []byte) (locked int) {
	// Neither is worth not starting for: Harden forbids core files as a whole, and
	// nothing here forks.
	_ = unix.Madvise(mem, unix.MADV_DONTDUMP)
	_ = unix.Madvise(mem, unix.MADV_WIPEONFORK)
	return lockPrefix(mem, func(b []byte) error {
		//nolint:gosec // the system call's own form; the memory is a mapping and does not move
		if _, _, e := unix.Syscall(unix.SYS_MLOCK2, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), onFault); e != 0 {
			return e
		}
		return nil
	})
}

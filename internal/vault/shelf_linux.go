package vault

import (
	"os"

	"golang.org/x/sys/unix"
)

// inMemory reports whether a file is on a file system that has no disk.
func inMemory(f *os.File) bool {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return false
	}
	return st.Type == unix.TMPFS_MAGIC || st.Type == unix.RAMFS_MAGIC
}

package vault

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Harden has the kernel keep this process's memory to itself: no core file, and
// no other process of the same user that reads it or traces it (prctl(2)
// PR_SET_DUMPABLE, setrlimit(2) RLIMIT_CORE). Root can do both all the same. It
// concerns the whole process and cannot be taken back; main calls it before any
// key arrives.
func Harden() error {
	var errs []error
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		errs = append(errs, fmt.Errorf("vault: keep other processes out of this one's memory: %w", err))
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		errs = append(errs, fmt.Errorf("vault: forbid core files: %w", err))
	}
	return errors.Join(errs...)
}

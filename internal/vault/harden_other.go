//go:build unix && !linux

package vault

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Harden forbids core files of this process (setrlimit(2) RLIMIT_CORE). Main calls
// it before any key arrives.
func Harden() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("vault: forbid core files: %w", err)
	}
	return nil
}

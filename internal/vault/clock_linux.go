package vault

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// bootID is where Linux names this boot (random(4)).
const bootID = "/proc/sys/kernel/random/boot_id"

// machine is the clocks of this machine.
type machine struct{ id string }

// MachineClock returns the clocks of this machine: the wall clock, and
// CLOCK_BOOTTIME (clock_gettime(2)) under the boot's id.
func MachineClock() (Clock, error) {
	id, err := os.ReadFile(bootID)
	if err != nil {
		return nil, fmt.Errorf("vault: this boot has no name: %w; mount /proc", err)
	}
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return nil, fmt.Errorf("vault: read CLOCK_BOOTTIME: %w; Linux has it since 2.6.39", err)
	}
	return machine{strings.TrimSpace(string(id))}, nil
}

func (machine) Now() time.Time { return time.Now() }

func (m machine) Boot() (string, time.Duration) {
	var ts unix.Timespec
	// It was read once; what can fail with these arguments failed then.
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	return m.id, time.Duration(ts.Nano())
}

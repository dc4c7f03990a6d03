//go:build !linux

package vault

import (
	"crypto/rand"
	"time"
)

// machine is the clocks of this process. Without a clock that outlives it, a key
// cannot: every start counts as another boot.
type machine struct {
	id    string
	start time.Time
}

// MachineClock returns the wall clock, and the time since this call under an id
// that no other process has: no key outlives the process.
func MachineClock() (Clock, error) { return machine{rand.Text(), time.Now()}, nil }

func (machine) Now() time.Time { return time.Now() }

func (m machine) Boot() (string, time.Duration) { return m.id, time.Since(m.start) }

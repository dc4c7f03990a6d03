package journal

import (
	"bufio"
	"crypto/rand"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/isogate/isogate"
)

// clock stamps entries. The time it gives is what the wall clock says; the IDs it
// gives are ordered as they were given, whatever the wall clock does: while it
// is behind, IDs keep the last millisecond and count on. It is not safe for
// concurrent use; the queue's mutex guards it.
type clock struct {
	now     func() time.Time
	last    uint64 // milliseconds in the last ID
	entropy *ulid.MonotonicEntropy
}

// newClock returns a clock whose IDs come after last, the ID of the newest entry, or "".
func newClock(now func() time.Time, last isogate.EntryID) *clock {
	c := &clock{now: now, entropy: ulid.Monotonic(bufio.NewReaderSize(rand.Reader, 4096), 0)}
	if id, err := ulid.ParseStrict(string(last)); err == nil {
		c.last = id.Time() + 1 // the entropy of last is not known to be below what comes
	}
	return c
}

func (c *clock) stamp() (isogate.EntryID, time.Time) {
	at := c.now().UTC().Truncate(time.Microsecond)
	if ms := ulid.Timestamp(at); ms > c.last {
		c.last = ms
	}
	id, err := ulid.New(c.last, c.entropy)
	for err != nil {
		// A millisecond's 80 bits are used up: a matter of form, but IDs must go on.
		c.last++
		id, err = ulid.New(c.last, c.entropy)
	}
	return isogate.EntryID(id.String()), at
}

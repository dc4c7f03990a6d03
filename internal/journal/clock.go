package journal

import (
	"bufio"
	"crypto/rand"
	"encoding/binary"
	"io"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/isogate/isogate"
)

// clock stamps entries when their places are known, which is when they are
// written. The time it gives is what it is told; the IDs it gives are ordered as
// they were given, whatever that time does: while it is behind, IDs keep the last
// millisecond and count on. It belongs to the writer.
//
// Where several processes write, each begins at the ID that the database names as
// the newest, under the lock that orders their commits (see [head]): so the IDs of
// all of them are ordered as the seqs are, which is what look-ups rest on.
type clock struct {
	last   ulid.ULID // the newest ID given
	random *bufio.Reader
}

// newClock returns a clock whose IDs come after last, the ID of the newest entry, or "".
func newClock(last isogate.EntryID) *clock {
	c := &clock{random: bufio.NewReaderSize(rand.Reader, 4096)}
	c.follow(last)
	return c
}

// follow has the next ID come after last. What is no ID is before every ID.
func (c *clock) follow(last isogate.EntryID) {
	id, err := ulid.ParseStrict(string(last))
	if err != nil {
		id = ulid.ULID{}
	}
	c.last = id
}

// stamp gives the next entry its ID and its time: now, in UTC, to the microsecond.
func (c *clock) stamp(now time.Time) (isogate.EntryID, time.Time) {
	at := now.UTC().Truncate(time.Microsecond)
	ms, last := ulid.Timestamp(at), c.last.Time()
	if at.UnixMilli() < 0 {
		ms = 0
	}
	switch {
	case ms > last:
		c.fresh(ms)
	case !c.count():
		// A millisecond's 80 bits are used up: a matter of form, but IDs must go on.
		c.fresh(last + 1)
	}
	return isogate.EntryID(c.last.String()), at
}

// fresh begins a millisecond. The highest bit is left clear, for counting.
func (c *clock) fresh(ms uint64) {
	var id ulid.ULID
	_ = id.SetTime(ms) // fails in the year 10889
	_, _ = io.ReadFull(c.random, id[6:])
	id[6] &= 0x7f
	c.last = id
}

// count goes on within a millisecond by a random step, and reports whether there
// was room for it.
func (c *clock) count() bool {
	var step [4]byte
	_, _ = io.ReadFull(c.random, step[:])
	high, low := binary.BigEndian.Uint16(c.last[6:8]), binary.BigEndian.Uint64(c.last[8:])
	next := low + uint64(binary.BigEndian.Uint32(step[:])) + 1
	if next < low {
		if high++; high == 0 {
			return false
		}
	}
	binary.BigEndian.PutUint16(c.last[6:8], high)
	binary.BigEndian.PutUint64(c.last[8:], next)
	return true
}

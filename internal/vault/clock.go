package vault

import "time"

// Clock is the two clocks by which keys live. A key ends by whichever says so
// first, so that stepping one of them never lengthens a life.
type Clock interface {
	// Now is the wall clock, which people and other machines share and which may be
	// stepped either way at any time.
	Now() time.Time
	// Boot is the clock of this boot of the machine: it cannot be set, and it runs
	// on while the machine sleeps. Two processes with the same id read the same
	// clock; times under different ids cannot be compared.
	Boot() (id string, elapsed time.Duration)
}

// instant is one reading of both clocks: the time since boot, and since 1970.
type instant struct{ boot, wall time.Duration }

// read reads both clocks; boot first, so that a pause between the two readings
// makes the wall clock the later one, which ends lives sooner.
func read(c Clock) (id string, at instant) {
	id, at.boot = c.Boot()
	at.wall = sinceEpoch(c.Now())
	return id, at
}

// sinceEpoch is a wall-clock time as a duration, which lives are reckoned in.
func sinceEpoch(t time.Time) time.Duration { return time.Duration(t.UnixNano()) }

// wallTime is the wall clock's part as a time.
func (i instant) wallTime() time.Time { return time.Unix(0, int64(i.wall)).UTC() }

// stamp is the time as events and receipts have it. A machine whose clock was never
// set stamps the first second of 1970, not something that no receipt can have.
func (i instant) stamp() time.Time {
	return time.UnixMilli(max(i.wall, time.Second).Milliseconds()).UTC()
}

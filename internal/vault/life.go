package vault

import (
	"sync/atomic"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/seal"
)

// session is the digest of a session, or all zeros.
type session [seal.SessionChars]byte

// record is what a vault knows about one live key; the key itself is in the arena,
// in the slot of the same number. It has no pointers, so that a million of them
// are nothing to the garbage collector. It is guarded by the shard of its ID.
type record struct {
	id        seal.ID
	session   session // all zeros: none
	tenant    uint16  // index into Vault.tenants
	transit   uint16  // index into tenant.transits
	temporary bool
	byRequest bool

	epoch uint32 // which the key came wrapped to; 0 for none that could still unwrap it
	place uint32 // in shard.due
	next  uint32 // 1 + the slot of the session's next key in this shard
	prev  uint32 // 1 + the slot of the one before

	row  int64 // in the ledger
	made int64 // by the gateway's wall clock, milliseconds since 1970
	born int64 // the same by our boot clock, nanoseconds: arrival less age, the earliest of all arrivals
	used int64 // last use, nanoseconds of the boot clock; atomic
	due  int64 // when to look at it next, nanoseconds of the boot clock
	ttl  int64 // nanoseconds
}

// window is for how long a temporary key seals.
func (r *record) window() time.Duration {
	if !r.temporary {
		return 0
	}
	return seal.Window(time.Duration(r.ttl))
}

// limits is how long transit-only keys live without use, and at all.
type limits struct{ idle, max time.Duration }

// end is until when a key opens: while both clocks are before it. Nothing else
// decides that. A clock that is set forward ends keys sooner; one that is set back
// changes nothing, for there is the other.
//
// promise: P16, P18
func (r *record) end(l limits) instant {
	born, made := time.Duration(r.born), time.Duration(r.made)*time.Millisecond
	life := l.max
	if r.temporary {
		life = r.window() + time.Duration(r.ttl)
	}
	e := instant{boot: born + life, wall: made + life}
	if !r.temporary {
		e.boot = min(e.boot, time.Duration(atomic.LoadInt64(&r.used))+l.idle)
	}
	return e
}

// passed reports whether an end has come.
func (i instant) passed(now instant) bool { return now.boot >= i.boot || now.wall >= i.wall }

// valueEnd is until when one temporary value opens that was sealed so long after
// its key was made. It never is after the key's own end.
func (r *record) valueEnd(age time.Duration, l limits) instant {
	e := r.end(l)
	if r.temporary {
		e.boot = min(e.boot, time.Duration(r.born)+age+time.Duration(r.ttl))
		e.wall = min(e.wall, time.Duration(r.made)*time.Millisecond+age+time.Duration(r.ttl))
	}
	return e
}

// doubt is by how much the two clocks may disagree about an end before it is put
// down to a clock that was set.
const doubt = 5 * time.Second

// cause says of which of its ends a key has come to.
func (r *record) cause(now instant, l limits) string {
	e := r.end(l)
	switch {
	case now.boot < e.boot-doubt:
		return seal.CauseClock
	case r.temporary:
		return seal.CauseExpired
	case now.boot >= time.Duration(atomic.LoadInt64(&r.used))+l.idle:
		return seal.CauseIdle
	}
	return seal.CauseMax
}

// sleep is how long, by the boot clock, a key can be left alone from now on.
func (i instant) sleep(now instant) time.Duration { return min(i.boot-now.boot, i.wall-now.wall) }

// handling is the key's, as the vocabulary has it.
func (r *record) handling() isogate.Handling {
	if r.temporary {
		return isogate.Temporary
	}
	return isogate.TransitOnly
}

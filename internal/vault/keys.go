package vault

import (
	"container/heap"
	"encoding/binary"
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/isogate/isogate/internal/seal"
)

const (
	// shards is in how many parts the keys are, each with a lock of its own.
	shards = 32
	// recordsAt is how many records are made at a time.
	recordsAt = 4096
)

// records is the records by slot, made as slots are first used.
type records []atomic.Pointer[[recordsAt]record]

func newRecords(n int) records { return make(records, (n+recordsAt-1)/recordsAt) }

// at returns the record of a slot that the arena has handed out.
func (rs records) at(slot uint32) *record {
	p := &rs[slot/recordsAt]
	c := p.Load()
	if c == nil {
		p.CompareAndSwap(nil, new([recordsAt]record))
		c = p.Load()
	}
	return &c[slot%recordsAt]
}

// sessionOf is a session of a tenant.
type sessionOf struct {
	tenant  uint16
	session session
}

// chains finds the keys of a session: those that share a hash of it are a chain.
// Another session may be in it, once in a long while.
type chains struct {
	seed   maphash.Seed
	newest map[uint64]uint32 // 1 + the slot of the newest key
}

func (c *chains) hash(s sessionOf) uint64 { return maphash.Comparable(c.seed, s) }

// shard is a part of the keys: those whose IDs end alike.
type shard struct {
	records records

	mu       sync.RWMutex // guards what follows, and the records and slots of its keys
	byID     map[seal.ID]uint32
	sessions chains
	due      []uint32 // heap by record.due
	tombs    map[uint32]map[uint64]struct{}
}

func newShard(rs records) *shard {
	return &shard{records: rs, byID: map[seal.ID]uint32{}, sessions: chains{maphash.MakeSeed(), map[uint64]uint32{}}, tombs: map[uint32]map[uint64]struct{}{}}
}

// tomb is a tenant's destroyed key as it is remembered: 64 bits of its ID, of which
// 96 cannot be chosen. That two are alike by chance refuses a key that was fine,
// once in 2^64 divided by those that are remembered.
func tomb(tenant uint16, id seal.ID) uint64 {
	return binary.BigEndian.Uint64(id[4:12]) ^ (uint64(tenant)+1)*0x9e3779b97f4a7c15
}

// bury remembers, until epoch is over, that a key was destroyed. It reports false if
// that was known.
func (s *shard) bury(epoch uint32, tenant uint16, id seal.ID) bool {
	m := s.tombs[epoch]
	if m == nil {
		m = map[uint64]struct{}{}
		s.tombs[epoch] = m
	}
	t := tomb(tenant, id)
	if _, ok := m[t]; ok {
		return false
	}
	m[t] = struct{}{}
	return true
}

// buried reports whether a key is known to have been destroyed.
func (s *shard) buried(tenant uint16, id seal.ID) bool {
	for _, m := range s.tombs {
		if _, ok := m[tomb(tenant, id)]; ok {
			return true
		}
	}
	return false
}

// insert adds the key in slot, whose record is filled in.
func (s *shard) insert(slot uint32) {
	r := s.records.at(slot)
	s.byID[r.id] = slot
	if r.session != (session{}) {
		k := s.sessions.hash(sessionOf{r.tenant, r.session})
		r.prev, r.next = 0, s.sessions.newest[k]
		if r.next > 0 {
			s.records.at(r.next - 1).prev = slot + 1
		}
		s.sessions.newest[k] = slot + 1
	}
	heap.Push((*dueHeap)(s), slot)
}

// find appends the slots of a session's keys to dst.
func (s *shard) find(dst []uint32, of sessionOf) []uint32 {
	for slot := s.sessions.newest[s.sessions.hash(of)]; slot > 0; slot = s.records.at(slot - 1).next {
		if r := s.records.at(slot - 1); r.tenant == of.tenant && r.session == of.session {
			dst = append(dst, slot-1)
		}
	}
	return dst
}

// remove takes the key in slot out of everything and leaves its record empty.
func (s *shard) remove(slot uint32) {
	r := s.records.at(slot)
	delete(s.byID, r.id)
	if r.session != (session{}) {
		k := s.sessions.hash(sessionOf{r.tenant, r.session})
		switch {
		case r.prev > 0:
			s.records.at(r.prev - 1).next = r.next
		case r.next > 0:
			s.sessions.newest[k] = r.next
		default:
			delete(s.sessions.newest, k)
		}
		if r.next > 0 {
			s.records.at(r.next - 1).prev = r.prev
		}
	}
	heap.Remove((*dueHeap)(s), int(r.place))
	*r = record{}
}

// postpone has the key in slot looked at again at its new due.
func (s *shard) postpone(slot uint32, due int64) {
	r := s.records.at(slot)
	r.due = due
	heap.Fix((*dueHeap)(s), int(r.place))
}

// dueHeap is a shard's keys by when to look at them, for package heap.
type dueHeap shard

func (h *dueHeap) Len() int { return len(h.due) }

func (h *dueHeap) Less(i, j int) bool {
	return h.records.at(h.due[i]).due < h.records.at(h.due[j]).due
}

func (h *dueHeap) Swap(i, j int) {
	h.due[i], h.due[j] = h.due[j], h.due[i]
	//nolint:gosec // there are fewer keys than 2^32
	h.records.at(h.due[i]).place, h.records.at(h.due[j]).place = uint32(i), uint32(j)
}

// Push implements [heap.Interface].
func (h *dueHeap) Push(x any) {
	slot, _ := x.(uint32)
	h.records.at(slot).place = uint32(len(h.due)) //nolint:gosec // see Swap
	h.due = append(h.due, slot)
}

// Pop implements [heap.Interface].
func (h *dueHeap) Pop() any {
	last := len(h.due) - 1
	slot := h.due[last]
	h.due = h.due[:last]
	return slot
}

package vault

import (
	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/seal"
)

// destroy wipes a key and everything that is known about it, and has it told. The
// shard's lock is held.
//
// promise: P16, P18, P41
func (v *Vault) destroy(s *shard, slot uint32, cause string, now instant) {
	clear(v.arena.key(slot)[:])
	r := s.records.at(slot)
	id, t, row, handling := r.id, v.tenants[r.tenant], r.row, r.handling()
	// What could come again, for who has recorded the request, must not.
	if e := v.epochs.numbered(r.epoch); e != nil && s.bury(e.n, t.index, id) {
		e.tombs[t.index].Add(1)
	}
	s.remove(slot)
	v.arena.give(slot)
	v.share.give(t.index)
	v.cfg.Metrics.keys.WithLabelValues(handling.String()).Dec()
	v.cfg.Metrics.destroyed.WithLabelValues(cause).Inc()
	v.tell(ended{t.name, row, seal.Event{Kind: seal.Destroyed, At: now.stamp(), Key: id, Cause: cause}})
}

// tell has the end of a key be part of the next receipt; of one that was on the
// shelf, once that is known to be wiped.
func (v *Vault) tell(e ended) {
	if v.shelf != nil && v.shelf.wipe(e.event.Key) {
		v.mu.Lock()
		v.unsure = append(v.unsure, e)
		v.mu.Unlock()
		return
	}
	v.ledger.gone(e.tenant, e.row, e.event)
}

// settleShelf sees to it that what was destroyed is wiped from the shelf, and then
// has it told.
func (v *Vault) settleShelf(now instant) error {
	if v.shelf == nil {
		return nil
	}
	v.mu.Lock()
	unsure := v.unsure
	v.unsure = nil
	v.mu.Unlock()
	err := v.shelf.settle(now)
	v.cfg.Metrics.unwiped.Set(float64(v.shelf.unwiped()))
	if err != nil {
		v.cfg.Metrics.wipeErrors.Inc()
		v.mu.Lock()
		v.unsure = append(unsure, v.unsure...)
		v.mu.Unlock()
		return err
	}
	for _, e := range unsure {
		v.ledger.gone(e.tenant, e.row, e.event)
	}
	return nil
}

// bury destroys a key if its end has come, and reports whether it had. The shard's
// lock is held.
func (v *Vault) bury(s *shard, slot uint32) bool {
	_, now := read(v.cfg.Clock)
	r := s.records.at(slot)
	if !r.end(v.limits).passed(now) {
		return false
	}
	v.destroy(s, slot, r.cause(now, v.limits), now)
	return true
}

// expireAtOnce is how many keys are destroyed before others get at their shard.
const expireAtOnce = 256

// expire destroys every key of which the end has come.
func (v *Vault) expire(now instant) {
	for _, s := range v.shards {
		for v.expireSome(s, now) {
		}
	}
}

// expireSome destroys some of a shard's keys of which the end has come, and reports
// whether there may be more.
func (v *Vault) expireSome(s *shard, now instant) (more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range expireAtOnce {
		if len(s.due) == 0 {
			return false
		}
		slot := s.due[0]
		r := s.records.at(slot)
		if r.due > int64(now.boot) {
			return false
		}
		// It may have been used since, or the wall clock was set back.
		if e := r.end(v.limits); !e.passed(now) {
			s.postpone(slot, int64(now.boot+e.sleep(now)))
			continue
		}
		v.destroy(s, slot, r.cause(now, v.limits), now)
	}
	return true
}

// reckon has every key looked at by what the wall clock is now.
func (v *Vault) reckon(now instant) {
	for _, s := range v.shards {
		s.mu.Lock()
		for _, slot := range append([]uint32(nil), s.due...) {
			e := s.records.at(slot).end(v.limits)
			s.postpone(slot, int64(now.boot+e.sleep(now)))
		}
		s.mu.Unlock()
	}
}

// RequestDone says that the response to a request with these keys was sent, or
// never will be: those that are by request are destroyed.
func (v *Vault) RequestDone(ids []seal.ID) {
	v.requestDone(ids)
	for home, of := range v.away(ids) {
		v.cluster.tell(&endCall{Done: of}, &home)
	}
}

// requestDone is RequestDone for this member of a cluster.
func (v *Vault) requestDone(ids []seal.ID) {
	for _, id := range ids {
		s := v.shard(id)
		s.mu.RLock()
		slot, ok := s.byID[id]
		ends := ok && s.records.at(slot).byRequest
		s.mu.RUnlock()
		if ends { // most are of sessions, and others want to read
			v.endRequest(s, id)
		}
	}
}

func (v *Vault) endRequest(s *shard, id seal.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slot, ok := s.byID[id]; ok && s.records.at(slot).byRequest {
		_, now := read(v.cfg.Clock)
		v.destroy(s, slot, seal.CauseRequest, now)
	}
}

// EndSession destroys the keys of a session and returns how many there were. Cause
// is for the receipts, such as [seal.CauseEnded].
func (v *Vault) EndSession(t isogate.Tenant, digest, cause string) (n int) {
	n = v.endSession(t, digest, cause)
	if v.cluster != nil && v.named[t] != nil && len(digest) == seal.SessionChars {
		n += v.cluster.tell(&endCall{Tenant: string(t), Session: digest, Cause: cause}, nil)
	}
	return n
}

// endSession is EndSession for this member of a cluster.
func (v *Vault) endSession(t isogate.Tenant, digest, cause string) (n int) {
	of := v.named[t]
	if of == nil || len(digest) != seal.SessionChars {
		return 0
	}
	if e := (seal.Event{Kind: seal.Destroyed, At: instant{}.stamp(), Key: seal.ID{1}, Cause: cause}); e.Check() != nil {
		cause = seal.CauseEnded // no receipt could have the other
	}
	session := sessionOf{of.index, session([]byte(digest))}
	var slots []uint32
	for _, s := range v.shards {
		s.mu.Lock()
		_, now := read(v.cfg.Clock)
		slots = s.find(slots[:0], session)
		for _, slot := range slots {
			v.destroy(s, slot, cause, now)
		}
		n += len(slots)
		s.mu.Unlock()
	}
	return n
}

// EndKeys destroys those of these keys that are held and are t's, and sees to it
// that each that is not here has a receipt that says so (cause [seal.CauseNotHeld]) and
// cannot come any more. It returns how many it destroyed or ruled out. A gateway
// asks for it when a receipt is overdue: the request may have been lost on the way.
func (v *Vault) EndKeys(t isogate.Tenant, ids []seal.ID) (n int) {
	n = v.endKeys(t, ids)
	if v.named[t] == nil || v.closing.Load() {
		return n
	}
	for home, of := range v.away(ids) {
		n += v.cluster.tell(&endCall{Tenant: string(t), Keys: of}, &home)
	}
	return n
}

// endKeys is EndKeys for this member of a cluster.
func (v *Vault) endKeys(t isogate.Tenant, ids []seal.ID) (n int) {
	of := v.named[t]
	if of == nil || v.closing.Load() {
		return 0
	}
	for _, id := range ids {
		if v.ours(id) && v.endKey(of, id) {
			n++
		}
	}
	return n
}

func (v *Vault) endKey(t *tenant, id seal.ID) bool {
	s := v.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	_, now := read(v.cfg.Clock)
	if slot, ok := s.byID[id]; ok {
		if s.records.at(slot).tenant != t.index {
			return false
		}
		v.destroy(s, slot, seal.CauseAsked, now)
		return true
	}
	// While the newest epoch lasts; a key wrapped to one before it could come for
	// less long, and to one after it not under this ID.
	e := v.epochs.newest()
	if e == nil || s.buried(t.index, id) || v.epochs.remembered(t.index) >= v.tombs {
		return false
	}
	s.bury(e.n, t.index, id)
	e.tombs[t.index].Add(1)
	v.cfg.Metrics.destroyed.WithLabelValues(seal.CauseNotHeld).Inc()
	v.ledger.gone(t.name, 0, seal.Event{Kind: seal.Destroyed, At: now.stamp(), Key: id, Cause: seal.CauseNotHeld})
	return true
}

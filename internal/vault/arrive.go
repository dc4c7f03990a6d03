package vault

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/seal"
)

const (
	// longest is the greatest age of a key that is believed.
	longest = 10 * 365 * 24 * time.Hour
	// latest is the latest time of making, in milliseconds since 1970 (in 2116), that
	// sums of times fit with.
	latest = int64(1<<62) / int64(time.Millisecond)
)

// Arrive takes the key that a request brings, or sees that it is held, and counts
// as use of it: a session's idle time begins anew. An error is a [*Refusal], or
// [ErrClosed]: the request must not be passed on then.
//
// What was held is written down soon after; [Vault.Settled] waits for that.
//
// promise: P41 — a key is taken once, for its very context, while its life lasts.
func (v *Vault) Arrive(a seal.Arrival) error {
	err := v.arriveSomewhere(&a)
	var r *Refusal
	if errors.As(err, &r) {
		r.Key = a.ID
		v.cfg.Metrics.refused.WithLabelValues(r.Code).Inc()
	}
	return err
}

// arriveSomewhere has the member of the cluster take the key whose it is.
func (v *Vault) arriveSomewhere(a *seal.Arrival) error {
	if v.elsewhere(a.ID) && v.named[a.Context.Tenant] != nil && !v.closing.Load() {
		if ours, err := v.cluster.arrive(a); !ours {
			return err
		}
	}
	return v.arrive(a)
}

func (v *Vault) arrive(a *seal.Arrival) error {
	if v.closing.Load() || v.fenced() {
		return ErrClosed
	}
	c := &a.Context
	t := v.named[c.Tenant]
	switch {
	case t == nil:
		return &Refusal{Code: seal.CodeUnknownKey, Detail: "no keys of this tenant are taken here; name the tenant in the configuration"}
	case c.Destination != v.cfg.Destination:
		return &Refusal{Code: seal.CodeUnknownKey, Detail: fmt.Sprintf("it is for destination %q, and this is the landing side of %q", c.Destination, v.cfg.Destination)}
	case !v.ours(a.ID):
		return &Refusal{Code: seal.CodeUnknownKey, Detail: "it is for another landing side; fetch this one's statement and make a new key"}
	case a.Age < 0, a.Age > longest, c.Made.UnixMilli() > latest:
		return &Refusal{Code: seal.CodeDamaged, Detail: "its context is not one that a key can have"}
	}
	if err := c.Check(); err != nil {
		return &Refusal{Code: seal.CodeDamaged, Detail: err.Error()}
	}
	fill := record{id: a.ID, tenant: t.index, temporary: c.Handling == isogate.Temporary, byRequest: c.ByRequest,
		made: c.Made.UnixMilli(), ttl: int64(c.TTL)}
	if c.Session != "" {
		if len(c.Session) != len(fill.session) {
			return &Refusal{Code: seal.CodeDamaged, Detail: "its session is not the digest of one"}
		}
		copy(fill.session[:], c.Session)
	}
	s := v.shard(a.ID)
	if known, err := v.meet(s, t, a, &fill); known {
		return err
	}
	if len(a.Wrapped) == 0 {
		return &Refusal{Code: seal.CodeUnknownKey, Detail: "it is not held here and did not come along; send it wrapped"}
	}
	return v.take(s, t, a, &fill)
}

// meet sees whether the key is held, or has been; then the error is the answer.
func (v *Vault) meet(s *shard, t *tenant, a *seal.Arrival, fill *record) (known bool, err error) {
	s.mu.RLock()
	// Read inside, so that nothing that was destroyed before is taken for alive.
	_, now := read(v.cfg.Clock)
	slot, held := s.byID[a.ID]
	if !held {
		defer s.mu.RUnlock()
		if s.buried(t.index, a.ID) {
			return true, gone()
		}
		return false, nil
	}
	r := s.records.at(slot)
	passed := r.end(v.limits).passed(now)
	same := r.fits(fill) && t.transit(r.transit) == a.Context.Transit
	earlier := int64(now.boot-a.Age) < r.born
	if same && !passed {
		r.use(now)
	}
	s.mu.RUnlock()
	switch {
	case !same:
		return true, &Refusal{Code: seal.CodeDamaged, Detail: "it is held for something else than this request says"}
	case passed, earlier:
		// The earliest that any of its requests lets us believe is when it was made:
		// a request that was held up makes a key look younger than it is.
		s.mu.Lock()
		defer s.mu.Unlock()
		slot, held := s.byID[a.ID]
		if !held {
			return true, gone()
		}
		r := s.records.at(slot)
		r.born = min(r.born, int64(now.boot-a.Age))
		if v.bury(s, slot) {
			return true, gone()
		}
		if earlier {
			v.keep(r, slot)
		}
		e := r.end(v.limits)
		s.postpone(slot, int64(now.boot+e.sleep(now)))
	}
	return true, nil
}

func gone() *Refusal {
	return &Refusal{Code: seal.CodeGone, Detail: "it was destroyed; make a new key"}
}

// fits reports whether two records are of the same context, but for the transit.
func (r *record) fits(s *record) bool {
	return r.tenant == s.tenant && r.temporary == s.temporary && r.byRequest == s.byRequest && r.session == s.session &&
		r.made == s.made && r.ttl == s.ttl
}

// use counts as use of a key, which is alive. The shard's lock is held for reading
// at least.
func (r *record) use(now instant) {
	for {
		was := atomic.LoadInt64(&r.used)
		if int64(now.boot) <= was || atomic.CompareAndSwapInt64(&r.used, was, int64(now.boot)) {
			return
		}
	}
}

// take unwraps a key that is not known.
func (v *Vault) take(s *shard, t *tenant, a *seal.Arrival, fill *record) error {
	// The memory for keys must not be given back under it.
	v.gate.RLock()
	defer v.gate.RUnlock()
	if v.closing.Load() {
		return ErrClosed
	}
	_, now := read(v.cfg.Clock)
	e := v.epochs.find(a.Epoch, now)
	if e == nil {
		return &Refusal{Code: seal.CodeUnknownEpoch, Detail: "it is wrapped to an epoch that is over or was never ours; fetch the statement and make a new key"}
	}
	fill.epoch, fill.born, fill.used = e.n, int64(now.boot-a.Age), int64(now.boot)
	if fill.end(v.limits).passed(now) {
		return &Refusal{Code: seal.CodeStale, Detail: "its life was over when it arrived; compare the clocks of gateway and landing side, and make a new key"}
	}
	var ok bool
	if fill.transit, ok = t.number(a.Context.Transit); !ok {
		return &Refusal{Code: seal.CodeFull, Detail: fmt.Sprintf("keys of %d transits of this tenant have come already; no pack has as many", maxTransits)}
	}
	if v.epochs.remembered(t.index) >= v.tombs {
		return &Refusal{Code: seal.CodeFull, Detail: "too many of this tenant's keys were destroyed in this epoch to remember more; use sessions, or raise the number of keys"}
	}
	if !v.share.take(t.index) {
		return &Refusal{Code: seal.CodeFull, Detail: "this tenant has no room for more keys; end sessions, or raise the number of keys"}
	}
	slot, ok := v.arena.take()
	if !ok {
		v.share.give(t.index)
		return &Refusal{Code: seal.CodeFull, Detail: "there is no room for more keys; raise the number of keys"}
	}
	var met bool
	err := e.key.Unwrap(*a, v.arena.key(slot))
	if err != nil {
		err = &Refusal{Code: seal.CodeDamaged, Detail: "it cannot be unwrapped: it is not what was wrapped, or not for what the request says; make a new key"}
	} else {
		met, err = v.put(s, t, e, slot, fill)
	}
	if err == nil && !met {
		return nil
	}
	v.arena.give(slot)
	v.share.give(t.index)
	if err == nil {
		// Another request brought the same key while this one unwrapped it.
		if known, err := v.meet(s, t, a, fill); known {
			return err
		}
		return gone()
	}
	return err
}

// put adds the key in slot to those that are held, unless it came or went
// meanwhile; met says that it came. With met or an error the slot is not used.
func (v *Vault) put(s *shard, t *tenant, e *epoch, slot uint32, fill *record) (met bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, now := read(v.cfg.Clock)
	_, held := s.byID[fill.id]
	end := fill.end(v.limits)
	switch {
	case now.boot >= e.until:
		// What was destroyed in this epoch may have been forgotten by now.
		return false, &Refusal{Code: seal.CodeUnknownEpoch, Detail: "its epoch ended when it arrived; fetch the statement and make a new key"}
	case s.buried(t.index, fill.id):
		return false, gone()
	case held:
		return true, nil
	case end.passed(now):
		return false, &Refusal{Code: seal.CodeStale, Detail: "its life was over when it arrived; make a new key"}
	}
	fill.due = int64(now.boot + end.sleep(now))
	v.keep(fill, slot)
	fill.row = v.ledger.live(t.name, fill.id)
	*s.records.at(slot) = *fill
	s.insert(slot)
	v.cfg.Metrics.keys.WithLabelValues(fill.handling().String()).Inc()
	return false, nil
}

// keep puts a temporary key on the shelf, if there is one. The shard's lock is held.
func (v *Vault) keep(r *record, slot uint32) {
	if !r.temporary || v.shelf == nil {
		return
	}
	t := v.tenants[r.tenant]
	k := kept{id: r.id, tenant: t.name, transit: t.transit(r.transit), born: r.born, made: r.made, ttl: r.ttl}
	if err := v.shelf.put(&k, v.arena.key(slot)); err != nil {
		v.cfg.Metrics.wipeErrors.Inc()
		v.cfg.Logger.Warn("a temporary key is not kept over a restart", slog.Any("error", err))
	}
}

// Settled returns when every key that had arrived before the call is written down,
// so that its end has a receipt even if the process is killed. A key is named in
// Isogate-Held only after it; it usually is settled by the time the service answers.
func (v *Vault) Settled(ctx context.Context) error { return v.ledger.sync(ctx, v.ledger.mark()) }

package vault

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/seal"
)

const (
	// handUse is what keys on their way to another member are sealed for.
	handUse = "hand"
	// handKeys is how many keys go at a time.
	handKeys = 2000
)

// handCall hands keys over, or with none says that the homes are the called one's.
type handCall struct {
	Sealed []byte `json:"sealed,omitempty"`
}

type handAnswer struct{}

// leave hands what this member holds to another, which answers for its homes from
// then on, and goes. No key lives longer for that: what is handed over is when it
// was made and used, by the other's clock, reckoned so that it is rather too early.
// Where there is nobody, every key is destroyed, and the receipts say so.
//
// No key opens here any more; who asks meanwhile is told to ask again.
//
// promise: P16, P41
func (c *cluster) leave(now instant) error {
	c.beating.Lock()
	defer c.beating.Unlock()
	v := c.v
	to, ahead := c.heir(now)
	v.destroyByRequest(now)
	var failed error
	if to != nil {
		// If this one dies over it, the heir takes up the rest, and no other.
		failed = c.db.do(context.Background(), func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `UPDATE member SET adopter = $2 WHERE instance = $1`, c.instance, to.note.Instance)
			return err
		})
	}
	for to != nil && failed == nil {
		batch := v.someKeys(handKeys)
		if len(batch) == 0 {
			break
		}
		if failed = c.hand(to, ahead, batch); failed != nil {
			// They may have arrived or not: who takes up what is left sees which.
			v.forgetKeys(batch, func(*record) {})
			break
		}
		v.forgetKeys(batch, func(r *record) {
			c.ledger.left(v.tenants[r.tenant].name, r.id)
			v.cfg.Metrics.adopted.WithLabelValues("handed over").Inc()
		})
	}
	c.handed.Store(to != nil)
	if to == nil {
		c.ledger.nobody()
	}
	v.destroyAll(now)
	v.epochs.destroy()
	_, now = read(v.cfg.Clock)
	errs := []error{failed, c.ledger.cut(context.Background(), now.wallTime())}
	err := c.db.do(context.Background(), func(ctx context.Context, tx pgx.Tx) error {
		b := &pgx.Batch{}
		if to != nil {
			b.Queue(`UPDATE home SET instance = $2 WHERE instance = $1`, c.instance, to.note.Instance)
		}
		b.Queue(`UPDATE member SET gone = true WHERE instance = $1`, c.instance)
		return tx.SendBatch(ctx, b).Close()
	})
	if errs = append(errs, err); to != nil && err == nil {
		if err := c.call(context.Background(), to, "hand", &handCall{}, &handAnswer{}); err != nil {
			v.cfg.Logger.Warn("the member that has the keys now will hear of it a little later", slog.Any("error", err))
		}
	}
	return errors.Join(errs...)
}

// heir is the member to hand keys to: of those that were heard of lately the one
// that can be reached, nil if there is none.
func (c *cluster) heir(now instant) (*peer, time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), callPatience)
	defer cancel()
	for i, p := range c.roster.Load().peers {
		if p.gone || now.boot-p.seen > c.cfg.Lease/2 {
			continue
		}
		c.measureOne(ctx, p)
		var theirs clockAnswer
		if ahead, ok := c.aheadOf(i); ok && c.call(ctx, p, "clock", struct{}{}, &theirs) == nil && theirs.Instance == i {
			return p, ahead
		}
	}
	return nil, 0
}

// hand hands keys to a peer.
func (c *cluster) hand(to *peer, ahead time.Duration, ids []seal.ID) error {
	v := c.v
	plain := make([]byte, 0, len(ids)*(len(seal.ID{})+keySize+2+512))
	defer func() { clear(plain[:cap(plain)]) }()
	for _, id := range ids {
		s := v.shard(id)
		s.mu.RLock()
		slot, ok := s.byID[id]
		if !ok {
			s.mu.RUnlock()
			continue
		}
		r := s.records.at(slot)
		x := v.context(r)
		f, err := json.Marshal(facts{Tenant: string(x.Tenant), Transit: string(x.Transit), Temporary: r.temporary, Session: x.Session, TTL: r.ttl,
			Made: r.made, Born: r.born + int64(ahead), Used: r.lastUse() + int64(ahead)})
		if err == nil {
			plain = append(append(plain, id[:]...), v.arena.key(slot)[:]...)
			plain = binary.BigEndian.AppendUint16(plain, uint16(len(f))) //nolint:gosec // names are short
			plain = append(plain, f...)
		}
		s.mu.RUnlock()
		if err != nil {
			return err
		}
	}
	sealed, err := sealTo(to.note.Box, handUse, plain)
	if err != nil {
		return err
	}
	return c.call(context.Background(), to, "hand", &handCall{sealed}, &handAnswer{})
}

// handCall takes the keys of a member that stops.
func (c *cluster) handCall(ctx context.Context, in *handCall) (*handAnswer, error) {
	if c.v.closing.Load() {
		return nil, errMoved
	}
	if len(in.Sealed) == 0 {
		return &handAnswer{}, c.reread(ctx)
	}
	plain, err := c.boxes.open(handUse, in.Sealed)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	const head = len(seal.ID{}) + keySize + 2
	for rest := plain; len(rest) > 0; {
		if len(rest) < head || len(rest) < head+int(binary.BigEndian.Uint16(rest[head-2:])) {
			return nil, errors.New("vault: what a peer hands over is cut short")
		}
		id, key := seal.ID(rest), rest[len(seal.ID{}):head-2]
		end := head + int(binary.BigEndian.Uint16(rest[head-2:]))
		var f facts
		if err := json.Unmarshal(rest[head:end], &f); err != nil {
			return nil, fmt.Errorf("vault: what a peer hands over is not understood: %w", err)
		}
		rest = rest[end:]
		err := c.v.hold(id, &f, func(to *[keySize]byte) error { copy(to[:], key); return nil })
		switch {
		case errors.Is(err, errOver):
			// It ended on the way. What was never here is told all the same, here: the one
			// that had it does not any more.
			_, now := read(c.v.cfg.Clock)
			c.ledger.gone(c.v.named[isogate.Tenant(f.Tenant)].name, 0, seal.Event{Kind: seal.Destroyed, At: now.wallTime().Truncate(time.Millisecond), Key: id, Cause: seal.CauseExpired})
		case err != nil:
			return nil, err
		default:
			c.v.cfg.Metrics.adopted.WithLabelValues("received").Inc()
		}
	}
	return &handAnswer{}, c.ledger.sync(ctx, c.ledger.mark())
}

// lastUse is when a key was used last.
func (r *record) lastUse() int64 { return max(r.used, r.born) }

// someKeys is IDs of keys that are held.
func (v *Vault) someKeys(n int) (ids []seal.ID) {
	for _, s := range v.shards {
		s.mu.RLock()
		for _, slot := range s.due {
			if len(ids) == n {
				break
			}
			ids = append(ids, s.records.at(slot).id)
		}
		s.mu.RUnlock()
	}
	return ids
}

// forgetKeys wipes keys from memory of which there is nothing to tell.
func (v *Vault) forgetKeys(ids []seal.ID, f func(*record)) {
	for _, id := range ids {
		s := v.shard(id)
		s.mu.Lock()
		if slot, ok := s.byID[id]; ok {
			f(s.records.at(slot))
			v.leave(s, slot)
		}
		s.mu.Unlock()
	}
}

// destroyByRequest destroys the keys that end with their requests, which have ended.
func (v *Vault) destroyByRequest(now instant) {
	for _, s := range v.shards {
		s.mu.Lock()
		for _, slot := range append([]uint32(nil), s.due...) {
			if s.records.at(slot).byRequest {
				v.destroy(s, slot, seal.CauseDrain, now)
			}
		}
		s.mu.Unlock()
	}
}

// destroyAll destroys every key but those that go on without this process.
func (v *Vault) destroyAll(now instant) {
	for _, s := range v.shards {
		s.mu.Lock()
		for len(s.due) > 0 {
			slot := s.due[len(s.due)-1]
			if r := s.records.at(slot); v.shelf != nil && v.shelf.has(r.id) && !r.end(v.limits).passed(now) {
				v.leave(s, slot)
				continue
			}
			v.destroy(s, slot, seal.CauseDrain, now)
		}
		s.mu.Unlock()
	}
}

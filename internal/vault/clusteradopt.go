package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/seal"
)

// CauseLost is the cause of Destroyed of a key whose member died, or was cut off
// from the others for too long.
const CauseLost = "lost"

// adoptLimit is how many keys of a member that is gone are taken up at a time.
const adoptLimit = 1000

// hold takes a key that no request brought: one of another member's, or that one
// has from it. Get fills it in. A key that is held already is left as it is.
func (v *Vault) hold(id seal.ID, f *facts, get func(key *[keySize]byte) error) error {
	t := v.named[isogate.Tenant(f.Tenant)]
	if t == nil {
		return fmt.Errorf("vault: a key of tenant %q from a peer; name the same tenants for all members", f.Tenant)
	}
	fill := record{id: id, tenant: t.index, temporary: f.Temporary, made: f.Made, born: f.Born, used: f.Used, ttl: f.TTL}
	if f.Session != "" && copy(fill.session[:], f.Session) != len(fill.session) || f.Temporary == (f.Session != "") {
		return errors.New("vault: a key from a peer that is for nothing a key can be for; are all members of one release?")
	}
	v.gate.RLock()
	defer v.gate.RUnlock()
	if v.closing.Load() {
		return ErrClosed
	}
	var ok bool
	if fill.transit, ok = t.number(isogate.Transit(f.Transit)); !ok || !v.share.take(t.index) {
		return fmt.Errorf("vault: no room for a key of tenant %s from a peer; raise the number of keys", t.name)
	}
	slot, ok := v.arena.take()
	if !ok {
		v.share.give(t.index)
		return errors.New("vault: no room for a key from a peer; raise the number of keys")
	}
	back := func() {
		v.arena.give(slot)
		v.share.give(t.index)
	}
	if err := get(v.arena.key(slot)); err != nil {
		back()
		return err
	}
	s := v.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, held := s.byID[id]; held {
		back()
		return nil
	}
	_, now := read(v.cfg.Clock)
	end := fill.end(v.limits)
	if end.passed(now) {
		// It is destroyed here and now, which is to be told as any other end is.
		back()
		return errOver
	}
	fill.due = int64(now.boot + end.sleep(now))
	if fill.temporary {
		k := kept{id: id, tenant: t.name, transit: isogate.Transit(f.Transit), born: f.Born, made: f.Made, ttl: f.TTL}
		if err := v.shelf.put(&k, v.arena.key(slot)); err != nil {
			back()
			return err
		}
	}
	fill.row = v.ledger.live(t.name, id)
	*v.records.at(slot) = fill
	s.insert(slot)
	v.cfg.Metrics.keys.WithLabelValues(fill.handling().String()).Inc()
	return nil
}

var errOver = errors.New("vault: its life is over")

// abandon destroys everything and says nothing of it: others do, or will.
func (v *Vault) abandon() {
	v.gate.Lock()
	v.abandoned.Store(true)
	v.closing.Store(true)
	v.gate.Unlock()
	for _, s := range v.shards {
		s.mu.Lock()
		for len(s.due) > 0 {
			v.leave(s, s.due[len(s.due)-1])
		}
		s.mu.Unlock()
	}
	v.epochs.destroy()
	v.cfg.Logger.Error("all keys were destroyed: this landing was without the cluster's database for too long, and the others may have given it up; start it again")
}

// takeUp looks for members that have not been heard of for the lease, and for what
// those that are gone left behind.
func (c *cluster) takeUp(ctx context.Context) error {
	r := c.roster.Load()
	_, now := read(c.v.cfg.Clock)
	var errs []error
	for i, p := range r.peers {
		if !p.gone && now.boot-p.seen < c.cfg.Lease {
			continue
		}
		if p.adopter != "" && p.adopter != c.instance && r.alive(p.adopter) != nil || slices.Contains(p.declined, c.instance) && !c.lost(p) {
			continue
		}
		claimed, err := c.claim(ctx, i, p)
		if err != nil || !claimed {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, c.adopt(ctx, i, p))
	}
	return errors.Join(errs...)
}

// claim gives a member up and makes this one the one that takes up what it left.
func (c *cluster) claim(ctx context.Context, instance string, p *peer) (claimed bool, err error) {
	err = c.db.do(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if err := c.db.alive(ctx, tx, c.instance); err != nil {
			return err
		}
		var beat int64
		var gone bool
		var adopter string
		// Its own writes hold the row: after this there are none.
		err := tx.QueryRow(ctx, `SELECT beat, gone, adopter FROM member WHERE instance = $1 FOR UPDATE`, instance).Scan(&beat, &gone, &adopter)
		if errors.Is(err, pgx.ErrNoRows) || err == nil && (!gone && beat != p.beat || adopter != p.adopter) {
			return nil // another one was faster, or it lives
		}
		if err != nil {
			return err
		}
		claimed = true
		_, err = tx.Exec(ctx, `UPDATE member SET gone = true, adopter = $2 WHERE instance = $1`, instance, c.instance)
		return err
	})
	if claimed && err == nil && !p.gone {
		c.v.cfg.Logger.Error("a landing of the cluster was given up: it has not been heard of", slog.String("member", p.note.Name), slog.Duration("for", c.cfg.Lease))
	}
	return claimed, err
}

// orphan is a key of a member that is gone.
type orphan struct {
	key       seal.ID
	tenant    string
	temporary bool
	genuine   bool
	elsewhere bool // another member has it too
	ends      int64
	share     *sharedKey // nil if it is not in the database
}

// adopt takes up the temporary keys that a member left, whose receipts now are this
// one's business, and writes that the others are gone. It is the same work whether
// the member died or stopped.
//
// One member takes all of it, for a home has one owner: who cannot leaves it to who
// can, and only if there is nobody is what cannot be taken up lost.
func (c *cluster) adopt(ctx context.Context, instance string, p *peer) error {
	if able, err := c.able(ctx, instance, p); err != nil || !able {
		return err
	}
	after := seal.ID{}
	waits := false
	for {
		orphans, err := c.orphans(ctx, instance, after)
		if err != nil {
			return err
		}
		if len(orphans) == 0 {
			break
		}
		after = orphans[len(orphans)-1].key
		var done bunch
		var events bunch
		for i := range orphans {
			settled, cause := c.foster(&orphans[i], instance, p)
			if !settled {
				waits = true
				continue
			}
			done.keys = append(done.keys, orphans[i].key[:])
			if cause == "" {
				continue
			}
			_, now := read(c.v.cfg.Clock)
			body, err := json.Marshal(seal.Event{Kind: seal.Destroyed, At: now.wallTime().Truncate(time.Millisecond), Key: orphans[i].key, Cause: cause})
			if err != nil {
				return err
			}
			events.add(c.db, isogate.Tenant(orphans[i].tenant), body)
			c.v.cfg.Metrics.destroyed.WithLabelValues(cause).Inc()
		}
		// What was taken up is written down as ours before it is not the other's.
		if err := c.ledger.sync(ctx, c.ledger.mark()); err != nil {
			return err
		}
		err = c.db.do(ctx, func(ctx context.Context, tx pgx.Tx) error {
			if err := c.db.alive(ctx, tx, c.instance); err != nil {
				return err
			}
			b := &pgx.Batch{}
			b.Queue(`DELETE FROM live WHERE instance = $1 AND key = ANY ($2)`, instance, done.keys)
			b.Queue(`DELETE FROM shared WHERE maker = $1 AND key = ANY ($2)`, instance, done.keys)
			events.insert(b)
			return tx.SendBatch(ctx, b).Close()
		})
		if err != nil {
			return err
		}
	}
	return c.db.do(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if err := c.db.alive(ctx, tx, c.instance); err != nil {
			return err
		}
		b := &pgx.Batch{}
		b.Queue(`UPDATE home SET instance = $2 WHERE instance = $1`, instance, c.instance)
		b.Queue(`DELETE FROM letter WHERE instance = $1`, instance)
		if !waits {
			b.Queue(`DELETE FROM member WHERE instance = $1`, instance)
		}
		return tx.SendBatch(ctx, b).Close()
	})
}

// able reports whether this member can take up everything, or nobody else could do
// more. Otherwise it leaves it to them.
func (c *cluster) able(ctx context.Context, instance string, p *peer) (able bool, err error) {
	_, now := read(c.v.cfg.Clock)
	err = c.db.do(ctx, func(ctx context.Context, tx pgx.Tx) error {
		able = true
		rows, err := tx.Query(ctx, `SELECT DISTINCT s.maker, s.ends FROM live l JOIN shared s ON s.key = l.key AND s.maker = l.instance WHERE l.instance = $1 AND s.sealed <> ''`, instance)
		if err != nil {
			return err
		}
		wanted, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (w windowID, err error) {
			err = r.Scan(&w.maker, &w.ends)
			return w, err
		})
		if err != nil {
			return err
		}
		_, known := p.note.Clocks[c.instance]
		for _, w := range wanted {
			if time.Duration(w.ends)*time.Millisecond > now.wall && (!known || !c.windows.has(w)) {
				able = false
			}
		}
		if able || c.lost(p) {
			able = true
			return nil
		}
		_, err = tx.Exec(ctx, `UPDATE member SET adopter = '', declined = array_append(declined, $2) WHERE instance = $1 AND adopter = $2`, instance, c.instance)
		return err
	})
	return able, err
}

// orphans reads keys of a member that is gone, in the order of their IDs.
func (c *cluster) orphans(ctx context.Context, instance string, after seal.ID) (all []orphan, err error) {
	err = c.db.do(ctx, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT l.key, l.tenant, l.temporary, l.mac, coalesce(s.maker, ''), coalesce(s.ends, 0), s.facts, s.sealed,
			EXISTS (SELECT FROM live o WHERE o.key = l.key AND o.instance <> l.instance)
			FROM live l LEFT JOIN shared s ON s.key = l.key WHERE l.instance = $1 AND l.key > $2 ORDER BY l.key LIMIT $3`, instance, after[:], adoptLimit)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var o orphan
			var key, mac []byte
			s := &sharedKey{}
			if err := rows.Scan(&key, &o.tenant, &o.temporary, &mac, &s.maker, &o.ends, &s.facts, &s.sealed, &o.elsewhere); err != nil {
				return err
			}
			if len(key) != len(seal.ID{}) {
				return errors.New("a row of live keys is damaged")
			}
			o.key = seal.ID(key)
			o.genuine = c.db.made(mac, "live", liveParts(key, instance, o.tenant, o.temporary)...)
			if s.key, s.ends = o.key, o.ends; len(s.sealed) > 0 {
				o.share = s
			}
			all = append(all, o)
		}
		return rows.Err()
	})
	return all, err
}

// foster takes an orphan up, or says of what it ended; "" if it did not. Settled is
// false where it must be looked at again.
func (c *cluster) foster(o *orphan, instance string, p *peer) (settled bool, cause string) {
	_, now := read(c.v.cfg.Clock)
	switch {
	case !o.genuine:
		c.v.cfg.Metrics.forged.Inc()
		return true, ""
	case o.elsewhere:
		return true, "" // it was handed over, or taken up by one that died over it
	case !o.temporary:
		return true, CauseLost
	case o.share == nil:
		// It was destroyed; what others may have of it ends with its window.
		if now.wall < time.Duration(o.ends)*time.Millisecond {
			return false, ""
		}
		return true, seal.CauseExpired
	case now.wall >= time.Duration(o.ends)*time.Millisecond:
		return true, seal.CauseExpired
	}
	ahead, known := p.note.Clocks[c.instance]
	var f facts
	if !known || o.share.maker != instance || json.Unmarshal(o.share.facts, &f) != nil {
		return true, CauseLost
	}
	// Its life is reckoned by our clock from the earliest that it can have begun.
	f.Born += ahead
	f.Used = int64(now.boot)
	err := c.v.hold(o.key, &f, func(key *[keySize]byte) error {
		has, err := c.windows.with(windowID{o.share.maker, o.share.ends}, now, func(w *[keySize]byte) error {
			return seal.UnwrapUnder(w, key, o.share.sealed, sharedAAD(o.share))
		})
		if err == nil && !has {
			err = errors.New("vault: the window's key is not here")
		}
		return err
	})
	switch {
	case err == nil:
		c.v.cfg.Metrics.adopted.WithLabelValues("taken up").Inc()
		return true, ""
	case errors.Is(err, errOver):
		return true, seal.CauseExpired
	}
	return true, CauseLost
}

// lost reports whether there is nobody else who could take up what a member left.
func (c *cluster) lost(p *peer) bool {
	_, now := read(c.v.cfg.Clock)
	for i, other := range c.roster.Load().peers {
		if other != p && !other.gone && now.boot-other.seen < c.cfg.Lease && !slices.Contains(p.declined, i) {
			return false
		}
	}
	return true
}

func liveParts(key []byte, instance, tenant string, temporary bool) [][]byte {
	kind := []byte{0}
	if temporary {
		kind[0] = 1
	}
	return [][]byte{key, []byte(instance), []byte(tenant), kind}
}

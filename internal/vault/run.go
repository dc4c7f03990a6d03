package vault

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/isogate/isogate/internal/seal"
)

const (
	// turnEvery is how often a vault looks for what has ended.
	turnEvery = 250 * time.Millisecond
	// cutEvery is for how long events are gathered into one receipt.
	cutEvery = time.Second
	// pruneEvery is how often old receipts are removed.
	pruneEvery = time.Hour
	// step is by how much the wall clock moves against the boot clock when it was set
	// rather than trimmed.
	step = 500 * time.Millisecond
)

// Run renews epochs, destroys what has ended and signs receipts until ctx ends.
// Without it keys end all the same, but nobody is told.
//
// In a cluster it also ends, with an error, when the other members may have given
// this one up; all keys are destroyed then.
func (v *Vault) Run(ctx context.Context) error {
	if v.cluster == nil {
		return v.turnUntil(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	turned := make(chan struct{})
	go func() {
		defer close(turned)
		// It ends by ctx, or because all is over, which the cluster's loop knows too.
		_ = v.turnUntil(ctx)
	}()
	err := v.cluster.run(ctx)
	cancel()
	<-turned
	return err
}

// turnUntil does what is due, again and again.
func (v *Vault) turnUntil(ctx context.Context) error {
	t := time.NewTicker(turnEvery)
	defer t.Stop()
	for {
		err := v.tick(ctx)
		if errors.Is(err, ErrClosed) {
			return err
		}
		v.say(err)
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// say logs what goes wrong when it begins, changes and ends.
func (v *Vault) say(err error) {
	v.turning.Lock()
	defer v.turning.Unlock()
	now := ""
	if err != nil {
		now = err.Error()
	}
	switch {
	case now == v.trouble:
	case now == "":
		v.cfg.Logger.Info("seal keys end and receipts are signed again")
	default:
		v.cfg.Logger.Error("seal keys do not end as they should or receipts are not signed; trying again", slog.Any("error", err))
	}
	v.trouble = now
}

// tick does what is due now. Each part is tried whatever became of the others.
func (v *Vault) tick(ctx context.Context) error {
	v.turning.Lock()
	defer v.turning.Unlock()
	if v.closing.Load() {
		return ErrClosed
	}
	_, now := read(v.cfg.Clock)
	if moved := now.wall - now.boot - v.offset; moved > step || moved < -step {
		v.cfg.Logger.Warn("the wall clock was set; keys end by whichever clock says so first", slog.Duration("by", moved))
		v.reckon(now)
	}
	v.offset = now.wall - now.boot
	v.expire(now)
	errs := []error{v.turn(now), v.settleShelf(now)}
	switch {
	case now.boot-v.cutAt >= cutEvery || v.ledger.waiting() >= seal.MaxEvents:
		v.cutAt = now.boot
		errs = append(errs, v.ledger.cut(ctx, now.stamp()))
	case v.ledger.waiting() > 0:
		errs = append(errs, v.ledger.sync(ctx, v.ledger.mark()))
	}
	if now.boot-v.pruned >= pruneEvery {
		v.pruned = now.boot
		errs = append(errs, v.ledger.prune(ctx, now.wallTime().Add(-receiptsFor)))
	}
	return errors.Join(errs...)
}

// Close destroys every key but the temporary ones that Config.Keep has, and all
// epochs, and signs the receipts of it. No key opens any more once it has begun,
// and no View; it is called when the edges have stopped, after Run has returned.
func (v *Vault) Close() error {
	v.turning.Lock()
	defer v.turning.Unlock()
	v.gate.Lock()
	first := v.closing.CompareAndSwap(false, true)
	v.gate.Unlock()
	if !first {
		if v.abandoned.Load() {
			return v.release()
		}
		return nil
	}
	_, now := read(v.cfg.Clock)
	if v.cluster != nil {
		return errors.Join(v.cluster.leave(now), v.release())
	}
	for _, s := range v.shards {
		s.mu.Lock()
		for len(s.due) > 0 {
			slot := s.due[len(s.due)-1]
			if id := s.records.at(slot).id; v.shelf != nil && v.shelf.has(id) && !s.records.at(slot).end(v.limits).passed(now) {
				v.leave(s, slot)
				continue
			}
			cause := seal.CauseDrain
			if r := s.records.at(slot); r.end(v.limits).passed(now) {
				cause = r.cause(now, v.limits)
			}
			v.destroy(s, slot, cause, now)
		}
		s.mu.Unlock()
	}
	v.epochs.destroy()
	return errors.Join(v.settleShelf(now), v.ledger.cut(context.Background(), now.stamp()), v.release())
}

// leave wipes a key from memory that stays on the shelf. The shard's lock is held.
func (v *Vault) leave(s *shard, slot uint32) {
	r := s.records.at(slot)
	v.share.give(r.tenant)
	v.cfg.Metrics.keys.WithLabelValues(r.handling().String()).Dec()
	s.remove(slot)
	v.arena.give(slot)
}

// release gives back what Open took.
func (v *Vault) release() error {
	var errs []error
	if v.ledger != nil {
		errs = append(errs, v.ledger.close())
	}
	if v.shelf != nil {
		errs = append(errs, v.shelf.close())
	}
	if v.arena != nil {
		errs = append(errs, v.arena.close())
	}
	v.epochs.destroy()
	return errors.Join(errs...)
}

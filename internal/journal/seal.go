package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"
)

const (
	// slowest is the longest pause between two batches under load: at 45,000 entries a
	// second a checkpoint over an entry then comes after half a second at the most.
	slowest = 200 * time.Millisecond
	// batchLimit is how many entries one batch seals at the most.
	batchLimit = 1 << 16
	// sharedLimit is the same where the tiles go to a database.
	sharedLimit = 1 << 13
	// batchPatience is how long a batch may take before it is given up and begun
	// again from what is on disk.
	batchPatience = 30 * time.Second
	// lastPatience is how long a journal that stops goes on sealing.
	lastPatience = 5 * time.Second
	// lookEvery is how often a process looks whether others have entries to seal or
	// the seat is free, at the most and at the least.
	lookEvery  = 250 * time.Millisecond
	lookSooner = 25 * time.Millisecond
)

// errFork says that the log and the entries would tell two stories.
var errFork = errors.New("the Merkle log does not match the entries")

// sealer brings committed entries into the Merkle log, in order, and has a
// checkpoint signed over each batch. Where several processes share a journal the one
// that has the seat does; the others look on, and take the seat when it is free.
type sealer struct {
	j        *Journal
	verifier note.Verifier
	tree     tree
	seat     seat
	wake     chan struct{}
	sealed   atomic.Uint64
	err      atomic.Pointer[error] // of the last attempt; nil if it succeeded
}

func newSealer(j *Journal, v note.Verifier, t tree, at seat) *sealer {
	return &sealer{j: j, verifier: v, tree: t, seat: at, wake: make(chan struct{}, 1)}
}

func (s *sealer) size() uint64 { return s.sealed.Load() }

func (s *sealer) lastError() error {
	if err := s.err.Load(); err != nil {
		return *err
	}
	return nil
}

// limit is how many entries one batch seals at the most.
func (s *sealer) limit() uint64 {
	if s.seat.shared() {
		return sharedLimit
	}
	return batchLimit
}

// patience is how long a batch may take. A database that does not answer is given
// up well before that is so old that nothing may leave.
func (s *sealer) patience() time.Duration {
	if s.seat.shared() {
		return 2 * s.j.cfg.Patience
	}
	return batchPatience
}

// nudge says that there are entries to seal.
func (s *sealer) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// loop seals until ctx ends, and then what is left.
func (s *sealer) loop(ctx context.Context) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	if s.j.unsealed() {
		s.nudge()
	}
	look := time.NewTimer(0)
	look.Stop()
	defer look.Stop()
	for {
		if s.seat.shared() {
			// Entries of others make no sound here.
			look.Reset(min(max(s.j.cfg.SealEvery, lookSooner), lookEvery))
		}
		select {
		case <-ctx.Done():
			s.finish()
			return
		case <-s.wake:
		case <-look.C:
		}
		began := time.Now()
		more, err := s.try(ctx)
		if more || err != nil {
			s.nudge()
		}
		// Sealing syncs files, which commits have to wait for. It has a fifth of the
		// time, as long as a checkpoint still comes well within a second.
		rest := max(s.j.cfg.SealEvery, min(4*time.Since(began), slowest))
		if err != nil && s.seat.shared() {
			rest = max(rest, lookEvery)
		}
		pause.Reset(rest)
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
	}
}

// finish takes no more entries, seals those that were taken, and leaves the seat.
func (s *sealer) finish() {
	defer s.seat.leave()
	ctx, cancel := context.WithTimeout(context.Background(), lastPatience)
	defer cancel()
	s.j.queue.end()
	err := s.j.queue.flush(ctx)
	for more := true; more && err == nil; {
		more, err = s.try(ctx)
	}
	if err != nil {
		s.j.cfg.Logger.Warn("the journal stops with entries that are not sealed yet; they will be at the next start",
			slog.String("journal", s.j.place), slog.Any("error", err))
	}
}

// try seals one batch and takes note of how that went.
func (s *sealer) try(ctx context.Context) (more bool, err error) {
	// A batch under way is finished even when ctx ends: it has its own deadline.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.patience())
	defer cancel()
	began := time.Now()
	held, err := s.seat.take(ctx)
	switch {
	case err != nil:
	case held:
		more, err = s.step(ctx, began)
	default:
		err = s.look(ctx, began)
	}
	before := s.lastError()
	if err == nil {
		s.j.heard(began)
		s.err.Store(nil)
		if before != nil {
			s.j.cfg.Logger.Info("the journal is sealed again", slog.String("journal", s.j.place), slog.Uint64("size", s.size()))
		}
		return more, nil
	}
	s.j.cfg.Metrics.unsealed.Inc()
	if before == nil || before.Error() != err.Error() {
		s.j.cfg.Logger.Error("entries could not be sealed; trying again", slog.String("journal", s.j.place), slog.Any("error", err))
	}
	s.err.Store(&err)
	return false, err
}

// step seals one batch: the entries from the last kept checkpoint on. It begins
// at what the disk says and is the same whether the batch before it succeeded,
// failed, or was cut off by a crash in any of its parts:
//
//  1. read the kept checkpoint and make sure that the log holds what it says;
//  2. write the tiles and bundles of the next entries, durable, beside those that
//     any checkpoint is read by;
//  3. sign, and have the database replace the kept checkpoint, by compare-and-swap;
//  4. publish the checkpoint in the log's directory.
//
// After a crash before 3 the same files are written again; after one before 4 the
// kept checkpoint is published by the next step's 1. A root is only ever signed
// that follows from the last kept checkpoint and the rows behind it, so no state
// of the log's directory makes the journal sign a fork.
func (s *sealer) step(ctx context.Context, began time.Time) (more bool, err error) {
	was, next, err := s.standing(ctx)
	if err != nil {
		return false, err
	}
	if s.sealed.Store(was.size); next == was.size {
		s.j.sealedUpTo(was.size, began)
		return false, nil
	}
	s.j.grown(next)
	bodies, err := s.j.bodies(ctx, was.size, min(next, was.size+s.limit()))
	if err != nil {
		return false, err
	}
	now, err := s.tree.grow(ctx, was, bodies)
	if err != nil {
		return false, err
	}
	if err := now.sign(s.j.cfg.Signer); err != nil {
		return false, err
	}
	if err := s.seat.keep(ctx, was, now); err != nil {
		return false, err
	}
	if err := s.tree.publish(ctx, now.note); err != nil {
		return false, err
	}
	s.sealed.Store(now.size)
	s.j.sealedUpTo(now.size, began)
	m := s.j.cfg.Metrics
	m.sealed.Set(float64(now.size))
	m.seal.Observe(time.Since(began).Seconds())
	if err := s.tree.sweep(ctx, was.size, now.size); err != nil {
		s.j.cfg.Logger.Warn("obsolete partial tiles could not be removed", slog.String("log", s.tree.String()), slog.Any("error", err))
	}
	return next > now.size, nil
}

// look takes note of what the process that has the seat has sealed.
func (s *sealer) look(ctx context.Context, began time.Time) error {
	was, err := s.j.kept(ctx)
	if err != nil {
		return err
	}
	next, err := s.j.count(ctx)
	if err != nil {
		return err
	}
	if seen := s.size(); was.size < seen {
		return fmt.Errorf("%w: its checkpoint seals %d entries, and %d were sealed before", ErrPutBack, was.size, seen)
	}
	s.sealed.Store(was.size)
	s.j.cfg.Metrics.sealed.Set(float64(was.size))
	s.j.sawSealed(was.size, next, began)
	return nil
}

// standing reads the kept checkpoint and the number of entries, and refuses where
// these and the log's directory cannot be of one journal at one time.
func (s *sealer) standing(ctx context.Context) (was *kept, next uint64, err error) {
	// Read before the kept one, which another process may replace in between.
	raw, err := s.tree.published(ctx)
	if err != nil {
		return nil, 0, err
	}
	if was, err = s.j.kept(ctx); err != nil {
		return nil, 0, err
	}
	if next, err = s.j.count(ctx); err != nil {
		return nil, 0, err
	}
	if next < was.size {
		return nil, 0, fmt.Errorf("the database has %d entries, but its checkpoint seals %d: entries were removed; restore the newest backup of the whole journal", next, was.size)
	}
	if cp, _, err := openCheckpoint(raw, s.verifier); err == nil && cp.Size > was.size {
		return nil, 0, fmt.Errorf("the log in %s has a signed checkpoint over %d entries, but the database only knows of one over %d: %w; "+
			"restore the newest backup of the whole state directory", s.tree, cp.Size, was.size, ErrPutBack)
	}
	if was.size == 0 {
		return was, next, nil
	}
	root, err := s.tree.root(ctx, was.size)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, 0, fmt.Errorf("a checkpoint over %d entries was signed, but the Merkle log in %s does not hold them (%w): the log was put back to an older state; %s",
			was.size, s.tree, err, s.tree.cure())
	case err != nil:
		return nil, 0, fmt.Errorf("the tiles in %s cannot be read: %w; %s", s.tree, err, s.tree.cure())
	case !bytes.Equal(root, was.root):
		return nil, 0, fmt.Errorf("%w: the tiles in %s do not make the root that was signed over %d entries; %s", errFork, s.tree, was.size, s.tree.cure())
	}
	if !bytes.Equal(raw, was.note) {
		// A crash came between the two.
		err = s.tree.publish(ctx, was.note)
	}
	return was, next, err
}

package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
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
	// batchPatience is how long a batch may take before it is given up and begun
	// again from what is on disk.
	batchPatience = 30 * time.Second
	// lastPatience is how long a journal that stops goes on sealing.
	lastPatience = 5 * time.Second
)

// errFork says that the log and the entries would tell two stories.
var errFork = errors.New("the Merkle log does not match the entries")

// sealer brings committed entries into the Merkle log, in order, and has a
// checkpoint signed over each batch.
type sealer struct {
	j        *Journal
	verifier note.Verifier
	tree     tree
	wake     chan struct{}
	sealed   atomic.Uint64
	err      atomic.Pointer[error] // of the last attempt; nil if it succeeded
}

func newSealer(j *Journal, v note.Verifier) *sealer {
	return &sealer{j: j, verifier: v, tree: tree{filepath.Join(j.cfg.Dir, logName)}, wake: make(chan struct{}, 1)}
}

func (s *sealer) size() uint64 { return s.sealed.Load() }

func (s *sealer) lastError() error {
	if err := s.err.Load(); err != nil {
		return *err
	}
	return nil
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
	for {
		select {
		case <-ctx.Done():
			s.finish()
			return
		case <-s.wake:
		}
		began := time.Now()
		more, err := s.try(ctx)
		if more || err != nil {
			s.nudge()
		}
		// Sealing syncs files, which commits have to wait for. It has a fifth of the
		// time, as long as a checkpoint still comes well within a second.
		pause.Reset(max(s.j.cfg.SealEvery, min(4*time.Since(began), slowest)))
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
	}
}

// finish takes no more entries and seals those that were taken.
func (s *sealer) finish() {
	ctx, cancel := context.WithTimeout(context.Background(), lastPatience)
	defer cancel()
	s.j.queue.end()
	err := s.j.queue.run(ctx, func(context.Context, *store) error { return nil }) // behind everything queued
	for more := true; more && err == nil; {
		more, err = s.try(ctx)
	}
	if err != nil {
		s.j.cfg.Logger.Warn("the journal stops with entries that are not sealed yet; they will be at the next start",
			slog.String("dir", s.j.cfg.Dir), slog.Any("error", err))
	}
}

// try seals one batch and takes note of how that went.
func (s *sealer) try(ctx context.Context) (more bool, err error) {
	// A batch under way is finished even when ctx ends: it has its own deadline.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), batchPatience)
	defer cancel()
	began := time.Now()
	more, err = s.step(ctx, began)
	before := s.lastError()
	if err == nil {
		s.err.Store(nil)
		if before != nil {
			s.j.cfg.Logger.Info("the journal is sealed again", slog.String("dir", s.j.cfg.Dir), slog.Uint64("size", s.size()))
		}
		return more, nil
	}
	s.j.cfg.Metrics.unsealed.Inc()
	if before == nil || before.Error() != err.Error() {
		s.j.cfg.Logger.Error("entries could not be sealed; trying again", slog.String("dir", s.j.cfg.Dir), slog.Any("error", err))
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
	if err != nil || next == was.size {
		return false, err
	}
	bodies, err := s.j.bodies(ctx, was.size, min(next, was.size+batchLimit))
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
	if err := s.j.queue.run(ctx, func(ctx context.Context, st *store) error { return st.keep(ctx, was, now) }); err != nil {
		return false, err
	}
	if err := s.tree.publish(now.note); err != nil {
		return false, err
	}
	s.sealed.Store(now.size)
	s.j.sealedUpTo(now.size, began)
	m := s.j.cfg.Metrics
	m.sealed.Set(float64(now.size))
	m.seal.Observe(time.Since(began).Seconds())
	if err := s.tree.sweep(was.size, now.size); err != nil {
		s.j.cfg.Logger.Warn("obsolete partial tiles could not be removed", slog.String("dir", s.tree.dir), slog.Any("error", err))
	}
	return next > now.size, nil
}

// unsealed reports whether entries wait for a checkpoint.
func (j *Journal) unsealed() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return !j.waiting.IsZero()
}

// sealedUpTo moves the mark from which entries wait for a checkpoint. Entries
// that the batch did not take have waited at the most since it began.
func (j *Journal) sealedUpTo(size uint64, began time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.next > size {
		j.waiting = began
	} else {
		j.waiting = time.Time{}
	}
}

// standing reads the kept checkpoint and the number of entries, and refuses where
// these and the log's directory cannot be of one journal at one time.
func (s *sealer) standing(ctx context.Context) (was *kept, next uint64, err error) {
	if was, err = s.j.kept(ctx); err != nil {
		return nil, 0, err
	}
	if next, err = s.j.count(ctx); err != nil {
		return nil, 0, err
	}
	if next < was.size {
		return nil, 0, fmt.Errorf("the database has %d entries, but its checkpoint seals %d: entries were removed; restore the newest backup of the whole state directory", next, was.size)
	}
	raw, err := s.tree.published()
	if err != nil {
		return nil, 0, err
	}
	if cp, _, err := openCheckpoint(raw, s.verifier); err == nil && cp.Size > was.size {
		return nil, 0, fmt.Errorf("the log in %s has a signed checkpoint over %d entries, but the database only knows of one over %d: the database was put back to an older state; "+
			"restore the newest backup of the whole state directory", s.tree.dir, cp.Size, was.size)
	}
	if was.size == 0 {
		return was, next, nil
	}
	root, err := s.tree.root(was.size)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, 0, fmt.Errorf("a checkpoint over %d entries was signed, but the Merkle log in %s does not hold them (%w): the log was put back to an older state; "+
			"restore its newest state, or move it away to have it built again from the database", was.size, s.tree.dir, err)
	case err != nil:
		return nil, 0, fmt.Errorf("the tiles in %s cannot be read: %w; restore them, or move the directory away to have it built again from the database", s.tree.dir, err)
	case !bytes.Equal(root, was.root):
		return nil, 0, fmt.Errorf("%w: the tiles in %s do not make the root that was signed over %d entries; move the directory away to have it built again from the database",
			errFork, s.tree.dir, was.size)
	}
	if !bytes.Equal(raw, was.note) {
		// A crash came between the two.
		err = s.tree.publish(was.note)
	}
	return was, next, err
}

package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api/layout"
	"golang.org/x/mod/sumdb/note"
)

const (
	// slowest is the longest pause between two batches under load.
	slowest = 500 * time.Millisecond
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
	s.nudge()
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
		// Sealing syncs many files, which commits have to wait for. It has a fifth of
		// the time, as long as a checkpoint still comes well within a second.
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
			"dir", s.j.cfg.Dir, "error", err)
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
			s.j.cfg.Logger.Info("the journal is sealed again", "dir", s.j.cfg.Dir, "size", s.size())
		}
		return more, nil
	}
	s.j.cfg.Metrics.unsealed.Inc()
	if before == nil || before.Error() != err.Error() {
		s.j.cfg.Logger.Error("entries could not be sealed; trying again", "dir", s.j.cfg.Dir, "error", err)
	}
	s.err.Store(&err)
	return false, err
}

// step seals one batch: the entries from the last kept checkpoint on. It begins
// at what the disk says and is the same whether the batch before it succeeded,
// failed, or was cut off by a crash in any of its parts.
func (s *sealer) step(ctx context.Context, began time.Time) (more bool, err error) {
	was, next, err := s.standing(ctx)
	if err != nil {
		return false, err
	}
	if next == was.size {
		return false, nil
	}
	size, err := s.tree.size()
	if err != nil {
		return false, err
	}
	to := min(next, was.size+batchLimit)
	if size > was.size {
		to = size // integrated before a crash, but not signed
	}
	bodies, leaves, err := s.read(ctx, was.size, to, size)
	if err != nil {
		return false, err
	}
	if size > was.size {
		bodies = nil
	}
	now, err := was.extend(leaves)
	if err != nil {
		return false, err
	}
	if err := s.integrate(ctx, was, now, bodies); err != nil {
		return false, err
	}
	s.sealed.Store(now.size)
	s.j.sealedUpTo(now.size, began)
	m := s.j.cfg.Metrics
	m.sealed.Set(float64(now.size))
	m.seal.Observe(time.Since(began).Seconds())
	if err := s.tree.sweep(was.size, now.size); err != nil {
		s.j.cfg.Logger.Warn("obsolete partial tiles could not be removed", "dir", s.tree.dir, "error", err)
	}
	return next > now.size, nil
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
	size, err := s.tree.size()
	if err != nil {
		return nil, 0, err
	}
	switch {
	case next < was.size:
		return nil, 0, fmt.Errorf("the database has %d entries, but its checkpoint seals %d: entries were removed; restore the newest backup of the whole state directory", next, was.size)
	case size < was.size:
		return nil, 0, fmt.Errorf("the Merkle log in %s holds %d entries, but a checkpoint over %d was signed: the log was put back to an older state; "+
			"restore its newest state, or move it away to have it built again from the database", s.tree.dir, size, was.size)
	case size > next:
		return nil, 0, fmt.Errorf("the Merkle log in %s holds %d entries, but the database only %d: the database was put back to an older state; "+
			"restore the newest backup of the whole state directory", s.tree.dir, size, next)
	}
	return was, next, s.republish(was)
}

// republish sees to it that the published checkpoint is the kept one: it is not
// after a crash between the two.
func (s *sealer) republish(was *kept) error {
	if was.size == 0 {
		return nil
	}
	raw, err := s.tree.published()
	if err != nil || bytes.Equal(raw, was.note) {
		return err
	}
	if cp, _, err := openCheckpoint(raw, s.verifier); err == nil && cp.Size > was.size {
		return fmt.Errorf("the log in %s has a signed checkpoint over %d entries, the database only knows of one over %d: the database was put back to an older state; "+
			"restore the newest backup of the whole state directory", s.tree.dir, cp.Size, was.size)
	}
	return writeFile(filepath.Join(s.tree.dir, layout.CheckpointPath), was.note)
}

// read returns the entries [from, to) and their leaf hashes. It makes sure that
// those which the log of the given size has already are the same there.
func (s *sealer) read(ctx context.Context, from, to, size uint64) (bodies, leaves [][]byte, err error) {
	if bodies, err = s.j.bodies(ctx, from, to); err != nil {
		return nil, nil, err
	}
	leaves = make([][]byte, len(bodies))
	for i, b := range bodies {
		leaves[i] = rfc6962.DefaultHasher.HashLeaf(b)
	}
	tiles, err := s.tree.leaves(ctx, from, max(from, min(to, size)), size)
	if err != nil {
		return nil, nil, err
	}
	for i := range tiles {
		if !bytes.Equal(tiles[i], leaves[i]) {
			return nil, nil, fmt.Errorf("%w: entry %d (%s) was changed after the log took it; restore the newest backup of the whole state directory",
				errFork, from+uint64(i), claimedID(bodies[i])) //nolint:gosec // i counts from 0
		}
	}
	return bodies, leaves, nil
}

func keepAct(was, now *kept) func(context.Context, *store) error {
	return func(ctx context.Context, st *store) error { return st.keep(ctx, was, now) }
}

// integrate has Tessera take the bodies as the leaves from was.size on (none, if
// it has them already) and publish a checkpoint for now, and waits for both.
func (s *sealer) integrate(ctx context.Context, was, now *kept, bodies [][]byte) error {
	g := &guard{Signer: s.j.cfg.Signer, want: now, keep: func(now *kept) error {
		return s.j.queue.run(ctx, keepAct(was, now))
	}}
	return s.tree.append(ctx, g, was.size, bodies, func() error { return s.tree.awaitPublished(ctx, g) })
}

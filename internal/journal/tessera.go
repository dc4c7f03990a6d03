package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/api/layout"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
)

// The Merkle log is written by Tessera, opened afresh for every batch, so that
// going on after a crash is not another path than going on. Five habits of
// Tessera are dealt with here and in guard.go:
//
//   - It signs whatever its directory holds, also after that was put back to an
//     older state. It is given a signer that knows better: see guard.
//   - It measures a checkpoint's age by the file's modification time and so
//     publishes nothing while the clock is behind it. The file is dated back
//     before each batch: see publishNow.
//   - A queued entry's future hangs for ever once the appender's context ends. The
//     context ends after the futures, and nobody waits for these without a deadline.
//   - A batch that is flushed by age may be overtaken by the next one. Batches are
//     flushed by their exact size alone, one at a time, and every index is compared.
//   - It panics where it cannot open its lock file: see spare.

const (
	// tesseraInterval is the shortest Tessera takes; the pace is the sealer's own.
	tesseraInterval = 100 * time.Millisecond
	// spareFiles is how many open files one batch needs at a time, and some more.
	spareFiles = 16
)

// append has the log take the bodies as its leaves from one index on and sign what
// comes of it by g, and returns when they are in it and done has returned.
func (t tree) append(ctx context.Context, g note.Signer, from uint64, bodies [][]byte, done func() error) error {
	if err := errors.Join(t.create(), t.publishNow(), spare()); err != nil {
		return err
	}
	driver, err := posix.New(ctx, posix.Config{Path: t.dir, HTTPClient: &http.Client{Transport: noNetwork{}}})
	if err != nil {
		return err
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	log, _, _, err := tessera.NewAppender(life, driver, tessera.NewAppendOptions().
		WithCheckpointSigner(g).
		WithBatching(uint(max(len(bodies), 1)), time.Hour). // by size alone
		WithCheckpointInterval(tesseraInterval).
		WithCheckpointRepublishInterval(0).
		WithGarbageCollectionInterval(0)) // done by sweep: an appender does not live long enough
	if err != nil {
		return err
	}
	if err := add(ctx, log, from, bodies); err != nil {
		return err
	}
	return done()
}

// add gives the bodies to the appender and waits until they are in the log.
func add(ctx context.Context, log *tessera.Appender, from uint64, bodies [][]byte) error {
	added := make(chan error, 1)
	go func() { // ends with the futures, which resolve with the batch; waited for below, but not for ever
		futures := make([]tessera.IndexFuture, len(bodies))
		for i, b := range bodies {
			futures[i] = log.Add(ctx, tessera.NewEntry(b))
		}
		for i, f := range futures {
			index, err := f()
			if err == nil && index.Index != from+uint64(i) {
				err = fmt.Errorf("%w: it gave entry %d the index %d", errFork, from+uint64(i), index.Index)
			}
			if err != nil {
				added <- fmt.Errorf("the Merkle log did not take entry %d (%s): %w", from+uint64(i), idOf(bodies[i]), err)
				return
			}
		}
		added <- nil
	}()
	select {
	case err := <-added:
		return err
	case <-ctx.Done():
		return fmt.Errorf("the Merkle log did not take %d entries in time: %w", len(bodies), ctx.Err())
	}
}

// publishNow dates the published checkpoint far back. Tessera publishes the next
// one only when the file is old enough by the wall clock, which is never while
// the clock has stepped back behind it.
func (t tree) publishNow() error {
	past := time.Unix(0, 0)
	err := os.Chtimes(filepath.Join(t.dir, layout.CheckpointPath), past, past)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// spare makes sure that there are open files to be had: Tessera panics where it
// cannot open its lock.
func spare() error {
	var files []*os.File
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	for range spareFiles {
		f, err := os.Open(os.DevNull)
		if err != nil {
			return fmt.Errorf("too few open files are left to seal: %w; raise the limit (ulimit -n)", err)
		}
		files = append(files, f)
	}
	return nil
}

// noNetwork is what Tessera, which asks no witnesses here, connects with.
type noNetwork struct{}

func (noNetwork) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("the journal opens no connections")
}

// awaitPublished waits until what g signs is the published checkpoint.
func (t tree) awaitPublished(ctx context.Context, g *guard) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		signed, refused := g.outcome()
		if refused != nil {
			return refused
		}
		if signed != nil {
			raw, err := t.published()
			if err != nil {
				return err
			}
			if bytes.Equal(raw, signed) {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the Merkle log did not publish a checkpoint over %d entries in time: %w", g.want.size, ctx.Err())
		}
	}
}

package trail

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestAttackManyAsk: attack: a script opens the explorer a thousand times at once, each time with a
// text that every block has to be read for; the gateway beside it would be left without a processor.
// This test verifies that no more questions are answered at a time than there are turns, that who
// gives up waits no longer, and that all others are answered.
func TestAttackManyAsk(t *testing.T) {
	h := newHistory(t, 31)
	h.grow(50)
	tr, err := Open(t.Context(), Config{Dir: filepath.Join(h.dir, "trail"), Journal: h.j, Every: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	run(t, tr)
	current(t, tr)
	for range cap(tr.turns) { // every turn is taken
		tr.turns <- struct{}{}
	}
	ctx, giveUp := context.WithCancel(t.Context())
	asks := []func(context.Context) error{
		func(ctx context.Context) error { _, err := tr.Count(ctx, Query{}); return err },
		func(ctx context.Context) error { _, err := tr.Tally(ctx, Query{}, ByDay); return err },
		func(ctx context.Context) error { _, err := tr.List(ctx, Query{}, Paging{}); return err },
		func(ctx context.Context) error { _, err := tr.Usage(ctx, Query{}); return err },
		func(ctx context.Context) error { _, err := tr.LastUses(ctx, nil); return err },
		func(ctx context.Context) error { _, err := tr.Facets(ctx, Query{}); return err },
	}
	var wait sync.WaitGroup
	for _, ask := range asks {
		wait.Go(func() {
			if err := ask(ctx); err == nil || !strings.Contains(err.Error(), "too many ask at once") {
				t.Errorf("it did not wait for a turn: %v", err)
			}
		})
	}
	giveUp()
	wait.Wait()
	for range 100 {
		for _, ask := range asks {
			wait.Go(func() {
				if err := ask(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
	}
	for range cap(tr.turns) {
		<-tr.turns
	}
	wait.Wait()
	if len(tr.turns) != 0 {
		t.Errorf("%d turns are still taken", len(tr.turns))
	}
}

// TestAttackTheTrailTakenAway: attack: somebody deletes trail.db, or writes over it, while the gateway
// runs. Connections that are opened from then on find another file, or none that can be read. This
// test verifies that the trail notices as it writes, is built again without a restart, and tells the
// same as the journal then.
func TestAttackTheTrailTakenAway(t *testing.T) {
	for name, harm := range map[string]func(path string) error{
		"deleted": func(path string) error {
			return errors.Join(os.Remove(path), os.Remove(path+"-wal"), os.Remove(path+"-shm"))
		},
		"written over": func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			info, err := f.Stat()
			if err == nil {
				_, err = f.WriteAt(make([]byte, info.Size()), 0)
			}
			return errors.Join(err, f.Close())
		},
		"cut off": func(path string) error { return os.Truncate(path, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHistory(t, 32)
			h.grow(300)
			tr, err := open(t.Context(), Config{Dir: filepath.Join(h.dir, "trail"), Journal: h.j, Every: time.Millisecond}, small)
			if err != nil {
				t.Fatal(err)
			}
			run(t, tr)
			current(t, tr)
			if err := harm(filepath.Join(h.dir, "trail", fileName)); err != nil {
				t.Fatal(err)
			}
			h.grow(300)
			for all := uint64(len(h.all())); ; { // what it heard of last may be from before
				next, more := tr.Watch()
				if next >= all {
					break
				}
				select {
				case <-more:
				case <-time.After(30 * time.Second):
					t.Fatalf("it does not catch up: %+v", tr.Standing())
				}
			}
			current(t, tr)
			for range 20 { // over connections that were open, and new ones
				rows, _ := naiveFold(h.all())
				if c, err := tr.Count(t.Context(), Query{Text: "zzz"}); err != nil {
					t.Fatalf("%+v, %v", c, err)
				}
				if c, err := tr.Count(t.Context(), Query{}); err != nil || c != naiveCount(rows, Query{}) {
					t.Fatalf("%+v, %v", c, err)
				}
			}
		})
	}
}

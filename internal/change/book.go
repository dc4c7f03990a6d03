package change

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isogate/isogate"
)

// Journal is where acts are recorded and heard of.
type Journal interface {
	// Append returns once e is durable, with ID, Seq and Time filled in.
	Append(ctx context.Context, e *isogate.Entry) error
	// Follow calls f with the pack entries from a seq on, in order, as they become
	// durable, and at least once per every: see [Batch]. It returns when ctx ends, or f
	// fails.
	Follow(ctx context.Context, from uint64, every time.Duration, f func(Batch) error) error
}

// Batch is a piece of the journal as a follower sees it.
type Batch struct {
	Entries []isogate.Entry
	UpTo    uint64    // every pack entry below it was delivered
	At      time.Time // when the read began that shows this; everything durable before it is in, unless there is More
	More    bool      // the batch is a part of what there was to read
}

// How often the journal is looked at when nothing is heard of it, and how long the
// book is relied on without that.
const (
	follow = time.Second
	lease  = 10 * time.Second
)

// Book is the newest state, as it becomes known. It is safe for concurrent use, and
// works while Run runs.
type Book struct {
	journal Journal
	now     atomic.Pointer[moment]
	contact atomic.Pointer[time.Time] // by the monotonic clock; nil before the first

	mu      sync.Mutex       // guards what follows
	effects map[uint64]error // by seq, of the last acts folded in
	recent  []uint64
}

// moment is a state and what tells of the next.
type moment struct {
	state *State
	next  chan struct{} // closed when it is not the newest any more
}

// keptEffects is of how many acts the book remembers whether they had an effect.
const keptEffects = 1024

// New makes a book. It starts nothing, and knows nothing before Run runs.
func New(j Journal) *Book {
	b := &Book{journal: j, effects: map[uint64]error{}}
	b.now.Store(&moment{&State{}, make(chan struct{})})
	return b
}

// Run follows the journal until ctx ends.
func (b *Book) Run(ctx context.Context) error {
	err := b.journal.Follow(ctx, 0, follow, b.take)
	if ctx.Err() != nil {
		return nil //nolint:nilerr // it was told to end
	}
	return fmt.Errorf("change: the journal cannot be followed: %w", err)
}

// take folds a batch in.
func (b *Book) take(batch Batch) error {
	was := b.now.Load()
	acts := readActs(batch.Entries, was.state.Revision)
	if len(acts) > 0 {
		next, why := was.state.Fold(acts...)
		b.mu.Lock()
		for i := range acts {
			b.effects[acts[i].Seq] = why[i]
			b.recent = append(b.recent, acts[i].Seq)
		}
		for len(b.recent) > keptEffects {
			delete(b.effects, b.recent[0])
			b.recent = b.recent[1:]
		}
		b.mu.Unlock()
		b.now.Store(&moment{next, make(chan struct{})})
		close(was.next)
	}
	if !batch.More {
		b.contact.Store(&batch.At)
	}
	return nil
}

// readActs are the acts among entries, from a seq on.
func readActs(entries []isogate.Entry, from uint64) (acts []Act) {
	for i := range entries {
		if a, ok := ReadAct(&entries[i]); ok && a.Seq >= from {
			acts = append(acts, a)
		}
	}
	return acts
}

// State is the newest state. Whether it may be relied on, InTouch says.
func (b *Book) State() *State { return b.now.Load().state }

// InTouch says why what is known may be old, or nil.
func (b *Book) InTouch() error {
	at := b.contact.Load()
	if at == nil {
		return errors.New("which packs are approved is not known yet: the journal is being read")
	}
	if age := time.Since(*at); age > lease {
		return fmt.Errorf("which packs are approved is not known for certain: nothing was heard from the journal for %s", age.Round(time.Millisecond))
	}
	return nil
}

// Do records an act and tells whether it had an effect: an error that is
// [ErrNoEffect] says that it is in the journal and changed nothing. When ctx ends
// before that is known, the act may yet have its effect.
func (b *Book) Do(ctx context.Context, a Act) (Act, error) {
	e := a.Entry()
	if err := b.journal.Append(ctx, e); err != nil {
		return a, fmt.Errorf("the act was not recorded, and is not done: %w", err)
	}
	a.ID, a.Seq, a.At = e.ID, e.Seq, e.Time
	for {
		m := b.now.Load()
		if m.state.Revision > a.Seq {
			b.mu.Lock()
			defer b.mu.Unlock()
			err, known := b.effects[a.Seq]
			if !known {
				return a, fmt.Errorf("entry %s: it is not known any more whether the act had an effect", a.ID)
			}
			return a, err
		}
		select {
		case <-m.next:
		case <-ctx.Done():
			return a, fmt.Errorf("entry %s: the act is recorded; whether it has an effect is not known yet: %w", a.ID, ctx.Err())
		}
	}
}

// errWhole ends a follower that has read everything there was.
var errWhole = errors.New("whole")

// Read is the state as the journal has it now: what a gateway asks before it loads a pack.
func Read(ctx context.Context, j Journal) (*State, error) {
	s := &State{}
	err := j.Follow(ctx, 0, time.Second, func(b Batch) error {
		s, _ = s.Fold(readActs(b.Entries, s.Revision)...)
		if b.More {
			return nil
		}
		return errWhole
	})
	switch {
	case errors.Is(err, errWhole):
		return s, nil
	case err == nil:
		err = ctx.Err()
	}
	return nil, fmt.Errorf("which packs are approved cannot be read from the journal: %w", err)
}

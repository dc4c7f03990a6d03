package journal

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/isogate/isogate"
)

// gatherTurns is how often gather yields at the most.
const gatherTurns = 64

// item is one entry on its way to the database.
type item struct {
	id    isogate.EntryID
	at    time.Time
	tail  []byte // what follows the head; see encode.go
	later bool   // nobody waits for it: it is tried again until it is durable
	// Closings that came while the group was open share an entry; its tail is
	// encoded when the group is taken.
	closes []isogate.Closing
}

// maxCloses keeps an entry of closings well below maxEntry.
const maxCloses = 256

// act is something else to do in a group's transaction. Its own error is its
// caller's alone and leaves the group's entries as they are.
type act struct {
	do   func(context.Context, *store) error
	err  error
	done chan error // buffered
}

// group is the entries that share a transaction, and its outcome.
type group struct {
	again   []item // of AppendLater, from groups that could not be committed
	items   []item
	awaited bool // somebody waits for one of them
	closing int  // 1 + the index of the item that takes closings; 0 for none
	acts    []act

	// Set before done is closed.
	base uint64 // seq of items[0]
	err  error
	done chan struct{}
}

// queue collects a group while the one before it is committed.
type queue struct {
	max    int
	tenant isogate.Tenant
	wake   chan struct{} // holds one token when somebody waits for the open group
	idle   chan struct{} // holds one token when the open group has only entries that nobody waits for
	halt   chan struct{} // closed by stop: the writer commits what is left and returns

	mu     sync.Mutex // guards what follows
	open   *group
	clock  *clock
	ended  bool // no more entries
	before int  // entries in the group before the open one
}

func newQueue(limit int, tenant isogate.Tenant, c *clock) *queue {
	return &queue{max: limit, tenant: tenant, clock: c, wake: make(chan struct{}, 1), idle: make(chan struct{}, 1), halt: make(chan struct{}),
		open: &group{done: make(chan struct{})}}
}

// put stamps e and places its item in the open group. Where that is full it waits
// for the next one.
func (q *queue) put(ctx context.Context, e *isogate.Entry, it item) (*group, int, error) {
	for {
		q.mu.Lock()
		if q.ended {
			q.mu.Unlock()
			return nil, 0, ErrStopped
		}
		g := q.open
		if len(g.items) < q.max {
			e.ID, e.Time = q.clock.stamp()
			it.id, it.at = e.ID, e.Time
			g.items = append(g.items, it)
			n := len(g.items)
			if len(it.closes) > 0 {
				g.closing = n
			}
			first := !it.later && !g.awaited || n == q.max
			g.awaited = g.awaited || !it.later
			q.mu.Unlock()
			switch {
			case first:
				signal(q.wake)
			case n == 1:
				signal(q.idle)
			}
			return g, n - 1, nil
		}
		q.mu.Unlock()
		select {
		case <-g.done:
		case <-ctx.Done():
			return nil, 0, fmt.Errorf("the journal's queue of %d entries is full: %w", q.max, ctx.Err())
		case <-q.halt:
			return nil, 0, ErrStopped
		}
	}
}

// close adds a closing to the open group.
func (q *queue) close(c isogate.Closing) error {
	q.mu.Lock()
	if g := q.open; !q.ended && g.closing > 0 && len(g.items[g.closing-1].closes) < maxCloses {
		it := &g.items[g.closing-1]
		it.closes = append(it.closes, c)
		q.mu.Unlock()
		return nil
	}
	q.mu.Unlock()
	_, _, err := q.put(context.Background(), &isogate.Entry{}, item{later: true, closes: []isogate.Closing{c}})
	return err
}

// run has do done in the next transaction and returns its outcome.
func (q *queue) run(ctx context.Context, do func(context.Context, *store) error) error {
	a := act{do: do, done: make(chan error, 1)}
	q.mu.Lock()
	if q.halted() {
		q.mu.Unlock()
		return ErrStopped
	}
	q.open.acts = append(q.open.acts, a)
	q.mu.Unlock()
	signal(q.wake)
	select {
	case err := <-a.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// gather lets those who were woken by the last commit come back before the next
// one begins: a sync that is shared by all of them takes no longer than one for
// the first. It never waits for time to pass.
func (q *queue) gather() {
	for range gatherTurns {
		q.mu.Lock()
		enough := len(q.open.items) >= q.before
		q.mu.Unlock()
		if enough {
			return
		}
		runtime.Gosched()
	}
}

// take closes the open group and returns it, or nil when it is empty. Entries
// that nobody waits for and that could not be committed go before it: their IDs
// were given earlier.
func (q *queue) take(again []item) *group {
	q.mu.Lock()
	defer q.mu.Unlock()
	g := q.open
	if len(again) == 0 && len(g.items) == 0 && len(g.acts) == 0 {
		return nil
	}
	for i := range g.items {
		if it := &g.items[i]; len(it.closes) > 0 {
			it.tail = appendTail(make([]byte, 0, 128+80*len(it.closes)), &isogate.Entry{
				Tenant: q.tenant, Kind: isogate.KindEgress, Stage: isogate.StageClosed, Closes: it.closes})
		}
	}
	g.again = again
	q.before = len(g.items)
	q.open = &group{done: make(chan struct{}), items: make([]item, 0, len(g.items)+8)}
	return g
}

// fail ends what is still queued with err.
func (q *queue) fail(err error) {
	if g := q.take(nil); g != nil {
		g.finish(0, err)
	}
}

// finish tells everybody who waits for the group how it ended.
func (g *group) finish(base uint64, err error) {
	g.base, g.err = base, err
	close(g.done)
	for i := range g.acts {
		if err == nil {
			g.acts[i].done <- g.acts[i].err
		} else {
			g.acts[i].done <- err
		}
	}
}

func (q *queue) stopped() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.ended
}

// end takes no more entries; what is queued is still committed, and acts go on.
func (q *queue) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended = true
}

// stop ends the writer. It may be called more than once.
func (q *queue) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended = true
	select {
	case <-q.halt:
	default:
		close(q.halt)
	}
}

func (q *queue) halted() bool {
	select {
	case <-q.halt:
		return true
	default:
		return false
	}
}

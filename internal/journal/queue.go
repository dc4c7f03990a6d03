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
	tail      []byte            // what follows the head; see encode.go
	announced isogate.EntryKind // every gateway must hear of it; see announced
	later     bool              // nobody waits for it: it is tried again until it is durable
	doubtful  bool              // it was in a transaction of which nobody knows whether it was committed
	// Set by the store when the group is written.
	id isogate.EntryID
	at time.Time
	// Closings that came while the group was open share an entry; its tail is
	// encoded when the group is taken.
	closes []isogate.Closing
}

// maxCloses keeps an entry of closings well below maxEntry.
const maxCloses = 256

// act is something else to do in a group's transaction: to replace the kept
// checkpoint was by now or, without these, nothing, which tells when everything
// queued before is done. Its own error is its caller's alone and leaves the
// group's entries as they are.
type act struct {
	was, now *kept
	err      error
	done     chan error // buffered
}

// group is the entries that share a transaction, and its outcome.
type group struct {
	again   []item // of AppendLater, from groups that could not be committed
	items   []item
	awaited bool // somebody waits for one of them
	closing int  // 1 + the index of the item that takes closings; 0 for none
	acts    []act

	// Set before done is closed.
	base uint64 // seq of the first entry: of again, and then of items
	err  error
	done chan struct{}
}

// size is the number of entries.
func (g *group) size() int { return len(g.again) + len(g.items) }

// each calls f for every entry in the order of their seqs.
func (g *group) each(f func(it *item)) {
	for _, items := range [...][]item{g.again, g.items} {
		for i := range items {
			f(&items[i])
		}
	}
}

// rings reports whether followers must hear of one of the entries at once. Of an
// entry that nobody waits for they hear when they look the next time, unless it is a
// consent: of landing entries there may be one for each release.
func (g *group) rings() (yes bool) {
	g.each(func(it *item) { yes = yes || it.announced == isogate.KindConsent || it.announced != "" && !it.later })
	return yes
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
	ended  bool // no more entries
	before int  // entries in the group before the open one
}

func newQueue(limit int, tenant isogate.Tenant) *queue {
	return &queue{max: limit, tenant: tenant, wake: make(chan struct{}, 1), idle: make(chan struct{}, 1), halt: make(chan struct{}),
		open: &group{done: make(chan struct{})}}
}

// put places an item in the open group. Where that is full it waits for the next
// one. What is put before something else gets an earlier place.
func (q *queue) put(ctx context.Context, it item) (*group, int, error) {
	for {
		q.mu.Lock()
		if q.ended {
			q.mu.Unlock()
			return nil, 0, ErrStopped
		}
		g := q.open
		if len(g.items) < q.max {
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
	_, _, err := q.put(context.Background(), item{later: true, closes: []isogate.Closing{c}})
	return err
}

// flush returns when everything queued before was committed.
func (q *queue) flush(ctx context.Context) error { return q.run(ctx, nil, nil) }

// keep has the checkpoint was replaced by now, if it is still was, in the next
// transaction.
func (q *queue) keep(ctx context.Context, was, now *kept) error { return q.run(ctx, was, now) }

func (q *queue) run(ctx context.Context, was, now *kept) error {
	a := act{was: was, now: now, done: make(chan error, 1)}
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
// that nobody waits for and that could not be committed go before it, as they came
// before it.
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

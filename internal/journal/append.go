package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/isogate/isogate"
)

const (
	// grace is how long Append still waits for a commit under way when its caller gives up.
	grace = 2 * time.Second
	// retryEvery is how often a journal whose commits fail tries again.
	retryEvery = 250 * time.Millisecond
)

// tails recycles the buffers that entries are encoded in.
var tails = sync.Pool{New: func() any { b := make([]byte, 0, 2048); return &b }}

// Append records e and returns once it is durable: it survives a kill of the
// process and a loss of power from then on. It fills in e.ID, e.Seq, e.Time and
// e.Tenant; an entry has no ID before, for IDs are given in the order of the seqs.
// On an error e counts for nothing, has no ID, and what it was to allow must not
// happen. When ctx ends while e is being committed, Append waits a little for the
// outcome and otherwise returns an error that is [ErrUnknown]; so it does where the
// connection to the database ended before the database said how the commit did.
//
// promise: P23
func (j *Journal) Append(ctx context.Context, e *isogate.Entry) error {
	e.ID = ""
	buf := tails.Get().(*[]byte) //nolint:forcetypeassert // the pool holds nothing else
	tail, err := j.encode((*buf)[:0], e)
	if err != nil {
		tails.Put(buf)
		return err
	}
	g, i, err := j.queue.put(ctx, item{tail: tail, announced: announced(e.Kind)})
	if err != nil {
		tails.Put(buf)
		return fmt.Errorf("journal: the entry was not taken: %w", err)
	}
	select {
	case <-g.done:
	case <-ctx.Done():
		patience := time.NewTimer(grace)
		defer patience.Stop()
		select {
		case <-g.done:
		case <-patience.C:
			return fmt.Errorf("journal: %w: %w", ErrUnknown, ctx.Err())
		}
	}
	*buf = tail
	tails.Put(buf)
	switch {
	case errors.Is(g.err, ErrUnknown):
		return fmt.Errorf("journal: %w", g.err)
	case g.err != nil:
		return fmt.Errorf("journal: the entry was not recorded: %w", g.err)
	}
	it := &g.items[i]
	e.ID, e.Time, e.Seq = it.id, it.at, g.base+uint64(len(g.again)+i) //nolint:gosec // i counts from 0
	return nil
}

// AppendLater queues e to become durable with the next commit and returns without
// waiting for that, and so without knowing e's ID; it fills in e.Tenant. While
// commits fail it keeps e and tries again, and where it is not known whether one
// did it finds out first, so that e is recorded once. It waits only while the queue is full. What it took is
// lost if the process is killed before the next commit, so it is for entries that
// let nothing out, such as the one that says how a release ended.
func (j *Journal) AppendLater(e *isogate.Entry) error {
	tail, err := j.encode(make([]byte, 0, 512), e)
	if err != nil {
		return err
	}
	if _, _, err := j.queue.put(context.Background(), item{tail: tail, later: true, announced: announced(e.Kind)}); err != nil {
		return fmt.Errorf("journal: the entry was not taken: %w", err)
	}
	return nil
}

// AppendClosing records how a release ended, like AppendLater. Closings that come
// while a commit is under way share one entry, since each alone would cost as much
// as the release it ends.
func (j *Journal) AppendClosing(c isogate.Closing) error {
	if c.Of == "" {
		return fmt.Errorf("journal: a closing that closes nothing; set Closing.Of")
	}
	if err := j.queue.close(c); err != nil {
		return fmt.Errorf("journal: the closing of %s was not taken: %w", c.Of, err)
	}
	return nil
}

func (j *Journal) encode(dst []byte, e *isogate.Entry) ([]byte, error) {
	if e.Kind == "" {
		return nil, fmt.Errorf("journal: an entry without a kind; set Entry.Kind")
	}
	if e.Tenant != "" && e.Tenant != j.cfg.Tenant {
		return nil, fmt.Errorf("journal: an entry of tenant %q in the journal of %q; append it to its own tenant's journal", e.Tenant, j.cfg.Tenant)
	}
	e.Tenant = j.cfg.Tenant
	dst = appendTail(dst, e)
	if n := len(dst) + headRoom; n > maxEntry {
		return nil, fmt.Errorf("journal: an entry of %d bytes, more than the %d a log takes; label fewer places in one contract", n, maxEntry)
	}
	return dst, nil
}

// laterWithin is how long an entry of AppendLater waits for others at the most
// before it is committed.
const laterWithin = 20 * time.Millisecond

// writeLoop is the one writer: it commits one group after the other until the
// queue is stopped and empty.
func (j *Journal) writeLoop() error {
	ctx := context.Background() // a commit under way is never broken off
	retry := time.NewTimer(0)
	retry.Stop()
	defer retry.Stop()
	soon := time.NewTimer(0)
	soon.Stop()
	defer soon.Stop()
	var again []item
	for {
		select {
		case <-j.queue.wake:
		case <-j.queue.idle:
			// Entries that nobody waits for share the sync of the next one that
			// somebody does; only where none comes do they get one of their own.
			soon.Reset(laterWithin)
			continue
		case <-soon.C:
		case <-retry.C:
		case <-j.queue.halt:
		}
		var hopeless error
		if j.fault.Load() != nil {
			// While the last commit failed, a probe goes first: it is as large as a
			// group, so that room for it is room for one.
			if hopeless = j.store.probe(ctx); hopeless != nil {
				j.failed(hopeless)
			} else if len(again) == 0 {
				j.recovered()
			}
		}
		j.queue.gather()
		last := j.queue.halted() // asked before take, so that nothing comes after the last group
		if g := j.queue.take(again); g != nil {
			again = j.commit(ctx, g, hopeless)
		}
		if last {
			if len(again) > 0 {
				return fmt.Errorf("journal %s: %d entries that were to be recorded later are lost: %w", j.place, len(again), *j.fault.Load())
			}
			return nil
		}
		if j.fault.Load() != nil {
			retry.Reset(retryEvery)
		}
	}
}

// commit makes one group durable and returns what must be tried again. Where it is
// hopeless it fails with that, so that nobody waits for two failures in turn.
func (j *Journal) commit(ctx context.Context, g *group, hopeless error) []item {
	began := time.Now()
	base, err := uint64(0), hopeless
	if err == nil {
		base, err = j.store.commit(ctx, g)
	}
	// Whoever hears the outcome finds Ready to agree with it.
	defer func() { g.finish(base, err) }()
	m := j.cfg.Metrics
	if err == nil {
		n := g.size()
		m.appended.Add(float64(n))
		m.group.Observe(float64(n))
		m.commit.Observe(time.Since(began).Seconds())
		j.recovered()
		if n > 0 {
			m.next.Set(float64(base) + float64(n))
			j.grown(base + uint64(n))
			j.seal.nudge()
			if g.rings() {
				j.news.ring()
			}
		}
		return nil
	}
	m.failures.Inc()
	j.failed(err)
	again := g.again
	for _, it := range g.items {
		if it.later && len(again) < j.cfg.Queue {
			again = append(again, it)
		} else if it.later {
			j.cfg.Logger.Error("an entry that was to be recorded later is lost", slog.String("journal", j.place), slog.Any("error", err))
		}
	}
	return again
}

func (j *Journal) failed(err error) {
	if j.fault.Swap(&err) == nil {
		j.cfg.Logger.Error("the journal cannot be written; nothing leaves until it can", slog.String("journal", j.place), slog.Any("error", err))
	}
}

func (j *Journal) recovered() {
	if j.fault.Load() != nil && j.fault.Swap(nil) != nil {
		j.cfg.Logger.Info("the journal can be written again", slog.String("journal", j.place))
	}
}

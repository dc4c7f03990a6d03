package custody

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/seal"
)

// follow is how often the journal is looked at when nothing is heard of it.
const follow = time.Second

// Run follows the journal, and tends the landings, until ctx ends.
func (c *Custody) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.tendAll(ctx)
	}()
	from, err := c.begin(ctx)
	if err == nil {
		err = c.cfg.Journal.Follow(ctx, isogate.KindLanding, from, follow, c.take)
	}
	if ctx.Err() != nil {
		err = nil // it ended as it was to
	} else {
		err = fmt.Errorf("custody: the journal cannot be followed: %w", err)
	}
	stop()
	<-done
	for _, s := range *c.sites.Load() {
		s.hold.drop()
	}
	return err
}

// tendAll tends each landing for as long as it is in force.
func (c *Custody) tendAll(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { c.orphans(ctx) })
	tended := map[isogate.Destination]*tending{}
	for {
		sites := *c.sites.Load()
		for d, t := range tended {
			if s := sites[d]; s == nil || s.hold != t.hold {
				t.stop()
				delete(tended, d)
			}
		}
		for d, s := range sites {
			if tended[d] != nil {
				continue
			}
			of, stop := context.WithCancel(ctx)
			tended[d] = &tending{s.hold, stop}
			all.Go(func() { c.statements(of, d) })
			all.Go(func() { c.tend(of, d) })
		}
		select {
		case <-ctx.Done():
			for _, t := range tended {
				t.stop()
			}
			return
		case <-c.changed:
		}
	}
}

type tending struct {
	hold *hold
	stop context.CancelFunc
}

// Pauses between attempts to get a statement that is needed.
const (
	soonest = 100 * time.Millisecond
	latest  = 10 * time.Second
)

// statements keeps the statement of a destination's landing fresh.
func (c *Custody) statements(ctx context.Context, d isogate.Destination) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	pause := soonest
	for {
		s, err := c.site(d)
		if err != nil {
			return
		}
		st, trouble := c.fetch(ctx, s)
		if ctx.Err() != nil {
			return
		}
		trouble = s.hold.state(st, trouble)
		valid := s.hold.current() != nil
		c.gauge(s, valid)
		wait := c.cfg.Statements
		switch {
		case trouble == nil:
			pause = soonest
		case valid: // the one before still holds
			wait = min(c.cfg.Statements, latest)
		default:
			c.cfg.Logger.Warn("there is no statement of a landing in force; nothing can be sealed for it", slog.String("destination", string(d)), slog.Any("error", trouble))
			wait, pause = pause, min(2*pause, latest)
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			continue
		case <-s.hold.stale:
		}
		// It is needed at once, but nobody may make us ask without a pause.
		timer.Reset(pause)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
	}
}

func (c *Custody) gauge(s *site, valid bool) {
	v := 0.0
	if valid {
		v = 1
	}
	c.cfg.Metrics.valid.WithLabelValues(string(s.Destination)).Set(v)
}

// tend asks a landing for receipts, sees which are overdue, tells it again what it
// has not heard, and wipes keys that are over.
func (c *Custody) tend(ctx context.Context, d isogate.Destination) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		s, err := c.site(d)
		if err != nil {
			return
		}
		s.hold.sweep()
		if c.caughtUp() {
			if err := c.pull(ctx, s); err != nil && ctx.Err() == nil {
				c.cfg.Logger.Warn("a landing's receipts cannot be had", slog.String("destination", string(d)), slog.Any("error", err))
			}
			c.endAgain(ctx, s)
			if c.late(ctx, d) {
				signal(s.hold.ask)
			}
			c.askAbout(ctx, s, c.cfg.Now().Add(-c.cfg.Grace))
			c.eraseAgain(ctx, s)
		}
		if ctx.Err() != nil {
			return
		}
		c.count(s)
		// Gateways of a tenant that started together shall not go on together: the one
		// that asks first spares the others.
		wait := c.cfg.Receipts - time.Duration(rand.Int64N(int64(c.cfg.Receipts)/4+1)) //nolint:gosec // only to spread
		if !c.caughtUp() {
			wait = min(wait, soonest)
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-s.hold.ask:
		}
	}
}

func (c *Custody) count(s *site) {
	c.countKeys(s.Destination)
	var open int
	var broken string
	c.read(func(st *State) {
		broken = st.Head(s.chain).Broken
		for _, e := range st.erasures {
			if e.Destination == s.Destination && e.State != ErasureConfirmed {
				open++
			}
		}
	})
	m, d := c.cfg.Metrics, string(s.Destination)
	m.erasures.WithLabelValues(d).Set(float64(open))
	v := 0.0
	if broken != "" {
		v = 1
	}
	m.broken.WithLabelValues(d).Set(v)
}

// giveUp is how long after it was due a receipt is waited for: as long as landings
// keep them.
const giveUp = 30 * 24 * time.Hour

// late records which receipts are overdue, once, and reports whether there may be more.
func (c *Custody) late(ctx context.Context, d isogate.Destination) (more bool) {
	by := c.cfg.Now().Add(-c.cfg.Grace)
	for _, x := range []struct {
		act, reason string
		by          time.Time
		which       func(Key) bool
	}{
		{ActGivenUp, "the landing has not stated for 30 days that they are destroyed", by.Add(-giveUp), nil},
		{ActOverdue, "the landing has not stated in time that they are destroyed", by, func(k Key) bool { return !k.Noted }},
	} {
		var late []Key
		c.read(func(st *State) { late = st.Late(d, x.by, keysPerEntry, x.which) })
		if len(late) == 0 {
			continue
		}
		ids := make([]seal.ID, len(late))
		for i, k := range late {
			ids[i] = k.ID
		}
		e := keysEntry(x.act, d, ids, x.reason)
		if err := c.cfg.Journal.Append(ctx, e); err != nil {
			if ctx.Err() == nil {
				c.cfg.Logger.Error("it could not be recorded that receipts are overdue", slog.String("destination", string(d)), slog.Any("error", err))
			}
			return false
		}
		c.cfg.Logger.Error("receipts are overdue: a landing has not stated that seal keys are destroyed", slog.String("destination", string(d)),
			slog.Int("keys", len(ids)), slog.String("entry", string(e.ID)))
		c.folded(ctx, e.Seq)
		more = more || len(late) == keysPerEntry
	}
	return more
}

// orphans sees to the keys that are out to destinations which have no landing any
// more: nobody is left who could state that they are destroyed.
func (c *Custody) orphans(ctx context.Context) {
	tick := time.NewTicker(c.cfg.Receipts)
	defer tick.Stop()
	known := map[isogate.Destination]bool{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !c.caughtUp() {
			continue
		}
		sites := *c.sites.Load()
		c.read(func(st *State) {
			for at := range st.places {
				if sites[at.destination] == nil {
					known[at.destination] = true
				}
			}
		})
		for d := range known {
			var out int
			if sites[d] == nil {
				c.late(ctx, d)
				out = c.countKeys(d)
			}
			if out == 0 {
				delete(known, d)
			}
			if out == 0 && sites[d] == nil {
				c.cfg.Metrics.forget(d)
			}
		}
	}
}

// countKeys sets the metrics of the keys that are out.
func (c *Custody) countKeys(d isogate.Destination) (out int) {
	var late int
	c.read(func(st *State) { out, late, _ = st.Out(d, c.cfg.Now().Add(-c.cfg.Grace)) })
	c.cfg.Metrics.out.WithLabelValues(string(d)).Set(float64(out))
	c.cfg.Metrics.overdue.WithLabelValues(string(d)).Set(float64(late))
	return out
}

// askAbout has the landing state about keys that are due whether it has them: one
// that never got there has no receipt otherwise.
func (c *Custody) askAbout(ctx context.Context, s *site, by time.Time) {
	var late []Key
	c.read(func(st *State) { late = st.Late(s.Destination, by, keysPerEntry, nil) })
	if len(late) == 0 || !s.hold.mayAsk() {
		return
	}
	ids := make([]seal.ID, len(late))
	for i, k := range late {
		ids[i] = k.ID
	}
	if err := c.endKeys(ctx, s, ids); err != nil && ctx.Err() == nil {
		c.cfg.Logger.Warn("a landing does not say what became of seal keys", slog.String("destination", string(s.Destination)), slog.Any("error", err))
	}
}

// folded waits until the state has an entry.
func (c *Custody) folded(ctx context.Context, seq uint64) {
	for {
		c.mu.Lock()
		there, next := c.state.Revision > seq, c.next
		c.mu.Unlock()
		if there {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-next:
		}
	}
}

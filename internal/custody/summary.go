package custody

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/journal"
)

// summaryEvery is how many landing entries a start reads beyond those about what is
// open, at the most: when so many were recorded since the last summary, some gateway
// writes another.
const summaryEvery = 4096

// summary says where a state that is the same may begin to read: at the oldest entry
// about what is open, with what is not read again.
func (s *State) summary() *isogate.Entry {
	from := s.Revision
	for _, k := range s.keys {
		from = min(from, k.seq)
	}
	for _, e := range s.erasures {
		if e.State != ErasureConfirmed {
			from = min(from, e.seq)
		}
	}
	var chains, erasures strings.Builder
	for c, h := range s.chains {
		if h.Number > 0 {
			fmt.Fprintf(&chains, "%s %s %d %s %s %s %d\n", c.Destination, c.Landing, h.Number, h.Digest, h.At.UTC().Format(time.RFC3339Nano), h.Entry, h.Events)
		}
	}
	for _, id := range s.done {
		e := s.erasures[id]
		fmt.Fprintf(&erasures, "%s %d %s\n", id, e.Receipt, e.Settled.UTC().Format(time.RFC3339Nano))
	}
	return &isogate.Entry{Kind: isogate.KindLanding, Actor: actor, Act: ActSummary, Detail: map[string]string{inFrom: strconv.FormatUint(from, 10),
		inUpTo: strconv.FormatUint(s.Revision, 10), inChains: chains.String(), inErasures: erasures.String()}}
}

// restored is the state that a summary begins, and where to read on. What it says of
// erasures is read with get.
func restored(e *isogate.Entry, get func(isogate.EntryID) (isogate.Entry, error)) (*State, uint64, error) {
	s := &State{}
	s.init()
	from, err := strconv.ParseUint(e.Detail[inFrom], 10, 64)
	if err != nil {
		return nil, 0, err
	}
	if s.known, err = strconv.ParseUint(e.Detail[inUpTo], 10, 64); err != nil || from > s.known || s.known > e.Seq {
		return nil, 0, fmt.Errorf("it begins at %q and ends at %q", e.Detail[inFrom], e.Detail[inUpTo])
	}
	for line := range strings.Lines(e.Detail[inChains]) {
		var c Chain
		var h Head
		var at string
		if _, err := fmt.Sscan(line, &c.Destination, &c.Landing, &h.Number, &h.Digest, &at, &h.Entry, &h.Events); err != nil {
			return nil, 0, fmt.Errorf("a chain of it: %w", err)
		}
		if h.At, err = time.Parse(time.RFC3339Nano, at); err != nil {
			return nil, 0, err
		}
		s.chains[c] = &h
	}
	for line := range strings.Lines(e.Detail[inErasures]) {
		var x Erasure
		var at string
		if _, err := fmt.Sscan(line, &x.ID, &x.Receipt, &at); err != nil {
			return nil, 0, fmt.Errorf("an erasure of it: %w", err)
		}
		if x.Settled, err = time.Parse(time.RFC3339Nano, at); err != nil {
			return nil, 0, err
		}
		asked, err := get(x.ID)
		if err != nil {
			return nil, 0, err
		}
		if x.Rows, err = readIdentifiers(&asked); err != nil {
			return nil, 0, err
		}
		x.Destination, x.By, x.Reason, x.At, x.State, x.seq = asked.Destination, asked.Actor, asked.Reason, asked.Time, ErasureConfirmed, asked.Seq
		s.erasures[x.ID] = &x
		s.done = append(s.done, x.ID)
	}
	s.Revision = from
	return s, from, nil
}

// begin puts the newest summary in force, and returns where to read on. A summary
// that cannot be used costs time and nothing else: all is read from the start.
func (c *Custody) begin(ctx context.Context) (uint64, error) {
	f := journal.Filter{Kind: isogate.KindLanding, Newest: true, Limit: lifePage}
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-pause.C:
		}
		list, err := c.cfg.Journal.List(ctx, f)
		if err != nil {
			// As in Follow, a journal that is out of reach now is tried again.
			c.cfg.Logger.Warn("the journal cannot be read; it is tried again", slog.Any("error", err))
			pause.Reset(follow)
			continue
		}
		for i := range list {
			if list[i].Act != ActSummary {
				continue
			}
			s, from, err := restored(&list[i], func(id isogate.EntryID) (isogate.Entry, error) { return c.cfg.Journal.Get(ctx, id) })
			if err != nil {
				c.cfg.Logger.Warn("a summary cannot be used; what the outside holds is read from the start", slog.String("entry", string(list[i].ID)), slog.Any("error", err))
				return 0, nil
			}
			c.mu.Lock()
			c.state = *s
			c.mu.Unlock()
			return from, nil
		}
		if len(list) < f.Limit {
			return 0, nil
		}
		f.After = list[len(list)-1].ID
		pause.Reset(0)
	}
}

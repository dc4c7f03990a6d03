package custody

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/isogate/isogate"
)

// ending is a session whose end a landing is to be told.
type ending struct {
	destination isogate.Destination
	digest      string
	since       time.Time
}

// maxEndings bounds the sessions whose end is told again. One beyond them ends by
// its idle time, as without a word.
const maxEndings = 65536

// maxSession is how long the name of a session may be, in bytes.
const maxSession = 4096

// EndSession ends a session at every landing: its keys are not used again, and the
// landings are told to destroy them. For each landing that was told there is an
// entry. An error says which were not reached; they are told again until they are,
// and their keys end with the session's longest life in any case.
//
// promise: P16
func (c *Custody) EndSession(ctx context.Context, session string) error {
	if session == "" || len(session) > maxSession {
		return fmt.Errorf("a session's name has 1 to %d bytes", maxSession)
	}
	var all []ending
	now := c.cfg.Now()
	for d, s := range *c.sites.Load() {
		for i := range s.digests {
			digest := s.digests[i].of(session)
			s.hold.end(digest)
			// By what it was called before a rotation of keys it is told where some key says so.
			if i == 0 || c.isOut(digest) {
				all = append(all, ending{d, digest, now})
			}
		}
	}
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, e := range all {
		wg.Go(func() { errs[i] = c.end(ctx, e) })
	}
	wg.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, err := range errs {
		if err != nil && len(c.unended) < maxEndings {
			c.unended = append(c.unended, all[i])
		}
	}
	return errors.Join(errs...)
}

// isOut reports whether a key of a session is out.
func (c *Custody) isOut(digest string) (out bool) {
	c.read(func(st *State) { out = len(st.sessions[digest]) > 0 })
	return out
}

// end tells a landing that a session is over, and records that.
func (c *Custody) end(ctx context.Context, e ending) error {
	s, err := c.site(e.destination)
	if err != nil {
		return nil //nolint:nilerr // a landing that is none any more has nothing to be told
	}
	if err := c.endSession(ctx, s, e.digest); err != nil {
		return fmt.Errorf("destination %s was not told that the session is over; it is told again: %w", e.destination, err)
	}
	entry := &isogate.Entry{Kind: isogate.KindLanding, Actor: actor, Act: ActEnded, Destination: e.destination, Detail: map[string]string{inSession: e.digest}}
	if err := c.cfg.Journal.Append(ctx, entry); err != nil {
		return fmt.Errorf("destination %s was told that the session is over; that is not recorded: %w", e.destination, err)
	}
	signal(s.hold.ask) // for the receipt
	return nil
}

// endAgain tells a landing what it was not told.
func (c *Custody) endAgain(ctx context.Context, s *site) {
	c.mu.Lock()
	var mine, others []ending
	for _, e := range c.unended {
		if e.destination == s.Destination {
			mine = append(mine, e)
		} else {
			others = append(others, e)
		}
	}
	c.unended = others
	c.mu.Unlock()
	for i, e := range mine {
		if err := c.end(ctx, e); err != nil {
			c.cfg.Logger.Warn("the end of a session is not told", slog.String("destination", string(e.destination)), slog.Any("error", err))
			c.mu.Lock()
			// The longest session is over by itself after a day.
			for _, e := range mine[i:] {
				if c.cfg.Now().Sub(e.since) < 24*time.Hour && len(c.unended) < maxEndings {
					c.unended = append(c.unended, e)
				}
			}
			c.mu.Unlock()
			return
		}
	}
}

package isogatetest

import (
	"context"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/journal"
)

// Follower has a ledger follow a journal.
type Follower struct{ *journal.Journal }

// Follow implements [consent.Journal].
func (f Follower) Follow(ctx context.Context, from uint64, every time.Duration, take func(consent.Batch) error) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	var after isogate.EntryID
	for {
		at := time.Now()
		entries, err := f.List(ctx, journal.Filter{Kind: isogate.KindConsent, After: after, Limit: 1 << 20})
		if err == nil {
			if len(entries) > 0 {
				after = entries[len(entries)-1].ID
			}
			if err := take(consent.Batch{Entries: entries, At: at}); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

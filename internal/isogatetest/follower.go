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
	return f.Reader.Follow(ctx, isogate.KindConsent, from, every, func(b journal.Batch) error { return take(consent.Batch(b)) })
}

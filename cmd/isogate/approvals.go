package main

import (
	"context"
	"fmt"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/change"
	"github.com/isogate/isogate/internal/journal"
)

// packsConfig is what it takes for a pack to be loaded.
type packsConfig struct {
	// Approvals is how many people who did not propose a pack must have approved it at
	// the Hub before it is loaded; 0, the default, loads what is on disk.
	Approvals int `yaml:"approvals"`
}

// maxApprovals is more people than anybody has for it.
const maxApprovals = 10

// checkPacks reports what is wrong about approvals.
func (c *config) checkPacks(bad func(format string, args ...any)) {
	if n := c.Packs.Approvals; n < 0 || n > maxApprovals {
		bad("packs.approvals: must be 0 to %d; 0 loads what is on disk, 1 is one person beside the author", maxApprovals)
	}
}

// journalPacks is the journal as what knows of changes of policy sees it.
type journalPacks struct{ *journal.Journal }

// Follow implements [change.Journal].
func (j journalPacks) Follow(ctx context.Context, from uint64, every time.Duration, f func(change.Batch) error) error {
	return j.Reader.Follow(ctx, isogate.KindPack, from, every, func(b journal.Batch) error { return f(change.Batch(b)) })
}

// readApprovals is how long reading approvals from the journal may take.
const readApprovals = 30 * time.Second

// approved says why a pack must not be loaded, or nil. It asks the journal itself, and
// not what this gateway has heard of it: an approval or a rejection that is durable
// anywhere counts.
//
// promise: P09
func (s *server) approved(ctx context.Context, digest string) error {
	if s.cfg.Packs.Approvals == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, readApprovals)
	defer cancel()
	state, err := change.Read(ctx, journalPacks{s.journal})
	if err != nil {
		return fmt.Errorf("packs.approvals: %w", err)
	}
	return state.Approved(digest, s.cfg.Packs.Approvals)
}

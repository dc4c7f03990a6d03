package hub

import (
	"context"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/trail"
)

// counted is a trail that answers only while it has what it is asked about: of what a trail has
// not read yet, nobody may be told that it never was, and nobody revokes as unused what was used
// this morning. Its answer is then [trail.ErrBehind].
type counted struct{ Trail }

// farBehind is how many entries a trail may be behind. A busy gateway writes some thousands
// between two looks.
const farBehind = 20_000

// missing says that the trail lacks more than what has just come in.
func (c counted) missing() error {
	st := c.Standing()
	if st.Rebuilding || st.Of > st.Next+farBehind || !st.Behind.IsZero() && time.Since(st.Behind) > staleTrail {
		return trail.ErrBehind
	}
	return nil
}

// Count implements [Trail].
func (c counted) Count(ctx context.Context, q trail.Query) (trail.Count, error) {
	if err := c.missing(); err != nil {
		return trail.Count{}, err
	}
	return c.Trail.Count(ctx, q)
}

// Tally implements [Trail].
func (c counted) Tally(ctx context.Context, q trail.Query, by ...trail.By) ([]trail.Group, error) {
	if err := c.missing(); err != nil {
		return nil, err
	}
	return c.Trail.Tally(ctx, q, by...)
}

// Usage implements [Trail].
func (c counted) Usage(ctx context.Context, q trail.Query) (trail.Usage, error) {
	if err := c.missing(); err != nil {
		return trail.Usage{}, err
	}
	return c.Trail.Usage(ctx, q)
}

// LastUses implements [Trail].
func (c counted) LastUses(ctx context.Context, consents []isogate.EntryID) (map[isogate.EntryID]time.Time, error) {
	if err := c.missing(); err != nil {
		return nil, err
	}
	return c.Trail.LastUses(ctx, consents)
}

// List implements [Trail].
func (c counted) List(ctx context.Context, q trail.Query, p trail.Paging) (trail.Page, error) {
	if err := c.missing(); err != nil {
		return trail.Page{}, err
	}
	return c.Trail.List(ctx, q, p)
}

package hub

import (
	"context"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/trail"
)

// Trail is what left and why, counted and findable; [trail.Trail] is one.
type Trail interface {
	List(ctx context.Context, q trail.Query, p trail.Paging) (trail.Page, error)
	Get(ctx context.Context, id isogate.EntryID) (trail.Row, error)
	Count(ctx context.Context, q trail.Query) (trail.Count, error)
	Tally(ctx context.Context, q trail.Query, by ...trail.By) ([]trail.Group, error)
	Facets(ctx context.Context, q trail.Query) (trail.Facets, error)
	Usage(ctx context.Context, q trail.Query) (trail.Usage, error)
	LastUses(ctx context.Context, consents []isogate.EntryID) (map[isogate.EntryID]time.Time, error)
	Standing() trail.Standing
	Watch() (next uint64, more <-chan struct{})
}

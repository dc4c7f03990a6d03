package hub

import (
	"context"
	"slices"
	"sync"

	"github.com/isogate/isogate/internal/trail"
)

// newest are the newest entries of a kind that has few, kept from one page to the
// next, so that what came before is not looked for again in a journal of millions.
// Each is asked with one query alone. The zero value has none yet.
type newest struct {
	mu   sync.Mutex
	next uint64      // the first seq that was not looked at; 0 before the first look
	rows []trail.Row // newest first
}

// newests are those that pages ask for.
type newests struct{ packs, keys, acts newest }

// maxLookedAt is how many of the newest entries of a kind are looked at.
const maxLookedAt = trail.MaxLimit

// list is the newest entries that a query selects, newest first. Nobody changes what it returns.
func (n *newest) list(ctx context.Context, t Trail, q trail.Query) ([]trail.Row, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	next := t.Standing().Next
	if n.next > 0 && next >= n.next { // else the trail begins anew
		from := n.next
		page, err := t.List(ctx, q, trail.Paging{From: &from, Limit: maxLookedAt})
		if err != nil {
			return nil, err
		}
		if len(page.Rows) < maxLookedAt {
			n.take(page.Rows, next)
			return n.rows, nil
		}
	}
	page, err := t.List(ctx, q, trail.Paging{Limit: maxLookedAt})
	if err != nil {
		return nil, err
	}
	n.rows, n.next = nil, 0
	slices.Reverse(page.Rows)
	n.take(page.Rows, next)
	return n.rows, nil
}

// take puts newer rows, oldest first, before those that there are.
func (n *newest) take(rows []trail.Row, next uint64) {
	n.next = next
	if len(rows) == 0 {
		return
	}
	n.next = max(next, rows[len(rows)-1].Entry.Seq+1)
	rows = slices.Clone(rows)
	slices.Reverse(rows)
	rows = append(rows, n.rows...)
	n.rows = rows[:min(len(rows), maxLookedAt)]
}

package hub

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/remote"
	"github.com/isogate/isogate/internal/trail"
)

// Usage is what really left by a grant.
type Usage struct {
	Used
	Rows   []RowUsage   `json:"rows"`
	Labels []LabelUsage `json:"labels"` // what left in plaintext first
}

// Used is how often something let data out, and when.
type Used struct {
	Releases uint64     `json:"releases"`
	Bytes    int64      `json:"bytes"`           // of bodies, as they left
	First    *time.Time `json:"first,omitempty"` // absent: never
	Last     *time.Time `json:"last,omitempty"`
	// Idle says that nothing left for longer than 30 days, while it might have.
	Idle bool `json:"idle"`
}

// RowUsage is that of one row. Where several rows have a host and port in common, what
// left is of the one that names the most of it.
type RowUsage struct {
	Row string `json:"row"`
	Used
}

// LabelUsage is how values of a label left.
type LabelUsage struct {
	Label  isogate.Label  `json:"label"`
	Action isogate.Action `json:"action"`
	Values uint64         `json:"values"`
	Last   *time.Time     `json:"last,omitempty"`
}

// idleAfter is after what time a way out that nobody uses should be looked at.
const idleAfter = 30 * 24 * time.Hour

// idle reports whether something that may be used since then, and was last, is not used any more.
func idle(since, last, now time.Time) bool {
	if last.Before(since) {
		last = since
	}
	return now.Sub(last) > idleAfter
}

func used(c trail.Count, since, now time.Time) Used {
	return Used{Releases: c.Released, Bytes: c.BytesOut, First: instant(c.First), Last: instant(c.Last), Idle: idle(since, c.Last, now)}
}

func (u *Used) add(more Used) {
	u.Releases, u.Bytes = u.Releases+more.Releases, u.Bytes+more.Bytes
	if more.First != nil && (u.First == nil || more.First.Before(*u.First)) {
		u.First = more.First
	}
	if more.Last != nil && (u.Last == nil || more.Last.After(*u.Last)) {
		u.Last = more.Last
	}
}

// usageOf is what left by a grant; nil where nobody knows.
func (k clerk) usageOf(ctx context.Context, g *consent.Grant) *Usage {
	if k.hub.trail == nil {
		return nil
	}
	u, err := UsageOf(ctx, k.hub.trail, g, k.now)
	if err != nil {
		k.hub.unknown(g.ID, err)
		return nil
	}
	return u
}

// UsageOf is what left by a grant, as a trail knows it at an instant. Its errors are
// the trail's.
func UsageOf(ctx context.Context, t Trail, g *consent.Grant, now time.Time) (*Usage, error) {
	q := trail.Query{Kind: isogate.KindEgress, Consent: g.ID, Decision: isogate.Released.String()}
	all, err := t.Usage(ctx, q)
	if err != nil {
		return nil, err
	}
	hosts, err := t.Tally(ctx, q, trail.ByRemote)
	if err != nil {
		return nil, err
	}
	out := &Usage{Used: used(all.Count, g.At, now), Rows: make([]RowUsage, len(g.Rows)), Labels: []LabelUsage{}}
	for i, row := range g.Rows {
		out.Rows[i].Row = row.String()
		if row.Kind == remote.TransitWay { // a grant to a transit has that one row
			out.Rows[i].Used = out.Used
		}
	}
	for _, host := range hosts {
		if i := rowOf(g.Rows, host.Key[0]); i >= 0 {
			out.Rows[i].add(used(host.Count, g.At, now))
		}
	}
	for i := range out.Rows {
		var last time.Time
		if l := out.Rows[i].Last; l != nil {
			last = *l
		}
		out.Rows[i].Idle = idle(g.At, last, now)
	}
	for _, l := range all.Labels {
		out.Labels = append(out.Labels, LabelUsage{l.Label, l.Action, l.Values, instant(l.Last)})
	}
	slices.SortStableFunc(out.Labels, func(a, b LabelUsage) int {
		return cmp.Or(cmp.Compare(b.Action, a.Action), cmp.Compare(a.Label, b.Label))
	})
	return out, nil
}

// rowOf is the index of the row that a remote, as entries name it (host:port), was reached
// by: the one that names the most of it; -1 if none does.
func rowOf(rows []remote.Row, place string) int {
	host, port, err := net.SplitHostPort(place)
	if err != nil {
		return -1
	}
	best := -1
	for i, r := range rows {
		switch {
		case r.Kind == remote.TransitWay || strconv.Itoa(int(r.Port)) != port || !r.Allows(r.Kind, host, r.Port, r.Path):
		case best < 0, rows[best].Wildcard() && (!r.Wildcard() || len(r.Host) > len(rows[best].Host)):
			best = i
		}
	}
	return best
}

// unknown notes why it is not known of what use a grant is.
func (h *Hub) unknown(grant isogate.EntryID, err error) {
	if !errors.Is(err, trail.ErrBehind) {
		h.logger.Warn("it cannot be told of what use a grant is", slog.String("grant", string(grant)), slog.Any("error", err))
	}
}

// lastUses is when grants were last used: the zero time is never, and of one that is
// not there nobody knows.
type lastUses map[isogate.EntryID]time.Time

// lastUses asks when these were last used.
func (k clerk) lastUses(ctx context.Context, grants []isogate.EntryID) lastUses {
	uses := lastUses{}
	if k.hub.trail == nil {
		return uses
	}
	used, err := k.hub.trail.LastUses(ctx, grants)
	if err != nil {
		k.hub.unknown("", err)
		return uses
	}
	for _, id := range grants {
		uses[id] = used[id]
	}
	return uses
}

// of is when a grant was last used, and whether anybody knows.
func (u lastUses) of(id isogate.EntryID) (last time.Time, known bool) {
	last, known = u[id]
	return last, known
}

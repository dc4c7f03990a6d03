package hub

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/trail"
)

var overviewPages = []page{
	{pattern: "GET /{$}", need: access.Read, stale: true, do: (*Hub).overview},
}

// Overview answers the first questions: is all well, what left lately, what waits
// for somebody?
type Overview struct {
	At    time.Time `json:"at"`
	Span  string    `json:"span"`  // day, week or month
	Since time.Time `json:"since"` // where the span begins: on an hour, or on a day
	// Notices are what is not as it should be, the worst first.
	Notices []Notice `json:"notices"`
	// Left is what left since then; absent while that is not known.
	Left *Left `json:"left,omitempty"`
	// Waiting are the consents that wait for an answer, the oldest first.
	Waiting []Waiting `json:"waiting"`
	// Ending is what lets data out and is over within 30 days.
	Ending  []Ending        `json:"ending"`
	Journal JournalStanding `json:"journal"`
	// Overdue is how many seal keys outside have no receipt of their destruction in time, and
	// Erasures how many identifiers' erasures are open.
	Overdue  int           `json:"receipts_overdue"`
	Erasures int           `json:"erasures_open"`
	Pack     *PackStanding `json:"pack,omitempty"`
}

// Notice is something that somebody should look at.
type Notice struct {
	Grave bool   `json:"grave"` // something does not work, or a promise is not kept; else it will soon be so, or may be
	What  string `json:"what"`
	Path  string `json:"path,omitempty"` // the page that says more
}

// Waiting is a consent that somebody waits for.
type Waiting struct {
	ID    isogate.EntryID `json:"id"`
	Party consent.Party   `json:"party"`
	Rows  int             `json:"rows"`
	Since time.Time       `json:"since"`
	Ends  time.Time       `json:"ends"`
	// Status is requested or deferred, and Second says that one administrator has agreed and another must.
	Status string `json:"status"`
	Second bool   `json:"second,omitempty"`
}

// JournalStanding is how far the journal's proofs and its projection reach.
type JournalStanding struct {
	Entries uint64 `json:"entries"` // as the trail knows them
	// Checkpoint is the newest; absent before the first, or while it cannot be read.
	Checkpoint *CheckpointStanding `json:"checkpoint,omitempty"`
	Unsealed   uint64              `json:"unsealed"` // entries behind it
	// Last is the newest entry.
	Last   isogate.EntryID `json:"last,omitempty"`
	LastAt *time.Time      `json:"last_at,omitempty"`
	// Counted says that all entries are in the counts, and Behind since when they are not.
	Counted bool       `json:"counted"`
	Behind  *time.Time `json:"behind,omitempty"`
	// Missing and Unreadable are entries that the journal should have and has not, or has
	// and cannot read.
	Missing    uint64 `json:"missing"`
	Unreadable uint64 `json:"unreadable"`
}

// endsSoon is what counts as soon for a rule, a grant and a certificate.
const endsSoon = 30 * 24 * time.Hour

// Overview is what there is to see first.
func (h *Hub) Overview(ctx context.Context, s *consent.State, span string, now time.Time) (*Overview, error) {
	o := &Overview{At: now.UTC(), Span: span, Since: spanStart(span, now), Waiting: waits(s, now), Ending: h.ending(s, now)}
	if h.running != nil {
		pack := h.running.Pack()
		o.Pack = &pack
	}
	var err error
	if o.Journal, err = h.journalStanding(ctx); err != nil {
		return nil, err
	}
	if h.custody != nil {
		for _, l := range h.custody.Landings() {
			o.Overdue += l.KeysOverdue
			o.Erasures += l.ErasuresOpen
		}
	}
	if h.trail != nil {
		switch o.Left, err = h.leftSince(ctx, span, o.Since); {
		case errors.Is(err, trail.ErrBehind):
			o.Left = nil
		case err != nil:
			return nil, err
		}
	}
	o.Notices, err = h.notices(ctx, now)
	return o, err
}

// journalStanding is how far proofs and counts reach.
func (h *Hub) journalStanding(ctx context.Context) (JournalStanding, error) {
	var j JournalStanding
	if h.trail != nil {
		st := h.trail.Standing()
		j.Entries, j.Counted, j.Behind, j.Missing, j.Unreadable = st.Of, st.Current(), instant(st.Behind), st.Missing, st.Unreadable
		newest, err := h.trail.List(ctx, trail.Query{}, trail.Paging{Limit: 1})
		if err != nil && !errors.Is(err, trail.ErrBehind) {
			return j, err
		}
		if len(newest.Rows) == 1 && !newest.Rows[0].Unreadable {
			e := newest.Rows[0].Entry
			j.Last, j.LastAt = e.ID, instant(e.Time)
		}
	}
	if h.running != nil {
		switch c, err := h.running.Checkpoint(ctx); {
		case err != nil && ctx.Err() != nil:
			return j, err
		case err == nil && c.Size > 0: // what keeps it from being read is said by Ready
			j.Checkpoint = &c
		}
	}
	if j.Checkpoint != nil {
		j.Entries = max(j.Entries, j.Checkpoint.Size) // the trail was asked first
		j.Unsealed = j.Entries - j.Checkpoint.Size
	}
	return j, nil
}

// overviewSpans are the spans that may be asked for.
var overviewSpans = []struct{ Name, Title, Last string }{{"day", "Day", "the last 24 hours"}, {"week", "Week", "the last 7 days"}, {"month", "Month", "the last 30 days"}}

// spanStart is where a span that ends now begins: whole hours for a day, whole days
// for the others, so that its columns are whole ones.
func spanStart(span string, now time.Time) time.Time {
	now = now.UTC()
	switch span {
	case "day":
		return now.Truncate(time.Hour).Add(-23 * time.Hour)
	case "month":
		return now.Truncate(24*time.Hour).AddDate(0, 0, -29)
	default:
		return now.Truncate(24*time.Hour).AddDate(0, 0, -6)
	}
}

// readSpan reads ?span=.
func readSpan(s string) (string, error) {
	if s == "" {
		return "week", nil
	}
	for _, o := range overviewSpans {
		if o.Name == s {
			return s, nil
		}
	}
	return "", badRequest("the parameter span is none of day, week and month")
}

// noSuchPage answers for what the Hub does not have.
func (h *Hub) noSuchPage(*visit) error {
	return problem(http.StatusNotFound, "not-found", "the Hub has no such page; use the navigation")
}

package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/custody"
	"github.com/isogate/isogate/internal/journal"
	"github.com/isogate/isogate/internal/trail"
)

var exploreRoutes = []route{
	{method: "GET", path: "/entries", need: access.Read, stale: true, do: (*Hub).listEntries},
	{method: "GET", path: "/entries/count", need: access.Read, stale: true, do: (*Hub).countEntries},
	{method: "GET", path: "/entries/tally", need: access.Read, stale: true, do: (*Hub).tallyEntries},
	{method: "GET", path: "/entries/{id}", need: access.Read, stale: true, do: (*Hub).showEntry},
	{method: "GET", path: "/entries/{id}/proof", need: access.Read, stale: true, do: (*Hub).proveEntry},
}

// EntryRow is one entry in a list, and how it ended.
type EntryRow struct {
	// Seq is the number of the entry, also of one that cannot be read.
	Seq uint64 `json:"seq"`
	// Entry is absent where the journal's row cannot be read.
	Entry *isogate.Entry `json:"entry,omitempty"`
	End   *EntryEnd      `json:"end,omitempty"`
	// Open says that it is a release of which no end is recorded.
	Open bool `json:"open,omitempty"`
}

// EntryEnd is how a release ended.
type EntryEnd struct {
	Seq        uint64 `json:"seq"` // of the entry that says so
	Status     int    `json:"status"`
	DurationUS int64  `json:"duration_us"`
	Reason     string `json:"reason,omitempty"`
}

// EntryList is a page of entries.
type EntryList struct {
	Entries []EntryRow `json:"entries"`
	Next    string     `json:"next,omitempty"` // continues the list as ?after=
}

// EntryCount is what was selected, altogether.
type EntryCount struct {
	Entries    uint64            `json:"entries"`
	Released   uint64            `json:"released"`
	Refused    uint64            `json:"refused"`
	Open       uint64            `json:"open"`   // releases without a recorded end
	Failed     uint64            `json:"failed"` // releases that ended with a status of 500 or more
	BytesIn    int64             `json:"bytes_in"`
	BytesOut   int64             `json:"bytes_out"`
	DurationUS int64             `json:"duration_us"` // of releases that ended, altogether
	Values     map[string]uint64 `json:"values"`      // by action; of the fields that were asked for
	First      *time.Time        `json:"first,omitempty"`
	Last       *time.Time        `json:"last,omitempty"`
	// Unlisted is how many entries may have the text in a name that is not kept for looking up.
	Unlisted uint64 `json:"unlisted,omitempty"`
}

// EntryGroup is what was selected and has one key.
type EntryGroup struct {
	Key []string `json:"key"` // one element for each "by"
	EntryCount
}

// EntryTally is what was selected, by something.
type EntryTally struct {
	Groups []EntryGroup `json:"groups"`
}

// EntryDetail is one entry in full.
type EntryDetail struct {
	// Entry is the entry's exact bytes.
	Entry json.RawMessage `json:"entry"`
	// Sealed says that it is under the newest checkpoint, so that there is a proof.
	Sealed bool      `json:"sealed"`
	End    *EntryEnd `json:"end,omitempty"`
	Open   bool      `json:"open,omitempty"`
	// Life is what became outside of what left; absent for what is no egress.
	Life *custody.Life `json:"life,omitempty"`
}

// EntryProof shows that an entry is part of the journal.
type EntryProof struct {
	ID       isogate.EntryID `json:"id"`
	Index    uint64          `json:"index"`
	Hashes   []string        `json:"hashes"`   // hexadecimal
	Proof    string          `json:"proof"`    // C2SP tlog-proof, which isogate journal verify checks
	Verifier string          `json:"verifier"` // the key that this Hub says is the journal's; bring your own
}

// tallyBy are the dimensions that can be counted by.
var tallyBy = map[string]trail.By{"hour": trail.ByHour, "day": trail.ByDay, "kind": trail.ByKind, "source": trail.BySource, "purpose": trail.ByPurpose,
	"transit": trail.ByTransit, "destination": trail.ByDestination, "remote": trail.ByRemote, "decision": trail.ByDecision, "consent": trail.ByConsent,
	"pack": trail.ByPack, "method": trail.ByMethod, "actor": trail.ByActor, "act": trail.ByAct, "family": trail.ByFamily, "branch": trail.ByBranch,
	"label": trail.ByLabel, "path": trail.ByPath, "action": trail.ByAction, "handling": trail.ByHandling, "rule": trail.ByRule}

// filterOf reads the filter of a call, beside parameters of its own.
func (c *call) filterOf(also ...string) (*filter, url.Values, error) {
	q, err := url.ParseQuery(c.URL.RawQuery)
	if err != nil {
		return nil, nil, badRequest("the query is not well-formed; percent-encode what is not a letter or digit")
	}
	f := readFilter(q, c.now, also...)
	return f, q, f.err()
}

func (h *Hub) listEntries(c *call) (*answer, error) {
	t, err := h.left()
	if err != nil {
		return nil, err
	}
	f, q, err := c.filterOf("after", "limit", "from")
	if err != nil {
		return nil, err
	}
	p, err := readAfter(q.Get("after"))
	if err != nil {
		return nil, err
	}
	if s := q.Get("limit"); s != "" {
		if p.Limit, err = strconv.Atoi(s); err != nil || p.Limit < 1 || p.Limit > trail.MaxLimit {
			return nil, badRequest("the parameter limit is not a number from 1 to %d", trail.MaxLimit)
		}
	}
	if s := q.Get("from"); s != "" {
		from, err := strconv.ParseUint(s, 10, 63)
		if err != nil {
			return nil, badRequest("the parameter from is not the number of an entry")
		}
		p.From = &from
	}
	list, err := t.List(c.Context(), f.query, p)
	if err != nil {
		return nil, trailFailed(err)
	}
	out := EntryList{Entries: []EntryRow{}, Next: list.Next}
	for i := range list.Rows {
		row := &list.Rows[i]
		v := EntryRow{Seq: row.Entry.Seq, Open: row.Open(), End: viewEnd(row.End)}
		if !row.Unreadable {
			v.Entry = &row.Entry
		}
		out.Entries = append(out.Entries, v)
	}
	return ok(out)
}

func viewEnd(e *trail.End) *EntryEnd {
	if e == nil {
		return nil
	}
	return &EntryEnd{Seq: e.Seq, Status: e.Status, DurationUS: e.Took.Microseconds(), Reason: e.Reason}
}

func viewCount(n *trail.Count) EntryCount {
	v := EntryCount{Entries: n.Rows, Released: n.Released, Refused: n.Refused, Open: n.Open, Failed: n.Failed, BytesIn: n.BytesIn, BytesOut: n.BytesOut,
		DurationUS: n.Took.Microseconds(), Values: map[string]uint64{}, First: instant(n.First), Last: instant(n.Last), Unlisted: n.Unlisted}
	for a, values := range n.Values {
		if values > 0 {
			v.Values[isogate.Action(a).String()] = values
		}
	}
	return v
}

func (h *Hub) countEntries(c *call) (*answer, error) {
	t, err := h.left()
	if err != nil {
		return nil, err
	}
	f, _, err := c.filterOf()
	if err != nil {
		return nil, err
	}
	n, err := t.Count(c.Context(), f.query)
	if err != nil {
		return nil, trailFailed(err)
	}
	return ok(viewCount(&n))
}

func (h *Hub) tallyEntries(c *call) (*answer, error) {
	t, err := h.left()
	if err != nil {
		return nil, err
	}
	f, q, err := c.filterOf("by")
	if err != nil {
		return nil, err
	}
	var by []trail.By
	for _, name := range q["by"] {
		b, known := tallyBy[name]
		if !known || slices.Contains(by, b) {
			return nil, badRequest("the parameter by is none of %v, or is there twice", sortedBy())
		}
		by = append(by, b)
	}
	if len(by) == 0 || len(by) > 3 {
		return nil, badRequest("say by what to count, at most by three: by=day&by=family; %v", sortedBy())
	}
	groups, err := t.Tally(c.Context(), f.query, by...)
	if err != nil {
		return nil, trailFailed(err)
	}
	out := EntryTally{Groups: []EntryGroup{}}
	for i := range groups {
		out.Groups = append(out.Groups, EntryGroup{Key: groups[i].Key, EntryCount: viewCount(&groups[i].Count)})
	}
	return ok(out)
}

func sortedBy() []string {
	names := make([]string, 0, len(tallyBy))
	for n := range tallyBy {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

func (h *Hub) showEntry(c *call) (*answer, error) {
	if _, err := c.parameters(nil); err != nil {
		return nil, err
	}
	ctx, stop := context.WithTimeout(c.Context(), lookFor)
	defer stop()
	seq, body, err := h.findEntry(ctx, c.PathValue("id"))
	if err != nil {
		return nil, err
	}
	e, err := journal.Decode(body)
	if err != nil {
		return nil, err
	}
	cp, err := h.journal.Checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	out := EntryDetail{Entry: body, Sealed: seq < cp.Size}
	row := trail.Row{Entry: e}
	if e.Stage == isogate.StageOpened && h.trail != nil {
		if row, err = h.trail.Get(ctx, e.ID); err != nil {
			return nil, trailFailed(err)
		}
		out.End, out.Open = viewEnd(row.End), row.Open()
	}
	if e.Kind == isogate.KindEgress {
		if out.Life, err = custody.ReadLife(ctx, h.journal, &row.Entry); err != nil {
			return nil, fmt.Errorf("entry %s: %w", e.ID, err)
		}
	}
	return ok(out)
}

func (h *Hub) proveEntry(c *call) (*answer, error) {
	if _, err := c.parameters(nil); err != nil {
		return nil, err
	}
	p, err := h.proofOf(c.Context(), c.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if p.Waiting {
		return nil, notSealed(p.ID)
	}
	return ok(EntryProof{ID: p.ID, Index: p.Index, Hashes: slices.Concat([]string{}, p.Hashes), Proof: p.Text, Verifier: p.Verifier})
}

// notSealed says that there is no proof of an entry yet.
func notSealed(id isogate.EntryID) error {
	return conflict("entry %s is newer than the newest checkpoint, so that there is no proof yet; try again in a moment", id)
}

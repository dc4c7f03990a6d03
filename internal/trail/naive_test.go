package trail

import (
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/isogate/isogate"
)

// naiveRow is what a row must be: the entry with its end folded in, as whoever reads the journal from its
// beginning finds it.
type naiveRow struct {
	e      isogate.Entry
	at     time.Time
	end    *isogate.Entry // the entry that ended it
	status int
	took   int64
}

func (r *naiveRow) open() bool { return r.e.Stage == isogate.StageOpened && r.end == nil }

// naiveFold makes the rows of a whole journal.
func naiveFold(entries []isogate.Entry) (rows []*naiveRow, stray uint64) {
	byID := map[isogate.EntryID]*naiveRow{}
	for i := range entries {
		e := entries[i]
		id, _ := ulid.ParseStrict(string(e.ID))
		if e.Kind != isogate.KindEgress || e.Stage != isogate.StageClosed {
			r := &naiveRow{e: e, at: time.UnixMilli(int64(id.Time())).UTC(), status: e.Status, took: e.DurationUS}
			rows = append(rows, r)
			byID[e.ID] = r
			continue
		}
		end := func(of isogate.EntryID, status int, took int64, whole bool) {
			r := byID[of]
			if r == nil || r.e.Stage != isogate.StageOpened {
				stray++
				return
			}
			if r.end != nil {
				return
			}
			r.end, r.status, r.took = &entries[i], status, took
			if whole && r.e.Streamed {
				r.e.Fields, r.e.BytesIn, r.e.BytesOut = e.Fields, e.BytesIn, e.BytesOut
				if e.DigestOut != "" {
					r.e.DigestOut = e.DigestOut
				}
			}
		}
		if e.Of != "" {
			end(e.Of, e.Status, e.DurationUS, true)
		}
		for _, c := range e.Closes {
			end(c.Of, c.Status, c.DurationUS, false)
		}
	}
	return rows, stray
}

// naiveField reports whether a query selects a field.
func naiveField(q *Query, f *isogate.Field) bool {
	label := q.Label == "" || q.Label.Match(f.Label) ||
		(f.Label == isogate.Unclassified && q.Label == "unclassified") || (f.Label == isogate.Opaque && q.Label == "opaque")
	return label && (q.Path == "" || f.Path == q.Path) && (q.Handling == "" || f.Handling == q.Handling) && (q.Rule == "" || f.Rule == q.Rule) &&
		(len(q.Actions) == 0 || slices.Contains(q.Actions, f.Action))
}

func naiveFields(q *Query, e *isogate.Entry) (fields []isogate.Field) {
	for i := range e.Fields {
		if naiveField(q, &e.Fields[i]) {
			fields = append(fields, e.Fields[i])
		}
	}
	return fields
}

func (r *naiveRow) selected(q *Query) bool {
	e := &r.e
	is := func(want, got string) bool { return want == "" || want == got }
	if !q.Since.IsZero() && r.at.Before(q.Since.Truncate(time.Millisecond)) || !q.Before.IsZero() && !r.at.Before(q.Before.Truncate(time.Millisecond)) {
		return false
	}
	if !is(string(q.Kind), string(e.Kind)) || !is(string(q.Source), string(e.Source)) || !is(q.Purpose, e.Purpose) || !is(string(q.Transit), string(e.Transit)) ||
		len(q.Acts) > 0 && !slices.Contains(q.Acts, e.Act) ||
		!is(q.Decision, e.Decision) || !is(q.Pack, e.Pack) || q.App != "" && string(e.Source) != "app/"+q.App {
		return false
	}
	if d := string(q.Destination); d != "" && d != string(e.Destination) && d != e.Remote {
		return false
	}
	if q.Consent != "" && q.Consent != e.Consent && (e.Kind != isogate.KindConsent || e.ID != q.Consent) {
		return false
	}
	if q.Open && !r.open() {
		return false
	}
	if (q.Label != "" || q.Path != "" || len(q.Actions) > 0 || q.Handling != "" || q.Rule != "") && len(naiveFields(q, e)) == 0 {
		return false
	}
	if q.Text == "" {
		return true
	}
	names := []string{string(e.Source), e.Purpose, string(e.Transit), e.Remote, string(e.Destination), e.Method, e.URL, e.Actor, e.Act}
	for _, f := range e.Fields {
		names = append(names, f.Path, string(f.Label), f.Rule)
	}
	return slices.ContainsFunc(names, func(s string) bool { return strings.Contains(strings.ToLower(s), strings.ToLower(q.Text)) })
}

func (c *Count) naive(r *naiveRow, fields []isogate.Field) {
	c.Rows++
	if r.e.Kind == isogate.KindEgress && r.e.Decision == "released" {
		c.Released++
	}
	if r.e.Kind == isogate.KindEgress && r.e.Decision == "refused" {
		c.Refused++
	}
	if r.open() {
		c.Open++
	}
	if r.end != nil {
		c.Took += time.Duration(r.took) * time.Microsecond
		if r.status >= 500 {
			c.Failed++
		}
	}
	c.BytesIn += r.e.BytesIn
	c.BytesOut += r.e.BytesOut
	for _, f := range fields {
		c.Values[f.Action] += uint64(f.N)
	}
	if c.First.IsZero() || r.at.Before(c.First) {
		c.First = r.at
	}
	if r.at.After(c.Last) {
		c.Last = r.at
	}
}

func naiveCount(rows []*naiveRow, q Query) (c Count) {
	for _, r := range rows {
		if r.selected(&q) {
			c.naive(r, naiveFields(&q, &r.e))
		}
	}
	return c
}

// naiveKeys are the keys that a row has, and which fields have each of them.
func naiveKeys(r *naiveRow, fields []isogate.Field, by []By) map[string][]isogate.Field {
	fieldly := slices.ContainsFunc(by, func(b By) bool { return b >= ByFamily })
	key := func(f *isogate.Field) string {
		parts := make([]string, len(by))
		for i, b := range by {
			parts[i] = naiveKey(r, f, b)
		}
		return strings.Join(parts, "\x00")
	}
	keys := map[string][]isogate.Field{}
	if !fieldly {
		keys[key(nil)] = fields
		return keys
	}
	for i := range fields {
		k := key(&fields[i])
		keys[k] = append(keys[k], fields[i])
	}
	return keys
}

func naiveKey(r *naiveRow, f *isogate.Field, b By) string {
	e := &r.e
	segments := func(n int) string {
		s := strings.Split(string(f.Label), ".")
		return strings.Join(s[:min(n, len(s))], ".")
	}
	switch b {
	case ByHour:
		return r.at.Truncate(time.Hour).Format("2006-01-02T15:04:05Z")
	case ByDay:
		return r.at.Format("2006-01-02")
	case ByKind:
		return string(e.Kind)
	case BySource:
		return string(e.Source)
	case ByPurpose:
		return e.Purpose
	case ByTransit:
		return string(e.Transit)
	case ByDestination:
		return string(e.Destination)
	case ByRemote:
		return e.Remote
	case ByDecision:
		return e.Decision
	case ByConsent:
		return string(e.Consent)
	case ByPack:
		return e.Pack
	case ByMethod:
		return e.Method
	case ByActor:
		return e.Actor
	case ByAct:
		return e.Act
	case ByFamily:
		return segments(1)
	case ByBranch:
		return segments(2)
	case ByLabel:
		return string(f.Label)
	case ByPath:
		return f.Path
	case ByAction:
		return f.Action.String()
	case ByHandling:
		return f.Handling
	case ByRule:
		return f.Rule
	}
	panic("by what?")
}

func naiveTally(rows []*naiveRow, q Query, by ...By) (groups []Group) {
	all := map[string]*Group{}
	for _, r := range rows {
		if !r.selected(&q) {
			continue
		}
		for k, fields := range naiveKeys(r, naiveFields(&q, &r.e), by) {
			g := all[k]
			if g == nil {
				g = &Group{Key: strings.Split(k, "\x00")}
				all[k] = g
			}
			g.naive(r, fields)
		}
	}
	for _, g := range all {
		groups = append(groups, *g)
	}
	slices.SortFunc(groups, func(a, b Group) int { return slices.Compare(a.Key, b.Key) })
	return groups
}

package hub

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/trail"
)

var explorePages = []page{
	{pattern: "GET /explore", need: access.Read, stale: true, do: (*Hub).explore},
	{pattern: "POST /explore/views", need: access.Read, stale: true, do: (*Hub).saveView},
	{pattern: "POST /explore/views/{id}/remove", need: access.Read, stale: true, do: (*Hub).removeView},
	{pattern: "GET /explore/export", need: access.Export, stale: true, do: (*Hub).exportPage},
	{pattern: "GET /explore/tail", need: access.Read, stale: true, do: (*Hub).tailPage},
	{pattern: "GET /explore/tail/events", need: access.Read, stale: true, alone: true, do: (*Hub).tailEvents},
	{pattern: "GET /entries/{id}", need: access.Read, stale: true, do: (*Hub).entryPage},
	{pattern: "GET /entries/{id}/json", need: access.Read, stale: true, do: (*Hub).entryJSON},
	{pattern: "GET /entries/{id}/proof", need: access.Read, stale: true, do: (*Hub).proofPage},
	{pattern: "GET /entries/{id}/proof/text", need: access.Read, stale: true, do: (*Hub).proofText},
}

// lookFor is how long a page may look for what it shows.
const lookFor = 20 * time.Second

// explored is what the page of what left shows.
type explored struct {
	Filter *filter
	Spans  []spanChoice
	// Facets are what the filter's parameters could be, as far as the trail can say.
	Facets trail.Facets

	Count    trail.Count
	Actions  []actionCount // of Count.Values, those that occur, the loosest first
	Rows     []shownRow
	First    bool   // these are the newest rows
	Older    string // address of the rows behind these; "" if there are none
	Newest   string // address of the newest
	Standing trail.Standing
	// Trouble is why nothing can be shown; "" if something can.
	Trouble string
	// Query is the filter for forms and links, in its one spelling.
	Query string
	Tabs  []exploreTab

	Tail    string      // address of the live tail with this filter
	Exports []exportWay // nil where the visitor may not export
	Views   []savedView
	// MayView says that one more view can be kept for the visitor.
	MayView bool
}

// actionCount is how many values were treated by one action.
type actionCount struct {
	Action isogate.Action
	N      uint64
}

// option is one choice of a parameter of the filter.
type option struct {
	Value string
	Rows  uint64 // how many entries have it among those that the rest of the filter selects
	On    bool
}

// Options are the choices of a parameter: those that there always are, and those that
// entries have.
func (x *explored) Options(name string) []option {
	var always []string
	var facets []trail.Facet
	switch name {
	case "kind":
		facets = x.Facets.Kind
		for _, k := range entryKinds {
			always = append(always, string(k))
		}
	case "purpose":
		facets = x.Facets.Purpose
		for p := isogate.Support; p <= isogate.App; p++ {
			always = append(always, p.String())
		}
	case "decision":
		always, facets = decisions, x.Facets.Decision
	case "handling":
		always, facets = handlings, x.Facets.Handling
	case "action":
		facets = x.Facets.Action
		for _, a := range actions {
			always = append(always, a.String())
		}
	case "source":
		facets = x.Facets.Source
	case "app":
		facets = x.Facets.App
	case "transit":
		facets = x.Facets.Transit
	case "destination":
		facets = x.Facets.Destination
	case "label":
		facets = x.Facets.Label
	case "rule":
		facets = x.Facets.Rule
	case "pack":
		facets = x.Facets.Pack
	}
	var out []option
	for _, value := range always {
		out = append(out, option{Value: value, On: x.Filter.Has(name, value)})
	}
	for _, f := range facets {
		i := slices.IndexFunc(out, func(o option) bool { return o.Value == f.Value })
		if i < 0 && always == nil && askable(f.Value) { // what cannot be asked for is no choice
			i = len(out)
			out = append(out, option{Value: f.Value, On: x.Filter.Has(name, f.Value)})
		}
		if i >= 0 {
			out[i].Rows = f.Rows
		}
	}
	return out
}

// exploreTab is one question that many have, as a filter.
type exploreTab struct {
	Title, Href string
	On          bool
}

// exploreTabs are the questions that most come with. Each replaces what the filter says of
// decision, kind and action, and keeps the rest.
var exploreTabs = []struct {
	title string
	asks  url.Values
}{
	{"Everything", url.Values{}},
	{"Released", url.Values{"decision": {"released"}}},
	{"Left as it is", url.Values{"action": {"allow"}, "decision": {"released"}}},
	{"Refused", url.Values{"decision": {"refused"}}},
	{"Decisions", url.Values{"kind": {"consent"}}},
	{"Outside", url.Values{"kind": {"landing"}}},
}

// tabsOf are the tabs beside a filter.
func tabsOf(f *filter) (out []exploreTab) {
	for _, t := range exploreTabs {
		with := &filter{asked: maps.Clone(f.asked)}
		on := true
		for _, name := range []string{"decision", "kind", "action"} {
			on = on && slices.Equal(f.asked[name], t.asks[name])
			if delete(with.asked, name); t.asks[name] != nil {
				with.asked[name] = t.asks[name]
			}
		}
		out = append(out, exploreTab{t.title, with.at("/explore"), on})
	}
	return out
}

// Wide reports whether something is wrong with a filter that stands among the further
// ones. Those in force are said by chips.
func (x *explored) Wide() bool {
	for _, name := range []string{"since", "before", "kind", "purpose", "transit", "app", "handling", "path", "rule", "consent", "pack", "open", "action"} {
		if x.Filter.wrong[name] != "" {
			return true
		}
	}
	return false
}

// Judged is how many requests were judged.
func (x *explored) Judged() uint64 { return x.Count.Released + x.Count.Refused }

// Behind says how far the trail is behind its journal; "" while it is not.
func (x *explored) Behind() string {
	s := &x.Standing
	switch {
	case s.Current() || s.Of <= s.Next:
		return ""
	case s.Rebuilding:
		return fmt.Sprintf("The trail is being built anew from the journal: it has %s of %s entries, and what follows is of those.", number(s.Next), number(s.Of))
	}
	return fmt.Sprintf("The %s newest entries are not counted yet; load the page again in a moment.", number(s.Of-s.Next))
}

// Damage says what is wrong with the journal that the trail reads; "" if nothing is known to be.
func (x *explored) Damage() string {
	s := &x.Standing
	switch {
	case s.Missing+s.Unreadable > 0:
		return fmt.Sprintf("The journal's database was changed: %s entries are missing and %s cannot be read, the first of them number %d. Verify the journal: isogate journal verify.", number(s.Missing), number(s.Unreadable), s.First)
	case s.Fault != nil:
		return "The journal could not be read, so that what follows may be old; the gateway's log says why."
	}
	return ""
}

// explore shows which entries there are, how many, and lets somebody choose.
//
// promise: P21
func (h *Hub) explore(v *visit) error {
	q, err := v.query()
	if err != nil {
		return err
	}
	// A form sends its empty fields too; an address to share has none.
	if rest, any := emptied(q); any {
		to := "/explore"
		if len(rest) > 0 {
			to += "?" + rest.Encode()
		}
		http.Redirect(v.w, v.Request, to, http.StatusSeeOther)
		return nil
	}
	f := readFilter(q, v.now, "after", "said")
	data := &explored{Filter: f, Spans: spans, Query: f.String(), Tabs: tabsOf(f), First: !q.Has("after"), Newest: f.at("/explore"), Tail: f.at("/explore/tail")}
	status := http.StatusOK
	ctx, stop := context.WithTimeout(v.Context(), lookFor)
	defer stop()
	if err := h.fillViews(ctx, v, data); err != nil {
		return err
	}
	switch {
	case h.trail == nil:
		data.Trouble = noTrail
	case len(f.wrong) > 0:
		status = http.StatusBadRequest
		data.Facets, _ = h.trail.Facets(ctx, trail.Query{}) // the form can be mended without it
	default:
		err := h.fillExplored(ctx, data, q.Get("after"))
		switch {
		case errors.Is(err, trail.ErrBehind):
			data.Trouble = "The trail of the journal is still being built; nothing is lost, and what left appears here once it is. Load the page again in a moment."
		case err != nil:
			return trailFailed(err)
		}
	}
	if v.who.May(access.Export) && len(f.wrong) == 0 {
		data.Exports = exportWays(f)
	}
	if h.trail != nil {
		data.Standing = h.trail.Standing()
	}
	return v.showStatus(status, "explore", "What left", data)
}

// noTrail says that there is nothing to look in.
const noTrail = "This gateway keeps no trail of its journal, so that entries can be looked at one by one only: isogate journal list shows them."

// trailFailed is what a caller is told of an error of the trail.
func trailFailed(err error) error {
	switch {
	case errors.Is(err, trail.ErrBehind):
		return problem(http.StatusServiceUnavailable, "trail-behind", "the trail of the journal is still being built; try again in a moment")
	case errors.Is(err, context.DeadlineExceeded):
		return problem(http.StatusServiceUnavailable, "too-slow", "this took too long to look for; narrow the time")
	}
	return err
}

// left is the trail, if there is one.
func (h *Hub) left() (Trail, error) {
	if h.trail == nil {
		return nil, problem(http.StatusNotFound, "no-trail", noTrail)
	}
	return h.trail, nil
}

// fillExplored looks up what the filter selects.
func (h *Hub) fillExplored(ctx context.Context, data *explored, after string) error {
	query := data.Filter.query
	var err error
	if data.Count, err = h.sofar.Count(ctx, query); err != nil {
		return err
	}
	for _, a := range actions {
		if n := data.Count.Values[a]; n > 0 {
			data.Actions = append(data.Actions, actionCount{a, n})
		}
	}
	p, err := readAfter(after)
	if err != nil {
		return err
	}
	list, err := h.sofar.List(ctx, query, p)
	if err != nil {
		return err
	}
	for i := range list.Rows {
		data.Rows = append(data.Rows, showRow(&list.Rows[i]))
	}
	if list.Next != "" {
		data.Older = data.Filter.at("/explore", "after", list.Next)
	}
	data.Facets, err = h.trail.Facets(ctx, query)
	return err
}

// afterForm is how the trail says where a list goes on.
var afterForm = regexp.MustCompile(`^[no][0-9]{1,18}$`)

// readAfter reads where a list goes on; "" is its beginning.
func readAfter(s string) (trail.Paging, error) {
	if s != "" && !afterForm.MatchString(s) {
		return trail.Paging{}, badRequest("the parameter after is not where a list goes on; begin with the first page")
	}
	return trail.Paging{After: s}, nil
}

// shownRow is one entry in a list, in words. The JSON form is that of a live tail.
type shownRow struct {
	ID       isogate.EntryID `json:"id"`
	Seq      uint64          `json:"seq"`
	Time     time.Time       `json:"time"`
	Kind     string          `json:"kind"`
	What     string          `json:"what"`           // who → where, or the act
	Why      string          `json:"why"`            // transit, or who acted
	Purpose  string          `json:"purpose"`        // of egress
	Decision string          `json:"decision"`       // of egress
	Reason   string          `json:"reason"`         // of a refusal, or of what did not end as it should
	State    string          `json:"state"`          // how a release ended
	Actions  []actionSum     `json:"actions"`        // of its values
	Labels   []isogate.Label `json:"labels"`         // of its fields, the first of them
	More     int             `json:"more"`           // how many labels more there are
	Bytes    int64           `json:"bytes"`          // that left
	Bad      bool            `json:"bad"`            // it cannot be read
	Open     bool            `json:"open"`           // a release of which no end is known
	Text     string          `json:"text,omitempty"` // the time, for a list that a script makes
	Size     string          `json:"size,omitempty"` // the bytes, likewise
}

// actionSum is how many of a row's values were treated by an action.
type actionSum struct {
	Action isogate.Action `json:"action"`
	N      uint64         `json:"n"`
}

// labelsShown is how many labels a list shows of one row.
const labelsShown = 3

// showRow puts an entry into words. All of them are as [consent.Shown] has them: who
// wrote them may mean harm.
func showRow(r *trail.Row) shownRow {
	e := &r.Entry
	if r.Unreadable {
		return shownRow{Seq: e.Seq, Bad: true, What: "cannot be read: somebody changed the journal's database"}
	}
	s := shownRow{ID: e.ID, Seq: e.Seq, Time: e.Time.UTC(), Kind: consent.Shown(string(e.Kind)), Decision: consent.Shown(e.Decision), Reason: consent.Shown(e.Reason),
		Purpose: consent.Shown(e.Purpose), Bytes: e.BytesOut, Open: r.Open()}
	if e.Kind != isogate.KindEgress {
		s.What = consent.Shown(e.Act)
		if about := subjectOf(e); about != "" {
			s.What += ": " + consent.Shown(about)
		}
		if e.Actor != "" {
			s.Why = "by " + consent.Shown(e.Actor)
		}
		return s
	}
	s.What = orUnknown(consent.Shown(string(e.Source))) + " → " + orUnknown(consent.Shown(whereTo(e)))
	s.Why = consent.Shown(string(e.Transit))
	s.State = howEnded(r)
	if r.End != nil && r.End.Reason != "" {
		s.Reason = consent.Shown(r.End.Reason)
	}
	var sums [isogate.Allow + 1]uint64
	seen := map[isogate.Label]bool{}
	fields := slices.Clone(e.Fields)
	slices.SortStableFunc(fields, func(a, b isogate.Field) int { return int(b.Action) - int(a.Action) })
	for i := range fields {
		f := &fields[i]
		if int(f.Action) < len(sums) {
			sums[f.Action] += uint64(f.N)
		}
		if !seen[f.Label] {
			if seen[f.Label] = true; len(s.Labels) < labelsShown {
				s.Labels = append(s.Labels, f.Label)
			} else {
				s.More++
			}
		}
	}
	for _, a := range actions {
		if sums[a] > 0 {
			s.Actions = append(s.Actions, actionSum{a, sums[a]})
		}
	}
	return s
}

// howEnded says how a release ended; "" of what is no release.
func howEnded(r *trail.Row) string {
	switch {
	case r.Open():
		return "no end recorded"
	case r.End == nil:
		return ""
	case r.End.Status == 0:
		return "ended"
	}
	return fmt.Sprintf("status %d", r.End.Status)
}

// subjectOf is what an entry that is no egress is about, if it says so.
func subjectOf(e *isogate.Entry) string {
	for _, name := range []string{"party", "name", "view", "destination"} {
		if e.Detail[name] != "" {
			return e.Detail[name]
		}
	}
	return string(e.Destination)
}

// whereTo is where an egress entry went, or would have.
func whereTo(e *isogate.Entry) string {
	if e.Remote != "" {
		return e.Remote
	}
	return string(e.Destination)
}

func orUnknown(s string) string {
	if s == "" {
		return "(unknown)"
	}
	return s
}

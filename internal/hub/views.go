package hub

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/journal"
)

// Saved views are filters with a name. They have no store of their own: saving and
// removing one are admin entries, as every act at the Hub is, and what is there is
// their fold. So they survive restarts, and every gateway has the same.

// savedView is a filter that somebody gave a name.
type savedView struct {
	ID     isogate.EntryID
	Name   string
	Query  string // the filter's one spelling
	By     string
	At     time.Time
	Shared bool // everybody sees it

	// For whoever looks.

	Href string
	Mine bool
	// MayRemove says that the visitor may.
	MayRemove bool
}

// The acts of views, and the members of their entries' detail.
const (
	actViewSaved   = "view saved"
	actViewRemoved = "view removed"
	inView         = "view"
	inViewQuery    = "query"
	inViewShared   = "shared"
)

const (
	maxViewName  = 60   // characters
	maxViewQuery = 2000 // bytes
	maxViewsOf   = 30   // of one person
	maxViews     = 1000 // of all
)

// views is the fold of the entries that are about views, brought up to date when
// somebody looks. Its zero value has read nothing.
type views struct {
	mu    sync.Mutex // guards what follows
	kept  []savedView
	after isogate.EntryID // the last admin entry that was read
}

// upToDate reads the admin entries that came since, and returns the views that there are.
func (vs *views) upToDate(ctx context.Context, j Journal) ([]savedView, error) {
	const piece = 1000
	vs.mu.Lock()
	defer vs.mu.Unlock()
	for {
		list, err := j.List(ctx, journal.Filter{Kind: isogate.KindAdmin, After: vs.after, Limit: piece})
		if err != nil {
			return nil, err
		}
		for i := range list {
			vs.fold(&list[i])
			vs.after = list[i].ID
		}
		if len(list) < piece {
			return slices.Clone(vs.kept), nil
		}
	}
}

// fold takes one entry in. What would be more than there may be has no effect,
// whoever wrote it.
func (vs *views) fold(e *isogate.Entry) {
	switch e.Act {
	case actViewSaved:
		v := savedView{ID: e.ID, Name: e.Detail[inView], Query: e.Detail[inViewQuery], By: e.Actor, At: e.Time, Shared: e.Detail[inViewShared] == "yes"}
		if len(vs.kept) < maxViews && vs.of(v.By) < maxViewsOf && len(v.Query) <= maxViewQuery {
			vs.kept = append(vs.kept, v)
		}
	case actViewRemoved:
		vs.kept = slices.DeleteFunc(vs.kept, func(v savedView) bool { return v.ID == e.Of })
	}
}

// of is how many views one person has.
func (vs *views) of(who string) (n int) {
	for i := range vs.kept {
		if vs.kept[i].By == who {
			n++
		}
	}
	return n
}

// seenBy are the views that a visitor sees: their own and shared ones, by name.
func seenBy(all []savedView, who access.Visitor, now time.Time) []savedView {
	var out []savedView
	for _, v := range all {
		if v.Mine = v.By == who.Name; !v.Mine && !v.Shared {
			continue
		}
		q, err := url.ParseQuery(v.Query)
		if err != nil {
			continue // nobody but the Hub writes such entries, and it writes what can be read
		}
		v.Href = readFilter(q, now).at("/explore")
		v.MayRemove = v.Mine || who.May(access.Own)
		v.Name, v.By = consent.Shown(v.Name), consent.Shown(v.By)
		out = append(out, v)
	}
	slices.SortStableFunc(out, func(a, b savedView) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// fillViews sets the views that the visitor sees.
func (h *Hub) fillViews(ctx context.Context, v *visit, data *explored) error {
	if h.journal == nil {
		return nil // there is nothing that could keep views
	}
	all, err := h.views.upToDate(ctx, h.journal)
	if err != nil {
		return err
	}
	data.Views = seenBy(all, v.who, v.now)
	mine := 0
	for i := range all {
		if all[i].By == v.who.Name {
			mine++
		}
	}
	data.MayView = mine < maxViewsOf && len(all) < maxViews && data.Filter.Any() && len(data.Filter.wrong) == 0
	return nil
}

// allViews are all of them, for an act.
func (h *Hub) allViews(ctx context.Context) ([]savedView, error) {
	if h.journal == nil {
		return nil, problem(http.StatusNotFound, "no-journal", "this Hub has no journal, so that nothing can be saved")
	}
	return h.views.upToDate(ctx, h.journal)
}

// saveView keeps the filter that the form brings under a name.
func (h *Hub) saveView(v *visit) error {
	form, err := v.form("name", "query", "shared")
	if err != nil {
		return err
	}
	q, err := url.ParseQuery(form.Get("query"))
	if err != nil || len(form.Get("query")) > maxViewQuery {
		return badRequest("the filter of the view is not well-formed or longer than %d bytes; save it from the page that shows it", maxViewQuery)
	}
	f := readFilter(q, v.now)
	if err := f.err(); err != nil {
		return err
	}
	name := strings.TrimSpace(form.Get("name"))
	if err := checkText("name of the view", name, maxViewName); err != nil {
		return err
	}
	if name == "" || !f.Any() {
		return badRequest("a view needs a name and a filter; choose what it shows first")
	}
	all, err := h.allViews(v.Context())
	if err != nil {
		return err
	}
	mine := 0
	for i := range all {
		if all[i].By == v.who.Name {
			if mine++; all[i].Name == name {
				return conflict("you have a view %q already; give this one another name, or remove that one first", consent.Shown(name))
			}
		}
	}
	if mine >= maxViewsOf || len(all) >= maxViews {
		return conflict("there are %d views of yours, and %d in all; remove one first (%d and %d are the most)", mine, len(all), maxViewsOf, maxViews)
	}
	e := &isogate.Entry{Kind: isogate.KindAdmin, Act: actViewSaved, Actor: v.who.Name,
		Detail: map[string]string{inSignedIn: v.who.SignedIn, inView: name, inViewQuery: f.String()}}
	if form.Get("shared") == "yes" {
		e.Detail[inViewShared] = "yes"
	}
	if err := h.journal.Append(v.Context(), e); err != nil {
		return notRecorded(err)
	}
	return v.seeFilter(f, "view-saved")
}

// removeView removes a view: one's own, or as an owner anybody's shared one.
func (h *Hub) removeView(v *visit) error {
	form, err := v.form("query")
	if err != nil {
		return err
	}
	all, err := h.allViews(v.Context())
	if err != nil {
		return err
	}
	id := isogate.EntryID(v.PathValue("id"))
	i := slices.IndexFunc(all, func(s savedView) bool { return s.ID == id && (s.By == v.who.Name || s.Shared) })
	if i < 0 {
		return notFound("there is no such view of yours")
	}
	if all[i].By != v.who.Name && !v.who.May(access.Own) {
		return problem(http.StatusForbidden, "right", "somebody else shared this view; they or an owner can remove it")
	}
	e := &isogate.Entry{Kind: isogate.KindAdmin, Act: actViewRemoved, Actor: v.who.Name, Of: id,
		Detail: map[string]string{inSignedIn: v.who.SignedIn, inView: all[i].Name}}
	if err := h.journal.Append(v.Context(), e); err != nil {
		return notRecorded(err)
	}
	q, err := url.ParseQuery(form.Get("query"))
	if err != nil {
		q = nil
	}
	return v.seeFilter(readFilter(q, v.now), "view-removed")
}

// inSignedIn is the member of a detail that says how an actor proved who they are.
const inSignedIn = "signed_in"

// notRecorded is what a visitor is told of an act that the journal did not take.
func notRecorded(err error) error {
	return problem(http.StatusServiceUnavailable, "cannot-record", "the journal did not take this act, so that it is not known whether it counts; look again, and see the gateway's log: "+err.Error())
}

// seeFilter answers a POST with the page of a filter.
func (v *visit) seeFilter(f *filter, what string) error {
	http.Redirect(v.w, v.Request, f.at("/explore", "said", what), http.StatusSeeOther)
	return nil
}

package hub

import (
	"context"
	"errors"
	"log/slog"
	"mime"
	"net/http"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/evidence"
	"github.com/isogate/isogate/internal/journal"
	"github.com/isogate/isogate/internal/trail"
)

// Evidence makes the files that audits are given; [evidence.Maker] is one.
type Evidence interface {
	// Begin finds what the file of a period is of. It is known to exist before the
	// first byte of it leaves.
	Begin(ctx context.Context, p evidence.Period) (*evidence.Evidence, error)
}

var evidenceRoutes = []route{
	{method: "GET", path: "/evidence", need: access.Export, stale: true, do: (*Hub).evidenceCall},
	{method: "GET", path: "/entries/export", need: access.Export, stale: true, do: (*Hub).exportCall},
}

var evidencePages = []page{
	{pattern: "GET /evidence", need: access.Export, stale: true, do: (*Hub).evidencePage},
	{pattern: "POST /evidence", need: access.Export, stale: true, do: (*Hub).evidenceForm},
}

// actEvidence is the act of whoever takes a file of evidence.
const actEvidence = "evidence exported"

// beginFor is how long a file of evidence may take until its first byte.
const beginFor = 5 * time.Minute

// periodOf reads a period. Days are UTC; the last one is part of the period where it
// is given as until.
func periodOf(since, before, until string) (p evidence.Period, err error) {
	if p.Since, err = readMoment("since", since); err != nil {
		return p, err
	}
	if until != "" {
		if before != "" {
			return p, badRequest("say either before or until")
		}
		day, err := time.Parse(time.DateOnly, until)
		if err != nil {
			return p, badRequest("%q is not a day; write it as 2026-11-30", shortened(until))
		}
		p.Before = day.AddDate(0, 0, 1)
	} else if p.Before, err = readMoment("before", before); err != nil {
		return p, err
	}
	if !p.Since.IsZero() && !p.Before.IsZero() && !p.Since.Before(p.Before) {
		return p, badRequest("%v", evidence.ErrPeriod)
	}
	return p, nil
}

// readMoment reads an instant or a day in UTC; none is the zero time.
func readMoment(name, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, badRequest("%s: %q is not a time; write it as 2026-11-02T12:00:00Z or 2026-11-02", name, shortened(s))
}

// shortened keeps a text that somebody sent from filling an answer.
func shortened(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

// sendEvidence writes the file of a period. That somebody takes it is in the journal
// before its first byte leaves; what cannot be recorded is not given.
//
// promise: P21
func (h *Hub) sendEvidence(w http.ResponseWriter, r *http.Request, who access.Visitor, p evidence.Period) error {
	if h.evidence == nil || h.journal == nil {
		return notFound("this Hub has no journal to make evidence of")
	}
	done, err := h.copying()
	if err != nil {
		return err
	}
	defer done()
	c := http.NewResponseController(w)
	if err := c.SetWriteDeadline(time.Now().Add(beginFor)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	e, err := h.evidence.Begin(r.Context(), p)
	switch {
	case errors.Is(err, evidence.ErrPeriod), errors.Is(err, journal.ErrNoEntry):
		return badRequest("%v", err)
	case errors.Is(err, journal.ErrNothingSealed):
		return conflict("%v", err)
	case err != nil:
		return err
	}
	taken := &isogate.Entry{Kind: isogate.KindAdmin, Act: actEvidence, Actor: who.Name, Detail: map[string]string{inSignedIn: who.SignedIn}}
	for name, t := range map[string]time.Time{"since": p.Since, "before": p.Before} {
		if !t.IsZero() {
			taken.Detail[name] = t.Format(time.RFC3339Nano)
		}
	}
	if err := h.journal.Append(r.Context(), taken); err != nil {
		return notRecorded(err)
	}
	header := w.Header()
	header.Set("Content-Type", "application/zip")
	header.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": evidenceName(string(h.tenant), p)}))
	if err := e.WriteTo(r.Context(), &patientWriter{w: w, c: c}); err != nil {
		// Its head has left: the only way to say that it is not whole is to break it off.
		level := slog.LevelWarn
		if r.Context().Err() != nil {
			level = slog.LevelDebug // they have gone
		}
		h.logger.Log(r.Context(), level, "a file of evidence was cut off", slog.String("entry", string(taken.ID)), slog.Any("error", err))
		panic(http.ErrAbortHandler)
	}
	return nil
}

// evidenceName is what the file is called where it is saved.
func evidenceName(tenant string, p evidence.Period) string {
	name := "evidence"
	if tenant != "" {
		name += "-" + tenant
	}
	if !p.Since.IsZero() {
		name += "-from-" + p.Since.Format("20060102T150405Z")
	}
	if !p.Before.IsZero() {
		name += "-before-" + p.Before.Format("20060102T150405Z")
	}
	return name + ".zip"
}

func (h *Hub) evidenceCall(c *call) (*answer, error) {
	q, err := c.parameters([]string{"since", "before"})
	if err != nil {
		return nil, err
	}
	p, err := periodOf(value(q, "since"), value(q, "before"), "")
	if err != nil {
		return nil, err
	}
	return &answer{stream: func(w http.ResponseWriter) error { return h.sendEvidence(w, c.Request, c.visitor, p) }}, nil
}

// exportCall is the download of the explorer, for programs.
func (h *Hub) exportCall(c *call) (*answer, error) {
	f, q, err := c.filterOf("format")
	if err != nil {
		return nil, err
	}
	return &answer{stream: func(w http.ResponseWriter) error { return h.export(w, c.Request, c.visitor, f, q["format"], c.now) }}, nil
}

func (h *Hub) evidenceForm(v *visit) error {
	form, err := v.form("since", "until")
	if err != nil {
		return err
	}
	p, err := periodOf(form.Get("since"), "", form.Get("until"))
	if err != nil {
		return err
	}
	return h.sendEvidence(v.w, v.Request, v.who, p)
}

// evidenceView is what the page shows.
type evidenceView struct {
	Since, Until string // days, for the form
	Period       evidence.Period
	Error        string
	Spans        []evidenceSpan
	// Count is what the trail counts in the period; nil where there is none.
	Count *trail.Count
	// Empty says that nothing was recorded in the period.
	Empty bool
	Key   string // the journal's, as this Hub says
	Name  string // of the file
	Taken []takenCopy
}

// evidenceSpan is a period that is often asked for.
type evidenceSpan struct{ Title, Since, Until string }

// takenCopy is a file of evidence that somebody took.
type takenCopy struct {
	Entry         isogate.EntryID
	By            string
	At            time.Time
	Since, Before *time.Time
}

// shownCopies is how many of them the page shows.
const shownCopies = 10

// lookForCopies is how long the page looks for them.
const lookForCopies = 2 * time.Second

// evidencePage is where a period is chosen.
func (h *Hub) evidencePage(v *visit) error {
	q := v.URL.Query()
	d := &evidenceView{Since: q.Get("since"), Until: q.Get("until"), Spans: evidenceSpans(v.now)}
	if d.Since == "" && d.Until == "" {
		d.Since, d.Until = d.Spans[0].Since, d.Spans[0].Until
	}
	status := http.StatusOK
	var err error
	if d.Period, err = periodOf(d.Since, "", d.Until); err != nil {
		p := problemOf(err)
		d.Error, status = p.Detail, p.Status
	}
	d.Name = evidenceName(string(h.tenant), d.Period)
	if h.trail != nil && d.Error == "" {
		n, err := h.trail.Count(v.Context(), trail.Query{Since: d.Period.Since, Before: d.Period.Before})
		switch {
		case errors.Is(err, trail.ErrBehind): // the file is made of the journal, and needs no counts
		case err != nil:
			return trailFailed(err)
		default:
			d.Count, d.Empty = &n, n.Rows == 0
		}
	}
	if h.journal != nil {
		ctx, stop := context.WithTimeout(v.Context(), lookForCopies)
		defer stop()
		if d.Key, err = h.journal.Verifier(ctx); err != nil {
			return err
		}
		list, err := h.journal.List(ctx, journal.Filter{Kind: isogate.KindAdmin, Act: actEvidence, Newest: true, Limit: shownCopies})
		if err != nil && ctx.Err() == nil {
			return err
		}
		for i := range list {
			e := &list[i]
			d.Taken = append(d.Taken, takenCopy{e.ID, e.Actor, e.Time, recordedTime(e.Detail["since"]), recordedTime(e.Detail["before"])})
		}
	}
	return v.showStatus(status, "evidence", "Evidence", d)
}

// recordedTime is a time out of an entry; nil where there is none.
func recordedTime(s string) *time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return nil
	}
	return &t
}

// evidenceSpans are the month before, this month, the quarter before, and this year.
func evidenceSpans(now time.Time) []evidenceSpan {
	now = now.UTC()
	month := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	quarter := time.Date(now.Year(), (now.Month()-1)/3*3+1, 1, 0, 0, 0, 0, time.UTC)
	year := time.Date(now.Year(), 1, 1, 0, 0, 0, 0, time.UTC)
	day := func(t time.Time) string { return t.Format(time.DateOnly) }
	return []evidenceSpan{
		{"This month", day(month), day(now)},
		{"Last month", day(month.AddDate(0, -1, 0)), day(month.AddDate(0, 0, -1))},
		{"Last quarter", day(quarter.AddDate(0, -3, 0)), day(quarter.AddDate(0, 0, -1))},
		{"This year", day(year), day(now)},
	}
}

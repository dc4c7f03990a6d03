package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/journal"
	"github.com/isogate/isogate/internal/trail"
)

// exportFormat is one way to write entries for other programs.
type exportFormat struct {
	name, title, mediaType, suffix string
	write                          func(w io.Writer, entries iter.Seq2[isogate.Entry, error]) error
}

var exportFormats = []exportFormat{
	{"csv", "CSV, for a spreadsheet", "text/csv; charset=utf-8", ".csv", journal.WriteCSV},
	{"jsonl", "JSON lines, for programs", "application/jsonl", ".jsonl", journal.WriteJSONL},
	{"ocsf", "OCSF, for an event store", "application/jsonl", ".ocsf.jsonl", journal.WriteOCSF},
}

// exportWay is a link to one export.
type exportWay struct{ Title, Href string }

func exportWays(f *filter) (out []exportWay) {
	for _, x := range exportFormats {
		out = append(out, exportWay{x.title, f.at("/explore/export", "format", x.name)})
	}
	return out
}

// exportPage is the download of what the explorer shows.
func (h *Hub) exportPage(v *visit) error {
	// It is an act, though a link starts it: a page elsewhere does not act for who sits here.
	if site := v.Header.Get("Sec-Fetch-Site"); site == "cross-site" || site == "same-site" {
		return problem(http.StatusForbidden, "cross-site", "a page of another site led here; take the export from the page that shows what it has")
	}
	q, err := v.query()
	if err != nil {
		return err
	}
	f := readFilter(q, v.now, "format")
	if err := f.err(); err != nil {
		return err
	}
	return h.export(v.w, v.Request, v.who, f, q["format"], v.now)
}

// writeFor is how long one write of an export may wait for who reads it. An export
// itself takes as long as it takes.
const writeFor = 30 * time.Second

// copiesAtOnce is how many exports and files of evidence are written at a time: each reads
// and packs as fast as it can, beside a gateway that has other things to do.
const copiesAtOnce = 3

// copying has a place among those that are written, until done.
func (h *Hub) copying() (done func(), err error) {
	select {
	case h.copies <- struct{}{}:
		return func() { <-h.copies }, nil
	default:
		return nil, problem(http.StatusTooManyRequests, "too-many-exports", fmt.Sprintf("%d exports or files of evidence are being written already; try again when one of them is done", copiesAtOnce))
	}
}

// export writes every entry that the filter selects, the oldest first, as they are
// now: who exported what is an entry before the first byte of it leaves. Each
// release is one entry, with how it ended.
func (h *Hub) export(w http.ResponseWriter, r *http.Request, who access.Visitor, f *filter, format []string, now time.Time) error {
	t, err := h.left()
	if err != nil {
		return err
	}
	var x *exportFormat
	for i := range exportFormats {
		if len(format) == 1 && format[0] == exportFormats[i].name {
			x = &exportFormats[i]
		}
	}
	if x == nil {
		return badRequest("the parameter format is none of csv, jsonl, ocsf")
	}
	done, err := h.copying()
	if err != nil {
		return err
	}
	defer done()
	query := f.query
	if query.Before.IsZero() || query.Before.After(now) {
		query.Before = now // so that it comes to an end, also while entries come in
	}
	count, err := t.Count(r.Context(), query)
	if err != nil {
		return trailFailed(err)
	}
	e := &isogate.Entry{Kind: isogate.KindAdmin, Act: "entries exported", Actor: who.Name, Detail: map[string]string{
		inSignedIn: who.SignedIn, "format": x.name, "filter": f.String(), "entries": number(count.Rows), "before": query.Before.UTC().Format(time.RFC3339Nano)}}
	if err := h.journal.Append(r.Context(), e); err != nil {
		return notRecorded(err)
	}
	header := w.Header()
	header.Set("Content-Type", x.mediaType)
	header.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": "isogate-" + now.UTC().Format("20060102T150405Z") + x.suffix}))
	out := &patientWriter{w: w, c: http.NewResponseController(w)}
	if err := x.write(out, h.entriesOf(r.Context(), t, query)); err != nil {
		// Its head has left: the only way to say that it is not whole is to break it off.
		level := slog.LevelWarn
		if r.Context().Err() != nil {
			level = slog.LevelDebug // they have gone
		}
		h.logger.Log(r.Context(), level, "an export was cut off", slog.String("format", x.name), slog.String("entry", string(e.ID)), slog.Any("error", err))
		panic(http.ErrAbortHandler)
	}
	return nil
}

// exportPiece is how many rows of an export are looked up at a time.
const exportPiece = 1000

// errUnreadable says that an entry cannot be exported.
var errUnreadable = errors.New("an entry of the journal cannot be read, since somebody changed its database")

// entriesOf are the entries that a query selects, the oldest first. A release has
// the status and duration that it ended with.
func (h *Hub) entriesOf(ctx context.Context, t Trail, q trail.Query) iter.Seq2[isogate.Entry, error] {
	return func(yield func(isogate.Entry, error) bool) {
		p := trail.Paging{From: new(uint64), Limit: exportPiece}
		for {
			piece, err := t.List(ctx, q, p)
			if err != nil {
				yield(isogate.Entry{}, err)
				return
			}
			for i := range piece.Rows {
				row := &piece.Rows[i]
				if row.Unreadable {
					yield(isogate.Entry{}, errUnreadable)
					return
				}
				if !yield(ended(row), nil) {
					return
				}
			}
			if len(piece.Rows) == 0 {
				return
			}
			p.After = piece.Next
		}
	}
}

// ended is the entry of a row with what the entry that closed it says.
func ended(r *trail.Row) isogate.Entry {
	e := r.Entry
	if r.End != nil {
		e.Status, e.DurationUS = r.End.Status, r.End.Took.Microseconds()
		if r.End.Reason != "" {
			e.Reason = strings.TrimPrefix(e.Reason+"; "+r.End.Reason, "; ")
		}
	}
	return e
}

// patientWriter gives each write its own time: what stands still is broken off, and
// what goes on may go on for hours.
type patientWriter struct {
	w http.ResponseWriter
	c *http.ResponseController
}

// Write implements [io.Writer].
func (p *patientWriter) Write(b []byte) (int, error) {
	if err := p.c.SetWriteDeadline(time.Now().Add(writeFor)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return p.w.Write(b)
}

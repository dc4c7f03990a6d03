package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/trail"
)

// Limits of live tails.
const (
	tailsOfOne   = 4   // of one session at a time
	tailsOfAll   = 100 // of everybody
	tailRows     = 100 // that are sent at once; of more only the newest are, and the rest is counted
	tailPageRows = 50  // of the page without a script

	tailEvery  = 500 * time.Millisecond // from one look to the next at the shortest
	tailAsk    = 2 * time.Second        // who sits there is asked anew as often
	tailBeat   = 15 * time.Second       // a sign of life where there is no news
	tailWrite  = 10 * time.Second       // who does not read for so long is dropped
	tailLong   = 30 * time.Minute       // a browser connects anew then by itself
	tailMargin = 1000                   // rows that are made up for after a break; older ones are only counted
)

// tails are the live tails that are open.
type tails struct {
	mu   sync.Mutex // guards what follows
	of   map[string]int
	open int
}

// enter counts one more tail of a session, and reports whether there may be one.
func (ts *tails) enter(session string) bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.open >= tailsOfAll || ts.of[session] >= tailsOfOne {
		return false
	}
	if ts.of == nil {
		ts.of = map[string]int{}
	}
	ts.of[session]++
	ts.open++
	return true
}

func (ts *tails) leave(session string) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.open--
	if ts.of[session]--; ts.of[session] == 0 {
		delete(ts.of, session)
	}
}

// tailed is what the page of the live tail shows.
type tailed struct {
	Filter   *filter
	Rows     []shownRow // the newest first
	From     uint64     // the seq from which on there is more
	Events   string     // address of the events from there on
	Newer    string     // address of the page from there on
	Back     string
	Trouble  string
	Most     int // rows that the page keeps
	Standing trail.Standing
}

// Actions and Decisions are what the script needs a badge of.
func (tailed) Actions() []isogate.Action { return actions }

// Decisions are both.
func (tailed) Decisions() []string { return decisions }

// tailKept is how many rows the page keeps in a browser.
const tailKept = 200

// tailPage shows the newest entries, and with a script those that come. Without one
// it leads to the newer ones.
func (h *Hub) tailPage(v *visit) error {
	if _, err := h.left(); err != nil {
		return err
	}
	t := h.sofar // it shows what comes, and says of nothing that it never was
	q, err := v.query()
	if err != nil {
		return err
	}
	f := readFilter(q, v.now, "from")
	if err := f.err(); err != nil {
		return err
	}
	data := &tailed{Filter: f, Back: f.at("/explore"), Most: tailKept}
	ctx, stop := context.WithTimeout(v.Context(), lookFor)
	defer stop()
	data.From, _ = t.Watch()
	paging := trail.Paging{Limit: tailPageRows}
	if s := q.Get("from"); s != "" {
		from, err := strconv.ParseUint(s, 10, 63)
		if err != nil {
			return badRequest("the parameter from is not the number of an entry")
		}
		paging.From = &from
	}
	switch list, err := t.List(ctx, f.query, paging); {
	case errors.Is(err, trail.ErrBehind):
		data.Trouble = "The trail of the journal is still being built; entries appear here once it is."
	case err != nil:
		return trailFailed(err)
	default:
		for i := range list.Rows {
			data.Rows = append(data.Rows, showRow(&list.Rows[i]))
		}
		if paging.From != nil {
			if n := len(data.Rows); n == tailPageRows {
				data.From = data.Rows[n-1].Seq + 1
			}
			for i, j := 0, len(data.Rows)-1; i < j; i, j = i+1, j-1 {
				data.Rows[i], data.Rows[j] = data.Rows[j], data.Rows[i]
			}
		}
	}
	data.Standing = t.Standing()
	from := strconv.FormatUint(data.From, 10)
	data.Events, data.Newer = f.at("/explore/tail/events", "from", from), f.at("/explore/tail", "from", from)
	return v.show("explore-tail", "Live tail", data)
}

// tailEvents sends entries as they come (WHATWG HTML, server-sent events), for as
// long as who asked may see them and reads them. One event has the rows of one look.
func (h *Hub) tailEvents(v *visit) error {
	if _, err := h.left(); err != nil {
		return err
	}
	t := h.sofar // it shows what comes, and says of nothing that it never was
	q, err := v.query()
	if err != nil {
		return err
	}
	f := readFilter(q, v.now, "from")
	if err := f.err(); err != nil {
		return err
	}
	at := v.Header.Get("Last-Event-ID") // where a browser that lost its connection goes on
	if at == "" {
		at = q.Get("from")
	}
	from, err := strconv.ParseUint(at, 10, 63)
	if err != nil {
		return badRequest("the parameter from is not the number of an entry")
	}
	session := v.who.Session
	if session == "" {
		session = "token of " + v.who.Name
	}
	if !h.tails.enter(session) {
		return problem(http.StatusTooManyRequests, "too-many-tails", fmt.Sprintf("there are %d live tails of this session already, or %d in all; close one", tailsOfOne, tailsOfAll))
	}
	defer h.tails.leave(session)
	v.w.Header().Set("Content-Type", "text/event-stream")
	v.w.Header().Set("X-Accel-Buffering", "no") // a proxy in front would keep events back
	s := &tailing{hub: h, v: v, trail: t, filter: f, c: http.NewResponseController(v.w), from: from}
	if err := s.run(); err != nil {
		h.logger.Debug("a live tail ended", slog.Any("why", err))
	}
	return nil // its head has left; there is nobody to show a problem to
}

// tailing is one open tail.
type tailing struct {
	hub    *Hub
	v      *visit
	trail  Trail
	filter *filter
	c      *http.ResponseController
	from   uint64 // the first seq that was not looked at
}

// tailEvent is what one event says.
type tailEvent struct {
	Rows    []shownRow `json:"rows"`
	Skipped uint64     `json:"skipped,omitempty"` // rows that came and are not sent
}

func (s *tailing) run() error {
	if err := s.send(": follows\n\n"); err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(s.v.Context(), tailLong)
	defer stop()
	pace, ask := time.NewTicker(tailEvery), time.NewTicker(tailAsk)
	defer pace.Stop()
	defer ask.Stop()
	spoke := time.Now()
	for {
		next, more := s.trail.Watch()
		if next > s.from {
			// Asked before each event too: what comes behind the end of a session is not theirs to see.
			if err := s.still(); err != nil {
				return err
			}
			if err := s.news(ctx, next); err != nil {
				return err
			}
			spoke = time.Now()
		} else {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-more:
			case <-ask.C:
				if err := s.still(); err != nil {
					return err
				}
				if time.Since(spoke) >= tailBeat {
					if err := s.send(": still here\n\n"); err != nil {
						return err
					}
					spoke = time.Now()
				}
				continue
			}
		}
		select { // a moment, so that what comes in a burst is one event
		case <-ctx.Done():
			return ctx.Err()
		case <-pace.C:
		}
	}
}

// errLeft says that who looked may not any more.
var errLeft = errors.New("the visitor's session has ended, or they may not read any more")

// still asks whether who looked may go on, and tells them if not.
func (s *tailing) still() error {
	who, err := s.hub.watcher(s.v.Request)
	if err == nil && who.May(access.Read) && who.Name == s.v.who.Name {
		return nil
	}
	return errors.Join(errLeft, s.send("event: ended\ndata: the session has ended\n\n"))
}

// news sends what came up to before next.
func (s *tailing) news(ctx context.Context, next uint64) error {
	var event tailEvent
	if next-s.from > tailMargin {
		event.Skipped = next - tailMargin - s.from
		s.from = next - tailMargin
	}
	q := s.filter.query
	if span := s.filter.Value("span"); span != "" {
		q.Since = readFilter(s.filter.asked, s.hub.now()).query.Since
	}
	p := trail.Paging{From: &s.from, Limit: tailMargin}
	list, err := s.trail.List(ctx, q, p)
	if err != nil {
		return err
	}
	rows := list.Rows
	if n := len(rows) - tailRows; n > 0 {
		event.Skipped += uint64(n)
		rows = rows[len(rows)-tailRows:]
	}
	for i := range rows {
		if rows[i].Entry.Seq >= next {
			break // with the next look
		}
		row := showRow(&rows[i])
		row.Text, row.Size = row.Time.Format("2 Jan 2006 15:04:05"), bytesOf(row.Bytes)
		event.Rows = append(event.Rows, row)
	}
	s.from = next
	if len(event.Rows) == 0 && event.Skipped == 0 {
		return nil
	}
	text, err := json.Marshal(event)
	if err != nil {
		return err
	}
	return s.send(fmt.Sprintf("id: %d\ndata: %s\n\n", next, text))
}

// send writes, and gives who reads only so long.
func (s *tailing) send(text string) error {
	if err := s.c.SetWriteDeadline(time.Now().Add(tailWrite)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := s.v.w.Write([]byte(text)); err != nil {
		return err
	}
	if err := s.c.Flush(); err != nil {
		return err
	}
	// Over HTTP/2 a deadline ends the stream when it comes, whether anything is being written or not.
	if err := s.c.SetWriteDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

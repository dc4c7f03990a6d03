package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/isogate/isogate"
)

// Batch is what one look at the journal found for a follower.
type Batch struct {
	// Entries are the entries of the kind followed that are new to the follower, in order.
	Entries []isogate.Entry
	// UpTo is a revision of the journal, and never goes back: every entry of the kind
	// with a smaller seq has been delivered, in this batch or in one before.
	UpTo uint64
	// At is when the look began, by the monotonic clock. Every entry of the kind that was
	// durable by then is below UpTo, unless there is More.
	At time.Time
	// More says that the batch is full and another follows at once.
	More bool
}

const (
	// followPage is how many entries a batch has at the most.
	followPage = 512
	// followPatience is the least that a look may take before it is given up.
	followPatience = 2 * time.Second
	// Pauses before a lost connection is made again.
	followBackoff, followBackoffMost = 50 * time.Millisecond, time.Second
)

// Follow calls f with the entries of a kind from a seq on, in order, each once, as they
// become durable, whichever gateway appended them: first with what is there, then
// whenever there is news, and without any when a span of every has passed since the
// last look began, for each call is proof that the journal was in reach at Batch.At. While it is not, f is not
// called, and Follow tries again. From a shared journal it reads what the primary
// has committed. A landing entry that nobody waits for ([Journal.AppendLater]) is no
// news by itself: it is found when the next look is.
//
// It ends with nil when ctx does, with f's error, or with one that is [ErrPutBack]
// when entries that it delivered are no longer there. Entries of kind consent,
// landing, admin and pack can be followed.
//
// No entry is missed, however many write. Whoever appends takes its seqs under a
// lock that is kept until the commit (in SQLite the write lock, in PostgreSQL the
// head), so an entry that becomes visible later has a higher seq than every visible
// one: what a look did not see lies at or behind its UpTo, where the next look begins.
// News that gets lost only makes it wait for that.
//
// promise: P14
func (r *Reader) Follow(ctx context.Context, kind isogate.EntryKind, from uint64, every time.Duration, f func(Batch) error) error {
	if !followable(kind) {
		return fmt.Errorf("journal %s: entries of kind %q cannot be followed; only consent, landing, admin and pack can", r.place, kind)
	}
	if (kind == isogate.KindAdmin || kind == isogate.KindPack) && !r.lists(kind) {
		return fmt.Errorf("journal %s: its format is %d, in which %s entries cannot be followed; start its gateway, which brings it to %d", r.place, r.format, kind, sqliteLatest)
	}
	w := &follower{r: r, kind: kind, next: from, every: max(every, time.Millisecond), f: f}
	var err error
	if r.remote == nil {
		err = w.file(ctx)
	} else {
		err = w.shared(ctx)
	}
	if ctx.Err() != nil && w.failed == nil {
		return nil
	}
	return err
}

// follower is one call of Follow.
type follower struct {
	r     *Reader
	kind  isogate.EntryKind
	every time.Duration
	f     func(Batch) error

	next   uint64          // where the next look begins
	before isogate.EntryID // of the entry before it, "" if it was never seen
	failed error           // what ends it
}

// file follows a journal in a directory: by the bell of this process, and by looking
// again for what others write.
func (w *follower) file(ctx context.Context) error {
	tick := time.NewTimer(0)
	defer tick.Stop()
	for {
		heard := w.r.news.heard()
		at, err := w.look(ctx, sqlLooker{w.r.db})
		switch {
		case w.failed != nil:
			return w.failed
		case err != nil:
			at = time.Now() // another process may hold the file; its lock ends with it
		}
		tick.Reset(w.every - time.Since(at))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-heard:
		case <-tick.C:
		}
	}
}

// shared follows a journal in PostgreSQL, over a session that listens for news.
func (w *follower) shared(ctx context.Context) error {
	pause := time.NewTimer(0)
	pause.Stop()
	defer pause.Stop()
	for rest := followBackoff; ; rest = min(2*rest, followBackoffMost) {
		if looked, _ := w.session(ctx); looked {
			rest = followBackoff
		}
		if w.failed != nil {
			return w.failed
		}
		pause.Reset(rest)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-pause.C:
		}
	}
}

// session follows over one session for as long as that lasts, and reports whether it ever
// worked.
func (w *follower) session(ctx context.Context) (looked bool, err error) {
	patience := max(w.every, followPatience)
	opening, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	l, err := w.r.remote.connect(opening, nil)
	if err != nil {
		return false, err
	}
	defer l.drop()
	// Before the first look, so that what comes behind it is heard.
	if _, err := l.Exec(opening, `LISTEN `+pgx.Identifier{w.r.remote.channel()}.Sanitize()); err != nil {
		return false, err
	}
	for {
		l.told = false // one look is enough for all that was told before it
		asking, cancel := context.WithTimeout(ctx, patience)
		at, err := w.look(asking, l)
		cancel()
		if err != nil {
			return looked, err
		}
		if looked = true; l.told {
			continue
		}
		waiting, cancel := context.WithDeadline(ctx, at.Add(w.every))
		err = l.PgConn().WaitForNotification(waiting)
		cancel()
		if err != nil && (ctx.Err() != nil || l.IsClosed() || !errors.Is(err, context.DeadlineExceeded)) {
			return looked, err
		}
	}
}

// look looks and delivers until there is nothing more, and says when the last look
// began. An error of the database is returned; what ends the follower is kept.
func (w *follower) look(ctx context.Context, db looker) (at time.Time, err error) {
	for {
		at = time.Now()
		s, err := w.r.sight(ctx, db, w.kind, w.next)
		if err != nil {
			return at, err
		}
		if err := w.take(s, at); err != nil {
			w.failed = err
			return at, err
		}
		if !s.more {
			return at, nil
		}
	}
}

// take checks that what was seen goes on from what was seen before, and delivers it.
func (w *follower) take(s sight, at time.Time) error {
	if s.next < w.next || w.before != "" && s.before != w.before {
		return fmt.Errorf("journal %s: %w: it has %d entries, and not those that were delivered up to entry %d", w.r.place, ErrPutBack, s.next, w.next)
	}
	b := Batch{UpTo: s.next, At: at, More: s.more}
	w.before = s.last
	for _, body := range s.bodies {
		e, err := decode(body)
		if err != nil {
			return err
		}
		if e.Kind == w.kind {
			b.Entries = append(b.Entries, e)
		}
		if s.more {
			b.UpTo, w.before = e.Seq+1, e.ID
		}
	}
	w.next = b.UpTo
	return w.f(b)
}

// sight is the journal at one moment, from a seq on.
type sight struct {
	next   uint64          // number of entries
	last   isogate.EntryID // the newest one's, "" if there is none
	before isogate.EntryID // of the entry before that seq
	bodies [][]byte        // of entries to follow
	more   bool            // there are more than these
}

// looker asks one question of a database.
type looker interface {
	ask(ctx context.Context, query string, args []any, row func(scan func(...any) error) error) error
}

// sightQuery is one statement, and so of one moment in both databases: the end of
// the journal, the entry before the seq $1, and what the outbox has
// of a kind from there on.
// An ID is at its fixed place (see idOffset). Bodies are looked up one by one, whatever the planner thinks of it.
const sightQuery = `SELECT n.next, n.id, (SELECT substr(body, 8, 26) FROM entry WHERE seq = $1 - 1), o.seq, (SELECT body FROM entry WHERE seq = o.seq)
	FROM (SELECT seq + 1 AS next, substr(body, 8, 26) AS id FROM entry ORDER BY seq DESC LIMIT 1) n
	LEFT JOIN (SELECT seq FROM outbox WHERE kind = $3 AND seq >= $1 ORDER BY seq LIMIT $2) o ON true
	ORDER BY o.seq`

// sight looks at the journal from a seq on.
func (r *Reader) sight(ctx context.Context, db looker, kind isogate.EntryKind, from uint64) (s sight, err error) {
	err = db.ask(ctx, sightQuery, []any{int64(from), int64(followPage), string(kind)}, func(scan func(...any) error) error { //nolint:gosec // sizes fit
		var next int64
		var last, before, body []byte
		var seq sql.NullInt64
		if err := scan(&next, &last, &before, &seq, &body); err != nil {
			return err
		}
		s.next, s.last, s.before = uint64(next), isogate.EntryID(last), isogate.EntryID(before) //nolint:gosec // never negative
		switch {
		case !seq.Valid:
		case body == nil:
			return fmt.Errorf("entry %d is missing; restore the newest backup of the journal", seq.Int64)
		default:
			s.bodies = append(s.bodies, body)
		}
		return nil
	})
	s.more = len(s.bodies) == followPage
	return s, r.wrap(err)
}

// sqlLooker asks over a pool.
type sqlLooker struct{ *sql.DB }

func (d sqlLooker) ask(ctx context.Context, query string, args []any, row func(func(...any) error) error) error {
	rows, err := d.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// ask implements looker over the session.
func (l *session) ask(ctx context.Context, query string, args []any, row func(func(...any) error) error) error {
	rows, err := l.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/isogate/isogate"
)

// postgresStore is a store in a PostgreSQL database into which other processes
// write as well.
//
// The head, a row of its own, holds the next seq and the newest ID. Every group
// locks it first, keeps it until its commit, and takes its places and IDs from it.
// So commits come one after the other in the order of the seqs; there is no gap, for
// what is rolled back moves nothing; and IDs are ordered as seqs are, by the one
// clock of the server. A sequence of the database would do none of it: it is not
// rolled back, and jumps when a standby takes over.
type postgresStore struct {
	at       *endpoint
	patience time.Duration
	clock    *clock
	session  *session // nil while there is none
	settled  bool     // the session's server was compared with what is acknowledged

	// What this process knows of the database, by which one that was put back is told.
	acknowledged place
	doubt        place // the first entry of a group whose commit is unknown; its ID is "" if there is none

	kinds  []string // of what is announced, and where it is
	seqs   []int64
	bodies [][]byte
	arena  []byte
}

// place is an entry by where it is and by what it is called; ID "" is none.
type place struct {
	seq uint64
	id  isogate.EntryID
}

// channel is what followers listen to. Channels are the whole database's, so what
// is told there is nothing but that there is news.
func (e *endpoint) channel() string { return e.schema }

func openPostgres(ctx context.Context, at *endpoint, cfg *Config) (*postgresStore, error) {
	if err := at.found(ctx, cfg.Verifier); err != nil {
		return nil, fmt.Errorf("journal %s: %w", at.place, explain(err))
	}
	return &postgresStore{at: at, patience: cfg.Patience, clock: newClock("")}, nil
}

// within gives a transaction its time. It is the server's too, where the server can
// be told: while it waits for a lock or for us. Nothing bounds its wait for a
// synchronous standby, which is why ours ends by dropping the session.
func (s *postgresStore) within(ctx context.Context) (context.Context, context.CancelFunc, error) {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	if s.session != nil {
		return ctx, cancel, nil
	}
	ms := strconv.FormatInt(s.patience.Milliseconds(), 10)
	l, err := s.at.connect(ctx, map[string]string{"lock_timeout": ms, "statement_timeout": ms, "idle_in_transaction_session_timeout": ms})
	if err != nil {
		cancel()
		return nil, nil, explain(err)
	}
	s.session, s.settled = l, false
	return ctx, cancel, nil
}

// drop ends the session: what the server has begun on it is as if it had not, or is unknown.
func (s *postgresStore) drop() {
	s.session.drop()
	s.session = nil
}

// begin opens a transaction and locks the head. It reads where the sequence stands
// and what time it is; the clock is read behind the lock, by a statement of its own.
func (s *postgresStore) begin(ctx context.Context) (next uint64, now time.Time, err error) {
	var at int64
	var last string
	b := &pgx.Batch{}
	b.Queue(`BEGIN`)
	b.Queue(`SELECT next, last FROM head WHERE one FOR UPDATE`).QueryRow(func(r pgx.Row) error { return r.Scan(&at, &last) })
	b.Queue(`SELECT clock_timestamp()`).QueryRow(func(r pgx.Row) error { return r.Scan(&now) })
	if err := s.session.SendBatch(ctx, b).Close(); err != nil {
		return 0, now, err
	}
	next = uint64(at) //nolint:gosec // never negative
	s.clock.follow(isogate.EntryID(last))
	return next, now, nil
}

// settle makes sure that the server of a new session, which may be another one than
// before, has every entry that this process acknowledged. The transaction holds the
// head.
func (s *postgresStore) settle(ctx context.Context, next uint64) error {
	if a := s.acknowledged; a.id != "" && !s.settled {
		there, err := s.has(ctx, next, a)
		if err != nil {
			return err
		}
		if !there {
			return fmt.Errorf("%w: it has %d entries, and not entry %d (%s), which it had confirmed; have the server that has it serve again, or restore its newest backup",
				ErrPutBack, next, a.seq, a.id)
		}
	}
	s.settled = true
	return nil
}

// has reports whether an entry is there.
func (s *postgresStore) has(ctx context.Context, next uint64, p place) (bool, error) {
	if p.seq >= next {
		return false, nil
	}
	var body []byte
	err := s.session.QueryRow(ctx, `SELECT body FROM entry WHERE seq = $1`, int64(p.seq)).Scan(&body) //nolint:gosec // sizes fit
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	return err == nil && idOf(body) == p.id, err
}

// open is what the transaction of a group begins with: the head locked, and what is
// known settled. It returns which entries of again are still to be written.
//
// Whether a group in doubt arrived is asked under the lock only: a commit that still
// waits for its standby cannot be seen yet, and holds the lock.
func (s *postgresStore) open(ctx context.Context, again []item) (next uint64, now time.Time, left []item, err error) {
	if next, now, err = s.begin(ctx); err != nil {
		return 0, now, again, err
	}
	if err := s.settle(ctx, next); err != nil {
		return 0, now, again, err
	}
	if s.doubt.id == "" {
		return next, now, again, nil
	}
	arrived, err := s.has(ctx, next, s.doubt)
	if err != nil {
		return 0, now, again, err
	}
	s.doubt.id = ""
	if arrived {
		again = slices.DeleteFunc(again, func(it item) bool { return it.doubtful })
	}
	for i := range again {
		again[i].doubtful = false
	}
	return next, now, again, nil
}

// commit implements store.
//
// promise: P23
func (s *postgresStore) commit(ctx context.Context, g *group) (uint64, error) {
	if g.size() == 0 {
		return 0, nil // a flush; nothing is written, and checkpoints are kept by the seat
	}
	ctx, cancel, err := s.within(ctx)
	if err != nil {
		return 0, err
	}
	defer cancel()
	base, now, left, err := s.open(ctx, g.again)
	if err != nil {
		s.drop()
		return 0, explain(s.late(ctx, err))
	}
	if g.again = left; g.size() == 0 {
		// All of it had arrived the last time.
		s.drop()
		return base, nil
	}
	first, last := s.compose(g, base, now)
	warned := s.session.warnings
	err = s.write(ctx, g, base, last)
	if err == nil && s.session.warnings == warned {
		s.acknowledged = last
		return base, nil
	}
	if err == nil {
		// The server confirms, and warns that it stopped waiting for its standby.
		err = errors.New("the database committed without waiting for its standby")
	}
	s.drop()
	err = s.late(ctx, err)
	if refused(err) && !errors.Is(err, context.DeadlineExceeded) {
		return 0, explain(err)
	}
	s.doubt = first
	g.each(func(it *item) { it.doubtful = true })
	return 0, fmt.Errorf("%w: %w", ErrUnknown, explain(err))
}

// compose makes the bodies of the group's entries.
func (s *postgresStore) compose(g *group, base uint64, now time.Time) (first, last place) {
	s.kinds, s.seqs, s.bodies, s.arena = s.kinds[:0], s.seqs[:0], s.bodies[:0], s.arena[:0]
	seq := base
	var ends []int
	g.each(func(it *item) {
		it.id, it.at = s.clock.stamp(now)
		s.arena = appendHead(s.arena, it.id, seq, it.at)
		s.arena = append(s.arena, it.tail...)
		ends = append(ends, len(s.arena))
		if last = (place{seq, it.id}); seq == base {
			first = last
		}
		if it.announced != "" {
			s.kinds = append(s.kinds, string(it.announced))
			s.seqs = append(s.seqs, int64(seq)) //nolint:gosec // a journal has fewer than 2^63 entries
		}
		seq++
	})
	from := 0
	for _, end := range ends {
		s.bodies = append(s.bodies, s.arena[from:end])
		from = end
	}
	return first, last
}

// write writes what was composed, moves the head and commits, in one round trip. The
// server skips what follows a statement that fails, the commit too.
func (s *postgresStore) write(ctx context.Context, g *group, base uint64, last place) error {
	b := &pgx.Batch{}
	b.Queue(`INSERT INTO entry (seq, body) SELECT $1::bigint + n - 1, body FROM unnest($2::bytea[]) WITH ORDINALITY AS t (body, n)`, int64(base), s.bodies) //nolint:gosec // sizes fit
	if len(s.seqs) > 0 {
		b.Queue(`INSERT INTO outbox (kind, seq) SELECT * FROM unnest($1::text[], $2::bigint[])`, s.kinds, s.seqs)
	}
	if g.rings() {
		b.Queue(`SELECT pg_notify($1, '')`, s.at.channel())
	}
	b.Queue(`UPDATE head SET next = $1, last = $2 WHERE one`, int64(base)+int64(g.size()), string(last.id)) //nolint:gosec // sizes fit
	b.Queue(`COMMIT`)
	return s.session.SendBatch(ctx, b).Close()
}

// refused reports whether the server said no to a statement, and goes on: nothing of
// the transaction is there. Where it is ending itself or the session, what it says
// does not tell whether the commit came before.
func refused(err error) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && pe.SeverityUnlocalized == "ERROR" && pe.Code[:2] != "57"
}

// late says what it means that our own time is over.
func (s *postgresStore) late(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return fmt.Errorf("no answer within %s; is the database, or the standby that it waits for, down or out of reach? %w", s.patience, err)
}

// probe implements store: it commits, as a group does, under the lock that groups
// take, so that what would hold up a group holds it up.
func (s *postgresStore) probe(ctx context.Context) (err error) {
	ctx, cancel, err := s.within(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	defer func() {
		if err != nil {
			s.drop()
			err = explain(s.late(ctx, err))
		}
	}()
	next, _, err := s.begin(ctx)
	if err != nil {
		return err
	}
	if err := s.settle(ctx, next); err != nil {
		return err
	}
	warned := s.session.warnings
	b := &pgx.Batch{}
	b.Queue(`INSERT INTO probe VALUES (true, $1)`, make([]byte, probeSize))
	b.Queue(`DELETE FROM probe`)
	b.Queue(`COMMIT`)
	if err := s.session.SendBatch(ctx, b).Close(); err != nil {
		return err
	}
	if s.session.warnings > warned {
		return errors.New("the database committed without waiting for its standby")
	}
	return nil
}

func (s *postgresStore) close() error {
	if s.session != nil {
		s.session.hangUp()
		s.session = nil
	}
	return nil
}

// explainPostgres adds the next step to PostgreSQL's errors that an operator can cure.
func explainPostgres(err error) error {
	var pe *pgconn.PgError
	if !errors.As(err, &pe) {
		return err
	}
	switch {
	case pe.Code == "53100":
		return fmt.Errorf("%w; free space on the database's disk", err)
	case pe.Code[:2] == "28":
		return fmt.Errorf("%w; check user, password and client certificate of the database's URL", err)
	case pe.Code == "3D000":
		return fmt.Errorf("%w; create the database", err)
	case pe.Code == "42501":
		return fmt.Errorf("%w; let the URL's user create a schema in the database, or give it one of its own", err)
	case pe.Code == "55P03":
		return fmt.Errorf("%w; another gateway's commit is still waiting, perhaps for a standby of the database", err)
	case pe.Code == "25006":
		return fmt.Errorf("%w; name the primary among the URL's hosts", err)
	}
	return err
}

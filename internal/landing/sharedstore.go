package landing

import (
	"context"
	"crypto/rand"
	"database/sql"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/isogate/isogate"
)

// The landings of a cluster keep one register. Three things that a landing which is
// alone knows by itself they know by the database:
//
//   - whether an identifier is registered: it is written down with every request, for
//     another landing may have erased it since
//   - which identifiers are in requests that the service has not answered (passing):
//     none is erased while it is in one, for it could come to the service after that
//   - what time it is, for what was registered before an erasure and what came after
const (
	// answeredEvery is how often it is written down what is in no request any more.
	answeredEvery = time.Second
	// passingFor is how long a request can be under way at the most. What passes
	// through a landing that died is waited for as long.
	passingFor = time.Hour
	// defaultSettling is how long ago an identifier must have been registered for the last
	// time before it is erased: a transaction takes less, so that what is registered
	// later than that is seen to be.
	defaultSettling = 15 * time.Second
)

// passed is an identifier in requests.
type passed struct {
	tenant isogate.Tenant
	label  isogate.Label
	id     string
}

// openSharedStore keeps the register in the database of a cluster.
func openSharedStore(db *sql.DB) *store {
	return &store{path: "in the cluster's database", db: db, member: rand.Text(), settling: defaultSettling}
}

// q is a query in the database's own spelling: parameters are written as SQLite has
// them, ?, or ?N where one is used twice.
func (s *store) q(query string) string {
	if s.member == "" {
		return query
	}
	var b strings.Builder
	n := 0
	for i := range len(query) {
		if query[i] != '?' {
			b.WriteByte(query[i])
			continue
		}
		b.WriteByte('$')
		if i+1 == len(query) || query[i+1] < '0' || query[i+1] > '9' {
			n++
			b.WriteString(strconv.Itoa(n))
		}
	}
	return b.String()
}

// probe writes something that changes nothing.
func (s *store) probe(ctx context.Context, tx *sql.Tx) error {
	if s.member == "" {
		_, err := tx.ExecContext(ctx, `PRAGMA user_version = 1`)
		return err
	}
	_, err := tx.ExecContext(ctx, `DELETE FROM passing WHERE at < 0`)
	return err
}

// clock is what time it is for all landings that share the store.
func (s *store) clock(ctx context.Context) (now time.Time, err error) {
	var ms int64
	err = s.db.QueryRowContext(ctx, `SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint`).Scan(&ms)
	return time.UnixMilli(ms).UTC(), err
}

// pass writes down that identifiers are in a request.
func (s *store) pass(ctx context.Context, tx *sql.Tx, t isogate.Tenant, rows []registered) error {
	if s.member == "" {
		return nil
	}
	for _, r := range rows {
		if _, err := tx.ExecContext(ctx, `INSERT INTO passing (tenant, label, id, member, at) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (tenant, label, id, member) DO UPDATE SET at = excluded.at`, string(t), string(r.Label), r.ID, s.member, r.last.UnixMilli()); err != nil {
			return err
		}
	}
	return nil
}

// tellAnswered writes down which identifiers are in no request any more.
func (r *register) tellAnswered(ctx context.Context) {
	if r.store.member == "" {
		return
	}
	r.writing.Lock() // so that none that is in a request again is taken for answered
	defer r.writing.Unlock()
	r.mu.Lock()
	batch := r.answered
	r.answered = map[digest]passed{}
	for d := range batch {
		if r.away[d] > 0 {
			delete(batch, d)
		}
	}
	r.mu.Unlock()
	if len(batch) == 0 {
		return
	}
	err := r.store.write(ctx, func(tx *sql.Tx) error {
		for _, p := range batch {
			if _, err := tx.ExecContext(ctx, `DELETE FROM passing WHERE tenant = $1 AND label = $2 AND id = $3 AND member = $4`, string(p.tenant), string(p.label), p.id, r.store.member); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM passing WHERE at < (extract(epoch FROM clock_timestamp()) * 1000)::bigint - $1`, passingFor.Milliseconds())
		return err
	})
	if err == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for d, p := range batch {
		r.answered[d] = p
	}
}

// recount reads how many identifiers there are, of which others add some.
func (r *register) recount(ctx context.Context) {
	if r.store.member == "" {
		return
	}
	r.writing.Lock()
	defer r.writing.Unlock()
	if counts, err := r.store.counts(ctx); err == nil {
		r.counts = counts
	}
}

// busy reports whether one of these is in a request through any landing, or was
// registered so lately that it may be.
func (s *store) busy(ctx context.Context, t isogate.Tenant, rows []identifier, now time.Time) (bool, error) {
	for _, r := range rows {
		var busy bool
		if err := s.db.QueryRowContext(ctx, `SELECT EXISTS (SELECT FROM passing WHERE tenant = $1 AND label = $2 AND id = $3 AND at > $4)
			OR EXISTS (SELECT FROM identifier WHERE tenant = $1 AND label = $2 AND id = $3 AND last > $5)`,
			string(t), string(r.Label), r.ID, now.Add(-passingFor).UnixMilli(), now.Add(-s.settling).UnixMilli()).Scan(&busy); err != nil || busy {
			return busy, err
		}
	}
	return false, nil
}

// shared reports whether other landings see to the same erasures.
func (e *erasures) shared() bool { return e.store.member != "" }

// now is when a call begins, for [store.confirm]: what is registered from then on
// stays. It says whether the call must wait.
func (e *erasures) now(ctx context.Context, t isogate.Tenant, rows []identifier) (called time.Time, busy bool) {
	if !e.shared() {
		return e.l.now(), false
	}
	now, err := e.store.clock(ctx)
	if err == nil {
		busy, err = e.store.busy(ctx, t, rows, now)
	}
	if err != nil {
		e.l.logger.Warn("an erasure waits for the cluster's database", slog.Any("error", err))
		return now, true
	}
	return now.Add(-e.store.settling), busy
}

// reload reads what other landings have done about erasures.
func (e *erasures) reload(ctx context.Context) {
	if !e.shared() {
		return
	}
	tasks, err := e.store.tasks(ctx)
	if err != nil {
		e.l.logger.Warn("erasures cannot be read; trying again", slog.Any("error", err))
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	there := map[jobKey]bool{}
	for _, t := range tasks {
		k := jobKey{t.tenant, t.id}
		there[k] = true
		j := e.jobs[k]
		if j == nil {
			e.jobs[k] = &job{task: *t}
			e.l.register.opened(t.tenant, t.rows)
			continue
		}
		j.overdue = j.overdue || t.overdue
		if j.state != t.state && j.state != erasureConfirmed {
			if j.state, j.cause = t.state, t.cause; j.state == erasureConfirmed {
				j.rows, j.valued = t.rows, false // the values are not needed any more
			}
		}
	}
	for k, j := range e.jobs {
		if !there[k] && j.asked.Before(e.l.now().Add(-time.Minute)) || !there[k] && j.state == erasureConfirmed {
			delete(e.jobs, k) // another told its end
			e.l.register.closed(j.tenant, j.rows)
		}
	}
	e.count()
}

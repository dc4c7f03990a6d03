package landing

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/seal"
)

// application identifies the file: "ISOR".
const application = 0x49534F52

// schema is version 1. Identifiers are the tenants' tokens: nothing here is
// plaintext, and nothing here turns a token back.
const schema = `
CREATE TABLE identifier (
	tenant  TEXT NOT NULL, label TEXT NOT NULL, id TEXT NOT NULL, subject TEXT NOT NULL,
	because TEXT NOT NULL, rule TEXT NOT NULL, entry TEXT NOT NULL, since INTEGER NOT NULL, last INTEGER NOT NULL,
	PRIMARY KEY (tenant, label, id, subject)) WITHOUT ROWID;
CREATE INDEX identifier_id ON identifier (tenant, id);
CREATE TABLE erasure (
	tenant TEXT NOT NULL, id TEXT NOT NULL, state TEXT NOT NULL, asked INTEGER NOT NULL, done INTEGER NOT NULL DEFAULT 0,
	cause TEXT NOT NULL DEFAULT '', overdue INTEGER NOT NULL DEFAULT 0, noted INTEGER NOT NULL DEFAULT 0,
	PRIMARY KEY (tenant, id)) WITHOUT ROWID;
CREATE TABLE erasing (
	tenant TEXT NOT NULL, erasure TEXT NOT NULL, label TEXT NOT NULL, id TEXT NOT NULL,
	PRIMARY KEY (tenant, erasure, label, id)) WITHOUT ROWID;
`

// store is the register and the erasures: in a SQLite file of this landing's, or in
// the PostgreSQL database that the landings of a cluster share (sharedstore.go). The
// statements are the same, but for how parameters are written.
type store struct {
	path   string // for messages
	db     *sql.DB
	member string // which of several landings this is; "" is alone, in SQLite
	// settling is how long an identifier must not have come for before it is erased.
	settling time.Duration
}

// registered is one identifier as it stands in the register.
type registered struct {
	seal.RegisterRow
	entry       string
	since, last time.Time
}

// identifier is what is to be erased. Its Value is never written down.
type identifier struct {
	Label isogate.Label `json:"label"`
	ID    string        `json:"id"`
	Value secret        `json:"value"`
}

// task is an erasure as it is written down.
type task struct {
	tenant  isogate.Tenant
	id      string
	state   erasureState
	asked   time.Time
	cause   string // of its end
	overdue bool   // that it is has been noted
	noted   bool   // its end has been
	rows    []identifier
}

func openStore(dir string) (_ *store, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("landing: %w; the state directory must be writable", err)
	}
	path, err := filepath.Abs(filepath.Join(dir, "register.db"))
	if err != nil {
		return nil, fmt.Errorf("landing: %w", err)
	}
	// Created here for its mode; SQLite gives the same one to the files beside it.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // below the state directory
	if err != nil {
		return nil, fmt.Errorf("landing: %w; the state directory must be writable", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("landing: %w", err)
	}
	pragmas := []string{"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)", "secure_delete(1)", "wal_autocheckpoint(512)", "journal_size_limit(0)"}
	dsn := (&url.URL{Scheme: "file", Path: path}).String() + "?_pragma=" + strings.Join(pragmas, "&_pragma=")
	connector, err := sqlite.NewConnector(dsn)
	if err != nil {
		return nil, fmt.Errorf("landing: register %s: %w", path, err)
	}
	s := &store{path: path, db: sql.OpenDB(connector)}
	defer func() {
		if err != nil {
			err = fmt.Errorf("landing: register %s: %w", path, errors.Join(explain(err), s.close()))
		}
	}()
	// Writers take turns in the register; a few connections are for who reads.
	s.db.SetMaxOpenConns(4)
	return s, s.migrate()
}

func (s *store) migrate() error {
	ctx := context.Background()
	return s.write(ctx, func(tx *sql.Tx) error {
		var app, version, tables int
		if err := tx.QueryRowContext(ctx, `SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version),
			(SELECT count(*) FROM sqlite_schema)`).Scan(&app, &version, &tables); err != nil {
			return err
		}
		switch {
		case tables == 0:
			_, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = 1; %s", application, schema))
			return err
		case app != application:
			return errors.New("this is not a register; name another directory")
		case version != 1:
			return fmt.Errorf("its schema has the number %d, which this program does not know; use the program that wrote it, or a newer one", version)
		}
		return nil
	})
}

func (s *store) close() error { return s.db.Close() }

// write runs do in a transaction, which is on disk when it returns nil.
func (s *store) write(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return explain(err)
	}
	if err := do(tx); err != nil {
		return errors.Join(explain(err), tx.Rollback())
	}
	return explain(tx.Commit())
}

// put adds rows, or renews them, and returns how many are new. More than room new
// ones are an error, and nothing of rows is written then.
func (s *store) put(ctx context.Context, tx *sql.Tx, t isogate.Tenant, rows []registered, room int64) (added int64, err error) {
	if _, err := tx.ExecContext(ctx, `SAVEPOINT request`); err != nil {
		return 0, err
	}
	for _, r := range rows {
		res, err := tx.ExecContext(ctx, s.q(`INSERT INTO identifier (tenant, label, id, subject, because, rule, entry, since, last)
			VALUES (?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING`), t, r.Label, r.ID, r.Subject, r.Because, r.Rule, r.entry, r.since.UnixMilli(), r.last.UnixMilli())
		if err != nil {
			return 0, err
		}
		n, err := res.RowsAffected()
		if err != nil {
			return 0, err
		}
		if n > 0 {
			added++
			continue
		}
		if _, err := tx.ExecContext(ctx, s.q(`UPDATE identifier SET because = ?, rule = ?, entry = ?, last = CASE WHEN last > ? THEN last ELSE ? END
			WHERE tenant = ? AND label = ? AND id = ? AND subject = ?`), r.Because, r.Rule, r.entry, r.last.UnixMilli(), r.last.UnixMilli(), t, r.Label, r.ID, r.Subject); err != nil {
			return 0, err
		}
	}
	if added > room {
		if _, err := tx.ExecContext(ctx, `ROLLBACK TO request`); err != nil {
			return 0, err
		}
		added, err = 0, errRegisterFull
	}
	if _, released := tx.ExecContext(ctx, `RELEASE request`); released != nil {
		return 0, released
	}
	return added, err
}

// counts returns how many identifiers each tenant has.
func (s *store) counts(ctx context.Context) (map[isogate.Tenant]int64, error) {
	rows, err := s.db.QueryContext(ctx, s.q(`SELECT tenant, count(*) FROM identifier GROUP BY tenant`))
	if err != nil {
		return nil, explain(err)
	}
	defer func() { _ = rows.Close() }()
	counts := map[isogate.Tenant]int64{}
	for rows.Next() {
		var t isogate.Tenant
		var n int64
		if err := rows.Scan(&t, &n); err != nil {
			return nil, explain(err)
		}
		counts[t] = n
	}
	return counts, explain(rows.Err())
}

// place is where a row stands in a tenant's list.
type place struct{ label, id, subject string }

// list returns rows behind a place, in order.
func (s *store) list(ctx context.Context, t isogate.Tenant, label, id string, after place, limit int) ([]registered, error) {
	rows, err := s.db.QueryContext(ctx, s.q(`SELECT label, id, subject, because, rule, entry, since, last FROM identifier
		WHERE tenant = ?1 AND (label, id, subject) > (?2, ?3, ?4) AND (?5 = '' OR label = ?5) AND (?6 = '' OR id = ?6)
		ORDER BY label, id, subject LIMIT ?7`), t, after.label, after.id, after.subject, label, id, limit)
	if err != nil {
		return nil, explain(err)
	}
	defer func() { _ = rows.Close() }()
	var out []registered
	for rows.Next() {
		var r registered
		var since, last int64
		if err := rows.Scan(&r.Label, &r.ID, &r.Subject, &r.Because, &r.Rule, &r.entry, &since, &last); err != nil {
			return nil, explain(err)
		}
		r.since, r.last = time.UnixMilli(since).UTC(), time.UnixMilli(last).UTC()
		out = append(out, r)
	}
	return out, explain(rows.Err())
}

// tasks returns the erasures that are not done, and those whose end nobody was told of.
func (s *store) tasks(ctx context.Context) ([]*task, error) {
	rows, err := s.db.QueryContext(ctx, s.q(`SELECT e.tenant, e.id, e.state, e.asked, e.cause, e.overdue, e.noted, r.label, r.id
		FROM erasure e JOIN erasing r ON r.tenant = e.tenant AND r.erasure = e.id WHERE e.noted = 0 ORDER BY e.tenant, e.id, r.label, r.id`))
	if err != nil {
		return nil, explain(err)
	}
	return scanTasks(rows)
}

// task returns one erasure, or nil.
func (s *store) task(ctx context.Context, t isogate.Tenant, id string) (*task, error) {
	rows, err := s.db.QueryContext(ctx, s.q(`SELECT e.tenant, e.id, e.state, e.asked, e.cause, e.overdue, e.noted, r.label, r.id
		FROM erasure e JOIN erasing r ON r.tenant = e.tenant AND r.erasure = e.id WHERE e.tenant = ? AND e.id = ? ORDER BY r.label, r.id`), t, id)
	if err != nil {
		return nil, explain(err)
	}
	tasks, err := scanTasks(rows)
	if err != nil || len(tasks) == 0 {
		return nil, err
	}
	return tasks[0], nil
}

func scanTasks(rows *sql.Rows) (tasks []*task, err error) {
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var k task
		var row identifier
		var asked int64
		if err := rows.Scan(&k.tenant, &k.id, &k.state, &asked, &k.cause, &k.overdue, &k.noted, &row.Label, &row.ID); err != nil {
			return nil, explain(err)
		}
		k.asked = time.UnixMilli(asked).UTC()
		if n := len(tasks); n == 0 || tasks[n-1].tenant != k.tenant || tasks[n-1].id != k.id {
			tasks = append(tasks, &k)
		}
		last := tasks[len(tasks)-1]
		last.rows = append(last.rows, row)
	}
	return tasks, explain(rows.Err())
}

// ask writes an erasure down.
func (s *store) ask(ctx context.Context, k *task) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, s.q(`INSERT INTO erasure (tenant, id, state, asked) VALUES (?,?,?,?)`), k.tenant, k.id, k.state, k.asked.UnixMilli()); err != nil {
			return err
		}
		for _, r := range k.rows {
			if _, err := tx.ExecContext(ctx, s.q(`INSERT INTO erasing (tenant, erasure, label, id) VALUES (?,?,?,?) ON CONFLICT DO NOTHING`), k.tenant, k.id, r.Label, r.ID); err != nil {
				return err
			}
		}
		return nil
	})
}

// confirm writes down that an erasure is done, and removes what it erased unless
// it was registered anew since the service was called.
func (s *store) confirm(ctx context.Context, k *task, cause string, called, now time.Time) (removed int64, err error) {
	err = s.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, s.q(`UPDATE erasure SET state = ?, done = ?, cause = ? WHERE tenant = ? AND id = ?`),
			erasureConfirmed, now.UnixMilli(), cause, k.tenant, k.id); err != nil {
			return err
		}
		for _, r := range k.rows {
			res, err := tx.ExecContext(ctx, s.q(`DELETE FROM identifier WHERE tenant = ? AND label = ? AND id = ? AND last < ?`), k.tenant, r.Label, r.ID, called.UnixMilli())
			if err != nil {
				return err
			}
			n, err := res.RowsAffected()
			if err != nil {
				return err
			}
			removed += n
		}
		return nil
	})
	return removed, err
}

// noted writes down that the receipts have what became of an erasure: that it is
// overdue, or its end.
func (s *store) noted(ctx context.Context, k *task, end bool) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		query := `UPDATE erasure SET overdue = 1, state = 'overdue' WHERE tenant = ? AND id = ? AND state <> 'confirmed'`
		if end {
			query = `UPDATE erasure SET noted = 1 WHERE tenant = ? AND id = ?`
		}
		_, err := tx.ExecContext(ctx, s.q(query), k.tenant, k.id)
		return err
	})
}

// forget removes erasures that were done before a time.
func (s *store) forget(ctx context.Context, before time.Time) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, s.q(`DELETE FROM erasing WHERE (tenant, erasure) IN (SELECT tenant, id FROM erasure WHERE noted = 1 AND done < ?)`), before.UnixMilli()); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, s.q(`DELETE FROM erasure WHERE noted = 1 AND done < ?`), before.UnixMilli())
		return err
	})
}

// truncate copies the write-ahead log into the database and empties it, so that
// what was deleted is in no file any more. It fails while somebody reads.
func (s *store) truncate(ctx context.Context) error {
	if s.member != "" {
		return nil // what PostgreSQL's log still has are tokens, which nothing outside turns back
	}
	var busy, log, done int
	if err := s.db.QueryRowContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &log, &done); err != nil {
		return explain(err)
	}
	if busy != 0 {
		return errors.New("the write-ahead log is in use")
	}
	return nil
}

// explain adds the next step to a database's errors that an operator can cure.
func explain(err error) error {
	var se *sqlite.Error
	if !errors.As(err, &se) {
		return err
	}
	switch se.Code() & 0xff {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR:
		return fmt.Errorf("%w; check the disk and its free space", err)
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return fmt.Errorf("%w; another process writes to the register, stop it", err)
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT:
		return fmt.Errorf("%w; the file is damaged, restore the state directory from its newest backup", err)
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN:
		return fmt.Errorf("%w; the state directory and its files must be writable by this user", err)
	}
	return err
}

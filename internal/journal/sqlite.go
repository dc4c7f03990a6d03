package journal

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

const (
	dbName   = "journal.db"
	lockName = "lock"
	logName  = "log"

	// application identifies the file: "ISOJ". Its user_version is the schema's
	// number, which the migrations set: a program that does not know it keeps off.
	application = 0x49534F4A
)

// batches are the row counts for which an insert is kept prepared, largest first.
var batches = [...]int{64, 16, 4, 1}

// sqliteStore is a store in one file: the one writing connection.
type sqliteStore struct {
	path  string
	now   func() time.Time
	db    *sql.DB
	conn  *sql.Conn
	next  uint64 // seq of the next entry, as the database has it
	clock *clock // at the newest entry, as the database has it
	sure  bool   // both are what the database says; not after a failed commit

	begin, end, undo driver.StmtExecContext
	swap, announce   driver.StmtExecContext
	insert           [len(batches)]driver.StmtExecContext
	prepared         []driver.Stmt
	args             []driver.NamedValue
	arena            []byte // bodies of the group being written
	ends             []int
}

// dsn names the database for the driver. _pragma values are set on each connection.
func dsn(path string, params ...string) string {
	return (&url.URL{Scheme: "file", Path: path}).String() + "?" + strings.Join(params, "&")
}

func openSQLite(ctx context.Context, cfg *Config) (_ *sqliteStore, err error) {
	path, err := filepath.Abs(filepath.Join(cfg.Dir, dbName))
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	// Created here for its mode; SQLite gives the same one to the files beside it.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // below the state directory
	if err != nil {
		return nil, fmt.Errorf("journal: %w; the journal's directory must be writable", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	// A commit costs by its pages more than by its bytes, so they are large; a
	// write-ahead log of 8 MiB is as much as may be copied while a commit waits.
	connector, err := sqlite.NewConnector(dsn(path, "_pragma=busy_timeout(5000)", "_pragma=page_size(16384)", "_pragma=journal_mode(WAL)",
		"_pragma=synchronous(FULL)", "_pragma=wal_autocheckpoint(512)", "_pragma=journal_size_limit(67108864)"))
	if err != nil {
		return nil, fmt.Errorf("journal %s: %w", path, err)
	}
	s := &sqliteStore{path: path, now: cfg.Now, clock: newClock(""), db: sql.OpenDB(connector)}
	defer func() {
		if err != nil {
			_ = s.close()
			err = fmt.Errorf("journal %s: %w", path, explain(err))
		}
	}()
	if s.conn, err = s.db.Conn(ctx); err != nil {
		return nil, err
	}
	if err := s.migrate(ctx); err != nil {
		return nil, err
	}
	if err := belongs(ctx, s.conn, cfg.Tenant, cfg.Verifier); err != nil {
		return nil, err
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	return s, s.prepare(ctx)
}

// migrate makes sure that the file is a journal's database and brings it to this
// version; an empty one becomes one.
func (s *sqliteStore) migrate(ctx context.Context) error {
	var app, tables int
	var ver int64
	if err := s.conn.QueryRowContext(ctx, `SELECT (SELECT application_id FROM pragma_application_id),
		(SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_schema)`).Scan(&app, &ver, &tables); err != nil {
		return err
	}
	if tables > 0 && app != application {
		return errors.New("this is not a journal's database; name another directory")
	}
	return migrate(ctx, s.db, sqliteMigrations(), ver)
}

func (s *sqliteStore) prepare(ctx context.Context) error {
	return s.conn.Raw(func(c any) error {
		preparer, ok := c.(driver.ConnPrepareContext)
		if !ok {
			return errors.New("the SQLite driver cannot prepare statements")
		}
		prepare := func(query string) (_ driver.StmtExecContext, err error) {
			st, err := preparer.PrepareContext(ctx, query)
			if err != nil {
				return nil, err
			}
			s.prepared = append(s.prepared, st)
			x, ok := st.(driver.StmtExecContext)
			if !ok {
				return nil, errors.New("the SQLite driver cannot execute prepared statements")
			}
			return x, nil
		}
		var err error
		if s.begin, err = prepare(`BEGIN IMMEDIATE`); err != nil {
			return err
		}
		if s.end, err = prepare(`COMMIT`); err != nil {
			return err
		}
		if s.undo, err = prepare(`ROLLBACK`); err != nil {
			return err
		}
		if s.swap, err = prepare(keepQuery); err != nil {
			return err
		}
		if s.announce, err = prepare(`INSERT INTO outbox (kind, seq) VALUES (?1, ?2)`); err != nil {
			return err
		}
		for i, n := range batches {
			rows := "(?,?)" + strings.Repeat(",(?,?)", n-1)
			if s.insert[i], err = prepare(`INSERT INTO entry (seq, body) VALUES ` + rows); err != nil {
				return err
			}
		}
		s.args = make([]driver.NamedValue, 2*batches[0])
		for i := range s.args {
			s.args[i].Ordinal = i + 1
		}
		return nil
	})
}

// find asks the database where it stands.
func (s *sqliteStore) find(ctx context.Context) error {
	var seq int64
	var body []byte
	err := s.conn.QueryRowContext(ctx, `SELECT seq, body FROM entry ORDER BY seq DESC LIMIT 1`).Scan(&seq, &body)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		s.next = 0
		s.clock.follow("")
	case err != nil:
		return err
	default:
		s.next = uint64(seq) + 1 //nolint:gosec // seq is never negative
		s.clock.follow(idOf(body))
	}
	s.sure = true
	return nil
}

// commit implements store. After an error the next commit asks the database where
// it stands, as at the start. An outcome is never unknown: SQLite says it.
func (s *sqliteStore) commit(ctx context.Context, g *group) (uint64, error) {
	if !s.sure {
		if err := s.find(ctx); err != nil {
			return 0, explain(err)
		}
	}
	s.arena, s.ends = s.arena[:0], s.ends[:0]
	seq := s.next
	if g.size() > 0 {
		now := s.now() // one time for those that share a transaction
		g.each(func(it *item) {
			it.id, it.at = s.clock.stamp(now)
			s.arena = appendHead(s.arena, it.id, seq, it.at)
			s.arena = append(s.arena, it.tail...)
			s.ends = append(s.ends, len(s.arena))
			seq++
		})
	}
	base := s.next
	if err := s.transact(ctx, g, base); err != nil {
		s.sure = false
		return 0, explain(err)
	}
	s.next = seq
	return base, nil
}

func (s *sqliteStore) transact(ctx context.Context, g *group, base uint64) error {
	return s.conn.Raw(func(any) (err error) {
		if _, err := s.begin.ExecContext(ctx, nil); err != nil {
			return err
		}
		defer func() {
			if err != nil {
				// Fails where SQLite has rolled back by itself, which is as good.
				_, _ = s.undo.ExecContext(ctx, nil)
			}
		}()
		if err := s.rows(ctx, base); err != nil {
			return err
		}
		if err := s.announcements(ctx, g, base); err != nil {
			return err
		}
		for i := range g.acts {
			a := &g.acts[i]
			if a.now == nil {
				continue
			}
			if a.err = s.keep(ctx, a.was, a.now); a.err != nil && !errors.Is(a.err, errOvertaken) {
				return a.err
			}
		}
		_, err = s.end.ExecContext(ctx, nil)
		return err
	})
}

func (s *sqliteStore) rows(ctx context.Context, seq uint64) error {
	from, rest := 0, s.ends
	for i, n := range batches {
		for len(rest) >= n {
			for k, to := range rest[:n] {
				s.args[2*k].Value = int64(seq) //nolint:gosec // a journal has fewer than 2^63 entries
				s.args[2*k+1].Value = s.arena[from:to]
				from = to
				seq++
			}
			if _, err := s.insert[i].ExecContext(ctx, s.args[:2*n]); err != nil {
				return err
			}
			rest = rest[n:]
		}
	}
	return nil
}

// announcements writes down which of the group's entries every gateway must hear of.
func (s *sqliteStore) announcements(ctx context.Context, g *group, seq uint64) (err error) {
	g.each(func(it *item) {
		if it.announced != "" && err == nil {
			_, err = s.announce.ExecContext(ctx, []driver.NamedValue{{Ordinal: 1, Value: string(it.announced)}, {Ordinal: 2, Value: int64(seq)}}) //nolint:gosec // see rows
		}
		seq++
	})
	return err
}

// keep replaces the checkpoint was by now, if it is still was.
func (s *sqliteStore) keep(ctx context.Context, was, now *kept) error {
	args := []driver.Value{int64(now.size), now.root, now.nodes(), now.note, int64(was.size), was.root} //nolint:gosec // sizes fit
	named := make([]driver.NamedValue, len(args))
	for i, a := range args {
		named[i] = driver.NamedValue{Ordinal: i + 1, Value: a}
	}
	res, err := s.swap.ExecContext(ctx, named)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return errors.Join(errOvertaken, err)
	}
	return nil
}

// probe implements store.
func (s *sqliteStore) probe(ctx context.Context) error {
	_, err := s.conn.ExecContext(ctx, `INSERT OR REPLACE INTO probe VALUES (1, zeroblob(?))`, probeSize)
	if err == nil {
		_, err = s.conn.ExecContext(ctx, `DELETE FROM probe`)
	}
	return explain(err)
}

func (s *sqliteStore) close() error {
	var errs []error
	if s.conn != nil {
		// A connection with statements left is never closed, and keeps its files.
		errs = append(errs, s.conn.Raw(func(any) error {
			for _, st := range s.prepared {
				errs = append(errs, st.Close())
			}
			return nil
		}), s.conn.Close())
	}
	return errors.Join(append(errs, s.db.Close())...)
}

// explain adds the next step to a database's errors that an operator can cure.
func explain(err error) error {
	var se *sqlite.Error
	if !errors.As(err, &se) {
		return explainPostgres(err)
	}
	switch se.Code() & 0xff {
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("%w; free space on its disk", err)
	case sqlite3.SQLITE_IOERR:
		return fmt.Errorf("%w; check the disk and its free space", err)
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return fmt.Errorf("%w; another process writes to the database, stop it", err)
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT:
		return fmt.Errorf("%w; the file is damaged, restore the whole state directory from its newest backup", err)
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN:
		return fmt.Errorf("%w; the journal's directory and files must be writable by this user", err)
	}
	return err
}

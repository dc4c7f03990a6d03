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

	"github.com/transparency-dev/merkle/rfc6962"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/isogate/isogate"
)

const (
	dbName   = "journal.db"
	lockName = "lock"
	logName  = "log"

	// application and version identify the file: "ISOJ" and the schema's number.
	application = 0x49534F4A
	version     = 1
)

// The schema keeps nothing twice: an entry's row is its place and its exact
// bytes. checkpoint has one row, the last one signed.
const schema = `
CREATE TABLE entry (seq INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
CREATE TABLE checkpoint (
	one INTEGER PRIMARY KEY CHECK (one = 1),
	size INTEGER NOT NULL,
	root BLOB NOT NULL,
	nodes BLOB NOT NULL, -- the compact range [0, size): RFC 6962 subtree hashes, left to right
	note BLOB NOT NULL   -- the signed checkpoint, exactly as published; empty at size 0
) STRICT;
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE probe (one INTEGER PRIMARY KEY CHECK (one = 1), fill BLOB NOT NULL) STRICT;
`

// batches are the row counts for which an insert is kept prepared, largest first.
var batches = [...]int{64, 16, 4, 1}

// store is the one writing connection. It is used by one goroutine at a time:
// Open's, and then the writer's.
type store struct {
	path string
	db   *sql.DB
	conn *sql.Conn
	next uint64 // seq of the next entry, as the database has it
	sure bool   // next is what the database says; not after a failed commit

	begin, end, undo driver.StmtExecContext
	swap             driver.StmtExecContext
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

func openStore(ctx context.Context, path string, tenant isogate.Tenant, vkey string) (_ *store, err error) {
	path, err = filepath.Abs(path)
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
	s := &store{path: path, db: sql.OpenDB(connector)}
	defer func() {
		if err != nil {
			_ = s.close()
			err = fmt.Errorf("journal %s: %w", path, explain(err))
		}
	}()
	if s.conn, err = s.db.Conn(ctx); err != nil {
		return nil, err
	}
	if err := s.found(ctx, tenant, vkey); err != nil {
		return nil, err
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	return s, s.prepare(ctx)
}

// found makes sure that the database is a journal, this tenant's and of this
// version; an empty one becomes it.
func (s *store) found(ctx context.Context, tenant isogate.Tenant, vkey string) error {
	var app, ver, tables int
	if err := s.conn.QueryRowContext(ctx, `SELECT (SELECT application_id FROM pragma_application_id),
		(SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_schema)`).Scan(&app, &ver, &tables); err != nil {
		return err
	}
	switch {
	case tables == 0 && app == 0:
		tx, err := s.conn.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }()
		_, err = tx.ExecContext(ctx, schema+fmt.Sprintf("PRAGMA application_id=%d; PRAGMA user_version=%d;", application, version))
		if err != nil {
			return err
		}
		empty := rfc6962.DefaultHasher.EmptyRoot()
		if _, err := tx.ExecContext(ctx, `INSERT INTO checkpoint VALUES (1, 0, ?, x'', x'')`, empty); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO meta VALUES ('tenant', ?), ('vkey', ?)`, string(tenant), vkey); err != nil {
			return err
		}
		return tx.Commit()
	case app != application:
		return errors.New("this is not a journal's database; name another directory")
	case ver != version:
		return fmt.Errorf("the journal's format is %d and this program writes %d; use the release that wrote it", ver, version)
	}
	var owner string
	if err := s.conn.QueryRowContext(ctx, `SELECT value FROM meta WHERE key='tenant'`).Scan(&owner); err != nil {
		return err
	}
	if owner != string(tenant) {
		return fmt.Errorf("the journal is tenant %q's, not %q's; name the directory of this tenant", owner, tenant)
	}
	return nil
}

func (s *store) prepare(ctx context.Context) error {
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
		if s.swap, err = prepare(`UPDATE checkpoint SET size=?1, root=?2, nodes=?3, note=?4 WHERE one=1 AND size=?5 AND root=?6`); err != nil {
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

// tail returns the seq of the next entry and the ID of the newest, "" if there is none.
func (s *store) tail(ctx context.Context) (next uint64, last isogate.EntryID, err error) {
	var seq sql.NullInt64
	var body []byte
	err = s.conn.QueryRowContext(ctx, `SELECT seq, body FROM entry ORDER BY seq DESC LIMIT 1`).Scan(&seq, &body)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		s.next, s.sure = 0, true
		return 0, "", nil
	case err != nil:
		return 0, "", fmt.Errorf("journal %s: %w", s.path, explain(err))
	}
	s.next, s.sure = uint64(seq.Int64)+1, true //nolint:gosec // seq is never negative
	return s.next, idOf(body), nil
}

// commit writes the group in one transaction and returns the seq of its first
// entry. After an error the next commit asks the database where it stands, as at
// the start.
func (s *store) commit(ctx context.Context, g *group) (uint64, error) {
	if !s.sure {
		if _, _, err := s.tail(ctx); err != nil {
			return 0, err
		}
	}
	base := s.next
	s.arena, s.ends = s.arena[:0], s.ends[:0]
	seq := base
	for _, items := range [...][]item{g.again, g.items} {
		for i := range items {
			s.arena = appendHead(s.arena, items[i].id, seq, items[i].at)
			s.arena = append(s.arena, items[i].tail...)
			s.ends = append(s.ends, len(s.arena))
			seq++
		}
	}
	if err := s.transact(ctx, g, base); err != nil {
		s.sure = false
		return 0, explain(err)
	}
	s.next = seq
	return base, nil
}

func (s *store) transact(ctx context.Context, g *group, base uint64) error {
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
		for i := range g.acts {
			if g.acts[i].err = g.acts[i].do(ctx, s); g.acts[i].err != nil && !errors.Is(g.acts[i].err, errOvertaken) {
				return g.acts[i].err
			}
		}
		_, err = s.end.ExecContext(ctx, nil)
		return err
	})
}

func (s *store) rows(ctx context.Context, seq uint64) error {
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

// errOvertaken says that the checkpoint in the database is not the one that was
// to be replaced.
var errOvertaken = errors.New("the checkpoint in the database is another one than was read; was the database put back or written by another process?")

// keep replaces the checkpoint was by now, if it is still was.
func (s *store) keep(ctx context.Context, was, now *kept) error {
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

// probeSize is what a probe writes: more than a usual group.
const probeSize = 256 << 10

// probe finds out whether the database can be written, and leaves nothing behind.
func (s *store) probe(ctx context.Context) error {
	_, err := s.conn.ExecContext(ctx, `INSERT OR REPLACE INTO probe VALUES (1, zeroblob(?))`, probeSize)
	if err == nil {
		_, err = s.conn.ExecContext(ctx, `DELETE FROM probe`)
	}
	return explain(err)
}

func (s *store) close() error {
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

// explain adds the next step to SQLite's errors that an operator can cure.
func explain(err error) error {
	var se *sqlite.Error
	if !errors.As(err, &se) {
		return err
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

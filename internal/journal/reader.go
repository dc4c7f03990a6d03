package journal

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"
	"modernc.org/sqlite"

	"github.com/isogate/isogate"
)

// Reader reads a journal, also while other processes write it. It changes nothing.
type Reader struct {
	place  string // where the journal is, for messages
	db     *sql.DB
	tree   tree      // the Merkle log
	news   *bell     // rung by the journal of this process, if any, when there is something to follow
	remote *endpoint // of the database, if it is PostgreSQL
	format int64     // of a file, when it was opened; the latest of SQLite where it is PostgreSQL
}

// ReaderConfig says which journal to read: the one in Dir, or the one of Tenant in
// Database.
type ReaderConfig struct {
	// Dir is the journal's directory. It is not used where Database is set.
	Dir string
	// Database, Tenant and Dial are as in [Config].
	Database string
	Tenant   isogate.Tenant
	Dial     DialFunc
}

// Open opens the journal for reading. It must exist already.
func (c ReaderConfig) Open(ctx context.Context) (*Reader, error) {
	if c.Database == "" {
		return openFile(ctx, c.Dir)
	}
	at, err := newEndpoint(c.Database, c.Tenant, c.Dial)
	if err != nil {
		return nil, err
	}
	return openShared(ctx, at)
}

// OpenReader opens the journal in dir for reading.
func OpenReader(dir string) (*Reader, error) {
	return ReaderConfig{Dir: dir}.Open(context.Background())
}

// openFile opens a SQLite journal. One that no gateway has brought to this version
// yet can be read all the same, but not followed.
func openFile(ctx context.Context, dir string) (*Reader, error) {
	path, err := filepath.Abs(filepath.Join(dir, dbName))
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("journal: %w; name the state directory of a tenant", err)
	}
	// What is read is mostly new, and read once: eight connections need no cache of 2 MiB each.
	connector, err := sqlite.NewConnector(dsn(path, "mode=ro", "_pragma=busy_timeout(5000)", "_pragma=query_only(1)", "_pragma=cache_size(-256)"))
	if err != nil {
		return nil, fmt.Errorf("journal %s: %w", path, err)
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(8)
	var app int
	var ver int64
	err = db.QueryRowContext(ctx, `SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version)`).Scan(&app, &ver)
	switch {
	case err != nil:
		err = explain(err)
	case app != application:
		err = errors.New("this is not a journal's database; name another directory")
	case ver > sqliteLatest:
		err = fmt.Errorf("the journal's format is %d and this program reads %d; use the release that wrote it", ver, sqliteLatest)
	}
	if err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("journal %s: %w", path, err)
	}
	return &Reader{place: dir, db: db, tree: tree{directory(filepath.Join(dir, logName))}, news: newBell(), format: ver}, nil
}

// openShared opens a journal in PostgreSQL.
func openShared(ctx context.Context, at *endpoint) (*Reader, error) {
	db := at.pool()
	r := &Reader{place: at.place, db: db, tree: tree{shelf{db: db}}, news: newBell(), remote: at, format: sqliteLatest}
	var has int64
	err := db.QueryRowContext(ctx, `SELECT coalesce(max(version_id), 0) FROM `+versionTable).Scan(&has)
	switch {
	case undefined(err):
		err = errors.New("there is no journal of this tenant yet; start its gateway, or name another database")
	case err == nil && has != postgresLatest:
		err = fmt.Errorf("the journal's format is %d and this program reads %d; use the release that wrote it", has, postgresLatest)
	}
	if err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("journal %s: %w", at.place, explain(err))
	}
	return r, nil
}

// Close releases the reader.
func (r *Reader) Close() error { return r.db.Close() }

// Tenant is whose journal it is.
func (r *Reader) Tenant(ctx context.Context) (isogate.Tenant, error) {
	s, err := r.meta(ctx, "tenant")
	return isogate.Tenant(s), err
}

// Verifier is the vkey that the journal was created with. It is as trustworthy
// as the state directory; an auditor brings their own copy.
func (r *Reader) Verifier(ctx context.Context) (string, error) { return r.meta(ctx, "vkey") }

func (r *Reader) meta(ctx context.Context, key string) (s string, err error) {
	err = r.db.QueryRowContext(ctx, `SELECT value FROM meta WHERE key=$1`, key).Scan(&s)
	return s, r.wrap(err)
}

func (r *Reader) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("journal %s: %w", r.place, explain(err))
}

// Checkpoint returns the newest one. Its signature is not checked here.
func (r *Reader) Checkpoint(ctx context.Context) (Checkpoint, error) {
	k, err := r.kept(ctx)
	if err != nil {
		return Checkpoint{}, err
	}
	return k.public(), nil
}

func (r *Reader) kept(ctx context.Context) (*kept, error) {
	var k kept
	var size int64
	var nodes []byte
	if err := r.db.QueryRowContext(ctx, `SELECT size, root, nodes, note FROM checkpoint WHERE one=1`).Scan(&size, &k.root, &nodes, &k.note); err != nil {
		return nil, r.wrap(err)
	}
	k.size = uint64(size) //nolint:gosec // never negative
	var err error
	if k.tree, err = ranges.NewRange(0, k.size, bytes32(nodes)); err == nil {
		var root []byte
		if root, err = rootOf(k.tree); err == nil && string(root) != string(k.root) {
			err = errors.New("its parts do not belong together")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("journal %s: the checkpoint in the database was changed: %w; restore the newest backup of the whole state directory", r.place, err)
	}
	return &k, nil
}

// count is the number of entries, which is the seq of the next one.
func (r *Reader) count(ctx context.Context) (uint64, error) {
	var n sql.NullInt64
	if err := r.db.QueryRowContext(ctx, `SELECT max(seq) FROM entry`).Scan(&n); err != nil {
		return 0, r.wrap(err)
	}
	if !n.Valid {
		return 0, nil
	}
	return uint64(n.Int64) + 1, nil //nolint:gosec // seq is never negative
}

// each calls f with the bytes of the entries [from, to), which must all be there.
func (r *Reader) each(ctx context.Context, from, to uint64, f func(seq uint64, body []byte) error) error {
	rows, err := r.db.QueryContext(ctx, `SELECT seq, body FROM entry WHERE seq >= $1 AND seq < $2 ORDER BY seq`, int64(from), int64(to)) //nolint:gosec // sizes fit
	if err != nil {
		return r.wrap(err)
	}
	defer rows.Close()
	want := from
	for rows.Next() {
		var seq int64
		var body []byte
		if err := rows.Scan(&seq, &body); err != nil {
			return r.wrap(err)
		}
		if uint64(seq) != want { //nolint:gosec // never negative
			break
		}
		if err := f(want, body); err != nil {
			return err
		}
		want++
	}
	if err := rows.Err(); err != nil {
		return r.wrap(err)
	}
	if want != to {
		return fmt.Errorf("journal %s: entry %d is missing; restore the newest backup of the whole state directory", r.place, want)
	}
	return nil
}

func (r *Reader) bodies(ctx context.Context, from, to uint64) ([][]byte, error) {
	bodies := make([][]byte, 0, to-from)
	err := r.each(ctx, from, to, func(_ uint64, body []byte) error {
		bodies = append(bodies, body)
		return nil
	})
	return bodies, err
}

// row is one entry's bytes; nil if there is no such row.
func (r *Reader) row(ctx context.Context, seq uint64) (body []byte, err error) {
	err = r.db.QueryRowContext(ctx, `SELECT body FROM entry WHERE seq=$1`, int64(seq)).Scan(&body) //nolint:gosec // sizes fit
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return body, r.wrap(err)
}

// search is the seq of the first entry whose ID is not less than id, by bisection:
// IDs are ordered as seqs are. That takes about log2 of the journal's length look-ups.
func (r *Reader) search(ctx context.Context, id isogate.EntryID) (uint64, error) {
	n, err := r.count(ctx)
	if err != nil {
		return 0, err
	}
	low, high := uint64(0), n
	for low < high {
		mid := (low + high) / 2
		body, err := r.row(ctx, mid)
		if err != nil {
			return 0, err
		}
		if idOf(body) < id {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low, nil
}

// Find returns the seq and the exact bytes of an entry. The error is
// [ErrNotFound] where there is none.
func (r *Reader) Find(ctx context.Context, id isogate.EntryID) (uint64, []byte, error) {
	if _, err := ulid.ParseStrict(string(id)); err != nil {
		return 0, nil, fmt.Errorf("journal: %q is not an entry's ID: %w", id, ErrNotFound)
	}
	seq, err := r.search(ctx, id)
	if err != nil {
		return 0, nil, err
	}
	body, err := r.row(ctx, seq)
	if err != nil {
		return 0, nil, err
	}
	if idOf(body) != id {
		return 0, nil, fmt.Errorf("journal %s: %s: %w", r.place, id, ErrNotFound)
	}
	return seq, body, nil
}

// Get returns an entry. The error is [ErrNotFound] where there is none.
func (r *Reader) Get(ctx context.Context, id isogate.EntryID) (isogate.Entry, error) {
	_, body, err := r.Find(ctx, id)
	if err != nil {
		return isogate.Entry{}, err
	}
	return decode(body)
}

func decode(body []byte) (e isogate.Entry, err error) {
	if err := json.Unmarshal(body, &e); err != nil {
		return e, fmt.Errorf("journal: entry %s cannot be read: %w", idOf(body), err)
	}
	return e, nil
}

// Filter selects entries; its zero value selects all of them. What is set must
// all be true of an entry.
type Filter struct {
	// Since and Before bound the time in an entry's ID, which is the time it was
	// recorded except while the clock was behind an earlier entry.
	Since, Before time.Time
	Source        isogate.Source
	Transit       isogate.Transit
	Destination   isogate.Destination
	Decision      string
	Kind          isogate.EntryKind
	Stage         isogate.Stage
	Purpose       string
	Remote        string
	Consent       isogate.EntryID
	Pack          string // digest
	Actor, Act    string
	// Label is that of one of an entry's fields.
	Label isogate.Label
	// Newest gives the newest entries first.
	Newest bool
	// After continues a list behind the entry it ended with.
	After isogate.EntryID
	// Limit is how many entries there may be; zero is 100.
	Limit int
}

// DefaultLimit is how many entries List returns where Filter.Limit is zero.
const DefaultLimit = 100

// List returns the entries that the filter selects, in order.
func (r *Reader) List(ctx context.Context, f Filter) ([]isogate.Entry, error) {
	if f.Limit <= 0 {
		f.Limit = DefaultLimit
	}
	var entries []isogate.Entry
	err := r.scan(ctx, f, func(e *isogate.Entry) error {
		entries = append(entries, *e)
		return nil
	})
	return entries, err
}

// members are the members of an entry that the filter asks for, as entries spell
// them. An entry is written in one way only, so that one which has such a member
// has these bytes; one that has the bytes may yet have them elsewhere.
func (f *Filter) members() (needles [][]byte) {
	for _, c := range []struct{ member, value string }{
		{"source", string(f.Source)}, {"transit", string(f.Transit)}, {"destination", string(f.Destination)},
		{"decision", f.Decision}, {"kind", string(f.Kind)}, {"stage", string(f.Stage)}, {"purpose", f.Purpose}, {"remote", f.Remote},
		{"consent", string(f.Consent)}, {"pack", f.Pack}, {"actor", f.Actor}, {"act", f.Act}, {"label", string(f.Label)},
	} {
		if c.value != "" {
			needles = append(needles, appendMember(nil, c.member, c.value))
		}
	}
	return needles
}

// selects reports whether the filter selects an entry by its members.
func (f *Filter) selects(e *isogate.Entry) bool {
	return (f.Source == "" || f.Source == e.Source) && (f.Transit == "" || f.Transit == e.Transit) &&
		(f.Destination == "" || f.Destination == e.Destination) && (f.Decision == "" || f.Decision == e.Decision) &&
		(f.Kind == "" || f.Kind == e.Kind) && (f.Stage == "" || f.Stage == e.Stage) && (f.Purpose == "" || f.Purpose == e.Purpose) &&
		(f.Remote == "" || f.Remote == e.Remote) && (f.Consent == "" || f.Consent == e.Consent) && (f.Pack == "" || f.Pack == e.Pack) &&
		(f.Actor == "" || f.Actor == e.Actor) && (f.Act == "" || f.Act == e.Act) &&
		(f.Label == "" || slices.ContainsFunc(e.Fields, func(x isogate.Field) bool { return x.Label == f.Label }))
}

// scanPage is how many rows a scan reads at a time: so many are read for nothing
// at the most when it ends early.
const scanPage = 1000

// scan calls do for each entry that the filter selects, in order.
func (r *Reader) scan(ctx context.Context, f Filter, do func(e *isogate.Entry) error) error {
	from, to, err := r.bounds(ctx, f)
	if err != nil {
		return err
	}
	has := "instr(body, $%d) > 0"
	if r.remote != nil {
		has = "position($%d IN body) > 0"
	}
	query := `SELECT seq, body FROM entry WHERE seq >= $1 AND seq < $2`
	args := []any{nil, nil}
	if r.lists(f.Kind) {
		// Few of many: they are looked up where followers find them.
		query = `SELECT seq, body FROM outbox NATURAL JOIN entry WHERE seq >= $1 AND seq < $2 AND kind = $3`
		args = append(args, string(f.Kind))
	}
	for _, needle := range f.members() {
		args = append(args, needle)
		query += " AND " + fmt.Sprintf(has, len(args))
	}
	query += ` ORDER BY seq`
	if f.Newest {
		query += ` DESC`
	}
	query += fmt.Sprintf(` LIMIT %d`, scanPage)
	left := f.Limit
	if left <= 0 {
		left = math.MaxInt
	}
	for from < to && left > 0 {
		args[0], args[1] = int64(from), int64(to) //nolint:gosec // sizes fit
		n := 0
		err := r.page(ctx, query, args, func(seq uint64, body []byte) (more bool, err error) {
			if n++; f.Newest {
				to = seq
			} else {
				from = seq + 1
			}
			e, err := decode(body)
			if err != nil || !f.selects(&e) {
				return err == nil, err
			}
			left--
			return left > 0, do(&e)
		})
		if err != nil || n < scanPage {
			return err
		}
	}
	return nil
}

// page calls do for each row of a query until it says that it needs no more.
func (r *Reader) page(ctx context.Context, query string, args []any, do func(seq uint64, body []byte) (more bool, err error)) error {
	rows, err := r.db.QueryContext(ctx, query, args...)
	if err != nil {
		return r.wrap(err)
	}
	defer rows.Close()
	for rows.Next() {
		var seq int64
		var body []byte
		if err := rows.Scan(&seq, &body); err != nil {
			return r.wrap(err)
		}
		if more, err := do(uint64(seq), body); err != nil || !more { //nolint:gosec // never negative
			return err
		}
	}
	return r.wrap(rows.Err())
}

// bounds turns the filter's times and After into seqs.
func (r *Reader) bounds(ctx context.Context, f Filter) (from, to uint64, err error) {
	if to, err = r.count(ctx); err != nil {
		return 0, 0, err
	}
	if !f.Since.IsZero() {
		if from, err = r.at(ctx, f.Since); err != nil {
			return 0, 0, err
		}
	}
	if !f.Before.IsZero() {
		if to, err = r.at(ctx, f.Before); err != nil {
			return 0, 0, err
		}
	}
	if f.After == "" {
		return from, to, nil
	}
	seq, err := r.search(ctx, f.After)
	if err != nil {
		return 0, 0, err
	}
	if f.Newest {
		return from, min(to, seq), nil
	}
	if body, err := r.row(ctx, seq); err != nil {
		return 0, 0, err
	} else if idOf(body) == f.After {
		seq++
	}
	return max(from, seq), to, nil
}

// at is the seq of the first entry recorded at or after t.
func (r *Reader) at(ctx context.Context, t time.Time) (uint64, error) {
	if t.UnixMilli() < 0 {
		return 0, nil
	}
	var id ulid.ULID
	if err := id.SetTime(uint64(t.UnixMilli())); err != nil {
		return 0, fmt.Errorf("journal: the time %s: %w", t, err)
	}
	return r.search(ctx, isogate.EntryID(id.String()))
}

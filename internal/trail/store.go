package trail

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"modernc.org/sqlite"

	"github.com/isogate/isogate"
)

const (
	fileName = "trail.db"
	// application identifies the file: "ISOT". A file of another format is thrown away.
	application = 0x49534F54
	format      = 3
)

// tables are made anew with each format: there is nothing to migrate, for everything is
// in the journal.
const tables = `
-- Up to which entry the journal was read, whose ID is that of the entry before, and what was wrong with it.
CREATE TABLE position (
	one INTEGER PRIMARY KEY CHECK (one = 1), tenant TEXT NOT NULL, next INTEGER NOT NULL, before TEXT NOT NULL,
	missing INTEGER NOT NULL, unreadable INTEGER NOT NULL, stray INTEGER NOT NULL, first INTEGER NOT NULL
) STRICT;
CREATE TABLE field (no INTEGER PRIMARY KEY, spelled BLOB NOT NULL) STRICT;
CREATE TABLE shape (no INTEGER PRIMARY KEY, spelled BLOB NOT NULL) STRICT;
-- Runs of rows of one hour: where they are, which shapes they have, and what they have altogether.
CREATE TABLE block (
	no INTEGER PRIMARY KEY, first INTEGER NOT NULL, last INTEGER NOT NULL, since INTEGER NOT NULL, until INTEGER NOT NULL,
	shapes BLOB NOT NULL, digest BLOB NOT NULL
) STRICT;
-- What the blocks of a day that is over have altogether, and what those rows have that are of one consent.
CREATE TABLE day (first INTEGER PRIMARY KEY, last INTEGER NOT NULL, digest BLOB NOT NULL, hours BLOB NOT NULL) STRICT;
CREATE TABLE used (consent TEXT NOT NULL, day INTEGER NOT NULL, digest BLOB NOT NULL, PRIMARY KEY (consent, day)) STRICT, WITHOUT ROWID;
CREATE INDEX used_day ON used (day);
-- And the rows themselves, column by column.
CREATE TABLE rows (block INTEGER PRIMARY KEY, columns BLOB NOT NULL) STRICT;
PRAGMA application_id = 1230196564;
PRAGMA user_version = 3;
`

// position is what is written, up to which entry.
type position struct {
	next   uint64          // seq of the first entry that is not in blocks, nor was an end of one
	before isogate.EntryID // of the entry before it; "" if that could not be read
	flaws  flaws
}

// flaws are what is wrong with the journal below a position.
type flaws struct {
	missing, unreadable, stray uint64
	first                      uint64 // seq of the first missing or unreadable one
}

func (f *flaws) found(seq uint64) {
	if f.missing+f.unreadable == 0 {
		f.first = seq
	}
}

// block is where a run of rows is.
type block struct {
	no           int64
	first, last  uint64 // seqs
	since, until int64  // milliseconds, of the first row and the last
	shapes       []uint32
}

// store is the file.
type store struct {
	path  string
	db    *sql.DB
	file  os.FileInfo // as it was opened
	size  int64       // the largest that was seen: it never shrinks
	lines int         // of the digest of a block: see bounds
}

// openStore opens the file; one that does not exist, or is none of ours, is made anew.
func openStore(ctx context.Context, dir string) (s *store, why error, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("trail: %w; the state directory must be writable", err)
	}
	path, err := filepath.Abs(filepath.Join(dir, fileName))
	if err != nil {
		return nil, nil, fmt.Errorf("trail: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // below the state directory
	if err != nil {
		return nil, nil, fmt.Errorf("trail: %w; its directory must be writable, and may be deleted", err)
	}
	opened, err := f.Stat()
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, nil, fmt.Errorf("trail: %w", err)
	}
	// What is not on disk after the power failed is read from the journal again: it
	// need not be synced, only written in order.
	q := url.Values{"_pragma": {"busy_timeout(5000)", "page_size(16384)", "journal_mode(WAL)", "synchronous(NORMAL)", "wal_autocheckpoint(256)",
		"journal_size_limit(16777216)", "cache_size(-1024)"}, "_txlock": {"immediate"}}
	connector, err := sqlite.NewConnector((&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String())
	if err != nil {
		return nil, nil, fmt.Errorf("trail %s: %w", path, err)
	}
	s = &store{path: path, db: sql.OpenDB(connector), file: opened}
	s.db.SetMaxOpenConns(6)
	s.db.SetMaxIdleConns(3)
	if why = s.ours(ctx); why != nil {
		_ = s.close()
		return nil, why, nil
	}
	return s, nil, nil
}

// ours makes sure that the file is a trail of this format; an empty one becomes one.
func (s *store) ours(ctx context.Context) error {
	var app, ver, there int
	if err := s.db.QueryRowContext(ctx, `SELECT (SELECT application_id FROM pragma_application_id),
		(SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_schema)`).Scan(&app, &ver, &there); err != nil {
		return err
	}
	if there == 0 {
		_, err := s.db.ExecContext(ctx, `BEGIN IMMEDIATE; `+tables+` COMMIT`)
		return err
	}
	if app != application || ver != format {
		return fmt.Errorf("it is of format %d, and not %d", ver, format)
	}
	return nil
}

func (s *store) close() error { return s.db.Close() }

// taken says that another file is in the place of this one, or none, or less of it: connections
// that are opened later would find that. Only Run asks.
func (s *store) taken() error {
	now, err := os.Stat(s.path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return errors.New("its file is not there any more")
	case err != nil:
		return nil //nolint:nilerr // it cannot be told; reading and writing will
	case !os.SameFile(now, s.file):
		return errors.New("another file is in its place")
	case now.Size() < s.size:
		return errors.New("a part of its file is gone")
	}
	s.size = now.Size()
	return nil
}

// harmed reports whether an error says that the file is not as it was written, which does not pass
// by itself. A full disk, a lock or a file that cannot be written do.
func harmed(err error) bool {
	const dbMoved = 8 | 4<<8 // SQLITE_READONLY_DBMOVED
	var e *sqlite.Error
	switch {
	case errors.Is(err, errDamaged):
		return true
	case !errors.As(err, &e):
		return false
	}
	switch code := e.Code(); code & 0xff {
	case 11, 26: // SQLITE_CORRUPT, SQLITE_NOTADB
		return true
	case 1: // SQLITE_ERROR: of these statements, that a table is not there
		return code == 1
	default:
		return code == dbMoved
	}
}

// discard deletes a trail's files.
func discard(dir string) error {
	var errs []error
	for _, suffix := range [...]string{"", "-wal", "-shm", "-journal"} {
		if err := os.Remove(filepath.Join(dir, fileName+suffix)); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// load reads all but rows and digests.
func (s *store) load(ctx context.Context, tenant isogate.Tenant, b bounds) (p position, d *dictionary, blocks []block, err error) {
	s.lines = b.lines
	var owner string
	var next, missing, unreadable, stray, first int64
	err = s.db.QueryRowContext(ctx, `SELECT tenant, next, before, missing, unreadable, stray, first FROM position`).
		Scan(&owner, &next, &p.before, &missing, &unreadable, &stray, &first)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		if _, err := s.db.ExecContext(ctx, `INSERT INTO position VALUES (1, ?, 0, '', 0, 0, 0, 0)`, string(tenant)); err != nil {
			return p, nil, nil, err
		}
		return p, newDictionary(b), nil, nil
	case err != nil:
		return p, nil, nil, err
	case owner != string(tenant):
		return p, nil, nil, fmt.Errorf("it is the trail of tenant %q, not of %q", owner, tenant)
	}
	p.next, p.flaws = uint64(next), flaws{uint64(missing), uint64(unreadable), uint64(stray), uint64(first)} //nolint:gosec // never negative
	d = newDictionary(b)
	if err := s.each(ctx, `SELECT spelled FROM field ORDER BY no`, nil, func(scan func(...any) error) error {
		var raw []byte
		if err := scan(&raw); err != nil {
			return err
		}
		f, err := spelledField(raw)
		d.fieldNo[f] = uint32(len(d.fields)) //nolint:gosec // bounded
		d.fields = append(d.fields, f)
		return err
	}); err != nil {
		return p, nil, nil, err
	}
	if err := s.each(ctx, `SELECT spelled FROM shape ORDER BY no`, nil, func(scan func(...any) error) error {
		var raw []byte
		if err := scan(&raw); err != nil {
			return err
		}
		sh, err := spelled(raw, len(d.fields))
		if err == nil {
			d.again(sh)
		}
		return err
	}); err != nil {
		return p, nil, nil, err
	}
	err = s.each(ctx, `SELECT no, first, last, since, until, shapes FROM block ORDER BY no`, nil, func(scan func(...any) error) error {
		var k block
		var first, last int64
		var raw []byte
		if err := scan(&k.no, &first, &last, &k.since, &k.until, &raw); err != nil {
			return err
		}
		k.first, k.last = uint64(first), uint64(last) //nolint:gosec // never negative
		r := reader{b: raw}
		k.shapes = r.numbers()
		for _, no := range k.shapes {
			if int(no) >= len(d.shapes) {
				return errDamaged
			}
		}
		if n := len(blocks); r.err != nil || k.no != int64(n) || k.last >= p.next || n > 0 && k.first <= blocks[n-1].last {
			return errDamaged
		}
		blocks = append(blocks, k)
		return nil
	})
	return p, d, blocks, err
}

// days are the days that have a digest, of these blocks.
func (s *store) days(ctx context.Context, blocks []block) (days []day, err error) {
	byFirst := map[int64]day{}
	for _, d := range over(blocks) {
		byFirst[d.first] = d
	}
	err = s.each(ctx, `SELECT first, last FROM day ORDER BY first`, nil, func(scan func(...any) error) error {
		var first, last int64
		if err := scan(&first, &last); err != nil {
			return err
		}
		d, ok := byFirst[first]
		if !ok || d.last != last {
			return errDamaged
		}
		seen := map[uint32]bool{}
		for no := first; no <= last; no++ {
			for _, sh := range blocks[no].shapes {
				if !seen[sh] {
					seen[sh] = true
					d.shapes = append(d.shapes, sh)
				}
			}
		}
		days = append(days, d)
		return nil
	})
	return days, err
}

// each calls row for each row of a query.
func (s *store) each(ctx context.Context, query string, args []any, row func(scan func(...any) error) error) error {
	rows, err := s.db.QueryContext(ctx, query, args...)
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

// batch is what one transaction changes.
type batch struct {
	was, now position
	fields   []field // new ones, and the number of the first
	fieldsAt int
	shapes   []*shape
	shapesAt int
	new      *block          // nil if no block is complete
	rows     map[int64][]row // of the new block, and of those that were changed
}

// errOvertaken says that another process writes the same trail.
var errOvertaken = errors.New("another process writes this trail; stop it, each gateway has a state directory of its own")

// write makes a batch part of the file, whole or not at all.
func (s *store) write(ctx context.Context, b *batch, shapes []*shape) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	for i, f := range b.fields {
		if _, err := tx.ExecContext(ctx, `INSERT INTO field (no, spelled) VALUES (?, ?)`, b.fieldsAt+i, f.spell(nil)); err != nil {
			return err
		}
	}
	for i, sh := range b.shapes {
		if _, err := tx.ExecContext(ctx, `INSERT INTO shape (no, spelled) VALUES (?, ?)`, b.shapesAt+i, sh.spell(nil)); err != nil {
			return err
		}
	}
	if k := b.new; k != nil {
		if _, err := tx.ExecContext(ctx, `INSERT INTO block (no, first, last, since, until, shapes, digest) VALUES (?, ?, ?, ?, ?, x'', x'')`,
			k.no, int64(k.first), int64(k.last), k.since, k.until); err != nil { //nolint:gosec // sizes fit
			return err
		}
	}
	for no, rows := range b.rows {
		if _, err := tx.ExecContext(ctx, `UPDATE block SET shapes = ?, digest = ? WHERE no = ?`, appendNumbers(nil, shapesOf(rows)), appendDigest(nil, rows, shapes, s.lines), no); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM used WHERE day IN (SELECT first FROM day WHERE first <= ? AND last >= ?)`, no, no); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM day WHERE first <= ? AND last >= ?`, no, no); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT OR REPLACE INTO rows (block, columns) VALUES (?, ?)`, no, appendRows(nil, rows)); err != nil {
			return err
		}
	}
	p := b.now
	res, err := tx.ExecContext(ctx, `UPDATE position SET next = ?, before = ?, missing = ?, unreadable = ?, stray = ?, first = ? WHERE next = ? AND before = ?`,
		int64(p.next), string(p.before), int64(p.flaws.missing), int64(p.flaws.unreadable), int64(p.flaws.stray), int64(p.flaws.first), //nolint:gosec // sizes fit
		int64(b.was.next), string(b.was.before)) //nolint:gosec // sizes fit
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return errors.Join(errOvertaken, err)
	}
	return tx.Commit()
}

// shapesOf are the shapes that rows have, each once.
func shapesOf(rows []row) (shapes []uint32) {
	seen := map[uint32]bool{}
	for i := range rows {
		if no := rows[i].shape; !seen[no] {
			seen[no] = true
			shapes = append(shapes, no)
		}
	}
	return shapes
}

// columns are the written rows of a block.
func (s *store) columns(ctx context.Context, no int64) (raw []byte, err error) {
	err = s.db.QueryRowContext(ctx, `SELECT columns FROM rows WHERE block = ?`, no).Scan(&raw)
	return raw, err
}

func (f *field) spell(dst []byte) []byte {
	for _, v := range [...]string{f.path, string(f.label), f.handling, f.rule} {
		dst = binary.AppendUvarint(dst, uint64(len(v)))
		dst = append(dst, v...)
	}
	return append(dst, byte(f.action))
}

func spelledField(b []byte) (f field, err error) {
	r := reader{b: b}
	f.path, f.label, f.handling, f.rule = r.text(), isogate.Label(r.text()), r.text(), r.text()
	if a := r.bytes(1); r.err == nil && isogate.Action(a[0]) <= isogate.Allow {
		f.action = isogate.Action(a[0])
		return f, nil
	}
	return f, errDamaged
}

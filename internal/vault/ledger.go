package vault

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"modernc.org/sqlite"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/seal"
)

const (
	ledgerName = "vault.db"
	lockName   = "vault.lock"
	// application identifies the file: "ISOV". Its user_version is the schema's number.
	application = 0x49534F56
	schema      = 1
	// cutLimit is how many events one transaction makes receipts of.
	cutLimit = 20_000
	// patience is how long one write may take.
	patience = 30 * time.Second
	// receiptsFor is how long receipts can be fetched.
	receiptsFor = 30 * 24 * time.Hour
)

const tables = `
CREATE TABLE meta    (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE live    (row INTEGER PRIMARY KEY, tenant TEXT NOT NULL, id BLOB NOT NULL);
CREATE TABLE event   (seq INTEGER PRIMARY KEY, tenant TEXT NOT NULL, body BLOB NOT NULL);
CREATE TABLE chain   (tenant TEXT PRIMARY KEY, number INTEGER NOT NULL, digest TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE receipt (tenant TEXT NOT NULL, number INTEGER NOT NULL, at INTEGER NOT NULL, note BLOB NOT NULL);
CREATE UNIQUE INDEX receipt_number ON receipt (tenant, number);
CREATE INDEX receipt_at ON receipt (at);
`

// kind is what an item of the ledger's queue is.
type kind uint8

const (
	keyLive  kind = iota // a key arrived
	keyGone              // a key was destroyed
	happened             // another event
)

// item is something to write down.
type item struct {
	kind   kind
	stored bool  // happened: it is in the database under row
	row    int64 // of the live key, or of the event
	tenant isogate.Tenant
	key    seal.ID    // keyLive
	event  seal.Event // the others
}

// link is the end of a tenant's chain of receipts.
type link struct {
	number uint64
	digest string
}

// ledger writes down which keys are live and what happened, and makes receipts of
// that. It is the outbox of what gateways fetch.
//
// An arrival and an event are in the queue, then in a table, then the event is in
// a receipt; the destruction of a key is in memory until its receipt is signed, for
// as long as the key is in the table of live ones its loss shows: whatever is there
// at the next start was destroyed by the restart. A key that comes and goes between
// two receipts is never written but in the receipt.
//
// Whoever needs something to be durable writes all that is queued; those who come
// meanwhile find theirs written. So there is no goroutine, it works before Run and
// after it, and many share a sync.
type ledger struct {
	path        string
	destination isogate.Destination
	signer      note.Signer
	metrics     *Metrics
	lock        *os.File
	db          *sql.DB // readers
	writer      *sql.DB

	writing chan struct{} // holds one token; who took it has what follows
	chain   map[isogate.Tenant]link
	ready   []item // gone and happened, for the next receipts
	closed  bool

	mu      sync.Mutex // guards what follows
	queue   []item
	queued  uint64 // how many were ever queued
	durable uint64 // how many of these were written
	row     int64  // the last that was given to a live key
	seq     int64  // the last that was given to an event
	last    error  // of the last write; nil if it succeeded
}

// openLedger opens the ledger in a directory, or makes one.
func openLedger(ctx context.Context, cfg *Config) (_ *ledger, err error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("vault: %w; its directory must be writable", err)
	}
	path, err := filepath.Abs(filepath.Join(cfg.Dir, ledgerName))
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	l := &ledger{path: path, destination: cfg.Destination, signer: cfg.Signer, metrics: cfg.Metrics, writing: make(chan struct{}, 1), chain: map[isogate.Tenant]link{}}
	if l.lock, err = takeLock(filepath.Join(cfg.Dir, lockName)); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = l.closeFiles() // the first error is the one to tell
			err = fmt.Errorf("vault %s: %w", path, explain(err))
		}
	}()
	// Created here for its mode; SQLite gives the same one to the files beside it.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // below the state directory
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	if l.writer, err = openDB(path, 1); err != nil {
		return nil, err
	}
	if l.db, err = openDB(path, 4); err != nil {
		return nil, err
	}
	if err := l.migrate(ctx); err != nil {
		return nil, err
	}
	if err := l.belongs(ctx, cfg); err != nil {
		return nil, err
	}
	if err := l.load(ctx); err != nil {
		return nil, err
	}
	l.writing <- struct{}{}
	return l, nil
}

// openDB opens the database for so many connections.
func openDB(path string, conns int) (*sql.DB, error) {
	q := url.Values{"_pragma": {"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)", "wal_autocheckpoint(2048)", "journal_size_limit(67108864)"}}
	connector, err := sqlite.NewConnector((&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String())
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
}

// migrate makes the tables of an empty database and refuses one that is not a
// vault's or of another release.
func (l *ledger) migrate(ctx context.Context) error {
	var app, version, there int
	if err := l.writer.QueryRowContext(ctx, `SELECT (SELECT application_id FROM pragma_application_id),
		(SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_schema)`).Scan(&app, &version, &there); err != nil {
		return err
	}
	switch {
	case there == 0:
		tx, err := l.writer.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }()
		if _, err := tx.ExecContext(ctx, tables+fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d;", application, schema)); err != nil {
			return err
		}
		return tx.Commit()
	case app != application:
		return errors.New("this is not a vault's database; name another directory")
	case version != schema:
		return fmt.Errorf("its format is %d and this program writes %d; use the release that wrote it", version, schema)
	}
	return nil
}

// belongs makes sure that the ledger is of this destination and landing side; a new
// one becomes it. Receipts of two landing sides in one chain would verify for
// neither.
func (l *ledger) belongs(ctx context.Context, cfg *Config) error {
	want := map[string]string{"destination": string(cfg.Destination), "landing": cfg.Signer.Name(), "key": fmt.Sprintf("%08x", cfg.Signer.KeyHash())}
	for key, value := range want {
		if _, err := l.writer.ExecContext(ctx, `INSERT INTO meta VALUES (?, ?) ON CONFLICT DO NOTHING`, key, value); err != nil {
			return err
		}
		var is string
		if err := l.writer.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = ?`, key).Scan(&is); err != nil {
			return err
		}
		if is != value {
			return fmt.Errorf("its %s is %s, not %s; name the directory of this landing side, or an empty one", key, is, value)
		}
	}
	return nil
}

// load reads where the chains end and which events are not in a receipt yet.
func (l *ledger) load(ctx context.Context) (err error) {
	rows, err := l.writer.QueryContext(ctx, `SELECT tenant, number, digest FROM chain`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var t string
		var e link
		if err := rows.Scan(&t, &e.number, &e.digest); err != nil {
			return err
		}
		l.chain[isogate.Tenant(t)] = e
	}
	if err := rows.Err(); err != nil {
		return err
	}
	events, err := l.writer.QueryContext(ctx, `SELECT seq, tenant, body FROM event ORDER BY seq`)
	if err != nil {
		return err
	}
	defer events.Close()
	for events.Next() {
		it := item{kind: happened, stored: true}
		var body []byte
		if err := events.Scan(&it.row, &it.tenant, &body); err != nil {
			return err
		}
		if err := json.Unmarshal(body, &it.event); err != nil {
			return fmt.Errorf("event %d: %w; restore the newest backup of the directory", it.row, err)
		}
		l.ready = append(l.ready, it)
		l.seq = it.row
	}
	if err := events.Err(); err != nil {
		return err
	}
	return l.writer.QueryRowContext(ctx, `SELECT coalesce(max(row), 0) FROM live`).Scan(&l.row)
}

// held calls f for every key that was live when the process before ended.
func (l *ledger) held(ctx context.Context, f func(row int64, t isogate.Tenant, id seal.ID)) error {
	rows, err := l.db.QueryContext(ctx, `SELECT row, tenant, id FROM live ORDER BY row`)
	if err != nil {
		return explain(err)
	}
	defer rows.Close()
	for rows.Next() {
		var row int64
		var t isogate.Tenant
		var raw []byte
		if err := rows.Scan(&row, &t, &raw); err != nil {
			return err
		}
		if len(raw) != len(seal.ID{}) {
			return fmt.Errorf("vault %s: row %d of live keys is damaged; restore the newest backup of the directory", l.path, row)
		}
		f(row, t, seal.ID(raw))
	}
	return rows.Err()
}

// live queues that a key arrived, and returns the row that it will have.
func (l *ledger) live(t isogate.Tenant, id seal.ID) (row int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.row++
	l.queue = append(l.queue, item{kind: keyLive, row: l.row, tenant: t, key: id})
	l.queued++
	return l.row
}

// gone queues that the key of a row was destroyed; row is 0 where it has none.
func (l *ledger) gone(t isogate.Tenant, row int64, e seal.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = append(l.queue, item{kind: keyGone, row: row, tenant: t, event: e})
	l.queued++
}

// note queues an event; when the ledger is written up to the mark, it is durable.
func (l *ledger) note(t isogate.Tenant, e seal.Event) (mark uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	l.queue = append(l.queue, item{kind: happened, row: l.seq, tenant: t, event: e})
	l.queued++
	return l.queued
}

// mark is up to where the ledger is queued.
func (l *ledger) mark() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.queued
}

// written reports whether the ledger is written up to a mark.
func (l *ledger) written(mark uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.durable >= mark
}

// waiting is how many items are queued.
func (l *ledger) waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue)
}

// trouble is the error of the last write.
func (l *ledger) trouble() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// sync returns when the ledger is written up to the mark.
func (l *ledger) sync(ctx context.Context, mark uint64) error {
	if l.written(mark) {
		return nil
	}
	select {
	case <-l.writing:
	case <-ctx.Done():
		return fmt.Errorf("vault: events are not written down yet: %w", ctx.Err())
	}
	defer func() { l.writing <- struct{}{} }()
	if l.written(mark) {
		return nil
	}
	return l.write(time.Time{})
}

// cut writes all that is queued and makes receipts, signed now, of everything that
// waits for one.
func (l *ledger) cut(ctx context.Context, now time.Time) error {
	select {
	case <-l.writing:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { l.writing <- struct{}{} }()
	for {
		if err := l.write(now); err != nil {
			return err
		}
		if len(l.ready) == 0 {
			return nil
		}
	}
}

// write writes what is queued in one transaction and, if now is a time, receipts.
func (l *ledger) write(now time.Time) (err error) {
	if l.closed {
		return ErrClosed
	}
	l.mu.Lock()
	queue := l.queue
	l.queue = nil
	l.mu.Unlock()
	if len(queue) == 0 && (now.IsZero() || len(l.ready) == 0) {
		return nil
	}
	began := time.Now()
	ready, chain, err := l.transact(queue, now)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		err = fmt.Errorf("vault %s: %w", l.path, explain(err))
		l.queue = append(queue, l.queue...)
		l.last = err
		l.metrics.failures.Inc()
		return err
	}
	l.durable += uint64(len(queue))
	l.ready, l.last = ready, nil
	for t, end := range chain {
		l.chain[t] = end
	}
	l.metrics.commit.Observe(time.Since(began).Seconds())
	l.metrics.waiting.Set(float64(len(l.ready)))
	return nil
}

// transact does the work of write, and returns what waits for receipts after it and
// the chains that have got longer.
func (l *ledger) transact(queue []item, now time.Time) (ready []item, chain map[isogate.Tenant]link, err error) {
	// Whoever waits may give up; what is begun is ended.
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ready = l.ready[:len(l.ready):len(l.ready)]
	for _, it := range queue {
		if it.kind != keyLive {
			ready = append(ready, it)
		}
	}
	var cut []item
	if !now.IsZero() {
		n := min(len(ready), cutLimit)
		cut, ready = ready[:n], ready[n:]
	}
	brief := map[int64]bool{} // keys that come and go in this transaction
	for _, it := range cut {
		if it.kind == keyGone && it.row > 0 {
			brief[it.row] = true
		}
	}
	tx, err := l.writer.BeginTx(ctx, nil)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = tx.Rollback() }()
	var stmts statements
	defer func() { stmts.close() }()
	if err := stmts.prepare(ctx, tx); err != nil {
		return nil, nil, err
	}
	unwritten := map[int64]bool{}
	for _, it := range queue {
		if it.kind != keyLive {
			continue
		}
		if brief[it.row] {
			unwritten[it.row] = true
			continue
		}
		if _, err := stmts.live.ExecContext(ctx, it.row, string(it.tenant), it.key[:]); err != nil {
			return nil, nil, err
		}
	}
	for i := range ready {
		it := &ready[i]
		if it.kind != happened || it.stored {
			continue
		}
		body, err := json.Marshal(it.event)
		if err != nil {
			return nil, nil, err
		}
		if _, err := stmts.event.ExecContext(ctx, it.row, string(it.tenant), body); err != nil {
			return nil, nil, err
		}
		it.stored = true
	}
	if chain, err = l.receipts(ctx, &stmts, cut, now); err != nil {
		return nil, nil, err
	}
	for _, it := range cut {
		switch {
		case it.kind == keyGone && it.row > 0 && !unwritten[it.row]:
			_, err = stmts.unlive.ExecContext(ctx, it.row)
		case it.kind == happened && it.stored:
			_, err = stmts.unevent.ExecContext(ctx, it.row)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	return ready, chain, tx.Commit()
}

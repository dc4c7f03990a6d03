package journal

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
	gooselock "github.com/pressly/goose/v3/lock"

	"github.com/isogate/isogate"
)

//go:embed migrations
var migrations embed.FS

// versionTable says which migrations a database has.
const versionTable = "migration"

// The versions that this program reads and writes.
const (
	sqliteLatest   = 5
	outboxKinds    = 3 // from which on the outbox has kinds
	outboxAdmin    = 4 // and admin entries
	outboxPack     = 5 // and pack entries
	postgresLatest = 4
)

// dialect is the migrations of one kind of database.
type dialect struct {
	name   database.Dialect
	files  string // directory of migrations
	latest int64  // version that this program reads and writes
	lock   goose.ProviderOption
}

func sqliteMigrations() dialect {
	return dialect{name: database.DialectSQLite3, files: "migrations/sqlite", latest: sqliteLatest}
}

// postgresMigrations takes an advisory lock while it migrates, for several gateways
// may start at once.
func postgresMigrations(lockID int64) (dialect, error) {
	locker, err := gooselock.NewPostgresSessionLocker(gooselock.WithLockID(lockID), gooselock.WithLockTimeout(1, 30))
	if err != nil {
		return dialect{}, err
	}
	return dialect{database.DialectPostgres, "migrations/postgres", postgresLatest, goose.WithSessionLocker(locker)}, nil
}

// migrate brings a database to the latest version, and refuses one that is newer.
// A database that was made before versions were written down has only the number
// that it calls itself by: unlisted, 0 for a new one.
func migrate(ctx context.Context, db *sql.DB, d dialect, unlisted int64) error {
	if unlisted > d.latest {
		return tooNew(unlisted, d.latest)
	}
	files, err := fs.Sub(migrations, d.files)
	if err != nil {
		return err
	}
	if unlisted > 0 {
		if err := enlist(ctx, db, d, unlisted); err != nil {
			return err
		}
	}
	opts := []goose.ProviderOption{goose.WithTableName(versionTable), goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger())}
	if d.lock != nil {
		opts = append(opts, d.lock)
	}
	p, err := goose.NewProvider(d.name, db, files, opts...)
	if err != nil {
		return err
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("its tables cannot be brought to format %d: %w", d.latest, err)
	}
	now, err := p.GetDBVersion(ctx)
	if err == nil && now > d.latest {
		err = tooNew(now, d.latest)
	}
	return err
}

func tooNew(has, latest int64) error {
	return fmt.Errorf("the journal's format is %d and this program writes %d; use the release that wrote it", has, latest)
}

// enlist writes down the versions of a database from before they were written down.
func enlist(ctx context.Context, db *sql.DB, d dialect, version int64) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	versions, err := database.NewStore(d.name, versionTable)
	if err != nil {
		return err
	}
	var there int
	if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema WHERE name = $1`, versionTable).Scan(&there); err != nil || there > 0 {
		return err
	}
	if err := versions.CreateVersionTable(ctx, tx); err != nil {
		return err
	}
	for v := int64(0); v <= version; v++ {
		if err := versions.Insert(ctx, tx, database.InsertRequest{Version: v}); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// queryer is a connection, a pool or a transaction.
type queryer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// belongs makes sure that the database is this tenant's and sealed by this key; a
// new one becomes it.
//
// promise: P06
func belongs(ctx context.Context, db queryer, tenant isogate.Tenant, vkey string) error {
	if _, err := db.ExecContext(ctx, `INSERT INTO meta (key, value) VALUES ('tenant', $1), ('vkey', $2) ON CONFLICT DO NOTHING`, string(tenant), vkey); err != nil {
		return err
	}
	if err := ownedBy(ctx, db, tenant); err != nil {
		return err
	}
	var key string
	if err := db.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = 'vkey'`).Scan(&key); err != nil {
		return err
	}
	if key != vkey {
		return fmt.Errorf("its checkpoints are signed by the key %s, and %s is not it: what was sealed does not verify by the key given; "+
			"open the journal with the key that sealed it, which all gateways of a tenant have", keyName(key), keyName(vkey))
	}
	return nil
}

// ownedBy makes sure that the database is this tenant's.
func ownedBy(ctx context.Context, db queryer, tenant isogate.Tenant) error {
	var owner string
	err := db.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = 'tenant'`).Scan(&owner)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return errors.New("the journal names no tenant; restore its newest backup")
	case err != nil:
		return err
	case owner != string(tenant):
		return fmt.Errorf("the journal is tenant %q's, not %q's; name the one of this tenant", owner, tenant)
	}
	return nil
}

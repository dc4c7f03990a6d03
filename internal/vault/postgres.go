package vault

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"embed"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
	gooselock "github.com/pressly/goose/v3/lock"
	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/journal"
)

// DialFunc opens a connection to "host:port"; remote.Dialer's.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

//go:embed postgres
var postgresTables embed.FS

// postgresLatest is the version of the tables that this program reads and writes.
const postgresLatest = 1

const (
	// postgresPatience is how long one transaction may take.
	postgresPatience = 10 * time.Second
	// maxIdentifier is how long a name may be in PostgreSQL, in bytes.
	maxIdentifier = 63
)

// postgres is the database that the landings of one destination share.
type postgres struct {
	pool   *pgxpool.Pool
	place  string // for messages: never a password
	macKey [sha256.Size]byte
}

// openPostgres connects to the database, and makes its tables or brings them to this
// version. Several members may do it at once.
//
// The connection must be encrypted and the server authenticated, except on loopback.
//
// promise: P04
func openPostgres(ctx context.Context, url string, dial DialFunc, destination isogate.Destination, signer note.Signer) (*postgres, error) {
	servers, err := journal.DatabaseServers(url) // refuses what cannot be trusted
	if err != nil {
		return nil, fmt.Errorf("vault: the cluster's database: %s", strings.TrimPrefix(err.Error(), "journal: "))
	}
	if dial == nil {
		return nil, errors.New("vault: Cluster.Dial is nil; a cluster needs a way to its database and its peers")
	}
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, errors.New("vault: the cluster's database URL is not understood")
	}
	schema := schemaOf(destination)
	p := &postgres{place: fmt.Sprintf("postgres://%s/%s schema %s", strings.Join(servers, ","), config.ConnConfig.Database, schema)}
	if p.macKey, err = deriveMAC(signer); err != nil {
		return nil, err
	}
	c := config.ConnConfig
	c.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	c.DialFunc = pgconn.DialFunc(dial)
	c.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsPrimary
	ms := fmt.Sprint(postgresPatience.Milliseconds())
	maps.Copy(c.RuntimeParams, map[string]string{
		"application_name": "isogate landing",
		"search_path":      pgx.Identifier{schema}.Sanitize(),
		// A receipt, or that a value was shown, counts when it is on the disk.
		"synchronous_commit":                  "on",
		"default_transaction_isolation":       "read committed",
		"lock_timeout":                        ms,
		"statement_timeout":                   ms,
		"idle_in_transaction_session_timeout": ms,
	})
	if err := makeTables(ctx, c, schema, string(destination), signer); err != nil {
		return nil, fmt.Errorf("vault: %s: %w", p.place, err)
	}
	config.MaxConns = 8
	// Connections are made when they are needed: without Run nothing goes on.
	config.MinConns, config.MinIdleConns = 0, 0
	config.HealthCheckPeriod = time.Minute
	config.AfterConnect = checkDurable
	if p.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, fmt.Errorf("vault: %s: %w", p.place, err)
	}
	return p, nil
}

func (p *postgres) close() { p.pool.Close() }

// checkDurable refuses a server that loses what it confirmed when it crashes.
func checkDurable(ctx context.Context, c *pgx.Conn) error {
	res := c.PgConn().ExecParams(ctx, `SELECT current_setting('fsync'), current_setting('full_page_writes')`, nil, nil, nil, nil).Read()
	switch {
	case res.Err != nil:
		return res.Err
	case len(res.Rows) != 1 || string(res.Rows[0][0]) != "on" || string(res.Rows[0][1]) != "on":
		return errors.New("the server runs with fsync or full_page_writes off, and loses what it confirmed when it crashes; turn them on")
	}
	return nil
}

// schemaOf is the name of the schema of a destination's landings.
func schemaOf(d isogate.Destination) string {
	name := "isogate_landing_" + string(d)
	if len(name) <= maxIdentifier {
		return name
	}
	sum := sha256.Sum256([]byte(d))
	end := "_" + hex.EncodeToString(sum[:8])
	return name[:maxIdentifier-len(end)] + end
}

// lockKey names something of a schema among the database's advisory locks.
func lockKey(what, schema string) int64 {
	sum := sha256.Sum256([]byte("isogate/landing " + what + " " + schema))
	return int64(binary.BigEndian.Uint64(sum[:8])) //nolint:gosec // any 64 bits
}

func makeTables(ctx context.Context, c *pgx.ConnConfig, schema, destination string, signer note.Signer) error {
	db := stdlib.OpenDB(*c.Copy())
	defer func() { _ = db.Close() }()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, lockKey("create", schema)); err != nil {
		return err
	}
	// Asked first, for a role that may not create schemas may own one.
	var there bool
	if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)`, schema).Scan(&there); err != nil {
		return err
	}
	if !there {
		if _, err := tx.ExecContext(ctx, `CREATE SCHEMA `+pgx.Identifier{schema}.Sanitize()); err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	files, err := fs.Sub(postgresTables, "postgres")
	if err != nil {
		return err
	}
	lock, err := gooselock.NewPostgresSessionLocker(gooselock.WithLockID(lockKey("migrate", schema)), gooselock.WithLockTimeout(1, 30))
	if err != nil {
		return err
	}
	g, err := goose.NewProvider(database.DialectPostgres, db, files, goose.WithTableName("migration"), goose.WithDisableGlobalRegistry(true),
		goose.WithLogger(goose.NopLogger()), goose.WithSessionLocker(lock))
	if err != nil {
		return err
	}
	if _, err := g.Up(ctx); err != nil {
		return fmt.Errorf("its tables cannot be brought to format %d: %w", postgresLatest, err)
	}
	version, err := g.GetDBVersion(ctx)
	if err != nil {
		return err
	}
	if version > postgresLatest {
		return fmt.Errorf("the cluster's format is %d and this program writes %d; use the release that wrote it", version, postgresLatest)
	}
	// One destination and one identity: receipts of two would be one broken chain.
	identity := fmt.Sprintf("%s+%08x", signer.Name(), signer.KeyHash())
	if _, err := db.ExecContext(ctx, `INSERT INTO meta (key, value) VALUES ('destination', $1), ('identity', $2) ON CONFLICT DO NOTHING`, destination, identity); err != nil {
		return err
	}
	var d, id string
	if err := db.QueryRowContext(ctx, `SELECT (SELECT value FROM meta WHERE key = 'destination'), (SELECT value FROM meta WHERE key = 'identity')`).Scan(&d, &id); err != nil {
		return err
	}
	if d != destination || id != identity {
		return fmt.Errorf("it is of landing %s of %s, not of %s of %s; give every member the same identity key, and each landing a database of its own", id, d, identity, destination)
	}
	return nil
}

// deriveMAC makes the key by which members know what members wrote. It comes from
// the landing's identity: a signature over a text that is never published, which
// Ed25519 (RFC 8032) makes the same every time.
func deriveMAC(signer note.Signer) (key [sha256.Size]byte, err error) {
	const text = "isogate/landing/cluster/mac/v1\n"
	first, err := signer.Sign([]byte(text))
	if err != nil {
		return key, fmt.Errorf("vault: the cluster's key: %w", err)
	}
	second, err := signer.Sign([]byte(text))
	if err != nil || !hmac.Equal(first, second) {
		return key, errors.New("vault: the landing's key does not sign the same text alike twice; a cluster needs an Ed25519 key")
	}
	return sha256.Sum256(first), nil
}

// mac authenticates parts of a row, in this order and for this use.
func (p *postgres) mac(use string, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, p.macKey[:])
	var n [8]byte
	for i := range len(parts) + 1 {
		part := []byte(use)
		if i > 0 {
			part = parts[i-1]
		}
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write(part)
	}
	return h.Sum(nil)
}

// made reports whether mac is that of these parts.
func (p *postgres) made(mac []byte, use string, parts ...[]byte) bool {
	return hmac.Equal(mac, p.mac(use, parts...))
}

// do runs f in a transaction.
func (p *postgres) do(ctx context.Context, f func(ctx context.Context, tx pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, postgresPatience)
	defer cancel()
	err := pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error { return f(ctx, tx) })
	if err != nil {
		return fmt.Errorf("vault: %s: %w", p.place, err)
	}
	return nil
}

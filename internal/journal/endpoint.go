package journal

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/isogate/isogate"
)

// DialFunc opens a connection to the database's "host:port". Names are passed to it
// as they stand in the URL: looking them up is its business.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// urlKeys is what the URL of a database may say. What it says otherwise would
// change what is durable or whose rows are read, or does nothing.
var urlKeys = []string{"host", "port", "user", "password", "passfile", "dbname", "sslmode", "sslrootcert", "sslcert", "sslkey", "sslnegotiation",
	"target_session_attrs", "connect_timeout", "channel_binding", "require_auth"}

const (
	// schemaPrefix begins the name of a tenant's schema.
	schemaPrefix = "isogate_"
	// maxIdentifier is how long a name may be in PostgreSQL, in bytes; it cuts off the
	// rest without a word, and two tenants would be one.
	maxIdentifier = 63
)

// schemaOf is the name of the tenant's schema.
func schemaOf(tenant isogate.Tenant) string {
	name := schemaPrefix + string(tenant)
	if len(name) <= maxIdentifier {
		return name
	}
	sum := sha256.Sum256([]byte(tenant))
	end := "_" + hex.EncodeToString(sum[:8])
	return name[:maxIdentifier-len(end)] + end
}

// endpoint is a tenant's journal in PostgreSQL, and the way there.
type endpoint struct {
	config *pgx.ConnConfig // of every connection, but for what each sets for itself
	tenant isogate.Tenant
	schema string
	dial   DialFunc
	place  string // for messages: never a password
}

// newEndpoint reads the URL of a database, and connects to nothing.
//
// The connection must be encrypted and the server authenticated, except on loopback.
//
// promise: P04
func newEndpoint(url string, tenant isogate.Tenant, dial DialFunc) (*endpoint, error) {
	if dial == nil {
		return nil, errors.New("journal: Config.Dial is nil; a journal in PostgreSQL needs a way to it")
	}
	if err := isogate.CheckName(string(tenant), false); err != nil {
		return nil, fmt.Errorf("journal: tenant: %w", err)
	}
	config, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	hosts, err := DatabaseServers(url)
	if err != nil {
		return nil, err
	}
	e := &endpoint{config: config, tenant: tenant, schema: schemaOf(tenant), dial: dial}
	e.place = fmt.Sprintf("postgres://%s/%s schema %s", strings.Join(hosts, ","), config.Database, e.schema)

	config.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	config.DialFunc = pgconn.DialFunc(dial)
	// A standby may be behind: what is read there proves nothing about now.
	config.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsPrimary
	maps.Copy(config.RuntimeParams, map[string]string{
		"application_name": "isogate",
		// Names in statements stand for this tenant's tables and for no others.
		"search_path": pgx.Identifier{e.schema}.Sanitize(),
		// Whatever the server's default is, what counts has to be on its disk and,
		// where it has synchronous standbys, on theirs.
		"synchronous_commit":            "on",
		"default_transaction_isolation": "read committed",
	})
	return e, nil
}

func parseURL(url string) (*pgx.ConnConfig, error) {
	if !strings.HasPrefix(url, "postgres://") && !strings.HasPrefix(url, "postgresql://") {
		return nil, errors.New("journal: the database is not named by a postgres:// URL")
	}
	config, err := pgx.ParseConfigWithOptions(url, pgx.ParseConfigOptions{ParseConfigOptions: pgconn.ParseConfigOptions{ConnStringAllowedKeys: urlKeys}})
	if err != nil {
		// Its error may quote parts of a URL that it did not understand.
		return nil, errors.New("journal: the database's URL is not understood: write postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full&sslrootcert=FILE, " +
			"with percent signs before what stands for something else, files that exist, and no other parameters than " + strings.Join(urlKeys, ", "))
	}
	return config, nil
}

// server is one of the servers that a URL names.
type server struct {
	host string
	port uint16
	tls  *tls.Config // nil is plain text
}

// servers are all that may be tried, also as another way to the same one.
func servers(c *pgx.ConnConfig) []server {
	all := []server{{c.Host, c.Port, c.TLSConfig}}
	for _, f := range c.Fallbacks {
		all = append(all, server{f.Host, f.Port, f.TLSConfig})
	}
	return all
}

func (s server) address() string { return net.JoinHostPort(s.host, strconv.Itoa(int(s.port))) }

// trusted refuses a server that cannot be told from another who answers in its place.
func (s server) trusted() error {
	if strings.HasPrefix(s.host, "/") || strings.HasPrefix(s.host, "@") {
		return fmt.Errorf("journal: the database's host %s is a Unix socket, which is not supported; name a host and a port", s.host)
	}
	if a, err := netip.ParseAddr(s.host); err == nil && a.IsLoopback() || s.host == "localhost" {
		return nil
	}
	switch {
	case s.tls == nil:
		return fmt.Errorf("journal: the connection to the database at %s could be plain text; add sslmode=verify-full, and sslrootcert=FILE for an authority of your own", s.host)
	case s.tls.InsecureSkipVerify && s.tls.VerifyPeerCertificate == nil && s.tls.VerifyConnection == nil:
		return fmt.Errorf("journal: the database at %s would not be authenticated; use sslmode=verify-full, and sslrootcert=FILE for an authority of your own", s.host)
	}
	return nil
}

// DatabaseServers are the servers that a database's URL names, as host:port: what a
// journal's Dial is called with. It refuses a URL that Open would refuse, and connects
// to nothing.
func DatabaseServers(url string) ([]string, error) {
	config, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, s := range servers(config) {
		if err := s.trusted(); err != nil {
			return nil, err
		}
		if at := s.address(); !slices.Contains(all, at) {
			all = append(all, at)
		}
	}
	return all, nil
}

// key names something of the tenant among the database's advisory locks.
func (e *endpoint) key(what string) int64 {
	sum := sha256.Sum256([]byte("isogate/journal " + what + " " + e.schema))
	return int64(binary.BigEndian.Uint64(sum[:8])) //nolint:gosec // any 64 bits
}

// checked says what every connection is asked before it is used: that it is to this
// tenant's journal, whatever lies between, and that the server keeps what it says
// that it keeps.
//
// promise: P06
// promise: P23
func (e *endpoint) checked(ctx context.Context, c *pgconn.PgConn) error {
	res := c.ExecParams(ctx, `SELECT coalesce((SELECT value FROM meta WHERE key = 'tenant'), ''), current_setting('fsync'), current_setting('full_page_writes')`, nil, nil, nil, nil).Read()
	switch {
	case res.Err != nil:
		return res.Err
	case len(res.Rows) != 1:
		return errors.New("the database did not answer who it is")
	}
	if owner := string(res.Rows[0][0]); owner != string(e.tenant) {
		return fmt.Errorf("the journal is tenant %q's, not %q's; name the database of this tenant", owner, e.tenant)
	}
	if string(res.Rows[0][1]) != "on" || string(res.Rows[0][2]) != "on" {
		return errors.New("the server runs with fsync or full_page_writes off, and loses what it confirmed when it crashes; turn them on")
	}
	return nil
}

// pool is connections for reading, which are made as they are needed.
func (e *endpoint) pool() *sql.DB {
	config := e.config.Copy()
	config.AfterConnect = e.checked
	db := stdlib.OpenDB(*config)
	db.SetMaxOpenConns(8)
	db.SetConnMaxIdleTime(time.Minute)
	return db
}

// session is one connection that something lasting hangs on: a transaction's outcome,
// a lock, a subscription. It is used by one goroutine at a time.
type session struct {
	*pgx.Conn
	up       atomic.Bool
	warnings int  // that the server sent
	told     bool // of news, since this was last set to false
}

// vigilance has the server find out in seconds, and not in hours, that a gateway is
// gone, and let go of what its session held. Connections that only read do without:
// whoever reads slowly is not gone.
var vigilance = map[string]string{
	"tcp_keepalives_idle":              "3",
	"tcp_keepalives_interval":          "1",
	"tcp_keepalives_count":             "3",
	"tcp_user_timeout":                 "6000",
	"client_connection_check_interval": "1000",
}

// connect opens a session. params are settings of its session.
func (e *endpoint) connect(ctx context.Context, params map[string]string) (*session, error) {
	l := &session{}
	config := e.config.Copy()
	config.AfterConnect = e.checked
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if n.SeverityUnlocalized == "WARNING" {
			l.warnings++
		}
	}
	config.OnNotification = func(*pgconn.PgConn, *pgconn.Notification) { l.told = true }
	config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if l.up.Load() {
			// The driver would ask the server to cancel what this session is waiting for. A
			// commit that waits for a standby would then be there without it.
			return nil, errors.New("a session is never asked to be cancelled; it is dropped")
		}
		return e.dial(ctx, network, addr)
	}
	maps.Copy(config.RuntimeParams, vigilance)
	maps.Copy(config.RuntimeParams, params)
	var err error
	if l.Conn, err = pgx.ConnectConfig(ctx, config); err != nil {
		return nil, err
	}
	l.up.Store(true)
	return l, nil
}

// drop ends the session at once, whatever the server is doing.
func (l *session) drop() {
	raw := l.PgConn().Conn()
	if c, ok := raw.(*tls.Conn); ok {
		raw = c.NetConn() // which says no farewell
	}
	_ = raw.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = l.Close(ctx)
}

// hangUp ends the session as its server would like it.
func (l *session) hangUp() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = l.Close(ctx)
}

// found makes sure that the tenant's schema is there, of this version, this
// tenant's, and sealed by this key.
func (e *endpoint) found(ctx context.Context, vkey string) error {
	db := stdlib.OpenDB(*e.config.Copy()) // nothing is there yet that a connection could be asked for
	defer db.Close()
	if err := e.makeSchema(ctx, db); err != nil {
		return err
	}
	d, err := postgresMigrations(e.key("migrate"))
	if err != nil {
		return err
	}
	if err := migrate(ctx, db, d, 0); err != nil {
		return err
	}
	return belongs(ctx, db, e.tenant, vkey)
}

func (e *endpoint) makeSchema(ctx context.Context, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, e.key("create")); err != nil {
		return err
	}
	// Asked first, for a role that may not create schemas may own one.
	var there bool
	if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)`, e.schema).Scan(&there); err != nil || there {
		return err
	}
	if _, err := tx.ExecContext(ctx, `CREATE SCHEMA `+pgx.Identifier{e.schema}.Sanitize()); err != nil {
		return err
	}
	return tx.Commit()
}

// undefined reports whether an error says that a table is not there.
func undefined(err error) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && (pe.Code == "42P01" || pe.Code == "3F000")
}

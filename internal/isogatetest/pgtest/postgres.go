// Package pgtest runs real PostgreSQL servers on loopback, for tests: one for a
// whole test binary with a new database for each test, and others that a test may
// kill, follow with a standby, and promote. It needs Debian's postgresql-15, or any
// from 14 on that is on the PATH.
package pgtest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// TB is what is needed of a *testing.T or *testing.B.
type TB interface {
	Helper()
	Cleanup(f func())
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
	Failed() bool
}

// Without, set to anything in the environment, skips what needs PostgreSQL. Without
// it such a test fails where there is none: it shows what nothing else does.
const Without = "ISOGATE_TEST_WITHOUT_POSTGRES"

// superuser is who the servers were made by. It needs no password on loopback.
const superuser = "isogate"

// PG is one server.
type PG struct {
	tb   TB
	bin  string // directory of its programs
	dir  string // of its data
	port int
	cred *syscall.Credential // who it runs as; nil is who the test runs as

	mu   sync.Mutex // guards what follows
	cmd  *exec.Cmd  // nil while it does not run
	done chan struct{}
}

// shared is the one server that all tests of a binary have together.
var shared struct {
	sync.Mutex
	pg  *PG
	err error
	n   atomic.Int64
}

// Database makes a database of its own on the server that the test binary shares,
// and returns its URL. The server is started by the first call, and ends with the
// process: see [Stop].
func Database(tb TB) string {
	tb.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.pg == nil && shared.err == nil {
		shared.pg, shared.err = create(tb)
		if shared.err == nil {
			shared.err = shared.pg.start()
		}
	}
	if shared.err != nil {
		absent(tb, shared.err)
	}
	name := fmt.Sprintf("test%d", shared.n.Add(1))
	if out, err := shared.pg.sql("postgres", "CREATE DATABASE "+name); err != nil {
		tb.Fatalf("CREATE DATABASE: %v: %s", err, out)
	}
	return shared.pg.URL(name)
}

// Stop ends the shared server, if there is one, and removes its files. Call it at the
// end of TestMain; a process that is killed takes the server with it all the same,
// but leaves the files.
func Stop() {
	shared.Lock()
	defer shared.Unlock()
	if shared.pg != nil {
		shared.pg.kill()
		_ = os.RemoveAll(shared.pg.dir)
		shared.pg = nil
	}
}

// New starts a server for one test, which may do to it what it likes.
func New(tb TB) *PG {
	tb.Helper()
	pg, err := create(tb)
	if err != nil {
		absent(tb, err)
	}
	pg.own(tb)
	pg.Start()
	return pg
}

// errAbsent says that PostgreSQL is not installed.
var errAbsent = errors.New("PostgreSQL (14 or newer) is not installed")

func absent(tb TB, err error) {
	tb.Helper()
	if errors.Is(err, errAbsent) && os.Getenv(Without) != "" {
		tb.Skipf("%v, and %s is set", err, Without)
	}
	if errors.Is(err, errAbsent) {
		tb.Fatalf("%v: run .ci/debian test, which installs it where apt-get can, or set %s=1 to go without these tests", err, Without)
	}
	tb.Fatalf("PostgreSQL: %v", err)
}

func (pg *PG) own(tb TB) {
	pg.tb = tb
	tb.Cleanup(func() {
		pg.Kill()
		if tb.Failed() {
			tb.Logf("the log of the server on port %d ends:\n%s", pg.port, pg.log())
		}
		_ = os.RemoveAll(pg.dir)
	})
}

// programs finds the directory of PostgreSQL's programs, which Debian keeps off the PATH.
func programs() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	slices.SortFunc(found, func(a, b string) int { return major(b) - major(a) })
	if p, err := exec.LookPath("postgres"); err == nil {
		found = append(found, p)
	}
	for _, p := range found {
		if m := major(p); m == 0 || m >= 14 {
			return filepath.Dir(p), nil
		}
	}
	return "", errAbsent
}

func major(path string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	return n
}

// blank prepares a directory for a server that runs as somebody without rights:
// PostgreSQL refuses root.
func blank() (*PG, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	pg := &PG{bin: bin}
	if os.Geteuid() == 0 {
		for _, name := range []string{"postgres", "nobody"} {
			u, err := user.Lookup(name)
			if err != nil {
				continue
			}
			uid, _ := strconv.ParseUint(u.Uid, 10, 32)
			gid, _ := strconv.ParseUint(u.Gid, 10, 32)
			pg.cred = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
			break
		}
		if pg.cred == nil {
			return nil, errors.New("this is root and there is no user to run a server as")
		}
	}
	if pg.dir, err = os.MkdirTemp("", "isogate-postgres-*"); err != nil {
		return nil, err
	}
	if pg.cred != nil {
		if err := os.Chown(pg.dir, int(pg.cred.Uid), int(pg.cred.Gid)); err != nil {
			return nil, err
		}
	}
	if pg.port, err = freePort(); err != nil {
		return nil, err
	}
	return pg, nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil //nolint:forcetypeassert // it was asked for TCP
}

func create(tb TB) (*PG, error) {
	tb.Helper()
	pg, err := blank()
	if err != nil {
		return nil, err
	}
	if out, err := pg.run("initdb", "-D", pg.data(), "-U", superuser, "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	if err := pg.certify(); err != nil {
		return nil, err
	}
	return pg, pg.configure("postgresql.conf", `
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 100
shared_buffers = 32MB
wal_level = replica
max_wal_senders = 4
hot_standby = on
wal_retrieve_retry_interval = 100ms
ssl = on
ssl_cert_file = 'server.crt'
ssl_key_file = 'server.key'
`)
}

func (pg *PG) data() string { return filepath.Join(pg.dir, "data") }

// configure adds lines to one of the server's configuration files.
func (pg *PG) configure(file, lines string) error {
	f, err := os.OpenFile(filepath.Join(pg.data(), file), os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, lines)
	return errors.Join(err, f.Close())
}

// certify makes the server a certificate for localhost that signs itself.
func (pg *PG) certify() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	for name, block := range map[string]*pem.Block{"server.crt": {Type: "CERTIFICATE", Bytes: der}, "server.key": {Type: "PRIVATE KEY", Bytes: secret}} {
		path := filepath.Join(pg.data(), name)
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			return err
		}
		if pg.cred != nil {
			if err := os.Chown(path, int(pg.cred.Uid), int(pg.cred.Gid)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Listen has the server take connections at another address too, from the network
// there, from its next start on.
func (pg *PG) Listen(address, network string) {
	pg.tb.Helper()
	if err := errors.Join(pg.configure("postgresql.conf", "\nlisten_addresses = '127.0.0.1, "+address+"'\n"),
		pg.configure("pg_hba.conf", fmt.Sprintf("\nhost %[1]s %[1]s %[2]s trust\n", "all", network))); err != nil {
		pg.tb.Fatalf("the server's configuration: %v", err)
	}
}

// Certificate is the file of the server's certificate, which is its own authority.
// It is of localhost.
func (pg *PG) Certificate() string { return filepath.Join(pg.data(), "server.crt") }

// Port is the server's port on 127.0.0.1.
func (pg *PG) Port() int { return pg.port }

// URL is the URL of a database of the server, in plain text on loopback; further
// servers are named behind it.
func (pg *PG) URL(database string, others ...*PG) string {
	hosts := []string{pg.address()}
	for _, o := range others {
		hosts = append(hosts, o.address())
	}
	return (&url.URL{Scheme: "postgres", User: url.User(superuser), Host: strings.Join(hosts, ","), Path: database, RawQuery: "sslmode=disable"}).String()
}

func (pg *PG) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(pg.port)) }

// Start starts the server and returns when it takes connections.
func (pg *PG) Start() {
	pg.tb.Helper()
	if err := pg.start(); err != nil {
		pg.tb.Fatalf("PostgreSQL does not start: %v\n%s", err, pg.log())
	}
}

// ready is how long a server may take to start.
const ready = 60 * time.Second

func (pg *PG) start() error {
	deadline := time.Now().Add(ready)
	for {
		err := pg.launch(deadline)
		if err == nil || time.Now().After(deadline) {
			return err
		}
		// After a kill the memory of the one before lasts until its last process saw it.
	}
}

func (pg *PG) launch(deadline time.Time) error {
	log, err := os.OpenFile(filepath.Join(pg.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(pg.bin, "postgres"), "-D", pg.data(), "-p", strconv.Itoa(pg.port))
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, pg.dir
	// It ends with this process, however that ends.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: pg.cred, Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started, done := make(chan error), make(chan struct{})
	go func() {
		// The signal comes when the thread that started it ends: keep that one.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
		close(done)
	}()
	if err := <-started; err != nil {
		return err
	}
	pg.mu.Lock()
	pg.cmd, pg.done = cmd, done
	pg.mu.Unlock()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := pg.run("pg_isready", "-q", "-h", "127.0.0.1", "-p", strconv.Itoa(pg.port)); err == nil {
			return nil
		}
		select {
		case <-done:
			return errors.New("it ended at once")
		case <-tick.C:
		}
		if time.Now().After(deadline) {
			return errors.New("it takes no connections")
		}
	}
}

// Kill ends the server as a crash would: SIGKILL, to its first process and to all
// others. It returns when none is left that could still write.
func (pg *PG) Kill() { pg.kill() }

func (pg *PG) kill() {
	pg.mu.Lock()
	cmd, done := pg.cmd, pg.done
	pg.cmd = nil
	pg.mu.Unlock()
	if cmd == nil {
		return
	}
	// Children have sessions of their own; they end when they see their parent gone.
	children := childrenOf(cmd.Process.Pid)
	_ = cmd.Process.Kill()
	for _, pid := range children {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	<-done
}

func childrenOf(pid int) (pids []int) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil
	}
	for _, f := range strings.Fields(string(b)) {
		if n, err := strconv.Atoi(f); err == nil {
			pids = append(pids, n)
		}
	}
	return pids
}

// SQL runs statements in a database, as the superuser, and returns what they print.
func (pg *PG) SQL(database, statements string) string {
	pg.tb.Helper()
	out, err := pg.sql(database, statements)
	if err != nil {
		pg.tb.Fatalf("%s: %v: %s", statements, err, out)
	}
	return out
}

func (pg *PG) sql(database, statements string) (string, error) {
	return pg.run("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", strconv.Itoa(pg.port), "-U", superuser, "-d", database, "-c", statements)
}

// Exec runs statements in the database of a URL, as the URL's user, and returns what
// they print. An error of the server is an error.
func Exec(databaseURL, statements string) (string, error) {
	pg, err := programs()
	if err != nil {
		return "", err
	}
	return (&PG{bin: pg}).run("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", databaseURL, "-c", statements)
}

// StandbyName is what a synchronous standby calls itself.
const StandbyName = "standby"

// Standby makes a standby of the server and starts it. The server waits for a
// synchronous one with every commit, from the moment this returns.
func (pg *PG) Standby(synchronous bool) *PG {
	pg.tb.Helper()
	s, err := blank()
	if err != nil {
		pg.tb.Fatalf("a standby: %v", err)
	}
	s.own(pg.tb)
	if out, err := s.run("pg_basebackup", "-h", "127.0.0.1", "-p", strconv.Itoa(pg.port), "-U", superuser, "-D", s.data(), "-R", "-X", "stream",
		"-C", "-S", "slot"+strconv.Itoa(s.port), "-c", "fast", "--no-sync"); err != nil {
		pg.tb.Fatalf("pg_basebackup: %v: %s", err, out)
	}
	if err := s.configure("postgresql.auto.conf", fmt.Sprintf(
		"\nprimary_conninfo = 'host=127.0.0.1 port=%d user=%s application_name=%s sslmode=disable'\nsynchronous_standby_names = ''\n", pg.port, superuser, StandbyName)); err != nil {
		pg.tb.Fatalf("a standby: %v", err)
	}
	s.Start()
	pg.until("the standby streams", "SELECT count(*) FROM pg_stat_replication WHERE application_name = '"+StandbyName+"' AND state = 'streaming'", "1")
	if synchronous {
		pg.SQL("postgres", "ALTER SYSTEM SET synchronous_standby_names = '"+StandbyName+"'")
		pg.SQL("postgres", "SELECT pg_reload_conf()")
		pg.until("the standby is synchronous", "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'", "1")
	}
	return s
}

// Promote makes a standby a primary, and returns when it takes writes.
func (pg *PG) Promote() {
	pg.tb.Helper()
	pg.SQL("postgres", "SELECT pg_promote(true, 60)")
	pg.until("the standby is a primary", "SELECT pg_is_in_recovery()", "f")
}

func (pg *PG) until(what, query, want string) {
	pg.tb.Helper()
	deadline := time.Now().Add(ready)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		out, err := pg.sql("postgres", query)
		if err == nil && strings.TrimSpace(out) == want {
			return
		}
		if time.Now().After(deadline) {
			pg.tb.Fatalf("waited in vain until %s: %v: %s", what, err, out)
		}
		<-tick.C
	}
}

// log is the end of what the server wrote down.
func (pg *PG) log() []byte {
	b, err := os.ReadFile(filepath.Join(pg.dir, "log"))
	if err != nil {
		return []byte(err.Error())
	}
	return b[max(0, len(b)-4096):]
}

// run runs one of PostgreSQL's programs to its end.
func (pg *PG) run(program string, args ...string) (string, error) {
	var out bytes.Buffer
	cmd := exec.Command(filepath.Join(pg.bin, program), args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Dir = os.TempDir()
	cmd.Env = []string{"LC_ALL=C", "PATH=" + os.Getenv("PATH"), "HOME=" + os.TempDir()}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: pg.cred}
	err := cmd.Run()
	return out.String(), err
}

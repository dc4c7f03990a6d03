package main

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/isogate/isogate/internal/isogatetest/pgtest"
	"github.com/isogate/isogate/internal/remote"
)

// Two gateways of a tenant share one journal: both release, both are ready, one of
// them is killed and the other goes on, and the commands read all of it.
//
// promise: P21
// promise: P23
func TestTwoGatewaysOneJournal(t *testing.T) {
	database := pgtest.Database(t)
	one := newSite(t, "database: "+database+"\n")
	one.start()
	// The other has the same keys, and a state of its own.
	text, err := os.ReadFile(one.config)
	try(t, err)
	one.write("other.yaml", strings.Replace(string(text), "state: ./state", "state: ./other", 1))
	two := &site{t: t, dir: one.dir, inside: one.inside, far: one.far, client: one.client, config: filepath.Join(one.dir, "other.yaml")}
	stranger := two.fails() // with keys of its own
	if !strings.Contains(stranger, "which all gateways of a tenant have") {
		t.Errorf("a gateway with other keys says %s", stranger)
	}
	try(t, os.RemoveAll(filepath.Join(one.dir, "other")))
	try(t, os.CopyFS(filepath.Join(one.dir, "other", "keys"), os.DirFS(filepath.Join(one.dir, "state", "keys"))))
	try(t, shut(filepath.Join(one.dir, "other")))
	two.start()
	ids := map[string]bool{}
	send := func(s *site) {
		t.Helper()
		resp, body, err := s.post(`{"title":"a","state":"open"}`)
		if err != nil || resp.StatusCode != 200 && resp.StatusCode != 201 {
			t.Fatalf("%v: %s, %v", resp, body, err)
		}
		ids[resp.Header.Get("Isogate-Entry")] = true
	}
	for range 3 {
		send(one)
		send(two)
	}
	for _, s := range []*site{one, two} {
		wait(t, "readiness", func() bool {
			status, _ := s.get("/readyz")
			return status == 200
		})
	}
	try(t, one.process.Process.Kill())
	for range 3 {
		send(two)
	}
	if status := two.stop(syscall.SIGTERM); status != 0 {
		t.Errorf("exit status %d:\n%s", status, two.log.text.String())
	}
	if len(ids) != 9 {
		t.Errorf("%d entries for 9 releases", len(ids))
	}
	out, err := two.command("--json", "journal", "list", "-c", two.config, "--limit", "1000").Output()
	try(t, err)
	var entries []struct{ ID, Stage string }
	try(t, json.Unmarshal(out, &entries))
	for _, e := range entries {
		if e.Stage == "opened" {
			delete(ids, e.ID)
		}
	}
	if len(ids) > 0 {
		t.Errorf("%d releases are not in the journal", len(ids))
	}
	if out, err := two.command("journal", "verify", "-c", two.config).CombinedOutput(); err != nil || !strings.Contains(string(out), "verified: entries 0 to") {
		t.Errorf("verify: %v: %s", err, out)
	}
	if _, err := os.Stat(filepath.Join(one.dir, "other", "journal")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a gateway on a database has a journal of its own: %v", err)
	}
	// The database is put back, and forgets what this gateway saw sealed.
	if out, err := pgtest.Exec(database, `DROP SCHEMA isogate_acme CASCADE`); err != nil {
		t.Fatal(out)
	}
	if out := two.fails(); !strings.Contains(out, "entries were removed") {
		t.Errorf("the gateway says %s", out)
	}
}

// ATTACK: the way to the database is used for something else.
// THIS TEST VERIFIES: it leads to the servers that the configuration names, and to
// no other port or host.
//
// promise: P01
func TestDatabaseDialerLeadsNowhereElse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	try(t, err)
	defer l.Close()
	dial, err := dialDatabase(&config{Database: "postgres://" + l.Addr().String() + ",db.example:5433/x?sslmode=verify-full"})
	try(t, err)
	conn, err := dial(t.Context(), "tcp", l.Addr().String())
	try(t, err)
	try(t, conn.Close())
	other, err := net.Listen("tcp", "127.0.0.1:0")
	try(t, err)
	defer other.Close()
	for _, to := range []string{other.Addr().String(), "db.example:5432", "DB.example:5433", "example.com:443", "169.254.169.254:80", strings.Replace(l.Addr().String(), "127.0.0.1", "localhost", 1)} {
		_, err := dial(t.Context(), "tcp", to)
		var refusal *remote.Refusal
		if !errors.As(err, &refusal) {
			t.Errorf("%s: %v; want a refusal", to, err)
		}
	}
	if _, err := dial(t.Context(), "unix", l.Addr().String()); err == nil {
		t.Error("a Unix socket is dialled")
	}
	if dial, err := dialDatabase(&config{}); dial != nil || err != nil {
		t.Errorf("without a database there is a way to one: %v", err)
	}
}

// Files that the URL names are relative to the configuration's directory.
func TestDatabaseFilesAreRelative(t *testing.T) {
	for in, want := range map[string]string{
		"postgres://h/x": "postgres://h/x",
		"postgres://h/x?sslmode=verify-full&sslrootcert=ca.pem":   "postgres://h/x?sslmode=verify-full&sslrootcert=%2Fetc%2Fisogate%2Fca.pem",
		"postgres://h/x?sslmode=verify-full&sslrootcert=/ca.pem":  "postgres://h/x?sslmode=verify-full&sslrootcert=%2Fca.pem",
		"postgres://a:1,b:2/x?sslcert=c&sslkey=k&sslmode=require": "postgres://a:1,b:2/x?sslcert=%2Fetc%2Fisogate%2Fc&sslkey=%2Fetc%2Fisogate%2Fk&sslmode=require",
	} {
		if got, err := resolveDatabase("/etc/isogate", in); err != nil || got != want {
			t.Errorf("%s: %s, %v", in, got, err)
		}
	}
}

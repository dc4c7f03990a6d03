package journal

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isogate/isogate"
)

// pragma runs a statement on the writing connection, through the writer.
func pragma(t *testing.T, j *Journal, query string) {
	t.Helper()
	// Not in a transaction, where pragmas of this kind have no effect: in place of a probe.
	if err := j.store.(*sqliteStore).conn.Raw(func(c any) error {
		x, ok := c.(driver.ExecerContext)
		if !ok {
			return errors.New("the driver cannot execute")
		}
		_, err := x.ExecContext(context.Background(), query, nil)
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// Fault: the database cannot grow (SQLite's page limit stands in for a full disk).
// This test verifies that nothing is acknowledged, that Ready says so, that what
// was to be recorded later is kept, and that the journal recovers by itself.
//
// promise: P23
func TestFullDatabase(t *testing.T) {
	key := newKey(t, "isogate/acme")
	j, _ := open(t, key.config(t.TempDir()))
	before := appendN(t, j, 10)
	sealedAll(t, j)
	pragma(t, j, `PRAGMA max_page_count=1`) // which SQLite makes the present size
	var failed error
	for range 100 {
		if failed = j.Append(t.Context(), big()); failed != nil {
			break
		}
	}
	if failed == nil || !strings.Contains(failed.Error(), "free space on its disk") {
		t.Fatalf("Append into a full database: %v", failed)
	}
	if err := j.Ready(); err == nil || !strings.Contains(err.Error(), "nothing leaves") {
		t.Fatalf("Ready with a full database: %v", err)
	}
	later := egress(1)
	later.Decision = "kept"
	if err := j.AppendLater(later); err != nil {
		t.Fatal(err)
	}
	for range 3 { // still full
		if err := j.Append(t.Context(), big()); err == nil {
			t.Fatal("Append into a full database is acknowledged")
		}
	}
	n, err := j.count(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pragma(t, j, `PRAGMA max_page_count=1000000`)
	eventually(t, "Ready to recover", func() bool { return j.Ready() == nil })
	eventually(t, "the entry that was kept", func() bool {
		kept, err := j.List(t.Context(), Filter{Decision: "kept"})
		return err == nil && len(kept) == 1
	})
	after := appendN(t, j, 1)
	if after[0].Seq != n+1 || after[0].ID <= before[9].ID {
		t.Errorf("seq %d follows %d entries", after[0].Seq, n)
	}
	sealedAll(t, j)
	if rep, err := j.Verify(t.Context(), key.vkey); err != nil || rep.Size != n+2 {
		t.Fatalf("%+v, %v", rep, err)
	}
}

// Fault: the disk is full. On a small file system of its own, where root may mount one.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a file system of its own")
	}
	mount := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", mount).CombinedOutput(); err != nil {
		t.Skipf("no tmpfs mount here: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", mount).Run() })
	key := newKey(t, "isogate/acme")
	j, stop := open(t, key.config(filepath.Join(mount, "journal")))
	appendN(t, j, 10)
	sealedAll(t, j)
	ballast := filepath.Join(mount, "ballast")
	if err := fill(ballast); err == nil {
		t.Fatal("the disk does not fill")
	}
	acknowledged := uint64(10)
	eventually(t, "Append to fail", func() bool {
		err := j.Append(t.Context(), big())
		if err == nil {
			acknowledged++
		}
		return err != nil
	})
	if err := j.Ready(); err == nil {
		t.Fatal("Ready on a full disk")
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Ready to recover", func() bool { return j.Ready() == nil })
	appendN(t, j, 1)
	sealedAll(t, j)
	rep, err := j.Verify(t.Context(), key.vkey)
	if err != nil || rep.Size != acknowledged+1 {
		t.Fatalf("%+v, %v; %d were acknowledged", rep, err, acknowledged+1)
	}
	stop()
}

func fill(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for block := make([]byte, 4096); ; {
		if _, err := f.Write(block); err != nil {
			return err
		}
	}
}

func TestSecondProcessIsKeptOut(t *testing.T) {
	key, dir := newKey(t, "isogate/acme"), t.TempDir()
	_, stop := open(t, key.config(dir))
	refuses(t, key.config(dir), fmt.Sprintf("is in use by process %d (journal.test) since ", os.Getpid()))
	// Readers come in all the same.
	r, err := OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	if tenant, err := r.Tenant(t.Context()); err != nil || tenant != "acme" {
		t.Errorf("tenant %q, %v", tenant, err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	stop()
	open(t, key.config(dir))
}

func TestFilesAreTheOwners(t *testing.T) {
	key, dir := newKey(t, "isogate/acme"), filepath.Join(t.TempDir(), "state", "journal")
	j, _ := open(t, key.config(dir))
	appendN(t, j, 1)
	for _, name := range []string{"", dbName, dbName + "-wal", dbName + "-shm", lockName} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has the mode %v", info.Name(), info.Mode())
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	key := newKey(t, "isogate/acme")
	notDB := t.TempDir()
	if err := os.WriteFile(filepath.Join(notDB, dbName), []byte(strings.Repeat("not a database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	change(t, other, `CREATE TABLE t (x)`)
	newer := t.TempDir()
	sealedJournal(t, key, newer, 1)
	change(t, newer, `PRAGMA user_version=99`)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"Config.Dir is empty":              func(c *Config) { c.Dir = "" },
		"Config.Signer is nil":             func(c *Config) { c.Signer = nil },
		"tenant: the name is empty":        func(c *Config) { c.Tenant = "" },
		"its public key":                   func(c *Config) { c.Verifier = "acme" },
		"the file is damaged":              func(c *Config) { c.Dir = notDB },
		"this is not a journal's database": func(c *Config) { c.Dir = other },
		"use the release that wrote it":    func(c *Config) { c.Dir = newer },
		"name another as state":            func(c *Config) { c.Dir = filepath.Join(file, "journal") },
	} {
		cfg := key.config(t.TempDir())
		change(&cfg)
		refuses(t, cfg, want)
	}
	if _, err := OpenReader(t.TempDir()); err == nil || !strings.Contains(err.Error(), "name the state directory") {
		t.Errorf("a reader where there is no journal: %v", err)
	}
	if _, err := OpenReader(newer); err == nil || !strings.Contains(err.Error(), "the journal's format is 99") {
		t.Errorf("a reader of a newer journal: %v", err)
	}
	if _, err := OpenReader(other); err == nil || !strings.Contains(err.Error(), "not a journal's database") {
		t.Errorf("a reader of another database: %v", err)
	}
}

func TestAppendRefuses(t *testing.T) {
	conformance(t, func(t *testing.T, fresh func(testing.TB) site) { appendRefuses(t, fresh(t)) })
}

func appendRefuses(t *testing.T, at site) {
	j, _ := open(t, at.config(newKey(t, "isogate/acme")))
	huge := egress(1)
	huge.Reason = strings.Repeat("x", maxEntry)
	for want, e := range map[string]*isogate.Entry{
		"without a kind":      {},
		`tenant "umbrella"`:   {Kind: isogate.KindAdmin, Tenant: "umbrella"},
		"more than the 65535": huge,
	} {
		if err := j.Append(t.Context(), e); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Append: %v; want %q", err, want)
		}
		if err := j.AppendLater(e); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("AppendLater: %v; want %q", err, want)
		}
	}
	// The largest entry goes all the way into the log.
	huge.Reason = strings.Repeat("x", maxEntry-headRoom-len(appendTail(nil, egress(1)))-len(`,"reason":""`)-len(`"tenant":"acme",`))
	huge.Tenant = ""
	if err := j.Append(t.Context(), huge); err != nil {
		t.Fatal(err)
	}
	sealedAll(t, j)
	p, err := j.Prove(t.Context(), huge.ID)
	if err != nil {
		t.Fatal(err)
	}
	text, err := p.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	if err := new(Proof).UnmarshalText(text); err != nil {
		t.Fatal(err)
	}
}

// A caller that gives up hears the outcome if it comes soon, and else that it is unknown.
func TestAppendCancelled(t *testing.T) {
	conformance(t, func(t *testing.T, fresh func(testing.TB) site) { appendCancelled(t, fresh(t)) })
}

func appendCancelled(t *testing.T, at site) {
	cfg := at.config(newKey(t, "isogate/acme"))
	cfg.Queue = 2
	j, err := Open(t.Context(), cfg) // Run does not run: nothing is committed
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := j.Append(ctx, egress(1)); !errors.Is(err, ErrUnknown) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Append: %v; want ErrUnknown", err)
	}
	if err := j.AppendLater(egress(2)); err != nil {
		t.Fatal(err)
	}
	if err := j.Append(ctx, egress(3)); err == nil || errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "was not taken") {
		t.Errorf("Append to a full queue: %v; want that it was not taken", err)
	}
	if err := j.Ready(); !errors.Is(err, ErrStopped) {
		t.Errorf("Ready: %v", err)
	}
	stop := run(t, j)
	eventually(t, "what was taken", func() bool { n, err := j.count(t.Context()); return err == nil && n == 2 })
	// Already done: a cancelled context changes nothing.
	if err := j.Append(ctx, egress(4)); err != nil {
		t.Errorf("Append: %v", err)
	}
	if err := j.Run(t.Context()); err == nil {
		t.Error("Run runs twice")
	}
	stop()
}

// AppendLater waits for room rather than lose an entry.
func TestAppendLaterWaitsForRoom(t *testing.T) {
	conformance(t, func(t *testing.T, fresh func(testing.TB) site) { laterWaits(t, fresh(t)) })
}

func laterWaits(t *testing.T, at site) {
	cfg := at.config(newKey(t, "isogate/acme"))
	cfg.Queue = 3
	j, _ := open(t, cfg)
	for i := range 500 {
		if err := j.AppendLater(egress(i)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all entries", func() bool { n, err := j.count(t.Context()); return err == nil && n == 500 })
}

func TestReadyAsksForFreshCheckpoints(t *testing.T) {
	conformance(t, func(t *testing.T, fresh func(testing.TB) site) { freshCheckpoints(t, fresh(t)) })
}

func freshCheckpoints(t *testing.T, at site) {
	cfg := at.config(newKey(t, "isogate/acme"))
	cfg.MaxAge = 30 * time.Millisecond
	cfg.SealEvery = 400 * time.Millisecond
	j, _ := open(t, cfg)
	appendN(t, j, 1)
	sealedAll(t, j)
	eventually(t, "Ready", func() bool { return j.Ready() == nil })
	appendN(t, j, 1)
	eventually(t, "Ready to fail", func() bool {
		err := j.Ready()
		return err != nil && strings.Contains(err.Error(), "have waited")
	})
	eventually(t, "Ready", func() bool { return j.Ready() == nil })
}

func TestMetrics(t *testing.T) {
	conformance(t, func(t *testing.T, fresh func(testing.TB) site) { metrics(t, fresh(t)) })
}

func metrics(t *testing.T, at site) {
	cfg := at.config(newKey(t, "isogate/acme"))
	cfg.Metrics = NewMetrics()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(cfg.Metrics)
	j, _ := open(t, cfg)
	appendN(t, j, 3)
	sealedAll(t, j)
	families, err := reg.Gather()
	if err != nil || len(families) != 8 {
		t.Fatalf("%d metrics, %v", len(families), err)
	}
	got := map[string]float64{}
	for _, f := range families {
		m := f.GetMetric()[0]
		got[f.GetName()] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
	}
	for name, want := range map[string]float64{"isogate_journal_entries_total": 3, "isogate_journal_entries": 3,
		"isogate_journal_sealed_entries": 3, "isogate_journal_commit_failures_total": 0, "isogate_journal_seal_failures_total": 0} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
}

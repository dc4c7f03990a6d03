package journal

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/fsck"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
)

// copyDir copies a directory as a backup would.
func copyDir(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// sealedJournal makes a journal of n sealed entries, stopped.
func sealedJournal(t *testing.T, key testKey, dir string, n int) []isogate.Entry {
	t.Helper()
	j, stop := open(t, key.config(dir))
	entries := appendN(t, j, n)
	sealedAll(t, j)
	stop()
	return entries
}

func refuses(t *testing.T, cfg Config, want string) {
	t.Helper()
	j, err := Open(t.Context(), cfg)
	if err == nil {
		_ = j.Close()
		t.Fatalf("opens; want a refusal that says %q", want)
	}
	if !strings.Contains(err.Error(), want) {
		t.Fatalf("refuses with %v; want %q", err, want)
	}
}

// The log's own tools agree: Tessera's fsck recomputes the whole tree from the
// entry bundles and checks every tile.
func TestLogIsSoundByTesserasFsck(t *testing.T) {
	key, dir := newKey(t, "isogate/acme"), t.TempDir()
	for _, n := range []int{1, 40, 300, 1} { // over partial and full tiles, through restarts
		sealedJournal(t, key, dir, n)
	}
	verifier, err := note.NewVerifier(key.vkey)
	if err != nil {
		t.Fatal(err)
	}
	hash := func(bundle []byte) ([][]byte, error) { return bundleHashes(bundle) }
	f := fsck.New("isogate/acme", verifier, tree{filepath.Join(dir, logName)}.fetch(), hash, fsck.Opts{N: 1})
	if err := f.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Nothing is left of the partial tiles that the full one took the place of.
	for _, p := range []string{"tile/entries/000.p", "tile/0/000.p"} {
		if _, err := os.Stat(filepath.Join(dir, logName, p)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", p, err)
		}
	}
}

// Attack or accident: the log's directory is put back from a backup. Left alone,
// Tessera would sign a second history over it. This test verifies that the
// journal does not start, that it says why, and that its ways out work.
func TestLogPutBackIsRefused(t *testing.T) {
	key, dir := newKey(t, "isogate/acme"), t.TempDir()
	sealedJournal(t, key, dir, 10)
	backup := t.TempDir()
	copyDir(t, filepath.Join(dir, logName), filepath.Join(backup, logName))
	sealedJournal(t, key, dir, 10)
	newest := filepath.Join(t.TempDir(), logName)
	if err := os.Rename(filepath.Join(dir, logName), newest); err != nil {
		t.Fatal(err)
	}
	copyDir(t, filepath.Join(backup, logName), filepath.Join(dir, logName))
	refuses(t, key.config(dir), "the log was put back to an older state")

	// The newest state restored.
	if err := os.RemoveAll(filepath.Join(dir, logName)); err != nil {
		t.Fatal(err)
	}
	copyDir(t, newest, filepath.Join(dir, logName))
	sealedJournal(t, key, dir, 1)

	// Or the log built again from the database; its checkpoint is the one that was signed.
	before, err := os.ReadFile(filepath.Join(dir, logName, "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, logName)); err != nil {
		t.Fatal(err)
	}
	j, stop := open(t, key.config(dir))
	after, err := os.ReadFile(filepath.Join(dir, logName, "checkpoint"))
	if err != nil || !bytes.Equal(before, after) {
		t.Fatalf("the log built again has another checkpoint: %v\n%s\n%s", err, before, after)
	}
	appendN(t, j, 1)
	sealedAll(t, j)
	if _, err := j.Verify(t.Context(), key.vkey); err != nil {
		t.Fatal(err)
	}
	stop()

	// A database whose rows were changed does not become a log.
	change(t, dir, `UPDATE entry SET body = CAST(replace(CAST(body AS TEXT), 'help-center', 'help-centre') AS BLOB) WHERE seq = 3`)
	if err := os.RemoveAll(filepath.Join(dir, logName)); err != nil {
		t.Fatal(err)
	}
	refuses(t, key.config(dir), "do not make the root")
}

// The same while the journal runs: nothing is signed any more, and Ready fails.
func TestLogPutBackWhileRunning(t *testing.T) {
	key, dir := newKey(t, "isogate/acme"), t.TempDir()
	sealedJournal(t, key, dir, 10)
	backup := t.TempDir()
	copyDir(t, filepath.Join(dir, logName), filepath.Join(backup, logName))
	cfg := key.config(dir)
	cfg.MaxAge = 50 * time.Millisecond
	j, _ := open(t, cfg)
	appendN(t, j, 10)
	sealedAll(t, j)
	if err := os.RemoveAll(filepath.Join(dir, logName)); err != nil {
		t.Fatal(err)
	}
	copyDir(t, filepath.Join(backup, logName), filepath.Join(dir, logName))
	appendN(t, j, 5)
	eventually(t, "Ready to fail", func() bool {
		err := j.Ready()
		return err != nil && strings.Contains(err.Error(), "older state")
	})
	if size, _ := (tree{filepath.Join(dir, logName)}).size(); size != 10 {
		t.Errorf("the log that was put back was extended to %d", size)
	}
	// Cured without a restart once the log is right again: it is rebuilt at the next
	// start, or as here, its newest state comes back.
	if err := os.RemoveAll(filepath.Join(dir, logName)); err != nil {
		t.Fatal(err)
	}
}

// The other way round: the database is put back, the log is not.
func TestDatabasePutBackIsRefused(t *testing.T) {
	key, dir := newKey(t, "isogate/acme"), t.TempDir()
	sealedJournal(t, key, dir, 10)
	backup, err := os.ReadFile(filepath.Join(dir, dbName))
	if err != nil {
		t.Fatal(err)
	}
	sealedJournal(t, key, dir, 10)
	if err := os.WriteFile(filepath.Join(dir, dbName), backup, 0o600); err != nil {
		t.Fatal(err)
	}
	refuses(t, key.config(dir), "the database was put back to an older state")
}

// A database put back and grown again has another history than the log.
func TestForkedDatabaseIsRefused(t *testing.T) {
	key, dir, other := newKey(t, "isogate/acme"), t.TempDir(), t.TempDir()
	sealedJournal(t, key, dir, 5)
	sealedJournal(t, key, other, 7)
	for _, suffix := range []string{""} {
		b, err := os.ReadFile(filepath.Join(other, dbName+suffix))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, dbName+suffix), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	refuses(t, key.config(dir), "older state")
	if err := os.RemoveAll(filepath.Join(dir, logName)); err != nil {
		t.Fatal(err)
	}
	copyDir(t, filepath.Join(other, logName), filepath.Join(dir, logName))
	sealedJournal(t, key, dir, 1)
	// Same length, other tiles.
	third := t.TempDir()
	sealedJournal(t, key, third, 8)
	if err := os.RemoveAll(filepath.Join(dir, logName)); err != nil {
		t.Fatal(err)
	}
	copyDir(t, filepath.Join(third, logName), filepath.Join(dir, logName))
	refuses(t, key.config(dir), "do not make the root that was signed")
}

// The clock steps back by a year while entries come. Tessera alone would publish
// nothing until it has caught up. IDs stay ordered.
func TestClockStepsBack(t *testing.T) {
	key, dir := newKey(t, "isogate/acme"), t.TempDir()
	now := time.Now()
	cfg := key.config(dir)
	cfg.Now = func() time.Time { return now }
	j, stop := open(t, cfg)
	first := appendN(t, j, 3)
	sealedAll(t, j)
	stop()
	// For the file system it was the future when the checkpoint was published.
	future := time.Now().AddDate(1, 0, 0)
	if err := os.Chtimes(filepath.Join(dir, logName, "checkpoint"), future, future); err != nil {
		t.Fatal(err)
	}
	now = now.AddDate(-1, 0, 0)
	j, _ = open(t, cfg)
	second := appendN(t, j, 3)
	sealedAll(t, j)
	last := first[2].ID
	for _, e := range second {
		if e.ID <= last {
			t.Errorf("ID %s does not come after %s", e.ID, last)
		}
		last = e.ID
		if !e.Time.Equal(now.UTC().Truncate(time.Microsecond)) {
			t.Errorf("time %s, the clock says %s", e.Time, now)
		}
	}
	if _, err := j.Verify(t.Context(), key.vkey); err != nil {
		t.Fatal(err)
	}
}

// Tessera still has the habit that publishNow is there for. When this test fails,
// publishNow can go.
func TestTesseraStillHaltsWithAClockBehind(t *testing.T) {
	key, dir := newKey(t, "isogate/acme"), t.TempDir()
	driver, err := posix.New(t.Context(), posix.Config{Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	log, _, _, err := tessera.NewAppender(ctx, driver, tessera.NewAppendOptions().WithCheckpointSigner(key.signer).
		WithBatching(1, time.Second).WithCheckpointInterval(tesseraInterval))
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	future := time.Now().Add(time.Hour)
	if err := os.Chtimes(filepath.Join(dir, "checkpoint"), future, future); err != nil {
		t.Fatal(err)
	}
	if _, err := log.Add(ctx, tessera.NewEntry([]byte("entry")))(); err != nil {
		t.Fatal(err)
	}
	wait := time.NewTimer(5 * tesseraInterval)
	<-wait.C
	after, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, after) {
		t.Error("Tessera published with the clock behind")
	}
}

// Run is cut off while a batch is under way, again and again: it always returns,
// and nothing is lost or sealed twice.
func TestStopDuringBatches(t *testing.T) {
	key, dir := newKey(t, "isogate/acme"), t.TempDir()
	n := uint64(0)
	for range 15 {
		j, stop := open(t, key.config(dir))
		for i := range 20 {
			if err := j.AppendLater(egress(i)); err != nil {
				t.Fatal(err)
			}
		}
		done := make(chan struct{})
		go func() { stop(); close(done) }()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			t.Fatal("Run does not return")
		}
		n += 20
	}
	j, _ := open(t, key.config(dir))
	sealedAll(t, j)
	rep, err := j.Verify(t.Context(), key.vkey)
	if err != nil || rep.Size != n {
		t.Fatalf("%+v, %v; want %d entries", rep, err, n)
	}
}

// A future of the log that never resolves does not hold the sealer for ever.
func TestHungFutureEnds(t *testing.T) {
	hang := &tessera.Appender{Add: func(context.Context, *tessera.Entry) tessera.IndexFuture {
		return func() (tessera.Index, error) { select {} }
	}}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := add(ctx, hang, 0, [][]byte{[]byte("x")}); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("add: %v", err)
	}
}

// A log that gives other indices than seqs is not signed.
func TestIndexMustBeSeq(t *testing.T) {
	off := &tessera.Appender{Add: func(context.Context, *tessera.Entry) tessera.IndexFuture {
		return func() (tessera.Index, error) { return tessera.Index{Index: 7}, nil }
	}}
	if err := add(t.Context(), off, 0, [][]byte{[]byte("x")}); !errors.Is(err, errFork) {
		t.Fatalf("add: %v", err)
	}
}

// Entries that were integrated but not signed before a crash are compared with
// the rows and signed then.
func TestCrashBetweenIntegrationAndSignature(t *testing.T) {
	key, dir := newKey(t, "isogate/acme"), t.TempDir()
	j, stop := open(t, key.config(dir))
	appendN(t, j, 10)
	sealedAll(t, j)
	stop()
	state := tree{filepath.Join(dir, logName)}
	integrate := func(last string) {
		t.Helper()
		// As a crash leaves it: rows, and leaves in the tiles, but no checkpoint.
		change(t, dir, `INSERT INTO entry SELECT seq+10, '`+last+`' || substr(CAST(body AS TEXT), 11) FROM entry WHERE seq >= 8 ORDER BY seq`)
		r, err := OpenReader(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		n, err := r.count(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_ = n
	}
	_ = integrate
	r, err := OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	bodies, err := r.bodies(t.Context(), 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	was, err := r.kept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	var next [][]byte
	for i := range 3 {
		next = append(next, append(appendHead(nil, isogate.EntryID("7ZZZZZZZZZZZZZZZZZZZZZZZZ"+string(rune('A'+i))), uint64(10+i), time.Now().UTC()), bodies[0][bytes.Index(bodies[0], []byte(`,"tenant"`)):]...))
	}
	g := &guard{Signer: key.signer, want: was, done: true} // signs nothing new
	if err := state.append(t.Context(), g, 10, next, func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	if size, err := state.size(); err != nil || size != 13 {
		t.Fatal(size, err)
	}
	// Without the rows the database is the older one.
	refuses(t, key.config(dir), "the database was put back")
	for i, b := range next {
		insert(t, dir, 10+i, b)
	}
	// With other rows the log took something else.
	change(t, dir, `UPDATE entry SET body = CAST(replace(CAST(body AS TEXT), '"POST"', '"PUT"') AS BLOB) WHERE seq = 11`)
	cfg := key.config(dir)
	refuses(t, cfg, "entry 11 (7ZZZZZZZZZZZZZZZZZZZZZZZZB) was changed")
	change(t, dir, `UPDATE entry SET body = CAST(replace(CAST(body AS TEXT), '"PUT"', '"POST"') AS BLOB) WHERE seq = 11`)
	j, _ = open(t, cfg)
	sealedAll(t, j)
	if rep, err := j.Verify(t.Context(), key.vkey); err != nil || rep.Size != 13 {
		t.Fatal(rep, err)
	}
}

// A checkpoint that was kept but not published before a crash is published at the start.
func TestCrashBetweenSignatureAndPublication(t *testing.T) {
	key, dir := newKey(t, "isogate/acme"), t.TempDir()
	sealedJournal(t, key, dir, 10)
	path := filepath.Join(dir, logName, "checkpoint")
	older, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sealedJournal(t, key, dir, 10)
	newer, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, state := range [][]byte{older, nil} {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if state != nil {
			if err := os.WriteFile(path, state, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		open(t, key.config(dir))
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, newer) {
			t.Fatalf("%s\n%v", now, err)
		}
		break
	}
}

func TestOpenedByAnotherKey(t *testing.T) {
	key, dir := newKey(t, "isogate/acme"), t.TempDir()
	sealedJournal(t, key, dir, 3)
	refuses(t, newKey(t, "isogate/acme").config(dir), "does not verify by the key")
	mixed := key.config(t.TempDir())
	mixed.Verifier = newKey(t, "isogate/acme").vkey
	refuses(t, mixed, "does not belong to the signer")
	cfg := key.config(dir)
	cfg.Tenant = "umbrella"
	refuses(t, cfg, `the journal is tenant "acme"'s, not "umbrella"'s`)
}

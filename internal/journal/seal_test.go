package journal

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/api/layout"
	"github.com/transparency-dev/tessera/fsck"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
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

// Tessera, another implementation of C2SP tlog-tiles, makes the same log of the
// same entries, file by file.
func TestLogIsAsTesseraMakesIt(t *testing.T) {
	conformance(t, func(t *testing.T, fresh func(testing.TB) site) { asTesseraMakesIt(t, fresh(t)) })
}

func asTesseraMakesIt(t *testing.T, at site) {
	key := newKey(t, "isogate/acme")
	sizes := []int{1, 1, 253, 1, 1, 300, 512, 7}
	for _, n := range sizes {
		sealedAt(t, at, key, n)
	}
	r := at.reader(t)
	n, err := r.count(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	bodies, err := r.bodies(t.Context(), 0, n)
	if err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	driver, err := posix.New(t.Context(), posix.Config{Path: other, HTTPClient: &http.Client{}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	log, shutdown, _, err := tessera.NewAppender(ctx, driver, tessera.NewAppendOptions().WithCheckpointSigner(key.signer).
		WithBatching(uint(n), time.Hour).WithCheckpointInterval(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	var futures []tessera.IndexFuture
	for _, b := range bodies {
		futures = append(futures, log.Add(ctx, tessera.NewEntry(b)))
	}
	for _, f := range futures {
		if _, err := f(); err != nil {
			t.Fatal(err)
		}
	}
	if err := shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	compared := 0
	err = fs.WalkDir(os.DirFS(other), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(path, ".state") {
			return err
		}
		want, err := os.ReadFile(filepath.Join(other, path))
		if err != nil {
			return err
		}
		got, err := r.tree.read(t.Context(), path)
		if path == "checkpoint" {
			got, err = r.tree.published(t.Context())
		}
		if err != nil {
			return err
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs from Tessera's", path)
		}
		compared++
		return nil
	})
	if err != nil || compared < 10 {
		t.Fatalf("%d files compared, %v", compared, err)
	}
}

// Tessera's fsck agrees: it recomputes the whole tree from the entry
// bundles and checks every tile.
func TestLogIsSoundByTesserasFsck(t *testing.T) {
	conformance(t, func(t *testing.T, fresh func(testing.TB) site) { soundByFsck(t, fresh(t)) })
}

// fetcher gives Tessera the log's files, wherever they are.
type fetcher struct{ tree }

func (f fetcher) ReadCheckpoint(ctx context.Context) ([]byte, error) { return f.published(ctx) }

func (f fetcher) ReadTile(ctx context.Context, level, index uint64, p uint8) ([]byte, error) {
	return f.read(ctx, layout.TilePath(level, index, p))
}

func (f fetcher) ReadEntryBundle(ctx context.Context, index uint64, p uint8) ([]byte, error) {
	return f.read(ctx, layout.EntriesPath(index, p))
}

func soundByFsck(t *testing.T, at site) {
	key := newKey(t, "isogate/acme")
	for _, n := range []int{1, 40, 300, 1} { // over partial and full tiles, through restarts
		sealedAt(t, at, key, n)
	}
	log := at.reader(t).tree
	verifier, err := note.NewVerifier(key.vkey)
	if err != nil {
		t.Fatal(err)
	}
	hash := func(bundle []byte) ([][]byte, error) { return bundleHashes(bundle) }
	f := fsck.New("isogate/acme", verifier, fetcher{log}, hash, fsck.Opts{N: 1})
	if err := f.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Nothing is left of the partial tiles that the full one took the place of.
	for _, p := range []string{"tile/entries/000.p/1", "tile/0/000.p/1"} {
		if _, err := log.read(t.Context(), p); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", p, err)
		}
	}
}

// Attack or accident: the log's directory is put back from a backup. Going on from
// what it holds would sign a second history. This test verifies that the
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
	newest := filepath.Join(t.TempDir(), logName)
	if err := os.Rename(filepath.Join(dir, logName), newest); err != nil {
		t.Fatal(err)
	}
	copyDir(t, filepath.Join(backup, logName), filepath.Join(dir, logName))
	appendN(t, j, 5)
	eventually(t, "Ready to fail", func() bool {
		err := j.Ready()
		return err != nil && strings.Contains(err.Error(), "older state")
	})
	old, err := os.ReadFile(filepath.Join(backup, logName, "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	if now, err := os.ReadFile(filepath.Join(dir, logName, "checkpoint")); err != nil || !bytes.Equal(old, now) {
		t.Errorf("over the log that was put back was signed:\n%s\n%v", now, err)
	}
	// It goes on by itself once the log is as it was.
	if err := os.RemoveAll(filepath.Join(dir, logName)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(newest, filepath.Join(dir, logName)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Ready", func() bool { return j.Ready() == nil })
	sealedAll(t, j)
	if _, err := j.Verify(t.Context(), key.vkey); err != nil {
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

// The clock steps back by a year while entries come, behind the file times of the
// log too. Checkpoints go on, and IDs stay ordered.
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

// Run is cut off while a batch is under way, again and again: it always returns,
// and nothing is lost or sealed twice.
func TestStopDuringBatches(t *testing.T) {
	conformance(t, func(t *testing.T, fresh func(testing.TB) site) { stopDuringBatches(t, fresh(t)) })
}

func stopDuringBatches(t *testing.T, at site) {
	key := newKey(t, "isogate/acme")
	n := uint64(0)
	for range 15 {
		j, stop := open(t, at.config(key))
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
	j, _ := open(t, at.config(key))
	sealedAll(t, j)
	rep, err := j.Verify(t.Context(), key.vkey)
	if err != nil || rep.Size != n {
		t.Fatalf("%+v, %v; want %d entries", rep, err, n)
	}
}

// A crash before the signature leaves tiles and bundles that nothing was signed
// over. They are written again from the rows, whatever they say.
func TestCrashBeforeSignature(t *testing.T) {
	conformance(t, func(t *testing.T, fresh func(testing.TB) site) { crashBeforeSignature(t, fresh(t)) })
}

func crashBeforeSignature(t *testing.T, at site) {
	key := newKey(t, "isogate/acme")
	sealedAt(t, at, key, 250)
	crashed, err := Open(t.Context(), at.config(key))
	if err != nil {
		t.Fatal(err)
	}
	was, err := crashed.kept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := crashed.seal.tree.grow(t.Context(), was, slices.Repeat([][]byte{[]byte("another entry")}, 10)); err != nil {
		t.Fatal(err)
	}
	crashed.seal.seat.leave()
	if err := crashed.Close(); err != nil {
		t.Fatal(err)
	}
	j, _ := open(t, at.config(key))
	appendN(t, j, 10)
	sealedAll(t, j)
	if rep, err := j.Verify(t.Context(), key.vkey); err != nil || rep.Size != 260 {
		t.Fatal(rep, err)
	}
}

// The signature follows the database: a checkpoint that it does not take in place
// of the one before is not published.
func TestKeepIsCompareAndSwap(t *testing.T) {
	conformance(t, func(t *testing.T, fresh func(testing.TB) site) { compareAndSwap(t, fresh(t)) })
}

func compareAndSwap(t *testing.T, at site) {
	key := newKey(t, "isogate/acme")
	j, _ := open(t, at.config(key))
	appendN(t, j, 1)
	sealedAll(t, j)
	was, err := j.kept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second := j.seal // of a process that thinks that it has the seat, too
	if at.shared {
		s := &sharedSeat{at: j.remote}
		defer s.leave()
		second = newSealer(j, j.seal.verifier, tree{shelf{j.db, s}}, s)
	}
	now, err := second.tree.grow(t.Context(), was, [][]byte{[]byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	if err := now.sign(key.signer); err != nil {
		t.Fatal(err)
	}
	older := &kept{root: rfc6962.DefaultHasher.EmptyRoot(), tree: ranges.NewEmptyRange(0)}
	err = second.seat.keep(t.Context(), older, now)
	if !errors.Is(err, errOvertaken) {
		t.Fatalf("a checkpoint made from an older one: %v", err)
	}
	if still, err := j.kept(t.Context()); err != nil || still.size != was.size {
		t.Fatal(still, err)
	}
	if err := j.Ready(); err != nil { // entries of the same transaction are not touched by it
		t.Fatal(err)
	}
	appendN(t, j, 1)
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
	for name, state := range map[string][]byte{"the older one is still there": older, "none is there": nil} {
		t.Run(name, func(t *testing.T) {
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
		})
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

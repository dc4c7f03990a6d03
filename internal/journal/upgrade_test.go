package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/isogatetest/pgtest"
)

// A journal of the first format is read as it is, brought to this one when it is
// opened, and goes on: what it sealed stays as it was, and followers are told the
// consents from before there was an outbox, and nothing that only looks like one.
func TestUpgradeFromFormat1(t *testing.T) {
	key, dir := fixedKey(t, "isogate/acme"), t.TempDir()
	copyDir(t, "testdata/format-1", dir)
	old := opened(t, ReaderConfig{Dir: dir})
	if rep, err := old.Verify(t.Context(), key.vkey); err != nil || rep.Size != 12 {
		t.Fatalf("format 1 as it is: %+v, %v", rep, err)
	}
	was, err := old.bodies(t.Context(), 0, 12)
	if err != nil {
		t.Fatal(err)
	}
	j, stop := open(t, key.config(dir))
	w := follow(t, j.Reader, 0, 10*time.Millisecond)
	eventually(t, "the entries", func() bool { return w.upTo() == 12 })
	w.mu.Lock()
	if len(w.entries) != 2 || w.entries[0].Seq != 3 || w.entries[1].Seq != 9 {
		t.Errorf("followers are told %v, want entries 3 and 9", w.entries)
	}
	w.mu.Unlock()
	e := consent(1)
	if err := j.Append(t.Context(), e); err != nil || e.Seq != 12 {
		t.Fatalf("the next entry is %d: %v", e.Seq, err)
	}
	eventually(t, "the new consent", func() bool { return w.upTo() == 13 })
	sealedAll(t, j)
	if rep, err := j.Verify(t.Context(), key.vkey); err != nil || rep.Size != 13 {
		t.Fatalf("%+v, %v", rep, err)
	}
	now, err := j.bodies(t.Context(), 0, 12)
	if err != nil {
		t.Fatal(err)
	}
	for i := range was {
		if string(was[i]) != string(now[i]) {
			t.Errorf("entry %d was changed", i)
		}
	}
	stop()
	for range 2 { // nothing is left to do
		_, stop := open(t, key.config(dir))
		stop()
	}
	var version int
	r := opened(t, ReaderConfig{Dir: dir})
	if err := r.db.QueryRowContext(t.Context(), `PRAGMA user_version`).Scan(&version); err != nil || version != sqliteLatest {
		t.Errorf("user_version %d, %v: a program that knows no outbox would write", version, err)
	}
}

// A follower of a journal that no gateway has upgraded yet is not told that it is in
// contact: it could miss consents.
func TestFormat1IsNotFollowed(t *testing.T) {
	dir := t.TempDir()
	copyDir(t, "testdata/format-1", dir)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := opened(t, ReaderConfig{Dir: dir}).Follow(ctx, isogate.KindConsent, 0, time.Millisecond, func(Batch) error { return errors.New("told") }); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Error(err)
	}
}

// A database of a release that is newer is left alone.
func TestNewerDatabaseIsRefused(t *testing.T) {
	conformance(t, func(t *testing.T, fresh func(testing.TB) site) {
		at, key := fresh(t), newKey(t, "isogate/acme")
		sealedAt(t, at, key, 1)
		at.change(t, `INSERT INTO migration (version_id, is_applied) VALUES (99, true)`)
		refuses(t, at.config(key), "the journal's format is 99")
		if at.shared {
			cfg := at.config(key)
			_, err := ReaderConfig{Database: cfg.Database, Tenant: "acme", Dial: dial}.Open(t.Context())
			if err == nil || !strings.Contains(err.Error(), "the journal's format is 99") {
				t.Errorf("a reader: %v", err)
			}
		}
	})
}

// Gateways that start at the same time on an empty database make it one journal.
func TestGatewaysStartTogether(t *testing.T) {
	at, key := siteOf(pgtest.Database(t)), newKey(t, "isogate/acme")
	opening := make(chan *Journal)
	for range 4 {
		go func() {
			j, err := Open(context.WithoutCancel(t.Context()), at.config(key))
			if err != nil {
				t.Error(err)
			}
			opening <- j
		}()
	}
	for range 4 {
		if j := <-opening; j != nil {
			run(t, j)
			appendN(t, j, 2)
		}
	}
	if n, err := at.reader(t).count(t.Context()); err != nil || n != 8 {
		t.Errorf("%d entries, %v", n, err)
	}
	other := newKey(t, "isogate/acme")
	refuses(t, other.shared(at.config(key).Database), "the key that sealed it")
}

// Admin entries can be followed from format 4 on, and pack entries from format 5. This test
// verifies that those of an older journal are told once it is opened, and found and
// verified before, when the outbox does not have them yet; and that it is not followed then,
// since entries could be missed.
func TestUpgradeOfWhatIsFollowed(t *testing.T) {
	for _, c := range []struct {
		kind             isogate.EntryKind
		before, postgres int // the format before, and the version of PostgreSQL's that brought it
	}{{isogate.KindAdmin, 3, 3}, {isogate.KindPack, 4, 4}} {
		t.Run(string(c.kind), func(t *testing.T) {
			conformance(t, func(t *testing.T, fresh func(testing.TB) site) {
				at, key := fresh(t), newKey(t, "isogate/acme")
				j, stop := open(t, at.config(key))
				appendN(t, j, 3)
				one := &isogate.Entry{Kind: c.kind, Actor: "ada", Act: "did something"}
				// Not one, whatever its detail looks like.
				like := &isogate.Entry{Kind: isogate.KindKey, Act: "x", Detail: map[string]string{"a": `"tenant":"acme","kind":"` + string(c.kind) + `"`, "kind": string(c.kind)}}
				for _, e := range []*isogate.Entry{one, like} {
					if err := j.Append(t.Context(), e); err != nil {
						t.Fatal(err)
					}
				}
				sealedAll(t, j)
				stop()
				at.change(t, fmt.Sprintf(`DELETE FROM outbox WHERE kind = '%s'`, c.kind))
				if at.shared {
					at.change(t, fmt.Sprintf(`DELETE FROM migration WHERE version_id >= %d`, c.postgres))
				} else {
					at.change(t, fmt.Sprintf(`DELETE FROM migration WHERE version_id > %d; PRAGMA user_version = %d`, c.before, c.before))
					r := at.reader(t)
					found, err := r.List(t.Context(), Filter{Kind: c.kind})
					if err != nil || len(found) != 1 || found[0].Seq != one.Seq {
						t.Errorf("format %d lists the entries %v: %v", c.before, found, err)
					}
					if _, err := r.Verify(t.Context(), key.vkey); err != nil {
						t.Errorf("format %d does not verify: %v", c.before, err)
					}
					err = r.Follow(t.Context(), c.kind, 0, time.Millisecond, func(Batch) error { return errors.New("told") })
					if err == nil || !strings.Contains(err.Error(), "start its gateway") {
						t.Errorf("format %d is followed: %v", c.before, err)
					}
				}
				j, _ = open(t, at.config(key))
				var told []isogate.Entry
				end := errors.New("end")
				if err := j.Follow(t.Context(), c.kind, 0, time.Second, func(b Batch) error { told = b.Entries; return end }); !errors.Is(err, end) {
					t.Fatal(err)
				}
				if len(told) != 1 || told[0].Seq != one.Seq || told[0].Act != "did something" {
					t.Errorf("told %v, want entry %d", told, one.Seq)
				}
				if _, err := j.Verify(t.Context(), key.vkey); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

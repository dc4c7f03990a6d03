package journal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/isogatetest/pgtest"
)

// Accident: every process of the database is killed under load, and it starts again.
// This test verifies that nothing is acknowledged meanwhile, that nothing acknowledged
// is lost, that what was to be recorded later is there once, and that gateways and
// followers go on by themselves.
//
// promise: P23
func TestDatabaseIsKilled(t *testing.T) {
	rounds := 4
	if testing.Short() {
		rounds = 1
	}
	pg := pgtest.New(t)
	at, key := siteOf(pg.URL("postgres")), newKey(t, "isogate/acme")
	one, _ := open(t, at.config(key))
	two, _ := open(t, at.config(key))
	w := follow(t, two.Reader, 0, 20*time.Millisecond)
	l := loadOn(t, one, two)
	for range rounds {
		l.grows(t, 100+rand.IntN(200))
		pg.Kill()
		for _, j := range []*Journal{one, two} {
			if err := j.Append(t.Context(), egress(1)); err == nil {
				t.Error("Append without a database is acknowledged")
			}
			eventually(t, "Ready to fail", func() bool { return j.Ready() != nil })
		}
		before := l.acknowledged()
		pg.Start()
		l.grows(t, 50)
		if before == 0 {
			t.Error("nothing was acknowledged before the kill")
		}
		for _, j := range []*Journal{one, two} {
			eventually(t, "Ready", func() bool { return j.Ready() == nil })
		}
	}
	l.check(t, at, key, one)
	toldAll(t, w, at)
}

// toldAll verifies that a follower was told every consent of a journal once.
func toldAll(t testing.TB, w *followed, at site) {
	t.Helper()
	r := at.reader(t)
	n, err := r.count(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want, err := r.List(t.Context(), Filter{Kind: isogate.KindConsent, Limit: int(n) + 1})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "everything to be followed", func() bool { return w.upTo() >= n })
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.entries) != len(want) || len(want) == 0 {
		t.Fatalf("the follower was told %d consents of %d", len(w.entries), len(want))
	}
	for i := range want {
		if w.entries[i].ID != want[i].ID {
			t.Fatalf("consent %d: %s, want %s", i, w.entries[i].ID, want[i].ID)
		}
	}
}

// Accident: the primary is killed under load and its synchronous standby takes over.
// This test verifies that nothing is acknowledged in between, that the new primary has
// everything acknowledged, that the sequence goes on without a gap, and that the log
// verifies.
//
// promise: P23
func TestStandbyTakesOver(t *testing.T) {
	primary := pgtest.New(t)
	primary.SQL("postgres", "CREATE DATABASE acme")
	standby := primary.Standby(true)
	at, key := siteOf(primary.URL("acme", standby)), newKey(t, "isogate/acme")
	cfg := at.config(key)
	cfg.Patience = 2 * time.Second
	one, _ := open(t, cfg)
	two, _ := open(t, cfg)
	w := follow(t, two.Reader, 0, 20*time.Millisecond)
	l := loadOn(t, one, two)
	l.grows(t, 500)
	primary.Kill()
	for _, j := range []*Journal{one, two} {
		if err := j.Append(t.Context(), egress(1)); err == nil {
			t.Error("Append is acknowledged while the standby is a standby")
		}
		eventually(t, "Ready to fail", func() bool { return j.Ready() != nil })
	}
	before, calls := l.acknowledged(), w.calls()
	failures := func() int { l.mu.Lock(); defer l.mu.Unlock(); return l.failed }
	from := failures()
	eventually(t, "more appends to fail", func() bool { return failures() > from+20 })
	if now := l.acknowledged(); now != before {
		t.Errorf("%d entries were acknowledged without a primary", now-before)
	}
	if now := w.calls(); now != calls {
		t.Errorf("a follower was in contact %d times without a primary", now-calls)
	}
	standby.Promote()
	for _, j := range []*Journal{one, two} {
		eventually(t, "Ready", func() bool { return j.Ready() == nil })
	}
	l.grows(t, 200)
	l.check(t, siteOf(standby.URL("acme")), key, one)
	toldAll(t, w, siteOf(standby.URL("acme")))
}

// Accident: the synchronous standby is gone. The server then keeps a commit waiting
// for as long as it takes, whatever its statement_timeout says. This test verifies
// that our own time ends the wait, that the entry is not acknowledged and not shown to
// anybody, that Ready fails, that connections do not pile up, and that once the
// standby is back what was to be recorded later is there once.
//
// promise: P23
func TestStandbyIsGone(t *testing.T) {
	primary := pgtest.New(t)
	standby := primary.Standby(true)
	at, key := siteOf(primary.URL("postgres")), newKey(t, "isogate/acme")
	cfg := at.config(key)
	cfg.Patience = 300 * time.Millisecond
	cfg.Queue = 64
	one, _ := open(t, cfg)
	two, _ := open(t, cfg)
	appendN(t, one, 3)
	sealedAll(t, one)
	standby.Kill()
	l := &load{acked: acked{}, stop: func() {}}
	later := func(act string) {
		t.Helper()
		l.later = append(l.later, act)
		if err := one.AppendLater(&isogate.Entry{Kind: isogate.KindAdmin, Act: act}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 { // which share a transaction with the next one
		later(fmt.Sprintf("doubtful %d", i))
	}
	err := one.Append(t.Context(), consent(1))
	if !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "standby") {
		t.Errorf("Append without a standby: %v; want ErrUnknown", err)
	}
	n, errCount := one.count(t.Context())
	if errCount != nil {
		t.Fatal(errCount)
	}
	for i := range 5 {
		later(fmt.Sprintf("later %d", i))
		for _, j := range []*Journal{one, two} {
			if err := j.Append(t.Context(), egress(i)); err == nil {
				t.Error("an entry is acknowledged without a standby")
			}
			if err := j.Ready(); err == nil {
				t.Error("Ready without a standby")
			}
		}
	}
	if now, err := one.count(t.Context()); err != nil || now != n {
		t.Errorf("readers see %d entries, %v; %d were acknowledged", now, err, n)
	}
	if out := strings.TrimSpace(primary.SQL("postgres", `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'isogate' AND state = 'active'`)); out > "5" || len(out) > 1 {
		t.Errorf("%s connections wait for the standby or for each other", out)
	}
	standby.Start()
	for _, j := range []*Journal{one, two} {
		eventually(t, "Ready", func() bool { return j.Ready() == nil })
	}
	l.check(t, at, key, one)
}

// Attack or accident: somebody cancels the wait for the standby. The server then
// confirms the commit, with a warning. This test verifies that it is not taken for one.
//
// promise: P23
func TestCancelledWaitIsNoCommit(t *testing.T) {
	primary := pgtest.New(t)
	standby := primary.Standby(true)
	at, key := siteOf(primary.URL("postgres")), newKey(t, "isogate/acme")
	cfg := at.config(key)
	cfg.Patience = 30 * time.Second
	j, _ := open(t, cfg)
	appendN(t, j, 3)
	standby.Kill()
	ended := make(chan error, 1)
	go func() {
		for {
			if err := j.Append(t.Context(), egress(1)); err != nil {
				ended <- err
				return
			}
		}
	}()
	var err error
	eventually(t, "Append to fail", func() bool {
		primary.SQL("postgres", `SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'`)
		select {
		case err = <-ended:
			return true
		default:
			return false
		}
	})
	if !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "without waiting for its standby") {
		t.Errorf("a cancelled wait: %v; want ErrUnknown", err)
	}
	if err := j.Ready(); err == nil {
		t.Error("Ready after a cancelled wait")
	}
	standby.Start()
	eventually(t, "Ready", func() bool { return j.Ready() == nil })
	(&load{acked: acked{}, stop: func() {}}).check(t, at, key, j)
}

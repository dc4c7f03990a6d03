package landing

import (
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/isogatetest"
	"github.com/isogate/isogate/internal/isogatetest/pgtest"
	"github.com/isogate/isogate/internal/seal"
	"github.com/isogate/isogate/internal/vault"
)

// clusterVault is a vault that has the database of a cluster.
func clusterVault(t *testing.T) *vault.Vault {
	t.Helper()
	ca, err := isogatetest.NewAuthority("cluster", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Issue(isogatetest.Leaf{Name: "a", Hosts: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	skey, _, err := note.GenerateKey(nil, "landing.example")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	v, err := vault.Open(vault.Config{Destination: portal, Tenants: []isogate.Tenant{"acme"}, Signer: signer, MaxKeys: 100,
		Cluster: &vault.Cluster{Name: "a", Database: pgtest.Database(t), Address: "127.0.0.1:1", Authorities: ca.Pool(),
			Certificate: func() (*tls.Certificate, error) { return &cert, nil }, Dial: (&net.Dialer{}).DialContext}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })
	return v
}

// TestStores holds both stores against the same suite.
//
// promise: P17
func TestStores(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) *store{
		"SQLite": func(t *testing.T) *store {
			s, err := openStore(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		"PostgreSQL": func(t *testing.T) *store { return openSharedStore(clusterVault(t).Database()) },
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			defer func() { _ = s.close() }()
			storeSuite(t, s)
		})
	}
}

func storeSuite(t *testing.T, s *store) {
	ctx := context.Background()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	at := time.UnixMilli(1_900_000_000_123).UTC()
	row := func(label isogate.Label, id string, last time.Time) registered {
		return registered{RegisterRow: seal.RegisterRow{Label: label, ID: id, Subject: "subject", Because: "why", Rule: "f:1"}, entry: "E", since: last, last: last}
	}
	put := func(tenant isogate.Tenant, room int64, rows ...registered) (n int64, err error) {
		t.Helper()
		must(s.write(ctx, func(tx *sql.Tx) error {
			if n, err = s.put(ctx, tx, tenant, rows, room); err != nil && !errors.Is(err, errRegisterFull) {
				return err
			}
			return nil
		}))
		return n, err
	}
	if n, err := put("acme", 10, row("a.b", "1", at), row("a.b", "2", at), row("c.d", "1", at)); n != 3 || err != nil {
		t.Fatalf("put %d, %v, want 3", n, err)
	}
	if n, err := put("acme", 0, row("a.b", "1", at.Add(time.Second))); n != 0 || err != nil {
		t.Errorf("again %d, %v, want none and no error", n, err)
	}
	if n, err := put("acme", 0, row("a.b", "1", at.Add(-time.Hour))); n != 0 || err != nil {
		t.Errorf("late %d, %v", n, err)
	}
	if n, err := put("acme", 1, row("a.b", "3", at), row("a.b", "4", at)); n != 0 || !errors.Is(err, errRegisterFull) {
		t.Errorf("too many: %d, %v, want that it is full", n, err)
	}
	if n, err := put("other", 1, row("a.b", "1", at)); n != 1 || err != nil {
		t.Errorf("another tenant's: %d, %v", n, err)
	}
	counts, err := s.counts(ctx)
	if must(err); counts["acme"] != 3 || counts["other"] != 1 {
		t.Errorf("counts %v", counts)
	}
	list := func(label, id string, after place, limit int) (got string) {
		t.Helper()
		rows, err := s.list(ctx, "acme", label, id, after, limit)
		must(err)
		for _, r := range rows {
			got += fmt.Sprintf("%s/%s@%d ", r.Label, r.ID, r.last.Sub(at).Milliseconds())
		}
		return got
	}
	for _, c := range []struct{ got, want string }{
		{list("", "", place{}, 10), "a.b/1@1000 a.b/2@0 c.d/1@0 "},
		{list("", "", place{}, 2), "a.b/1@1000 a.b/2@0 "},
		{list("", "", place{"a.b", "2", "subject"}, 10), "c.d/1@0 "},
		{list("c.d", "", place{}, 10), "c.d/1@0 "},
		{list("", "1", place{}, 10), "a.b/1@1000 c.d/1@0 "},
		{list("", "9", place{}, 10), ""},
	} {
		if c.got != c.want {
			t.Errorf("listed %q, want %q", c.got, c.want)
		}
	}
	k := &task{tenant: "acme", id: "X", state: erasureWaiting, asked: at, rows: []identifier{{Label: "a.b", ID: "1", Value: "never written"}, {Label: "a.b", ID: "2"}}}
	must(s.ask(ctx, k))
	if err := s.ask(ctx, k); err == nil {
		t.Error("the same erasure was written down twice")
	}
	tasks, err := s.tasks(ctx)
	must(err)
	if len(tasks) != 1 || tasks[0].id != "X" || len(tasks[0].rows) != 2 || tasks[0].rows[0].Value != "" || !tasks[0].asked.Equal(at) || tasks[0].state != erasureWaiting {
		t.Fatalf("tasks %v", tasks)
	}
	must(s.noted(ctx, k, false))
	if got, err := s.task(ctx, "acme", "X"); err != nil || !got.overdue || got.state != erasureOverdue {
		t.Errorf("overdue: %+v, %v", got, err)
	}
	if got, err := s.task(ctx, "other", "X"); err != nil || got != nil {
		t.Errorf("another tenant's: %+v, %v", got, err)
	}
	// What was registered since the call stays.
	must2(t)(s.confirm(ctx, k, "erased", at.Add(500*time.Millisecond), at.Add(time.Minute)))
	if got := list("", "", place{}, 10); got != "a.b/1@1000 c.d/1@0 " {
		t.Errorf("after an erasure %q is listed", got)
	}
	if got, err := s.task(ctx, "acme", "X"); err != nil || got.state != erasureConfirmed || got.cause != "erased" || got.noted {
		t.Errorf("confirmed: %+v, %v", got, err)
	}
	must(s.noted(ctx, k, true))
	if tasks, err := s.tasks(ctx); err != nil || len(tasks) != 0 {
		t.Errorf("done, and tasks are %v, %v", tasks, err)
	}
	must(s.forget(ctx, at))
	if got, err := s.task(ctx, "acme", "X"); err != nil || got == nil {
		t.Errorf("forgotten too early: %v, %v", got, err)
	}
	must(s.forget(ctx, at.Add(time.Hour)))
	if got, err := s.task(ctx, "acme", "X"); err != nil || got != nil {
		t.Errorf("not forgotten: %v, %v", got, err)
	}
	must(s.truncate(ctx))
	must(s.write(ctx, func(tx *sql.Tx) error { return s.probe(ctx, tx) }))
}

// must2 asserts that there is no error, whatever else is returned.
func must2(t *testing.T) func(_ any, err error) {
	return func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
}

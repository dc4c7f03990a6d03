package journal

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/isogatetest/pgtest"
)

// load appends under way: what was acknowledged, and what was to be recorded later.
type load struct {
	mu     sync.Mutex
	acked  acked
	later  []string // their acts, which are there once
	failed int
	stop   func()
}

// loadOn appends to journals from several goroutines until stop is called. Errors are
// no failure: what must hold is that what was acknowledged is there.
func loadOn(t testing.TB, journals ...*Journal) *load {
	t.Helper()
	l := &load{acked: acked{}}
	end := make(chan struct{})
	var wg sync.WaitGroup
	until := func(do func(i int)) {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-end:
					return
				default:
					do(i)
				}
			}
		})
	}
	for n, j := range journals {
		for range 4 {
			until(func(i int) {
				e := egress(i)
				if i%10 == 0 {
					e = consent(i)
				}
				err := j.Append(t.Context(), e)
				l.mu.Lock()
				defer l.mu.Unlock()
				if err != nil {
					l.failed++
					return
				}
				if seq, twice := l.acked[e.ID]; twice {
					t.Errorf("%s was acknowledged as %d and as %d", e.ID, seq, e.Seq)
				}
				l.acked[e.ID] = e.Seq
			})
		}
		pace := time.NewTicker(5 * time.Millisecond)
		t.Cleanup(pace.Stop)
		until(func(i int) {
			<-pace.C
			act := fmt.Sprintf("later %d of %d of %p", i, n, l)
			if err := j.AppendLater(&isogate.Entry{Kind: isogate.KindAdmin, Act: act}); err != nil {
				t.Error(err)
				return
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			l.later = append(l.later, act)
		})
	}
	l.stop = sync.OnceFunc(func() {
		close(end)
		wg.Wait()
	})
	t.Cleanup(l.stop)
	return l
}

func (l *load) acknowledged() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// grows waits until more was acknowledged.
func (l *load) grows(t testing.TB, by int) {
	t.Helper()
	from := l.acknowledged()
	eventually(t, "entries to be acknowledged", func() bool { return l.acknowledged() >= from+by })
}

// check stops the load and verifies the journal: no gap, every entry once and in the
// order of the IDs, what was acknowledged at the seq that was said, what was to be
// recorded later once, and all of it under a checkpoint that verifies.
func (l *load) check(t testing.TB, at site, key testKey, j *Journal) {
	t.Helper()
	l.stop()
	flush := &isogate.Entry{Kind: isogate.KindAdmin, Act: "flush"}
	eventually(t, "an entry behind everything", func() bool { return j.Append(t.Context(), flush) == nil })
	sealedAll(t, j)
	r := at.reader(t)
	n, err := r.count(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seen, acts := map[isogate.EntryID]uint64{}, map[string]int{}
	last := isogate.EntryID("")
	if err := r.each(t.Context(), 0, n, func(seq uint64, body []byte) error {
		e, err := decode(body)
		if err != nil {
			return err
		}
		if e.Seq != seq || e.ID <= last {
			t.Errorf("entry %s says it is %d, is at %d, and follows %s", e.ID, e.Seq, seq, last)
		}
		last = e.ID
		seen[e.ID] = seq
		acts[e.Act]++
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	lost := 0
	for id, seq := range l.acked {
		if at, ok := seen[id]; !ok || at != seq {
			lost++
			t.Logf("entry %s was acknowledged as %d; found: %t, as %d", id, seq, ok, at)
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d acknowledged entries are lost", lost, len(l.acked))
	}
	for _, act := range l.later {
		if acts[act] != 1 {
			t.Errorf("%q is there %d times", act, acts[act])
		}
	}
	rep, err := r.Verify(t.Context(), key.vkey)
	if err != nil || rep.Size < n {
		t.Errorf("%d entries: %+v, %v", n, rep, err)
	}
	t.Logf("%d entries, %d acknowledged, %d to be recorded later, %d failed", n, len(l.acked), len(l.later), l.failed)
}

// Several gateways append to one journal: one sequence, one log, one of them seals,
// and another goes on when that one stops or its session is ended.
//
// promise: P21
// promise: P22
func TestSeveralGateways(t *testing.T) {
	url := pgtest.Database(t)
	at, key := siteOf(url), newKey(t, "isogate/acme")
	var journals []*Journal
	var stops []func()
	for range 3 {
		j, stop := open(t, at.config(key))
		journals, stops = append(journals, j), append(stops, stop)
	}
	l := loadOn(t, journals[1:]...)
	mine := loadOn(t, journals[0])
	mine.grows(t, 20)
	l.grows(t, 50)
	seats := func() string {
		out, err := pgtest.Exec(url, `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted`)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(out)
	}
	eventually(t, "one seat to be taken", func() bool { return seats() == "1" })
	for _, j := range journals {
		from := j.seal.size()
		eventually(t, "every gateway to see what is sealed", func() bool { return j.seal.size() > from && j.Ready() == nil })
	}
	mine.stop()
	stops[0]()
	for range 3 {
		if _, err := pgtest.Exec(url, `SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted`); err != nil {
			t.Fatal(err)
		}
		from := journals[1].seal.size()
		l.grows(t, 20)
		eventually(t, "sealing to go on", func() bool { return journals[1].seal.size() > from && journals[2].seal.size() > from })
	}
	l.stop()
	for id, seq := range mine.acked {
		l.acked[id] = seq
	}
	l.later = append(l.later, mine.later...)
	l.check(t, at, key, journals[1])
	if l.failed+mine.failed > 0 {
		t.Errorf("%d appends failed", l.failed+mine.failed)
	}
}

// The age of the newest checkpoint is every gateway's concern, also of those that do
// not seal: where the one that does is stuck, nothing leaves anywhere.
//
// promise: P23
func TestReadyJudgesWhatAnotherSeals(t *testing.T) {
	url := pgtest.Database(t)
	at, key := siteOf(url), newKey(t, "isogate/acme")
	cfg := at.config(key)
	cfg.MaxAge = 300 * time.Millisecond
	j, stop := open(t, cfg)
	appendN(t, j, 1)
	sealedAll(t, j)
	stop()
	// Somebody has the seat and does not seal.
	e, err := newEndpoint(url, "acme", dial)
	if err != nil {
		t.Fatal(err)
	}
	stuck := &sharedSeat{at: e}
	defer stuck.leave()
	if held, err := stuck.take(t.Context()); err != nil || !held {
		t.Fatal(held, err)
	}
	j, _ = open(t, cfg)
	other, _ := open(t, cfg)
	eventually(t, "Ready without entries", func() bool { return other.Ready() == nil })
	appendN(t, j, 1)
	for _, g := range []*Journal{j, other} {
		eventually(t, "Ready to fail", func() bool {
			err := g.Ready()
			return err != nil && strings.Contains(err.Error(), "have waited")
		})
	}
	stuck.leave()
	for _, g := range []*Journal{j, other} {
		eventually(t, "Ready", func() bool { return g.Ready() == nil })
	}
}

// Attack: one tenant reads another's journal over its own connection. This test
// verifies that each has a schema that the other's user cannot read, that names in
// statements reach no other, and that a database in which the tenant is another one
// is refused whatever its schema is called.
//
// promise: P06
func TestTenantsShareNoRows(t *testing.T) {
	url := pgtest.Database(t)
	if out, err := pgtest.Exec(url, `DROP ROLE IF EXISTS tenant_a, tenant_b; CREATE ROLE tenant_a LOGIN; CREATE ROLE tenant_b LOGIN;
		DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO tenant_a, tenant_b', current_database()); END $$`); err != nil {
		t.Fatal(out)
	}
	t.Cleanup(func() {
		if out, err := pgtest.Exec(url, `DROP OWNED BY tenant_a, tenant_b CASCADE; DROP ROLE tenant_a, tenant_b`); err != nil {
			t.Error(out)
		}
	})
	as := func(user string) string { return strings.Replace(url, "//isogate@", "//"+user+"@", 1) }
	var stops []func()
	for tenant, user := range map[isogate.Tenant]string{"acme": "tenant_a", "umbrella": "tenant_b"} {
		cfg := newKey(t, "isogate/"+string(tenant)).shared(as(user))
		cfg.Tenant = tenant
		j, stop := open(t, cfg)
		stops = append(stops, stop)
		if err := j.Append(t.Context(), &isogate.Entry{Kind: isogate.KindConsent, Act: "of " + string(tenant)}); err != nil {
			t.Fatal(err)
		}
		sealedAll(t, j)
		all, err := opened(t, ReaderConfig{Database: as(user), Tenant: tenant, Dial: dial}).List(t.Context(), Filter{})
		if err != nil || len(all) != 1 || all[0].Act != "of "+string(tenant) {
			t.Errorf("%s reads %v, %v", tenant, all, err)
		}
	}
	for _, table := range []string{"entry", "head", "outbox", "checkpoint", "tile", "meta", "probe", versionTable} {
		for _, q := range []string{"SELECT * FROM isogate_acme." + table, "DELETE FROM isogate_acme." + table} {
			if out, err := pgtest.Exec(as("tenant_b"), q); err == nil || !strings.Contains(out, "permission denied") {
				t.Errorf("%s as another tenant's user: %v: %s", q, err, out)
			}
		}
	}
	if _, err := (ReaderConfig{Database: as("tenant_b"), Tenant: "acme", Dial: dial}).Open(t.Context()); err == nil {
		t.Error("another tenant's user opens the journal")
	}
	for _, stop := range stops {
		stop()
	}
	// What says that it is another's is another's.
	if out, err := pgtest.Exec(url, `UPDATE isogate_acme.meta SET value = 'umbrella' WHERE key = 'tenant'`); err != nil {
		t.Fatal(out)
	}
	if _, err := (ReaderConfig{Database: url, Tenant: "acme", Dial: dial}).Open(t.Context()); err == nil || !strings.Contains(err.Error(), `is tenant "umbrella"'s`) {
		t.Errorf("a reader of a schema with another's entries: %v", err)
	}
	refuses(t, newKey(t, "isogate/acme").shared(url), `is tenant "umbrella"'s`)
	if _, err := (ReaderConfig{Database: url, Tenant: "nobody", Dial: dial}).Open(t.Context()); err == nil || !strings.Contains(err.Error(), "there is no journal of this tenant") {
		t.Errorf("a reader of a tenant that is not there: %v", err)
	}
}

// PostgreSQL cuts names after 63 bytes; tenants whose names are alike until there are
// two all the same.
//
// promise: P06
func TestSchemasOfLongNamesDiffer(t *testing.T) {
	long := strings.Repeat("a", 56)
	for _, tenant := range []isogate.Tenant{"acme", "a.b-c_d", isogate.Tenant(long[:55]), isogate.Tenant(long), isogate.Tenant(long + "bcdefgh")} {
		s := schemaOf(tenant)
		if len(s) > maxIdentifier || !strings.HasPrefix(s, schemaPrefix) {
			t.Errorf("%s: %s", tenant, s)
		}
	}
	if schemaOf(isogate.Tenant(long+"b")) == schemaOf(isogate.Tenant(long+"c")) {
		t.Error("two tenants have one schema")
	}
	url := pgtest.Database(t)
	for _, tenant := range []isogate.Tenant{"a.b-c_d", isogate.Tenant(long + "b"), isogate.Tenant(long + "c")} {
		cfg := newKey(t, "isogate/x").shared(url)
		cfg.Tenant = tenant
		j, stop := open(t, cfg)
		if e := appendN(t, j, 1)[0]; e.Seq != 0 {
			t.Errorf("the first entry of %s is %d", tenant, e.Seq)
		}
		stop()
	}
}

// promise: P04
func TestDatabaseURL(t *testing.T) {
	for url, want := range map[string]string{
		"postgres://u:hunter2@127.0.0.1/x?sslmode=disable":                            "",
		"postgres://u:hunter2@[::1]:5433/x":                                           "",
		"postgres://u:hunter2@localhost,127.0.0.1:5433/x?sslmode=prefer":              "",
		"postgres://u:hunter2@db.example/x?sslmode=verify-full":                       "",
		"postgres://u:hunter2@db.example/x?sslmode=verify-ca&channel_binding=require": "",
		"postgres://u:hunter2@db.example/x":                                           "sslmode=verify-full", // what the environment says it would be else
		"postgres://u:hunter2@db.example/x?sslmode=disable":                           "could be plain text",
		"postgres://u:hunter2@db.example/x?sslmode=allow":                             "could be plain text",
		"postgres://u:hunter2@db.example/x?sslmode=prefer":                            "",
		"postgres://u:hunter2@db.example/x?sslmode=require":                           "would not be authenticated",
		"postgres://u:hunter2@127.0.0.1,db.example/x?sslmode=disable":                 "could be plain text",
		"postgres://u:hunter2@10.0.0.1/x?sslmode=disable":                             "could be plain text",
		"postgres://u:hunter2@localhost.example/x?sslmode=disable":                    "could be plain text",
		"postgres://u:hunter2@%2Frun%2Fpostgresql/x":                                  "Unix socket",
		"postgres://u:hunter2@127.0.0.1/x?search_path=public":                         "not understood",
		"postgres://u:hunter2@127.0.0.1/x?synchronous_commit=off":                     "not understood",
		"postgres://u:hunter2@127.0.0.1/x?options=-cfsync%3Doff":                      "not understood",
		"postgres://u:hunter2@127.0.0.1:hunter2/x":                                    "not understood",
		"postgres://u:hun%ter2@127.0.0.1/x":                                           "not understood",
		"mysql://u:hunter2@127.0.0.1/x":                                               "is not named by a postgres:// URL",
		"host=127.0.0.1 password=hunter2":                                             "is not named by a postgres:// URL",
	} {
		e, err := newEndpoint(url, "acme", dial)
		switch {
		case strings.HasSuffix(url, "db.example/x?sslmode=prefer"):
			if err == nil {
				t.Errorf("%s is taken", url)
			}
		case want == "" && err != nil:
			t.Errorf("%s: %v", url, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v; want %q", url, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") || e != nil && strings.Contains(e.place, "hunter2") {
			t.Errorf("%s: the password is told: %v", url, err)
		}
	}
	if _, err := newEndpoint("postgres://127.0.0.1/x", "acme", nil); err == nil || !strings.Contains(err.Error(), "Config.Dial is nil") {
		t.Errorf("no Dial: %v", err)
	}
	got, err := DatabaseServers("postgres://u:hunter2@a.example,b.example:5433/x?sslmode=verify-full")
	if err != nil || fmt.Sprint(got) != "[a.example:5432 b.example:5433]" {
		t.Errorf("%v, %v", got, err)
	}
}

// The connection is encrypted where the URL says so, and to the server that it names.
//
// promise: P04
func TestDatabaseOverTLS(t *testing.T) {
	pg := pgtest.New(t)
	url := strings.Replace(pg.URL("postgres"), "127.0.0.1", "localhost", 1)
	url = strings.Replace(url, "sslmode=disable", "sslmode=verify-full&sslrootcert="+pg.Certificate(), 1)
	j, _ := open(t, newKey(t, "isogate/acme").shared(url))
	appendN(t, j, 1)
	sealedAll(t, j)
	if out := strings.TrimSpace(pg.SQL("postgres", `SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'isogate'`)); out != "t" {
		t.Errorf("every connection is encrypted: %q", out)
	}
	wrong := strings.Replace(url, "localhost", "127.0.0.1", 1) // which the certificate does not name
	_, err := ReaderConfig{Database: wrong, Tenant: "acme", Dial: dial}.Open(t.Context())
	if err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a server that is not the one named: %v", err)
	}
	// A server that may lose what it confirmed is none.
	pg.SQL("postgres", `ALTER SYSTEM SET fsync = off`)
	pg.SQL("postgres", `SELECT pg_reload_conf()`)
	eventually(t, "the server to take it", func() bool { return strings.TrimSpace(pg.SQL("postgres", `SHOW fsync`)) == "off" })
	if _, err := (ReaderConfig{Database: url, Tenant: "acme", Dial: dial}).Open(t.Context()); err == nil || !strings.Contains(err.Error(), "fsync") {
		t.Errorf("a server without fsync: %v", err)
	}
}

// Accident: the database is put back to an older state, or another server takes over
// that never had what was acknowledged. This test verifies that nothing is appended to
// it, that Ready says why, and that the journal goes on once everything is there again.
//
// promise: P23
func TestDatabasePutBack(t *testing.T) {
	at, key := databaseSite(t), newKey(t, "isogate/acme")
	j, _ := open(t, at.config(key))
	appendN(t, j, 10)
	sealedAll(t, j)
	at.change(t, `CREATE TABLE was AS SELECT * FROM entry; CREATE TABLE stood AS SELECT * FROM head`)
	cut := `; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`
	for name, query := range map[string]string{
		"shorter":         `DELETE FROM entry WHERE seq > 4; UPDATE head SET next = 5, last = (SELECT convert_from(substr(body, 8, 26), 'UTF8') FROM entry WHERE seq = 4)`,
		"another history": `UPDATE entry SET body = (SELECT body FROM was WHERE seq = 8) WHERE seq = 9`,
	} {
		t.Run(name, func(t *testing.T) {
			at.change(t, query+cut)
			var err error
			eventually(t, "Append to say so", func() bool {
				err = j.Append(t.Context(), egress(1))
				return errors.Is(err, ErrPutBack)
			})
			if err := j.Ready(); !errors.Is(err, ErrPutBack) {
				t.Errorf("Ready: %v; want ErrPutBack", err)
			}
			at.change(t, `TRUNCATE entry; INSERT INTO entry SELECT * FROM was; UPDATE head SET (next, last) = (SELECT next, last FROM stood)`)
			eventually(t, "Ready", func() bool { return j.Ready() == nil })
		})
	}
	if e := appendN(t, j, 1)[0]; e.Seq != 10 {
		t.Errorf("the next entry is %d", e.Seq)
	}
	sealedAll(t, j)
	if rep, err := j.Verify(t.Context(), key.vkey); err != nil || rep.Size != 11 {
		t.Errorf("%+v, %v", rep, err)
	}
}

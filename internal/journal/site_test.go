package journal

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/isogate/isogate/internal/isogatetest/pgtest"
)

// site is where a journal can be opened, closed, and opened again.
type site struct {
	name   string
	config func(key testKey) Config // of the one journal that is there
	reader func(t testing.TB) *Reader
	// change runs SQL behind the journal's back.
	change func(t testing.TB, query string)
	// sqlite has what query has in SQLite's words, postgres in PostgreSQL's.
	shared bool
}

// conformance runs one test of what every store must do alike on both of them. A
// site is made anew for each call of its second argument.
func conformance(t *testing.T, test func(t *testing.T, fresh func(t testing.TB) site)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { test(t, directorySite) })
	t.Run("postgres", func(t *testing.T) { test(t, databaseSite) })
}

func directorySite(t testing.TB) site {
	dir := t.TempDir()
	return site{
		name:   "sqlite",
		config: func(key testKey) Config { return key.config(dir) },
		reader: func(t testing.TB) *Reader { return opened(t, ReaderConfig{Dir: dir}) },
		change: func(t testing.TB, query string) { change(t, dir, query) },
	}
}

func databaseSite(t testing.TB) site { return siteOf(pgtest.Database(t)) }

// siteOf is the journal of acme in a database.
func siteOf(url string) site {
	return site{
		name:   "postgres",
		shared: true,
		config: func(key testKey) Config { return key.shared(url) },
		reader: func(t testing.TB) *Reader {
			return opened(t, ReaderConfig{Database: url, Tenant: "acme", Dial: dial})
		},
		change: func(t testing.TB, query string) {
			t.Helper()
			if out, err := pgtest.Exec(url, `SET search_path = isogate_acme; `+query); err != nil {
				t.Fatalf("%s: %v: %s", query, err, out)
			}
		},
	}
}

// shared is the configuration of one of the gateways that have a database together.
func (k testKey) shared(url string) Config {
	return Config{Database: url, Dial: dial, Tenant: "acme", Signer: k.signer, Verifier: k.vkey, SealEvery: time.Millisecond}
}

func dial(ctx context.Context, network, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, address)
}

func opened(t testing.TB, cfg ReaderConfig) *Reader {
	t.Helper()
	r, err := cfg.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// sealedAt makes a journal of n sealed entries at a site, stopped.
func sealedAt(t testing.TB, at site, key testKey, n int) {
	t.Helper()
	j, stop := open(t, at.config(key))
	appendN(t, j, n)
	sealedAll(t, j)
	stop()
}

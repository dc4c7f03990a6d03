package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/isogate/isogate/internal/isogatetest/pgtest"
)

// withPostgres runs f with a PostgreSQL of its own on loopback, which syncs as it
// does by default and takes 500 connections.
func withPostgres(ctx context.Context, f func(ctx context.Context, pg *pgtest.PG) error) (err error) {
	t := &pgHost{}
	defer func() {
		if cause := recover(); cause != nil {
			failed, ours := cause.(pgFailed)
			if !ours {
				panic(cause)
			}
			err = failed
		}
		for i := len(t.after) - 1; i >= 0; i-- {
			t.after[i]()
		}
	}()
	pg := pgtest.New(t)
	pg.SQL("postgres", "ALTER SYSTEM SET max_connections = 500")
	pg.Kill()
	pg.Start()
	return f(ctx, pg)
}

// pgHost is what a server of pgtest is run by, where there is no test.
type pgHost struct{ after []func() }

// pgFailed is why a server does not run.
type pgFailed struct{ error }

// Helper implements [pgtest.TB].
func (*pgHost) Helper() {}

// Cleanup implements [pgtest.TB].
func (t *pgHost) Cleanup(f func()) { t.after = append(t.after, f) }

// Logf implements [pgtest.TB].
func (*pgHost) Logf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// Fatalf implements [pgtest.TB].
func (*pgHost) Fatalf(format string, args ...any) { panic(pgFailed{fmt.Errorf(format, args...)}) }

// Skipf implements [pgtest.TB]: what is not measured must be said.
func (*pgHost) Skipf(string, ...any) { panic(pgFailed{errors.New("PostgreSQL is not installed")}) }

// Failed implements [pgtest.TB].
func (*pgHost) Failed() bool { return false }

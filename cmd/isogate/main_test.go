package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/isogate/isogate/internal/isogatetest/pgtest"
)

// asCommand, set in a child's environment, makes the test binary the command
// itself, for tests that kill it.
const asCommand = "ISOGATE_TEST_AS_COMMAND"

// TestMain makes the test binary the command itself when a script calls isogate,
// so that scripts run the real thing, exit status and all.
func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		command()
	}
	testscript.Main(tests{m}, map[string]func(){"isogate": command})
}

// tests ends the database, if a test started one, when all of them have run.
type tests struct{ *testing.M }

func (m tests) Run() int {
	defer pgtest.Stop()
	return m.M.Run()
}

func command() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// TestScripts runs the scripts of testdata/script, each a user's session at a
// terminal.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script", RequireExplicitExec: true, RequireUniqueNames: true})
}

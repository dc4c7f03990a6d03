// Command isogate is the one controlled, monitored way out of an isolated
// cloud: the gateway, the policy tools, the journal's tools and a demonstration
// of them all in one binary. This package is the only place where parts meet.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

// The exit statuses that every command keeps to.
const (
	exitDone  = 0 // done, or the answer is yes
	exitNo    = 1 // ran, and the answer is no
	exitUnrun = 2 // could not run: bad usage, unreadable file
)

// cli is the command line. Each command is a struct whose fields are its flags.
type cli struct {
	JSON bool `help:"Print for programs: JSON on standard output."`

	Demo    demoCmd    `cmd:"" help:"Run the whole world on loopback with real traffic."`
	Serve   serveCmd   `cmd:"" help:"Run the gateway."`
	Pack    packCmd    `cmd:"" help:"Check, test and explain policy packs."`
	Preview previewCmd `cmd:"" help:"Show what would leave of one body."`
	Journal journalCmd `cmd:"" help:"Look into the journal, verify and export it."`
	App     appCmd     `cmd:"" help:"Import apps' manifests and see what they may reach."`
	Consent consentCmd `cmd:"" help:"Decide what apps may reach, and take it back."`
	Subject subjectCmd `cmd:"" help:"List what identifies people outside, and have it erased."`
	Landing landingCmd `cmd:"" help:"Run the landing: what stands outside, in front of a service."`
	Tenant  tenantCmd  `cmd:"" help:"Make and rotate a tenant's keys."`
	Version versionCmd `cmd:"" help:"Print the version."`
}

// env is what a command gets from the world around it.
type env struct {
	Context context.Context //nolint:containedctx // one command runs per process, and this is its life
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	JSON    bool
	Now     func() time.Time
}

// errNo says that a command ran and its answer is no. What it wraps has been
// printed by the command already when its text is empty.
type errNo struct{ error }

func (e errNo) Unwrap() error { return e.error }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// run is main without the process: it parses args, runs the command and answers
// with the exit status.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var c cli
	e := &env{Context: ctx, Stdin: stdin, Stdout: stdout, Stderr: stderr, Now: time.Now}
	exited := -1
	parser, err := kong.New(&c,
		kong.Name("isogate"),
		kong.Description("The one controlled, monitored way out of an isolated cloud."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exited = code }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	)
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "isogate: the command line is broken: %v\n", err)
		return exitUnrun
	}
	kctx, err := parser.Parse(args)
	switch {
	case exited >= 0: // --help
		return exited
	case err != nil:
		_, _ = fmt.Fprintf(stderr, "isogate: %v\nnext: isogate --help\n", err)
		return exitUnrun
	}
	e.JSON = c.JSON
	err = kctx.Run(e)
	var no errNo
	var status errStatus
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &status):
		return int(status)
	case errors.As(err, &no):
		if no.error != nil && no.Error() != "" {
			_, _ = fmt.Fprintf(stderr, "isogate: %v\n", no.error)
		}
		return exitNo
	default:
		_, _ = fmt.Fprintf(stderr, "isogate: %v\n", err)
		return exitUnrun
	}
}

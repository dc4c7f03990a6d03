// Command bench measures Isogate beside its peers: all contestants of a
// question in one run on one machine, taking turns, so that what slows the
// machine slows them all. It prints medians with their spread, ratios first,
// and with -write puts them into a Markdown file.
//
// It is a module of its own, so that no peer is ever a dependency of what is
// shipped. Run it by `make bench`.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// question is one thing to measure; ask runs it and writes its part of the report.
type question struct {
	name string
	ask  func(ctx context.Context, b *bench, r *report) error
}

var questions = []question{
	{"walker", walkerQuestion},
	{"contract", contractQuestion},
	{"tokens", tokensQuestion},
	{"seals", sealsQuestion},
	{"vault", vaultQuestion},
	{"plan", planQuestion},
	{"journal", journalQuestion},
	{"shared", sharedJournalQuestion},
	{"gateway", gatewayQuestion},
	{"sealed", sealedQuestion},
	{"landing", landingQuestion},
	{"intercept", interceptQuestion},
	{"tunnel", tunnelQuestion},
	{"hold", holdQuestion},
	{"revoke", revokeQuestion},
	{"seen", seenQuestion},
	{"hub", hubQuestion},
	{"hubpages", hubPagesQuestion},
}

// bench is how to measure.
type bench struct {
	rounds int
	turn   time.Duration // how long one contestant runs in one round
	dir    string        // of this run's files

	entries int    // of the Hub's journal
	keep    string // directory for it, which stays; "" is one of this run's
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The gateway's question starts this program again as its load, its far side
	// and its ReverseProxy, so that each is a process of its own.
	if len(os.Args) > 1 {
		if part, ok := parts[os.Args[1]]; ok {
			err := part(ctx, os.Args[2:])
			stop()
			exit(err)
		}
	}
	var b bench
	var only, write string
	flag.IntVar(&b.rounds, "rounds", 5, "rounds in which every contestant has one turn")
	flag.DurationVar(&b.turn, "turn", time.Second, "how long a turn is; load on the gateway takes three times as long")
	flag.IntVar(&b.entries, "n", 10_000_000, "hub: how many entries the journal has")
	flag.StringVar(&b.keep, "keep", "", "hub: directory of its journal and trail, used again if there is one")
	flag.StringVar(&only, "only", "", "questions to ask, with commas between; all by default: "+names())
	flag.StringVar(&write, "write", "", "Markdown file to write; its part of a question that is not asked now stays")
	flag.Parse()
	err := run(ctx, &b, only, write)
	stop()
	exit(err)
}

func exit(err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func names() string {
	var ns []string
	for _, q := range questions {
		ns = append(ns, q.name)
	}
	return strings.Join(ns, ",")
}

func run(ctx context.Context, b *bench, only, write string) error {
	asked := strings.Split(names(), ",")
	if only != "" {
		asked = strings.Split(only, ",")
	}
	for _, name := range asked {
		if !slices.ContainsFunc(questions, func(q question) bool { return q.name == name }) {
			return fmt.Errorf("there is no question %q; use some of %s", name, names())
		}
	}
	var err error
	if b.dir, err = os.MkdirTemp("", "isogate-bench-"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(b.dir) }()

	doc, err := openReport(write, machine(b))
	if err != nil {
		return err
	}
	for _, q := range questions {
		if !slices.Contains(asked, q.name) {
			continue
		}
		r := &report{name: q.name}
		before := busy()
		if err := q.ask(ctx, b, r); err != nil {
			return fmt.Errorf("%s: %w", q.name, err)
		}
		r.run = fmt.Sprintf("%d rounds, turns of %v. When it began the machine had %s.", b.rounds, b.turn, before)
		fmt.Print(r.String())
		doc.put(r)
		if err := doc.save(); err != nil {
			return err
		}
	}
	return nil
}

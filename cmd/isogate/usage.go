package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/hub"
	"github.com/isogate/isogate/internal/trail"
)

// readUsage counts what left by a grant, out of the journal as it is now. The trail
// that it counts with is this command's own, for a gateway may keep the other.
func readUsage(e *env, cfg *config, g *consent.Grant) (usage *hub.Usage, err error) {
	r, err := journalReader(e.Context, cfg)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	dir, err := os.MkdirTemp("", "isogate-trail-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	t, err := trail.Open(e.Context, trail.Config{Dir: dir, Journal: r, Share: 1, Every: 10 * time.Millisecond})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	ctx, stop := context.WithCancel(e.Context)
	ran := make(chan error, 1)
	go func() { ran <- t.Run(ctx) }()
	err = built(ctx, t)
	if err == nil {
		usage, err = hub.UsageOf(ctx, t, g, e.Now())
	}
	stop()
	return usage, errors.Join(err, <-ran)
}

// built waits until a trail has read its journal.
func built(ctx context.Context, t *trail.Trail) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		switch s := t.Standing(); {
		case s.Fault != nil:
			return fmt.Errorf("the journal cannot be counted: %w", s.Fault)
		case s.Current():
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// showUsage prints what left by a grant.
func showUsage(w io.Writer, u *hub.Usage) {
	_, _ = fmt.Fprintf(w, "\nused       %s, %s\n", count(int(min(u.Releases, 1<<31)), "release"), count(int(min(u.Bytes, 1<<31)), "byte"))
	if u.Idle {
		_, _ = fmt.Fprintln(w, "           unused for over 30 days: what nobody uses is better revoked")
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "\nROW\tRELEASES\tBYTES\tLAST USED")
	for _, r := range u.Rows {
		_, _ = fmt.Fprintf(t, "%s\t%d\t%d\t%s\n", printable(r.Row), r.Releases, r.Bytes, lastUsed(r.Used))
	}
	if len(u.Labels) > 0 {
		_, _ = fmt.Fprintln(t, "\nLABEL\tLEFT AS\tVALUES\tLAST")
	}
	for _, l := range u.Labels {
		_, _ = fmt.Fprintf(t, "%s\t%s\t%d\t%s\n", l.Label, l.Action, l.Values, lastUsed(hub.Used{Last: l.Last}))
	}
	_ = t.Flush()
}

func lastUsed(u hub.Used) string {
	switch {
	case u.Last == nil:
		return "never"
	case u.Idle:
		return day(*u.Last) + ", over 30 days ago"
	}
	return day(*u.Last)
}

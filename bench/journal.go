package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/journal"
)

// journalQuestion: how many entries of about 1 KiB become durable per second?
func journalQuestion(ctx context.Context, b *bench, r *report) error {
	// An error ends both; the journal outlives its last Append.
	jctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	j, done, err := openJournal(jctx, filepath.Join(b.dir, "journal"))
	if err != nil {
		stop()
		return err
	}
	defer func() {
		stop()
		<-done
		_ = j.Close()
	}()
	raw, err := openRaw(filepath.Join(b.dir, "raw"))
	if err != nil {
		return err
	}
	defer raw.close()

	size, err := json.Marshal(entry())
	if err != nil {
		return err
	}
	row := make([]byte, len(size)+120) // with the id, time and tenant that the journal fills in
	r.say("## Journal")
	r.say("Entries of about %d bytes, durable when the call returns. The raw contestant appends as many bytes to one file and calls fdatasync, "+
		"once for all that wait, and does nothing else. Isogate's journal writes SQLite (WAL, synchronous=FULL) and seals behind it into a signed Merkle log; "+
		"the sealing of one turn ends within it.", len(row))

	var ratios, rates, waits [][]string
	var last atomic.Uint64
	for _, writers := range []int{1, 32, 256} {
		var p50 [2]series
		contest := []struct {
			name  string
			write func() error
			after func(ctx context.Context) error
		}{
			{"isogate", func() error {
				e := entry()
				err := j.Append(ctx, e)
				last.Store(max(last.Load(), e.Seq)) // of those at the end of a turn, the largest or one close to it
				return err
			}, func(ctx context.Context) error { return sealed(ctx, j, last.Load()) }},
			{"append + fdatasync", func() error { return raw.append(row) }, func(context.Context) error { return nil }},
		}
		var cs []contestant
		for i, c := range contest {
			cs = append(cs, contestant{c.name, func(ctx context.Context, d time.Duration) (float64, error) {
				rate, mid, err := writeFor(d, writers, c.write)
				if err != nil {
					return 0, err
				}
				p50[i].figures = append(p50[i].figures, mid.Seconds()*1000)
				return rate, c.after(ctx)
			}})
		}
		ss, err := b.race(ctx, fmt.Sprintf("journal %d writers", writers), b.turn, cs)
		if err != nil {
			return err
		}
		n := fmt.Sprint(writers)
		if ratio := ss[0].median() / ss[1].median(); writers == 32 {
			r.budget("32 writers, durable before release", "≥ 0.6 × raw append + fdatasync", ratio >= 0.6, times(ratio))
		}
		ratios = append(ratios, []string{n, times(ss[0].median() / ss[1].median())})
		rates = append(rates, []string{n, number(ss[0]), number(ss[1])})
		waits = append(waits, []string{n, fmt.Sprintf("%.2f ms", p50[0].median()), fmt.Sprintf("%.2f ms", p50[1].median())})
	}
	r.table([]string{"writers", "isogate × raw"}, ratios)
	r.table([]string{"durable entries per second, writers", "isogate", "append + fdatasync"}, rates)
	r.table([]string{"p50 of one entry, writers", "isogate", "append + fdatasync"}, waits)
	return nil
}

func openJournal(ctx context.Context, dir string) (*journal.Journal, <-chan error, error) {
	signer, vkey, err := newKey()
	if err != nil {
		return nil, nil, err
	}
	j, err := journal.Open(ctx, journal.Config{Dir: dir, Tenant: "bench", Signer: signer, Verifier: vkey, Logger: slog.New(slog.DiscardHandler), MaxAge: time.Minute})
	if err != nil {
		return nil, nil, err
	}
	done := make(chan error, 1)
	go func() { done <- j.Run(ctx) }()
	return j, done, nil
}

// entry is an egress entry as a request with ten labelled fields makes it.
func entry() *isogate.Entry {
	e := &isogate.Entry{
		Kind: isogate.KindEgress, Stage: isogate.StageOpened, Source: "product/help-center", Purpose: "support", Transit: "support-session",
		Destination: "support-portal", Method: "POST", URL: "/v1/sessions", Decision: "released",
		Pack:    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
		BytesIn: 1024, BytesOut: 1180, DigestIn: "9f86d081884c7d659a2feaa0c55ad015", DigestOut: "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752",
	}
	for _, f := range []string{"user.email", "user.displayName", "user.accountId", "tickets[].title"} {
		e.Fields = append(e.Fields, isogate.Field{Path: f, Label: "personal.contact.email", Action: isogate.Token, Rule: "transits/support-session.yaml:12", Handling: "persisted", N: 4})
	}
	return e
}

// sealed waits until the entry of a seq is under a checkpoint.
func sealed(ctx context.Context, j *journal.Journal, seq uint64) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		cp, err := j.Checkpoint(ctx)
		if err != nil || cp.Size > seq {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// rawLog appends rows to a file, one fdatasync for all rows that wait.
type rawLog struct {
	f    *os.File
	mu   sync.Mutex // guards next
	next *rawGroup
	kick chan struct{}
}

type rawGroup struct {
	rows []byte
	done chan struct{}
	err  error
}

func openRaw(file string) (*rawLog, error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	l := &rawLog{f: f, next: &rawGroup{done: make(chan struct{})}, kick: make(chan struct{}, 1)}
	go l.write()
	return l, nil
}

func (l *rawLog) append(row []byte) error {
	l.mu.Lock()
	g := l.next
	g.rows = append(g.rows, row...)
	l.mu.Unlock()
	select {
	case l.kick <- struct{}{}:
	default:
	}
	<-g.done
	return g.err
}

func (l *rawLog) write() {
	for range l.kick {
		l.mu.Lock()
		g := l.next
		l.next = &rawGroup{done: make(chan struct{})}
		l.mu.Unlock()
		if len(g.rows) > 0 {
			if _, g.err = l.f.Write(g.rows); g.err == nil {
				g.err = syscall.Fdatasync(int(l.f.Fd()))
			}
		}
		close(g.done)
	}
}

func (l *rawLog) close() {
	close(l.kick)
	_ = l.f.Close()
}

// writeFor has so many writers call write for d; it returns calls per second and the median of one.
func writeFor(d time.Duration, writers int, write func() error) (float64, time.Duration, error) {
	all := make([][]time.Duration, writers)
	errs := make([]error, writers)
	begin := time.Now()
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for time.Since(begin) < d && errs[i] == nil {
				at := time.Now()
				errs[i] = write()
				all[i] = append(all[i], time.Since(at))
			}
		})
	}
	wg.Wait()
	took := time.Since(begin)
	for _, err := range errs {
		if err != nil {
			return 0, 0, err
		}
	}
	waits := slices.Concat(all...)
	slices.Sort(waits)
	return float64(len(waits)) / took.Seconds(), waits[len(waits)/2], nil
}

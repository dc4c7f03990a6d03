package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/journal"
	"github.com/isogate/isogate/internal/trail"
)

// hubBudget is what a page may take, at the 95th percentile.
const hubBudget = 300 * time.Millisecond

// hubAsk is what a page asks of the trail.
type hubAsk struct {
	what string
	ask  func(ctx context.Context, t *trail.Trail, since time.Time) error
}

// hubQuestion: how long does what the Hub's pages ask take, over a journal of millions of
// entries?
func hubQuestion(ctx context.Context, b *bench, r *report) error {
	dir := b.keep
	if dir == "" {
		dir = filepath.Join(b.dir, "hub")
	}
	at, is, err := b.hubJournal(ctx, dir)
	if err != nil {
		return err
	}
	j, err := journal.OpenReader(at)
	if err != nil {
		return err
	}
	defer func() { _ = j.Close() }()
	trailDir := filepath.Join(dir, "trail")
	if err := os.RemoveAll(trailDir); err != nil {
		return err
	}
	rate, err := buildTrail(ctx, trailDir, j)
	if err != nil {
		return err
	}
	size := du(trailDir)
	r.say("## The Hub, over %s entries", thousands(b.entries))
	r.say("What the Hub's pages ask of the trail, the projection of the journal that they count and find with. The journal has %s entries of %d days, "+
		"%s of them rows (the rest say how releases ended); %s of trail beside %s of journal. Each question is asked %d times, about the time up to the newest entry. "+
		"Cold is once each with a trail just opened and its file and the journal's taken out of the page cache.",
		thousands(b.entries), hubDays, thousands(is.rows), megabytes(size), megabytes(du(at)), hubTimes)
	var table [][]string
	var worst time.Duration
	var worstOf string
	t, stop, err := openTrail(ctx, trailDir, j)
	if err != nil {
		return err
	}
	defer func() { stop() }()
	for _, a := range hubAsks(is) {
		for _, w := range hubWindows {
			since := hubEnd.Add(-w.span)
			if w.span == 0 {
				since = time.Time{}
			}
			stop()
			if err := errors.Join(forget(trailDir), forget(at)); err != nil {
				return err
			}
			if t, stop, err = openTrail(ctx, trailDir, j); err != nil {
				return err
			}
			began := time.Now()
			if err := a.ask(ctx, t, since); err != nil {
				return fmt.Errorf("%s: %w", a.what, err)
			}
			cold := time.Since(began)
			took := make([]time.Duration, hubTimes)
			for i := range took {
				began := time.Now()
				if err := a.ask(ctx, t, since); err != nil {
					return fmt.Errorf("%s: %w", a.what, err)
				}
				took[i] = time.Since(began)
			}
			slices.Sort(took)
			p50, p95 := took[len(took)/2], took[len(took)*95/100]
			if p95 > worst {
				worst, worstOf = p95, a.what+", "+w.name
			}
			table = append(table, []string{a.what + ", " + w.name, millis(p50), millis(p95), millis(cold)})
		}
	}
	r.table([]string{"asked", "p50", "p95", "cold"}, table)
	r.say("The trail is built from the journal at %s entries/s, one processor, and that is %.1f µs for each entry that is recorded.", thousands(int(rate)), 1e6/rate)
	r.budget("Hub: any question of a page over 10 million entries, p95", "≤ 300 ms", worst <= hubBudget, millis(worst)+" ("+worstOf+")")
	return nil
}

const hubTimes = 40

var hubWindows = []struct {
	name string
	span time.Duration
}{{"day", 24 * time.Hour}, {"week", 7 * 24 * time.Hour}, {"month", 30 * 24 * time.Hour}, {"all", 0}}

func hubAsks(is hubJournal) []hubAsk {
	find := func(what string, q trail.Query) hubAsk {
		return hubAsk{"explorer, " + what, func(ctx context.Context, t *trail.Trail, since time.Time) error {
			q.Since = since
			if _, err := t.Count(ctx, q); err != nil {
				return err
			}
			_, err := t.List(ctx, q, trail.Paging{})
			return err
		}}
	}
	tally := func(what string, q trail.Query, by ...trail.By) hubAsk {
		return hubAsk{what, func(ctx context.Context, t *trail.Trail, since time.Time) error {
			q.Since = since
			_, err := t.Tally(ctx, q, by...)
			return err
		}}
	}
	return []hubAsk{
		find("no filter", trail.Query{}),
		find("source", trail.Query{Source: "product/service-2"}),
		find("app", trail.Query{App: "app-07"}),
		find("purpose", trail.Query{Purpose: "billing"}),
		find("transit", trail.Query{Transit: "transit-11"}),
		find("destination", trail.Query{Destination: "destination-3"}),
		find("host", trail.Query{Destination: "api1.vendor-30.example"}),
		find("label", trail.Query{Label: "personal.**"}),
		find("action", trail.Query{Actions: []isogate.Action{isogate.Allow}}),
		find("handling", trail.Query{Handling: "persisted"}),
		find("decision", trail.Query{Decision: "refused"}),
		find("rule", trail.Query{Rule: "transits/transit-07.yaml:11"}),
		find("pack", trail.Query{Pack: is.digest}),
		find("an administrator's consent", trail.Query{Consent: is.grant}),
		find("a user's consent", trail.Query{Consent: is.user}),
		find("text that much has", trail.Query{Text: "contact"}),
		find("text that nothing has", trail.Query{Text: "xyzzy"}),
		find("no end", trail.Query{Open: true}),
		find("label, action, destination and consent", trail.Query{Label: "personal.**", Actions: []isogate.Action{isogate.Token, isogate.Allow}, Destination: "apps", Consent: is.grant}),
		find("kind", trail.Query{Kind: isogate.KindAdmin}),
		{"explorer, drop-downs", func(ctx context.Context, t *trail.Trail, since time.Time) error {
			_, err := t.Facets(ctx, trail.Query{Since: since})
			return err
		}},
		{"explorer, drop-downs under three filters", func(ctx context.Context, t *trail.Trail, since time.Time) error {
			_, err := t.Facets(ctx, trail.Query{Since: since, Decision: "released", Purpose: "support", Label: "personal.**"})
			return err
		}},
		tally("chart, by day and family", trail.Query{Decision: "released"}, trail.ByDay, trail.ByFamily),
		tally("chart, by hour and action", trail.Query{}, trail.ByHour, trail.ByAction),
		tally("what is in use, by consent", trail.Query{Decision: "released"}, trail.ByConsent),
		tally("what is in use, by rule", trail.Query{Decision: "released"}, trail.ByRule),
		tally("seen but not labelled", trail.Query{Label: "unclassified"}, trail.ByTransit, trail.ByPath),
		{"use of a consent", func(ctx context.Context, t *trail.Trail, since time.Time) error {
			_, err := t.Usage(ctx, trail.Query{Since: since, Consent: is.grant})
			return err
		}},
	}
}

// hubJournal makes the journal, or finds the one that was kept.
func (b *bench) hubJournal(ctx context.Context, dir string) (at string, is hubJournal, err error) {
	at = filepath.Join(dir, "journal")
	pack, err := hubPack(filepath.Join(dir, "pack"))
	if err != nil {
		return "", is, err
	}
	is.digest = pack.Plan().Digest
	note := filepath.Join(dir, "journal.txt")
	if src, err := os.ReadFile(note); err == nil {
		var n int
		if _, err := fmt.Sscanf(string(src), "%d %s %s %d %d", &n, &is.grant, &is.user, &is.rows, &is.users); err == nil && n == b.entries {
			return at, is, nil
		}
		return "", is, fmt.Errorf("%s has a journal of another length; delete it, or ask for as many entries", dir)
	}
	if _, err := os.Stat(at); !errors.Is(err, fs.ErrNotExist) {
		return "", is, fmt.Errorf("%s has a journal that was not finished; delete it", dir)
	}
	jctx, stop := context.WithCancel(ctx)
	j, done, err := openHubJournal(jctx, dir)
	stop()
	if err != nil {
		return "", is, err
	}
	if err := errors.Join(<-done, j.Close()); err != nil {
		return "", is, err
	}
	began := time.Now()
	if is, err = writeHubJournal(ctx, at, b.entries, is.digest); err != nil {
		return "", is, err
	}
	fmt.Fprintf(os.Stderr, "hub: %d entries written in %v\n", b.entries, time.Since(began).Round(time.Second))
	if err := sealHubJournal(ctx, dir, uint64(b.entries)); err != nil {
		return "", is, err
	}
	return at, is, os.WriteFile(note, fmt.Appendf(nil, "%d %s %s %d %d\n", b.entries, is.grant, is.user, is.rows, is.users), 0o600)
}

// openHubJournal opens the journal in a directory with the key beside it, which is made if
// there is none.
func openHubJournal(ctx context.Context, dir string) (*journal.Journal, <-chan error, error) {
	file := filepath.Join(dir, "journal.key")
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		skey, vkey, failed := note.GenerateKey(rand.Reader, "bench.example/journal")
		if failed != nil {
			return nil, nil, failed
		}
		text = []byte(skey + "\n" + vkey)
		if err = os.MkdirAll(dir, 0o700); err == nil {
			err = os.WriteFile(file, text, 0o600)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	skey, vkey, _ := strings.Cut(string(text), "\n")
	signer, err := note.NewSigner(skey)
	if err != nil {
		return nil, nil, err
	}
	j, err := journal.Open(ctx, journal.Config{Dir: filepath.Join(dir, "journal"), Tenant: "bench", Signer: signer, Verifier: vkey, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)), MaxAge: 24 * time.Hour})
	if err != nil {
		return nil, nil, err
	}
	done := make(chan error, 1)
	go func() { done <- j.Run(ctx) }()
	return j, done, nil
}

// sealHubJournal brings the first n entries into the Merkle log.
func sealHubJournal(ctx context.Context, dir string, n uint64) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	began := time.Now()
	j, done, err := openHubJournal(ctx, dir)
	if err != nil {
		return err
	}
	err = sealed(ctx, j, n-1)
	fmt.Fprintf(os.Stderr, "hub: sealed in %v\n", time.Since(began).Round(time.Second))
	stop()
	return errors.Join(err, <-done, j.Close())
}

// buildTrail builds the trail at full speed, and says how many entries it read per second.
func buildTrail(ctx context.Context, dir string, j *journal.Reader) (rate float64, err error) {
	began := time.Now()
	t, stop, err := openTrail(ctx, dir, j)
	if err != nil {
		return 0, err
	}
	defer stop()
	took := time.Since(began)
	fmt.Fprintf(os.Stderr, "hub: trail built in %v\n", took.Round(time.Second))
	return float64(t.Standing().Next) / took.Seconds(), nil
}

// openTrail opens it and waits until it has all of the journal.
func openTrail(ctx context.Context, dir string, j *journal.Reader) (*trail.Trail, func(), error) {
	t, err := trail.Open(ctx, trail.Config{Dir: dir, Journal: j, Share: 1, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)), Every: time.Hour})
	if err != nil {
		return nil, nil, err
	}
	rctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- t.Run(rctx) }()
	stop := func() {
		cancel()
		<-done
		_ = t.Close()
	}
	for {
		_, more := t.Watch()
		if s := t.Standing(); s.Current() {
			cancel()
			<-done
			return t, func() { _ = t.Close() }, nil
		} else if s.Fault != nil {
			stop()
			return nil, nil, s.Fault
		}
		select {
		case <-more:
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			stop()
			return nil, nil, ctx.Err()
		}
	}
}

// forget takes what is in a directory out of the page cache.
func forget(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		const dontNeed = 4
		if _, _, errno := syscall.Syscall6(syscall.SYS_FADVISE64, f.Fd(), 0, 0, dontNeed, 0, 0); errno != 0 {
			return fmt.Errorf("fadvise %s: %w", path, errno)
		}
		return nil
	})
}

func du(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				n += info.Size()
			}
		}
		return nil
	})
	return n
}

func millis(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }

func megabytes(n int64) string { return thousands(int(n>>20)) + " MiB" }

// thousands writes a number with its digits in groups.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

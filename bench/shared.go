package main

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/isogate/isogate/internal/isogatetest/pgtest"
	"github.com/isogate/isogate/internal/journal"
)

// sharedJournalQuestion: how many entries of several gateways become durable per
// second in one PostgreSQL?
func sharedJournalQuestion(ctx context.Context, b *bench, r *report) error {
	return withPostgres(ctx, func(ctx context.Context, pg *pgtest.PG) error {
		r.say("## Journal in PostgreSQL")
		r.say("The entries of the part above, in a PostgreSQL of this machine as it is by default (synchronous_commit on, and so a sync for each commit or group of them), by one gateway and by several at once, whose " +
			"writers are spread evenly over them. All gateways are in one process here and share its cores with the server. SQLite, in the same run, is what one gateway by itself has. What is sealed is sealed within the turn.")
		type site struct {
			name     string
			journals []*journal.Journal
		}
		var sites []site
		ctx, stop := context.WithCancel(ctx)
		var running sync.WaitGroup
		defer func() {
			stop()
			running.Wait()
			for _, s := range sites {
				for _, j := range s.journals {
					_ = j.Close()
				}
			}
		}()
		file, done, err := openJournal(ctx, filepath.Join(b.dir, "journal-beside"))
		if err != nil {
			return err
		}
		running.Go(func() { <-done })
		sites = append(sites, site{"SQLite", []*journal.Journal{file}})
		for _, n := range []int{1, 4, 16} {
			name := fmt.Sprintf("of%d", n)
			pg.SQL("postgres", "CREATE DATABASE "+name)
			js, err := newJournals(ctx, pg.URL(name), n, dial)
			if err != nil {
				return err
			}
			for _, j := range js {
				running.Go(func() { _ = j.Run(ctx) })
			}
			title := "one gateway"
			if n > 1 {
				title = fmt.Sprintf("%d gateways", n)
			}
			sites = append(sites, site{title, js})
		}
		writers := []int{1, 32, 256}
		rates, waits, ratios := make([][]string, len(sites)), make([][]string, len(sites)), make([][]string, len(sites)-1)
		for _, n := range writers {
			var cs []contestant
			p50 := make([]series, len(sites))
			for i, s := range sites {
				cs = append(cs, contestant{s.name, func(ctx context.Context, d time.Duration) (float64, error) {
					var mu sync.Mutex
					var last uint64
					next := make(chan *journal.Journal, n)
					for k := range n {
						next <- s.journals[k%len(s.journals)]
					}
					rate, mid, err := writeFor(d, n, func() error {
						j := <-next
						defer func() { next <- j }()
						e := entry()
						err := j.Append(ctx, e)
						mu.Lock()
						defer mu.Unlock()
						last = max(last, e.Seq)
						return err
					})
					if err != nil {
						return 0, err
					}
					p50[i].figures = append(p50[i].figures, mid.Seconds()*1000)
					return rate, sealed(ctx, s.journals[0], last)
				}})
			}
			ss, err := b.race(ctx, fmt.Sprintf("shared journal %d writers", n), b.turn, cs)
			if err != nil {
				return err
			}
			for i := range sites {
				rates[i] = append(rates[i], number(ss[i]))
				waits[i] = append(waits[i], fmt.Sprintf("%.2f ms", p50[i].median()))
				if i > 0 {
					ratios[i-1] = append(ratios[i-1], times(ss[i].median()/ss[0].median()))
				}
			}
		}
		table := func(head string, rows [][]string, from int) {
			var out [][]string
			for i, row := range rows {
				out = append(out, append([]string{sites[i+from].name}, row...))
			}
			r.table([]string{head, "1 writer", "32 writers", "256 writers"}, out)
		}
		table("PostgreSQL × SQLite", ratios, 1)
		table("durable entries per second", rates, 0)
		table("p50 of one entry", waits, 0)
		return nil
	})
}

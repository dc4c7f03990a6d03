package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/isogatetest"
	"github.com/isogate/isogate/internal/isogatetest/pgtest"
	"github.com/isogate/isogate/internal/journal"
)

// acts is how many acts are done in one round of seenQuestion.
const acts = 100

// seenQuestion: how soon do all gateways know what an administrator decided?
func seenQuestion(ctx context.Context, b *bench, r *report) error {
	return withPostgres(ctx, func(ctx context.Context, pg *pgtest.PG) error {
		r.say("## A consent act, seen by %d gateways", gateways)
		r.say("%d ledgers, each over a journal and connections of its own, follow one PostgreSQL in one process. An act is done at one of them, and the others wait for it; %d acts a round, one after another. Times are counted from the "+
			"moment the act is known to be durable where it was done. Deaf is the same with every notification dropped on its way, so that only the look that a ledger takes every quarter of its lease (1 s) tells it. In parentheses, the least and the most of a round; below zero is what others heard before the answer had come back.", gateways, acts)
		var rows [][]string
		for _, deaf := range []bool{false, true} {
			name := "notified"
			if deaf {
				name = "deaf"
			}
			pg.SQL("postgres", "CREATE DATABASE "+name)
			group, err := newLedgers(ctx, pg.URL(name), gateways, deaf)
			if err != nil {
				return err
			}
			var all [4]series
			for round := range b.rounds {
				each, last, err := group.seen(ctx, acts, deaf)
				if err != nil {
					return errors.Join(err, group.close())
				}
				slices.Sort(each)
				slices.Sort(last)
				for i, d := range []time.Duration{each[len(each)/2], each[len(each)*99/100], last[len(last)/2], last[len(last)-1]} {
					all[i].figures = append(all[i].figures, d.Seconds()*1000)
				}
				fmt.Fprintf(os.Stderr, "seen, %s: round %d of %d\n", name, round+1, b.rounds)
			}
			if err := group.close(); err != nil {
				return err
			}
			row := []string{name}
			for i := range all {
				row = append(row, fmt.Sprintf("%.1f ms (%.1f to %.1f)", all[i].median(), all[i].min(), all[i].max()))
			}
			rows = append(rows, row)
		}
		r.table([]string{"", "by one gateway, p50", "p99", "by the last of them, p50", "slowest act"}, rows)
		return nil
	})
}

// ledgers are gateways' ledgers without the gateways.
type ledgers struct {
	all      []*consent.Ledger
	journals []*journal.Journal
	stop     context.CancelFunc
	running  sync.WaitGroup
	version  int
}

// dial is the way to a database on loopback.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// newKey makes the key of a journal.
func newKey() (note.Signer, string, error) {
	skey, vkey, err := note.GenerateKey(rand.Reader, "bench.example/journal")
	if err != nil {
		return nil, "", err
	}
	signer, err := note.NewSigner(skey)
	return signer, vkey, err
}

// newJournals opens one journal in a database several times, as so many gateways do.
func newJournals(ctx context.Context, database string, n int, way journal.DialFunc) (all []*journal.Journal, err error) {
	signer, vkey, err := newKey()
	if err != nil {
		return nil, err
	}
	for range n {
		j, err := journal.Open(ctx, journal.Config{Database: database, Dial: way, Tenant: "bench", Signer: signer, Verifier: vkey,
			Logger: slog.New(slog.DiscardHandler), MaxAge: time.Minute})
		if err != nil {
			return all, err
		}
		all = append(all, j)
	}
	return all, nil
}

func newLedgers(ctx context.Context, database string, n int, deaf bool) (*ledgers, error) {
	way := dial
	if deaf {
		way = dialDeaf
	}
	ctx, stop := context.WithCancel(ctx)
	g := &ledgers{stop: stop}
	var err error
	if g.journals, err = newJournals(ctx, database, n, way); err != nil {
		return nil, errors.Join(err, g.close())
	}
	for _, j := range g.journals {
		l, err := consent.New(consent.Config{Journal: isogatetest.Follower{Journal: j}, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return nil, errors.Join(err, g.close())
		}
		g.all = append(g.all, l)
		g.running.Go(func() { _ = j.Run(ctx) })
		g.running.Go(func() { _ = l.Run(ctx) })
	}
	for _, l := range g.all {
		if err := await(ctx, func(context.Context) error { return l.InTouch() }); err != nil {
			return nil, errors.Join(err, g.close())
		}
	}
	return g, nil
}

func (g *ledgers) close() (err error) {
	g.stop()
	g.running.Wait()
	for _, j := range g.journals {
		err = errors.Join(err, j.Close())
	}
	return err
}

// seen does acts and returns when each of the other ledgers had each, and when the
// last of them had it.
func (g *ledgers) seen(ctx context.Context, n int, deaf bool) (each, last []time.Duration, err error) {
	if deaf {
		n /= 10 // each waits for the next look
	}
	for range n {
		g.version++
		before := g.all[0].State().Revision
		at := make([]time.Time, len(g.all))
		var waiting sync.WaitGroup
		for i, l := range g.all[1:] {
			waiting.Go(func() {
				for {
					state, next := l.Watch()
					if state.Revision > before {
						at[i+1] = time.Now()
						return
					}
					select {
					case <-next:
					case <-ctx.Done():
						return
					}
				}
			})
		}
		act := consent.Act{What: consent.Declared, Party: "app/bench", Actor: isogatetest.Administrator,
			Manifest: consent.Manifest{ID: "bench", Name: "Bench", Version: fmt.Sprint(g.version), Digest: "sha256:of-a-bench"}}
		e := act.Entry() // not by Ledger.Do, which waits until the act has come back: the deaf wait long
		if err := g.journals[0].Append(ctx, e); err != nil {
			return nil, nil, err
		}
		durable := time.Now()
		waiting.Wait()
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		slowest := time.Duration(0)
		for _, t := range at[1:] {
			each = append(each, t.Sub(durable))
			slowest = max(slowest, t.Sub(durable))
		}
		last = append(last, slowest)
		// The next act begins when the one that did this one has it too.
		if err := await(ctx, func(context.Context) error {
			if g.all[0].State().Revision <= e.Seq {
				return errors.New("the act is not known where it was done")
			}
			return nil
		}); err != nil {
			return nil, nil, err
		}
	}
	return each, last, nil
}

// deafConn drops the notifications that a server sends, by reading its messages
// (PostgreSQL protocol 3, "Message Formats": a byte of type, four of length).
type deafConn struct {
	net.Conn
	rest []byte
}

func dialDeaf(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &deafConn{Conn: c}, nil
}

// Read implements [net.Conn].
func (d *deafConn) Read(b []byte) (int, error) {
	for len(d.rest) == 0 {
		var head [5]byte
		if _, err := io.ReadFull(d.Conn, head[:]); err != nil {
			return 0, err
		}
		msg := append(make([]byte, 0, 512), head[:]...)
		msg = slices.Grow(msg, int(binary.BigEndian.Uint32(head[1:])))[:1+binary.BigEndian.Uint32(head[1:])]
		if _, err := io.ReadFull(d.Conn, msg[5:]); err != nil {
			return 0, err
		}
		if head[0] != 'A' {
			d.rest = msg
		}
	}
	n := copy(b, d.rest)
	d.rest = d.rest[n:]
	return n, nil
}

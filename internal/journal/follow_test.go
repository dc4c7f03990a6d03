package journal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isogate/isogate"
)

func consent(n int) *isogate.Entry {
	return &isogate.Entry{Kind: isogate.KindConsent, Actor: "ann", Act: "granted", Detail: map[string]string{"party": fmt.Sprintf("app/%d", n)}}
}

// followed is what one follower was told.
type followed struct {
	mu      sync.Mutex
	entries []isogate.Entry
	batches []Batch // without entries
	err     error   // what Follow ended with
	done    chan struct{}
}

// follow runs Follow until the test ends.
func follow(t testing.TB, r *Reader, from uint64, every time.Duration) *followed {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	w := &followed{done: make(chan struct{})}
	go func() {
		defer close(w.done)
		defer func() { t.Logf("Follow from %d: %v", from, w.err) }()
		w.err = r.Follow(ctx, isogate.KindConsent, from, every, func(b Batch) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.entries = append(w.entries, b.Entries...)
			b.Entries = nil
			w.batches = append(w.batches, b)
			return nil
		})
	}()
	t.Cleanup(func() {
		cancel()
		<-w.done
	})
	return w
}

func (w *followed) upTo() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.batches) == 0 {
		return 0
	}
	return w.batches[len(w.batches)-1].UpTo
}

func (w *followed) calls() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.batches)
}

// deaf drops half of the notifications that the server sends, by reading its messages
// (PostgreSQL protocol 3, section "Message Formats": a byte of type, four of length).
type deaf struct {
	net.Conn
	rest    []byte
	dropped *atomic.Int64
}

func (d *deaf) Read(b []byte) (int, error) {
	for len(d.rest) == 0 {
		var head [5]byte
		if _, err := io.ReadFull(d.Conn, head[:]); err != nil {
			return 0, err
		}
		msg := slices.Grow(head[:], int(binary.BigEndian.Uint32(head[1:])))[:1+binary.BigEndian.Uint32(head[1:])]
		if _, err := io.ReadFull(d.Conn, msg[5:]); err != nil {
			return 0, err
		}
		if head[0] == 'A' && rand.IntN(2) == 0 {
			d.dropped.Add(1)
			continue
		}
		d.rest = msg
	}
	n := copy(b, d.rest)
	d.rest = d.rest[n:]
	return n, nil
}

// Accident: many gateways append at once, and half of the notifications get lost.
// This test verifies that every follower is told every consent once and in order,
// that a revision never goes back, and that what was durable when a look began is
// below its revision: the lease of a gateway rests on that.
//
// promise: P14
func TestFollowMissesNothing(t *testing.T) {
	conformance(t, func(t *testing.T, fresh func(testing.TB) site) { missesNothing(t, fresh(t)) })
}

func missesNothing(t *testing.T, at site) {
	const writers, each, followers = 8, 60, 4
	key := newKey(t, "isogate/acme")
	first, _ := open(t, at.config(key))
	journals := []*Journal{first}
	readers := []*Reader{first.Reader}
	var dropped atomic.Int64
	if at.shared {
		second, _ := open(t, at.config(key))
		journals = append(journals, second)
	}
	for len(readers) < followers {
		cfg := ReaderConfig{Dir: first.cfg.Dir, Database: first.cfg.Database, Tenant: "acme", Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &deaf{Conn: c, dropped: &dropped}, nil
		}}
		readers = append(readers, opened(t, cfg))
	}
	var all []*followed
	for _, r := range readers {
		all = append(all, follow(t, r, 0, 20*time.Millisecond))
	}
	type ack struct {
		at  time.Time
		seq uint64
		id  isogate.EntryID
	}
	acks := make([][]ack, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			j := journals[w%len(journals)]
			for i := range each {
				e := consent(w*each + i)
				if i%3 == 0 {
					e = egress(i)
				}
				if err := j.Append(t.Context(), e); err != nil {
					t.Error(err)
					return
				}
				if e.Kind == isogate.KindConsent {
					acks[w] = append(acks[w], ack{time.Now(), e.Seq, e.ID})
				}
			}
		})
	}
	wg.Wait()
	want := slices.Concat(acks...)
	slices.SortFunc(want, func(a, b ack) int { return strings.Compare(string(a.id), string(b.id)) })
	for i, w := range all {
		eventually(t, "everything to be followed", func() bool { return w.upTo() == writers*each })
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.entries) != len(want) {
			t.Fatalf("follower %d was told %d entries, want %d", i, len(w.entries), len(want))
		}
		for k, e := range w.entries {
			if e.ID != want[k].id || e.Seq != want[k].seq {
				t.Fatalf("follower %d: entry %d is %s (%d), want %s (%d)", i, k, e.ID, e.Seq, want[k].id, want[k].seq)
			}
		}
		last := Batch{}
		for _, b := range w.batches {
			if b.UpTo < last.UpTo || b.At.Before(last.At) {
				t.Fatalf("follower %d: a batch up to %d at %s follows one up to %d at %s", i, b.UpTo, b.At, last.UpTo, last.At)
			}
			for _, a := range want {
				if a.at.Before(b.At) && a.seq >= b.UpTo {
					t.Fatalf("follower %d: entry %d was durable before %s, and a look that began then only goes up to %d", i, a.seq, b.At, b.UpTo)
				}
			}
			last = b
		}
	}
	if at.shared {
		t.Logf("%d notifications were dropped", dropped.Load())
	}
}

// A follower is told in pages, from where it says, and of nothing but consents.
func TestFollowFromAnywhere(t *testing.T) {
	conformance(t, func(t *testing.T, fresh func(testing.TB) site) {
		at := fresh(t)
		j, _ := open(t, at.config(newKey(t, "isogate/acme")))
		const n = 2*followPage + 3
		for i := range n {
			if err := j.AppendLater(consent(i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := j.Append(t.Context(), &isogate.Entry{Kind: isogate.KindAdmin, Act: "looks like one", Reason: `","kind":"consent"`, Detail: map[string]string{"kind": "consent"}}); err != nil {
			t.Fatal(err)
		}
		r := at.reader(t)
		for _, from := range []uint64{0, 1, followPage, n - 1, n, n + 1} {
			w := follow(t, r, from, 5*time.Millisecond)
			eventually(t, "the end", func() bool { return w.upTo() == n+1 })
			eventually(t, "contact without news", func() bool { return w.calls() > 8 })
			w.mu.Lock()
			if got := len(w.entries); got != int(n-min(from, n)) || got > 0 && w.entries[0].Seq != from {
				t.Errorf("from %d: %d entries", from, got)
			}
			w.mu.Unlock()
		}
		// From behind the end: what this follower knows the journal does not.
		err := r.Follow(t.Context(), isogate.KindConsent, n+2, time.Second, func(Batch) error { return nil })
		if !errors.Is(err, ErrPutBack) {
			t.Errorf("from behind the end: %v; want ErrPutBack", err)
		}
		no := errors.New("no")
		if err := r.Follow(t.Context(), isogate.KindConsent, 0, time.Second, func(Batch) error { return no }); !errors.Is(err, no) {
			t.Errorf("f's error: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := r.Follow(ctx, isogate.KindConsent, 0, time.Second, func(Batch) error { return nil }); err != nil {
			t.Errorf("a context that ended: %v", err)
		}
	})
}

// News of this process and, in a database, of others comes without waiting for the
// next look.
func TestFollowIsToldAtOnce(t *testing.T) {
	conformance(t, func(t *testing.T, fresh func(testing.TB) site) {
		at := fresh(t)
		key := newKey(t, "isogate/acme")
		j, _ := open(t, at.config(key))
		r := j.Reader
		if at.shared {
			other, _ := open(t, at.config(key))
			r = other.Reader
		}
		w := follow(t, r, 0, time.Hour)
		eventually(t, "the first look", func() bool { return w.calls() > 0 })
		for i := range 5 {
			e := consent(i)
			if err := j.Append(t.Context(), e); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the news", func() bool { return w.upTo() > e.Seq })
		}
	})
}

// A landing entry that somebody waits for is told at once; others may wait for the
// next look, and are told with it.
func TestFollowHearsOfLandings(t *testing.T) {
	conformance(t, func(t *testing.T, fresh func(testing.TB) site) {
		j, _ := open(t, fresh(t).config(newKey(t, "isogate/acme")))
		told, looks := make(chan isogate.Entry, 64), make(chan struct{}, 64)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- j.Follow(ctx, isogate.KindLanding, 0, time.Hour, func(b Batch) error {
				for _, e := range b.Entries {
					told <- e
				}
				looks <- struct{}{}
				return nil
			})
		}()
		<-looks
		if err := j.AppendLater(&isogate.Entry{Kind: isogate.KindLanding, Act: "later"}); err != nil {
			t.Fatal(err)
		}
		if err := j.queue.flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := j.Append(t.Context(), &isogate.Entry{Kind: isogate.KindLanding, Act: "now"}); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"later", "now"} {
			if e := <-told; e.Act != want {
				t.Errorf("told of %q, want %q", e.Act, want)
			}
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// Accident: the journal is put back while somebody follows it. This test verifies
// that a follower does not go on as if what it was told were still so.
func TestFollowNoticesPutBack(t *testing.T) {
	conformance(t, func(t *testing.T, fresh func(testing.TB) site) {
		for name, query := range map[string]string{
			"shorter": `DELETE FROM outbox WHERE seq >= 3; DELETE FROM entry WHERE seq >= 3`,
			"another": `UPDATE entry SET body = (SELECT body FROM entry WHERE seq = 0) WHERE seq = 4`,
		} {
			t.Run(name, func(t *testing.T) {
				at := fresh(t)
				j, stop := open(t, at.config(newKey(t, "isogate/acme")))
				for i := range 5 {
					if err := j.Append(t.Context(), consent(i)); err != nil {
						t.Fatal(err)
					}
				}
				stop()
				w := follow(t, at.reader(t), 0, 5*time.Millisecond)
				eventually(t, "the entries", func() bool { return w.upTo() == 5 })
				at.change(t, query)
				<-w.done
				if !errors.Is(w.err, ErrPutBack) {
					t.Errorf("Follow: %v; want ErrPutBack", w.err)
				}
			})
		}
	})
}

// Followers of one kind are told of nothing else, also where both are written at
// once; what nobody follows is refused rather than silently never told.
func TestFollowOneKind(t *testing.T) {
	conformance(t, func(t *testing.T, fresh func(testing.TB) site) {
		at := fresh(t)
		j, _ := open(t, at.config(newKey(t, "isogate/acme")))
		const n = followPage + 10
		kinds := [4]isogate.EntryKind{isogate.KindConsent, isogate.KindLanding, isogate.KindPack, isogate.KindAdmin}
		for i := range n {
			if err := j.AppendLater(&isogate.Entry{Kind: kinds[i%4], Act: "of a kind"}); err != nil {
				t.Fatal(err)
			}
		}
		if err := j.Append(t.Context(), egress(1)); err != nil {
			t.Fatal(err)
		}
		r := at.reader(t)
		for _, kind := range []isogate.EntryKind{isogate.KindConsent, isogate.KindLanding, isogate.KindAdmin, isogate.KindPack} {
			var got []isogate.Entry
			end := errors.New("end")
			err := r.Follow(t.Context(), kind, 0, time.Second, func(b Batch) error {
				got = append(got, b.Entries...)
				if b.UpTo == n+1 {
					return end
				}
				return nil
			})
			if !errors.Is(err, end) {
				t.Fatal(err)
			}
			want := 0
			for i := range uint64(n) {
				if kinds[i%4] == kind {
					if want >= len(got) || got[want].Seq != i || got[want].Kind != kind {
						t.Fatalf("%s: entry %d is not what was told at place %d of %d", kind, i, want, len(got))
					}
					want++
				}
			}
			if want != len(got) {
				t.Errorf("%s: told %d, want %d", kind, len(got), want)
			}
		}
		err := r.Follow(t.Context(), isogate.KindEgress, 0, time.Second, func(Batch) error { return nil })
		if err == nil || !strings.Contains(err.Error(), "cannot be followed") {
			t.Errorf("releases are followed: %v", err)
		}
	})
}

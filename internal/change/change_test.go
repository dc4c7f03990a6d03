package change

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isogate/isogate"
)

// memory is a journal that keeps its entries in memory, with entries of other kinds between.
type memory struct {
	mu      sync.Mutex // guards what follows
	entries []isogate.Entry
	news    chan struct{}
	full    bool
}

func newMemory() *memory { return &memory{news: make(chan struct{})} }

func (m *memory) Append(_ context.Context, e *isogate.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.full {
		return errors.New("no space left")
	}
	e.Seq, e.Time, e.ID = uint64(len(m.entries)), time.Now(), isogate.EntryID(fmt.Sprintf("E%d", len(m.entries)))
	m.entries = append(m.entries, *e)
	close(m.news)
	m.news = make(chan struct{})
	return nil
}

func (m *memory) Follow(ctx context.Context, from uint64, every time.Duration, f func(Batch) error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		m.mu.Lock()
		end := min(uint64(len(m.entries)), from+3)
		b := Batch{Entries: slices.Clone(m.entries[from:end]), UpTo: end, At: time.Now(), More: end < uint64(len(m.entries))}
		news := m.news
		m.mu.Unlock()
		if err := f(b); err != nil {
			return err
		}
		if from = end; b.More {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-news:
		case <-tick.C:
		}
	}
}

func running(t *testing.T, m *memory) *Book {
	t.Helper()
	b := New(m)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return b
}

func (b *Book) act(t *testing.T, what What, who, pack string) error {
	t.Helper()
	_, err := b.Do(t.Context(), Act{What: what, Actor: Actor{who, "passkey"}, Pack: pack, Reason: "why"})
	if err != nil && !errors.Is(err, ErrNoEffect) {
		t.Fatal(err)
	}
	return err
}

func TestProposedApprovedLoaded(t *testing.T) {
	m := newMemory()
	b := running(t, m)
	if err := b.State().Approved("p1", 1); err == nil || !strings.Contains(err.Error(), "nobody has proposed it") {
		t.Errorf("%v", err)
	}
	if err := b.State().Approved("p1", 0); err != nil {
		t.Errorf("nobody is needed: %v", err)
	}
	a, err := b.Do(t.Context(), Act{What: Proposed, Actor: Actor{"ada", "OpenID Connect"}, Pack: "p1", Name: "acme", Version: 12, Against: "p0", Effect: "more exposing", Reason: "support needs it"})
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := ReadAct(&m.entries[0]); !ok || got.Actor != a.Actor || got.Pack != "p1" || got.Version != 12 || got.Effect != "more exposing" || got.Against != "p0" || got.Reason != a.Reason || got.ID != a.ID {
		t.Errorf("read back as %+v, was %+v", got, a)
	}
	if err := b.State().Approved("p1", 1); err == nil || !strings.Contains(err.Error(), "of 1 person who did not propose it, 0 approved it") {
		t.Errorf("%v", err)
	}
	if err := b.act(t, Approved, "bob", "p1"); err != nil {
		t.Fatal(err)
	}
	if err := b.State().Approved("p1", 1); err != nil {
		t.Error(err)
	}
	if err := b.State().Approved("p1", 2); err == nil {
		t.Error("one is enough where two are needed")
	}
	if err := b.act(t, Approved, "bob", "p1"); err == nil || b.State().Approved("p1", 2) == nil {
		t.Errorf("one person is two: %v", err)
	}
	if err := b.act(t, Approved, "cyd", "p1"); err != nil || b.State().Approved("p1", 2) != nil {
		t.Errorf("two are not enough: %v", err)
	}
	c, _ := b.State().Change("p1")
	if s := c.Status(2); s != Agreed || c.Name != "acme" || len(c.Acts()) != 3 {
		t.Errorf("%s: %+v", s, c)
	}
	if err := b.act(t, Loaded, "isogate serve", "p1"); err != nil {
		t.Fatal(err)
	}
	if err := b.act(t, Rejected, "dan", "p1"); err == nil || !strings.Contains(err.Error(), "in force") {
		t.Errorf("what is in force is rejected: %v", err)
	}
}

// TestAttackAuthorApproves: attack: somebody who has both roles approves what they propose:
// at once, under another way to sign in, in other letters, beside a second author, by
// approving first and proposing afterwards, or after a rejection of what they had proposed.
// No such approval counts.
//
// promise: P09
func TestAttackAuthorApproves(t *testing.T) {
	for name, acts := range map[string][]string{
		"at once":              {"proposed ada", "approved ada"},
		"in other letters":     {"proposed ada", "approved ADA"},
		"beside another":       {"proposed ada", "proposed bob", "approved ada", "approved bob"},
		"first and then":       {"proposed bob", "approved ada", "proposed ada"},
		"after a rejection":    {"proposed ada", "rejected cyd", "proposed bob", "approved ada"},
		"after a withdrawal":   {"proposed ada", "withdrawn ada", "proposed bob", "approved ada"},
		"before any proposal":  {"approved ada", "proposed bob"},
		"an old approval":      {"proposed bob", "approved ada", "rejected cyd", "proposed bob"},
		"an approval on a no":  {"proposed bob", "rejected cyd", "approved ada"},
		"of another pack":      {"proposed ada", "proposed bob other", "approved ada other"},
		"somebody else's word": {"proposed bob", "approved ada", "withdrawn bob"},
	} {
		t.Run(name, func(t *testing.T) {
			b := running(t, newMemory())
			for _, line := range acts {
				words := strings.Fields(line)
				pack := "p"
				if len(words) > 2 {
					pack = words[2]
				}
				what := What(slices.Index(whatNames[:], "pack "+words[0]))
				_ = b.act(t, what, words[1], pack)
			}
			if err := b.State().Approved("p", 1); err == nil {
				c, _ := b.State().Change("p")
				t.Errorf("it may be loaded: %+v", c)
			}
		})
	}
}

// TestApprovedIsTrue: over histories at random, a pack may be loaded exactly if, from the
// entries alone, enough people who never proposed it approved it after its last round began
// and nothing ended that.
//
// promise: P09
func TestApprovedIsTrue(t *testing.T) {
	w := rand.New(rand.NewPCG(9, 9))
	names := []string{"ada", "bob", "cyd", "Ada", "dan"}
	yes := 0
	for range 4000 {
		var acts []Act
		for i := range 1 + w.IntN(14) {
			acts = append(acts, Act{ID: isogate.EntryID(fmt.Sprint(i)), Seq: uint64(i), What: What(1 + w.IntN(5)), Pack: []string{"p", "q"}[w.IntN(2)], Actor: Actor{Name: names[w.IntN(len(names))]}})
			if w.IntN(2) == 0 {
				acts[i].What = []What{Proposed, Approved}[w.IntN(2)]
			}
		}
		s, why := (&State{}).Fold(acts...)
		// Folded one by one it is the same.
		one := &State{}
		for i := range acts {
			var err []error
			one, err = one.Fold(acts[i])
			if (err[0] == nil) != (why[i] == nil) {
				t.Fatalf("act %d: %v and %v", i, err[0], why[i])
			}
		}
		for _, pack := range []string{"p", "q"} {
			for need := 1; need <= 2; need++ {
				want := oracle(acts, pack) >= need
				if got := s.Approved(pack, need) == nil; got != want || (one.Approved(pack, need) == nil) != want {
					t.Fatalf("%s by %d: %t, want %t, after %+v", pack, need, got, want, acts)
				}
				if want {
					yes++
				}
			}
		}
	}
	if yes < 200 {
		t.Errorf("only %d may be loaded: this shows little", yes)
	}
}

// oracle counts the approvals of a pack from the acts alone.
func oracle(acts []Act, pack string) int {
	lower := func(a Act) string { return strings.ToLower(a.Actor.Name) }
	authors, open, loaded := map[string]bool{}, false, false
	round := map[string]bool{}
	for _, a := range acts {
		if a.Pack != pack {
			continue
		}
		switch a.What {
		case Proposed:
			if !open {
				round, open, loaded = map[string]bool{}, true, false
			}
			authors[lower(a)] = true
		case Approved:
			if open {
				round[lower(a)] = true
			}
		case Rejected:
			if open && !loaded {
				open = false
			}
		case Withdrawn:
			if open && !loaded && authors[lower(a)] {
				open = false
			}
		case Loaded:
			loaded = true
		}
	}
	if !open {
		return 0
	}
	n := 0
	for who := range round {
		if !authors[who] {
			n++
		}
	}
	return n
}

// TestReadIsWhatTheBookKnows: what a gateway reads at its start is what a running one knows.
func TestReadIsWhatTheBookKnows(t *testing.T) {
	m := newMemory()
	b := running(t, m)
	for i := range 10 {
		_ = b.act(t, Proposed, fmt.Sprint("author", i), fmt.Sprint("p", i%4))
		_ = b.act(t, Approved, "bob", fmt.Sprint("p", i%3))
		if err := m.Append(t.Context(), &isogate.Entry{Kind: isogate.KindPack, Act: "pack refused", Pack: "p1"}); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Read(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range b.State().Changes() {
		o, ok := s.Change(c.Pack)
		if !ok || fmt.Sprint(o.Acts()) != fmt.Sprint(c.Acts()) {
			t.Errorf("%s: %+v, want %+v", c.Pack, o, c)
		}
	}
	if err := b.InTouch(); err != nil {
		t.Error(err)
	}
	if err := New(m).InTouch(); err == nil {
		t.Error("a book that has read nothing is in touch")
	}
	m.full = true
	if _, err := b.Do(t.Context(), Act{What: Proposed, Actor: Actor{Name: "ada"}, Pack: "new"}); err == nil {
		t.Error("what is not recorded is done")
	}
	gone, stop := context.WithCancel(t.Context())
	stop()
	if _, err := Read(gone, &deaf{}); err == nil {
		t.Error("a journal that says nothing has approved nothing, and that must be an error")
	}
}

// deaf is a journal that says nothing.
type deaf struct{ *memory }

func (deaf) Follow(ctx context.Context, _ uint64, _ time.Duration, _ func(Batch) error) error {
	<-ctx.Done()
	return nil
}

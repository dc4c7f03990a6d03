package access

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isogate/isogate"
)

// memory is a journal in memory that can be cut off from those who follow it.
type memory struct {
	mu      sync.Mutex // guards what follows
	entries []isogate.Entry
	news    chan struct{}
	away    bool // followers hear nothing
	full    bool // Append fails
}

func newMemory() *memory { return &memory{news: make(chan struct{})} }

func (m *memory) Append(_ context.Context, e *isogate.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.full {
		return errors.New("the disk is full")
	}
	e.Seq, e.Time = uint64(len(m.entries)), time.Now()
	e.ID = isogate.EntryID(fmt.Sprintf("%026d", e.Seq))
	m.entries = append(m.entries, *e)
	close(m.news)
	m.news = make(chan struct{})
	return nil
}

func (m *memory) Follow(ctx context.Context, from uint64, every time.Duration, f func(Batch) error) error {
	for {
		m.mu.Lock()
		b := Batch{UpTo: uint64(len(m.entries)), At: time.Now()}
		if from < b.UpTo {
			b.Entries = slices.Clone(m.entries[from:])
		}
		news, away := m.news, m.away
		m.mu.Unlock()
		if !away {
			if err := f(b); err != nil {
				return err
			}
			from = b.UpTo
		}
		t := time.NewTimer(every)
		select {
		case <-news:
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		t.Stop()
	}
}

func (m *memory) set(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
}

// text is everything that the journal has.
func (m *memory) text() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var b strings.Builder
	for _, e := range m.entries {
		fmt.Fprintf(&b, "%+v\n", e)
	}
	return b.String()
}

// acts counts the entries of an act.
func (m *memory) acts(w What) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.entries {
		if e.Act == w.String() {
			n++
		}
	}
	return n
}

// start runs a desk in a bubble until the test ends.
func start(t *testing.T, j Journal, people ...Configured) *Desk {
	t.Helper()
	d, err := New(Config{Journal: j, Logger: slog.New(slog.DiscardHandler), People: people})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
	return d
}

// adaToken is the token of ada, whom the configuration lists as an owner.
const adaToken = "the-token-of-ada"

var ada = Configured{Name: "ada", Roles: []Role{Owner}, TokenSHA256: string(DigestOf(adaToken))}

// must is the secret that a sign-in gave, or the test ends.
func must(t *testing.T) func(string, error) string {
	return func(s string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

// who is whose secret it is, or the test ends.
func who(t *testing.T, d *Desk, secret string) Visitor {
	t.Helper()
	v, err := d.Visitor(secret)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// invited has somebody signed in by a link of ada's.
func invited(t *testing.T, d *Desk, name string, roles ...Role) string {
	t.Helper()
	owner, err := d.Bearer(adaToken)
	if err != nil {
		t.Fatal(err)
	}
	link := must(t)(d.Invite(t.Context(), owner, name, roles))
	return must(t)(d.SignInByLink(t.Context(), link, ""))
}

var discard = slog.New(slog.DiscardHandler)

func equalEntries(a, b *isogate.Entry) bool {
	return a.Act == b.Act && a.Actor == b.Actor && a.Reason == b.Reason && maps.Equal(a.Detail, b.Detail)
}

package access

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isogate/isogate"
)

// Journal is where acts are recorded and heard of.
type Journal interface {
	// Append returns once e is durable, with ID, Seq and Time filled in.
	Append(ctx context.Context, e *isogate.Entry) error
	// Follow calls f with the admin entries from a seq on, in order, as they become
	// durable, and at least once per every: see [Batch]. It returns when ctx ends, or f
	// fails.
	Follow(ctx context.Context, from uint64, every time.Duration, f func(Batch) error) error
}

// Batch is a piece of the journal as a follower sees it.
type Batch struct {
	Entries []isogate.Entry
	UpTo    uint64    // every admin entry below it was delivered
	At      time.Time // when the read began that shows this; everything durable before it is in, unless there is More
	More    bool      // the batch is a part of what there was to read
}

// Defaults of [Config].
const (
	DefaultIdle  = 30 * time.Minute
	DefaultMax   = 12 * time.Hour
	DefaultProof = 5 * time.Minute
	DefaultLease = 10 * time.Second
)

// LinkHolds is how long a one-time link lets somebody in, and MaxToken how long an
// API token may hold at the most.
const (
	LinkHolds = 15 * time.Minute
	MaxToken  = 366 * 24 * time.Hour
)

// follow is how often the journal is looked at when nothing is heard of it: so long
// may a session go on, on another gateway, that was revoked where news is lost.
const follow = time.Second

// Config is what a desk is made of. Journal and Logger are required.
type Config struct {
	Journal Journal
	Logger  *slog.Logger
	// People are those of the configuration.
	People []Configured
	// Idle is how long a session may go unused, Max how long it may last, and Proof how
	// long somebody who has just proved who they are need not do so again. 0 is the
	// default.
	Idle, Max, Proof time.Duration
	// Lease is how long the desk may not have heard from the journal before it knows no
	// session and no API token any more; 0 is DefaultLease.
	Lease time.Duration
	// Now is the clock that ends are judged by; nil is time.Now.
	Now func() time.Time
}

// Desk knows who visits. It is safe for concurrent use, and works while Run runs.
type Desk struct {
	cfg     Config
	people  configured
	now     atomic.Pointer[moment]
	contact atomic.Pointer[time.Time] // by the monotonic clock; nil before the first

	mu      sync.Mutex       // guards what follows
	effects map[uint64]error // by seq, of the last acts folded in
	recent  []uint64
	seen    map[Digest]time.Time // when a session or token was last used, here
	wrong   map[string]uint64    // refused sign-ins that no entry tells of yet, by how they were tried
}

// moment is a state and what tells of the next.
type moment struct {
	state *State
	next  chan struct{} // closed when it is not the newest any more
}

// keptEffects is of how many acts the desk remembers whether they had an effect.
const keptEffects = 4096

// New makes a desk. It starts nothing, and knows nothing before Run runs.
func New(cfg Config) (*Desk, error) {
	if cfg.Journal == nil || cfg.Logger == nil {
		return nil, errors.New("access: a journal and a logger are both needed")
	}
	for _, d := range []struct {
		of *time.Duration
		or time.Duration
	}{{&cfg.Idle, DefaultIdle}, {&cfg.Max, DefaultMax}, {&cfg.Proof, DefaultProof}, {&cfg.Lease, DefaultLease}} {
		if *d.of <= 0 {
			*d.of = d.or
		}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	people, err := newConfigured(cfg.People)
	if err != nil {
		return nil, fmt.Errorf("access: %w", err)
	}
	d := &Desk{cfg: cfg, people: people, effects: map[uint64]error{}, seen: map[Digest]time.Time{}, wrong: map[string]uint64{}}
	d.now.Store(&moment{&State{}, make(chan struct{})})
	return d, nil
}

// Run follows the journal until ctx ends, and records how many sign-ins were refused.
func (d *Desk) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.countWrong(ctx)
	}()
	defer func() { <-done }()
	defer stop()
	err := d.cfg.Journal.Follow(ctx, 0, min(follow, d.cfg.Lease/4), d.take)
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("access: the journal cannot be followed: %w", err)
}

// take folds a batch in.
func (d *Desk) take(b Batch) error {
	was := d.now.Load()
	acts := make([]Act, 0, len(b.Entries))
	for i := range b.Entries {
		if b.Entries[i].Seq < was.state.Revision {
			continue
		}
		a, err := readAct(&b.Entries[i])
		if errors.Is(err, errOther) {
			continue
		} else if err != nil {
			// It may have taken something from somebody. Nobody can say, so that going on as
			// if it were not there is not safe.
			return fmt.Errorf("an act cannot be read: %w", err)
		}
		acts = append(acts, a)
	}
	if len(acts) > 0 {
		next, why := was.state.Fold(acts...)
		d.mu.Lock()
		for i := range acts {
			d.effects[acts[i].Seq] = why[i]
			d.recent = append(d.recent, acts[i].Seq)
		}
		for len(d.recent) > keptEffects {
			delete(d.effects, d.recent[0])
			d.recent = d.recent[1:]
		}
		for id := range d.seen {
			if next.sessions[id] == nil && next.tokens[id] == nil {
				delete(d.seen, id)
			}
		}
		d.mu.Unlock()
		d.now.Store(&moment{next, make(chan struct{})})
		close(was.next)
	}
	if !b.More {
		d.contact.Store(&b.At)
	}
	return nil
}

// State is the newest state. Whether it may be relied on, InTouch says.
func (d *Desk) State() *State { return d.now.Load().state }

// InTouch says why the desk does not know who has a session: it has not heard from
// the journal for longer than its lease, so that it may have been revoked elsewhere.
func (d *Desk) InTouch() error {
	at := d.contact.Load()
	if at == nil {
		return errors.New("who may sit at the Hub is not known yet: the journal is being read")
	}
	if age := time.Since(*at); age > d.cfg.Lease {
		return fmt.Errorf("who may sit at the Hub is not known for certain: nothing was heard from the journal for %s", age.Round(time.Millisecond))
	}
	return nil
}

// Proof is how long a proof of who somebody is holds.
func (d *Desk) Proof() time.Duration { return d.cfg.Proof }

// Do records an act and tells whether it had an effect: an error that is
// [ErrNoEffect] says that it is in the journal and changed nothing. When ctx ends
// before that is known, the act may yet have its effect.
func (d *Desk) do(ctx context.Context, a Act) (Act, error) {
	e := a.Entry()
	if err := d.cfg.Journal.Append(ctx, e); err != nil {
		return a, fmt.Errorf("the act was not recorded, and is not done: %w", err)
	}
	a.ID, a.Seq, a.At = e.ID, e.Seq, e.Time
	for {
		m := d.now.Load()
		if m.state.Revision > a.Seq {
			d.mu.Lock()
			defer d.mu.Unlock()
			err, known := d.effects[a.Seq]
			if !known {
				return a, fmt.Errorf("entry %s: it is not known any more whether the act had an effect", a.ID)
			}
			return a, err
		}
		select {
		case <-m.next:
		case <-ctx.Done():
			return a, fmt.Errorf("entry %s: the act is recorded; whether it has an effect is not known yet: %w", a.ID, ctx.Err())
		}
	}
}

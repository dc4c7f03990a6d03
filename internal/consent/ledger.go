package consent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/remote"
)

// Journal is where acts are recorded and heard of.
type Journal interface {
	// Append returns once e is durable, with ID, Seq and Time filled in.
	Append(ctx context.Context, e *isogate.Entry) error
	// Follow calls f with the consent entries from a seq on, in order, as they
	// become durable, and at least once per every: see [Batch]. It returns when ctx
	// ends, or f fails.
	Follow(ctx context.Context, from uint64, every time.Duration, f func(Batch) error) error
}

// Batch is a piece of the journal as a follower sees it.
type Batch struct {
	Entries []isogate.Entry
	UpTo    uint64    // every consent entry below it was delivered
	At      time.Time // when the read began that shows this; everything durable before it is in, unless there is More
	More    bool      // the batch is a part of what there was to read
}

// Defaults of [Config].
const (
	// DefaultLease is how long a gateway goes on without word from the ledger.
	DefaultLease = time.Second
	// DefaultAnswer is how long a request waits for an answer.
	DefaultAnswer = 30 * 24 * time.Hour
)

// Risk is what about a row makes a request need two administrators, if the tenant
// wants that.
type Risk string

// The risks.
const (
	RiskWildcard Risk = "wildcard"    // the row is for every subdomain of a domain
	RiskTokens   Risk = "tokens"      // an app's tokens are handed over
	RiskStored   Risk = "stored-data" // end-user data is kept there
)

// Risks are all there are.
var Risks = []Risk{RiskWildcard, RiskTokens, RiskStored}

// RisksOf is what is risky about a row.
func RisksOf(r remote.Row) (risks []Risk) {
	if r.Wildcard() {
		risks = append(risks, RiskWildcard)
	}
	if r.Tokens != 0 {
		risks = append(risks, RiskTokens)
	}
	if r.EndUserData && r.Operations&remote.Storage != 0 {
		risks = append(risks, RiskStored)
	}
	return risks
}

// Config is what a ledger is made of. Journal and Logger are required.
type Config struct {
	Journal Journal
	Logger  *slog.Logger
	// Lease is how long the ledger may not have heard from the journal before it
	// answers no to everything; 0 is DefaultLease.
	Lease time.Duration
	// Answer is how long a request waits for an answer; 0 is DefaultAnswer.
	Answer time.Duration
	// Second are the risks for which a request needs two different administrators.
	Second []Risk
	// Now is the clock that ends are judged by; nil is time.Now.
	Now func() time.Time
}

// Ledger is the state of now, and the way to change it. It is ready while Run runs.
type Ledger struct {
	cfg     Config
	now     atomic.Pointer[moment]
	contact atomic.Pointer[time.Time] // by the monotonic clock; nil before the first
	Actions Actions

	mu      sync.Mutex       // guards what follows
	effects map[uint64]error // by seq, of the last acts folded in
	recent  []uint64
	asking  map[remoteAsk]bool // requests under way of Attempted
}

// moment is a state and what tells of the next.
type moment struct {
	state *State
	next  chan struct{} // closed when it is not the newest any more
}

type remoteAsk struct {
	party Party
	row   remote.Row
}

// keptEffects is of how many acts the ledger remembers whether they had an effect.
const keptEffects = 4096

// New makes a ledger. It starts nothing, and knows nothing before Run runs.
func New(cfg Config) (*Ledger, error) {
	if cfg.Journal == nil || cfg.Logger == nil {
		return nil, errors.New("consent: a journal and a logger are both needed")
	}
	if cfg.Lease <= 0 {
		cfg.Lease = DefaultLease
	}
	if cfg.Answer <= 0 {
		cfg.Answer = DefaultAnswer
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	for _, r := range cfg.Second {
		if !slices.Contains(Risks, r) {
			return nil, fmt.Errorf("consent: unknown risk %q; use some of %v", r, Risks)
		}
	}
	l := &Ledger{cfg: cfg, effects: map[uint64]error{}, asking: map[remoteAsk]bool{}}
	l.now.Store(&moment{&State{}, make(chan struct{})})
	return l, nil
}

// Run follows the journal until ctx ends, and records what expires.
func (l *Ledger) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.expireAll(ctx)
	}()
	defer func() { <-done }()
	defer stop()
	err := l.cfg.Journal.Follow(ctx, 0, l.cfg.Lease/4, l.take)
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("consent: the journal cannot be followed: %w", err)
}

// take folds a batch in.
func (l *Ledger) take(b Batch) error {
	was := l.now.Load()
	acts := make([]Act, 0, len(b.Entries))
	for i := range b.Entries {
		if b.Entries[i].Seq < was.state.Revision {
			continue
		}
		a, err := ReadAct(&b.Entries[i])
		if err != nil {
			// Whoever wrote it, it opens nothing. Could it have shut something? Nobody can
			// say, so that going on as if it were not there is not safe.
			return fmt.Errorf("an act cannot be read: %w", err)
		}
		acts = append(acts, a)
	}
	if len(acts) > 0 {
		next, why := was.state.Fold(acts...)
		for i := range acts {
			if a := &acts[i]; a.What == Given || a.What == Used {
				why[i] = l.Actions.apply(a)
			}
		}
		l.mu.Lock()
		for i := range acts {
			l.effects[acts[i].Seq] = why[i]
			l.recent = append(l.recent, acts[i].Seq)
		}
		for len(l.recent) > keptEffects {
			delete(l.effects, l.recent[0])
			l.recent = l.recent[1:]
		}
		l.mu.Unlock()
		l.now.Store(&moment{next, make(chan struct{})})
		close(was.next)
	}
	// Last: who finds the lease renewed finds the state it was renewed with. A part
	// of what there is renews nothing.
	if !b.More {
		l.contact.Store(&b.At)
	}
	return nil
}

// State is the newest state. Whether it may be relied on, InTouch says.
func (l *Ledger) State() *State { return l.now.Load().state }

// Watch is the newest state, and a channel that is closed once there is a newer one.
func (l *Ledger) Watch() (*State, <-chan struct{}) {
	m := l.now.Load()
	return m.state, m.next
}

// InTouch says why nothing may leave by the ledger's word: it has not heard from
// the journal for longer than the lease. It never fails for long while the journal
// can be read.
func (l *Ledger) InTouch() error {
	at := l.contact.Load()
	if at == nil {
		return errors.New("the ledger has not read the journal yet")
	}
	if age := time.Since(*at); age > l.cfg.Lease {
		return fmt.Errorf("the ledger has not heard from the journal for %s, longer than its lease of %s", age.Round(time.Millisecond), l.cfg.Lease)
	}
	return nil
}

// Lease is how long the ledger's word holds.
func (l *Ledger) Lease() time.Duration { return l.cfg.Lease }

// Do records an act and tells whether it had an effect: an error that is
// [ErrNoEffect] says that it is in the journal and changed nothing. When ctx ends
// before that is known, the act may yet have its effect.
func (l *Ledger) Do(ctx context.Context, a Act) (Act, error) {
	if a.Party != Everybody && len(a.Before) == 0 {
		a.Before = l.State().Party(a.Party).Rows(l.cfg.Now())
	}
	if a.After == nil {
		a.After = l.after(a)
	}
	e := a.Entry()
	if err := l.cfg.Journal.Append(ctx, e); err != nil {
		return a, fmt.Errorf("the act was not recorded: %w", err)
	}
	a.ID, a.Seq, a.At = e.ID, e.Seq, e.Time
	for {
		state, next := l.Watch()
		if state.Revision > a.Seq {
			l.mu.Lock()
			defer l.mu.Unlock()
			err, known := l.effects[a.Seq]
			if !known {
				return a, fmt.Errorf("entry %s: it is not known any more whether the act had an effect; look at its party", a.ID)
			}
			return a, err
		}
		select {
		case <-next:
		case <-ctx.Done():
			return a, fmt.Errorf("entry %s: the act is recorded; whether it has an effect is not known yet: %w", a.ID, ctx.Err())
		}
	}
}

// after is what a party may use if the act has its effect, for the entry.
func (l *Ledger) after(a Act) []remote.Row {
	if a.Party == Everybody || a.What == Given || a.What == Used {
		return nil
	}
	state := l.State()
	a.Seq, a.At, a.ID = state.Revision, l.cfg.Now(), "next"
	next, _ := state.Fold(a)
	return next.Party(a.Party).Rows(a.At)
}

// Attempted opens a request for what an attempt was refused for, once: another
// attempt, here or on another gateway, finds it waiting. The answer is the request
// that waits now.
func (l *Ledger) Attempted(ctx context.Context, party Party, no No, by string) (isogate.EntryID, error) {
	if !no.MayAsk() || no.Row == (remote.Row{}) {
		return no.Request, nil
	}
	key := remoteAsk{party, no.Row}
	l.mu.Lock()
	if l.asking[key] {
		l.mu.Unlock()
		return "", nil // another attempt of this moment asks already
	}
	l.asking[key] = true
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.asking, key)
	}()
	a, err := l.Do(ctx, l.NewRequest(party, []remote.Row{no.Row}, Actor{Name: by}, "an attempt was refused"))
	if errors.Is(err, ErrNoEffect) { // another gateway was faster
		if r := l.State().Party(party).Waiting(no.Row, l.cfg.Now()); r != nil {
			return r.ID, nil
		}
	}
	if err != nil {
		return "", err
	}
	return a.ID, nil
}

// NewRequest is the act that asks for rows. Where one of them is risky, and the
// tenant wants that, two administrators must agree.
func (l *Ledger) NewRequest(party Party, rows []remote.Row, by Actor, reason string) Act {
	second := slices.ContainsFunc(rows, func(r remote.Row) bool {
		return slices.ContainsFunc(RisksOf(r), func(x Risk) bool { return slices.Contains(l.cfg.Second, x) })
	})
	return Act{What: Requested, Party: party, Rows: rows, Actor: by, Reason: reason, Second: second, Answer: l.cfg.Answer}
}

// expireEvery is how often the ledger looks for what is over. What is over is
// over without that; looking only brings it into the journal.
const expireEvery = 5 * time.Second

// expireAll records what has expired, until ctx ends.
func (l *Ledger) expireAll(ctx context.Context) {
	tick := time.NewTicker(expireEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if l.InTouch() != nil {
			continue
		}
		for _, a := range l.State().over(l.cfg.Now()) {
			if _, err := l.Do(ctx, a); err != nil && !errors.Is(err, ErrNoEffect) && ctx.Err() == nil {
				l.cfg.Logger.Warn("an expiry could not be recorded; it holds all the same", slog.String("party", string(a.Party)), slog.Any("error", err))
			}
		}
	}
}

// over is the acts that record what is over at an instant.
func (s *State) over(at time.Time) (acts []Act) {
	for _, st := range s.Parties() {
		for _, r := range st.Requests {
			if (r.Status == Open || r.Status == PutOff) && !r.Waits(at) {
				acts = append(acts, Act{What: Expired, Party: st.Party, Of: r.ID, Actor: Actor{Name: "isogate serve"}, Reason: "nobody answered in time"})
			}
		}
		for _, g := range st.Grants {
			if g.Status == InForce && !g.InForce(at) {
				acts = append(acts, Act{What: Expired, Party: st.Party, Of: g.ID, Actor: Actor{Name: "isogate serve"}, Reason: "the grant's time is over"})
			}
		}
	}
	return acts
}

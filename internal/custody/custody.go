// Package custody knows what the outside holds of ours: which seal keys are out,
// to which landing, and until when; what the landings have stated about them; which
// identifiers stay outside by permission, and which of those are to be erased.
//
// To the gateway it gives seal keys, made here and wrapped to what a landing has
// stated about itself. It fetches statements and receipts in the background, so that
// no request waits for a landing but the one that goes there. Every key that leaves
// has an entry of the journal before the request that it leaves with; every receipt
// becomes an entry once it is verified. What is open now is the fold of those
// entries ([State]): after a restart, or on another gateway of the tenant, a receipt
// that is due is still due, and one that does not come is an alarm.
//
// promise: P17
// promise: P41
package custody

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/http1"
	"github.com/isogate/isogate/internal/journal"
	"github.com/isogate/isogate/internal/obfuscate"
	"github.com/isogate/isogate/internal/seal"
)

// Journal is where it is recorded what the outside holds; [journal.Journal] is one.
type Journal interface {
	// Append returns once e is durable, with ID, Seq and Time filled in.
	Append(ctx context.Context, e *isogate.Entry) error
	// AppendLater has e durable no later than any entry that is appended after it.
	AppendLater(e *isogate.Entry) error
	// List and Get read it, as Follow does, which calls f with the entries of a kind
	// from a seq on.
	List(ctx context.Context, f journal.Filter) ([]isogate.Entry, error)
	Get(ctx context.Context, id isogate.EntryID) (isogate.Entry, error)
	Follow(ctx context.Context, kind isogate.EntryKind, from uint64, every time.Duration, f func(journal.Batch) error) error
}

// Landing is a destination whose landing keeps the handling.
type Landing struct {
	Destination isogate.Destination
	// URL is the destination's, which the landing answers.
	URL *url.URL
	// At is where to connect to instead of the URL's host, as IP:port; "" is what DNS
	// says. The certificate must be of the URL's host all the same.
	At string
	// Key verifies what the landing signs.
	Key note.Verifier
	// Identifiers and Subjects turn the tokens of the destination's register back, and
	// no others: a landing that put tokens of payloads into its register must not have
	// them turned back by an erasure.
	Identifiers, Subjects *obfuscate.Obfuscator
}

func (l *Landing) signer() string { return signerOf(l.Key) }

// Actor is who acts, and how they signed in.
type Actor struct{ Name, SignedIn string }

// Defaults of [Config].
const (
	DefaultReceipts   = 10 * time.Second
	DefaultStatements = time.Minute
	DefaultGrace      = time.Minute
	DefaultRepeat     = 3 * time.Minute
	DefaultMaxKeys    = 65536
)

// Config is what a custody is made of. Tenant, Journal, Client, Keys and Logger are
// required.
type Config struct {
	Tenant  isogate.Tenant
	Journal Journal
	// Client reaches the landings; it dials through remote, with the certificate that
	// they know the tenant's gateways by.
	Client *http1.Client
	// Keys make the digests that sessions have outside.
	Keys   obfuscate.Deriver
	Logger *slog.Logger
	// Metrics to count in; nil counts for nobody. Registering them is the caller's.
	Metrics *Metrics
	// Now is the clock; nil is time.Now.
	Now func() time.Time

	// Receipts is how often each landing is asked for receipts, and Statements for its
	// statement, which is also fetched when it turns out to be old. 0 is the default.
	Receipts, Statements time.Duration
	// Grace is how long after a key was due its receipt may come before that is an
	// alarm. 0 is DefaultGrace.
	Grace time.Duration
	// Repeat is how often an erasure is asked for again until there is its receipt. 0
	// is DefaultRepeat.
	Repeat time.Duration
	// MaxKeys bounds the keys that this gateway keeps for use, by destination; the one
	// used longest ago gives way, and its session gets a new one. 0 is DefaultMaxKeys.
	MaxKeys int

	summaryEvery int // entries
}

// Custody is what the outside holds of one tenant. It is safe for concurrent use,
// and works while Run runs: before, there is no statement and no key.
type Custody struct {
	cfg     Config
	sites   atomic.Pointer[map[isogate.Destination]*site]
	changed chan struct{} // holds one token when sites were replaced

	mu      sync.Mutex // guards what follows
	state   State
	whole   bool          // the state has all that the journal had when the last look began
	next    chan struct{} // closed when the state changed
	unended []ending      // sessions whose end some landing was not told yet
}

// New makes a custody over some landings. It starts nothing.
func New(cfg Config, landings ...Landing) (*Custody, error) {
	if cfg.Journal == nil || cfg.Client == nil || cfg.Keys == nil || cfg.Logger == nil {
		return nil, errors.New("custody: a journal, a client, keys and a logger are all needed")
	}
	if err := isogate.CheckName(string(cfg.Tenant), false); err != nil {
		return nil, fmt.Errorf("custody: tenant: %w", err)
	}
	for _, d := range []struct {
		of *time.Duration
		or time.Duration
	}{{&cfg.Receipts, DefaultReceipts}, {&cfg.Statements, DefaultStatements}, {&cfg.Grace, DefaultGrace}, {&cfg.Repeat, DefaultRepeat}} {
		if *d.of <= 0 {
			*d.of = d.or
		}
	}
	if cfg.MaxKeys <= 0 {
		cfg.MaxKeys = DefaultMaxKeys
	}
	if cfg.summaryEvery <= 0 {
		cfg.summaryEvery = summaryEvery
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics()
	}
	c := &Custody{cfg: cfg, changed: make(chan struct{}, 1), next: make(chan struct{})}
	c.sites.Store(&map[isogate.Destination]*site{})
	return c, c.Swap(landings...)
}

// Swap puts other landings in force, and the tenant's newest keys for sessions. What
// is known of a landing that stays is kept.
func (c *Custody) Swap(landings ...Landing) error {
	was := *c.sites.Load()
	now := make(map[isogate.Destination]*site, len(landings))
	for _, l := range landings {
		if now[l.Destination] != nil {
			return fmt.Errorf("custody: the destination %s is there twice", l.Destination)
		}
		s, err := c.newSite(l)
		if err != nil {
			return fmt.Errorf("custody: destination %s: %w", l.Destination, err)
		}
		if old := was[l.Destination]; old != nil && old.same(s) {
			s.hold = old.hold
		}
		now[l.Destination] = s
	}
	c.sites.Store(&now)
	for d, old := range was {
		if now[d] == nil || now[d].hold != old.hold {
			old.hold.drop()
		}
	}
	signal(c.changed)
	return nil
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// site returns the landing of a destination.
func (c *Custody) site(d isogate.Destination) (*site, error) {
	if s := (*c.sites.Load())[d]; s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("destination %s has no landing; give its landing's public key in the pack", d)
}

// Key is a key to seal values of a request under: the one of its session, or of its
// time to live, while that is in use, else a new one. The context has Tenant,
// Destination, Transit, Handling, and Session or ByRequest, or TTL. What is sealed
// under it may leave once [Custody.Sending] has its ID. An error says why nothing
// can be sealed for the destination now, without any value.
//
// promise: P41
func (c *Custody) Key(d isogate.Destination, cx seal.Context) (*seal.Sealer, error) {
	s, err := c.site(d)
	if err != nil {
		return nil, err
	}
	if cx.Destination != d || cx.Tenant != c.cfg.Tenant {
		return nil, fmt.Errorf("destination %s: the key is asked for another tenant or destination", d)
	}
	return s.hold.key(cx)
}

// Sending records that keys are about to leave with a request: those that no entry
// has yet get one, durable no later than any entry that is appended afterwards. On an
// error the request may not leave.
//
// promise: P23
// promise: P41
func (c *Custody) Sending(d isogate.Destination, ids []seal.ID) error {
	s, err := c.site(d)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := s.hold.sending(id, c.cfg.Journal); err != nil {
			return fmt.Errorf("destination %s: the key %s cannot be recorded: %w", d, id, err)
		}
	}
	return nil
}

// Held is called with the keys of a request that the landing says it holds.
func (c *Custody) Held(d isogate.Destination, ids []seal.ID) {
	s, err := c.site(d)
	if err != nil {
		return
	}
	for _, id := range ids {
		s.hold.held(id)
	}
}

// Lost is called with the keys of a request that the landing refused, and with its
// code: they are not used again. A key that never got there needs no receipt, which
// is recorded.
func (c *Custody) Lost(d isogate.Destination, code string, ids []seal.ID) {
	s, err := c.site(d)
	if err != nil {
		return
	}
	never := s.hold.lost(code, ids)
	if len(never) == 0 {
		return
	}
	e := keysEntry(ActRefused, d, never, "the landing did not take them")
	e.Detail[inCode] = code
	if err := c.cfg.Journal.AppendLater(e); err != nil {
		c.cfg.Logger.Error("it could not be recorded that a landing refused seal keys; their receipts will seem overdue",
			slog.String("destination", string(d)), slog.Any("error", err))
	}
}

// SessionDigest is what a session is called outside: nobody there can tell which
// session it is, nor that two destinations were given the same. It is "" without a
// landing.
//
// promise: P38
func (c *Custody) SessionDigest(d isogate.Destination, session string) string {
	s, err := c.site(d)
	if err != nil {
		return ""
	}
	return s.digests[0].of(session)
}

// Acknowledged reports whether the landing has stated that it keeps the register for
// a label. Without a statement in force it has not.
//
// promise: P17
func (c *Custody) Acknowledged(d isogate.Destination, l isogate.Label) bool {
	s, err := c.site(d)
	if err != nil {
		return false
	}
	st := s.hold.current()
	return st != nil && st.Acknowledged(l)
}

// take folds a batch of the journal in.
func (c *Custody) take(b journal.Batch) error {
	c.mu.Lock()
	n, errs := c.state.fold(b.Entries)
	if b.UpTo > c.state.Revision {
		c.state.Revision = b.UpTo
	}
	c.whole = !b.More
	var save *isogate.Entry
	if c.whole && c.state.unsaved >= c.cfg.summaryEvery {
		save = c.state.summary()
		c.state.unsaved = 0
	}
	if len(b.Entries) > 0 || c.whole {
		close(c.next)
		c.next = make(chan struct{})
	}
	c.mu.Unlock()
	if save != nil {
		if err := c.cfg.Journal.AppendLater(save); err != nil {
			c.cfg.Logger.Warn("a summary is not recorded; the next start takes longer", slog.Any("error", err))
		}
	}
	for _, err := range errs {
		c.cfg.Logger.Error("a landing entry says what cannot be, and is left out", slog.Any("error", err))
	}
	// Another gateway was told that these are over.
	for _, digest := range n.ended {
		for _, s := range *c.sites.Load() {
			s.hold.end(digest)
		}
	}
	return nil
}

// Reach waits until all that is in the journal is known here, while Run runs.
func (c *Custody) Reach(ctx context.Context) error {
	for {
		c.mu.Lock()
		whole, next := c.whole, c.next
		c.mu.Unlock()
		if whole {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("custody: the journal has not been read: %w", ctx.Err())
		case <-next:
		}
	}
}

// caughtUp reports whether the state has all that was in the journal at the last look.
func (c *Custody) caughtUp() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.whole
}

// read calls f with the state.
func (c *Custody) read(f func(*State)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.state)
}

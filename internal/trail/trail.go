// Package trail answers what left, why, and how much of it: counted and findable,
// over as many entries as a journal has.
//
// It is a projection: all that it knows it has read from the journal's entries, it holds
// nothing that they do not, and it may be thrown away at any time, for then it is
// built again. What it says is as true as the rows of the journal's database; what
// proves them is the journal's Merkle log, which the trail does not look at.
//
// A release is one row: its opened entry, with how it ended folded in from the entry
// that closed it. Refusals and entries of the other kinds are a row each. Rows that
// came one after the other, within one hour, make a block, which is written once it
// is complete; a block knows what it has altogether, so that counting looks at
// blocks and not at rows. What is not written yet is in memory, and read again from
// the journal after a restart: what is written, and up to which entry, changes in one
// transaction.
//
// Times are those in the entries' IDs, which are ordered as the entries are; they are the
// times they were recorded, except while the clock was behind an earlier entry.
//
// promise: P21
// promise: P22
package trail

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isogate/isogate"
)

// Journal is where the trail reads.
type Journal interface {
	// Tenant is whose journal it is.
	Tenant(ctx context.Context) (isogate.Tenant, error)
	// Bodies calls do with the exact bytes of the entries from a seq on, in order, of limit
	// seqs at the most, and returns the seq behind the last that there could be one of, and
	// how many entries there are. Where a seq is left out, its entry is missing. Bytes are
	// valid during the call.
	Bodies(ctx context.Context, from uint64, limit int, do func(seq uint64, body []byte) error) (next, of uint64, err error)
	// Pick calls do with the bytes of the entries that have these seqs, in any order.
	Pick(ctx context.Context, seqs []uint64, do func(seq uint64, body []byte) error) error
	// Find returns an entry's seq and bytes.
	Find(ctx context.Context, id isogate.EntryID) (uint64, []byte, error)
}

// Config is what a trail is opened with. Dir and Journal are required.
type Config struct {
	// Dir is the trail's directory, such as state/trail. It is created, for its owner
	// alone, if it does not exist. What is in it may be deleted while nobody has it open.
	Dir     string
	Journal Journal
	// Logger takes what an operator should know. Nil discards.
	Logger *slog.Logger
	// Every is how often the journal is looked at for news. Zero is DefaultEvery.
	Every time.Duration
	// Share is how much of one processor's time catching up may take, above 0 and up to
	// 1. Zero is DefaultShare.
	Share float64
}

// Defaults of [Config].
const (
	DefaultEvery = 250 * time.Millisecond
	DefaultShare = 0.5
)

// ErrBehind says that the trail has not read any of the journal yet, or could not.
var ErrBehind = errors.New("the trail of the journal is not built yet")

// Standing is how the trail stands to its journal.
type Standing struct {
	// Next is the seq of the first entry that is not in the trail.
	Next uint64
	// Of is how many entries the journal had when it was last looked at.
	Of uint64
	// At is when the journal was last looked at, by this machine's clock; zero if never.
	At time.Time
	// Behind is since when, by this machine's clock, the trail has not been up to date; zero while it is.
	Behind time.Time
	// Rebuilding says that the trail is being built from the journal's beginning.
	Rebuilding bool
	// Fault is why the last look failed; nil if it did not.
	Fault error

	// Missing and Unreadable are how many entries the journal should have and has not, or
	// has but cannot be read: somebody changed its database. First is the seq of the first of them.
	Missing, Unreadable uint64
	First               uint64
	// Stray is how many ends are of no release that the journal has.
	Stray uint64
}

// Current reports whether all that the journal has is in the trail.
func (s Standing) Current() bool { return s.Fault == nil && !s.At.IsZero() && s.Next >= s.Of }

// Trail is an open trail. It follows its journal while [Trail.Run] runs, which alone
// changes it.
type Trail struct {
	cfg    Config
	bounds bounds

	doubt atomic.Pointer[error] // why the file must be made anew, as a question found
	turns chan struct{}         // has an element for each question that is being answered

	tenant  isogate.Tenant // of Run alone, as are the other members up to mu
	open    opened
	glances glances
	// digested is a block before which each day has its digest, or the end of one did not have.
	digested  int
	digesting bool // days may be over

	mu       sync.RWMutex // guards what follows; Run writes under it, and reads without
	store    *store       // nil while there is none
	dict     *dictionary
	written  position // what is in the file
	fields   int      // how much of the dictionary is
	shapes   int
	blocks   []block
	days     []day
	tail     []row             // of one hour, behind the blocks; its rows are changed in place
	late     map[uint64]ending // by seq: ends of rows in blocks, not in the file yet
	now      position          // up to which everything is in all of these
	atTail   position          // as it was when the tail began
	standing Standing
	more     chan struct{} // closed when there is more
}

// Open opens the trail, creating it if need be. One that is another tenant's, of another
// format, or cannot be read, is thrown away, and is built again from the journal. It starts
// nothing. What fails is no error here, for nothing that lets anything out depends on a
// trail: Run tries it again, and until then every answer is [ErrBehind].
func Open(ctx context.Context, cfg Config) (*Trail, error) { return open(ctx, cfg, usual) }

func open(ctx context.Context, cfg Config, b bounds) (*Trail, error) {
	if cfg.Dir == "" || cfg.Journal == nil {
		return nil, errors.New("trail: a directory and a journal are both needed")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Every <= 0 {
		cfg.Every = DefaultEvery
	}
	if cfg.Share <= 0 || cfg.Share > 1 {
		cfg.Share = DefaultShare
	}
	t := &Trail{cfg: cfg, bounds: b, more: make(chan struct{}), turns: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))}
	if err := t.load(ctx); err != nil {
		t.stand(time.Now(), err)
		cfg.Logger.Error("the trail of the journal is not opened; nothing else depends on it", slog.String("trail", cfg.Dir), slog.Any("error", err))
	}
	return t, nil
}

// load opens the file, or a new one in its place.
func (t *Trail) load(ctx context.Context) (err error) {
	if t.tenant, err = t.cfg.Journal.Tenant(ctx); err != nil {
		return fmt.Errorf("trail: %w", err)
	}
	for try := range 2 {
		s, why, err := openStore(ctx, t.cfg.Dir)
		if err != nil {
			return err
		}
		if why == nil {
			p, d, blocks, err := s.load(ctx, t.tenant, t.bounds)
			var days []day
			if err == nil {
				days, err = s.days(ctx, blocks)
			}
			if err == nil {
				t.take(s, p, d, blocks, days)
				return nil
			}
			why = err
			_ = s.close()
		}
		if ctx.Err() != nil || try > 0 {
			return fmt.Errorf("trail %s: %w", t.cfg.Dir, why)
		}
		t.cfg.Logger.Warn("the trail is thrown away and built again from the journal", slog.String("trail", t.cfg.Dir), slog.Any("reason", why))
		if err := discard(t.cfg.Dir); err != nil {
			return fmt.Errorf("trail: %w; delete the directory, it is built again", err)
		}
	}
	return nil
}

// take begins with what is in a file.
func (t *Trail) take(s *store, p position, d *dictionary, blocks []block, days []day) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.store, t.dict, t.blocks, t.days, t.digested, t.digesting = s, d, blocks, days, 0, true
	t.fields, t.shapes = len(d.fields), len(d.shapes)
	t.written, t.now, t.atTail = p, p, p
	t.tail, t.late, t.open = nil, map[uint64]ending{}, opened{}
	t.glances = glances{}
	t.standing.Next, t.standing.Rebuilding = p.next, p.next == 0
}

// Close releases the trail. Run must have ended.
func (t *Trail) Close() error {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.store == nil {
		return nil
	}
	return t.store.close()
}

// Standing is how far the trail is.
func (t *Trail) Standing() Standing {
	t.mu.RLock()
	defer t.mu.RUnlock()
	s := t.standing
	f := t.now.flaws
	s.Missing, s.Unreadable, s.Stray, s.First = f.missing, f.unreadable, f.stray, f.first
	return s
}

// turn waits until a question may be answered, and returns what ends it. Half of the processors
// are left to the gateway, however many ask; what waits costs nothing.
func (t *Trail) turn(ctx context.Context) (done func(), err error) {
	select {
	case t.turns <- struct{}{}:
		return func() { <-t.turns }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("trail: too many ask at once: %w", ctx.Err())
	}
}

// Watch is the seq of the first entry that is not in the trail, and a channel that is
// closed once it is, or an end of an earlier one.
func (t *Trail) Watch() (next uint64, more <-chan struct{}) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.now.next, t.more
}

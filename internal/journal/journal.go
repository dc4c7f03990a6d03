// Package journal keeps a tenant's one append-only sequence of entries: what
// left, why, and who allowed it. An entry is durable before it counts: Append
// returns once SQLite (WAL, synchronous=FULL) has synced the transaction that
// holds it, and many waiting entries share one transaction.
//
// Behind the database a Merkle log in the form of C2SP tlog-tiles seals the
// entries in their order, normally within a fraction of a second, and signs
// checkpoints (C2SP tlog-checkpoint) over them. The leaf of an entry is its exact
// bytes, its index is its seq. The last checkpoint is kept in the database as
// well, by compare-and-swap and before its signature exists, so that neither a
// log nor a database put back to an older state is ever signed over.
//
// Whoever holds an export and the public key can check every entry of it without
// this program's state and without trusting whoever ran it: see [VerifyExport].
//
// No other package touches the database.
package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sync/errgroup"

	"github.com/isogate/isogate"
)

// Defaults of [Config].
const (
	DefaultMaxAge    = 10 * time.Second
	DefaultQueue     = 4096
	DefaultSealEvery = 100 * time.Millisecond
)

// Config is what a journal is opened with. Dir, Tenant, Signer and Verifier are required.
type Config struct {
	// Dir is the journal's directory, such as state/journal. It is created, for
	// its owner alone, if it does not exist. It holds the database, the Merkle log
	// (log/, in C2SP tlog-tiles form) and the lock that keeps a second process out.
	Dir string
	// Tenant whose journal it is. A directory belongs to one tenant for ever.
	Tenant isogate.Tenant
	// Signer signs checkpoints. Its name is the log's origin line.
	Signer note.Signer
	// Verifier is the public half of Signer as a C2SP vkey. Checkpoints found at
	// the start must verify by it.
	Verifier string
	// MaxAge is how old the newest checkpoint may be while entries wait to be
	// sealed; past it Ready fails. Zero is DefaultMaxAge.
	MaxAge time.Duration
	// Queue is how many entries may wait for their commit before Append waits for
	// room. Zero is DefaultQueue.
	Queue int
	// SealEvery is the shortest time from one checkpoint to the next. Zero is DefaultSealEvery.
	SealEvery time.Duration
	// Logger takes what an operator should know. Nil discards.
	Logger *slog.Logger
	// Now is the clock that stamps entries. Nil is time.Now. Ages are not measured by it.
	Now func() time.Time
	// Metrics to count in; nil counts for nobody. Registering them is the caller's.
	Metrics *Metrics
}

var (
	// ErrStopped says that the journal takes no more entries.
	ErrStopped = errors.New("the journal is stopped")
	// ErrUnknown says that the caller gave up before the journal knew whether an
	// entry is durable. It may be or become part of the journal; what it was to
	// allow must not happen.
	ErrUnknown = errors.New("whether the entry is durable is unknown")
	// ErrNotFound says that the journal has no such entry.
	ErrNotFound = errors.New("no such entry")
)

// Journal is an open journal. It takes entries while [Journal.Run] runs.
type Journal struct {
	*Reader // reads are answered by connections of their own, also while it writes

	cfg   Config
	lock  *lock
	store *store
	queue *queue
	seal  *sealer

	fault   atomic.Pointer[error] // why the last commit failed; nil while commits succeed
	running atomic.Bool

	mu      sync.Mutex // guards next and waiting
	next    uint64     // seq of the next entry
	waiting time.Time  // since when, by the monotonic clock, the oldest unsealed entry waits; zero when none does
}

// Open opens the journal at cfg.Dir, creating it if need be, and checks that its
// database and its Merkle log belong together and that neither is older than
// what was signed. It refuses where another process has it open. It starts
// nothing: entries are taken once Run runs.
func Open(ctx context.Context, cfg Config) (_ *Journal, err error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	verifier, err := note.NewVerifier(cfg.Verifier)
	if err != nil {
		return nil, fmt.Errorf("journal %s: its public key: %w; use the vkey that belongs to the signer", cfg.Dir, err)
	}
	if verifier.Name() != cfg.Signer.Name() || verifier.KeyHash() != cfg.Signer.KeyHash() {
		return nil, fmt.Errorf("journal %s: the public key %s+%08x does not belong to the signer %s+%08x; use the vkey of the same key",
			cfg.Dir, verifier.Name(), verifier.KeyHash(), cfg.Signer.Name(), cfg.Signer.KeyHash())
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("journal: %w; create the directory or name another as state", err)
	}
	j := &Journal{cfg: cfg}
	defer func() {
		if err != nil {
			_ = j.Close()
		}
	}()
	if j.lock, err = takeLock(filepath.Join(cfg.Dir, lockName)); err != nil {
		return nil, err
	}
	if j.store, err = openStore(ctx, filepath.Join(cfg.Dir, dbName), cfg.Tenant, cfg.Verifier); err != nil {
		return nil, err
	}
	if j.Reader, err = OpenReader(cfg.Dir); err != nil {
		return nil, err
	}
	next, last, err := j.store.tail(ctx)
	if err != nil {
		return nil, err
	}
	j.queue = newQueue(cfg.Queue, cfg.Tenant, newClock(cfg.Now, last))
	j.seal = newSealer(j, verifier)
	if err := j.seal.examine(ctx); err != nil {
		return nil, err
	}
	j.next = next
	if next > j.seal.size() {
		j.waiting = time.Now()
	}
	cfg.Metrics.next.Set(float64(next))
	cfg.Metrics.sealed.Set(float64(j.seal.size()))
	return j, nil
}

func (cfg *Config) complete() error {
	switch {
	case cfg.Dir == "":
		return errors.New("journal: Config.Dir is empty; name the journal's directory")
	case cfg.Signer == nil:
		return errors.New("journal: Config.Signer is nil; a journal without checkpoints proves nothing")
	}
	if err := isogate.CheckName(string(cfg.Tenant), false); err != nil {
		return fmt.Errorf("journal: tenant: %w", err)
	}
	if cfg.MaxAge <= 0 {
		cfg.MaxAge = DefaultMaxAge
	}
	if cfg.Queue <= 0 {
		cfg.Queue = DefaultQueue
	}
	if cfg.SealEvery <= 0 {
		cfg.SealEvery = DefaultSealEvery
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics()
	}
	return nil
}

// Run commits and seals until ctx ends. Then it takes no more entries, commits
// those already taken, seals them if that succeeds within a few seconds, and returns.
func (j *Journal) Run(ctx context.Context) error {
	if !j.running.CompareAndSwap(false, true) {
		return errors.New("journal: Run was called twice; open the journal again")
	}
	g := new(errgroup.Group)
	g.Go(func() error { return j.writeLoop() })
	g.Go(func() error {
		// The writer outlives the sealer, because a checkpoint is kept through it.
		defer j.queue.stop()
		j.seal.loop(ctx)
		return nil
	})
	return g.Wait()
}

// Ready reports why nothing may leave now, or nil: the journal is not running, its
// last commit failed, or entries have waited for their checkpoint for longer than
// MaxAge. A journal whose commits fail tries by itself, and is ready again once
// one succeeds.
//
// promise: P23
func (j *Journal) Ready() error {
	if !j.running.Load() || j.queue.stopped() {
		return fmt.Errorf("journal %s: %w", j.cfg.Dir, ErrStopped)
	}
	if fault := j.fault.Load(); fault != nil {
		return fmt.Errorf("journal %s cannot be written: %w; nothing leaves until it can", j.cfg.Dir, *fault)
	}
	j.mu.Lock()
	waiting := j.waiting
	j.mu.Unlock()
	if age := time.Since(waiting); !waiting.IsZero() && age > j.cfg.MaxAge {
		err := fmt.Errorf("journal %s: entries have waited %s for a checkpoint, longer than %s", j.cfg.Dir,
			age.Round(time.Millisecond), j.cfg.MaxAge)
		if cause := j.seal.lastError(); cause != nil {
			err = fmt.Errorf("%w: %w", err, cause)
		}
		return err
	}
	return nil
}

// Close releases the journal. Call it after Run has returned.
func (j *Journal) Close() error {
	var errs []error
	if j.queue != nil {
		j.queue.stop()
		j.queue.fail(ErrStopped)
	}
	if j.Reader != nil {
		errs = append(errs, j.Reader.Close())
	}
	if j.store != nil {
		errs = append(errs, j.store.close())
	}
	if j.lock != nil {
		errs = append(errs, j.lock.release())
	}
	return errors.Join(errs...)
}

// Package journal keeps a tenant's one append-only sequence of entries: what
// left, why, and who allowed it. An entry is durable before it counts: Append
// returns once the database has synced the transaction that holds it, and many
// waiting entries share one transaction. The database is SQLite (WAL,
// synchronous=FULL) where one process has the journal to itself, and PostgreSQL
// where several gateways of the tenant share it; everything else is the same.
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
	DefaultPatience  = 5 * time.Second
)

// Config is what a journal is opened with. Tenant, Signer and Verifier are required,
// and either Dir or Database and Dial.
type Config struct {
	// Database is the URL of a PostgreSQL database (postgres://…), version 14 or
	// newer, that other gateways of the tenant may use at the same time. The tenant
	// has a schema of its own in it, isogate_<tenant>, which is created if it does not
	// exist. The connection must be direct (no pooler between) and, except to loopback,
	// encrypted with the server authenticated: sslmode verify-full or verify-ca. Several
	// hosts may be named; the one that is the primary is used. "" keeps the journal in
	// Dir.
	Database string
	// Dial opens the connections to Database, whose host names it gets as they are.
	Dial DialFunc
	// Patience is how long Database may take over one commit before it counts as
	// lost sight of; the outcome is then unknown. Zero is DefaultPatience.
	Patience time.Duration
	// Dir is the journal's directory, such as state/journal. It is created, for
	// its owner alone, if it does not exist. It holds the database, the Merkle log
	// (log/, in C2SP tlog-tiles form) and the lock that keeps a second process out.
	// It is not used where Database is set.
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
	// Now is the clock that stamps entries in Dir; Database has its own, the same for
	// every gateway. Nil is time.Now. Ages are not measured by it.
	Now func() time.Time
	// Metrics to count in; nil counts for nobody. Registering them is the caller's.
	Metrics *Metrics
}

var (
	// ErrStopped says that the journal takes no more entries.
	ErrStopped = errors.New("the journal is stopped")
	// ErrUnknown says that the caller gave up, or the connection to the database was
	// lost, before the journal knew whether an entry is durable. It may be or become
	// part of the journal; what it was to allow must not happen.
	ErrUnknown = errors.New("whether the entry is durable is unknown")
	// ErrNotFound says that the journal has no such entry.
	ErrNotFound = errors.New("no such entry")
)

// Journal is an open journal. It takes entries while [Journal.Run] runs.
type Journal struct {
	*Reader // reads are answered by connections of their own, also while it writes

	cfg   Config
	lock  *lock
	store store
	queue *queue
	seal  *sealer

	fault   atomic.Pointer[error] // why the last commit failed; nil while commits succeed
	running atomic.Bool

	mu      sync.Mutex // guards what follows
	next    uint64     // seq of the next entry
	waiting time.Time  // since when, by the monotonic clock, the oldest unsealed entry waits; zero when none does
	contact time.Time  // when the database last answered the sealer
	looks   []look     // at a journal that others seal, from the newest that is sealed altogether on
}

// look is how many entries there were at some time.
type look struct {
	next uint64
	at   time.Time
}

// maxLooks is how many looks are kept; more of them only tell ages more exactly.
const maxLooks = 256

// Open opens the journal, creating it if need be, and checks that its entries and
// its Merkle log belong together and that neither is older than what was signed. A
// directory that another process has open it refuses. It starts nothing: entries are
// taken once Run runs.
func Open(ctx context.Context, cfg Config) (_ *Journal, err error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	j := &Journal{cfg: cfg}
	defer func() {
		if err != nil {
			_ = j.Close()
		}
	}()
	var log tree
	var at seat
	j.queue = newQueue(cfg.Queue, cfg.Tenant)
	if cfg.Database == "" {
		log, at, err = j.openOwn(ctx)
	} else {
		log, at, err = j.openShared(ctx)
	}
	if err != nil {
		return nil, err
	}
	verifier, err := cfg.verifier(j.place)
	if err != nil {
		return nil, err
	}
	j.seal = newSealer(j, verifier, log, at)
	if err := j.seal.examine(ctx); err != nil {
		return nil, err
	}
	if j.next, err = j.count(ctx); err != nil {
		return nil, err
	}
	j.contact = time.Now()
	j.looks = []look{{j.seal.size(), j.contact}}
	if j.next > j.seal.size() {
		j.waiting = j.contact
	}
	cfg.Metrics.next.Set(float64(j.next))
	cfg.Metrics.sealed.Set(float64(j.seal.size()))
	return j, nil
}

// openOwn opens a journal that this process has to itself, in a directory.
func (j *Journal) openOwn(ctx context.Context) (tree, seat, error) {
	dir := j.cfg.Dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return tree{}, nil, fmt.Errorf("journal: %w; create the directory or name another as state", err)
	}
	var err error
	if j.lock, err = takeLock(filepath.Join(dir, lockName)); err != nil {
		return tree{}, nil, err
	}
	own, err := openSQLite(ctx, &j.cfg)
	if err != nil {
		return tree{}, nil, err
	}
	j.store = own
	if j.Reader, err = openFile(ctx, dir); err != nil {
		return tree{}, nil, err
	}
	return j.tree, soleSeat{j.queue}, nil
}

// openShared opens a journal that other processes may have open as well.
func (j *Journal) openShared(ctx context.Context) (tree, seat, error) {
	at, err := newEndpoint(j.cfg.Database, j.cfg.Tenant, j.cfg.Dial)
	if err != nil {
		return tree{}, nil, err
	}
	shared, err := openPostgres(ctx, at, &j.cfg)
	if err != nil {
		return tree{}, nil, err
	}
	j.store = shared
	if j.Reader, err = openShared(ctx, at); err != nil {
		return tree{}, nil, err
	}
	s := &sharedSeat{at: at}
	return tree{shelf{j.db, s}}, s, nil
}

// verifier is the public half of the signer.
func (cfg *Config) verifier(place string) (note.Verifier, error) {
	v, err := note.NewVerifier(cfg.Verifier)
	if err != nil {
		return nil, fmt.Errorf("journal %s: its public key: %w; use the vkey that belongs to the signer", place, err)
	}
	if v.Name() != cfg.Signer.Name() || v.KeyHash() != cfg.Signer.KeyHash() {
		return nil, fmt.Errorf("journal %s: the public key %s+%08x does not belong to the signer %s+%08x; use the vkey of the same key",
			place, v.Name(), v.KeyHash(), cfg.Signer.Name(), cfg.Signer.KeyHash())
	}
	return v, nil
}

func (cfg *Config) complete() error {
	switch {
	case cfg.Dir == "" && cfg.Database == "":
		return errors.New("journal: Config.Dir is empty; name the journal's directory, or a database")
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
	if cfg.Patience <= 0 {
		cfg.Patience = DefaultPatience
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
// last commit failed, or entries, whoever appended them, have waited for their
// checkpoint for longer than MaxAge, or for so long a shared database has not said
// whether any do. A journal whose commits fail tries by itself, and is ready again once
// one succeeds.
//
// promise: P23
func (j *Journal) Ready() error {
	if !j.running.Load() || j.queue.stopped() {
		return fmt.Errorf("journal %s: %w", j.place, ErrStopped)
	}
	if fault := j.fault.Load(); fault != nil {
		return fmt.Errorf("journal %s cannot be written: %w; nothing leaves until it can", j.place, *fault)
	}
	j.mu.Lock()
	waiting, contact := j.waiting, j.contact
	j.mu.Unlock()
	var err error
	if age := time.Since(waiting); !waiting.IsZero() && age > j.cfg.MaxAge {
		err = fmt.Errorf("journal %s: entries have waited %s for a checkpoint, longer than %s", j.place, age.Round(time.Millisecond), j.cfg.MaxAge)
	} else if age := time.Since(contact); j.seal.seat.shared() && age > j.cfg.MaxAge {
		err = fmt.Errorf("journal %s: the database has not answered for %s, longer than %s", j.place, age.Round(time.Millisecond), j.cfg.MaxAge)
	}
	if cause := j.seal.lastError(); err != nil && cause != nil {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	return err
}

// unsealed reports whether entries wait for a checkpoint.
func (j *Journal) unsealed() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return !j.waiting.IsZero()
}

// grown takes note that the journal has entries up to next.
func (j *Journal) grown(next uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if next <= j.next {
		return
	}
	j.next = next
	if j.waiting.IsZero() {
		j.waiting = time.Now()
	}
}

// sealedUpTo moves the mark from which entries wait for a checkpoint. Entries
// that the batch did not take have waited at the most since it began.
func (j *Journal) sealedUpTo(size uint64, began time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.next > size {
		j.waiting = began
	} else {
		j.waiting = time.Time{}
	}
	j.looks = append(j.looks[:0], look{size, began})
}

// sawSealed does the same for what another process has sealed: of next entries the
// first size ones, in a look that began then. What is not sealed came after the
// newest look of which everything is.
func (j *Journal) sawSealed(size, next uint64, began time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.next = max(j.next, next); len(j.looks) < maxLooks {
		j.looks = append(j.looks, look{next, began})
	}
	for len(j.looks) > 1 && j.looks[1].next <= size {
		j.looks = j.looks[1:]
	}
	if j.next <= size {
		j.waiting = time.Time{}
	} else {
		j.waiting = j.looks[0].at
	}
}

// heard takes note that the database answered what was asked at a time.
func (j *Journal) heard(at time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.contact = at
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

package vault

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/seal"
)

// Defaults of [Config].
const (
	DefaultIdle      = 15 * time.Minute
	DefaultMax       = 8 * time.Hour
	DefaultEpochLife = 10 * time.Minute
	DefaultMaxKeys   = 1_000_000
)

const (
	// maxTransits is of how many transits one tenant's keys may be.
	maxTransits = 4096
	// tombsPerKey is how many destroyed keys are remembered, while they could come
	// again, for each live key there may be.
	tombsPerKey = 16
)

// Config says whose keys a vault holds and where it writes down what became of them.
type Config struct {
	// Destination is the outside service that the landing side stands before.
	Destination isogate.Destination
	// Tenants are those whose keys are taken. Each has a share of MaxKeys that the
	// others cannot use up.
	Tenants []isogate.Tenant
	// Signer signs statements and receipts. Its name is the landing side's.
	Signer note.Signer
	// Home is the beginning of the ID of every key that this landing side holds. The
	// zero Home is computed from the signer's name and key.
	Home [4]byte
	// Idle and Max are how long a session lives without a request, and at all; 15
	// minutes and 8 hours if they are 0.
	Idle, Max time.Duration
	// EpochLife is for how long keys are wrapped to one epoch; as long again is what
	// was wrapped to it still taken. 10 minutes if it is 0; at least 1 second.
	EpochLife time.Duration
	// Acknowledges are the labels whose persisted identifiers the landing side registers.
	Acknowledges []isogate.LabelPattern
	// Dir is where receipts and the IDs of live keys are, vault.db; never a key. It is
	// created for its owner only. A lock keeps a second process out.
	Dir string
	// Keep is the directory where temporary keys outlive the process, but not the
	// boot of the machine: best one on a file system in memory, such as
	// /run/isogate-landing, for a disk may keep what was overwritten. "" ends them
	// with the process.
	Keep string
	// KeepOnDisk allows Keep to be on a disk. After a power cut, whoever takes the
	// disk may find the keys that were live then, until the machine starts again.
	KeepOnDisk bool
	// MaxKeys is how many live keys there may be: 1,000,000 if it is 0. Each takes
	// some 250 bytes.
	MaxKeys int
	// Cluster makes this landing one of several; nil is alone. Dir and Home are not
	// used then, and Keep must be "".
	Cluster *Cluster
	// Clock is nil for [MachineClock].
	Clock Clock
	// Logger may be nil.
	Logger *slog.Logger
	// Metrics may be nil.
	Metrics *Metrics
}

// tenant is what a vault knows about one tenant.
type tenant struct {
	name  isogate.Tenant
	index uint16

	mu       sync.RWMutex // guards what follows
	transits []isogate.Transit
	numbers  map[isogate.Transit]uint16
}

// number gives a transit a number within the tenant, if there is room for one more.
func (t *tenant) number(name isogate.Transit) (n uint16, ok bool) {
	t.mu.RLock()
	n, ok = t.numbers[name]
	t.mu.RUnlock()
	if ok {
		return n, true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if n, ok = t.numbers[name]; ok {
		return n, true
	}
	if len(t.transits) >= maxTransits {
		return 0, false
	}
	n = uint16(len(t.transits)) //nolint:gosec // less than maxTransits
	t.transits = append(t.transits, name)
	t.numbers[name] = n
	return n, true
}

// transit is the name of a number.
func (t *tenant) transit(n uint16) isogate.Transit {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.transits[n]
}

// Vault holds the seal keys of one landing side. It is safe for concurrent use and
// prints as REDACTED.
type Vault struct {
	cfg     Config
	limits  limits
	tenants []*tenant
	named   map[isogate.Tenant]*tenant
	tombs   int64 // how many destroyed keys of one tenant are remembered at the most

	arena   *arena
	records records
	shards  [shards]*shard
	share   *share
	epochs  *epochs
	ledger  books
	shelf   keeping  // nil: no key outlives the process
	cluster *cluster // nil: it is alone
	closing atomic.Bool
	// abandoned says that all keys were destroyed because the cluster may have given
	// this member up.
	abandoned atomic.Bool
	gate      sync.RWMutex // held by who uses a slot that is in no shard yet

	mu     sync.Mutex // guards what follows
	unsure []ended    // destroyed keys of which the shelf is not known to be wiped yet

	// Of turning, one at a time.
	turning sync.Mutex
	offset  time.Duration // wall clock less boot clock when it was last read
	cutAt   time.Duration // of the boot clock
	pruned  time.Duration
	trouble string // what was last logged
}

// ended is a destroyed key on its way to the ledger.
type ended struct {
	tenant isogate.Tenant
	row    int64
	event  seal.Event
}

// ErrClosed says that the vault was closed.
var ErrClosed = errors.New("the vault is closed")

// complete checks a configuration and fills in what was left out.
func (c *Config) complete() error {
	if c.Signer == nil {
		return errors.New("vault: no key to sign with; give the landing side's")
	}
	if c.Dir == "" && c.Cluster == nil {
		return errors.New("vault: no directory; name one for receipts")
	}
	if err := isogate.CheckName(string(c.Destination), false); err != nil {
		return fmt.Errorf("vault: destination: %w", err)
	}
	if len(c.Tenants) == 0 || len(c.Tenants) > math.MaxUint16 {
		return fmt.Errorf("vault: %d tenants; name 1 to %d", len(c.Tenants), math.MaxUint16)
	}
	for i, t := range c.Tenants {
		if err := isogate.CheckName(string(t), false); err != nil {
			return fmt.Errorf("vault: tenant %d: %w", i+1, err)
		}
	}
	for _, d := range []struct {
		is    *time.Duration
		whole time.Duration
		name  string
	}{{&c.Idle, DefaultIdle, "idle"}, {&c.Max, DefaultMax, "longest session"}, {&c.EpochLife, DefaultEpochLife, "epoch"}} {
		if *d.is == 0 {
			*d.is = d.whole
		}
		if *d.is < time.Second || *d.is > 30*24*time.Hour {
			return fmt.Errorf("vault: %s of %s; use 1s to 720h", d.name, *d.is)
		}
	}
	if c.MaxKeys == 0 {
		c.MaxKeys = DefaultMaxKeys
	}
	if c.MaxKeys < 2*len(c.Tenants) || c.MaxKeys > 1<<26 {
		return fmt.Errorf("vault: %d keys; use at least 2 for each tenant and at most %d", c.MaxKeys, 1<<26)
	}
	if c.Cluster != nil {
		c.Home = newHome() // of this start of this member
	}
	if c.Home == [4]byte{} {
		sum := sha256.Sum256(fmt.Appendf(nil, "isogate/home/v1\x00%s\x00%08x", c.Signer.Name(), c.Signer.KeyHash()))
		c.Home = [4]byte(sum[:])
	}
	if c.Clock == nil {
		m, err := MachineClock()
		if err != nil {
			return err
		}
		c.Clock = m
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics()
	}
	return nil
}

// Open opens a vault and makes its first epoch. Temporary keys of the process
// before come back from Config.Keep if they are of this boot and no clock has been
// set back; every other key that it held gets a receipt of its destruction.
func Open(cfg Config) (_ *Vault, err error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	v := &Vault{cfg: cfg, limits: limits{cfg.Idle, cfg.Max}, named: map[isogate.Tenant]*tenant{}, records: newRecords(cfg.MaxKeys),
		share: newShare(cfg.MaxKeys, len(cfg.Tenants)), tombs: int64(tombsPerKey * cfg.MaxKeys / len(cfg.Tenants))}
	for i, name := range cfg.Tenants {
		if v.named[name] != nil {
			return nil, fmt.Errorf("vault: tenant %s is named twice", name)
		}
		t := &tenant{name: name, index: uint16(i), numbers: map[isogate.Transit]uint16{}}
		v.tenants = append(v.tenants, t)
		v.named[name] = t
	}
	for i := range v.shards {
		v.shards[i] = newShard(v.records)
	}
	v.epochs = &epochs{life: cfg.EpochLife, signer: cfg.Signer, state: seal.Statement{Destination: cfg.Destination, Landing: cfg.Signer.Name(),
		Home: cfg.Home, Idle: cfg.Idle, Max: cfg.Max, Acknowledges: cfg.Acknowledges}}
	defer func() {
		if err != nil {
			_ = v.release() // the first error is the one to tell
		}
	}()
	if v.arena, err = newArena(cfg.MaxKeys); err != nil {
		return nil, err
	}
	v.sayMemory()
	if cfg.Cluster != nil {
		if v.cluster, err = openCluster(context.Background(), v); err != nil {
			return nil, err
		}
		v.ledger, v.shelf = v.cluster.ledger, v.cluster
	} else {
		l, err := openLedger(context.Background(), &v.cfg)
		if err != nil {
			return nil, err
		}
		v.ledger = l
	}
	if err := v.recover(); err != nil {
		return nil, err
	}
	_, now := read(cfg.Clock)
	v.offset, v.cutAt, v.pruned = now.wall-now.boot, now.boot, now.boot
	return v, v.turn(now)
}

// sayMemory tells the operator if keys could be swapped to a disk.
func (v *Vault) sayMemory() {
	all := v.arena.slots() * keySize
	v.cfg.Metrics.memory.WithLabelValues("reserved").Set(float64(all))
	v.cfg.Metrics.memory.WithLabelValues("locked").Set(float64(v.arena.locked))
	if v.arena.locked < all {
		v.cfg.Logger.Warn("not all memory for seal keys could be locked against swapping; raise the limit for locked memory (LimitMEMLOCK, ulimit -l) or turn swap off",
			slog.Int("bytes", all), slog.Int("locked", v.arena.locked))
	}
}

// recover takes up what the process before left: temporary keys from the shelf, and
// for every other key that it held the event of its destruction.
func (v *Vault) recover() error {
	boot, now := read(v.cfg.Clock)
	back := map[seal.ID]*record{}
	over := map[seal.ID]bool{}
	doubt := false
	if v.cfg.Keep != "" {
		var err error
		var s *shelf
		s, doubt, err = openShelf(v.cfg.Keep, v.cfg.KeepOnDisk, boot, now, func(k *kept) bool {
			r, alive := v.comeBack(k, now)
			if r != nil {
				back[k.id] = r
			} else if !alive {
				over[k.id] = true
			}
			return r != nil
		})
		if err != nil {
			return err
		}
		v.shelf = s
	}
	at := now.stamp()
	err := v.ledger.held(context.Background(), func(row int64, t isogate.Tenant, id seal.ID) {
		if r := back[id]; r != nil && v.tenants[r.tenant].name == t {
			r.row = row
			delete(back, id)
			return
		}
		cause := seal.CauseRestart
		switch {
		case over[id]:
			cause = seal.CauseExpired
		case doubt:
			cause = seal.CauseClock
		}
		v.cfg.Metrics.destroyed.WithLabelValues(cause).Inc()
		v.ledger.gone(t, row, seal.Event{Kind: seal.Destroyed, At: at, Key: id, Cause: cause})
	})
	if err != nil {
		return err
	}
	// Those that had been put on the shelf, and not into the ledger yet.
	for id, r := range back {
		r.row = v.ledger.live(v.tenants[r.tenant].name, id)
	}
	return nil
}

// comeBack takes a key from the shelf, unless its life is over or its tenant is not
// ours any more.
func (v *Vault) comeBack(k *kept, now instant) (r *record, alive bool) {
	t := v.named[k.tenant]
	if t == nil {
		return nil, true
	}
	n, ok := t.number(k.transit)
	if !ok {
		return nil, true
	}
	fill := record{id: k.id, tenant: t.index, transit: n, temporary: true, made: k.made, born: k.born, used: int64(now.boot), ttl: k.ttl}
	e := fill.end(v.limits)
	if e.passed(now) {
		return nil, false
	}
	if !v.share.take(t.index) {
		return nil, true
	}
	slot, ok := v.arena.take()
	if !ok {
		v.share.give(t.index)
		return nil, true
	}
	*v.arena.key(slot) = k.key
	fill.due = int64(now.boot + e.sleep(now))
	r = v.records.at(slot)
	*r = fill
	v.shard(k.id).insert(slot)
	v.cfg.Metrics.keys.WithLabelValues(r.handling().String()).Inc()
	return r, true
}

// shard is where a key is.
func (v *Vault) shard(id seal.ID) *shard { return v.shards[id[len(id)-1]%shards] }

// Statement is the statement in force, signed. The slice must not be changed.
func (v *Vault) Statement() []byte { return v.epochs.statement() }

// Home is the beginning of the IDs of the keys held here.
func (v *Vault) Home() [4]byte { return v.cfg.Home }

// Ready reports why no request should be taken, if none should: the vault is
// closed, or what happens cannot be written down.
func (v *Vault) Ready() error {
	if v.closing.Load() {
		return ErrClosed
	}
	if v.cluster != nil {
		if err := v.cluster.ready(); err != nil {
			return err
		}
	}
	return v.ledger.trouble()
}

// Note has an event of the landing side's written down and, soon, be part of a
// receipt for t; an event without a time is of now. Once it returns without an error the event is durable.
func (v *Vault) Note(ctx context.Context, t isogate.Tenant, e seal.Event) error {
	if v.named[t] == nil {
		return fmt.Errorf("vault: an event of tenant %q, whose keys are not taken here; name the tenant in the configuration", t)
	}
	if e.At = e.At.UTC().Truncate(time.Millisecond); e.At.IsZero() {
		_, now := read(v.cfg.Clock)
		e.At = now.stamp()
	}
	if err := e.Check(); err != nil {
		return fmt.Errorf("vault: event for a receipt: %w", err)
	}
	return v.ledger.sync(ctx, v.ledger.note(t, e))
}

// Receipts returns t's receipts from number after+1 on, limit of them at the most (1
// to 500), and whether there are more. They are kept for 30 days.
func (v *Vault) Receipts(ctx context.Context, t isogate.Tenant, after uint64, limit int) (notes [][]byte, more bool, err error) {
	if v.named[t] == nil {
		return nil, false, fmt.Errorf("vault: receipts of tenant %q, whose keys are not taken here; name the tenant in the configuration", t)
	}
	return v.ledger.fetch(ctx, t, after, min(max(limit, 1), 500))
}

const redacted = "REDACTED"

// LogValue implements [slog.LogValuer].
func (*Vault) LogValue() slog.Value { return slog.StringValue(redacted) }

func (*Vault) String() string { return redacted }

// GoString implements [fmt.GoStringer].
func (*Vault) GoString() string { return redacted }

// Format implements [fmt.Formatter], so that no verb reaches a key.
func (*Vault) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(redacted)) }

// MarshalText implements [encoding.TextMarshaler].
func (*Vault) MarshalText() ([]byte, error) { return []byte(redacted), nil }

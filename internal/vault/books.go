package vault

import (
	"context"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/seal"
)

// books is where it is written down which keys are held and what became of them:
// [ledger] in a file of this landing's, or [sharedLedger] in the database that the
// landings of a cluster share. What is queued is durable once sync has returned for
// a mark at or behind it, and ends up in receipts by cut, in that order per tenant.
type books interface {
	live(t isogate.Tenant, id seal.ID) (row int64)
	gone(t isogate.Tenant, row int64, e seal.Event)
	note(t isogate.Tenant, e seal.Event) (mark uint64)
	mark() uint64
	written(mark uint64) bool
	waiting() int
	trouble() error
	sync(ctx context.Context, mark uint64) error
	cut(ctx context.Context, now time.Time) error
	fetch(ctx context.Context, t isogate.Tenant, after uint64, limit int) (notes [][]byte, more bool, err error)
	prune(ctx context.Context, before time.Time) error
	// held calls f for every key that this landing's process before has left.
	held(ctx context.Context, f func(row int64, t isogate.Tenant, id seal.ID)) error
	close() error
}

// keeping is where temporary keys are beside this process's memory: [shelf], over a
// restart of it, or [window] keys, for the other landings of a cluster.
type keeping interface {
	put(k *kept, key *[keySize]byte) error
	// wipe reports whether it had the key and its receipt has to wait for settle.
	wipe(id seal.ID) bool
	settle(now instant) error
	unwiped() int
	// has reports whether the key goes on without this process.
	has(id seal.ID) bool
	close() error
}

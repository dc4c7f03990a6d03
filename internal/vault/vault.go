package vault

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/seal"
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
	// zero Home is computed from the signer's name.
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
	// MaxKeys is how many live keys there may be: 1,000,000 if it is 0. Each takes
	// some 250 bytes.
	MaxKeys int
	// Clock is nil for [MachineClock].
	Clock Clock
	// Logger may be nil.
	Logger *slog.Logger
	// Metrics may be nil.
	Metrics *Metrics
}

// Vault holds the seal keys of one landing side. It is safe for concurrent use and
// prints as REDACTED.
type Vault struct{}

// ErrClosed says that the vault was closed.
var ErrClosed = errors.New("the vault is closed")

// Open opens a vault and makes its first epoch. Temporary keys of the process
// before come back from Config.Keep if they are of this boot and no clock has been
// set back; every other key that it held gets a receipt of its destruction.
func Open(cfg Config) (*Vault, error) { panic("vault: not yet") }

// Run renews epochs, destroys what has ended and signs receipts until ctx ends.
// Without it keys end all the same, but nobody is told.
func (v *Vault) Run(ctx context.Context) error { panic("vault: not yet") }

// Close destroys every key but the temporary ones that Config.Keep has, and all
// epochs, and signs the receipts of it. No key opens any more once it has begun,
// and no View; it is called when the edges have stopped, after Run has returned.
func (v *Vault) Close() error { panic("vault: not yet") }

// Statement is the statement in force, signed. The slice must not be changed.
func (v *Vault) Statement() []byte { panic("vault: not yet") }

// Ready reports why receipts cannot be written down, if they cannot; no request
// should be taken then.
func (v *Vault) Ready() error { panic("vault: not yet") }

// Arrive takes the key that a request brings, or sees that it is held, and counts
// as use of it: a session's idle time begins anew. An error is a [*Refusal], or
// [ErrClosed]: the request must not be passed on then.
//
// What was held is written down soon after; [Vault.Settled] waits for that.
func (v *Vault) Arrive(a seal.Arrival) error { panic("vault: not yet") }

// Settled returns when every key that had arrived before the call is written down,
// so that its end has a receipt even if the process is killed. A key is named in
// Isogate-Held only after it; it usually is settled by the time the service answers.
func (v *Vault) Settled(ctx context.Context) error { panic("vault: not yet") }

// RequestDone says that the response to a request with these keys was sent, or
// never will be: those that are by request are destroyed.
func (v *Vault) RequestDone(ids []seal.ID) { panic("vault: not yet") }

// EndSession destroys the keys of a session and returns how many there were. Cause
// is for the receipts, such as [seal.CauseEnded].
func (v *Vault) EndSession(t isogate.Tenant, session, cause string) int { panic("vault: not yet") }

// EndKeys destroys those of these keys that are held and are t's, and sees to it
// that each that never came has a receipt that says so (cause [CauseNeverHeld]) and
// cannot come any more. It returns how many it destroyed or ruled out. A gateway
// asks for it when a receipt is overdue: the request may have been lost on the way.
func (v *Vault) EndKeys(t isogate.Tenant, ids []seal.ID) int { panic("vault: not yet") }

// Note has an event of the landing side's written down and, soon, be part of a
// receipt for t. Once it returns without an error the event is durable.
func (v *Vault) Note(ctx context.Context, t isogate.Tenant, e seal.Event) error {
	panic("vault: not yet")
}

// Receipts returns t's receipts from number after+1 on, limit of them at the most (1
// to 500), and whether there are more. They are kept for 30 days.
func (v *Vault) Receipts(ctx context.Context, t isogate.Tenant, after uint64, limit int) (notes [][]byte, more bool, err error) {
	panic("vault: not yet")
}

// CauseNeverHeld is the cause of Destroyed for a key that never arrived.
const CauseNeverHeld = "never held"

// CauseAsked is the cause of Destroyed for a key that the gateway asked to end.
const CauseAsked = "asked"

// Viewer is who sees a response.
type Viewer struct {
	// Name is for receipts.
	Name string
	// Allows reports whether the viewer may see values of this label and context. It
	// may take its time and call the vault; it must not keep the context. Nil allows
	// nothing.
	Allows func(*seal.Context, isogate.Label) bool
}

// View opens seals for one response and remembers what it revealed. It implements
// [seal.Opener], and is for one goroutine.
type View struct{}

// View begins a response to w.
func (v *Vault) View(w Viewer) *View { panic("vault: not yet") }

// OpenSeal implements [seal.Opener].
func (vw *View) OpenSeal(scratch []byte, id seal.ID, raw []byte) (seal.Opened, seal.Outcome) {
	panic("vault: not yet")
}

// Pending reports whether something was revealed that is not recorded yet.
func (vw *View) Pending() bool { panic("vault: not yet") }

// Record makes durable what was revealed since the last call, and that the keys
// were here; it is called before the values leave. After an error nothing of them
// may be shown. Concurrent calls share a write to the disk.
func (vw *View) Record(ctx context.Context) error { panic("vault: not yet") }

package hub

import (
	"context"
	"time"

	"github.com/isogate/isogate"
)

// Running is the gateway that the Hub belongs to, as it runs. What it says is of
// the moment of the call, and never a key or a value.
type Running interface {
	// Ready says why not everything that may leave could leave now; nil if it could.
	Ready() error
	// Pack is the pack that this gateway judges by.
	Pack() PackStanding
	// Ends are the rules and tunnels of that pack that are over before an instant, or
	// will be, those that end first before the others.
	Ends(before time.Time) []Ending
	// Keys are the tenant's keys.
	Keys() KeyStanding
	// Certificates are those that this gateway shows others, by what they are for.
	Certificates() []Certificate
	// Checkpoint is the journal's newest.
	Checkpoint(ctx context.Context) (CheckpointStanding, error)
	// Gateway is this gateway's name, as entries have it.
	Gateway() string
}

// PackStanding is a pack that is in force.
type PackStanding struct {
	Name    string    `json:"name"`
	Version int       `json:"version"`
	Digest  string    `json:"digest"`
	Since   time.Time `json:"since"` // when this gateway loaded it
}

// Ending is something that lets data out and is over one day: a rule, a tunnel or a grant.
type Ending struct {
	What    string          `json:"what"` // rule, tunnel or grant
	Transit isogate.Transit `json:"transit,omitempty"`
	Label   string          `json:"label,omitempty"` // the rule's pattern
	As      string          `json:"as,omitempty"`
	Owner   string          `json:"owner,omitempty"`
	Rule    string          `json:"rule,omitempty"`  // file:line
	Party   string          `json:"party,omitempty"` // of a grant
	ID      isogate.EntryID `json:"id,omitempty"`    // of a grant
	At      time.Time       `json:"at"`              // the first instant at which it is over
	Over    bool            `json:"over"`
}

// KeyStanding is what may be told of the tenant's keys.
type KeyStanding struct {
	Primary string   `json:"primary"` // the id of the key that mints, in hexadecimal
	Older   []string `json:"older"`   // ids of those that still read, from the newest to the oldest
	// Wrapped says that a key-encryption key guards them at rest.
	Wrapped bool `json:"wrapped"`
	// Stale says that what is on disk is not what is in memory any more: a rotation that
	// this gateway has not been told of.
	Stale bool `json:"stale"`
	// Trouble is why they could not be opened now, such as a key-encryption key that was
	// withdrawn; "" if they could.
	Trouble  string `json:"trouble,omitempty"`
	Verifier string `json:"verifier"` // by which the journal's checkpoints are verified
	// Since is when the journal says that the primary became it; nil where it does not.
	Since *time.Time `json:"since,omitempty"`
	// Entry is the journal's entry that says so.
	Entry isogate.EntryID `json:"entry,omitempty"`
}

// Certificate is one that the gateway shows others.
type Certificate struct {
	What     string    `json:"what"`           // such as gateway.transits.tls: the key of the configuration
	Name     string    `json:"name,omitempty"` // for whom it is
	NotAfter time.Time `json:"not_after"`
}

// CheckpointStanding is the journal's newest checkpoint.
type CheckpointStanding struct {
	Origin string `json:"origin"`
	Size   uint64 `json:"size"` // entries under it
	Root   string `json:"root"` // in hexadecimal
}

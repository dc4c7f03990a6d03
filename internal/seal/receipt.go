package seal

import (
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
)

// Receipt is what a landing side states that it did with one tenant's values. It
// is a signed note (C2SP signed-note) under the landing side's long-term key.
// Receipts of a landing side and tenant are numbered from 1 without gaps, and each
// names the digest of the one before.
type Receipt struct {
	Landing     string // the landing side's name, which is the signing key's
	Destination isogate.Destination
	Tenant      isogate.Tenant
	Number      uint64
	Previous    string    // [Digest] of receipt Number-1; "" of the first
	Time        time.Time // when it was signed; whole milliseconds
	Events      []Event
}

// MaxEvents is how many events a receipt holds at the most.
const MaxEvents = 500

// EventKind is what happened.
type EventKind string

// The kinds of events.
const (
	// Destroyed: Key was destroyed, of Cause.
	Destroyed EventKind = "destroyed"
	// RevealedTo: N values of Label that left with Request under Key were shown to Viewer.
	RevealedTo EventKind = "revealed"
	// Erased: the service confirmed Erasure.
	Erased EventKind = "erased"
	// ErasureOverdue: the service has not confirmed Erasure for too long.
	ErasureOverdue EventKind = "erasure-overdue"
)

// Event is one thing that happened. Its members are those that its kind has.
type Event struct {
	Kind    EventKind     `json:"kind"`
	At      time.Time     `json:"at"` // whole milliseconds
	Key     ID            `json:"key,omitzero"`
	Request uint64        `json:"request,omitempty"`
	Label   isogate.Label `json:"label,omitempty"`
	Viewer  string        `json:"viewer,omitempty"`
	Cause   string        `json:"cause,omitempty"`
	N       uint64        `json:"n,omitempty"`
	Erasure string        `json:"erasure,omitempty"`
}

// Causes of Destroyed.
const (
	CauseEnded    = "session ended"   // the gateway or the service said so
	CauseIdle     = "session idle"    // no request for too long
	CauseMax      = "session too old" // it reached the longest life of a session
	CauseRequest  = "request done"    // there was no session
	CauseExpired  = "expired"         // the time to live was over
	CauseClock    = "clock"           // a clock was set, and the key's age is in doubt
	CauseRestart  = "restart"         // the landing side or its machine was started anew
	CauseDrain    = "drain"           // the landing side was stopped
	CauseReplaced = "capacity"        // it had to give way
)

// MarshalText implements [encoding.TextMarshaler].
func (id ID) MarshalText() ([]byte, error) { return appendID(nil, id), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (id *ID) UnmarshalText(b []byte) (err error) { *id, err = parseID(string(b)); return err }

// Sign checks the receipt and returns it as a signed note. The same receipt under
// the same Ed25519 key gives the same bytes.
func (r *Receipt) Sign(signer note.Signer) ([]byte, error) { panic("seal: not yet") }

// OpenReceipt reads a receipt, verifies its signature and that the landing side
// named in it is who signed. Whether it continues the chain is for the caller to see.
func OpenReceipt(b []byte, v note.Verifier) (*Receipt, error) { panic("seal: not yet") }

// Digest is how a receipt is named by the next one: SHA-256 over the whole note,
// signature included, in hexadecimal.
func Digest(receipt []byte) string { panic("seal: not yet") }

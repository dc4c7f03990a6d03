// Package seal is what leaves as a seal, how the key of it travels to the landing
// side, and what the landing side states and signs. It is formats and
// cryptography; it does no I/O and starts nothing.
//
// A seal is text that only who holds its seal key can turn back:
//
//	igs1 d n5xgk3tbnrsq…
//	│  │ │ └ base32 of the key's id, nonce, ciphertext and tag
//	│  │ └ how long the ciphertext is: one of 32 sizes
//	│  └ version
//	└ mark
//
// The gateway makes a seal key ([Sealer]) for one tenant, destination, transit and
// session or time to live, and sends it along ([Arrival]), wrapped to a key pair
// of the landing side that lives for minutes ([Epoch]) and is published in a
// signed [Statement]. The landing side opens seals with it ([OpenKey], [Reveal])
// until it destroys it, and says so in a signed [Receipt]. docs/formats.md has all
// of it byte by byte, with vectors that a test reads.
package seal

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/isogate/isogate"
)

// ID names a seal key. It begins with the home of the landing side that holds the
// key; the rest commits to the key and to all of its [Context], so that no two
// keys or contexts share an ID that an attacker could find.
type ID [16]byte

// IDChars is the length of an ID as text.
const IDChars = 26

// String returns the ID as 26 characters a-z and 2-7.
func (id ID) String() string { return string(appendID(nil, id)) }

// Home says which landing side holds the key.
func (id ID) Home() [4]byte { return [4]byte(id[:4]) }

// ParseID reads what [ID.String] wrote, in lower case only.
func ParseID(s string) (ID, error) { return parseID(s) }

// EpochID names an epoch key of a landing side: it is computed from the public half.
type EpochID [8]byte

// String returns the ID as 13 characters a-z and 2-7.
func (e EpochID) String() string { return epochText(e) }

// ParseEpochID reads what [EpochID.String] wrote, in lower case only.
func ParseEpochID(s string) (EpochID, error) { return parseEpochID(s) }

// Opened is a value that was found in a seal. It prints as REDACTED.
type Opened struct {
	Label isogate.Label
	Kind  isogate.Kind
	// Value is decoded text, in the scratch that was given; the caller wipes it.
	Value []byte
	// Age is how long after its key a seal was made, by the gateway's clock, in
	// steps of a millisecond. A temporary value ends at the key's making, plus Age,
	// plus the context's TTL.
	Age time.Duration
	// Request is which request under its key the seal left with, from 1.
	Request uint64
}

const redacted = "REDACTED"

// LogValue implements [slog.LogValuer].
func (Opened) LogValue() slog.Value { return slog.StringValue(redacted) }

func (Opened) String() string { return redacted }

// Format implements [fmt.Formatter], so that no verb reaches the value.
func (Opened) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(redacted)) }

// MarshalText implements [encoding.TextMarshaler].
func (Opened) MarshalText() ([]byte, error) { return []byte(redacted), nil }

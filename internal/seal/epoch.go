package seal

import (
	"fmt"
	"log/slog"
)

// Epoch is a key pair of the landing side, in memory only and for minutes. Once
// it is destroyed, who has recorded all that was sent and takes the landing
// side's disk can unwrap nothing. It is safe for concurrent use and prints as REDACTED.
type Epoch struct{}

// NewEpoch makes a key pair: HPKE (RFC 9180) with MLKEM768-X25519, HKDF-SHA256
// and AES-256-GCM.
func NewEpoch() (*Epoch, error) { panic("seal: not yet") }

// ID names the epoch.
func (e *Epoch) ID() EpochID { panic("seal: not yet") }

// Public is the public half, 1216 bytes.
func (e *Epoch) Public() []byte { panic("seal: not yet") }

// Unwrap leaves the key that a brings in key, which may lie outside the Go heap,
// having checked that it is wrapped to this epoch, for exactly a's context and ID,
// and that the ID commits to both. It fails for anything else, and for a
// destroyed epoch, and then leaves key zero.
func (e *Epoch) Unwrap(a Arrival, key *[32]byte) error { panic("seal: not yet") }

// Destroy forgets the private half.
func (e *Epoch) Destroy() { panic("seal: not yet") }

// LogValue implements [slog.LogValuer].
func (*Epoch) LogValue() slog.Value { return slog.StringValue(redacted) }

func (*Epoch) String() string { return redacted }

// Format implements [fmt.Formatter], so that no verb reaches a key.
func (*Epoch) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(redacted)) }

// MarshalText implements [encoding.TextMarshaler].
func (*Epoch) MarshalText() ([]byte, error) { return []byte(redacted), nil }

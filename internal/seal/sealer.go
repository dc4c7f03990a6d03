package seal

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/isogate/isogate"
)

// Sealer is one seal key as the gateway that made it has it: in memory only. It
// is safe for concurrent use and prints as REDACTED.
type Sealer struct{}

// NewSealer makes a key for c and wraps it to the landing side that stated to.
// It sets Window and Made of the context itself. Now is the clock, nil for
// [time.Now]; its monotonic reading is what ages are measured by. It costs one
// encapsulation (ML-KEM-768 and X25519), some 100 µs.
func NewSealer(c Context, to *Statement, now func() time.Time) (*Sealer, error) {
	panic("seal: not yet")
}

// ID names the key.
func (s *Sealer) ID() ID { panic("seal: not yet") }

// Context is what the key is for.
func (s *Sealer) Context() Context { panic("seal: not yet") }

// Held reports whether the landing side has said that it holds the key.
func (s *Sealer) Held() bool { panic("seal: not yet") }

// SetHeld is called when the landing side has said so: from then on the wrapped
// key is not sent any more, and is forgotten.
func (s *Sealer) SetHeld() { panic("seal: not yet") }

// Sealing reports whether the key may still seal values of a new request: its
// window, or the longest session, is not over; the landing side holds it or can
// still unwrap it; it has not been destroyed.
func (s *Sealer) Sealing() bool { panic("seal: not yet") }

// Due is when the landing side must have destroyed the key, at the latest, by
// this machine's wall clock.
func (s *Sealer) Due() time.Time { panic("seal: not yet") }

// Destroy wipes the key. Passages that go on append nothing from then on.
func (s *Sealer) Destroy() { panic("seal: not yet") }

// Passage takes the next request number. Each request takes one passage of each
// key that it uses.
func (s *Sealer) Passage() Passage { panic("seal: not yet") }

// AppendHeader appends the key's member of the Isogate-Seal header field, the
// wrapped key included until the landing side holds it. Members are joined by ", ".
func (s *Sealer) AppendHeader(dst []byte) []byte { panic("seal: not yet") }

// OpenSeal implements [Opener] for the key's own seals. Those of other keys are Withheld.
func (s *Sealer) OpenSeal(scratch []byte, id ID, raw []byte) (Opened, Outcome) {
	panic("seal: not yet")
}

// Passage seals the values of one request under one key. It is for one goroutine
// and must not be copied once it has sealed: its counter is what keeps nonces apart.
type Passage struct {
	s      *Sealer
	number uint64
	n      uint32
}

// Number is the request's number under its key, from 1.
func (p *Passage) Number() uint64 { return p.number }

// Sealer is whose passage it is.
func (p *Passage) Sealer() *Sealer { return p.s }

// Append appends the seal of v, which is a string whatever the kind of v; null
// stays null. It reports false, with nothing appended, for a value that is too
// long for a seal, for a label that is none, and for a key that is destroyed: the
// value must then not leave.
func (p *Passage) Append(dst []byte, l isogate.Label, v isogate.Value) (out []byte, ok bool) {
	panic("seal: not yet")
}

// LogValue implements [slog.LogValuer].
func (*Sealer) LogValue() slog.Value { return slog.StringValue(redacted) }

func (*Sealer) String() string { return redacted }

// Format implements [fmt.Formatter], so that no verb reaches a key.
func (*Sealer) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(redacted)) }

// MarshalText implements [encoding.TextMarshaler].
func (*Sealer) MarshalText() ([]byte, error) { return []byte(redacted), nil }

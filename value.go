package isogate

import (
	"fmt"
	"log/slog"
)

// Kind is the type a payload value has in its format. Formats without types,
// such as forms and headers, have strings only.
type Kind uint8

const (
	// Null is JSON's null.
	Null Kind = iota
	// Bool is true or false.
	Bool
	// Number is a number as it was spelled.
	Number
	// String is text.
	String
)

var kindNames = [...]string{"null", "bool", "number", "string"}

func (k Kind) String() string { return nameOf(kindNames[:], int(k)) }

// ParseKind reads the name of a kind.
func ParseKind(s string) (Kind, error) { return parseName[Kind]("type", kindNames[:], s) }

// redacted is what every way of printing a payload value prints.
const redacted = "REDACTED"

// Value is one value of a payload, decoded: a string without its quotes and
// escapes, a number as spelled. It is a type of its own so that it cannot be
// printed, logged or marshalled by accident: every such way yields REDACTED.
// Text is only valid during the call that hands the Value over.
type Value struct {
	Kind Kind
	Text []byte
}

// LogValue implements [slog.LogValuer].
func (Value) LogValue() slog.Value { return slog.StringValue(redacted) }

func (Value) String() string { return redacted }

// GoString implements [fmt.GoStringer].
func (Value) GoString() string { return redacted }

// Format implements [fmt.Formatter], so that no verb reaches Text.
func (Value) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(redacted)) }

// MarshalText implements [encoding.TextMarshaler].
func (Value) MarshalText() ([]byte, error) { return []byte(redacted), nil }

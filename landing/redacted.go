package landing

import (
	"fmt"
	"log/slog"
)

// redacted is what every way of printing a value or a token prints.
const redacted = "REDACTED"

// LogValue implements [slog.LogValuer].
func (Value) LogValue() slog.Value { return slog.StringValue(redacted) }

func (Value) String() string { return redacted }

// Format implements [fmt.Formatter], so that no verb reaches the value.
func (Value) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(redacted)) }

// MarshalText implements [encoding.TextMarshaler].
func (Value) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue implements [slog.LogValuer].
func (Client) LogValue() slog.Value { return slog.StringValue(redacted) }

// Format implements [fmt.Formatter], so that no verb reaches the token.
func (Client) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(redacted)) }

func (Client) String() string { return redacted }

// MarshalText implements [encoding.TextMarshaler].
func (Client) MarshalText() ([]byte, error) { return []byte(redacted), nil }

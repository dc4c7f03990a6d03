package taxonomy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/isogate/isogate"
)

// Error is one thing that is wrong with a taxonomy: where, what, and what to do next.
type Error struct {
	File         string
	Line, Column int    // counted from 1; 0 where the file as a whole is meant
	Message      string // what is wrong
	Hint         string // what to do next
}

func (e *Error) Error() string {
	s := e.File
	if e.Line > 0 {
		s = fmt.Sprintf("%s:%d:%d", e.File, e.Line, e.Column)
	}
	s += ": " + e.Message
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

// Errors is everything that is wrong, sorted by place.
type Errors []*Error

func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives [errors.As] each of them.
func (es Errors) Unwrap() []error {
	out := make([]error, len(es))
	for i, e := range es {
		out[i] = e
	}
	return out
}

// err returns nil rather than an empty list, which would not be a nil error.
func (es Errors) err() error {
	if len(es) == 0 {
		return nil
	}
	slices.SortStableFunc(es, func(a, b *Error) int {
		if c := strings.Compare(a.File, b.File); c != 0 {
			return c
		}
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return es
}

// UnknownError says that a label is not a key of the taxonomy.
type UnknownError struct {
	Label   isogate.Label
	Nearest isogate.Label // the key that was most likely meant, or ""
}

func (e *UnknownError) Error() string {
	if e.Nearest == "" {
		return fmt.Sprintf("unknown label %q; use a key of the taxonomy, or add it in taxonomy.yaml", string(e.Label))
	}
	return fmt.Sprintf("unknown label %q; did you mean %s? Otherwise add it in taxonomy.yaml", string(e.Label), e.Nearest)
}

// ReplacedError says that a label is a deprecated key. The definition that
// [Taxonomy.Lookup] returns beside it is good: whoever wants old packs to go on
// working reports the error as a warning.
type ReplacedError struct {
	Label isogate.Label
	By    isogate.Label
}

func (e *ReplacedError) Error() string {
	return fmt.Sprintf("label %q is deprecated; use %s", string(e.Label), e.By)
}

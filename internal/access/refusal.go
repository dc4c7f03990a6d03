package access

import "fmt"

// Refusal is why somebody whom a provider knows may not sit here all the same, in
// words for them: what was missing, and who can change that. There is nothing in it
// that the provider sent, but for names that were checked.
type Refusal struct {
	// Code tells the reasons apart: no-role, no-name, name-taken, provider, stale.
	Code   string
	Detail string
}

func (r *Refusal) Error() string { return r.Detail }

func refused(code, format string, args ...any) error {
	return &Refusal{Code: code, Detail: fmt.Sprintf(format, args...)}
}

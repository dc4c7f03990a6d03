package access

import "fmt"

// Refusal is why somebody may not sit here all the same, in words for them: what was
// missing, and who can change that. There is nothing in it that somebody else sent,
// but for names that were checked.
type Refusal struct {
	// Code tells the reasons apart: no-role, no-name, name-taken, provider, stale,
	// no-walk, other-person, passkey.
	Code   string
	Detail string
	// Cause is for the log; it may be nil.
	Cause error
}

func (r *Refusal) Error() string { return r.Detail }

// Unwrap is the cause.
func (r *Refusal) Unwrap() error { return r.Cause }

func (r *Refusal) because(err error) *Refusal {
	return &Refusal{r.Code, r.Detail, err}
}

func refused(code, format string, args ...any) *Refusal {
	return &Refusal{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// refusedBy is a refusal because the provider cannot be asked now.
func refusedBy(err error) error {
	return refused("provider", "the provider cannot be asked now; whoever runs the gateway finds why in its log. Try again, or sign in by a passkey").because(err)
}

package vault

import "github.com/isogate/isogate/internal/seal"

// Refusal says why a key was not taken. Nothing of its request may reach the
// service.
type Refusal struct {
	// Code is one of package seal's Code constants, for Isogate-Landing.
	Code string
	// Key is which one.
	Key seal.ID
	// Detail says it to people: cause and next step.
	Detail string
}

func (r *Refusal) Error() string {
	return "seal key " + r.Key.String() + ": " + r.Code + ": " + r.Detail
}

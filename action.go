package isogate

import "fmt"

// Action is what happens to one value on its way out, from the strictest to the
// loosest. Comparing two actions with < compares how much they let out.
type Action uint8

const (
	// Refuse stops the whole request.
	Refuse Action = iota
	// Drop removes the field.
	Drop
	// Redact replaces the value by a constant of the same type.
	Redact
	// Hash replaces the value by a keyed one-way digest.
	Hash
	// Token replaces the value by a keyed replacement that can be turned back
	// inside the boundary only.
	Token
	// Mask leaves a few characters and hides the rest.
	Mask
	// Generalise leaves a coarser value: the month of a date, the network of an address.
	Generalise
	// Seal encrypts the value under a short-lived key of the landing side.
	Seal
	// Allow lets the value out as it is.
	Allow
)

var actionNames = [...]string{"refuse", "drop", "redact", "hash", "token", "mask", "generalise", "seal", "allow"}

func (a Action) String() string { return nameOf(actionNames[:], int(a)) }

// ParseAction reads the name of an action.
func ParseAction(s string) (Action, error) { return parseName[Action]("action", actionNames[:], s) }

// MarshalText implements [encoding.TextMarshaler].
func (a Action) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (a *Action) UnmarshalText(b []byte) (err error) { *a, err = ParseAction(string(b)); return err }

// Handling is what the far side must do with a value it received.
type Handling uint8

const (
	// TransitOnly data completes a request or session, is not stored, and is gone when that ends.
	TransitOnly Handling = iota
	// Temporary data is stored for a stated time and then deletes itself.
	Temporary
	// Persisted data is stored, for a stated reason, can be listed and erased.
	Persisted
)

var handlingNames = [...]string{"transit-only", "temporary", "persisted"}

func (h Handling) String() string { return nameOf(handlingNames[:], int(h)) }

// ParseHandling reads the name of a handling.
func ParseHandling(s string) (Handling, error) {
	return parseName[Handling]("handling", handlingNames[:], s)
}

// MarshalText implements [encoding.TextMarshaler].
func (h Handling) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (h *Handling) UnmarshalText(b []byte) (err error) {
	*h, err = ParseHandling(string(b))
	return err
}

// Purpose is why data leaves: one of the eleven shared-service purposes, or an
// app. The zero value is no purpose at all, for which nothing leaves.
type Purpose uint8

const (
	// NoPurpose is the zero value; no transit may have it.
	NoPurpose Purpose = iota
	// Support is customer-initiated support.
	Support
	// Identity is identity, account and organisation management.
	Identity
	// Billing is billing and the business relationship.
	Billing
	// Observability is operational telemetry.
	Observability
	// Provisioning is orchestration and provisioning of tenants.
	Provisioning
	// Encryption is encryption and key management.
	Encryption
	// Ecosystem is deploying and managing installed apps.
	Ecosystem
	// Analytics is aggregated usage and experimentation.
	Analytics
	// AntiAbuse is signals of fraud and abuse.
	AntiAbuse
	// Infrastructure is operating the infrastructure beyond provisioning.
	Infrastructure
	// Corporate is the vendor's internal business systems.
	Corporate
	// App is a third-party app's own purpose.
	App
)

var purposeNames = [...]string{"none", "support", "identity", "billing", "observability", "provisioning", "encryption",
	"ecosystem", "analytics", "anti-abuse", "infrastructure", "corporate", "app"}

func (p Purpose) String() string { return nameOf(purposeNames[:], int(p)) }

// ParsePurpose reads the name of a purpose; "none" is not one.
func ParsePurpose(s string) (Purpose, error) {
	p, err := parseName[Purpose]("purpose", purposeNames[1:], s)
	if err != nil {
		return NoPurpose, err
	}
	return p + 1, nil
}

// MarshalText implements [encoding.TextMarshaler].
func (p Purpose) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (p *Purpose) UnmarshalText(b []byte) (err error) { *p, err = ParsePurpose(string(b)); return err }

// Decision is the answer for one request.
type Decision uint8

const (
	// Refused: nothing of the request reached the outside.
	Refused Decision = iota
	// Released: the request left as its fields say.
	Released
)

var decisionNames = [...]string{"refused", "released"}

func (d Decision) String() string { return nameOf(decisionNames[:], int(d)) }

// ParseDecision reads the name of a decision.
func ParseDecision(s string) (Decision, error) {
	return parseName[Decision]("decision", decisionNames[:], s)
}

// MarshalText implements [encoding.TextMarshaler].
func (d Decision) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (d *Decision) UnmarshalText(b []byte) (err error) {
	*d, err = ParseDecision(string(b))
	return err
}

func nameOf(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return fmt.Sprintf("invalid(%d)", i)
}

func parseName[T ~uint8](what string, names []string, s string) (T, error) {
	for i, n := range names {
		if n == s {
			return T(i), nil
		}
	}
	return 0, fmt.Errorf("unknown %s %q; use one of %v", what, s, names)
}

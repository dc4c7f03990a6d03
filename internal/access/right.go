// Package access says who may sit at the Hub, and what they may do there: people and
// their roles, how they prove who they are, and for how long that holds.
//
// All of it but the configuration is the fold of the journal's admin entries: an act
// is recorded, and every gateway of the tenant that follows the journal knows it.
// Secrets are there as SHA-256 only.
//
// promise: P15
package access

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Role is what a person is to a tenant. The zero value is nobody's role and
// gives no right.
type Role string

// The roles.
const (
	Viewer               Role = "viewer"                // reads
	Auditor              Role = "auditor"               // reads and exports, without any value of the tenant's
	ConsentAdministrator Role = "consent-administrator" // decides on consents, and what the outside erases
	PolicyAuthor         Role = "policy-author"         // proposes changes of policy
	PolicyApprover       Role = "policy-approver"       // approves those of others
	Operator             Role = "operator"              // keeps the gateway running
	Owner                Role = "owner"                 // says who has which role
)

// Roles are all of them, the least first.
var Roles = []Role{Viewer, Auditor, Operator, PolicyAuthor, PolicyApprover, ConsentAdministrator, Owner}

// ParseRole reads the name of a role.
func ParseRole(s string) (Role, error) {
	if r := Role(s); slices.Contains(Roles, r) {
		return r, nil
	}
	return "", fmt.Errorf("unknown role %.40q; use some of %v", s, Roles)
}

// Right is what a page or an operation needs of whoever asks. Nobody has the
// zero value: what does not say what it needs is for nobody.
type Right uint8

// The rights.
const (
	_       Right = iota
	Read          // what left and why, who consented, what policy says; never a value
	Values        // the tenant's own values: the register of subjects, bodies for the playground
	Export        // downloads of entries and of evidence
	Decide        // consents, manifests, erasures
	Propose       // changes of policy
	Approve       // changes of policy that somebody else proposed
	Operate       // what keeps the gateway running
	Own           // people, their roles, sessions and tokens
)

var rightNames = [...]string{Read: "read", Values: "values", Export: "export", Decide: "decide", Propose: "propose", Approve: "approve", Operate: "operate", Own: "own"}

// String names the right; what is none is "none".
func (r Right) String() string {
	if r == 0 || int(r) >= len(rightNames) {
		return "none"
	}
	return rightNames[r]
}

// Rights are all of them.
var Rights = []Right{Read, Values, Export, Decide, Propose, Approve, Operate, Own}

// ParseRight reads the name of a right.
func ParseRight(s string) (Right, error) {
	for _, r := range Rights {
		if r.String() == s {
			return r, nil
		}
	}
	return 0, fmt.Errorf("unknown right %.40q; use some of %v", s, Rights)
}

// rights is the whole table of who may do what. That an owner does not approve
// policy, and that nobody approves what they proposed, keeps two people at every change of it.
var rights = map[Role][]Right{
	Viewer:               {Read},
	Auditor:              {Read, Export},
	ConsentAdministrator: {Read, Values, Decide},
	PolicyAuthor:         {Read, Values, Propose},
	PolicyApprover:       {Read, Values, Approve},
	Operator:             {Read, Operate},
	Owner:                {Read, Values, Export, Decide, Operate, Own},
}

// May reports whether a role gives a right.
func (r Role) May(right Right) bool { return right != 0 && slices.Contains(rights[r], right) }

// Visitor is who sits at the Hub, or calls its API, now. Its zero value may nothing.
type Visitor struct {
	Name     string    // of the person, as entries have it
	SignedIn string    // how, as entries have it: "passkey", "OpenID Connect", "bearer token"
	Roles    []Role    // at this moment
	Session  string    // names the session, and is no secret; "" for a token
	Proved   time.Time // when they last proved who they are; zero for a token
	// Only are the rights of the API token that they came with, nil with anything else:
	// what a token leaves out, its person's roles do not give back.
	Only []Right
}

// May reports whether one of the visitor's roles gives a right.
func (v Visitor) May(right Right) bool {
	if v.Only != nil && !slices.Contains(v.Only, right) {
		return false
	}
	return slices.ContainsFunc(v.Roles, func(r Role) bool { return r.May(right) })
}

// CameByLink reports whether it is a one-time link that the visitor came by.
func (v Visitor) CameByLink() bool { return strings.HasPrefix(v.SignedIn, ByLink) }

// Fresh reports whether the visitor has proved who they are within a span. Who comes
// with a token never has.
//
// A proof of the future is none: a clock was put back, and would let it hold for longer.
// Another gateway's clock may be a little ahead.
func (v Visitor) Fresh(now time.Time, within time.Duration) bool {
	age := now.Sub(v.Proved)
	return !v.Proved.IsZero() && age < within && age >= -skew
}

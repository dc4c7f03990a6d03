// Package consent is the ledger: who asked for a way out, who allowed it, what
// is left of that now.
//
// Nothing here is stored. Each act is an entry of the journal ([Act]), and the
// ledger is their fold ([State]): the same acts in the same order give the same
// state on every gateway. An act that does not fit the state it meets, such as a
// grant of a request that was denied meanwhile, has no effect; it stays in the
// journal all the same. Acts that shut always take effect, acts that open only
// under every condition: there is no order of acts that ends in a way out that
// nobody granted.
//
// [Ledger] follows the journal and keeps the state of now. It knows how long ago
// it last heard from the journal, and answers no after a lease: a gateway that
// cannot hear of a revocation must not let anything out.
//
// promise: P11
// promise: P12
// promise: P15
package consent

import (
	"fmt"
	"strings"

	"github.com/isogate/isogate"
)

// Party is on whose behalf data leaves: an app, or a transit of ours that waits
// for an administrator. The zero value is nobody, for whom nothing is granted.
type Party string

const transitPrefix = "transit/"

// Everybody is the party of an act that concerns all of them; only a revocation may have it.
const Everybody Party = "*"

// App is the party of an app, which is its source.
func App(s isogate.Source) Party { return Party(s) }

// OfTransit is the party of a transit.
func OfTransit(t isogate.Transit) Party { return Party(transitPrefix + string(t)) }

// Transit returns the transit that the party is, if it is one.
func (p Party) Transit() (isogate.Transit, bool) {
	t, ok := strings.CutPrefix(string(p), transitPrefix)
	return isogate.Transit(t), ok
}

// Source returns the app that the party is, if it is one.
func (p Party) Source() (isogate.Source, bool) {
	if !strings.HasPrefix(string(p), "app/") {
		return "", false
	}
	return isogate.Source(p), true
}

// ParseParty reads a party: app/NAME or transit/NAME. Each part of a name that has
// slashes is a name by itself, so that none of them leads anywhere in a path.
func ParseParty(s string) (Party, error) {
	p := Party(s)
	_, app := p.Source()
	_, transit := p.Transit()
	bad := !app && !transit || isogate.CheckName(s, true) != nil
	for part := range strings.SplitSeq(s, "/") {
		bad = bad || isogate.CheckName(part, false) != nil
	}
	if bad {
		return "", fmt.Errorf("%.80q is neither an app nor a transit; write app/NAME or transit/NAME", s)
	}
	return p, nil
}

// Actor is a person, or a part of the system, that acts.
type Actor struct {
	Name     string `json:"name"`                // such as ada, or isogate serve
	SignedIn string `json:"signed_in,omitempty"` // how: "bearer token"; for a part of the system, ""
}

// Package change knows which packs of policy were proposed, by whom, and who approved
// them. It is the fold of the journal's pack entries, as the ledger of consents is of
// theirs: an act is an entry, every gateway follows, the order of the journal decides.
//
// It stands apart from the policy it is about: [github.com/isogate/isogate/internal/policy]
// says what a pack means and knows neither people nor a journal, and the archive keeps
// packs and judges nothing. What counts here is the digest of a pack alone, so that what was
// approved is exactly what is loaded.
//
// promise: P09
package change

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/isogate/isogate"
)

// What is what an act does. The zero value does nothing.
type What uint8

// The acts.
const (
	NoAct     What = iota
	Proposed       // somebody wants the pack in force
	Approved       // somebody else agrees
	Rejected       // somebody does not
	Withdrawn      // who proposed it does not want it any more
	Loaded         // a gateway judges by it
)

// The names that entries have for acts. Other acts of pack entries are no acts of a change.
var whatNames = [...]string{"none", "pack proposed", "pack approved", "pack rejected", "pack withdrawn", "pack loaded"}

func (w What) String() string {
	if int(w) < len(whatNames) {
		return whatNames[w]
	}
	return fmt.Sprintf("invalid(%d)", uint8(w))
}

// Actor is who acts, and how they signed in. SignedIn is "" for a part of the system.
type Actor struct{ Name, SignedIn string }

// is reports whether two names are of one person. Names differ by more than the case of
// letters where they are given out; here nobody becomes two by it.
func (a Actor) is(b Actor) bool { return strings.EqualFold(a.Name, b.Name) }

// Act is one act, as its entry has it.
type Act struct {
	// Set by the journal.
	ID  isogate.EntryID
	Seq uint64
	At  time.Time

	What    What
	Actor   Actor
	Pack    string // digest
	Name    string // of the pack, and its version
	Version int
	// Against is the digest of the pack in force that it was compared with, and Effect
	// what that said, for whoever reads the journal.
	Against string
	Effect  string
	Reason  string
	Gateway string // of a load: which one
}

// The members of an entry's detail.
const (
	inSignedIn = "signed_in"
	inName     = "name"
	inVersion  = "version"
	inAgainst  = "against"
	inEffect   = "effect"
	inGateway  = "gateway"
)

// Entry writes the act for the journal.
func (a *Act) Entry() *isogate.Entry {
	d := map[string]string{}
	for name, value := range map[string]string{inSignedIn: a.Actor.SignedIn, inName: a.Name, inAgainst: a.Against, inEffect: a.Effect, inGateway: a.Gateway} {
		if value != "" {
			d[name] = value
		}
	}
	if a.Version != 0 {
		d[inVersion] = strconv.Itoa(a.Version)
	}
	return &isogate.Entry{Kind: isogate.KindPack, Act: a.What.String(), Actor: a.Actor.Name, Pack: a.Pack, Reason: a.Reason, Detail: d}
}

// ReadAct reads an act from its entry; ok is false for a pack entry that is none, such
// as that a pack was refused.
func ReadAct(e *isogate.Entry) (a Act, ok bool) {
	i := slices.Index(whatNames[:], e.Act)
	if e.Kind != isogate.KindPack || i <= int(NoAct) {
		return Act{}, false
	}
	a = Act{ID: e.ID, Seq: e.Seq, At: e.Time, What: What(i), Actor: Actor{e.Actor, e.Detail[inSignedIn]}, Pack: e.Pack, Name: e.Detail[inName], //nolint:gosec // there are few
		Against: e.Detail[inAgainst], Effect: e.Detail[inEffect], Reason: e.Reason, Gateway: e.Detail[inGateway]}
	a.Version, _ = strconv.Atoi(e.Detail[inVersion]) // for people; 0 if it says none
	return a, true
}

// ErrNoEffect says that an act was recorded, but changed nothing, and why.
var ErrNoEffect = errors.New("the act has no effect")

func noEffect(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrNoEffect, fmt.Errorf(format, args...))
}

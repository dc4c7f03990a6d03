package access

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/isogate/isogate"
)

// What is what an act does. The zero value does nothing.
type What uint8

// The acts.
const (
	NoAct          What = iota
	SignedIn            // a session begins
	Proved              // and begins anew, because its person proved again who they are
	SignedOut           // it ends by its person's wish
	SessionRevoked      // it ends, or all of a person do, by somebody's decision
	Refused             // sign-ins were refused: how many in which span; it changes nothing
	LinkMade            // a one-time link lets somebody in
	LinkRevoked         // it does not any more
	PasskeyAdded        // a passkey is somebody's
	PasskeyRemoved      // it is not any more
	TokenMade           // an API token acts as somebody
	TokenRevoked        // it does not any more
	RoleGiven           // a person has a role
	RoleTaken           // a person has it no more, whoever else says that they have
	RolesLost           // the provider does not say any more that a person has any
	PersonRemoved       // a person has no way in any more
)

var whatNames = [...]string{"none", "signed in", "proved again", "signed out", "session revoked", "sign-ins refused", "link made", "link revoked",
	"passkey added", "passkey removed", "token made", "token revoked", "role given", "role taken", "roles lost", "person removed"}

func (w What) String() string {
	if int(w) < len(whatNames) {
		return whatNames[w]
	}
	return fmt.Sprintf("invalid(%d)", uint8(w))
}

func parseWhat(s string) (What, bool) {
	for i, n := range whatNames[1:] {
		if n == s {
			return What(i + 1), true
		}
	}
	return NoAct, false
}

// Actor is who acts, and how they signed in. SignedIn is "" for a part of the system.
type Actor struct{ Name, SignedIn string }

// Act is one act, as its entry has it. What an act does not need is empty.
type Act struct {
	// Set by the journal.
	ID  isogate.EntryID
	Seq uint64
	At  time.Time

	What   What
	Actor  Actor
	Person string // whom it is about
	Reason string

	Session Digest
	Instead Digest    // the session that ends because this one begins
	Until   time.Time // when the session, link or token is over
	Proof   time.Time // of a sign-in: when its person proved who they are; zero if that is not known

	Identity Identity // of a sign-in by a provider
	Claimed  []Role   // and what the provider says that they are
	Tied     bool     // the configuration says that the account is that person's

	Link    Digest // of a sign-in: the link that was used
	Roles   []Role // given or taken
	Token   Digest
	Name    string // of the token or passkey, as its person calls it
	Rights  []Right
	Passkey Passkey // added; of a sign-in or a removal, its ID, and of a sign-in its Count
	Wrong   uint64  // refused sign-ins
}

// Identity is who somebody is to an OpenID provider: the one thing about them that
// it promises never to give to anybody else (OpenID Connect Core 1.0 section 2).
type Identity struct{ Issuer, Subject string }

// The members of an entry's detail.
const (
	inSignedIn = "signed_in"
	inPerson   = "person"
	inSession  = "session"
	inInstead  = "instead_of"
	inUntil    = "until"
	inProof    = "proved"
	inIssuer   = "issuer"
	inSubject  = "subject"
	inClaimed  = "claimed_roles"
	inTied     = "account"
	inLink     = "link"
	inRoles    = "roles"
	inToken    = "token"
	inName     = "name"
	inRights   = "rights"
	inPasskey  = "passkey"
	inKey      = "public_key"
	inHandle   = "user_handle"
	inCount    = "sign_count"
	inAAGUID   = "aaguid"
	inBackup   = "backup_eligible"
	inWrong    = "count"
)

// Entry writes the act for the journal. There is no secret in it.
//
// promise: P15
func (a *Act) Entry() *isogate.Entry {
	d := map[string]string{}
	set := func(name, value string) {
		if value != "" {
			d[name] = value
		}
	}
	instant := func(name string, t time.Time) {
		if !t.IsZero() {
			d[name] = t.UTC().Format(time.RFC3339Nano)
		}
	}
	set(inSignedIn, a.Actor.SignedIn)
	set(inPerson, a.Person)
	set(inSession, string(a.Session))
	set(inInstead, string(a.Instead))
	instant(inUntil, a.Until)
	instant(inProof, a.Proof)
	set(inIssuer, a.Identity.Issuer)
	set(inSubject, a.Identity.Subject)
	set(inClaimed, join(a.Claimed))
	if a.Tied {
		d[inTied] = "configured"
	}
	set(inLink, string(a.Link))
	set(inRoles, join(a.Roles))
	set(inToken, string(a.Token))
	set(inName, a.Name)
	if a.Rights != nil {
		words := make([]string, len(a.Rights))
		for i, r := range a.Rights {
			words[i] = r.String()
		}
		set(inRights, strings.Join(words, ","))
	}
	set(inPasskey, base64.RawURLEncoding.EncodeToString([]byte(a.Passkey.ID)))
	set(inKey, base64.RawURLEncoding.EncodeToString(a.Passkey.Key))
	set(inHandle, base64.RawURLEncoding.EncodeToString(a.Passkey.Handle))
	set(inAAGUID, base64.RawURLEncoding.EncodeToString(a.Passkey.AAGUID))
	if a.Passkey.ID != "" && a.What != PasskeyRemoved {
		d[inCount] = strconv.FormatUint(uint64(a.Passkey.Count), 10)
	}
	if a.Passkey.BackupEligible {
		d[inBackup] = "true"
	}
	if a.What == Refused {
		d[inWrong] = strconv.FormatUint(a.Wrong, 10)
	}
	return &isogate.Entry{Kind: isogate.KindAdmin, Act: a.What.String(), Actor: a.Actor.Name, Reason: a.Reason, Detail: d}
}

// errOther says that an entry is of somebody else: the kind admin is not this room's alone.
var errOther = errors.New("the entry is not about who may sit at the Hub")

// readAct reads an act from its entry.
func readAct(e *isogate.Entry) (Act, error) {
	what, known := parseWhat(e.Act)
	if e.Kind != isogate.KindAdmin || !known {
		return Act{}, errOther
	}
	d := e.Detail
	a := Act{ID: e.ID, Seq: e.Seq, At: e.Time, What: what, Actor: Actor{e.Actor, d[inSignedIn]}, Person: d[inPerson], Reason: e.Reason,
		Session: Digest(d[inSession]), Instead: Digest(d[inInstead]), Identity: Identity{d[inIssuer], d[inSubject]}, Link: Digest(d[inLink]),
		Token: Digest(d[inToken]), Name: d[inName], Tied: d[inTied] != ""}
	a.Passkey.BackupEligible = d[inBackup] == "true"
	var errs []error
	instant := func(name string, into *time.Time) {
		if s, there := d[name]; there {
			var err error
			*into, err = time.Parse(time.RFC3339Nano, s)
			errs = append(errs, err)
		}
	}
	binary := func(name string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(d[name])
		errs = append(errs, err)
		return b
	}
	instant(inUntil, &a.Until)
	instant(inProof, &a.Proof)
	a.Passkey.ID, a.Passkey.Key, a.Passkey.Handle, a.Passkey.AAGUID = string(binary(inPasskey)), binary(inKey), binary(inHandle), binary(inAAGUID)
	var err error
	if a.Claimed, err = split(d[inClaimed], ParseRole); err != nil {
		errs = append(errs, err)
	}
	if a.Roles, err = split(d[inRoles], ParseRole); err != nil {
		errs = append(errs, err)
	}
	if a.Rights, err = split(d[inRights], ParseRight); err != nil {
		errs = append(errs, err)
	}
	if s, there := d[inCount]; there {
		n, err := strconv.ParseUint(s, 10, 32)
		a.Passkey.Count = uint32(n)
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return Act{}, fmt.Errorf("entry %s: %w", e.ID, err)
	}
	return a, nil
}

func join(roles []Role) string {
	words := make([]string, len(roles))
	for i, r := range roles {
		words[i] = string(r)
	}
	return strings.Join(words, ",")
}

func split[T any](s string, parse func(string) (T, error)) (out []T, err error) {
	if s == "" {
		return nil, nil
	}
	for word := range strings.SplitSeq(s, ",") {
		v, err := parse(word)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// ErrNoEffect says that an act was recorded, but changed nothing, and why.
var ErrNoEffect = errors.New("the act has no effect")

func noEffect(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrNoEffect, fmt.Errorf(format, args...))
}

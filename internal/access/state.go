package access

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/isogate/isogate"
)

// Person is what the journal says of one person. What the configuration says of them
// is not here.
type Person struct {
	Name string
	// Given are the roles that an owner gave them, Withheld those that one took from
	// them, which they then have by nobody's word.
	Given, Withheld []Role
	// Claimed is what the provider last said that they are, and ClaimedAt when.
	Claimed   []Role
	ClaimedAt time.Time
	// Identity is who they are to the provider; zero if they never signed in by it.
	Identity Identity
	Removed  bool      // by an owner; they have no way in
	Entered  bool      // they have signed in at some time
	Last     time.Time // when they last signed in
}

// Session is one browser that somebody sits at.
type Session struct {
	ID     Digest
	Person string
	How    string // they signed in
	Began  time.Time
	Until  time.Time // it is over then, used or not
	Proof  time.Time // when its person proved who they are; zero if that is not known
	Entry  isogate.EntryID
}

// Token is an API token. It acts as its person, with no more than its rights.
type Token struct {
	ID     Digest
	Person string
	Name   string
	Rights []Right
	Made   time.Time
	Until  time.Time
	Entry  isogate.EntryID
}

// Link lets one person in, once.
type Link struct {
	ID Digest
	// Person is who it is for. One of an empty installation is for nobody yet: whoever
	// has it says their name.
	Person string
	Roles  []Role // that they have from then on
	By     string
	Made   time.Time
	Until  time.Time
}

// Passkey is a key of a person that never leaves their device (W3C Web Authentication).
type Passkey struct {
	ID             string // of the credential, raw bytes
	Person         string
	Name           string // as its person calls it
	Key            []byte // public, in COSE form
	Handle         []byte // of its person, random
	AAGUID         []byte // model of the device, if it says so
	Count          uint32 // of signatures, if the device counts
	BackupEligible bool
	Added          time.Time
}

// State is who may sit at the Hub, by the journal. It is immutable; the zero value
// is an installation where nobody has ever been.
type State struct {
	// Revision is the seq behind the last entry that is in it.
	Revision uint64

	people     map[string]*Person
	sessions   map[Digest]*Session
	tokens     map[Digest]*Token
	links      map[Digest]*Link
	passkeys   map[string]*Passkey
	identities map[Identity]string
}

// Bounds of what one person has.
const (
	maxSessions = 50
	maxTokens   = 50
	maxPasskeys = 20
	maxLinks    = 1000 // of everybody
)

// Person is what is known of a name.
func (s *State) Person(name string) (Person, bool) {
	if p := s.people[name]; p != nil {
		return *p, true
	}
	return Person{Name: name}, false
}

// People are all that were ever heard of, by name.
func (s *State) People() []Person {
	return sorted(s.people, func(*Person) bool { return true }, func(a, b Person) int { return cmp.Compare(a.Name, b.Name) })
}

// Sessions are those that are not over at an instant, the newest first: of a person,
// or of everybody if person is "".
func (s *State) Sessions(person string, at time.Time) []Session {
	return sorted(s.sessions, func(x *Session) bool { return (person == "" || x.Person == person) && at.Before(x.Until) },
		func(a, b Session) int { return cmp.Or(b.Began.Compare(a.Began), cmp.Compare(a.ID, b.ID)) })
}

// Tokens are as Sessions.
func (s *State) Tokens(person string, at time.Time) []Token {
	return sorted(s.tokens, func(x *Token) bool { return (person == "" || x.Person == person) && at.Before(x.Until) },
		func(a, b Token) int { return cmp.Or(b.Made.Compare(a.Made), cmp.Compare(a.ID, b.ID)) })
}

// Links are the ones that still let somebody in.
func (s *State) Links(at time.Time) []Link {
	return sorted(s.links, func(x *Link) bool { return at.Before(x.Until) },
		func(a, b Link) int { return cmp.Or(b.Made.Compare(a.Made), cmp.Compare(a.ID, b.ID)) })
}

// Passkeys are those of a person, or everybody's if person is "", the oldest first.
func (s *State) Passkeys(person string) []Passkey {
	return sorted(s.passkeys, func(x *Passkey) bool { return person == "" || x.Person == person },
		func(a, b Passkey) int { return cmp.Or(a.Added.Compare(b.Added), cmp.Compare(a.ID, b.ID)) })
}

func sorted[K comparable, T any](m map[K]*T, keep func(*T) bool, order func(a, b T) int) []T {
	out := []T{}
	for _, v := range m {
		if keep(v) {
			out = append(out, *v)
		}
	}
	slices.SortFunc(out, order)
	return out
}

// Fold is the state after acts, in their order, and for each why it had no effect.
func (s *State) Fold(acts ...Act) (*State, []error) {
	n := &State{s.Revision, clone(s.people), clone(s.sessions), clone(s.tokens), clone(s.links), clone(s.passkeys), clone(s.identities)}
	why := make([]error, len(acts))
	for i := range acts {
		why[i] = n.apply(&acts[i])
		n.Revision = acts[i].Seq + 1
	}
	return n, why
}

func clone[M ~map[K]V, K comparable, V any](m M) M {
	if m == nil {
		return M{}
	}
	return maps.Clone(m)
}

// of is a copy of a person to change, a new one if nothing was heard of them.
func (s *State) of(name string) *Person {
	p, _ := s.Person(name)
	s.people[name] = &p
	return &p
}

func (s *State) apply(a *Act) error {
	switch a.What {
	case SignedIn, Proved:
		return s.signIn(a)
	case SignedOut, SessionRevoked:
		return s.endSession(a)
	case LinkMade:
		return s.makeLink(a)
	case LinkRevoked:
		if s.links[a.Link] == nil {
			return noEffect("there is no such link; it was used, or is over")
		}
		delete(s.links, a.Link)
	case PasskeyAdded:
		return s.addPasskey(a)
	case PasskeyRemoved:
		if k := s.passkeys[a.Passkey.ID]; k == nil || k.Person != a.Person {
			return noEffect("%s has no such passkey", a.Person)
		}
		delete(s.passkeys, a.Passkey.ID)
	case TokenMade:
		return s.makeToken(a)
	case TokenRevoked:
		if s.tokens[a.Token] == nil {
			return noEffect("there is no such token; it was revoked, or is over")
		}
		delete(s.tokens, a.Token)
	case RoleGiven, RoleTaken:
		return s.changeRoles(a)
	case RolesLost:
		p := s.of(a.Person)
		p.Claimed, p.ClaimedAt = nil, a.At
	case PersonRemoved:
		return s.remove(a)
	}
	return nil
}

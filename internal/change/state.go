package change

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

// State is what was done about packs up to a revision of the journal. It is immutable.
// Its zero value is that of an empty journal.
type State struct {
	// Revision is the seq of the first entry that is not in it.
	Revision uint64
	changes  map[string]*Change // by digest
}

// Change is all that was done about one pack.
type Change struct {
	Pack    string // digest
	Name    string
	Version int
	// Proposals are all there were, also before a rejection. Whoever made one of them is
	// an author of the pack for good.
	Proposals []Act
	// Approvals are those of this round: since the newest proposal of a round that was not
	// rejected or withdrawn. Not all of them need count, see [Change.Counting].
	Approvals []Act
	// Ended is the rejection or withdrawal that ended the round; nil while none did.
	Ended *Act
	// Loads is how often a gateway began to judge by it; First and Last are the first time
	// and the last.
	Loads       int
	First, Last *Act
	loaded      bool // in this round
}

// Status is where a pack stands, in a word of a [Change].
type Status string

// The statuses. Whether a pack is in force is the gateway's to say.
const (
	Loads     Status = "loaded"   // without ever having been proposed
	Waits     Status = "proposed" // for approvals
	Agreed    Status = "approved" // by as many as are needed
	Refused   Status = "rejected"
	TakenBack Status = "withdrawn"
)

// Status says where the pack stands when it takes need people to approve one.
func (c *Change) Status(need int) Status {
	switch {
	case len(c.Proposals) == 0:
		return Loads
	case c.Ended != nil && c.Ended.What == Withdrawn:
		return TakenBack
	case c.Ended != nil:
		return Refused
	case len(c.Counting()) >= max(1, need):
		return Agreed
	}
	return Waits
}

// author reports whether somebody has ever proposed the pack.
func (c *Change) author(a Actor) bool {
	return slices.ContainsFunc(c.Proposals, func(p Act) bool { return p.Actor.is(a) })
}

// Author reports whether somebody of a name has ever proposed the pack.
func (c *Change) Author(name string) bool { return c.author(Actor{Name: name}) }

// Counting are the approvals of people who never proposed the pack, neither before
// they approved nor after, each once. A round that has ended has none.
//
// promise: P09
func (c *Change) Counting() (out []Act) {
	if c.Ended != nil {
		return nil
	}
	for _, a := range c.Approvals {
		if !c.author(a.Actor) && !slices.ContainsFunc(out, func(o Act) bool { return o.Actor.is(a.Actor) }) {
			out = append(out, a)
		}
	}
	return out
}

// Change is what was done about a pack; one that nobody knows is not found.
func (s *State) Change(digest string) (*Change, bool) {
	c, ok := s.changes[digest]
	return c, ok
}

// Changes are all of them, those with the newest act first.
func (s *State) Changes() []*Change {
	return slices.SortedFunc(maps.Values(s.changes), func(a, b *Change) int {
		return cmp.Or(cmp.Compare(b.newest(), a.newest()), cmp.Compare(a.Pack, b.Pack))
	})
}

// newest is the seq of the newest act.
func (c *Change) newest() (seq uint64) {
	for _, a := range c.Acts() {
		seq = max(seq, a.Seq)
	}
	return seq
}

// Acts are what was done about the pack, oldest first: proposals, the approvals of this
// round, what ended it, and its first and last load.
func (c *Change) Acts() []Act {
	all := slices.Concat(c.Proposals, c.Approvals)
	for _, a := range []*Act{c.Ended, c.First, c.Last} {
		if a != nil && !slices.ContainsFunc(all, func(o Act) bool { return o.Seq == a.Seq }) {
			all = append(all, *a)
		}
	}
	slices.SortFunc(all, func(a, b Act) int { return cmp.Compare(a.Seq, b.Seq) })
	return all
}

// UnapprovedError says why a gateway must not judge by a pack.
type UnapprovedError struct {
	Pack string // digest
	Why  string
	Next string
}

func (e *UnapprovedError) Error() string {
	return fmt.Sprintf("the pack %s is not approved: %s; %s", e.Pack, e.Why, e.Next)
}

// Approved says why a gateway must not judge by a pack where it takes need people
// other than its authors to approve one, or nil: then it may. It is always nil where
// nobody is needed. What is not nil is an [*UnapprovedError].
//
// promise: P09
func (s *State) Approved(digest string, need int) error {
	if need <= 0 {
		return nil
	}
	no := &UnapprovedError{Pack: digest}
	c, ok := s.changes[digest]
	switch {
	case !ok || len(c.Proposals) == 0:
		no.Why = "nobody has proposed it, and packs.approvals needs " + people(need)
		no.Next = "propose exactly these files at the Hub, under Policies, and let others approve them there; until then keep the pack that was in force"
		return no
	case c.Ended != nil:
		no.Why = fmt.Sprintf("it was %s by %s in the entry %s", map[bool]string{true: "withdrawn", false: "rejected"}[c.Ended.What == Withdrawn], c.Ended.Actor.Name, c.Ended.ID)
		no.Next = "deploy another pack, or propose this one again at the Hub"
		return no
	}
	if has := len(c.Counting()); has < need {
		no.Why = fmt.Sprintf("of %s who did not propose it, %d approved it", people(need), has)
		no.Next = "let others approve it at the Hub, under Policies"
		return no
	}
	return nil
}

func people(n int) string {
	if n == 1 {
		return "1 person"
	}
	return fmt.Sprintf("%d people", n)
}

// Since is when the pack was first judged by; zero if never.
func (c *Change) Since() time.Time {
	if c.First == nil {
		return time.Time{}
	}
	return c.First.At
}

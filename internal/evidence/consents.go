package evidence

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
)

// Consent is one request and what became of it: each act on it, by whom, and what they
// had looked at.
type Consent struct {
	ID     isogate.EntryID `json:"id"` // of the request
	Party  string          `json:"party"`
	Name   string          `json:"name,omitempty"` // of the app, as its manifest says
	Status string          `json:"status"`         // at the end of the period
	Acts   []ConsentAct    `json:"acts"`
	// Released is how many requests left by it in the period.
	Released uint64 `json:"released"`
}

// ConsentAct is one act.
type ConsentAct struct {
	ID       isogate.EntryID `json:"id"`
	At       time.Time       `json:"at"`
	Act      string          `json:"act"`
	Party    string          `json:"party"`
	By       string          `json:"by"`
	SignedIn string          `json:"signed_in,omitempty"`
	Reason   string          `json:"reason,omitempty"`
	Prompt   string          `json:"prompt,omitempty"` // digest of what they were shown
	Rows     []string        `json:"rows,omitempty"`
	Labels   []string        `json:"labels,omitempty"`
	Until    time.Time       `json:"until,omitzero"`
	Before   bool            `json:"before,omitempty"` // the period
	// Void is why the act had no effect; "" of one that had.
	Void string `json:"void,omitempty"`
}

// maxConsentActs is how many acts are listed at the most; all of them count.
const maxConsentActs = 20_000

// foldEvery is how many acts are folded at a time: a state is made for each fold.
const foldEvery = 256

// consents makes the story of every consent from the acts of the ledger.
type consents struct {
	state   *consent.State
	pending []consent.Act
	before  []bool // of pending

	list    map[isogate.EntryID]*Consent
	root    map[isogate.EntryID]isogate.EntryID // from a request, or its grant, to the request
	grants  map[isogate.EntryID]isogate.EntryID // from a request to its grant
	names   map[consent.Party]string            // of apps, as their manifests say
	parties []ConsentAct
	actions map[string]uint64
	acts    int
	more    uint64
}

func newConsents() consents {
	return consents{state: &consent.State{}, list: map[isogate.EntryID]*Consent{}, root: map[isogate.EntryID]isogate.EntryID{},
		grants: map[isogate.EntryID]isogate.EntryID{}, names: map[consent.Party]string{}, actions: map[string]uint64{}}
}

// add takes in a consent entry. One that cannot be read has no effect, as for a gateway.
func (c *consents) add(e *isogate.Entry, before bool) {
	a, err := consent.ReadAct(e)
	switch {
	case err != nil:
		c.fold()
		if c.acts++; c.acts <= maxConsentActs {
			c.parties = append(c.parties, ConsentAct{ID: e.ID, At: e.Time, Act: e.Act, By: e.Actor, Before: before, Void: "it cannot be read: " + err.Error()})
		} else {
			c.more++
		}
	case a.What == consent.Used || a.What == consent.Given && before:
	case a.What == consent.Given:
		c.actions[string(a.Transit)]++
	case a.What == consent.Revoked || a.What == consent.Blocked || a.What == consent.Declared:
		c.shut(a, before)
	default:
		c.pending, c.before = append(c.pending, a), append(c.before, before)
		if a.What == consent.Granted || len(c.pending) == foldEvery { // the next release may be by it
			c.fold()
		}
	}
}

// shut takes in an act that may end or narrow several consents at once: it is told
// with each that it changed.
func (c *consents) shut(a consent.Act, before bool) {
	c.fold()
	var of []*Consent
	for _, x := range c.list {
		if a.Party == consent.Everybody || x.Party == string(a.Party) {
			of = append(of, x)
		}
	}
	was := make([]string, len(of))
	for i, x := range of {
		was[i] = c.standing(x)
	}
	c.pending, c.before = append(c.pending, a), append(c.before, before)
	c.fold()
	if c.root[a.Of] != "" || len(c.parties) == 0 || c.parties[len(c.parties)-1].ID != a.ID {
		return // it is about one, and told there, or told nowhere
	}
	for i, x := range of {
		if c.standing(x) != was[i] {
			x.Acts = append(x.Acts, c.parties[len(c.parties)-1])
		}
	}
}

// standing is all that an act can change of a consent.
func (c *consents) standing(x *Consent) string {
	if g, ok := c.state.Grant(c.grants[x.ID]); ok {
		return fmt.Sprint(g.Status, g.Rows)
	}
	if r, ok := c.state.Request(x.ID); ok {
		return r.Status.String()
	}
	return ""
}

// used counts a release by a consent, and reports whether it is one that is told.
func (c *consents) used(id isogate.EntryID) bool {
	x := c.list[c.root[id]]
	if x != nil {
		x.Released++
	}
	return x != nil
}

func (c *consents) fold() {
	next, void := c.state.Fold(c.pending...)
	c.state = next
	for i := range c.pending {
		c.tell(&c.pending[i], c.before[i], void[i])
	}
	c.pending, c.before = c.pending[:0], c.before[:0]
}

// tell puts an act where the report tells it.
func (c *consents) tell(a *consent.Act, before bool, void error) {
	if a.What == consent.Declared && void == nil {
		c.names[a.Party] = a.Manifest.Name
	}
	if c.acts++; c.acts > maxConsentActs {
		c.more++
		return
	}
	t := ConsentAct{ID: a.ID, At: a.At, Act: a.What.String(), Party: string(a.Party), By: a.Actor.Name, SignedIn: a.Actor.SignedIn, Reason: a.Reason, Prompt: a.Prompt,
		Until: a.Terms.Until, Before: before}
	for _, r := range a.Rows {
		t.Rows = append(t.Rows, r.String())
	}
	for _, l := range a.Terms.Labels {
		t.Labels = append(t.Labels, string(l))
	}
	if void != nil {
		t.Void = void.Error()
	}
	if a.What == consent.Requested {
		c.list[a.ID] = &Consent{ID: a.ID, Party: string(a.Party), Name: c.names[a.Party], Acts: []ConsentAct{t}}
		c.root[a.ID] = a.ID
		return
	}
	x := c.list[c.root[a.Of]]
	if x == nil {
		c.parties = append(c.parties, t)
		return
	}
	x.Acts = append(x.Acts, t)
	if a.What == consent.Granted && void == nil {
		c.root[a.ID], c.grants[x.ID] = x.ID, a.ID
	}
}

// end writes what there is to say into a summary. Where consents stand is judged at
// the last entry of the period.
func (c *consents) end(s *Summary) {
	c.fold()
	s.Consents, s.Acts, s.Actions, s.MoreActs = []Consent{}, append([]ConsentAct{}, c.parties...), c.actions, c.more
	for _, x := range c.list {
		x.Status = c.status(x, s.To)
		s.Consents = append(s.Consents, *x)
	}
	slices.SortFunc(s.Consents, func(a, b Consent) int { return cmp.Compare(a.ID, b.ID) })
}

// status is where a consent stands at an instant. The ledger forgets the oldest of
// those that have ended.
func (c *consents) status(x *Consent, at time.Time) string {
	if g, ok := c.state.Grant(c.grants[x.ID]); ok {
		if g.Status == consent.InForce && !g.InForce(at) {
			return consent.Lapsed.String()
		}
		if g.Status == consent.InForce {
			return "in force"
		}
		return g.Status.String()
	}
	if r, ok := c.state.Request(x.ID); ok {
		if (r.Status == consent.Open || r.Status == consent.PutOff) && !r.Waits(at) {
			return consent.Lapsed.String()
		}
		return r.Status.String()
	}
	return "ended"
}

package consent

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/remote"
)

// Status is where a request or grant stands. Only InForce lets anything out.
type Status uint8

// The states of a request and of a grant.
const (
	Unknown     Status = iota
	Open               // a request waits for an answer
	PutOff             // a request waits, and somebody said not now
	Answered           // a request was granted; its grant says what of it
	Refused            // a request was denied
	Lapsed             // a request that nobody answered in time, or a grant whose time is over
	Invalidated        // the manifest that it rested on is not the app's any more
	InForce            // a grant
	Withdrawn          // a grant that was revoked
)

var statusNames = [...]string{"unknown", "requested", "deferred", "granted", "denied", "expired", "invalidated", "granted", "revoked"}

func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return fmt.Sprintf("invalid(%d)", uint8(s))
}

// MarshalText implements [encoding.TextMarshaler].
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Approval is one administrator's yes where two are needed.
type Approval struct {
	Actor Actor
	Rows  []remote.Row
	Terms Terms
	At    time.Time
}

// Request is what somebody asked for. It is immutable.
type Request struct {
	ID         isogate.EntryID
	Party      Party
	Manifest   Manifest
	Rows       []remote.Row
	By         Actor
	Reason     string
	Second     bool // two administrators must agree
	Status     Status
	Opened     time.Time
	Ends       time.Time // unanswered by then, it lapses
	Approvals  []Approval
	Answer     isogate.EntryID // the act that ended it
	AnsweredBy Actor
}

// Waits reports whether the request can still be answered at an instant.
func (r *Request) Waits(at time.Time) bool {
	return (r.Status == Open || r.Status == PutOff) && at.Before(r.Ends)
}

// Grant is what was allowed. It is immutable; a change makes another.
type Grant struct {
	ID      isogate.EntryID // of the act that granted it
	Request isogate.EntryID
	Party   Party
	Rows    []remote.Row // what is left of it
	Terms   Terms
	By      []Actor // one administrator, or two
	At      time.Time
	Reason  string
	Status  Status
	Ended   time.Time
}

// InForce reports whether the grant lets anything out at an instant.
func (g *Grant) InForce(at time.Time) bool {
	return g.Status == InForce && len(g.Rows) > 0 && (g.Terms.Until.IsZero() || at.Before(g.Terms.Until))
}

// Standing is where one party stands. It is immutable.
type Standing struct {
	Party    Party
	Manifest Manifest     // as last imported
	Declared []remote.Row // what it may ask for
	Written  []string     // how the manifest writes each of them; nil where that is not known
	Requests []*Request   // oldest first; ended ones are kept up to maxKept
	Grants   []*Grant     // likewise
	Blocked  bool
	// Decided are rows that somebody denied or revoked: an attempt alone does not
	// ask for them again.
	Decided []remote.Row
	// Last is the seq of the last act that changed anything here.
	Last uint64
}

// maxKept bounds the ended requests and grants that a state remembers of a party;
// the journal has them all.
const maxKept = 64

// State is the fold of the ledger's acts. It is immutable. Its zero value is the
// ledger before the first act, in which nothing is granted.
type State struct {
	// Revision is the seq behind the last act folded in.
	Revision uint64
	parties  map[Party]*Standing
	requests map[isogate.EntryID]Party // which party a request or grant is of
}

// Parties are all that the ledger knows, by name.
func (s *State) Parties() []*Standing {
	out := slices.Collect(maps.Values(s.parties))
	slices.SortFunc(out, func(a, b *Standing) int { return cmp.Compare(a.Party, b.Party) })
	return out
}

// Party is where one party stands; never nil.
func (s *State) Party(p Party) *Standing {
	if st := s.parties[p]; st != nil {
		return st
	}
	return &Standing{Party: p}
}

// Request finds a request by its ID.
func (s *State) Request(id isogate.EntryID) (*Request, bool) {
	for _, r := range s.Party(s.requests[id]).Requests {
		if r.ID == id {
			return r, true
		}
	}
	return nil, false
}

// Grant finds a grant by its ID.
func (s *State) Grant(id isogate.EntryID) (*Grant, bool) {
	for _, g := range s.Party(s.requests[id]).Grants {
		if g.ID == id {
			return g, true
		}
	}
	return nil, false
}

// Rows is what the party may use at an instant, whatever the limits: the base of
// every delta.
func (st *Standing) Rows(at time.Time) []remote.Row {
	var rows []remote.Row
	for _, g := range st.Grants {
		if g.InForce(at) {
			for _, r := range g.Rows {
				if !slices.Contains(rows, r) {
					rows = append(rows, r)
				}
			}
		}
	}
	sortRows(rows)
	return rows
}

// Waiting is the open request that asks for a row, if there is one.
func (st *Standing) Waiting(row remote.Row, at time.Time) *Request {
	for _, r := range st.Requests {
		if r.Waits(at) && slices.ContainsFunc(r.Rows, func(asked remote.Row) bool { return asked.Covers(row) }) {
			return r
		}
	}
	return nil
}

func sortRows(rows []remote.Row) {
	slices.SortFunc(rows, func(a, b remote.Row) int { return cmp.Compare(a.String(), b.String()) })
}

// draft is a state in the making: what a batch of acts touches is copied once.
type draft struct {
	State
	touched map[Party]bool
}

// draft begins a new state from s.
func (s *State) draft() *draft {
	d := &draft{State: State{s.Revision, maps.Clone(s.parties), maps.Clone(s.requests)}, touched: map[Party]bool{}}
	if d.parties == nil {
		d.parties, d.requests = map[Party]*Standing{}, map[isogate.EntryID]Party{}
	}
	return d
}

// touch is the party's standing, to be changed.
func (d *draft) touch(p Party) *Standing {
	st := d.Party(p)
	if d.touched[p] {
		return st
	}
	c := *st
	c.Requests, c.Grants, c.Decided = slices.Clone(c.Requests), slices.Clone(c.Grants), slices.Clone(c.Decided)
	d.parties[p], d.touched[p] = &c, true
	return &c
}

// Fold is the state after further acts, in their order, and for each why it has
// no effect, or nil.
func (s *State) Fold(acts ...Act) (*State, []error) {
	d := s.draft()
	why := make([]error, len(acts))
	for i := range acts {
		why[i] = d.apply(&acts[i])
	}
	next := d.State
	return &next, why
}

// apply is the whole of the ledger's law.
func (d *draft) apply(a *Act) error {
	if a.Seq >= d.Revision {
		d.Revision = a.Seq + 1
	}
	switch a.What {
	case Given, Used: // of [Actions]
		return nil
	case Revoked:
		return d.revoke(a)
	}
	if _, err := ParseParty(string(a.Party)); err != nil {
		return noEffect("%w", err)
	}
	var err error
	switch a.What {
	case Declared:
		err = d.declare(a)
	case Requested:
		err = d.request(a)
	case Deferred, Denied, Approved, Granted:
		err = d.answer(a)
	case Modified:
		err = d.modify(a)
	case Expired:
		err = d.expire(a)
	case Blocked:
		d.block(a)
	case Unblocked:
		if !d.Party(a.Party).Blocked {
			return noEffect("%s is not blocked", a.Party)
		}
		d.touch(a.Party).Blocked = false
	default:
		err = noEffect("nobody knows the act %s", a.What)
	}
	if err == nil {
		d.touch(a.Party).Last = a.Seq
	}
	return err
}

// declare takes an app's manifest. It opens nothing: grants keep at the most what
// they have and the manifest still declares, and open requests must be asked anew.
//
// promise: P13
func (d *draft) declare(a *Act) error {
	if _, app := a.Party.Source(); !app {
		return noEffect("%s is no app, so that it has no manifest", a.Party)
	}
	if was := d.Party(a.Party).Manifest.ID; was != "" && was != a.Manifest.ID {
		return noEffect("%s is the app %s, and the manifest is of %s", a.Party, was, a.Manifest.ID)
	}
	st := d.touch(a.Party)
	st.Manifest, st.Declared, st.Written = a.Manifest, slices.Clone(a.Rows), slices.Clone(a.Written)
	for i, g := range st.Grants {
		if g.Status != InForce {
			continue
		}
		kept := remote.Keep(g.Rows, a.Rows)
		if slices.Equal(kept, g.Rows) {
			continue
		}
		c := *g
		if c.Rows = kept; len(kept) == 0 {
			c.Status, c.Ended = Invalidated, a.At
		}
		st.Grants[i] = &c
	}
	st.end(a, Invalidated, func(*Request) bool { return true })
	// What the app does not declare any more need not be remembered as decided.
	st.Decided = slices.DeleteFunc(st.Decided, func(was remote.Row) bool {
		return !slices.ContainsFunc(a.Rows, func(r remote.Row) bool { return r.Covers(was) || was.Covers(r) })
	})
	return nil
}

// end ends open requests.
func (st *Standing) end(a *Act, as Status, which func(*Request) bool) {
	for i, r := range st.Requests {
		if (r.Status == Open || r.Status == PutOff) && which(r) {
			c := *r
			c.Status, c.Answer, c.AnsweredBy = as, a.ID, a.Actor
			st.Requests[i] = &c
		}
	}
}

// request opens a request.
func (d *draft) request(a *Act) error {
	st := d.Party(a.Party)
	switch {
	case st.Blocked:
		return noEffect("%s is blocked", a.Party)
	case len(a.Rows) == 0:
		return noEffect("it asks for nothing")
	case a.Answer <= 0:
		return noEffect("it does not say how long it may wait for an answer")
	}
	transit, isTransit := a.Party.Transit()
	for _, row := range a.Rows {
		switch {
		case isTransit && (row != TransitRow(transit)):
			return noEffect("%s may ask for %s alone", a.Party, TransitRow(transit))
		case !isTransit && !declares(st.Declared, row):
			return noEffect("the manifest does not declare %s", row)
		}
	}
	if !slices.ContainsFunc(a.Rows, func(row remote.Row) bool { return st.Waiting(row, a.At) == nil }) {
		return noEffect("a request for all of it waits already")
	}
	st = d.touch(a.Party)
	st.Requests = append(st.Requests, &Request{ID: a.ID, Party: a.Party, Manifest: st.Manifest, Rows: slices.Clone(a.Rows), By: a.Actor, Reason: a.Reason,
		Second: a.Second, Status: Open, Opened: a.At, Ends: a.At.Add(a.Answer)})
	d.requests[a.ID] = a.Party
	d.forget(st)
	return nil
}

// TransitRow is the one row that a transit of ours asks for.
func TransitRow(t isogate.Transit) remote.Row {
	return remote.Row{Kind: remote.TransitWay, Host: string(t)}
}

func declares(declared []remote.Row, row remote.Row) bool {
	return slices.ContainsFunc(declared, func(r remote.Row) bool { return r.Covers(row) })
}

// forget lets go of ended requests and grants beyond maxKept.
func (d *draft) forget(st *Standing) {
	for n := len(st.Requests) - maxKept; n > 0; n-- {
		i := slices.IndexFunc(st.Requests, func(r *Request) bool { return r.Status != Open && r.Status != PutOff })
		if i < 0 {
			break
		}
		delete(d.requests, st.Requests[i].ID)
		st.Requests = slices.Delete(st.Requests, i, i+1)
	}
	for n := len(st.Grants) - maxKept; n > 0; n-- {
		i := slices.IndexFunc(st.Grants, func(g *Grant) bool { return g.Status != InForce })
		if i < 0 {
			break
		}
		delete(d.requests, st.Grants[i].ID)
		st.Grants = slices.Delete(st.Grants, i, i+1)
	}
}

// answer is what administrators say to a request.
func (d *draft) answer(a *Act) error {
	st := d.Party(a.Party)
	i := slices.IndexFunc(st.Requests, func(r *Request) bool { return r.ID == a.Of })
	if i < 0 {
		return noEffect("%s has no request %s", a.Party, a.Of)
	}
	r := *st.Requests[i]
	if !r.Waits(a.At) {
		return noEffect("the request is not open any more: %s", r.told(a.At))
	}
	opens := a.What == Granted || a.What == Approved
	if opens {
		if err := st.mayOpen(&r, a); err != nil {
			return err
		}
	}
	st = d.touch(a.Party)
	switch a.What {
	case Deferred:
		r.Status = PutOff
	case Denied:
		r.Status, r.Answer, r.AnsweredBy = Refused, a.ID, a.Actor
		st.Decided = addRows(st.Decided, r.Rows)
	case Approved:
		r.Approvals = append(slices.Clone(r.Approvals), Approval{a.Actor, slices.Clone(a.Rows), a.Terms, a.At})
	default: // Granted
		by := []Actor{a.Actor}
		if first, ok := r.approval(a); ok {
			by = []Actor{first, a.Actor}
		}
		r.Status, r.Answer, r.AnsweredBy = Answered, a.ID, a.Actor
		st.Grants = append(st.Grants, &Grant{ID: a.ID, Request: r.ID, Party: a.Party, Rows: slices.Clone(a.Rows), Terms: a.Terms, By: by, At: a.At,
			Reason: a.Reason, Status: InForce})
		d.requests[a.ID] = a.Party
		// What was asked for and not granted was denied; what is granted is open to question again.
		var rest []remote.Row
		for _, row := range r.Rows {
			if !declares(a.Rows, row) {
				rest = append(rest, row)
			}
		}
		st.Decided = slices.DeleteFunc(st.Decided, func(row remote.Row) bool { return declares(a.Rows, row) })
		st.Decided = addRows(st.Decided, rest)
	}
	st.Requests[i] = &r
	d.forget(st)
	return nil
}

// told says where a request stands.
func (r *Request) told(at time.Time) string {
	if (r.Status == Open || r.Status == PutOff) && !at.Before(r.Ends) {
		return Lapsed.String()
	}
	return r.Status.String()
}

// mayOpen is every condition under which a grant counts.
func (st *Standing) mayOpen(r *Request, a *Act) error {
	switch {
	case st.Blocked:
		return noEffect("%s is blocked", a.Party)
	case a.Actor.Name == "":
		return noEffect("nobody is named who grants it")
	case a.Base != st.Last:
		return noEffect("the state of %s changed since it was looked at (entry %d, now %d); look again", a.Party, a.Base, st.Last)
	case len(a.Rows) == 0:
		return noEffect("it grants nothing")
	case !a.Terms.Until.IsZero() && !a.Terms.Until.After(a.At):
		return noEffect("it would be over already")
	}
	for _, row := range a.Rows {
		if !declares(r.Rows, row) {
			return noEffect("the request does not ask for %s", row)
		}
	}
	if a.What == Approved {
		if !r.Second {
			return noEffect("the request needs one administrator alone; grant it")
		}
		return nil
	}
	if r.Second {
		if _, ok := r.approval(a); !ok {
			return noEffect("the request needs two administrators, and nobody else has approved the same")
		}
	}
	return nil
}

// approval finds another administrator's yes to the same rows and terms.
func (r *Request) approval(a *Act) (Actor, bool) {
	for _, p := range r.Approvals {
		if p.Agrees(a) {
			return p.Actor, true
		}
	}
	return Actor{}, false
}

// Agrees reports whether the approval is another person's yes to the very same.
func (p *Approval) Agrees(a *Act) bool {
	return p.Actor.Name != a.Actor.Name && sameRows(p.Rows, a.Rows) && p.Terms.Until.Equal(a.Terms.Until) &&
		(p.Terms.Labels == nil) == (a.Terms.Labels == nil) && joinLabels(p.Terms.Labels) == joinLabels(a.Terms.Labels)
}

func sameRows(a, b []remote.Row) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	sortRows(a)
	sortRows(b)
	return slices.Equal(a, b)
}

// addRows adds those that are not there.
func addRows(to, rows []remote.Row) []remote.Row {
	for _, r := range rows {
		if !slices.Contains(to, r) {
			to = append(to, r)
		}
	}
	return to
}

// modify narrows a grant; it never widens one.
//
// promise: P14
func (d *draft) modify(a *Act) error {
	st := d.Party(a.Party)
	i := slices.IndexFunc(st.Grants, func(g *Grant) bool { return g.ID == a.Of })
	if i < 0 {
		return noEffect("%s has no grant %s", a.Party, a.Of)
	}
	g := *st.Grants[i]
	if !g.InForce(a.At) {
		return noEffect("the grant is not in force any more: %s", g.Status)
	}
	if err := g.narrower(a); err != nil {
		return err
	}
	st = d.touch(a.Party)
	var gone []remote.Row
	for _, row := range g.Rows {
		if !declares(a.Rows, row) {
			gone = append(gone, row)
		}
	}
	g.Rows, g.Terms = slices.Clone(a.Rows), a.Terms
	st.Grants[i] = &g
	st.Decided = addRows(st.Decided, gone)
	return nil
}

// narrower says why what the act asks for is more than the grant.
func (g *Grant) narrower(a *Act) error {
	if len(a.Rows) == 0 {
		return noEffect("nothing would be left; revoke the grant")
	}
	for _, row := range a.Rows {
		if !declares(g.Rows, row) {
			return noEffect("the grant does not have %s, and modifying only narrows; ask for it by a request", row)
		}
	}
	if was := g.Terms.Until; !was.IsZero() && (a.Terms.Until.IsZero() || a.Terms.Until.After(was)) {
		return noEffect("the grant ends at %s, and modifying only narrows", was.Format(time.RFC3339))
	}
	if g.Terms.Labels == nil {
		return nil
	}
	if a.Terms.Labels == nil {
		return noEffect("the grant is limited to labels, and modifying only narrows")
	}
	for _, p := range a.Terms.Labels {
		if !slices.ContainsFunc(g.Terms.Labels, func(q isogate.LabelPattern) bool { return selects(q, p) }) {
			return noEffect("the grant does not have the label %s, and modifying only narrows", p)
		}
	}
	return nil
}

// selects reports whether q surely selects every label that p does.
func selects(q, p isogate.LabelPattern) bool {
	if q == p {
		return true
	}
	l, exact := p.Exact()
	return exact && q.Match(l)
}

// revoke ends what it names: rows of a party, one grant, all of a party, or
// everything. It never fails for want of something to end. A row that a wider one
// lets out as well ends the wider one: there is no way to grant all but one host.
//
// promise: P14
func (d *draft) revoke(a *Act) error {
	for _, p := range d.Parties() {
		if a.Party != Everybody && a.Party != p.Party && (a.Party != "" || a.Of == "") {
			continue
		}
		st := d.touch(p.Party)
		for i, g := range st.Grants {
			if g.Status != InForce || a.Of != "" && a.Of != g.ID {
				continue
			}
			c := *g
			var gone []remote.Row
			c.Rows = nil
			for _, row := range g.Rows {
				if len(a.Rows) == 0 || slices.ContainsFunc(a.Rows, func(r remote.Row) bool { return r.Covers(row) || row.Covers(r) }) {
					gone = append(gone, row)
				} else {
					c.Rows = append(c.Rows, row)
				}
			}
			if len(c.Rows) == 0 {
				c.Status, c.Ended = Withdrawn, a.At
			}
			st.Grants[i] = &c
			st.Decided = addRows(st.Decided, gone)
		}
		st.Last = a.Seq
	}
	return nil
}

// expire ends a request that nobody answered, or a grant, once its time is over.
func (d *draft) expire(a *Act) error {
	st := d.Party(a.Party)
	if i := slices.IndexFunc(st.Requests, func(r *Request) bool { return r.ID == a.Of }); i >= 0 {
		r := st.Requests[i]
		if r.Status != Open && r.Status != PutOff {
			return noEffect("the request is ended already: %s", r.Status)
		}
		d.touch(a.Party).end(a, Lapsed, func(r *Request) bool { return r.ID == a.Of })
		return nil
	}
	i := slices.IndexFunc(st.Grants, func(g *Grant) bool { return g.ID == a.Of })
	if i < 0 {
		return noEffect("%s has no request or grant %s", a.Party, a.Of)
	}
	g := *st.Grants[i]
	if g.Status != InForce {
		return noEffect("the grant is ended already: %s", g.Status)
	}
	g.Status, g.Ended = Lapsed, a.At
	d.touch(a.Party).Grants[i] = &g
	return nil
}

// block ends everything of a party and lets nothing be asked.
func (d *draft) block(a *Act) {
	st := d.touch(a.Party)
	st.Blocked = true
	for i, g := range st.Grants {
		if g.Status == InForce {
			c := *g
			c.Status, c.Ended, c.Rows = Withdrawn, a.At, nil
			st.Grants[i] = &c
		}
	}
	st.end(a, Refused, func(*Request) bool { return true })
}

package consent

import (
	"fmt"
	"slices"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/remote"
)

// Ask is one question: may this party send this kind of traffic there, now?
type Ask struct {
	Party Party
	// Kinds is what the traffic may be; a grant of any of them will do. An app's
	// servers' traffic is backend or remote.
	Kinds []remote.Kind
	Host  string // canonical
	Port  uint16
	Path  string // for kinds that a page loads; ignored for others
	// Region is the tenant's; rows of another region are not for it.
	Region string
}

// Permit is a yes. The zero value permits nothing: Grant is nil.
type Permit struct {
	Grant *Grant
	Row   remote.Row
}

// Until is when the permit is over by itself; zero is never.
func (p Permit) Until() time.Time { return p.Grant.Terms.Until }

// Why is the kind of a no. The zero value is a no without any hope.
type Why uint8

// The noes.
const (
	Undeclared Why = iota // no manifest declares it
	NoManifest            // the app has none
	Barred                // the party is blocked
	NotAsked              // declared; nobody was asked yet, or nobody answered in time
	Pending               // a request waits
	Decided               // somebody denied or revoked it
	Over                  // the grant's time is over
)

// No is why not, and what may be done.
type No struct {
	Why Why
	// Request is the one that waits, if there is one.
	Request isogate.EntryID
	// Row is the declared row that would do, if there is one: what to ask for.
	Row remote.Row
	// Text is a sentence for people, with what to do next.
	Text string
}

// MayAsk reports whether a refused attempt should open a request for Row.
func (n No) MayAsk() bool { return n.Why == NotAsked || n.Why == Over }

// Allows answers the question at an instant. Where several grants fit, the row
// that names the most decides: an exact host before a wildcard, the longer
// wildcard before the shorter, and of two alike the newer grant, so that a limit
// that was put on one host holds although its domain is granted without.
//
// promise: P11
// promise: P12
func (s *State) Allows(ask Ask, at time.Time) (Permit, No) {
	st := s.Party(ask.Party)
	if st.Blocked {
		return Permit{}, No{Why: Barred, Text: fmt.Sprintf("%s is blocked: an administrator must unblock it first", ask.Party)}
	}
	var best Permit
	over := false
	for i := len(st.Grants) - 1; i >= 0; i-- { // the newest first
		g := st.Grants[i]
		if g.Status == Lapsed || g.Status == InForce && !g.InForce(at) {
			over = over || slices.ContainsFunc(g.Rows, ask.fits)
			continue
		}
		if !g.InForce(at) {
			continue
		}
		for _, row := range g.Rows {
			if ask.fits(row) && (best.Grant == nil || closer(row, best.Row)) {
				best = Permit{g, row}
			}
		}
	}
	if best.Grant != nil {
		return best, No{}
	}
	return Permit{}, s.no(st, ask, over, at)
}

// fits reports whether a row lets the traffic out.
func (ask Ask) fits(row remote.Row) bool {
	return (row.Region == "" || row.Region == ask.Region) &&
		slices.ContainsFunc(ask.Kinds, func(k remote.Kind) bool { return row.Allows(k, ask.Host, ask.Port, ask.Path) })
}

// closer reports whether row a names more of a host than b does.
func closer(a, b remote.Row) bool {
	if a.Wildcard() != b.Wildcard() {
		return b.Wildcard()
	}
	if len(a.Host) != len(b.Host) {
		return len(a.Host) > len(b.Host)
	}
	return len(a.Path) > len(b.Path)
}

// no explains a no.
func (s *State) no(st *Standing, ask Ask, over bool, at time.Time) No {
	what := ask.Host
	if t, ok := st.Party.Transit(); ok {
		st = &Standing{Party: st.Party, Declared: []remote.Row{TransitRow(t)}, Requests: st.Requests, Decided: st.Decided}
		what = "the transit " + string(t)
	} else if st.Manifest.Digest == "" {
		return No{Why: NoManifest, Text: fmt.Sprintf("no manifest of %s was imported, so that it may reach nothing; import it: isogate app import MANIFEST", st.Party)}
	}
	row, ok := st.declared(ask)
	if !ok {
		return No{Why: Undeclared, Text: fmt.Sprintf("the manifest of %s does not declare this; declare the remote and import the manifest again", st.Party)}
	}
	if r := st.Waiting(row, at); r != nil {
		return No{Pending, r.ID, row, fmt.Sprintf("an administrator has not answered yet: isogate consent show %s", r.ID)}
	}
	if slices.ContainsFunc(st.Decided, func(d remote.Row) bool { return d.Covers(row) }) {
		return No{Why: Decided, Row: row, Text: fmt.Sprintf("an administrator denied or revoked %s for %s; it can be asked for again: isogate consent request %s", what, st.Party, st.Party)}
	}
	if over {
		return No{Why: Over, Row: row, Text: fmt.Sprintf("the grant of %s to %s is over", what, st.Party)}
	}
	return No{Why: NotAsked, Row: row, Text: fmt.Sprintf("nobody has granted %s to %s", what, st.Party)}
}

// declared is the declared row that fits best.
func (st *Standing) declared(ask Ask) (best remote.Row, ok bool) {
	for _, row := range st.Declared {
		fits := ask.fits(row)
		if t, is := st.Party.Transit(); is {
			fits = row == TransitRow(t)
		}
		if fits && (!ok || closer(row, best)) {
			best, ok = row, true
		}
	}
	return best, ok
}

// AllowsTransit answers whether a transit of ours that waits for an administrator
// may be used.
func (s *State) AllowsTransit(t isogate.Transit, at time.Time) (Permit, No) {
	party := OfTransit(t)
	st := s.Party(party)
	if !st.Blocked {
		for i := len(st.Grants) - 1; i >= 0; i-- {
			if g := st.Grants[i]; g.InForce(at) && slices.Contains(g.Rows, TransitRow(t)) {
				return Permit{g, TransitRow(t)}, No{}
			}
		}
	}
	return s.Allows(Ask{Party: party}, at)
}

// Holds answers whether what was permitted still is, and how: the same row of the
// same grant, in force at an instant, with the limits that it has now. Open
// connections live by it.
//
// promise: P14
func (s *State) Holds(p Permit, at time.Time) (Permit, bool) {
	if p.Grant == nil {
		return Permit{}, false
	}
	g, ok := s.Grant(p.Grant.ID)
	if !ok || !g.InForce(at) || !slices.Contains(g.Rows, p.Row) {
		return Permit{}, false
	}
	return Permit{g, p.Row}, true
}

package hub

import (
	"net/http"
	"slices"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/remote"
)

// grantPage is a grant, and of what use it is.
type grantPage struct {
	Consent Consent
	App     *consent.Manifest
	InForce bool
	Rows    []grantRow
	Usage   *Usage // nil where nobody knows
	// Never are labels that policy lets out over the rows and that never left. Nil where
	// nobody knows.
	Never  []neverLeft
	Labels []string // those that a narrower grant can be limited to
	Unread bool     // one of the rows leads through a tunnel
	Acts   []actLine
	Form   filled
	May    bool
	Earliest,
	Latest string // of an earlier end
}

// grantRow is one row of a grant.
type grantRow struct {
	promptRow
	Usage *RowUsage
}

// neverLeft is a label that might leave, and by which action.
type neverLeft struct {
	Label  isogate.Label
	Action string
}

// showGrant shows a grant.
func (v *visit) showGrant(status int, g *consent.Grant, f filled) error {
	k := v.clerk()
	p := grantPage{Consent: viewGrant(g, v.now), App: appOf(v.state.Party(g.Party)), InForce: g.InForce(v.now), Usage: k.usageOf(v.Context(), g),
		Form: f, May: v.who.May(access.Decide), Earliest: v.now.UTC().Format(time.DateOnly), Acts: k.actsOn(v.Context(), g.Request, g.ID)}
	// The last day that can be chosen is the one before the end.
	if u := g.Terms.Until; u.IsZero() {
		p.Latest = v.now.UTC().Add(longestFor).Format(time.DateOnly)
	} else {
		p.Latest = u.Add(-24 * time.Hour).UTC().Format(time.DateOnly)
	}
	for i, row := range g.Rows {
		told := v.state.Tell(row)
		told.Egress = v.hub.describe(g.Party, row).Shown()
		laid := grantRow{promptRow: layRow(told)}
		if p.Usage != nil {
			laid.Usage = &p.Usage.Rows[i]
		}
		p.Rows = append(p.Rows, laid)
		p.may(g, told.Egress)
	}
	if p.Labels = p.labels(g); p.Usage == nil {
		p.Never = nil
	}
	p.Never = slices.DeleteFunc(p.Never, func(n neverLeft) bool {
		return p.Usage != nil && slices.ContainsFunc(p.Usage.Labels, func(l LabelUsage) bool { return l.Label == n.Label })
	})
	return v.showStatus(status, "consent-grant", "What was granted to "+string(g.Party), p)
}

// may notes what policy lets out over a row.
func (p *grantPage) may(g *consent.Grant, e consent.Egress) {
	for _, w := range e.Ways {
		p.Unread = p.Unread || w.Tunnel != nil
		for _, l := range w.Leaves {
			n := neverLeft{l.Label, l.Action}
			if l.Because != "" && limitedTo(g.Terms.Labels, l.Label) && !slices.Contains(p.Never, n) {
				p.Never = append(p.Never, n)
			}
		}
	}
}

// labels are what the grant can be limited to: the labels that policy lets out over
// it, and the limits that it has.
func (p *grantPage) labels(g *consent.Grant) (out []string) {
	for _, l := range g.Terms.Labels {
		out = append(out, string(l))
	}
	for _, n := range p.Never {
		if !slices.Contains(out, string(n.Label)) {
			out = append(out, string(n.Label))
		}
	}
	slices.Sort(out)
	return out
}

// limitedTo reports whether a label is among those that a grant is limited to.
func limitedTo(labels []isogate.LabelPattern, l isogate.Label) bool {
	return labels == nil || slices.ContainsFunc(labels, func(p isogate.LabelPattern) bool { return p.Match(l) })
}

// endedPage is a request that nobody can answer any more.
type endedPage struct {
	Consent Consent
	Grants  []Consent // what came of it
	Acts    []actLine
	Rows    []promptRow
	Form    filled
	May     bool
}

// showEnded shows a request that was answered, or that nobody answered in time.
func (v *visit) showEnded(status int, r *consent.Request, f filled) error {
	p := endedPage{Consent: viewRequest(r, v.now), Acts: v.clerk().actsOn(v.Context(), r.ID), Form: f, May: v.who.May(access.Decide)}
	for _, g := range v.state.Party(r.Party).Grants {
		if g.Request == r.ID {
			p.Grants = append(p.Grants, viewGrant(g, v.now))
		}
	}
	for _, row := range r.Rows {
		p.Rows = append(p.Rows, promptRow{PromptRow: v.state.Tell(row)})
	}
	return v.showStatus(status, "consent-ended", "A request of "+string(r.Party), p)
}

// narrowForm makes a grant smaller.
func (h *Hub) narrowForm(v *visit) error {
	f, err := v.fill(append([]string{"reason"}, limitNames...)...)
	if err != nil {
		return err
	}
	d, err := v.narrow(f)
	return v.answered(f, d, err)
}

func (v *visit) narrow(f filled) (Done, error) {
	k := v.clerk()
	g, err := k.theGrant(v.id())
	if err != nil {
		return Done{}, err
	}
	t, err := f.limits()
	if err != nil {
		return Done{}, err
	}
	switch n := len(*t.rows); {
	case n == 0:
		return Done{}, about("rows", badRequest("no row is ticked, so that nothing would be left; revoke the grant instead"))
	case n == len(g.Rows) && !slices.ContainsFunc(g.Rows, func(r remote.Row) bool { return !slices.Contains(*t.rows, r.String()) }):
		t.rows = nil // all of them: nothing changes about the rows
	}
	if t.none() {
		return Done{}, about("rows", badRequest("nothing is to be changed; take a row or a label away, or choose an earlier end"))
	}
	return k.narrow(v.Context(), g.ID, t, f.Get("reason"))
}

// revokeForm ends a grant, or the rows that the form names.
func (h *Hub) revokeForm(v *visit) error {
	f, err := v.fill("rows[]", "revoke-reason")
	if err != nil {
		return err
	}
	var rows *[]string
	if f.values["rows[]"] != nil {
		rows = f.list("rows[]")
	}
	d, err := v.clerk().revoke(v.Context(), v.id(), rows, f.Get("revoke-reason"))
	if err != nil {
		if p := problemOf(err); p.input == "reason" {
			p.input = "revoke-reason"
		}
		f, status, err := f.because(err, "revoke-reason")
		if err != nil {
			return err
		}
		return v.showConsent(status, f)
	}
	return v.seeOther("/consents/"+string(v.id()), d.Act)
}

// revokeAllPage asks whether everything is to end, of one party or of everybody, and
// says how much that is.
type revokeAllPage struct {
	Party   consent.Party // * is everybody
	Parties []revokedParty
	Rows    int
	// Open is how many connections are open by what would end, on the gateway that this Hub
	// is part of; negative where nobody knows.
	Open int
	Form filled
	May  bool
}

// revokedParty is one party that would lose something.
type revokedParty struct {
	Party consent.Party
	Rows  []string
}

func (h *Hub) revokeAllPage(v *visit) error {
	q, err := v.parameters("party")
	if err != nil {
		return err
	}
	return v.showRevokeAll(http.StatusOK, q.Get("party"), filled{})
}

func (v *visit) showRevokeAll(status int, who string, f filled) error {
	party := consent.Everybody
	if who != "" && who != string(consent.Everybody) {
		var err error
		if party, err = consent.ParseParty(who); err != nil {
			return badRequest("%v", err)
		}
	}
	v.state = v.hub.ledger.State()
	p := revokeAllPage{Party: party, Open: -1, Form: f, May: v.who.May(access.Decide)}
	for _, st := range v.state.Parties() {
		if rows := st.Rows(v.now); len(rows) > 0 && (party == consent.Everybody || party == st.Party) {
			p.Parties, p.Rows = append(p.Parties, revokedParty{st.Party, texts(rows)}), p.Rows+len(rows)
		}
	}
	if v.hub.open != nil {
		p.Open = v.hub.open(party)
	}
	title := "Revoke everything"
	if party != consent.Everybody {
		title = "Revoke everything of " + string(party)
	}
	return v.showStatus(status, "revocations", title, p)
}

// revokeAllForm ends everything of a party, or of everybody.
func (h *Hub) revokeAllForm(v *visit) error {
	f, err := v.fill("party", "reason")
	if err != nil {
		return err
	}
	d, err := v.clerk().revokeAll(v.Context(), f.Get("party"), nil, f.Get("reason"))
	if err != nil {
		f, status, err := f.because(err, "reason")
		if err != nil {
			return err
		}
		return v.showRevokeAll(status, f.Get("party"), f)
	}
	if d.Party == consent.Everybody {
		return v.seeOther("/consents", d.Act)
	}
	return v.seeOther(partyPath(d.Party), d.Act)
}

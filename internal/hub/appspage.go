package hub

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/remote"
	"github.com/isogate/isogate/internal/trail"
)

// appPages are the parties, their manifests, and the acts on them.
var appPages = []page{
	{pattern: "GET /apps", need: access.Read, do: (*Hub).appsPage},
	{pattern: "GET /apps/import", need: access.Decide, do: (*Hub).importPage},
	{pattern: "POST /apps/import", need: access.Decide, do: (*Hub).importCheck},
	{pattern: "POST /apps/import/confirm", need: access.Decide, do: (*Hub).importConfirm},
	{pattern: "GET /apps/{kind}/{name}", need: access.Read, do: (*Hub).appPage},
	{pattern: "POST /apps/{kind}/{name}/requests", need: access.Decide, do: (*Hub).askForm},
	{pattern: "POST /apps/{kind}/{name}/block", need: access.Decide, stale: true, proof: true, do: (*Hub).blockForm},
	{pattern: "POST /apps/{kind}/{name}/unblock", need: access.Decide, proof: true, do: (*Hub).unblockForm},
}

// partyPath is the page of a party.
func partyPath(p consent.Party) string {
	kind, name, _ := strings.Cut(string(p), "/")
	return "/apps/" + url.PathEscape(kind) + "/" + url.PathEscape(name)
}

// appRow is one party of the list.
type appRow struct {
	Summary
	Granted bool      // something is in force
	Last    time.Time // something left by what is in force
	Known   bool      // whether Last is known
	Idle    bool      // nothing left for long, by any of it
}

func (h *Hub) appsPage(v *visit) error {
	if _, err := v.parameters(); err != nil {
		return err
	}
	var inForce []isogate.EntryID
	for _, st := range v.state.Parties() {
		for _, g := range st.Grants {
			if g.InForce(v.now) {
				inForce = append(inForce, g.ID)
			}
		}
	}
	uses := v.clerk().lastUses(v.Context(), inForce)
	var rows []appRow
	for _, s := range Apps(v.state, v.now) {
		row, since := appRow{Summary: s, Known: v.hub.trail != nil}, time.Time{}
		for _, g := range v.state.Party(s.Party).Grants {
			if !g.InForce(v.now) {
				continue
			}
			last, known := uses.of(g.ID)
			if row.Known = row.Known && known; last.After(row.Last) {
				row.Last = last
			}
			if since.IsZero() || g.At.Before(since) {
				since = g.At
			}
		}
		row.Granted = !since.IsZero()
		row.Idle = row.Known && row.Granted && idle(since, row.Last, v.now)
		rows = append(rows, row)
	}
	return v.show("apps", "Apps", map[string]any{"Apps": rows, "May": v.who.May(access.Decide)})
}

// appPage is where one party stands.
type appPage struct {
	App
	Name    string
	Rows    []appChange
	Wanted  int // rows that can be asked for now
	Refused *refusedOf
	// Source is how the explorer names it; Transit likewise.
	Source  isogate.Source
	Transit isogate.Transit
	Acts    []actLine
	uses    lastUses
	Open    int // connections under way; negative where nobody knows
	Form    filled
	May     bool
}

// Used is when something last left by a grant, in words.
func (p appPage) Used(id isogate.EntryID, now time.Time) string {
	last, known := p.uses.of(id)
	if !known {
		return "not known"
	}
	return ago(last, now)
}

// appChange is one row of what it declares, against what is granted.
type appChange struct {
	Change
	Told    *consent.PromptRow // nil of one that was removed
	Written string
	Waits   isogate.EntryID // the request that asks for it
	Decided bool            // it was denied or revoked
}

// refusedOf is what a party was refused lately.
type refusedOf struct {
	Count uint64
	Last  *time.Time
	Hosts []trail.Group
}

func (h *Hub) appPage(v *visit) error {
	if _, err := v.parameters(); err != nil {
		return err
	}
	return v.showApp(http.StatusOK, filled{})
}

func (v *visit) party() (consent.Party, error) {
	return partyOf(v.PathValue("kind"), v.PathValue("name"))
}

// showApp shows where the party of the path stands.
func (v *visit) showApp(status int, f filled) error {
	party, err := v.party()
	if err != nil {
		return err
	}
	v.state = v.hub.ledger.State()
	k := v.clerk()
	st, err := k.standing(party)
	if err != nil {
		return err
	}
	app, _ := FindApp(v.state, party, v.now)
	p := appPage{App: app, Name: consent.Shown(st.Manifest.Name), Wanted: len(k.wanted(party)), Acts: k.actsOf(v.Context(), st), Open: -1, Form: f, May: v.who.May(access.Decide)}
	p.Source, _ = party.Source()
	if t, is := party.Transit(); is {
		p.Transit = t
	}
	var grants []isogate.EntryID
	for _, g := range slices.Backward(st.Grants) {
		grants = append(grants, g.ID)
	}
	p.uses = k.lastUses(v.Context(), grants)
	if v.hub.open != nil {
		p.Open = v.hub.open(party)
	}
	declared := st.Declared
	if p.Transit != "" {
		declared = []remote.Row{consent.TransitRow(p.Transit)}
	}
	for _, c := range remote.Compare(st.Rows(v.now), declared) {
		line := appChange{Change: viewChanges([]remote.Change{c})[0]}
		if c.Row != (remote.Row{}) {
			told := v.state.Tell(c.Row)
			line.Told = &told
			line.Written = st.WrittenAs(c.Row)
			if r := st.Waiting(c.Row, v.now); r != nil {
				line.Waits = r.ID
			}
			line.Decided = c.Class.Asks() && slices.ContainsFunc(st.Decided, func(d remote.Row) bool { return d.Covers(c.Row) })
		}
		p.Rows = append(p.Rows, line)
	}
	p.Refused = k.refusedOf(v, p.Source, p.Transit)
	title := string(party)
	if p.Name != "" {
		title = p.Name
	}
	return v.showStatus(status, "app", title, p)
}

// refusedOf is what a party was refused in the last 30 days; nil where nobody knows.
func (k clerk) refusedOf(v *visit, source isogate.Source, transit isogate.Transit) *refusedOf {
	if k.hub.trail == nil {
		return nil
	}
	q := trail.Query{Kind: isogate.KindEgress, Decision: isogate.Refused.String(), Since: k.now.Add(-idleAfter), Source: source, Transit: transit}
	count, err := k.hub.trail.Count(v.Context(), q)
	if err != nil {
		k.hub.unknown("", err)
		return nil
	}
	out := &refusedOf{Count: count.Rows, Last: instant(count.Last)}
	if source == "" || count.Rows == 0 {
		return out
	}
	if out.Hosts, err = k.hub.trail.Tally(v.Context(), q, trail.ByRemote); err != nil {
		k.hub.unknown("", err)
		out.Hosts = nil
	}
	slices.SortStableFunc(out.Hosts, func(a, b trail.Group) int { return int(min(b.Rows, 1<<30)) - int(min(a.Rows, 1<<30)) })
	out.Hosts = slices.DeleteFunc(out.Hosts, func(g trail.Group) bool { return g.Key[0] == "" })
	out.Hosts = out.Hosts[:min(len(out.Hosts), 10)]
	return out
}

// askForm asks for the rows that are ticked.
func (h *Hub) askForm(v *visit) error {
	f, err := v.fill("rows[]", "ask-reason")
	if err != nil {
		return err
	}
	party, err := v.party()
	if err != nil {
		return err
	}
	if f.values["rows[]"] == nil {
		return v.appAgain(f, about("rows", badRequest("no row is ticked; tick what is to be asked for")))
	}
	d, err := v.clerk().ask(v.Context(), party, f.list("rows[]"), f.Get("ask-reason"))
	if err != nil {
		return v.appAgain(f, moved(err, "ask-reason"))
	}
	return v.seeOther("/consents/"+string(d.Entry), "asked")
}

// moved is an error about a reason, said of the field that the page has it in.
func moved(err error, to string) error {
	if p := problemOf(err); p.input == "reason" {
		p.input = to
	}
	return err
}

// appAgain shows the party again with what was wrong.
func (v *visit) appAgain(f filled, err error) error {
	f, status, err := f.because(err, "rows", "ask-reason", "block-reason", "unblock-reason")
	if err != nil {
		return err
	}
	return v.showApp(status, f)
}

func (h *Hub) blockForm(v *visit) error {
	return v.bar(consent.Blocked, "block-reason", "blocked")
}

func (h *Hub) unblockForm(v *visit) error {
	return v.bar(consent.Unblocked, "unblock-reason", "lifted")
}

func (v *visit) bar(what consent.What, field, saying string) error {
	f, err := v.fill(field)
	if err != nil {
		return err
	}
	party, err := v.party()
	if err != nil {
		return err
	}
	if _, err := v.clerk().bar(v.Context(), party, what, f.Get(field)); err != nil {
		return v.appAgain(f, moved(err, field))
	}
	return v.seeOther(partyPath(party), saying)
}

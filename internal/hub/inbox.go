package hub

import (
	"cmp"
	"net/url"
	"slices"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/consent"
)

// consentPages are what waits for an answer, what was answered, and the acts on both.
var consentPages = []page{
	{pattern: "GET /consents", need: access.Read, do: (*Hub).inbox},
	{pattern: "GET /consents/{id}", need: access.Read, do: (*Hub).consentPage},
	{pattern: "POST /consents/{id}/grant", need: access.Decide, proof: true, do: (*Hub).grantForm},
	{pattern: "POST /consents/{id}/agree", need: access.Decide, proof: true, do: (*Hub).agreeForm},
	{pattern: "POST /consents/{id}/deny", need: access.Decide, stale: true, do: (*Hub).denyForm},
	{pattern: "POST /consents/{id}/defer", need: access.Decide, stale: true, do: (*Hub).deferForm},
	{pattern: "POST /consents/{id}/narrow", need: access.Decide, stale: true, proof: true, do: (*Hub).narrowForm},
	{pattern: "POST /consents/{id}/revoke", need: access.Decide, stale: true, proof: true, do: (*Hub).revokeForm},
	{pattern: "GET /revocations", need: access.Decide, stale: true, do: (*Hub).revokeAllPage},
	{pattern: "POST /revocations", need: access.Decide, stale: true, proof: true, do: (*Hub).revokeAllForm},
}

// inboxPage is what waits, what is in force, and what is over.
type inboxPage struct {
	Waiting, InForce, Ended []inboxRow
	Tabs                    []inboxTab
	Status                  string
	Party                   consent.Party
	Parties                 []consent.Party
	All                     string // address of the same without a party
	Forgotten               int    // how many that are over are not listed
	More                    int    // how many that are in force are not listed
}

// inboxRow is a request or a grant of the inbox.
type inboxRow struct {
	Consent
	Name   string // of the app, as its manifest says; "" of a transit
	Risks  []consent.Risk
	Widens bool // something is granted to it already
	Last   time.Time
	Known  bool // whether Last is known
	Idle   bool
	Over   time.Time // when it ended, if it did
}

// inboxTab is one filter by status.
type inboxTab struct {
	Status, Name, Path string
	Count              int
	On                 bool
}

// How many of what is over, and of what is in force, are listed; there are filters.
const (
	maxEnded   = 100
	maxInForce = 200
)

// inbox lists requests, the oldest first, as they should be answered, then what was
// granted and what is over.
func (h *Hub) inbox(v *visit) error {
	q, err := v.parameters("status", "party")
	if err != nil {
		return err
	}
	status, party, err := selection(q.Get("status"), q.Get("party"))
	if err != nil {
		return err
	}
	p := inboxPage{Status: status, Party: party, All: inboxPath(status, "")}
	all := Consents(v.state, "", party, v.now)
	for _, c := range all {
		if status != "" && c.Status != status {
			continue
		}
		switch row := v.inboxRow(c); {
		case c.Kind == KindRequest && (c.Status == consent.Open.String() || c.Status == consent.PutOff.String()):
			p.Waiting = append(p.Waiting, row)
		case c.Kind == KindGrant && c.Status == consent.InForce.String():
			p.InForce = append(p.InForce, row)
		default:
			p.Ended = append(p.Ended, row)
		}
	}
	// Who waits longest comes first, and what was put off after what nobody looked at.
	slices.SortStableFunc(p.Waiting, func(a, b inboxRow) int {
		return cmp.Or(cmp.Compare(b.Status, a.Status), a.At.Compare(b.At), cmp.Compare(a.ID, b.ID))
	})
	p.More = max(0, len(p.InForce)-maxInForce)
	p.InForce = p.InForce[:len(p.InForce)-p.More]
	v.whenUsed(p.InForce)
	p.Forgotten = max(0, len(p.Ended)-maxEnded)
	p.Ended = p.Ended[:len(p.Ended)-p.Forgotten]
	p.Tabs = append(p.Tabs, inboxTab{Name: "All", Path: inboxPath("", party), Count: len(all), On: status == ""})
	for _, s := range Statuses {
		n := 0
		for _, c := range all {
			if c.Status == s {
				n++
			}
		}
		p.Tabs = append(p.Tabs, inboxTab{Status: s, Name: s, Path: inboxPath(s, party), Count: n, On: status == s})
	}
	for _, st := range v.state.Parties() {
		p.Parties = append(p.Parties, st.Party)
	}
	return v.show("consents", "Consents", p)
}

func inboxPath(status string, party consent.Party) string {
	q := url.Values{}
	if status != "" {
		q.Set("status", status)
	}
	if party != "" {
		q.Set("party", string(party))
	}
	if len(q) == 0 {
		return "/consents"
	}
	return "/consents?" + q.Encode()
}

// whenUsed says of grants in force when they were last used.
func (v *visit) whenUsed(rows []inboxRow) {
	ids := make([]isogate.EntryID, len(rows))
	for i := range rows {
		ids[i] = rows[i].ID
	}
	uses := v.clerk().lastUses(v.Context(), ids)
	for i := range rows {
		r := &rows[i]
		r.Last, r.Known = uses.of(r.ID)
		r.Idle = r.Known && idle(r.At, r.Last, v.now)
	}
}

func (v *visit) inboxRow(c Consent) inboxRow {
	st := v.state.Party(c.Party)
	row := inboxRow{Consent: c, Name: consent.Shown(st.Manifest.Name), Widens: len(st.Rows(v.now)) > 0}
	if c.Kind == KindRequest {
		r, _ := v.state.Request(c.ID)
		for _, asked := range r.Rows {
			for _, risk := range consent.RisksOf(asked) {
				if !slices.Contains(row.Risks, risk) {
					row.Risks = append(row.Risks, risk)
				}
			}
		}
	}
	return row
}

// parameters reads the query of a page: these names and what was just done, each once.
func (v *visit) parameters(names ...string) (url.Values, error) {
	q, err := url.ParseQuery(v.URL.RawQuery)
	if err != nil {
		return nil, badRequest("the address is not well-formed; use the navigation")
	}
	for name, values := range q {
		if name != "said" && !slices.Contains(names, name) || len(values) != 1 {
			return nil, badRequest("the address says %s, which this page does not know, or knows once only; use the navigation", consent.Shown(name))
		}
	}
	return q, nil
}

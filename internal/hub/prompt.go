package hub

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/remote"
)

// promptPage is a request that waits, as whoever decides must see it.
type promptPage struct {
	Consent Consent
	Rows    []promptRow
	Labels  []string // those that policy lets out over any of the rows
	Unread  bool     // one of the rows leads through a tunnel
	Form    filled
	Seen    []string // what the parts of the prompt were like, for the next page to tell what changed
	Changed []string // since the prompt that was answered
	May     bool     // the visitor may decide
	Mine    bool     // the visitor has approved it
	Agree   []consent.PromptApproval
	// Shut says that no pack is known, so that nothing can be granted.
	Shut bool
	// Granted is how many rows the party may use already.
	Granted int
	Earliest,
	Latest string // of a date to choose
}

// promptRow is one row of it.
type promptRow struct {
	consent.PromptRow
	Ways []promptWay
	// Safe says that nothing about the row is risky and nothing warned of. A row that is
	// not stands unticked until somebody ticks it.
	Safe bool
	Box  string // names its box in the page
}

// promptWay is one way with its sample laid out.
type promptWay struct {
	consent.Way
	Before, After []sampleLine
	Open          bool // laid open; others are folded
}

// sampleLine is a line of a sample; Differs says that it is another one on the other side.
type sampleLine struct {
	Text    string
	Differs bool
}

// consentPage shows a request or a grant.
func (h *Hub) consentPage(v *visit) error {
	if _, err := v.parameters(); err != nil {
		return err
	}
	return v.showConsent(http.StatusOK, filled{})
}

// showConsent shows the request or grant of the path as it is now, with a form that
// somebody filled in, if somebody did.
func (v *visit) showConsent(status int, f filled) error {
	v.state = v.hub.ledger.State()
	id := v.id()
	if g, found := v.state.Grant(id); found {
		return v.showGrant(status, g, f)
	}
	r, found := v.state.Request(id)
	switch {
	case !found:
		return unknownConsent(id)
	case r.Waits(v.now):
		return v.showPrompt(status, r, f)
	}
	return v.showEnded(status, r, f)
}

func (v *visit) id() isogate.EntryID { return isogate.EntryID(v.PathValue("id")) }

// showPrompt shows a request that waits.
func (v *visit) showPrompt(status int, r *consent.Request, f filled) error {
	p := promptPage{Consent: viewRequest(r, v.now), Form: f, May: v.who.May(access.Decide), Granted: len(v.state.Party(r.Party).Rows(v.now)),
		Earliest: v.now.UTC().Format("2006-01-02"), Latest: v.now.UTC().Add(longestFor).Format("2006-01-02")}
	prompt := v.state.Prompt(r, v.hub.describe, v.now)
	var err error
	if p.Consent.PromptDigest, err = prompt.Digest(); err != nil {
		return err
	}
	p.Consent.Prompt = prompt
	for i := range prompt.Rows {
		row := layRow(prompt.Rows[i])
		row.Box = fmt.Sprintf("row-%d", i+1)
		p.Rows = append(p.Rows, row)
		p.Shut = p.Shut || row.Egress.Pack == ""
		for _, w := range row.Egress.Ways {
			p.Unread = p.Unread || w.Tunnel != nil
			for _, l := range w.Leaves {
				if l.Because != "" && !slices.Contains(p.Labels, string(l.Label)) {
					p.Labels = append(p.Labels, string(l.Label))
				}
			}
		}
	}
	slices.Sort(p.Labels)
	for _, a := range prompt.Approvals {
		if a.By.Name == v.who.Name {
			p.Mine = true
		} else {
			p.Agree = append(p.Agree, a)
		}
	}
	parts := partsOf(prompt)
	for _, part := range parts {
		p.Seen = append(p.Seen, part.seen())
	}
	if f.wrong != nil && f.wrong.is("stale-prompt") {
		p.Changed = changed(f.values["seen[]"], parts)
	}
	title := "A request of " + string(r.Party)
	if p.Consent.App != nil && p.Consent.App.Name != "" {
		title = "A request of " + p.Consent.App.Name
	}
	return v.showStatus(status, "consent-prompt", title, p)
}

// layRow lays a row out for a page.
func layRow(r consent.PromptRow) promptRow {
	row := promptRow{PromptRow: r, Safe: len(r.Risks) == 0 && len(r.Warnings) == 0}
	for _, w := range r.Egress.Ways {
		way := promptWay{Way: w}
		if w.Sample != nil {
			way.Before, way.After = sideBySide(w.Sample.Before, w.Sample.After)
			way.Open = len(row.Ways) == 0
		}
		row.Ways = append(row.Ways, way)
		row.Safe = row.Safe && w.Tunnel == nil
	}
	return row
}

// sideBySide lays a sample out in lines, and finds those that differ.
func sideBySide(before, after string) (b, a []sampleLine) {
	lines := func(text string) (out []sampleLine) {
		var pretty bytes.Buffer
		if json.Indent(&pretty, []byte(text), "", "  ") == nil {
			text = pretty.String()
		}
		for line := range strings.SplitSeq(text, "\n") {
			out = append(out, sampleLine{Text: line})
		}
		return out
	}
	b, a = lines(before), lines(after)
	if len(a) == len(b) {
		for i := range a {
			differs := a[i].Text != b[i].Text
			a[i].Differs, b[i].Differs = differs, differs
		}
	}
	return b, a
}

// promptPart is a part of a prompt that may change while somebody looks at it.
type promptPart struct {
	name string // where it is the same part in both
	what string // has changed, in words
	of   any
}

// partsOf are the parts of a prompt.
func partsOf(p *consent.Prompt) []promptPart {
	parts := []promptPart{
		{"standing", "Something else was decided about " + string(p.Party) + " meanwhile.", p.Base},
		{"app", "The app's manifest is another one.", p.App},
		{"approvals", "An administrator approved it meanwhile.", p.Approvals},
	}
	if len(p.Rows) > 0 {
		parts = append(parts, promptPart{"pack", "Another policy is in force.", p.Rows[0].Egress.Pack})
	}
	for _, r := range p.Rows {
		name := "row " + r.Row
		r.Egress.Pack = ""
		parts = append(parts, promptPart{name, "What would leave over this row, or what is known of it, has changed: " + r.Row, r})
	}
	return parts
}

// seen is the part as a form carries it: a digest, and which part it is of.
func (p promptPart) seen() string {
	text, err := json.Marshal(p.of)
	if err != nil { // there is nothing in a prompt that has no JSON
		text = nil
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:12]) + " " + p.name
}

// changed says which parts are not as they were seen. What was seen came with a form,
// and nothing but a comparison is made with it.
func changed(seen []string, now []promptPart) (out []string) {
	for _, p := range now {
		if !slices.Contains(seen, p.seen()) {
			out = append(out, p.what)
		}
	}
	return out
}

// is reports whether a problem is of this code.
func (p *Problem) is(code string) bool { return p.Type == "urn:isogate:problem:"+code }

// limitNames are the fields in which a form has terms.
var limitNames = []string{"rows[]", "labels", "label[]", "span", "until"}

// limits reads the terms of a form. Rows are those that are ticked, also if none is.
func (f filled) limits() (terms, error) {
	t := terms{rows: f.list("rows[]")}
	switch f.Get("labels") {
	case "", "all", "same":
	case "some":
		t.labels = f.list("label[]")
	default:
		return t, about("labels", badRequest("labels: choose all of them, or some"))
	}
	switch span := f.Get("span"); span {
	case "1d", "30d", "90d":
		t.span = span
	case "date":
		if t.until = f.Get("until"); t.until == "" {
			return t, about("until", badRequest("the last day is missing; write it as 2026-12-31"))
		}
	case "", "revoked", "same":
	default:
		return t, about("until", badRequest("choose for how long"))
	}
	return t, nil
}

// grantForm grants what somebody ticked.
func (h *Hub) grantForm(v *visit) error {
	f, err := v.fill(append([]string{"prompt", "seen[]", "reason"}, limitNames...)...)
	if err != nil {
		return err
	}
	d, err := v.grant(f)
	return v.answered(f, d, err)
}

func (v *visit) grant(f filled) (Done, error) {
	t, err := f.limits()
	switch {
	case err != nil:
		return Done{}, err
	case len(*t.rows) == 0:
		return Done{}, about("rows", badRequest("no row is ticked; tick what is to be granted, or deny the request"))
	case f.Get("span") == "":
		return Done{}, about("until", badRequest("choose for how long"))
	}
	return v.clerk().grant(v.Context(), v.id(), granting{terms: t, reason: f.Get("reason"), prompt: f.Get("prompt")})
}

// agreeForm grants exactly what another administrator approved.
func (h *Hub) agreeForm(v *visit) error {
	f, err := v.fill("prompt", "seen[]", "agree", "agree-reason")
	if err != nil {
		return err
	}
	if f.Get("agree") == "" {
		return badRequest("it does not say with whom; load the page again")
	}
	d, err := v.clerk().grant(v.Context(), v.id(), granting{reason: f.Get("agree-reason"), prompt: f.Get("prompt"), agree: f.Get("agree")})
	if p := problemOf(err); err != nil && p.input == "reason" {
		p.input = "agree-reason"
	}
	return v.answered(f, d, err)
}

func (h *Hub) denyForm(v *visit) error  { return v.refuse(consent.Denied) }
func (h *Hub) deferForm(v *visit) error { return v.refuse(consent.Deferred) }

// refuse denies a request or puts it off. Its form has the fields of a grant too, for
// it is the same one; they do not count.
func (v *visit) refuse(what consent.What) error {
	f, err := v.fill(append([]string{"prompt", "seen[]", "reason"}, limitNames...)...)
	if err != nil {
		return err
	}
	d, err := v.clerk().refuse(v.Context(), v.id(), what, f.Get("reason"))
	return v.answered(f, d, err)
}

// answered leads on after an act on a request or grant, or shows it again with what was wrong.
func (v *visit) answered(f filled, d Done, err error) error {
	if err != nil {
		f, status, err := f.because(err, "rows", "labels", "until", "reason", "agree-reason")
		if err != nil {
			return err
		}
		return v.showConsent(status, f)
	}
	to := v.id()
	if d.Consent != nil {
		to = d.Consent.ID
	}
	return v.seeOther("/consents/"+string(to), d.Act)
}

// domain splits a host into what somebody registered and what they chose before it.
// A host below no registrable domain is whole.
func domain(host string) [2]string {
	d := remote.Registrable(host)
	if before, found := strings.CutSuffix(host, d); found && d != "" {
		return [2]string{before, d}
	}
	return [2]string{"", host}
}

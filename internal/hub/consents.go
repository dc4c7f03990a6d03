package hub

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/remote"
)

// ConsentList is requests and grants, the newest first.
type ConsentList struct {
	Consents []Consent `json:"consents"`
}

func (h *Hub) listConsents(c *call) (*answer, error) {
	q, err := c.parameters([]string{"status", "party"})
	if err != nil {
		return nil, err
	}
	status, party := value(q, "status"), consent.Party("")
	if status != "" && !slices.Contains(Statuses, status) {
		return nil, badRequest("the parameter status: use one of %s", strings.Join(Statuses, ", "))
	}
	if p := value(q, "party"); p != "" {
		if party, err = consent.ParseParty(p); err != nil {
			return nil, badRequest("the parameter party: %v", err)
		}
	}
	return ok(ConsentList{Consents(c.state, status, party, c.now)})
}

func (h *Hub) showConsent(c *call) (*answer, error) {
	if _, err := c.parameters(nil); err != nil {
		return nil, err
	}
	v, found, err := FindConsent(c.state, c.id(), h.describe, c.now)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, c.unknown()
	}
	return ok(v)
}

func (c *call) id() isogate.EntryID { return isogate.EntryID(c.PathValue("id")) }

func (c *call) unknown() error {
	return notFound("the ledger has no request or grant %s; see isogate consent list", consent.Shown(c.PathValue("id")))
}

// theRequest is the request that the path names.
func (c *call) theRequest() (*consent.Request, error) {
	if r, found := c.state.Request(c.id()); found {
		return r, nil
	}
	if _, found := c.state.Grant(c.id()); found {
		return nil, conflict("%s is a grant and no request; it can be modified and revoked", c.id())
	}
	return nil, c.unknown()
}

// theGrant is the grant that the path names.
func (c *call) theGrant() (*consent.Grant, error) {
	if g, found := c.state.Grant(c.id()); found {
		return g, nil
	}
	if _, found := c.state.Request(c.id()); found {
		return nil, conflict("%s is a request and no grant; it can be granted, denied and deferred", c.id())
	}
	return nil, c.unknown()
}

// terms are the limits that a caller wrote.
type terms struct {
	rows        *[]string
	labels      *[]string
	until, span string
}

func (t *terms) members(more map[string]any) map[string]any {
	all := map[string]any{"rows": &t.rows, "labels": &t.labels, "until": &t.until, "for": &t.span}
	for name, into := range more {
		all[name] = into
	}
	return all
}

func (t *terms) none() bool {
	return t.rows == nil && t.labels == nil && t.until == "" && t.span == ""
}

// parse reads the limits; what is not there is nil or zero.
func (t *terms) parse(now time.Time) (rows []remote.Row, out consent.Terms, err error) {
	if rows, err = parseRows(t.rows); err != nil {
		return nil, out, err
	}
	if t.labels != nil {
		out.Labels = []isogate.LabelPattern{}
		for _, l := range *t.labels {
			p, err := isogate.ParseLabelPattern(l)
			if err != nil {
				return nil, out, badRequest("labels: %v", err)
			}
			if !slices.Contains(out.Labels, p) {
				out.Labels = append(out.Labels, p)
			}
		}
	}
	switch {
	case t.until != "" && t.span != "":
		return nil, out, badRequest("until and for say the same thing; give one")
	case t.until != "":
		out.Until, err = parseUntil(t.until)
	case t.span != "":
		out.Until, err = parseFor(t.span, now)
	}
	if err == nil && !out.Until.IsZero() && !out.Until.After(now) {
		err = badRequest("the grant would be over already at %s", out.Until.Format(time.RFC3339))
	}
	return rows, out, err
}

// parseUntil reads an instant, or a day, which is then the last one.
func parseUntil(s string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t.UTC(), nil
	}
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return t.AddDate(0, 0, 1), nil
	}
	return time.Time{}, badRequest("until: write the last day as 2026-12-31, or an instant as 2026-12-31T12:00:00Z")
}

// longestFor bounds a span of time; what is meant to be for good has none.
const longestFor = 10 * 365 * 24 * time.Hour

// parseFor reads a span of time: days as 30d, or as Go has it. The end is a whole
// second.
func parseFor(s string, now time.Time) (time.Time, error) {
	var span time.Duration
	if days, is := strings.CutSuffix(s, "d"); is {
		n, err := strconv.ParseUint(days, 10, 12)
		if err != nil {
			return time.Time{}, badSpan()
		}
		span = time.Duration(n) * 24 * time.Hour
	} else {
		var err error
		if span, err = time.ParseDuration(s); err != nil {
			return time.Time{}, badSpan()
		}
	}
	if span < time.Second || span > longestFor {
		return time.Time{}, badSpan()
	}
	return now.Add(span).UTC().Truncate(time.Second), nil
}

func badSpan() error {
	return badRequest("for: write a span of time as 30d, 12h or 90m, at most ten years; without one the grant is until revoked")
}

// grant grants a request, or where two administrators must agree and this is the
// first, approves it. The caller names the prompt that they looked at.
//
// promise: P11
// promise: P12
func (h *Hub) grant(c *call) (*answer, error) {
	var t terms
	var reason, prompt, agree string
	if _, err := c.parameters(nil); err != nil {
		return nil, err
	}
	if err := decode(c, t.members(map[string]any{"reason": &reason, "prompt": &prompt, "agree_with": &agree})); err != nil {
		return nil, err
	}
	if err := checkReason(reason, true); err != nil {
		return nil, err
	}
	r, err := c.theRequest()
	if err != nil {
		return nil, err
	}
	if err := h.looked(c, r, prompt); err != nil {
		return nil, err
	}
	rows, limits, err := t.parse(c.now)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		rows = r.Rows
	}
	if agree != "" {
		if rows, limits, err = agreed(r, agree, &t); err != nil {
			return nil, err
		}
	}
	a := consent.Act{What: consent.Granted, Party: r.Party, Of: r.ID, Actor: c.who, Base: c.state.Party(r.Party).Last, Rows: rows, Terms: limits,
		Prompt: prompt, Reason: reason}
	if !r.Second || approvedByAnother(r, &a) {
		a, err = h.act(c, a)
		if err != nil {
			return nil, err
		}
		return h.done(a, http.StatusOK, "")
	}
	for _, p := range r.Approvals {
		if p.Actor.Name == c.who.Name {
			return nil, conflict("the request needs two administrators, and you have approved it; another one must grant the same")
		}
	}
	a.What = consent.Approved
	if a, err = h.act(c, a); err != nil {
		return nil, err
	}
	return h.done(a, http.StatusAccepted, "nothing is granted yet: the request needs two administrators, and another one must grant the same")
}

// looked checks that the caller looked at the prompt as it is now.
func (h *Hub) looked(c *call, r *consent.Request, prompt string) error {
	if hex, is := strings.CutPrefix(prompt, "sha256:"); !is || len(hex) != 64 || strings.Trim(hex, "0123456789abcdef") != "" {
		return badRequest("the prompt is missing, or is no digest: it is that of what you were shown, prompt_digest of GET %s/consents/%s", Prefix, r.ID)
	}
	if !r.Waits(c.now) {
		return conflict("the request is not open any more: %s", viewRequest(r, c.now).Status)
	}
	p := c.state.Prompt(r, h.describe, c.now)
	if slices.ContainsFunc(p.Rows, func(row consent.PromptRow) bool { return row.Egress.Pack == "" }) {
		return conflict("no pack is known, so that nobody can say what would leave; nothing can be granted until one loads")
	}
	digest, err := p.Digest()
	if err != nil {
		return err
	}
	if prompt != digest {
		return problem(http.StatusConflict, "stale-prompt", "what you were shown is not what is asked now; nothing was granted; look again: isogate consent show "+string(r.ID))
	}
	return nil
}

// agreed is exactly what another administrator approved.
func agreed(r *consent.Request, with string, t *terms) ([]remote.Row, consent.Terms, error) {
	if !t.none() {
		return nil, consent.Terms{}, badRequest("agree_with takes rows, labels and end from the other administrator; leave yours out")
	}
	for _, p := range slices.Backward(r.Approvals) {
		if p.Actor.Name == with {
			return p.Rows, p.Terms, nil
		}
	}
	return nil, consent.Terms{}, conflict("%s has not approved this request", consent.Shown(with))
}

// approvedByAnother reports whether this is the second yes to the same thing. The
// ledger judges that again.
func approvedByAnother(r *consent.Request, a *consent.Act) bool {
	return slices.ContainsFunc(r.Approvals, func(p consent.Approval) bool { return p.Agrees(a) })
}

func (h *Hub) deny(c *call) (*answer, error)   { return h.refuseRequest(c, consent.Denied) }
func (h *Hub) putOff(c *call) (*answer, error) { return h.refuseRequest(c, consent.Deferred) }

// refuseRequest answers a request with what opens nothing, which needs no prompt.
func (h *Hub) refuseRequest(c *call, what consent.What) (*answer, error) {
	var reason string
	if _, err := c.parameters(nil); err != nil {
		return nil, err
	}
	if err := decode(c, map[string]any{"reason": &reason}); err != nil {
		return nil, err
	}
	if err := checkReason(reason, false); err != nil {
		return nil, err
	}
	r, err := c.theRequest()
	if err != nil {
		return nil, err
	}
	a, err := h.act(c, consent.Act{What: what, Party: r.Party, Of: r.ID, Actor: c.who, Reason: reason})
	if err != nil {
		return nil, err
	}
	return h.done(a, http.StatusOK, "")
}

// modify narrows a grant. What the caller leaves out stays as it is.
//
// promise: P14
func (h *Hub) modify(c *call) (*answer, error) {
	var t terms
	var reason string
	if _, err := c.parameters(nil); err != nil {
		return nil, err
	}
	if err := decode(c, t.members(map[string]any{"reason": &reason})); err != nil {
		return nil, err
	}
	if err := checkReason(reason, true); err != nil {
		return nil, err
	}
	g, err := c.theGrant()
	if err != nil {
		return nil, err
	}
	if t.none() {
		return nil, badRequest("nothing is to be changed; give rows, labels, until or for")
	}
	rows, limits, err := t.parse(c.now)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		rows = g.Rows
	}
	if t.labels == nil {
		limits.Labels = g.Terms.Labels
	}
	if limits.Until.IsZero() {
		limits.Until = g.Terms.Until
	}
	a, err := h.act(c, consent.Act{What: consent.Modified, Party: g.Party, Of: g.ID, Actor: c.who, Rows: rows, Terms: limits, Reason: reason})
	if err != nil {
		return nil, err
	}
	return h.done(a, http.StatusOK, "")
}

// revoke ends a grant, or rows of it.
//
// promise: P14
func (h *Hub) revoke(c *call) (*answer, error) {
	rows, reason, _, err := readRevocation(c, false)
	if err != nil {
		return nil, err
	}
	g, err := c.theGrant()
	if err != nil {
		return nil, err
	}
	return h.end(c, consent.Act{What: consent.Revoked, Party: g.Party, Of: g.ID, Actor: c.who, Rows: rows, Reason: reason})
}

// revokeAll ends everything of a party, rows of it, or everything of everybody.
//
// promise: P14
func (h *Hub) revokeAll(c *call) (*answer, error) {
	rows, reason, party, err := readRevocation(c, true)
	if err != nil {
		return nil, err
	}
	return h.end(c, consent.Act{What: consent.Revoked, Party: party, Actor: c.who, Rows: rows, Reason: reason})
}

func readRevocation(c *call, ofParty bool) (rows []remote.Row, reason string, party consent.Party, err error) {
	var words *[]string
	var who string
	members := map[string]any{"rows": &words, "reason": &reason}
	if ofParty {
		members["party"] = &who
	}
	if _, err = c.parameters(nil); err != nil {
		return
	}
	if err = decode(c, members); err != nil {
		return
	}
	if err = checkReason(reason, false); err != nil {
		return
	}
	if rows, err = parseRows(words); err != nil || !ofParty {
		return
	}
	if party = consent.Party(who); party != consent.Everybody {
		if party, err = consent.ParseParty(who); err != nil {
			err = badRequest("party: %v, or * for everybody", err)
		}
	}
	return
}

// end revokes, and says how much that ended.
func (h *Hub) end(c *call, a consent.Act) (*answer, error) {
	had := inForce(c.state, a.Party, c.now)
	a, err := h.act(c, a)
	if err != nil {
		return nil, err
	}
	detail := "nothing of it was in force"
	if gone := had - inForce(h.ledger.State(), a.Party, h.now()); gone > 0 {
		detail = fmt.Sprintf("rows ended: %d; open connections over them are cut", gone)
	}
	return h.done(a, http.StatusOK, detail)
}

// inForce counts the rows that are granted now.
func inForce(s *consent.State, party consent.Party, at time.Time) (n int) {
	for _, st := range s.Parties() {
		if party == consent.Everybody || party == st.Party {
			n += len(st.Rows(at))
		}
	}
	return n
}

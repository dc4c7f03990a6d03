package hub

import (
	"context"
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

// terms are the limits that somebody wrote. Rows and labels that are nil were left out.
type terms struct {
	rows        *[]string
	labels      *[]string
	until, span string
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
				return nil, out, about("labels", badRequest("labels: %v", err))
			}
			if !slices.Contains(out.Labels, p) {
				out.Labels = append(out.Labels, p)
			}
		}
	}
	switch {
	case t.until != "" && t.span != "":
		return nil, out, about("until", badRequest("until and for say the same thing; give one"))
	case t.until != "":
		out.Until, err = parseUntil(t.until)
	case t.span != "":
		out.Until, err = parseFor(t.span, now)
	}
	if err == nil && !out.Until.IsZero() && !out.Until.After(now) {
		err = badRequest("the grant would be over already at %s", out.Until.Format(time.RFC3339))
	}
	return rows, out, about("until", err)
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

// granting is a yes to a request. Terms that are left out limit nothing.
type granting struct {
	terms
	reason string
	prompt string // digest of what they looked at
	// agree names the administrator whose rows and terms are meant, instead of terms.
	agree string
}

// grant grants a request, or where two administrators must agree and this is the
// first, approves it: the act of Done says which. Whoever grants names the prompt
// that they looked at.
//
// promise: P11
// promise: P12
func (k clerk) grant(ctx context.Context, id isogate.EntryID, in granting) (Done, error) {
	if err := checkReason(in.reason, true); err != nil {
		return Done{}, err
	}
	r, err := k.theRequest(id)
	if err != nil {
		return Done{}, err
	}
	if err := k.looked(r, in.prompt); err != nil {
		return Done{}, err
	}
	rows, limits, err := in.parse(k.now)
	if err != nil {
		return Done{}, err
	}
	if len(rows) == 0 {
		rows = r.Rows
	}
	if in.agree != "" {
		if rows, limits, err = agreed(r, in.agree, &in.terms); err != nil {
			return Done{}, err
		}
	}
	a := consent.Act{What: consent.Granted, Party: r.Party, Of: r.ID, Actor: k.who, Base: k.state.Party(r.Party).Last, Rows: rows, Terms: limits,
		Prompt: in.prompt, Reason: in.reason}
	if !r.Second || approvedByAnother(r, &a) {
		return k.do(ctx, a, "")
	}
	for _, p := range r.Approvals {
		if p.Actor.Name == k.who.Name {
			return Done{}, conflict("the request needs two administrators, and you have approved it; another one must grant the same")
		}
	}
	a.What = consent.Approved
	return k.do(ctx, a, "nothing is granted yet: the request needs two administrators, and another one must grant the same")
}

// looked checks that whoever grants looked at the prompt as it is now.
func (k clerk) looked(r *consent.Request, prompt string) error {
	if hex, is := strings.CutPrefix(prompt, "sha256:"); !is || len(hex) != 64 || strings.Trim(hex, "0123456789abcdef") != "" {
		return badRequest("the prompt is missing, or is no digest: it is that of what you were shown, prompt_digest of GET %s/consents/%s", Prefix, r.ID)
	}
	if !r.Waits(k.now) {
		return conflict("the request is not open any more: %s", viewRequest(r, k.now).Status)
	}
	p := k.state.Prompt(r, k.hub.describe, k.now)
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

// refuse answers a request with what opens nothing, and therefore needs no prompt:
// what is [consent.Denied] or [consent.Deferred].
func (k clerk) refuse(ctx context.Context, id isogate.EntryID, what consent.What, reason string) (Done, error) {
	if err := checkReason(reason, false); err != nil {
		return Done{}, err
	}
	r, err := k.theRequest(id)
	if err != nil {
		return Done{}, err
	}
	return k.do(ctx, consent.Act{What: what, Party: r.Party, Of: r.ID, Reason: reason}, "")
}

// narrow makes a grant smaller. What is left out of the terms stays as it is.
//
// promise: P14
func (k clerk) narrow(ctx context.Context, id isogate.EntryID, t terms, reason string) (Done, error) {
	if err := checkReason(reason, true); err != nil {
		return Done{}, err
	}
	g, err := k.theGrant(id)
	if err != nil {
		return Done{}, err
	}
	if t.none() {
		return Done{}, badRequest("nothing is to be changed; give rows, labels, until or for")
	}
	rows, limits, err := t.parse(k.now)
	if err != nil {
		return Done{}, err
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
	return k.do(ctx, consent.Act{What: consent.Modified, Party: g.Party, Of: g.ID, Rows: rows, Terms: limits, Reason: reason}, "")
}

// revoke ends a grant, or rows of it; without rows, all of it.
//
// promise: P14
func (k clerk) revoke(ctx context.Context, id isogate.EntryID, rows *[]string, reason string) (Done, error) {
	named, err := revocation(rows, reason)
	if err != nil {
		return Done{}, err
	}
	g, err := k.theGrant(id)
	if err != nil {
		return Done{}, err
	}
	return k.end(ctx, consent.Act{What: consent.Revoked, Party: g.Party, Of: g.ID, Rows: named, Reason: reason})
}

// revokeAll ends everything of a party, rows of it, or with the party * everything
// of everybody.
//
// promise: P14
func (k clerk) revokeAll(ctx context.Context, who string, rows *[]string, reason string) (Done, error) {
	named, err := revocation(rows, reason)
	if err != nil {
		return Done{}, err
	}
	party := consent.Party(who)
	if party != consent.Everybody {
		if party, err = consent.ParseParty(who); err != nil {
			return Done{}, badRequest("party: %v, or * for everybody", err)
		}
	}
	return k.end(ctx, consent.Act{What: consent.Revoked, Party: party, Rows: named, Reason: reason})
}

func revocation(rows *[]string, reason string) ([]remote.Row, error) {
	if err := checkReason(reason, false); err != nil {
		return nil, err
	}
	return parseRows(rows)
}

// end revokes, and says how much that ended.
func (k clerk) end(ctx context.Context, a consent.Act) (Done, error) {
	had := inForce(k.state, a.Party, k.now)
	a, err := k.record(ctx, a)
	if err != nil {
		return Done{}, err
	}
	detail := "nothing of it was in force"
	if gone := had - inForce(k.hub.ledger.State(), a.Party, k.hub.now()); gone > 0 {
		detail = fmt.Sprintf("rows ended: %d; open connections over them are cut", gone)
	}
	return k.done(a, detail), nil
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

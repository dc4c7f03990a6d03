package hub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/archive"
	"github.com/isogate/isogate/internal/change"
	"github.com/isogate/isogate/internal/policy"
)

// ProposalView is a pack that was proposed: what was done, what it would change, and
// whether it is good.
type ProposalView struct {
	Pack   PackView            `json:"pack"`
	Effect *policy.Effect      `json:"effect,omitempty"` // against the pack in force; absent if it is not kept here
	Checks []policy.Finding    `json:"checks"`           // mistakes that it has by now; none is good
	Tests  []policy.CaseResult `json:"tests"`
}

// PackDone is an act about a pack that was recorded and has its effect.
type PackDone struct {
	Act   string   `json:"act"`
	Entry string   `json:"entry"`
	Pack  PackView `json:"pack"`
}

// noChanges says that nothing can be proposed here.
func (h *Hub) noChanges() error {
	if err := h.noPolicies(); err != nil {
		return err
	}
	if h.policies.Changes == nil || h.policies.Archive == nil {
		return problem(http.StatusNotFound, "no-changes", "this Hub keeps no packs, so that none can be proposed at it")
	}
	return nil
}

// proposal looks at a pack as somebody who decides about it must.
func (h *Hub) proposal(digest string, now time.Time) (ProposalView, *policy.Pack, error) {
	v := ProposalView{Pack: h.thePack(digest), Checks: []policy.Finding{}, Tests: []policy.CaseResult{}}
	if len(v.Pack.Authors) == 0 {
		return v, nil, notFound("nobody has proposed the pack %s", digest)
	}
	p, err := h.packOf(digest)
	if err != nil {
		return v, nil, err
	}
	effect := h.effectOf(p, now)
	v.Effect = &effect
	if files, err := h.filesOf(digest); err == nil {
		var found *policy.Errors
		if _, err := files.Check(now); errors.As(err, &found) {
			v.Checks = found.Findings
		}
	}
	report, err := p.Test(now)
	if err != nil {
		return v, nil, fmt.Errorf("hub: %w", err)
	}
	v.Tests = append(v.Tests, report.Cases...)
	return v, p, nil
}

// Failed is how many of its tests fail.
func (v ProposalView) Failed() int { return policy.TestReport{Cases: v.Tests}.Failed() }

// propose takes an archive of a pack: it must be without mistakes and pass its own
// tests, is kept by its digest, and recorded. It is nowhere in force by that.
//
// promise: P09
func (k clerk) propose(ctx context.Context, body []byte, reason string) (PackDone, error) {
	h := k.hub
	if err := h.noChanges(); err != nil {
		return PackDone{}, err
	}
	if err := checkReason(reason, true); err != nil {
		return PackDone{}, err
	}
	if len(body) == 0 {
		return PackDone{}, about("archive", badRequest("there is no archive; choose a ZIP or tar.gz of the pack's directory"))
	}
	files, err := policy.Unpack(body)
	if err != nil {
		return PackDone{}, about("archive", unprocessable("archive", err.Error(), nil))
	}
	pack, err := files.Check(k.now)
	var found *policy.Errors
	if errors.As(err, &found) {
		return PackDone{}, about("archive", unprocessable("pack", fmt.Sprintf("the pack has %d %s; it is not proposed", len(found.Findings), plural(len(found.Findings), "mistake", "mistakes")), found.Findings))
	} else if err != nil {
		return PackDone{}, fmt.Errorf("hub: %w", err)
	}
	report, err := pack.Test(k.now)
	if err != nil {
		return PackDone{}, fmt.Errorf("hub: %w", err)
	}
	if n := report.Failed(); n > 0 {
		var failures []policy.Finding
		for _, c := range report.Cases {
			failures = append(failures, c.Failures...)
		}
		return PackDone{}, about("archive", unprocessable("pack-tests", fmt.Sprintf("of its own %d tests, %d fail; it is not proposed", len(report.Cases), n), failures))
	}
	plan := pack.Plan()
	if c, ok := h.changes().Change(plan.Digest); ok && c.Ended == nil && c.Author(k.who.Name) {
		return PackDone{}, conflict("you have proposed exactly this pack already; see /proposals/%s", plan.Digest)
	}
	if _, err := h.policies.Archive.Offer(files); errors.Is(err, archive.ErrFull) {
		return PackDone{}, problem(http.StatusInsufficientStorage, "archive-full", err.Error())
	} else if err != nil {
		return PackDone{}, fmt.Errorf("hub: %w", err)
	}
	effect := h.effectOf(pack, k.now)
	return k.change(ctx, change.Act{What: change.Proposed, Pack: plan.Digest, Name: plan.Name, Version: plan.Version, Against: effect.Before, Effect: effect.Word(), Reason: reason})
}

// unprocessable says what is wrong with a pack that somebody sent, at which places.
func unprocessable(code, detail string, found []policy.Finding) error {
	const most = 200
	p := problem(http.StatusUnprocessableEntity, code, detail)
	p.Title = "The pack is not understood"
	for i, f := range found {
		if i == most {
			break
		}
		p.Findings = append(p.Findings, Finding{Line: f.Line, Column: f.Column, Message: f.File + ": " + f.Message, Hint: f.Hint})
	}
	return p
}

// approve agrees to a pack that others proposed. Whoever approves names the pack in
// force that they saw it compared with, for the effect is that of the two.
//
// promise: P09
func (k clerk) approve(ctx context.Context, digest, against, reason string) (PackDone, error) {
	h := k.hub
	c, err := k.proposed(digest)
	if err != nil {
		return PackDone{}, err
	}
	if err := checkReason(reason, true); err != nil {
		return PackDone{}, err
	}
	if c.Author(k.who.Name) {
		return PackDone{}, problem(http.StatusForbidden, "own-change", "you have proposed this pack; somebody else must approve it, whatever your roles")
	}
	pack, err := h.packOf(digest)
	if err != nil {
		return PackDone{}, err
	}
	effect := h.effectOf(pack, k.now)
	if against != effect.Before {
		return PackDone{}, problem(http.StatusConflict, "stale-effect", "what you saw it compared with is not the pack in force now; nothing was approved; look at what it changes again")
	}
	return k.change(ctx, change.Act{What: change.Approved, Pack: digest, Name: c.Name, Version: c.Version, Against: effect.Before, Effect: effect.Word(), Reason: reason})
}

// reject ends a proposal of somebody else's, and withdraw one's own.
func (k clerk) reject(ctx context.Context, digest, reason string) (PackDone, error) {
	return k.endChange(ctx, change.Rejected, digest, reason)
}

func (k clerk) withdraw(ctx context.Context, digest, reason string) (PackDone, error) {
	return k.endChange(ctx, change.Withdrawn, digest, reason)
}

func (k clerk) endChange(ctx context.Context, what change.What, digest, reason string) (PackDone, error) {
	c, err := k.proposed(digest)
	if err != nil {
		return PackDone{}, err
	}
	if err := checkReason(reason, true); err != nil {
		return PackDone{}, err
	}
	return k.change(ctx, change.Act{What: what, Pack: digest, Name: c.Name, Version: c.Version, Reason: reason})
}

// proposed is what was done about a pack that somebody proposed.
func (k clerk) proposed(digest string) (*change.Change, error) {
	if err := k.hub.noChanges(); err != nil {
		return nil, err
	}
	if _, err := digestOf(digest); err != nil {
		return nil, err
	}
	c, ok := k.hub.changes().Change(digest)
	if !ok || len(c.Proposals) == 0 {
		return nil, notFound("nobody has proposed the pack %s", digest)
	}
	return c, nil
}

// change records an act about a pack, and says what became of it.
func (k clerk) change(ctx context.Context, a change.Act) (PackDone, error) {
	// Whoever acted may hang up; the act goes on.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), waitForEffect)
	defer cancel()
	a.Actor = change.Actor{Name: k.who.Name, SignedIn: k.who.SignedIn}
	a, err := k.hub.policies.Changes.Do(ctx, a)
	switch {
	case err == nil:
		return PackDone{Act: a.What.String(), Entry: string(a.ID), Pack: k.hub.thePack(a.Pack)}, nil
	case errors.Is(err, change.ErrNoEffect):
		return PackDone{}, notEffective(err, a.ID)
	case a.ID != "":
		p := problem(http.StatusServiceUnavailable, "effect-unknown", err.Error())
		p.Entry = a.ID
		return PackDone{}, p
	}
	return PackDone{}, problem(http.StatusServiceUnavailable, "not-recorded", err.Error())
}

// policyRoutes are the API of what the pages about policy do.
var policyRoutes = []route{
	{"GET", "/packs", access.Read, true, (*Hub).apiPacks},
	{"GET", "/packs/{digest}", access.Read, true, (*Hub).apiPack},
	{"GET", "/packs/{digest}/effect", access.Read, true, (*Hub).apiEffect},
	{"GET", "/packs/{digest}/transits/{name}", access.Read, true, (*Hub).apiTransit},
	{"GET", "/proposals", access.Read, true, (*Hub).apiProposals},
	{"POST", "/proposals", access.Propose, true, (*Hub).apiPropose},
	{"GET", "/proposals/{digest}", access.Read, true, (*Hub).apiProposal},
	{"POST", "/proposals/{digest}/approve", access.Approve, true, (*Hub).apiApprove},
	{"POST", "/proposals/{digest}/reject", access.Approve, true, (*Hub).apiReject},
	{"POST", "/proposals/{digest}/withdraw", access.Propose, true, (*Hub).apiWithdraw},
	{"POST", "/preview", access.Values, true, (*Hub).apiPreview},
}

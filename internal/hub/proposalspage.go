package hub

import (
	"context"
	"errors"
	"net/http"

	"github.com/isogate/isogate/internal/access"
)

var proposalPages = []page{
	{pattern: "GET /proposals", need: access.Read, stale: true, do: (*Hub).proposalsPage},
	{pattern: "POST /proposals", need: access.Propose, stale: true, do: (*Hub).proposeForm},
	{pattern: "GET /proposals/{digest}", need: access.Read, stale: true, do: (*Hub).proposalPage},
	{pattern: "POST /proposals/{digest}/approve", need: access.Approve, stale: true, proof: true, do: (*Hub).approveForm},
	{pattern: "POST /proposals/{digest}/reject", need: access.Approve, stale: true, do: (*Hub).rejectForm},
	{pattern: "POST /proposals/{digest}/withdraw", need: access.Propose, stale: true, do: (*Hub).withdrawForm},
}

// ending is an act that ends a proposal: a rejection or a withdrawal.
type ending func(k clerk, ctx context.Context, digest, reason string) (PackDone, error)

// proposalsData is what the list of proposals shows.
type proposalsData struct {
	Proposals  []PackView
	Needed     int
	MayPropose bool
	Trouble    string
	Problem    *Problem // of what was just sent
	Reason     string
}

func (h *Hub) proposalsPage(v *visit) error { return h.showProposals(v, http.StatusOK, nil, "") }

func (h *Hub) showProposals(v *visit, status int, p *Problem, reason string) error {
	if err := h.noChanges(); err != nil {
		return err
	}
	return v.showStatus(status, "proposals", "Proposals", proposalsData{Proposals: proposals(h.packViews()), Needed: h.policies.Approvals,
		MayPropose: v.who.May(access.Propose), Trouble: h.changesTrouble(), Problem: p, Reason: reason})
}

func (h *Hub) proposeForm(v *visit) error {
	texts, body, err := upload(v.Request, "archive", "reason")
	if err != nil {
		return err
	}
	d, err := v.clerk().propose(v.Context(), body, texts["reason"])
	var p *Problem
	if errors.As(err, &p) && p.input != "" {
		return h.showProposals(v, p.Status, p, texts["reason"])
	}
	if err != nil {
		return err
	}
	return v.seeOther("/proposals/"+d.Pack.Digest, "proposed")
}

func (h *Hub) proposalPage(v *visit) error {
	return h.showProposal(v, http.StatusOK, v.PathValue("digest"), nil, "")
}

func (h *Hub) showProposal(v *visit, status int, digest string, wrong *Problem, reason string) error {
	if err := h.noChanges(); err != nil {
		return err
	}
	digest, err := digestOf(digest)
	if err != nil {
		return err
	}
	view, p, err := h.proposal(digest, v.now)
	var missing *Problem
	if errors.As(err, &missing) && len(view.Pack.Authors) > 0 {
		err = nil // what was done can be shown all the same
	}
	if err != nil {
		return err
	}
	data := struct {
		ProposalView
		Missing                        string // why the pack itself cannot be shown
		Files                          []fileDiff
		Own, MayApprove, MayTakeBack   bool
		Open, Approved                 bool
		Wrong                          *Problem
		Reason, Against, Trouble, Next string
	}{ProposalView: view, Wrong: wrong, Reason: reason, Against: h.policies.InForce().Plan().Digest, Trouble: h.changesTrouble()}
	if missing != nil {
		data.Missing = missing.Detail
	} else {
		data.Files = h.filesDiff(data.Against, p.Plan().Digest)
	}
	c, _ := h.changes().Change(digest)
	data.Own = c.Author(v.who.Name)
	data.Open = c.Ended == nil && !view.Pack.InForce && view.Pack.Standing != wasInForce
	data.Approved = view.Pack.Refused == "" && view.Pack.Approvals > 0
	data.MayApprove = v.who.May(access.Approve)
	data.MayTakeBack = v.who.May(access.Propose) && data.Own
	return v.showStatus(status, "proposal", "Proposal "+packTitle(view.Pack), data)
}

func (h *Hub) approveForm(v *visit) error {
	f, err := v.form("reason", "against")
	if err != nil {
		return err
	}
	_, err = v.clerk().approve(v.Context(), v.PathValue("digest"), f.Get("against"), f.Get("reason"))
	return h.decided(v, err, f.Get("reason"), "pack-approved")
}

func (h *Hub) rejectForm(v *visit) error   { return h.endForm(v, clerk.reject, "pack-rejected") }
func (h *Hub) withdrawForm(v *visit) error { return h.endForm(v, clerk.withdraw, "withdrawn") }

func (h *Hub) endForm(v *visit, end ending, say string) error {
	f, err := v.form("reason")
	if err != nil {
		return err
	}
	_, err = end(v.clerk(), v.Context(), v.PathValue("digest"), f.Get("reason"))
	return h.decided(v, err, f.Get("reason"), say)
}

// decided shows what became of a decision: the proposal as it is now, or again with
// what was wrong about the form.
func (h *Hub) decided(v *visit, err error, reason, say string) error {
	var p *Problem
	if errors.As(err, &p) && p.input == "reason" {
		return h.showProposal(v, p.Status, v.PathValue("digest"), p, reason)
	}
	if err != nil {
		return err
	}
	return v.seeOther("/proposals/"+v.PathValue("digest"), say)
}

package hub

import (
	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/policy"
)

// PackDetail is one pack whose files are here.
type PackDetail struct {
	PackView
	Description string             `json:"description,omitempty"`
	Transits    []isogate.Transit  `json:"transits"`
	Invariants  []policy.Invariant `json:"invariants"`
	Files       []string           `json:"files"`
}

func (h *Hub) apiPacks(c *call) (*answer, error) {
	if _, err := c.parameters(nil); err != nil {
		return nil, err
	}
	if err := h.noPolicies(); err != nil {
		return nil, err
	}
	return ok(PackList{h.packViews()})
}

// callPack is the pack that a path names.
func (h *Hub) callPack(c *call, parameters ...string) (*policy.Pack, map[string][]string, error) {
	q, err := c.parameters(parameters)
	if err != nil {
		return nil, nil, err
	}
	digest, err := digestOf(c.PathValue("digest"))
	if err != nil {
		return nil, nil, err
	}
	p, err := h.packOf(digest)
	return p, q, err
}

func (h *Hub) apiPack(c *call) (*answer, error) {
	p, _, err := h.callPack(c)
	if err != nil {
		return nil, err
	}
	plan := p.Plan()
	d := PackDetail{PackView: h.thePack(plan.Digest), Description: plan.Description, Transits: []isogate.Transit{}, Invariants: append([]policy.Invariant{}, plan.Invariants()...), Files: []string{}}
	for _, t := range plan.Transits() {
		d.Transits = append(d.Transits, t.Name)
	}
	if files, err := h.filesOf(plan.Digest); err == nil {
		for path := range files.All() {
			d.Files = append(d.Files, path)
		}
	}
	return ok(d)
}

// apiEffect compares a pack with another one, or with the one in force: what changes
// when it takes that one's place.
func (h *Hub) apiEffect(c *call) (*answer, error) {
	p, q, err := h.callPack(c, "against")
	if err != nil {
		return nil, err
	}
	before := h.policies.InForce()
	if against := value(q, "against"); against != "" {
		if against, err = digestOf(against); err == nil {
			before, err = h.packOf(against)
		}
		if err != nil {
			return nil, err
		}
	}
	return ok(policy.Compare(before.Plan(), p.Plan(), c.now))
}

func (h *Hub) apiTransit(c *call) (*answer, error) {
	p, _, err := h.callPack(c)
	if err != nil {
		return nil, err
	}
	v, _, err := h.transitView(c.Context(), p, isogate.Transit(c.PathValue("name")), c.now)
	if err != nil {
		return nil, err
	}
	return ok(v)
}

func (h *Hub) apiProposals(c *call) (*answer, error) {
	if _, err := c.parameters(nil); err != nil {
		return nil, err
	}
	if err := h.noPolicies(); err != nil {
		return nil, err
	}
	return ok(PackList{proposals(h.packViews())})
}

// proposals are the packs that somebody has proposed.
func proposals(all []PackView) []PackView {
	out := []PackView{}
	for _, v := range all {
		if len(v.Authors) > 0 {
			out = append(out, v)
		}
	}
	return out
}

func (h *Hub) apiProposal(c *call) (*answer, error) {
	if _, err := c.parameters(nil); err != nil {
		return nil, err
	}
	if err := h.noPolicies(); err != nil {
		return nil, err
	}
	digest, err := digestOf(c.PathValue("digest"))
	if err != nil {
		return nil, err
	}
	v, _, err := h.proposal(digest, c.now)
	if err != nil {
		return nil, err
	}
	return ok(v)
}

// apiPropose takes the archive as the body, and the reason as a parameter.
func (h *Hub) apiPropose(c *call) (*answer, error) {
	q, err := c.parameters([]string{"reason"})
	if err != nil {
		return nil, err
	}
	body, err := c.readBody()
	if err != nil {
		return nil, err
	}
	d, err := c.clerk(h).propose(c.Context(), body, value(q, "reason"))
	if err != nil {
		return nil, err
	}
	return ok(d)
}

func (h *Hub) apiApprove(c *call) (*answer, error) {
	var reason, against string
	if _, err := c.parameters(nil); err != nil {
		return nil, err
	}
	if err := decode(c, map[string]any{"reason": &reason, "against": &against}); err != nil {
		return nil, err
	}
	d, err := c.clerk(h).approve(c.Context(), c.PathValue("digest"), against, reason)
	if err != nil {
		return nil, err
	}
	return ok(d)
}

func (h *Hub) apiReject(c *call) (*answer, error)   { return h.apiEnd(c, clerk.reject) }
func (h *Hub) apiWithdraw(c *call) (*answer, error) { return h.apiEnd(c, clerk.withdraw) }

func (h *Hub) apiEnd(c *call, end ending) (*answer, error) {
	var reason string
	if _, err := c.parameters(nil); err != nil {
		return nil, err
	}
	if err := decode(c, map[string]any{"reason": &reason}); err != nil {
		return nil, err
	}
	d, err := end(c.clerk(h), c.Context(), c.PathValue("digest"), reason)
	if err != nil {
		return nil, err
	}
	return ok(d)
}

func (h *Hub) apiPreview(c *call) (*answer, error) {
	var s Specimen
	if _, err := c.parameters(nil); err != nil {
		return nil, err
	}
	if err := decode(c, map[string]any{"pack": &s.Pack, "transit": &s.Transit, "source": &s.Source, "method": &s.Method, "path": &s.Path, "query": &s.Query,
		"headers": &s.Headers, "cookies": &s.Cookies, "content_type": &s.ContentType, "body": &s.Body, "at": &s.At}); err != nil {
		return nil, err
	}
	p, err := h.preview(&s, c.now)
	if err != nil {
		return nil, err
	}
	return ok(p)
}

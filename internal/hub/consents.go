package hub

import (
	"net/http"
	"slices"
	"strings"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
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
	status, party, err := selection(value(q, "status"), value(q, "party"))
	if err != nil {
		return nil, err
	}
	return ok(ConsentList{Consents(c.state, status, party, c.now)})
}

// selection reads which requests and grants are meant; what is empty selects all.
func selection(status, who string) (string, consent.Party, error) {
	if status != "" && !slices.Contains(Statuses, status) {
		return "", "", badRequest("the parameter status: use one of %s", strings.Join(Statuses, ", "))
	}
	if who == "" {
		return status, "", nil
	}
	party, err := consent.ParseParty(who)
	if err != nil {
		return "", "", badRequest("the parameter party: %v", err)
	}
	return status, party, nil
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
		return nil, unknownConsent(c.id())
	}
	if g, found := c.state.Grant(c.id()); found {
		v.Usage = c.clerk(h).usageOf(c.Context(), g)
	}
	return ok(v)
}

func (c *call) id() isogate.EntryID { return isogate.EntryID(c.PathValue("id")) }

// read reads a body of these members, of an operation without parameters.
func (c *call) read(members map[string]any) error {
	if _, err := c.parameters(nil); err != nil {
		return err
	}
	return decode(c, members)
}

func (t *terms) members(more map[string]any) map[string]any {
	all := map[string]any{"rows": &t.rows, "labels": &t.labels, "until": &t.until, "for": &t.span}
	for name, into := range more {
		all[name] = into
	}
	return all
}

// answered is the answer that tells of an act.
func answered(d Done, err error) (*answer, error) {
	if err != nil {
		return nil, err
	}
	if d.Act == consent.Approved.String() {
		return &answer{status: http.StatusAccepted, body: d}, nil
	}
	return ok(d)
}

func (h *Hub) grant(c *call) (*answer, error) {
	var in granting
	if err := c.read(in.members(map[string]any{"reason": &in.reason, "prompt": &in.prompt, "agree_with": &in.agree})); err != nil {
		return nil, err
	}
	return answered(c.clerk(h).grant(c.Context(), c.id(), in))
}

func (h *Hub) deny(c *call) (*answer, error)   { return h.refuseRequest(c, consent.Denied) }
func (h *Hub) putOff(c *call) (*answer, error) { return h.refuseRequest(c, consent.Deferred) }

func (h *Hub) refuseRequest(c *call, what consent.What) (*answer, error) {
	var reason string
	if err := c.read(map[string]any{"reason": &reason}); err != nil {
		return nil, err
	}
	return answered(c.clerk(h).refuse(c.Context(), c.id(), what, reason))
}

func (h *Hub) modify(c *call) (*answer, error) {
	var t terms
	var reason string
	if err := c.read(t.members(map[string]any{"reason": &reason})); err != nil {
		return nil, err
	}
	return answered(c.clerk(h).narrow(c.Context(), c.id(), t, reason))
}

func (h *Hub) revoke(c *call) (*answer, error) {
	var rows *[]string
	var reason string
	if err := c.read(map[string]any{"rows": &rows, "reason": &reason}); err != nil {
		return nil, err
	}
	return answered(c.clerk(h).revoke(c.Context(), c.id(), rows, reason))
}

func (h *Hub) revokeAll(c *call) (*answer, error) {
	var rows *[]string
	var reason, party string
	if err := c.read(map[string]any{"rows": &rows, "reason": &reason, "party": &party}); err != nil {
		return nil, err
	}
	return answered(c.clerk(h).revokeAll(c.Context(), party, rows, reason))
}

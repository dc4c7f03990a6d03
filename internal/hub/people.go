package hub

import (
	"net/url"
	"time"

	"github.com/isogate/isogate/internal/access"
)

// peoplePages are an owner's: who may sit here, and as what.
var peoplePages = []page{
	{pattern: "GET /people", need: access.Own, stale: true, do: (*Hub).people},
	{pattern: "POST /people", need: access.Own, stale: true, proof: true, do: (*Hub).invite},
	{pattern: "POST /people/{name}/give", need: access.Own, stale: true, proof: true, do: (*Hub).giveRole},
	{pattern: "POST /people/{name}/take", need: access.Own, stale: true, proof: true, do: (*Hub).takeRole},
	{pattern: "POST /people/{name}/remove", need: access.Own, stale: true, proof: true, do: (*Hub).removePerson},
	{pattern: "POST /people/{name}/end", need: access.Own, stale: true, do: (*Hub).endSessionsOf},
	{pattern: "POST /links/{id}/revoke", need: access.Own, stale: true, do: (*Hub).revokeLink},
	{pattern: "GET /sessions", need: access.Own, stale: true, do: (*Hub).sessions},
	{pattern: "POST /sessions/{id}/end", need: access.Own, stale: true, do: (*Hub).endSession},
	{pattern: "GET /tokens", need: access.Own, stale: true, do: (*Hub).tokens},
	{pattern: "POST /tokens/{id}/revoke", need: access.Own, stale: true, do: (*Hub).revokeToken},
}

func (h *Hub) people(v *visit) error {
	d, err := h.door()
	if err != nil {
		return err
	}
	return v.show("people", "People", struct {
		Members []access.Member
		Links   []access.Link
		Roles   []access.Role
		// Provider is the host of the provider, "" if there is none.
		Provider string
	}{d.Members(), d.State().Links(v.now), access.Roles, h.providerHost()})
}

// rolesOf reads the roles of a form or a call.
func rolesOf(words []string) (roles []access.Role, err error) {
	for _, w := range words {
		r, err := access.ParseRole(w)
		if err != nil {
			return nil, badRequest("%v", err)
		}
		roles = append(roles, r)
	}
	return roles, nil
}

// linkURL is where a one-time link leads.
func (h *Hub) linkURL(secret string) string {
	u := *h.url
	u.Path, u.RawQuery = "/signin/link", url.Values{"key": {secret}}.Encode()
	return u.String()
}

// providerHost is where people sign in by OpenID Connect, "" if they do not.
func (h *Hub) providerHost() string {
	if h.provider == nil {
		return ""
	}
	return h.provider.Host()
}

// invite makes a link for a person and shows it, this once; or it gives roles to a
// name that the provider has for somebody, who needs no link.
func (h *Hub) invite(v *visit) error {
	d, err := h.door()
	if err != nil {
		return err
	}
	f, err := v.form("name", "roles[]", "by")
	if err != nil {
		return err
	}
	roles, err := rolesOf(f["roles[]"])
	if err != nil {
		return err
	}
	if f.Get("by") == "provider" {
		if err := d.GiveRoles(v.Context(), v.who, f.Get("name"), roles, ""); err != nil {
			return signInProblem(err)
		}
		return v.seeOther("/people", "role-given")
	}
	secret, err := d.Invite(v.Context(), v.who, f.Get("name"), roles)
	if err != nil {
		return signInProblem(err)
	}
	return v.show("invitation", "A link for "+f.Get("name"), struct {
		URL, Name string
		Until     time.Time
	}{h.linkURL(secret), f.Get("name"), v.now.Add(access.LinkHolds)})
}

func (h *Hub) giveRole(v *visit) error {
	return h.changeRole(v, (*access.Desk).GiveRoles, "role-given")
}

func (h *Hub) takeRole(v *visit) error {
	return h.changeRole(v, (*access.Desk).TakeRoles, "role-taken")
}

func (h *Hub) changeRole(v *visit, change roleChange, what string) error {
	d, err := h.door()
	if err != nil {
		return err
	}
	f, err := v.form("role", "reason")
	if err != nil {
		return err
	}
	roles, err := rolesOf(f["role"])
	if err != nil {
		return err
	}
	if err := checkReason(f.Get("reason"), false); err != nil {
		return err
	}
	if err := change(d, v.Context(), v.who, v.PathValue("name"), roles, f.Get("reason")); err != nil {
		return signInProblem(err)
	}
	return v.seeOther("/people", what)
}

func (h *Hub) removePerson(v *visit) error {
	d, err := h.door()
	if err != nil {
		return err
	}
	f, err := v.form("reason")
	if err != nil {
		return err
	}
	if err := checkReason(f.Get("reason"), false); err != nil {
		return err
	}
	if err := d.Remove(v.Context(), v.who, v.PathValue("name"), f.Get("reason")); err != nil {
		return signInProblem(err)
	}
	return v.seeOther("/people", "removed")
}

func (h *Hub) endSessionsOf(v *visit) error {
	d, err := h.door()
	if err != nil {
		return err
	}
	if err := v.nothing(); err != nil {
		return err
	}
	if err := d.RevokeSessions(v.Context(), v.who, v.PathValue("name")); err != nil {
		return signInProblem(err)
	}
	return v.seeOther("/people", "session-ended")
}

func (h *Hub) revokeLink(v *visit) error {
	return h.endOne(v, "/people", func(d *access.Desk, id access.Digest) error { return d.RevokeLink(v.Context(), v.who, id) }, "link-revoked")
}

func (h *Hub) sessions(v *visit) error {
	if _, err := h.door(); err != nil {
		return err
	}
	return v.show("sessions", "Sessions", h.sessionRows(v, ""))
}

func (h *Hub) endSession(v *visit) error {
	return h.endOne(v, "/sessions", func(d *access.Desk, id access.Digest) error { return d.RevokeSession(v.Context(), v.who, id) }, "session-ended")
}

func (h *Hub) tokens(v *visit) error {
	if _, err := h.door(); err != nil {
		return err
	}
	return v.show("tokens", "API tokens", h.tokenRows(v, ""))
}

func (h *Hub) revokeToken(v *visit) error {
	return h.endOne(v, "/tokens", func(d *access.Desk, id access.Digest) error { return d.RevokeToken(v.Context(), v.who, id) }, "token-revoked")
}

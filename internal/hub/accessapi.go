package hub

import (
	"context"
	"net/http"
	"time"

	"github.com/isogate/isogate/internal/access"
)

// accessRoutes are the API of what the pages about people do.
var accessRoutes = []route{
	{"GET", "/me", access.Read, true, (*Hub).apiMe},
	{"GET", "/people", access.Own, true, (*Hub).apiPeople},
	{"POST", "/people", access.Own, true, (*Hub).apiInvite},
	{"POST", "/people/{name}/roles", access.Own, true, (*Hub).apiRoles},
	{"POST", "/people/{name}/remove", access.Own, true, (*Hub).apiRemove},
	{"GET", "/sessions", access.Own, true, (*Hub).apiSessions},
	{"POST", "/sessions/{id}/revoke", access.Own, true, (*Hub).apiEndSession},
	{"GET", "/tokens", access.Read, true, (*Hub).apiTokens},
	{"POST", "/tokens", access.Read, true, (*Hub).apiMakeToken},
	{"POST", "/tokens/{id}/revoke", access.Read, true, (*Hub).apiRevokeToken},
}

// Me is who a token acts as.
type Me struct {
	Name     string        `json:"name"`
	SignedIn string        `json:"signed_in"`
	Roles    []access.Role `json:"roles"`
	Rights   []string      `json:"rights"` // of the roles, less what the token leaves out
}

// PersonView is one person, as owners see them.
type PersonView struct {
	Name       string        `json:"name"`
	Roles      []access.Role `json:"roles"`    // that they have now
	Withheld   []access.Role `json:"withheld"` // that an owner took from them
	Configured bool          `json:"configured"`
	Removed    bool          `json:"removed"`
	Last       *time.Time    `json:"last_signed_in,omitempty"`
	Passkeys   int           `json:"passkeys"`
	Sessions   int           `json:"sessions"`
	Tokens     int           `json:"tokens"`
}

// PersonList is everybody, by name.
type PersonList struct {
	People []PersonView `json:"people"`
}

// Invitation is a one-time link. It is shown once.
type Invitation struct {
	Name  string    `json:"name"`
	URL   string    `json:"url"`
	Until time.Time `json:"until"`
}

// SessionView is one session.
type SessionView struct {
	ID       access.Digest `json:"id"`
	Person   string        `json:"person"`
	SignedIn string        `json:"signed_in"`
	Began    time.Time     `json:"began"`
	Until    time.Time     `json:"until"`
	Used     *time.Time    `json:"last_used,omitempty"` // with the gateway that answers
}

// SessionList is all sessions, the newest first.
type SessionList struct {
	Sessions []SessionView `json:"sessions"`
}

// TokenView is one API token. Token itself is there in the answer that makes it only.
type TokenView struct {
	ID     access.Digest `json:"id"`
	Person string        `json:"person"`
	Name   string        `json:"name"`
	Rights []string      `json:"rights"`
	Made   time.Time     `json:"made"`
	Until  time.Time     `json:"until"`
	Used   *time.Time    `json:"last_used,omitempty"` // day, with the gateway that answers
	Token  string        `json:"token,omitempty"`
}

// TokenList is API tokens, the newest first: the caller's, or everybody's for an owner.
type TokenList struct {
	Tokens []TokenView `json:"tokens"`
}

func rightNames(rights []access.Right) []string {
	out := make([]string, len(rights))
	for i, r := range rights {
		out[i] = r.String()
	}
	return out
}

func roleList(roles []access.Role) []access.Role { return append([]access.Role{}, roles...) }

func (h *Hub) apiMe(c *call) (*answer, error) {
	if _, err := c.parameters(nil); err != nil {
		return nil, err
	}
	m := Me{Name: c.visitor.Name, SignedIn: c.visitor.SignedIn, Roles: roleList(c.visitor.Roles), Rights: []string{}}
	for _, r := range access.Rights {
		if c.visitor.May(r) {
			m.Rights = append(m.Rights, r.String())
		}
	}
	return ok(m)
}

func (h *Hub) apiPeople(c *call) (*answer, error) {
	if _, err := c.parameters(nil); err != nil {
		return nil, err
	}
	out := PersonList{[]PersonView{}}
	for _, m := range h.desk.Members() {
		out.People = append(out.People, PersonView{m.Name, roleList(m.Roles), roleList(m.Withheld), m.Configured, m.Removed, instant(m.Last), m.Passkeys, m.Sessions, m.Tokens})
	}
	return ok(out)
}

func (h *Hub) apiInvite(c *call) (*answer, error) {
	var name string
	var words []string
	if _, err := c.parameters(nil); err != nil {
		return nil, err
	}
	if err := decode(c, map[string]any{"name": &name, "roles": &words}); err != nil {
		return nil, err
	}
	roles, err := rolesOf(words)
	if err != nil {
		return nil, err
	}
	secret, err := h.desk.Invite(c.Context(), c.visitor, name, roles)
	if err != nil {
		return nil, signInProblem(err)
	}
	return ok(Invitation{name, h.linkURL(secret), c.now.Add(access.LinkHolds).UTC()})
}

type roleChange func(d *access.Desk, ctx context.Context, by access.Visitor, person string, roles []access.Role, reason string) error

// apiRoles gives and takes roles. What is taken is taken first: an act that fails in
// the middle has given nothing.
func (h *Hub) apiRoles(c *call) (*answer, error) {
	var give, take []string
	var reason string
	if _, err := c.parameters(nil); err != nil {
		return nil, err
	}
	if err := decode(c, map[string]any{"give": &give, "take": &take, "reason": &reason}); err != nil {
		return nil, err
	}
	if err := checkReason(reason, false); err != nil {
		return nil, err
	}
	if len(give)+len(take) == 0 {
		return nil, badRequest("nothing is to be changed; name roles under give or take")
	}
	for _, step := range []struct {
		words  []string
		change roleChange
	}{{take, (*access.Desk).TakeRoles}, {give, (*access.Desk).GiveRoles}} {
		roles, err := rolesOf(step.words)
		if err != nil {
			return nil, err
		}
		if len(roles) == 0 {
			continue
		}
		if err := step.change(h.desk, c.Context(), c.visitor, c.PathValue("name"), roles, reason); err != nil {
			return nil, signInProblem(err)
		}
	}
	return h.apiPerson(c)
}

// apiPerson is the person of the path.
func (h *Hub) apiPerson(c *call) (*answer, error) {
	for _, m := range h.desk.Members() {
		if m.Name == c.PathValue("name") {
			return ok(PersonView{m.Name, roleList(m.Roles), roleList(m.Withheld), m.Configured, m.Removed, instant(m.Last), m.Passkeys, m.Sessions, m.Tokens})
		}
	}
	return nil, notFound("there is no such person")
}

func (h *Hub) apiRemove(c *call) (*answer, error) {
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
	if err := h.desk.Remove(c.Context(), c.visitor, c.PathValue("name"), reason); err != nil {
		return nil, signInProblem(err)
	}
	return h.apiPerson(c)
}

func (h *Hub) apiSessions(c *call) (*answer, error) {
	if _, err := c.parameters(nil); err != nil {
		return nil, err
	}
	out := SessionList{[]SessionView{}}
	for _, s := range h.desk.State().Sessions("", c.now) {
		out.Sessions = append(out.Sessions, SessionView{s.ID, s.Person, s.How, s.Began.UTC(), s.Until.UTC(), instant(h.desk.LastUsed(s.ID))})
	}
	return ok(out)
}

// nothing reads a call whose body is an empty object, or none.
func (c *call) nothing() error {
	if _, err := c.parameters(nil); err != nil {
		return err
	}
	return decode(c, map[string]any{})
}

func (h *Hub) apiEndSession(c *call) (*answer, error) {
	if err := c.nothing(); err != nil {
		return nil, err
	}
	if err := h.desk.RevokeSession(c.Context(), c.visitor, access.Digest(c.PathValue("id"))); err != nil {
		return nil, signInProblem(err)
	}
	return &answer{status: http.StatusNoContent}, nil
}

func viewToken(t access.Token, used time.Time) TokenView {
	return TokenView{ID: t.ID, Person: t.Person, Name: t.Name, Rights: rightNames(t.Rights), Made: t.Made.UTC(), Until: t.Until.UTC(), Used: instant(used.UTC().Truncate(24 * time.Hour))}
}

func (h *Hub) apiTokens(c *call) (*answer, error) {
	if _, err := c.parameters(nil); err != nil {
		return nil, err
	}
	whose := c.visitor.Name
	if c.visitor.May(access.Own) {
		whose = ""
	}
	out := TokenList{[]TokenView{}}
	for _, t := range h.desk.State().Tokens(whose, c.now) {
		out.Tokens = append(out.Tokens, viewToken(t, h.desk.LastUsed(t.ID)))
	}
	return ok(out)
}

func (h *Hub) apiMakeToken(c *call) (*answer, error) {
	var name string
	var words []string
	var days int
	if _, err := c.parameters(nil); err != nil {
		return nil, err
	}
	if err := decode(c, map[string]any{"name": &name, "rights": &words, "days": &days}); err != nil {
		return nil, err
	}
	var rights []access.Right
	for _, w := range words {
		r, err := access.ParseRight(w)
		if err != nil {
			return nil, badRequest("%v", err)
		}
		rights = append(rights, r)
	}
	if days < 1 || days > 366 {
		return nil, badRequest("days is a number from 1 to 366")
	}
	secret, t, err := h.desk.MakeToken(c.Context(), c.visitor, name, rights, time.Duration(days)*24*time.Hour)
	if err != nil {
		return nil, signInProblem(err)
	}
	v := viewToken(t, time.Time{})
	v.Token = secret
	return &answer{status: http.StatusCreated, body: v}, nil
}

func (h *Hub) apiRevokeToken(c *call) (*answer, error) {
	if err := c.nothing(); err != nil {
		return nil, err
	}
	if err := h.desk.RevokeToken(c.Context(), c.visitor, access.Digest(c.PathValue("id"))); err != nil {
		return nil, signInProblem(err)
	}
	return &answer{status: http.StatusNoContent}, nil
}

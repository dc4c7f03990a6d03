package hub

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/isogate/isogate/internal/access"
)

const signOutPattern = "POST /signout"

// accountPages are about nobody but the visitor: whoever is signed in may, whatever
// else they may.
var accountPages = []page{
	{pattern: "GET /account", self: true, stale: true, do: (*Hub).account},
	{pattern: "POST /account/sessions/{id}/end", self: true, stale: true, do: (*Hub).endMySession},
	{pattern: "POST /account/sessions/end", self: true, stale: true, do: (*Hub).endMySessions},
	{pattern: "POST /account/tokens", self: true, stale: true, proof: true, do: (*Hub).makeToken},
	{pattern: "POST /account/tokens/{id}/revoke", self: true, stale: true, do: (*Hub).revokeMyToken},
	{pattern: "POST /account/passkeys/options", self: true, stale: true, proof: true, do: (*Hub).offerPasskey},
	{pattern: "POST /account/passkeys", self: true, stale: true, proof: true, do: (*Hub).addPasskey},
	{pattern: "POST /account/passkeys/{id}/remove", self: true, stale: true, proof: true, do: (*Hub).removePasskey},
	{pattern: "GET /signin/again", self: true, stale: true, do: (*Hub).again},
	{pattern: signOutPattern, self: true, stale: true, do: (*Hub).signOut},
}

// sessionRow is a session in a list.
type sessionRow struct {
	access.Session
	Used time.Time // with this gateway
	This bool      // the one that is looked from
}

// tokenRow is an API token in a list.
type tokenRow struct {
	access.Token
	Used time.Time // with this gateway, to the day
}

// holds are the spans that a token may be made for, in days.
var holds = []int{1, 7, 30, 90, 365}

// account is who the visitor is here, with all their ways in.
func (h *Hub) account(v *visit) error {
	a := struct {
		Rights   []access.Right
		Sessions []sessionRow
		Tokens   []tokenRow
		Holds    []int
		Keys     []access.Passkey
		Passkeys bool // can be added here
	}{Holds: holds, Passkeys: h.passkeys != nil}
	for _, r := range access.Rights {
		if v.who.May(r) {
			a.Rights = append(a.Rights, r)
		}
	}
	if h.desk != nil {
		a.Sessions, a.Tokens = h.sessionRows(v, v.who.Name), h.tokenRows(v, v.who.Name)
		a.Keys = h.desk.State().Passkeys(v.who.Name)
	}
	return v.show("account", "Your account", a)
}

func (h *Hub) sessionRows(v *visit, person string) (out []sessionRow) {
	for _, s := range h.desk.State().Sessions(person, v.now) {
		out = append(out, sessionRow{s, h.desk.LastUsed(s.ID), string(s.ID) == v.who.Session})
	}
	return out
}

func (h *Hub) tokenRows(v *visit, person string) (out []tokenRow) {
	for _, t := range h.desk.State().Tokens(person, v.now) {
		out = append(out, tokenRow{t, h.desk.LastUsed(t.ID).UTC().Truncate(24 * time.Hour)})
	}
	return out
}

// door is the desk, where there is one.
func (h *Hub) door() (*access.Desk, error) {
	if h.desk == nil {
		return nil, problem(http.StatusNotFound, "not-found", "nobody can sign in at this Hub")
	}
	return h.desk, nil
}

// nothing reads a form that has no fields.
func (v *visit) nothing() error {
	_, err := v.form()
	return err
}

func (h *Hub) endMySession(v *visit) error {
	return h.endOne(v, "/account", func(d *access.Desk, id access.Digest) error {
		return d.RevokeSession(v.Context(), mine(v.who), id)
	}, "session-ended")
}

func (h *Hub) revokeMyToken(v *visit) error {
	return h.endOne(v, "/account", func(d *access.Desk, id access.Digest) error {
		return d.RevokeToken(v.Context(), mine(v.who), id)
	}, "token-revoked")
}

// mine is a visitor without what they may do to others: on the page about themself,
// an owner ends nobody else's sessions by mistake.
func mine(v access.Visitor) access.Visitor {
	v.Only = []access.Right{}
	return v
}

// endOne ends the session or token that the path names.
func (h *Hub) endOne(v *visit, back string, end func(*access.Desk, access.Digest) error, what string) error {
	d, err := h.door()
	if err != nil {
		return err
	}
	if err := v.nothing(); err != nil {
		return err
	}
	id := v.PathValue("id")
	if err := end(d, access.Digest(id)); err != nil {
		return signInProblem(err)
	}
	if id == v.who.Session {
		http.SetCookie(v.w, h.cookie(ofSession, "", 0))
		return v.seeOther("/signin", "signed-out")
	}
	return v.seeOther(back, what)
}

func (h *Hub) endMySessions(v *visit) error {
	d, err := h.door()
	if err != nil {
		return err
	}
	if err := v.nothing(); err != nil {
		return err
	}
	if err := d.RevokeSessions(v.Context(), mine(v.who), v.who.Name); err != nil {
		return signInProblem(err)
	}
	http.SetCookie(v.w, h.cookie(ofSession, "", 0))
	return v.seeOther("/signin", "signed-out")
}

// makeToken makes an API token and shows it, this once: the answer to the form is the
// only page that ever has it.
func (h *Hub) makeToken(v *visit) error {
	d, err := h.door()
	if err != nil {
		return err
	}
	f, err := v.form("name", "rights[]", "days")
	if err != nil {
		return err
	}
	var rights []access.Right
	for _, word := range f["rights[]"] {
		r, err := access.ParseRight(word)
		if err != nil {
			return badRequest("%v", err)
		}
		if !slices.Contains(rights, r) {
			rights = append(rights, r)
		}
	}
	days, err := strconv.Atoi(f.Get("days"))
	if err != nil || days < 1 || days > 366 {
		return badRequest("say for how many days the token holds: 1 to 366")
	}
	secret, token, err := d.MakeToken(v.Context(), v.who, f.Get("name"), rights, time.Duration(days)*24*time.Hour)
	if err != nil {
		return signInProblem(err)
	}
	return v.show("token", "Your new API token", struct {
		Secret string
		Token  access.Token
	}{secret, token})
}

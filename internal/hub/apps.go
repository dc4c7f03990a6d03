package hub

import (
	"context"
	"errors"
	"net/http"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/remote"
)

// AppList is every party that the ledger knows.
type AppList struct {
	Apps []Summary `json:"apps"`
}

func (h *Hub) listApps(c *call) (*answer, error) {
	if _, err := c.parameters(nil); err != nil {
		return nil, err
	}
	return ok(AppList{Apps(c.state, c.now)})
}

func (h *Hub) showApp(c *call) (*answer, error) {
	st, err := c.standing()
	if err != nil {
		return nil, err
	}
	v, _ := FindApp(c.state, st.Party, c.now)
	return ok(v)
}

// party is the one that the path names.
func (c *call) party() (consent.Party, error) {
	p, err := consent.ParseParty(c.PathValue("kind") + "/" + c.PathValue("name"))
	if err != nil {
		return "", badRequest("%v", err)
	}
	return p, nil
}

// standing is where the party of the path stands; one that the ledger does not know is not found.
func (c *call) standing() (*consent.Standing, error) {
	if _, err := c.parameters(nil); err != nil {
		return nil, err
	}
	party, err := c.party()
	if err != nil {
		return nil, err
	}
	if _, known := FindApp(c.state, party, c.now); !known {
		return nil, notFound("the ledger does not know %s; an app's manifest must be imported first", party)
	}
	return c.state.Party(party), nil
}

// Done is an act that was recorded and has its effect.
type Done struct {
	Act    string          `json:"act"`   // what was done
	Entry  isogate.EntryID `json:"entry"` // of the journal
	Party  consent.Party   `json:"party"`
	Usable []string        `json:"usable"` // what the party may use now; of everybody, nothing is listed
	// Consent is the request or grant that the act made or changed.
	Consent *Consent `json:"consent,omitempty"`
	Detail  string   `json:"detail,omitempty"`
}

// act records an act, and says what became of it.
func (h *Hub) act(c *call, a consent.Act) (consent.Act, error) {
	// Whoever acted may hang up; the act goes on, for it may be a revocation.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context()), waitForEffect)
	defer cancel()
	a, err := h.ledger.Do(ctx, a)
	switch {
	case err == nil:
		return a, nil
	case errors.Is(err, consent.ErrNoEffect):
		return a, notEffective(err, a.ID)
	case a.ID != "":
		p := problem(http.StatusServiceUnavailable, "effect-unknown", err.Error())
		p.Entry = a.ID
		return a, p
	default:
		return a, problem(http.StatusServiceUnavailable, "not-recorded", err.Error())
	}
}

// done tells of an act that has its effect.
func (h *Hub) done(a consent.Act, status int, detail string) (*answer, error) {
	state, now := h.ledger.State(), h.now()
	d := Done{Act: a.What.String(), Entry: a.ID, Party: a.Party, Usable: texts(state.Party(a.Party).Rows(now)), Detail: detail}
	for _, id := range []isogate.EntryID{a.ID, a.Of} {
		if r, found := state.Request(id); found && d.Consent == nil {
			v := viewRequest(r, now)
			d.Consent = &v
		}
		if g, found := state.Grant(id); found && d.Consent == nil {
			v := viewGrant(g, now)
			d.Consent = &v
		}
	}
	return &answer{status, d}, nil
}

// request asks for rows that the app declares, as an administrator's own wish: also
// for what was denied before.
func (h *Hub) request(c *call) (*answer, error) {
	var words *[]string
	var reason string
	if _, err := c.parameters(nil); err != nil {
		return nil, err
	}
	if err := decode(c, map[string]any{"rows": &words, "reason": &reason}); err != nil {
		return nil, err
	}
	if err := checkText("reason", reason, maxReason); err != nil {
		return nil, err
	}
	party, err := c.party()
	if err != nil {
		return nil, err
	}
	rows, err := parseRows(words)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		rows = wanted(c, party)
	}
	if len(rows) == 0 {
		return nil, conflict("there is nothing to ask for: all that %s declares is granted, or waits for an answer already", party)
	}
	a, err := h.act(c, h.ledger.NewRequest(party, rows, c.who, reason))
	if err != nil {
		return nil, err
	}
	return h.done(a, http.StatusOK, "an administrator must answer it")
}

// wanted is everything that a party declares and neither has nor waits for.
func wanted(c *call, party consent.Party) (rows []remote.Row) {
	st := c.state.Party(party)
	if t, is := party.Transit(); is {
		return []remote.Row{consent.TransitRow(t)}
	}
	for _, ch := range remote.Compare(st.Rows(c.now), st.Declared) {
		if ch.Class.Asks() && st.Waiting(ch.Row, c.now) == nil {
			rows = append(rows, ch.Row)
		}
	}
	return rows
}

// parseRows reads rows that a caller names; nil is none named. To name none in a
// list is a mistake, for leaving them out means all.
func parseRows(words *[]string) ([]remote.Row, error) {
	if words == nil {
		return nil, nil
	}
	if len(*words) == 0 {
		return nil, badRequest("rows is an empty list; name some, or leave it out for all of them")
	}
	var rows []remote.Row
	for _, w := range *words {
		r, err := remote.ParseRow(w)
		if err != nil {
			return nil, badRequest("the row %q: %v; copy it from what isogate app show prints", consent.Shown(w), err)
		}
		rows = append(rows, r)
	}
	return rows, nil
}

func (h *Hub) block(c *call) (*answer, error)   { return h.bar(c, consent.Blocked, false) }
func (h *Hub) unblock(c *call) (*answer, error) { return h.bar(c, consent.Unblocked, true) }

func (h *Hub) bar(c *call, what consent.What, needReason bool) (*answer, error) {
	var reason string
	if _, err := c.parameters(nil); err != nil {
		return nil, err
	}
	if err := decode(c, map[string]any{"reason": &reason}); err != nil {
		return nil, err
	}
	if err := checkReason(reason, needReason); err != nil {
		return nil, err
	}
	party, err := c.party()
	if err != nil {
		return nil, err
	}
	a, err := h.act(c, consent.Act{What: what, Party: party, Actor: c.who, Reason: reason})
	if err != nil {
		return nil, err
	}
	return h.done(a, http.StatusOK, "")
}

func checkReason(reason string, needed bool) error {
	if needed && reason == "" {
		return badRequest("the reason is missing; say why, for whoever reads the journal")
	}
	return checkText("reason", reason, maxReason)
}

// notEffective tells of an act that was recorded and changed nothing.
func notEffective(err error, entry isogate.EntryID) error {
	p := problem(http.StatusConflict, "no-effect", err.Error())
	p.Entry = entry
	return p
}

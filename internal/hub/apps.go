package hub

import (
	"context"

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
	st, err := h.standing(c)
	if err != nil {
		return nil, err
	}
	v, _ := FindApp(c.state, st.Party, c.now)
	return ok(v)
}

// party is the one that the path names.
func (c *call) party() (consent.Party, error) {
	return partyOf(c.PathValue("kind"), c.PathValue("name"))
}

func partyOf(kind, name string) (consent.Party, error) {
	p, err := consent.ParseParty(kind + "/" + name)
	if err != nil {
		return "", badRequest("%v", err)
	}
	return p, nil
}

// standing is where the party of the path stands.
func (h *Hub) standing(c *call) (*consent.Standing, error) {
	if _, err := c.parameters(nil); err != nil {
		return nil, err
	}
	party, err := c.party()
	if err != nil {
		return nil, err
	}
	return c.clerk(h).standing(party)
}

func (h *Hub) request(c *call) (*answer, error) {
	var rows *[]string
	var reason string
	if err := c.read(map[string]any{"rows": &rows, "reason": &reason}); err != nil {
		return nil, err
	}
	party, err := c.party()
	if err != nil {
		return nil, err
	}
	return answered(c.clerk(h).ask(c.Context(), party, rows, reason))
}

// ask asks for rows that the app declares, as an administrator's own wish: also for
// what was denied before. Without rows, it asks for all that the party neither has nor
// waits for.
func (k clerk) ask(ctx context.Context, party consent.Party, words *[]string, reason string) (Done, error) {
	if err := checkReason(reason, false); err != nil {
		return Done{}, err
	}
	rows, err := parseRows(words)
	if err != nil {
		return Done{}, err
	}
	if len(rows) == 0 {
		rows = k.wanted(party)
	}
	if len(rows) == 0 {
		return Done{}, conflict("there is nothing to ask for: all that %s declares is granted, or waits for an answer already", party)
	}
	return k.do(ctx, k.hub.ledger.NewRequest(party, rows, k.who, reason), "an administrator must answer it")
}

// wanted is everything that a party declares and neither has nor waits for.
func (k clerk) wanted(party consent.Party) (rows []remote.Row) {
	st := k.state.Party(party)
	if t, is := party.Transit(); is {
		return []remote.Row{consent.TransitRow(t)}
	}
	for _, ch := range remote.Compare(st.Rows(k.now), st.Declared) {
		if ch.Class.Asks() && st.Waiting(ch.Row, k.now) == nil {
			rows = append(rows, ch.Row)
		}
	}
	return rows
}

func (h *Hub) block(c *call) (*answer, error)   { return h.bar(c, consent.Blocked) }
func (h *Hub) unblock(c *call) (*answer, error) { return h.bar(c, consent.Unblocked) }

func (h *Hub) bar(c *call, what consent.What) (*answer, error) {
	var reason string
	if err := c.read(map[string]any{"reason": &reason}); err != nil {
		return nil, err
	}
	party, err := c.party()
	if err != nil {
		return nil, err
	}
	return answered(c.clerk(h).bar(c.Context(), party, what, reason))
}

// bar ends everything of a party and lets nothing be asked for it, or lifts that:
// what is [consent.Blocked] or [consent.Unblocked]. What opens needs a reason.
func (k clerk) bar(ctx context.Context, party consent.Party, what consent.What, reason string) (Done, error) {
	if err := checkReason(reason, what == consent.Unblocked); err != nil {
		return Done{}, err
	}
	return k.do(ctx, consent.Act{What: what, Party: party, Reason: reason}, "")
}

package hub

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/remote"
)

// clerk does what somebody wants done: it knows who they are, what the ledger says as
// they look, and when that is. Calls of the API and forms of pages both come to one,
// so that an act is the same whichever way it came in.
type clerk struct {
	hub   *Hub
	who   consent.Actor
	state *consent.State
	now   time.Time
}

func (c *call) clerk(h *Hub) clerk { return clerk{h, c.who, c.state, c.now} }

func (v *visit) clerk() clerk { return clerk{v.hub, v.actor(), v.state, v.now} }

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

// record records an act, and says what became of it.
func (k clerk) record(ctx context.Context, a consent.Act) (consent.Act, error) {
	// Whoever acted may hang up; the act goes on, for it may be a revocation.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), waitForEffect)
	defer cancel()
	a.Actor = k.who
	a, err := k.hub.ledger.Do(ctx, a)
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

// do records an act, and tells of it once it has its effect.
func (k clerk) do(ctx context.Context, a consent.Act, detail string) (Done, error) {
	a, err := k.record(ctx, a)
	if err != nil {
		return Done{}, err
	}
	return k.done(a, detail), nil
}

// done tells of an act that has its effect.
func (k clerk) done(a consent.Act, detail string) Done {
	state, now := k.hub.ledger.State(), k.hub.now()
	out := Done{Act: a.What.String(), Entry: a.ID, Party: a.Party, Usable: texts(state.Party(a.Party).Rows(now)), Detail: detail}
	for _, id := range []isogate.EntryID{a.ID, a.Of} {
		if r, found := state.Request(id); found && out.Consent == nil {
			v := viewRequest(r, now)
			out.Consent = &v
		}
		if g, found := state.Grant(id); found && out.Consent == nil {
			v := viewGrant(g, now)
			out.Consent = &v
		}
	}
	return out
}

// notEffective tells of an act that was recorded and changed nothing.
func notEffective(err error, entry isogate.EntryID) error {
	p := problem(http.StatusConflict, "no-effect", err.Error())
	p.Entry = entry
	return p
}

// theRequest is the request of an ID.
func (k clerk) theRequest(id isogate.EntryID) (*consent.Request, error) {
	if r, found := k.state.Request(id); found {
		return r, nil
	}
	if _, found := k.state.Grant(id); found {
		return nil, conflict("%s is a grant and no request; it can be modified and revoked", id)
	}
	return nil, unknownConsent(id)
}

// theGrant is the grant of an ID.
func (k clerk) theGrant(id isogate.EntryID) (*consent.Grant, error) {
	if g, found := k.state.Grant(id); found {
		return g, nil
	}
	if _, found := k.state.Request(id); found {
		return nil, conflict("%s is a request and no grant; it can be granted, denied and deferred", id)
	}
	return nil, unknownConsent(id)
}

func unknownConsent(id isogate.EntryID) error {
	return notFound("the ledger has no request or grant %s; see isogate consent list", consent.Shown(string(id)))
}

// standing is where a party stands; one that the ledger does not know is not found.
func (k clerk) standing(party consent.Party) (*consent.Standing, error) {
	if _, known := FindApp(k.state, party, k.now); !known {
		return nil, notFound("the ledger does not know %s; an app's manifest must be imported first", party)
	}
	return k.state.Party(party), nil
}

// parseRows reads rows that somebody names; nil is none named. To name none in a
// list is a mistake, for leaving them out means all.
func parseRows(words *[]string) ([]remote.Row, error) {
	if words == nil {
		return nil, nil
	}
	if len(*words) == 0 {
		return nil, about("rows", badRequest("rows is an empty list; name some, or leave it out for all of them"))
	}
	var rows []remote.Row
	for _, w := range *words {
		r, err := remote.ParseRow(w)
		if err != nil {
			return nil, about("rows", badRequest("the row %q: %v; copy it from what isogate app show prints", consent.Shown(w), err))
		}
		rows = append(rows, r)
	}
	return rows, nil
}

func checkReason(reason string, needed bool) error {
	if needed && reason == "" {
		return about("reason", badRequest("the reason is missing; say why, for whoever reads the journal"))
	}
	return about("reason", checkText("reason", reason, maxReason))
}

// about says which input a problem is about, for a form to show it there.
func about(input string, err error) error {
	var p *Problem
	if errors.As(err, &p) {
		p.input = input
	}
	return err
}

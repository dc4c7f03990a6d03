package hub

import (
	"cmp"
	"slices"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/remote"
)

// Consent is a request or a grant as the API shows it. Texts that people or apps
// wrote are as [consent.Shown] has them.
type Consent struct {
	ID     isogate.EntryID `json:"id"`
	Kind   string          `json:"kind"` // request or grant
	Party  consent.Party   `json:"party"`
	Status string          `json:"status"` // at the time of the answer
	// Rows are those asked for, or what is left of those granted.
	Rows   []string        `json:"rows"`
	By     []consent.Actor `json:"by"` // who asked, or who granted
	Reason string          `json:"reason,omitempty"`
	At     time.Time       `json:"at"`

	// Of a request.

	App        *consent.Manifest        `json:"app,omitempty"`
	Ends       *time.Time               `json:"ends,omitempty"`
	Second     bool                     `json:"second_administrator,omitempty"`
	Approvals  []consent.PromptApproval `json:"approvals,omitempty"`
	Answer     isogate.EntryID          `json:"answer,omitempty"` // the act that ended it
	AnsweredBy *consent.Actor           `json:"answered_by,omitempty"`

	// Of a grant.

	Request isogate.EntryID `json:"request,omitempty"`
	Labels  *[]string       `json:"labels,omitempty"` // absent: all that policy lets out
	Until   *time.Time      `json:"until,omitempty"`  // absent: until it is revoked
	Ended   *time.Time      `json:"ended,omitempty"`
	// Usage is what really left by it; absent in lists, and where nobody knows.
	Usage *Usage `json:"usage,omitempty"`

	// Of a request that waits, shown by itself.

	Prompt       *consent.Prompt `json:"prompt,omitempty"`
	PromptDigest string          `json:"prompt_digest,omitempty"`
}

// Kinds of a [Consent].
const (
	KindRequest = "request"
	KindGrant   = "grant"
)

func viewRequest(r *consent.Request, at time.Time) Consent {
	ends := r.Ends.UTC()
	v := Consent{ID: r.ID, Kind: KindRequest, Party: r.Party, Status: r.Status.String(), Rows: texts(r.Rows), By: []consent.Actor{shownActor(r.By)},
		Reason: consent.Shown(r.Reason), At: r.Opened.UTC(), Ends: &ends, Second: r.Second, Answer: r.Answer}
	if (r.Status == consent.Open || r.Status == consent.PutOff) && !r.Waits(at) {
		v.Status = consent.Lapsed.String()
	}
	if _, app := r.Party.Source(); app {
		m := r.Manifest.Shown()
		v.App = &m
	}
	for i := range r.Approvals {
		v.Approvals = append(v.Approvals, r.Approvals[i].Prompted())
	}
	if r.AnsweredBy.Name != "" {
		by := shownActor(r.AnsweredBy)
		v.AnsweredBy = &by
	}
	return v
}

func viewGrant(g *consent.Grant, at time.Time) Consent {
	v := Consent{ID: g.ID, Kind: KindGrant, Party: g.Party, Status: g.Status.String(), Rows: texts(g.Rows), By: []consent.Actor{},
		Reason: consent.Shown(g.Reason), At: g.At.UTC(), Request: g.Request}
	if g.Status == consent.InForce && !g.InForce(at) {
		v.Status = consent.Lapsed.String()
	}
	for _, a := range g.By {
		v.By = append(v.By, shownActor(a))
	}
	if g.Terms.Labels != nil {
		labels := make([]string, len(g.Terms.Labels))
		for i, l := range g.Terms.Labels {
			labels[i] = string(l)
		}
		v.Labels = &labels
	}
	v.Until, v.Ended = instant(g.Terms.Until), instant(g.Ended)
	return v
}

func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func shownActor(a consent.Actor) consent.Actor {
	return consent.Actor{Name: consent.Shown(a.Name), SignedIn: consent.Shown(a.SignedIn)}
}

func texts(rows []remote.Row) []string {
	out := make([]string, len(rows))
	for i, r := range rows {
		out[i] = r.String()
	}
	return out
}

// Consents lists requests and grants, the newest first. Empty status and party
// select all.
func Consents(s *consent.State, status string, party consent.Party, at time.Time) []Consent {
	out := []Consent{}
	for _, st := range s.Parties() {
		if party != "" && st.Party != party {
			continue
		}
		for _, r := range st.Requests {
			out = append(out, viewRequest(r, at))
		}
		for _, g := range st.Grants {
			out = append(out, viewGrant(g, at))
		}
	}
	out = slices.DeleteFunc(out, func(c Consent) bool { return status != "" && c.Status != status })
	slices.SortFunc(out, func(a, b Consent) int { return cmp.Compare(b.ID, a.ID) })
	return out
}

// Statuses are the states that a [Consent] may be in.
var Statuses = []string{"requested", "deferred", "granted", "denied", "expired", "invalidated", "revoked"}

// FindConsent is the request or grant of an ID: a request that waits with the
// prompt that an administrator must look at before they answer.
func FindConsent(s *consent.State, id isogate.EntryID, describe consent.Describe, at time.Time) (Consent, bool, error) {
	if g, found := s.Grant(id); found {
		return viewGrant(g, at), true, nil
	}
	r, found := s.Request(id)
	if !found {
		return Consent{}, false, nil
	}
	v := viewRequest(r, at)
	if r.Waits(at) {
		v.Prompt = s.Prompt(r, describe, at)
		var err error
		if v.PromptDigest, err = v.Prompt.Digest(); err != nil {
			return Consent{}, false, err
		}
	}
	return v, true, nil
}

// Summary is one party in a list.
type Summary struct {
	Party    consent.Party     `json:"party"`
	App      *consent.Manifest `json:"app,omitempty"`
	Blocked  bool              `json:"blocked"`
	Declared int               `json:"declared"` // rows
	Usable   int               `json:"usable"`   // rows that are granted now
	Waiting  int               `json:"waiting"`  // requests
}

// App is one party in full.
type App struct {
	Party   consent.Party     `json:"party"`
	App     *consent.Manifest `json:"app,omitempty"`
	Blocked bool              `json:"blocked"`
	// Declared is what it may ask for, Usable what it may use now, and Decided what
	// was denied or revoked: an attempt alone does not ask for that again.
	Declared []string  `json:"declared"`
	Usable   []string  `json:"usable"`
	Decided  []string  `json:"decided"`
	Changes  []Change  `json:"changes"` // what is declared, against what is usable
	Consents []Consent `json:"consents"`
}

// Change is one row of a difference.
type Change struct {
	Class string   `json:"class"`
	Row   string   `json:"row,omitempty"` // as declared; absent if removed
	From  []string `json:"from,omitempty"`
	Why   []string `json:"why,omitempty"`
	Asks  bool     `json:"asks"` // it waits for an administrator
}

func viewChanges(changes []remote.Change) []Change {
	out := make([]Change, len(changes))
	for i, c := range changes {
		out[i] = Change{Class: c.Class.String(), From: texts(c.From), Why: c.Why, Asks: c.Class.Asks()}
		if c.Row != (remote.Row{}) {
			out[i].Row = c.Row.String()
		}
		if len(c.From) == 0 {
			out[i].From = nil
		}
	}
	return out
}

func appOf(st *consent.Standing) *consent.Manifest {
	if st.Manifest.Digest == "" {
		return nil
	}
	m := st.Manifest.Shown()
	return &m
}

// Apps lists every party that the ledger knows.
func Apps(s *consent.State, at time.Time) []Summary {
	out := []Summary{}
	for _, st := range s.Parties() {
		v := Summary{Party: st.Party, App: appOf(st), Blocked: st.Blocked, Declared: len(st.Declared), Usable: len(st.Rows(at))}
		for _, r := range st.Requests {
			if r.Waits(at) {
				v.Waiting++
			}
		}
		out = append(out, v)
	}
	return out
}

// FindApp is where one party stands.
func FindApp(s *consent.State, party consent.Party, at time.Time) (App, bool) {
	for _, st := range s.Parties() {
		if st.Party == party {
			return App{Party: party, App: appOf(st), Blocked: st.Blocked, Declared: texts(st.Declared), Usable: texts(st.Rows(at)),
				Decided: texts(st.Decided), Changes: viewChanges(remote.Compare(st.Rows(at), st.Declared)), Consents: Consents(s, "", party, at)}, true
		}
	}
	return App{}, false
}

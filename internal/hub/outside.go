package hub

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
)

// Custody is what the outside holds of the tenant.
type Custody interface {
	// Landings is where each landing stands.
	Landings() []Landing
	// Subjects lists identifiers that stay outside by permission. Its error is
	// [ErrNoLanding] where the query names a destination without a landing; any other
	// says, without a value, why a landing's register could not be read.
	Subjects(ctx context.Context, q SubjectQuery) (SubjectList, error)
	// Erase records an order, and has the services carry it out. Its errors are as
	// those of Subjects.
	Erase(ctx context.Context, o ErasureOrder) ([]Erasure, error)
	// Erasures are those that are open, and the last that were confirmed.
	Erasures() []Erasure
}

// ErrNoLanding says that a destination has no landing.
var ErrNoLanding = errors.New("no such landing")

// Landing is where one landing stands.
type Landing struct {
	Destination isogate.Destination `json:"destination"`
	Landing     string              `json:"landing"` // the name and hash of the key that it signs with
	// Valid says that its statement is in force: values can be sealed for it.
	Valid        bool                   `json:"valid"`
	Trouble      string                 `json:"trouble,omitempty"` // why the newest statement was not had
	Epoch        string                 `json:"epoch,omitempty"`
	NotAfter     *time.Time             `json:"not_after,omitempty"`
	Idle         string                 `json:"session_idle,omitempty"`
	Max          string                 `json:"session_max,omitempty"`
	Fetched      *time.Time             `json:"fetched,omitempty"`
	Acknowledges []isogate.LabelPattern `json:"acknowledges"`
	Receipt      uint64                 `json:"receipt"` // number of the last one; 0 before the first
	ReceiptAt    *time.Time             `json:"receipt_at,omitempty"`
	ReceiptEntry isogate.EntryID        `json:"receipt_entry,omitempty"`
	// Broken says what is wrong with what the landing gives as its next receipt.
	Broken       string       `json:"broken,omitempty"`
	KeysOut      int          `json:"keys_out"` // seal keys that no receipt says were destroyed
	NextDue      *time.Time   `json:"next_due,omitempty"`
	KeysOverdue  int          `json:"keys_overdue"`
	Overdue      []OverdueKey `json:"overdue"` // the oldest of them
	ErasuresOpen int          `json:"erasures_open"`
}

// OverdueKey is a seal key whose receipt of destruction has not come in time.
type OverdueKey struct {
	Key      string          `json:"key"`
	Transit  isogate.Transit `json:"transit"`
	Handling string          `json:"handling"`
	Due      time.Time       `json:"due"`
}

// LandingList is every landing, by the destination's name.
type LandingList struct {
	Landings []Landing `json:"landings"`
}

// SubjectQuery selects identifiers; what is empty selects all.
type SubjectQuery struct {
	Value       string
	Destination isogate.Destination
	After       string
	Limit       int
}

// Subject is one identifier that stays outside by permission. Values are the
// tenant's own: they are shown to its administrators and to nobody else.
type Subject struct {
	Destination isogate.Destination `json:"destination"`
	Label       isogate.Label       `json:"label"`
	Value       string              `json:"value"`
	Subject     string              `json:"subject"` // whom it belongs to
	Because     string              `json:"because"`
	Rule        string              `json:"rule"`
	Entry       isogate.EntryID     `json:"entry,omitempty"` // the release that it last left with
	Since       time.Time           `json:"since"`
	Last        time.Time           `json:"last"`
	Token       string              `json:"token"` // what it is called outside
	// Unreadable says that no key is kept any more that would turn the token back.
	Unreadable bool `json:"unreadable,omitempty"`
}

// SubjectList is a page of identifiers.
type SubjectList struct {
	Subjects []Subject `json:"subjects"`
	Next     string    `json:"next,omitempty"` // continues the list as ?after=
}

// ErasureOrder is what an administrator wants erased.
type ErasureOrder struct {
	Value       string
	Label       isogate.Label
	Destination isogate.Destination
	Reason      string
	By          consent.Actor
}

// Erasure is identifiers of one destination that are to be erased.
type Erasure struct {
	ID          isogate.EntryID     `json:"id"`
	Destination isogate.Destination `json:"destination"`
	State       string              `json:"state"` // asked, overdue or confirmed
	By          string              `json:"by"`
	Reason      string              `json:"reason"`
	At          time.Time           `json:"at"`
	Labels      []isogate.Label     `json:"labels"` // one for each identifier
	Confirmed   *time.Time          `json:"confirmed,omitempty"`
	Receipt     uint64              `json:"receipt,omitempty"` // the landing's, that says so
}

// ErasureList is erasures, the newest first.
type ErasureList struct {
	Erasures []Erasure `json:"erasures"`
}

// outside is what the outside holds, if it can hold anything.
func (h *Hub) outside() (Custody, error) {
	if h.custody == nil {
		return nil, problem(http.StatusNotFound, "no-landing", "no destination of the pack has a landing, so that nobody outside answers for what is there")
	}
	return h.custody, nil
}

// outsideFailed is what the caller is told where a landing could not be asked.
func outsideFailed(err error) error {
	if errors.Is(err, ErrNoLanding) {
		return problem(http.StatusNotFound, "no-landing", "that destination has no landing; see isogate subject landings")
	}
	return problem(http.StatusBadGateway, "landing", consent.Shown(err.Error()))
}

func (h *Hub) listLandings(c *call) (*answer, error) {
	out, err := h.outside()
	if err != nil {
		return nil, err
	}
	if _, err := c.parameters(nil); err != nil {
		return nil, err
	}
	return ok(LandingList{out.Landings()})
}

// Limits of what identifiers are asked for.
const (
	maxSubjects = 1000
	maxValue    = 4096 // bytes
)

// listSubjects lists the registers. It looks nothing up: a value has no place in an
// address, which ends up in logs and histories.
func (h *Hub) listSubjects(c *call) (*answer, error) {
	p, err := c.parameters([]string{"destination", "after", "limit"})
	if err != nil {
		return nil, err
	}
	q := SubjectQuery{Destination: isogate.Destination(value(p, "destination")), After: value(p, "after")}
	if s := value(p, "limit"); s != "" {
		if q.Limit, err = strconv.Atoi(s); err != nil || q.Limit < 1 {
			return nil, badLimit()
		}
	}
	return h.listed(c, q)
}

// findSubjects looks up where an identifier stays, or anything of a subject.
func (h *Hub) findSubjects(c *call) (*answer, error) {
	var q SubjectQuery
	var destination string
	var limit *int
	if err := c.read(map[string]any{"value": &q.Value, "destination": &destination, "after": &q.After, "limit": &limit}); err != nil {
		return nil, err
	}
	if limit != nil {
		if q.Limit = *limit; q.Limit < 1 {
			return nil, badLimit()
		}
	}
	if q.Destination = isogate.Destination(destination); q.Value == "" {
		return nil, about("value", badRequest("the value is missing; to list all of them: GET %s/subjects", Prefix))
	}
	return h.listed(c, q)
}

func badLimit() error { return badRequest("the limit is a number from 1 to %d", maxSubjects) }

func (h *Hub) listed(c *call, q SubjectQuery) (*answer, error) {
	list, err := c.clerk(h).subjects(c.Context(), q)
	if err != nil {
		return nil, err
	}
	return ok(list)
}

// subjects reads the registers.
//
// promise: P17
func (k clerk) subjects(ctx context.Context, q SubjectQuery) (SubjectList, error) {
	out, err := k.hub.outside()
	switch {
	case err != nil:
		return SubjectList{}, err
	case len(q.Value) > maxValue || len(q.After) > maxValue:
		return SubjectList{}, about("value", badRequest("value and after have at most %d bytes", maxValue))
	case q.Limit < 0 || q.Limit > maxSubjects:
		return SubjectList{}, badLimit()
	}
	list, err := out.Subjects(ctx, q)
	if err != nil {
		return SubjectList{}, outsideFailed(err)
	}
	return list, nil
}

func (h *Hub) erase(c *call) (*answer, error) {
	var in erasing
	if err := c.read(map[string]any{"value": &in.value, "label": &in.label, "destination": &in.destination, "reason": &in.reason}); err != nil {
		return nil, err
	}
	list, err := c.clerk(h).erase(c.Context(), in)
	if err != nil {
		return nil, err
	}
	return &answer{status: http.StatusAccepted, body: ErasureList{list}}, nil
}

// erasing is what somebody wants erased. Without label or destination it is whatever
// the value is, wherever it is.
type erasing struct{ value, label, destination, reason string }

// erase has identifiers erased outside.
//
// promise: P17
func (k clerk) erase(ctx context.Context, in erasing) ([]Erasure, error) {
	out, err := k.hub.outside()
	if err != nil {
		return nil, err
	}
	if err := checkReason(in.reason, true); err != nil {
		return nil, err
	}
	if in.value == "" || len(in.value) > maxValue {
		return nil, about("value", badRequest("the value is missing, or has more than %d bytes", maxValue))
	}
	o := ErasureOrder{By: k.who, Value: in.value, Destination: isogate.Destination(in.destination), Reason: in.reason}
	if in.label != "" {
		if o.Label, err = isogate.ParseLabel(in.label); err != nil {
			return nil, about("label", badRequest("label: %v", err))
		}
	}
	list, err := out.Erase(ctx, o)
	if err != nil {
		return nil, outsideFailed(err)
	}
	if len(list) == 0 {
		return nil, notFound("no register outside has that identifier, or anything of that subject; nothing is to be erased")
	}
	return list, nil
}

func (h *Hub) listErasures(c *call) (*answer, error) {
	out, err := h.outside()
	if err != nil {
		return nil, err
	}
	if _, err := c.parameters(nil); err != nil {
		return nil, err
	}
	return ok(ErasureList{out.Erasures()})
}

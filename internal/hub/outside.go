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

// listSubjects lists the registers.
//
// promise: P17
func (h *Hub) listSubjects(c *call) (*answer, error) {
	out, err := h.outside()
	if err != nil {
		return nil, err
	}
	p, err := c.parameters([]string{"value", "destination", "after", "limit"})
	if err != nil {
		return nil, err
	}
	q := SubjectQuery{Value: value(p, "value"), Destination: isogate.Destination(value(p, "destination")), After: value(p, "after")}
	if len(q.Value) > maxValue || len(q.After) > maxValue {
		return nil, badRequest("the parameters value and after have at most %d bytes", maxValue)
	}
	if s := value(p, "limit"); s != "" {
		if q.Limit, err = strconv.Atoi(s); err != nil || q.Limit < 1 || q.Limit > maxSubjects {
			return nil, badRequest("the parameter limit is a number from 1 to %d", maxSubjects)
		}
	}
	list, err := out.Subjects(c.Context(), q)
	if err != nil {
		return nil, outsideFailed(err)
	}
	return ok(list)
}

// erase has identifiers erased outside.
//
// promise: P17
func (h *Hub) erase(c *call) (*answer, error) {
	out, err := h.outside()
	if err != nil {
		return nil, err
	}
	if _, err := c.parameters(nil); err != nil {
		return nil, err
	}
	var label, destination string
	o := ErasureOrder{By: c.who}
	if err := decode(c, map[string]any{"value": &o.Value, "label": &label, "destination": &destination, "reason": &o.Reason}); err != nil {
		return nil, err
	}
	if err := checkReason(o.Reason, true); err != nil {
		return nil, err
	}
	if o.Value == "" || len(o.Value) > maxValue {
		return nil, badRequest("the value is missing, or has more than %d bytes", maxValue)
	}
	o.Destination = isogate.Destination(destination)
	if label != "" {
		if o.Label, err = isogate.ParseLabel(label); err != nil {
			return nil, badRequest("label: %v", err)
		}
	}
	list, err := out.Erase(c.Context(), o)
	if err != nil {
		return nil, outsideFailed(err)
	}
	if len(list) == 0 {
		return nil, notFound("no register outside has that identifier, or anything of that subject; nothing is to be erased")
	}
	return &answer{http.StatusAccepted, ErasureList{list}}, nil
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

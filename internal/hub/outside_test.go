package hub

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/access"
)

// outsideOf has one landing, and one identifier there.
type outsideOf struct {
	orders []ErasureOrder
	asked  []SubjectQuery
	err    error
}

func (o *outsideOf) Landings() []Landing {
	at := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	return []Landing{{Destination: "support", Landing: "support+0a0b0c0d", Valid: true, Epoch: "abc", NotAfter: &at, Idle: "15m0s", Max: "8h0m0s", Fetched: &at,
		Acknowledges: []isogate.LabelPattern{"personal.contact.**"}, Receipt: 3, ReceiptAt: &at, ReceiptEntry: "01ARZ3NDEKTSV4RRFFQ69G5FAV", Broken: "number 5 follows 3",
		KeysOut: 2, NextDue: &at, KeysOverdue: 1, Overdue: []OverdueKey{{"aaaa", "login", "temporary", at}}, ErasuresOpen: 1}, {Destination: "zoo", Trouble: "no",
		Acknowledges: []isogate.LabelPattern{}, Overdue: []OverdueKey{}}}
}

func (o *outsideOf) Subjects(_ context.Context, q SubjectQuery) (SubjectList, error) {
	o.asked = append(o.asked, q)
	return SubjectList{[]Subject{{Destination: "support", Label: "personal.contact.email", Value: "ada@example.com", Subject: "ada@example.com", Because: "tickets",
		Rule: "t.yaml:3", Entry: "01ARZ3NDEKTSV4RRFFQ69G5FAV", Token: "igt1a"}, {Unreadable: true}}, "support/1/x"}, o.err
}

func (o *outsideOf) Erase(_ context.Context, e ErasureOrder) ([]Erasure, error) {
	o.orders = append(o.orders, e)
	if e.Value == "nobody@example.com" {
		return nil, nil
	}
	return o.Erasures()[:1], o.err
}

func (o *outsideOf) Erasures() []Erasure {
	at := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	return []Erasure{{ID: "01ARZ3NDEKTSV4RRFFQ69G5FAV", Destination: "support", State: "asked", By: "ada", Reason: "she asked", At: at, Labels: []isogate.Label{"personal.contact.email"}},
		{ID: "01ARZ3NDEKTSV4RRFFQ69G5FAW", Destination: "support", State: "confirmed", By: "ada", Reason: "she asked", At: at, Labels: []isogate.Label{"personal.contact.email"}, Confirmed: &at, Receipt: 4}}
}

// Administrators see what the outside holds, and have it erased; what they say goes
// into the order as they said it.
//
// promise: P17
func TestWhatTheOutsideHolds(t *testing.T) {
	o, out := newOffice(t), &outsideOf{}
	o.hub.custody = out
	if l := into[LandingList](o.call("ada", "GET", "/landings", "").want(200)); len(l.Landings) != 2 || l.Landings[0].KeysOverdue != 1 {
		t.Errorf("got %+v", l)
	}
	list := into[SubjectList](o.call("ada", "POST", "/subjects/find", `{"value":"ada@example.com","destination":"support","limit":7,"after":"x"}`).want(200))
	if len(list.Subjects) != 2 || list.Next == "" || out.asked[0] != (SubjectQuery{"ada@example.com", "support", "x", 7}) {
		t.Errorf("got %+v by %+v", list, out.asked)
	}
	o.call("ada", "GET", "/subjects?destination=support&limit=7&after=x", "").want(200)
	if out.asked[1] != (SubjectQuery{"", "support", "x", 7}) {
		t.Errorf("asked for %+v", out.asked[1])
	}
	for _, bad := range []string{"limit=0", "limit=1001", "limit=x", "who=ada", "after=" + strings.Repeat("a", maxValue+1)} {
		o.call("ada", "GET", "/subjects?"+bad, "").want(400)
	}
	for _, bad := range []string{`{}`, `{"value":""}`, `{"value":"a","limit":0}`, `{"value":"a","limit":1001}`, `{"value":"` + strings.Repeat("a", maxValue+1) + `"}`} {
		o.call("ada", "POST", "/subjects/find", bad).want(400)
	}
	// A value has no place in an address.
	if r := o.call("ada", "GET", "/subjects?value=ada%40example.com", "").want(400); strings.Contains(string(r.body), "ada@") || len(out.asked) != 2 {
		t.Errorf("an address was looked up by: %s", r.body)
	}
	e := into[ErasureList](o.call("ada", "POST", "/subjects/erase", `{"value":"ada@example.com","label":"personal.contact.email","destination":"support","reason":"she asked"}`).want(202))
	if len(e.Erasures) != 1 || out.orders[0].By.Name != "ada" || out.orders[0].By.SignedIn != access.ByBearer || out.orders[0].Reason != "she asked" || out.orders[0].Label != "personal.contact.email" || out.orders[0].Destination != "support" {
		t.Errorf("got %+v by %+v", e, out.orders)
	}
	for _, bad := range []string{`{"value":"a"}`, `{"reason":"b"}`, `{"value":"","reason":"b"}`, `{"value":"a","reason":"b","label":"No"}`, `{"value":"a","reason":"b","x":1}`} {
		o.call("ada", "POST", "/subjects/erase", bad).want(400)
	}
	if len(out.orders) != 1 {
		t.Errorf("a bad order was carried out: %+v", out.orders)
	}
	if r := o.call("ada", "POST", "/subjects/erase", `{"value":"nobody@example.com","reason":"b"}`).want(404); strings.Contains(string(r.body), "nobody@") {
		t.Errorf("a refusal repeats the value: %s", r.body)
	}
	if l := into[ErasureList](o.call("ada", "GET", "/erasures", "").want(200)); len(l.Erasures) != 2 {
		t.Errorf("got %+v", l)
	}
	out.err = fmt.Errorf("the register of support: %w", errors.New("out of reach"))
	o.call("ada", "GET", "/subjects", "").want(502, "out of reach")
	o.call("ada", "POST", "/subjects/erase", `{"value":"a","reason":"b"}`).want(502)
	out.err = fmt.Errorf("x: %w", ErrNoLanding)
	o.call("ada", "GET", "/subjects?destination=elsewhere", "").want(404, "has no landing")
	// What may be erased does not wait for the ledger.
	o.hub.ledger = &fakeLedger{lost: errors.New("lost")}
	out.err = nil
	o.call("ada", "POST", "/subjects/erase", `{"value":"a","reason":"b"}`).want(202)
	o.call("nobody", "GET", "/subjects", "").want(401)
}

func TestNoLandings(t *testing.T) {
	o := newOffice(t)
	for _, path := range []string{"/landings", "/subjects", "/erasures"} {
		o.call("ada", "GET", path, "").want(404, "no destination of the pack has a landing")
	}
	o.call("ada", "POST", "/subjects/erase", `{"value":"a","reason":"b"}`).want(404, "has a landing")
}

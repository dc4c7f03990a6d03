package main

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/isogate/isogate/internal/isogatetest"
)

// portalHost is where the reference pack says that the support portal is.
const portalHost = "support.example"

// portal is the vendor's side outside: a support portal that stores what it gets
// and answers with it.
type portal struct {
	*place
	tickets []map[string]json.RawMessage // guarded by place.mu
}

func newPortal(a *isogatetest.Authority, host string) (*portal, error) {
	p := &portal{}
	var err error
	p.place, err = newPlace(a, host, p.handle)
	return p, err
}

// firstTicket is the number of the portal's first ticket.
const firstTicket = 1001

func (p *portal) handle(r isogatetest.Received) (status int, body any) {
	var in map[string]json.RawMessage
	_ = json.Unmarshal(r.Body, &in)
	path, _, _ := strings.Cut(r.Target, "?")
	switch {
	case r.Method == http.MethodGet && path == "/v1/tickets":
		return http.StatusOK, map[string]any{"tickets": p.tickets}
	case path == "/v1/tickets":
		ticket := map[string]json.RawMessage{}
		_ = json.Unmarshal(in["ticket"], &ticket)
		ticket["id"] = json.RawMessage(strconv.Itoa(firstTicket + len(p.tickets)))
		p.tickets = append(p.tickets, ticket)
		return http.StatusCreated, map[string]any{"ticket": ticket}
	case strings.HasSuffix(path, "/comments"):
		id, err := strconv.Atoi(strings.Split(path, "/")[3])
		if err != nil || id < firstTicket || id >= firstTicket+len(p.tickets) {
			return http.StatusNotFound, map[string]string{"error": "no such ticket"}
		}
		ticket := p.tickets[id-firstTicket]
		ticket["comment"] = in["comment"]
		return http.StatusCreated, in
	}
	return http.StatusCreated, in
}

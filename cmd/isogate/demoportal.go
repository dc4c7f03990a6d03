package main

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/isogate/isogate/internal/isogatetest"
)

// portal is the outside of the demo: a support portal that stores what it gets,
// as it gets it, and answers with it.
type portal struct {
	far *isogatetest.Far

	mu      sync.Mutex // guards what follows
	tickets []map[string]json.RawMessage
	answer  []byte
}

func newPortal(a *isogatetest.Authority, host string) (*portal, error) {
	far, err := isogatetest.NewFar(a, host)
	if err != nil {
		return nil, err
	}
	p := &portal{far: far}
	far.Answer(p.serve)
	return p, nil
}

func (p *portal) close()                           { p.far.Close() }
func (p *portal) address() string                  { return p.far.Address() }
func (p *portal) received() []isogatetest.Received { return p.far.Received() }

// lastAnswer is the body it answered with last.
func (p *portal) lastAnswer() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.answer
}

func (p *portal) serve(w http.ResponseWriter, r isogatetest.Received) {
	p.mu.Lock()
	defer p.mu.Unlock()
	status, body := p.handle(r)
	p.answer, _ = json.Marshal(body)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(p.answer)
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

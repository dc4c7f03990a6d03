package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/isogate/isogate/internal/isogatetest"
	"github.com/isogate/isogate/landing"
)

// portalHost is where the reference pack says that the support portal is.
const portalHost = "support.example"

// portal is the vendor's side outside: a support portal that stores what it gets,
// answers with it, and shows it to its agents. It knows nothing of seals: what it
// stores is what it got, and its landing stands in front of it.
type portal struct {
	*place
	file    string   // its database: a line of JSON for each record
	records []record // guarded by place.mu
	tickets int      // as many of the records

	landingKey string // the public half; guarded by place.mu
}

// record is one thing that the portal keeps.
type record struct {
	Kind string         `json:"kind"` // session, login, code or ticket
	Data map[string]any `json:"data"`
}

// newPortal starts a portal whose database is in dir and is empty.
func newPortal(dir string) (*portal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("demo: the portal: %w", err)
	}
	p := &portal{place: &place{far: isogatetest.NewService()}, file: filepath.Join(dir, "portal.jsonl")}
	if err := p.save(); err != nil {
		p.close()
		return nil, err
	}
	p.far.Answer(func(w http.ResponseWriter, r isogatetest.Received) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if path, _, _ := strings.Cut(r.Target, "?"); path == agentPage && r.Method == http.MethodGet {
			p.showAgent(w)
			return
		}
		p.answerJSON(w, r, p.handle)
	})
	return p, nil
}

// firstTicket is the number of the portal's first ticket.
const firstTicket = 1001

// keptPath maps the ways by which something comes that the portal keeps to what it is.
var keptPath = map[string]string{"/v1/sessions": "session", "/v1/logins": "login", "/v1/codes": "code"}

func (p *portal) handle(r isogatetest.Received) (status int, body any) {
	var in map[string]any
	d := json.NewDecoder(bytes.NewReader(r.Body))
	d.UseNumber() // what comes back is what was sent
	_ = d.Decode(&in)
	path, _, _ := strings.Cut(r.Target, "?")
	status, body = http.StatusCreated, in
	switch kind := keptPath[path]; {
	case path == "/erasures":
		return p.erase(r), map[string]string{}
	case kind != "":
		p.records = append(p.records, record{kind, in})
	case r.Method == http.MethodGet && path == "/v1/tickets":
		return http.StatusOK, map[string]any{"tickets": p.all("ticket")}
	case path == "/v1/tickets":
		ticket, _ := in["ticket"].(map[string]any)
		if ticket == nil {
			ticket = map[string]any{}
		}
		ticket["id"] = firstTicket + p.tickets
		p.tickets++
		p.records = append(p.records, record{"ticket", ticket})
		body = map[string]any{"ticket": ticket}
	case strings.HasSuffix(path, "/comments"):
		id, err := strconv.Atoi(strings.Split(path, "/")[3])
		if err != nil || id < firstTicket || id >= firstTicket+p.tickets {
			return http.StatusNotFound, map[string]string{"error": "no such ticket"}
		}
		p.all("ticket")[id-firstTicket]["comment"] = in["comment"]
	default:
		return status, body
	}
	if err := p.save(); err != nil {
		return http.StatusInternalServerError, map[string]string{"error": "not saved"}
	}
	return status, body
}

// all are the records of a kind, in the order of their coming.
func (p *portal) all(kind string) (out []map[string]any) {
	out = []map[string]any{}
	for _, r := range p.records {
		if r.Kind == kind {
			out = append(out, r.Data)
		}
	}
	return out
}

// erase takes the identifiers that the landing names out of every record.
func (p *portal) erase(r isogatetest.Received) (status int) {
	// Whatever the landing passes on could come here too.
	e, err := landing.ReadErasure(p.landingKey, r.Header.Get("Isogate-Signature"), r.Body)
	if err != nil {
		return http.StatusForbidden
	}
	gone := map[string]bool{}
	for _, one := range e.Identifiers {
		gone[one.Value] = true
	}
	n := 0
	for _, r := range p.records {
		n += without(r.Data, gone)
	}
	switch {
	case n == 0:
		return http.StatusNotFound
	case p.save() != nil:
		return http.StatusInternalServerError
	}
	return http.StatusOK
}

// without removes every member whose value is gone, and says how many there were.
func without(in any, gone map[string]bool) (n int) {
	switch v := in.(type) {
	case map[string]any:
		for name, member := range v {
			if text, ok := member.(string); ok && gone[text] {
				delete(v, name)
				n++
				continue
			}
			n += without(member, gone)
		}
	case []any:
		for i, member := range v {
			if text, ok := member.(string); ok && gone[text] {
				v[i] = nil
				n++
				continue
			}
			n += without(member, gone)
		}
	}
	return n
}

// save writes the database anew, as a whole.
func (p *portal) save() error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for _, r := range p.records {
		if err := enc.Encode(r); err != nil {
			return err
		}
	}
	beside := p.file + ".new"
	return errors.Join(os.WriteFile(beside, b.Bytes(), 0o600), os.Rename(beside, p.file))
}

// database is what somebody finds who takes the portal's disk.
func (p *portal) database() ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return os.ReadFile(p.file)
}

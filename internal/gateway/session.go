package gateway

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"slices"

	"github.com/isogate/isogate/internal/http1"
	"github.com/isogate/isogate/internal/policy"
)

// sessionsEnd is where, at door one, the product tells that a session is over:
//
//	POST /sessions/end
//	{"session": "the value of the header that carried it"}
//
// The answer is 204 once every landing was told. What was sealed for the session
// can be opened nowhere any more.
const sessionsEnd = "/sessions/end"

// maxSessionEnd bounds the body: a session of maxSession bytes, escaped.
const maxSessionEnd = 8 << 10

// endSession ends a session at every landing.
//
// promise: P16
func (p *passage) endSession() {
	session, r := p.readSessionEnd()
	if p.refuse(r) {
		return
	}
	// Whoever sends nothing that belongs to a session has none to end.
	if !slices.ContainsFunc(p.rules.plan.Transits(), func(t *policy.Transit) bool {
		return t.SessionHeader != "" && slices.Contains(t.Sources, p.source) && p.rules.targets[t.Destination.Name].landing
	}) {
		p.refuse(&refusal{status: 403, code: "no-transit", detail: "no transit of this source to a landing carries a session"})
		return
	}
	if p.gate.cfg.Landings == nil {
		p.refuse(noLanding("this gateway keeps no keys for landings"))
		return
	}
	if err := p.gate.cfg.Landings.EndSession(p.x.Context(), p.source, session); err != nil {
		p.gate.cfg.Logger.Error("a session was not ended everywhere", slog.String("source", string(p.source)), slog.Any("error", err))
		p.refuse(&refusal{status: 503, code: "session-end", detail: "nothing is sealed for the session any more, but not every landing could be told, or it could not be recorded; end it again", again: true})
		return
	}
	p.status = 204
	if err := p.x.Respond(204, http1.Fields{{Name: "Cache-Control", Value: "no-store"}}, nil); err != nil {
		p.gate.cfg.Logger.Debug("the end of a session did not reach the caller", slog.Any("error", err))
	}
}

// readSessionEnd reads the body strictly.
func (p *passage) readSessionEnd() (string, *refusal) {
	body, err := io.ReadAll(io.LimitReader(p.x.Request.Body, maxSessionEnd+1))
	if err != nil {
		return "", bodyFault(err)
	}
	if len(body) > maxSessionEnd {
		return "", &refusal{status: 413, code: "session-end", detail: "the body is larger than 8 KiB"}
	}
	var ask struct {
		Session string `json:"session"`
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&ask); err != nil || d.More() || ask.Session == "" || len(ask.Session) > maxSession {
		return "", &refusal{status: 400, code: "session-end", detail: `the body is not {"session": "…"} with 1 to 1024 bytes`}
	}
	return ask.Session, nil
}

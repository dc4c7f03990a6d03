package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/http1"
	"github.com/isogate/isogate/internal/policy"
)

// userConsents is where, at door one, the product tells of a user's own action:
//
//	POST /consents
//	{"transit": "support-attachment", "user": "acc-81f2", "subject": "T-17/attachment-3"}
//
// The answer is 201 with the consent's id and end. A request over the transit
// then carries Isogate-Consent with the id, and the same user and subject where
// the transit says.
const userConsents = "/consents"

// maxUserConsent bounds the body of a request for one.
const maxUserConsent = 4 << 10

// userConsent is the body.
type userConsent struct {
	Transit isogate.Transit `json:"transit"`
	User    string          `json:"user"`
	Subject string          `json:"subject"`
}

// userConsentGiven is the answer.
type userConsentGiven struct {
	Consent isogate.EntryID `json:"consent"`
	Ends    time.Time       `json:"ends"`
	Once    bool            `json:"once"`
}

// give records a user's own action as a consent for one thing.
//
// promise: P11
// promise: P20
func (p *passage) give() {
	ask, r := p.readUserConsent()
	if p.refuse(r) {
		return
	}
	t, ok := p.rules.plan.Transit(ask.Transit)
	if !ok || t.Consent != policy.UserConsent || !slices.Contains(t.Sources, p.source) {
		p.refuse(&refusal{status: 403, code: "no-transit", detail: "no transit of that name waits for a user's action of this source"})
		return
	}
	p.entry.Transit, p.entry.Purpose, p.entry.Destination = t.Name, t.Purpose.String(), t.Destination.Name
	if p.gate.cfg.Ledger == nil {
		p.refuse(&refusal{status: 503, code: "no-ledger", detail: "this gateway has no ledger of consents"})
		return
	}
	if p.refuse(p.inTouch()) {
		return
	}
	act, err := p.gate.cfg.Ledger.Do(p.x.Context(), consent.Act{What: consent.Given, Actor: consent.Actor{Name: string(p.source), SignedIn: "on the user's behalf"},
		Transit: t.Name, Source: p.source, User: p.userDigest(ask.User), Subject: p.subjectDigest(ask.Subject), Once: t.UserAction.Once,
		Terms: consent.Terms{Until: p.now.Add(t.UserAction.TTL)}})
	if err != nil {
		p.gate.cfg.Logger.Error("a user's consent was not recorded", slog.String("transit", string(t.Name)), slog.Any("error", err))
		p.refuse(&refusal{status: 503, code: "cannot-record", detail: "the consent could not be recorded; try again later"})
		return
	}
	body, err := json.Marshal(userConsentGiven{act.ID, act.Terms.Until.UTC(), t.UserAction.Once})
	if err == nil {
		p.status = 201
		err = p.x.Respond(201, http1.Fields{{Name: "Content-Type", Value: "application/json"}, {Name: "Cache-Control", Value: "no-store"}}, append(body, '\n'))
	}
	if err != nil {
		p.gate.cfg.Logger.Debug("a consent did not reach the caller", slog.Any("error", err))
	}
}

// readUserConsent reads the body strictly: a member that is not known might have
// been meant as a limit.
func (p *passage) readUserConsent() (ask userConsent, _ *refusal) {
	bad := func(detail string) *refusal { return &refusal{status: 400, code: "user-consent", detail: detail} }
	body, err := io.ReadAll(io.LimitReader(p.x.Request.Body, maxUserConsent+1))
	if err != nil {
		return ask, bodyFault(err)
	}
	if len(body) > maxUserConsent {
		return ask, &refusal{status: 413, code: "user-consent", detail: "the body is larger than 4 KiB"}
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&ask); err != nil || d.More() {
		return ask, bad(`the body is not {"transit": …, "user": …, "subject": …}`)
	}
	if ask.User == "" || ask.Subject == "" {
		return ask, bad("user and subject are both needed: a consent is one person's, for one thing")
	}
	return ask, nil
}

// The two are digests of different things: a user must not pass as a subject.
func (p *passage) userDigest(user string) string {
	return p.rules.keys.Digest([]byte("consent user\x00" + user))
}
func (p *passage) subjectDigest(subject string) string {
	return p.rules.keys.Digest([]byte("consent subject\x00" + subject))
}

// byUser asks for the user's own action: a consent that the request names, of the
// same source, transit, user and subject, not over, and not used if it was for
// one use.
func (p *passage) byUser() *refusal {
	no := func(detail string) *refusal {
		return &refusal{status: 403, code: "no-consent", detail: detail + "; ask for one when the user acts: POST " + userConsents}
	}
	h := p.x.Request.Header
	id := isogate.EntryID(h.Get("Isogate-Consent"))
	if id == "" || h.Count("Isogate-Consent") > 1 {
		return no("the transit needs the user's own action, and the request has no single Isogate-Consent")
	}
	a, ok := p.gate.cfg.Ledger.Actions.Get(id, p.now)
	ua := p.transit.UserAction
	switch {
	case !ok:
		return no("the consent that the request names is not known, or over")
	case a.Transit != p.transit.Name || a.Source != p.source:
		return no("the consent that the request names is for another transit or source")
	case !p.same("consent user\x00", ua.User, a.User) || !p.same("consent subject\x00", ua.Subject, a.Subject):
		return no("the consent that the request names is of another user, or for another subject")
	case a.Once && a.UsedBy != "":
		return no("the consent that the request names was for one use, and was used")
	}
	p.entry.Consent, p.once = id, a.Once
	return nil
}

// use uses up a consent for one use, once nothing else stands in the way. Whose
// use is the first, of all gateways, the journal's order says.
func (p *passage) use() *refusal {
	if !p.once {
		return nil
	}
	_, err := p.gate.cfg.Ledger.Do(p.x.Context(), consent.Act{What: consent.Used, Of: p.entry.Consent, Actor: consent.Actor{Name: "isogate serve"},
		Transit: p.transit.Name, Source: p.source})
	switch {
	case errors.Is(err, consent.ErrNoEffect):
		return &refusal{status: 403, code: "no-consent", detail: "the consent that the request names was for one use, and was used"}
	case err != nil:
		p.gate.cfg.Logger.Error("the use of a consent was not recorded", slog.Any("error", err))
		return &refusal{status: 503, code: "cannot-record", detail: "the use of the consent could not be recorded; try again later"}
	}
	return nil
}

// same reports whether the value at a place of the request is the one that a
// digest was made of. A place that is there twice, or is empty, is nobody's.
func (p *passage) same(what string, at policy.Place, digest string) bool {
	var value string
	if at.Header != "" {
		if p.x.Request.Header.Count(at.Header) != 1 {
			return false
		}
		value = p.x.Request.Header.Get(at.Header)
	}
	if at.Path != "" {
		for _, param := range p.params {
			if param.Name == at.Path {
				value = param.Value
			}
		}
	}
	if value == "" {
		return false
	}
	ok, err := p.rules.keys.CheckDigest([]byte(what+value), digest)
	return ok && err == nil
}

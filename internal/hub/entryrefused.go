package hub

import (
	"strings"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/policy"
)

// refusalView is why a request did not leave: at which step of the gateway's line,
// and what to do for it to leave another time.
type refusalView struct {
	Reason string
	Steps  []stepView
	Next   string // what to do
	Links  []fact // where
}

// stepView is one step of the line.
type stepView struct {
	Name, About string
	State       string // passed, stopped or not reached
}

// step is a step of the gateway's line.
type step int

const (
	stepRead step = iota
	stepWho
	stepWay
	stepConsent
	stepRewrite
	stepRecord
	stepSend
	stepUnknown // it cannot be told from the entry
)

var stepWords = [...]struct{ name, about, next string }{
	stepRead:    {"Read", "is the message one that everybody reads alike?", "Mend the caller: what another program might read differently is never passed on."},
	stepWho:     {"Who", "which source is it?", "Configure the caller as a source (sources in isogate.yaml) with its certificate's SPIFFE ID or the SHA-256 of its token, or stop it from trying."},
	stepWay:     {"Which way", "which transit of the pack leads there?", "If this is to leave, write a transit for this source, destination, method and path in the pack, have it approved and load it."},
	stepConsent: {"Consent", "did somebody agree, and is that still so?", "If this is to leave, somebody who may decide answers the consent that was asked for."},
	stepRewrite: {"Rewrite", "is every part understood, and may it leave?", "The reason says which part. Mend what the source sends, or the contract of the transit if that is what is wrong; nothing that is not understood leaves."},
	stepRecord:  {"Record", "is the entry durable, and within the limits?", "Look at the gateway's health: what cannot be recorded does not leave."},
	stepSend:    {"Send", "does the far side answer, at an address that may be dialled?", "Look at the destination: its address, its certificate and whether it answers."},
}

// The lines of the gateway's doors. An app's host is granted before the pack is asked
// how it is reached.
var (
	firstDoor  = []step{stepRead, stepWho, stepWay, stepConsent, stepRewrite, stepRecord, stepSend}
	secondDoor = []step{stepRead, stepWho, stepConsent, stepWay, stepRewrite, stepRecord, stepSend}
)

// refusalOf explains a refusal.
func refusalOf(e *isogate.Entry, j *judgedBy) *refusalView {
	at := stoppedAt(e)
	r := &refusalView{Reason: consent.Shown(e.Reason)}
	line := firstDoor
	if e.Remote != "" || e.Purpose == isogate.App.String() {
		line = secondDoor
	}
	state := "passed"
	for _, i := range line {
		s := stepView{Name: stepWords[i].name, About: stepWords[i].about, State: state}
		switch {
		case at == stepUnknown:
			s.State = "not known"
		case i == at:
			s.State, state = "stopped", "not reached"
		}
		r.Steps = append(r.Steps, s)
	}
	if at == stepUnknown {
		r.Next = "The gateway's log says more of it."
		return r
	}
	r.Next = stepWords[at].next
	switch at {
	case stepConsent:
		if j != nil && j.way != nil && j.way.Consent == policy.UserConsent {
			r.Next = "This waits for a user's own action: the product asks for their consent when they act (POST /consents), and names it in the request."
			return r
		}
		if e.Consent != "" {
			r.Links = append(r.Links, fact{Name: "The consent that was asked for", Value: string(e.Consent), Href: "/consents/" + string(e.Consent)})
		}
		if app, found := strings.CutPrefix(string(e.Source), "app/"); found && e.Remote != "" {
			r.Links = append(r.Links, fact{Name: "What the app may use", Value: consent.Shown(string(e.Source)), Href: hrefOfApp("app", app)})
		} else if e.Transit != "" {
			r.Links = append(r.Links, fact{Name: "What was decided about the transit", Value: consent.Shown(string(e.Transit)), Href: hrefOfApp("transit", string(e.Transit))})
		}
	case stepWay:
		if j != nil && j.plan != nil {
			for _, t := range j.plan.Transits() {
				for _, s := range t.Sources {
					if s == e.Source && (e.Destination == "" || t.Destination.Name == e.Destination) {
						r.Links = append(r.Links, fact{Name: "A transit that this source has", Value: string(t.Name), Href: hrefOfTransit(j.Digest, t.Name)})
					}
				}
			}
		}
	case stepRewrite:
		if j != nil && j.way != nil {
			r.Links = append(r.Links, fact{Name: "The transit, its contract and rules", Value: string(j.way.Name), Href: hrefOfTransit(j.Digest, j.way.Name)})
		}
	}
	return r
}

// hrefOfApp and hrefOfTransit are where the pages of parties and transits are.
func hrefOfApp(kind, name string) string {
	return "/apps/" + kind + "/" + strings.ReplaceAll(name, "/", "%2F")
}

func hrefOfTransit(digest string, t isogate.Transit) string {
	return "/policies/" + digest + "/transits/" + string(t)
}

// stoppedAt is the step at which a request was refused, told from what the entry
// knows by then: a source after the second step, a transit after the third. What
// neither that nor the status tells is told by the gateway's words.
func stoppedAt(e *isogate.Entry) step {
	says := func(texts ...string) bool {
		for _, t := range texts {
			if strings.Contains(e.Reason, t) {
				return true
			}
		}
		return false
	}
	switch e.Status {
	case 401, 407:
		return stepWho
	case 429:
		if says("budget") {
			return stepRecord
		}
		return stepWho
	case 500:
		return stepUnknown
	case 502, 504:
		return stepSend
	case 503:
		switch {
		case says("journal", "recorded"):
			return stepRecord
		case says("ledger", "consent"):
			return stepConsent
		case says("the landing refused"):
			return stepSend
		}
		return stepRewrite // nothing can be sealed for it, or read of it
	case 415, 421, 422:
		return stepRewrite
	}
	if e.Source == "" {
		return stepRead
	}
	switch e.Status {
	case 403:
		switch {
		case says("may not be dialled"):
			return stepSend
		case says("the pack has no transit", "tunnel", "use CONNECT", "door"):
			return stepWay
		case says("landing has not stated", "nothing left:"):
			return stepRewrite
		case e.Transit == "" && e.Remote == "":
			return stepWay
		}
		return stepConsent
	case 413:
		if e.Transit != "" {
			return stepRewrite
		}
		return stepRead
	case 400:
		switch {
		case e.Transit != "":
			return stepRewrite
		case says("CONNECT, sent before"):
			return stepRewrite
		case e.Remote == "" && says("path", "this door"):
			return stepWay
		}
		return stepRead
	case 405, 408, 414, 417, 431, 501, 505:
		return stepRead
	}
	return stepUnknown
}

package gateway

import (
	"errors"
	"log/slog"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/policy"
	"github.com/isogate/isogate/internal/remote"
)

// limitOf is what a grant lets out at the most of what policy would.
func limitOf(p consent.Permit) policy.Limit {
	if p.Row.Kind == remote.TransitWay {
		return policy.Limit{Labels: p.Grant.Terms.Labels, Persist: true, EndUserData: true}
	}
	return policy.Limit{Labels: p.Grant.Terms.Labels, Persist: p.Row.Operations&remote.Storage != 0, EndUserData: p.Row.EndUserData}
}

// consented asks whether a grant is in force for the transit, or the user's own
// action is.
//
// promise: P11
func (p *passage) consented() *refusal {
	if p.transit.Consent == policy.NoConsent {
		return nil
	}
	ledger := p.gate.cfg.Ledger
	if ledger == nil {
		return &refusal{status: 403, code: "no-consent",
			detail: "the transit needs a consent (" + p.transit.Consent.String() + ") and this gateway has no ledger that could hold one"}
	}
	if r := p.inTouch(); r != nil {
		return r
	}
	if p.transit.Consent == policy.UserConsent {
		return p.byUser()
	}
	permit, no := ledger.State().AllowsTransit(p.transit.Name, p.now)
	if permit.Grant == nil {
		return p.notGranted(consent.OfTransit(p.transit.Name), no)
	}
	p.take(permit)
	return p.keep(false)
}

// granted asks whether a grant is in force for the app and host.
//
// promise: P11
// promise: P12
// promise: P13
func (p *passage) granted() *refusal {
	if r := p.inTouch(); r != nil {
		return r
	}
	permit, no := p.gate.cfg.Ledger.State().Allows(p.via.ask(), p.now)
	if permit.Grant == nil {
		return p.notGranted(p.via.party, no)
	}
	if permit.Row.Wildcard() && remote.DataInName(p.via.host) {
		return &refusal{status: 403, code: "data-in-name", detail: "the host's name looks like data, and to ask a name server for it would send it out; have the exact host granted"}
	}
	p.take(permit)
	return nil
}

// take notes by whose word the request leaves.
func (p *passage) take(permit consent.Permit) {
	p.permit, p.limit = permit, limitOf(permit)
	p.entry.Consent = permit.Grant.ID
}

// inTouch refuses while the ledger has not heard from the journal for longer than
// its lease: a revocation might not have come through.
func (p *passage) inTouch() *refusal {
	if err := p.gate.cfg.Ledger.InTouch(); err != nil {
		p.gate.cfg.Logger.Warn("nothing leaves that needs a consent", slog.Any("error", err))
		return &refusal{status: 503, code: "no-ledger", detail: "the gateway has lost touch with the ledger of consents; try again later"}
	}
	return nil
}

// notGranted explains a no, and has an administrator asked where nobody was yet.
func (p *passage) notGranted(party consent.Party, no consent.No) *refusal {
	r := &refusal{status: 403, code: "no-consent", detail: no.Text, consent: no.Request}
	if !no.MayAsk() {
		p.entry.Consent = r.consent
		return r
	}
	id, err := p.gate.cfg.Ledger.Attempted(p.x.Context(), party, no, "isogate serve")
	if err != nil && !errors.Is(err, consent.ErrNoEffect) {
		p.gate.cfg.Logger.Error("a request for consent could not be opened", slog.String("party", string(party)), slog.Any("error", err))
	}
	if id != "" {
		r.consent, r.detail = id, no.Text+"; an administrator is asked now: isogate consent show "+string(id)
	}
	p.entry.Consent = r.consent
	return r
}

// consentPath is where a consent can be looked at and answered.
func consentPath(id isogate.EntryID) string { return "/api/v1/consents/" + string(id) }

package gateway

import (
	"log/slog"
	"slices"
	"strings"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/http1"
	"github.com/isogate/isogate/internal/seal"
)

// landingSays is what a code of Isogate-Landing means for the request.
type landingSays struct {
	lost   bool   // of the keys: none of them is to be used again
	fresh  bool   // with fresh keys the request may pass at once
	detail string // for the caller
}

// The codes that a landing refuses with. With all of them nothing of the request
// has reached the service.
var landingCodes = map[string]landingSays{
	seal.CodeUnknownEpoch: {lost: true, detail: "the landing has been started anew, or its epoch is over; send the request again"},
	seal.CodeUnknownKey:   {lost: true, fresh: true, detail: "the landing does not hold the keys of the request; send it again"},
	seal.CodeGone:         {lost: true, fresh: true, detail: "the landing has destroyed the keys of the request, as at the end of a session; send it again"},
	seal.CodeStale:        {lost: true, fresh: true, detail: "the keys of the request came too late to the landing, or the clocks are apart; send it again"},
	seal.CodeDamaged:      {lost: true, detail: "the landing cannot read the keys of the request; another gateway's statement, or another version"},
	seal.CodeFull:         {detail: "the landing has no room for more keys; wait until some have ended"},
	seal.CodeRegisterFull: {detail: "the landing's register has no room; let identifiers be erased, or raise its limit"},
	"register-failed":     {detail: "the landing could not write its register; its log says why"},
	"not-acknowledged":    {detail: "the landing does not keep a register of an identifier that the request has; let it acknowledge the label"},
	"unknown-gateway":     {detail: "the landing does not know this gateway; give it the gateway's certificate and name"},
	"malformed":           {detail: "the landing cannot read what the gateway says of the keys; the two are of different versions"},
	"too-large":           {detail: "the request is too large for the landing"},
	"draining":            {detail: "the landing is being stopped; send the request again"},
	"not-found":           {detail: "the path is the landing's own"},
}

// landingsOwn reports whether a path, in canonical percent-encoding, is one of
// those by which receipts are fetched, sessions ended and erasures ordered. A
// landing knows us by our certificate: a caller that came there through us would
// speak for the tenant.
func landingsOwn(path []byte) bool {
	const own = "/.isogate"
	return len(path) >= len(own) && strings.EqualFold(string(path[:len(own)]), own)
}

// codeServiceFailed is the landing's word for a service that did not answer: what
// was sent may have arrived.
const codeServiceFailed = "service-failed"

// landed deals with what the landing says for itself in its answer: that it
// refused the request, or which keys it holds now. A held request that fresh keys
// may help is tried once more.
//
// promise: P16
func (p *passage) landed() *refusal {
	if !p.target.landing {
		return nil
	}
	code, refused := p.incoming.Header.Lookup(seal.HeaderLanding)
	if !refused {
		p.confirmed()
		return nil
	}
	_ = p.incoming.Body.Close()
	p.endStream()
	if code == codeServiceFailed {
		p.gate.cfg.Metrics.landingRefusals.WithLabelValues(code).Inc()
		return &refusal{status: 502, code: "far-side", detail: "the destination failed behind its landing"}
	}
	says, known := landingCodes[code]
	if !known {
		code, says = "other", landingSays{detail: "it is for a reason that this gateway does not know; the landing's log says more"}
	}
	p.gate.cfg.Metrics.landingRefusals.WithLabelValues(code).Inc()
	p.gate.cfg.Logger.Warn("the landing refused a request", slog.String("destination", string(p.entry.Destination)), slog.String("entry", string(p.entry.ID)), slog.String("code", code))
	if says.lost {
		p.gate.cfg.Landings.Lost(p.entry.Destination, code, p.sealing.ids())
	}
	r := &refusal{status: 503, code: "landing", detail: "the landing refused the request (" + code + "), and nothing of it reached the service: " + says.detail, again: says.lost || code == "draining"}
	if !says.fresh || p.streams || p.second {
		return r
	}
	return p.anew(r)
}

// anew sends a request once more, under fresh keys and with an entry of its own.
// The entry before it ends with why.
func (p *passage) anew(why *refusal) *refusal {
	p.close(why.status, why.detail+" (the gateway did so itself)")
	e := &p.entry
	*e = isogate.Entry{Kind: e.Kind, Source: e.Source, Purpose: e.Purpose, Transit: e.Transit, Destination: e.Destination, Method: e.Method,
		URL: e.URL, Pack: e.Pack, Consent: e.Consent, TLS: e.TLS, Fields: e.Fields[:0], Seals: e.Seals[:0]}
	p.second, p.incoming = true, nil
	p.tally.Reset()
	clear(p.out.Header)
	p.out = http1.Outgoing{Header: p.out.Header[:0]}
	p.sealing.reset()
	for _, step := range [...]func() *refusal{p.rewrite, p.record, p.still, p.send, p.landed} {
		if r := step(); r != nil {
			return r
		}
	}
	return nil
}

// confirmed notes which keys the landing says to hold. It may only speak of keys
// that this request has sent.
func (p *passage) confirmed() {
	keys := p.sealing.keys
	if len(keys) == 0 {
		return
	}
	var lines []string
	for _, f := range p.incoming.Header {
		if f.Name == seal.HeaderHeld {
			lines = append(lines, f.Value)
		}
	}
	said, err := seal.ParseHeld(lines)
	if err != nil {
		said = nil
	}
	var held []seal.ID
	for i := range keys {
		id := keys[i].passage.Sealer().ID()
		switch {
		case slices.Contains(said, id):
			held = append(held, id)
		case keys[i].unclaimed:
			p.unconfirmed = true
		}
	}
	if len(held) > 0 {
		p.gate.cfg.Landings.Held(p.entry.Destination, held)
	}
	if p.unconfirmed {
		p.gate.cfg.Metrics.unconfirmed.Inc()
		p.gate.cfg.Logger.Warn("the far side did not say that it holds the seal keys that it was sent; is it the landing?",
			slog.String("destination", string(p.entry.Destination)), slog.String("entry", string(p.entry.ID)))
	}
}

// notConfirmed is why an entry ends otherwise than it should, where the landing
// has not said that it holds the keys: whoever answered may not have been it.
const notConfirmed = "the far side did not say that it holds the seal keys that it was sent"

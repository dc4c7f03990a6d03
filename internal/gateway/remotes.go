package gateway

import (
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/http1"
	"github.com/isogate/isogate/internal/policy"
	"github.com/isogate/isogate/internal/remote"
)

// Remotes is door two: a forward proxy for apps. It serves the exchanges of an
// [http1.Server] that takes authority and absolute form.
//
// A CONNECT leads into a tunnel, whose bytes pass unread once its TLS has been
// seen to be meant for the host that was granted, or into an inspection, where
// the gateway is the host to the app and each request inside goes through the
// same line as one at door one. Which of the two, the pack says; without a word
// of it nothing leaves.
type Remotes struct{ gate *Gateway }

// Remotes is the gateway's second door. It needs Config.Ledger, Config.Dial and
// Config.Authority.
func (g *Gateway) Remotes() *Remotes { return &Remotes{g} }

// via is the host that an app's traffic goes to, and who sends it.
type via struct {
	source isogate.Source
	party  consent.Party
	kinds  []remote.Kind
	host   string // canonical
	port   uint16
	region string // the tenant's
}

// name is host:port, as entries have it.
func (v *via) name() string { return v.host + ":" + strconv.Itoa(int(v.port)) }

func (v *via) ask() consent.Ask {
	return consent.Ask{Party: v.party, Kinds: v.kinds, Host: v.host, Port: v.port, Region: v.region}
}

// ServeExchange takes one request of an app across the boundary, or refuses it.
//
// promise: P01
// promise: P12
func (d *Remotes) ServeExchange(x *http1.Exchange) {
	p := d.gate.begin(x)
	defer d.gate.end(p)
	p.remotes = true

	if p.refuse(p.who()) || // authenticate the caller: an app
		p.refuse(p.where()) { // one spelling of one host
		return
	}
	if x.Request.Form == http1.AuthorityForm {
		p.connect()
		return
	}
	p.toRemote()
}

// ServeFault records and refuses what is not a well-formed request.
func (d *Remotes) ServeFault(x *http1.Exchange, f *http1.Fault) {
	p := d.gate.begin(x)
	defer d.gate.end(p)
	p.remotes = true
	p.malformed(f)
}

// connect answers a CONNECT: who may go there and how, asked before anything is
// dialled or even looked up.
func (p *passage) connect() {
	if p.refuse(p.granted()) || // is a grant in force for this host?
		p.refuse(p.mode()) { // does the pack have a way there?
		return
	}
	if p.tunnel != nil {
		p.passUnread()
		return
	}
	p.inspect()
}

// toRemote is the line of one request to an app's remote: in absolute form, or
// inside an inspection. It is door one's, but for how the way is found.
//
// promise: P01
// promise: P03
func (p *passage) toRemote() {
	if p.refuse(p.granted()) || // is a grant in force for this host?
		p.refuse(p.wayToRemote()) || // match the app's transit
		p.refuse(p.rewrite()) || // walk everything field by field, within the grant
		p.refuse(p.spend(1, p.bytesOut)) || // within the budget
		p.refuse(p.record()) || // durable before the first byte leaves
		p.refuse(p.still()) { // the grant may have ended meanwhile
		return
	}
	p.gate.opens.kept(pool{p.target.host, p.target.port}, p.permit)
	if p.refuse(p.send()) { // through the guarded dialer
		return
	}
	p.back() // limit, restore, answer
}

// appBearer is the value of Proxy-Authorization as a bearer's, and the name that
// a caller gave itself. Clients that take a proxy as http://user:password@host
// can only send Basic (RFC 7617); the password is then the token.
func appBearer(authorization string) (bearer, name string) {
	scheme, encoded, ok := strings.Cut(authorization, " ")
	if !ok || !strings.EqualFold(scheme, "Basic") {
		return authorization, ""
	}
	raw, err := base64.StdEncoding.DecodeString(encoded)
	user, token, ok := strings.Cut(string(raw), ":")
	if err != nil || !ok {
		return "Basic", "" // not of a form that names anybody
	}
	return "Bearer " + token, user
}

// where finds the one spelling of the host that is asked for. No name is looked
// up here; what has no single spelling is not tried as a name either.
func (p *passage) where() *refusal {
	req := &p.x.Request
	id := p.rules.sources.of(p.source)
	if _, app := consent.App(id.App).Source(); !app {
		return &refusal{status: 403, code: "no-app", detail: "this door is for apps; use door one, or configure the source as app/NAME"}
	}
	v := &via{source: p.source, party: consent.App(id.App), kinds: id.Kinds, region: p.rules.region}
	p.entry.Purpose = isogate.App.String()
	var port uint16 // where none is written
	switch req.Form {
	case http1.AuthorityForm:
	case http1.AbsoluteForm:
		if req.Scheme != "https" {
			return &refusal{status: 403, code: "plaintext", detail: "what leaves must be encrypted; use an https address"}
		}
		port = 443
	default:
		return &refusal{status: 400, code: "no-remote", detail: "this door takes CONNECT host:port, and absolute addresses; configure it as a proxy"}
	}
	var err error
	if v.host, v.port, err = remote.ParseAuthority(req.Authority, port); err != nil {
		return &refusal{status: 403, code: "address", detail: err.Error()}
	}
	p.via = v
	p.entry.Remote = v.name()
	return nil
}

// mode finds how the pack lets this app reach the host.
func (p *passage) mode() *refusal {
	dst, ok := p.rules.plan.Remote(p.source, p.via.host, p.via.port)
	if !ok {
		return p.noWay()
	}
	p.entry.Destination = dst.Name
	t := p.rules.plan.Tunnel(p.source, dst.Name)
	whole := t != nil
	if whole {
		switch {
		case !t.OpenAt(p.now):
			return &refusal{status: 403, code: "no-transit", detail: "the tunnel's time in the pack is over; renew it there, or write a transit that inspects"}
		case !p.limit.Everything():
			return &refusal{status: 403, code: "limited-grant", detail: "the grant is limited, and nothing can be limited in a tunnel; write a transit that inspects, or ask for an unlimited grant"}
		}
		p.tunnel, p.transit, p.entry.Transit = t, t, t.Name
	}
	return p.keep(whole)
}

// noWay is the refusal where the pack says nothing about an app's host.
func (p *passage) noWay() *refusal {
	return &refusal{status: 403, code: "no-transit", detail: "the pack has no transit of " + string(p.source) + " to " + p.via.name() +
		"; write a destination with remote: " + p.via.host + " and a transit to it"}
}

// wayToRemote finds the transit that the request may leave by.
//
// promise: P05
func (p *passage) wayToRemote() *refusal {
	dst, ok := p.rules.plan.Remote(p.source, p.via.host, p.via.port)
	if !ok {
		return p.noWay()
	}
	p.entry.Destination = dst.Name
	path := p.x.Request.Target
	if p.x.Request.Form == http1.AbsoluteForm {
		_, rest, _ := strings.Cut(path, "://")
		path = rest[strings.IndexByte(rest, '/'):] // there is one: http1 wants it
	}
	path, _, _ = strings.Cut(path, "?")
	if p.rules.plan.Tunnel(p.source, dst.Name) != nil {
		return &refusal{status: 403, code: "no-transit", detail: "the pack lets this app tunnel to the host; use CONNECT"}
	}
	t, params, err := p.rules.plan.Match(p.source, dst.Name, p.x.Request.Method, path)
	if err != nil {
		return unmatched(err)
	}
	p.transit, p.params, p.path = t, params, path
	p.target = p.rules.toHost(dst.Name, p.via)
	p.entry.Transit, p.entry.URL = t.Name, policy.Template(path, params)
	return p.keep(false)
}

// spend takes from what the pack lets this source let out over the transit. The
// clock is that of the moment: a tunnel or a stream may outlast many periods.
func (p *passage) spend(requests, bytes int64) *refusal {
	if p.via == nil || !p.transit.Budget.Stated() {
		return nil
	}
	b := p.transit.Budget
	if p.gate.budgets.spend(account{p.source, p.transit.Name}, limit{b.Requests, b.Bytes, b.Per}, requests, bytes, p.gate.clock()) {
		return nil
	}
	return overBudget()
}

func overBudget() *refusal {
	return &refusal{status: 429, code: "budget", detail: "the transit's budget is spent; wait for its next period, or raise it in the pack"}
}

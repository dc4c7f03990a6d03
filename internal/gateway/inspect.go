package gateway

import (
	"context"
	"crypto/tls"
	"log/slog"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/http1"
	"github.com/isogate/isogate/internal/remote"
)

// Authority issues the certificates by which the gateway is a host to the apps
// that trust it.
type Authority interface {
	// Leaf is a certificate for exactly that canonical host, in force at now.
	Leaf(host string, now time.Time) (*tls.Certificate, error)
}

// inspect answers a CONNECT by being the host: TLS ends here, and every request
// inside goes through the line, each under the grant of its moment.
//
// promise: P03
func (p *passage) inspect() {
	if p.gate.cfg.Authority == nil {
		p.refuse(&refusal{status: 503, code: "no-authority", detail: "the gateway has no authority to inspect with; make one: isogate tenant intercept create"})
		return
	}
	if p.x.Pipelined() {
		p.refuse(&refusal{status: 400, code: "pipelined", detail: "there are bytes behind the CONNECT, sent before it was answered; wait for the answer"})
		return
	}
	leaf, err := p.gate.cfg.Authority.Leaf(p.via.host, p.now)
	if err != nil {
		p.gate.cfg.Logger.Error("no certificate for a host", slog.String("host", p.via.host), slog.Any("error", err))
		p.refuse(&refusal{status: 503, code: "no-authority", detail: "the gateway cannot make a certificate for this host; its log says why"})
		return
	}
	inside, err := p.x.Tunnel(nil)
	if err != nil {
		return
	}
	p.status = 200
	p.gate.cfg.Metrics.inspected.Inc()
	defer p.gate.cfg.Metrics.inspected.Dec()
	defer func() { _ = inside.Close() }()
	stop := context.AfterFunc(p.ctx, inside.Cut)
	defer stop()

	hello, raw, err := readHello(inside, helloWithin)
	if why := p.misled(hello, err); why != "" {
		p.refuse(&refusal{status: 403, code: "tls", detail: why})
		return
	}
	// No tickets: a session that is resumed would carry over what was true when it began.
	server := tls.Server(&replayConn{Conn: inside, raw: raw}, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*leaf},
		NextProtos: []string{"http/1.1"}, SessionTicketsDisabled: true, DynamicRecordSizingDisabled: true})
	ctx, cancel := context.WithTimeout(p.ctx, helloWithin)
	err = server.HandshakeContext(ctx)
	cancel()
	if err != nil {
		p.refuse(&refusal{status: 403, code: "tls", detail: "nothing left: the app did not take the gateway's certificate, or speaks no HTTP/1.1 over it; let it trust the tenant's interception authority"})
		return
	}
	state := server.ConnectionState()
	p.in, p.body, p.scratch, p.url = nil, nil, nil, nil // the connection may be open for long
	p.x.Serve(p.ctx, server, &state, &inspection{gate: p.gate, via: *p.via, rules: p.rules, tls: tls.VersionName(state.Version)})
}

// inspection serves the requests inside one inspected connection.
type inspection struct {
	gate  *Gateway
	via   via
	rules *Rules // by which via says what the source is
	tls   string
}

// ServeExchange takes one request across the boundary, or refuses it. The host
// that it names must be the one of the CONNECT, on every request.
//
// promise: P01
// promise: P03
func (i *inspection) ServeExchange(x *http1.Exchange) {
	p := i.begin(x)
	defer i.gate.end(p)
	if p.refuse(p.agrees()) {
		return
	}
	p.toRemote()
}

// ServeFault records and refuses what is not a well-formed request.
func (i *inspection) ServeFault(x *http1.Exchange, f *http1.Fault) {
	p := i.begin(x)
	defer i.gate.end(p)
	p.refuse(&refusal{status: f.Status, code: "malformed", detail: f.Error()})
}

func (i *inspection) begin(x *http1.Exchange) *passage {
	p := i.gate.begin(x)
	if p.rules != i.rules { // the source may be of another app now, or of other kinds
		id := p.rules.sources.of(i.via.source)
		i.rules, i.via.party, i.via.kinds, i.via.region = p.rules, consent.App(id.App), id.Kinds, p.rules.region
	}
	p.remotes, p.via = true, &i.via
	p.source, p.entry.Source, p.entry.TLS = i.via.source, i.via.source, i.tls
	p.entry.Remote, p.entry.Purpose = i.via.name(), isogate.App.String()
	return p
}

// agrees refuses a Host that is not the one of the CONNECT and the TLS around it
// ("Host of Troubles", CCS 2016; smokescreen issue 279).
func (p *passage) agrees() *refusal {
	var fallback uint16 // the port that a Host without one means: https's own, and no other
	if p.via.port == 443 {
		fallback = 443
	}
	host, port, err := remote.ParseAuthority(p.x.Request.Authority, fallback)
	if err != nil || host != p.via.host || port != p.via.port {
		p.x.Close() // whoever tries that once is not to be trusted with the connection
		return &refusal{status: 421, code: "host", detail: "the Host of the request is not the host of the CONNECT"}
	}
	if !p.rules.sources.known(p.source) {
		return &refusal{status: 407, code: "unknown-caller", detail: "the source is not configured any more"}
	}
	return nil
}

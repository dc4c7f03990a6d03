// Package gateway is the enforcement point: one straight line per request, from
// who asks to what comes back. See [Gateway.ServeExchange], which is that line.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/http1"
	"github.com/isogate/isogate/internal/obfuscate"
	"github.com/isogate/isogate/internal/payload"
	"github.com/isogate/isogate/internal/policy"
)

// Journal takes the entries. What it has returned from Append without an error
// is durable; nothing leaves without that.
type Journal interface {
	// Append fills in ID, Seq, Time and Tenant and returns once e is durable; on an
	// error e has no ID.
	Append(ctx context.Context, e *isogate.Entry) error
	// AppendLater takes e, which becomes durable soon; it has no ID before.
	AppendLater(e *isogate.Entry) error
	// AppendClosing records, soon, how a release ended about which there is
	// nothing more to say.
	AppendClosing(c isogate.Closing) error
	// Ready says why nothing may leave now, or nil.
	Ready() error
}

// Keys do the tenant's keyed work.
type Keys interface {
	obfuscate.Deriver
	// Digest is a keyed digest of b, which says nothing without the tenant's key.
	Digest(b []byte) string
	// CheckDigest reports whether a digest is b's, also one from before a rotation.
	CheckDigest(b []byte, digest string) (bool, error)
}

// Config is what a gateway is made of. Those said to be optional are; the others
// are required.
type Config struct {
	Journal Journal
	Rules   *Rules
	Client  *http1.Client
	Logger  *slog.Logger
	Metrics *Metrics
	// Now is the clock that policies and certificates are judged by.
	Now func() time.Time
	// Hold is the largest body, in bytes, that is judged whole before its first
	// byte leaves; larger ones are streamed. The server bounds those.
	Hold int64
	// Limits bound what a body may look like; Limits.Body is the largest body.
	Limits payload.Limits
	// Tracer takes a span for each request; nil takes none. Optional.
	Tracer trace.Tracer
	// Ledger says what was consented to. Without one, what waits for consent is
	// refused, and there is no second door. Optional.
	Ledger *consent.Ledger
	// Dial opens the connections of tunnels; see the remote package's Dialer. Needed
	// with Ledger.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Authority is who the gateway is to apps that it inspects; nil inspects none.
	// Optional.
	Authority Authority
	// Landings gives the keys that values are sealed under. Needed where the plan has
	// a destination with a landing; without it nothing leaves for such a one.
	Landings Landings
}

// Gateway is door one: it serves the exchanges of an [http1.Server].
type Gateway struct {
	cfg       Config
	rules     atomic.Pointer[Rules]
	strangers *strangers
	apps      sync.Map // isogate.Source → *strangers
	activity  atomic.Uint64
	latest    atomic.Int64 // the latest time, in Unix nanoseconds, that a request was judged by
	passages  sync.Pool    // of *passage
	opens     opens
	ends      chan struct{} // holds one token when something was opened that ends by itself
	pieces    pieces
	budgets   budgets
}

// New makes a gateway. It starts nothing.
func New(cfg Config) (*Gateway, error) {
	switch {
	case cfg.Journal == nil:
		return nil, errors.New("gateway: there is no journal, and what cannot be recorded does not leave")
	case cfg.Rules == nil:
		return nil, errors.New("gateway: there are no rules")
	case cfg.Rules.landings && cfg.Landings == nil:
		return nil, errors.New("gateway: the plan has a destination with a landing, so Landings is needed: it gives the keys that values are sealed under")
	case cfg.Client == nil || cfg.Logger == nil || cfg.Metrics == nil || cfg.Now == nil:
		return nil, errors.New("gateway: Client, Logger, Metrics and Now are all needed")
	case cfg.Hold <= 0:
		return nil, errors.New("gateway: Hold must be positive")
	case cfg.Ledger != nil && cfg.Dial == nil:
		return nil, errors.New("gateway: with a Ledger, Dial is needed: tunnels go out by it")
	}
	g := &Gateway{cfg: cfg, strangers: newStrangers(strangersPerSecond, strangersBurst), ends: make(chan struct{}, 1)}
	g.passages.New = func() any { return new(passage) }
	g.rules.Store(cfg.Rules)
	return g, nil
}

// Swap puts new rules in force. Requests under way keep the rules they began
// with; every request that begins afterwards has the new ones.
func (g *Gateway) Swap(r *Rules) { g.rules.Store(r) }

// Activity grows whenever a request or tunnel begins or ends.
func (g *Gateway) Activity() uint64 { return g.activity.Load() }

// Rules returns the rules in force.
func (g *Gateway) Rules() *Rules { return g.rules.Load() }

// ServeExchange takes one request across the boundary, or refuses it. Each step
// either goes on or refuses, and a refusal is recorded like a release.
//
// promise: P01
// promise: P03
func (g *Gateway) ServeExchange(x *http1.Exchange) {
	p := g.begin(x)
	defer g.end(p)

	if p.refuse(p.who()) { // authenticate the caller: tenant and source
		return
	}
	if x.Request.Target == userConsents && x.Request.Method == "POST" {
		p.give() // the user acts: nothing leaves yet
		return
	}
	if x.Request.Target == sessionsEnd && x.Request.Method == "POST" {
		p.endSession() // what was sealed for the session ends
		return
	}
	if p.refuse(p.way()) || // match the transit
		p.refuse(p.consented()) || // is a grant in force?
		p.refuse(p.rewrite()) || // walk everything field by field
		p.refuse(p.use()) || // a consent for one use is used up
		p.refuse(p.record()) || // durable before the first byte leaves
		p.refuse(p.still()) { // the grant may have ended meanwhile
		return
	}
	if p.refuse(p.send()) || // through the guarded dialer
		p.refuse(p.landed()) { // did the landing, where there is one, take it?
		return
	}
	p.back() // limit, restore, answer
}

// ServeFault records and refuses what is not a well-formed request. Nobody can
// say what a receiver would have read in it.
func (g *Gateway) ServeFault(x *http1.Exchange, f *http1.Fault) {
	p := g.begin(x)
	defer g.end(p)
	p.malformed(f)
}

// malformed refuses what is not a well-formed request.
func (p *passage) malformed(f *http1.Fault) {
	if source, r := p.rules.sources.identify(p.x.Request.TLS, "", p.now); r == nil {
		p.source, p.entry.Source = source, source // the connection says who, whatever it says
	}
	p.refuse(&refusal{status: f.Status, code: "malformed", detail: f.Error()})
}

// begin takes a passage from the pool and gives it the rules it will keep.
func (g *Gateway) begin(x *http1.Exchange) *passage {
	p := g.passages.Get().(*passage) //nolint:forcetypeassert // the pool holds nothing else
	p.gate, p.x, p.rules, p.began = g, x, g.rules.Load(), time.Now()
	p.now, p.ctx = g.clock(), x.Context()
	p.entry = isogate.Entry{Kind: isogate.KindEgress, Method: x.Request.Method, Pack: p.rules.plan.Digest, Fields: p.entry.Fields[:0], Seals: p.entry.Seals[:0]}
	g.activity.Add(1)
	g.cfg.Metrics.inflight.Inc()
	return p
}

// clock is the time that policies and certificates are judged by. It never goes
// back: a clock that is set back must not bring a rule that is over into force again.
//
// promise: P09
func (g *Gateway) clock() time.Time {
	now := g.cfg.Now()
	for {
		latest := g.latest.Load()
		if now.UnixNano() <= latest {
			return time.Unix(0, latest)
		}
		if g.latest.CompareAndSwap(latest, now.UnixNano()) {
			return now
		}
	}
}

// end answers if a panic stopped the line, counts, and gives the passage back.
// A request that our own mistake broke is refused like any other.
func (g *Gateway) end(p *passage) {
	if cause := recover(); cause != nil {
		// The cause may hold payload bytes; its stack does not.
		g.cfg.Logger.Error("the gateway broke on a request", slog.String("transit", p.transitName()), slog.String("stack", string(debug.Stack())))
		p.x.Close()
		if !p.x.Answered() {
			p.refuse(&refusal{status: 500, code: "broken", detail: "the gateway failed on this request; its log says where"})
		}
	}
	p.release()
	g.activity.Add(1)
	g.cfg.Metrics.inflight.Dec()
	g.cfg.Metrics.done(p, p.status, time.Since(p.began).Seconds())
	p.trace()
	p.reset()
	g.passages.Put(p)
}

// Rules is everything a request is judged by: one immutable value.
type Rules struct {
	tenant   isogate.Tenant
	plan     *policy.Plan
	sources  *Sources
	keys     Keys
	targets  map[isogate.Destination]*target
	landings bool // some destination has one
	hosts    map[string]string
	region   string
}

// RulesConfig is what rules are made of.
type RulesConfig struct {
	Tenant  isogate.Tenant
	Plan    *policy.Plan
	Sources *Sources
	Keys    Keys
	// Hosts says where to connect for a destination's host, as host:port, where
	// that is not what DNS says. The certificate must still be of the host.
	Hosts map[string]string
	// EmailDomain is the domain of e-mail shaped tokens; "" is the obfuscator's own.
	EmailDomain string
	// Region is the tenant's, for rows of apps that differ by region; "" has the
	// rows for every region alone.
	Region string
}

// target is a destination as requests reach it.
type target struct {
	scheme     string
	host       string // what is dialled
	port       uint16
	serverName string // what the certificate must say
	base       string // path in front of every path, without a final slash
	obfuscator *obfuscate.Obfuscator
	landing    bool // the host is a landing's, which stands before the service
	// For the landing's register; nil without a landing. No token that leaves in a
	// payload is one of theirs, so that none can be passed off as one.
	identifiers, subjects *obfuscate.Obfuscator
}

// NewRules derives the keys of every destination and makes the rules.
func NewRules(cfg RulesConfig) (*Rules, error) {
	if cfg.Plan == nil || cfg.Sources == nil || cfg.Keys == nil {
		return nil, errors.New("rules: a plan, sources and keys are all needed")
	}
	r := &Rules{tenant: cfg.Tenant, plan: cfg.Plan, sources: cfg.Sources, keys: cfg.Keys, targets: map[isogate.Destination]*target{}, hosts: cfg.Hosts, region: cfg.Region}
	for _, d := range cfg.Plan.Destinations() {
		t := &target{scheme: "https"} // an app's: the host comes with the request
		var err error
		if d.URL != nil {
			if t, err = newTarget(d.URL, cfg.Hosts); err != nil {
				return nil, fmt.Errorf("destination %s: %w", d.Name, err)
			}
		}
		t.landing = d.Landing != nil
		c := obfuscate.Config{Tenant: cfg.Tenant, Destination: d.Name, Labels: cfg.Plan.Labels(d.Name), Keys: cfg.Keys, EmailDomain: cfg.EmailDomain}
		t.obfuscator, err = obfuscate.New(c)
		if c.Use = obfuscate.Identifiers; err == nil && t.landing {
			t.identifiers, err = obfuscate.New(c)
		}
		if c.Use = obfuscate.Subjects; err == nil && t.landing {
			t.subjects, err = obfuscate.New(c)
		}
		if err != nil {
			return nil, fmt.Errorf("destination %s: keys: %w", d.Name, err)
		}
		r.landings = r.landings || t.landing
		r.targets[d.Name] = t
	}
	return r, nil
}

// Plan returns the plan that requests are judged by.
func (r *Rules) Plan() *policy.Plan { return r.plan }

// toHost is a destination of apps as one host of it is reached.
func (r *Rules) toHost(d isogate.Destination, v *via) *target {
	t := &target{scheme: "https", host: v.host, port: v.port, serverName: v.host, obfuscator: r.targets[d].obfuscator}
	if at, ok := r.hosts[v.host]; ok {
		if ap, err := netip.ParseAddrPort(at); err == nil {
			t.host, t.port = ap.Addr().String(), ap.Port()
		}
	}
	return t
}

// dialAddress is where a tunnel to the host is connected to.
func (r *Rules) dialAddress(v *via) string {
	if at, ok := r.hosts[v.host]; ok {
		return at
	}
	return v.name()
}

func newTarget(u *url.URL, hosts map[string]string) (*target, error) {
	t := &target{scheme: u.Scheme, host: u.Hostname(), serverName: u.Hostname(), port: 443, base: strings.TrimSuffix(u.EscapedPath(), "/")}
	port := u.Port()
	if at, ok := hosts[t.serverName]; ok {
		ap, err := netip.ParseAddrPort(at)
		if err != nil {
			return nil, fmt.Errorf("the address %q for host %s is not IP:port", at, t.serverName)
		}
		t.host, port = ap.Addr().String(), strconv.Itoa(int(ap.Port()))
	}
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("port %q is not 1 to 65535", port)
		}
		t.port = uint16(n)
	}
	return t, nil
}

// Package hub is the administrators' side: the JSON API by which they see what
// apps ask for, decide, and take back, and what the outside holds.
//
// It decides nothing by itself. What is, it reads from the ledger's state; what an
// administrator does becomes an act of theirs, and whether that has an effect is
// the ledger's to say. All it holds against them is who they are, and that a grant
// names the prompt that was looked at.
//
// promise: P12
// promise: P14
// promise: P15
package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/guess"
	"github.com/isogate/isogate/internal/remote"
)

// Ledger is where consents are; [consent.Ledger] is one.
type Ledger interface {
	// State is what is known now, and InTouch why that may be old.
	State() *consent.State
	InTouch() error
	// Do records an act. Its error is [consent.ErrNoEffect] where the act changed nothing.
	Do(ctx context.Context, a consent.Act) (consent.Act, error)
	// NewRequest is the act that asks for rows, with the tenant's rules about answers.
	NewRequest(party consent.Party, rows []remote.Row, by consent.Actor, reason string) consent.Act
}

// Config is what a Hub is made of. Ledger, Describe and Logger are required.
type Config struct {
	// Tenant is whose Hub it is, as pages say it.
	Tenant   isogate.Tenant
	Ledger   Ledger
	Describe consent.Describe
	// Desk knows who visits, and who calls; without one nobody can.
	Desk *access.Desk
	// Custody is what the outside holds; nil where no destination can have a landing.
	Custody Custody
	// URL is where browsers find the Hub: scheme and host. Nil is http://localhost.
	URL *url.URL
	// Trail counts and finds what left; nil where there is none, so that pages show no figures.
	Trail Trail
	// Running is the gateway beside which the Hub runs; nil where there is none.
	Running Running
	// Policies is what pages of policy are made of; its zero value shows none.
	Policies Policies
	// Open is how many connections and requests of a party, or of [consent.Everybody], are
	// under way by a grant, on the gateway that this Hub is part of. Nil is not known.
	Open func(consent.Party) int
	// Journal is where single entries and proofs are; nil where none can be looked up.
	Journal Journal
	// Packs are those that were ever in force; nil where nobody keeps them.
	Packs Packs
	// Evidence makes files for audits; nil where there is no journal to make them of.
	Evidence Evidence
	// Provider is where people sign in by OpenID Connect; nil where they do not.
	Provider *access.Provider
	// Passkeys are taken; nil where browsers keep none for the Hub's address.
	Passkeys *access.Passkeys
	// Visitor says who sits at the other end of a request for a page. Its error says
	// why that is not known. Nil asks the desk.
	Visitor func(*http.Request) (access.Visitor, error)
	Logger  *slog.Logger
	// Now is the clock that states are judged by; nil is time.Now.
	Now func() time.Time
}

// Hub answers administrators. It is safe for concurrent use, and starts nothing.
type Hub struct {
	ledger   Ledger
	describe consent.Describe
	desk     *access.Desk            // nil where nobody can come in
	custody  Custody                 // may be nil
	open     func(consent.Party) int // may be nil
	journal  Journal                 // may be nil
	packs    Packs                   // may be nil
	evidence Evidence                // may be nil
	provider *access.Provider        // nil where nobody comes by one
	passkeys *access.Passkeys        // nil where there are none
	logger   *slog.Logger
	now      func() time.Time
	failed   *guess.Limit
	mux      *http.ServeMux
	patterns map[string]bool

	url       *url.URL
	tenant    isogate.Tenant
	trail     Trail   // answers only while it has all; may be nil
	sofar     Trail   // the same, however far behind it is: for pages that say so
	running   Running // may be nil
	policies  Policies
	visitor   func(*http.Request) (access.Visitor, error)
	watcher   func(*http.Request) (access.Visitor, error) // of a page that asks by itself
	pages     *http.ServeMux
	templates templates
	assets    assets
	views     views
	newest    newests
	tails     tails
	copies    chan struct{} // has an element for each export and file of evidence that is being written
}

// maxBody is the largest body of a request, in bytes.
const maxBody = 1 << 20

// waitForEffect is how long an answer waits to learn whether an act has an effect.
const waitForEffect = 10 * time.Second

// New makes a Hub.
func New(cfg Config) (*Hub, error) {
	if cfg.Ledger == nil || cfg.Describe == nil || cfg.Logger == nil {
		return nil, errors.New("hub: a ledger, a description of egress and a logger are all needed")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	h := &Hub{
		tenant: cfg.Tenant, ledger: cfg.Ledger, describe: cfg.Describe, logger: cfg.Logger, now: cfg.Now,
		desk: cfg.Desk, provider: cfg.Provider, passkeys: cfg.Passkeys,
		custody: cfg.Custody,
		sofar:   cfg.Trail,
		journal: cfg.Journal,
		packs:   cfg.Packs, evidence: cfg.Evidence,
		running: cfg.Running,
		open:    cfg.Open,
		failed:  guess.New(cfg.Now),
		mux:     http.NewServeMux(), patterns: map[string]bool{},
		policies: cfg.Policies,
	}
	h.copies = make(chan struct{}, copiesAtOnce)
	if cfg.Trail != nil {
		h.trail = counted{cfg.Trail}
	}
	for _, r := range routes {
		pattern := r.method + " " + Prefix + r.path
		h.patterns[pattern] = true
		h.mux.HandleFunc(pattern, h.serve(r))
	}
	if h.url = cfg.URL; h.url == nil {
		h.url = &url.URL{Scheme: "http", Host: "localhost"}
	}
	if h.visitor = cfg.Visitor; h.visitor == nil {
		h.visitor = h.sitting
		h.watcher = h.watching
	} else {
		h.watcher = h.visitor
	}
	return h, h.newPages()
}

// Prefix is where the API is.
const Prefix = "/api/v1"

// route is one operation of the API. Its path is that of openapi.json.
type route struct {
	method, path string
	// need is the right that whoever calls must have; without one nobody may.
	need access.Right
	// stale says that the answer does not need the ledger to be of now: an act that
	// shuts must be possible while it is out of touch, a document never changes, and
	// what the outside holds is no matter of the ledger.
	stale bool
	do    func(h *Hub, c *call) (*answer, error)
}

var routes = slices.Concat([]route{
	{"GET", "/openapi.json", access.Read, true, (*Hub).openAPI},
	{"GET", "/apps", access.Read, false, (*Hub).listApps},
	{"POST", "/apps", access.Decide, false, (*Hub).importApp},
	{"GET", "/apps/{kind}/{name}", access.Read, false, (*Hub).showApp},
	{"GET", "/apps/{kind}/{name}/diff", access.Read, false, (*Hub).diffApp},
	{"POST", "/apps/{kind}/{name}/diff", access.Read, false, (*Hub).diffManifest},
	{"POST", "/apps/{kind}/{name}/requests", access.Decide, false, (*Hub).request},
	{"POST", "/apps/{kind}/{name}/block", access.Decide, true, (*Hub).block},
	{"POST", "/apps/{kind}/{name}/unblock", access.Decide, false, (*Hub).unblock},
	{"GET", "/consents", access.Read, false, (*Hub).listConsents},
	{"GET", "/consents/{id}", access.Read, false, (*Hub).showConsent},
	{"POST", "/consents/{id}/grant", access.Decide, false, (*Hub).grant},
	{"POST", "/consents/{id}/deny", access.Decide, true, (*Hub).deny},
	{"POST", "/consents/{id}/defer", access.Decide, true, (*Hub).putOff},
	{"POST", "/consents/{id}/modify", access.Decide, true, (*Hub).modify},
	{"POST", "/consents/{id}/revoke", access.Decide, true, (*Hub).revoke},
	{"POST", "/revocations", access.Decide, true, (*Hub).revokeAll},
	{"GET", "/landings", access.Read, true, (*Hub).listLandings},
	{"GET", "/subjects", access.Values, true, (*Hub).listSubjects},
	{"POST", "/subjects/find", access.Values, true, (*Hub).findSubjects},
	{"POST", "/subjects/erase", access.Decide, true, (*Hub).erase},
	{"GET", "/erasures", access.Read, true, (*Hub).listErasures},
	{"GET", "/overview", access.Read, true, (*Hub).showOverview},
	{"GET", "/health", access.Read, true, (*Hub).showHealth},
}, accessRoutes, exploreRoutes, policyRoutes, evidenceRoutes)

// call is one request of an administrator.
type call struct {
	*http.Request
	who     consent.Actor
	visitor access.Visitor
	state   *consent.State
	now     time.Time
}

// answer is what a call gets. A nil body has no content.
type answer struct {
	status int
	body   any
	// stream writes the answer itself, where it is not JSON. Its error comes before its
	// first byte.
	stream func(http.ResponseWriter) error
}

func ok(body any) (*answer, error) { return &answer{status: http.StatusOK, body: body}, nil }

// API is everything below /api/. Every path of it needs a token.
func (h *Hub) API() http.Handler {
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h.refuse(w, problem(http.StatusForbidden, "cross-site", "a page of another site sent this; act from the Hub or the command line"))
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secure(w.Header())
		protection.Handler(http.HandlerFunc(h.known)).ServeHTTP(w, r)
	})
}

// Secure sets the headers of [Hub.API] on each answer of a handler, also on those that
// nothing of the Hub makes, such as of a path that is spelt otherwise.
func Secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secure(w.Header())
		next.ServeHTTP(w, r)
	})
}

// secure sets what keeps an answer from being stored, framed, sniffed or run.
func secure(header http.Header) {
	for name, value := range map[string]string{
		"Cache-Control":                "no-store",
		"Content-Security-Policy":      "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
		"Cross-Origin-Opener-Policy":   "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Referrer-Policy":              "no-referrer",
		"X-Content-Type-Options":       "nosniff",
		"X-Frame-Options":              "DENY",
	} {
		header.Set(name, value)
	}
}

// serve runs an operation.
func (h *Hub) serve(op route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v := visitorOf(r.Context())
		if !v.May(op.need) {
			h.refuse(w, problem(http.StatusForbidden, "right", fmt.Sprintf("this needs the right to %s, which you do not have with this token; an owner gives roles", op.need)))
			return
		}
		c := &call{Request: r, who: consent.Actor{Name: v.Name, SignedIn: v.SignedIn}, visitor: v, now: h.now()}
		if err := h.ledger.InTouch(); err != nil && !op.stale {
			h.refuse(w, problem(http.StatusServiceUnavailable, "out-of-touch", fmt.Sprintf("%v; what could be said now may be old: see /readyz", err)))
			return
		}
		c.state = h.ledger.State()
		r.Body = http.MaxBytesReader(w, r.Body, bodyLimit(op.method+" "+op.path))
		a, err := op.do(h, c)
		if err == nil && a.stream != nil {
			err = a.stream(w)
		}
		if err != nil {
			h.refuse(w, problemOf(err))
			return
		}
		if a.stream != nil {
			return
		}
		if a.body == nil {
			w.WriteHeader(a.status)
			return
		}
		h.write(w, a.status, "application/json", a.body)
	}
}

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
	// Administrators are who may call; without any nobody can.
	Administrators []Administrator
	// Custody is what the outside holds; nil where no destination can have a landing.
	Custody Custody
	// Visitor says who sits at the other end of a request for a page. Its error says
	// why that is not known. Nil knows nobody.
	Visitor func(*http.Request) (access.Visitor, error)
	Logger  *slog.Logger
	// Now is the clock that states are judged by; nil is time.Now.
	Now func() time.Time
}

// Hub answers administrators. It is safe for concurrent use, and starts nothing.
type Hub struct {
	ledger   Ledger
	describe consent.Describe
	admins   administrators
	custody  Custody // may be nil
	logger   *slog.Logger
	now      func() time.Time
	failed   *guess.Limit
	mux      *http.ServeMux
	patterns map[string]bool

	tenant    isogate.Tenant
	visitor   func(*http.Request) (access.Visitor, error)
	pages     *http.ServeMux
	templates templates
	assets    assets
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
	admins, err := newAdministrators(cfg.Administrators)
	if err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	h := &Hub{tenant: cfg.Tenant, ledger: cfg.Ledger, describe: cfg.Describe, admins: admins, custody: cfg.Custody, logger: cfg.Logger, now: cfg.Now, failed: guess.New(cfg.Now),
		mux: http.NewServeMux(), patterns: map[string]bool{}}
	for _, r := range routes {
		pattern := r.method + " " + Prefix + r.path
		h.patterns[pattern] = true
		h.mux.HandleFunc(pattern, h.serve(r))
	}
	if h.visitor = cfg.Visitor; h.visitor == nil {
		h.visitor = func(*http.Request) (access.Visitor, error) { return access.Visitor{}, errNobody }
	}
	return h, h.newPages()
}

// errNobody says that a visitor has not signed in.
var errNobody = errors.New("nobody is signed in")

// Prefix is where the API is.
const Prefix = "/api/v1"

// route is one operation of the API. Its path is that of openapi.json.
type route struct {
	method, path string
	// stale says that the answer does not need the ledger to be of now: an act that
	// shuts must be possible while it is out of touch, a document never changes, and
	// what the outside holds is no matter of the ledger.
	stale bool
	do    func(h *Hub, c *call) (*answer, error)
}

var routes = []route{
	{"GET", "/openapi.json", true, (*Hub).openAPI},
	{"GET", "/apps", false, (*Hub).listApps},
	{"POST", "/apps", false, (*Hub).importApp},
	{"GET", "/apps/{kind}/{name}", false, (*Hub).showApp},
	{"GET", "/apps/{kind}/{name}/diff", false, (*Hub).diffApp},
	{"POST", "/apps/{kind}/{name}/diff", false, (*Hub).diffManifest},
	{"POST", "/apps/{kind}/{name}/requests", false, (*Hub).request},
	{"POST", "/apps/{kind}/{name}/block", true, (*Hub).block},
	{"POST", "/apps/{kind}/{name}/unblock", false, (*Hub).unblock},
	{"GET", "/consents", false, (*Hub).listConsents},
	{"GET", "/consents/{id}", false, (*Hub).showConsent},
	{"POST", "/consents/{id}/grant", false, (*Hub).grant},
	{"POST", "/consents/{id}/deny", true, (*Hub).deny},
	{"POST", "/consents/{id}/defer", true, (*Hub).putOff},
	{"POST", "/consents/{id}/modify", true, (*Hub).modify},
	{"POST", "/consents/{id}/revoke", true, (*Hub).revoke},
	{"POST", "/revocations", true, (*Hub).revokeAll},
	{"GET", "/landings", true, (*Hub).listLandings},
	{"GET", "/subjects", true, (*Hub).listSubjects},
	{"POST", "/subjects/find", true, (*Hub).findSubjects},
	{"POST", "/subjects/erase", true, (*Hub).erase},
	{"GET", "/erasures", true, (*Hub).listErasures},
}

// call is one request of an administrator.
type call struct {
	*http.Request
	who   consent.Actor
	state *consent.State
	now   time.Time
}

// answer is what a call gets. A nil body has no content.
type answer struct {
	status int
	body   any
}

func ok(body any) (*answer, error) { return &answer{http.StatusOK, body}, nil }

// API is everything below /api/. Every path of it needs an administrator's token.
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
		c := &call{Request: r, who: actorOf(r.Context()), now: h.now()}
		if err := h.ledger.InTouch(); err != nil && !op.stale {
			h.refuse(w, problem(http.StatusServiceUnavailable, "out-of-touch", fmt.Sprintf("%v; what could be said now may be old: see /readyz", err)))
			return
		}
		c.state = h.ledger.State()
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		a, err := op.do(h, c)
		if err != nil {
			h.refuse(w, problemOf(err))
			return
		}
		h.write(w, a.status, "application/json", a.body)
	}
}

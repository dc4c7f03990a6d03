package hub

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/consent"
)

// page is one page of the Hub, or one act that a form of it posts.
type page struct {
	pattern string // of net/http.ServeMux: "GET /consents/{id}"
	// need is the right that whoever asks must have.
	need access.Right
	// stale says that the answer does not need the ledger to be of now, as with route.
	stale bool
	// proof says that the act needs a recent proof of who the visitor is.
	proof bool
	// self says that it is about nothing but the visitor: whoever is signed in may.
	self bool
	// alone says that a page asks for it by itself, also where nobody sits any more: it
	// does not keep a session from becoming idle.
	alone bool
	do    func(h *Hub, v *visit) error
}

// pages are all there are; each list stands beside what it is about.
var pages = slices.Concat(
	overviewPages,
	accountPages,
	peoplePages,
	policyPages,
	proposalPages,
	playgroundPages,
	healthPages,
	consentPages,
	appPages,
	outsidePages,
	explorePages,
	evidencePages,
)

// visit is one request of a person with a browser.
type visit struct {
	*http.Request
	w     http.ResponseWriter
	hub   *Hub
	who   access.Visitor
	state *consent.State
	now   time.Time
	page  *page
}

// actor is the visitor as acts name them.
func (v *visit) actor() consent.Actor {
	return consent.Actor{Name: v.who.Name, SignedIn: v.who.SignedIn}
}

// layout is what every page is rendered with; templates see it as ".".
type layout struct {
	Title string
	// At is the section of the navigation that the page belongs to, by its path.
	At   string
	Who  access.Visitor
	Now  time.Time
	Data any
	// Said is what was just done, as a person is told; "" if nothing.
	Said string
	// Trouble is what keeps the Hub from knowing everything, such as a ledger out of touch.
	Trouble string
	// Proved says that the visitor need not prove who they are before they act, and Here
	// is where they come back to when they have: /signin/again?to={{.Here}}.
	Proved bool
	Here   string
	// Nav are the sections that the visitor may see.
	Nav []section
	// Waits is how many consents wait for an answer.
	Waits int
	// Tenant is whose Hub it is.
	Tenant isogate.Tenant
}

// section is one entry of the navigation.
type section struct {
	Path, Name string
	Sign       string // an icon of parts.html
	Apart      bool   // it begins a group
	need       access.Right
}

// sections is the navigation, in its order: what waits and was decided, what left,
// what policy says, what proves it, what runs.
var sections = []section{
	{"/", "Overview", "overview", false, access.Read},
	{"/consents", "Consents", "consents", true, access.Read},
	{"/apps", "Apps", "apps", false, access.Read},
	{"/explore", "What left", "explore", true, access.Read},
	{"/outside", "Outside", "outside", false, access.Read},
	{"/policies", "Policies", "policies", true, access.Read},
	{"/playground", "Playground", "playground", false, access.Values},
	{"/evidence", "Evidence", "evidence", true, access.Export},
	{"/health", "Health", "health", false, access.Read},
	{"/people", "People", "people", false, access.Own},
}

// at is the section that a path belongs to, by its path; "" if none.
func at(path string) string {
	for _, s := range sections {
		if s.Path == path || s.Path != "/" && strings.HasPrefix(path, s.Path+"/") {
			return s.Path
		}
	}
	for beside, section := range map[string]string{"/entries/": "/explore", "/proposals": "/policies", "/account": "/account", "/sessions": "/people", "/tokens": "/people"} {
		if strings.HasPrefix(path, beside) {
			return section
		}
	}
	return ""
}

// sectionOf names the section that a path belongs to, or the part of it.
func sectionOf(path string) string {
	path, part, found := strings.Cut(path, "#")
	if found {
		return part
	}
	for _, s := range sections {
		if s.Path == at(path) {
			return s.Name
		}
	}
	return "more"
}

// show renders a template of pages/ within the layout, with status 200.
func (v *visit) show(name, title string, data any) error {
	return v.showStatus(http.StatusOK, name, title, data)
}

// showStatus is show with another status.
func (v *visit) showStatus(status int, name, title string, data any) error {
	l := layout{Title: title, At: at(v.URL.Path), Who: v.who, Now: v.now, Data: data, Said: said[v.URL.Query().Get("said")], Tenant: v.hub.tenant,
		Proved: v.hub.fresh(v), Here: v.hub.here(v)}
	for _, s := range sections {
		if v.who.May(s.need) {
			l.Nav = append(l.Nav, s)
		}
	}
	if v.state != nil && len(l.Nav) > 0 {
		l.Waits = waiting(v.state, v.now)
	}
	if err := v.hub.ledger.InTouch(); err != nil {
		l.Trouble = err.Error()
	}
	// Whole before its first byte: a page that stops in the middle looks like one that says less.
	var body bytes.Buffer
	if err := v.hub.templates.execute(&body, name, l); err != nil {
		return fmt.Errorf("hub: page %s: %w", name, err)
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.WriteHeader(status)
	_, err := body.WriteTo(v.w)
	return err
}

// said are the things that a page may say was just done, by the word that a
// redirect names them with: an address cannot put other words into the Hub's mouth.
var said = map[string]string{
	"granted":         "Granted. It counts on every gateway.",
	"approved":        "Approved. Nothing is granted until a second administrator grants the same.",
	"denied":          "Denied. Nothing leaves.",
	"deferred":        "Put off. Nothing leaves; the request stays in the list.",
	"modified":        "Narrowed. It counts on every gateway, also on open connections.",
	"revoked":         "Revoked. Open connections over it are cut.",
	"blocked":         "Blocked. It cannot ask again until somebody lifts the block.",
	"signed-out":      "You are signed out here.",
	"proof-needed":    "Nothing was done yet: confirm first that it is you, and then send it again.",
	"session-ended":   "That session is over, on every gateway.",
	"passkey-added":   "That passkey lets you in from now on.",
	"passkey-removed": "That passkey lets nobody in any more.",
	"token-revoked":   "That token opens nothing any more.",
	"role-given":      "They have that role now.",
	"role-taken":      "They have that role no more, and their sessions know it.",
	"removed":         "They have no way in any more.",
	"link-revoked":    "That link lets nobody in any more.",
	"lifted":          "The block is lifted. Nothing leaves by that alone.",
	"asked":           "Asked. Nothing of it leaves until an administrator grants it.",
	"imported":        "Imported. What was granted goes on working; what is new waits for an answer.",
	"erasure":         "The erasure is recorded and asked for. It is confirmed by a receipt of the landing.",
	"view-saved":      "Saved. The view is in the list of views.",
	"view-removed":    "The view is removed.",
	"proposed":        "Proposed. Nothing changes before others approve it and it is deployed.",
	"pack-approved":   "Your approval is recorded. Nothing changes before the pack is deployed.",
	"pack-rejected":   "Rejected. Whoever still wants it must propose it again.",
	"withdrawn":       "Withdrawn. It can be proposed again.",
}

// seeOther answers a POST that was carried out. The path is one of the Hub's own;
// what is said is a key of said.
func (v *visit) seeOther(path, what string) error {
	if what != "" {
		path += "?said=" + url.QueryEscape(what)
	}
	http.Redirect(v.w, v.Request, path, http.StatusSeeOther)
	return nil
}

// form reads the fields of a posted form, which must be among these; each may be
// there once, but for those that end in "[]".
func (v *visit) form(names ...string) (url.Values, error) {
	if err := v.ParseForm(); err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return nil, problem(http.StatusRequestEntityTooLarge, "too-large", fmt.Sprintf("the form is larger than %d bytes", large.Limit))
		}
		return nil, badRequest("the form is not well-formed")
	}
	for name, values := range v.PostForm {
		switch {
		case !slices.Contains(names, name):
			return nil, badRequest("unknown field %q of the form; load the page again", consent.Shown(name))
		case len(values) != 1 && !strings.HasSuffix(name, "[]"):
			return nil, badRequest("the field %q is there twice", name)
		}
	}
	return v.PostForm, nil
}

// servePage runs a page for whoever is signed in.
func (h *Hub) servePage(p *page) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v := &visit{Request: r, w: w, hub: h, now: h.now(), state: h.ledger.State(), page: p}
		var err error
		sits := h.visitor
		if p.alone {
			sits = h.watcher
		}
		if v.who, err = sits(r); err != nil {
			h.signInFirst(v, err)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, bodyLimit(p.pattern))
		if err := h.mayVisit(v); err != nil {
			h.failPage(v, err)
			return
		}
		if p.proof && !h.fresh(v) {
			h.proveFirst(v)
			return
		}
		if err := p.do(h, v); err != nil {
			h.failPage(v, err)
		}
	}
}

// mayVisit holds against a visitor what the page needs.
func (h *Hub) mayVisit(v *visit) error {
	if !v.page.self && !v.who.May(v.page.need) {
		return problem(http.StatusForbidden, "right", fmt.Sprintf("this needs the right to %s, which is to %s, and none of your roles gives it", v.page.need, rightsTo[v.page.need]))
	}
	if err := h.ledger.InTouch(); err != nil && !v.page.stale && v.Method == http.MethodPost {
		return problem(http.StatusServiceUnavailable, "out-of-touch", fmt.Sprintf("%v; nothing was done, and what could be said now may be old", err))
	}
	return nil
}

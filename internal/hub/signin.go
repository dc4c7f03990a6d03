package hub

import (
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/consent"
)

// doors are what anybody may ask for: there is nothing of the tenant behind them but
// its name.
var doors = []page{
	{pattern: "GET /signin", do: (*Hub).signInPage},
	{pattern: "POST /signin/token", do: (*Hub).signInByToken},
	{pattern: "GET /signin/oidc", do: (*Hub).toProvider},
	{pattern: "GET /signin/oidc/return", do: (*Hub).fromProvider},
	{pattern: "POST /signin/passkey/options", do: (*Hub).askPasskey},
	{pattern: "POST /signin/passkey", do: (*Hub).signInByPasskey},
	{pattern: "GET /signin/link", do: (*Hub).linkPage},
	{pattern: "POST /signin/link", do: (*Hub).signInByLink},
}

// serveDoor runs one of doors. Whoever is signed in already is known there.
func (h *Hub) serveDoor(p *page) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v := &visit{Request: r, w: w, hub: h, now: h.now(), state: h.ledger.State(), page: p}
		v.who, _ = h.visitor(r)
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		if r.Method == http.MethodPost && h.failed.Reached(caller(r)) {
			w.Header().Set("Retry-After", "1")
			h.failPage(v, problem(http.StatusTooManyRequests, "too-many-attempts", "too many wrong secrets came from this address; wait a second and use the right one"))
			return
		}
		if err := p.do(h, v); err != nil {
			h.failPage(v, err)
		}
	}
}

// signInFirst sends somebody who is not signed in to where they can, and back
// afterwards if they only wanted to look.
func (h *Hub) signInFirst(v *visit, why error) {
	h.logger.Debug("a page was asked for by nobody", slog.String("page", v.page.pattern), slog.Any("why", why))
	if v.page.pattern == signOutPattern {
		http.SetCookie(v.w, h.cookie(ofSession, "", 0)) // also where it is not known whose it is
	}
	if errors.Is(why, access.ErrOutOfTouch) {
		h.failPage(v, problem(http.StatusServiceUnavailable, "out-of-touch", why.Error()))
		return
	}
	to := "/signin"
	if v.Method == http.MethodGet && v.URL.Path != "/" {
		to += "?to=" + url.QueryEscape(v.URL.RequestURI())
	}
	http.Redirect(v.w, v.Request, to, http.StatusSeeOther)
}

// fresh reports whether a visitor has proved lately who they are.
func (h *Hub) fresh(v *visit) bool {
	within := access.DefaultProof
	if h.desk != nil {
		within = h.desk.Proof()
	}
	return v.who.Fresh(v.now, within)
}

// here is the page that a visitor looks at, or whose form they sent.
func (h *Hub) here(v *visit) string {
	if v.Method == http.MethodGet {
		return local(v.URL.RequestURI())
	}
	for path := v.URL.EscapedPath(); path != ""; path = path[:strings.LastIndexByte(path, '/')] {
		u, err := url.Parse(path)
		if err != nil {
			break
		}
		if _, pattern := h.pages.Handler(&http.Request{Method: http.MethodGet, URL: u, Host: v.Host}); strings.HasPrefix(pattern, "GET ") {
			return local(path)
		}
	}
	return "/"
}

// proveFirst sends somebody to prove who they are before they act. What they sent is
// not done.
func (h *Hub) proveFirst(v *visit) {
	q := url.Values{"to": {h.here(v)}}
	if v.Method != http.MethodGet {
		q.Set("said", "proof-needed")
	}
	http.Redirect(v.w, v.Request, "/signin/again?"+q.Encode(), http.StatusSeeOther)
}

// ways are the ways to sign in that there are.
type ways struct {
	To       string
	Tenant   string
	Bearer   bool // by the token of somebody in the configuration
	Passkeys bool
	// Provider is the host of the provider, "" if there is none, and Begin the address
	// that leads to it. Out is where somebody signs out there, too.
	Provider, Begin, Out string
	Again                bool // somebody proves again who they are
	// Elsewhere is where browsers are to find the Hub, if this is not there: what is
	// signed in here would not be known there.
	Elsewhere string
	Wrong     string // what was wrong with what was tried before
}

// None reports whether there is none.
func (w ways) None() bool { return !w.Bearer && !w.Passkeys && w.Provider == "" }

func (h *Hub) ways(v *visit, again bool) ways {
	w := ways{To: local(v.FormValue("to")), Tenant: string(h.tenant), Again: again, Bearer: h.desk != nil && h.desk.HasBearer()}
	w.Passkeys = h.desk != nil && h.passkeys != nil && len(h.desk.State().Passkeys("")) > 0
	if (w.Passkeys || h.provider != nil) && v.Host != h.url.Host { // whoever comes back from the provider comes back there
		w.Elsewhere = h.url.String()
	}
	if h.desk != nil && h.provider != nil {
		q := url.Values{"to": {w.To}}
		if again {
			q.Set("again", "1")
		}
		w.Provider, w.Begin = h.provider.Host(), "/signin/oidc?"+q.Encode()
		if !again && v.who.Name == "" {
			w.Out = h.provider.Logout(h.url.String() + "/signin")
		}
	}
	return w
}

func (h *Hub) signInPage(v *visit) error {
	return v.show("signin", "Sign in", h.ways(v, false))
}

// again is where a visitor proves again who they are.
func (h *Hub) again(v *visit) error {
	return v.show("signin", "Confirm that it is you", h.ways(v, true))
}

// prover is the visitor whose session a sign-in is to prove again; nobody if it is
// to begin another.
func (v *visit) prover() access.Visitor {
	if v.FormValue("again") == "" {
		return access.Visitor{}
	}
	return v.who
}

func (h *Hub) signInByToken(v *visit) error {
	f, err := v.form("token", "to", "again")
	if err != nil {
		return err
	}
	if h.desk == nil {
		return h.noSuchPage(v)
	}
	secret, err := h.desk.SignInByToken(v.Context(), f.Get("token"), v.prover())
	if errors.Is(err, access.ErrNobody) {
		h.wrong(v.Request, access.ByBearer)
		w := h.ways(v, f.Get("again") != "")
		w.Wrong = "That is nobody's token."
		return v.showStatus(http.StatusForbidden, "signin", "Sign in", w)
	}
	return h.seated(v, secret, err, f.Get("to"))
}

// seated ends a sign-in: with the session's cookie and the page that was wanted, or
// with why not.
func (h *Hub) seated(v *visit, secret string, err error, to string) error {
	if err != nil {
		h.unseated(err)
		return signInProblem(err)
	}
	h.sitDown(v.w, v.Request, secret)
	return v.seeOther(local(to), "")
}

// unseated logs why somebody could not sign in.
func (h *Hub) unseated(err error) {
	h.logger.Warn("a sign-in was refused", slog.String("error", consent.Shown(err.Error())), slog.String("cause", consent.Shown(causeOf(err))))
}

// causeOf is what is behind a refusal, for the log.
func causeOf(err error) string {
	var no *access.Refusal
	if errors.As(err, &no) && no.Cause != nil {
		return no.Cause.Error()
	}
	return ""
}

// signInProblem is what somebody is told who could not sign in.
func signInProblem(err error) error {
	var no *access.Refusal
	switch {
	case errors.As(err, &no):
		return problem(http.StatusForbidden, no.Code, no.Detail)
	case errors.Is(err, access.ErrNobody):
		return problem(http.StatusForbidden, "nobody", "that lets nobody in")
	case errors.Is(err, access.ErrNotYours):
		return problem(http.StatusNotFound, "not-found", access.ErrNotYours.Error())
	case errors.Is(err, access.ErrNoEffect):
		return problem(http.StatusConflict, "no-effect", consent.Shown(err.Error()))
	case errors.Is(err, access.ErrInvalid):
		return badRequest("%s", consent.Shown(err.Error()))
	}
	return problem(http.StatusServiceUnavailable, "not-recorded", consent.Shown(err.Error()))
}

// linkPage asks whoever has a one-time link whether they want to use it. Looking at
// it uses nothing up: mail programs and chats look at links before people do.
func (h *Hub) linkPage(v *visit) error {
	key := v.FormValue("key")
	if dest := v.Header.Get("Sec-Fetch-Dest"); dest != "" && dest != "document" {
		// A picture of another site's page, say: wrong ones would keep its reader from signing in.
		return problem(http.StatusForbidden, "link", "a link is opened by whoever wants to sign in, and not by a part of a page")
	}
	if h.desk == nil || h.failed.Reached(caller(v.Request)) {
		return problem(http.StatusTooManyRequests, "too-many-attempts", "too many wrong links came from this address; wait a second")
	}
	l, found := h.desk.Link(key)
	if !found {
		h.wrong(v.Request, access.ByLink)
		return problem(http.StatusNotFound, "link", "this link lets nobody in: it was used, or its time is over; ask for a new one, or start isogate serve again if nobody can sign in")
	}
	return v.show("link", "Sign in by a link", struct {
		Key    string
		Link   access.Link
		Tenant string
	}{key, l, string(h.tenant)})
}

func (h *Hub) signInByLink(v *visit) error {
	f, err := v.form("key", "name")
	if err != nil {
		return err
	}
	if h.desk == nil {
		return h.noSuchPage(v)
	}
	secret, err := h.desk.SignInByLink(v.Context(), f.Get("key"), f.Get("name"))
	if errors.Is(err, access.ErrNobody) {
		h.wrong(v.Request, access.ByLink)
	}
	return h.seated(v, secret, err, "/account")
}

// signOut ends the visitor's session here and everywhere. The cookie goes whatever
// becomes of that.
func (h *Hub) signOut(v *visit) error {
	http.SetCookie(v.w, h.cookie(ofSession, "", 0))
	if h.desk != nil {
		if err := h.desk.SignOut(v.Context(), v.who); err != nil && !errors.Is(err, access.ErrNoEffect) {
			return problem(http.StatusServiceUnavailable, "not-recorded", "the session is forgotten by this browser, but it could not be recorded that it is over: "+consent.Shown(err.Error()))
		}
	}
	return v.seeOther("/signin", "signed-out")
}

package hub

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/guess"
)

// ATTACK: somebody goes away from an open live tail, which asks for news by itself, and
// somebody else sits down hours later. THIS TEST VERIFIES that what a page asks by itself
// is no use of the session, neither when a tail begins nor while it is open.
func TestAttackATailKeepsASessionOpen(t *testing.T) {
	var ahead atomic.Int64
	for path, over := range map[string]bool{"/explore/tail/events?from=0": true, "/account": false} {
		h := newHouse(t, func(c *Config) {
			j := &memory{news: make(chan struct{})}
			d, err := access.New(access.Config{Journal: adminOf{j}, Logger: slog.New(slog.DiscardHandler), Lease: time.Minute, Idle: 30 * time.Minute,
				People: []access.Configured{{Name: "olga", Roles: []access.Role{access.Owner}, TokenSHA256: sum(tokens["olga"])}},
				Now:    func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- d.Run(ctx) }()
			t.Cleanup(func() {
				stop()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			})
			c.Desk = d
		})
		b := h.browser().as("olga")
		ahead.Add(int64(20 * time.Minute))
		if g := b.get(path); strings.HasPrefix(g.header.Get("Location"), "/signin") {
			t.Errorf("%s: nobody sits there yet", path)
		}
		ahead.Add(int64(20 * time.Minute))
		if g := b.get("/account"); strings.HasPrefix(g.header.Get("Location"), "/signin") != over {
			t.Errorf("after %s: the session is over: %v, want %v", path, !over, over)
		}
	}

	olga := access.Visitor{Name: "olga", Roles: []access.Role{access.Owner}}
	h := &Hub{visitor: func(*http.Request) (access.Visitor, error) { return access.Visitor{}, errors.New("asked as a use") },
		watcher: func(*http.Request) (access.Visitor, error) { return olga, nil }}
	w := httptest.NewRecorder()
	if err := (&tailing{hub: h, v: &visit{who: olga, w: w}, c: http.NewResponseController(w)}).still(); err != nil {
		t.Errorf("an open tail: %v", err)
	}
}

// nowhere is a provider's network that leads nowhere.
type nowhere struct{}

func (nowhere) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("no route") }

// ATTACK: a page of another site has pictures whose addresses are those of wrong one-time
// links and of wrong answers of the provider, so that whoever reads it is kept from
// signing in, and their programs from the API. THIS TEST VERIFIES that these count
// against nobody, and that those which are tries still do.
func TestAttackKeptOutByAnotherSite(t *testing.T) {
	provider, err := access.NewProvider(access.ProviderConfig{Issuer: "https://login.acme.example", ClientID: "hub", Redirect: "https://hub.acme.example/r", Transport: nowhere{}})
	if err != nil {
		t.Fatal(err)
	}
	h := newHouse(t, func(c *Config) { c.Provider = provider })
	b := h.browser()
	for range 2 * guess.AtOnce {
		for _, path := range []string{"/signin/link?key=guess", "/signin/oidc/return?state=x&code=y"} {
			r, err := http.NewRequest(http.MethodGet, h.server.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Sec-Fetch-Dest", "image")
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			b.do(r).want(http.StatusForbidden)
		}
	}
	b.as("olga")
	for range guess.AtOnce {
		r, err := http.NewRequest(http.MethodGet, h.server.URL+"/signin/oidc/return?state=x&code=y", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Cookie", "isogate-acme-signin=guess")
		h.browser().do(r).want(http.StatusForbidden)
	}
	b.post("/signin/token", url.Values{"token": {tokens["olga"]}}).want(http.StatusTooManyRequests)
}

// ATTACK: two tenants have their Hubs on one host, at two ports, which cookies do not
// know, and whoever makes somebody sign in at one signs them out of the other. THIS TEST
// VERIFIES that both sessions live in one browser.
func TestAttackTenantsOnOneHost(t *testing.T) {
	one, two := newHouse(t, nil), newHouse(t, func(c *Config) { c.Tenant = "umbrella" })
	b := one.browser().as("olga")
	other := &browser{two, b.client}
	other.as("bob").get("/account").want(200, "bob")
	b.get("/account").want(200, "olga")
}

// ATTACK: while the journal is out of reach somebody signs out at a browser that others
// use, and the session is there again once the journal is. THIS TEST VERIFIES that the
// browser forgets it all the same, and that its person is told.
func TestAttackSignOutWhileOutOfTouch(t *testing.T) {
	h := newHouse(t, func(c *Config) {
		c.Visitor = func(*http.Request) (access.Visitor, error) {
			return access.Visitor{}, errors.Join(access.ErrOutOfTouch, errors.New("nothing was heard"))
		}
	})
	g := h.browser().post("/signout", nil).want(http.StatusServiceUnavailable, "nothing was heard")
	if set := g.header.Get("Set-Cookie"); !strings.HasPrefix(set, "isogate-acme=; ") || !strings.Contains(set, "Max-Age=0") {
		t.Errorf("the browser is told %q", set)
	}
}

package hub

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/remote"
)

// house is a Hub with a desk, as serve has it.
type house struct {
	t       *testing.T
	journal *memory
	desk    *access.Desk
	server  *httptest.Server
}

func newHouse(t *testing.T, change func(*Config)) *house {
	t.Helper()
	h := &house{t: t, journal: &memory{news: make(chan struct{})}}
	h.server = httptest.NewUnstartedServer(nil)
	h.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	h.desk = newDesk(t, h.journal)
	at := &url.URL{Scheme: "http", Host: h.server.Listener.Addr().String()}
	cfg := Config{Tenant: "acme", Ledger: &fakeLedger{state: &consent.State{}}, Describe: func(consent.Party, remote.Row) consent.Egress { return consent.Egress{} },
		Logger: slog.New(slog.DiscardHandler), Desk: h.desk, URL: at}
	if change != nil {
		change(&cfg)
	}
	hub, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/api/", hub.API())
	mux.Handle("/", hub.Pages())
	h.server.Config.Handler = mux
	h.server.Start()
	t.Cleanup(h.server.Close)
	return h
}

// browser is one that keeps cookies and does not follow where it is sent.
type browser struct {
	*house
	client *http.Client
}

func (h *house) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		h.t.Fatal(err)
	}
	return &browser{h, &http.Client{Jar: jar, Transport: h.server.Client().Transport, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// page is an answer that a browser got.
type got struct {
	t      *testing.T
	status int
	header http.Header
	body   string
}

func (b *browser) do(r *http.Request) got {
	b.t.Helper()
	resp, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return got{b.t, resp.StatusCode, resp.Header, string(body)}
}

func (b *browser) get(path string) got {
	b.t.Helper()
	r, err := http.NewRequest(http.MethodGet, b.server.URL+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.do(r)
}

// post sends a form as a page of the Hub does.
func (b *browser) post(path string, form url.Values) got {
	b.t.Helper()
	r, err := http.NewRequest(http.MethodPost, b.server.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return b.do(r)
}

// want checks the status, and what stands on the page or where it leads.
func (g got) want(status int, words ...string) got {
	g.t.Helper()
	all := g.header.Get("Location") + "\n" + g.body
	if g.status != status {
		g.t.Fatalf("status %d, want %d: %s", g.status, status, all)
	}
	for _, w := range words {
		if !strings.Contains(all, w) {
			g.t.Errorf("there is no %q in %s", w, all)
		}
	}
	return g
}

// as signs somebody of the configuration in.
func (b *browser) as(name string) *browser {
	b.t.Helper()
	b.post("/signin/token", url.Values{"token": {tokens[name]}}).want(http.StatusSeeOther)
	return b
}

// secret is the session's, as the browser keeps it.
func (b *browser) secret() string {
	b.t.Helper()
	u, err := url.Parse(b.server.URL)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range b.client.Jar.Cookies(u) {
		if c.Name == "isogate" {
			return c.Value
		}
	}
	return ""
}

// An owner invites somebody, who signs in by the link, once, makes a token, calls the
// API with it, and is known in the journal for what they did.
//
// promise: P15
func TestAnInvitation(t *testing.T) {
	h := newHouse(t, nil)
	olga := h.browser().as("olga")
	olga.get("/people").want(200, "ada", "bob", "olga (you)")
	shown := olga.post("/people", url.Values{"name": {"grace@acme.example"}, "roles[]": {"viewer", "auditor"}}).want(200, "not shown again")
	link := regexp.MustCompile(`http://[^<\s]+/signin/link\?key=[A-Za-z0-9_-]{43}`).FindString(shown.body)
	if link == "" {
		t.Fatalf("there is no link in %s", shown.body)
	}
	path := strings.TrimPrefix(link, h.server.URL)

	grace := h.browser()
	for range 3 { // looking uses nothing up
		grace.get(path).want(200, "grace@acme.example", "acme")
	}
	key := strings.TrimPrefix(path, "/signin/link?key=")
	g := grace.post("/signin/link", url.Values{"key": {key}}).want(http.StatusSeeOther, "/account")
	if c := g.header.Get("Set-Cookie"); !strings.Contains(c, "HttpOnly") || !strings.Contains(c, "SameSite=Lax") || !strings.Contains(c, "Path=/") || strings.Contains(c, "Domain") {
		t.Errorf("the cookie is %s", c)
	}
	grace.get("/account").want(200, "grace@acme.example", "one-time link", "viewer", "auditor")
	h.browser().post("/signin/link", url.Values{"key": {key}}).want(http.StatusForbidden, "lets nobody in")

	grace.post("/account/tokens", url.Values{"name": {"ci"}, "rights[]": {"read"}, "days": {"7"}}).want(200, "igt_")
	made := grace.post("/account/tokens", url.Values{"name": {"ci 2"}, "rights[]": {"read", "export"}, "days": {"7"}}).want(200, "igt_")
	token := regexp.MustCompile(`igt_[A-Za-z0-9_-]{43}`).FindString(made.body)
	r, _ := http.NewRequest(http.MethodGet, h.server.URL+Prefix+"/me", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	h.browser().do(r).want(200, `"name":"grace@acme.example"`, `"signed_in":"API token ci 2"`, `"rights":["read","export"]`)

	for _, e := range h.journal.entries {
		for _, secret := range []string{key, token, grace.secret()} {
			for _, v := range e.Detail {
				if strings.Contains(v, secret) || strings.Contains(e.Reason, secret) {
					t.Errorf("the entry %q has a secret", e.Act)
				}
			}
		}
	}
	last := h.journal.entries[len(h.journal.entries)-1]
	if last.Actor != "grace@acme.example" || last.Act != "token made" || last.Detail["signed_in"] != "one-time link of olga" {
		t.Errorf("the last entry is %+v", last)
	}
	grace.post("/signout", nil).want(http.StatusSeeOther, "/signin?said=signed-out")
	grace.get("/account").want(http.StatusSeeOther, "/signin?to=%2Faccount")
}

// Who is asked for a proof of who they are, gives it and comes back; what they sent
// before was not done.
func TestProofBeforeAnAct(t *testing.T) {
	now := time.Now()
	h := newHouse(t, func(c *Config) { c.Now = func() time.Time { return now } })
	olga := h.browser().as("olga")
	now = now.Add(access.DefaultProof + time.Second)
	olga.get("/people").want(200, "/signin/again?to=/people")
	before := len(h.journal.entries)
	olga.post("/people", url.Values{"name": {"eve"}, "roles[]": {"owner"}}).want(http.StatusSeeOther, "/signin/again?", "to=%2Fpeople", "said=proof-needed")
	olga.post("/people/ada/give", url.Values{"role": {"owner"}}).want(http.StatusSeeOther, "/signin/again?", "to=%2Fpeople")
	if len(h.journal.entries) != before {
		t.Error("it was done without a proof")
	}
	olga.get("/signin/again?to=/people&said=proof-needed").want(200, "Nothing was done yet", "Confirm that it is you", `value="/people"`)
	was := olga.secret()
	olga.post("/signin/token", url.Values{"token": {tokens["ada"]}, "again": {"1"}, "to": {"/people"}}).want(http.StatusForbidden, "somebody else")
	olga.post("/signin/token", url.Values{"token": {"wrong"}, "again": {"1"}, "to": {"/people"}}).want(http.StatusForbidden, "nobody&#39;s token")
	now = time.Now()
	olga.post("/signin/token", url.Values{"token": {tokens["olga"]}, "again": {"1"}, "to": {"/people"}}).want(http.StatusSeeOther, "/people")
	if olga.secret() == was {
		t.Error("the session's secret is the one before")
	}
	olga.post("/people/ada/give", url.Values{"role": {"auditor"}}).want(http.StatusSeeOther, "said=role-given")
}

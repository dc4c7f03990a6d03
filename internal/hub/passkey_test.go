package hub

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/isogatetest/browsertest"
)

// passkeyHouse is a house for whose name browsers keep passkeys.
func passkeyHouse(t *testing.T, now func() time.Time) *house {
	t.Helper()
	h := newHouse(t, func(c *Config) {
		c.URL = &url.URL{Scheme: "http", Host: "localhost:" + c.URL.Port()}
		c.Now = now
		var err error
		if c.Passkeys, err = access.NewPasskeys(c.URL, "Isogate acme", now); err != nil {
			t.Fatal(err)
		}
	})
	h.server.URL = strings.Replace(h.server.URL, "127.0.0.1", "localhost", 1)
	return h
}

// invitation is a link for somebody, by olga.
func (h *house) invitation(name string, roles ...access.Role) string {
	h.t.Helper()
	form := url.Values{"name": {name}}
	for _, r := range roles {
		form.Add("roles[]", string(r))
	}
	page := h.browser().as("olga").post("/people", form).want(200)
	return regexp.MustCompile(`http://[^<\s]+/signin/link\?key=[A-Za-z0-9_-]{43}`).FindString(page.body)
}

// Somebody comes in by a link with a browser, is told to add a passkey, adds one, signs
// out and signs in by it; proves again by it who they are; and is nobody once it is
// removed. A finger that is not theirs, and a copy of the passkey, open nothing.
//
// promise: P15
func TestPasskeysInABrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser takes seconds to start")
	}
	late := time.Duration(0)
	h := passkeyHouse(t, func() time.Time { return time.Now().Add(late) })
	b := browsertest.Start(t)
	a := b.Authenticator()
	b.Open(h.invitation("grace", access.Viewer))
	b.Press("Sign in")
	if text := b.Text(); !strings.Contains(text, "Add a passkey now") {
		t.Fatalf("who came by a link is not told to add a passkey:\n%s", text)
	}
	b.Type("What you call it", "Laptop")
	b.Press("Add a passkey")
	b.Await("the passkey is there", `document.body.innerText.includes("That passkey lets you in from now on")`)
	if text := b.Text(); !strings.Contains(text, "Laptop") {
		t.Errorf("the passkey is not in the list:\n%s", text)
	}
	if n := len(a.Credentials()); n != 1 {
		t.Fatalf("the device keeps %d passkeys", n)
	}
	copied := a.Credentials()[0]
	b.Press("Sign out")

	b.Open(h.server.URL + "/signin?to=/account")
	b.Press("Sign in with a passkey")
	b.Await("somebody is signed in", `location.pathname === "/account"`)
	if text := b.Text(); !strings.Contains(text, "grace") || !strings.Contains(text, "passkey") {
		t.Fatalf("by the passkey:\n%s", text)
	}

	late = access.DefaultProof + time.Second
	b.Open(h.server.URL + "/account")
	if text := b.Text(); !strings.Contains(text, "Confirm that it is you") {
		t.Fatalf("after minutes no proof is asked for:\n%s", text)
	}
	b.Press("Confirm that it is you")
	late = 0
	b.Press("Confirm with a passkey")
	b.Await("it is proved", `location.pathname === "/account" && document.body.innerText.includes("Make a token")`)
	if n := h.acts("proved again"); n != 1 {
		t.Errorf("%d proofs are on record", n)
	}
	b.Press("Sign out")

	a.Stranger(true)
	b.Open(h.server.URL + "/signin")
	b.Touch("Sign in with a passkey")
	b.Await("it says so", `document.getElementById("passkey-said").textContent.includes("Nothing was done")`)
	a.Stranger(false)

	c := browsertest.Start(t)
	thief := c.Authenticator()
	thief.Add(copied) // as it was before it was used
	c.Open(h.server.URL + "/signin")
	c.Touch("Sign in with a passkey")
	c.Await("it says so", `document.getElementById("passkey-said").textContent.includes("counted backwards")`)

	b.Open(h.server.URL + "/signin?to=/account")
	b.Press("Sign in with a passkey")
	b.Await("somebody is signed in", `location.pathname === "/account"`)
	b.Press("Remove the passkey Laptop")
	if text := b.Text(); !strings.Contains(text, "it is your only way in") {
		t.Fatalf("the only way in can be removed:\n%s", text)
	}
	olga := access.Visitor{Name: "olga", Roles: []access.Role{access.Owner}}
	if err := h.desk.RemovePasskey(t.Context(), olga, h.desk.State().Passkeys("grace")[0].ID); err != nil {
		t.Fatal(err)
	}
	b.Open(h.server.URL + "/account")
	if text := b.Text(); strings.Contains(text, "Laptop") {
		t.Fatalf("it was not removed:\n%s", text)
	}
	b.Press("Sign out")
	if text := b.Text(); strings.Contains(text, "Sign in with a passkey") {
		t.Error("nobody has a passkey, and the sign-in asks for one")
	}
	if n := h.acts("signed in"); n < 3 {
		t.Errorf("%d sign-ins are on record", n)
	}
}

func (h *house) acts(act string) (n int) {
	h.journal.mu.Lock()
	defer h.journal.mu.Unlock()
	for _, e := range h.journal.entries {
		if e.Act == act {
			n++
		}
	}
	return n
}

// ATTACK: what a browser answered to one question for a passkey is sent again, to another
// question, by another browser or too late; the ticket is made up; the answer is no
// passkey. THIS TEST VERIFIES that nobody is signed in by any of them, that a question
// fills nothing here, and that nobody is told who has a passkey.
func TestAttackPasskeyAnswers(t *testing.T) {
	now := time.Now()
	h := passkeyHouse(t, func() time.Time { return now })
	ask := func(b *browser) got {
		r, _ := http.NewRequest(http.MethodPost, h.server.URL+"/signin/passkey/options", strings.NewReader("{}"))
		r.Header.Set("Content-Type", "application/json")
		return b.do(r)
	}
	answer := func(b *browser, body string) got {
		r, _ := http.NewRequest(http.MethodPost, h.server.URL+"/signin/passkey", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		return b.do(r)
	}
	for range 20 {
		g := ask(h.browser()).want(200, `"userVerification":"required"`, `"rpId":"localhost"`)
		if strings.Contains(g.body, "allowCredentials") {
			t.Errorf("it says who has a passkey: %s", g.body)
		}
	}
	const made = `{"to":"/","credential":{"id":"AAAA","rawId":"AAAA","type":"public-key","response":{"authenticatorData":"AAAA","clientDataJSON":"e30","signature":"AAAA","userHandle":"AAAA"}}}`
	for _, body := range []string{"", "{}", "[]", `{"credential":null}`, `{"credential":{}}`, made} {
		b := h.browser()
		ask(b)
		if g := answer(b, body); g.status != http.StatusForbidden && g.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", body, g.status, g.body)
		}
		now = now.Add(2 * time.Second) // the limit for wrong ones is another test's
	}
	b := h.browser()
	answer(b, made).want(http.StatusForbidden, "did not ask this browser")
	for _, ticket := range []string{"x", "e30.AAAA", "."} {
		u, _ := url.Parse(h.server.URL)
		b.client.Jar.SetCookies(u, []*http.Cookie{{Name: "isogate-acme-passkey", Value: ticket}})
		answer(b, made).want(http.StatusForbidden, "did not ask this browser")
	}
	now = now.Add(time.Minute)
	ask(b).want(200)
	now = now.Add(6 * time.Minute)
	answer(b, made).want(http.StatusForbidden, "more than 5 minutes ago")
	if n := h.acts("signed in"); n != 0 {
		t.Errorf("%d sign-ins", n)
	}
	r, _ := http.NewRequest(http.MethodPost, h.server.URL+"/signin/passkey/options", strings.NewReader("x=1"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	b.do(r).want(http.StatusUnsupportedMediaType)
}

// Browsers keep passkeys for names over TLS and for localhost alone.
func TestWherePasskeysAre(t *testing.T) {
	for at, want := range map[string]bool{"https://hub.acme.example": true, "https://hub.acme.example:8443": true, "http://localhost:7080": true, "http://127.0.0.1:7080": false, "https://[::1]": false, "https://192.0.2.1": false, "http://hub.acme.example": false} {
		u, err := url.Parse(at)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := access.NewPasskeys(u, "x", nil); (err == nil) != want {
			t.Errorf("%s: %v", at, err)
		}
	}
}

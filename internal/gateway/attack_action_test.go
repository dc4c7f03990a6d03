package gateway_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/isogatetest"
)

// actionWorld is one with two transits for which a user must act, of two sources.
func actionWorld(t *testing.T) *appWorld {
	w := newAppWorld(t, func(c *isogatetest.Config) {
		c.Allow, c.Ledger = nil, &consent.Config{Lease: time.Minute}
		for name, more := range map[string]string{"attach": "", "second": ""} {
			c.Pack["transits/"+name+".yaml"] = "transit: " + name + "\npurpose: support\nsource: [product/help-center, product/other]\ndestination: far\nconsent: user-action\n" +
				"match: [\"POST /v1/" + name + "/{thing}\"]\nuser_action: {user: header X-User, subject: path thing}\nrequest: {contract: item, path: {thing: system.metadata}}\n" + more
		}
	})
	return w
}

// give records a user's action, as a source tells it.
func (w *appWorld) give(t *testing.T, c *http.Client, transit, user, subject string) string {
	t.Helper()
	body, err := json.Marshal(map[string]string{"transit": transit, "user": user, "subject": subject})
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.Post("https://"+w.Addr+"/consents", "application/json", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var got struct{ Consent string }
	if err := json.NewDecoder(res.Body).Decode(&got); err != nil || res.StatusCode != 201 {
		t.Fatalf("%d %v", res.StatusCode, err)
	}
	return got.Consent
}

// act sends a request by a user's action.
func (w *appWorld) act(t *testing.T, c *http.Client, transit, subject, body string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.URL("/v1/"+transit+"/"+subject), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	res, err := c.Do(req)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer res.Body.Close()
	text, _ := readAll(res)
	return res.StatusCode, text
}

// ATTACK: what a user allowed for one thing is used a thousand times at once, by
// another source, over another transit, for another user whose name is the
// subject's, and with two consents or users in one request.
// THIS TEST VERIFIES that exactly one request goes through, that every other is
// refused, and that nothing in the journal names the user or the subject.
//
// promise: P11
// promise: P20
func TestAttackReplayedUserActions(t *testing.T) {
	w := actionWorld(t)
	mine, others := w.Client(isogatetest.Product), w.Client(isogatetest.Other)
	const user, subject = "countess-of-lovelace", "ticket-18151210"
	id := w.give(t, mine, "attach", user, subject)
	second := w.give(t, others, "attach", user, subject)
	swapped := w.give(t, mine, "attach", subject, user)
	const body = `{"title":"x"}`
	for name, status := range map[string]func() (int, string){
		"another source": func() (int, string) {
			return w.act(t, others, "attach", subject, body, "Isogate-Consent", id, "X-User", user)
		},
		"another's consent": func() (int, string) {
			return w.act(t, mine, "attach", subject, body, "Isogate-Consent", second, "X-User", user)
		},
		"another transit": func() (int, string) {
			return w.act(t, mine, "second", subject, body, "Isogate-Consent", id, "X-User", user)
		},
		"the two exchanged": func() (int, string) {
			return w.act(t, mine, "attach", user, body, "Isogate-Consent", id, "X-User", subject)
		},
		"made the other way": func() (int, string) {
			return w.act(t, mine, "attach", subject, body, "Isogate-Consent", swapped, "X-User", user)
		},
		"two consents": func() (int, string) {
			return w.act(t, mine, "attach", subject, body, "Isogate-Consent", id, "Isogate-Consent", swapped, "X-User", user)
		},
		"two users": func() (int, string) {
			return w.act(t, mine, "attach", subject, body, "Isogate-Consent", id, "X-User", user, "X-User", "bob")
		},
		"two users on a line": func() (int, string) {
			return w.act(t, mine, "attach", subject, body, "Isogate-Consent", id, "X-User", user+", bob")
		},
		"a request's entry": func() (int, string) {
			return w.act(t, mine, "attach", subject, body, "Isogate-Consent", w.anyEntry(), "X-User", user)
		},
	} {
		if s, text := status(); s != 403 || !strings.Contains(text, "urn:isogate:problem:no-consent") {
			t.Errorf("%s: %d %s", name, s, text)
		}
	}
	// What is refused for another reason does not use the consent up.
	if s, text := w.act(t, mine, "attach", subject, `{"title":"x","title":"y"}`, "Isogate-Consent", id, "X-User", user); s != 422 {
		t.Errorf("a broken body: %d %s", s, text)
	}
	if n := len(w.Far.Received()); n != 0 {
		t.Fatalf("%d arrived", n)
	}

	var passed, refused atomic.Int64
	var all, ready sync.WaitGroup
	ready.Add(20)
	for range 20 {
		c := w.Client(isogatetest.Product)
		all.Go(func() {
			_, _ = w.act(t, c, "attach", "another", body, "Isogate-Consent", id, "X-User", user) // connects
			ready.Done()
			ready.Wait()
			for range 50 {
				switch s, text := w.act(t, c, "attach", subject, body, "Isogate-Consent", id, "X-User", user); s {
				case 200:
					passed.Add(1)
				case 403:
					refused.Add(1)
				default:
					t.Errorf("%d %s", s, text)
				}
			}
		})
	}
	all.Wait()
	if passed.Load() != 1 || refused.Load() != 999 || len(w.Far.Received()) != 1 {
		t.Errorf("%d passed, %d were refused, %d arrived", passed.Load(), refused.Load(), len(w.Far.Received()))
	}
	for _, e := range w.Entries() {
		if text := fmt.Sprintf("%+v", e); strings.Contains(text, "lovelace") || strings.Contains(text, "18151210") {
			t.Fatalf("the journal names a user or subject: %s", text)
		}
	}
}

// anyEntry is the ID of an entry that is no consent.
func (w *appWorld) anyEntry() string {
	for _, e := range w.Entries() {
		if e.Kind == isogate.KindEgress {
			return string(e.ID)
		}
	}
	return "none"
}

// ATTACK: a user's action is used when its time is over, and after the clock was
// set back.
// THIS TEST VERIFIES that it is refused from the instant of its end on.
//
// promise: P11
func TestAttackUserActionThatEndsAtUse(t *testing.T) {
	c := newClock()
	w := newAppWorld(t, func(cfg *isogatetest.Config) {
		cfg.Allow, cfg.Now = nil, c.now
		cfg.Pack["transits/attach.yaml"] = strings.Replace(cfg.Pack["transits/attach.yaml"], "subject: path thing}", "subject: path thing, once: false}", 1)
	})
	mine := w.Client(isogatetest.Product)
	id := w.give(t, mine, "attach", "ada", "t-1")
	send := func() int {
		t.Helper()
		s, _ := w.act(t, mine, "attach", "t-1", `{"title":"x"}`, "Isogate-Consent", id, "X-User", "ada")
		return s
	}
	a, ok := w.Apps.Ledger.Actions.Get(isogate.EntryID(id), c.now())
	if !ok {
		t.Fatal("the action is not known")
	}
	c.set(a.Ends.Add(-1))
	if s := send(); s != 200 {
		t.Errorf("before its end: %d", s)
	}
	c.set(a.Ends)
	if s := send(); s != 403 {
		t.Errorf("at its end: %d", s)
	}
	c.set(a.Ends.Add(-time.Minute))
	if s := send(); s != 403 {
		t.Errorf("with the clock set back: %d", s)
	}
}

package gateway_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/isogatetest"
	"github.com/isogate/isogate/internal/seal"
)

// ATTACK: a request names two sessions, an empty one, or one of a megabyte, so
// that its values are sealed for a session that the one who ends it does not mean.
// THIS TEST VERIFIES that no such request leaves, and that the name of a session
// does not leave by itself either.
//
// promise: P16
func TestAttackASessionThatIsNotOne(t *testing.T) {
	w, l := sealedWorld(t, nil)
	for name, header := range map[string][]string{
		"two":            {"X-Session", "one", "X-Session", "two"},
		"the same twice": {"X-Session", "one", "x-session", "one"},
		"empty":          {"X-Session", ""},
		"long":           {"X-Session", strings.Repeat("s", 1025)},
	} {
		t.Run(name, func(t *testing.T) {
			resp, body := post(t, w, person, header...)
			refused(t, w, resp, body, 400, "header")
		})
	}
	if len(l.sent) != 0 {
		t.Errorf("keys were sent: %v", l.sent)
	}
	resp, body := post(t, w, person, "X-Session", "session-of-ada")
	wantStatus(t, resp, body, 200, "")
	if r := w.Far.Received()[0]; strings.Contains(everything(r), "session-of-ada") {
		t.Errorf("the session's name left: %s", everything(r))
	}
}

// ATTACK: the landing, or whoever stands in its place, refuses for ever, for one
// reason after the other, so that the gateway sends in a loop, sends in
// plaintext, or says that something has left that did not.
// THIS TEST VERIFIES that a held request is sent at most twice, the second time
// under other keys and with an entry of its own; that a streamed one is sent once;
// and that every entry ends with the landing's reason.
//
// promise: P16
// promise: P21
func TestAttackTheLandingRefuses(t *testing.T) {
	for code, tc := range map[string]struct{ tries, status int }{
		seal.CodeGone: {2, 503}, seal.CodeUnknownKey: {2, 503}, seal.CodeStale: {2, 503},
		seal.CodeUnknownEpoch: {1, 503}, seal.CodeDamaged: {1, 503}, seal.CodeFull: {1, 503}, seal.CodeRegisterFull: {1, 503},
		"draining": {1, 503}, "service-failed": {1, 502}, "\"><script>": {1, 503},
	} {
		t.Run(code, func(t *testing.T) {
			w, l := sealedWorld(t, nil)
			l.refuse = func([]seal.Arrival) string { return code }
			resp, body := post(t, w, person, "X-Session", "one")
			want := "landing"
			if tc.status == 502 {
				want = "far-side"
			}
			wantStatus(t, resp, body, tc.status, want)
			got := w.Far.Received()
			if len(got) != tc.tries || strings.Contains(body, "script") {
				t.Fatalf("sent %d times, want %d: %s", len(got), tc.tries, body)
			}
			keys := map[string]bool{}
			for _, r := range got {
				unreadable(t, "by the far side", everything(r))
				e, closed := opened(t, w, r.Header.Get("Isogate-Entry"))
				if closed == nil || closed.Status != tc.status || !strings.Contains(closed.Reason, "landing") || len(e.Seals) != 3 || e.Transit != "tickets" || e.Source != isogatetest.Product {
					t.Errorf("opened %+v\nclosed %+v", e, closed)
				}
				for _, u := range e.Seals {
					keys[u.Key] = true
				}
			}
			if len(keys) != 3*tc.tries {
				t.Errorf("%d keys in %d tries: a key that the landing refused was used again", len(keys), tc.tries)
			}
			if again := resp.Header.Get("Retry-After"); (again == "1") != (tc.tries == 2 || code == seal.CodeUnknownEpoch || code == seal.CodeDamaged || code == "draining") {
				t.Errorf("Retry-After: %q", again)
			}
		})
	}
	t.Run("streamed", func(t *testing.T) {
		w, l := sealedWorld(t, func(c *isogatetest.Config) {
			c.Hold = 4 << 10
			c.Pack["transits/tickets.yaml"] = strings.Replace(c.Pack["transits/tickets.yaml"], "as: allow, handling: persisted", "as: token, handling: persisted", 1)
		})
		l.refuse = func([]seal.Arrival) string { return seal.CodeGone }
		resp, body := post(t, w, bigTicket(64<<10, "}"), "X-Session", "one")
		wantStatus(t, resp, body, 503, "landing")
		if n := len(w.Far.Received()); n != 1 {
			t.Errorf("sent %d times", n)
		}
		if _, closed := opened(t, w, w.Far.Received()[0].Header.Get("Isogate-Entry")); closed == nil || !strings.Contains(closed.Reason, "landing") || len(closed.Fields) == 0 {
			t.Errorf("closed %+v", closed)
		}
	})
}

// A landing that was started anew has lost all keys; the caller does not notice.
//
// promise: P16
func TestARequestPassesWhenTheLandingHasLostItsKeys(t *testing.T) {
	w, l := sealedWorld(t, nil)
	resp, body := post(t, w, person, "X-Session", "one")
	wantStatus(t, resp, body, 200, "")
	l.mu.Lock()
	l.keys = map[seal.ID]*heldKey{} // of the same epoch
	l.mu.Unlock()
	resp, body = post(t, w, person, "X-Session", "one")
	wantStatus(t, resp, body, 200, "")
	got := w.Far.Received()
	if len(got) != 3 || fmt.Sprint(l.lost) != "[unknown-key]" || resp.Header.Get("Isogate-Entry") != got[2].Header.Get("Isogate-Entry") || got[1].Header.Get("Isogate-Entry") == got[2].Header.Get("Isogate-Entry") {
		t.Fatalf("%d arrived, lost %v", len(got), l.lost)
	}
	if !strings.Contains(l.opens(string(got[2].Body)), "countess") || !strings.Contains(body, "countess") {
		t.Errorf("arrived %s, came back %s", l.opens(string(got[2].Body)), body)
	}
	w.Stop()
	if _, closed := opened(t, w, got[1].Header.Get("Isogate-Entry")); closed == nil || !strings.Contains(closed.Reason, "unknown-key") || closed.Status != 503 {
		t.Errorf("the first try: %+v", closed)
	}
	if e, closed := opened(t, w, got[2].Header.Get("Isogate-Entry")); closed == nil || closed.Reason != "" || closed.Status != 200 || e.DigestIn == "" || e.BytesIn != int64(len(person)) {
		t.Errorf("the second try: %+v %+v", e, closed)
	}
}

// ATTACK: whoever answers says that keys are held which this request never sent,
// those of other sessions among them, so that the gateway stops sending them and
// the landing never gets them; or it says nothing, or nonsense, because it is no
// landing at all.
// THIS TEST VERIFIES that only keys of this very request count as held, and that
// an answer without the landing's word is in the journal.
//
// promise: P16
func TestAttackForgedHeld(t *testing.T) {
	var others []seal.ID
	for name, held := range map[string]func(ids []seal.ID) string{
		"nothing":       func([]seal.ID) string { return "" },
		"nonsense":      func([]seal.ID) string { return "all of them" },
		"others":        func([]seal.ID) string { return string(seal.AppendHeld(nil, others)) },
		"one too few":   func(ids []seal.ID) string { return string(seal.AppendHeld(nil, ids[1:])) },
		"with others":   func(ids []seal.ID) string { return string(seal.AppendHeld(nil, append(others, ids...))) },
		"a lot of them": func(ids []seal.ID) string { return strings.Repeat(string(seal.AppendHeld(nil, ids))+", ", 100) },
	} {
		t.Run(name, func(t *testing.T) {
			w, l := sealedWorld(t, nil)
			others = []seal.ID{{9, 9, 9, 9, 1}, {9, 9, 9, 9, 2}}
			l.held = held
			resp, body := post(t, w, person, "X-Session", "one")
			wantStatus(t, resp, body, 200, "")
			for _, id := range l.confirm {
				if !slices.Contains(l.sent, id) {
					t.Errorf("%v counts as held", id)
				}
			}
			if resp.Header.Get("Isogate-Held") != "" {
				t.Error("the landing's word reached the caller")
			}
			entry := resp.Header.Get("Isogate-Entry")
			if name == "nothing" { // so they are sent again
				l.mu.Lock()
				l.held = nil
				l.mu.Unlock()
				resp, body = post(t, w, person, "X-Session", "one")
				wantStatus(t, resp, body, 200, "")
				if last := l.arrivals[len(l.arrivals)-1]; wrappedIn(last) != 3 {
					t.Errorf("%d of 3 keys came wrapped", wrappedIn(last))
				}
			}
			w.Stop()
			if _, closed := opened(t, w, entry); closed == nil || (closed.Reason == "") != (name == "with others") || closed.Status != 200 {
				t.Errorf("closed %+v", closed)
			}
		})
	}
}

// ATTACK: a caller sends the fields that the landing acts by, to have a key of
// its own held, to fill the register, or to end others' sessions; and a
// destination that has no landing answers as one.
// THIS TEST VERIFIES that none of them passes, in either direction.
//
// promise: P16
func TestAttackForgedLandingFields(t *testing.T) {
	names := []string{"Isogate-Seal", "Isogate-Held", "Isogate-Register", "Isogate-Landing", "Isogate-Session", "Isogate-Session-End", "Isogate-Entry", "Isogate-Handling"}
	var header []string
	for _, n := range names {
		header = append(header, n, "forged")
	}
	forge := func(rw http.ResponseWriter, r isogatetest.Received) {
		for _, n := range names {
			rw.Header().Add(n, "forged")
		}
		_, _ = io.WriteString(rw, "{}")
	}
	check := func(t *testing.T, w *isogatetest.World) {
		t.Helper()
		resp, body := call(t, w.Client(isogatetest.Product), "POST", w.URL("/v1/tickets"), `{"user":{"name":"Ada L"}}`, header...)
		if resp.StatusCode != 200 {
			t.Fatalf("%s %s", resp.Status, body)
		}
		if text := fmt.Sprint(w.Far.Received()[0].Header, resp.Header); strings.Contains(text, "forged") {
			t.Errorf("a forged field passed: %s", text)
		}
	}
	t.Run("with a landing", func(t *testing.T) {
		w, l := sealedWorld(t, nil)
		names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == "Isogate-Landing" || n == "Isogate-Held" })
		l.answer = forge
		check(t, w)
	})
	t.Run("without", func(t *testing.T) {
		w := world(t, isogatetest.Config{})
		names = append(names, "Isogate-Landing", "Isogate-Held")
		w.Far.Answer(forge)
		check(t, w)
	})
}

// ATTACK: a pack lets a first segment of the path pass as it is. A caller writes
// the landing's own prefix there, and the landing takes the request for the
// gateway's: it hands out the tenant's register, ends sessions, orders erasures.
// THIS TEST VERIFIES that no spelling of such a path leaves for a landing.
//
// promise: P17
func TestAttackTheLandingsOwnPaths(t *testing.T) {
	w, _ := sealedWorld(t, func(c *isogatetest.Config) {
		c.Pack["destinations.yaml"] = strings.Replace(c.Pack["destinations.yaml"], "/base", "", 1)
		c.Pack["transits/tickets.yaml"] = strings.Replace(c.Pack["transits/tickets.yaml"], `"GET /v1/users/{account}/tickets"`, `"GET /v1/users/{account}/tickets", "GET /{tab}/{thing}", "GET /{tab}"`, 1)
		c.Pack["transits/tickets.yaml"] = strings.Replace(c.Pack["transits/tickets.yaml"], "path: {account:", "path: {tab: system.metadata, thing: system.metadata, account:", 1)
	})
	for _, path := range []string{"/.isogate/receipts", "/%2eisogate/receipts", "/.is%6fgate/register", "/.ISOGATE/receipts", "/.isogate", "/.isogate;x=1/receipts", "/.isogate%3f/receipts"} {
		resp, body := call(t, w.Client(isogatetest.Product), "GET", w.URL(path), "")
		if resp.StatusCode/100 != 4 {
			t.Errorf("%s: %s %s", path, resp.Status, body)
		}
	}
	if got := w.Far.Received(); len(got) != 0 {
		t.Errorf("%s left", got[0].Target)
	}
	resp, body := call(t, w.Client(isogatetest.Product), "GET", w.URL("/isogate/receipts"), "")
	wantStatus(t, resp, body, 200, "")
}

// ATTACK: the far side answers a request of one session with seals of another,
// which it has kept, or puts a seal into the address of a redirect.
// THIS TEST VERIFIES that the gateway opens seals of this request's own keys
// alone, and none in a redirect.
//
// promise: P16
func TestAttackSealsOfAnotherSession(t *testing.T) {
	w, l := sealedWorld(t, nil)
	const body = `{"user": {"nick": "countess"}}`
	c := w.Client(isogatetest.Product)
	call(t, c, "POST", w.URL("/v1/tickets"), body, "X-Session", "one")
	kept := aSeal.FindString(string(w.Far.Received()[0].Body))
	l.answer = func(rw http.ResponseWriter, r isogatetest.Received) {
		own := aSeal.FindString(string(r.Body))
		rw.Header().Set("Content-Type", "application/json")
		if strings.Contains(r.Target, "open") {
			rw.Header().Set("Location", "/to/far/v1/users/"+own+"/tickets")
			rw.WriteHeader(302)
		} else {
			rw.Header().Set("Content-Location", "/v1/users/"+own)
		}
		_, _ = fmt.Fprintf(rw, `{"kept":%q,"own":%q,"damaged":%q,"half":%q}`, kept, own, own[:90]+"7777"+own[94:], own[:60])
	}
	resp, text := call(t, c, "POST", w.URL("/v1/tickets"), body, "X-Session", "two")
	if !strings.Contains(text, `"kept":"`+kept+`"`) || !strings.Contains(text, `"own":"countess"`) || strings.Count(text, "countess") != 1 {
		t.Errorf("came back: %s", text)
	}
	if got := resp.Header.Get("Content-Location"); got != "/v1/users/countess" {
		t.Errorf("Content-Location %q", got)
	}
	resp, _ = call(t, c, "POST", w.URL("/v1/tickets?tab=open"), body, "X-Session", "two")
	if got := resp.Header.Get("Location"); !aSeal.MatchString(got) || strings.Contains(got, "countess") {
		t.Errorf("Location %q", got)
	}
	// The gateway forgets with the session what it could open; so does a by-request key.
	l.mu.Lock()
	l.answer = func(rw http.ResponseWriter, _ isogatetest.Received) {
		rw.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(rw, "%q", kept)
	}
	l.mu.Unlock()
	if _, text := call(t, c, "POST", w.URL("/v1/tickets"), body); strings.Contains(text, "countess") {
		t.Errorf("came back: %s", text)
	}
}

// What is not released, or released sealed, is in no byte that leaves, in
// whatever position, form and spelling it is sent.
//
// promise: P03
// promise: P16
// promise: P18
func TestNothingSealedCanBeRead(t *testing.T) {
	w, l := sealedWorld(t, nil)
	c := w.Client(isogatetest.Product)
	r := rand.New(rand.NewPCG(1815, 12)) // so that it can be repeated
	places := []string{`"user":{"name":%s}`, `"user":{"nick":%s}`, `"user":{"age":%s}`, `"items":[{"nick":%s},{"nick":%[1]s}]`, `"title":%s`, `"unknown":%s`, `"user":{"phone":%s}`, `"user":[%s]`, `"items":[[%s]]`, `"items":{"nick":%s}`}
	spell := func(s string) string {
		switch r.IntN(3) {
		case 0:
			return `"` + s + `"`
		case 1: // every character escaped
			var b strings.Builder
			for _, c := range s {
				_, _ = fmt.Fprintf(&b, `\u%04x`, c)
			}
			return `"` + b.String() + `"`
		}
		return `"` + strings.Repeat(" ", r.IntN(300)) + s + `"`
	}
	var secrets []string
	for range 150 {
		secret := func() string {
			s := fmt.Sprintf("zq%08x", r.Uint32())
			secrets = append(secrets, s)
			return s
		}
		picked := map[string]string{}
		for range 1 + r.IntN(4) {
			p := places[r.IntN(len(places))]
			key, _, _ := strings.Cut(p, ":")
			picked[key] = fmt.Sprintf(p, spell(secret()))
		}
		var parts []string
		for _, p := range picked {
			parts = append(parts, p)
		}
		url := w.URL("/v1/users/" + secret() + "/tickets?account=" + secret() + "&other=" + secret())
		header := []string{"X-Request-Id", secret(), "X-Other", secret(), "Cookie", "account=" + secret() + "; other=" + secret()}
		if r.IntN(2) == 0 {
			header = append(header, "X-Session", secret())
		}
		resp, text := call(t, c, "POST", url, "{"+strings.Join(parts, ",")+"}", header...)
		if resp.StatusCode != 200 {
			t.Fatalf("%s %s: %v", resp.Status, text, parts)
		}
	}
	opens := 0
	for _, got := range w.Far.Received() {
		all := everything(got)
		if i := strings.Index(all, "zq"); i >= 0 && slices.ContainsFunc(secrets, func(s string) bool { return strings.HasPrefix(all[i:], s) }) {
			t.Errorf("can be read: %s", all[i:min(len(all), i+20)])
		}
		if strings.Contains(all, `\u00`) {
			t.Errorf("a spelling left: %s", all)
		}
		opens += strings.Count(l.opens(all), "zq")
	}
	if opens < 4*150 {
		t.Errorf("only %d values can be opened by the landing", opens)
	}
}

// promise: P16
func TestRequestsOfOneSessionAtOnce(t *testing.T) {
	w, l := sealedWorld(t, nil)
	c := w.Client(isogatetest.Product)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				req, _ := http.NewRequestWithContext(t.Context(), "POST", w.URL("/v1/tickets"), strings.NewReader(`{"user":{"nick":"countess","name":"Ada L"}}`))
				req.Header.Set("Content-Type", "application/json")
				req.Header.Set("X-Session", "one")
				resp, err := c.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				text, _ := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if !strings.Contains(string(text), "countess") || !strings.Contains(string(text), "Ada L") {
					t.Errorf("%s %s", resp.Status, text)
				}
			}
		})
	}
	wg.Wait()
	seals, numbers := map[string]bool{}, map[isogate.SealUse]bool{}
	n := 0
	for _, r := range w.Far.Received() {
		for _, s := range aSeal.FindAllString(string(r.Body), -1) {
			seals[s] = true
			n++
		}
	}
	for _, e := range w.Entries() {
		for _, u := range e.Seals {
			numbers[u] = true
		}
	}
	if n != 80 || len(seals) != 80 || len(numbers) != 80 {
		t.Errorf("%d seals, %d different; %d different uses of keys", n, len(seals), len(numbers))
	}
	if unique := len(l.keys); unique != 2 {
		t.Errorf("%d keys were used", unique)
	}
}

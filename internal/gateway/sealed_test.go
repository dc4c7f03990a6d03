package gateway_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/gateway"
	"github.com/isogate/isogate/internal/isogatetest"
	"github.com/isogate/isogate/internal/obfuscate"
	"github.com/isogate/isogate/internal/policy"
	"github.com/isogate/isogate/internal/seal"
)

// person is a body with a value of every handling.
const person = `{"user": {"email": "ada@acme.example", "name": "Ada L", "nick": "countess", "phone": "+49 (30) 1234-56-78", "age": 18151210},` +
	` "items": [{"nick": "enchantress"}, {"nick": null}], "title": "My salary is wrong", "state": "open"}`

// plaintext are the values in person, and in the calls below, that may not be
// readable for who has no key.
var plaintext = []string{"Ada L", "countess", "-56-78", "18151210", "enchantress", "salary", "account-4711", "req-1815"}

// everything is all bytes of what arrived.
func everything(r isogatetest.Received) string {
	return r.Target + "\n" + fmt.Sprint(r.Header, r.Trailer) + "\n" + string(r.Body)
}

func unreadable(t *testing.T, where, text string) {
	t.Helper()
	for _, secret := range plaintext {
		if strings.Contains(text, secret) {
			t.Errorf("%q can be read %s: %s", secret, where, text)
		}
	}
}

// post sends person with a value in every other position, and returns the answer.
func post(t *testing.T, w *isogatetest.World, body string, header ...string) (*http.Response, string) {
	t.Helper()
	return call(t, w.Client(isogatetest.Product), "POST", w.URL("/v1/users/account-4711/tickets?tab=open&account=account-4711"), body,
		append([]string{"X-Request-Id", "req-1815", "Cookie", "theme=dark; account=account-4711"}, header...)...)
}

func wantStatus(t *testing.T, resp *http.Response, body string, status int, code string) {
	t.Helper()
	var p gateway.Problem
	if resp.StatusCode != status {
		t.Fatalf("%s %s, want %d %s", resp.Status, body, status, code)
	}
	if err := json.Unmarshal([]byte(body), &p); code != "" && (err != nil || p.Type != "urn:isogate:problem:"+code) {
		t.Fatalf("%s, want the code %s", body, code)
	}
}

// promise: P16
// promise: P17
// promise: P18
// promise: P41
func TestWhatDoesNotStayLeavesSealed(t *testing.T) {
	w, l := sealedWorld(t, nil)
	resp, body := post(t, w, person, "X-Session", "session-1")
	wantStatus(t, resp, body, 200, "")
	r := w.Far.Received()[0]
	unreadable(t, "by the far side", everything(r))

	// Who holds the keys reads all of it, in every position.
	if got, want := l.opens(r.Target), "/base/v1/users/account-4711/tickets?tab=open&account=account-4711"; got != want {
		t.Errorf("target %s, want %s", got, want)
	}
	if got := l.opens(r.Header.Get("X-Request-Id")); got != "req-1815" {
		t.Errorf("X-Request-Id %q", got)
	}
	if got := l.opens(r.Header.Get("Cookie")); got != "theme=dark; account=account-4711" {
		t.Errorf("Cookie %q", got)
	}
	var got struct {
		User  struct{ Email, Name, Nick, Phone, Age string }
		Items []struct{ Nick *string }
		State string
	}
	if err := json.Unmarshal([]byte(l.opens(string(r.Body))), &got); err != nil {
		t.Fatal(err)
	}
	if u := got.User; u.Email != "ada@acme.example" || u.Name != "Ada L" || u.Nick != "countess" || !strings.HasSuffix(u.Phone, "34-56-78") || strings.Contains(u.Phone, "12") || u.Age != "18151210" {
		t.Errorf("the user: %+v", u)
	}
	if len(got.Items) != 2 || *got.Items[0].Nick != "enchantress" || got.Items[1].Nick != nil || got.State != "open" {
		t.Errorf("the rest: %+v", got)
	}

	// What stays is registered by tokens that only the inside turns back.
	if len(l.rows) != 1 {
		t.Fatalf("registered: %+v", l.rows)
	}
	row := l.rows[0]
	if row.Label != "personal.contact.email" || row.Subject == row.ID || row.Because != `Tickets, comments; "need" an address` || !strings.Contains(row.Rule, "transits/tickets.yaml:") {
		t.Errorf("registered: %+v", row)
	}
	if label, value := revealToken(t, w, row.Subject); label != "personal.contact.email" || value != "ada@acme.example" {
		t.Errorf("the subject of the register is %s %q", label, value)
	}
	if label, value := revealToken(t, w, row.ID); label != "personal.contact.email" || value != "ada@acme.example" {
		t.Errorf("the token of the register is %s %q", label, value)
	}

	// The entry says which field was kept how, and under which keys.
	w.Stop() // so that all is closed
	e, closed := opened(t, w, r.Header.Get("Isogate-Entry"))
	how := map[string]string{}
	for _, f := range e.Fields {
		how[f.Path] = fmt.Sprintf("%s %s %s sealed=%t registered=%t declared=%t", f.Action, f.Handling, f.TTL, f.Sealed, f.Registered, f.Declared)
	}
	for path, want := range map[string]string{
		"user.email": "allow persisted  sealed=false registered=true declared=false",
		"user.name":  "seal temporary 5m0s sealed=true registered=false declared=false",
		"user.nick":  "seal transit-only  sealed=true registered=false declared=false",
		"user.phone": "mask temporary 10m0s sealed=true registered=false declared=false",
		"user.age":   "seal transit-only  sealed=true registered=false declared=false",
	} {
		if how[path] != want {
			t.Errorf("%s: %s, want %s", path, how[path], want)
		}
	}
	var uses []string
	for _, u := range e.Seals {
		uses = append(uses, fmt.Sprintf("%s %s %d", u.Handling, u.TTL, u.Request))
	}
	slices.Sort(uses)
	if fmt.Sprint(uses) != "[temporary 10m0s 1 temporary 5m0s 1 transit-only  1]" {
		t.Errorf("keys: %v", uses)
	}
	if closed == nil || closed.Reason != "" {
		t.Errorf("closed: %+v", closed)
	}
	if len(l.sent) != 3 || len(l.confirm) != 3 {
		t.Errorf("sent %v, confirmed %v", l.sent, l.confirm)
	}
	line, err := json.Marshal(w.Entries())
	if err != nil {
		t.Fatal(err)
	}
	unreadable(t, "in the journal", strings.ReplaceAll(string(line), "personal.name", ""))
	if h := r.Header.Get("Isogate-Handling"); !strings.Contains(h, `persisted;fields="user.email"`) || !strings.Contains(h, "temporary;ttl=300") {
		t.Errorf("Isogate-Handling: %s", h)
	}
	// And inside everything is as it was: the far side has sent it all back.
	var sent, back any
	if err := errors.Join(json.Unmarshal([]byte(person), &sent), json.Unmarshal([]byte(body), &back)); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	masked := back.(map[string]any)["user"].(map[string]any)
	masked["phone"] = "+49 (30) 1234-56-78" // a mask is for good
	if fmt.Sprint(sent) != fmt.Sprint(back) {
		t.Errorf("came back as %v, want %v", back, sent)
	}
}

// promise: P16
// promise: P18
func TestAStreamLeavesSealed(t *testing.T) {
	w, l := sealedWorld(t, func(c *isogatetest.Config) {
		c.Hold = 16 << 10
		c.Pack["transits/tickets.yaml"] = strings.Replace(c.Pack["transits/tickets.yaml"], "as: allow, handling: persisted", "as: token, handling: persisted", 1)
	})
	var b strings.Builder
	b.WriteString(person[:len(person)-1] + `, "more": [`)
	for i := range 2000 {
		if i > 0 {
			b.WriteByte(',')
		}
		_, _ = fmt.Fprintf(&b, `{"text":"salary %d"}`, i)
	}
	b.WriteString("]}")
	req, err := http.NewRequestWithContext(t.Context(), "POST", w.URL("/v1/tickets"), unsized{strings.NewReader(b.String())})
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Session", "session-1")
	req.Trailer = http.Header{"X-Nick": {"enchantress"}}
	resp, err := w.Client(isogatetest.Product).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%s %.300s %v", resp.Status, text, err)
	}
	r := w.Far.Received()[0]
	unreadable(t, "by the far side", everything(r))
	out := l.opens(string(r.Body))
	for _, want := range []string{`"Ada L"`, `"countess"`, `"18151210"`, `-56-78"`, `"enchantress"`} {
		if !strings.Contains(out, want) {
			t.Errorf("%s cannot be opened in %.600s", want, out)
		}
	}
	if got := l.opens(r.Trailer.Get("X-Nick")); got != "enchantress" {
		t.Errorf("the trailer is %q", got)
	}
	if !strings.Contains(string(text), `"countess"`) || !strings.Contains(string(text), `"My salary is wrong"`) {
		t.Errorf("came back as %.600s", text)
	}
	w.Stop()
	e, closed := opened(t, w, r.Header.Get("Isogate-Entry"))
	if !e.Streamed || len(e.Seals) != 3 || closed == nil || !slices.ContainsFunc(closed.Fields, func(f isogate.Field) bool { return f.Path == "user.nick" && f.Sealed }) {
		t.Errorf("opened %+v\nclosed %+v", e, closed)
	}
}

// revealToken turns a token of far's register back.
func revealToken(t *testing.T, w *isogatetest.World, token string) (isogate.Label, string) {
	t.Helper()
	pack, err := policy.Load(w.PackDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, use := range []obfuscate.Use{obfuscate.Identifiers, obfuscate.Subjects, ""} {
		o, err := obfuscate.New(obfuscate.Config{Tenant: isogatetest.Tenant, Destination: "far", Labels: pack.Plan().Labels("far"), Keys: w.Keys, Use: use})
		if err != nil {
			t.Fatal(err)
		}
		if label, value, err := o.Reveal(token); err == nil {
			if use == "" {
				t.Error("a token of the register is one that stands in payloads")
			}
			return label, string(value)
		}
	}
	t.Fatal("nothing turns the token back")
	return "", ""
}

// wrappedIn says which of the keys of an arrival came wrapped.
func wrappedIn(as []seal.Arrival) (n int) {
	for _, a := range as {
		if a.Wrapped != nil {
			n++
		}
	}
	return n
}

// A value that no seal holds leaves as a hash, as one that no token holds does.
//
// promise: P03
func TestWhatIsTooLongForASealIsHashed(t *testing.T) {
	w, l := sealedWorld(t, func(c *isogatetest.Config) { c.Hold = 4 << 20 })
	l.answer = func(rw http.ResponseWriter, _ isogatetest.Received) { rw.WriteHeader(204) }
	for n, want := range map[int]string{1000: "seal", 1<<20 - 8: "hash"} {
		resp, text := call(t, w.Client(isogatetest.Product), "POST", w.URL("/v1/tickets"), `{"user":{"nick":"`+strings.Repeat("countess", n/8)+`"}}`)
		wantStatus(t, resp, text, 204, "")
		got := w.Far.Received()
		r := got[len(got)-1]
		unreadable(t, "by the far side", everything(r))
		e, _ := opened(t, w, r.Header.Get("Isogate-Entry"))
		if !slices.ContainsFunc(e.Fields, func(f isogate.Field) bool {
			return f.Path == "user.nick" && f.Action.String() == want && f.Sealed == (want == "seal")
		}) {
			t.Errorf("%d bytes: %+v, want %s", n, e.Fields, want)
		}
		if sealed := strings.Contains(l.opens(string(r.Body)), "countess"); sealed != (want == "seal") {
			t.Errorf("%d bytes can be opened: %t", n, sealed)
		}
	}
}

// promise: P16
func TestAKeyIsForOneSession(t *testing.T) {
	w, l := sealedWorld(t, nil)
	const body = `{"user": {"nick": "countess"}}`
	send := func(header ...string) seal.Arrival {
		resp, text := call(t, w.Client(isogatetest.Product), "POST", w.URL("/v1/tickets"), body, header...)
		wantStatus(t, resp, text, 200, "")
		as := l.arrivals[len(l.arrivals)-1]
		if len(as) != 1 {
			t.Fatalf("keys: %+v", as)
		}
		return as[0]
	}
	first, second := send("X-Session", "one"), send("X-Session", "one")
	other := send("X-Session", "two")
	alone, again := send(), send()
	if first.ID != second.ID || first.Wrapped == nil || second.Wrapped != nil {
		t.Errorf("in one session: %v %v", first.ID, second.ID)
	}
	if other.ID == first.ID || other.Context.Session == first.Context.Session || first.Context.Session == "" || first.Context.ByRequest {
		t.Errorf("in two sessions: %+v %+v", first, other)
	}
	if alone.ID == again.ID || !alone.Context.ByRequest || alone.Context.Session != "" {
		t.Errorf("without a session: %+v %+v", alone, again)
	}
	received := w.Far.Received()
	if aSeal.FindString(string(received[0].Body)) == aSeal.FindString(string(received[1].Body)) {
		t.Error("equal values have equal seals")
	}
	for i, want := range []uint64{1, 2, 1, 1, 1} {
		e, _ := opened(t, w, received[i].Header.Get("Isogate-Entry"))
		if len(e.Seals) != 1 || e.Seals[0].Request != want {
			t.Errorf("request %d: %+v, want number %d", i, e.Seals, want)
		}
	}
}

func TestTheRegisterHasItsLimits(t *testing.T) {
	emails := func(n, length int) string {
		var b strings.Builder
		for i := range n {
			if i > 0 {
				b.WriteByte(',')
			}
			_, _ = fmt.Fprintf(&b, `{"email":"%d%s@acme.example"}`, i, strings.Repeat("x", length))
		}
		return `{"all":[` + b.String() + `]}`
	}
	change := func(c *isogatetest.Config) {
		c.Hold = 256 << 10
		c.Pack["contracts/ticket.yaml"] += "  \"all[].email\": personal.contact.email\n  \"all[].phone\": personal.contact.phone\n"
	}
	for name, tc := range map[string]struct {
		body   string
		none   bool
		status int
		code   string
	}{
		"many enough":        {body: emails(120, 0), status: 200},
		"too many":           {body: emails(seal.MaxRegisterRows+1, 0), status: 413, code: "register-size"},
		"the same often":     {body: `{"all":[` + strings.Repeat(`{"email":"a@b.example"},`, 500) + `{}]}`, status: 200},
		"too long together":  {body: emails(100, 300), status: 413, code: "register-size"},
		"too large to hold":  {body: emails(1, 300<<10), status: 413, code: "register-size"},
		"no statement":       {body: `{"user":{"email":"a@b.example"}}`, none: true, status: 403, code: "not-acknowledged"},
		"no statement, seal": {body: `{"user":{"nick":"a"}}`, none: true, status: 503, code: "no-landing"},
	} {
		t.Run(name, func(t *testing.T) {
			w, l := sealedWorld(t, change)
			l.none = tc.none
			resp, text := call(t, w.Client(isogatetest.Product), "POST", w.URL("/v1/tickets"), tc.body)
			if tc.code != "" {
				refused(t, w, resp, text, tc.status, tc.code)
				if len(l.sent) != 0 {
					t.Errorf("keys were said to be sent: %v", l.sent)
				}
				return
			}
			wantStatus(t, resp, text, tc.status, "")
		})
	}
	t.Run("not acknowledged", func(t *testing.T) {
		w, _ := sealedWorld(t, func(c *isogatetest.Config) {
			c.Pack["transits/tickets.yaml"] = strings.Replace(c.Pack["transits/tickets.yaml"], "{label: personal.name.nickname, as: allow, handling: transit-only", "{label: personal.name.nickname, as: allow, handling: persisted", 1)
		})
		resp, text := call(t, w.Client(isogatetest.Product), "POST", w.URL("/v1/tickets"), `{"user":{"nick":"countess"}}`)
		refused(t, w, resp, text, 403, "not-acknowledged")
	})
}

// promise: P17
func TestIdentifiersAreRegisteredForTheirSubject(t *testing.T) {
	change := func(c *isogatetest.Config) {
		c.Pack["transits/tickets.yaml"] = strings.Replace(c.Pack["transits/tickets.yaml"], "{label: personal.contact.phone, as: mask, form: last-8, handling: temporary, ttl: 10m", "{label: personal.contact.phone, as: allow, handling: persisted", 1)
	}
	w, l := sealedWorld(t, change)
	for _, body := range []string{`{"user":{"phone":"+49 30 1", "email":"ada@acme.example"}}`, `{"user":{"phone":"+49 30 1", "email":"ada@acme.example"}, "other":{"email":"bob@acme.example"}}`} {
		resp, text := call(t, w.Client(isogatetest.Product), "POST", w.URL("/v1/tickets"), body)
		wantStatus(t, resp, text, 200, "")
	}
	subjects := map[string][]string{}
	for _, row := range l.rows {
		_, id := revealToken(t, w, row.ID)
		_, subject := revealToken(t, w, row.Subject)
		subjects[id] = append(subjects[id], subject)
	}
	want := map[string][]string{"+49 30 1": {"ada@acme.example", "+49 30 1"}, "ada@acme.example": {"ada@acme.example", "ada@acme.example"}, "bob@acme.example": {"bob@acme.example"}}
	if fmt.Sprint(subjects) != fmt.Sprint(want) {
		t.Errorf("registered %v, want %v", subjects, want)
	}
}

func TestWhatHasALandingNeedsItsKeys(t *testing.T) {
	w, l := sealedWorld(t, nil)
	l.sending = errors.New("the journal is full")
	resp, text := post(t, w, person)
	refused(t, w, resp, text, 503, "cannot-record")
	cfg := gateway.Config{Journal: w.Journal, Rules: w.Rules(), Landings: nil}
	if _, err := gateway.New(cfg); err == nil || !strings.Contains(err.Error(), "Landings") {
		t.Errorf("a gateway without Landings: %v", err)
	}
}

func TestManyKeysFitReceiversLines(t *testing.T) {
	labels := []string{"personal.work.job_title", "personal.demographic.gender", "personal.location.country", "personal.preference.locale", "personal.preference.time_zone",
		"personal.image.url", "personal.device.id", "personal.activity.time", "personal.note", "personal.financial.card"}
	var fields, rules, body strings.Builder
	for i, l := range labels {
		_, _ = fmt.Fprintf(&fields, "  k%d: %s\n", i, l)
		_, _ = fmt.Fprintf(&rules, "    - {label: %s, as: seal, handling: temporary, ttl: %dm, because: Shown to agents, owner: team-a, until: 2099-01-01}\n", l, i+1)
		_, _ = fmt.Fprintf(&body, `"k%d":"countess",`, i)
	}
	w, l := sealedWorld(t, func(c *isogatetest.Config) {
		c.Pack["contracts/ticket.yaml"] += fields.String()
		c.Pack["transits/tickets.yaml"] = strings.Replace(c.Pack["transits/tickets.yaml"], "  release:\n", "  release:\n"+rules.String(), 1)
	})
	resp, text := post(t, w, "{"+body.String()+`"state":"open"}`)
	wantStatus(t, resp, text, 200, "")
	r := w.Far.Received()[0]
	if n := strings.Count(l.opens(string(r.Body)), "countess"); n != len(labels) || wrappedIn(l.arrivals[0]) != len(labels)+1 {
		t.Errorf("%d values can be opened, %d keys came", n, wrappedIn(l.arrivals[0]))
	}
	lines := r.Header.Values(seal.HeaderSeal)
	for _, line := range lines {
		if len(line) > 8<<10 {
			t.Errorf("a line has %d bytes", len(line))
		}
	}
	if len(lines) < 2 {
		t.Errorf("%d lines", len(lines))
	}
}

// promise: P16
func TestAKeyByRequestIsGoneWithTheRequest(t *testing.T) {
	w, l := sealedWorld(t, nil)
	for range 2 {
		resp, text := post(t, w, person)
		wantStatus(t, resp, text, 200, "")
	}
	resp, text := post(t, w, `{"user":{"nick":"a","nick":"b"}}`) // refused when a key has been asked for
	wantStatus(t, resp, text, 422, "content")
	w.Stop()
	if len(l.single) != 3 {
		t.Fatalf("%d keys by request", len(l.single))
	}
	for _, s := range l.single {
		if s.Sealing() {
			t.Errorf("the key %v can still seal", s.ID())
		}
	}
	for _, s := range l.sealers {
		if !s.Sealing() {
			t.Errorf("the key %v, which others may have, was destroyed", s.ID())
		}
	}
}

// promise: P23
func TestKeysAreRecordedBeforeTheRequest(t *testing.T) {
	w, l := sealedWorld(t, nil)
	l.record = func(ids []seal.ID) {
		for _, id := range ids {
			if err := w.Journal.AppendLater(&isogate.Entry{Kind: isogate.KindLanding, Act: "seal key sent", Detail: map[string]string{"key": id.String()}}); err != nil {
				t.Error(err)
			}
		}
	}
	resp, text := post(t, w, person)
	wantStatus(t, resp, text, 200, "")
	seen := map[string]bool{}
	for _, e := range w.Entries() {
		seen[e.Detail["key"]] = true
		for _, u := range e.Seals {
			if !seen[u.Key] {
				t.Errorf("the entry %s uses the key %s, which is recorded after it", e.ID, u.Key)
			}
		}
	}
	if len(seen) != 4 { // and "" of the others
		t.Errorf("recorded: %v", seen)
	}
}

func TestALandingThatComesLaterNeedsItsKeysToo(t *testing.T) {
	w := world(t, isogatetest.Config{})
	w.WritePack(sealedPack(newLanding(t).vkey))
	w.Gateway.Swap(w.Rules())
	resp, text := post(t, w, person)
	refused(t, w, resp, text, 503, "no-landing")
}

func TestSessionsEndByTheProductsWord(t *testing.T) {
	w, l := sealedWorld(t, nil)
	url := "https://" + w.Addr + "/sessions/end"
	product := w.Client(isogatetest.Product)
	resp, text := call(t, product, "POST", url, `{"session": "one"}`)
	wantStatus(t, resp, text, 204, "")
	if fmt.Sprint(l.ended) != "[one]" {
		t.Errorf("ended %v", l.ended)
	}
	for body, want := range map[string]int{`{"session": ""}`: 400, `{}`: 400, `{"session":"a","x":1}`: 400, `{"session":"a"} {}`: 400, `[]`: 400, `{"session":7}`: 400,
		`{"session":"` + strings.Repeat("a", 1025) + `"}`: 400, `{"session":"` + strings.Repeat("a", 9000) + `"}`: 413} {
		resp, text := call(t, product, "POST", url, body)
		wantStatus(t, resp, text, want, "session-end")
	}
	resp, text = call(t, w.Client(isogatetest.Other), "POST", url, `{"session": "one"}`)
	wantStatus(t, resp, text, 403, "no-transit")
	resp, text = call(t, w.Client(""), "POST", url, `{"session": "one"}`)
	wantStatus(t, resp, text, 401, "unknown-caller")
	l.sending = errors.New("down")
	resp, text = call(t, product, "POST", url, `{"session": "two"}`)
	wantStatus(t, resp, text, 503, "session-end")
	if fmt.Sprint(l.ended) != "[one two]" {
		t.Errorf("ended %v", l.ended)
	}
}

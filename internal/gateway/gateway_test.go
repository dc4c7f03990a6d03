package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/gateway"
	"github.com/isogate/isogate/internal/isogatetest"
	"github.com/isogate/isogate/internal/journal"
)

// pack is a small pack with one of everything that the line has to do with.
func pack() map[string]string {
	return map[string]string{
		"pack.yaml":         "pack: test\nversion: 1\n",
		"destinations.yaml": "destinations:\n  - {name: far, url: https://far.example.com/base}\n",
		"contracts/ticket.yaml": `contract: ticket
format: json
fields:
  user.email: personal.contact.email
  user.name: personal.name.display
  title: ugc.title
  state: system.status
`,
		"transits/tickets.yaml": `transit: tickets
purpose: support
source: [product/help-center, product/batch]
destination: far
consent: none
match: [POST /v1/tickets, PUT /v1/tickets, "GET /v1/users/{account}/tickets"]
request:
  contract: ticket
  release:
    - {label: personal.contact.email, as: allow, handling: persisted, because: Tickets need an address, owner: team-a, until: 2099-01-01}
    - {label: personal.name.display, as: allow, handling: temporary, ttl: 5m, because: Shown to agents, owner: team-a, until: 2030-06-30}
    - {label: identifier.correlation.request_id, as: allow, handling: transit-only, because: Correlation, owner: team-a, until: 2099-01-01}
  query: {tab: system.metadata}
  path: {account: identifier.user.account_id}
  headers: {X-Request-Id: identifier.correlation.request_id}
  cookies: {theme: system.metadata}
  trailers: {X-Checksum: system.metadata}
response: {restore: true, max: 1MiB}
`,
		"transits/private.yaml": `transit: private
purpose: support
source: [product/help-center]
destination: far
consent: user-action
match: [POST /v1/private]
request: {contract: ticket}
`,
	}
}

const ticket = `{"user": {"email": "ada@acme.example", "name": "Ada L", "phone": "+49 30 1234567"}, "title": "My salary is wrong", "state": "open"}`

func world(t *testing.T, cfg isogatetest.Config) *isogatetest.World {
	t.Helper()
	if cfg.Pack == nil {
		cfg.Pack = pack()
	}
	return isogatetest.New(t, cfg)
}

// call sends a request and returns the answer; a body is sent as JSON.
func call(t *testing.T, c *http.Client, method, url, body string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

// refused checks a refusal: its status and code, that nothing arrived, and that
// an entry of the journal has it.
func refused(t *testing.T, w *isogatetest.World, resp *http.Response, body string, status int, code string) {
	t.Helper()
	if resp.StatusCode != status || resp.Header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("got %s %s %s, want a problem with status %d", resp.Status, resp.Header.Get("Content-Type"), body, status)
	}
	var p gateway.Problem
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatal(err)
	}
	if p.Type != "urn:isogate:problem:"+code || p.Status != status || p.Entry == "" || p.Detail == "" {
		t.Errorf("problem %+v, want code %s, a detail and an entry", p, code)
	}
	if got := w.Far.Received(); len(got) != 0 {
		t.Errorf("%d requests arrived, want none", len(got))
	}
	i := slices.IndexFunc(w.Entries(), func(e isogate.Entry) bool { return e.ID == p.Entry })
	if i < 0 {
		t.Fatalf("entry %s is not in the journal", p.Entry)
	}
	if e := w.Entries()[i]; e.Decision != "refused" || e.Stage != isogate.StageRefused || e.Status != status || e.Reason == "" {
		t.Errorf("entry %+v does not say how it was refused", e)
	}
}

// promise: P01 P03 P07 P16 P17 P18 P21
func TestOnlyWhatIsReleasedLeaves(t *testing.T) {
	w := world(t, isogatetest.Config{})
	resp, body := call(t, w.Client(isogatetest.Product), "POST", w.URL("/v1/tickets?tab=open&debug=secret-query"), ticket,
		"X-Request-Id", "req-1", "X-Secret", "secret-header", "Cookie", "theme=dark; sid=secret-cookie",
		"Isogate-Entry", "forged", "Isogate-Handling", "forged", "User-Agent", "secret-agent", "Authorization", "Bearer secret-auth")
	if resp.StatusCode != 200 {
		t.Fatalf("%s: %s", resp.Status, body)
	}
	got := w.Far.Received()
	if len(got) != 1 {
		t.Fatalf("%d requests arrived, want 1", len(got))
	}
	r := got[0]
	all := r.Target + fmt.Sprint(r.Header) + string(r.Body)
	for _, secret := range []string{"secret", "forged", "1234567", "salary", "phone", "debug"} {
		if strings.Contains(all, secret) {
			t.Errorf("%q left in: %s", secret, all)
		}
	}
	for _, want := range []string{`"ada@acme.example"`, `"Ada L"`, `"open"`} {
		if !strings.Contains(string(r.Body), want) {
			t.Errorf("%s did not leave in %s", want, r.Body)
		}
	}
	if !strings.HasPrefix(r.Target, "/base/v1/tickets?tab=open&") {
		t.Errorf("target %q", r.Target)
	}
	if r.Header.Get("X-Request-Id") != "req-1" || r.Header.Get("Cookie") != "theme=dark" {
		t.Errorf("named header and cookie did not leave: %v", r.Header)
	}
	want := `persisted;fields="user.email", temporary;ttl=300;fields="user.name", transit-only;fields="header:x-request-id"`
	if h := r.Header.Get("Isogate-Handling"); h != want {
		t.Errorf("Isogate-Handling: %s\nwant              %s", h, want)
	}
	entries := w.Entries()
	i := slices.IndexFunc(entries, func(e isogate.Entry) bool { return string(e.ID) == r.Header.Get("Isogate-Entry") })
	if i < 0 || resp.Header.Get("Isogate-Entry") != r.Header.Get("Isogate-Entry") {
		t.Fatalf("entry %q is not in the journal", r.Header.Get("Isogate-Entry"))
	}
	e := entries[i]
	if e.Stage != isogate.StageOpened || e.Decision != "released" || e.Source != isogatetest.Product || e.Transit != "tickets" ||
		e.Destination != "far" || e.Purpose != "support" || e.URL != "/v1/tickets" || e.Method != "POST" || e.TLS != "TLS 1.3" ||
		e.BytesIn != int64(len(ticket)) || e.BytesOut != int64(len(r.Body)) || e.DigestIn == "" || e.DigestOut == "" ||
		!strings.HasPrefix(e.Pack, "sha256:") {
		t.Errorf("entry %+v", e)
	}
	fields := map[string]isogate.Field{}
	for _, f := range e.Fields {
		fields[f.Path] = f
	}
	if f := fields["user.email"]; f.Action != isogate.Allow || f.Handling != "persisted" || !strings.Contains(f.Rule, "transits/tickets.yaml:") {
		t.Errorf("user.email: %+v", f)
	}
	if f := fields["user.name"]; f.TTL != "5m0s" || f.Handling != "temporary" {
		t.Errorf("user.name: %+v", f)
	}
	if f := fields["user.?"]; f.Label != isogate.Unclassified || f.Action == isogate.Allow {
		t.Errorf("the unknown member: %+v", f)
	}
	line, err := json.Marshal(entries)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"ada@", "Ada", "salary", "secret", "1234567", "req-1", "phone"} {
		if bytes.Contains(line, []byte(secret)) {
			t.Errorf("the journal holds %q", secret)
		}
	}
	w.Stop()
	if _, closed := opened(t, w, string(e.ID)); closed == nil || closed.Status != 200 || closed.Stage != isogate.StageClosed {
		t.Errorf("the entry was not closed as it should: %+v", closed)
	}
}

func TestPathParametersAreObfuscated(t *testing.T) {
	w := world(t, isogatetest.Config{})
	resp, body := call(t, w.Client(isogatetest.Product), "GET", w.URL("/v1/users/account-4711/tickets"), "")
	if resp.StatusCode != 200 {
		t.Fatalf("%s: %s", resp.Status, body)
	}
	target := w.Far.Received()[0].Target
	if strings.Contains(target, "4711") || !strings.HasPrefix(target, "/base/v1/users/") || !strings.HasSuffix(target, "/tickets") {
		t.Errorf("target %q", target)
	}
	if e := w.Entries()[0]; e.URL != "/v1/users/{account}/tickets" {
		t.Errorf("the entry has the URL %q, want the template", e.URL)
	}
}

// promise: P04
func TestUnknownCallersAreRefused(t *testing.T) {
	w := world(t, isogatetest.Config{})
	impostor, err := isogatetest.NewAuthority("callers", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for name, leaf := range map[string]struct {
		by     *isogatetest.Authority
		leaf   isogatetest.Leaf
		bearer string
	}{
		"nobody":               {},
		"another authority":    {by: impostor, leaf: isogatetest.Leaf{SPIFFE: isogatetest.SPIFFE(isogatetest.Product)}},
		"expired":              {by: w.Callers, leaf: isogatetest.Leaf{SPIFFE: isogatetest.SPIFFE(isogatetest.Product), Valid: -time.Hour}},
		"unlisted id":          {by: w.Callers, leaf: isogatetest.Leaf{SPIFFE: "spiffe://acme.isolated/product/nobody"}},
		"no id":                {by: w.Callers, leaf: isogatetest.Leaf{Name: "product"}},
		"wrong token":          {bearer: "Bearer nothing"},
		"not a bearer":         {bearer: "Basic YTpi"},
		"two who do not agree": {by: w.Callers, leaf: isogatetest.Leaf{SPIFFE: isogatetest.SPIFFE(isogatetest.Product)}, bearer: "Bearer " + isogatetest.Token},
	} {
		t.Run(name, func(t *testing.T) {
			c := w.Client("")
			if leaf.by != nil {
				cert, err := leaf.by.Issue(leaf.leaf)
				if err != nil {
					t.Fatal(err)
				}
				c.Transport.(*http.Transport).TLSClientConfig.Certificates = append(c.Transport.(*http.Transport).TLSClientConfig.Certificates, cert)
			}
			var header []string
			if leaf.bearer != "" {
				header = []string{"Proxy-Authorization", leaf.bearer}
			}
			resp, body := call(t, c, "POST", w.URL("/v1/tickets"), ticket, header...)
			refused(t, w, resp, body, 401, "unknown-caller")
		})
	}
	resp, body := call(t, w.Client(""), "POST", w.URL("/v1/tickets"), ticket, "Proxy-Authorization", "Bearer "+isogatetest.Token)
	if resp.StatusCode != 200 {
		t.Fatalf("the bearer of a token was refused: %s %s", resp.Status, body)
	}
	if strings.Contains(fmt.Sprint(w.Far.Received()[0].Header), isogatetest.Token) {
		t.Error("the token left")
	}
}

// promise: P05
func TestNoTransitNoWayOut(t *testing.T) {
	w := world(t, isogatetest.Config{})
	product, other := w.Client(isogatetest.Product), w.Client(isogatetest.Other)
	base := "https://" + w.Addr
	for name, req := range map[string]struct {
		c      *http.Client
		method string
		url    string
	}{
		"no destination":   {product, "POST", base + "/to/nowhere/v1/tickets"},
		"another source":   {other, "POST", w.URL("/v1/tickets")},
		"another path":     {product, "POST", w.URL("/v1/users")},
		"another method":   {product, "DELETE", w.URL("/v1/tickets")},
		"no prefix":        {product, "POST", base + "/v1/tickets"},
		"destination only": {product, "POST", base + "/to/far"},
	} {
		t.Run(name, func(t *testing.T) {
			resp, body := call(t, req.c, req.method, req.url, ticket)
			refused(t, w, resp, body, 403, "no-transit")
		})
	}
}

// promise: P11
func TestNoConsentNoEgress(t *testing.T) {
	w := world(t, isogatetest.Config{})
	resp, body := call(t, w.Client(isogatetest.Product), "POST", w.URL("/v1/private"), ticket)
	refused(t, w, resp, body, 403, "no-consent")
}

func TestContentThatIsNotFullyUnderstoodIsRefused(t *testing.T) {
	w := world(t, isogatetest.Config{})
	c := w.Client(isogatetest.Product)
	for name, req := range map[string]struct {
		body, typ, encoding string
		status              int
		code                string
	}{
		"duplicate key":      {body: `{"title":"a","title":"b"}`, status: 422, code: "content"},
		"escaped duplicate":  {body: `{"title":"a","t\u0069tle":"b"}`, status: 422, code: "content"},
		"two documents":      {body: `{} {}`, status: 422, code: "content"},
		"trailing comma":     {body: `{"title":"a",}`, status: 422, code: "content"},
		"byte order mark":    {body: "\ufeff{}", status: 422, code: "content"},
		"invalid UTF-8":      {body: "{\"title\":\"\xff\"}", status: 422, code: "content"},
		"deep":               {body: strings.Repeat("[", 200) + strings.Repeat("]", 200), status: 422, code: "content"},
		"form as json":       {body: `a=b`, status: 422, code: "content"},
		"another type":       {body: `a=b`, typ: "application/x-www-form-urlencoded", status: 415, code: "content-type"},
		"text":               {body: `{}`, typ: "text/plain", status: 415, code: "content-type"},
		"UTF-16":             {body: `{}`, typ: "application/json; charset=utf-16", status: 415, code: "content-type"},
		"a second parameter": {body: `{}`, typ: "application/json; charset=utf-8; v=1", status: 415, code: "content-type"},
		"encoded":            {body: `{}`, encoding: "gzip", status: 415, code: "content-encoding"},
	} {
		t.Run(name, func(t *testing.T) {
			var header []string
			if req.encoding != "" {
				header = []string{"Content-Encoding", req.encoding}
			}
			r, err := http.NewRequestWithContext(t.Context(), "POST", w.URL("/v1/tickets"), strings.NewReader(req.body))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/json")
			if req.typ != "" {
				r.Header.Set("Content-Type", req.typ)
			}
			for i := 0; i+1 < len(header); i += 2 {
				r.Header.Set(header[i], header[i+1])
			}
			resp, err := c.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			refused(t, w, resp, string(body), req.status, req.code)
		})
	}
}

// A refusing journal is what a full disk is to the gateway.
type refusingJournal struct {
	gateway.Journal
	ready error
}

func (j refusingJournal) Append(context.Context, *isogate.Entry) error {
	return errors.New("no space left on device")
}
func (j refusingJournal) Ready() error { return j.ready }

// promise: P23
func TestWhatCannotBeRecordedDoesNotLeave(t *testing.T) {
	for name, stand := range map[string]func(*journal.Journal) gateway.Journal{
		"append fails": func(j *journal.Journal) gateway.Journal { return refusingJournal{Journal: j} },
		"not ready":    func(j *journal.Journal) gateway.Journal { return unready{j} },
	} {
		t.Run(name, func(t *testing.T) {
			w := world(t, isogatetest.Config{Journal: stand})
			resp, body := call(t, w.Client(isogatetest.Product), "POST", w.URL("/v1/tickets"), ticket)
			if resp.StatusCode != 503 || !strings.Contains(body, "cannot-record") {
				t.Errorf("%s %s, want 503", resp.Status, body)
			}
			if got := w.Far.Received(); len(got) != 0 {
				t.Errorf("%d requests arrived, want none", len(got))
			}
		})
	}
}

type unready struct{ *journal.Journal }

func (unready) Ready() error { return errors.New("the newest checkpoint is too old") }

// The far side looks into the journal's database the moment a request arrives:
// its entry must already be there, durable and readable by another connection.
//
// promise: P23
func TestTheEntryIsThereBeforeTheRequestArrives(t *testing.T) {
	w := world(t, isogatetest.Config{})
	var missing atomic.Int32
	w.Far.Answer(func(rw http.ResponseWriter, r isogatetest.Received) {
		reader, err := journal.OpenReader(w.State + "/journal")
		if err == nil {
			defer reader.Close()
			_, err = reader.Get(context.Background(), isogate.EntryID(r.Header.Get("Isogate-Entry")))
		}
		if err != nil {
			missing.Add(1)
		}
		rw.WriteHeader(204)
	})
	c := w.Client(isogatetest.Product)
	for range 20 {
		call(t, c, "POST", w.URL("/v1/tickets"), ticket)
	}
	if n := missing.Load(); n != 0 {
		t.Errorf("%d of 20 requests arrived before their entry", n)
	}
}

// promise: P37
func TestTokensComeBackAsTheOriginals(t *testing.T) {
	w := world(t, isogatetest.Config{})
	w.Far.Answer(func(rw http.ResponseWriter, r isogatetest.Received) {
		rw.Header().Set("Content-Type", "application/json")
		rw.Header().Set("Isogate-Entry", "forged")
		rw.Header().Set("Alt-Svc", `h3=":443"`)
		if strings.Contains(r.Target, "tab=big") {
			_, _ = fmt.Fprintf(rw, `[%s`, strings.Repeat(" ", 600<<10))
			_, _ = fmt.Fprintf(rw, `%s]`, r.Body)
			return
		}
		_, _ = rw.Write(r.Body)
	})
	c := w.Client(isogatetest.Product)
	for _, target := range []string{"/v1/tickets", "/v1/tickets?tab=big"} {
		sent := `{"title":"line\nwith \"quotes\" and ümlauts"}`
		resp, body := call(t, c, "POST", w.URL(target), sent)
		if strings.Contains(string(w.Far.Received()[0].Body), "quotes") {
			t.Fatal("the title left in plaintext")
		}
		if got := strings.Trim(body, "[] "); got != sent {
			t.Errorf("%s: came back as %.200s, want %s", target, got, sent)
		}
		if resp.Header.Get("Isogate-Entry") == "forged" || resp.Header.Get("Alt-Svc") != "" {
			t.Errorf("the far side's header passed: %v", resp.Header)
		}
	}
}

func TestResponsesAreLimited(t *testing.T) {
	w := world(t, isogatetest.Config{})
	w.Far.Answer(func(rw http.ResponseWriter, r isogatetest.Received) {
		switch {
		case strings.Contains(r.Target, "tab=long"):
			rw.Header().Set("Content-Length", fmt.Sprint(2<<20))
			_, _ = rw.Write(make([]byte, 2<<20))
		case strings.Contains(r.Target, "tab=chunks"):
			for range 64 {
				_, _ = rw.Write(make([]byte, 64<<10))
			}
		case strings.Contains(r.Target, "tab=encoded"):
			rw.Header().Set("Content-Type", "application/json")
			rw.Header().Set("Content-Encoding", "gzip")
			_, _ = rw.Write([]byte("not really"))
		case strings.Contains(r.Target, "tab=away"):
			rw.Header().Set("Location", "https://169.254.169.254/latest")
			rw.WriteHeader(302)
		}
	})
	c := w.Client(isogatetest.Product)
	for tab, status := range map[string]int{"long": 502, "encoded": 502, "away": 302} {
		if resp, body := call(t, c, "POST", w.URL("/v1/tickets?tab="+tab), ticket); resp.StatusCode != status {
			t.Errorf("%s: %s %.200s, want %d", tab, resp.Status, body, status)
		}
	}
	resp, err := c.Post(w.URL("/v1/tickets?tab=chunks"), "application/json", strings.NewReader(ticket))
	if err == nil {
		_, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
	}
	if err == nil {
		t.Error("a response over the limit ended as if it were whole")
	}
	if n := len(w.Far.Received()); n != 4 {
		t.Errorf("%d requests arrived, want 4: a redirect must not be followed", n)
	}
}

// promise: P04
func TestTheFarSideMustBeWhoItShould(t *testing.T) {
	stranger, err := isogatetest.NewAuthority("stranger", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		cfg    isogatetest.Config
		status int
	}{
		"another authority": {isogatetest.Config{Far: stranger}, 502},
		"an inside address": {isogatetest.Config{NoAllow: true}, 403},
	} {
		t.Run(name, func(t *testing.T) {
			w := world(t, tc.cfg)
			resp, body := call(t, w.Client(isogatetest.Product), "POST", w.URL("/v1/tickets"), ticket)
			if resp.StatusCode != tc.status {
				t.Errorf("%s %s, want %d", resp.Status, body, tc.status)
			}
			if got := w.Far.Received(); len(got) != 0 {
				t.Errorf("%d requests arrived, want none", len(got))
			}
		})
	}
}

// promise: P09
func TestARuleIsOverAfterItsEnd(t *testing.T) {
	var now atomic.Pointer[time.Time]
	set := func(s string) {
		at, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		now.Store(&at)
	}
	set("2030-06-30T23:59:59Z")
	w := world(t, isogatetest.Config{Now: func() time.Time { return *now.Load() }})
	// The certificates of a world are of today; a bearer token has no date.
	c, auth := w.Client(""), []string{"Proxy-Authorization", "Bearer " + isogatetest.Token}
	for _, at := range []string{"2030-06-30T23:59:59Z", "2030-07-01T00:00:00Z"} {
		set(at)
		if resp, body := call(t, c, "POST", w.URL("/v1/tickets"), ticket, auth...); resp.StatusCode != 200 {
			t.Fatalf("at %s: %s %s", at, resp.Status, body)
		}
	}
	got := w.Far.Received()
	if !strings.Contains(string(got[0].Body), "Ada L") {
		t.Errorf("on the last day: %s", got[0].Body)
	}
	if strings.Contains(string(got[1].Body), "Ada L") || !strings.Contains(string(got[1].Body), "ada@acme.example") {
		t.Errorf("the day after: %s", got[1].Body)
	}
}

// promise: P10
func TestAPackIsSwappedWithoutAFailedRequest(t *testing.T) {
	w := world(t, isogatetest.Config{})
	c := w.Client(isogatetest.Product)
	var failed atomic.Int32
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				resp, err := c.Post(w.URL("/v1/tickets"), "application/json", strings.NewReader(ticket))
				if err != nil {
					failed.Add(1)
					return
				}
				if resp.StatusCode != 200 {
					failed.Add(1)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		})
	}
	digests := map[string]bool{w.Gateway.Rules().Plan().Digest: true}
	for version := 2; version < 12; version++ {
		files := pack()
		files["pack.yaml"] = fmt.Sprintf("pack: test\nversion: %d\n", version)
		w.WritePack(files)
		r := w.Rules()
		digests[r.Plan().Digest] = true
		w.Gateway.Swap(r)
		for n := len(w.Far.Received()); len(w.Far.Received()) < n+4; {
			if _, err := w.Journal.List(t.Context(), journal.Filter{Limit: 1}); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(stop)
	wg.Wait()
	if n := failed.Load(); n != 0 {
		t.Errorf("%d requests failed while packs were swapped", n)
	}
	seen := map[string]bool{}
	for _, e := range w.Entries() {
		if e.Stage == isogate.StageOpened {
			seen[e.Pack] = true
			if !digests[e.Pack] {
				t.Errorf("entry %s was judged by the unknown pack %s", e.ID, e.Pack)
			}
		}
	}
	if len(seen) < 5 {
		t.Errorf("only %d packs were seen in use", len(seen))
	}
}

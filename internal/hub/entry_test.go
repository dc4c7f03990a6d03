package hub

import (
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/archive"
	"github.com/isogate/isogate/internal/isogatetest"
	"github.com/isogate/isogate/internal/policy"
)

// ticketPack lets an address and a name of a ticket out, and knows of a phone number.
func ticketPack() map[string]string {
	return map[string]string{
		"pack.yaml":         "pack: tickets\nversion: 7\n",
		"destinations.yaml": "destinations:\n  - {name: far, url: https://far.example.com/base}\n",
		"contracts/ticket.yaml": `contract: ticket
format: json
fields:
  user.email: personal.contact.email
  user.name: personal.name.display
  user.phone: personal.contact.phone
  title: ugc.title
`,
		"transits/tickets.yaml": `transit: tickets
purpose: support
source: [product/help-center]
destination: far
consent: none
match: [POST /v1/tickets]
request:
  contract: ticket
  release:
    - {label: personal.contact.email, as: allow, handling: persisted, because: Tickets need an address, owner: team-a, until: 2099-01-01}
    - {label: personal.name.display, as: mask, handling: temporary, ttl: 5m, because: Shown to agents, owner: team-b, until: 2098-06-30}
    - {label: personal.name.*, as: allow, handling: temporary, ttl: 5m, because: Names in general, owner: team-c, until: 2098-06-30}
response: {max: 1MiB}
`,
		"transits/private.yaml": `transit: private
purpose: support
source: [product/help-center]
destination: far
consent: admin
match: [POST /v1/private]
request: {contract: ticket}
`,
	}
}

// living is a record of a gateway that runs, with the archive of its pack.
func living(t *testing.T) (*isogatetest.World, *record, *archive.Archive) {
	t.Helper()
	w := isogatetest.New(t, isogatetest.Config{Pack: ticketPack()})
	r := follow(t, w.Journal, w.Keys.Verifier())
	a, err := archive.New(filepath.Join(t.TempDir(), "packs"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := policy.ReadFiles(w.PackDir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Put(files); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return w, r, a
}

// sends has a source send a request through the gateway, and returns its entry.
func sends(t *testing.T, w *isogatetest.World, source isogate.Source, method, path, body string, header ...string) isogate.EntryID {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, w.URL(path), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := w.Client(source).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	id := isogate.EntryID(resp.Header.Get("Isogate-Entry"))
	if id == "" {
		t.Fatalf("%s %s has no entry: %s", method, path, resp.Status)
	}
	return id
}

// One entry is explained in full: each field by its label and who said so, the rule
// with its reason, owner and end, what was done to it and what keeps its handling, and
// the pack that judged it; and it leads to the entry that says how it ended.
//
// promise: P21
func TestAnEntryExplained(t *testing.T) {
	w, r, a := living(t)
	id := sends(t, w, isogatetest.Product, "POST", "/v1/tickets", `{"user":{"email":"ada@acme.example","name":"Ada L","phone":"+49 30 1"},"title":"Pay","new":"x"}`)
	r.settled()
	s := r.sit(as(access.Viewer), func(c *Config) { c.Packs = a })
	page := seen(t, s, "/entries/"+string(id), 200,
		"product/help-center sent to far for support", "It ended as it should",
		"<code><bdi>user.<wbr>email</bdi></code>", "personal.contact.email", "contracts/ticket.yaml:4",
		"transits/tickets.yaml:10", "/files/transits/tickets.yaml#L10", "/files/contracts/ticket.yaml#L4", "Tickets need an address", "team-a", "until 2099-01-01", "persisted",
		"left as it is", "left with most of its characters hidden", "Shown to agents", "temporary", "for 5m0s",
		"was replaced by a token that only the inside can turn back", "unclassified", "Why not more",
		"no rule releases personal.contact.phone", "the far side&#39;s word, and nothing else",
		"<bdi>tickets</bdi>, version 7", "Closed by", "under the checkpoint over", "/entries/"+string(id)+"/proof")
	for _, value := range []string{"ada@acme", "Ada L", "+49", "Pay"} {
		if strings.Contains(page, value) {
			t.Errorf("the page has a value: %s", value)
		}
	}
	if strings.Contains(page, "Names in general") {
		t.Error("the page gives the reason of a rule that did not decide")
	}
	// The closing entry is a page too, and leads back.
	_, rest, _ := strings.Cut(page, "<dt>Closed by</dt><dd><a class=\"mono\" href=\"")
	closing, _, _ := strings.Cut(rest, `"`)
	seen(t, s, closing, 200, "What it closes", `href="/entries/`+string(id)+`"`)

	// Without the pack of then, what the entry says is shown and what is missing is said.
	bare := r.sit(as(access.Viewer), func(c *Config) {
		empty, err := archive.New(filepath.Join(t.TempDir(), "packs"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = empty.Close() })
		c.Packs = empty
	})
	page = seen(t, bare, "/entries/"+string(id), 200, "is not in the archive", "transits/tickets.yaml:10", "personal.contact.email")
	if strings.Contains(page, "Tickets need an address") || strings.Contains(page, "/files/") {
		t.Error("a reason comes from nowhere")
	}
}

// Approvals of a pack are not pushed out of sight by a gateway that starts often.
func TestApprovalsStayInSight(t *testing.T) {
	r := newRecord(t)
	digest := "sha256:" + strings.Repeat("a", 64)
	r.add(isogate.Entry{Kind: isogate.KindPack, Act: "pack proposed", Actor: "dan", Pack: digest})
	r.add(isogate.Entry{Kind: isogate.KindPack, Act: "pack approved", Actor: "eve", Pack: digest})
	for range packActs + 5 {
		r.add(isogate.Entry{Kind: isogate.KindPack, Act: "pack loaded", Actor: "isogate serve", Pack: digest})
	}
	e := released("product/help-center", "support-portal", email)
	e.Pack = digest
	id := r.add(e)
	r.settled()
	page := seen(t, r.sit(as(access.Viewer), nil), "/entries/"+string(id), 200, "pack approved", "by eve", "pack proposed", "by dan")
	if n := strings.Count(page, "<bdi>pack loaded"); n != 1 {
		t.Errorf("it says %d times that the pack was loaded", n)
	}
}

// Refusals say at which step of the line they ended, and what would change that.
//
// promise: P21
func TestRefusalsExplained(t *testing.T) {
	w, r, a := living(t)
	const good = `{"user":{"email":"ada@acme.example"}}`
	cases := []struct {
		source         isogate.Source
		method, path   string
		body           string
		header         []string
		stopped, links string
	}{
		{"", "POST", "/v1/tickets", good, nil, "Who", ""},
		{isogatetest.Other, "POST", "/v1/tickets", good, nil, "Which way", ""},
		{isogatetest.Product, "DELETE", "/v1/tickets", "", nil, "Which way", "/transits/tickets"},
		{isogatetest.Product, "POST", "/v1/private", good, nil, "Consent", "/apps/transit/private"},
		{isogatetest.Product, "POST", "/v1/tickets", `{"a":1,"a":2}`, nil, "Rewrite", "/transits/tickets"},
		{isogatetest.Product, "POST", "/v1/tickets", good, []string{"Content-Type", "text/plain"}, "Rewrite", "/transits/tickets"},
	}
	ids := make([]isogate.EntryID, len(cases))
	for i, c := range cases {
		ids[i] = sends(t, w, c.source, c.method, c.path, c.body, c.header...)
	}
	r.settled()
	s := r.sit(as(access.Viewer), func(cfg *Config) { cfg.Packs = a })
	for i, c := range cases {
		page := seen(t, s, "/entries/"+string(ids[i]), 200, "Why it did not leave", "It was refused", c.links)
		_, rest, _ := strings.Cut(page, `<li aria-current="step"><strong>`)
		if at, _, _ := strings.Cut(rest, "<"); at != c.stopped {
			t.Errorf("%s %s %s by %q: stopped at %q, want %q:\n%s", c.method, c.path, c.body, c.source, at, c.stopped, mainOf(page))
		}
	}
}

// Entries of every kind have a page that can be read.
func TestEntriesOfEachKind(t *testing.T) {
	r := newRecord(t)
	entries := []isogate.Entry{
		{Kind: isogate.KindConsent, Act: "granted", Actor: "ada", Reason: "looked at", Of: "01ARZ3NDEKTSV4RRFFQ69G5FAV", Detail: map[string]string{"party": "app/bot", "signed_in": "passkey", "prompt": "sha256:ab"}},
		{Kind: isogate.KindPack, Act: "pack loaded", Actor: "isogate serve", Pack: "sha256:" + strings.Repeat("a", 64), Detail: map[string]string{"name": "acme", "version": "12"}},
		{Kind: isogate.KindKey, Act: "keys rotated", Actor: "isogate serve"},
		{Kind: isogate.KindLanding, Act: "receipt", Destination: "support-portal", Detail: map[string]string{"note": "line 1\nline 2\n\n— landing abc\n"}},
		{Kind: isogate.KindAdmin, Act: "signed in", Actor: "ada", Detail: map[string]string{"session": "s1"}},
		{Kind: isogate.KindUpdate, Act: "update pulled", Actor: "isogate update"},
		{Kind: isogate.KindEgress, Stage: isogate.StageRefused, Decision: "refused", Status: 418, Reason: ""},
		{Kind: isogate.KindEgress, Stage: isogate.StageClosed, Of: "01ARZ3NDEKTSV4RRFFQ69G5FAV", Reason: "cut off", Status: 502},
		{Kind: "from-later", Act: "something new"},
	}
	s := r.sit(as(access.Viewer), nil)
	var ids []isogate.EntryID
	for _, e := range entries {
		ids = append(ids, r.add(e))
	}
	r.settled()
	for i, e := range entries {
		page := seen(t, s, "/entries/"+string(ids[i]), 200, string(ids[i]), "As the journal has it")
		for _, v := range e.Detail {
			if first, _, _ := strings.Cut(v, "\n"); !strings.Contains(page, first) {
				t.Errorf("%s %s does not show %q", e.Kind, e.Act, v)
			}
		}
	}
	seen(t, s, "/entries/"+string(ids[3]), 200, "<pre>line 1\nline 2\n")
}

// ATTACK: somebody asks for entries that are not there, or are another tenant's. THIS
// TEST VERIFIES that all of them are answered alike, by 404, on every page of an entry.
func TestAttackEntriesOfNobody(t *testing.T) {
	r, other := newRecord(t), newRecord(t)
	theirs := other.add(released("product/secret", "elsewhere", email))
	mine := r.add(released("product/mine", "far", email))
	r.settled()
	s := r.sit(as(access.Owner), nil)
	for _, id := range []string{string(theirs), "01ARZ3NDEKTSV4RRFFQ69G5FAV", "0", "..%2f..%2fetc%2fpasswd", "%00", strings.Repeat("0", 26), strings.ToLower(string(mine)), string(mine) + "x", "%3Cscript%3Ealert(1)%3C%2Fscript%3E"} {
		for _, under := range []string{"", "/json", "/proof", "/proof/text"} {
			resp, body := look(t, s, "/entries/"+id+under)
			if resp.StatusCode != http.StatusNotFound || strings.Contains(body, "<script>alert") || strings.Contains(body, "product/secret") {
				t.Errorf("/entries/%s%s: %d %s", id, under, resp.StatusCode, mainOf(body))
			}
		}
	}
	if resp, body := look(t, s, "/entries/"+string(mine)+"/json"); resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Disposition"), "attachment") || !strings.Contains(body, `"product/mine"`) {
		t.Errorf("%d %s %s", resp.StatusCode, resp.Header, body)
	}
}

// hostileTexts are texts that a page, a script, a spreadsheet or a terminal would act on.
var hostileTexts = []string{
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `javascript:alert(1)`, `' onmouseover='alert(1)`, "</textarea><script>alert(1)</script>",
	"{{.}}", "=HYPERLINK(\"http://evil\")", "a\u202eb", "a\x00b", "\x1b[31mred", "</bdi></td><td>", "&lt;b&gt;", "%3Cscript%3E", "`${alert(1)}`", "a\u2028b",
}

// ATTACK: whoever can put names into the journal (an app, a caller, a destination, an
// administrator) puts markup and control characters into every member of every kind of
// entry. THIS TEST VERIFIES that no page makes markup of them, nor passes on what does
// not print, on the explorer, the tail, each entry's page and its proof.
func TestAttackMarkupInEveryMember(t *testing.T) {
	r := newRecord(t)
	var ids []isogate.EntryID
	for _, x := range hostileTexts {
		e := isogate.Entry{Kind: isogate.KindEgress, Stage: isogate.StageOpened, Source: isogate.Source(x), Purpose: x, Transit: isogate.Transit(x), Remote: x, Destination: isogate.Destination(x),
			Method: x, URL: x, Pack: x, Consent: isogate.EntryID(x), Decision: x, Reason: x, DigestIn: x, DigestOut: x, TLS: x, Actor: x, Act: x, Detail: map[string]string{x: x},
			Fields: []isogate.Field{{Path: x, Label: isogate.Label(x), Action: isogate.Allow, Handling: x, TTL: x, Rule: x, N: 1, Declared: true}}}
		ids = append(ids, r.add(e))
		e.Stage, e.Fields = isogate.StageRefused, nil
		ids = append(ids, r.add(e))
		e.Stage, e.Of = isogate.StageClosed, isogate.EntryID(x)
		ids = append(ids, r.add(e))
		e.Stage, e.Kind = "", isogate.KindLanding
		ids = append(ids, r.add(e))
		ids = append(ids, r.add(isogate.Entry{Kind: isogate.EntryKind(x), Act: x, Actor: x}))
	}
	r.settled()
	s := r.sit(as(access.Owner), nil)
	paths := []string{"/explore", "/explore?q=script", "/explore/tail", "/explore?kind=landing"}
	for _, id := range ids {
		paths = append(paths, "/entries/"+string(id), "/entries/"+string(id)+"/proof")
	}
	for _, path := range paths {
		resp, body := look(t, s, path)
		if resp.StatusCode != 200 {
			t.Fatalf("%s: %d %s", path, resp.StatusCode, mainOf(body))
		}
		main := mainOf(body)
		for _, bad := range []string{"<script>alert", "<img", "onerror=alert(1)>", "' onmouseover='", `href="javascript:`, "</bdi></td><td>", "\u202e", "\x00", "\x1b", "\u2028", "</textarea><script"} {
			if strings.Contains(main, bad) {
				t.Errorf("%s passes on %q: …%s", path, bad, around(main, bad))
			}
		}
	}
}

// around is what stands before a text.
func around(page, text string) string {
	i := strings.Index(page, text)
	return page[max(0, i-200) : i+len(text)]
}

package hub

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/journal"
	"github.com/isogate/isogate/internal/trail"
)

// record is a journal with a trail, as a Hub looks at them.
type record struct {
	t       *testing.T
	journal *journal.Journal
	trail   *trail.Trail
	vkey    string
}

// newRecord makes an empty one, of SQLite in a directory of the test, whose entries are
// recorded now.
func newRecord(t *testing.T) *record { return newRecordAt(t, time.Now) }

// newRecordAt makes one whose entries are recorded when the clock says.
func newRecordAt(t *testing.T, now func() time.Time) *record {
	t.Helper()
	skey, vkey, err := note.GenerateKey(rand.Reader, "isogate/acme")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	j, err := journal.Open(t.Context(), journal.Config{Dir: dir, Tenant: "acme", Signer: signer, Verifier: vkey, SealEvery: time.Millisecond, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- j.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-ended, j.Close()); err != nil {
			t.Errorf("the journal: %v", err)
		}
	})
	return follow(t, j, vkey)
}

// follow has a trail follow a journal.
func follow(t *testing.T, j *journal.Journal, vkey string) *record {
	t.Helper()
	tr, err := trail.Open(t.Context(), trail.Config{Dir: filepath.Join(t.TempDir(), "trail"), Journal: j, Every: time.Millisecond, Share: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- tr.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-ended, tr.Close()); err != nil {
			t.Errorf("the trail: %v", err)
		}
	})
	return &record{t: t, journal: j, trail: tr, vkey: vkey}
}

// add records an entry.
func (r *record) add(e isogate.Entry) isogate.EntryID {
	r.t.Helper()
	if err := r.journal.Append(r.t.Context(), &e); err != nil {
		r.t.Fatal(err)
	}
	return e.ID
}

// settled waits until the trail has, and the newest checkpoint covers, what was added.
func (r *record) settled() {
	r.t.Helper()
	id := r.add(isogate.Entry{Kind: isogate.KindUpdate, Act: "looked for"})
	seq, _, err := r.journal.Find(r.t.Context(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		next, more := r.trail.Watch()
		cp, err := r.journal.Checkpoint(r.t.Context())
		if err == nil && next > seq && cp.Size > seq {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("the trail is at %d of %d, and the checkpoint at %d, %v; %+v", next, seq, cp.Size, err, r.trail.Standing())
		}
		select {
		case <-more:
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// sit is a Hub over the record at which a visitor sits.
func (r *record) sit(who *access.Visitor, change func(*Config)) *httptest.Server {
	r.t.Helper()
	return sitting(r.t, who, func(c *Config) {
		c.Trail, c.Journal = r.trail, r.journal
		if change != nil {
			change(c)
		}
	})
}

// released is an entry of a release.
func released(source isogate.Source, to isogate.Destination, fields ...isogate.Field) isogate.Entry {
	return isogate.Entry{Kind: isogate.KindEgress, Stage: isogate.StageOpened, Source: source, Purpose: "support", Transit: "support-session",
		Destination: to, Method: "POST", URL: "/v1/sessions", Decision: "released", Fields: fields, BytesIn: 120, BytesOut: 90}
}

// refused is an entry of a refusal.
func refused(source isogate.Source, status int, reason string) isogate.Entry {
	return isogate.Entry{Kind: isogate.KindEgress, Stage: isogate.StageRefused, Source: source, Decision: "refused", Status: status, Reason: reason, Method: "POST"}
}

// seen checks that a page is there and says what it should.
func seen(t *testing.T, s *httptest.Server, path string, status int, texts ...string) string {
	t.Helper()
	resp, body := look(t, s, path)
	if resp.StatusCode != status {
		t.Fatalf("GET %s: %d, want %d: %s", path, resp.StatusCode, status, body)
	}
	for _, text := range texts {
		if !strings.Contains(body, text) {
			t.Errorf("GET %s does not say %q:\n%s", path, text, mainOf(body))
		}
	}
	return body
}

// mainOf is what a page says within its layout.
func mainOf(page string) string {
	_, rest, _ := strings.Cut(page, "<main")
	main, _, _ := strings.Cut(rest, "</main>")
	return main
}

// rowsOf is how many rows the tables of a page have.
func rowsOf(page string) int {
	return strings.Count(mainOf(page), "<tr>") - strings.Count(mainOf(page), "<thead><tr>")
}

var email = isogate.Field{Path: "user.email", Label: "personal.contact.email", Action: isogate.Allow, Handling: "persisted", Rule: "transits/support-session.yaml:12", N: 1, Declared: true}
var ticketTitle = isogate.Field{Path: "tickets[].title", Label: "ugc.title", Action: isogate.Token, N: 3}

func TestExplorerShowsAndCounts(t *testing.T) {
	r := newRecord(t)
	for range 3 {
		id := r.add(released("product/help-center", "support-portal", email, ticketTitle))
		if err := r.journal.AppendClosing(isogate.Closing{Of: id, Status: 200, DurationUS: 1500}); err != nil {
			t.Fatal(err)
		}
	}
	open := r.add(released("product/other", "billing", ticketTitle))
	r.add(refused("product/other", 403, "no transit fits"))
	r.add(isogate.Entry{Kind: isogate.KindPack, Act: "pack loaded", Actor: "isogate serve", Pack: "sha256:" + strings.Repeat("0", 64)})
	r.settled()
	s := r.sit(as(access.Viewer), nil)

	page := seen(t, s, "/explore", 200, "product/help-center → support-portal", "status 200", "no end recorded", "pack loaded", "personal.contact.email")
	if n := rowsOf(page); n != 7 { // closings are no rows of their own
		t.Errorf("%d rows:\n%s", n, mainOf(page))
	}
	if strings.Contains(page, "/explore/export") {
		t.Error("a viewer is offered an export")
	}
	for query, want := range map[string]int{
		"decision=released":                         4,
		"decision=refused":                          1,
		"source=product%2Fother":                    2,
		"source=product%2Fother&decision=released":  1,
		"destination=billing":                       1,
		"label=personal.**":                         3,
		"label=ugc.title":                           4,
		"label=personal.**&action=token":            0,
		"action=allow&action=token":                 4,
		"handling=persisted":                        3,
		"rule=transits%2Fsupport-session.yaml%3A12": 3,
		"kind=pack":                                 1,
		"q=HELP-center":                             3,
		"open=no":                                   1,
		"span=hour":                                 7,
		"since=2020-01-01&before=2020-01-02":        0,
		"purpose=support&transit=support-session&kind=egress": 4,
		"pack=sha256%3A" + strings.Repeat("0", 64):            1,
		"consent=01ARZ3NDEKTSV4RRFFQ69G5FAV":                  0,
	} {
		page := seen(t, s, "/explore?"+query, 200)
		if n := rowsOf(page); n != want {
			t.Errorf("%s: %d rows, want %d", query, n, want)
		}
		if count := fmt.Sprintf(`<dt>Entries</dt><dd class="figure">%d</dd>`, want); !strings.Contains(page, count) {
			t.Errorf("%s: the count is not %d", query, want)
		}
	}
	if page := seen(t, s, "/explore?open=no", 200); !strings.Contains(page, string(open)) {
		t.Error("the release without an end is not there")
	}
}

// A wrong filter is said at its field, the rest is kept, and nothing is shown that the
// filter might have been meant to leave out.
func TestWrongFilters(t *testing.T) {
	r := newRecord(t)
	r.add(released("product/help-center", "support-portal", email))
	r.settled()
	s := r.sit(as(access.Viewer), nil)
	for query, says := range map[string]string{
		"label=Personal.*":                      "is not a label",
		"label=**.x":                            "before its last segment",
		"since=yesterday":                       "is not a time",
		"before=2026-13-01":                     "is not a time",
		"since=2026-02-01&before=2026-01-01":    "is not after",
		"span=day&since=2026-02-01":             "choose one",
		"span=fortnight":                        "is none of",
		"kind=egres":                            "is none of",
		"decision=maybe":                        "is none of",
		"purpose=fun":                           "is no purpose",
		"action=alow":                           "is no action",
		"handling=forever":                      "is none of",
		"rule=here":                             "is not a rule",
		"consent=1":                             "is not the ID",
		"pack=sha256:12":                        "is not the digest",
		"open=yes":                              "is none of",
		"q=a%0Ab":                               "do not print",
		"q=%E2%80%AEx":                          "do not print",
		"q=%ff":                                 "do not print",
		"q=" + strings.Repeat("x", 301):         "longer than 300",
		"source=a&source=b":                     "there twice",
		"sourse=a":                              "is no filter",
		"%3Cscript%3Ealert(1)%3C%2Fscript%3E=a": "is no filter",
		"decision=released&label=%22%3E%3Cscript%3E": "is not a label",
	} {
		page := seen(t, s, "/explore?"+query, 400, says)
		if strings.Contains(page, "<tr>") || strings.Contains(page, "<script>") {
			t.Errorf("%s: something was looked up, or markup came through", query)
		}
	}
	page := seen(t, s, "/explore?label=%25&source=product%2Fhelp-center&decision=released", 400, `value="product/help-center"`, `<option value="released" selected>`, `aria-invalid="true"`)
	if !strings.Contains(page, `aria-describedby="f-label-error"`) {
		t.Error("the error is not at its field")
	}
}

// What a form sends empty is left out, so that an address can be shared.
func TestEmptyFieldsAreLeftOut(t *testing.T) {
	r := newRecord(t)
	s := r.sit(as(access.Viewer), nil)
	resp, _ := look(t, s, "/explore?span=&source=a&q=&action=allow&action=token")
	if got := resp.Header.Get("Location"); resp.StatusCode != http.StatusSeeOther || got != "/explore?action=allow&action=token&source=a" {
		t.Errorf("%d to %q", resp.StatusCode, got)
	}
	if resp, _ := look(t, s, "/explore?span=&q="); resp.Header.Get("Location") != "/explore" {
		t.Errorf("to %q", resp.Header.Get("Location"))
	}
}

// Each chip takes one filter away and leaves the others.
func TestChips(t *testing.T) {
	f := readFilter(url.Values{"label": {"personal.**"}, "action": {"allow", "token"}, "source": {"a"}}, time.Now())
	got := map[string]string{}
	for _, c := range f.Chips() {
		got[c.Title+" "+c.Value] = c.Without
	}
	want := map[string]string{
		"Label personal.**": "/explore?action=allow&action=token&source=a",
		"Action allow":      "/explore?action=token&label=personal.%2A%2A&source=a",
		"Action token":      "/explore?action=allow&label=personal.%2A%2A&source=a",
		"Source a":          "/explore?action=allow&action=token&label=personal.%2A%2A",
	}
	if len(got) != len(want) {
		t.Errorf("got %v", got)
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s: %q, want %q", k, got[k], v)
		}
	}
	if chips := (&filter{asked: url.Values{"q": {"a"}}}).Chips(); len(chips) != 1 || chips[0].Without != "/explore" {
		t.Errorf("got %v", chips)
	}
}

func TestPagesOfEntries(t *testing.T) {
	r := newRecord(t)
	var ids []string
	for range 120 {
		ids = append(ids, string(r.add(released("product/help-center", "support-portal", email))))
	}
	r.settled()
	s := r.sit(as(access.Viewer), nil)
	at, met := "/explore?decision=released", 0
	for at != "" {
		page := seen(t, s, at, 200)
		for i := len(ids) - 1 - met; i >= 0 && strings.Contains(page, ids[i]); i-- {
			met++
		}
		_, rest, more := strings.Cut(page, `rel="next" href="`)
		if at = ""; more {
			href, _, _ := strings.Cut(rest, `"`)
			at = strings.ReplaceAll(href, "&amp;", "&")
		}
	}
	if met != len(ids) {
		t.Errorf("%d of %d were met, newest first", met, len(ids))
	}
	for _, after := range []string{"x", "o", "o-1", "o99999999999999999999", "n1%00", "<script>"} {
		seen(t, s, "/explore?after="+url.QueryEscape(after), 400)
	}
}

// over has the office look at a record.
func (o *office) over(r *record) { o.hub.trail, o.hub.journal = r.trail, r.journal }

func TestEntriesByTheAPI(t *testing.T) {
	o, r := newOffice(t), newRecord(t)
	o.over(r)
	id := r.add(released("product/help-center", "support-portal", email, ticketTitle))
	if err := r.journal.AppendClosing(isogate.Closing{Of: id, Status: 201, DurationUS: 7}); err != nil {
		t.Fatal(err)
	}
	r.add(refused("product/other", 403, "no transit fits"))
	r.settled()
	list := into[EntryList](o.call("ada", "GET", "/entries?decision=released", "").want(200))
	if len(list.Entries) != 1 || list.Entries[0].Entry.ID != id || list.Entries[0].End == nil || list.Entries[0].End.Status != 201 || list.Next != "" {
		t.Errorf("got %+v", list)
	}
	first := into[EntryList](o.call("ada", "GET", "/entries?limit=1", "").want(200))
	second := into[EntryList](o.call("ada", "GET", "/entries?limit=1&after="+first.Next, "").want(200))
	if len(first.Entries) != 1 || len(second.Entries) != 1 || first.Entries[0].Seq <= second.Entries[0].Seq {
		t.Errorf("got %+v, then %+v", first, second)
	}
	n := into[EntryCount](o.call("ada", "GET", "/entries/count?label=ugc.title", "").want(200))
	if n.Entries != 1 || n.Released != 1 || n.Values["token"] != 3 || n.Values["allow"] != 0 || n.BytesOut != 90 {
		t.Errorf("got %+v", n)
	}
	tally := into[EntryTally](o.call("ada", "GET", "/entries/tally?by=family&kind=egress", "").want(200))
	if len(tally.Groups) != 2 || tally.Groups[0].Key[0] != "personal" || tally.Groups[1].Values["token"] != 3 {
		t.Errorf("got %+v", tally)
	}
	detail := into[EntryDetail](o.call("ada", "GET", "/entries/"+string(id), "").want(200))
	if !detail.Sealed || detail.End == nil || detail.End.Status != 201 || detail.Life == nil || !strings.Contains(string(detail.Entry), `"user.email"`) {
		t.Errorf("got %+v", detail)
	}
	proof := into[EntryProof](o.call("ada", "GET", "/entries/"+string(id)+"/proof", "").want(200))
	var p journal.Proof
	if err := p.UnmarshalText([]byte(proof.Proof)); err != nil {
		t.Fatal(err)
	}
	if e, _, err := p.Verify(r.vkey); err != nil || e.ID != id || proof.Verifier != r.vkey {
		t.Errorf("the proof is of %v, %v", e.ID, err)
	}
	o.call("ada", "GET", "/entries?lable=x", "").want(400, "is no filter")
	o.call("ada", "GET", "/entries?limit=1001", "").want(400, "limit")
	o.call("ada", "GET", "/entries?after=x", "").want(400, "after")
	o.call("ada", "GET", "/entries/tally", "").want(400, "by what")
	o.call("ada", "GET", "/entries/tally?by=value", "").want(400, "by is none of")
	o.call("ada", "GET", "/entries/01ARZ3NDEKTSV4RRFFQ69G5FAV", "").want(404, "no entry")
	o.call("ada", "GET", "/entries/nonsense/proof", "").want(404, "no entry")
}

// ATTACK: an address has a query that is read differently by different programs, or
// is far too long. THIS TEST VERIFIES that the explorer, the tail, its events and the
// export answer each by saying what is wrong, and show nothing.
func TestAttackQueries(t *testing.T) {
	r := newRecord(t)
	r.add(released("product/secret", "support-portal", email))
	r.settled()
	s := r.sit(as(access.Owner), nil)
	for _, q := range []string{"source=%zz", "source=a;decision=refused", "source=%", "%=a", "source=a&source=b", "source=a&%73ource=b", "q=" + strings.Repeat("%41", 20000),
		strings.Repeat("action=allow&", 3000) + "action=none", "decision=refused%00", "Decision=refused", "decision[]=refused", "source=a%0d%0aSet-Cookie:x", "%F0%28%8C%28=1", "after=o1&after=o2"} {
		for _, path := range []string{"/explore?", "/explore/tail?", "/explore/tail/events?from=0&", "/explore/export?format=csv&"} {
			resp, body := look(t, s, path+q)
			if resp.StatusCode != 400 || strings.Contains(body, "product/secret →") || resp.Header.Get("Set-Cookie") != "" {
				t.Errorf("%s%.60s: %d", path, q, resp.StatusCode)
			}
		}
	}
	if n := len(r.exported()); n != 0 {
		t.Errorf("%d exports are recorded", n)
	}
}

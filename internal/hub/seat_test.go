package hub

import (
	"context"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/trail"
)

// seat is an office with a browser in front of its pages, at which somebody sits.
type seat struct {
	*office
	who    access.Visitor
	server *httptest.Server
	left   *leftTrail
}

// newSeat seats ada, who may decide.
func newSeat(t *testing.T, second ...consent.Risk) *seat {
	t.Helper()
	s := &seat{office: newOffice(t, second...), left: &leftTrail{}}
	s.left.journal = s.journal
	s.hub.trail, s.hub.sofar = counted{s.left}, s.left
	s.sit("ada", access.ConsentAdministrator)
	s.hub.visitor = func(*http.Request) (access.Visitor, error) { return s.who, nil }
	s.hub.watcher = s.hub.visitor
	s.server = httptest.NewServer(s.hub.Pages())
	t.Cleanup(s.server.Close)
	return s
}

// sit has somebody else sit down.
func (s *seat) sit(name string, roles ...access.Role) {
	s.who = access.Visitor{Name: name, SignedIn: "passkey", Roles: roles, Session: "s-" + name, Proved: time.Now()}
}

// leftTrail tells of uses that a test made up, and lists the consent entries of the journal.
type leftTrail struct {
	Trail
	journal *memory
	usage   trail.Usage
	tally   map[trail.By][]trail.Group
	count   trail.Count
	uses    map[isogate.EntryID]time.Time
	asked   []trail.Query
	err     error
	at      trail.Standing
}

func (l *leftTrail) Usage(_ context.Context, q trail.Query) (trail.Usage, error) {
	l.asked = append(l.asked, q)
	return l.usage, l.err
}

func (l *leftTrail) Count(_ context.Context, q trail.Query) (trail.Count, error) {
	return l.count, l.err
}

func (l *leftTrail) Tally(_ context.Context, _ trail.Query, by ...trail.By) ([]trail.Group, error) {
	return l.tally[by[0]], l.err
}

func (l *leftTrail) LastUses(_ context.Context, consents []isogate.EntryID) (map[isogate.EntryID]time.Time, error) {
	out := map[isogate.EntryID]time.Time{}
	for _, id := range consents {
		if last, ok := l.uses[id]; ok {
			out[id] = last
		}
	}
	return out, l.err
}

func (l *leftTrail) Facets(context.Context, trail.Query) (trail.Facets, error) {
	return trail.Facets{}, l.err
}

func (l *leftTrail) Standing() trail.Standing { return l.at }

func (l *leftTrail) List(_ context.Context, q trail.Query, paging trail.Paging) (trail.Page, error) {
	l.journal.mu.Lock()
	defer l.journal.mu.Unlock()
	var p trail.Page
	for i := len(l.journal.entries) - 1; i >= 0; i-- {
		if e := l.journal.entries[i]; (q.Kind == "" || e.Kind == q.Kind) && (q.Consent == "" || e.Consent == q.Consent || e.ID == q.Consent) {
			p.Rows = append(p.Rows, trail.Row{Entry: e})
		}
	}
	if paging.From != nil {
		slices.Reverse(p.Rows)
		p.Rows = slices.DeleteFunc(p.Rows, func(r trail.Row) bool { return r.Entry.Seq < *paging.From })
	}
	return p, l.err
}

// shownPage is an answer to a browser.
type shownPage struct {
	t      *testing.T
	status int
	to     string // where it leads
	body   string
}

func (s *seat) visit(method, path string, form url.Values) shownPage {
	s.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.server.URL+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return s.fetch(r)
}

func (s *seat) fetch(r *http.Request) shownPage {
	s.t.Helper()
	client := &http.Client{Transport: s.server.Client().Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return shownPage{s.t, resp.StatusCode, resp.Header.Get("Location"), string(text)}
}

func (s *seat) get(path string) shownPage { s.t.Helper(); return s.visit("GET", path, nil) }

func (s *seat) post(path string, form url.Values) shownPage {
	s.t.Helper()
	if form == nil {
		form = url.Values{}
	}
	return s.visit("POST", path, form)
}

// says checks the status and that the text of the page has these words.
func (p shownPage) says(status int, words ...string) shownPage {
	p.t.Helper()
	if p.status != status {
		p.t.Fatalf("status %d, want %d: %s", p.status, status, p.text())
	}
	for _, w := range words {
		if !strings.Contains(p.text(), w) {
			p.t.Errorf("the page does not say %q: %s", w, p.text())
		}
	}
	return p
}

func (p shownPage) silent(words ...string) shownPage {
	p.t.Helper()
	for _, w := range words {
		if strings.Contains(p.body, w) {
			p.t.Errorf("the page has %q", w)
		}
	}
	return p
}

// leads checks that an act was done and where the browser is sent.
func (p shownPage) leads(to string) shownPage {
	p.t.Helper()
	if p.status != http.StatusSeeOther || !strings.HasPrefix(p.to, to) {
		p.t.Fatalf("status %d, leads to %q, want %q: %s", p.status, p.to, to, p.text())
	}
	return p
}

var (
	tagForm   = regexp.MustCompile(`<[^>]*>`)
	spaceForm = regexp.MustCompile(`\s+`)
)

// text is what people read of a page.
func (p shownPage) text() string {
	_, main, _ := strings.Cut(p.body, "<main")
	return spaceForm.ReplaceAllString(html.UnescapeString(tagForm.ReplaceAllString("<main"+main, " ")), " ")
}

// fields are the hidden fields of the form that acts at an address.
func (p shownPage) fields(action string) url.Values {
	p.t.Helper()
	at := strings.Index(p.body, `action="`+action+`"`)
	if at < 0 {
		p.t.Fatalf("no form acts at %s: %s", action, p.body)
	}
	form, _, _ := strings.Cut(p.body[at:], "</form>")
	out := url.Values{}
	for _, m := range regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]*)">`).FindAllStringSubmatch(form, -1) {
		out.Add(html.UnescapeString(m[1]), html.UnescapeString(m[2]))
	}
	return out
}

// yes is the form of a prompt as somebody fills it in who grants rows.
func (s *seat) yes(c Consent, rows ...string) url.Values {
	s.t.Helper()
	f := s.get("/consents/" + string(c.ID)).says(200).fields("/consents/" + string(c.ID) + "/deny")
	f.Set("reason", "needed")
	f.Set("span", "revoked")
	f.Set("until", "")
	f.Set("labels", "all")
	f["rows[]"] = rows
	return f
}

// grantOf grants all of a request by its page, and returns the grant.
func (s *seat) grantOf(c Consent) isogate.EntryID {
	s.t.Helper()
	to := s.post("/consents/"+string(c.ID)+"/grant", s.yes(c, c.Rows...)).leads("/consents/").to
	id, _, _ := strings.Cut(strings.TrimPrefix(to, "/consents/"), "?")
	return isogate.EntryID(id)
}

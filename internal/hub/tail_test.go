package hub

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/trail"
)

// unreadable is a trail whose rows somebody changed in the journal.
type unreadable struct{ Trail }

func (u unreadable) List(ctx context.Context, q trail.Query, p trail.Paging) (trail.Page, error) {
	page, err := u.Trail.List(ctx, q, p)
	for i := range page.Rows {
		page.Rows[i] = trail.Row{Entry: isogate.Entry{Seq: page.Rows[i].Entry.Seq}, Unreadable: true}
	}
	return page, err
}

// tap is an open tail.
type tap struct {
	t    *testing.T
	resp *http.Response
	in   *bufio.Reader
}

// open opens a tail. The header is of the request.
func openTail(t *testing.T, s *httptest.Server, query string, header ...string) *tap {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", s.URL+"/explore/tail/events?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return &tap{t, resp, bufio.NewReader(resp.Body)}
}

// next is the next event: what it is, its id and its data. At the end of all it is "".
func (p *tap) next() (event, id, data string) {
	p.t.Helper()
	for {
		line, err := p.in.ReadString('\n')
		if err != nil {
			return event, id, data
		}
		switch line = strings.TrimSuffix(line, "\n"); {
		case line == "" && data != "":
			return event, id, data
		case strings.HasPrefix(line, "event: "):
			event = line[7:]
		case strings.HasPrefix(line, "id: "):
			id = line[4:]
		case strings.HasPrefix(line, "data: "):
			data = line[6:]
		}
	}
}

// rows is the next event's rows.
func (p *tap) rows() (tailEvent, string) {
	p.t.Helper()
	_, id, data := p.next()
	var e tailEvent
	if err := json.Unmarshal([]byte(data), &e); err != nil {
		p.t.Fatalf("%q: %v", data, err)
	}
	return e, id
}

func TestTail(t *testing.T) {
	r := newRecord(t)
	r.add(released("product/before", "support-portal", email))
	r.settled()
	s := r.sit(as(access.Viewer), nil)
	next, _ := r.trail.Watch()
	p := openTail(t, s, "decision=released&from="+plain(next))
	if p.resp.StatusCode != 200 || p.resp.Header.Get("Content-Type") != "text/event-stream" || p.resp.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %v", p.resp.StatusCode, p.resp.Header)
	}
	r.add(refused("product/other", 403, "no transit fits"))
	id := r.add(released("product/help-center", "support-portal", email))
	e, last := p.rows()
	if len(e.Rows) != 1 || e.Rows[0].ID != id || e.Rows[0].What != "product/help-center → support-portal" {
		t.Errorf("got %+v", e)
	}
	r.settled()
	again := openTail(t, s, "decision=released&from=0", "Last-Event-ID", last)
	id = r.add(released("product/again", "support-portal", email))
	if e, _ := again.rows(); len(e.Rows) != 1 || e.Rows[0].ID != id {
		t.Errorf("after a break it goes on with %+v", e)
	}
	for _, bad := range []string{"", "from=x", "from=-1", "from=0&label=X", "from=0&nonsense=1"} {
		if p := openTail(t, s, bad); p.resp.StatusCode != 400 {
			t.Errorf("%q: %d", bad, p.resp.StatusCode)
		}
	}
}

// What came while nobody read is counted rather than sent in full.
func TestATailThatIsFarBehind(t *testing.T) {
	r := newRecord(t)
	for range tailMargin + 500 {
		r.add(released("product/help-center", "support-portal", email))
	}
	r.settled()
	next, _ := r.trail.Watch()
	e, id := openTail(t, r.sit(as(access.Viewer), nil), "from=0").rows()
	if len(e.Rows) != tailRows || e.Skipped != next-tailRows || id != plain(next) {
		t.Errorf("%d rows, %d skipped, id %s of %d", len(e.Rows), e.Skipped, id, next)
	}
}

// ATTACK: somebody whose session was revoked, or whose role was taken, keeps an open
// tail. THIS TEST VERIFIES that it ends, without another row, and says so.
func TestAttackATailOutlivesItsSession(t *testing.T) {
	for name, after := range map[string]func() (access.Visitor, error){
		"signed out":   func() (access.Visitor, error) { return access.Visitor{}, access.ErrNobody },
		"without role": func() (access.Visitor, error) { return *as(), nil },
		"another":      func() (access.Visitor, error) { return *as2("bob"), nil },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRecord(t)
			r.settled()
			var over atomic.Bool
			s := r.sit(nil, func(c *Config) {
				c.Visitor = func(*http.Request) (access.Visitor, error) {
					if over.Load() {
						return after()
					}
					return *as(access.Viewer), nil
				}
			})
			next, _ := r.trail.Watch()
			p := openTail(t, s, "from="+plain(next))
			over.Store(true)
			r.add(released("product/after", "support-portal", email))
			if event, _, data := p.next(); event != "ended" || strings.Contains(data, "product/after") {
				t.Errorf("got %q %q", event, data)
			}
			if _, _, data := p.next(); data != "" {
				t.Errorf("it goes on with %q", data)
			}
		})
	}
}

func as2(name string) *access.Visitor {
	v := as(access.Viewer)
	v.Name = name
	return v
}

// ATTACK: one session opens tails without end, or reads none of them. THIS TEST
// VERIFIES that there are so many at the most, that others have theirs all the same,
// and that a place is free again once one ends.
func TestAttackTailsWithoutEnd(t *testing.T) {
	r := newRecord(t)
	r.settled()
	var who atomic.Pointer[access.Visitor]
	who.Store(as(access.Viewer))
	s := r.sit(nil, func(c *Config) {
		c.Visitor = func(*http.Request) (access.Visitor, error) { return *who.Load(), nil }
	})
	next, _ := r.trail.Watch()
	from := "from=" + plain(next)
	var open []*tap
	for range tailsOfOne {
		p := openTail(t, s, from)
		if p.resp.StatusCode != 200 {
			t.Fatal(p.resp.Status)
		}
		open = append(open, p)
	}
	if p := openTail(t, s, from); p.resp.StatusCode != http.StatusTooManyRequests {
		t.Errorf("one more: %s", p.resp.Status)
	}
	_ = open[0].resp.Body.Close()
	deadline := time.Now().Add(20 * time.Second)
	for {
		if p := openTail(t, s, from); p.resp.StatusCode == 200 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the place of one that was closed is not free again")
		}
	}
	var ts tails
	for i := range tailsOfAll {
		if !ts.enter(string(rune('a' + i))) {
			t.Fatalf("number %d is refused", i)
		}
	}
	if ts.enter("another") {
		t.Error("there is no bound for all together")
	}
	ts.leave("a")
	if !ts.enter("another") || len(ts.of) != tailsOfAll {
		t.Errorf("after one left: %d", len(ts.of))
	}
}

// ATTACK: somebody opens a tail and does not read. THIS TEST VERIFIES that entries are
// recorded all the same, that another tail goes on, and that the Hub can be stopped.
func TestAttackATailThatNeverReads(t *testing.T) {
	r := newRecord(t)
	r.settled()
	s := r.sit(as(access.Viewer), nil)
	next, _ := r.trail.Watch()
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("GET /explore/tail/events?from=" + plain(next) + " HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	p := openTail(t, s, "from="+plain(next))
	long := strings.Repeat("x", 4000)
	for range 300 {
		r.add(refused("product/other", 403, long))
	}
	got := 0
	for got < 300 {
		e, _ := p.rows()
		got += len(e.Rows) + int(e.Skipped)
	}
	s.CloseClientConnections()
}

// Without a script the page leads to what is newer.
func TestTailWithoutAScript(t *testing.T) {
	r := newRecord(t)
	r.add(released("product/before", "support-portal", email))
	r.settled()
	s := r.sit(as(access.Viewer), nil)
	page := seen(t, s, "/explore/tail?decision=released", 200, "product/before")
	_, rest, _ := strings.Cut(page, `id="tail-newer" href="`)
	newer, _, _ := strings.Cut(rest, `"`)
	newer = strings.ReplaceAll(newer, "&amp;", "&")
	if page := seen(t, s, newer, 200, "Nothing yet."); strings.Contains(mainOf(page), "product/before") {
		t.Error("what was shown is shown again")
	}
	r.add(released("product/after", "support-portal", email))
	r.settled()
	seen(t, s, newer, 200, "product/after")
	for _, bad := range []string{"from=x", "from=-1", "label=X", "what=1"} {
		seen(t, s, "/explore/tail?"+bad, 400)
	}
}

func plain(n uint64) string { return strconv.FormatUint(n, 10) }

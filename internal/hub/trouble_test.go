package hub

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/consent"
)

// failing is a page that fails with an error.
func failing(err error) page {
	return page{pattern: "GET /failing", need: access.Read, stale: true, do: func(*Hub, *visit) error { return err }}
}

// TestTroubleSaysWhyAndWhatNext: the answer to each failure is a page that says what
// happened and how to go on, and of an error that nobody foresaw nothing but that.
func TestTroubleSaysWhyAndWhatNext(t *testing.T) {
	h := hubFor(t, as(access.Viewer), nil)
	s := served(t, h)
	for i, c := range []struct {
		err    error
		status int
		says   []string
		not    string
	}{
		{errors.New("secret: dial 10.0.0.7 " + evil), 500, []string{"Something went wrong here", "log says more"}, "10.0.0.7"},
		{conflict("the grant has ended"), 409, []string{"Nothing was changed", "The grant has ended.", `href="/"`}, "\u202e"},
		{notFound("no consent %s", consent.Shown(evil)), 404, []string{"There is no such page", "No consent &lt;script&gt;"}, "<script>alert"},
		{problem(503, "out-of-touch", "the journal is out of reach"), 503, []string{"may be old", "out of reach", `href="/health"`}, ""},
		{problem(403, "right", "somebody else shared this"), 403, []string{"You may not do this", "Somebody else shared this."}, "These roles give it"},
		{&Problem{Status: 409, Title: "x", Detail: "y", Entry: "01ARZ3NDEKTSV4RRFFQ69G5FAV"}, 409, []string{`href="/entries/01ARZ3NDEKTSV4RRFFQ69G5FAV"`}, ""},
	} {
		p, path := failing(c.err), fmt.Sprintf("/failing/%d", i)
		h.pages.HandleFunc("GET "+path, h.servePage(&p))
		resp, body := look(t, s, path)
		if resp.StatusCode != c.status {
			t.Errorf("%v: status %d", c.err, resp.StatusCode)
		}
		for _, say := range c.says {
			if !strings.Contains(body, say) {
				t.Errorf("%v: the page does not say %q: %s", c.err, say, mainOf(body))
			}
		}
		if c.not != "" && strings.Contains(body, c.not) {
			t.Errorf("%v: the page says %q", c.err, c.not)
		}
		read(t, path, body).wellMade()
	}
}

// TestARefusalNamesWhoCanHelp: somebody without the right learns which roles give it, and
// nothing of what the page would have said.
func TestARefusalNamesWhoCanHelp(t *testing.T) {
	resp, body := look(t, sitting(t, as(access.Viewer), nil), "/people")
	if resp.StatusCode != http.StatusForbidden || !strings.Contains(body, "the right to own") || !strings.Contains(body, "<strong>owner</strong>") || !strings.Contains(body, "you have viewer") {
		t.Errorf("GET /people: %d %s", resp.StatusCode, mainOf(body))
	}
	if strings.Contains(mainOf(body), "<form") {
		t.Error("it shows a form")
	}
	if resp, body := look(t, sitting(t, as(), nil), "/"); resp.StatusCode != http.StatusForbidden || !strings.Contains(body, "you have no role") || strings.Contains(body, "<nav") {
		t.Errorf("GET / without a role: %d %s", resp.StatusCode, body)
	}
}

// Attack: a page of another site posts a form to the Hub with the visitor's cookie.
// Verified: the answer is a page of ours that says so, and shows nothing of who is signed in.
func TestAttackFormFromElsewhere(t *testing.T) {
	s := sitting(t, as(access.Roles...), nil)
	for _, header := range [][2]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://evil.example"}, {"Sec-Fetch-Site", "same-site"}} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/signout", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set(header[0], header[1])
		resp, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body := bodyOf(t, resp)
		if resp.StatusCode != http.StatusForbidden || !strings.Contains(body, "Another site sent this") || strings.Contains(body, "ada") {
			t.Errorf("%v: %d %s", header, resp.StatusCode, body)
		}
	}
}

// TestEveryAnswerKeepsBrowsersInCheck: pages, refusals, redirects and assets carry the
// headers that keep them from being framed, sniffed, stored or led elsewhere.
func TestEveryAnswerKeepsBrowsersInCheck(t *testing.T) {
	for _, c := range []struct {
		who  *access.Visitor
		path string
	}{{as(access.Viewer), "/"}, {as(access.Viewer), "/nowhere"}, {as(access.Viewer), "/people"}, {nil, "/"}, {nil, "/signin"}, {nil, "/assets/hub.css"}, {nil, "/assets/nothing"}} {
		resp, _ := look(t, sitting(t, c.who, nil), c.path)
		want := map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin"}
		if !strings.HasPrefix(c.path, "/assets/hub") {
			want["Cache-Control"] = "no-store"
		}
		for name, value := range want {
			if got := resp.Header.Get(name); got != value {
				t.Errorf("GET %s (%d): %s is %q", c.path, resp.StatusCode, name, got)
			}
		}
		csp := resp.Header.Get("Content-Security-Policy")
		for _, rule := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "require-trusted-types-for 'script'"} {
			if !strings.Contains(csp, rule) {
				t.Errorf("GET %s: the policy lacks %s: %q", c.path, rule, csp)
			}
		}
		if strings.Contains(csp, "unsafe") {
			t.Errorf("GET %s: the policy is %q", c.path, csp)
		}
	}
}

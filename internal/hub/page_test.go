package hub

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/remote"
)

// sitting is a Hub at which a visitor sits; nil is nobody.
func sitting(t *testing.T, who *access.Visitor, change func(*Config)) *httptest.Server {
	t.Helper()
	return served(t, hubFor(t, who, change))
}

func served(t *testing.T, h *Hub) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h.Pages())
	t.Cleanup(s.Close)
	return s
}

func hubFor(t *testing.T, who *access.Visitor, change func(*Config)) *Hub {
	t.Helper()
	cfg := Config{Ledger: &fakeLedger{state: &consent.State{}}, Describe: func(consent.Party, remote.Row) consent.Egress { return consent.Egress{} },
		Logger: slog.New(slog.DiscardHandler),
		Visitor: func(*http.Request) (access.Visitor, error) {
			if who == nil {
				return access.Visitor{}, access.ErrNobody
			}
			return *who, nil
		}}
	if change != nil {
		change(&cfg)
	}
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// as is somebody with roles who has just signed in.
func as(roles ...access.Role) *access.Visitor {
	return &access.Visitor{Name: "ada", SignedIn: "passkey", Roles: roles, Session: "s1", Proved: time.Now()}
}

// look gets a page, without following where it sends.
func look(t *testing.T, s *httptest.Server, path string) (*http.Response, string) {
	t.Helper()
	client := &http.Client{Transport: s.Client().Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Get(s.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	return resp, bodyOf(t, resp)
}

func bodyOf(t *testing.T, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestNobodySeesNothing(t *testing.T) {
	s := sitting(t, nil, nil)
	for _, path := range []string{"/", "/consents", "/nowhere"} {
		if resp, body := look(t, s, path); resp.StatusCode != http.StatusSeeOther || !strings.HasPrefix(resp.Header.Get("Location"), "/signin") || strings.Contains(body, "<main") {
			t.Errorf("GET %s: %d, to %q", path, resp.StatusCode, resp.Header.Get("Location"))
		}
	}
}

// TestWithoutARoleNothing: somebody who signed in and has no role is told so.
func TestWithoutARoleNothing(t *testing.T) {
	if resp, body := look(t, sitting(t, as(), nil), "/"); resp.StatusCode != http.StatusForbidden || !strings.Contains(body, "the right to read") {
		t.Errorf("GET /: %d %s", resp.StatusCode, body)
	}
}

func TestTheOverviewIsShown(t *testing.T) {
	resp, body := look(t, sitting(t, as(access.Viewer), nil), "/")
	if resp.StatusCode != http.StatusOK || !strings.Contains(body, "<h1>Overview</h1>") {
		t.Errorf("GET /: %d %s", resp.StatusCode, body)
	}
	if strings.Contains(body, `href="/people"`) {
		t.Error("the navigation offers what a viewer may not see")
	}
	if csp := resp.Header.Get("Content-Security-Policy"); csp != policyOfPages {
		t.Errorf("the policy is %q", csp)
	}
}

package hub

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/access"
)

// post sends a form, as a browser of the Hub's own pages does.
func post(t *testing.T, s *httptest.Server, path string, form url.Values) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	resp, err := s.Client().Transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// person is somebody of another name.
func person(name string, roles ...access.Role) *access.Visitor {
	v := as(roles...)
	v.Name, v.Session = name, "s of "+name
	return v
}

// viewsOn is the part of a page that lists views.
func viewsOn(page string) string {
	_, rest, _ := strings.Cut(page, "Saved views</h2>")
	list, _, _ := strings.Cut(rest, "</section>")
	return list
}

// A view is kept for who saved it, or for everybody; it is there on another gateway
// and after a restart, since it is an entry of the journal; and it can be removed.
func TestSavedViews(t *testing.T) {
	r := newRecord(t)
	ada, bob, owner := r.sit(person("ada", access.Viewer), nil), r.sit(person("bob", access.Viewer), nil), r.sit(person("eve", access.Owner), nil)
	save := func(s *httptest.Server, name, query, shared string, status int) {
		t.Helper()
		resp, body := post(t, s, "/explore/views", url.Values{"name": {name}, "query": {query}, "shared": {shared}})
		if resp.StatusCode != status {
			t.Fatalf("save %q of %q: %d %s", name, query, resp.StatusCode, mainOf(body))
		}
	}
	save(ada, "Mine", "source=a&label=personal.**", "", 303)
	save(ada, "For all", "decision=refused", "yes", 303)
	seen(t, ada, "/explore?said=view-saved", 200, "<bdi>Mine</bdi>", "<bdi>For all</bdi>", "/explore?label=personal.%2A%2A&amp;source=a", "Saved.")
	page := seen(t, bob, "/explore", 200, "<bdi>For all</bdi>", "of ada")
	if strings.Contains(viewsOn(page), "Mine") || strings.Contains(page, "/remove") {
		t.Error("somebody sees another's own view, or may remove a shared one")
	}
	_, rest, _ := strings.Cut(seen(t, owner, "/explore", 200), `action="/explore/views/`)
	id, _, _ := strings.Cut(rest, `/remove"`)
	if resp, _ := post(t, bob, "/explore/views/"+id+"/remove", url.Values{"query": {""}}); resp.StatusCode != http.StatusForbidden {
		t.Errorf("somebody else removes a shared view: %d", resp.StatusCode)
	}
	if resp, _ := post(t, owner, "/explore/views/"+id+"/remove", url.Values{"query": {"source=a"}}); resp.StatusCode != 303 || resp.Header.Get("Location") != "/explore?said=view-removed&source=a" {
		t.Errorf("an owner does not: %d %s", resp.StatusCode, resp.Header.Get("Location"))
	}
	if page := viewsOn(seen(t, ada, "/explore", 200)); !strings.Contains(page, "Mine") || strings.Contains(page, "For all") {
		t.Error("a removed view is still there")
	}
	list, err := (&views{}).upToDate(t.Context(), r.journal) // as after a restart
	if err != nil || len(list) != 1 || list[0].Name != "Mine" || list[0].By != "ada" {
		t.Errorf("got %+v, %v", list, err)
	}

	save(ada, "Mine", "source=b", "", 409)
	save(ada, "", "source=b", "", 400)
	save(ada, strings.Repeat("x", 61), "source=b", "", 400)
	save(ada, "a\u202eb", "source=b", "", 400)
	save(ada, "Nothing", "", "", 400)
	save(ada, "Wrong", "label=X", "", 400)
	save(ada, "Elsewhere", "after=o1", "", 400)
	save(ada, "Long", "source="+strings.Repeat("x", 2100), "", 400)
	for i := range maxViewsOf - 1 {
		save(ada, fmt.Sprint("view ", i), "source=b", "", 303)
	}
	save(ada, "One more", "source=b", "", 409)
	if page := seen(t, ada, "/explore?source=b", 200); strings.Contains(page, "Save this view") {
		t.Error("a view is offered that cannot be kept")
	}
}

// Views have bounds also where an entry of another release would have them larger.
func TestViewsHaveBounds(t *testing.T) {
	var vs views
	for i := range 2 * maxViews {
		vs.fold(&isogate.Entry{ID: isogate.EntryID(fmt.Sprint(i)), Act: actViewSaved, Actor: "ada", Detail: map[string]string{inView: "v"}})
	}
	if len(vs.kept) != maxViewsOf {
		t.Errorf("one person has %d", len(vs.kept))
	}
	vs.fold(&isogate.Entry{Act: actViewSaved, Actor: "long", Detail: map[string]string{inView: "v", inViewQuery: strings.Repeat("x", maxViewQuery+1)}})
	for i := range 2 * maxViews {
		vs.fold(&isogate.Entry{Act: actViewSaved, Actor: fmt.Sprint(i), Detail: map[string]string{inView: "v"}})
	}
	if len(vs.kept) != maxViews || vs.of("long") != 0 {
		t.Errorf("there are %d", len(vs.kept))
	}
	vs.fold(&isogate.Entry{Act: actViewRemoved, Of: "3"})
	if len(vs.kept) != maxViews-1 {
		t.Errorf("there are %d after one was removed", len(vs.kept))
	}
}

// ATTACK: somebody removes, by its ID, a view that is another's own. THIS TEST
// VERIFIES that they are told that it is not there, whoever they are.
func TestAttackViewsOfOthers(t *testing.T) {
	r := newRecord(t)
	ada, owner := r.sit(person("ada", access.Viewer), nil), r.sit(person("eve", access.Owner), nil)
	if resp, body := post(t, ada, "/explore/views", url.Values{"name": {"Mine"}, "query": {"source=a"}}); resp.StatusCode != 303 {
		t.Fatal(resp.Status, body)
	}
	list, err := (&views{}).upToDate(t.Context(), r.journal)
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	for _, id := range []isogate.EntryID{list[0].ID, "01ARZ3NDEKTSV4RRFFQ69G5FAV", "x"} {
		if resp, _ := post(t, owner, "/explore/views/"+string(id)+"/remove", url.Values{"query": {""}}); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d", id, resp.StatusCode)
		}
	}
	if list, err := (&views{}).upToDate(t.Context(), r.journal); err != nil || len(list) != 1 {
		t.Error(list, err)
	}
}

// ATTACK: a view is given a name, or by an entry of another release a filter, that a
// page would act on. THIS TEST VERIFIES that both are text, and that the link leads to
// the explorer whatever the filter says.
func TestAttackViewsThatAct(t *testing.T) {
	r := newRecord(t)
	for i, x := range hostileTexts {
		r.add(isogate.Entry{Kind: isogate.KindAdmin, Act: actViewSaved, Actor: x, Detail: map[string]string{inView: x, inViewQuery: "source=" + url.QueryEscape(x) + "&" + x, inViewShared: "yes"}})
		r.add(isogate.Entry{Kind: isogate.KindAdmin, Act: actViewSaved, Actor: fmt.Sprint(i), Detail: map[string]string{inView: "v", inViewQuery: "//evil.example/?source=a&to=javascript:alert(1)", inViewShared: "yes"}})
	}
	page := seen(t, r.sit(as(access.Owner), nil), "/explore", 200)
	for _, bad := range []string{"<script>alert", "<img src", `href="javascript`, `href="//`, `href="/explore?/`, "\u202e", "\x1b"} {
		if strings.Contains(mainOf(page), bad) {
			t.Errorf("the page has %q: …%s", bad, around(page, bad))
		}
	}
	if strings.Count(page, `class="button small" href="/explore`) < len(hostileTexts) {
		t.Error("a view leads elsewhere than to the explorer, or is not there")
	}
}

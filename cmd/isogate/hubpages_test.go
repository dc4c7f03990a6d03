package main

import (
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/hub"
	"github.com/isogate/isogate/internal/isogatetest/browsertest"
)

// lookVariable, set to a directory, has a picture of each page that is looked at written there.
const lookVariable = "ISOGATE_LOOK"

// hubPage is one page of the Hub as the world has it.
type hubPage struct {
	pattern string
	role    access.Role // whose window it is looked at in; "" is nobody, who has not signed in
	// path is where it is in the world, if that is not in the pattern.
	path func(w *hubWorld) string
	// script says that the page needs scripts to be read: why.
	script string
}

// hubPages are all that are read; a test compares them with those that the Hub has.
var hubPages = []hubPage{
	{pattern: "GET /{$}", role: access.Owner},
	{pattern: "GET /health", role: access.Viewer},
	{pattern: "GET /signin"},
	{pattern: "GET /signin/link", path: (*hubWorld).unusedLink},
	{pattern: "GET /signin/again", role: access.Owner},
	{pattern: "GET /account", role: access.Owner},
	{pattern: "GET /people", role: access.Owner},
	{pattern: "GET /sessions", role: access.Owner},
	{pattern: "GET /tokens", role: access.Owner},
}

// TestEachPageIsLookedAt: a page that is not in the table above is one that nobody
// has looked at with a keyboard, in the dark or on a phone.
func TestEachPageIsLookedAt(t *testing.T) {
	var listed, there []string
	for _, p := range hubPages {
		listed = append(listed, p.pattern)
	}
	for _, p := range hub.PageList() {
		if !strings.HasPrefix(p.Pattern, "GET ") || notLookedAt[p.Pattern] != "" {
			continue
		}
		there = append(there, p.Pattern)
		if !slices.Contains(listed, p.Pattern) {
			t.Errorf("%s is not looked at; give it a row in hubPages, or say in notLookedAt why not", p.Pattern)
		}
	}
	for _, p := range listed {
		if !slices.Contains(there, p) {
			t.Errorf("%s is looked at, and the Hub has no such page", p)
		}
	}
}

// notLookedAt are the answers to GET that are no pages for people to look at, and why.
var notLookedAt = map[string]string{}

// unusedLink is a link that nobody has used.
func (w *hubWorld) unusedLink() string {
	link, err := w.server.office.signInLink(w.t.Context(), "guest", []access.Role{access.Viewer}, "a test")
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.TrimPrefix(link, hubURL)
}

// address is where a page is.
func (p hubPage) address(w *hubWorld) string {
	if p.path != nil {
		return hubURL + p.path(w)
	}
	return hubURL + strings.TrimSuffix(strings.TrimPrefix(p.pattern, "GET "), "{$}")
}

// Each page of the Hub is used by the keyboard, on a phone, with large letters, in the
// dark, in forced colours, without motion and without scripts, and axe-core finds
// nothing that WCAG 2.2 A and AA would not have.
func TestPagesAreForEverybody(t *testing.T) {
	w := newHubWorld(t)
	for _, p := range hubPages {
		t.Run(strings.Trim(p.pattern, "/"), func(t *testing.T) {
			b := w.window
			if p.role == "" {
				w.inspect(t, b(t), p)
				return
			}
			w.inspect(t, w.as(t, p.role), p)
		})
	}
}

// inspect looks at a page in every way.
func (w *hubWorld) inspect(t *testing.T, b *browsertest.Browser, p hubPage) {
	t.Helper()
	issuer, err := url.Parse(w.idp.Issuer())
	if err != nil {
		t.Fatal(err)
	}
	faults, unsure := b.Inspect(browsertest.Inspection{URL: p.address(w), NeedsScript: p.script != "", Hosts: []string{issuer.Host},
		Picture: p.picture(t)})
	for _, f := range faults {
		t.Error(f)
	}
	for _, u := range unsure {
		t.Logf("not sure: %s", u)
	}
}

// picture writes pictures of a page, when that is asked for.
func (p hubPage) picture(t *testing.T) func(how string, png []byte) {
	dir := os.Getenv(lookVariable)
	if dir == "" {
		return nil
	}
	name := strings.Trim(strings.NewReplacer("GET ", "", "/", "-", "{", "", "}", "", "$", "").Replace(p.pattern), "-")
	if name == "" {
		name = "overview"
	}
	return func(how string, png []byte) {
		if err := os.WriteFile(filepath.Join(dir, name+"."+how+".png"), png, 0o600); err != nil {
			t.Error(err)
		}
	}
}

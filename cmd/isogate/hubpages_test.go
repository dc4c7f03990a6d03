package main

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/hub"
	"github.com/isogate/isogate/internal/isogatetest/browsertest"
	"github.com/isogate/isogate/internal/journal"
)

// lookVariable, set to a directory, has a picture of each page that is looked at written there.
const lookVariable = "ISOGATE_LOOK"

// hubPage is one page of the Hub as the world has it.
type hubPage struct {
	pattern string
	what    string      // which one, if there are several of the pattern
	role    access.Role // whose window it is looked at in; "" is nobody, who has not signed in
	// path is where it is in the world, if that is not in the pattern.
	path   func(w *hubWorld) string
	status int // that it answers with; 200 by default
	// then leads from there to what is looked at.
	then func(b *browsertest.Browser)
	// script says that the page needs scripts to be read: why.
	script string
}

// hubPages are all that are read; a test compares them with those that the Hub has.
var hubPages = []hubPage{
	{pattern: "GET /{$}", role: access.Owner},
	{pattern: "GET /consents", role: access.ConsentAdministrator},
	{pattern: "GET /consents/{id}", what: "a prompt", role: access.ConsentAdministrator, path: (*hubWorld).waiting},
	{pattern: "GET /consents/{id}", what: "a grant", role: access.ConsentAdministrator, path: (*hubWorld).granted},
	{pattern: "GET /consents/{id}", what: "a grant, read", role: access.Viewer, path: (*hubWorld).granted},
	{pattern: "GET /apps", role: access.ConsentAdministrator},
	{pattern: "GET /apps/import", role: access.ConsentAdministrator},
	{pattern: "GET /apps/{kind}/{name}", role: access.ConsentAdministrator, path: at("/apps/" + string(botSource))},
	{pattern: "GET /revocations", role: access.ConsentAdministrator},
	{pattern: "GET /explore", role: access.Auditor},
	{pattern: "GET /explore/tail", role: access.Auditor},
	{pattern: "GET /entries/{id}", what: "a release", role: access.Auditor, path: (*hubWorld).release},
	{pattern: "GET /entries/{id}", what: "a refusal", role: access.Auditor, path: (*hubWorld).refusal},
	{pattern: "GET /entries/{id}", what: "an act", role: access.Auditor, path: (*hubWorld).act},
	{pattern: "GET /entries/{id}/proof", role: access.Auditor, path: func(w *hubWorld) string { return w.release() + "/proof" }},
	{pattern: "GET /policies", role: access.PolicyAuthor},
	{pattern: "GET /policies/{digest}", role: access.PolicyAuthor, path: inForce("")},
	{pattern: "GET /policies/{digest}/transits/{name}", role: access.PolicyAuthor, path: inForce("/transits/support-session")},
	{pattern: "GET /policies/{digest}/tests", role: access.Viewer, path: inForce("/tests")},
	{pattern: "GET /policies/{digest}/files/{path...}", role: access.Viewer, path: inForce("/files/transits/support-session.yaml")},
	{pattern: "GET /policies/{digest}/compare", role: access.PolicyApprover,
		path: func(w *hubWorld) string {
			return strings.Replace(w.proposal(), "/proposals", "/policies", 1) + "/compare"
		}},
	{pattern: "GET /playground", role: access.PolicyAuthor, path: at("/playground?transit=support-session&sample=0")},
	{pattern: "GET /playground", what: "tried out", role: access.PolicyAuthor, path: at("/playground?transit=support-session&sample=0"),
		then: func(b *browsertest.Browser) { b.Press("See what would leave") }},
	{pattern: "GET /apps/import", what: "a dry run", role: access.ConsentAdministrator, then: func(b *browsertest.Browser) {
		b.Set("#manifest", "app:\n  id: ari:cloud:ecosystem::app/4f6d2c1a-8b3e-4d57-9c20-6a1e5b7f9d03\n  name: Triage Bot\npermissions:\n  external:\n    fetch:\n      backend: [https://api.triage.example, \"https://*.triage.example\"]\n")
		b.Set("#as", string(botSource))
		b.Press("See what it says")
	}},
	{pattern: "GET /explore", what: "a mistake", role: access.Auditor, path: at("/explore?label=Personal..&since=yesterday"), status: http.StatusBadRequest},
	{pattern: "GET /proposals", role: access.PolicyAuthor},
	{pattern: "GET /proposals/{digest}", role: access.PolicyApprover, path: (*hubWorld).proposal},
	{pattern: "GET /outside", role: access.ConsentAdministrator},
	{pattern: "GET /outside/subjects", role: access.ConsentAdministrator},
	{pattern: "GET /evidence", role: access.Auditor},
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
var notLookedAt = map[string]string{
	"GET /explore/export":          "a file",
	"GET /explore/tail/events":     "what a script reads",
	"GET /entries/{id}/json":       "a file",
	"GET /entries/{id}/proof/text": "a file",
	"GET /signin/oidc":             "leads to the provider",
	"GET /signin/oidc/return":      "leads back from the provider",
}

// at is one place, whatever the world.
func at(path string) func(*hubWorld) string { return func(*hubWorld) string { return path } }

// inForce is a page about the pack in force.
func inForce(rest string) func(*hubWorld) string {
	return func(w *hubWorld) string { return "/policies/" + w.server.gate.Rules().Plan().Digest + rest }
}

// unusedLink is a link that nobody has used.
func (w *hubWorld) unusedLink() string {
	link, err := w.server.office.signInLink(w.t.Context(), "guest", []access.Role{access.Viewer}, "a test")
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.TrimPrefix(link, hubURL)
}

// waiting is the request that the story leaves to whoever comes.
func (w *hubWorld) waiting() string { return "/consents/" + string(w.bot.waits) }

// granted is the grant in force that the story leaves.
func (w *hubWorld) granted() string {
	for _, g := range w.server.office.ledger.State().Party(botParty).Grants {
		if g.InForce(w.now()) {
			return "/consents/" + string(g.ID)
		}
	}
	w.t.Fatal("the story leaves no grant in force")
	return ""
}

// entry is the newest entry of a kind for which ok says so.
func (w *hubWorld) entry(kind isogate.EntryKind, ok func(*isogate.Entry) bool) string {
	all, err := w.server.journal.List(w.t.Context(), journal.Filter{Kind: kind})
	if err != nil {
		w.t.Fatal(err)
	}
	for i := len(all) - 1; i >= 0; i-- {
		if ok(&all[i]) {
			return "/entries/" + string(all[i].ID)
		}
	}
	w.t.Fatalf("the story leaves no such entry of kind %s", kind)
	return ""
}

// release is Ada's opening of the portal.
func (w *hubWorld) release() string { return "/entries/" + string(w.first) }

// refusal is that of a body that two parsers would read differently.
func (w *hubWorld) refusal() string {
	return w.entry(isogate.KindEgress, func(e *isogate.Entry) bool { return e.Status == 422 })
}

// act is Ada's first grant.
func (w *hubWorld) act() string {
	return w.entry(isogate.KindConsent, func(e *isogate.Entry) bool { return e.Act == consent.Granted.String() })
}

// address is where a page is.
func (p hubPage) address(w *hubWorld) string {
	if p.path != nil {
		return hubURL + p.path(w)
	}
	return hubURL + strings.TrimSuffix(strings.TrimPrefix(p.pattern, "GET "), "{$}")
}

// name is the page's, for a file or a test.
func (p hubPage) name() string {
	name := strings.Trim(strings.NewReplacer("GET ", "", "/", "-", "{", "", "}", "", "$", "", "...", "", ", ", "-", " ", "-").Replace(p.pattern+" "+p.what), "-")
	if name == "" {
		return "overview"
	}
	return name
}

// everybody: each page of the Hub is used by the keyboard, on a phone, with large letters, in the
// dark, in forced colours, without motion and without scripts, and axe-core finds
// nothing that WCAG 2.2 A and AA would not have.
func (w *hubWorld) everybody(t *testing.T) {
	for _, p := range hubPages {
		t.Run(p.name(), func(t *testing.T) {
			if p.role == "" {
				w.inspect(t, w.window(t), p)
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
	var then func()
	if p.then != nil {
		then = func() { p.then(b) }
	}
	faults, unsure := b.Inspect(browsertest.Inspection{URL: p.address(w), Status: p.status, Then: then, NeedsScript: p.script != "", Hosts: []string{issuer.Host},
		Picture: p.picture(t)})
	for _, f := range faults {
		t.Error(f)
	}
	for _, u := range unsure {
		// A badge that touches something else is all that axe cannot tell the contrast of.
		if strings.Contains(u, "color-contrast") {
			t.Logf("not sure: %s", u)
		} else {
			t.Errorf("not sure: %s", u)
		}
	}
}

// picture writes pictures of a page, when that is asked for.
func (p hubPage) picture(t *testing.T) func(how string, png []byte) {
	dir := os.Getenv(lookVariable)
	if dir == "" {
		return nil
	}
	return func(how string, png []byte) {
		if err := os.WriteFile(filepath.Join(dir, p.name()+"."+how+".png"), png, 0o600); err != nil {
			t.Error(err)
		}
	}
}

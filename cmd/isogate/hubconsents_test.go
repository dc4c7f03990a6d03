package main

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/isogatetest/browsertest"
	"github.com/isogate/isogate/internal/journal"
)

// asks has the app of the demo send something, and is the status that it gets.
func (w *hubWorld) asks(t *testing.T, s scene) int {
	t.Helper()
	status, _, answer, err := send(w.bot.client, "https://"+s.app, s)
	if err != nil {
		t.Fatalf("%s: %v %s", s.app, err, answer)
	}
	return status
}

// reaches checks which hosts the app may reach now.
func (w *hubWorld) reaches(t *testing.T, hosts ...string) {
	t.Helper()
	var now []string
	for _, r := range w.server.office.ledger.State().Party(botParty).Rows(w.now()) {
		now = append(now, r.Host)
	}
	slices.Sort(now)
	slices.Sort(hosts)
	if !slices.Equal(now, hosts) {
		t.Errorf("%s may reach %q, not %q", botParty, now, hosts)
	}
}

// grantFlow: a consent administrator looks at the request that waits. An old proof of who they
// are does not do; with a new one they grant it for a day, and the app's request leaves.
func (w *hubWorld) grantFlow(t *testing.T) {
	b := w.as(t, access.ConsentAdministrator)
	w.wait(6 * time.Minute)
	if status := w.asks(t, fetchModel()); status != http.StatusForbidden {
		t.Fatalf("before anybody grants it, the app gets %d", status)
	}
	b.Open(hubURL + "/")
	b.Press("Consents")
	b.In("section[aria-labelledby=waiting]").Press("Triage Bot")
	if !strings.HasSuffix(b.Where(), w.waiting()) {
		t.Fatalf("the request that waits is at %s, not %s", b.Where(), w.waiting())
	}
	sees(t, b, []string{modelsHost, "nothing of this leaves", "What stops working after a no"}, nil)
	if got := b.Script(`document.activeElement.textContent`); got != "Deny" {
		t.Errorf("what has the focus first is %q", got)
	}
	w.answer(b, "I want the new model")
	if !strings.HasPrefix(b.Where(), hubURL+"/signin/again") {
		t.Fatalf("with an old proof, granting leads to %s: %s", b.Where(), b.Text())
	}
	w.reaches(t, apiHost)
	w.prove(b, access.ConsentAdministrator)
	if !strings.HasSuffix(b.Where(), w.waiting()) {
		t.Fatalf("after the proof, the page is %s", b.Where())
	}
	w.answer(b, "I want the new model")
	sees(t, b, []string{"Granted. It counts on every gateway.", "I want the new model", "In force until", "connie@acme.example"}, nil)
	w.reaches(t, apiHost, modelsHost)
	if status := w.asks(t, fetchModel()); status >= http.StatusBadRequest {
		t.Errorf("after the grant, the app gets %d", status)
	}
	entries, err := w.server.journal.List(t.Context(), journal.Filter{Kind: isogate.KindConsent})
	if err != nil {
		t.Fatal(err)
	}
	if e := entries[len(entries)-1]; e.Actor != "connie@acme.example" || e.Detail["signed_in"] != "OpenID Connect" {
		t.Errorf("the entry says %s by %q, signed in by %q", e.Act, e.Actor, e.Detail["signed_in"])
	}
}

// answer grants each row of the prompt that the window shows, for a day.
func (w *hubWorld) answer(b *browsertest.Browser, reason string) {
	b.Script(`document.querySelectorAll('input[name="rows[]"]').forEach(e => e.checked = false); ""`)
	for range int(b.Number(`document.querySelectorAll('article input[name="rows[]"]').length`)) {
		b.In(`article:has(input[name="rows[]"]:not(:checked))`).Tick("Grant this row")
	}
	b.Tick("One day")
	b.Type("Reason", reason)
	b.Press("Grant what is ticked")
}

// narrowFlow: a grant for 30 days becomes one for a day.
func (w *hubWorld) narrowFlow(t *testing.T) {
	b := w.as(t, access.ConsentAdministrator)
	at := w.granted()
	b.Open(hubURL + at)
	b.Touch("Narrow") // leads to the place on the page
	w.prove(b, access.ConsentAdministrator)
	form := b.In(`form[action$="/narrow"]`)
	form.Tick("One day")
	form.Type("Reason", "a day is enough")
	form.Press("Narrow the grant")
	sees(t, b, []string{"Narrowed."}, nil)
	comesToSay(t, b, hubURL+at, "a day is enough")
	for _, g := range w.server.office.ledger.State().Party(botParty).Grants {
		if strings.HasSuffix(at, string(g.ID)) && (!g.InForce(w.now()) || g.Terms.Until.Sub(w.now()) > 24*time.Hour) {
			t.Errorf("the grant ends at %s", g.Terms.Until)
		}
	}
	if status := w.asks(t, sortTicket()); status != http.StatusCreated {
		t.Errorf("after it was narrowed, the app gets %d", status)
	}
}

// revokeFlow: everything of an app ends, then it is asked for again and granted row by row,
// one row is revoked, and then everything of everybody.
func (w *hubWorld) revokeFlow(t *testing.T) {
	b := w.as(t, access.ConsentAdministrator)
	b.Open(hubURL + "/apps/" + string(botSource))
	b.Press("Revoke everything of it")
	w.prove(b, access.ConsentAdministrator)
	sees(t, b, []string{"This ends 2 rows of 1 party"}, nil)
	b.Type("Reason", "a lost laptop")
	b.Press("Revoke everything of " + string(botSource))
	sees(t, b, []string{"Revoked. Open connections over it are cut."}, nil)
	w.reaches(t)
	if status := w.asks(t, sortTicket()); status != http.StatusForbidden {
		t.Errorf("after everything of it was revoked, the app gets %d", status)
	}

	b.Open(hubURL + "/apps/" + string(botSource))
	for _, host := range []string{apiHost, modelsHost} {
		b.Script(`for (const e of document.querySelectorAll('form[action$="/requests"] input[type=checkbox]')) if (e.value.includes("` + host + `") && !e.checked) e.click(); ""`)
	}
	b.Type("Why you ask", "the laptop was found")
	b.Press("Ask for what is ticked")
	if !strings.HasPrefix(b.Where(), hubURL+"/consents/") {
		b.Open(hubURL + "/consents")
		b.In("section[aria-labelledby=waiting] table").Press("Triage Bot")
	}
	sees(t, b, []string{apiHost, modelsHost, "2 rows"}, []string{statsHost})
	w.answer(b, "it was found")
	w.reaches(t, apiHost, modelsHost)
	b.Press("Revoke this row backend " + modelsHost)
	sees(t, b, []string{"Revoked."}, nil)
	w.reaches(t, apiHost)
	if status := w.asks(t, sortTicket()); status != http.StatusCreated {
		t.Errorf("after another row was revoked, the app gets %d", status)
	}

	b.Open(hubURL + "/consents")
	b.Press("Revoke everything")
	b.Press("Revoke everything of everybody")
	sees(t, b, []string{"Revoked."}, nil)
	w.reaches(t)
	if status := w.asks(t, sortTicket()); status != http.StatusForbidden {
		t.Errorf("after everything was revoked, the app gets %d", status)
	}
}

// viewerFlow: who may only read sees the request, and nothing by which to answer it; nor
// can they by a form of their own, nor take anything away in a file.
func (w *hubWorld) viewerFlow(t *testing.T) {
	b := w.as(t, access.Viewer)
	b.Open(hubURL + w.waiting())
	sees(t, b, []string{"To answer it somebody needs the right to decide"}, nil)
	for _, name := range []string{"Deny", "Not now", "Grant what is ticked", "Block"} {
		if b.Has(name) {
			t.Errorf("a viewer finds %q", name)
		}
	}
	for action, fields := range map[string]url.Values{
		w.waiting() + "/grant": {"reason": {"mine"}, "span": {"1d"}, "labels": {"all"}},
		w.waiting() + "/deny":  {"reason": {"mine"}},
		"/revocations":         {"party": {"*"}},
		"/people":              {"name": {"mallory"}, "roles[]": {"owner"}},
	} {
		if status := b.Submit(hubURL+action, fields); status != http.StatusForbidden {
			t.Errorf("a viewer's form to %s answers %d", action, status)
		}
		sees(t, b, []string{"the right to"}, nil)
	}
	w.reaches(t, apiHost)
	b.Open(hubURL + "/explore")
	if b.Has("CSV") || b.Has("JSON") || b.Has("OCSF") {
		t.Error("a viewer is offered an export")
	}
	mayNotSee(t, b, "/explore/export?format=csv", "export")
	mayNotSee(t, b, "/people", "own")
	mayNotSee(t, b, "/outside/subjects", "values")
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/hub"
	"github.com/isogate/isogate/internal/journal"
)

// tellOfTheApp is the story of a third-party app, from its installation to the day
// on which Ada has had enough of a part of it.
func (d *demo) tellOfTheApp(ctx context.Context) {
	a := &appStory{demo: d}
	for _, part := range []func(context.Context) error{
		a.begin, a.install, a.tooEarly, a.prompt, a.decide, a.work, a.tunnel, a.upgrade, a.revoke,
	} {
		if err := part(ctx); err != nil {
			d.failf("%v; the rest of the app's story is left out", err)
			break
		}
	}
	if a.stream != nil {
		a.stream.close()
	}
}

// appStory is what one part of the app's story leaves to the next.
type appStory struct {
	*demo
	again   bool // the state has an earlier run's
	rows    []string
	request *hub.Consent
	grant   isogate.EntryID
	byQueue isogate.EntryID // the grant of the tunnel
	stream  *stream
}

// The rows of the first manifest, in its order.
const (
	apiRow = iota
	statsRow
	queueRow
)

// begin waits for the gateway, and ends what an earlier run over the same state left.
func (a *appStory) begin(ctx context.Context) error {
	ctx, stop := context.WithTimeout(ctx, 30*time.Second)
	defer stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var list hub.AppList
		err := a.ada.get(ctx, "/apps", &list)
		var p *refused
		switch {
		case err == nil:
			a.again = len(list.Apps) > 0
			if !a.again {
				return nil
			}
			for _, what := range []string{"/block", "/unblock"} {
				if err := a.ada.post(ctx, partyPath(botParty)+what, map[string]string{"reason": "the demo begins anew"}, &hub.Done{}); err != nil {
					return err
				}
			}
			return nil
		case !errors.As(err, &p) || p.Status != http.StatusServiceUnavailable:
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// take imports a manifest, as isogate app import does.
func (a *appStory) take(ctx context.Context, manifest, reason string) (*hub.Import, error) {
	text, err := manifestOf(manifest)
	if err != nil {
		return nil, err
	}
	q := url.Values{"as": {string(botSource)}, "reason": {reason}}
	if a.again && manifest == botManifest1 {
		q.Set("ask_again", "true")
	}
	var im hub.Import
	if err := a.ada.call(ctx, http.MethodPost, query("/apps", q), "application/yaml", text, &im); err != nil {
		return nil, err
	}
	a.line("ada", "imports %s as %s", manifest, im.Party)
	for _, r := range im.Asked {
		a.line("asked", "%s", r)
	}
	for _, r := range im.Decided {
		a.line("denied", "%s, before; it is not asked for again", r)
	}
	a.acted(ctx, im.Declared, consent.Declared)
	a.acted(ctx, im.Request, consent.Requested)
	return &im, nil
}

// acted checks that the journal has an act of Ada's.
func (d *demo) acted(ctx context.Context, id isogate.EntryID, what consent.What) {
	e, err := d.server.journal.Get(ctx, id)
	switch {
	case err != nil:
		d.failf("the journal has no entry %q: %v", id, err)
	case e.Kind != isogate.KindConsent || e.Act != what.String() || e.Actor != "ada":
		d.failf("entry %s says %s by %s, not %s by ada", id, e.Act, e.Actor, what)
	default:
		d.line("entry", "%s %s by %s", e.ID, e.Act, e.Actor)
	}
}

// reaches checks and tells what the ledger lets the app reach now.
func (a *appStory) reaches(rows ...string) {
	state, now := a.server.office.ledger.State(), a.server.now()
	var hosts, usable []string
	for _, r := range state.Party(botParty).Rows(now) {
		hosts, usable = append(hosts, fmt.Sprintf("%s:%d", r.Host, r.Port)), append(usable, r.String())
	}
	slices.Sort(rows)
	slices.Sort(usable)
	if !slices.Equal(usable, rows) {
		a.failf("%s may reach %q, not %q", botParty, usable, rows)
	}
	if len(hosts) == 0 {
		hosts = []string{"nothing"}
	}
	a.line("ledger", "%s may reach %s", botParty, strings.Join(hosts, ", "))
}

func (a *appStory) install(ctx context.Context) error {
	a.act("An app is installed: Triage Bot", "Its manifest names three hosts outside. Importing it opens nothing; it asks an administrator.")
	im, err := a.take(ctx, botManifest1, "the support team wants it")
	if err != nil {
		return err
	}
	if a.rows = im.Asked; len(a.rows) != 3 || im.Request == "" {
		return fmt.Errorf("the import asks for %q", im.Asked)
	}
	a.request = &hub.Consent{ID: im.Request}
	a.reaches()
	return nil
}

func (a *appStory) tooEarly(ctx context.Context) error {
	a.act("The app calls its vendor before anybody has answered", "No consent, no egress. It is told which request waits, and trying again asks nobody twice.")
	s := sortTicket()
	s.status, s.consent, s.brief = http.StatusForbidden, a.request.ID, true
	s.returned, s.handling = nil, nil
	a.run(s)
	a.run(s)
	entries, err := a.server.journal.List(ctx, journal.Filter{Kind: isogate.KindConsent, After: a.request.ID})
	if err != nil {
		return err
	}
	open := a.server.office.ledger.State().Party(botParty).Requests
	open = slices.DeleteFunc(slices.Clone(open), func(r *consent.Request) bool { return !r.Waits(a.server.now()) })
	if len(entries) != 0 || len(open) != 1 {
		a.failf("the attempts left %d entries of consents, and %d requests wait", len(entries), len(open))
	}
	a.line("ledger", "%s waits", countOf(len(open), "request", "requests"))
	return nil
}

func (a *appStory) prompt(ctx context.Context) (err error) {
	a.act("What Ada is shown before she decides", "The hosts exactly, and what would leave to each by the pack that is in force.")
	a.request, err = a.look(ctx, a.request.ID)
	if err == nil && !slices.Equal(a.request.Rows, a.rows) {
		a.failf("the prompt has the rows %q", a.request.Rows)
	}
	return err
}

// grants answers a request, as isogate consent grant does, and checks that the
// ledger and the journal have it so.
func (a *appStory) grants(ctx context.Context, c *hub.Consent, limits map[string]any, reason string) (isogate.EntryID, error) {
	body := map[string]any{"prompt": c.PromptDigest, "reason": reason}
	for name, value := range limits {
		body[name] = value
	}
	var done hub.Done
	if err := a.ada.post(ctx, consentPath(string(c.ID))+"/grant", body, &done); err != nil {
		return "", err
	}
	end := "until she revokes it"
	if done.Consent != nil && done.Consent.Until != nil {
		end = "until " + day(*done.Consent.Until)
	}
	a.line("ada", "grants %s: %s", end, reason)
	a.acted(ctx, done.Entry, consent.Granted)
	if e, err := a.server.journal.Get(ctx, done.Entry); err == nil && e.Detail["prompt"] != c.PromptDigest {
		a.failf("the entry names the prompt %q, not the one that was shown", e.Detail["prompt"])
	}
	return done.Entry, nil
}

func (a *appStory) decide(ctx context.Context) (err error) {
	a.act("She approves one host for 30 days, and by that denies the others", "It need not be all or nothing. Statistics nobody needs; the third host she wants to think about.")
	if a.grant, err = a.grants(ctx, a.request, map[string]any{"rows": []string{a.rows[apiRow]}, "for": "30d"}, "It sorts tickets"); err != nil {
		return err
	}
	g, found := a.server.office.ledger.State().Grant(a.grant)
	if left := time.Until(g.Terms.Until); !found || left > 30*24*time.Hour || left < 29*24*time.Hour {
		a.failf("the grant ends at %s", g.Terms.Until)
	}
	a.reaches(a.rows[apiRow])
	var app hub.App
	if err := a.ada.get(ctx, partyPath(botParty), &app); err != nil {
		return err
	}
	if want := []string{a.rows[statsRow], a.rows[queueRow]}; !slices.Equal(app.Decided, want) {
		a.failf("denied is %q, not %q", app.Decided, want)
	}
	for _, row := range app.Decided {
		a.line("denied", "%s", row)
	}
	return nil
}

func (a *appStory) work(context.Context) error {
	a.act("The app at work", "Its TLS ends at the gateway, and each field is judged. Its vendor gets less than the support portal does.")
	s := sortTicket()
	s.consent, s.showAnswer = a.grant, true
	a.run(s)
	a.say("\n")
	a.run(sendStatistics())
	return nil
}

// goesOn shows that what was approved works on.
func (a *appStory) goesOn() {
	s := sortTicket()
	s.consent, s.brief = a.grant, true
	a.run(s)
}

func (a *appStory) upgrade(ctx context.Context) error {
	a.act("The app's second version wants one host more", "The prompt shows what is new and nothing else. What was approved goes on working; to the new host nothing flows.")
	im, err := a.take(ctx, botManifest2, "version 2 is out")
	if err != nil {
		return err
	}
	if len(im.Asked) != 1 || !strings.Contains(im.Asked[0], modelsHost) || !slices.Equal(im.Decided, []string{a.rows[statsRow]}) {
		return fmt.Errorf("the import asks for %q, and not for %q", im.Asked, im.Decided)
	}
	a.bot.waits = im.Request
	c, err := a.look(ctx, im.Request)
	if err != nil {
		return err
	}
	if !slices.Equal(c.Rows, im.Asked) {
		a.failf("the prompt has the rows %q", c.Rows)
	}
	a.say("\n")
	a.goesOn()
	if !a.stream.goesOn(ctx) {
		a.failf("the tunnel does not go on")
	}
	a.line("tunnel", "goes on: message %d is answered", a.stream.answered())
	a.say("\n")
	s := fetchModel()
	s.consent = im.Request
	a.run(s)
	a.reaches(a.rows[apiRow], a.rows[queueRow])
	return nil
}

package hub

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/consent"
)

const (
	api  = "api.example.com"
	wild = "*.example.org"
)

// promise: P12
// promise: P15
func TestImportAsksOnceForAll(t *testing.T) {
	o := newOffice(t)
	dry := into[Import](o.call("ada", "POST", "/apps?dry_run=true", manifest("Bot", api, "cdn.example.com", "*")).want(200))
	if !dry.DryRun || len(dry.Asked) != 2 || len(dry.Refused) != 1 || dry.Request != "" || o.journal.count() != 0 {
		t.Fatalf("a dry run: %+v, %d entries", dry, o.journal.count())
	}
	im := into[Import](o.call("ada", "POST", "/apps?reason=new+app", manifest("Bot", api, "cdn.example.com", "*")).want(200))
	if im.Party != "app/bot" || im.Declared == "" || im.Request == "" || len(im.Asked) != 2 || o.journal.count() != 2 {
		t.Fatalf("an import: %+v, %d entries", im, o.journal.count())
	}
	again := into[Import](o.call("bob", "POST", "/apps", manifest("Bot", api, "cdn.example.com", "*")).want(200))
	if again.Declared != "" || again.Request != "" || len(again.Waiting) != 2 || o.journal.count() != 2 {
		t.Errorf("the same again: %+v, %d entries", again, o.journal.count())
	}
	for _, e := range o.journal.entries {
		if e.Actor != "ada" || e.Detail["signed_in"] != access.ByBearer {
			t.Errorf("entry %s is by %q, signed in by %q", e.Act, e.Actor, e.Detail["signed_in"])
		}
	}
	if o.allows(api) {
		t.Error("an import opened something")
	}
}

// promise: P11
// promise: P12
// promise: P14
func TestGrantModifyRevoke(t *testing.T) {
	o := newOffice(t)
	c := o.asked(api, "cdn.example.com")
	if c.Prompt == nil || len(c.Prompt.Rows) != 2 || c.PromptDigest == "" || c.Status != "requested" {
		t.Fatalf("got %+v", c)
	}
	done := into[Done](o.grant("ada", c, `,"for":"30d","labels":["system.**"]`).want(200))
	if done.Act != "granted" || len(done.Usable) != 2 || done.Consent == nil || done.Consent.Until == nil || !o.allows(api) {
		t.Fatalf("got %+v", done)
	}
	if days := time.Until(*done.Consent.Until).Hours() / 24; days < 29.9 || days > 30 {
		t.Errorf("the grant ends in %f days", days)
	}
	g := string(done.Consent.ID)

	narrowed := into[Done](o.call("bob", "POST", "/consents/"+g+"/modify", fmt.Sprintf(`{"rows":[%q],"reason":"less"}`, c.Rows[0])).want(200))
	if len(narrowed.Usable) != 1 || narrowed.Consent.Until == nil || narrowed.Consent.Labels == nil || !o.allows(api) || o.allows("cdn.example.com") {
		t.Errorf("got %+v", narrowed)
	}
	ended := into[Done](o.call("bob", "POST", "/consents/"+g+"/revoke", `{"reason":"enough"}`).want(200))
	if len(ended.Usable) != 0 || ended.Detail != "rows ended: 1; open connections over them are cut" || o.allows(api) {
		t.Errorf("got %+v", ended)
	}
	if v := into[Consent](o.call("ada", "GET", "/consents/"+g, "").want(200)); v.Status != "revoked" || v.Ended == nil {
		t.Errorf("got %+v", v)
	}
	o.call("ada", "POST", "/consents/"+g+"/modify", `{"until":"2030-01-01","reason":"x"}`).want(409, "not in force any more")
}

// promise: P13
func TestUpdateAsksForWhatIsNew(t *testing.T) {
	o := newOffice(t)
	o.grant("ada", o.asked(api), "").want(200)
	im := into[Import](o.call("ada", "POST", "/apps", manifest("Bot", api, "new.example.net")).want(200))
	if len(im.Asked) != 1 || !strings.Contains(im.Asked[0], "new.example.net") || !o.allows(api) || o.allows("new.example.net") {
		t.Fatalf("got %+v", im)
	}
	p := into[Consent](o.call("ada", "GET", "/consents/"+string(im.Request), "").want(200)).Prompt
	if len(p.Rows) != 1 || p.Rows[0].Class != "added" {
		t.Errorf("the prompt: %+v", p.Rows)
	}
	o.call("ada", "POST", "/consents/"+string(im.Request)+"/deny", `{}`).want(200)
	if again := into[Import](o.call("ada", "POST", "/apps", manifest("Bot", api, "new.example.net")).want(200)); len(again.Asked) != 0 || len(again.Decided) != 1 {
		t.Errorf("what was denied is asked again: %+v", again)
	}
	if again := into[Import](o.call("ada", "POST", "/apps?ask_again=true", manifest("Bot", api, "new.example.net")).want(200)); len(again.Asked) != 1 {
		t.Errorf("what was denied is not asked again although somebody says so: %+v", again)
	}
	if d := into[Diff](o.call("ada", "POST", "/apps/app/bot/diff", manifest("Bot", api)).want(200)); d.Asks || d.Changes[0].Class != "unchanged" {
		t.Errorf("got %+v", d)
	}
	if d := into[Diff](o.call("ada", "GET", "/apps/app/bot/diff", "").want(200)); !d.Asks {
		t.Errorf("got %+v", d)
	}
	o.call("ada", "POST", "/apps", manifest("Bot")).want(200)
	if o.allows(api) {
		t.Error("what is declared no longer may still be reached")
	}
}

func TestTwoAdministrators(t *testing.T) {
	o := newOffice(t, consent.RiskWildcard)
	c := o.asked(wild)
	if !c.Prompt.Second {
		t.Fatalf("got %+v", c)
	}
	first := into[Done](o.grant("ada", c, `,"for":"12h"`).want(202))
	if first.Act != "approved" || len(first.Usable) != 0 || o.allows("a.example.org") {
		t.Fatalf("got %+v", first)
	}
	o.grant("bob", c, "").want(409, "look again") // she approved meanwhile
	c = into[Consent](o.call("bob", "GET", "/consents/"+string(c.ID), "").want(200))
	if len(c.Prompt.Approvals) != 1 || c.Prompt.Approvals[0].By.Name != "ada" || c.Prompt.Approvals[0].Until == nil {
		t.Fatalf("got %+v", c.Prompt.Approvals)
	}
	o.grant("ada", c, "").want(409, "you have approved it")
	o.grant("ada", c, `,"agree_with":"ada"`).want(409, "you have approved it")
	o.grant("bob", c, `,"agree_with":"eve"`).want(409, "eve has not approved")
	o.grant("bob", c, `,"agree_with":"ada","for":"1h"`).want(400, "leave yours out")
	second := into[Done](o.grant("bob", c, `,"agree_with":"ada"`).want(200))
	if second.Act != "granted" || len(second.Consent.By) != 2 || !o.allows("a.example.org") {
		t.Errorf("got %+v", second)
	}
}

func TestBlock(t *testing.T) {
	o := newOffice(t)
	o.grant("ada", o.asked(api), "").want(200)
	o.call("ada", "POST", "/apps/app/bot/block", "").want(200)
	if o.allows(api) {
		t.Error("a blocked app may go on")
	}
	if im := into[Import](o.call("ada", "POST", "/apps", manifest("Bot", api, "b.example.com")).want(200)); im.Request != "" || !strings.Contains(im.Detail, "blocked") {
		t.Errorf("got %+v", im)
	}
	o.call("ada", "POST", "/apps/app/bot/requests", `{}`).want(409, "blocked")
	o.call("ada", "POST", "/apps/app/bot/unblock", `{}`).want(400, "reason")
	o.call("ada", "POST", "/apps/app/bot/unblock", `{"reason":"looked at"}`).want(200)
	if o.allows(api) {
		t.Error("unblocking gave something back")
	}
	if d := into[Done](o.call("ada", "POST", "/apps/app/bot/requests", `{}`).want(200)); d.Consent == nil || len(d.Consent.Rows) != 2 {
		t.Errorf("got %+v", d)
	}
	o.call("ada", "POST", "/apps/app/bot/requests", `{}`).want(409, "nothing to ask for")
	o.call("ada", "POST", "/apps/app/bot/unblock", `{"reason":"again"}`).want(409, "is not blocked")
}

func TestLists(t *testing.T) {
	o := newOffice(t)
	if l := into[AppList](o.call("ada", "GET", "/apps", "").want(200)); len(l.Apps) != 0 {
		t.Errorf("got %+v", l)
	}
	c := o.asked(api)
	o.grant("ada", c, "").want(200)
	o.call("ada", "POST", "/apps/transit/usage/requests", `{"reason":"wanted"}`).want(200)
	l := into[AppList](o.call("ada", "GET", "/apps", "").want(200))
	if len(l.Apps) != 2 || l.Apps[0].Party != "app/bot" || l.Apps[0].App.Name != "Bot" || l.Apps[0].Usable != 1 || l.Apps[1].Waiting != 1 {
		t.Errorf("got %+v", l)
	}
	for path, n := range map[string]int{"": 3, "?status=granted": 2, "?status=requested": 1, "?party=app/bot": 2, "?party=app/other": 0} {
		if l := into[ConsentList](o.call("ada", "GET", "/consents"+path, "").want(200)); len(l.Consents) != n {
			t.Errorf("%q: %d, want %d", path, len(l.Consents), n)
		}
	}
	a := into[App](o.call("ada", "GET", "/apps/app/bot", "").want(200))
	if len(a.Usable) != 1 || len(a.Consents) != 2 || a.Changes[0].Class != "unchanged" {
		t.Errorf("got %+v", a)
	}
	o.call("ada", "GET", "/consents?status=maybe", "").want(400, "use one of")
	o.call("ada", "GET", "/consents?party=bot", "").want(400, "app/NAME")
}

// A name with a slash is one segment of the path.
func TestPartyWithASlash(t *testing.T) {
	o := newOffice(t)
	o.call("ada", "POST", "/apps?as=app/team/bot", manifest("Bot", api)).want(200)
	if a := into[App](o.call("ada", "GET", "/apps/app/team%2Fbot", "").want(200)); a.Party != "app/team/bot" {
		t.Errorf("got %+v", a)
	}
}

func TestDefer(t *testing.T) {
	o := newOffice(t)
	c := o.asked(api)
	o.call("ada", "POST", "/consents/"+string(c.ID)+"/defer", `{"reason":"not today"}`).want(200, "deferred")
	c = into[Consent](o.call("ada", "GET", "/consents/"+string(c.ID), "").want(200))
	if c.Status != "deferred" || c.Prompt == nil {
		t.Fatalf("got %+v", c)
	}
	o.grant("ada", c, "").want(200)
}

// promise: P14
func TestRevokeEverything(t *testing.T) {
	o := newOffice(t)
	o.grant("ada", o.asked(api, wild), "").want(200)
	row := "backend " + api + ":443 operations=storage end-user-data"
	d := into[Done](o.call("ada", "POST", "/revocations", fmt.Sprintf(`{"party":"app/bot","rows":[%q]}`, row)).want(200))
	if len(d.Usable) != 1 || o.allows(api) || !o.allows("a.example.org") {
		t.Errorf("got %+v", d)
	}
	o.call("ada", "POST", "/revocations", `{"party":"*","reason":"incident"}`).want(200, "rows ended: 1")
	if o.allows("a.example.org") {
		t.Error("something is left")
	}
}

// Places that an administrator may fill in are shown, and open nothing.
func TestConfigurable(t *testing.T) {
	o := newOffice(t)
	im := into[Import](o.call("ada", "POST", "/apps?dry_run=true", `
app: {id: "ari:cloud:ecosystem::app/917f8ca5-bd30-45bb-8875-9b5cd657ca5d"}
remotes:
  - {key: own, baseUrl: "https://api.example.com", configurable: {name: Your server, description: Where it runs, supportedPatterns: ["*.example.com"]}}
`).want(200))
	if len(im.Configurable) != 1 || im.Configurable[0].Remote != "own" || len(im.Configurable[0].Patterns) != 1 || len(im.Rows) != 1 || !im.Rows[0].Configurable {
		t.Errorf("got %+v", im.Manifest)
	}
}

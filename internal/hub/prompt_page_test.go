package hub

import (
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/remote"
)

// TestPromptPage: what must be seen before anybody answers is on the page.
//
// promise: P12
func TestPromptPage(t *testing.T) {
	s := newSeat(t)
	s.hub.describe = func(_ consent.Party, r remote.Row) consent.Egress {
		return consent.Egress{Pack: s.pack, Words: "fields leave as listed", Ways: []consent.Way{
			{Transit: "bot-api", To: r.Host, Leaves: []consent.Leaf{
				{Label: "personal.contact.email", Action: "allow", Handling: "transit-only", Because: "It answers by mail", Enforced: "sealed to the landing until the session ends"},
				{Label: "personal.name.display", Action: "allow", Handling: "persisted", Because: "It greets"},
				{Label: "ugc.body", Action: "token email"}},
				Sample: &consent.Sample{Before: `{"mail":"ada@example.com","n":1}`, After: `{"mail":"igt1a","n":1}`}},
			{Transit: "bot-tunnel", To: r.Host, Tunnel: &consent.Exemption{Because: "It pins keys", Owner: "team-bot", Until: "2027-01-31", InForce: true}}}}
	}
	c := s.asked("api.bots.example", "*.bücher.example")
	page := s.get("/consents/"+string(c.ID)).says(200,
		"Bot asks to send data out", "nothing of this leaves", "by ada", "Bots", "1.0", c.App.Digest, c.PromptDigest,
		"every subdomain of xn--bcher-kva.example, not xn--bcher-kva.example itself", "People read it as *.bücher.example", "The manifest writes *.bücher.example",
		"the app's servers send to it", "stores what it gets", "goes there", "none is handed over", "wildcard", "keeps end-user data",
		"nothing at bots.example was ever granted to anybody here",
		"personal.contact.email", "allow", "transit-only", "enforced sealed to the landing until the session ends", "declared: whoever receives it is told, and believed", "It answers by mail",
		"Everything passes unread", "It pins keys (team-bot)", "igt1a", "cannot send to api.bots.example", "Only those ticked here", "A tunnel cannot be limited")
	if !strings.Contains(page.body, `<span class="domain mono">api.<b>bots.example</b></span>`) || !strings.Contains(page.body, `*.<b>xn--bcher-kva.example</b>`) {
		t.Error("the registrable part is not emphasised")
	}
	if !strings.Contains(page.body, "<mark>  &#34;mail&#34;: &#34;igt1a&#34;,</mark>") || strings.Contains(page.body, "<mark>  &#34;n&#34;") {
		t.Error("of the sample, what changes is not marked, or what does not change is")
	}
	// Nothing about either row is harmless, so that neither comes ticked.
	if strings.Contains(page.body, `name="rows[]" value="backend`) && strings.Contains(page.body, `end-user-data" checked>`) {
		t.Error("a risky row comes ticked")
	}
}

// TestOnlyHarmlessRowsComeTicked: a row of which nothing is risky and nothing warns.
func TestOnlyHarmlessRowsComeTicked(t *testing.T) {
	s := newSeat(t)
	s.grantOf(s.asked("api.bots.example"))
	src := manifest("Bot", "api.bots.example") + "  - {host: more.bots.example, kind: backend, operations: [fetch], end_user_data: false}\n  - {host: kept.bots.example, kind: backend, operations: [storage]}\n"
	im := into[Import](s.call("ada", "POST", "/apps", src).want(200))
	page := s.get("/consents/"+string(im.Request)).says(200, "Just what is new stands here. What is granted already goes on working: 1 row")
	for row, ticked := range map[string]bool{"backend more.bots.example:443 operations=fetch": true, "backend kept.bots.example:443 operations=storage end-user-data": false} {
		if got := strings.Contains(page.body, `value="`+row+`" checked>`); got != ticked {
			t.Errorf("%s comes ticked: %t, want %t", row, got, ticked)
		}
	}
}

// ATTACK: somebody has an administrator press Enter, or they do so by habit. THIS TEST
// VERIFIES that the button that Enter presses in a form of the page denies or does
// nothing, and that the page opens with Deny in focus.
func TestAttackEnterGrantsNothing(t *testing.T) {
	s := newSeat(t, consent.RiskWildcard)
	c := s.asked("*.bots.example")
	s.post("/consents/"+string(c.ID)+"/grant", s.yes(c, c.Rows...)).leads("/consents/" + string(c.ID) + "?said=approved")
	s.sit("bob", access.ConsentAdministrator)
	page := s.get("/consents/"+string(c.ID)).says(200, "Approved by ada", "Agree with ada")
	forms, focused := map[string]string{}, ""
	doc, err := html.Parse(strings.NewReader(page.body))
	if err != nil {
		t.Fatal(err)
	}
	attr := func(n *html.Node, name string) (string, bool) {
		for _, a := range n.Attr {
			if a.Key == name {
				return a.Val, true
			}
		}
		return "", false
	}
	var walk func(n *html.Node, form string)
	walk = func(n *html.Node, form string) {
		if n.Type == html.ElementNode {
			switch n.Data {
			case "form":
				form, _ = attr(n, "action")
			case "button":
				if of, is := attr(n, "form"); is {
					t.Errorf("a button stands outside its form %q; this test does not follow it", of)
				}
				if _, is := attr(n, "autofocus"); is {
					focused += n.FirstChild.Data
				}
				if _, had := forms[form]; had {
					break
				}
				forms[form] = form
				if other, is := attr(n, "formaction"); is {
					forms[form] = other
				}
				if _, off := attr(n, "disabled"); off {
					forms[form] = "nothing"
				}
			}
		}
		for k := n.FirstChild; k != nil; k = k.NextSibling {
			walk(k, form)
		}
	}
	walk(doc, "")
	here := "/consents/" + string(c.ID)
	if forms[here+"/deny"] != here+"/deny" || forms[here+"/agree"] != "nothing" || focused != "Deny" || len(forms) != 3 {
		t.Errorf("Enter in each form leads to %v; in focus: %q", forms, focused)
	}
}

// TestGrantByPage: rows, labels, end, reason and the prompt that was looked at are in
// the grant as they were chosen.
//
// promise: P11
// promise: P15
func TestGrantByPage(t *testing.T) {
	s := newSeat(t)
	c := s.asked("api.bots.example", "files.bots.example")
	f := s.yes(c, c.Rows[0])
	f.Set("labels", "some")
	f["label[]"] = []string{"system.status"}
	f.Set("span", "date")
	f.Set("until", "2036-01-31")
	to := s.post("/consents/"+string(c.ID)+"/grant", f).leads("/consents/").to
	page := s.get(to).says(200, "What was granted to Bot", "Granted. It counts on every gateway.", "ada (passkey)", "needed", "system.status", "1 Feb 2036 00:00:00 UTC", c.PromptDigest)
	if !s.allows("api.bots.example") || s.allows("files.bots.example") {
		t.Errorf("what was ticked is not what is granted: %s", page.text())
	}
	e := s.journal.entries[len(s.journal.entries)-1]
	if e.Actor != "ada" || e.Detail["signed_in"] != "passkey" || e.Detail["prompt"] != c.PromptDigest || e.Detail["labels"] != "system.status" || e.Reason != "needed" {
		t.Errorf("the entry is %+v", e)
	}
	// What was not ticked was denied.
	s.get("/apps/app/bot").says(200, "denied or revoked")
	s.get("/consents/"+string(c.ID)).says(200, "It was granted", "Answered by ada")
	s.post("/consents/"+string(c.ID)+"/grant", f).says(409, "not open any more")
}

// TestAPromptThatIsNotFilledInWell: what is wrong stands at its field, what was typed
// is kept, and nothing is recorded.
func TestAPromptThatIsNotFilledInWell(t *testing.T) {
	s := newSeat(t)
	c := s.asked("api.bots.example", "files.bots.example")
	had := s.journal.count()
	for _, bad := range []struct {
		change func(url.Values)
		at     string
		words  string
	}{
		{func(f url.Values) { f.Set("reason", "") }, "reason-error", "the reason is missing"},
		{func(f url.Values) { f.Set("reason", strings.Repeat("a", 501)) }, "reason-error", "longer than 500"},
		{func(f url.Values) { f.Set("reason", "a\u202eb") }, "reason-error", "do not print"},
		{func(f url.Values) { f.Del("rows[]") }, "rows-error", "no row is ticked"},
		{func(f url.Values) { f["rows[]"] = []string{"backend 10.0.0.1:443"} }, "rows-error", "the row"},
		{func(f url.Values) { f.Set("span", "date") }, "until-error", "the last day is missing"},
		{func(f url.Values) { f.Set("span", "date"); f.Set("until", "2020-01-01") }, "until-error", "over already"},
		{func(f url.Values) { f.Set("span", "date"); f.Set("until", "<b>") }, "until-error", "write the last day"},
		{func(f url.Values) { f.Set("span", "forever") }, "until-error", "choose for how long"},
		{func(f url.Values) { f.Set("span", "") }, "until-error", "choose for how long"},
		{func(f url.Values) { f.Set("labels", "some"); f["label[]"] = []string{"No*"} }, "labels-error", "labels:"},
		{func(f url.Values) { f.Set("labels", "few") }, "labels-error", "choose all of them, or some"},
		{func(f url.Values) { f.Set("prompt", "") }, "Nothing was done", "the prompt is missing"},
	} {
		f := s.yes(c, c.Rows[1])
		bad.change(f)
		page := s.post("/consents/"+string(c.ID)+"/grant", f).says(400, bad.words)
		at := strings.Index(page.body, `id="`+bad.at+`"`)
		if bad.at == "Nothing was done" {
			at = strings.Index(page.body, bad.at)
		}
		if at < 0 || !strings.Contains(html.UnescapeString(page.body[at:min(len(page.body), at+600)]), bad.words) {
			t.Errorf("%q does not stand at %s", bad.words, bad.at)
		}
		if r := f.Get("reason"); r == "needed" && !strings.Contains(page.body, `value="needed"`) {
			t.Errorf("%s: the reason that was typed is gone", bad.words)
		}
		if rows := f["rows[]"]; len(rows) == 1 && rows[0] == c.Rows[1] && (!strings.Contains(page.body, `value="`+c.Rows[1]+`" checked>`) || strings.Contains(page.body, `value="`+c.Rows[0]+`" checked>`)) {
			t.Errorf("%s: what was ticked is not ticked any more", bad.words)
		}
	}
	// A form of the page has the fields it has, once each.
	for _, more := range []url.Values{{"x": {"1"}}, {"reason": {"a", "b"}}} {
		f := s.yes(c, c.Rows...)
		for name, v := range more {
			f[name] = v
		}
		s.post("/consents/"+string(c.ID)+"/grant", f).says(400)
	}
	if n := s.journal.count(); n != had {
		t.Errorf("%d entries were recorded", n-had)
	}
}

// ATTACK: between looking and granting, what is asked or what would leave changes.
// THIS TEST VERIFIES that nothing is granted, that the page says what changed, and that
// what was typed is kept for who then looks again.
//
// promise: P12
func TestAttackStalePromptByPage(t *testing.T) {
	s := newSeat(t)
	c := s.asked("api.bots.example", "files.bots.example")
	f := s.yes(c, c.Rows[0])
	s.pack = "sha256:02"
	page := s.post("/consents/"+string(c.ID)+"/grant", f).says(409, "what you were shown is not what is asked now", "What changed since you looked", "Another policy is in force")
	page.silent("What would leave over this row", "is another one.</li>")
	if !strings.Contains(page.body, `value="needed"`) || !strings.Contains(page.body, `value="`+c.Rows[0]+`" checked>`) {
		t.Error("what was typed is gone")
	}
	if s.allows("api.bots.example") {
		t.Fatal("granted by a prompt that nobody saw")
	}
	// Also what leaves, and what else was decided.
	f = s.yes(c, c.Rows[0])
	was := s.hub.describe
	s.hub.describe = func(p consent.Party, r remote.Row) consent.Egress {
		e := was(p, r)
		if r.Host == "api.bots.example" {
			e.Words = "more leaves"
		}
		return e
	}
	page = s.post("/consents/"+string(c.ID)+"/grant", f).says(409, "What would leave over this row, or what is known of it, has changed: "+c.Rows[0])
	page.silent("known of it, has changed: " + c.Rows[1])
	f = s.yes(c, c.Rows[0])
	s.call("ada", "POST", "/consents/"+string(c.ID)+"/defer", `{}`).want(200)
	s.post("/consents/"+string(c.ID)+"/grant", f).says(409, "Something else was decided about app/bot meanwhile", "Somebody put this off")
	if s.allows("api.bots.example") {
		t.Fatal("granted by a prompt that nobody saw")
	}
	// Who looks again grants.
	s.post("/consents/"+string(c.ID)+"/grant", s.yes(c, c.Rows[0])).leads("/consents/")
	if !s.allows("api.bots.example") {
		t.Error("not granted")
	}
}

// TestTwoAdministratorsByPage: the first yes grants nothing, nobody agrees with
// themself, and the second grants exactly what the first approved.
//
// promise: P12
func TestTwoAdministratorsByPage(t *testing.T) {
	s := newSeat(t, consent.RiskStored)
	c := s.asked("api.bots.example", "files.bots.example")
	here := "/consents/" + string(c.ID)
	s.get(here).says(200, "Two administrators must agree", "Nobody has approved it yet", "Approve what is ticked")
	f := s.yes(c, c.Rows[0])
	f.Set("span", "30d")
	s.post(here+"/grant", f).leads(here + "?said=approved")
	if s.allows("api.bots.example") {
		t.Fatal("one administrator granted what needs two")
	}
	page := s.get(here).says(200, "You approved it. Another administrator must grant the very same").silent("Agree with")
	f = s.yes(c, c.Rows[0])
	f.Set("span", "30d")
	s.post(here+"/grant", f).says(409, "you have approved it")
	again := page.fields(here + "/deny")
	s.post(here+"/agree", url.Values{"prompt": again["prompt"], "seen[]": again["seen[]"], "agree": {"ada"}, "agree-reason": {"me too"}}).says(409)

	s.sit("bob", access.ConsentAdministrator)
	agree := s.get(here).says(200, "Approved by ada", "Agree with ada: grant exactly that").fields(here + "/agree")
	agree.Set("agree", "ada")
	s.post(here+"/agree", agree).says(400, "the reason is missing")
	agree.Set("agree-reason", "Seen")
	s.post(here+"/agree", agree).leads("/consents/")
	if !s.allows("api.bots.example") || s.allows("files.bots.example") {
		t.Error("what was granted is not what was approved")
	}
	e := s.journal.entries[len(s.journal.entries)-1]
	if e.Actor != "bob" || e.Act != "granted" || e.Detail["until"] == "" {
		t.Errorf("the entry is %+v", e)
	}
}

// TestDenyAndDefer need no prompt and no reason, and a denial counts before anything
// else is known.
func TestDenyAndDefer(t *testing.T) {
	s := newSeat(t)
	c := s.asked("api.bots.example")
	here := "/consents/" + string(c.ID)
	s.post(here+"/defer", nil).leads(here + "?said=deferred")
	s.get(here+"?said=deferred").says(200, "Put off", "It can be answered all the same")
	f := s.yes(c, c.Rows...)
	f.Set("reason", "no need")
	s.post(here+"/deny", f).leads(here + "?said=denied")
	s.get(here).says(200, "It was denied; nothing leaves by it", "no need", "ada (passkey)")
	s.post(here+"/deny", nil).says(409, "not open any more")
	if s.allows("api.bots.example") {
		t.Error("allowed")
	}
	s.get("/consents/01ARZ3NDEKTSV4RRFFQ69G5FAV").says(404)
	s.post("/consents/01ARZ3NDEKTSV4RRFFQ69G5FAV/deny", nil).says(404)
}

// TestNoPackNoGrant: while nobody can say what would leave, the page offers no yes.
func TestNoPackNoGrant(t *testing.T) {
	s := newSeat(t)
	c := s.asked("api.bots.example")
	f := s.yes(c, c.Rows...)
	s.pack = ""
	s.get("/consents/"+string(c.ID)).says(200, "Nothing can be granted until one loads").silent("Grant what is ticked")
	s.post("/consents/"+string(c.ID)+"/grant", f).says(409, "no pack is known")
}

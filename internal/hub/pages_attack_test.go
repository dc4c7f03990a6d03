package hub

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/remote"
)

// hostileNames are texts that would be markup, script, addresses or another direction of
// writing to whoever takes them for more than text.
var hostileNames = []string{
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' autofocus onfocus='alert(1)`, `</title><svg/onload=alert(1)>`, `javascript:alert(1)`,
	`{{.Who}} ${7*7}`, `&lt;b&gt; &#60;i&#62;`, `]]>--><!--`, "`+alert(1)+`", `</textarea><script>alert(1)</script>`,
}

// clean checks that a page has only the elements, attributes and addresses that its
// templates write: nothing of what was given became markup.
func (p shownPage) clean() shownPage {
	p.t.Helper()
	// What a form carries back stands in an attribute, as it is.
	if shown := regexp.MustCompile(`value="[^"]*"`).ReplaceAllString(p.body, ""); strings.ContainsAny(shown, "\u202e\u2066\u200b\x00\x1b") {
		p.t.Error("what does not print stands in the page")
	}
	doc, err := html.Parse(strings.NewReader(p.body))
	if err != nil {
		p.t.Fatal(err)
	}
	var walk func(n *html.Node)
	walk = func(n *html.Node) {
		if n.Type == html.ElementNode {
			switch n.Data {
			case "script", "img", "iframe", "object", "embed", "base", "style", "b2", "i":
				p.t.Errorf("the page has <%s>", n.Data)
			}
			for _, a := range n.Attr {
				where := slices.Contains([]string{"href", "src", "action", "formaction"}, a.Key)
				if strings.HasPrefix(a.Key, "on") || a.Key == "style" || a.Key == "srcdoc" || where && !strings.HasPrefix(a.Val, "/") && !strings.HasPrefix(a.Val, "#") || where && strings.HasPrefix(a.Val, "//") {
					p.t.Errorf("<%s> has %s=%q", n.Data, a.Key, a.Val)
				}
			}
		}
		for k := n.FirstChild; k != nil; k = k.NextSibling {
			walk(k)
		}
	}
	walk(doc)
	return p
}

// ATTACK: an app, whoever asks, a pack or a landing puts markup, script, addresses
// or another direction of writing into its texts. THIS TEST VERIFIES that on every
// page of consents, apps and the outside they stay text, and that what does not print
// is written out.
func TestAttackTextsOfOthersStayText(t *testing.T) {
	for i, evil := range hostileNames {
		s := newSeat(t)
		s.hub.open = func(consent.Party) int { return 1 }
		s.hub.describe = func(_ consent.Party, r remote.Row) consent.Egress {
			bad := evil + "\u202e"
			return consent.Egress{Pack: "sha256:01", Words: bad, Ways: []consent.Way{
				{Transit: "t", To: bad, Leaves: []consent.Leaf{{Label: "ugc.body", Action: "allow", Handling: "persisted", Because: bad, Enforced: bad}}, Sample: &consent.Sample{Before: bad, After: bad}},
				{Transit: "u", To: bad, Tunnel: &consent.Exemption{Because: bad, Owner: bad, Until: bad, InForce: true}}}}
		}
		quoted := func(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
		src := "isogate: 1\napp: bot\nname: " + quoted(evil) + "\nvendor: " + quoted(evil) + "\nversion: " + quoted(evil[:min(len(evil), 90)]) +
			"\nremotes:\n  - {host: " + quoted("API.xn--bcher-kva.example") + ", kind: backend, operations: [storage]}\n  - {host: " + quoted(evil) + ", kind: backend}\n  - {host: ok.example, kind: images, path: " + quoted("/a\"><b2>") + "}\n"
		page := s.post("/apps/import", url.Values{"manifest": {src}, "as": {""}, "env": {""}}).clean()
		if page.status != 200 {
			page.says(422)
			continue
		}
		f := page.fields("/apps/import/confirm")
		f.Set("reason", evil)
		id := s.post("/apps/import/confirm", f).leads("/consents/").to
		id, _, _ = strings.Cut(strings.TrimPrefix(id, "/consents/"), "?")
		c := into[Consent](s.call("ada", "GET", "/consents/"+id, "").want(200))
		s.sit("ada"+evil, access.ConsentAdministrator)
		s.get("/consents").clean()
		shown := s.get("/consents/"+id).clean().says(200, consent.Shown(evil))
		if !strings.Contains(shown.text(), `\u{202e}`) {
			t.Errorf("%d: what turns the direction of writing is not written out", i)
		}
		yes := s.yes(c, c.Rows...)
		yes.Set("reason", evil)
		bad := url.Values{}
		for name, v := range yes {
			bad[name] = append(slices.Clone(v), []string{}...)
		}
		bad.Set("span", evil)
		bad.Set("until", evil)
		bad.Set("labels", evil)
		bad["rows[]"] = []string{evil}
		bad["label[]"] = []string{evil}
		s.post("/consents/"+id+"/grant", bad).clean().says(400)
		g := s.post("/consents/"+id+"/grant", yes).leads("/consents/").to
		s.get(g).clean().says(200, consent.Shown(evil))
		s.get("/consents/" + id).clean()
		s.get("/apps").clean()
		s.get("/apps/app/bot").clean().says(200, consent.Shown(evil))
		s.get("/revocations").clean()
		s.get("/revocations?party=" + url.QueryEscape(evil)).clean().says(400)
		s.get("/consents?party=" + url.QueryEscape(evil)).clean().says(400)
		s.get("/consents?" + url.QueryEscape(evil) + "=1").clean().says(400)
		s.get("/apps/import?as=" + url.QueryEscape(evil)).clean().says(200)
		s.get("/consents/" + url.PathEscape(evil)).clean().says(404)
		s.get("/apps/app/" + url.PathEscape(evil)).clean().says(400)
		s.get("/consents/" + id + "?said=" + url.QueryEscape(evil)).clean().silent("alert(1)</p></div></div>")
		s.hub.custody = &hostileOutside{outsideOf{}, evil + "\u202e"}
		s.get("/outside").clean()
		s.get("/outside/subjects").clean()
		s.post("/outside/subjects", url.Values{"value": {evil}, "destination": {evil}}).clean()
		s.post("/outside/erase", url.Values{"value": {evil}, "label": {""}, "destination": {evil}}).clean()
		s.post("/outside/erase/confirm", url.Values{"value": {evil}, "label": {evil}, "destination": {evil}, "reason": {""}}).clean()
	}
}

// hostileOutside says one text everywhere.
type hostileOutside struct {
	outsideOf
	text string
}

func (o *hostileOutside) Landings() []Landing {
	l := o.outsideOf.Landings()
	l[0].Landing, l[0].Trouble, l[0].Broken, l[0].Destination, l[0].Epoch = o.text, o.text, o.text, isogate.Destination(o.text), o.text
	l[0].Overdue[0].Key, l[0].Overdue[0].Transit, l[0].Overdue[0].Handling = o.text, isogate.Transit(o.text), o.text
	return l
}

func (o *hostileOutside) Erasures() []Erasure {
	e := o.outsideOf.Erasures()
	e[0].By, e[0].Reason, e[0].State = o.text, o.text, o.text
	return e
}

func (o *hostileOutside) Subjects(_ context.Context, _ SubjectQuery) (SubjectList, error) {
	return SubjectList{[]Subject{{Destination: isogate.Destination(o.text), Label: isogate.Label(o.text), Value: o.text, Subject: o.text + "x", Because: o.text, Rule: o.text, Entry: isogate.EntryID(o.text), Token: o.text}}, o.text}, nil
}

// actsOfPages are the addresses at which something is done, for a consent and the app bot.
func actsOfPages(id isogate.EntryID) (out []string) {
	for _, p := range slices.Concat(consentPages, appPages, outsidePages) {
		if path, looks := strings.CutPrefix(p.pattern, "GET "); !looks {
			path = strings.TrimPrefix(path, "POST ")
			out = append(out, strings.NewReplacer("{kind}", "app", "{name}", "bot", "{id}", string(id)).Replace(path))
		}
	}
	return out
}

// ATTACK: a page of another site has an administrator's browser send the forms. THIS
// TEST VERIFIES that none of them does anything, whichever header tells it.
func TestAttackFormsOfOtherSites(t *testing.T) {
	s := newSeat(t)
	s.hub.custody = &outsideOf{}
	c := s.asked("api.bots.example")
	g := s.grantOf(c)
	open := s.asked("api.bots.example", "more.bots.example")
	had, yes := s.journal.count(), s.yes(open, open.Rows...)
	for _, headers := range []map[string]string{{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"}, {"Origin": "null"}} {
		for _, id := range []isogate.EntryID{open.ID, g} {
			for _, path := range actsOfPages(id) {
				r, err := http.NewRequestWithContext(t.Context(), "POST", s.server.URL+path, strings.NewReader(yes.Encode()))
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				for name, value := range headers {
					r.Header.Set(name, value)
				}
				if p := s.fetch(r); p.status != http.StatusForbidden {
					t.Errorf("POST %s with %v: %d", path, headers, p.status)
				}
			}
		}
	}
	if n := s.journal.count(); n != had {
		t.Errorf("%d entries were recorded", n-had)
	}
	// It is the headers that stop it: without them the same form acts.
	s.post("/consents/"+string(open.ID)+"/grant", yes).leads("/consents/")
}

// ATTACK: an address of an act is put into a link, an image or a mail, for a browser
// to follow. THIS TEST VERIFIES that nothing is done by looking.
func TestAttackActsByLooking(t *testing.T) {
	s := newSeat(t)
	s.hub.custody = &outsideOf{}
	c := s.asked("api.bots.example")
	g := s.grantOf(c)
	open := s.asked("api.bots.example", "more.bots.example")
	had, q := s.journal.count(), "?"+s.yes(open, open.Rows...).Encode()
	for _, id := range []isogate.EntryID{open.ID, g} {
		for _, path := range actsOfPages(id) {
			for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "OPTIONS"} {
				p := s.visit(method, path+q, nil)
				if p.status/100 == 3 {
					t.Errorf("%s %s leads to %q", method, path, p.to)
				}
			}
		}
	}
	if n := s.journal.count(); n != had || !s.allows("api.bots.example") || s.allows("more.bots.example") {
		t.Errorf("%d entries were recorded", n-had)
	}
	if out := s.hub.custody.(*outsideOf); len(out.orders) != 0 {
		t.Errorf("erased: %+v", out.orders)
	}
}

// ATTACK: somebody names what is not theirs to name: the ID of a grant where a
// request is meant and the other way round, an entry that is neither, an app's ID in
// another's path, rows of another party, another tenant's ID. THIS TEST VERIFIES that
// each is refused, that nothing changes for anybody, and that no page tells whether
// an ID exists elsewhere.
func TestAttackIDsOfOthers(t *testing.T) {
	s, other := newSeat(t), newSeat(t)
	c := s.asked("api.bots.example")
	g := s.grantOf(c)
	open := s.asked("api.bots.example", "more.bots.example")
	theirs := other.asked("api.bots.example")
	theirGrant := other.grantOf(theirs)
	second := strings.Replace(manifest("Cat", "api.cats.example"), "app: bot", "app: cat", 1)
	cat := into[Import](s.call("ada", "POST", "/apps", second).want(200))
	catAsked := into[Consent](s.call("ada", "GET", "/consents/"+string(cat.Request), "").want(200))
	declared := s.journal.entries[0].ID
	had := s.journal.count()
	yes := s.yes(open, open.Rows...)

	for _, try := range []struct {
		path   string
		form   url.Values
		status int
	}{
		{"/consents/" + string(g) + "/grant", yes, 409}, {"/consents/" + string(g) + "/deny", nil, 409}, {"/consents/" + string(open.ID) + "/revoke", url.Values{"revoke-reason": {""}}, 409},
		{"/consents/" + string(open.ID) + "/narrow", url.Values{"rows[]": open.Rows, "reason": {"x"}, "span": {"1d"}}, 409},
		{"/consents/" + string(declared) + "/grant", yes, 404}, {"/consents/" + string(declared) + "/revoke", nil, 404},
		{"/consents/" + string(theirs.ID) + "/grant", yes, 404}, {"/consents/" + string(theirGrant) + "/revoke", nil, 404}, {"/consents/" + string(theirGrant) + "/narrow", yes2("x"), 404},
		{"/consents/" + string(catAsked.ID) + "/grant", yes, 409}, // the prompt of another request
	} {
		if p := s.post(try.path, try.form); p.status != try.status {
			t.Errorf("%s: %d, want %d: %s", try.path, p.status, try.status, p.text())
		}
	}
	if n := s.journal.count(); n != had {
		t.Errorf("%d entries were recorded", n-had)
	}
	// What gets as far as the ledger is recorded, and has no effect.
	mine := s.yes(catAsked, open.Rows...)
	s.post("/consents/"+string(catAsked.ID)+"/grant", mine).says(409, "does not ask for")
	s.post("/apps/app/cat/requests", url.Values{"rows[]": open.Rows[:1], "ask-reason": {"x"}}).says(409, "does not declare")
	s.post("/consents/"+string(g)+"/narrow", url.Values{"rows[]": {open.Rows[0]}, "reason": {"x"}, "span": {"same"}, "labels": {"same"}, "until": {""}}).says(409, "does not have")
	if !s.allows("api.bots.example") || s.allows("more.bots.example") || !other.allows("api.bots.example") {
		t.Error("somebody else's consent changed")
	}
	a, b := s.get("/consents/"+string(theirs.ID)), s.get("/consents/01ARZ3NDEKTSV4RRFFQ69G5FAV")
	if a.status != b.status || strings.ReplaceAll(a.text(), string(theirs.ID), "") != strings.ReplaceAll(b.text(), "01ARZ3NDEKTSV4RRFFQ69G5FAV", "") {
		t.Errorf("another tenant's ID is answered differently:\n%s\n%s", a.text(), b.text())
	}
}

func yes2(reason string) url.Values { return url.Values{"reason": {reason}} }

// Acts that shut are possible while the ledger is out of touch; those that open are not.
//
// promise: P14
func TestOutOfTouchByPage(t *testing.T) {
	s := newSeat(t)
	c := s.asked("api.bots.example")
	g := s.grantOf(c)
	open := s.asked("api.bots.example", "more.bots.example")
	yes := s.yes(open, open.Rows...)
	lost := &fakeLedger{state: s.ledger.State(), lost: errOut("the journal is far away")}
	s.hub.ledger = lost
	s.get("/consents").says(200, "What this page says may be old")
	for path, tried := range map[string]bool{"/consents/" + string(open.ID) + "/deny": true, "/consents/" + string(open.ID) + "/defer": true, "/consents/" + string(g) + "/revoke": true,
		"/revocations": true, "/apps/app/bot/block": true, "/consents/" + string(open.ID) + "/grant": false, "/apps/app/bot/requests": false, "/apps/app/bot/unblock": false, "/apps/import/confirm": false} {
		was := lost.tried
		form := url.Values{}
		switch {
		case strings.HasSuffix(path, "/grant"):
			form = yes
		case path == "/revocations":
			form.Set("party", "*")
		}
		s.post(path, form).says(503)
		if got := lost.tried > was; got != tried {
			t.Errorf("%s: tried %t, want %t", path, got, tried)
		}
	}
}

type errOut string

func (e errOut) Error() string { return string(e) }

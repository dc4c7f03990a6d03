package hub

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/remote"
	"github.com/isogate/isogate/internal/trail"
)

// usedUntil has the trail tell of a grant that was used until then, and of the hosts that
// were reached on port 443, as the gateway names them.
func (s *seat) usedUntil(at time.Time, hosts ...string) {
	s.left.usage = trail.Usage{Count: trail.Count{Rows: 7, Released: 7, BytesOut: 2048, First: at.Add(-time.Hour), Last: at},
		Labels: []trail.LabelUse{{Label: "ugc.body", Action: isogate.Token, Values: 3, Last: at}, {Label: "system.status", Action: isogate.Allow, Values: 1234, Last: at}}}
	s.left.tally = map[trail.By][]trail.Group{}
	for i, h := range hosts {
		s.left.tally[trail.ByRemote] = append(s.left.tally[trail.ByRemote], trail.Group{Key: []string{h + ":443"}, Count: trail.Count{Released: uint64(i + 1), BytesOut: 1000, First: at, Last: at}})
	}
}

// TestReview: who granted what, by which prompt, what really left by each row and
// label, and what never did.
//
// promise: P14
func TestReview(t *testing.T) {
	s := newSeat(t)
	c := s.asked("api.bots.example", "*.bots.example", "idle.bots.example")
	g := s.grantOf(c)
	s.hub.describe = func(_ consent.Party, r remote.Row) consent.Egress {
		return consent.Egress{Pack: s.pack, Words: "fields leave", Ways: []consent.Way{{Transit: "bot-api", To: r.Host, Leaves: []consent.Leaf{
			{Label: "system.status", Action: "allow", Because: "why"}, {Label: "personal.name.display", Action: "mask", Because: "never needed"}, {Label: "ugc.tag", Action: "token"}}}}}
	}
	s.usedUntil(time.Now().Add(-time.Minute), "api.bots.example", "a.b.bots.example", "elsewhere.example")
	page := s.get("/consents/"+string(g)).says(200, "In force until it is revoked", "ada (passkey)", c.PromptDigest, "1,234", "system.status", "ugc.body", "2.0 KiB", "never seen", "personal.name.display", "All that left by it")
	page.silent("Unused for over 30 days")
	if q := s.left.asked[0]; q.Consent != g || q.Decision != "released" {
		t.Errorf("asked for %+v", q)
	}
	u := into[Consent](s.call("ada", "GET", "/consents/"+string(g), "").want(200)).Usage
	if u == nil || u.Releases != 7 || u.Bytes != 2048 || u.Last == nil || u.Idle || len(u.Labels) != 2 || u.Labels[0].Label != "system.status" || len(u.Rows) != 3 {
		t.Fatalf("the API says %+v", u)
	}
	for _, r := range u.Rows {
		want := map[bool]uint64{strings.Contains(r.Row, " api."): 1, strings.Contains(r.Row, "*."): 2}[true]
		if r.Releases != want || r.Idle {
			t.Errorf("%s: %d releases, want %d", r.Row, r.Releases, want)
		}
	}
	never, _, _ := strings.Cut(page.text()[strings.Index(page.text(), "never seen"):], "They might leave")
	if strings.Contains(never, "system.status") || strings.Contains(never, "ugc.tag") {
		t.Errorf("what left, or what policy does not let out, is among what never left: %s", never)
	}

	// A month later: what nobody uses is flagged, of all of it and of each row.
	s.hub.now = func() time.Time { return time.Now().Add(40 * 24 * time.Hour) }
	s.usedUntil(time.Now().Add(39*24*time.Hour), "api.bots.example")
	s.get("/consents/"+string(g)).says(200, "unused over 30 days").silent("Unused for over 30 days")
	s.usedUntil(time.Now())
	s.get("/consents/"+string(g)).says(200, "Unused for over 30 days")
	// Nobody knows: then nothing is claimed.
	s.left.err = trail.ErrBehind
	s.get("/consents/"+string(g)).says(200, "It is not known now what left by it").silent("nused over 30", "nused for over 30", "never seen")
	if v := into[Consent](s.call("ada", "GET", "/consents/"+string(g), "").want(200)); v.Usage != nil {
		t.Errorf("the API says %+v", v.Usage)
	}
	s.hub.trail = nil
	s.get("/consents/"+string(g)).says(200, "It is not known now what left by it", "granted by ada")
}

// TestNarrowByPage: what stays is granted, what is taken away is not, and nothing
// gets wider.
//
// promise: P14
func TestNarrowByPage(t *testing.T) {
	s := newSeat(t)
	c := s.asked("api.bots.example", "files.bots.example")
	here := "/consents/" + string(s.grantOf(c))
	same := url.Values{"rows[]": c.Rows, "labels": {"same"}, "span": {"same"}, "until": {""}, "reason": {"less will do"}}
	change := func(name string, values ...string) url.Values {
		f := url.Values{}
		for n, v := range same {
			f[n] = v
		}
		f[name] = values
		return f
	}
	s.get(here).says(200, "A grant can be made smaller, never larger")
	s.post(here+"/narrow", same).says(400, "nothing is to be changed")
	s.post(here+"/narrow", change("rows[]")).says(400, "nothing would be left")
	short := change("span", "1d")
	short.Set("reason", "")
	s.post(here+"/narrow", short).says(400, "the reason is missing")
	s.post(here+"/narrow", change("span", "30d")).leads(here + "?said=modified")
	later := change("span", "date")
	later.Set("until", time.Now().AddDate(1, 0, 0).Format(time.DateOnly))
	s.post(here+"/narrow", later).says(409, "modifying only narrows", "The attempt is on record")
	only := change("labels", "some")
	only["label[]"] = []string{"system.status"}
	s.post(here+"/narrow", only).leads(here)
	s.get(here).says(200, "system.status")
	s.post(here+"/narrow", change("rows[]", c.Rows[0])).leads(here)
	if !s.allows("api.bots.example") || s.allows("files.bots.example") {
		t.Error("what was taken away is still allowed, or more was")
	}
	s.get(here+"?said=modified").says(200, "Narrowed", "modified by ada (passkey)", "less will do", "May not be used any more: "+c.Rows[1])
}

// TestRevokeByPage: a row, the grant, all of a party and everything, each at once.
//
// promise: P14
func TestRevokeByPage(t *testing.T) {
	s := newSeat(t)
	c := s.asked("a.bots.example", "b.bots.example", "c.bots.example")
	here := "/consents/" + string(s.grantOf(c))
	f := s.get(here).fields(here + "/revoke")
	if len(f["rows[]"]) != 1 {
		t.Fatalf("the form of a row names %v", f)
	}
	s.post(here+"/revoke", f).leads(here + "?said=revoked")
	if s.allows("a.bots.example") || !s.allows("b.bots.example") {
		t.Error("a row was revoked, and another one is")
	}
	s.post(here+"/revoke", url.Values{"revoke-reason": {"\u202e"}}).says(400, "do not print")
	s.post(here+"/revoke", url.Values{"revoke-reason": {"over"}}).leads(here + "?said=revoked")
	if s.allows("b.bots.example") {
		t.Error("the grant is in force")
	}
	s.get(here).says(200, "Nothing leaves by it any more", "Nothing is left of it", "over").silent(here+"/revoke", here+"/narrow")

	again := func() {
		t.Helper()
		id := s.post("/apps/app/bot/requests", url.Values{"rows[]": c.Rows, "ask-reason": {"again"}}).leads("/consents/").to
		id = strings.TrimSuffix(strings.TrimPrefix(id, "/consents/"), "?said=asked")
		s.grantOf(into[Consent](s.call("ada", "GET", "/consents/"+id, "").want(200)))
	}
	again()
	s.hub.open = func(p consent.Party) int { return len(p) }
	s.get("/revocations?party=app%2Fbot").says(200, "This ends 3 rows of 1 party", "7 connections or requests are under way", c.Rows[0])
	s.post("/revocations", url.Values{"party": {"app/bot"}, "reason": {"gone"}}).leads("/apps/app/bot?said=revoked")
	if s.allows("b.bots.example") {
		t.Error("the party may send")
	}
	again()
	s.hub.open = nil
	s.get("/revocations").says(200, "Revoke everything", "This ends 3 rows", "Connections that are open by it are cut")
	s.post("/revocations", url.Values{"party": {""}}).says(400, "party")
	s.post("/revocations", url.Values{"party": {"*"}}).leads("/consents?said=revoked")
	if s.allows("b.bots.example") {
		t.Error("everybody may send")
	}
	s.get("/revocations").says(200, "there is nothing to end")
	s.get("/revocations?party=x").says(400)
}

// TestAppPage: what it declares against what is granted, what it was refused, asking
// for rows, blocking and lifting the block.
//
// promise: P12
// promise: P13
func TestAppPage(t *testing.T) {
	s := newSeat(t)
	s.get("/apps").says(200, "No manifest was imported")
	s.grantOf(s.asked("api.bots.example", "old.bots.example"))
	into[Import](s.call("ada", "POST", "/apps", manifest("Bot <2>", "api.bots.example", "*.bots.example", "NEW.bots.example")).want(200))
	s.left.count = trail.Count{Rows: 5, Refused: 5, Last: time.Now()}
	s.left.tally = map[trail.By][]trail.Group{trail.ByRemote: {{Key: []string{"evil.example:443"}, Count: trail.Count{Rows: 5, Last: time.Now()}}}}
	s.hub.open = func(consent.Party) int { return 2 }
	s.get("/apps").says(200, "Bot <2>", "app/bot, by Bots, version 1.0", "1 request")
	s.get("/apps/app/bot").says(200, "widened", "unchanged", "added", "written NEW.bots.example", "waits for an answer", "5 in the last 30 days", "evil.example", "2 connections and requests",
		"declared by ada", "granted by ada", "May be used from then on")
	s.get("/apps/app/other").says(404)
	s.get("/apps/nobody/other").says(400)

	s.post("/apps/app/bot/requests", url.Values{"ask-reason": {"x"}}).says(400, "no row is ticked")
	s.post("/apps/app/bot/requests", url.Values{"rows[]": {"backend elsewhere.example:443 operations=storage end-user-data"}, "ask-reason": {"x"}}).says(409, "does not declare")
	s.post("/apps/app/bot/block", url.Values{"block-reason": {"incident"}}).leads("/apps/app/bot?said=blocked")
	s.get("/apps/app/bot").says(200, "blocked", "it cannot ask", "incident", "Lift the block")
	if s.allows("api.bots.example") {
		t.Error("a blocked app may send")
	}
	s.post("/apps/app/bot/unblock", url.Values{"unblock-reason": {""}}).says(400, "the reason is missing")
	s.post("/apps/app/bot/unblock", url.Values{"unblock-reason": {"mended"}}).leads("/apps/app/bot?said=lifted")
	s.get("/apps/app/bot").says(200, "It may use 0 of 3 rows").silent("Lift the block")
}

// TestImportByPage: a manifest is looked at first, which changes nothing, and comes
// back as it was for the import.
//
// promise: P13
func TestImportByPage(t *testing.T) {
	s := newSeat(t)
	s.get("/apps/import?as=app%2Fbot").says(200, "Give the manifest")
	src := manifest("Bot", "API.bots.example", "10.0.0.1")
	page := s.post("/apps/import", url.Values{"manifest": {strings.ReplaceAll(src, "\n", "\r\n")}, "as": {""}, "env": {""}}).says(200, "Bot", "app/bot", "api.bots.example", "API.bots.example",
		"line 7, column", "Refused: nobody can consent to these", "the host is an IP address", "added", "Asked for", sumOf(src))
	if s.journal.count() != 0 {
		t.Fatal("looking at a manifest was recorded")
	}
	f := page.fields("/apps/import/confirm")
	if got, _ := base64.StdEncoding.DecodeString(f.Get("carried")); string(got) != src {
		t.Errorf("the manifest comes back as %q", got)
	}
	f.Set("reason", "Support wants it")
	to := s.post("/apps/import/confirm", f).leads("/consents/").to
	s.get(to).says(200, "Imported", "Support wants it", "The manifest writes API.bots.example", sumOf(src))
	s.post("/apps/import/confirm", f).leads("/apps/app/bot?said=imported")
	f.Set("carried", "%%")
	s.post("/apps/import/confirm", f).says(400)

	for _, bad := range []struct{ manifest, as, env, words string }{
		{"", "", "", "there is no manifest"}, {"isogate: 1\napp: [", "", "", "cannot be understood"}, {src, "nobody", "", "neither an app nor a transit"}, {src, "", "A", "NAME=VALUE"},
		{"isogate: 1\napp: bot\nunknown: 1\n", "", "", "Line 3, column"},
	} {
		page := s.post("/apps/import", url.Values{"manifest": {bad.manifest}, "as": {bad.as}, "env": {bad.env}})
		if page.status/100 != 4 {
			t.Errorf("%q: %d", bad, page.status)
		}
		page.says(page.status, bad.words)
		if bad.as != "" && !strings.Contains(page.body, `value="`+bad.as+`"`) || bad.manifest != "" && !strings.Contains(page.body, "isogate: 1") {
			t.Errorf("%q: what was typed is gone", bad)
		}
	}
	// A file is taken byte for byte, and counts before what is pasted.
	crlf := strings.ReplaceAll(src, "\n", "\r\n")
	body := "--b\r\nContent-Disposition: form-data; name=\"manifest\"\r\n\r\nnot this\r\n--b\r\nContent-Disposition: form-data; name=\"as\"\r\n\r\n\r\n--b\r\nContent-Disposition: form-data; name=\"env\"\r\n\r\n\r\n" +
		"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"m.yaml\"\r\nContent-Type: application/yaml\r\n\r\n" + crlf + "\r\n--b--\r\n"
	s.multipart(body).says(200, sumOf(crlf))
	s.multipart("--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"m.yaml\"\r\n\r\n" + strings.Repeat("x", maxBody+1) + "\r\n--b--\r\n").says(413)
	s.multipart("--b\r\nContent-Disposition: form-data; name=\"other\"; filename=\"m.yaml\"\r\n\r\nx\r\n--b--\r\n").says(400)
	s.multipart("--c").says(400)
}

func sumOf(s string) string { return "sha256:" + sum(s) }

func (s *seat) multipart(body string) shownPage {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), "POST", s.server.URL+"/apps/import", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "multipart/form-data; boundary=b")
	return s.fetch(r)
}

// TestOutsideByPage: landings and what is overdue, the register for who may see
// values, an identifier looked up without an address that has it, and its erasure.
//
// promise: P17
func TestOutsideByPage(t *testing.T) {
	s, out := newSeat(t), &outsideOf{}
	s.get("/outside").says(200, "No destination of the policy has a landing")
	s.get("/outside/subjects").says(404)
	s.hub.custody = out
	s.get("/outside").says(200, "support+0a0b0c0d", "1 receipt is overdue", "number 5 follows 3", "broken", "personal.contact.**", "she asked", "asked", "confirmed", "receipt 4")
	s.get("/outside/subjects").says(200, "ada@example.com", "itself", "tickets", "cannot be turned back")
	s.get("/outside/subjects?value=ada%40example.com").says(400).silent("ada@example.com")
	s.post("/outside/subjects", url.Values{"value": {"ada@example.com"}, "destination": {"support"}}).says(200, "What was found", "Erase all that was found")
	if q := out.asked[len(out.asked)-1]; q.Value != "ada@example.com" || q.Destination != "support" {
		t.Errorf("asked for %+v", q)
	}
	page := s.post("/outside/erase", url.Values{"value": {"ada@example.com"}, "label": {"personal.contact.email"}, "destination": {"support"}}).says(200, "This erases 1 or more identifiers", "ada@example.com")
	if len(out.orders) != 0 {
		t.Fatal("asking erased")
	}
	f := page.fields("/outside/erase/confirm")
	s.post("/outside/erase/confirm", f).says(400, "the reason is missing")
	f.Set("reason", "she asked")
	s.post("/outside/erase/confirm", f).leads("/outside?said=erasure")
	if len(out.orders) != 1 || out.orders[0].By.Name != "ada" || out.orders[0].By.SignedIn != "passkey" || out.orders[0].Value != "ada@example.com" || out.orders[0].Label != "personal.contact.email" {
		t.Errorf("ordered %+v", out.orders)
	}
	s.post("/outside/erase", url.Values{"value": {""}}).says(400)

	s.sit("vic", access.Viewer)
	s.get("/outside").says(200).silent("/outside/subjects", "ada@example.com")
	s.get("/outside/subjects").says(403).silent("ada@example.com")
	s.post("/outside/subjects", url.Values{"value": {"x"}}).says(403)
	s.sit("pam", access.PolicyAuthor)
	s.get("/outside/subjects").says(200, "ada@example.com").silent("/outside/erase")
	s.post("/outside/erase/confirm", f).says(403)
}

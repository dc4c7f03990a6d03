package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/isogate/isogate/internal/custody"
	"github.com/isogate/isogate/internal/hub"
	"github.com/isogate/isogate/internal/seal"
)

// sealText finds what may be a seal.
var sealText = regexp.MustCompile(`igs1[a-z2-7]{20,}`)

// onPage are the lines of the agent's page that say something of a person, each as
// "term: description".
func onPage(page string) (lines []string) {
	for _, m := range regexp.MustCompile(`<h2>([^<]*)</h2>|<dt>([^<]*)</dt><dd>([^<]*)</dd>`).FindAllStringSubmatch(page, -1) {
		if m[1] != "" {
			lines = append(lines, m[1])
			continue
		}
		lines = append(lines, fmt.Sprintf("  %-10s %s", m[2], m[3]))
	}
	return lines
}

// shows checks what somebody sees of the agent's page, and tells it.
func (d *demo) shows(v viewer, page string, seen, hidden []string) {
	d.line(v.name, "sees:")
	for _, l := range onPage(page) {
		d.say("            %s\n", strings.TrimRight(pad(l), " "))
	}
	for _, s := range seen {
		if !strings.Contains(page, s) {
			d.failf("%s does not see %q", v.name, s)
		}
	}
	for _, s := range hidden {
		if strings.Contains(page, s) {
			d.failf("%s sees %q", v.name, s)
		}
	}
}

// tellOfTheAgent is what can be seen while the session lives.
func (d *demo) tellOfTheAgent(ctx context.Context) {
	d.act("An agent opens the portal's page", "The portal stored seals. Its landing opens them for whoever may see them, on the way to their screen, and for nobody else.")
	status, page, err := d.view(ctx, d.agent, agentPage)
	if err != nil || status != http.StatusOK {
		d.failf("the page does not open: %d %v", status, err)
		return
	}
	d.shows(d.agent, page, []string{"Ada Lovelace", "Countess", "en-GB", "ada.lovelace@acme.example"}, []string{"igs1", seal.TextExpired, "acc-81f2"})
	d.line("", "The account id is for the portal's machines; this agent may not see it: %s", seal.TextWithheld)

	d.act("Somebody who counts tickets opens it, and somebody without a token", "A right is a list of labels. Without one there is nothing to see.")
	status, page, err = d.view(ctx, d.counter, agentPage)
	if err != nil || status != http.StatusOK {
		d.failf("the page does not open: %d %v", status, err)
	}
	d.shows(d.counter, page, []string{seal.TextWithheld, "ada.lovelace@acme.example"}, []string{"Ada Lovelace", "Countess", "igs1"})
	d.line("", "The address that the portal may keep is in plaintext there: it is registered, and can be erased.")
	if status, page, err = d.view(ctx, d.nobody, agentPage); err != nil || status < 300 || strings.Contains(page, "ada.lovelace") {
		d.failf("somebody without a token gets %d %v", status, err)
	}
	d.line("nobody", "gets %d", status)
}

// tellOfTheEnd is what becomes of everything that was to end.
func (d *demo) tellOfTheEnd(ctx context.Context) {
	d.act("The code's three seconds are over", "Nobody asked the portal to forget. The key ended, and with it what it sealed.")
	page, err := d.await(ctx, d.agent, agentPage, func(page string) bool { return codeOn(page) == seal.TextExpired })
	if err != nil {
		d.failf("the address of the code does not end: %v", err)
	}
	d.line("agent", "sees of the code by e-mail: %s", codeOn(page))

	d.act("Ada signs out, and the agent reloads the page", "The product ends her session. What was transit-only is gone from every page, backup and log outside at once.")
	if err := d.endSession(ctx, "demo-session"); err != nil {
		d.failf("the session does not end: %v", err)
	}
	page, err = d.await(ctx, d.agent, agentPage, func(page string) bool { return !strings.Contains(page, "Ada Lovelace") })
	if err != nil {
		d.failf("the name does not go: %v", err)
	}
	d.shows(d.agent, page, []string{seal.TextExpired, "ada.lovelace@acme.example"}, []string{"Ada Lovelace", "Countess", "en-GB", "igs1"})

	d.act("What the journal knows of it", "The landing signed what it did, in receipts without gaps. They are entries, beside the one that let it out.")
	if err := d.showEnd(ctx); err != nil {
		d.failf("the life of entry %s: %v", d.first, err)
	}

	d.act("What the portal has on its disk", "Seals without keys, tokens that only the boundary turns back, and the one address that it may keep.")
	db, err := d.portal.database()
	if err != nil {
		d.failf("the portal's database: %v", err)
	}
	for _, l := range strings.Split(strings.TrimSpace(string(db)), "\n") {
		d.say("   %s\n", shorten(l))
	}
	for _, secret := range transient {
		if bytes.Contains(db, []byte(secret)) {
			d.failf("the portal's database has %q", secret)
		}
	}
	if !bytes.Contains(db, []byte("ada.lovelace@acme.example")) || !sealText.Match(db) {
		d.failf("the portal's database has no seal, or not the address that it may keep")
	}

	d.tellOfTheErasure(ctx)

	d.act("A thief takes the portal's disk and the landing's", "With everything that both have, and everything that the portal was ever sent.")
	d.steal()
}

// showEnd waits for the receipts of what the first request sealed, and shows its life.
func (d *demo) showEnd(ctx context.Context) error {
	var life *custody.Life
	err := awaitTrue(ctx, 100*time.Millisecond, func() (bool, error) {
		e, err := d.server.journal.Get(ctx, d.first)
		if err != nil {
			return false, err
		}
		if life, err = custody.ReadLife(ctx, d.server.journal, &e); err != nil {
			return false, err
		}
		for _, k := range life.Keys {
			if k.Ended.IsZero() || k.Receipt == 0 {
				return false, fmt.Errorf("there is no receipt of the key %s", k.ID)
			}
		}
		return len(life.Keys) > 0, nil
	})
	if err != nil {
		return err
	}
	var out bytes.Buffer
	showLife(&out, life, d.server.now())
	for l := range strings.Lines(strings.TrimSpace(out.String())) {
		d.say("   %s", l)
	}
	d.say("\n")
	seen := 0
	for _, f := range life.Fields {
		if f.Kept == custody.KeptSealed && f.Revealed > 0 {
			seen++
		}
		if f.Kept == custody.KeptDeclared {
			d.failf("nothing but the portal's word keeps %s", f.Path)
		}
	}
	if seen < 3 {
		d.failf("of %d sealed fields it is recorded that somebody saw them", seen)
	}
	return nil
}

// tellOfTheErasure has what the portal may keep erased.
func (d *demo) tellOfTheErasure(ctx context.Context) {
	const ada = "ada.lovelace@acme.example"
	d.act("Ada wants to be forgotten", "What the portal may keep is registered at its landing, as tokens. An administrator has it erased; the portal confirms, the landing signs.")
	var list hub.SubjectList
	if err := d.ada.post(ctx, "/subjects/find", map[string]string{"value": ada}, &list); err != nil || len(list.Subjects) == 0 {
		d.failf("the register has %d identifiers of hers: %v", len(list.Subjects), err)
		return
	}
	for _, s := range list.Subjects {
		d.line("kept", "%-24s %s, because: %s", s.Label, shorten(strings.ToLower(fmt.Sprintf("%.28s", s.Value))), s.Because)
	}
	var order hub.ErasureList
	if err := d.ada.post(ctx, "/subjects/erase", map[string]string{"value": ada, "reason": "She asked for it"}, &order); err != nil || len(order.Erasures) != 1 {
		d.failf("the erasure: %+v %v", order, err)
		return
	}
	id := order.Erasures[0].ID
	d.line("ada", "asks for erasure %s", id)
	var done hub.Erasure
	err := awaitTrue(ctx, 100*time.Millisecond, func() (bool, error) {
		var list hub.ErasureList
		if err := d.ada.get(ctx, "/erasures", &list); err != nil {
			return false, err
		}
		for _, e := range list.Erasures {
			if e.ID == id {
				done = e
			}
		}
		return done.Receipt > 0, nil
	})
	if err != nil {
		d.failf("there is no receipt of the erasure %s: %v", id, err)
		return
	}
	d.line("portal", "confirmed it; receipt %d of its landing says so", done.Receipt)
	if db, err := d.portal.database(); err != nil || bytes.Contains(db, []byte(ada)) {
		d.failf("the portal still has the address: %v", err)
	}
	list = hub.SubjectList{}
	if err := d.ada.post(ctx, "/subjects/find", map[string]string{"value": ada}, &list); err != nil || len(list.Subjects) > 0 {
		d.failf("the register still has %d of her identifiers: %v", len(list.Subjects), err)
	}
}

// transient are the values of the story that must not stay outside. The address is
// none of them: the portal may keep it, where it came as persisted.
var transient = []string{"Ada Lovelace", "Countess", "en-GB", "acc-81f2", "Payslips are wrong", "12,450 EUR"}

// codeOn is the address of the code by e-mail, as the page shows it.
func codeOn(page string) string {
	_, after, _ := strings.Cut(page, "Code by e-mail")
	if m := regexp.MustCompile(`<dd>([^<]*)</dd>`).FindStringSubmatch(after); m != nil {
		return m[1]
	}
	return ""
}

// shorten shows a line of the portal's database with its seals and tokens cut.
func shorten(line string) string {
	return regexp.MustCompile(`(ig[st]1[a-z2-7]{8})[a-z2-7]+`).ReplaceAllString(line, "$1…")
}

// endSession has the product say that a session is over.
func (d *demo) endSession(ctx context.Context, session string) error {
	body, err := json.Marshal(map[string]string{"session": session})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.base+"/sessions/end", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := d.product.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	d.line("sent", "POST /sessions/end %s: %d", body, resp.StatusCode)
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%d %s", resp.StatusCode, answer)
	}
	return nil
}

// steal looks for the story's values in everything that is outside. That no key is
// among it that opens a seal is shown by a test, which tries them all.
func (d *demo) steal() {
	files, size := 0, 0
	err := filepath.WalkDir(d.outside.dir, func(file string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(file) //nolint:gosec // of the demo's own directory
		if err != nil {
			return err
		}
		files, size = files+1, size+len(text)
		for _, secret := range transient {
			if bytes.Contains(text, []byte(secret)) {
				d.failf("%s has %q", filepath.Base(file), secret)
			}
		}
		return nil
	})
	if err != nil {
		d.failf("the outside's disk: %v", err)
	}
	for _, r := range d.portal.received() {
		all := r.Target + fmt.Sprint(r.Header) + string(r.Body)
		size += len(all)
		for _, secret := range transient {
			if strings.Contains(all, secret) {
				d.failf("the portal was sent %q", secret)
			}
		}
	}
	d.line("thief", "has %d files and %d bytes, and finds none of %s", files, size, strings.Join(transient, ", "))
}

// ready waits until the gateway has the landing's statement: before, nothing can be
// sealed for the portal.
func (d *demo) ready(ctx context.Context) error {
	return awaitTrue(ctx, 100*time.Millisecond, func() (bool, error) {
		var list hub.LandingList
		if err := d.ada.get(ctx, "/landings", &list); err != nil {
			return false, err
		}
		if len(list.Landings) != 1 || !list.Landings[0].Valid {
			return false, fmt.Errorf("there is no statement of the landing: %+v", list.Landings)
		}
		return true, nil
	})
}

// awaitTrue asks again every so often until the answer is yes, for 30 seconds at the
// most: a laptop may be busy.
func awaitTrue(ctx context.Context, every time.Duration, ask func() (bool, error)) error {
	ctx, stop := context.WithTimeout(ctx, 30*time.Second)
	defer stop()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		done, err := ask()
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			if err == nil {
				err = ctx.Err()
			}
			return err
		case <-tick.C:
		}
	}
}

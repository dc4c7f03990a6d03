package hub

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/journal"
)

// exported is the admin entries of exports.
func (r *record) exported() (out []isogate.Entry) {
	r.t.Helper()
	list, err := r.journal.List(r.t.Context(), journal.Filter{Kind: isogate.KindAdmin, Limit: 1000})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range list {
		if e.Act == "entries exported" {
			out = append(out, e)
		}
	}
	return out
}

// An export has what the explorer shows with the same filter, each release once and
// with its end, in each format; and who exported what is recorded.
func TestExports(t *testing.T) {
	r := newRecord(t)
	for i := range 1100 { // more than one piece
		id := r.add(released("product/help-center", "support-portal", email))
		if i%2 == 0 {
			if err := r.journal.AppendClosing(isogate.Closing{Of: id, Status: 201, DurationUS: 15}); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.add(refused("product/other", 403, "no transit fits"))
	r.settled()
	s := r.sit(as(access.Auditor), nil)
	resp, body := look(t, s, "/explore/export?format=csv&decision=released")
	if resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/csv") || !strings.HasPrefix(resp.Header.Get("Content-Disposition"), "attachment; filename=isogate-") {
		t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	rows, err := csv.NewReader(strings.NewReader(body)).ReadAll()
	if err != nil || len(rows) != 1101 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	at := map[string]int{}
	for i, name := range rows[0] {
		at[name] = i
	}
	ended := 0
	for i, row := range rows[1:] {
		if row[at["status"]] == "201" {
			ended++
		}
		if i > 0 && rows[i][at["id"]] >= row[at["id"]] {
			t.Fatal("the oldest do not come first, or one comes twice")
		}
	}
	if ended != 550 {
		t.Errorf("%d have an end, want 550", ended)
	}
	_, body = look(t, s, "/explore/export?format=jsonl&decision=refused")
	var e isogate.Entry
	if err := json.Unmarshal([]byte(body), &e); err != nil || e.Source != "product/other" {
		t.Errorf("%s: %v", body, err)
	}
	_, body = look(t, s, "/explore/export?format=ocsf&decision=refused")
	var event map[string]any
	if err := json.NewDecoder(strings.NewReader(body)).Decode(&event); err != nil || event["class_uid"] != 4002.0 {
		t.Errorf("%s: %v", body, err)
	}
	recorded := r.exported()
	if len(recorded) != 3 || recorded[0].Actor != "ada" || recorded[0].Detail["filter"] != "decision=released" || recorded[0].Detail["entries"] != "1,100" || recorded[0].Detail["format"] != "csv" || recorded[0].Detail["signed_in"] != "passkey" {
		t.Errorf("recorded: %+v", recorded)
	}
	for _, query := range []string{"", "format=xml", "format=csv&format=ocsf", "format=csv&label=X", "format=csv&sourse=a"} {
		if resp, _ := look(t, s, "/explore/export?"+query); resp.StatusCode != 400 {
			t.Errorf("%q: %d", query, resp.StatusCode)
		}
	}
	for _, role := range []access.Role{access.Viewer, access.Operator, access.PolicyAuthor, access.PolicyApprover, access.ConsentAdministrator} {
		if resp, body := look(t, r.sit(as(role), nil), "/explore/export?format=csv"); resp.StatusCode != http.StatusForbidden || strings.Contains(body, "product/help-center") {
			t.Errorf("a %s: %d", role, resp.StatusCode)
		}
	}
	if n := len(r.exported()); n != 3 {
		t.Errorf("%d exports are recorded, want 3: what was refused is none", n)
	}
}

// ATTACK: names in entries begin with what a spreadsheet takes for a formula. THIS
// TEST VERIFIES that no cell of an exported CSV begins so.
func TestAttackFormulasInAnExport(t *testing.T) {
	r := newRecord(t)
	for _, x := range []string{"=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "=HYPERLINK(\"http://evil\")"} {
		r.add(isogate.Entry{Kind: isogate.KindEgress, Stage: isogate.StageRefused, Decision: "refused", Source: isogate.Source(x), Remote: x, Reason: x, Destination: isogate.Destination(x), URL: x, Actor: x})
	}
	r.settled()
	_, body := look(t, r.sit(as(access.Auditor), nil), "/explore/export?format=csv&decision=refused")
	rows, err := csv.NewReader(strings.NewReader(body)).ReadAll()
	if err != nil || len(rows) != 8 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for _, row := range rows[1:] {
		for i, cell := range row {
			if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
				t.Errorf("%s begins a formula: %q", rows[0][i], cell)
			}
		}
	}
}

// Who leaves in the middle of an export keeps nothing going.
func TestAnExportEndsWithWhoReadsIt(t *testing.T) {
	r := newRecord(t)
	for range 1500 {
		r.add(released("product/help-center", "support-portal", email, ticketTitle))
	}
	r.settled()
	s := r.sit(as(access.Auditor), nil)
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("GET /explore/export?format=jsonl HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.Contains(line, "200") {
		t.Fatal(line, err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { s.Close(); close(done) }() // waits for what it serves
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("the export goes on")
	}
}

// What cannot be exported whole is cut off, so that nobody takes it for whole.
func TestAnExportWithAnUnreadableEntryIsCutOff(t *testing.T) {
	r := newRecord(t)
	r.add(released("product/help-center", "support-portal", email))
	r.settled()
	s := r.sit(as(access.Auditor), func(c *Config) { c.Trail = unreadable{r.trail} })
	resp, err := s.Client().Get(s.URL + "/explore/export?format=jsonl")
	if err != nil {
		return // it was cut off before its head
	}
	defer resp.Body.Close()
	if _, err := bytes.NewBuffer(nil).ReadFrom(resp.Body); err == nil {
		t.Error("the answer ends as if it were whole")
	}
}

// ATTACK: a page of another site leads an auditor to an export, so that it is recorded
// as theirs. THIS TEST VERIFIES that nothing is exported nor recorded.
func TestAttackAnExportFromElsewhere(t *testing.T) {
	r := newRecord(t)
	r.add(released("product/help-center", "support-portal", email))
	r.settled()
	s := r.sit(as(access.Auditor), nil)
	for site, want := range map[string]int{"cross-site": 403, "same-site": 403, "same-origin": 200, "none": 200} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", s.URL+"/explore/export?format=csv", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Sec-Fetch-Site", site)
		resp, err := s.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", site, resp.StatusCode, want)
		}
	}
	if n := len(r.exported()); n != 2 {
		t.Errorf("%d exports are recorded, want 2", n)
	}
}

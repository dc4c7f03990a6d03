package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/isogate/isogate/internal/access"
)

// auditFlow: an auditor finds what left about one person's session, has it explained, has
// the proof of it checked by their own browser, and takes files away that verify
// without the Hub.
func (w *hubWorld) auditFlow(t *testing.T) {
	b := w.as(t, access.Auditor)
	key := filepath.Join(w.dir, "state", "keys", "isogate.pub")

	// From the first page, by a label and a transit, to the entry.
	b.Open(hubURL + "/")
	b.Press("What left")
	b.Type("Label", "personal.name.*")
	b.Press("Show")
	sees(t, b, []string{"support-session", "triage-issues", "Label: personal.name.*"}, []string{"support-code"})
	b.Type("Name contains", "support-session")
	b.Press("Show")
	sees(t, b, []string{"support-session"}, []string{"triage-issues"})
	b.In("table.stacks").Press(b.Script(`document.querySelector('table.stacks a[href^="/entries/"]').computedName`))
	if !strings.HasSuffix(b.Where(), w.release()) {
		t.Fatalf("the session is at %s, not %s", b.Where(), w.release())
	}
	sees(t, b, []string{"product/help-center sent to support-portal for support", "user.email", "Primary identifier for ticket creation", "transits/support-session.yaml:14",
		"owner team-support, until 2027-06-30", "transit-only", "destroyed: nothing that left under it can be opened any more", "acme, version 1"},
		[]string{"ada.lovelace@acme.example", "Countess"})

	// The proof, checked by the browser, and not if a character of it is another one.
	b.Press("Proof")
	b.Touch("Check")
	b.Await("it is checked", `!document.getElementById("check-good").hidden || !document.getElementById("check-bad").hidden`)
	if b.Script(`String(document.getElementById("check-good").hidden)`) == "true" {
		t.Errorf("a right proof is not taken: %s", b.Text())
	}
	b.Script(`const e = document.getElementById("check-text"), lines = e.value.split("\n"); lines[3] = (lines[3][0] === "A" ? "B" : "A") + lines[3].slice(1); e.value = lines.join("\n"); e.dispatchEvent(new Event("input", {bubbles: true})); ""`)
	b.Touch("Check")
	b.Await("it is refused", `!document.getElementById("check-bad").hidden`)
	if b.Script(`String(document.getElementById("check-good").hidden)`) != "true" {
		t.Errorf("a changed proof is taken: %s", b.Text())
	}
	proof, called := b.Download("Download the proof")
	if !strings.HasSuffix(called, ".tlog-proof") {
		t.Errorf("the proof is called %s", called)
	}
	w.verifies(t, proof, key)

	// A refusal says why, and what would change that.
	b.Open(hubURL + w.refusal())
	sees(t, b, []string{"Why it did not leave", "What would change that"}, []string{"hunter2"})

	// What was found, as files.
	b.Open(hubURL + "/explore?decision=refused")
	table, called := b.Download("CSV")
	text, err := os.ReadFile(table)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(called, ".csv") || bytes.Count(text, []byte("\n")) < 4 || bytes.Contains(text, []byte("hunter2")) {
		t.Errorf("%s is %s", called, text)
	}
	mayNotSee(t, b, "/outside/subjects", "values")
}

// evidenceFlow: an auditor takes one file for the audit and verifies it with the command,
// which notices a byte that is another one.
func (w *hubWorld) evidenceFlow(t *testing.T) {
	b := w.as(t, access.Auditor)
	key := filepath.Join(w.dir, "state", "keys", "isogate.pub")
	b.Open(hubURL + "/")
	b.Press("Evidence")
	file, called := b.Download(b.Script(`document.querySelector("main form[method=post] button").computedName`))
	if !strings.HasPrefix(called, "isogate-evidence") && !strings.Contains(called, "acme") {
		t.Errorf("the file is called %s", called)
	}
	named := filepath.Join(t.TempDir(), called)
	if err := os.Rename(file, named); err != nil {
		t.Fatal(err)
	}
	w.verifies(t, named, key)
	text, err := os.ReadFile(named)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 1
	if err := os.WriteFile(named, text, 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if status := run(t.Context(), []string{"journal", "verify", named, "--key", key}, nil, &out, &out); status == exitDone {
		t.Errorf("evidence of which one byte is another one verifies: %s", out.String())
	}
	comesToSay(t, b, hubURL+"/evidence", "audrey@acme.example")
	mayNotSee(t, w.as(t, access.Viewer), "/evidence", "export")
}

// verifies has the command verify a file by the journal's public key.
func (w *hubWorld) verifies(t *testing.T, file, key string) {
	t.Helper()
	var out bytes.Buffer
	if status := run(t.Context(), []string{"journal", "verify", file, "--key", key}, nil, &out, &out); status != exitDone {
		t.Errorf("isogate journal verify: status %d: %s", status, out.String())
	}
}

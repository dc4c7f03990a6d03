package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/isogatetest/browsertest"
)

// TestHub has people work at the Hub with a browser, in the demo's world after its
// story. Its parts stand in the order in which they happen: each leaves to the next what it did.
func TestHub(t *testing.T) {
	w := newHubWorld(t)
	for _, part := range []struct {
		name string
		do   func(t *testing.T)
	}{
		{"everybody", w.everybody},
		{"viewer", w.viewerFlow},
		{"playground", w.playgroundFlow},
		{"proposal", w.proposalFlow},
		{"audit", w.auditFlow},
		{"evidence", w.evidenceFlow},
		{"tokens", w.tokensFlow},
		{"people", w.peopleFlow},
		{"grant", w.grantFlow},
		{"narrow", w.narrowFlow},
		{"revoke", w.revokeFlow},
	} {
		t.Run(part.name, part.do)
	}
}

// sees checks what is on the page, and what is not.
func sees(t *testing.T, b *browsertest.Browser, there, missing []string) {
	t.Helper()
	text := b.Text()
	for _, s := range there {
		if !strings.Contains(text, s) {
			t.Errorf("%s does not say %q:\n%s", b.Where(), s, text)
		}
	}
	for _, s := range missing {
		if strings.Contains(text, s) {
			t.Errorf("%s says %q:\n%s", b.Where(), s, text)
		}
	}
}

// comesToSay opens a page until it says something: what is counted and listed follows the
// journal, and comes a moment later.
func comesToSay(t *testing.T, b *browsertest.Browser, url, text string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		b.Open(url)
		said := b.Text()
		if strings.Contains(said, text) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s never says %q:\n%s", url, text, said)
		}
	}
}

// mayNotSee opens a page that somebody may not see, and says which right they lack.
func mayNotSee(t *testing.T, b *browsertest.Browser, path, right string) {
	t.Helper()
	if status := b.Open(hubURL + path); status != http.StatusForbidden {
		t.Errorf("%s answers %d", path, status)
	}
	sees(t, b, []string{"the right to " + right}, nil)
}

// peopleFlow: an owner invites somebody, gives them a role and takes their session away;
// each counts with the next page that they open.
func (w *hubWorld) peopleFlow(t *testing.T) {
	owner, guest := w.as(t, access.Owner), w.window(t)
	owner.Open(hubURL + "/")
	owner.Press("People")
	w.prove(owner, access.Owner)
	owner.Type("Name", "grace")
	owner.Tick("viewer")
	owner.Press("Make a link")
	link := owner.Script(`document.querySelector("main code.digest").textContent.trim()`)
	if !strings.HasPrefix(link, hubURL+"/signin/link?") {
		t.Fatalf("the link is %q", link)
	}
	owner.Open(hubURL + "/people")
	sees(t, owner, []string{"Links that nobody has used", "grace"}, []string{link})

	guest.Open(link)
	sees(t, guest, []string{"for grace"}, nil)
	guest.Press("Sign in")
	if guest.Has("People") || guest.Has("Evidence") || !guest.Has("Consents") {
		t.Errorf("the navigation of a viewer is %s", guest.Text())
	}
	mayNotSee(t, guest, "/people", "own")

	// The next time they come in by a passkey.
	guest.Authenticator()
	guest.Open(hubURL + "/account")
	guest.Press("Add a passkey")
	guest.Await("the passkey is there", `document.body.innerText.includes("That passkey lets you in from now on")`)
	guest.Press("Sign out")
	guest.Open(hubURL + "/signin?to=/account")
	guest.Press("Sign in with a passkey")
	guest.Await("somebody is signed in", `location.pathname === "/account"`)
	sees(t, guest, []string{"grace", "passkey"}, nil)

	stranger := w.window(t)
	stranger.Open(link)
	if stranger.Has("Sign in") && stranger.Press("Sign in") == http.StatusOK {
		t.Error("the link lets somebody in twice")
	}
	if stranger.Open(hubURL + "/account"); !strings.HasPrefix(stranger.Where(), hubURL+"/signin") {
		t.Errorf("who used the link a second time is at %s", stranger.Where())
	}

	owner.Open(hubURL + "/people")
	owner.Touch("Change grace")
	give := owner.In(`form[action="/people/grace/give"]`)
	give.Choose("Give a role", "auditor")
	give.Type("Because", "the yearly audit")
	give.Press("Give it to grace")
	if guest.Open(hubURL + "/"); !guest.Has("Evidence") {
		t.Errorf("the navigation of an auditor is %s", guest.Text())
	}

	// An act that needs a proof is not done by somebody who proved long ago who they are.
	w.wait(6 * time.Minute)
	owner.Open(hubURL + "/people")
	if owner.Has("Make a link") || !owner.Has("Confirm that it is you") {
		t.Errorf("six minutes after the last proof the page is %s", owner.Text())
	}

	owner.In(`form[action="/people/grace/end"]`).Press("End")
	if guest.Open(hubURL + "/"); !strings.HasPrefix(guest.Where(), hubURL+"/signin") {
		t.Errorf("after the end of their session, grace is at %s", guest.Where())
	}
}

// tokensFlow: an auditor makes a token for a program; it is shown once, and may no more
// than it was given.
func (w *hubWorld) tokensFlow(t *testing.T) {
	auditor := w.as(t, access.Auditor)
	auditor.Open(hubURL + "/account")
	w.prove(auditor, access.Auditor)
	auditor.Type("What it is for", "nightly export")
	auditor.Press("Make the token")
	token := auditor.Script(`document.querySelector("main code.digest").textContent.trim()`)
	if !strings.HasPrefix(token, "igt_") {
		t.Fatalf("the token is %q", token)
	}
	api := &api{client: w.stranger, base: w.ada.base, token: token}
	var apps map[string]any
	if err := api.get(t.Context(), "/apps", &apps); err != nil {
		t.Errorf("the token may not read: %v", err)
	}
	err := api.post(t.Context(), partyPath(botParty)+"/block", map[string]string{"reason": "mine"}, nil)
	if err == nil || !strings.Contains(err.Error(), "right") {
		t.Errorf("the token blocks an app: %v", err)
	}
	auditor.Open(hubURL + "/account")
	sees(t, auditor, []string{"nightly export"}, []string{token})
	auditor.Press("Revoke the token nightly export")
	if err := api.get(t.Context(), "/apps", &apps); err == nil {
		t.Error("a revoked token reads")
	}
}

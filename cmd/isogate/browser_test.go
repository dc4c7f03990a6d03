package main

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate/internal/isogatetest/browsertest"
	"github.com/isogate/isogate/internal/seal"
)

// imagesVariable, set to a directory, has the pictures of docs/images written there.
const imagesVariable = "ISOGATE_IMAGES"

// What an agent's screen is, in CSS pixels.
const wide, high = 760, 500

// demoWorld is the demo's world without its story, with a part of the configuration
// about the Hub, and a clock. It ends with the test.
func demoWorld(t *testing.T, hub string, now func() time.Time) *demo {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	outsideCtx, stopOutside := context.WithCancel(context.Background())
	d, err := newDemo(ctx, t.TempDir(), hub, &env{Context: ctx, Stdout: testLog{t}, Stderr: testLog{t}, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	served, landed := make(chan error, 1), make(chan error, 1)
	go func() { landed <- d.landing.run(outsideCtx, nil) }()
	go func() { served <- d.server.run(ctx, nil) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Errorf("the gateway: %v", err)
		}
		stopOutside()
		if err := <-landed; err != nil {
			t.Errorf("the landing: %v", err)
		}
		d.close()
	})
	if err := d.ready(ctx); err != nil {
		t.Fatal(err)
	}
	return d
}

// testLog writes what a world says to the test's log.
type testLog struct{ t *testing.T }

// Write implements [io.Writer].
func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimRight(string(p), "\n"))
	return len(p), nil
}

// An agent signs in with a browser and sees who is asking, on a wide screen, a
// phone's and a dark one; when the session is over, going back and a reload
// show that it is, and nothing of the name is left in the document.
//
// promise: P16
// promise: P18
// promise: P19
// promise: P41
func TestAgentInABrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser takes seconds to start")
	}
	b := browsertest.Start(t)
	d := demoWorld(t, demoHub, time.Now)
	for _, s := range d.visit() {
		if status, _, answer, err := send(d.product, d.base, s); err != nil || status != s.status {
			t.Fatalf("%s: %d %s %v", s.title, status, answer, err)
		}
	}
	b.Look(wide, high, false)
	b.Open(d.pageURL(agentPage))
	if text := b.Text(); strings.Contains(text, "Support desk") || strings.Contains(text, "ada.lovelace") {
		t.Fatalf("somebody who has not signed in sees %s", text)
	}
	fits(t, b, "sign-in")
	b.Fill("input[type=password]", "not the token")
	if text := b.Text(); strings.Contains(text, "Support desk") {
		t.Fatalf("a wrong token opens %s", text)
	}
	b.Open(d.pageURL(agentPage))
	b.Fill("input[type=password]", d.agent.token)
	text := b.Text()
	for _, seen := range []string{"Support desk", "Ada Lovelace", "Countess", "en-GB", "ada.lovelace@acme.example", seal.TextWithheld} {
		if !strings.Contains(text, seen) {
			t.Errorf("the agent does not see %q in:\n%s", seen, text)
		}
	}
	for _, c := range b.Cookies() {
		if !strings.Contains(c, "HttpOnly") || !strings.HasSuffix(c, "Strict") {
			t.Errorf("the cookie is open: %s", c)
		}
	}
	fits(t, b, "the agent's page")
	picture(t, b, "agent-alive.png")

	b.Open(d.pageURL("/v1/tickets"))
	if err := d.endSession(t.Context(), "demo-session"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.await(t.Context(), d.agent, agentPage, func(page string) bool { return codeOn(page) == seal.TextExpired }); err != nil {
		t.Errorf("the address of the code does not end: %v", err)
	}
	// Browsers keep pages that were left, to show them again as they were.
	b.Back(d.pageURL(agentPage))
	if text := b.Text(); strings.Contains(text, "Ada Lovelace") || !strings.Contains(text, seal.TextExpired) {
		t.Errorf("after the session's end, who goes back sees:\n%s", text)
	}
	b.Reload()
	text = b.Text()
	if !strings.Contains(text, seal.TextExpired) || !strings.Contains(text, "ada.lovelace@acme.example") {
		t.Errorf("after the session's end the agent sees:\n%s", text)
	}
	for _, gone := range []string{"Ada Lovelace", "Countess", "en-GB", "igs1"} {
		if strings.Contains(b.Source(), gone) {
			t.Errorf("after the session's end the document has %q", gone)
		}
	}
	fits(t, b, "the agent's page, expired")
	picture(t, b, "agent-expired.png")
	if status := b.Open(d.pageURL("/.isogate/nothing")); status != http.StatusNotFound {
		t.Errorf("a page that is not there answers %d", status)
	}
}

// fits checks that a page can be read without scrolling sideways, down to a phone's
// width, in light and in dark, and leaves the browser as it was.
func fits(t *testing.T, b *browsertest.Browser, what string) {
	t.Helper()
	var grounds []string
	for _, dark := range []bool{false, true} {
		b.Look(320, 640, dark)
		if over := b.Number(`document.documentElement.scrollWidth - window.innerWidth`); over > 0 {
			t.Errorf("%s is %.0f pixels too wide for a phone", what, over)
		}
		grounds = append(grounds, b.Script(`getComputedStyle(document.body).backgroundColor`))
	}
	if grounds[0] == grounds[1] {
		t.Errorf("%s is as light in the dark: %s", what, grounds[0])
	}
	b.Look(wide, high, false)
}

// picture writes what is seen to docs/images, when that is asked for.
func picture(t *testing.T, b *browsertest.Browser, name string) {
	t.Helper()
	writePicture(t, name, b.Picture)
}

// writePicture writes a picture to docs/images, when that is asked for.
func writePicture(t *testing.T, name string, take func() []byte) {
	t.Helper()
	dir := os.Getenv(imagesVariable)
	if dir == "" {
		return
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), take(), 0o644); err != nil {
		t.Fatal(err)
	}
}

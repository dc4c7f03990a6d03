package main

import (
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isogate/isogate/internal/isogatetest/browsertest"
)

// spoken is what a demo says, for a test that listens.
type spoken struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements [io.Writer].
func (s *spoken) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

// String is what was said so far.
func (s *spoken) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// demoLink is the link that the demo prints.
var demoLink = regexp.MustCompile(`http://localhost:[0-9]+/signin/link\?key=\S+`)

// TestTheDemosHub: the link that the demo prints opens the Hub, where somebody who has never
// been there finds, by what stands on the pages, what left about one person's session and why, the
// consent that waits, and how to take back one that was given.
func TestTheDemosHub(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser takes seconds to start, and the demo's story as well")
	}
	d, said := demoWorld(t, demoHub, time.Now), &spoken{}
	d.out = said
	d.live(t.Context())
	d.invite()
	d.welcome(t.Context())
	if d.failures > 0 {
		t.Fatal(said)
	}
	link := demoLink.FindString(said.String())
	if link == "" {
		t.Fatalf("the demo prints no link:\n%s", said)
	}
	b := browsertest.Start(t)
	b.See(browsertest.Sight{})
	b.Open(link)
	b.Press("Sign in")
	hub := d.server.office.url.String()
	b.Open(hub + "/")
	sees(t, b, []string{"Overview", "ada"}, nil)
	pictureOf(t, b, "hub-overview.png")

	// What left about the session: from the overview to the entry.
	b.Press("What left")
	sees(t, b, []string{"Released", "Refused"}, nil)
	b.Press("Released")
	pictureOf(t, b, "hub-explore.png")
	b.Type("Name contains", "session")
	b.Press("Show")
	b.Open(hub + "/entries/" + string(d.first))
	sees(t, b, []string{"sent to support-portal", "user.displayName", "destroyed"}, []string{"Countess"})
	pictureOf(t, b, "hub-entry.png")
	b.Press("Proof")
	b.Touch("Check")
	b.Await("it is checked", `!document.getElementById("check-good").hidden`)
	pictureOf(t, b, "hub-proof.png")

	// The consent that waits, and the one that was given.
	b.Press("Consents")
	sees(t, b, []string{"Waiting for an answer", "In force", "Revoke everything"}, nil)
	pictureOf(t, b, "hub-consents.png")
	b.In("section[aria-labelledby=waiting]").Press("Triage Bot")
	sees(t, b, []string{modelsHost, "Deny"}, nil)
	pictureOf(t, b, "hub-prompt.png")
	b.Press("Consents")
	b.In("section[aria-labelledby=inforce]").Press("Triage Bot")
	sees(t, b, []string{"Revoke the grant", "It sorts tickets"}, nil)
	pictureOf(t, b, "hub-review.png")
	b.Press("Apps")
	b.Press("Triage Bot")
	sees(t, b, []string{"Revoke everything of it"}, nil)

	for _, section := range []string{"Policies", "Outside", "Evidence", "Health", "People"} {
		if status := b.Press(section); status != http.StatusOK {
			t.Errorf("%s answers %d", section, status)
		}
		if section != "Outside" && section != "People" {
			pictureOf(t, b, "hub-"+strings.ToLower(section)+".png")
		}
	}
	b.Open(hub + "/policies/" + d.server.gate.Rules().Plan().Digest + "/transits/support-session")
	pictureOf(t, b, "hub-transit.png")
	b.Press("Playground")
	b.Choose("Transit", "support-session")
	b.Press("Choose")
	b.In("section[aria-labelledby=samples]").Press(b.Script(`document.querySelector("section[aria-labelledby=samples] a").innerText.trim()`))
	b.Press("See what would leave")
	sees(t, b, []string{"Came in", "Would leave"}, nil)
	b.Script(`window.scrollTo(0, 0); ""`)
	pictureOf(t, b, "hub-playground.png")

	b.See(browsertest.Sight{Dark: true})
	b.Open(hub + "/")
	pictureOf(t, b, "hub-overview-dark.png")
	b.See(browsertest.Sight{Width: 360, Height: 740})
	b.Open(hub + "/")
	pictureOf(t, b, "hub-overview-phone.png")
	if got := b.Complaints(); len(got) > 0 {
		t.Errorf("the browser complains: %q", got)
	}
}

// tallest is how much of a page is pictured, in CSS pixels.
const tallest = 1200

// pictureOf writes the page to docs/images, when that is asked for.
func pictureOf(t *testing.T, b *browsertest.Browser, name string) {
	t.Helper()
	writePicture(t, name, func() []byte { return b.Whole(tallest) })
}

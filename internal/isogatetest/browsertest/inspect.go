package browsertest

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Inspection is how a page is looked at.
type Inspection struct {
	// URL is where it is.
	URL string
	// Status is what it answers with; 200 by default.
	Status int
	// Then does what leads from there to what is looked at, as the answer to a form.
	Then func()
	// NeedsScript says that it cannot be read without scripts.
	NeedsScript bool
	// Hosts are those that may be asked for something, besides the page's own.
	Hosts []string
	// Picture, if there is one, gets the page as it is seen: "wide", "dark", "phone", "forced".
	Picture func(how string, png []byte)
}

// tallest is how much of a page is pictured, in CSS pixels.
const tallest = 6000

// Inspect looks at a page as different people do: on a wide screen, in the dark, on a
// phone, at 200 %, in forced colours and without motion, without scripts; by the
// keyboard, with axe-core, with wider spacing. Faults are what some of them could not
// cope with; unsure is what somebody must look at (WCAG 2.2, A and AA).
func (b *Browser) Inspect(i Inspection) (faults, unsure []string) {
	b.tb.Helper()
	defer b.See(Sight{})
	say := func(how string, what ...string) {
		for _, w := range what {
			faults = append(faults, how+": "+w)
		}
	}
	judge := func(how string, rules ...string) {
		violations, incomplete := b.Axe(rules...)
		for _, v := range violations {
			say(how+", axe", v.String())
		}
		for _, v := range incomplete {
			unsure = append(unsure, how+": "+v.String())
		}
	}
	picture := func(how string) {
		if i.Picture != nil {
			i.Picture(how, b.Whole(tallest))
		}
	}
	look := func(s Sight) {
		b.See(s)
		if status := b.Open(i.URL); status != cmp.Or(i.Status, http.StatusOK) {
			b.tb.Fatalf("%s answers %d: %s", i.URL, status, b.look())
		}
		if i.Then != nil {
			i.Then()
		}
	}
	b.Complaints() // of pages before it

	look(Sight{})
	if h1, main := b.Number(`document.querySelectorAll("h1").length`), b.Number(`document.querySelectorAll("main").length`); h1 != 1 || main != 1 {
		say("structure", fmt.Sprintf("there are %v h1 and %v main, and must be one of each", h1, main))
	}
	if title := b.Script(`document.title`); strings.TrimSpace(title) == "" {
		say("structure", "there is no title")
	}
	judge("on a screen")
	say("by the keyboard", b.Walk().Faults()...)
	picture("wide")
	about := b.Script(aboutScript)
	say("with wider spacing", b.Spaced()...)

	look(Sight{Dark: true})
	judge("in the dark", "color-contrast", "link-in-text-block")
	picture("dark")

	look(Sight{Width: 320, Height: 640})
	say("on a phone", b.Sideways()...)
	judge("on a phone", "target-size", "scrollable-region-focusable", "color-contrast")
	say("on a phone, by the keyboard", b.Glance()...)
	picture("phone")

	look(Sight{Zoom: 200})
	say("at 200 %", b.Sideways()...)

	look(Sight{ForcedColours: true, LessMotion: true})
	say("in forced colours, by the keyboard", b.Glance()...)
	say("with less motion", b.Moving()...)
	picture("forced")

	if !i.NeedsScript {
		look(Sight{NoScript: true})
		if got := b.Script(aboutScript); got != about {
			say("without scripts", fmt.Sprintf("the page has %q, and with them %q", got, about))
		}
	}
	say("complaint", b.Complaints()...)
	at, err := url.Parse(i.URL)
	if err != nil {
		b.tb.Fatalf("%v", err)
	}
	for _, host := range b.Hosts() {
		if host != at.Host && !slices.Contains(i.Hosts, host) {
			say("outside", "something was asked of "+host)
		}
	}
	return faults, unsure
}

// aboutScript is what a page is about.
const aboutScript = `[...document.querySelectorAll("h1, h2, h3, caption, legend, th[scope=col]")].map(e => e.textContent.trim().replace(/\s+/g, " ")).join(" | ")`

package evidence

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/journal"
)

// TestEvidence: what is made verifies, says what the entries say, and is the same again.
//
// promise: P22
func TestEvidence(t *testing.T) {
	w := newWorld(t)
	middle, grants := w.days()
	for _, p := range []Period{{}, {Since: middle}, {Before: middle}, {Since: middle, Before: middle.Add(10 * time.Hour)}, {Since: middle.Add(-3 * time.Hour)}} {
		b := w.made(p)
		v, err := w.verify(b)
		if err != nil {
			t.Fatalf("%v: %v", p, err)
		}
		if v.Summary.Count != v.Count || v.Count == 0 {
			t.Errorf("%v: %d entries, the report says %d", p, v.Count, v.Summary.Count)
		}
		if again := w.made(p); !bytes.Equal(again, b) {
			t.Errorf("%v: made again it is another file", p)
		}
	}
	v, err := w.verify(w.made(Period{Since: middle}))
	if err != nil {
		t.Fatal(err)
	}
	s := v.Summary
	if s.Egress.Released != 3 || s.Egress.Refused != 1 || s.Egress.BytesOut != 1010 || s.Egress.UnclosedCount != 1 || s.Egress.ByOther != 1 {
		t.Errorf("egress: %+v", s.Egress)
	}
	for _, want := range []Row{
		{"personal", "support", "far", 1, 2, 0, 0, 0, 0}, {"ugc", "support", "far", 1, 0, 0, 0, 3, 0}, {"billing", "billing", "far", 1, 0, 7, 0, 0, 0},
		{"", "app", "api.example.com", 1, 0, 0, 0, 0, 0},
	} {
		if !slices.Contains(s.Egress.Rows, want) {
			t.Errorf("no row %+v in %+v", want, s.Egress.Rows)
		}
	}
	if len(s.Consents) != 2 {
		t.Fatalf("consents: %+v", s.Consents)
	}
	app, transit := s.Consents[0], s.Consents[1]
	if app.Party != "app/bot" || app.Status != "in force" || app.Released != 1 || !app.Acts[0].Before || app.Acts[1].ID != grants[0] || app.Acts[1].By != "bob" || app.Acts[1].Prompt != "sha256:prompt" {
		t.Errorf("the consent from before the period: %+v", app)
	}
	if transit.Status != "revoked" || len(transit.Acts) != 3 || transit.Acts[2].By != "bob" || transit.Acts[2].Before {
		t.Errorf("the consent of the period: %+v", transit)
	}
	if i := slices.IndexFunc(s.Acts, func(a ConsentAct) bool { return a.Party == "app/none" }); i < 0 || s.Acts[i].Void == "" {
		t.Errorf("an act without effect: %+v", s.Acts)
	}
	o := s.Outside
	if len(o.Chains) != 1 || o.Chains[0].Verified != 2 || o.Chains[0].Trouble != "" || o.Chains[0].Destroyed != 1 || o.Chains[0].Revealed["billing.plan"] != 4 || o.Sent != 2 || o.Waiting != 1 || o.Alarms.Count != 1 {
		t.Errorf("outside: %+v", o)
	}
	if len(v.Missing) != 1 || len(s.Packs) != 3 || s.Packs[0].Here || s.Packs[0].Approvals[0].By != "paul" {
		t.Errorf("packs: %+v; missing %v", s.Packs, v.Missing)
	}
	if v, err = w.verify(w.made(Period{Before: middle})); err != nil || v.Summary.Actions["n"] != 1 {
		t.Errorf("users' own actions: %+v, %v", v.Summary.Actions, err)
	}
}

// TestReportIsHarmless: attack: a name in a manifest, which an app chose, is markup, or turns
// the direction of writing. In the report it is text, and the page lets no script run.
func TestReportIsHarmless(t *testing.T) {
	w := newWorld(t)
	w.days()
	var page string
	for _, p := range unpack(t, w.made(Period{})) {
		if p.name == reportName {
			page = string(p.content)
		}
	}
	if strings.Contains(page, "<script") || strings.Contains(page, "\u202e") || !strings.Contains(page, "Bot &lt;/h3&gt;&lt;script&gt;") || !strings.Contains(page, `\u{202e}`) {
		t.Error("the name is not text")
	}
	if n := strings.Count(page, "Content-Security-Policy"); n != 1 || strings.Contains(page, "unsafe-inline") || strings.Contains(page, " style=") || strings.Contains(page, "http://") || strings.Contains(page, "https://") {
		t.Error("the page is not self-contained under a strict policy")
	}
	if !strings.Contains(page, "<style>"+reportStyle+"</style>") {
		t.Error("the style sheet is not the one that the policy lets in")
	}
}

// TestPeriods: what cannot be had is said before the first byte.
func TestPeriods(t *testing.T) {
	w := newWorld(t)
	middle, _ := w.days()
	w.sealed()
	for _, c := range []struct {
		p    Period
		want error
	}{
		{Period{middle, middle}, ErrPeriod}, {Period{middle, middle.Add(-time.Hour)}, ErrPeriod},
		{Period{Since: middle.AddDate(1, 0, 0)}, journal.ErrNoEntry}, {Period{Before: middle.AddDate(-1, 0, 0)}, journal.ErrNoEntry},
	} {
		if _, err := w.maker().Begin(t.Context(), c.p); !errors.Is(err, c.want) {
			t.Errorf("%v: %v, want %v", c.p, err, c.want)
		}
	}
}

// failing is a disk that is full after so many bytes.
type failing struct{ left int }

var errFull = errors.New("no space left on device")

func (f *failing) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

// TestCutOffIsNoEvidence: a full disk or a reader who has gone ends the writing, and what was
// written until then does not verify.
func TestCutOffIsNoEvidence(t *testing.T) {
	w := newWorld(t)
	w.days()
	b := w.made(Period{})
	e, err := w.maker().Begin(t.Context(), Period{})
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(b); n += 997 {
		if err := e.WriteTo(t.Context(), &failing{n}); !errors.Is(err, errFull) {
			t.Fatalf("full after %d bytes: %v", n, err)
		}
		var d *DamageError
		if _, err := w.verify(b[:n]); !errors.As(err, &d) {
			t.Fatalf("cut off after %d bytes: %v", n, err)
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.WriteTo(gone, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("for somebody who has gone: %v", err)
	}
}

// TestMissingPackIsSaid: a pack that is not kept keeps nothing else from being shown.
func TestMissingPackIsSaid(t *testing.T) {
	w := newWorld(t)
	w.days()
	w.packs = shelf{}
	v, err := w.verify(w.made(Period{}))
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Missing) != 3 || v.Summary.Outside.Chains[0].Verified != 0 || !strings.Contains(v.Summary.Outside.Chains[0].Trouble, "no pack in this file names the key") {
		t.Errorf("missing %v, %+v", v.Missing, v.Summary.Outside.Chains)
	}
	if !bytes.Contains(v.Page, []byte("not in this file")) {
		t.Error("the report does not say it")
	}
}

// TestForgedReceiptIsSaid: attack: the operator records a receipt that no landing signed, or
// leaves one out.
func TestForgedReceiptIsSaid(t *testing.T) {
	w := newWorld(t)
	w.days()
	mine, _ := newKey(t, "far-landing")
	theirs := w.landing
	w.landing = mine
	forged := w.receive(sealEvent(w.now))
	w.landing = theirs
	w.receive(sealEvent(w.now)) // goes on behind the forged one
	v, err := w.verify(w.made(Period{}))
	if err != nil {
		t.Fatal(err)
	}
	c := v.Summary.Outside.Chains[0]
	if c.Verified != 3 || c.Receipts != 4 || !strings.Contains(c.Trouble, string(forged.ID)) {
		t.Errorf("%+v", c)
	}
}

// TestWhoEndedItIsTold: an act that ends many consents at once is told with each that it ended, and with no other.
func TestWhoEndedItIsTold(t *testing.T) {
	w := newWorld(t)
	_, grants := w.days() // the second one is over
	w.act(consent.Act{What: consent.Revoked, Party: consent.Everybody, Actor: consent.Actor{Name: "cy", SignedIn: "passkey"}, Reason: "all of it"})
	v, err := w.verify(w.made(Period{}))
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range v.Summary.Consents {
		last := x.Acts[len(x.Acts)-1]
		if want := []string{"cy", "bob"}[i]; x.Status != "revoked" || last.By != want {
			t.Errorf("%s, granted as %s: %s, the last act is by %s, want %s", x.Party, grants[i], x.Status, last.By, want)
		}
	}
}

// TestUnknownActsDoNotStop: what a newer release records is told as it is.
func TestUnknownActsDoNotStop(t *testing.T) {
	w := newWorld(t)
	w.load(1)
	w.record(&isogate.Entry{Kind: isogate.KindConsent, Act: "transferred", Actor: "ada"})
	w.record(&isogate.Entry{Kind: isogate.KindLanding, Act: "receipt", Destination: "far"})
	w.record(&isogate.Entry{Kind: "weather", Act: "rained"})
	v, err := w.verify(w.made(Period{}))
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Summary.Acts) != 1 || v.Summary.Acts[0].Void == "" || v.Summary.Kinds["weather"] != 1 {
		t.Errorf("%+v %v", v.Summary.Acts, v.Summary.Kinds)
	}
}

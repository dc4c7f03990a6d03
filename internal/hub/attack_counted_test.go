package hub

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/trail"
)

// farBehinds are trails that lack much, each in its way.
var farBehinds = map[string]trail.Standing{
	"built anew":             {At: time.Now(), Next: 5, Of: 9, Rebuilding: true},
	"started in the middle":  {At: time.Now(), Next: 1_000_000, Of: 9_000_000, Behind: time.Now()},
	"not kept up for long":   {At: time.Now().Add(-time.Hour), Next: 5, Of: 6, Behind: time.Now().Add(-time.Hour)},
	"without its journal":    {Fault: context.DeadlineExceeded, Next: 5, Of: 5, Behind: time.Now().Add(-time.Hour)},
	"a file of its own time": {Next: 0, Of: 100_000},
}

// TestAttackNeverUsedWhileItIsNotCounted: attack: the trail is deleted, so that it is built anew for
// minutes, or its journal is kept from it. Meanwhile a grant that is in use every minute would be
// shown as never used, with the advice to revoke it. This test verifies that nothing is then said of
// use on the review, the inbox, the page of the app and in the API, and that it is again as soon as
// the trail is only as far behind as a busy gateway's is.
func TestAttackNeverUsedWhileItIsNotCounted(t *testing.T) {
	s := newSeat(t)
	g := s.grantOf(s.asked("api.bots.example"))
	for name, at := range farBehinds {
		s.left.at = at
		s.get("/consents/"+string(g)).says(200, "It is not known now what left by it").silent("Nothing has ever left by it", "unused")
		s.get("/consents").silent("never")
		if u := into[Consent](s.call("ada", "GET", "/consents/"+string(g), "").want(200)).Usage; u != nil {
			t.Errorf("%s: the API says %+v", name, u)
		}
	}
	s.left.at = trail.Standing{At: time.Now(), Next: 1_000_000, Of: 1_002_000, Behind: time.Now().Add(-time.Second)}
	if u := into[Consent](s.call("ada", "GET", "/consents/"+string(g), "").want(200)).Usage; u == nil {
		t.Error("a moment behind: nothing is said")
	}
	s.get("/consents/"+string(g)).says(200, "never")
}

// halfway is a trail that has read a part of its journal, and answers by that.
type halfway struct {
	Trail
	at trail.Standing
}

func (h halfway) Standing() trail.Standing { return h.at }

// TestAttackHalfAnExport: attack: while the trail is built anew somebody takes an export, or counts by
// the API: it would end well, with a part of the entries and no word of the rest. This test verifies
// that both are refused until they can be whole, that the overview shows no figures, and that
// evidence, which is made of the journal, goes on.
func TestAttackHalfAnExport(t *testing.T) {
	s := newSeat(t)
	s.left.at = farBehinds["built anew"]
	for _, path := range []string{"/entries", "/entries/count", "/entries/tally?by=day"} {
		s.call("ada", "GET", path, "").want(503, "trail-behind")
	}
	pages := rich(t, as(access.Owner), func(c *Config) { c.Trail = halfway{c.Trail, farBehinds["built anew"]} })
	if resp, body := look(t, pages, "/explore/export?format=csv"); resp.StatusCode != 503 || !strings.Contains(body, "still being built") {
		t.Errorf("GET /explore/export: %d %.200s", resp.StatusCode, body)
	}
	if resp, body := look(t, pages, "/"); resp.StatusCode != 200 || !strings.Contains(body, "not counted yet") {
		t.Errorf("GET /: %d %s", resp.StatusCode, mainOf(body))
	}
	if resp, body := look(t, pages, "/evidence"); resp.StatusCode != 200 || strings.Contains(body, "Nothing was recorded") {
		t.Errorf("GET /evidence: %d %s", resp.StatusCode, mainOf(body))
	}
}

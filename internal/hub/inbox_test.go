package hub

import (
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/trail"
)

// TestInbox: what waits stands first, with what to look twice at; what nobody uses
// is flagged; each list can be had by itself.
//
// promise: P12
// promise: P14
func TestInbox(t *testing.T) {
	s := newSeat(t)
	s.get("/consents").says(200, "Nobody waits for an answer", "Nothing is granted")
	first := s.asked("api.bots.example")
	g := s.grantOf(first)
	second := s.asked("api.bots.example", "*.files.bots.example")

	s.get("/consents").says(200, "Bot", "app/bot", "1 row", "wildcard", "keeps end-user data", "more than it has", "by ada", "revoked never").
		silent("unused over 30 days")
	page := s.get("/consents").body
	if w, f := strings.Index(page, string(second.ID)), strings.Index(page, string(g)); w < 0 || f < 0 || w > f {
		t.Errorf("what waits is at %d, what is in force at %d", w, f)
	}
	s.get("/consents?status=requested").says(200).silent(string(g))
	s.get("/consents?status=granted").says(200).silent(string(second.ID))
	s.get("/consents?status=denied").says(200, "No request or grant is in this state")
	s.get("/consents?party=app%2Fbot").says(200, "app/bot")
	s.get("/consents?party=app%2Fother").says(200).silent(string(g))
	for _, bad := range []string{"status=x", "party=x", "status=granted&status=denied", "page=1"} {
		s.get("/consents?" + bad).says(400)
	}

	// A month later nobody has used it.
	s.hub.now = func() time.Time { return time.Now().Add(31 * 24 * time.Hour) }
	s.get("/consents").says(200, "unused over 30 days")
	s.get("/apps").says(200, "unused over 30 days")
	s.left.uses = map[isogate.EntryID]time.Time{g: time.Now().Add(20 * 24 * time.Hour)}
	s.get("/apps").says(200, "11 days ago").silent("unused over 30 days")
	s.get("/consents").says(200, "11 days ago").silent("unused over 30 days")
	// Nobody knows: then nobody says that it is not used.
	s.left.err = trail.ErrBehind
	s.get("/consents").says(200, "not known").silent("unused over 30 days")

	// What lapsed meanwhile waits no more.
	s.get("/consents/"+string(second.ID)).says(200, "Nobody answered it in time")
}

// TestWhoMayReadMayNotDecide: a viewer sees everything and has nothing to act with.
func TestWhoMayReadMayNotDecide(t *testing.T) {
	s := newSeat(t)
	first := s.asked("api.bots.example")
	g := s.grantOf(first)
	second := s.asked("api.bots.example", "files.bots.example")
	had := s.journal.count()
	s.sit("vic", access.Viewer)
	for _, path := range []string{"/consents", "/consents/" + string(second.ID), "/consents/" + string(g), "/consents/" + string(first.ID), "/apps", "/apps/app/bot", "/outside"} {
		s.get(path).says(200).silent(`method="post" action="/c`, `method="post" action="/a`, `method="post" action="/r`)
	}
	for _, path := range []string{"/apps/import", "/revocations"} {
		s.get(path).says(403, "the right to decide")
	}
	for _, p := range pages {
		method, path, _ := strings.Cut(p.pattern, " ")
		if method == "POST" && (strings.HasPrefix(path, "/consents") || strings.HasPrefix(path, "/apps") || strings.HasPrefix(path, "/revocations") || strings.HasPrefix(path, "/outside")) {
			for _, id := range []isogate.EntryID{second.ID, g} {
				s.post(strings.NewReplacer("{kind}", "app", "{name}", "bot", "{id}", string(id)).Replace(path), nil).says(403, "the right to")
			}
		}
	}
	if n := s.journal.count(); n != had {
		t.Errorf("%d entries were recorded", n-had)
	}
}

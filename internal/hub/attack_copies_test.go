package hub

import (
	"net/url"
	"strings"
	"testing"

	"github.com/isogate/isogate/internal/access"
)

// TestAttackManyCopies: attack: somebody with the right to export begins a thousand exports and files
// of evidence at once, or reads none of those they began. This test verifies that no more than
// copiesAtOnce are written at a time, that the rest are told so before anything is recorded or sent,
// and that a place is free again after one that went well and one that did not.
func TestAttackManyCopies(t *testing.T) {
	h := richHub(t, as(access.Owner), nil)
	s := served(t, h)
	for range copiesAtOnce {
		h.copies <- struct{}{}
	}
	if resp, body := look(t, s, "/explore/export?format=csv"); resp.StatusCode != 429 || !strings.Contains(body, "being written already") {
		t.Errorf("one too many: %d %s", resp.StatusCode, mainOf(body))
	}
	<-h.copies
	for range 3 {
		if resp, _ := look(t, s, "/explore/export?format=csv"); resp.StatusCode != 200 {
			t.Errorf("there is a place: %d", resp.StatusCode)
		}
		if resp, _ := look(t, s, "/explore/export?"+url.Values{"format": {"csv"}, "kind": {"none"}}.Encode()); resp.StatusCode != 400 {
			t.Errorf("a wrong filter: %d", resp.StatusCode)
		}
	}
	if n := len(h.copies); n != copiesAtOnce-1 {
		t.Errorf("%d places are taken, %d were", n, copiesAtOnce-1)
	}
}

package hub

import (
	"context"
	"strings"
	"testing"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/access"
	"github.com/isogate/isogate/internal/journal"
)

// unsealed is a journal whose newest checkpoint is older than every entry.
type unsealed struct{ Journal }

func (unsealed) Checkpoint(context.Context) (journal.Checkpoint, error) {
	return journal.Checkpoint{}, nil
}

func (unsealed) Prove(context.Context, isogate.EntryID) (journal.Proof, error) {
	return journal.Proof{}, journal.ErrNothingSealed
}

// The proof that is downloaded verifies by the public key alone, and is of this entry.
//
// promise: P22
func TestTheProofVerifies(t *testing.T) {
	r := newRecord(t)
	id := r.add(released("product/help-center", "support-portal", email))
	r.add(released("product/help-center", "support-portal", email))
	r.settled()
	s := r.sit(as(access.Viewer), nil)
	resp, text := look(t, s, "/entries/"+string(id)+"/proof/text")
	var p journal.Proof
	if err := p.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(resp.Status, err)
	}
	if e, _, err := p.Verify(r.vkey); err != nil || e.ID != id {
		t.Errorf("%v, of %s", err, e.ID)
	}
	if !strings.Contains(resp.Header.Get("Content-Disposition"), string(id)+".tlog-proof") {
		t.Error(resp.Header)
	}
	seen(t, s, "/entries/"+string(id)+"/proof", 200, "Without JavaScript this page cannot check anything", "isogate journal verify --key isogate.pub "+string(id)+".tlog-proof", "isogate/acme")
}

// Of an entry that no checkpoint covers yet there is no proof, and the pages say so.
func TestNoProofYet(t *testing.T) {
	r := newRecord(t)
	id := r.add(released("product/help-center", "support-portal", email))
	r.settled()
	s := r.sit(as(access.Viewer), func(c *Config) { c.Journal = unsealed{r.journal} })
	seen(t, s, "/entries/"+string(id), 200, "not yet")
	page := seen(t, s, "/entries/"+string(id)+"/proof", 200, "newer than the newest checkpoint")
	if strings.Contains(page, "check-form") {
		t.Error("there is nothing to check")
	}
	seen(t, s, "/entries/"+string(id)+"/proof/text", 409, "newer than the newest checkpoint")
}

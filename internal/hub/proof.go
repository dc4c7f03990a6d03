package hub

import (
	"context"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/journal"
)

// proofView is what the page of an entry's proof shows. The text of the proof is all
// that counts: a script of the page, and the command, check that and nothing else.
type proofView struct {
	ID       isogate.EntryID
	Text     string // C2SP tlog-proof
	Index    uint64
	Size     string // entries under the checkpoint
	Hashes   []string
	Origin   string
	Root     string // base64, as the checkpoint has it
	Verifier string // the key that this Hub says is the journal's
	// Waiting says that the entry is newer than the newest checkpoint.
	Waiting bool
}

// proofPage shows that an entry is part of the journal, and lets the browser check it.
//
// promise: P22
func (h *Hub) proofPage(v *visit) error {
	ctx, stop := context.WithTimeout(v.Context(), lookFor)
	defer stop()
	view, err := h.proofOf(ctx, v.PathValue("id"))
	if err != nil {
		return err
	}
	return v.show("entry-proof", "Proof of entry "+string(view.ID), view)
}

// proofText is the proof as a file, for isogate journal verify.
func (h *Hub) proofText(v *visit) error {
	view, err := h.proofOf(v.Context(), v.PathValue("id"))
	if err != nil {
		return err
	}
	if view.Waiting {
		return notSealed(view.ID)
	}
	return v.download("text/plain; charset=utf-8", string(view.ID)+".tlog-proof", []byte(view.Text))
}

// proofOf makes the proof of an entry.
func (h *Hub) proofOf(ctx context.Context, id string) (*proofView, error) {
	if _, _, err := h.findEntry(ctx, id); err != nil {
		return nil, err
	}
	view := &proofView{ID: isogate.EntryID(id)}
	var err error
	if view.Verifier, err = h.journal.Verifier(ctx); err != nil {
		return nil, err
	}
	view.Verifier = consent.Shown(view.Verifier)
	p, err := h.journal.Prove(ctx, view.ID)
	switch {
	case errors.Is(err, journal.ErrNothingSealed):
		view.Waiting = true
		return view, nil
	case errors.Is(err, journal.ErrNotFound):
		return nil, problem(http.StatusNotFound, "not-found", err.Error())
	case err != nil:
		return nil, err
	}
	text, err := p.MarshalText()
	if err != nil {
		return nil, err
	}
	view.Text, view.Index = string(text), p.Index
	if lines := strings.SplitN(string(p.Checkpoint), "\n", 4); len(lines) == 4 {
		view.Origin, view.Size, view.Root = consent.Shown(lines[0]), lines[1], lines[2]
	}
	for i := range p.Hashes {
		view.Hashes = append(view.Hashes, hex.EncodeToString(p.Hashes[i][:]))
	}
	return view, nil
}

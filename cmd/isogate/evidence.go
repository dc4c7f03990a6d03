package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/isogate/isogate/internal/archive"
	"github.com/isogate/isogate/internal/custody"
	"github.com/isogate/isogate/internal/evidence"
	"github.com/isogate/isogate/internal/journal"
	"github.com/isogate/isogate/internal/policy"
)

// evidence makes files for audits of the server's journal.
func (s *server) evidence() evidence.Maker {
	return evidence.Maker{Journal: s.journal.Reader, Packs: s.archive, Note: custody.NoteOf, Release: release()}
}

// release is this program's version.
func release() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}

// writeEvidence writes the evidence of a period, from a journal and the packs beside it.
func (c *journalExportCmd) writeEvidence(ctx context.Context, w io.Writer, r *journal.Reader, p evidence.Period) error {
	cfg, err := stateOf(c.Config, c.State)
	if err != nil {
		return err
	}
	m := evidence.Maker{Journal: r, Packs: noPacks{}, Note: custody.NoteOf, Release: release()}
	if _, err := os.Stat(packsDir(cfg)); err == nil { // only a gateway makes it
		packs, err := archive.New(packsDir(cfg))
		if err != nil {
			return err
		}
		defer func() { _ = packs.Close() }()
		m.Packs = packs
	}
	e, err := m.Begin(ctx, p)
	if err != nil {
		return err
	}
	return e.WriteTo(ctx, w)
}

// noPacks is the archive of a state directory that has none.
type noPacks struct{}

// Files implements [evidence.Packs].
func (noPacks) Files(digest string) (*policy.Files, error) {
	return nil, fmt.Errorf("%s: %w", digest, archive.ErrNotKept)
}

// packsDir is where packs are archived.
func packsDir(cfg *config) string { return filepath.Join(cfg.State, "packs") }

// verifyEvidence verifies a file of evidence, and answers no where anything of it is damaged.
func (c *journalVerifyCmd) verifyEvidence(e *env, f *os.File, vkey string) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	v, err := evidence.Verify(f, info.Size(), vkey, custody.NoteOf)
	var d *evidence.DamageError
	switch {
	case errors.As(err, &d) && e.JSON:
		if err := printJSON(e.Stdout, map[string]any{"verified": false, "damages": d.Damages}); err != nil {
			return err
		}
		return errNo{}
	case errors.As(err, &d):
		_, _ = fmt.Fprintf(e.Stdout, "does not verify by the key in %s:\n", c.Key)
		for i, x := range d.Damages {
			if i == shownDamages {
				_, _ = fmt.Fprintf(e.Stdout, "  and %d more\n", len(d.Damages)-i)
				break
			}
			_, _ = fmt.Fprintf(e.Stdout, "  %s\n", printable(x.String()))
		}
		return errNo{}
	case err != nil:
		return err
	case e.JSON:
		return printJSON(e.Stdout, struct {
			Verified bool `json:"verified"`
			*evidence.Verdict
		}{true, v})
	}
	return showVerdict(e, v, c.Key)
}

// showVerdict says what a file of evidence is of, and what it does not have.
func showVerdict(e *env, v *evidence.Verdict, key string) error {
	out, s := e.Stdout, v.Summary
	_, _ = fmt.Fprintf(out, "verified: evidence of %s, entries %d to %d, recorded %s to %s\n", v.Tenant, v.First, v.First+v.Count-1,
		s.From.Format(time.RFC3339), s.To.Format(time.RFC3339))
	_, _ = fmt.Fprintf(out, "entries, packs, receipts and both reports are what the checkpoint over %d entries covers and what follows from it\n", v.Size)
	_, _ = fmt.Fprintf(out, "log   %s\nroot  %s\nkey   %s\n", v.Origin, v.Root, key)
	_, _ = fmt.Fprintf(out, "%d released, %d refused, %d consents, %d packs\n", s.Egress.Released, s.Egress.Refused, len(s.Consents), len(s.Packs))
	if n := s.Egress.UnclosedCount; n > 0 {
		_, _ = fmt.Fprintf(out, "%d releases have no end in it (under way, or cut off)\n", n)
	}
	if n := s.Outside.Alarms.Count; n > 0 {
		_, _ = fmt.Fprintf(out, "%d alarms about receipts of landings\n", n)
	}
	for _, c := range s.Outside.Chains {
		if c.Trouble != "" {
			_, _ = fmt.Fprintf(out, "receipts of %s: %s\n", printable(c.Destination), printable(c.Trouble))
		}
	}
	for _, digest := range v.Missing {
		_, _ = fmt.Fprintf(out, "the pack %s is not in it\n", printable(digest))
	}
	if v.First+v.Count == v.Size {
		_, _ = fmt.Fprintf(out, "it ends with the checkpoint: what was recorded in the period after that is not in it\n")
	}
	if v.First > 0 {
		_, _ = fmt.Fprintf(out, "that no act on consents from before the period was left out cannot be shown by it: for that, take evidence from the first entry on\n")
	}
	if s.Earlier > 0 {
		_, _ = fmt.Fprintf(out, "%d acts on consents from before the period were left out of it\n", s.Earlier)
	}
	_, err := fmt.Fprintf(out, "now read report.html in it, or report.json\n")
	return err
}

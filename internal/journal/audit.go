package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api/layout"
	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
)

// Verify checks the journal in its directory as [VerifyExport] checks an export,
// and that the Merkle log beside the database, which others may read, says the
// same as the database: its published checkpoint and its entry bundles. It reads
// all of it, and may do so while the journal is written.
//
// promise: P22
func (r *Reader) Verify(ctx context.Context, vkey string) (Report, error) {
	k, err := r.kept(ctx)
	if err != nil {
		return Report{}, err
	}
	next, err := r.count(ctx)
	if err != nil {
		return Report{}, err
	}
	if next < k.size {
		return Report{}, &DamageError{[]Damage{{Entry: true, Seq: next, What: fmt.Sprintf("it is missing: the database has %d entries, %d were sealed", next, k.size)}}}
	}
	if k.size == 0 {
		if next > 0 {
			return Report{}, fmt.Errorf("journal %s: %d entries: %w", r.place, next, ErrNothingSealed)
		}
		tenant, err := r.Tenant(ctx)
		return Report{Tenant: tenant}, err
	}
	pr, pw := io.Pipe()
	exported := make(chan error, 1)
	go func() {
		err := r.Export(ctx, pw, Range{})
		exported <- err
		_ = pw.CloseWithError(err)
	}()
	rep, err := VerifyExport(pr, vkey)
	_ = pr.CloseWithError(io.ErrClosedPipe) // ends an export that is not read to its end
	if failed := <-exported; failed != nil && !errors.Is(failed, io.ErrClosedPipe) {
		return Report{}, failed
	}
	if err != nil {
		return Report{}, withoutLines(err)
	}
	if err := r.verifyLog(ctx, vkey, rep.Size); err != nil {
		return Report{}, err
	}
	rep.Unsealed = next - min(next, rep.Size)
	return rep, nil
}

// withoutLines takes the line numbers off, which are of no file.
func withoutLines(err error) error {
	var d *DamageError
	if errors.As(err, &d) {
		for i := range d.Damages {
			d.Damages[i].Line = 0
		}
	}
	return err
}

// outbox is the seqs that followers are told and their kinds, nil for a journal from before there
// was any.
func (r *Reader) outbox(ctx context.Context) (map[uint64]isogate.EntryKind, error) {
	query := `SELECT kind, seq FROM outbox`
	if r.remote == nil {
		var there, kinds int
		if err := r.db.QueryRowContext(ctx, `SELECT count(*), count(*) FILTER (WHERE name = 'kind') FROM pragma_table_info('outbox')`).Scan(&there, &kinds); err != nil || there == 0 {
			return nil, r.wrap(err)
		}
		if kinds == 0 { // no gateway of this release had it open yet
			query = `SELECT 'consent', seq FROM outbox`
		}
	}
	rows, err := r.db.QueryContext(ctx, query)
	if err != nil {
		return nil, r.wrap(err)
	}
	defer rows.Close()
	all := map[uint64]isogate.EntryKind{}
	for rows.Next() {
		var kind string
		var seq int64
		if err := rows.Scan(&kind, &seq); err != nil {
			return nil, r.wrap(err)
		}
		all[uint64(seq)] = isogate.EntryKind(kind) //nolint:gosec // never negative
	}
	return all, r.wrap(rows.Err())
}

// kindsFollowed are the members of entries that followers may have to be told of.
var kindsFollowed = [...][]byte{
	appendMember(nil, "kind", string(isogate.KindConsent)),
	appendMember(nil, "kind", string(isogate.KindLanding)),
	appendMember(nil, "kind", string(isogate.KindAdmin)),
	appendMember(nil, "kind", string(isogate.KindPack)),
}

// announces is the kind under which followers must be told of an entry, "" for one
// that they need not hear of. Most have the bytes of another, so few are read.
func announces(body []byte) isogate.EntryKind {
	if !slices.ContainsFunc(kindsFollowed[:], func(member []byte) bool { return bytes.Contains(body, member) }) {
		return ""
	}
	e, err := decode(body)
	if err != nil {
		return ""
	}
	return announced(e.Kind)
}

// verifyLog checks what others read of the log, given that its tiles are sound, and
// that the outbox leaves nothing out.
func (r *Reader) verifyLog(ctx context.Context, vkey string, size uint64) error {
	key, err := note.NewVerifier(vkey)
	if err != nil {
		return err
	}
	t := r.tree
	raw, err := t.published(ctx)
	if err != nil {
		return r.wrap(err)
	}
	where := "the checkpoint in " + t.String()
	cp, _, err := openCheckpoint(raw, key)
	if err != nil {
		return damaged(0, "%s is not signed by the key %s+%08x: %v", where, key.Name(), key.KeyHash(), err)
	}
	// It may have moved on while the entries were read, or not yet.
	at := min(cp.Size, size)
	if at == cp.Size {
		root, err := t.root(ctx, at)
		if err != nil {
			return r.wrap(err)
		}
		if !bytes.Equal(root, cp.Hash) {
			return damaged(0, "%s covers %d entries with another root than the database has: two histories were signed", where, at)
		}
	}
	outbox, err := r.outbox(ctx)
	if err != nil {
		return err
	}
	for seq := uint64(0); seq < at; {
		end := blockEnd(seq, at)
		bundle, err := t.bundle(ctx, seq/layout.EntryBundleWidth, at)
		if err != nil {
			return damaged(0, "the log's bundle of the entries from %d on cannot be read: %v", seq, err)
		}
		leaves, err := t.leaves(ctx, seq, end, at)
		if err != nil {
			return r.wrap(err)
		}
		for i := range leaves {
			if i >= len(bundle) || !bytes.Equal(rfc6962.DefaultHasher.HashLeaf(bundle[i]), leaves[i]) {
				return &DamageError{[]Damage{{Entry: true, Seq: seq + uint64(i), What: "its copy in the log's bundle is not what was sealed; the database has it right"}}}
			}
			if kind := announces(bundle[i]); outbox != nil && kind != "" && (kind != isogate.KindAdmin && kind != isogate.KindPack || r.lists(kind)) && outbox[seq+uint64(i)] != kind {
				return &DamageError{[]Damage{{Entry: true, Seq: seq + uint64(i), ID: idOf(bundle[i]), What: "it was taken out of the outbox: gateways that start do not hear of it"}}}
			}
		}
		seq = end
	}
	return nil
}

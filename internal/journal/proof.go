package journal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/transparency-dev/merkle/compact"
	mproof "github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
)

// Proof shows that one entry is part of a journal, without the rest of it. As
// text it is a C2SP tlog-proof whose extra data is the entry's exact bytes:
//
//	c2sp.org/tlog-proof@v1
//	extra eyJpZCI6…
//	index 42
//	CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//	…
//
//	isogate/acme
//	300
//	…
type Proof struct {
	Entry      []byte              // exact bytes
	Index      uint64              // its seq
	Hashes     [][sha256.Size]byte // RFC 6962 inclusion proof
	Checkpoint []byte              // signed C2SP tlog-checkpoint
}

// ProofFormat is the first line of a proof.
const ProofFormat = "c2sp.org/tlog-proof@v1"

// MarshalText implements [encoding.TextMarshaler].
func (p Proof) MarshalText() ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\nextra %s\nindex %d\n", ProofFormat, base64.StdEncoding.EncodeToString(p.Entry), p.Index)
	for _, h := range p.Hashes {
		fmt.Fprintln(&b, base64.StdEncoding.EncodeToString(h[:]))
	}
	b.WriteByte('\n')
	b.Write(p.Checkpoint)
	return b.Bytes(), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler]. It takes the one spelling
// that MarshalText gives.
func (p *Proof) UnmarshalText(text []byte) error {
	head, checkpoint, ok := bytes.Cut(text, []byte("\n\n"))
	lines := bytes.Split(head, []byte("\n"))
	if !ok || len(lines) < 3 || string(lines[0]) != ProofFormat {
		return fmt.Errorf("this is not a proof: its first line must be %q", ProofFormat)
	}
	q := Proof{Checkpoint: checkpoint}
	extra, ok := bytes.CutPrefix(lines[1], []byte("extra "))
	if !ok {
		return errors.New("the proof has no entry in its second line")
	}
	var err error
	if q.Entry, err = base64.StdEncoding.Strict().DecodeString(string(extra)); err != nil {
		return fmt.Errorf("the entry in the proof: %w", err)
	}
	index, ok := bytes.CutPrefix(lines[2], []byte("index "))
	if !ok {
		return errors.New("the proof has no index in its third line")
	}
	if q.Index, err = strconv.ParseUint(string(index), 10, 64); err != nil {
		return fmt.Errorf("the index in the proof: %w", err)
	}
	for _, l := range lines[3:] {
		h, err := base64.StdEncoding.Strict().DecodeString(string(l))
		if err != nil || len(h) != sha256.Size {
			return fmt.Errorf("the hash %.60q in the proof is none", l)
		}
		q.Hashes = append(q.Hashes, [sha256.Size]byte(h))
	}
	if again, err := q.MarshalText(); err != nil || !bytes.Equal(again, text) {
		return errors.New("the proof is not spelled as proofs are")
	}
	*p = q
	return nil
}

// Verify checks the proof by the public key alone and returns the entry and the
// size of the log it is part of. If it does not verify the error is a [*DamageError].
//
// promise: P22
func (p Proof) Verify(vkey string) (isogate.Entry, uint64, error) {
	key, err := note.NewVerifier(vkey)
	if err != nil {
		return isogate.Entry{}, 0, fmt.Errorf("the public key: %w; use the line of the .pub file", err)
	}
	cp, _, err := openCheckpoint(p.Checkpoint, key)
	if err != nil {
		return isogate.Entry{}, 0, damaged(0, "the checkpoint is not signed by the key %s+%08x: %v", key.Name(), key.KeyHash(), err)
	}
	at := Damage{Entry: true, Seq: p.Index, ID: claimedID(p.Entry)}
	hashes := make([][]byte, len(p.Hashes))
	for i := range p.Hashes {
		hashes[i] = p.Hashes[i][:]
	}
	leaf := rfc6962.DefaultHasher.HashLeaf(p.Entry)
	if err := mproof.VerifyInclusion(rfc6962.DefaultHasher, p.Index, cp.Size, leaf, hashes, cp.Hash); err != nil {
		at.What = fmt.Sprintf("the proof does not lead from it to the root that was signed over %d entries", cp.Size)
		return isogate.Entry{}, 0, &DamageError{[]Damage{at}}
	}
	e, err := decode(p.Entry)
	if err == nil && e.Seq != p.Index {
		err = fmt.Errorf("it says that its seq is %d", e.Seq)
	}
	if err != nil {
		at.What = err.Error()
		return isogate.Entry{}, 0, &DamageError{[]Damage{at}}
	}
	return e, cp.Size, nil
}

// Prove returns a proof that the entry is under the newest checkpoint. The error
// is [ErrNotFound] where there is no such entry and [ErrNothingSealed] where it is too new.
func (r *Reader) Prove(ctx context.Context, id isogate.EntryID) (Proof, error) {
	k, err := r.kept(ctx)
	if err != nil {
		return Proof{}, err
	}
	return r.prove(ctx, k, id)
}

func (r *Reader) prove(ctx context.Context, k *kept, id isogate.EntryID) (Proof, error) {
	seq, body, err := r.Find(ctx, id)
	if err != nil {
		return Proof{}, err
	}
	return r.proveRow(ctx, k, seq, body)
}

func (r *Reader) proveRow(ctx context.Context, k *kept, seq uint64, body []byte) (Proof, error) {
	if seq >= k.size {
		return Proof{}, fmt.Errorf("journal %s: %s: %w", r.place, idOf(body), ErrNothingSealed)
	}
	nodes, err := mproof.Inclusion(seq, k.size)
	if err != nil {
		return Proof{}, r.wrap(err)
	}
	hashes, err := r.tree.nodes(ctx, nodes.IDs, k.size)
	if err != nil {
		return Proof{}, r.wrap(err)
	}
	if hashes, err = nodes.Rehash(hashes, rfc6962.DefaultHasher.HashChildren); err != nil {
		return Proof{}, r.wrap(err)
	}
	return newProof(body, seq, hashes, k.note), nil
}

func newProof(body []byte, seq uint64, hashes [][]byte, checkpoint []byte) Proof {
	p := Proof{Entry: body, Index: seq, Checkpoint: checkpoint}
	for _, h := range hashes {
		p.Hashes = append(p.Hashes, [sha256.Size]byte(h))
	}
	return p
}

// ProveExport verifies an export and makes a proof for one of its entries of it.
// It holds 32 bytes per entry of the export.
func ProveExport(r io.Reader, vkey string, id isogate.EntryID) (Proof, error) {
	v, err := newVerification(r, vkey)
	if err != nil {
		return Proof{}, err
	}
	var seq uint64
	var body []byte
	var leaves [][]byte
	if _, err := v.run(func(at uint64, b, leaf []byte) {
		leaves = append(leaves, leaf)
		if claimedID(b) == id {
			seq, body = at, b
		}
	}); err != nil {
		return Proof{}, err
	}
	if body == nil {
		return Proof{}, fmt.Errorf("the export: %s: %w", id, ErrNotFound)
	}
	return v.prove(seq, body, leaves)
}

// prove builds an inclusion proof from a verified export's leaves and ends.
func (v *verification) prove(seq uint64, body []byte, leaves [][]byte) (Proof, error) {
	cp, _, err := openCheckpoint([]byte(v.end.Checkpoint), v.key)
	if err != nil {
		return Proof{}, err
	}
	first, end := v.head.First, v.head.First+v.head.Count
	nodes, err := mproof.Inclusion(seq, cp.Size)
	if err != nil {
		return Proof{}, err
	}
	// Every node that the proof needs is a subtree of the ends as given, or comes
	// up while the leaves are put between them.
	have := make(map[compact.NodeID][]byte, len(nodes.IDs))
	for _, id := range nodes.IDs {
		have[id] = nil
	}
	visit := func(id compact.NodeID, hash []byte) {
		if _, ok := have[id]; ok {
			have[id] = hash
		}
	}
	for _, side := range []struct {
		ids    []compact.NodeID
		hashes [][]byte
	}{{compact.RangeNodes(0, first, nil), v.end.Left}, {compact.RangeNodes(end, cp.Size, nil), v.end.Right}} {
		for i, id := range side.ids {
			visit(id, side.hashes[i])
		}
	}
	all, err := ranges.NewRange(0, first, v.end.Left)
	if err != nil {
		return Proof{}, err
	}
	for _, leaf := range leaves {
		if err := all.Append(leaf, visit); err != nil {
			return Proof{}, err
		}
	}
	behind, err := ranges.NewRange(end, cp.Size, v.end.Right)
	if err != nil {
		return Proof{}, err
	}
	if err := all.AppendRange(behind, visit); err != nil {
		return Proof{}, err
	}
	hashes := make([][]byte, len(nodes.IDs))
	for i, id := range nodes.IDs {
		if hashes[i] = have[id]; hashes[i] == nil {
			return Proof{}, fmt.Errorf("the export lacks the hash of subtree %d at level %d", id.Index, id.Level)
		}
	}
	if hashes, err = nodes.Rehash(hashes, rfc6962.DefaultHasher.HashChildren); err != nil {
		return Proof{}, err
	}
	return newProof(body, seq, hashes, []byte(v.end.Checkpoint)), nil
}

package journal

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"

	flog "github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
)

// kept is a checkpoint as the database keeps it.
type kept struct {
	size uint64
	root []byte
	tree *compact.Range // [0, size)
	note []byte         // signed; empty at size 0
}

// nodes is the compact range as bytes.
func (k *kept) nodes() []byte { return bytes.Join(k.tree.Hashes(), nil) }

// extend returns the checkpoint, not yet signed, over k's leaves and those that follow.
func (k *kept) extend(leaves [][]byte) (*kept, error) {
	r, err := ranges.NewRange(0, k.size, bytes32(k.nodes()))
	if err != nil {
		return nil, err
	}
	for _, leaf := range leaves {
		if err := r.Append(leaf, nil); err != nil {
			return nil, err
		}
	}
	root, err := rootOf(r)
	if err != nil {
		return nil, err
	}
	return &kept{size: r.End(), root: root, tree: r}, nil
}

// bytes32 splits b into hashes.
func bytes32(b []byte) [][]byte {
	var hashes [][]byte
	for ; len(b) >= 32; b = b[32:] {
		hashes = append(hashes, b[:32:32])
	}
	return hashes
}

// guard is the signer that the Merkle log is given. It signs one checkpoint only:
// the one that this process has computed itself from the rows of the database,
// starting at the last checkpoint kept there. And it gives the signature away
// only after the database has taken the new checkpoint in place of that one. So
// whatever state the log's directory is in, no fork is ever signed.
type guard struct {
	note.Signer
	keep func(now *kept) error

	mu   sync.Mutex // guards want, done and err
	want *kept
	done bool
	err  error
}

// errEarly says that the log asks to sign before all of the batch is in it.
var errEarly = errors.New("the batch is not complete")

func (g *guard) Sign(msg []byte) ([]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	sig, err := g.sign(msg)
	if !errors.Is(err, errEarly) {
		g.err = err
	}
	return sig, err
}

func (g *guard) sign(msg []byte) ([]byte, error) {
	var cp flog.Checkpoint
	if _, err := cp.Unmarshal(msg); err != nil {
		return nil, fmt.Errorf("the log asks to sign what is not a checkpoint: %w", err)
	}
	if cp.Size == 0 && g.want.size > 0 && bytes.Equal(cp.Hash, rfc6962.DefaultHasher.EmptyRoot()) && cp.Origin == g.Name() {
		// Tessera asks for it when a new log's first batch takes long. The empty log
		// is the beginning of every log, so it is no fork.
		return g.Signer.Sign(msg)
	}
	if cp.Size < g.want.size {
		return nil, errEarly
	}
	if cp.Origin != g.Name() || cp.Size != g.want.size || !bytes.Equal(cp.Hash, g.want.root) {
		return nil, fmt.Errorf("%w: the log asks to sign size %d root %s, but the entries make size %d root %s", errFork,
			cp.Size, hex.EncodeToString(cp.Hash), g.want.size, hex.EncodeToString(g.want.root))
	}
	signed, err := note.Sign(&note.Note{Text: string(msg)}, g.Signer)
	if err != nil {
		return nil, err
	}
	if !g.done {
		g.want.note = signed
		if err := g.keep(g.want); err != nil {
			return nil, err
		}
		g.done = true
	}
	return g.Signer.Sign(msg)
}

// outcome is the note that was signed, nil if none was, and why the last request was refused.
func (g *guard) outcome() ([]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.done && g.err == nil {
		return g.want.note, nil
	}
	return nil, g.err
}

package journal

import (
	"bytes"
	"strings"

	flog "github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/merkle/compact"
	"golang.org/x/mod/sumdb/note"
)

// Checkpoint is a signed statement about the journal's first Size entries.
type Checkpoint struct {
	Origin string // the log's name
	Size   uint64
	Root   []byte // RFC 6962 root over the entries' bytes
	Note   []byte // the C2SP tlog-checkpoint, exactly as signed; empty at size 0
}

// kept is a checkpoint as the database keeps it.
type kept struct {
	size uint64
	root []byte
	tree *compact.Range // [0, size)
	note []byte         // signed; empty at size 0
}

// keepQuery replaces one kept checkpoint by another: size, root, nodes and note of
// the new one, size and root of the old one.
const keepQuery = `UPDATE checkpoint SET size=$1, root=$2, nodes=$3, note=$4 WHERE one=1 AND size=$5 AND root=$6`

// nodes is the compact range as bytes.
func (k *kept) nodes() []byte { return bytes.Join(k.tree.Hashes(), nil) }

// sign signs k as a checkpoint of the signer's log.
func (k *kept) sign(by note.Signer) (err error) {
	text := flog.Checkpoint{Origin: by.Name(), Size: k.size, Hash: k.root}.Marshal()
	k.note, err = note.Sign(&note.Note{Text: string(text)}, by)
	return err
}

func (k *kept) public() Checkpoint {
	origin, _, _ := strings.Cut(string(k.note), "\n")
	return Checkpoint{Origin: origin, Size: k.size, Root: k.root, Note: k.note}
}

// openCheckpoint checks the signature of a checkpoint and reads it.
func openCheckpoint(raw []byte, v note.Verifier) (*flog.Checkpoint, *note.Note, error) {
	cp, _, n, err := flog.ParseCheckpoint(raw, v.Name(), v)
	return cp, n, err
}

// keyName is the name and the hash of a vkey, which tell keys apart for people.
func keyName(vkey string) string {
	parts := strings.SplitN(vkey, "+", 3)
	return strings.Join(parts[:min(2, len(parts))], "+")
}

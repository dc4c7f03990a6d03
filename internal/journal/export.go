package journal

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/tessera/api/layout"

	"github.com/isogate/isogate"
)

// An export is a run of a journal's sealed entries that can be checked with the
// public key alone. It is text, one JSON object per line:
//
//	{"format":"isogate-journal/1","tenant":"acme","origin":"isogate/acme","vkey":"isogate/acme+…","first":0,"count":300}
//	{"id":"01JD…","seq":0,…}                    the exact bytes of an entry, which are its Merkle leaf
//	…
//	{"id":"01JD…","seq":255,…}
//	{"first":0,"leaves":"…"}                    after the last entry of each 256: their RFC 6962 leaf hashes, as the log's tiles have them
//	{"id":"01JD…","seq":256,…}
//	…
//	{"first":256,"leaves":"…"}
//	{"checkpoint":"isogate/acme\n300\n…","left":[],"right":[]}
//
// left and right are the compact ranges of the log before the first entry and
// behind the last: the RFC 6962 hashes of the fewest perfect subtrees that cover
// them, left to right. With them the root over the whole log follows from the
// entries of any run. The leaf hashes are not needed to know that something was
// changed, but to name what.
//
// Every line but the entries is written in one way only, so that a byte changed
// anywhere is seen.

// ExportFormat names the format of an export's first line.
const ExportFormat = "isogate-journal/1"

type exportHeader struct {
	Format string         `json:"format"`
	Tenant isogate.Tenant `json:"tenant"`
	Origin string         `json:"origin"`
	Vkey   string         `json:"vkey"`
	First  uint64         `json:"first"`
	Count  uint64         `json:"count"`
}

type exportLeaves struct {
	First  uint64 `json:"first"`
	Leaves string `json:"leaves"`
}

type exportEnd struct {
	Checkpoint string   `json:"checkpoint"`
	Left       [][]byte `json:"left"`
	Right      [][]byte `json:"right"`
}

// blockEnd is the end of the block of at most 256 entries that seq is in.
func blockEnd(seq, end uint64) uint64 {
	return min(end, (seq/layout.TileWidth+1)*layout.TileWidth)
}

// Range is a run of entries by seq.
type Range struct {
	// First is the seq of the first entry.
	First uint64
	// End is the seq behind the last one; zero, and whatever is larger, is the
	// number of sealed entries.
	End uint64
}

// Span returns the run of entries that were recorded from since up to before,
// by the time in their IDs. Zero times do not bound it.
func (r *Reader) Span(ctx context.Context, f Filter) (Range, error) {
	from, to, err := r.bounds(ctx, Filter{Since: f.Since, Before: f.Before})
	if err == nil && from >= to {
		err = fmt.Errorf("journal %s: %w", r.place, ErrNoEntry)
	}
	return Range{First: from, End: to}, err
}

// ErrNoEntry says that there is nothing in the time that was asked for.
var ErrNoEntry = errors.New("no entry was recorded in that time; name a wider one")

// ErrNothingSealed says that no checkpoint covers what was asked for.
var ErrNothingSealed = errors.New("no checkpoint covers it yet; try again in a second")

// Export writes the sealed entries of a run, and what is needed to verify them
// offline; see [VerifyExport]. Entries behind the newest checkpoint are left out.
func (r *Reader) Export(ctx context.Context, w io.Writer, run Range) error {
	s, err := r.Snapshot(ctx)
	if err != nil {
		return err
	}
	return s.Export(ctx, w, run)
}

// Snapshot is the journal under one checkpoint: what is taken from it belongs
// together, however far the journal goes on meanwhile.
type Snapshot struct {
	Tenant isogate.Tenant
	Vkey   string // see [Reader.Verifier]
	r      *Reader
	k      *kept
}

// Snapshot is the journal under its newest checkpoint.
func (r *Reader) Snapshot(ctx context.Context) (*Snapshot, error) {
	k, err := r.kept(ctx)
	if err != nil {
		return nil, err
	}
	tenant, err := r.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	vkey, err := r.Verifier(ctx)
	return &Snapshot{tenant, vkey, r, k}, err
}

// Checkpoint is the one that the snapshot is under. Its signature is not checked here.
func (s *Snapshot) Checkpoint() Checkpoint { return s.k.public() }

// Prove returns a proof that an entry is under the checkpoint. Errors are those of
// [Reader.Prove].
func (s *Snapshot) Prove(ctx context.Context, id isogate.EntryID) (Proof, error) {
	return s.r.prove(ctx, s.k, id)
}

// ProveSeq is Prove of the entry with a seq.
func (s *Snapshot) ProveSeq(ctx context.Context, seq uint64) (Proof, error) {
	body, err := s.r.row(ctx, seq)
	if err == nil && body == nil {
		err = fmt.Errorf("journal %s: entry %d: %w", s.r.place, seq, ErrNotFound)
	}
	if err != nil {
		return Proof{}, err
	}
	return s.r.proveRow(ctx, s.k, seq, body)
}

// Export is [Reader.Export] under the checkpoint of the snapshot.
func (s *Snapshot) Export(ctx context.Context, w io.Writer, run Range) error {
	r, k := s.r, s.k
	if run.End == 0 || run.End > k.size {
		run.End = k.size
	}
	if run.First >= run.End {
		return fmt.Errorf("journal %s: entry %d: %w", r.place, run.First, ErrNothingSealed)
	}
	origin, _, _ := bytes.Cut(k.note, []byte("\n"))
	out := bufio.NewWriterSize(w, 64<<10)
	if err := writeLine(out, exportHeader{ExportFormat, s.Tenant, string(origin), s.Vkey, run.First, run.End - run.First}); err != nil {
		return err
	}
	t := r.tree
	for seq := run.First; seq < run.End; {
		end := blockEnd(seq, run.End)
		// The rows as they are: to find out whether they are what was sealed is the verifier's.
		err := r.each(ctx, seq, end, func(_ uint64, body []byte) error {
			_, err := out.Write(append(body, '\n'))
			return err
		})
		if err != nil {
			return err
		}
		leaves, err := t.leaves(ctx, seq, end, k.size)
		if err != nil {
			return r.wrap(err)
		}
		if err := writeLine(out, exportLeaves{seq, base64.StdEncoding.EncodeToString(bytes.Join(leaves, nil))}); err != nil {
			return err
		}
		seq = end
	}
	last := exportEnd{Checkpoint: string(k.note)}
	var err error
	if last.Left, err = t.nodes(ctx, compact.RangeNodes(0, run.First, nil), k.size); err != nil {
		return r.wrap(err)
	}
	if last.Right, err = t.nodes(ctx, compact.RangeNodes(run.End, k.size, nil), k.size); err != nil {
		return r.wrap(err)
	}
	if err := writeLine(out, last); err != nil {
		return err
	}
	return out.Flush()
}

// line is the one way in which a line other than an entry is written.
func line(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return b.Bytes(), err
}

func writeLine(w io.Writer, v any) error {
	b, err := line(v)
	if err == nil {
		_, err = w.Write(b)
	}
	return err
}

// readLine is the inverse of line; it takes no other spelling.
func readLine(b []byte, v any) error {
	if err := json.Unmarshal(b, v); err != nil {
		return err
	}
	again, err := line(v)
	if err == nil && !bytes.Equal(again, append(bytes.Clone(b), '\n')) {
		err = errors.New("it is not spelled as an export is")
	}
	return err
}

package journal

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
)

// Report is what a verified run of entries is.
type Report struct {
	Tenant isogate.Tenant `json:"tenant"`
	Origin string         `json:"origin"` // the log's name
	Size   uint64         `json:"size"`   // entries under the checkpoint
	Root   string         `json:"root"`   // hexadecimal
	First  uint64         `json:"first"`  // seq of the run's first entry
	Count  uint64         `json:"count"`
	// FirstID and LastID are the IDs of the run's first and last entry.
	FirstID isogate.EntryID `json:"first_id"`
	LastID  isogate.EntryID `json:"last_id"`
	// Unclosed are the releases that were opened in the run and not closed in it:
	// under way when the run ends, or cut off by the end of a gateway.
	Unclosed []isogate.EntryID `json:"unclosed,omitempty"`
	// Unsealed is how many entries of a live journal no checkpoint covers yet.
	Unsealed uint64 `json:"unsealed,omitempty"`
	// Checkpoint is the signed note that the run is under; nil of a live journal.
	Checkpoint []byte `json:"-"`
}

// Damage is one thing that keeps a run from verifying.
type Damage struct {
	// Entry says that it is an entry, at Seq and, where that can be read, ID.
	Entry bool            `json:"entry"`
	Seq   uint64          `json:"seq"`
	ID    isogate.EntryID `json:"id,omitempty"`
	// Line of the export, from 1; 0 if the damage is in no line.
	Line int `json:"line,omitempty"`
	// What is wrong.
	What string `json:"what"`
}

func (d Damage) String() string {
	var b bytes.Buffer
	if d.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", d.Line)
	}
	if d.Entry {
		fmt.Fprintf(&b, "entry %d", d.Seq)
		if d.ID != "" {
			fmt.Fprintf(&b, " (%s)", d.ID)
		}
		b.WriteString(": ")
	}
	b.WriteString(d.What)
	return b.String()
}

// DamageError says that a run does not verify, and where. The first damage comes first.
type DamageError struct{ Damages []Damage }

func (e *DamageError) Error() string {
	switch n := len(e.Damages) - 1; n {
	case 0:
		return "the journal does not verify: " + e.Damages[0].String()
	default:
		return fmt.Sprintf("the journal does not verify: %s; and %d more", e.Damages[0], n)
	}
}

func damaged(line int, format string, args ...any) *DamageError {
	return &DamageError{[]Damage{{Line: line, What: fmt.Sprintf(format, args...)}}}
}

const (
	// maxLine is longer than any line of an export.
	maxLine = 1 << 20
	// maxDamages is how many damages are told apart.
	maxDamages = 1000
)

// VerifyExport checks an export by the public key alone: that the checkpoint at
// its end is signed by vkey (a C2SP vkey), that the entries are, byte by byte and
// in their order, those that it covers, that their seqs have no gap, that their
// IDs are ordered and that they are one tenant's. If it does not verify the error
// is a [*DamageError] that names the first damaged entry; other errors say that
// it could not be read. Memory does not grow with the number of entries.
//
// promise: P22
func VerifyExport(r io.Reader, vkey string) (Report, error) {
	v, err := newVerification(r, vkey)
	if err != nil {
		return Report{}, err
	}
	return v.run(nil)
}

// VerifyExportEach is [VerifyExport] that gives each entry to do as it is read. What it
// gives is verified when it returns without an error, and not before: do keeps what it
// makes of the entries to itself until then. An error of do's is returned, unless the
// export does not verify.
func VerifyExportEach(r io.Reader, vkey string, do func(*isogate.Entry) error) (Report, error) {
	v, err := newVerification(r, vkey)
	if err != nil {
		return Report{}, err
	}
	var failed error
	rep, err := v.run(func(_ uint64, body, _ []byte) {
		if failed != nil {
			return
		}
		e, err := decode(body)
		if err == nil {
			err = do(&e)
		}
		failed = err
	})
	if err == nil {
		err = failed
	}
	return rep, err
}

// verification reads an export once, building two compact ranges: one over the
// entries, one over the leaf hashes that come with them. The one that makes the
// signed root tells which of the two was changed where they differ.
type verification struct {
	in   *bufio.Reader
	line int // number of the line last read
	key  note.Verifier
	head exportHeader
	end  exportEnd

	entries, leaves *compact.Range
	broken          bool     // the entries cannot be counted any more
	unknown         bool     // a line of leaf hashes is lost
	suspects        []Damage // entries that differ from their leaf hash
	faults          []Damage // anything else
	strayLeaves     []Damage // lines of leaf hashes that suspects are from

	lastID   isogate.EntryID
	firstID  isogate.EntryID
	unclosed map[isogate.EntryID]uint64
}

func newVerification(r io.Reader, vkey string) (*verification, error) {
	key, err := note.NewVerifier(vkey)
	if err != nil {
		return nil, fmt.Errorf("the public key: %w; use the line of the .pub file", err)
	}
	v := &verification{in: bufio.NewReaderSize(r, 64<<10), key: key, unclosed: map[isogate.EntryID]uint64{}}
	raw, err := v.next()
	if err != nil {
		return nil, err
	}
	if raw == nil {
		return nil, damaged(0, "the export is empty")
	}
	if err := readLine(raw, &v.head); err != nil {
		return nil, damaged(1, "the export's first line cannot be read: %v", err)
	}
	switch h := v.head; {
	case h.Format != ExportFormat:
		return nil, damaged(1, "the format is %q, not %q; use the release that wrote it", h.Format, ExportFormat)
	case h.Vkey != vkey:
		return nil, damaged(1, "the export was made for the key %s, not for %s; bring the public key of this journal", h.Vkey, vkey)
	case h.Origin != key.Name():
		return nil, damaged(1, "the log is called %q, but the key is of %q", h.Origin, key.Name())
	case h.Count == 0 || h.First+h.Count < h.First:
		return nil, damaged(1, "the export says that it has %d entries from %d on", h.Count, h.First)
	}
	v.entries, v.leaves = ranges.NewEmptyRange(v.head.First), ranges.NewEmptyRange(v.head.First)
	return v, nil
}

// next reads a line without its end; nil at the end of the export.
func (v *verification) next() ([]byte, error) {
	var raw []byte
	for {
		part, err := v.in.ReadSlice('\n')
		raw = append(raw, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull) && len(raw) <= maxLine:
			continue
		case errors.Is(err, bufio.ErrBufferFull):
			return nil, damaged(v.line+1, "the line is longer than any of an export")
		case errors.Is(err, io.EOF) && len(raw) == 0:
			return nil, nil
		case errors.Is(err, io.EOF):
			v.line++
			return nil, damaged(v.line, "the export is cut off here")
		case err != nil:
			return nil, err
		}
		v.line++
		return raw[:len(raw)-1], nil
	}
}

// run verifies what follows the first line. visit, if set, is given every entry and its leaf hash.
func (v *verification) run(visit func(seq uint64, body, leaf []byte)) (Report, error) {
	end := v.head.First + v.head.Count
	var held []numbered // lines that are not leaf hashes
	for seq := v.head.First; ; {
		raw, err := v.next()
		if err != nil {
			return Report{}, v.with(err)
		}
		last := raw == nil || bytes.HasPrefix(raw, []byte(`{"checkpoint":`))
		if !last && !bytes.HasPrefix(raw, []byte(`{"first":`)) {
			if len(held) > 2*blockSize {
				return Report{}, v.with(damaged(v.line, "more entries than a block has follow one another"))
			}
			held = append(held, numbered{v.line, raw})
			continue
		}
		var leaves exportLeaves
		var hashes [][]byte
		if !last {
			err := readLine(raw, &leaves)
			if err == nil {
				hashes, err = leaves.hashes(blockEnd(leaves.First, end))
			}
			if err != nil {
				// As lost: the entries alone must make the root.
				v.fault(Damage{Line: v.line, What: fmt.Sprintf("this line of leaf hashes cannot be read: %v", err)})
				leaves.First = seq
			}
		} else {
			leaves.First = end
		}
		// Blocks whose line of leaf hashes did not come, or not so that it could be told from an entry.
		due := blockEnd(leaves.First, end)
		for seq < leaves.First && seq < end {
			if len(held) == 0 {
				// However much it is: the file says how much, and may lie.
				v.suspect(Damage{Entry: true, Seq: seq, Line: v.line, What: outOfStep(true)})
				v.broken, v.unknown = true, true
				seq = min(leaves.First, end)
				break
			}
			to := blockEnd(seq, end)
			v.fault(Damage{Line: v.line, What: fmt.Sprintf("the leaf hashes of the entries from %d on are missing", seq)})
			n := min(int(to-seq), len(held)) //nolint:gosec // a block's length
			v.block(seq, to, held[:n], nil, visit)
			held, seq = held[n:], to
			if uint64(len(held)) > due-seq {
				held = held[1:] // what is left of that line
			}
		}
		if last {
			for _, l := range held {
				v.fault(Damage{Line: l.n, What: "the line is too many"})
			}
			return v.finish(raw)
		}
		if leaves.First != seq {
			v.fault(Damage{Line: v.line, What: fmt.Sprintf("the leaf hashes are of the entries from %d on, not from %d on", leaves.First, seq)})
			v.broken = true
			held = nil
			continue
		}
		to := blockEnd(seq, end)
		v.block(seq, to, held, hashes, visit)
		held, seq = nil, to
	}
}

const blockSize = 256

type numbered struct {
	n   int
	raw []byte
}

func (l exportLeaves) hashes(end uint64) ([][]byte, error) {
	raw, err := base64.StdEncoding.Strict().DecodeString(l.Leaves)
	if err != nil {
		return nil, err
	}
	if l.First >= end || uint64(len(raw)) != (end-l.First)*32 {
		return nil, errors.New("they are not as many as entries")
	}
	return bytes32(raw), nil
}

// block takes in the entries [from, to) and their leaf hashes; nil if these are lost.
func (v *verification) block(from, to uint64, lines []numbered, hashes [][]byte, visit func(uint64, []byte, []byte)) {
	want := int(to - from) //nolint:gosec // a block's length
	if hashes == nil {
		v.unknown = true
	}
	for _, h := range hashes {
		_ = v.leaves.Append(h, nil) // only fails on a range that was made wrongly
	}
	strayed := false
	for i := range min(want, len(lines)) {
		l, seq := lines[i], from+uint64(i)
		leaf := rfc6962.DefaultHasher.HashLeaf(l.raw)
		_ = v.entries.Append(leaf, nil)
		if hashes != nil && !bytes.Equal(leaf, hashes[i]) {
			if len(lines) != want {
				// From here on lines and hashes are out of step.
				v.suspect(Damage{Entry: true, Seq: seq, Line: l.n, ID: claimedID(l.raw), What: outOfStep(len(lines) < want)})
				v.broken = true
				return
			}
			strayed = true
			v.suspect(Damage{Entry: true, Seq: seq, Line: l.n, ID: claimedID(l.raw), What: "its bytes are not those that were sealed"})
			continue
		}
		v.entry(seq, l)
		if visit != nil {
			visit(seq, l.raw, leaf)
		}
	}
	if strayed {
		v.strayLeaves = append(v.strayLeaves, Damage{Line: v.line, What: "a leaf hash was changed; the entries themselves verify"})
	}
	if len(lines) != want {
		at := Damage{Entry: true, Seq: from + uint64(min(want, len(lines))), What: outOfStep(len(lines) < want)} //nolint:gosec // lengths
		if len(lines) > want {
			at.Line = lines[want].n
		} else {
			at.Line = v.line
		}
		v.suspect(at)
		v.broken = true
	}
}

func outOfStep(missing bool) string {
	if missing {
		return "it is missing here"
	}
	return "a line was put in here"
}

// entry checks what an entry says of itself.
func (v *verification) entry(seq uint64, l numbered) {
	var e struct {
		ID     isogate.EntryID `json:"id"`
		Seq    uint64          `json:"seq"`
		Tenant isogate.Tenant  `json:"tenant"`
		Stage  isogate.Stage   `json:"stage"`
		Of     isogate.EntryID `json:"of"`
		Closes []struct {
			Of isogate.EntryID `json:"of"`
		} `json:"closes"`
	}
	at := Damage{Entry: true, Seq: seq, Line: l.n, ID: claimedID(l.raw)}
	switch err := json.Unmarshal(l.raw, &e); {
	case err != nil:
		at.What = "it cannot be read: " + err.Error()
	case e.Seq != seq:
		at.What = fmt.Sprintf("it says that its seq is %d", e.Seq)
	case e.ID <= v.lastID:
		at.What = fmt.Sprintf("its ID does not come after %s", v.lastID)
	case e.Tenant != v.head.Tenant:
		at.What = fmt.Sprintf("it is of tenant %q, the export of %q", e.Tenant, v.head.Tenant)
	}
	if at.What != "" {
		v.fault(at)
		return
	}
	if v.firstID == "" {
		v.firstID = e.ID
	}
	v.lastID = e.ID
	switch e.Stage {
	case isogate.StageOpened:
		v.unclosed[e.ID] = seq
	case isogate.StageClosed:
		delete(v.unclosed, e.Of)
		for _, c := range e.Closes {
			delete(v.unclosed, c.Of)
		}
	}
}

// claimedID is the ID at its place in an entry, if it looks like one.
func claimedID(raw []byte) isogate.EntryID {
	id := idOf(raw)
	for i := range len(id) {
		if c := id[i]; (c < '0' || c > '9') && (c < 'A' || c > 'Z') {
			return ""
		}
	}
	return id
}

func (v *verification) suspect(d Damage) {
	if len(v.suspects) < maxDamages {
		v.suspects = append(v.suspects, d)
	}
}

func (v *verification) fault(d Damage) {
	if len(v.faults) < maxDamages {
		v.faults = append(v.faults, d)
	}
}

// with adds what was found before to an error that ends the verification.
func (v *verification) with(err error) error {
	var d *DamageError
	if !errors.As(err, &d) {
		return err
	}
	return v.all(append(d.Damages, v.suspects...))
}

// all is every damage, entries first, each by its line.
func (v *verification) all(damages []Damage) error {
	damages = append(damages, v.faults...)
	slices.SortStableFunc(damages, func(a, b Damage) int {
		switch {
		case a.Entry != b.Entry && a.Entry:
			return -1
		case a.Entry != b.Entry:
			return 1
		}
		return a.Line - b.Line
	})
	return &DamageError{damages}
}

// finish judges by the last line.
func (v *verification) finish(raw []byte) (Report, error) {
	if raw == nil {
		return Report{}, v.with(damaged(v.line, "the export ends without its checkpoint"))
	}
	lastLine := v.line
	end := &v.end
	if err := readLine(raw, end); err != nil {
		return Report{}, v.with(damaged(lastLine, "the last line cannot be read: %v", err))
	}
	if more, err := v.next(); err != nil || more != nil {
		return Report{}, v.with(damaged(v.line, "something follows the last line"))
	}
	cp, _, err := openCheckpoint([]byte(end.Checkpoint), v.key)
	if err != nil {
		return Report{}, v.with(damaged(lastLine, "the checkpoint is not signed by the key %s+%08x: %v", v.key.Name(), v.key.KeyHash(), err))
	}
	made := func(r *compact.Range) bool {
		root, err := whole(r, v.head.First, v.head.First+v.head.Count, cp.Size, end.Left, end.Right)
		return err == nil && bytes.Equal(root, cp.Hash)
	}
	// Most often all is well, so the entries are asked first.
	switch {
	case !v.broken && made(v.entries):
		v.faults = append(v.faults, v.strayLeaves...)
		if len(v.faults) > 0 {
			return Report{}, v.all(nil)
		}
	case !v.unknown && made(v.leaves) && len(v.suspects) > 0:
		return Report{}, v.all(v.suspects)
	case len(v.suspects) > 0 || len(v.faults) > 0:
		return Report{}, v.all(append(v.suspects, Damage{Line: lastLine, What: "the leaf hashes do not make the signed root either"}))
	default:
		return Report{}, v.all([]Damage{{Line: lastLine, What: fmt.Sprintf("the entries do not make the root that was signed over %d of them, "+
			"though they agree with the leaf hashes beside them: both were replaced, or the hashes in the last line were", cp.Size)}})
	}
	rep := Report{Tenant: v.head.Tenant, Origin: v.head.Origin, Size: cp.Size, Root: hex.EncodeToString(cp.Hash),
		First: v.head.First, Count: v.head.Count, FirstID: v.firstID, LastID: v.lastID, Checkpoint: []byte(end.Checkpoint)}
	for id := range v.unclosed {
		rep.Unclosed = append(rep.Unclosed, id)
	}
	slices.Sort(rep.Unclosed)
	return rep, nil
}

// whole is the root over a log of the given size, whose leaves [first, end) make
// r and whose other leaves make the perfect subtrees left and right. It leaves r alone.
func whole(r *compact.Range, first, end, size uint64, left, right [][]byte) ([]byte, error) {
	if end > size {
		return nil, errors.New("the checkpoint covers fewer entries")
	}
	for _, h := range slices.Concat(left, right) {
		if len(h) != 32 {
			return nil, errors.New("a hash of the last line is not 32 bytes long")
		}
	}
	all, err := ranges.NewRange(0, first, slices.Clone(left))
	if err != nil {
		return nil, err
	}
	behind, err := ranges.NewRange(end, size, slices.Clone(right))
	if err != nil {
		return nil, err
	}
	if err := all.AppendRange(r, nil); err != nil {
		return nil, err
	}
	if err := all.AppendRange(behind, nil); err != nil {
		return nil, err
	}
	return rootOf(all)
}

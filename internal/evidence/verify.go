package evidence

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/journal"
	"github.com/isogate/isogate/internal/policy"
)

// Verdict is what a file of evidence that verifies is of.
type Verdict struct {
	journal.Report
	Period  Period `json:"period"`
	Release string `json:"release"` // that made it, as it says
	// Missing are the packs that entries name and that are not in the file.
	Missing []string `json:"missing,omitempty"`
	// Summary is what its report says.
	Summary *Summary `json:"summary"`
	// Page is report.html.
	Page []byte `json:"-"`
}

// Damage is one thing that keeps a file of evidence from verifying.
type Damage struct {
	File string `json:"file,omitempty"` // in the archive; "" where it is the archive itself
	What string `json:"what"`
}

func (d Damage) String() string {
	if d.File == "" {
		return d.What
	}
	return fmt.Sprintf("%s: %s", d.File, d.What)
}

// DamageError says that a file of evidence does not verify, and where. The first
// damage comes first.
type DamageError struct{ Damages []Damage }

func (e *DamageError) Error() string {
	if n := len(e.Damages) - 1; n > 0 {
		return fmt.Sprintf("the evidence does not verify: %s; and %d more", e.Damages[0], n)
	}
	return "the evidence does not verify: " + e.Damages[0].String()
}

func damaged(file, format string, args ...any) *DamageError {
	return &DamageError{[]Damage{{file, fmt.Sprintf(format, args...)}}}
}

// Verify checks a file of evidence by the journal's public key (a C2SP vkey) alone.
// If it does not verify the error is a [*DamageError] that names what is damaged;
// other errors say that it could not be read.
//
// promise: P22
func Verify(r io.ReaderAt, size int64, vkey string, noteOf NoteOf) (*Verdict, error) {
	v := &verification{vkey: vkey, note: noteOf, tally: newTally(), keys: landingKeys{}}
	var err error
	if v.box, err = openBox(r, size); err != nil {
		return nil, err
	}
	if err := v.readManifest(); err != nil {
		return nil, err
	}
	// In the order in which one needs the other.
	for _, step := range []func() error{v.checkKey, v.checkPacks, v.checkBefore, v.checkEntries, v.checkEdges, v.checkReceipts, v.checkDerived} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return v.verdict(), nil
}

type verification struct {
	vkey     string
	note     NoteOf
	box      *box
	manifest manifest

	tally      *tally
	keys       landingKeys
	here       map[string]bool // packs, by digest
	outside    *outside
	receipts   hash.Hash // over receipts.jsonl as it must be
	before     []uint64  // seqs of what is from before the period
	report     journal.Report
	checkpoint []byte
	page       []byte
}

// maxManifest is more than the manifest of a file that can be made has.
const maxManifest = 64 << 20

func (v *verification) readManifest() error {
	raw, err := v.box.read(manifestName, maxManifest)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	m := &v.manifest
	if err := d.Decode(m); err != nil {
		return damaged(manifestName, "it cannot be read: %v", err)
	}
	if m.Format != Format {
		return damaged(manifestName, "the format is %.80q, not %q; use the release that made it", m.Format, Format)
	}
	if again, err := json.MarshalIndent(m, "", " "); err != nil || !bytes.Equal(append(again, '\n'), raw) {
		return damaged(manifestName, "it is not spelled as manifests are")
	}
	names := v.box.names()
	if len(m.Files) != len(names)-1 || names[len(names)-1] != manifestName {
		return damaged(manifestName, "it has %d files, and the archive %d beside it", len(m.Files), len(names)-1)
	}
	for i, f := range m.Files {
		if f.Path != names[i] {
			return damaged(names[i], "the manifest has %.200q in its place", f.Path)
		}
		v.box.expect(f)
	}
	return nil
}

func (v *verification) checkKey() error {
	raw, err := v.box.read(keyName, 4<<10)
	if err != nil {
		return err
	}
	if string(raw) != v.vkey+"\n" {
		return damaged(keyName, "the file was made for the key %.200q, and you brought %s; bring the public key of this journal", strings.TrimSpace(string(raw)), v.vkey)
	}
	v.checkpoint, err = v.box.read(checkpointName, 64<<10)
	return err
}

// checkPacks takes the packs that are there, each against the digest that it is named by.
func (v *verification) checkPacks() error {
	v.here = map[string]bool{}
	for dir, names := range v.box.packs() {
		contents := map[string][]byte{}
		for _, name := range names {
			src, err := v.box.read(name, policy.MaxFile)
			if err != nil {
				return err
			}
			contents[strings.TrimPrefix(name, dir)] = src
		}
		digest := "sha256:" + strings.TrimSuffix(strings.TrimPrefix(dir, packsDir), "/")
		files, err := policy.NewFiles(contents)
		if err != nil {
			return damaged(dir, "it is no pack: %v", err)
		}
		if files.Digest() != digest {
			return damaged(dir, "its files are those of the pack %s", files.Digest())
		}
		v.keys.add(files)
		v.here[digest] = true
	}
	return nil
}

// checkBefore takes what is from before the period, each by its proof.
func (v *verification) checkBefore() error {
	names := v.box.under(beforeDir)
	if len(names) > maxBefore+1 {
		return damaged(beforeDir, "it has %d proofs; there are %d at the most", len(names), maxBefore+1)
	}
	next := uint64(0)
	for _, name := range names {
		p, e, err := v.proof(name)
		if err != nil {
			return err
		}
		switch {
		case name != beforeDir+string(e.ID)+proofSuffix:
			return damaged(name, "it is the proof of entry %s", e.ID)
		case e.Seq < next:
			return damaged(name, "it is not in the order of the journal")
		case e.Kind != isogate.KindConsent && (e.Kind != isogate.KindPack || e.Act != actLoaded):
			return damaged(name, "it is neither a consent nor a pack that was loaded")
		}
		next = e.Seq + 1
		v.tally.before(&e)
		v.before = append(v.before, p.Index)
	}
	return nil
}

// proof reads a proof and verifies it, under the checkpoint that everything is under.
func (v *verification) proof(name string) (journal.Proof, isogate.Entry, error) {
	var p journal.Proof
	raw, err := v.box.read(name, 1<<20)
	if err != nil {
		return p, isogate.Entry{}, err
	}
	if err := p.UnmarshalText(raw); err != nil {
		return p, isogate.Entry{}, damaged(name, "%v", err)
	}
	e, _, err := p.Verify(v.vkey)
	if err != nil {
		return p, e, damaged(name, "%v", err)
	}
	if !bytes.Equal(p.Checkpoint, v.checkpoint) {
		return p, e, damaged(name, "it is under another checkpoint than the file %s", checkpointName)
	}
	return p, e, nil
}

// checkEntries verifies the entries, and makes of them what the reports and the receipts must be.
func (v *verification) checkEntries() error {
	v.outside, v.receipts = newOutside(v.keys, v.note), sha256.New()
	r, err := v.box.open(entriesName, -1)
	if err != nil {
		return err
	}
	v.report, err = journal.VerifyExportEach(r, v.vkey, func(e *isogate.Entry) error {
		v.tally.add(e)
		if e.Kind != isogate.KindLanding {
			return nil
		}
		line, err := v.outside.add(e)
		v.receipts.Write(line)
		return err
	})
	var d *journal.DamageError
	if errors.As(err, &d) {
		all := &DamageError{}
		for _, x := range d.Damages {
			all.Damages = append(all.Damages, Damage{entriesName, x.String()})
		}
		return all
	}
	if err == nil {
		err = r.Close()
	}
	if err != nil {
		return v.box.fault(entriesName, err)
	}
	if !bytes.Equal(v.report.Checkpoint, v.checkpoint) {
		return damaged(checkpointName, "it is not the one that the entries are under")
	}
	if v.manifest.Tenant != v.report.Tenant {
		return damaged(manifestName, "it says that the tenant is %.80q, the entries are of %s", v.manifest.Tenant, v.report.Tenant)
	}
	return nil
}

// checkEdges makes sure that the entries are all that the period has: the next ones on either
// side are not of it.
func (v *verification) checkEdges() error {
	p, first, end := v.manifest.Period, v.report.First, v.report.First+v.report.Count
	from, err := recorded(v.report.FirstID)
	if err != nil {
		return damaged(entriesName, "%v", err)
	}
	to, err := recorded(v.report.LastID)
	if err != nil {
		return damaged(entriesName, "%v", err)
	}
	if from.Before(p.Since) || !p.Before.IsZero() && !to.Before(p.Before) {
		return damaged(entriesName, "there are entries of %s to %s, which is not within the period %s", moment(from), moment(to), period(p))
	}
	if first == 0 != (v.box.at(edgeBefore) == nil) {
		return damaged(edgeBefore, "the entry before the first one must be there, unless that is the journal's first")
	}
	if (end == v.report.Size) != (v.box.at(edgeAfter) == nil) {
		return damaged(edgeAfter, "the entry after the last one must be there, unless that is the last under the checkpoint")
	}
	for _, edge := range []struct {
		name  string
		there bool
		index uint64
		in    func(t time.Time) bool // of the period
	}{
		{edgeBefore, first > 0, first - 1, func(t time.Time) bool { return !t.Before(p.Since) }},
		{edgeAfter, end < v.report.Size, end, func(t time.Time) bool { return p.Before.IsZero() || t.Before(p.Before) }},
	} {
		if !edge.there {
			continue
		}
		proof, e, err := v.proof(edge.name)
		if err != nil {
			return err
		}
		t, err := recorded(e.ID)
		switch {
		case err != nil:
			return damaged(edge.name, "%v", err)
		case proof.Index != edge.index:
			return damaged(edge.name, "it is the proof of entry %d; the neighbour of the entries here is number %d", proof.Index, edge.index)
		case edge.in(t):
			return damaged(entriesName, "entry %d (%s) is of the period and not here", proof.Index, e.ID)
		}
	}
	for _, seq := range v.before {
		if seq >= first {
			return damaged(beforeDir, "entry %d is not from before the period", seq)
		}
	}
	return nil
}

// recorded is when an entry was recorded, as its ID says.
func recorded(id isogate.EntryID) (time.Time, error) {
	u, err := ulid.ParseStrict(string(id))
	if err != nil {
		return time.Time{}, fmt.Errorf("the entry's ID %.40q is none", id)
	}
	return ulid.Time(u.Time()).UTC(), nil
}

func (v *verification) checkReceipts() error {
	f := v.box.expected(receiptsName)
	if hex.EncodeToString(v.receipts.Sum(nil)) != f.SHA256 {
		return damaged(receiptsName, "it does not have the receipts that the entries have")
	}
	return v.box.drain(receiptsName)
}

// checkDerived makes the reports anew and compares them.
func (v *verification) checkDerived() error {
	t := v.tally
	for digest := range v.here {
		if t.packs[digest] == nil {
			return damaged(packDir(digest), "no entry names this pack")
		}
		t.packs[digest].Here = true
	}
	s := t.end()
	s.Outside = v.outside.end()
	s.Tenant, s.Log, s.Key, s.Period, s.Size, s.Earlier = v.report.Tenant, v.report.Origin, v.vkey, v.manifest.Period, v.report.Size, v.manifest.Earlier
	files, err := derived(s)
	if err != nil {
		return err
	}
	all := &DamageError{}
	for _, f := range files {
		if f.name == reportName {
			v.page = f.content
		}
		got, err := v.box.read(f.name, int64(len(f.content))+1)
		var d *DamageError
		switch {
		case errors.As(err, &d):
			all.Damages = append(all.Damages, d.Damages...)
		case err != nil:
			return err
		case !bytes.Equal(got, f.content):
			all.Damages = append(all.Damages, Damage{f.name, fmt.Sprintf("it does not say what follows from the entries (the file says that isogate %.40q made it; another release may word it otherwise: verify with that one)", v.manifest.Release)})
		}
	}
	if len(all.Damages) > 0 {
		return all
	}
	return nil
}

func (v *verification) verdict() *Verdict {
	out := &Verdict{Report: v.report, Period: v.manifest.Period, Release: v.manifest.Release, Summary: &v.tally.sum, Page: v.page}
	for _, p := range out.Summary.Packs {
		if !p.Here {
			out.Missing = append(out.Missing, p.Digest)
		}
	}
	slices.Sort(out.Missing)
	return out
}

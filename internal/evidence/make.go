package evidence

import (
	"archive/zip"
	"bytes"
	"cmp"
	"compress/flate"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/journal"
)

// Maker makes files of evidence. All of its members are required.
type Maker struct {
	Journal *journal.Reader
	Packs   Packs
	Note    NoteOf
	// Release is this program's, for people.
	Release string
}

// Evidence is one file that can be written: what was asked for exists.
type Evidence struct {
	maker  Maker
	period Period
	at     *journal.Snapshot
	run    journal.Range

	before  []isogate.Entry
	earlier int // consents that were left out
}

// Begin finds what a period's file is of. Errors are [ErrPeriod],
// [journal.ErrNoEntry], [journal.ErrNothingSealed], or that the journal cannot be
// read. Entries that no checkpoint covers yet are left out.
func (m Maker) Begin(ctx context.Context, p Period) (*Evidence, error) {
	if !p.Since.IsZero() && !p.Before.IsZero() && !p.Since.Before(p.Before) {
		return nil, ErrPeriod
	}
	p = Period{instant(p.Since), instant(p.Before)}
	e := &Evidence{maker: m, period: p}
	var err error
	// Before the end of the period is looked for: it may be now.
	if e.at, err = m.Journal.Snapshot(ctx); err != nil {
		return nil, err
	}
	if e.run, err = m.Journal.Span(ctx, journal.Filter{Since: p.Since, Before: p.Before}); err != nil {
		return nil, err
	}
	if e.run.End = min(e.run.End, e.at.Checkpoint().Size); e.run.First >= e.run.End {
		return nil, journal.ErrNothingSealed
	}
	return e, e.lookBefore(ctx)
}

// instant is a time in UTC and whole milliseconds, as IDs of entries know them.
func instant(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Millisecond)
}

// lookBefore finds what was recorded before the period and still counted in it: the acts of
// the ledger, and the last pack that was loaded.
func (e *Evidence) lookBefore(ctx context.Context) error {
	if e.run.First == 0 {
		return nil
	}
	for x, err := range e.maker.Journal.Entries(ctx, journal.Filter{Kind: isogate.KindConsent, Before: e.period.Since}) {
		if err != nil {
			return err
		}
		if x.Act == "given" || x.Act == "used" { // users' own, for one request or session
			continue
		}
		if len(e.before) == maxBefore {
			e.before = append(e.before[:0], e.before[1:]...)
			e.earlier++
		}
		e.before = append(e.before, x)
	}
	loaded, err := e.maker.Journal.List(ctx, journal.Filter{Kind: isogate.KindPack, Act: actLoaded, Before: e.period.Since, Newest: true, Limit: 1})
	e.before = append(e.before, loaded...)
	slices.SortFunc(e.before, func(a, b isogate.Entry) int { return cmp.Compare(a.Seq, b.Seq) })
	return err
}

// WriteTo writes the file. It is the same, byte by byte, for the same journal and
// checkpoint. What is written before an error is no archive: it has no directory.
func (e *Evidence) WriteTo(ctx context.Context, w io.Writer) error {
	a := newArchive(w)
	t := newTally()
	for i := range e.before {
		t.before(&e.before[i])
	}
	entries, err := a.create(entriesName)
	if err != nil {
		return err
	}
	reading := &lines{do: t.add}
	if err := e.at.Export(ctx, io.MultiWriter(entries, reading), e.run); err != nil {
		return err
	}
	for i := range e.before {
		if err := e.prove(ctx, a, beforeDir+string(e.before[i].ID)+proofSuffix, e.before[i].Seq); err != nil {
			return err
		}
	}
	// The neighbours of the run show that it begins and ends where the period does.
	if e.run.First > 0 {
		if err := e.prove(ctx, a, edgeBefore, e.run.First-1); err != nil {
			return err
		}
	}
	if e.run.End < e.at.Checkpoint().Size {
		if err := e.prove(ctx, a, edgeAfter, e.run.End); err != nil {
			return err
		}
	}
	keys, err := e.writePacks(ctx, a, t)
	if err != nil {
		return err
	}
	sum := t.end()
	if sum.Outside, err = e.writeReceipts(ctx, a, keys); err != nil {
		return err
	}
	cp := e.at.Checkpoint()
	sum.Tenant, sum.Log, sum.Key, sum.Period, sum.Size, sum.Earlier = e.at.Tenant, cp.Origin, e.at.Vkey, e.period, cp.Size, e.earlier
	if err := a.write(checkpointName, cp.Note); err != nil {
		return err
	}
	if err := a.write(keyName, []byte(e.at.Vkey+"\n")); err != nil {
		return err
	}
	made, err := derived(sum)
	if err != nil {
		return err
	}
	for _, f := range made {
		if err := a.write(f.name, f.content); err != nil {
			return err
		}
	}
	return a.finish(&manifest{Format: Format, Release: e.maker.Release, Tenant: e.at.Tenant, Period: e.period, Earlier: e.earlier})
}

func (e *Evidence) prove(ctx context.Context, a *archive, name string, seq uint64) error {
	p, err := e.at.ProveSeq(ctx, seq)
	if err != nil {
		return err
	}
	text, err := p.MarshalText()
	if err != nil {
		return err
	}
	return a.write(name, text)
}

// writePacks writes the packs that entries name and that are kept, one after the other,
// and returns their landings' keys.
func (e *Evidence) writePacks(ctx context.Context, a *archive, t *tally) (landingKeys, error) {
	keys := landingKeys{}
	for _, digest := range sorted(t.packs) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		files, err := e.maker.Packs.Files(digest)
		if err != nil {
			continue // the report says that it is not here, and the archive why
		}
		for path, src := range files.All() {
			if err := a.write(packDir(digest)+path, src); err != nil {
				return nil, err
			}
		}
		t.packs[digest].Here = true
		keys.add(files)
	}
	return keys, nil
}

func (e *Evidence) writeReceipts(ctx context.Context, a *archive, keys landingKeys) (Outside, error) {
	w, err := a.create(receiptsName)
	if err != nil {
		return Outside{}, err
	}
	o := newOutside(keys, e.maker.Note)
	for x, err := range e.maker.Journal.Entries(ctx, journal.Filter{Kind: isogate.KindLanding, Since: e.period.Since, Before: e.period.Before}) {
		if err != nil {
			return Outside{}, err
		}
		if x.Seq < e.run.First || x.Seq >= e.run.End {
			continue
		}
		line, err := o.add(&x)
		if err == nil {
			_, err = w.Write(line)
		}
		if err != nil {
			return Outside{}, err
		}
	}
	return o.end(), nil
}

// made is a file that follows from a summary alone.
type made struct {
	name    string
	content []byte
}

// derived are the files that follow from a summary: who verifies makes them anew.
func derived(s *Summary) ([]made, error) {
	figures, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return nil, err
	}
	var report bytes.Buffer
	if err := writeReport(&report, s); err != nil {
		return nil, err
	}
	return []made{{figuresName, append(figures, '\n')}, {reportName, report.Bytes()}, {readmeName, readme(s)}}, nil
}

// lines reads the entries of an export as it is written.
type lines struct {
	do   func(*isogate.Entry)
	part []byte
}

func (l *lines) Write(p []byte) (int, error) {
	n := len(p)
	for {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			l.part = append(l.part, p...)
			return n, nil
		}
		line := append(l.part, p[:i]...)
		p, l.part = p[i+1:], l.part[:0]
		if !bytes.HasPrefix(line, []byte(`{"id":`)) {
			continue
		}
		var e isogate.Entry
		if err := json.Unmarshal(line, &e); err != nil {
			return 0, fmt.Errorf("an entry cannot be read: %w", err)
		}
		l.do(&e)
	}
}

// archive is the ZIP file in the making.
type archive struct {
	zip   *zip.Writer
	files []file
	open  *counted // the file that is being written
}

func newArchive(w io.Writer) *archive {
	z := zip.NewWriter(w)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.DefaultCompression) })
	return &archive{zip: z}
}

// counted writes a file and keeps what the manifest says of it.
type counted struct {
	w    io.Writer
	n    int64
	sum  hash.Hash
	name string
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.sum.Write(p[:n])
	c.n += int64(n)
	return n, err
}

func (a *archive) create(name string) (io.Writer, error) {
	a.note()
	// No time: the same evidence has the same bytes.
	w, err := a.zip.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate})
	if err != nil {
		return nil, err
	}
	a.open = &counted{w: w, sum: sha256.New(), name: name}
	return a.open, nil
}

func (a *archive) note() {
	if c := a.open; c != nil {
		a.files = append(a.files, file{c.name, c.n, hex.EncodeToString(c.sum.Sum(nil))})
		a.open = nil
	}
}

func (a *archive) write(name string, content []byte) error {
	w, err := a.create(name)
	if err == nil {
		_, err = w.Write(content)
	}
	return err
}

// finish writes the manifest and the directory of the archive.
func (a *archive) finish(m *manifest) error {
	a.note()
	m.Files = a.files
	text, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return err
	}
	if err := a.write(manifestName, append(text, '\n')); err != nil {
		return err
	}
	return errors.Join(a.zip.Flush(), a.zip.Close())
}

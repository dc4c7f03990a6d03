package evidence

import (
	"archive/zip"
	"bufio"
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"hash"
	"hash/crc32"
	"io"
	"iter"
	"slices"
	"strings"
)

// box is an archive that somebody brought. What it has is found out before anything of
// it is believed: every file is one that evidence has, once, whole, and nothing lies
// between them.
type box struct {
	files    map[string]*zip.File
	order    []string
	manifest map[string]file
}

const (
	// maxFiles is more than the archives that can be made have.
	maxFiles = 200_000
	// maxSmall is how many bytes all files have together, but for entries and receipts.
	maxSmall = 4 << 30
)

func openBox(r io.ReaderAt, size int64) (*box, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		if errors.Is(err, zip.ErrFormat) || errors.Is(err, zip.ErrAlgorithm) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			return nil, damaged("", "it is no ZIP archive, or cut off: %v", err)
		}
		return nil, err
	}
	b := &box{files: map[string]*zip.File{}, manifest: map[string]file{}}
	if len(z.File) > maxFiles {
		return nil, damaged("", "the archive has %d files; evidence has %d at the most", len(z.File), maxFiles)
	}
	if z.Comment != "" {
		return nil, damaged("", "the archive has a comment, which evidence has not")
	}
	var small uint64
	for _, f := range z.File {
		switch {
		case !evidenceHas(f.Name):
			return nil, damaged("", "the archive has %.200q, which is no file of evidence", f.Name)
		case b.files[f.Name] != nil:
			return nil, damaged(f.Name, "it is there twice")
		case f.Comment != "" || len(f.Extra) > 0 && !onlyZip64(f.Extra) || f.NonUTF8 || f.ExternalAttrs != 0 || f.Flags&^0x800 != 0x8 || f.Method != zip.Deflate:
			return nil, damaged(f.Name, "it is not stored as files of evidence are")
		}
		if f.Name != entriesName && f.Name != receiptsName {
			if small += f.UncompressedSize64; small > maxSmall || f.UncompressedSize64 > maxSmall {
				return nil, damaged(f.Name, "the archive would unpack to more than evidence has")
			}
		}
		b.files[f.Name] = f
		b.order = append(b.order, f.Name)
	}
	for _, name := range []string{entriesName, receiptsName, checkpointName, keyName, figuresName, reportName, readmeName, manifestName} {
		if b.files[name] == nil {
			return nil, damaged(name, "it is missing")
		}
	}
	return b, b.canonical(r, size, z.File)
}

// canonical makes sure that the archive is, byte by byte, what writing its files in their order
// makes: what one program finds in it, every other finds too, and nothing hides in between.
func (b *box) canonical(r io.ReaderAt, size int64, files []*zip.File) error {
	same := &comparing{with: io.NewSectionReader(r, 0, size)}
	z := zip.NewWriter(same)
	for _, f := range files {
		raw, err := f.OpenRaw()
		if err != nil {
			return damaged(f.Name, "it cannot be found in the archive: %v", err)
		}
		w, err := z.CreateRaw(&zip.FileHeader{Name: f.Name, Method: zip.Deflate, Flags: f.Flags, CreatorVersion: 20, ReaderVersion: 20,
			CRC32: f.CRC32, CompressedSize64: f.CompressedSize64, UncompressedSize64: f.UncompressedSize64})
		if err == nil {
			_, err = io.Copy(w, raw)
		}
		if err == nil {
			err = z.Flush()
		}
		if err != nil {
			return b.fault(f.Name, same.why(err))
		}
	}
	err := z.Close()
	if err == nil {
		err = same.end()
	}
	if err != nil {
		return b.fault("", same.why(err))
	}
	return nil
}

// comparing takes only what it is compared with.
type comparing struct {
	with io.Reader
	buf  [32 << 10]byte
	err  error
}

var errOther = damaged("", "it is not stored as evidence is: its parts do not follow one another as they are written")

func (c *comparing) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		part := c.buf[:min(len(p), len(c.buf))]
		if _, err := io.ReadFull(c.with, part); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				err = errOther
			}
			c.err = err
			return n, err
		}
		if !bytes.Equal(part, p[:len(part)]) {
			c.err = errOther
			return n, errOther
		}
		n, p = n+len(part), p[len(part):]
	}
	return n, nil
}

// end makes sure that nothing follows.
func (c *comparing) end() error {
	if n, err := io.ReadFull(c.with, c.buf[:1]); n > 0 || !errors.Is(err, io.EOF) {
		return errors.Join(errOther, err)
	}
	return nil
}

// why is the error of comparing, where that is what came up.
func (c *comparing) why(err error) error {
	if c.err != nil {
		return c.err
	}
	return err
}

// onlyZip64 reports whether extra data are the sizes of a large file and nothing else.
func onlyZip64(extra []byte) bool {
	return len(extra) >= 4 && extra[0] == 1 && extra[1] == 0 && int(extra[2])|int(extra[3])<<8 == len(extra)-4
}

// evidenceHas reports whether evidence has a file of that name.
func evidenceHas(name string) bool {
	switch name {
	case entriesName, receiptsName, checkpointName, keyName, figuresName, reportName, readmeName, manifestName, edgeBefore, edgeAfter:
		return true
	}
	if id, ok := strings.CutPrefix(name, beforeDir); ok {
		id, ok = strings.CutSuffix(id, proofSuffix)
		return ok && len(id) == 26 && strings.Trim(id, "0123456789ABCDEFGHJKMNPQRSTVWXYZ") == ""
	}
	if rest, ok := strings.CutPrefix(name, packsDir); ok {
		digits, path, ok := strings.Cut(rest, "/")
		return ok && len(digits) == 64 && strings.Trim(digits, "0123456789abcdef") == "" && path != "" && len(path) <= 1024
	}
	return false
}

func (b *box) names() []string { return b.order }

func (b *box) at(name string) *zip.File { return b.files[name] }

func (b *box) under(dir string) (names []string) {
	for _, n := range b.order {
		if strings.HasPrefix(n, dir) {
			names = append(names, n)
		}
	}
	return names
}

// packs are the directories of packs, and the files of each.
func (b *box) packs() iter.Seq2[string, []string] {
	return func(yield func(string, []string) bool) {
		all := b.under(packsDir)
		for len(all) > 0 {
			dir := all[0][:len(packsDir)+64+1]
			n := slices.IndexFunc(all, func(s string) bool { return !strings.HasPrefix(s, dir) })
			if n < 0 {
				n = len(all)
			}
			if !yield(dir, all[:n]) {
				return
			}
			all = all[n:]
		}
	}
}

// expect is what the manifest says of a file.
func (b *box) expect(f file) { b.manifest[f.Path] = f }

func (b *box) expected(name string) file { return b.manifest[name] }

// fault tells what is wrong with the archive from what keeps it from being read.
func (b *box) fault(name string, err error) error {
	var d *DamageError
	switch {
	case errors.As(err, &d):
		return err
	case errors.Is(err, zip.ErrChecksum), errors.Is(err, zip.ErrFormat), errors.Is(err, zip.ErrAlgorithm), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return damaged(name, "it cannot be unpacked: %v", err)
	case errors.As(err, new(flate.CorruptInputError)):
		return damaged(name, "it cannot be unpacked: %v", err)
	}
	return err
}

// content is a file that is read once, and held against the manifest at its end.
type content struct {
	raw  *bufio.Reader
	in   io.ReadCloser // inflates raw
	of   *zip.File
	want file
	sum  hash.Hash
	crc  hash.Hash32
	n    int64
	most int64
}

// open opens a file of which at most so many bytes are read; -1 is as many as the manifest
// says.
func (b *box) open(name string, most int64) (*content, error) {
	f := b.files[name]
	if f == nil {
		return nil, damaged(name, "it is missing")
	}
	raw, err := f.OpenRaw()
	if err != nil {
		return nil, b.fault(name, err)
	}
	c := &content{raw: bufio.NewReader(raw), of: f, want: b.manifest[name], sum: sha256.New(), crc: crc32.NewIEEE(), most: most}
	if c.in = flate.NewReader(c.raw); name != manifestName && (most < 0 || c.want.Bytes < most) {
		c.most = c.want.Bytes
	}
	return c, nil
}

func (c *content) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	_, _ = c.sum.Write(p[:n])
	_, _ = c.crc.Write(p[:n])
	if c.n += int64(n); c.n > c.most {
		return 0, damaged(c.of.Name, "it is longer than %d bytes", c.most)
	}
	return n, err
}

// Close reads what is left, and says whether the file is the one of the manifest and
// of the archive's directory, to the last bit.
func (c *content) Close() error {
	_, err := io.Copy(io.Discard, c)
	if err = errors.Join(err, c.in.Close()); err != nil {
		return err
	}
	if _, err := c.raw.ReadByte(); !errors.Is(err, io.EOF) {
		return damaged(c.of.Name, "there is something behind its end")
	}
	if c.n != int64(c.of.UncompressedSize64) || c.crc.Sum32() != c.of.CRC32 { //nolint:gosec // one that does not fit differs
		return damaged(c.of.Name, "it is not the file that the archive's directory has")
	}
	if c.of.Name != manifestName && (c.n != c.want.Bytes || hex.EncodeToString(c.sum.Sum(nil)) != c.want.SHA256) {
		return damaged(c.of.Name, "it is not the file that the manifest has")
	}
	return nil
}

// read reads a whole file of at most so many bytes.
func (b *box) read(name string, most int64) ([]byte, error) {
	c, err := b.open(name, most)
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	_, err = io.Copy(&buf, c)
	if err = errors.Join(err, c.Close()); err != nil {
		return nil, b.fault(name, err)
	}
	return buf.Bytes(), nil
}

// drain reads a file to know that it is the one of the manifest.
func (b *box) drain(name string) error {
	c, err := b.open(name, -1)
	if err == nil {
		err = c.Close()
	}
	if err != nil {
		return b.fault(name, err)
	}
	return nil
}

package policy

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Files are the files of one pack as they were read at one moment. They do not
// change, and what is made of them is of that moment, whatever becomes of the
// directory they came from.
//
// Written out they are the canonical listing that a pack's digest is over: for each
// file, sorted by path as bytes, the length of the path (8 bytes, big-endian), the
// path, the length of the content (8 bytes, big-endian), the content. The SHA-256 of
// a listing is therefore the digest of its pack, and sha256sum finds it.
type Files struct {
	list  []packFile
	found findings // what reading them has shown
}

// ReadFiles reads the files of the pack under dir. What is wrong with one of them is
// said by [Files.Load]; the error says that dir cannot be read.
func ReadFiles(dir string) (*Files, error) {
	f := &Files{}
	var err error
	f.list, err = readFiles(dir, &f.found)
	return f, err
}

// NewFiles makes a pack's files of their contents by path inside the pack, with
// slashes. It refuses paths that a pack does not have, and what is over a pack's
// limits of 5,000 files, 4 MiB a file and 64 MiB in all.
func NewFiles(contents map[string][]byte) (*Files, error) {
	f := &Files{}
	for _, p := range sortedKeys(contents) {
		f.list = append(f.list, packFile{p, bytes.Clone(contents[p])})
	}
	return f, f.fit()
}

// fit says why the files could not be a pack's, however they are written.
func (f *Files) fit() error {
	if len(f.list) > maxFiles {
		return fmt.Errorf("the pack has more than %d files; split it", maxFiles)
	}
	total := 0
	for i, one := range f.list {
		if total += len(one.src); total > maxPackBytes {
			return fmt.Errorf("the pack is larger than %d MiB; split it", maxPackBytes>>20)
		}
		switch {
		case !plainPath(one.path):
			return fmt.Errorf("the path %.200q is not one inside a pack; a pack has %s", one.path, packParts)
		case len(one.src) > maxFileBytes:
			return fmt.Errorf("%s: is larger than %d MiB; split it", one.path, maxFileBytes>>20)
		case i > 0 && f.list[i-1].path >= one.path:
			return fmt.Errorf("%s: is there twice, or out of order", one.path)
		}
	}
	return nil
}

// MaxFile is how many bytes one file of a pack has at the most.
const MaxFile = maxFileBytes

// maxPath is the longest path inside a pack, in bytes.
const maxPath = 1024

// plainPath reports whether a path is of a file that a pack has, and leads nowhere
// else on any system: no dots, no backslashes, nothing that controls.
func plainPath(p string) bool {
	return len(p) <= maxPath && utf8.ValidString(p) && path.Clean(p) == p && partOfPack(p) && !strings.HasSuffix(p, "/") &&
		!strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }) &&
		!strings.HasPrefix(path.Base(p), ".") && !strings.Contains(p, "/.")
}

// Load checks the files and compiles them, as [Load] does.
func (f *Files) Load() (*Pack, error) { return compile(f.list, f.found.clone(), time.Time{}) }

// Check is [Load] for those who write a pack, as [Check] is.
func (f *Files) Check(now time.Time) (*Pack, error) { return compile(f.list, f.found.clone(), now) }

// Whole says which file could not be taken as it is in the directory, or has a name
// that not every system could give it, or nil. What is not whole has no listing.
func (f *Files) Whole() error {
	found := f.found.clone()
	if err := found.err(); err != nil {
		return err
	}
	return f.fit()
}

// Digest is that of the pack, whether it is a good one or not; see [Load].
func (f *Files) Digest() string { return digest(f.list) }

// Size is how many bytes the listing has.
func (f *Files) Size() (n int64) {
	for _, one := range f.list {
		n += int64(16 + len(one.path) + len(one.src))
	}
	return n
}

// All are the files by path, sorted. The contents must not be changed.
func (f *Files) All() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for _, one := range f.list {
			if !yield(one.path, one.src) {
				return
			}
		}
	}
}

// File is the content of one file, which must not be changed.
func (f *Files) File(p string) ([]byte, bool) {
	i, ok := slices.BinarySearchFunc(f.list, p, func(one packFile, p string) int { return strings.Compare(one.path, p) })
	if !ok {
		return nil, false
	}
	return f.list[i].src, true
}

// WriteTo writes the listing. It implements [io.WriterTo].
func (f *Files) WriteTo(w io.Writer) (n int64, err error) {
	if err := f.Whole(); err != nil {
		return 0, err
	}
	for _, one := range f.list {
		for _, part := range [][]byte{[]byte(one.path), one.src} {
			m, err := w.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
			n += int64(m)
			if err != nil {
				return n, err
			}
			m, err = w.Write(part)
			n += int64(m)
			if err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// ReadListing reads a listing. It takes only what WriteTo could have written, and
// holds no more than a pack may have, whatever the listing says of itself.
func ReadListing(r io.Reader) (*Files, error) {
	in := bufio.NewReader(r)
	f := &Files{}
	total := int64(0)
	for {
		p, err := readPart(in, maxPath)
		if errors.Is(err, io.EOF) {
			return f, f.fit()
		}
		if err != nil {
			return nil, fmt.Errorf("file %d of the listing: its path: %w", len(f.list)+1, err)
		}
		src, err := readPart(in, maxFileBytes)
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, fmt.Errorf("file %d of the listing: its content: %w", len(f.list)+1, err)
		}
		if total += int64(len(src)); total > maxPackBytes || len(f.list) == maxFiles {
			return nil, fmt.Errorf("the listing has more than a pack may have: %d files, %d MiB", maxFiles, maxPackBytes>>20)
		}
		f.list = append(f.list, packFile{string(p), src})
	}
}

// readPart reads a length and so many bytes; io.EOF if there is nothing more at all.
func readPart(in io.Reader, most uint64) ([]byte, error) {
	var head [8]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint64(head[:])
	if n > most {
		return nil, fmt.Errorf("it says that it has %d bytes, and may have %d", n, most)
	}
	// Not all at once: the bytes that it says may not be there.
	var b bytes.Buffer
	if _, err := io.CopyN(&b, in, int64(n)); err != nil { //nolint:gosec // n <= most
		return nil, io.ErrUnexpectedEOF
	}
	return b.Bytes(), nil
}

func (f *findings) clone() findings { return findings{slices.Clone(f.list), f.n} }

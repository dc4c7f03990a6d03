package policy

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// MaxUpload is the largest archive of a pack that is unpacked, in bytes.
const MaxUpload = 16 << 20

// Unpack reads the files of a pack from an archive of its directory: ZIP, or tar
// compressed with gzip. Where everything is below one directory, that is the pack's.
// What [ReadFiles] leaves out of a directory is left out of an archive: dot files, and
// documents beside pack.yaml. So the digest is that of the directory it was made of.
//
// An archive is taken as hostile: a path that leads out, is there twice or only differs
// in case, a link, a device, anything encrypted, and more than a pack may have, are
// refused, and nothing is ever written. Sizes that the archive states are not believed.
//
// promise: P09
func Unpack(b []byte) (*Files, error) {
	if len(b) > MaxUpload {
		return nil, fmt.Errorf("the archive is larger than %d MiB; leave out what is no part of the pack", MaxUpload>>20)
	}
	u := unpacking{contents: map[string][]byte{}, folded: map[string]string{}}
	var err error
	switch {
	case bytes.HasPrefix(b, []byte("PK\x03\x04")), bytes.HasPrefix(b, []byte("PK\x05\x06")):
		err = u.zip(b)
	case bytes.HasPrefix(b, []byte("\x1f\x8b")):
		err = u.tar(b)
	default:
		err = errors.New("it is neither ZIP nor tar.gz; make one of the pack's directory: tar czf pack.tar.gz -C DIR . or zip -r pack.zip DIR")
	}
	if err != nil {
		return nil, err
	}
	return u.files()
}

// unpacking is what was found in an archive so far.
type unpacking struct {
	contents map[string][]byte
	folded   map[string]string // paths without regard to case
	total    int
	members  int
}

// maxMembers bounds what an archive holds, directories and left-out files too.
const maxMembers = 2 * maxFiles

// member takes one member of the archive. open is called for a regular file that is
// not left out.
func (u *unpacking) member(name string, mode fs.FileMode, open func() (io.Reader, error)) error {
	if u.members++; u.members > maxMembers {
		return fmt.Errorf("the archive has more than %d members; a pack has at most %d files", maxMembers, maxFiles)
	}
	shown := name
	if len(shown) > 200 {
		shown = shown[:200] + "…"
	}
	name = strings.TrimPrefix(name, "./")
	if mode.IsDir() {
		name = strings.TrimSuffix(name, "/")
	}
	switch {
	case name == "" || name == ".":
		return nil
	case !fs.ValidPath(name) || strings.ContainsAny(name, "\\\x00") || len(name) > 2*maxPath:
		return fmt.Errorf("the archive has the member %q, which is no plain path inside a directory; make it anew, of the files in the pack's directory", shown)
	case mode.IsDir():
		return nil
	case !mode.IsRegular():
		return fmt.Errorf("the archive's member %q is a link or no regular file; put the file itself in", shown)
	}
	if other, twice := u.folded[strings.ToLower(name)]; twice {
		return fmt.Errorf("the archive has %q and %q, which some systems take for one; keep one", other, shown)
	}
	u.folded[strings.ToLower(name)] = shown
	if hidden(name) {
		return nil
	}
	if len(u.contents) == maxFiles {
		return fmt.Errorf("the archive has more than %d files; split the pack", maxFiles)
	}
	r, err := open()
	if err != nil {
		return fmt.Errorf("the archive's member %q cannot be read: %w; make the archive anew", shown, err)
	}
	src, err := io.ReadAll(io.LimitReader(r, maxFileBytes+1))
	switch {
	case err != nil:
		return fmt.Errorf("the archive's member %q cannot be read: %w; make the archive anew", shown, err)
	case len(src) > maxFileBytes:
		return fmt.Errorf("the archive's member %q is larger than %d MiB; split it", shown, maxFileBytes>>20)
	}
	if u.total += len(src); u.total > maxPackBytes {
		return fmt.Errorf("the pack is larger than %d MiB; split it", maxPackBytes>>20)
	}
	u.contents[name] = src
	return nil
}

// hidden reports whether a path is or is below a dot file, or what some systems put
// beside files.
func hidden(name string) bool {
	return strings.HasPrefix(name, ".") || strings.Contains(name, "/.") || strings.HasPrefix(name, "__MACOSX/")
}

func (u *unpacking) zip(b []byte) error {
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return fmt.Errorf("the archive is no ZIP that can be read: %w; make it anew", err)
	}
	const encrypted = 0x1
	for _, f := range z.File {
		if f.Flags&encrypted != 0 {
			return fmt.Errorf("the archive's member %q is encrypted; make it anew without a password", f.Name)
		}
		if err := u.member(f.Name, f.Mode(), func() (io.Reader, error) { return f.Open() }); err != nil {
			return err
		}
	}
	return nil
}

func (u *unpacking) tar(b []byte) error {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return fmt.Errorf("the archive is no gzip that can be read: %w; make it anew", err)
	}
	// More than the pack may have, and headers: what is left out must not be endless either.
	limited := &io.LimitedReader{R: z, N: 2 * maxPackBytes}
	t := tar.NewReader(limited)
	for {
		h, err := t.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case limited.N <= 0:
			return fmt.Errorf("the archive holds more than %d MiB; leave out what is no part of the pack", 2*maxPackBytes>>20)
		case err != nil:
			return fmt.Errorf("the archive is no tar that can be read: %w; make it anew", err)
		case h.Typeflag == tar.TypeXGlobalHeader:
			continue // what git archive puts first: the commit
		}
		mode := h.FileInfo().Mode()
		if h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeDir {
			mode |= fs.ModeIrregular
		}
		if err := u.member(h.Name, mode, func() (io.Reader, error) { return t, nil }); err != nil {
			return err
		}
	}
}

// files are the pack's, below the one directory where there is one.
func (u *unpacking) files() (*Files, error) {
	if len(u.contents) == 0 {
		return nil, errors.New("the archive has no file; make one of the pack's directory")
	}
	below := ""
	if _, ok := u.contents["pack.yaml"]; !ok {
		for p := range u.contents {
			dir, _, nested := strings.Cut(p, "/")
			if !nested || below != "" && below != dir {
				return nil, errors.New("the archive has no pack.yaml, neither at its top nor in its one directory; make it of the pack's directory")
			}
			below = dir
		}
		below += "/"
	}
	contents := map[string][]byte{}
	for p, src := range u.contents {
		if p = strings.TrimPrefix(p, below); !document(path.Clean(p)) {
			contents[p] = src
		}
	}
	return NewFiles(contents)
}

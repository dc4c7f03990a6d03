// Package archive keeps packs of policy by their digest, so that an entry of long
// ago can be explained by the very pack that judged it.
//
// A pack is one file, named by the digest's hexadecimal digits, whose content is the
// listing that the digest is over ([policy.Files]): sha256sum of the file is its name.
// It is written beside its place, synced, renamed and its directory synced, never
// changed, and believed only as far as it matches its name.
//
// The archive judges nothing. A gateway that cannot write it goes on: what an old
// pack said can still be found where packs are kept under version control.
package archive

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/isogate/isogate/internal/policy"
)

const (
	dirMode  = 0o700
	fileMode = 0o600
	suffix   = ".pack"
	part     = ".part" // at the end of a name: on its way

	// onItsWay is longer than writing a pack takes.
	onItsWay = time.Hour

	// maxListing is more than a pack's listing can have: 64 MiB of contents, and for
	// each of 5,000 files its path of at most 1 KiB and two lengths.
	maxListing = 64<<20 + 5000*(1<<10+16)

	// OfferedMost is how many bytes the archive may have for it to take one more pack
	// that is only offered.
	OfferedMost = 1 << 30
)

var (
	// ErrNotKept says that the archive has no such pack.
	ErrNotKept = errors.New("the archive has no such pack")
	// ErrFull says that the archive is too large for a pack that is only offered.
	ErrFull = errors.New("the archive has no room for packs that are not in force; delete files of packs that nobody needs below the state directory's packs/")
)

// DamagedError says that what is kept under a digest is not that pack any more.
type DamagedError struct {
	Digest string
	What   string // what is wrong with it
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("the archived pack %s is damaged: %s; restore its file from a backup, or load that pack once more", e.Digest, e.What)
}

// Archive is a directory of packs. It is safe for concurrent use, also by several
// processes.
type Archive struct {
	root  *os.Root
	cache cache
}

// Kept is one pack of an archive, as its directory says; it is not looked into.
type Kept struct {
	Digest string    `json:"digest"`
	Bytes  int64     `json:"bytes"`
	Since  time.Time `json:"since"` // when it was first kept
}

// New opens the archive in dir, which it makes where there is none. The directory
// must be nobody else's to read.
func New(dir string) (*Archive, error) {
	if err := os.MkdirAll(filepath.Dir(dir), dirMode); err != nil {
		return nil, fmt.Errorf("archive of packs: %w", err)
	}
	if err := os.Mkdir(dir, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("archive of packs: %w", err)
	}
	info, err := os.Lstat(dir)
	switch {
	case err != nil:
		return nil, fmt.Errorf("archive of packs: %w", err)
	case !info.IsDir():
		return nil, fmt.Errorf("archive of packs: %s is no directory; move it away", dir)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("archive of packs: %s can be used by others (mode %04o); make it yours alone: chmod 700 %s", dir, info.Mode().Perm(), dir)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("archive of packs: %w", err)
	}
	a := &Archive{root: root}
	if err := a.tidy(); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return a, nil
}

// tidy removes what a process that was killed has left on its way.
func (a *Archive) tidy() error {
	list, err := fs.ReadDir(a.root.FS(), ".")
	if err != nil {
		return fmt.Errorf("archive of packs: %w", err)
	}
	for _, d := range list {
		info, err := d.Info()
		if err != nil || !strings.HasSuffix(d.Name(), part) || time.Since(info.ModTime()) < onItsWay {
			continue // it has just gone, or another process is about to rename it
		}
		if err := a.root.Remove(d.Name()); err != nil {
			return fmt.Errorf("archive of packs: %w", err)
		}
	}
	return nil
}

// Close releases the directory.
func (a *Archive) Close() error { return a.root.Close() }

// Put keeps a pack that is in force and returns its digest. When it returns without
// an error the pack is on the disk. What is kept already is left as it is, and put
// right if it is damaged.
func (a *Archive) Put(files *policy.Files) (digest string, err error) {
	digest = files.Digest()
	if err := files.Whole(); err != nil {
		return "", fmt.Errorf("archive of packs: the pack is not whole: %w", err)
	}
	name, err := nameOf(digest)
	if err != nil {
		return "", err
	}
	if _, err := a.Files(digest); err == nil {
		return digest, nil
	}
	if err := a.write(name, files); err != nil {
		return "", fmt.Errorf("archive of packs: %w", err)
	}
	return digest, nil
}

// Offer keeps a pack that somebody proposes, as Put does, unless the archive would
// have more than [OfferedMost] bytes with it: then the error is [ErrFull].
func (a *Archive) Offer(files *policy.Files) (digest string, err error) {
	if _, err := a.Files(files.Digest()); err == nil {
		return files.Digest(), nil
	}
	all, err := a.List()
	if err != nil {
		return "", err
	}
	total := files.Size()
	for _, k := range all {
		total += k.Bytes
	}
	if total > OfferedMost {
		return "", fmt.Errorf("archive of packs: %w", ErrFull)
	}
	return a.Put(files)
}

// write writes a file that is there whole or not at all, also after a power cut.
func (a *Archive) write(name string, files *policy.Files) error {
	temporary := fmt.Sprintf("%s.%d%s", name, time.Now().UnixNano(), part)
	f, err := a.root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	_, err = files.WriteTo(f)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = a.root.Rename(temporary, name)
	}
	if err != nil {
		return errors.Join(err, a.root.Remove(temporary))
	}
	dir, err := a.root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Files returns the files of a pack, checked against the digest. The error is
// [ErrNotKept] or a [*DamagedError], or says that the file cannot be read.
func (a *Archive) Files(digest string) (*policy.Files, error) {
	name, err := nameOf(digest)
	if err != nil {
		return nil, err
	}
	info, err := a.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: %w", digest, ErrNotKept)
	case err != nil:
		return nil, fmt.Errorf("archive of packs: %w", err)
	case !info.Mode().IsRegular():
		return nil, &DamagedError{digest, "it is no file of its own"}
	case info.Size() > maxListing:
		return nil, &DamagedError{digest, "it is larger than any pack"}
	}
	f, err := a.root.Open(name)
	if err != nil {
		return nil, fmt.Errorf("archive of packs: %w", err)
	}
	defer f.Close()
	sum := sha256.New()
	files, err := policy.ReadListing(io.TeeReader(io.LimitReader(f, maxListing+1), sum))
	if err != nil {
		return nil, &DamagedError{digest, err.Error()}
	}
	if "sha256:"+hex.EncodeToString(sum.Sum(nil)) != digest {
		return nil, &DamagedError{digest, "its content has another digest"}
	}
	return files, nil
}

// Open returns a pack, checked and compiled. A few are held compiled. Errors are
// those of Files, and what [policy.Load] says of a pack that this release does not take.
func (a *Archive) Open(digest string) (*policy.Pack, error) {
	return a.cache.get(digest, func() (*policy.Pack, error) {
		files, err := a.Files(digest)
		if err != nil {
			return nil, err
		}
		return files.Load()
	})
}

// List is every pack of the archive, the newest first.
func (a *Archive) List() ([]Kept, error) {
	list, err := fs.ReadDir(a.root.FS(), ".")
	if err != nil {
		return nil, fmt.Errorf("archive of packs: %w", err)
	}
	all := make([]Kept, 0, len(list))
	for _, d := range list {
		hexed, is := strings.CutSuffix(d.Name(), suffix)
		digest := "sha256:" + hexed
		if _, err := nameOf(digest); err != nil || !is || !d.Type().IsRegular() {
			continue
		}
		info, err := d.Info()
		if err != nil {
			continue // it has just gone
		}
		all = append(all, Kept{digest, info.Size(), info.ModTime().UTC()})
	}
	slices.SortFunc(all, func(x, y Kept) int {
		if c := y.Since.Compare(x.Since); c != 0 {
			return c
		}
		return strings.Compare(x.Digest, y.Digest)
	})
	return all, nil
}

// nameOf is the file of a digest. A digest is checked before it is part of a path.
func nameOf(digest string) (string, error) {
	hexed, ok := strings.CutPrefix(digest, "sha256:")
	if raw, err := hex.DecodeString(hexed); !ok || err != nil || len(raw) != sha256.Size || strings.ToLower(hexed) != hexed {
		return "", fmt.Errorf("%.80q is not the digest of a pack; it is sha256: and 64 hexadecimal digits: %w", digest, ErrNotKept)
	}
	return hexed + suffix, nil
}

// cached is how many compiled packs are held.
const cached = 8

// cache holds the packs that were asked for last. Its zero value is empty.
type cache struct {
	mu    sync.Mutex
	packs []held // the newest last
}

type held struct {
	digest string
	once   func() (*policy.Pack, error)
}

// get returns the pack of a digest, which load makes if it is not held. Who asks
// for the same pack meanwhile waits for the one that is being made. What fails is not held.
func (c *cache) get(digest string, load func() (*policy.Pack, error)) (*policy.Pack, error) {
	c.mu.Lock()
	i := slices.IndexFunc(c.packs, func(h held) bool { return h.digest == digest })
	h := held{digest, sync.OnceValues(load)}
	if i >= 0 {
		h = c.packs[i]
		c.packs = slices.Delete(c.packs, i, i+1)
	}
	if c.packs = append(c.packs, h); len(c.packs) > cached {
		c.packs = slices.Delete(c.packs, 0, 1)
	}
	c.mu.Unlock()
	pack, err := h.once()
	if err != nil {
		c.mu.Lock()
		c.packs = slices.DeleteFunc(c.packs, func(h held) bool { return h.digest == digest })
		c.mu.Unlock()
	}
	return pack, err
}

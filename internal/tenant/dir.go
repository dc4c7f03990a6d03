package tenant

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	dirMode    = 0o700
	secretMode = 0o600
	publicMode = 0o644

	secret = 0o077 // bits that a secret file must not have
	public = 0o022 // bits that a public one must not have

	maxFile   = 1 << 20
	newSuffix = ".new" // a file on its way
)

// dir is a directory that was checked and is held open: what is read is read
// through it, so that nothing can be put in its place in between.
type dir struct {
	path string
	fd   int
}

// openDir opens a directory that must belong to us alone.
func openDir(path string) (*dir, error) {
	path = filepath.Clean(path)
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		info, lerr := os.Lstat(path)
		switch {
		case errors.Is(lerr, fs.ErrNotExist):
			return nil, fmt.Errorf("%s: there is no keyring: %w; create it with: isogate tenant create", path, fs.ErrNotExist)
		case lerr == nil && info.Mode().Type() == fs.ModeSymlink:
			return nil, fmt.Errorf("%s: is a symbolic link; configure the directory itself", path)
		case lerr == nil && !info.IsDir():
			return nil, fmt.Errorf("%s: is no directory; configure the directory of the keyring", path)
		}
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	d := &dir{path: path, fd: fd}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		d.close()
		return nil, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if err := checkAccess(path, &st, secret, dirMode); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// makeDir opens the directory, which it makes where there is none.
func makeDir(path string) (*dir, error) {
	path = filepath.Clean(path)
	parent := filepath.Dir(path)
	if err := os.MkdirAll(parent, dirMode); err != nil {
		return nil, err
	}
	switch err := os.Mkdir(path, dirMode); {
	case errors.Is(err, fs.ErrExist):
	case err != nil:
		return nil, err
	default:
		if err := syncDir(parent); err != nil {
			return nil, err
		}
	}
	return openDir(path)
}

func syncDir(path string) error {
	f, err := os.Open(path) //nolint:gosec // the path is the operator's
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (d *dir) close() { _ = unix.Close(d.fd) }

// file is the path of a file in d, for messages.
func (d *dir) file(name string) string { return filepath.Join(d.path, name) }

// lock waits until no other process is writing to d. Closing d unlocks it.
func (d *dir) lock() error { return d.flock(unix.LOCK_EX) }

// lockReading waits like lock, and then keeps out those who write, not others
// who read.
func (d *dir) lockReading() error { return d.flock(unix.LOCK_SH) }

func (d *dir) flock(how int) error {
	for {
		err := unix.Flock(d.fd, how)
		if !errors.Is(err, unix.EINTR) {
			if err != nil {
				return &fs.PathError{Op: "lock", Path: d.path, Err: err}
			}
			return nil
		}
	}
}

// names lists what is in d, sorted.
func (d *dir) names() ([]string, error) {
	// Opened anew: d.fd would go on where the last listing ended.
	fd, err := unix.Openat(d.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: d.path, Err: err}
	}
	f := os.NewFile(uintptr(fd), d.path)
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, errors.Join(err, f.Close())
}

// checkEmpty makes sure that Create destroys nothing.
func (d *dir) checkEmpty() error {
	names, err := d.names()
	switch {
	case err != nil:
		return err
	case len(names) == 0:
		return nil
	case slices.Contains(names, keysetFile):
		return fmt.Errorf("%s: holds a keyring: %w; open it, or use isogate tenant rotate for a new key", d.path, fs.ErrExist)
	}
	if err := d.checkFinished(); errors.Is(err, ErrUnfinished) {
		return err
	}
	return fmt.Errorf("%s: holds other files (%s): %w; use an empty directory", d.path, strings.Join(names, ", "), fs.ErrExist)
}

// checkFinished makes sure that the directory was created to the end.
func (d *dir) checkFinished() error {
	names, err := d.names()
	if err != nil {
		return err
	}
	if slices.Contains(names, keysetFile) {
		return nil
	}
	for _, name := range names {
		switch strings.TrimSuffix(name, newSuffix) {
		case keysetFile, checkpointFile, publicFile:
			return fmt.Errorf("%s: %w: there is %s, but no %s; no key in it was ever used, so remove the directory and create the keyring again "+
				"(if it was ever in use, restore %s from a backup instead)", d.path, ErrUnfinished, name, keysetFile, keysetFile)
		}
	}
	return fmt.Errorf("%s: there is no keyring in it: %w; create it with: isogate tenant create", d.path, fs.ErrNotExist)
}

// checkAccess makes sure that nobody but us can reach a file.
func checkAccess(path string, st *unix.Stat_t, forbidden, want uint32) error {
	if uid := os.Geteuid(); int(st.Uid) != uid {
		return fmt.Errorf("%s: belongs to user %d, but this process runs as user %d: %w; run: chown %d %s",
			path, st.Uid, uid, fs.ErrPermission, uid, path)
	}
	//nolint:unconvert // the mode is narrower on other systems
	if mode := uint32(st.Mode) & 0o7777; mode&forbidden != 0 {
		return fmt.Errorf("%s: is open to other users (mode %04o): %w; run: chmod %04o %s", path, mode, fs.ErrPermission, want, path)
	}
	return nil
}

// read returns a file of d that nobody else can reach, and its mark.
func (d *dir) read(name string, forbidden uint32) ([]byte, mark, error) {
	return readAt(d.fd, name, d.file(name), forbidden)
}

func readAt(dirfd int, name, path string, forbidden uint32) ([]byte, mark, error) {
	// O_NONBLOCK: a pipe in the file's place must not hang us.
	fd, err := unix.Openat(dirfd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.ELOOP):
		return nil, mark{}, fmt.Errorf("%s: is a symbolic link: %w; put the file itself there", path, fs.ErrPermission)
	case errors.Is(err, fs.ErrNotExist):
		return nil, mark{}, fmt.Errorf("%s: is missing: %w; restore it from a backup", path, fs.ErrNotExist)
	case err != nil:
		return nil, mark{}, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	defer func() { _ = f.Close() }()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, mark{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, mark{}, fmt.Errorf("%s: is no regular file; put the file itself there", path)
	}
	want := uint32(secretMode)
	if forbidden == public {
		want = publicMode
	}
	if err := checkAccess(path, &st, forbidden, want); err != nil {
		return nil, mark{}, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, mark{}, err
	}
	if len(b) > maxFile {
		return nil, mark{}, fmt.Errorf("%s: is longer than %d bytes; restore it from a backup", path, maxFile)
	}
	return b, markFrom(&st), nil
}

// write replaces a file of d: the content is on disk under another name before
// it gets its own, and the name is on disk before write returns.
func (d *dir) write(name string, content []byte, mode uint32) error {
	return writeAt(d.fd, name, d.file(name), content, mode)
}

func writeAt(dirfd int, name, path string, content []byte, mode uint32) (err error) {
	fail := func(op string, err error) error { return &fs.PathError{Op: op, Path: path, Err: err} }
	temporary := name + newSuffix
	// One may be left from a process that died; whoever writes holds the lock.
	if err := unix.Unlinkat(dirfd, temporary, 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fail("remove the unfinished", err)
	}
	fd, err := unix.Openat(dirfd, temporary, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
	if err != nil {
		return fail("create", err)
	}
	f := os.NewFile(uintptr(fd), path)
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = unix.Unlinkat(dirfd, temporary, 0)
		return err
	}
	if err := unix.Renameat(dirfd, temporary, dirfd, name); err != nil {
		return fail("rename", err)
	}
	if err := unix.Fsync(dirfd); err != nil {
		return fail("sync the directory of", err)
	}
	return nil
}

// mark tells one version of a file from another without reading it.
type mark struct {
	dev, ino     uint64
	size         int64
	mtime, ctime unix.Timespec
}

func markFrom(st *unix.Stat_t) mark {
	//nolint:unconvert // the device is narrower on other systems
	return mark{dev: uint64(st.Dev), ino: st.Ino, size: st.Size, mtime: st.Mtim, ctime: st.Ctim}
}

// markOf returns the mark of a file, or the zero mark if it cannot be reached.
func markOf(dir, name string) mark {
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(dir, name), &st); err != nil {
		return mark{}
	}
	return markFrom(&st)
}

package tenant

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
	"golang.org/x/sys/unix"
)

// CreateKEK makes a key-encryption key, AES-256-GCM, in a file that must not
// exist yet: a Tink keyset that only its owner can read. It belongs on another
// disk than what it wraps.
func CreateKEK(path string) (tink.AEAD, error) {
	h, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("%s: new key: %w", path, err)
	}
	var b bytes.Buffer
	if err := insecurecleartextkeyset.Write(h, keyset.NewJSONWriter(&b)); err != nil {
		return nil, fmt.Errorf("%s: new key: %w", path, err)
	}
	b.WriteByte('\n')
	path = filepath.Clean(path)
	parent, name := filepath.Split(path)
	fd, err := unix.Open(filepath.Clean(parent), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: filepath.Clean(parent), Err: err}
	}
	d := &dir{path: parent, fd: fd}
	defer d.close()
	if err := d.lock(); err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: is there already: %w; use it, or another path", path, fs.ErrExist)
	}
	if err := writeAt(fd, name, path, b.Bytes(), secretMode); err != nil {
		return nil, err
	}
	return aead.New(h)
}

// OpenKEK reads a key-encryption key that CreateKEK made. It refuses a file that
// others can reach, as Open does.
//
// promise: P42
func OpenKEK(path string) (tink.AEAD, error) {
	path = filepath.Clean(path)
	b, _, err := readAt(unix.AT_FDCWD, path, path, secret)
	if err != nil {
		return nil, err
	}
	h, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(b)))
	if err != nil {
		return nil, fmt.Errorf("%s: is no keyset: %w; restore it from a backup", path, err)
	}
	a, err := aead.New(h)
	if err != nil {
		return nil, fmt.Errorf("%s: is no keyset of AEAD keys: %w; use one that isogate made", path, err)
	}
	return a, nil
}

package tenant

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOpenRefusesAccessOfOthers(t *testing.T) {
	for name, c := range map[string]struct {
		mode fs.FileMode
		run  string
	}{
		"":             {0o750, "chmod 0700"},
		keysetFile:     {0o640, "chmod 0600"},
		checkpointFile: {0o604, "chmod 0600"},
		publicFile:     {0o664, "chmod 0644"},
	} {
		t.Run("mode of "+name, func(t *testing.T) {
			_, dir := mustCreate(t)
			path := filepath.Join(dir, name)
			if err := os.Chmod(path, c.mode); err != nil {
				t.Fatal(err)
			}
			_, err := Open(dir, "acme")
			wants(t, err, fs.ErrPermission, path+": ", c.run+" "+path, fmt.Sprintf("%04o", c.mode))
		})
		t.Run("owner of "+name, func(t *testing.T) {
			if os.Geteuid() != 0 {
				t.Skip("only root can give a file away")
			}
			_, dir := mustCreate(t)
			path := filepath.Join(dir, name)
			if err := os.Chown(path, 65534, -1); err != nil {
				t.Fatal(err)
			}
			_, err := Open(dir, "acme")
			wants(t, err, fs.ErrPermission, path+": belongs to user 65534", "chown 0 "+path)
		})
		t.Run("link at "+name, func(t *testing.T) {
			_, dir := mustCreate(t)
			path := filepath.Join(dir, name)
			elsewhere := filepath.Join(t.TempDir(), "elsewhere")
			if err := os.Rename(path, elsewhere); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(elsewhere, path); err != nil {
				t.Fatal(err)
			}
			_, err := Open(dir, "acme")
			wants(t, err, nil, path+": is a symbolic link")
			if name == "" {
				if _, err := Open(dir+"/.", "acme"); err == nil {
					t.Error("opened through DIR/.")
				}
			}
		})
	}
}

func TestOpenRefusesOddFiles(t *testing.T) {
	spoil := func(what string, f func(path string) error, says ...string) {
		t.Run(what, func(t *testing.T) {
			_, dir := mustCreate(t)
			path := filepath.Join(dir, checkpointFile)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := f(path); err != nil {
				t.Fatal(err)
			}
			_, err := Open(dir, "acme")
			wants(t, err, nil, append(says, path)...)
		})
	}
	spoil("missing", func(string) error { return nil }, "is missing", "backup")
	spoil("a pipe", func(p string) error { return unix.Mkfifo(p, 0o600) }, "no regular file")
	spoil("a directory", func(p string) error { return os.Mkdir(p, 0o700) }, "no regular file")
	spoil("huge", func(p string) error { return os.WriteFile(p, make([]byte, maxFile+1), 0o600) }, "longer than")
	spoil("empty", func(p string) error { return os.WriteFile(p, nil, 0o600) }, "no signing key")
	spoil("wrapped", func(p string) error { return os.WriteFile(p, []byte(wrappedLine+"AAAA\n"), 0o600) }, "none is configured")
}

func TestOpenRefusesAnotherTenant(t *testing.T) {
	_, dir := mustCreate(t)
	_, err := Open(dir, "umbrella")
	wants(t, err, nil, `"acme"`, `"umbrella"`, checkpointFile)
}

func TestPublicFile(t *testing.T) {
	k, dir := mustCreate(t)
	path := filepath.Join(dir, publicFile)
	if err := os.WriteFile(path, []byte("isogate/acme+00000000+AAAA\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(dir, "acme")
	wants(t, err, nil, path, "does not belong", k.Verifier())
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	_, err = Open(dir, "acme")
	wants(t, err, nil, path, "is missing", k.Verifier())
	// What the message says is what helps.
	if err := os.WriteFile(path, []byte(k.Verifier()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := mustOpen(t, dir).Verifier(); got != k.Verifier() {
		t.Error(got)
	}
}

func TestNoDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	_, err := Open(dir, "acme")
	wants(t, err, fs.ErrNotExist, dir, "isogate tenant create")
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Open(dir, "acme")
	wants(t, err, nil, dir, "is no directory")
	_, err = Create(dir, "acme")
	wants(t, err, nil, dir, "is no directory")
	_, err = Create(filepath.Join(dir, "below", "keys"), "acme")
	wants(t, err, nil, dir)
}

func TestCreateRefusesWhatIsThere(t *testing.T) {
	k, dir := mustCreate(t)
	_, err := Create(dir, "acme")
	wants(t, err, fs.ErrExist, dir, "holds a keyring")
	if mustOpen(t, dir).Primary() != k.Primary() {
		t.Error("the refused creation changed the keyring")
	}

	other := filepath.Join(t.TempDir(), "keys")
	if err := os.Mkdir(other, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err = Open(other, "acme")
	wants(t, err, fs.ErrNotExist, other, "isogate tenant create")
	if err := os.WriteFile(filepath.Join(other, "notes.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Create(other, "acme")
	wants(t, err, fs.ErrExist, other, "notes.txt", "empty directory")
	_, err = Open(other, "acme")
	wants(t, err, fs.ErrNotExist, other)
	if err := os.Remove(filepath.Join(other, "notes.txt")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(other, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err = Create(other, "acme")
	wants(t, err, fs.ErrPermission, "chmod 0700 "+other)
	if err := os.Chmod(other, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(other, "acme"); err != nil {
		t.Errorf("an empty directory: %v", err)
	}
}

// A disk that takes no more leaves the old keyring, and nothing half-written.
func TestNoSpace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small disk")
	}
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=64k,mode=700"); err != nil {
		t.Skip("cannot mount a tmpfs: ", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(disk, unix.MNT_DETACH) })
	dir := filepath.Join(disk, "keys")
	k, err := Create(dir, "acme")
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(disk, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	ids := k.IDs()
	err = k.Rotate()
	wants(t, err, unix.ENOSPC, keysetFile)
	if got := mustOpen(t, dir).IDs(); len(got) != 1 || got[0] != ids[0] || k.Primary() != ids[0] {
		t.Errorf("%08x, want %08x", got, ids)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), newSuffix) {
			t.Errorf("left behind: %s", e.Name())
		}
	}
}

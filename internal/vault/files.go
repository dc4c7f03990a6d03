package vault

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// ErrInUse says that another process has the vault open.
var ErrInUse = errors.New("it is in use")

// takeLock keeps a second process off. The kernel lets go of the lock with the
// process, however that ends; the text in the file only names the holder.
func takeLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // below the state directory
	if err != nil {
		return nil, fmt.Errorf("vault: %w; its directory must be writable", err)
	}
	if err := lockFile(f); err != nil {
		holder, _ := io.ReadAll(io.LimitReader(f, 256))
		_ = f.Close()
		if who := strings.TrimSpace(string(holder)); errors.Is(err, ErrInUse) && who != "" {
			return nil, fmt.Errorf("vault %s: %w by %s; stop that process or name another directory", filepath.Dir(path), err, who)
		}
		return nil, fmt.Errorf("vault %s: %w; stop the process that has it or name another directory", filepath.Dir(path), err)
	}
	who := fmt.Sprintf("process %d (%s) since %s\n", os.Getpid(), filepath.Base(os.Args[0]), time.Now().UTC().Format(time.RFC3339))
	if err := f.Truncate(0); err == nil {
		// A holder that could not be written down is only a poorer message for others.
		_, _ = f.WriteAt([]byte(who), 0)
	}
	return f, nil
}

// lockFile locks a file until it is closed.
func lockFile(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrInUse
	}
	return err
}

// explain adds the next step to a database's errors that an operator can cure.
func explain(err error) error {
	var se *sqlite.Error
	if !errors.As(err, &se) {
		return err
	}
	switch se.Code() & 0xff {
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("%w; free space on its disk", err)
	case sqlite3.SQLITE_IOERR:
		return fmt.Errorf("%w; check the disk and its free space", err)
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return fmt.Errorf("%w; another process writes to the database, stop it", err)
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT:
		return fmt.Errorf("%w; the file is damaged, restore the directory from its newest backup", err)
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN:
		return fmt.Errorf("%w; the directory and its files must be writable by this user", err)
	}
	return err
}

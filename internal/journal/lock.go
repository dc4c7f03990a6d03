package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ErrInUse says that another process has the journal open.
var ErrInUse = errors.New("it is in use")

// lock keeps a second process out of the journal's directory. The kernel lets go
// of it with the process, however that ends; the text in the file only names the
// holder.
type lock struct{ f *os.File }

func takeLock(path string) (*lock, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // below the state directory
	if err != nil {
		return nil, fmt.Errorf("journal: %w; the journal's directory must be writable", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err != nil {
		defer f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("journal: lock %s: %w", path, err)
		}
		holder, _ := io.ReadAll(io.LimitReader(f, 256))
		who := strings.TrimSpace(string(holder))
		if who == "" {
			who = "another process"
		}
		return nil, fmt.Errorf("journal %s: %w by %s; stop that process or name another state directory", filepath.Dir(path), ErrInUse, who)
	}
	who := fmt.Sprintf("process %d (%s) since %s\n", os.Getpid(), filepath.Base(os.Args[0]), time.Now().UTC().Format(time.RFC3339))
	if err := f.Truncate(0); err == nil {
		// A holder that could not be written down is only a poorer message for others.
		_, _ = f.WriteAt([]byte(who), 0)
	}
	return &lock{f}, nil
}

func (l *lock) release() error { return l.f.Close() }

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // below the state directory
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

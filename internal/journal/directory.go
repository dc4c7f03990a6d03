package journal

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/transparency-dev/tessera/api/layout"
	"golang.org/x/sync/errgroup"
)

// directory is the log's files on disk. It may be served as it is.
type directory string

func (d directory) String() string { return string(d) }

func (d directory) cure() string {
	return "restore their newest state, or move the directory away to have it built again from the database"
}

func (d directory) read(_ context.Context, path string) ([]byte, error) {
	return os.ReadFile(filepath.Join(string(d), path)) //nolint:gosec // below the state directory
}

func (d directory) published(ctx context.Context) ([]byte, error) {
	raw, err := d.read(ctx, layout.CheckpointPath)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return raw, err
}

func (d directory) publish(_ context.Context, note []byte) error {
	return writeFile(filepath.Join(string(d), layout.CheckpointPath), note)
}

func (d directory) remove(_ context.Context, paths []string) error {
	errs := make([]error, len(paths))
	for i, p := range paths {
		errs[i] = os.RemoveAll(filepath.Join(string(d), p+".p"))
	}
	return errors.Join(errs...)
}

// syncers is how many files are synced at a time, which file systems do together.
const syncers = 16

// write makes the files durable, and then the directories that they are in.
func (d directory) write(ctx context.Context, files []file) error {
	dirs := map[string]bool{}
	for _, f := range files {
		for dir := filepath.Dir(filepath.Join(string(d), f.path)); len(dir) >= len(string(d)); dir = filepath.Dir(dir) {
			dirs[dir] = true
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(string(d), f.path)), 0o700); err != nil {
			return err
		}
	}
	dirs[filepath.Dir(string(d))] = true
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(syncers)
	for _, f := range files {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return writeSynced(filepath.Join(string(d), f.path), f.data)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	g = new(errgroup.Group)
	g.SetLimit(syncers)
	for dir := range dirs {
		g.Go(func() error { return syncDir(dir) })
	}
	return g.Wait()
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600) //nolint:gosec // below the state directory
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// writeFile replaces a file so that after a crash it is the old one or the new
// one, whole: write beside it, sync, rename, sync the directory.
func writeFile(path string, data []byte) error {
	part := path + ".new"
	if err := writeSynced(part, data); err != nil {
		return err
	}
	if err := os.Rename(part, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

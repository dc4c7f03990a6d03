package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
)

// examine is what Open asks: do the database, the kept checkpoint and the log
// belong together?
func (s *sealer) examine(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("journal %s: %w", s.j.place, err)
		}
	}()
	was, err := s.j.kept(ctx)
	if err != nil {
		return err
	}
	if was.size > 0 {
		cp, _, err := openCheckpoint(was.note, s.verifier)
		if err != nil {
			return fmt.Errorf("the checkpoint in the database does not verify by the key %s: %w; open the journal with the key that sealed it", s.verifier.Name(), err)
		}
		if cp.Size != was.size || !bytes.Equal(cp.Hash, was.root) {
			return errors.New("the checkpoint in the database was changed; restore the newest backup of the whole state directory")
		}
		if dir, ok := s.tree.files.(directory); ok {
			if _, err := os.Stat(string(dir)); errors.Is(err, os.ErrNotExist) {
				s.j.cfg.Logger.Warn("the Merkle log is gone; it is built again from the database and compared with its checkpoint", slog.String("log", s.tree.String()), slog.Uint64("size", was.size))
				if err := s.rebuild(ctx, dir, was); err != nil {
					return err
				}
			}
		}
	}
	if _, _, err := s.standing(ctx); err != nil {
		return err
	}
	s.sealed.Store(was.size)
	return nil
}

// rebuild makes the log again from the rows, beside its place, and puts it there
// once its root is the one that was signed.
func (s *sealer) rebuild(ctx context.Context, dir directory, was *kept) error {
	aside := dir + ".new"
	fresh := tree{aside}
	if err := os.RemoveAll(string(aside)); err != nil {
		return err
	}
	at := &kept{tree: ranges.NewEmptyRange(0)}
	for at.size < was.size {
		bodies, err := s.j.bodies(ctx, at.size, min(at.size+batchLimit, was.size))
		if err != nil {
			return err
		}
		from := at.size
		if at, err = fresh.grow(ctx, at, bodies); err != nil {
			return err
		}
		if err := fresh.sweep(ctx, from, at.size); err != nil {
			return err
		}
	}
	if !bytes.Equal(at.root, was.root) {
		return fmt.Errorf("%w: the entries in the database do not make the root that was signed over %d of them; restore the newest backup of the whole state directory",
			errFork, was.size)
	}
	if err := fresh.publish(ctx, was.note); err != nil {
		return err
	}
	if err := os.Rename(string(aside), string(dir)); err != nil {
		return err
	}
	return syncDir(s.j.cfg.Dir)
}

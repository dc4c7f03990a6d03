package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
)

// examine is what Open asks: do the database, the kept checkpoint and the log
// belong together?
func (s *sealer) examine(ctx context.Context, next uint64) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("journal %s: %w", s.j.cfg.Dir, err)
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
		if _, err := os.Stat(s.tree.dir); errors.Is(err, os.ErrNotExist) {
			s.j.cfg.Logger.Warn("the Merkle log is gone; it is built again from the database and compared with its checkpoint", "dir", s.tree.dir, "size", was.size)
			if err := s.rebuild(ctx, was); err != nil {
				return err
			}
		}
	}
	if _, _, err := s.standing(ctx); err != nil {
		return err
	}
	if root, err := s.tree.root(ctx, was.size); err != nil {
		return fmt.Errorf("the tiles in %s cannot be read: %w; restore them, or move the directory away to have it built again from the database", s.tree.dir, err)
	} else if !bytes.Equal(root, was.root) {
		return fmt.Errorf("%w: the tiles in %s do not make the root that was signed over %d entries; move the directory away to have it built again from the database",
			errFork, s.tree.dir, was.size)
	}
	if size, err := s.tree.size(); err != nil {
		return err
	} else if size > was.size {
		// Cut off between integration and signature.
		if _, _, err := s.read(ctx, was.size, size, size); err != nil {
			return err
		}
	}
	s.sealed.Store(was.size)
	return nil
}

// rebuild makes the log again from the rows, beside its place, and puts it there
// once its root is the one that was signed.
func (s *sealer) rebuild(ctx context.Context, was *kept) error {
	fresh := tree{s.tree.dir + ".new"}
	if err := os.RemoveAll(fresh.dir); err != nil {
		return err
	}
	// Signs the kept checkpoint once more, and no other.
	g := &guard{Signer: s.j.cfg.Signer, want: was, done: true}
	chunk := func(from, to uint64) error {
		ctx, cancel := context.WithTimeout(ctx, batchPatience)
		defer cancel()
		bodies, err := s.j.bodies(ctx, from, to)
		if err != nil {
			return err
		}
		wait := func() error { return nil } // nothing is published on the way
		if to == was.size {
			wait = func() error {
				root, err := fresh.root(ctx, was.size)
				if err == nil && !bytes.Equal(root, was.root) {
					err = fmt.Errorf("%w: the entries in the database do not make the root that was signed over %d of them; restore the newest backup of the whole state directory",
						errFork, was.size)
				}
				if err != nil {
					return err
				}
				return fresh.awaitPublished(ctx, g)
			}
		}
		if err := fresh.append(ctx, g, from, bodies, wait); err != nil {
			return err
		}
		return fresh.sweep(from, to)
	}
	for from := uint64(0); from < was.size; from += batchLimit {
		if err := chunk(from, min(from+batchLimit, was.size)); err != nil {
			return err
		}
	}
	if err := os.Rename(fresh.dir, s.tree.dir); err != nil {
		return err
	}
	return syncDir(s.j.cfg.Dir)
}

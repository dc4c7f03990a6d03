package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api/layout"
	"github.com/transparency-dev/tessera/client"
)

// ranges makes compact ranges by the hashes of RFC 6962.
var ranges = &compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}

// rootOf is the root of a range that begins at 0.
func rootOf(r *compact.Range) ([]byte, error) {
	if r.End() == 0 {
		return rfc6962.DefaultHasher.EmptyRoot(), nil
	}
	return r.GetRootHash(nil)
}

// tree reads the Merkle log on disk: tiles and the published checkpoint in C2SP
// tlog-tiles form, and Tessera's record of how far it has integrated.
type tree struct{ dir string }

const statePath = ".state/treeState"

// size is how many leaves the tiles hold, signed for or not; 0 where there is no log.
func (t tree) size() (uint64, error) {
	raw, err := os.ReadFile(filepath.Join(t.dir, statePath))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var state struct {
		Size uint64 `json:"size"`
	}
	if err := json.Unmarshal(raw, &state); err != nil {
		return 0, fmt.Errorf("%s: %w", filepath.Join(t.dir, statePath), err)
	}
	return state.Size, nil
}

// create gives an empty directory the state of an empty log, so that Tessera
// does not begin by publishing a checkpoint over nothing.
func (t tree) create() error {
	path := filepath.Join(t.dir, statePath)
	if _, err := os.Stat(path); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	state, err := json.Marshal(map[string]any{"size": 0, "root": rfc6962.DefaultHasher.EmptyRoot()})
	if err != nil {
		return err
	}
	return writeFile(path, state)
}

func (t tree) fetch() client.FileFetcher { return client.FileFetcher{Root: t.dir} }

// published is the checkpoint in the log's directory, nil if there is none.
func (t tree) published() ([]byte, error) {
	raw, err := os.ReadFile(filepath.Join(t.dir, layout.CheckpointPath))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return raw, err
}

// root is the root over the first size leaves as the tiles have them.
func (t tree) root(ctx context.Context, size uint64) ([]byte, error) {
	hashes, err := client.FetchRangeNodes(ctx, size, t.fetch().ReadTile)
	if err != nil {
		return nil, err
	}
	r, err := ranges.NewRange(0, size, hashes)
	if err != nil {
		return nil, err
	}
	return rootOf(r)
}

// leaves are the leaf hashes of [from, to) in the tree of the given size.
func (t tree) leaves(ctx context.Context, from, to, size uint64) ([][]byte, error) {
	if from == to {
		return nil, nil
	}
	return client.FetchLeafHashes(ctx, t.fetch().ReadTile, from, to-from, size)
}

// nodes are the hashes of perfect subtrees in the tree of the given size.
func (t tree) nodes(ctx context.Context, ids []compact.NodeID, size uint64) ([][]byte, error) {
	hashes := make([][]byte, 0, len(ids))
	for _, id := range ids {
		// Of the tile's bottom row the subtree covers 2^height nodes.
		level, index, height, offset := layout.NodeCoordsToTileAddress(uint64(id.Level), id.Index)
		raw, err := t.fetch().ReadTile(ctx, level, index, layout.PartialTileSize(level, index, size))
		if err != nil {
			return nil, err
		}
		row := bytes32(raw)
		from, to := offset<<height, (offset+1)<<height
		if to > uint64(len(row)) {
			return nil, fmt.Errorf("%s: the tile has %d hashes, %d are needed", layout.TilePath(level, index, 0), len(row), to)
		}
		for row = row[from:to]; len(row) > 1; row = row[:len(row)/2] {
			for i := range len(row) / 2 {
				row[i] = rfc6962.DefaultHasher.HashChildren(row[2*i], row[2*i+1])
			}
		}
		hashes = append(hashes, row[0])
	}
	return hashes, nil
}

// sweep removes the partial tiles and bundles that full ones have taken the
// place of, now that the log grew from one size to another under a published
// checkpoint.
func (t tree) sweep(from, to uint64) error {
	var errs []error
	remove := func(path string) { errs = append(errs, os.RemoveAll(filepath.Join(t.dir, path+".p"))) }
	for level := uint64(0); ; level++ {
		shift := layout.TileHeight * (level + 1)
		first, end := from>>shift, to>>shift // full tiles before, and now
		if end == 0 {
			return errors.Join(errs...)
		}
		for i := first; i < end; i++ {
			remove(layout.TilePath(level, i, 0))
			if level == 0 {
				remove(layout.EntriesPath(i, 0))
			}
		}
	}
}

// writeFile replaces a file so that after a crash it is the old one or the new
// one, whole: write beside it, sync, rename, sync the directory.
func writeFile(path string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if _, err := f.Write(data); err != nil {
		_ = f.Close()
		return err
	}
	if err := errors.Join(f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

package journal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/api/layout"
	"golang.org/x/sync/errgroup"
)

// tree is the Merkle log on disk, in the form of C2SP tlog-tiles: tiles of up to
// 256 hashes, bundles of as many entries, and the published checkpoint. It has no
// state besides: what it holds follows from the files and a size.
type tree struct{ dir string }

// ranges makes compact ranges by the hashes of RFC 6962.
var ranges = &compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}

// rootOf is the root of a range that begins at 0.
func rootOf(r *compact.Range) ([]byte, error) {
	if r.End() == 0 {
		return rfc6962.DefaultHasher.EmptyRoot(), nil
	}
	return r.GetRootHash(nil)
}

// bytes32 splits b into hashes.
func bytes32(b []byte) [][]byte {
	var hashes [][]byte
	for ; len(b) >= 32; b = b[32:] {
		hashes = append(hashes, b[:32:32])
	}
	return hashes
}

// published is the checkpoint in the log's directory, nil if there is none.
func (t tree) published() ([]byte, error) {
	raw, err := os.ReadFile(filepath.Join(t.dir, layout.CheckpointPath))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return raw, err
}

// publish replaces the checkpoint in the log's directory.
func (t tree) publish(note []byte) error {
	return writeFile(filepath.Join(t.dir, layout.CheckpointPath), note)
}

// tile is the hashes of one tile in a log of the given size. A partial tile that
// is not there any more is the beginning of the full one.
func (t tree) tile(level, index, size uint64) ([][]byte, error) {
	partial := layout.PartialTileSize(level, index, size)
	raw, err := os.ReadFile(filepath.Join(t.dir, layout.TilePath(level, index, partial)))
	if partial > 0 && errors.Is(err, fs.ErrNotExist) {
		raw, err = os.ReadFile(filepath.Join(t.dir, layout.TilePath(level, index, 0)))
	}
	if err != nil {
		return nil, err
	}
	want := layout.TileWidth
	if partial > 0 {
		want = int(partial)
	}
	if len(raw) < want*32 {
		return nil, fmt.Errorf("%s has %d bytes, not %d", filepath.Join(t.dir, layout.TilePath(level, index, partial)), len(raw), want*32)
	}
	return bytes32(raw[:want*32]), nil
}

// bundle is the entries of one bundle in a log of the given size.
func (t tree) bundle(index, size uint64) ([][]byte, error) {
	partial := layout.PartialTileSize(0, index, size)
	raw, err := os.ReadFile(filepath.Join(t.dir, layout.EntriesPath(index, partial)))
	if partial > 0 && errors.Is(err, fs.ErrNotExist) {
		raw, err = os.ReadFile(filepath.Join(t.dir, layout.EntriesPath(index, 0)))
	}
	if err != nil {
		return nil, err
	}
	var b api.EntryBundle
	if err := b.UnmarshalText(raw); err != nil {
		return nil, err
	}
	if partial > 0 && len(b.Entries) > int(partial) {
		b.Entries = b.Entries[:partial]
	}
	return b.Entries, nil
}

// leaves are the leaf hashes of [from, to) in the log of the given size.
func (t tree) leaves(from, to, size uint64) ([][]byte, error) {
	hashes := make([][]byte, 0, to-from)
	for from < to {
		row, err := t.tile(0, from/layout.TileWidth, size)
		if err != nil {
			return nil, err
		}
		end := blockEnd(from, to)
		first := from % layout.TileWidth
		if first+end-from > uint64(len(row)) {
			return nil, fmt.Errorf("the log has no leaf %d", first+uint64(len(row)))
		}
		hashes = append(hashes, row[first:first+end-from]...)
		from = end
	}
	return hashes, nil
}

// nodes are the hashes of perfect subtrees in the log of the given size.
func (t tree) nodes(ids []compact.NodeID, size uint64) ([][]byte, error) {
	hashes := make([][]byte, 0, len(ids))
	for _, id := range ids {
		// Of the tile's bottom row the subtree covers 2^height nodes.
		level, index, height, offset := layout.NodeCoordsToTileAddress(uint64(id.Level), id.Index)
		row, err := t.tile(level, index, size)
		if err != nil {
			return nil, err
		}
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

// root is the root over the first size leaves as the tiles have them.
func (t tree) root(size uint64) ([]byte, error) {
	hashes, err := t.nodes(compact.RangeNodes(0, size, nil), size)
	if err != nil {
		return nil, err
	}
	r, err := ranges.NewRange(0, size, hashes)
	if err != nil {
		return nil, err
	}
	return rootOf(r)
}

// file is one file of the log that is to be written.
type file struct {
	path string
	data []byte
}

// grow puts entries behind those of was, in files, and returns when these are
// durable. It returns the checkpoint over all of them, not signed. No file that a
// checkpoint up to was is read by is touched, so growing again after a crash, from
// the same checkpoint and rows, writes the same files once more.
func (t tree) grow(ctx context.Context, was *kept, bodies [][]byte) (*kept, error) {
	// The rows of the tiles at the right edge, by level, begin where their tile does.
	var rows [8][][]byte
	var held [8]int // hashes of rows that are on disk
	for level := range rows {
		width := was.size >> (layout.TileHeight * level)
		if width%layout.TileWidth == 0 {
			continue
		}
		row, err := t.tile(uint64(level), width/layout.TileWidth, was.size)
		if err != nil {
			return nil, err
		}
		rows[level], held[level] = row, len(row)
	}
	now := &kept{}
	var err error
	if now.tree, err = ranges.NewRange(0, was.size, bytes32(was.nodes())); err != nil {
		return nil, err
	}
	for _, b := range bodies {
		leaf := rfc6962.DefaultHasher.HashLeaf(b)
		if err := now.tree.Append(leaf, func(id compact.NodeID, hash []byte) {
			// Nodes of a level come in their order.
			if id.Level%layout.TileHeight == 0 {
				rows[id.Level/layout.TileHeight] = append(rows[id.Level/layout.TileHeight], hash)
			}
		}); err != nil {
			return nil, err
		}
	}
	now.size = now.tree.End()
	if now.root, err = rootOf(now.tree); err != nil {
		return nil, err
	}
	files, err := t.bundles(was.size, bodies)
	if err != nil {
		return nil, err
	}
	for level, row := range rows {
		if len(row) == held[level] {
			continue
		}
		index := was.size >> (layout.TileHeight * (level + 1))
		for part := range slices.Chunk(row, layout.TileWidth) {
			files = append(files, file{layout.TilePath(uint64(level), index, uint8(len(part)%layout.TileWidth)), bytes.Join(part, nil)}) //nolint:gosec // a level is below 8, the rest below 256
			index++
		}
	}
	return now, t.write(ctx, files)
}

// bundles are the files of the entries from the last, partial bundle on.
func (t tree) bundles(size uint64, bodies [][]byte) ([]file, error) {
	index := size / layout.EntryBundleWidth
	var all [][]byte
	if size%layout.EntryBundleWidth > 0 {
		var err error
		if all, err = t.bundle(index, size); err != nil {
			return nil, err
		}
	}
	var files []file
	for part := range slices.Chunk(append(all, bodies...), layout.EntryBundleWidth) {
		n := 0
		for _, b := range part {
			n += 2 + len(b)
		}
		data := make([]byte, 0, n)
		for _, b := range part {
			data = binary.BigEndian.AppendUint16(data, uint16(len(b))) //nolint:gosec // entries are not longer: maxEntry
			data = append(data, b...)
		}
		files = append(files, file{layout.EntriesPath(index, uint8(len(part)%layout.EntryBundleWidth)), data})
		index++
	}
	return files, nil
}

// syncers is how many files are synced at a time, which file systems do together.
const syncers = 16

// write makes the files durable, and then the directories that they are in.
func (t tree) write(ctx context.Context, files []file) error {
	dirs := map[string]bool{}
	for _, f := range files {
		for dir := filepath.Dir(filepath.Join(t.dir, f.path)); len(dir) >= len(t.dir); dir = filepath.Dir(dir) {
			dirs[dir] = true
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(t.dir, f.path)), 0o700); err != nil {
			return err
		}
	}
	dirs[filepath.Dir(t.dir)] = true
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(syncers)
	for _, f := range files {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return writeSynced(filepath.Join(t.dir, f.path), f.data)
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

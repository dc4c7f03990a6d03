package journal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/api/layout"
)

// tree is the Merkle log in the form of C2SP tlog-tiles: tiles of up to 256 hashes,
// bundles of as many entries, and the published checkpoint. It has no state
// besides: what it holds follows from the files and a size.
type tree struct{ files }

// files is where the log's files are: in a directory beside the entries, or in the
// database that several gateways share. Paths are those of C2SP tlog-tiles.
type files interface {
	// read gives one file; the error is fs.ErrNotExist where there is none.
	read(ctx context.Context, path string) ([]byte, error)
	// write puts files there, over older ones, and returns when they are durable.
	write(ctx context.Context, files []file) error
	// published is the checkpoint that readers of the log see, nil if there is none.
	published(ctx context.Context) ([]byte, error)
	// publish replaces it.
	publish(ctx context.Context, note []byte) error
	// remove takes away the partial tiles or bundles at these paths.
	remove(ctx context.Context, paths []string) error
	// String says where the files are.
	String() string
	// cure is what an operator does about files that are not what was signed.
	cure() string
}

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

// tile is the hashes of one tile in a log of the given size. A partial tile that
// is not there any more is the beginning of the full one.
func (t tree) tile(ctx context.Context, level, index, size uint64) ([][]byte, error) {
	partial := layout.PartialTileSize(level, index, size)
	raw, err := t.read(ctx, layout.TilePath(level, index, partial))
	if partial > 0 && errors.Is(err, fs.ErrNotExist) {
		raw, err = t.read(ctx, layout.TilePath(level, index, 0))
	}
	if err != nil {
		return nil, err
	}
	want := layout.TileWidth
	if partial > 0 {
		want = int(partial)
	}
	if len(raw) < want*32 {
		return nil, fmt.Errorf("%s in %s has %d bytes, not %d", layout.TilePath(level, index, partial), t, len(raw), want*32)
	}
	return bytes32(raw[:want*32]), nil
}

// bundle is the entries of one bundle in a log of the given size.
func (t tree) bundle(ctx context.Context, index, size uint64) ([][]byte, error) {
	partial := layout.PartialTileSize(0, index, size)
	raw, err := t.read(ctx, layout.EntriesPath(index, partial))
	if partial > 0 && errors.Is(err, fs.ErrNotExist) {
		raw, err = t.read(ctx, layout.EntriesPath(index, 0))
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
func (t tree) leaves(ctx context.Context, from, to, size uint64) ([][]byte, error) {
	hashes := make([][]byte, 0, to-from)
	for from < to {
		row, err := t.tile(ctx, 0, from/layout.TileWidth, size)
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
func (t tree) nodes(ctx context.Context, ids []compact.NodeID, size uint64) ([][]byte, error) {
	hashes := make([][]byte, 0, len(ids))
	for _, id := range ids {
		// Of the tile's bottom row the subtree covers 2^height nodes.
		level, index, height, offset := layout.NodeCoordsToTileAddress(uint64(id.Level), id.Index)
		row, err := t.tile(ctx, level, index, size)
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
func (t tree) root(ctx context.Context, size uint64) ([]byte, error) {
	hashes, err := t.nodes(ctx, compact.RangeNodes(0, size, nil), size)
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
	var held [8]int // hashes of rows that are there already
	for level := range rows {
		width := was.size >> (layout.TileHeight * level)
		if width%layout.TileWidth == 0 {
			continue
		}
		row, err := t.tile(ctx, uint64(level), width/layout.TileWidth, was.size)
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
	files, err := t.bundles(ctx, was.size, bodies)
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
func (t tree) bundles(ctx context.Context, size uint64, bodies [][]byte) ([]file, error) {
	index := size / layout.EntryBundleWidth
	var all [][]byte
	if size%layout.EntryBundleWidth > 0 {
		var err error
		if all, err = t.bundle(ctx, index, size); err != nil {
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

// sweep removes the partial tiles and bundles that full ones have taken the
// place of, now that the log grew from one size to another under a published
// checkpoint.
func (t tree) sweep(ctx context.Context, from, to uint64) error {
	var paths []string
	for level := uint64(0); ; level++ {
		shift := layout.TileHeight * (level + 1)
		first, end := from>>shift, to>>shift // full tiles before, and now
		if end == 0 {
			break
		}
		for i := first; i < end; i++ {
			paths = append(paths, layout.TilePath(level, i, 0))
			if level == 0 {
				paths = append(paths, layout.EntriesPath(i, 0))
			}
		}
	}
	if len(paths) == 0 {
		return nil
	}
	return t.remove(ctx, paths)
}

package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// Limits of a pack on disk.
const (
	maxFiles     = 5_000
	maxFileBytes = 4 << 20
	maxPackBytes = 64 << 20
)

// packFile is one file of the pack as read.
type packFile struct {
	path string // inside the pack, with slashes
	src  []byte
}

// readFiles reads every file of the pack under dir, sorted by path. It leaves
// out dot files and top-level documents (README.md and the like), which say
// nothing to the gateway; any other file that a pack does not have is a
// finding, because a rule in a file that is not read would be missed in silence.
//
// The error says that the directory itself cannot be read.
func readFiles(dir string, found *findings) ([]packFile, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("pack %s: %w; name a directory that holds pack.yaml", dir, errors.Unwrap(err))
	}
	defer func() { _ = root.Close() }()
	var files []packFile
	var total int64
	count := 0
	err = fs.WalkDir(root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		at := position{file: p, line: 1, column: 1}
		switch {
		case err != nil && p == ".":
			return fmt.Errorf("pack %s: %w; name a directory that can be read", dir, err)
		case err != nil:
			found.add(at, "cannot be read: %v; give the gateway's user the right to read it", plainCause(err))
			return nil
		case p == ".":
			return nil
		}
		if count++; count > maxFiles {
			found.add(at, "the pack has more than %d files; split it", maxFiles)
			return fs.SkipAll
		}
		if strings.HasPrefix(path.Base(p), ".") {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		switch d.Type() {
		case fs.ModeDir:
			if !partOfPack(p + "/") {
				found.add(at, "the directory is no part of a pack; move it away (a pack has %s)", packParts)
				return fs.SkipDir
			}
			return nil
		case 0:
		case fs.ModeSymlink:
			found.add(at, "is a symbolic link; put the file itself into the pack")
			return nil
		default:
			found.add(at, "is not a regular file; remove it")
			return nil
		}
		if document(p) {
			return nil
		}
		if !partOfPack(p) {
			found.add(at, "the file is no part of a pack; move it away or rename it (a pack has %s)", packParts)
			return nil
		}
		src, err := readFile(root, p)
		switch {
		case err != nil:
			found.add(at, "cannot be read: %v; give the gateway's user the right to read it", plainCause(err))
		case len(src) > maxFileBytes:
			found.add(at, "is larger than %d MiB; split it", maxFileBytes>>20)
		default:
			if total += int64(len(src)); total > maxPackBytes {
				found.add(at, "the pack is larger than %d MiB; split it", maxPackBytes>>20)
				return fs.SkipAll
			}
			files = append(files, packFile{path: p, src: src})
		}
		return nil
	})
	slices.SortFunc(files, func(a, b packFile) int { return strings.Compare(a.path, b.path) })
	return files, err
}

// plainCause is the error without the path, which the finding names already.
func plainCause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// readFile reads one file, and one byte more than it may have.
func readFile(root *os.Root, p string) ([]byte, error) {
	f, err := root.Open(p)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, maxFileBytes+1))
}

const packParts = "pack.yaml, taxonomy.yaml, destinations.yaml, never.yaml, contracts/*.yaml, transits/*.yaml and tests/"

// partOfPack reports whether a path, a directory's with a final slash, belongs to a pack.
func partOfPack(p string) bool {
	dir, base, nested := strings.Cut(p, "/")
	if !nested {
		return p == "pack.yaml" || p == "taxonomy.yaml" || p == "destinations.yaml" || p == "never.yaml"
	}
	switch dir {
	case "contracts", "transits":
		return base == "" || !strings.Contains(base, "/") && strings.HasSuffix(base, ".yaml")
	case "tests":
		return true
	}
	return false
}

// document reports whether a path is a text for people at the top of a pack.
func document(p string) bool {
	return !strings.Contains(p, "/") && (strings.HasSuffix(p, ".md") || p == "LICENSE" || p == "NOTICE" || p == "CODEOWNERS")
}

// digest is "sha256:" and, in hex, the SHA-256 over the canonical listing of
// the files: for each, sorted by path as bytes, the length of the path (8 bytes,
// big-endian), the path, the length of the content (8 bytes, big-endian) and
// the content. The lengths keep two different packs from having one listing.
func digest(files []packFile) string {
	h := sha256.New()
	part := func(b []byte) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(b)))
		h.Write(n[:])
		h.Write(b)
	}
	for _, f := range files {
		part([]byte(f.path))
		part(f.src)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

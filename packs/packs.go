// Package packs carries the shipped packs inside the program, so that demo and
// preview need no file beside it. A pack is a directory; to load one from here,
// write it out with [os.CopyFS].
package packs

import (
	"embed"
	"io/fs"
)

//go:embed reference
var files embed.FS

// Reference returns the reference pack: its pack.yaml is at the root.
func Reference() fs.FS {
	pack, _ := fs.Sub(files, "reference") // fails for malformed names only
	return pack
}

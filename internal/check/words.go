package check

import (
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
)

var (
	// A path of somebody's machine: it works there and nowhere else.
	machinePath = regexp.MustCompile(`(?:^|[\s"'=(:<@` + "`" + `])/(?:tmp|root|home|work|Users)/[A-Za-z]`)
	// A note to do it later: it belongs into the tracker, or is done now.
	later = regexp.MustCompile(`\b(?:TO` + `DO|FIX` + `ME|XX` + `X)\b`)
)

// Words reports paths of a machine in any text file, and notes to finish
// something later in Go files. Test data is not looked at, for it may be a
// capture of the world.
func Words(fsys fs.FS) ([]Finding, error) {
	var out []Finding
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if d.Name() == ".git" || d.Name() == "testdata" || d.Name() == "out" {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() || path.Ext(p) == ".sum" {
			return nil
		}
		src, err := fs.ReadFile(fsys, p)
		if err != nil {
			return err
		}
		if bytes.IndexByte(src[:min(len(src), 8<<10)], 0) >= 0 {
			return nil // not text
		}
		for n, line := range strings.Split(string(src), "\n") {
			place := fmt.Sprintf("%s:%d", p, n+1)
			if machinePath.MatchString(line) {
				out = append(out, Finding{place, "names a path of somebody's machine; use a path relative to the tree or a temporary directory"})
			}
			if path.Ext(p) == ".go" && later.MatchString(line) {
				out = append(out, Finding{place, "puts something off; do it, or say what is and what is not"})
			}
		}
		return nil
	})
	return sortFindings(out), err
}

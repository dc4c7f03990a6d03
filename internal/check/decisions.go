package check

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
)

// DecisionsDir holds what was decided and why, one page each.
const DecisionsDir = "docs/decisions"

var (
	decisionName = regexp.MustCompile(`^(\d{4})-[a-z0-9]+(?:-[a-z0-9]+)*\.md$`)
	decisionDate = regexp.MustCompile(`(?m)^Date: \d{4}-\d{2}-\d{2}$`)
)

// Decisions reports every page under DecisionsDir that is misnamed, numbered
// with a gap or twice, undated, longer than a page, or without the sections
// that make it worth reading: what was decided, why, and what was refused.
func Decisions(fsys fs.FS) ([]Finding, error) {
	pages, err := fs.ReadDir(fsys, DecisionsDir)
	if err != nil {
		return nil, err
	}
	var out []Finding
	for i, d := range pages { // sorted by name
		place := path.Join(DecisionsDir, d.Name())
		bad := func(format string, args ...any) { out = append(out, Finding{place, fmt.Sprintf(format, args...)}) }
		m := decisionName.FindStringSubmatch(d.Name())
		if m == nil {
			bad("is not named NNNN-title.md")
			continue
		}
		if want := fmt.Sprintf("%04d", i+1); m[1] != want {
			bad("should be number %s", want)
		}
		src, err := fs.ReadFile(fsys, place)
		if err != nil {
			return nil, err
		}
		text := string(src)
		if !decisionDate.MatchString(text) {
			bad("has no line like: Date: 2026-01-31")
		}
		for _, section := range []string{"## Decision", "## Why", "## Refused"} {
			if !strings.Contains(text, "\n"+section+"\n") {
				bad("has no section %q", section)
			}
		}
		if n := strings.Count(text, "\n"); n > 70 {
			bad("has %d lines; a decision is one page", n)
		}
	}
	return sortFindings(out), nil
}

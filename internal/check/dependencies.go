package check

import (
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	"golang.org/x/mod/modfile"
)

// DependenciesFile gives the reason of each dependency, one line each.
const DependenciesFile = "docs/dependencies.md"

var dependencyRow = regexp.MustCompile("^\\|\\s*`([^`]+)`\\s*\\|\\s*(.*?)\\s*\\|\\s*$")

// Dependencies reports each module that go.mod requires directly and that has
// no line with a reason in DependenciesFile, and each line there without its
// module. The file's other lists (tools, peers) stand under headings of their
// own and belong to other modules; only the first list is compared.
func Dependencies(fsys fs.FS) ([]Finding, error) {
	mod, err := fs.ReadFile(fsys, "go.mod")
	if err != nil {
		return nil, err
	}
	m, err := modfile.Parse("go.mod", mod, nil)
	if err != nil {
		return nil, err
	}
	doc, err := fs.ReadFile(fsys, DependenciesFile)
	if err != nil {
		return nil, err
	}
	var out []Finding
	reasons := map[string]int{}
	sections := 0
	for n, line := range strings.Split(string(doc), "\n") {
		if strings.HasPrefix(line, "## ") {
			sections++
		}
		row := dependencyRow.FindStringSubmatch(line)
		if row == nil || sections > 1 {
			continue
		}
		if len(strings.Fields(row[2])) < 3 {
			out = append(out, Finding{fmt.Sprintf("%s:%d", DependenciesFile, n+1), row[1] + " has no reason"})
		}
		reasons[row[1]] = n + 1
	}
	for _, r := range m.Require {
		_, ok := reasons[r.Mod.Path]
		if !r.Indirect && !ok {
			out = append(out, Finding{"go.mod", fmt.Sprintf("requires %s, which has no line in %s; say what it is for and why it is not written here", r.Mod.Path, DependenciesFile)})
		}
		if !r.Indirect {
			delete(reasons, r.Mod.Path)
		}
	}
	for path, line := range reasons {
		out = append(out, Finding{fmt.Sprintf("%s:%d", DependenciesFile, line), path + " is not a direct requirement of go.mod; take the line out"})
	}
	return sortFindings(out), nil
}

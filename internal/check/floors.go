package check

import (
	"fmt"
	"slices"
	"strings"
)

// Floors is the house's plan: the floor of every package by its directory, "."
// being the root.
type Floors struct {
	Of map[string]int
	// TestsOnly are packages that stand outside the floors: tests of any floor
	// may import them, other code may not.
	TestsOnly []string
	// ForTests are packages with a floor that tests below it may import all the same.
	ForTests []string
}

// Floors reports every import that does not go down, and every package that
// the plan does not know or no longer has. What tests import goes down as well,
// or to a package of TestsOnly or ForTests.
func (t *Tree) Floors(plan Floors) []Finding {
	var out []Finding
	aside := map[string]bool{}
	for _, d := range plan.TestsOnly {
		aside[d] = true
	}
	seen := map[string]bool{}
	for _, p := range t.Packages {
		seen[p.Dir] = true
		if aside[p.Dir] {
			continue
		}
		floor, ok := plan.Of[p.Dir]
		if !ok {
			out = append(out, Finding{p.Dir, "has no floor; give it one in arch_test.go and in docs/architecture.md"})
			continue
		}
		for _, f := range p.Files {
			for _, im := range f.AST.Imports {
				dir, ok := t.local(strings.Trim(im.Path.Value, `"`))
				if !ok || dir == p.Dir && f.Test {
					continue
				}
				under, known := plan.Of[dir]
				switch {
				case f.Test && (aside[dir] || slices.Contains(plan.ForTests, dir)):
				case aside[dir]:
					out = append(out, Finding{t.place(im.Pos()), fmt.Sprintf("imports %s, which is for tests", dir)})
				case known && under >= floor:
					out = append(out, Finding{t.place(im.Pos()), fmt.Sprintf(
						"imports %s (floor %d) from floor %d; imports go down: declare the interface that you need here, and let cmd/isogate hand it in",
						dir, under, floor)})
				}
			}
		}
	}
	for dir := range plan.Of {
		if !seen[dir] {
			out = append(out, Finding{dir, "has a floor and no Go file; take it out of the plan in arch_test.go"})
		}
	}
	return sortFindings(out)
}

// Documented reports every package without a package comment of at least a
// sentence. A command's comment begins "Command", every other one "Package name".
func (t *Tree) Documented() []Finding {
	var out []Finding
	for _, p := range t.Packages {
		var name, doc string
		for _, f := range p.Files {
			if f.Test {
				continue
			}
			name = f.AST.Name.Name
			if f.AST.Doc != nil {
				doc += f.AST.Doc.Text()
			}
		}
		want := "Package " + name + " "
		if name == "main" {
			want = "Command "
		}
		switch {
		case name == "": // tests alone
		case doc == "":
			out = append(out, Finding{p.Dir, "has no package comment; say in one file what it answers and what it leaves to others"})
		case !strings.HasPrefix(doc, want), !strings.Contains(doc, "."):
			out = append(out, Finding{p.Dir, fmt.Sprintf("its package comment does not begin %q, or is no sentence", want)})
		}
	}
	return sortFindings(out)
}

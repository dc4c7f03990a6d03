// Package check holds the rules that the house keeps about its own tree:
// which package may import which, who may open a connection, that a promise
// marked kept has code and a test, that each dependency has its reason, and
// that nothing of the machine it was written on is left in it.
//
// Every rule is a function over an [fs.FS] that answers with findings, so that
// a test can show it failing on a small tree made up for the purpose. Only
// tests import this package; no shipped code does.
package check

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Finding is one place where a rule is not kept.
type Finding struct {
	Place string // file, or file:line
	Msg   string // what is wrong, and what to do
}

func (f Finding) String() string { return f.Place + ": " + f.Msg }

func sortFindings(fs []Finding) []Finding {
	slices.SortFunc(fs, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Place, b.Place), cmp.Compare(a.Msg, b.Msg))
	})
	return slices.Compact(fs)
}

// File is one Go file, parsed with its comments.
type File struct {
	Path string // slash-separated, from the root of the tree
	Test bool   // ends in _test.go
	AST  *ast.File
}

// Package is the Go files of one directory, its tests included.
type Package struct {
	Dir   string // "." for the root
	Files []File
}

// Tree is every Go package of one module.
type Tree struct {
	Module   string
	Packages []Package // sorted by Dir

	fsys fs.FS
	fset *token.FileSet
}

// Load parses every Go file under fsys that belongs to the module at its root:
// directories named testdata, beginning with "." or "_", or holding a go.mod
// of their own are left out.
func Load(fsys fs.FS, module string) (*Tree, error) {
	t := &Tree{Module: module, fsys: fsys, fset: token.NewFileSet()}
	byDir := map[string]*Package{}
	err := walk(fsys, func(p string) error {
		if path.Ext(p) != ".go" || strings.Contains("/"+p, "/testdata/") {
			return nil
		}
		src, err := fs.ReadFile(fsys, p)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(t.fset, p, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return fmt.Errorf("check: %w", err)
		}
		dir := path.Dir(p)
		if byDir[dir] == nil {
			byDir[dir] = &Package{Dir: dir}
		}
		byDir[dir].Files = append(byDir[dir].Files, File{Path: p, Test: strings.HasSuffix(p, "_test.go"), AST: f})
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, p := range byDir {
		t.Packages = append(t.Packages, *p)
	}
	slices.SortFunc(t.Packages, func(a, b Package) int { return cmp.Compare(a.Dir, b.Dir) })
	return t, nil
}

// walk calls f with every file that belongs to the module.
func walk(fsys fs.FS, f func(p string) error) error {
	return fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.Type().IsRegular():
			return f(p)
		case !d.IsDir() || p == ".":
			return nil
		case strings.HasPrefix(d.Name(), ".") && d.Name() != ".ci", strings.HasPrefix(d.Name(), "_"):
			return fs.SkipDir
		}
		if _, err := fs.Stat(fsys, p+"/go.mod"); err == nil {
			return fs.SkipDir
		}
		return nil
	})
}

// place is where a syntax node stands.
func (t *Tree) place(pos token.Pos) string {
	p := t.fset.Position(pos)
	return fmt.Sprintf("%s:%d", p.Filename, p.Line)
}

// local returns the directory of an import path of this module, and whether it is one.
func (t *Tree) local(importPath string) (dir string, ok bool) {
	if importPath == t.Module {
		return ".", true
	}
	return strings.CutPrefix(importPath, t.Module+"/")
}

// imports returns the import paths of f by the names that the file calls them.
func imports(f *ast.File) map[string]string {
	m := map[string]string{}
	for _, im := range f.Imports {
		p := strings.Trim(im.Path.Value, `"`)
		name := path.Base(p)
		if len(name) > 1 && name[0] == 'v' && strings.Trim(name[1:], "0123456789") == "" {
			name = path.Base(path.Dir(p))
		}
		if im.Name != nil {
			name = im.Name.Name
		}
		m[name] = p
	}
	return m
}

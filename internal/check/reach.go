package check

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
)

// Reach is something that only some packages may do, seen by what they name.
type Reach struct {
	What string // what it is, for the finding: "opens connections"
	// Names are qualified by import path: "net.Dial", "crypto/tls.Dialer".
	Names []string
	// Imports are packages whose mere import is it.
	Imports []string
	// Only are the directories that may, and that do: when one no longer does,
	// that is a finding too, for the rule has then lost its subject.
	Only []string
	// Instead says what others should do.
	Instead string
}

// Reach reports every use of r outside its packages. Tests are not looked at:
// they are callers from outside.
func (t *Tree) Reach(r Reach) []Finding {
	var out []Finding
	does := map[string]bool{}
	for _, p := range t.Packages {
		for _, f := range p.Files {
			if f.Test {
				continue
			}
			for place, name := range t.uses(f.AST, r) {
				does[p.Dir] = true
				if !slices.Contains(r.Only, p.Dir) {
					out = append(out, Finding{place, fmt.Sprintf("%s: %s; %s", r.What, name, r.Instead)})
				}
			}
		}
	}
	for _, dir := range r.Only {
		if !does[dir] {
			out = append(out, Finding{dir, fmt.Sprintf("may do what the rule %q is about, and does not; take it out of the rule", r.What)})
		}
	}
	return sortFindings(out)
}

// uses returns what r names in f, by place.
func (t *Tree) uses(f *ast.File, r Reach) map[string]string {
	found := map[string]string{}
	called := imports(f)
	for _, im := range f.Imports {
		p := strings.Trim(im.Path.Value, `"`)
		if slices.Contains(r.Imports, p) {
			found[t.place(im.Pos())] = "import of " + p
		}
		// A dot import would hide every name from this rule.
		if im.Name != nil && im.Name.Name == "." {
			found[t.place(im.Pos())] = "dot import of " + p
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok {
			if name := called[x.Name] + "." + sel.Sel.Name; slices.Contains(r.Names, name) {
				found[t.place(sel.Pos())] = name
			}
		}
		return true
	})
	return found
}

// Unset reports every composite literal of typ, such as "net/http.Transport",
// that leaves field to its default, and every use of typ that is not a literal
// and could therefore be a zero value, outside the directories except. why says
// what the default would do.
func (t *Tree) Unset(typ, field, why string, except ...string) []Finding {
	var out []Finding
	for _, p := range t.Packages {
		for _, f := range p.Files {
			if f.Test || slices.Contains(except, p.Dir) {
				continue
			}
			called := imports(f.AST)
			ast.Inspect(f.AST, func(n ast.Node) bool {
				var of ast.Expr
				var set bool
				switch n := n.(type) {
				case *ast.CompositeLit:
					of = n.Type
					for _, e := range n.Elts {
						kv, ok := e.(*ast.KeyValueExpr)
						if !ok {
							continue
						}
						if key, ok := kv.Key.(*ast.Ident); ok && key.Name == field {
							set = true
						}
					}
				case *ast.CallExpr: // new(T)
					if id, ok := n.Fun.(*ast.Ident); ok && id.Name == "new" && len(n.Args) == 1 {
						of = n.Args[0]
					}
				case *ast.ValueSpec: // var x T
					of = n.Type
				}
				if sel, ok := of.(*ast.SelectorExpr); ok && !set {
					if x, ok := sel.X.(*ast.Ident); ok && called[x.Name]+"."+sel.Sel.Name == typ {
						out = append(out, Finding{t.place(n.Pos()), fmt.Sprintf("%s without %s: %s", typ, field, why)})
					}
				}
				return true
			})
		}
	}
	return sortFindings(out)
}

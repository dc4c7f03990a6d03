package check

import (
	"bufio"
	"bytes"
	"fmt"
	"go/ast"
	"go/token"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// PromisesFile is the table of what is promised and what shows it.
const PromisesFile = "docs/promises.md"

// Promises is how many promises there are: P01 to this one.
const Promises = 42

var (
	promiseRow = regexp.MustCompile(`^\|\s*(P\d+)\s*\|(.*)\|\s*$`)
	// A citation stands on a comment line of its own, or after code.
	citation = regexp.MustCompile(`promises?:\s*(P\d+(?:[\s,]+P\d+)*)`)
	ticked   = regexp.MustCompile("`([^`]+)`")
)

// promise is one row of the table.
type promise struct {
	id, text, status string
	where, shown     []string
	line             int
}

// cited is one mention of a promise in the tree.
type cited struct {
	file string
	test bool   // in a test, a script or a case next to the policy
	in   string // the test function that it stands in or above; "" elsewhere
	line int
}

// Promises compares the table with the citations in the code, and reports each
// promise that is missing, twice in the table, of unknown status, cited and
// not in the table, marked kept or partly without a citation in code and in a
// test, or whose row names a file or a test that is not there or cites nothing.
func (t *Tree) Promises() ([]Finding, error) {
	src, err := fs.ReadFile(t.fsys, PromisesFile)
	if err != nil {
		return nil, err
	}
	var out []Finding
	report := func(line int, format string, args ...any) {
		out = append(out, Finding{fmt.Sprintf("%s:%d", PromisesFile, line), fmt.Sprintf(format, args...)})
	}
	rows := map[string]promise{}
	for n, line := range strings.Split(string(src), "\n") {
		m := promiseRow.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		cells := strings.Split(m[2], "|")
		if len(cells) != 4 {
			report(n+1, "%s has %d cells after its number; a row is: number, promise, status, where, shown by", m[1], len(cells))
			continue
		}
		if _, twice := rows[m[1]]; twice {
			report(n+1, "%s stands twice", m[1])
		}
		rows[m[1]] = promise{
			id: m[1], text: strings.TrimSpace(cells[0]), status: strings.TrimSpace(cells[1]),
			where: tickedIn(cells[2]), shown: tickedIn(cells[3]), line: n + 1,
		}
	}
	cites, err := t.citations()
	if err != nil {
		return nil, err
	}
	for i := 1; i <= Promises; i++ {
		id := fmt.Sprintf("P%02d", i)
		r, ok := rows[id]
		if !ok {
			report(1, "%s has no row", id)
			continue
		}
		for _, msg := range r.check(cites[id]) {
			report(r.line, "%s: %s", id, msg)
		}
		delete(rows, id)
		delete(cites, id)
	}
	for id, r := range rows {
		report(r.line, "there is no promise %s", id)
	}
	for id, cs := range cites {
		for _, c := range cs {
			out = append(out, Finding{fmt.Sprintf("%s:%d", c.file, c.line), fmt.Sprintf("cites %s, and there is no such promise in %s", id, PromisesFile)})
		}
	}
	return sortFindings(out), nil
}

// check returns what is wrong with a row, given every citation of its promise.
func (r promise) check(cs []cited) []string {
	var msgs []string
	bad := func(format string, args ...any) { msgs = append(msgs, fmt.Sprintf(format, args...)) }
	if r.text == "" {
		bad("has no sentence")
	}
	var inCode, inTest []cited
	for _, c := range cs {
		if c.test {
			inTest = append(inTest, c)
		} else {
			inCode = append(inCode, c)
		}
	}
	switch r.status {
	case "not yet":
		if len(r.where)+len(r.shown) > 0 {
			bad("is not yet kept, and its row names code or tests; say partly, or take them out")
		}
		if len(inCode) > 0 {
			bad("is not yet kept, and %s:%d cites it; say partly", inCode[0].file, inCode[0].line)
		}
		return msgs
	case "kept", "partly":
	default:
		bad("has the status %q; use kept, partly or not yet", r.status)
		return msgs
	}
	if len(inCode) == 0 {
		bad("is marked %s, and no code cites it; write // promise: %s where it is kept", r.status, r.id)
	}
	if len(inTest) == 0 {
		bad("is marked %s, and no test cites it; write // promise: %s above the test that shows it", r.status, r.id)
	}
	if len(r.where) == 0 || len(r.shown) == 0 {
		bad("is marked %s, and its row names no file or no test", r.status)
	}
	for _, w := range r.where {
		if !slices.ContainsFunc(inCode, func(c cited) bool { return c.file == w }) {
			bad("names %s, which does not exist or does not cite it", w)
		}
	}
	for _, s := range r.shown {
		// path/to/package.TestName, or the path of a script.
		dir, fn, isTest := cutTest(s)
		ok := slices.ContainsFunc(inTest, func(c cited) bool {
			if isTest {
				return path.Dir(c.file) == dir && c.in == fn
			}
			return c.file == s
		})
		if !ok {
			bad("names the test %s, which does not exist or does not cite it", s)
		}
	}
	return msgs
}

// cutTest reads "internal/journal.TestX" as a directory and a function; the
// root's tests are "isogate.TestX".
func cutTest(s string) (dir, fn string, ok bool) {
	i := strings.LastIndexByte(s, '.')
	if i < 0 {
		return "", "", false
	}
	dir, fn = s[:i], s[i+1:]
	if dir == "isogate" {
		dir = "."
	}
	return dir, fn, testName(fn)
}

func testName(fn string) bool {
	return strings.HasPrefix(fn, "Test") || strings.HasPrefix(fn, "Fuzz") || strings.HasPrefix(fn, "Example")
}

func tickedIn(cell string) []string {
	var out []string
	for _, m := range ticked.FindAllStringSubmatch(cell, -1) {
		out = append(out, m[1])
	}
	return out
}

// citations finds every "promise: Pnn" in a comment: of Go files through their
// syntax, so that a string is none, and of scripts and packs line by line.
func (t *Tree) citations() (map[string][]cited, error) {
	all := map[string][]cited{}
	add := func(c cited, text string) {
		for _, m := range citation.FindAllStringSubmatch(text, -1) {
			for id := range strings.FieldsFuncSeq(m[1], func(r rune) bool { return r == ',' || r == ' ' }) {
				all[id] = append(all[id], c)
			}
		}
	}
	for _, p := range t.Packages {
		for _, f := range p.Files {
			for _, group := range f.AST.Comments {
				for _, c := range group.List {
					add(cited{file: f.Path, test: f.Test, in: f.testAt(c.Pos()), line: t.fset.Position(c.Pos()).Line}, c.Text)
				}
			}
		}
	}
	err := walk(t.fsys, func(p string) error {
		script := path.Ext(p) == ".txtar" || path.Ext(p) == ".txt" && strings.Contains(p, "testdata/")
		if !script && path.Ext(p) != ".yaml" {
			return nil
		}
		src, err := fs.ReadFile(t.fsys, p)
		if err != nil {
			return err
		}
		lines := bufio.NewScanner(bytes.NewReader(src))
		for n := 1; lines.Scan(); n++ {
			if _, comment, ok := strings.Cut(lines.Text(), "#"); ok {
				test := script || strings.Contains("/"+p, "/testdata/") || strings.Contains("/"+p, "/tests/")
				add(cited{file: p, test: test, line: n}, comment)
			}
		}
		return lines.Err()
	})
	return all, err
}

// testAt names the test function that pos stands in or directly above.
func (f File) testAt(pos token.Pos) string {
	for _, d := range f.AST.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Recv != nil || !testName(fn.Name.Name) {
			continue
		}
		from := fn.Pos()
		if fn.Doc != nil {
			from = fn.Doc.Pos()
		}
		if from <= pos && pos <= fn.End() {
			return fn.Name.Name
		}
	}
	return ""
}

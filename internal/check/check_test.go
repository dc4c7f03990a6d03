package check

import (
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

const module = "example.org/house"

// files makes a tree from paths and texts.
func files(m map[string]string) fs.FS {
	fsys := fstest.MapFS{}
	for p, text := range m {
		fsys[p] = &fstest.MapFile{Data: []byte(text)}
	}
	return fsys
}

func load(t *testing.T, m map[string]string) *Tree {
	t.Helper()
	tree, err := Load(files(m), module)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// expect compares findings with what each must contain, in order.
func expect(t *testing.T, got []Finding, want ...string) {
	t.Helper()
	ok := len(got) == len(want)
	for i := range min(len(got), len(want)) {
		ok = ok && strings.Contains(got[i].String(), want[i])
	}
	if !ok {
		t.Errorf("findings:\n%v\nwant, in order, ones with:\n%v", lines(got), strings.Join(want, "\n"))
	}
}

func lines(fs []Finding) string {
	var b strings.Builder
	for _, f := range fs {
		b.WriteString(f.String() + "\n")
	}
	return b.String()
}

func TestFloors(t *testing.T) {
	plan := Floors{Of: map[string]int{".": 0, "a": 1, "b": 1, "c": 2, "cmd": 9}, TestsOnly: []string{"check"}, ForTests: []string{"b"}}
	good := map[string]string{
		"root.go":         "package house",
		"root_test.go":    `package house_test; import _ "example.org/house/check"; import _ "example.org/house"`,
		"a/a.go":          `package a; import _ "example.org/house"; import _ "net/http"`,
		"b/b.go":          `package b; import _ "example.org/elsewhere/c"`,
		"a/a_test.go":     `package a_test; import _ "example.org/house/b"`,
		"c/c.go":          `package c; import _ "example.org/house/a"; import _ "example.org/house/b"`,
		"cmd/main.go":     `package main; import _ "example.org/house/c"`,
		"check/check.go":  "package check",
		"nested/go.mod":   "module example.org/nested",
		"nested/x.go":     "package x",
		"a/testdata/x.go": "not Go at all",
		".cache/x.go":     "not Go either",
	}
	expect(t, load(t, good).Floors(plan))

	for _, bad := range []struct{ name, path, src, want string }{
		{"sideways", "a/two.go", `package a; import _ "example.org/house/b"`, "a/two.go:1: imports b (floor 1) from floor 1"},
		{"up", "a/two.go", `package a; import _ "example.org/house/c"`, "imports c (floor 2) from floor 1"},
		{"up, by a test", "a/two_test.go", `package a; import _ "example.org/house/c"`, "imports c (floor 2) from floor 1"},
		{"the root imports a room", "two.go", `package house; import _ "example.org/house/a"`, "imports a (floor 1) from floor 0"},
		{"a renamed import", "a/two.go", `package a; import down "example.org/house/cmd"`, "imports cmd (floor 9)"},
		{"tests only", "c/two.go", `package c; import _ "example.org/house/check"`, "imports check, which is for tests"},
		{"unknown package", "d/d.go", `package d`, "d: has no floor"},
	} {
		t.Run(bad.name, func(t *testing.T) {
			m := map[string]string{bad.path: bad.src}
			for p, src := range good {
				m[p] = src
			}
			expect(t, load(t, m).Floors(plan), bad.want)
		})
	}
	t.Run("package gone", func(t *testing.T) {
		m := map[string]string{}
		for p, src := range good {
			if p != "b/b.go" && p != "c/c.go" && p != "cmd/main.go" {
				m[p] = src
			}
		}
		expect(t, load(t, m).Floors(plan), "b: has a floor and no Go file", "c: has a floor", "cmd: has a floor")
	})
}

func TestDocumented(t *testing.T) {
	expect(t, load(t, map[string]string{
		"a/a.go":      "// Package a answers one thing.\npackage a",
		"a/b.go":      "package a",
		"cmd/main.go": "// Command cmd runs.\npackage main",
		"t/t_test.go": "package t",
		"no/no.go":    "package no",
		"un/un.go":    "// This answers.\npackage un",
		"x/x.go":      "package x",
		"x/x_test.go": "// Package x is described in its test only.\npackage x",
	}).Documented(), "no: has no package comment", "un: its package comment does not begin", "x: has no package comment")
}

func TestReach(t *testing.T) {
	rule := Reach{
		What: "dials", Names: []string{"net.Dial", "net.Dialer"}, Imports: []string{"database/sql"},
		Only: []string{"remote"}, Instead: "ask remote",
	}
	remote := "package remote\nimport \"net\"\nvar d net.Dialer"
	expect(t, load(t, map[string]string{
		"remote/r.go":     remote,
		"other/o.go":      "package other\nimport \"net\"\nvar x net.Conn",
		"other/o_test.go": "package other\nimport \"net\"\nvar f = net.Dial",
	}).Reach(rule))
	expect(t, load(t, map[string]string{
		"remote/r.go": remote,
		"a/a.go":      "package a\nimport \"net\"\nvar f = net.Dial",
		"b/b.go":      "package b\nimport inet \"net\"\nvar f inet.Dialer",
		"c/c.go":      "package c\nimport . \"net\"\nvar f = Dial",
		"d/d.go":      "package d\nimport _ \"database/sql\"",
		"e/e.go":      "package e\ntype net struct{ Dial int }",
	}).Reach(rule), "a/a.go:3: dials: net.Dial; ask remote", "b/b.go:3: dials: net.Dialer", "c/c.go:2: dials: dot import", "d/d.go:2: dials: import of database/sql")
	expect(t, load(t, map[string]string{"remote/r.go": "package remote"}).Reach(rule), "remote: may do what the rule")
}

func TestUnset(t *testing.T) {
	expect(t, load(t, map[string]string{
		"good/g.go":   "package good\nimport \"net/http\"\nvar t = &http.Transport{DialContext: nil}\nvar p *http.Transport",
		"a/a.go":      "package a\nimport \"net/http\"\nvar t = http.Transport{}",
		"b/b.go":      "package b\nimport \"net/http\"\nvar t = new(http.Transport)",
		"c/c.go":      "package c\nimport \"net/http\"\nvar t http.Transport",
		"c/c_test.go": "package c\nimport \"net/http\"\nvar u http.Transport",
		"d/d.go":      "package d\nimport \"net/http\"\nvar t http.Transport",
	}).Unset("net/http.Transport", "DialContext", "dials anybody", "d"), "a/a.go:3: net/http.Transport without DialContext: dials anybody", "b/b.go:3", "c/c.go:3")
}

func TestPromises(t *testing.T) {
	table := func(rows map[string]string) string {
		var b strings.Builder
		for i := 1; i <= Promises; i++ {
			id := "P" + string(rune('0'+i/10)) + string(rune('0'+i%10))
			row, ok := rows[id]
			if !ok {
				row = "a sentence | not yet | | "
			}
			if row != "-" {
				b.WriteString("| " + id + " | " + row + " |\n")
			}
		}
		return b.String() + rows["more"]
	}
	code := map[string]string{
		"a/a.go":                       "package a\n\n// F does. promise: P03 P07 — both\nfunc F() {} // promise: P22\n\nvar s = \"// promise: P99\"\n",
		"a/a_test.go":                  "package a\n\n// TestF shows it.\n//\n// promise: P03\nfunc TestF() {}\n\nfunc TestG() {\n\t// promise: P07\n}\n",
		"cmd/testdata/script/x.txtar":  "# promise: P22\nexec true\n",
		"packs/r/transits/t.yaml":      "transit: t # promise: P19\n",
		"packs/r/tests/t.yaml":         "# promise: P19\n",
		"packs/r/tests/unrelated.yaml": "note: 'promise: P98'\n",
	}
	good := map[string]string{
		"P03": "said | kept | `a/a.go` | `a.TestF`",
		"P07": "said | partly | `a/a.go` | `a.TestG`",
		"P19": "said | kept | `packs/r/transits/t.yaml` | `packs/r/tests/t.yaml`",
		"P22": "said | kept | `a/a.go` | `cmd/testdata/script/x.txtar`",
	}
	for _, c := range []struct {
		name string
		rows map[string]string
		more map[string]string
		want []string
	}{
		{name: "all well"},
		{name: "missing row", rows: map[string]string{"P42": "-"}, want: []string{"P42 has no row"}},
		{name: "twice", rows: map[string]string{"more": "| P42 | again | not yet | | |\n"}, want: []string{"P42 stands twice"}},
		{name: "no such promise", rows: map[string]string{"more": "| P43 | new | not yet | | |\n"}, want: []string{"there is no promise P43"}},
		{name: "unknown status", rows: map[string]string{"P05": "said | mostly | | "}, want: []string{`status "mostly"`}},
		{name: "no sentence", rows: map[string]string{"P05": " | not yet | | "}, want: []string{"has no sentence"}},
		{name: "cells", rows: map[string]string{"P05": "said | not yet | "}, want: []string{"P05 has 3 cells", "P05 has no row"}},
		{name: "kept, nothing cites it", rows: map[string]string{"P05": "said | kept | | "},
			want: []string{"names no file or no test", "no code cites it", "no test cites it"}},
		{name: "kept, no test cites it", rows: map[string]string{"P05": "said | kept | `b.go` | `a.TestF`"},
			more: map[string]string{"b.go": "package house // promise: P05"},
			want: []string{"names the test a.TestF, which does not exist or does not cite it", "no test cites it"}},
		{name: "kept, no code cites it", rows: map[string]string{"P05": "said | partly | `a/a.go` | `isogate.TestB`"},
			more: map[string]string{"b_test.go": "package house\n// promise: P05\nfunc TestB() {}"},
			want: []string{"no code cites it", "names a/a.go, which does not exist or does not cite it"}},
		{name: "the root's test", rows: map[string]string{"P05": "said | kept | `b.go` | `isogate.TestB`"},
			more: map[string]string{"b.go": "package house // promise: P05", "b_test.go": "package house\n// promise: P05\nfunc TestB() {}"}},
		{name: "the test is another", rows: map[string]string{"P03": "said | kept | `a/a.go` | `a.TestG`"}, want: []string{"names the test a.TestG"}},
		{name: "the script is another", rows: map[string]string{"P22": "said | kept | `a/a.go` | `cmd/testdata/script/y.txtar`"}, want: []string{"names the test cmd/testdata/script/y.txtar"}},
		{name: "not yet, but cited", rows: map[string]string{"P03": "said | not yet | | "}, want: []string{"not yet kept, and a/a.go:3 cites it"}},
		{name: "not yet, but named", rows: map[string]string{"P05": "said | not yet | `a/a.go` | "}, want: []string{"its row names code or tests"}},
		{name: "unknown citation", more: map[string]string{"b.go": "package house\n// promise: P77"}, want: []string{"b.go:2: cites P77"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			rows, m := map[string]string{}, map[string]string{}
			for k, v := range good {
				rows[k] = v
			}
			for k, v := range c.rows {
				rows[k] = v
			}
			for k, v := range code {
				m[k] = v
			}
			for k, v := range c.more {
				m[k] = v
			}
			m[PromisesFile] = table(rows)
			got, err := load(t, m).Promises()
			if err != nil {
				t.Fatal(err)
			}
			ok := len(got) == len(c.want)
			for _, w := range c.want {
				ok = ok && slices.ContainsFunc(got, func(f Finding) bool { return strings.Contains(f.String(), w) })
			}
			if !ok {
				t.Errorf("findings:\n%swant ones with:\n%s", lines(got), strings.Join(c.want, "\n"))
			}
		})
	}
}

func TestDependencies(t *testing.T) {
	mod := "module m\n\nrequire (\n\texample.org/a v1.0.0\n\texample.org/b v1.0.0\n\texample.org/c v1.0.0 // indirect\n)\n"
	doc := "## Linked\n\n| `example.org/a` | reads the thing |\n| `example.org/b` | writes the thing |\n\n## Tools\n\n| `example.org/lint` | lints |\n"
	for _, c := range []struct {
		name, mod, doc string
		want           []string
	}{
		{name: "all well", mod: mod, doc: doc},
		{name: "no line", mod: mod, doc: strings.Replace(doc, "| `example.org/b` | writes the thing |\n", "", 1), want: []string{"requires example.org/b, which has no line"}},
		{name: "no reason", mod: mod, doc: strings.Replace(doc, "writes the thing", "", 1), want: []string{"example.org/b has no reason"}},
		{name: "indirect", mod: mod, doc: strings.Replace(doc, "\n\n## Tools", "\n| `example.org/c` | does something else |\n\n## Tools", 1), want: []string{"example.org/c is not a direct requirement"}},
		{name: "in the wrong list", mod: mod, doc: strings.Replace(doc, "| `example.org/b` | writes the thing |\n", "", 1) + "| `example.org/b` | writes the thing |\n", want: []string{"requires example.org/b"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Dependencies(files(map[string]string{"go.mod": c.mod, DependenciesFile: c.doc}))
			if err != nil {
				t.Fatal(err)
			}
			expect(t, got, c.want...)
		})
	}
}

func TestWords(t *testing.T) {
	home := "/ho" + "me/ann/x"
	later := "TO" + "DO"
	got, err := Words(files(map[string]string{
		"good.go":         "package good // /to/<destination>/x, /var/lib/isogate, an /api/users/home",
		"a.md":            "see " + home,
		"b/b.go":          "package b\n// " + later + ": later",
		"b.md":            later + " is a word of prose",
		"testdata/x":      home,
		".git/x":          home,
		"bin":             "\x00 " + home,
		"c/.ci/run":       "cd \"" + home + "\"",
		"deep/testdata/x": home,
	}))
	if err != nil {
		t.Fatal(err)
	}
	expect(t, got, "a.md:1: names a path of somebody's machine", "b/b.go:2: puts something off", "c/.ci/run:1: names a path")
}

func TestDecisions(t *testing.T) {
	page := "# A title\n\nDate: 2026-01-31\n\n## Decision\n\nThis.\n\n## Why\n\nThat.\n\n## Refused\n\nThose.\n"
	got, err := Decisions(files(map[string]string{
		"docs/decisions/0001-good.md":    page,
		"docs/decisions/0002-undated.md": strings.Replace(page, "Date: 2026-01-31", "Yesterday", 1),
		"docs/decisions/0003-curt.md":    strings.Replace(page, "## Refused", "## Others", 1),
		"docs/decisions/0005-gap.md":     page,
		"docs/decisions/0005-long.md":    page + strings.Repeat("\n", 80),
		"docs/decisions/notes.md":        page,
	}))
	if err != nil {
		t.Fatal(err)
	}
	expect(t, got, "0002-undated.md: has no line like", `0003-curt.md: has no section "## Refused"`,
		"0005-gap.md: should be number 0004", "0005-long.md: has 95 lines", "notes.md: is not named")
}

package policy

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write what is wanted anew")

// instantOfTests is the present of every test that needs one.
var instantOfTests = time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)

// files is a pack as text, by path.
type files map[string]string

// with is the pack with some files replaced, or removed by "".
func (f files) with(other files) files {
	out := files{}
	for _, m := range []files{f, other} {
		for name, text := range m {
			if out[name] = text; text == "" {
				delete(out, name)
			}
		}
	}
	return out
}

// replace is the pack with a text in one file replaced, which must be there.
func (f files) replace(t testing.TB, file, old, by string) files {
	t.Helper()
	if !strings.Contains(f[file], old) {
		t.Fatalf("%s has no %q", file, old)
	}
	return f.with(files{file: strings.ReplaceAll(f[file], old, by)})
}

// write puts the pack into a directory.
func (f files) write(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range f {
		p := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// load loads a pack that must be good.
func (f files) load(t testing.TB) *Pack {
	t.Helper()
	p, err := Load(f.write(t))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// mistakes is everything that Check finds, one a line.
func (f files) mistakes(t testing.TB) string {
	t.Helper()
	_, err := Check(f.write(t), instantOfTests)
	if err == nil {
		return ""
	}
	var found *Errors
	if !errors.As(err, &found) {
		t.Fatalf("not a finding: %v", err)
	}
	return found.Error() + "\n"
}

// archive reads a pack from testdata.
func archive(t testing.TB, file string) files {
	t.Helper()
	a, err := txtar.ParseFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	out := files{}
	for _, f := range a.Files {
		out[f.Name] = string(f.Data)
	}
	return out
}

// good is the pack that most tests begin with.
func good(t testing.TB) files { return archive(t, "good.txtar") }

// mistaken are the broken packs of testdata, by name, without what is wanted of them.
func mistaken(t testing.TB) map[string]files {
	t.Helper()
	archives, err := filepath.Glob("testdata/mistakes/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no packs: %v", err)
	}
	out := map[string]files{}
	for _, file := range archives {
		out[file] = archive(t, filepath.Join("mistakes", filepath.Base(file))).with(files{"want": ""})
	}
	return out
}

// TestMistakes checks every broken pack of testdata/mistakes against the
// findings it wants. promise: P08
func TestMistakes(t *testing.T) {
	for file, pack := range mistaken(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := pack.mistakes(t)
			last := len(a.Files) - 1
			if *update {
				if a.Files[last].Name != "want" {
					a.Files, last = append(a.Files, txtar.File{Name: "want"}), last+1
				}
				a.Files[last].Data = []byte(got)
				if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want := string(a.Files[last].Data); got != want || want == "" {
				t.Errorf("found:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

package check

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestExamples(t *testing.T) {
	page := "text\n```console\n$ one a\nA igt1abc 1\n…\nZ\n$ two\n```\n$ not\n```sh\n$ neither\n```\n"
	got := Examples(page)
	if len(got) != 2 || got[0].Command != "one a" || got[0].Line != 3 || got[1].Command != "two" || len(got[1].Want) != 0 {
		t.Fatalf("found %+v", got)
	}
	for printed, same := range map[string]bool{
		"A igt1xyz2 1\nB\nC\nZ\n":             true,
		"A igt1xyz2@isogate.invalid   1\nZ\n": true,
		"A igt1xyz2 2\nB\nZ\n":                false,
		"A igt1xyz2 1\nB\n":                   false,
		"A igt1xyz2 1\nZ\nand more\n":         false,
		"":                                    false,
		"A plain 1\nZ":                        false,
		"A igt1xyz2 1\nZ\nZ":                  true,
		"A 01M85EPZD5F3VBMH2HJ8KX44CG 1\nZ":   false,
		"A igt1b3xyz2 1\n01M85EPZD5F3VBMH2HJ8KX44CG\nZ": true,
	} {
		if d := got[0].Differs(printed); (d == "") != same {
			t.Errorf("%q: %q, want the same: %v", printed, d, same)
		}
	}
	if d := got[1].Differs("something"); d == "" {
		t.Error("a command that should print nothing may print something")
	}
	if d := got[1].Differs(""); d != "" {
		t.Errorf("a command that prints nothing: %s", d)
	}
}

// TestHouseReadme runs the console blocks of the README, in their order, in one
// directory that has the examples and packs, and compares what they print with
// what the page says.
func TestHouseReadme(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	examples := Examples(string(page))
	if len(examples) == 0 {
		t.Fatal("README.md shows no command with its output; it must have a worked example")
	}
	top, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	bin, dir := t.TempDir(), t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(bin, "isogate"), "./cmd/isogate")
	build.Dir = top
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("isogate does not build: %v\n%s", err, out)
	}
	for _, d := range []string{"examples", "packs"} {
		if err := os.Symlink(filepath.Join(top, d), filepath.Join(dir, d)); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range examples {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", e.Command)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		if err != nil && !strings.Contains(err.Error(), "exit status 1") { // 1: it ran, and the answer is no
			t.Errorf("README.md:%d: %s: %v\n%s", e.Line, e.Command, err, out)
			continue
		}
		if d := e.Differs(string(out)); d != "" {
			t.Errorf("README.md:%d: %s: %s\nit prints:\n%s", e.Line, e.Command, d, out)
		}
	}
}

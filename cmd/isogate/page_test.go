package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/isogate/isogate/internal/check"
)

// what stands for something else in each run: entries' IDs and digests
var named = regexp.MustCompile(`\b01[0-9A-HJKMNP-TV-Z]{24}\b|sha256:[0-9a-f]{64}`)

// TestConsentPage runs the commands of docs/consent.md one after another, as ada,
// and compares what they print. What an earlier command printed under another name
// than the page has, such as an entry's ID, is used by that name in later ones.
func TestConsentPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/consent.md")
	if err != nil {
		t.Fatal(err)
	}
	dir, bin := t.TempDir(), t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "examples"), os.DirFS("../../examples")); err != nil {
		t.Fatal(err)
	}
	// The rules of examples/apps end one day; what the page shows does not depend on it.
	err = filepath.WalkDir(filepath.Join(dir, "examples", "apps", "transits"), func(file string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		return os.WriteFile(file, regexp.MustCompile(`until: \d{4}-`).ReplaceAll(text, []byte("until: 2099-")), 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	conf, err := os.ReadFile("../../examples/consent/isogate.yaml")
	err = errors.Join(err, os.WriteFile(filepath.Join(dir, "isogate.yaml"), []byte(strings.Replace(string(conf), "../apps", "examples/apps", 1)), 0o600),
		os.Symlink(self, filepath.Join(bin, "isogate")))
	if err != nil {
		t.Fatal(err)
	}
	examples := check.Examples(string(page))
	if len(examples) < 10 {
		t.Fatalf("the page shows %d commands", len(examples))
	}
	really := map[string]string{} // what a name of the page is in this run
	for _, e := range examples {
		command := named.ReplaceAllStringFunc(e.Command, func(name string) string {
			if real, known := really[name]; known {
				return real
			}
			return name
		})
		cmd := exec.CommandContext(t.Context(), "sh", "-c", command)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), asCommand+"=1", "PATH="+bin+":"+os.Getenv("PATH"), tokenVariable+"=example-token-of-ada")
		out, err := cmd.CombinedOutput()
		if err != nil && !strings.Contains(err.Error(), "exit status 1") { // 1: it ran, and the answer is no
			t.Fatalf("docs/consent.md:%d: %s: %v\n%s", e.Line, e.Command, err, out)
		}
		if d := e.Differs(string(out)); d != "" {
			t.Fatalf("docs/consent.md:%d: %s: %s\nit prints:\n%s", e.Line, e.Command, d, out)
		}
		learn(really, e.Want, strings.Split(string(out), "\n"))
	}
}

// learn pairs the names on lines of the page with those on the same lines of what
// was printed. They are the same but for names, as was compared.
func learn(really map[string]string, want, got []string) {
	plain := func(line string) string {
		return strings.Join(strings.Fields(named.ReplaceAllString(line, "NAME")), " ")
	}
	for _, w := range want {
		for i, g := range got {
			if plain(w) != plain(g) {
				continue
			}
			real := named.FindAllString(g, -1)
			for j, name := range named.FindAllString(w, -1) {
				really[name] = real[j]
			}
			got = got[i+1:]
			break
		}
	}
}

package remote

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write what is wanted anew")

// archives runs a test on every txtar file of a directory: a manifest with its
// options, and what is wanted of it.
func archives(t *testing.T, dir string, f func(t *testing.T, name string, src []byte, opts ManifestOptions) string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", dir, "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("nothing in %s: %v", dir, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var src []byte
			var opts ManifestOptions
			for _, f := range a.Files {
				switch f.Name {
				case "manifest.yml":
					src = f.Data
				case "options":
					opts.Fragment = strings.TrimSpace(string(f.Data)) == "fragment"
				case "env":
					opts.Env = map[string]string{}
					for line := range strings.Lines(string(f.Data)) {
						k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
						opts.Env[k] = v
					}
				}
			}
			got := f(t, "manifest.yml", src, opts)
			last := &a.Files[len(a.Files)-1]
			if *update {
				last.Data = []byte(got)
				if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want := string(last.Data); got != want || want == "" {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

// TestManifests reads every manifest of testdata/manifests into normal form.
//
// promise: P12
func TestManifests(t *testing.T) {
	archives(t, "manifests", func(t *testing.T, name string, src []byte, opts ManifestOptions) string {
		m, err := ParseManifest(name, src, opts)
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		var back Manifest
		if err := json.Unmarshal(b, &back); err != nil {
			t.Errorf("as JSON it cannot be read back: %v", err)
		}
		return manifestText(m)
	})
}

// TestManifestMistakes holds the mistakes of testdata/mistakes against what is
// wanted: all of them at once, each with place, cause and next step.
func TestManifestMistakes(t *testing.T) {
	archives(t, "mistakes", func(t *testing.T, name string, src []byte, opts ManifestOptions) string {
		m, err := ParseManifest(name, src, opts)
		if err == nil || m != nil {
			t.Fatalf("no mistake: %+v", m)
		}
		var all *ManifestError
		if !errors.As(err, &all) {
			t.Fatalf("%T: %v", err, err)
		}
		for _, f := range all.Findings {
			if f.Line < 1 || f.Column < 1 || f.Message == "" || f.Hint == "" {
				t.Errorf("%+v has no place, cause or next step", f)
			}
		}
		return err.Error() + "\n"
	})
}

func manifestText(m *Manifest) string {
	var b strings.Builder
	source, err := m.Source()
	fmt.Fprintf(&b, "%s app=%q name=%q vendor=%q version=%q source=%q", m.Format, m.App, m.Name, m.Vendor, m.Version, source)
	if err != nil {
		fmt.Fprintf(&b, " (%v)", err)
	}
	b.WriteByte('\n')
	for _, d := range m.Rows {
		fmt.Fprintf(&b, "%d:%d %s\n    %s\n", d.Line, d.Column, d.Written, d.Row)
		if d.RemoteKey != "" || d.Category != "" || d.Configurable {
			fmt.Fprintf(&b, "    remote=%q category=%q configurable=%v\n", d.RemoteKey, d.Category, d.Configurable)
		}
		for _, w := range d.Warnings {
			fmt.Fprintf(&b, "    %s: %s\n", w.Code, w.Message)
		}
	}
	for _, r := range m.Refused {
		fmt.Fprintf(&b, "refused %d:%d %s %s", r.Line, r.Column, r.Kind, r.Written)
		if r.RemoteKey != "" {
			fmt.Fprintf(&b, " (remote %s)", r.RemoteKey)
		}
		fmt.Fprintf(&b, "\n    %s\n", r.Reason)
	}
	for _, c := range m.Configurable {
		fmt.Fprintf(&b, "configurable %d:%d remote=%q name=%q description=%q patterns=%q\n", c.Line, c.Column, c.RemoteKey, c.Name, c.Description, c.Patterns)
	}
	for _, w := range m.Warnings {
		fmt.Fprintf(&b, "%s\n", w)
	}
	return b.String()
}

const head = "app: {id: ari:cloud:ecosystem::app/0b5c1e0a-7a3f-4c51-9d2e-3f0b9a64c1d7}\n"

// refusedFor reads a manifest that must have a mistake with the text.
func refusedFor(t *testing.T, src, want string) {
	t.Helper()
	_, err := ParseManifest("m.yml", []byte(src), ManifestOptions{})
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%.80q…: %v; want an error with %q", src, err, want)
	}
}

// ATTACK: a manifest is a bomb: aliases that grow to gigabytes, nesting that
// exhausts the stack, hundreds of thousands of rows or mistakes, a table that
// nobody can read before consenting.
// THIS TEST VERIFIES that each is refused, and says why.
func TestManifestBombs(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'k'; c++ {
		bomb += fmt.Sprintf("%c: &%c [%s]\n", c, c, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c,", c-1), 9), ","))
	}
	refusedFor(t, bomb+head, "an alias (*)")
	refusedFor(t, strings.Repeat(" ", maxManifest)+head, "larger than 512 KiB")
	refusedFor(t, head+"modules: "+strings.Repeat("[", 100_000), "nests too deep")
	refusedFor(t, head+"modules: "+strings.Repeat("{a: ", 65)+strings.Repeat("}", 65), "nests too deep")
	refusedFor(t, head+"modules:\n  "+strings.Repeat("- ", 100_000), "nests too deep")
	deep := head
	for i := range 600 {
		deep += strings.Repeat(" ", i) + "a:\n"
	}
	refusedFor(t, deep, "nests too deep")
	refusedFor(t, head+"modules:\n"+strings.Repeat("  a: 1\n", 60_000), "more than 10000 keys")

	many := head + "permissions:\n  external:\n    fetch:\n      backend:\n"
	for i := range maxRows {
		many += fmt.Sprintf("        - h%d.example.com\n", i)
	}
	if m, err := ParseManifest("m.yml", []byte(many), ManifestOptions{}); err != nil || len(m.Rows) != maxRows {
		t.Fatalf("200 rows: %v", err)
	}
	refusedFor(t, many+"        - one.more.example.com\n", "more than 200 addresses")
	refusedFor(t, many+"        - '*'\n", "more than 200 addresses") // refused ones have to be read too
	refusedFor(t, many+strings.Repeat("        - '*'\n", 5000), "more than 200 addresses")
	long := head + "permissions: {external: {images: ["
	for i := range 40 {
		long += fmt.Sprintf("https://a.example.com/%d%s, ", i, strings.Repeat("a", 600))
	}
	refusedFor(t, long+"]}}\n", "more than 16 KiB of rows")
	twice := head + "modules:\n" + strings.Repeat("  a: 1\n", 2_000)
	_, err := ParseManifest("m.yml", []byte(twice), ManifestOptions{})
	var all *ManifestError
	if !errors.As(err, &all) || len(all.Findings) != maxFindings {
		t.Errorf("2,000 mistakes: %d are named", len(all.Findings))
	}
}

// ATTACK: a manifest shows one thing and means another: characters that turn the
// line round or do not show (CVE-2021-42574), a line break that only some programs
// see, a byte order mark, bytes that are no UTF-8.
// THIS TEST VERIFIES that such files are refused, and that what is shown of an
// address has such characters escaped.
func TestManifestsThatShowAnother(t *testing.T) {
	refusedFor(t, "\ufeff"+head, "U+FEFF")
	refusedFor(t, head+"a: \xff", "0xff is not UTF-8")
	refusedFor(t, head+"a: b\rpermissions: {}", "U+000D")
	refusedFor(t, head+"a: b\u2028permissions: {}", "U+2028")
	refusedFor(t, head+"a: b\u0085permissions: {}", "U+0085")
	refusedFor(t, head+"a: \x00", "U+0000")
	refusedFor(t, "app: {id: "+ariPrefix+"0b5c1e0a-7a3f-4c51-9d2e-3f0b9a64c1d7, name: \"Good\u202egood\"}", "does not show")
	refusedFor(t, "app: {id: "+ariPrefix+"0b5c1e0a-7a3f-4c51-9d2e-3f0b9a64c1d7, name: "+strings.Repeat("x", 201)+"}", "longer than 200")
	m, err := ParseManifest("m.yml", []byte(head+"permissions: {external: {images: [\"a\u202e.example.com\", \""+strings.Repeat("ü", 3000)+"\"]}}"), ManifestOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Refused[0].Written; got != `a\u202e.example.com` {
		t.Errorf("it is shown as %q", got)
	}
	if got := m.Refused[1].Written; len(got) > 1100 {
		t.Errorf("%d bytes of it are shown", len(got))
	}
}

func TestManifestIdentity(t *testing.T) {
	m, err := ParseManifest("m.yml", []byte(head), ManifestOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// printf 'app: {id: ari:cloud:…}\n' | sha256sum
	if want := "sha256:feafaf8db1412378bd9bc35fd101e630dc42822e2a60063e6046feee888d7000"; m.Digest != want {
		t.Errorf("digest %s; want %s", m.Digest, want)
	}
	if s, err := m.Source(); err != nil || s != "app/0b5c1e0a-7a3f-4c51-9d2e-3f0b9a64c1d7" {
		t.Errorf("source %q, %v", s, err)
	}
	again, err := ParseManifest("m.yml", []byte(head+" "), ManifestOptions{})
	if err != nil || again.Digest == m.Digest {
		t.Errorf("another byte, and the digest is the same; %v", err)
	}
	if s, err := (&Manifest{}).Source(); err == nil {
		t.Errorf("no manifest has the source %q", s)
	}
	n, err := ParseManifest("m.yml", []byte("isogate: 1\napp: triage-bot\n"), ManifestOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := n.Source(); err != nil || s != "app/triage-bot" {
		t.Errorf("source %q, %v", s, err)
	}
	if rows := m.Table(); len(rows) != 0 {
		t.Errorf("%v", rows)
	}
}

func FuzzParseManifest(f *testing.F) {
	for _, dir := range []string{"manifests", "mistakes"} {
		files, _ := filepath.Glob(filepath.Join("testdata", dir, "*.txtar"))
		for _, file := range files {
			a, err := txtar.ParseFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(a.Files[0].Data)
		}
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		if len(src) > 16<<10 { // the limits have tests of their own
			return
		}
		m, err := ParseManifest("m.yml", src, ManifestOptions{Fragment: true, Env: map[string]string{"HOST": "host.example.com"}})
		lines := bytes.Count(src, []byte("\n")) + 1
		placed := func(line, column int) bool { return line >= 1 && line <= lines && column >= 1 }
		var all *ManifestError
		if errors.As(err, &all) {
			for _, f := range all.Findings {
				if !placed(f.Line, f.Column) || f.Message == "" || f.Hint == "" {
					t.Errorf("%+v of %d lines", f, lines)
				}
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range m.Rows {
			if back, err := ParseRow(d.Row.String()); err != nil || back != d.Row || !placed(d.Line, d.Column) {
				t.Errorf("%+v, %v", d, err)
			}
		}
		for _, r := range m.Refused {
			if r.Reason == "" || !placed(r.Line, r.Column) {
				t.Errorf("%+v of %d lines", r, lines)
			}
		}
		if kept := Keep(m.Table(), m.Table()); len(kept) > len(m.Rows) {
			t.Errorf("%v", kept)
		}
		if slices.ContainsFunc(Compare(m.Table(), m.Table()), func(c Change) bool { return c.Class != Unchanged }) {
			t.Errorf("%v changes against itself", m.Table())
		}
	})
}

package policy

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// findingsIn is what Load says about a directory.
func findingsIn(t *testing.T, dir string) string {
	t.Helper()
	_, err := Load(dir)
	var found *Errors
	if !errors.As(err, &found) {
		t.Fatalf("not findings: %v", err)
	}
	return found.Error()
}

// TestFilesThatLeadOut: attack: a link in a pack makes the gateway judge by, or
// show in an error, a file that is not part of what was reviewed. Links are refused
// whether they lead out of the pack or not.
func TestFilesThatLeadOut(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside.yaml")
	if err := os.WriteFile(outside, []byte("secret: do not show\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{
		"transits/out.yaml": outside, "transits/in.yaml": "support-session.yaml", "contracts/dir": t.TempDir(), "never.yaml": outside, "tests/bodies/x": outside,
	} {
		t.Run(name, func(t *testing.T) {
			dir := good(t).with(files{"never.yaml": ""}).write(t)
			if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
			want := name + ":1:1: is a symbolic link; put the file itself into the pack"
			if got := findingsIn(t, dir); got != want {
				t.Errorf("%s\nwant %s", got, want)
			}
		})
	}
	t.Run("the pack itself", func(t *testing.T) { // the operator's own choice
		link := filepath.Join(t.TempDir(), "pack")
		if err := os.Symlink(good(t).write(t), link); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(link); err != nil {
			t.Error(err)
		}
	})
}

func TestFilesThatAreNoFiles(t *testing.T) {
	dir := good(t).write(t)
	if err := syscall.Mkfifo(filepath.Join(dir, "transits", "pipe.yaml"), 0o600); err != nil {
		t.Skipf("no pipe here: %v", err)
	}
	if got := findingsIn(t, dir); got != "transits/pipe.yaml:1:1: is not a regular file; remove it" {
		t.Error(got)
	}
}

func TestUnreadable(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("nothing is unreadable to root")
	}
	dir := good(t).write(t)
	for name, mode := range map[string]fs.FileMode{"never.yaml": 0, "contracts": 0} {
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	got := findingsIn(t, dir)
	_ = os.Chmod(filepath.Join(dir, "contracts"), 0o700) // so that it can be removed
	for _, want := range []string{"never.yaml:1:1: cannot be read: permission denied; ", "contracts:1:1: cannot be read: permission denied; "} {
		if !strings.Contains(got, want) {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
	if err := os.Chmod(dir, 0); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.Chmod(dir, 0o700) }() // so that it can be removed
	if _, err := Load(dir); err == nil || errors.As(err, new(*Errors)) {
		t.Errorf("a directory that cannot be read: %v", err)
	}
}

// TestNoDirectory: what is not a pack at all is not a finding.
func TestNoDirectory(t *testing.T) {
	for _, dir := range []string{filepath.Join(t.TempDir(), "nowhere"), filepath.Join(good(t).write(t), "pack.yaml"), ""} {
		_, err := Load(dir)
		if err == nil || errors.As(err, new(*Errors)) || !strings.Contains(err.Error(), "; name a directory") {
			t.Errorf("%q: %v", dir, err)
		}
	}
}

func TestLimitsOfFiles(t *testing.T) {
	big := strings.Repeat("x", maxFileBytes)
	for name, c := range map[string]struct {
		files files
		want  string
	}{
		"a body too large":      {files{"tests/bodies/big": big + "x"}, "tests/bodies/big:1:1: is larger than 4 MiB; split it"},
		"a body just so large":  {files{"tests/bodies/big": big}, ""},
		"a text too large":      {files{"never.yaml": "# " + big[:maxYAML]}, "never.yaml:1:1: the file is larger than 512 KiB; split it"},
		"too many mistakes":     {files{"never.yaml": strings.Repeat("- a\n", 2000)}, "never.yaml:1000:3: there are more than 1000 mistakes; fix those before"},
		"deep indentation":      {files{"never.yaml": "- a:\n" + strings.Repeat(" ", 300) + "b: c\n"}, "never.yaml:2:301: the file nests too deep"},
		"a byte order mark":     {files{"never.yaml": "\uFEFF- a"}, "never.yaml:1:1: the file begins with a byte order mark; "},
		"a stray byte":          {files{"never.yaml": "# ä\n- \xff"}, "never.yaml:2:3: the byte 0xff is not UTF-8; "},
		"a control character":   {files{"never.yaml": "- a\x07"}, "never.yaml:1:4: the character U+0007 is not allowed in a pack; "},
		"a lone return":         {files{"never.yaml": "- a\r- b"}, "never.yaml:1:4: the line break U+000D is read differently by different programs; "},
		"a line separator":      {files{"never.yaml": "- a\u2028- b"}, "never.yaml:1:4: the line break U+2028 is read differently by different programs; "},
		"returns with newlines": {files{"never.yaml": "- never: {label: personal.**, as: allow, purpose: billing}\r\n"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := good(t).with(c.files).mistakes(t)
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("%.300s\nwant %s", got, c.want)
			}
		})
	}
}

func TestTooManyFiles(t *testing.T) {
	dir := good(t).write(t)
	for i := range maxFiles {
		if err := os.WriteFile(filepath.Join(dir, "tests", "body"+string(rune('a'+i%26))+strings.Repeat("x", i%100)+"-"+itoa(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := findingsIn(t, dir); !strings.Contains(got, "the pack has more than 5000 files; split it") {
		t.Errorf("%.300s", got)
	}
}

func itoa(i int) string {
	return strings.Repeat("y", i/1000) + string(rune('0'+i/100%10)) + string(rune('0'+i/10%10)) + string(rune('0'+i%10))
}

func TestTooLargeAPack(t *testing.T) {
	f := good(t)
	for i := range maxPackBytes/maxFileBytes + 1 {
		f["tests/body"+itoa(i)] = strings.Repeat("x", maxFileBytes)
	}
	if got := f.mistakes(t); !strings.Contains(got, "the pack is larger than 64 MiB; split it") {
		t.Errorf("%.300s", got)
	}
}

// TestDigest: the digest is of the paths and bytes of the pack's files, and of
// nothing else.
func TestDigest(t *testing.T) {
	pack := good(t)
	want := pack.load(t).Plan().Digest
	if !strings.HasPrefix(want, "sha256:") || len(want) != len("sha256:")+64 {
		t.Errorf("%q", want)
	}
	if got := pack.with(files{"README.md": "x", "LICENSE": "x", ".git/config": "x", "tests/.note": "x"}).load(t).Plan().Digest; got != want {
		t.Error("a text for people changes the digest")
	}
	for name, other := range map[string]files{
		"a byte":        pack.with(files{"never.yaml": pack["never.yaml"] + "\n"}),
		"a path":        pack.with(files{"transits/signals.yaml": "", "transits/signal.yaml": pack["transits/signals.yaml"]}),
		"a file":        pack.with(files{"never.yaml": ""}),
		"a test's body": pack.with(files{"tests/bodies/session.json": pack["tests/bodies/session.json"] + " "}),
	} {
		if other.load(t).Plan().Digest == want {
			t.Errorf("%s changes, but not the digest", name)
		}
	}
	// One listing, byte by byte: length and text of the path, length and text of the content.
	const listing = "sha256:80b60b25a5b8483beb23b7143c98b9ccc6d5736e470ec6b9e9f1ca1fb1b48fcf"
	if got := digest([]packFile{{"a", []byte("bc")}, {"d", nil}}); got != listing {
		t.Errorf("%s", got)
	}
}

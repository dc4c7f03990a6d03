package tenant

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

// An identity is made once, is read again as the same, signs what its public half
// verifies, and prints as nothing.
func TestIdentity(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if _, err := OpenIdentity(dir, "portal"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("a directory that is not there: %v", err)
	}
	made, err := CreateIdentity(dir, "portal")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := CreateIdentity(dir, "portal"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("made twice: %v", err)
	}
	read, err := OpenIdentity(dir, "portal")
	if err != nil {
		t.Fatal(err)
	}
	if read.Verifier() != made.Verifier() || !strings.HasPrefix(read.Verifier(), "portal+") {
		t.Errorf("made %s, read %s", made.Verifier(), read.Verifier())
	}
	signed, err := note.Sign(&note.Note{Text: "stated\n"}, read.Signer())
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(read.Verifier())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := note.Open(signed, note.VerifierList(v)); err != nil {
		t.Errorf("what it signs does not verify: %v", err)
	}
	secret, err := os.ReadFile(filepath.Join(dir, identityFile))
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(read)
	if err != nil {
		t.Fatal(err)
	}
	key := strings.SplitN(strings.TrimSpace(string(secret)), "+", 5)[4] // base64 has a plus too
	for _, text := range []string{string(asJSON), fmt.Sprintf("%v %+v %#v %s %q %x", read, read, read, read, read, read), read.LogValue().String()} {
		if strings.Contains(text, key) || strings.Contains(text, "portal") || !strings.Contains(text, redacted) {
			t.Errorf("it prints as %s", text)
		}
	}
}

// What somebody else could read or put there is refused, and so is what belongs to
// another landing.
func TestIdentityRefused(t *testing.T) {
	for _, c := range []struct {
		name, want string
		spoil      func(dir string) error
	}{
		{"key that others read", "chmod 0600", func(dir string) error { return os.Chmod(filepath.Join(dir, identityFile), 0o640) }},
		{"directory that others enter", "chmod 0700", func(dir string) error { return os.Chmod(dir, 0o750) }},
		{"public half that others write", "chmod 0644", func(dir string) error { return os.Chmod(filepath.Join(dir, identityPublicFile), 0o666) }},
		{"public half of another", "write this line", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, identityPublicFile), []byte("portal+00000000+AAAA\n"), 0o644)
		}},
		{"public half gone", "write this line", func(dir string) error { return os.Remove(filepath.Join(dir, identityPublicFile)) }},
		{"no key", "is no signing key", func(dir string) error { return os.WriteFile(filepath.Join(dir, identityFile), []byte("x\n"), 0o600) }},
		{"a link", "symbolic link", func(dir string) error {
			file := filepath.Join(dir, identityFile)
			return errors.Join(os.Rename(file, file+".real"), os.Symlink(file+".real", file))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "state")
			if _, err := CreateIdentity(dir, "portal"); err != nil {
				t.Fatal(err)
			}
			if err := c.spoil(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := OpenIdentity(dir, "portal"); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
	dir := filepath.Join(t.TempDir(), "state")
	if _, err := CreateIdentity(dir, "portal"); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenIdentity(dir, "desk"); err == nil || !strings.Contains(err.Error(), `"portal", not of "desk"`) {
		t.Errorf("another landing's: %v", err)
	}
	if _, err := CreateIdentity(filepath.Join(dir, "x"), "not a name"); err == nil {
		t.Error("a name with blanks was taken")
	}
}

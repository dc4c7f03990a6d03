package tenant

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/tink-crypto/tink-go/v2/tink"
)

func mustKEK(t *testing.T) (tink.AEAD, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kek.json")
	a, err := CreateKEK(path)
	if err != nil {
		t.Fatal(err)
	}
	return a, path
}

func TestWrapped(t *testing.T) {
	created, kekPath := mustKEK(t)
	dir := filepath.Join(t.TempDir(), "keys")
	k, err := Config{Dir: dir, Tenant: "acme", KEK: created}.Create()
	if err != nil {
		t.Fatal(err)
	}
	first := derive(t, k, k.Primary(), "a")
	if err := k.Rotate(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{keysetFile, checkpointFile} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte("PRIVATE+KEY")) || bytes.Contains(b, []byte("keyData")) {
			t.Errorf("%s is in the clear: %s", name, b)
		}
	}
	kek, err := OpenKEK(kekPath)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Config{Dir: dir, Tenant: "acme", KEK: kek}.Open()
	if err != nil {
		t.Fatal(err)
	}
	if derive(t, again, again.IDs()[1], "a") != first || again.Verifier() != k.Verifier() {
		t.Error("unwrapped, it is another keyring")
	}

	_, err = Open(dir, "acme")
	wants(t, err, nil, keysetFile, "none is configured")
	other, _ := mustKEK(t)
	_, err = Config{Dir: dir, Tenant: "acme", KEK: other}.Open()
	wants(t, err, nil, keysetFile, "does not open it")
	// Bound to the tenant, so that one customer's keyring cannot pass for another's.
	_, err = Config{Dir: dir, Tenant: "umbrella", KEK: kek}.Open()
	wants(t, err, nil, keysetFile, "umbrella")

	_, plain := mustCreate(t)
	_, err = Config{Dir: plain, Tenant: "acme", KEK: kek}.Open()
	wants(t, err, nil, keysetFile, "in the clear")
	b, err := os.ReadFile(filepath.Join(plain, checkpointFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, checkpointFile), b, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Config{Dir: dir, Tenant: "acme", KEK: kek}.Open()
	wants(t, err, nil, checkpointFile, "in the clear")
	for content, say := range map[string]string{"!": "illegal base64", "AAAA": "does not open it"} {
		if err := os.WriteFile(filepath.Join(dir, checkpointFile), []byte(wrappedLine+content+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err = Config{Dir: dir, Tenant: "acme", KEK: kek}.Open()
		wants(t, err, nil, checkpointFile, say)
	}
}

// withdrawn is a key-encryption key that its owner has taken away.
type withdrawn struct{ tink.AEAD }

var errWithdrawn = errors.New("the key is disabled")

func (withdrawn) Encrypt(_, _ []byte) ([]byte, error) { return nil, errWithdrawn }
func (withdrawn) Decrypt(_, _ []byte) ([]byte, error) { return nil, errWithdrawn }

// promise: P42 — without the customer's key nothing is opened, reloaded, rotated or made.
func TestKEKWithdrawn(t *testing.T) {
	kek, _ := mustKEK(t)
	dir := filepath.Join(t.TempDir(), "keys")
	k, err := Config{Dir: dir, Tenant: "acme", KEK: kek}.Create()
	if err != nil {
		t.Fatal(err)
	}
	k.cfg.KEK = withdrawn{}
	_, err = k.Reload()
	wants(t, err, nil, keysetFile)
	err = k.Rotate()
	wants(t, err, nil, keysetFile)
	_, err = Config{Dir: dir, Tenant: "acme", KEK: withdrawn{}}.Open()
	wants(t, err, nil, keysetFile, "does not open it")
	_, err = Config{Dir: filepath.Join(t.TempDir(), "keys"), Tenant: "acme", KEK: withdrawn{}}.Create()
	wants(t, err, errWithdrawn, checkpointFile)
}

func TestKEKFile(t *testing.T) {
	_, path := mustKEK(t)
	_, err := CreateKEK(path)
	wants(t, err, fs.ErrExist, path)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = OpenKEK(path)
	wants(t, err, fs.ErrPermission, "chmod 0600 "+path)
	_, err = OpenKEK(path + "x")
	wants(t, err, fs.ErrNotExist, path+"x")
	_, err = CreateKEK(filepath.Join(path, "below"))
	wants(t, err, nil, path)

	_, dir := mustCreate(t)
	_, err = OpenKEK(filepath.Join(dir, keysetFile))
	wants(t, err, nil, "no keyset of AEAD keys")
	_, err = OpenKEK(filepath.Join(dir, checkpointFile))
	wants(t, err, nil, "is no keyset")
}

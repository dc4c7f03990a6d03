package tenant

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
)

const (
	identityFile       = "landing.key"
	identityPublicFile = "landing.pub"
)

// Identity is the key by which a landing signs what it states and receipts. It
// is no tenant's: a landing is outside. It is kept as a keyring is, in the clear
// behind its permissions, and opens no seal: who steals it can lie in the
// landing's name from then on, and read nothing.
//
// The zero value signs nothing: its signer is nil.
type Identity struct {
	signer note.Signer
	vkey   string
}

// CreateIdentity makes the identity of the landing called name in a directory,
// which is made if it is not there and must belong to us alone. Where there is
// one already, the error wraps [io/fs.ErrExist].
func CreateIdentity(path, name string) (*Identity, error) {
	if err := isogate.CheckName(name, false); err != nil {
		return nil, fmt.Errorf("landing: %w", err)
	}
	d, err := makeDir(path)
	if err != nil {
		return nil, err
	}
	defer d.close()
	if err := d.lock(); err != nil {
		return nil, err
	}
	if _, err := os.Lstat(d.file(identityFile)); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: is there already: %w; use it: packs name its public half", d.file(identityFile), fs.ErrExist)
	}
	skey, vkey, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.file(identityFile), err)
	}
	// The secret half comes last: what was interrupted before it is begun anew.
	if err := d.write(identityPublicFile, []byte(vkey+"\n"), publicMode); err != nil {
		return nil, err
	}
	if err := d.write(identityFile, []byte(skey+"\n"), secretMode); err != nil {
		return nil, err
	}
	return readIdentity(d, name)
}

// OpenIdentity reads the identity that CreateIdentity made for name. It refuses
// a directory or file that others can reach, that belongs to another user or is a
// symbolic link, and the identity of another landing; the error says what to run.
// Where there is none, it wraps [io/fs.ErrNotExist].
func OpenIdentity(path, name string) (*Identity, error) {
	path = filepath.Clean(path)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: there is no identity of a landing: %w; make one with: isogate landing init", path, fs.ErrNotExist)
	}
	d, err := openDir(path)
	if err != nil {
		return nil, err
	}
	defer d.close()
	if _, err := os.Lstat(d.file(identityFile)); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: there is no identity of a landing in it: %w; make one with: isogate landing init", path, fs.ErrNotExist)
	}
	return readIdentity(d, name)
}

func readIdentity(d *dir, name string) (*Identity, error) {
	b, _, err := d.read(identityFile, secret)
	if err != nil {
		return nil, err
	}
	skey := strings.TrimSpace(string(b))
	signer, err := note.NewSigner(skey)
	if err != nil {
		return nil, fmt.Errorf("%s: is no signing key; restore it from a backup", d.file(identityFile))
	}
	if signer.Name() != name {
		return nil, fmt.Errorf("%s: is the key of the landing %q, not of %q; check the configured name and state directory", d.file(identityFile), signer.Name(), name)
	}
	vkey, err := publicOf(skey, name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; restore it from a backup", d.file(identityFile), err)
	}
	pub, _, err := d.read(identityPublicFile, public)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if strings.TrimSpace(string(pub)) != vkey {
		return nil, fmt.Errorf("%s: does not belong to %s; write this line into it: %s", d.file(identityPublicFile), identityFile, vkey)
	}
	return &Identity{signer: signer, vkey: vkey}, nil
}

// Signer signs with Ed25519, in the form of C2SP signed-note (key type 1).
func (i *Identity) Signer() note.Signer { return i.signer }

// Verifier is the public half as a C2SP vkey, which packs name as the
// destination's landing.public_key. The same is in landing.pub.
func (i *Identity) Verifier() string { return i.vkey }

func (*Identity) String() string { return redacted }

// GoString implements [fmt.GoStringer].
func (*Identity) GoString() string { return redacted }

// LogValue implements [slog.LogValuer].
func (*Identity) LogValue() slog.Value { return slog.StringValue(redacted) }

// Format implements [fmt.Formatter], so that no verb reaches the key.
func (*Identity) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(redacted)) }

// MarshalText implements [encoding.TextMarshaler].
func (*Identity) MarshalText() ([]byte, error) { return []byte(redacted), nil }

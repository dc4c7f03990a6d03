// Package tenant keeps the keys of one tenant: they do their work here and are
// never handed out.
//
// On disk a keyring is one directory that only its owner can enter:
//
//	keyset.json     a Tink keyset of HKDF-SHA256 PRF keys, the root of everything derived; written last
//	checkpoint.key  the Ed25519 key that signs the journal's checkpoints (C2SP signed-note)
//	isogate.pub     its public half, for auditors
//	intercept.key   the authority that vouches for remotes to apps, where there is one; written last
//	intercept.pem   its certificates, for apps' trust stores
//
// The secret files are in the clear, guarded by their permissions, or
// wrapped by a key-encryption key ([Config.KEK]). Every file is replaced as a
// whole: written beside, synced, renamed, the directory synced. A process that
// dies at any instant leaves the old keyring or the new one; one that dies while
// creating it leaves a directory without keyset.json, which no keyring is.
//
// Any number of processes may have a keyring open. One that rotates is noticed
// by the others with [Keyring.Stale].
//
// promise: P06 — a keyring is one tenant's and says whose.
package tenant

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tink-crypto/tink-go/v2/tink"
	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
)

// Config says where a keyring is and what wraps it.
type Config struct {
	// Dir is the keyring's directory, such as state/keys. It and its files must
	// belong to the user of this process and be closed to everybody else.
	Dir string
	// Tenant is whose keys they are.
	Tenant isogate.Tenant
	// KEK wraps the secret files at rest; nil leaves them in the clear, guarded
	// by their permissions alone. [OpenKEK] gives one from a file; one that a key
	// management service holds fits as well. Once it refuses to unwrap, neither
	// Open nor Reload nor Rotate nor Authority does anything.
	KEK tink.AEAD
	// Intercept is for the authority that [Keyring.Authority] gives.
	Intercept Intercept
}

// Keyring is one tenant's keys. It is safe for concurrent use. The zero value
// has no keys: it derives nothing, and asking it for a digest panics.
type Keyring struct {
	cfg    Config
	signer note.Signer
	vkey   string

	state atomic.Pointer[state]
	mu    sync.Mutex // serialises those who replace state
}

// ErrUnfinished says that a directory was left by a creation that did not end.
var ErrUnfinished = errors.New("the creation of this keyring was interrupted")

// Create makes a keyring in the clear. See [Config.Create].
func Create(dir string, name isogate.Tenant) (*Keyring, error) {
	return Config{Dir: dir, Tenant: name}.Create()
}

// Open opens a keyring that is in the clear. See [Config.Open].
func Open(dir string, name isogate.Tenant) (*Keyring, error) {
	return Config{Dir: dir, Tenant: name}.Open()
}

// Create makes a keyring in a directory that does not exist yet or is empty. It
// refuses one that holds anything, with an error that wraps [io/fs.ErrExist] or
// [ErrUnfinished].
func (c Config) Create() (*Keyring, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	d, err := makeDir(c.Dir)
	if err != nil {
		return nil, err
	}
	defer d.close()
	if err := d.lock(); err != nil {
		return nil, err
	}
	if err := d.checkEmpty(); err != nil {
		return nil, err
	}
	if err := c.writeCheckpointKey(d); err != nil {
		return nil, err
	}
	s, err := newState()
	if err != nil {
		return nil, err
	}
	// The keyset is what makes the directory a keyring, and comes last.
	if err := c.writeKeyset(d, s.handle); err != nil {
		return nil, err
	}
	return c.read(d)
}

// Open reads a keyring. It refuses a directory or file that others can reach,
// that belongs to another user or that is a symbolic link, and the keyring of
// another tenant; the error says what to run.
func (c Config) Open() (*Keyring, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	d, err := openDir(c.Dir)
	if err != nil {
		return nil, err
	}
	defer d.close()
	return c.read(d)
}

func (c Config) check() error {
	if err := isogate.CheckName(string(c.Tenant), false); err != nil {
		return fmt.Errorf("keyring: tenant: %w", err)
	}
	if c.Dir == "" {
		return errors.New("keyring: no directory; use one such as state/keys")
	}
	return c.Intercept.check()
}

func (c Config) read(d *dir) (*Keyring, error) {
	if err := d.checkFinished(); err != nil {
		return nil, err
	}
	s, err := c.readKeyset(d)
	if err != nil {
		return nil, err
	}
	k := &Keyring{cfg: c}
	if k.signer, k.vkey, err = c.readCheckpointKey(d); err != nil {
		return nil, err
	}
	k.state.Store(s)
	return k, nil
}

// Tenant is whose keyring it is.
func (k *Keyring) Tenant() isogate.Tenant { return k.cfg.Tenant }

// Primary is the id of the key that mints; 0 of the zero Keyring.
func (k *Keyring) Primary() uint32 {
	if s := k.state.Load(); s != nil {
		return s.ids[0]
	}
	return 0
}

// IDs are the ids of all keys that may still read, the primary first, then from
// the newest to the oldest.
func (k *Keyring) IDs() []uint32 {
	if s := k.state.Load(); s != nil {
		return slices.Clone(s.ids)
	}
	return nil
}

// maxDerived is how many bytes HKDF-SHA256 gives at the most (RFC 5869 §2.3).
const maxDerived = 255 * 32

// Derive fills out, of at most 8160 bytes, with the output of key id's
// HKDF-SHA256 (RFC 5869) for this very context: no two lists of strings are
// alike, however their parts are cut.
func (k *Keyring) Derive(out []byte, id uint32, context ...string) error {
	if len(context) == 0 || len(out) == 0 || len(out) > maxDerived {
		return fmt.Errorf("keyring of tenant %s: %d bytes for a context of %d parts; use 1 to %d bytes and at least one part",
			k.cfg.Tenant, len(out), len(context), maxDerived)
	}
	s := k.state.Load()
	if s == nil {
		return errors.New("keyring: not open; use Open")
	}
	b, err := s.derive(id, "derive", len(out), context...)
	if err != nil {
		return fmt.Errorf("keyring of tenant %s: %w", k.cfg.Tenant, err)
	}
	copy(out, b)
	clear(b)
	return nil
}

// encode joins parts so that no two lists make the same bytes: each is preceded
// by its length.
func encode(use string, parts []string) []byte {
	b := []byte("isogate/tenant/v1")
	for _, p := range append([]string{use}, parts...) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(p))) //nolint:gosec // names and labels are short
		b = append(b, p...)
	}
	return b
}

// redacted is what every way of printing a Keyring prints.
const redacted = "REDACTED"

func (*Keyring) String() string { return redacted }

// GoString implements [fmt.GoStringer].
func (*Keyring) GoString() string { return redacted }

// LogValue implements [slog.LogValuer].
func (*Keyring) LogValue() slog.Value { return slog.StringValue(redacted) }

// Format implements [fmt.Formatter], so that no verb reaches a key.
func (*Keyring) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(redacted)) }

// MarshalText implements [encoding.TextMarshaler].
func (*Keyring) MarshalText() ([]byte, error) { return []byte(redacted), nil }

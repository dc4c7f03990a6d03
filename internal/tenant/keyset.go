package tenant

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/prf"
)

const keysetFile = "keyset.json"

// state is one keyset as it was read: immutable, replaced as a whole.
type state struct {
	handle *keyset.Handle
	prfs   *prf.Set
	ids    []uint32 // the primary first, then from the newest to the oldest
	digest []byte   // the primary's key for digests
	mark   mark     // of the file it came from
}

func newState() (*state, error) {
	m := keyset.NewManager()
	id, err := m.Add(prf.HKDFSHA256PRFKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("keyring: new key: %w", err)
	}
	if err := m.SetPrimary(id); err != nil {
		return nil, fmt.Errorf("keyring: new key: %w", err)
	}
	h, err := m.Handle()
	if err != nil {
		return nil, fmt.Errorf("keyring: new key: %w", err)
	}
	return stateOf(h)
}

func stateOf(h *keyset.Handle) (*state, error) {
	set, err := prf.NewPRFSet(h)
	if err != nil {
		return nil, err
	}
	s := &state{handle: h, prfs: set}
	for _, info := range h.KeysetInfo().GetKeyInfo() {
		if _, enabled := set.PRFs[info.GetKeyId()]; enabled {
			s.ids = append(s.ids, info.GetKeyId())
		}
	}
	slices.Reverse(s.ids)
	i := slices.Index(s.ids, set.PrimaryID)
	if i < 0 {
		return nil, errors.New("the primary key is not enabled")
	}
	s.ids = slices.Insert(slices.Delete(s.ids, i, i+1), 0, set.PrimaryID)
	s.digest, err = s.derive(set.PrimaryID, digestUse, sha256.Size)
	return s, err
}

// derive returns n bytes of key id for a context, separated by use.
func (s *state) derive(id uint32, use string, n int, context ...string) ([]byte, error) {
	p, ok := s.prfs.PRFs[id]
	if !ok {
		return nil, fmt.Errorf("there is no key %08x, only %08x", id, s.ids)
	}
	b, err := p.ComputePRF(encode(use, context), uint32(n)) //nolint:gosec // at most maxDerived
	if err != nil {
		return nil, fmt.Errorf("key %08x: %w", id, err)
	}
	return b, nil
}

// rotated returns the state with a new primary key; the old ones go on reading.
func (s *state) rotated() (*state, error) {
	m := keyset.NewManagerFromHandle(s.handle)
	id, err := m.Add(prf.HKDFSHA256PRFKeyTemplate())
	if err != nil {
		return nil, err
	}
	if err := m.SetPrimary(id); err != nil {
		return nil, err
	}
	h, err := m.Handle()
	if err != nil {
		return nil, err
	}
	return stateOf(h)
}

// bound is what a wrapped file is bound to, so that no other tenant's, and no
// other file, can be put in its place.
func (c Config) bound(file string) []byte {
	return encode("wrap", []string{file, string(c.Tenant)})
}

func (c Config) writeKeyset(d *dir, h *keyset.Handle) error {
	var b bytes.Buffer
	var err error
	if c.KEK == nil {
		err = insecurecleartextkeyset.Write(h, keyset.NewJSONWriter(&b))
	} else {
		err = h.WriteWithAssociatedData(keyset.NewJSONWriter(&b), c.KEK, c.bound(keysetFile))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", d.file(keysetFile), err)
	}
	b.WriteByte('\n')
	return d.write(keysetFile, b.Bytes(), secretMode)
}

func (c Config) readKeyset(d *dir) (*state, error) {
	path := d.file(keysetFile)
	b, mark, err := d.read(keysetFile, secret)
	if err != nil {
		return nil, err
	}
	var form struct {
		EncryptedKeyset *string `json:"encryptedKeyset"`
	}
	if err := json.Unmarshal(b, &form); err != nil {
		return nil, fmt.Errorf("%s: is no keyset: %w; restore it from a backup", path, err)
	}
	var h *keyset.Handle
	switch wrapped := form.EncryptedKeyset != nil; {
	case wrapped && c.KEK == nil:
		return nil, fmt.Errorf("%s: is wrapped by a key-encryption key, and none is configured; configure the one it was created with", path)
	case !wrapped && c.KEK != nil:
		return nil, fmt.Errorf("%s: is in the clear, but a key-encryption key is configured; remove it from the configuration or create the keyring with it", path)
	case wrapped:
		h, err = keyset.ReadWithAssociatedData(keyset.NewJSONReader(bytes.NewReader(b)), c.KEK, c.bound(keysetFile))
		if err != nil {
			return nil, fmt.Errorf("%s: the key-encryption key does not open it for tenant %s: %w; check both", path, c.Tenant, err)
		}
	default:
		h, err = insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(b)))
		if err != nil {
			return nil, fmt.Errorf("%s: is no keyset: %w; restore it from a backup", path, err)
		}
	}
	s, err := stateOf(h)
	if err != nil {
		return nil, fmt.Errorf("%s: is no keyset of PRF keys: %w; restore it from a backup", path, err)
	}
	s.mark = mark
	return s, nil
}

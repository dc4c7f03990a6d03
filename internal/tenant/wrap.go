package tenant

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
)

// wrappedLine begins a secret file, other than the keyset, that a key-encryption
// key wraps.
const wrappedLine = "isogate wrapped key v1\n"

// wrap returns what stands in a secret file that holds content.
func (c Config) wrap(d *dir, name string, content []byte) ([]byte, error) {
	if c.KEK == nil {
		return content, nil
	}
	sealed, err := c.KEK.Encrypt(content, c.bound(name))
	if err != nil {
		return nil, fmt.Errorf("%s: the key-encryption key does not wrap it: %w", d.file(name), err)
	}
	return []byte(wrappedLine + base64.StdEncoding.EncodeToString(sealed) + "\n"), nil
}

// readWrapped reads a secret file that wrap made.
//
// promise: P42
func (c Config) readWrapped(d *dir, name string) ([]byte, mark, error) {
	path := d.file(name)
	b, m, err := d.read(name, secret)
	if err != nil {
		return nil, mark{}, err
	}
	sealed, wrapped := bytes.CutPrefix(b, []byte(wrappedLine))
	switch {
	case wrapped && c.KEK == nil:
		return nil, mark{}, fmt.Errorf("%s: is wrapped by a key-encryption key, and none is configured; configure the one it was created with", path)
	case !wrapped && c.KEK != nil:
		return nil, mark{}, fmt.Errorf("%s: is in the clear, but a key-encryption key is configured; put the wrapped file back from a backup", path)
	case !wrapped:
		return b, m, nil
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(sealed)))
	if err != nil {
		return nil, mark{}, fmt.Errorf("%s: %w; restore it from a backup", path, err)
	}
	if b, err = c.KEK.Decrypt(raw, c.bound(name)); err != nil {
		return nil, mark{}, fmt.Errorf("%s: the key-encryption key does not open it for tenant %s: %w; check both", path, c.Tenant, err)
	}
	return b, m, nil
}

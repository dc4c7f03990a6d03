package main

import (
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/obfuscate"
)

// keys is a keyring with one key, for measuring only.
type keys struct{}

func (keys) Primary() uint32 { return 1 }
func (keys) IDs() []uint32   { return []uint32{1} }

func (keys) Derive(out []byte, id uint32, context ...string) error {
	b, err := hkdf.Key(sha256.New, []byte("a secret that is none, to measure"), nil, fmt.Sprint(id)+"\x00"+strings.Join(context, "\x00"), len(out))
	copy(out, b)
	return err
}

func newObfuscator() (*obfuscate.Obfuscator, error) {
	return obfuscate.New(obfuscate.Config{Tenant: "bench", Destination: "far", Labels: []isogate.Label{passed, replaced}, Keys: keys{}})
}

package policy

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/isogate/isogate/internal/obfuscate"
)

// ThrowawayKeys makes a keyring of one key from a secret. It is for trying a
// pack out: what it makes can be read by whoever knows the secret, so it
// guards nothing that leaves.
func ThrowawayKeys(secret []byte) obfuscate.Deriver { return throwaway(secret) }

type throwaway []byte

const throwawayID = 1

func (throwaway) Primary() uint32 { return throwawayID }
func (throwaway) IDs() []uint32   { return []uint32{throwawayID} }

// Derive fills out by HKDF (RFC 5869) over the parts of the context, each
// with its length before it so that no two contexts read alike.
func (s throwaway) Derive(out []byte, id uint32, context ...string) error {
	if id != throwawayID {
		return fmt.Errorf("key %d does not exist; use %d", id, throwawayID)
	}
	var info []byte
	for _, c := range context {
		info = binary.BigEndian.AppendUint64(info, uint64(len(c)))
		info = append(info, c...)
	}
	key, err := hkdf.Key(sha256.New, s, nil, string(info), len(out))
	copy(out, key)
	return err
}

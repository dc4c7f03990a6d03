package tenant

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"strconv"
	"strings"
)

const (
	digestScheme = "hmac-sha256"
	digestUse    = "digest"
)

// Digester takes in a body piece by piece. It is for one goroutine.
type Digester struct {
	hash.Hash
	id uint32
}

// Text is the digest of what has been written so far, in the form that
// [Keyring.Digest] has.
func (d *Digester) Text() string {
	return fmt.Sprintf("%s:%08x:%x", digestScheme, d.id, d.Sum(nil))
}

// DigestWriter returns the incremental form of Digest, under the key that is
// primary now.
func (k *Keyring) DigestWriter() *Digester {
	s := k.state.Load()
	return &Digester{Hash: hmac.New(sha256.New, s.digest), id: s.ids[0]}
}

// Digest is the keyed digest of a body, for the journal: whoever has the
// journal alone learns nothing of the body, not even by guessing it.
//
//	hmac-sha256:<id of the key>:<HMAC-SHA256 in hex>
func (k *Keyring) Digest(b []byte) string {
	d := k.DigestWriter()
	_, _ = d.Write(b)
	return d.Text()
}

// CheckDigest reports whether digest is b's, also one that was made before a
// rotation.
func (k *Keyring) CheckDigest(b []byte, digest string) (bool, error) {
	scheme, rest, _ := strings.Cut(digest, ":")
	key, sum, _ := strings.Cut(rest, ":")
	id, err := strconv.ParseUint(key, 16, 32)
	want, herr := hex.DecodeString(sum)
	if scheme != digestScheme || err != nil || herr != nil || len(want) != sha256.Size {
		return false, fmt.Errorf("keyring: %.100q is no digest; one is %s:<key>:<hex>", digest, digestScheme)
	}
	s := k.state.Load()
	secret, err := s.derive(uint32(id), digestUse, sha256.Size)
	if err != nil {
		return false, fmt.Errorf("keyring of tenant %s: %w", k.cfg.Tenant, err)
	}
	h := hmac.New(sha256.New, secret)
	_, _ = h.Write(b)
	return hmac.Equal(h.Sum(nil), want), nil
}

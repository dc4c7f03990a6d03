package obfuscate

import (
	"crypto/sha256"
	"encoding"
	"hash"
)

// prf is HMAC-SHA256 (FIPS 198-1) under one key, whose two padded key blocks
// have been taken in once and for all: a value then costs two compressions of
// SHA-256 instead of four. HMAC was taken rather than the faster AES-CMAC
// because CMAC of one block can be undone by whoever learns the key, and a hash
// should be one-way for its owner too. It is immutable.
type prf struct {
	inner, outer []byte // states of SHA-256, marshalled
}

// sha is a SHA-256 that can be set to a marshalled state.
type sha interface {
	hash.Hash
	encoding.BinaryMarshaler
	encoding.BinaryUnmarshaler
}

// newSHA relies on what crypto/sha256 promises of every hash it makes.
func newSHA() sha { return sha256.New().(sha) } // promised

// newPRF takes a key of at most 64 bytes.
func newPRF(key []byte) prf {
	h := newSHA()
	state := func(pad byte) []byte {
		var b [sha256.BlockSize]byte
		copy(b[:], key)
		for i := range b {
			b[i] ^= pad
		}
		h.Reset()
		_, _ = h.Write(b[:])
		s, _ := h.MarshalBinary() // without a state, load panics
		return s
	}
	return prf{inner: state(0x36), outer: state(0x5c)}
}

// sum leaves the MAC of domain and then value in s.digest.
func (p *prf) sum(s *scratch, domain byte, value []byte) {
	load(s.sha, p.inner)
	s.domain[0] = domain
	_, _ = s.sha.Write(s.domain[:])
	_, _ = s.sha.Write(value)
	s.sha.Sum(s.digest[:0])
	load(s.sha, p.outer)
	_, _ = s.sha.Write(s.digest[:])
	s.sha.Sum(s.digest[:0])
}

// load panics rather than hash without a key: h has saved that state itself,
// unless the prf is the zero one.
func load(h sha, state []byte) {
	if err := h.UnmarshalBinary(state); err != nil {
		panic("obfuscate: SHA-256 does not take its state back: " + err.Error())
	}
}

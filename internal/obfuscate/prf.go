package obfuscate

import (
	"crypto/sha256"
	"encoding"
	"errors"
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

func newSHA() (sha, error) {
	h, ok := sha256.New().(sha)
	if !ok {
		return nil, errors.New("this build's SHA-256 cannot save its state")
	}
	return h, nil
}

// newPRF takes a key of at most 64 bytes.
func newPRF(key []byte) (prf, error) {
	h, err := newSHA()
	if err != nil {
		return prf{}, err
	}
	state := func(pad byte) []byte {
		var b [sha256.BlockSize]byte
		copy(b[:], key)
		for i := range b {
			b[i] ^= pad
		}
		h.Reset()
		_, _ = h.Write(b[:])
		s, merr := h.MarshalBinary()
		err = errors.Join(err, merr)
		return s
	}
	p := prf{inner: state(0x36), outer: state(0x5c)}
	return p, err
}

// sum leaves the MAC of domain and then value in s.digest.
func (p *prf) sum(s *scratch, domain byte, value []byte) error {
	if err := s.sha.UnmarshalBinary(p.inner); err != nil {
		return err
	}
	s.domain[0] = domain
	_, _ = s.sha.Write(s.domain[:])
	_, _ = s.sha.Write(value)
	s.sha.Sum(s.digest[:0])
	if err := s.sha.UnmarshalBinary(p.outer); err != nil {
		return err
	}
	_, _ = s.sha.Write(s.digest[:])
	s.sha.Sum(s.digest[:0])
	return nil
}

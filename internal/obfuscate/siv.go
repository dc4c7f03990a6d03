package obfuscate

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
)

// block is one block of AES.
type block [16]byte

func (b *block) xor(c *block) {
	binary.LittleEndian.PutUint64(b[:8], binary.LittleEndian.Uint64(b[:8])^binary.LittleEndian.Uint64(c[:8]))
	binary.LittleEndian.PutUint64(b[8:], binary.LittleEndian.Uint64(b[8:])^binary.LittleEndian.Uint64(c[8:]))
}

// double multiplies b by x in GF(2^128), in constant time (RFC 5297 §2.3).
func (b *block) double() {
	hi, lo := binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
	carry := hi >> 63
	hi = hi<<1 | lo>>63
	lo = lo<<1 ^ carry*0x87
	binary.BigEndian.PutUint64(b[:8], hi)
	binary.BigEndian.PutUint64(b[8:], lo)
}

// blocks is the working memory of one AES-SIV call. It lives on the heap and is
// reused, because whatever is handed to a [cipher.Block] escapes; plaintext is
// only ever copied into it.
type blocks struct {
	x, d, tail0, tail1, stream, counter block
}

// siv is AES-SIV, deterministic authenticated encryption (RFC 5297), under one
// key. It is immutable and safe for concurrent use.
type siv struct {
	mac, ctr cipher.Block
	k1, k2   block // CMAC's subkeys (RFC 4493 §2.3)
	zero     block // CMAC of the zero block, where every S2V begins
}

// newSIV takes a key of 32, 48 or 64 bytes, its first half for CMAC and its
// second for CTR. Tokens use 64: AES-256 in both halves.
func newSIV(key []byte) (*siv, error) {
	half := len(key) / 2
	mac, err1 := aes.NewCipher(key[:half])
	ctr, err2 := aes.NewCipher(key[half:])
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("an AES-SIV key of %d bytes: %w; use 64", len(key), err)
	}
	s := &siv{mac: mac, ctr: ctr}
	mac.Encrypt(s.k1[:], s.k1[:])
	s.k1.double()
	s.k2 = s.k1
	s.k2.double()
	w := new(blocks)
	s.cmac(w, w.d[:])
	s.zero = w.x
	return s, nil
}

// cmac leaves AES-CMAC (RFC 4493, NIST SP 800-38B) of p in w.x.
func (s *siv) cmac(w *blocks, p []byte) {
	w.x = block{}
	for len(p) > 16 {
		w.x.xor((*block)(p))
		s.mac.Encrypt(w.x[:], w.x[:])
		p = p[16:]
	}
	s.cmacLast(w, p)
}

// cmacLast takes in the last 0 to 16 bytes.
func (s *siv) cmacLast(w *blocks, p []byte) {
	if len(p) == 16 {
		w.x.xor((*block)(p))
		w.x.xor(&s.k1)
	} else {
		for i, c := range p {
			w.x[i] ^= c
		}
		w.x[len(p)] ^= 0x80
		w.x.xor(&s.k2)
	}
	s.mac.Encrypt(w.x[:], w.x[:])
}

// s2v leaves the synthetic IV of p and its associated data in w.x (RFC 5297 §2.4).
func (s *siv) s2v(w *blocks, p []byte, ad [][]byte) {
	w.d = s.zero
	for _, a := range ad {
		s.cmac(w, a)
		w.d.double()
		w.d.xor(&w.x)
	}
	if len(p) < 16 {
		w.d.double()
		for i, c := range p {
			w.d[i] ^= c
		}
		w.d[len(p)] ^= 0x80
		s.cmac(w, w.d[:])
		return
	}
	// The 16 bytes that end p are combined with D; they may lie across two blocks.
	over := len(p) % 16
	body := p[:len(p)-16-over]
	w.x = block{}
	for len(body) > 0 {
		w.x.xor((*block)(body))
		s.mac.Encrypt(w.x[:], w.x[:])
		body = body[16:]
	}
	end := p[len(p)-16-over:]
	w.tail0 = block(end)
	if over == 0 {
		w.tail0.xor(&w.d)
		s.cmacLast(w, w.tail0[:])
		return
	}
	w.tail1 = block{}
	copy(w.tail1[:], end[16:])
	for i := range 16 - over {
		w.tail0[over+i] ^= w.d[i]
	}
	for i := range over {
		w.tail1[i] ^= w.d[16-over+i]
	}
	w.x.xor(&w.tail0)
	s.mac.Encrypt(w.x[:], w.x[:])
	s.cmacLast(w, w.tail1[:over])
}

// xorStream encrypts or decrypts p in place, from the counter that iv begins
// (RFC 5297 §2.5).
func (s *siv) xorStream(w *blocks, iv *block, p []byte) {
	w.counter = *iv
	w.counter[8] &= 0x7f
	w.counter[12] &= 0x7f
	// Bit 31 is clear, so that fewer than 2^31 blocks never carry out of the
	// last 32 bits.
	n := binary.BigEndian.Uint32(w.counter[12:])
	for len(p) >= 16 {
		s.ctr.Encrypt(w.stream[:], w.counter[:])
		(*block)(p).xor(&w.stream)
		p = p[16:]
		n++
		binary.BigEndian.PutUint32(w.counter[12:], n)
	}
	if len(p) > 0 {
		s.ctr.Encrypt(w.stream[:], w.counter[:])
		for i := range p {
			p[i] ^= w.stream[i]
		}
	}
}

// seal encrypts p in place and writes its synthetic IV to iv.
func (s *siv) seal(w *blocks, iv *block, p []byte, ad ...[]byte) {
	s.s2v(w, p, ad)
	*iv = w.x
	s.xorStream(w, iv, p)
}

// open decrypts p in place and reports whether it is what seal made of iv. If
// not, p is cleared.
func (s *siv) open(w *blocks, iv *block, p []byte, ad ...[]byte) bool {
	s.xorStream(w, iv, p)
	s.s2v(w, p, ad)
	if subtle.ConstantTimeCompare(w.x[:], iv[:]) != 1 {
		clear(p)
		return false
	}
	return true
}

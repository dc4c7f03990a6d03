package obfuscate

import (
	"slices"

	"github.com/isogate/isogate"
)

const (
	tokenPrefix = "igt1" // version 1; a later version ends in 8, 9 or 0
	tokenLetter = 't'
	hashPrefix  = "igh1"
	tagSize     = 4
	ivSize      = 16
	headSize    = tagSize + ivSize
)

// MaxToken is the longest value, in bytes, that a token can hold. A longer one is hashed.
const MaxToken = 1<<20 - 1

// MaxTokenText is the length in characters of the longest token.
const MaxTokenText = len(tokenPrefix) + 1 + ((headSize+1<<20)*8+4)/5

// maxScalar is the longest number or bool, in bytes, that a text token holds.
const maxScalar = 63

// tokenLen is how many characters a token of a bucket has.
func tokenLen(bucket Bucket) int {
	return len(tokenPrefix) + 1 + Base32Len(headSize+bucket.Size())
}

// seal leaves tag, IV and ciphertext of value in s.buf.
func (k *tokenKey) seal(s *scratch, bucket Bucket, value []byte, kind isogate.Kind) {
	n := headSize + bucket.Size()
	b := slices.Grow(s.buf[:0], n)[:n]
	copy(b, k.tag[:])
	p := b[headSize:]
	Pad(p, copy(p, value), kind)
	k.siv.seal(&s.blocks, &s.iv, p)
	copy(b[tagSize:], s.iv[:])
	s.buf = b
}

// appendToken appends the token of value. It reports false, with nothing
// appended, for a value that no bucket holds.
//
// promise: P37 P38
func (k *tokenKey) appendToken(dst []byte, s *scratch, value []byte, kind isogate.Kind) ([]byte, bool) {
	bucket, ok := BucketFor(len(value))
	if !ok {
		return dst, false
	}
	k.seal(s, bucket, value, kind)
	dst = slices.Grow(dst, tokenLen(bucket))
	dst = append(dst, tokenPrefix...)
	dst = append(dst, bucket.Char())
	return AppendBase32(dst, s.buf), true
}

// opened is a value that was found in a token.
type opened struct {
	label isogate.Label
	kind  isogate.Kind
	value []byte // in the scratch; valid until its next use
}

// open turns back the characters behind the bucket's, whose tag k was found by.
// It reports false for what was not minted under k or a key with the same tag.
func (k *tokenKey) open(s *scratch, bucket Bucket, body []byte) (opened, bool) {
	for ; k != nil; k = k.next {
		b, ok := DecodeBase32(slices.Grow(s.buf[:0], headSize+bucket.Size()), body)
		s.buf = b
		if !ok {
			return opened{}, false
		}
		s.iv = block(b[tagSize:])
		if k.siv.open(&s.blocks, &s.iv, b[headSize:]) {
			value, kind, ok := Unpad(b[headSize:])
			return opened{label: k.label, kind: kind, value: value}, ok
		}
	}
	return opened{}, false
}

// tagChars is how many characters hold the tag.
const tagChars = (tagSize*8 + 4) / 5

// keyOf looks up the key by the tag at the beginning of body, whose first
// tagChars characters are of the alphabet.
func (o *Obfuscator) keyOf(body []byte) (*tokenKey, bool) {
	var acc uint64
	for _, c := range body[:tagChars] {
		acc = acc<<5 | uint64(base32Value(c))
	}
	k, ok := o.tags[uint32(acc>>(tagChars*5-tagSize*8))] // 32 bits are left
	return k, ok
}

package obfuscate

import (
	"slices"

	"github.com/isogate/isogate"
)

const (
	tokenPrefix = "igt1" // version 1; a later version ends in 8, 9 or 0
	hashPrefix  = "igh1"
	tagSize     = 4
	ivSize      = 16
	headSize    = tagSize + ivSize
)

// buckets are the lengths in bytes that a padded value can have. There are as
// many as base32 has characters, and the index is one character of the token.
// All are multiples of the cipher's block.
var buckets = [32]int{
	16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768,
	1 << 10, 3 << 9, 1 << 11, 3 << 10, 1 << 12, 3 << 11, 1 << 13, 3 << 12, 1 << 14, 3 << 13,
	1 << 15, 3 << 14, 1 << 16, 3 << 15, 1 << 17, 3 << 16, 1 << 18, 3 << 17, 1 << 19, 3 << 18, 1 << 20,
}

// MaxToken is the longest value, in bytes, that a token can hold. A longer one is hashed.
const MaxToken = 1<<20 - 1

// MaxTokenText is the length in characters of the longest token.
const MaxTokenText = len(tokenPrefix) + 1 + ((headSize+1<<20)*8+4)/5

// maxScalar is the longest number or bool, in bytes, that a text token holds.
const maxScalar = 63

// bucketFor returns the smallest bucket that holds n bytes and the marker.
func bucketFor(n int) (int, bool) {
	for i, size := range buckets {
		if n < size {
			return i, true
		}
	}
	return 0, false
}

// tokenLen is how many characters a token of a bucket has.
func tokenLen(bucket int) int {
	return len(tokenPrefix) + 1 + encodedLen(headSize+buckets[bucket])
}

// The value in a token is followed by one byte that says its kind, and by zeros
// up to the bucket (ISO/IEC 7816-4 padding with room for the kind).
const (
	markBool   = 0x81
	markNumber = 0x82
	markString = 0x83
)

func markOf(k isogate.Kind) byte {
	switch k {
	case isogate.Bool:
		return markBool
	case isogate.Number:
		return markNumber
	default:
		return markString
	}
}

// seal leaves tag, IV and ciphertext of value in s.buf.
func (k *tokenKey) seal(s *scratch, bucket int, value []byte, kind isogate.Kind) {
	n := headSize + buckets[bucket]
	b := slices.Grow(s.buf[:0], n)[:n]
	copy(b, k.tag[:])
	p := b[headSize:]
	m := copy(p, value)
	p[m] = markOf(kind)
	clear(p[m+1:])
	k.siv.seal(&s.blocks, &s.iv, p)
	copy(b[tagSize:], s.iv[:])
	s.buf = b
}

// unpad splits what was sealed into the value and its kind.
func unpad(p []byte) ([]byte, isogate.Kind, bool) {
	end := len(p)
	for end > 0 && p[end-1] == 0 {
		end--
	}
	if end == 0 {
		return nil, isogate.Null, false
	}
	end--
	switch p[end] {
	case markBool:
		return p[:end], isogate.Bool, true
	case markNumber:
		return p[:end], isogate.Number, true
	case markString:
		return p[:end], isogate.String, true
	}
	return nil, isogate.Null, false
}

// appendToken appends the token of value. It reports false, with nothing
// appended, for a value that no bucket holds.
//
// promise: P37 P38
func (k *tokenKey) appendToken(dst []byte, s *scratch, value []byte, kind isogate.Kind) ([]byte, bool) {
	bucket, ok := bucketFor(len(value))
	if !ok {
		return dst, false
	}
	k.seal(s, bucket, value, kind)
	dst = slices.Grow(dst, tokenLen(bucket))
	dst = append(dst, tokenPrefix...)
	dst = append(dst, bucketChar(bucket))
	return appendBase32(dst, s.buf), true
}

func bucketChar(i int) byte {
	if i < 26 {
		return byte('a' + i) //nolint:gosec // at most 25
	}
	return byte('2' + i - 26) //nolint:gosec // at most 31
}

// opened is a value that was found in a token.
type opened struct {
	label isogate.Label
	kind  isogate.Kind
	value []byte // in the scratch; valid until its next use
}

// open turns back the characters behind the bucket's, whose tag k was found by.
// It reports false for what was not minted under k or a key with the same tag.
func (k *tokenKey) open(s *scratch, bucket int, body []byte) (opened, bool) {
	for ; k != nil; k = k.next {
		b, ok := decodeBase32(slices.Grow(s.buf[:0], headSize+buckets[bucket]), body)
		s.buf = b
		if !ok {
			return opened{}, false
		}
		s.iv = block(b[tagSize:])
		if k.siv.open(&s.blocks, &s.iv, b[headSize:]) {
			value, kind, ok := unpad(b[headSize:])
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

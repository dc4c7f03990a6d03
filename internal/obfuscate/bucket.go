package obfuscate

import "github.com/isogate/isogate"

// buckets are the lengths in bytes that a padded value can have. There are as
// many as base32 has characters. All are multiples of the cipher's block.
var buckets = [32]int{
	16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768,
	1 << 10, 3 << 9, 1 << 11, 3 << 10, 1 << 12, 3 << 11, 1 << 13, 3 << 12, 1 << 14, 3 << 13,
	1 << 15, 3 << 14, 1 << 16, 3 << 15, 1 << 17, 3 << 16, 1 << 18, 3 << 17, 1 << 19, 3 << 18, 1 << 20,
}

// Bucket is how long a padded value is: one of 32 sizes, so that its length says
// little about the value's. Written, it is one character of base32.
type Bucket uint8

// BucketFor returns the smallest bucket that holds n bytes and the mark of their
// kind. None holds more than [MaxToken].
func BucketFor(n int) (Bucket, bool) {
	for i, size := range buckets {
		if n < size {
			return Bucket(i), true
		}
	}
	return 0, false
}

// BucketOf reads a bucket's character, in any case of letters.
func BucketOf(c byte) (Bucket, bool) {
	v := base32Value(c)
	return Bucket(v), v != notBase32
}

// Size is the bucket's length in bytes.
func (b Bucket) Size() int { return buckets[b] }

// Char is the character that stands for the bucket.
func (b Bucket) Char() byte {
	if b < 26 {
		return byte('a' + b)
	}
	return byte('2' + b - 26)
}

// A padded value is followed by one byte that says its kind, and by zeros up to
// the bucket (ISO/IEC 7816-4 padding with room for the kind).
const (
	markBool   = 0x81
	markNumber = 0x82
	markString = 0x83
)

// Pad fills p, whose first n bytes are a value of this kind, behind them. There
// must be room for one byte at least.
func Pad(p []byte, n int, kind isogate.Kind) {
	switch kind {
	case isogate.Bool:
		p[n] = markBool
	case isogate.Number:
		p[n] = markNumber
	default:
		p[n] = markString
	}
	clear(p[n+1:])
}

// Unpad splits what was padded into the value, which is part of p, and its kind.
func Unpad(p []byte) ([]byte, isogate.Kind, bool) {
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

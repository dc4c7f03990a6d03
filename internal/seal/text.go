package seal

import "github.com/isogate/isogate/internal/obfuscate"

const (
	prefix = "igs1" // version 1; a later version ends in 8, 9 or 0
	letter = 's'
)

// MaxText is the length in characters of the longest seal.
const MaxText = len(prefix) + 1 + ((headSize+1<<20+tagSize)*8+4)/5

// rawLen is how many bytes a seal of a bucket has.
func rawLen(b obfuscate.Bucket) int { return headSize + b.Size() + tagSize }

// textLen is how many characters a seal of a bucket has.
func textLen(b obfuscate.Bucket) int { return len(prefix) + 1 + obfuscate.Base32Len(rawLen(b)) }

// hasPrefix reports whether text begins with a seal's prefix, in any case of letters.
func hasPrefix(text []byte) bool {
	return len(text) >= len(prefix) && text[0]|0x20 == 'i' && text[1]|0x20 == 'g' && text[2]|0x20 == letter && text[3] == '1'
}

// AppendText appends the text of a seal that is decoded, as [Opener] is given it:
// the spelling that every gateway writes. It reports false if raw has no seal's length.
func AppendText(dst, raw []byte) ([]byte, bool) {
	bucket, ok := obfuscate.BucketFor(len(raw) - headSize - tagSize - 1)
	if !ok || rawLen(bucket) != len(raw) {
		return dst, false
	}
	dst = append(append(dst, prefix...), bucket.Char())
	return obfuscate.AppendBase32(dst, raw), true
}

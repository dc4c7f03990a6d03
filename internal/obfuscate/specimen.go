package obfuscate

import (
	"slices"
	"strings"

	"github.com/isogate/isogate"
)

// A specimen shows what a seal looks like where there is no landing and no seal
// key: in previews and in the tests of packs.
const (
	sealPrefix   = "igs1"
	sealOverhead = 16 + 12 + 16       // bytes: the key's id, nonce and tag
	sealHead     = 4 + 1              // bytes before label and value: age, length of the label
	specimenHome = "\x00\x00\x00\x00" // no landing has it
)

// Specimen appends a text with the form, the length and the alphabet of the seal
// of a value under v's label. Unlike a seal it is the same for the same value, so
// that previews are; nothing opens it. It reports false, with nothing appended,
// for a value that is too long for a seal and for a label without keys.
func (o *Obfuscator) Specimen(dst []byte, v *isogate.Verdict, val isogate.Value) ([]byte, bool) {
	keys := o.labels[v.Label]
	bucket, ok := BucketFor(sealHead + len(v.Label) + len(val.Text))
	if keys == nil || !ok {
		return dst, false
	}
	s := o.borrow()
	defer o.giveBack(s)
	// What a token has for IV and ciphertext is as good as random to who has no key.
	keys.token.seal(s, bucket, val.Text, val.Kind)
	iv, text := s.buf[tagSize:headSize], s.buf[headSize:]
	raw := slices.Concat([]byte(specimenHome), iv[:12], []byte{0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1}, text, iv)
	dst = append(dst, sealPrefix...)
	dst = append(dst, bucket.Char())
	return AppendBase32(dst, raw), true
}

// IsSeal reports whether a text has the form of one seal, or of a specimen of one.
func IsSeal(s string) bool {
	body, ok := strings.CutPrefix(s, sealPrefix)
	if !ok || body == "" {
		return false
	}
	bucket, ok := BucketOf(body[0])
	return ok && len(body) == 1+Base32Len(sealOverhead+bucket.Size()) && Base32Run([]byte(body)) == len(body)
}

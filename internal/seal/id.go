package seal

import (
	"crypto/sha256"
	"fmt"

	"github.com/isogate/isogate/internal/obfuscate"
)

func appendID(dst []byte, id ID) []byte { return obfuscate.AppendBase32(dst, id[:]) }

func parseID(s string) (id ID, err error) {
	if !parseBase32(id[:], s) {
		return ID{}, fmt.Errorf("%.40q is no id of a seal key, which has %d characters a-z and 2-7", s, IDChars)
	}
	return id, nil
}

func epochText(e EpochID) string { return string(obfuscate.AppendBase32(nil, e[:])) }

func parseEpochID(s string) (e EpochID, err error) {
	if !parseBase32(e[:], s) {
		return EpochID{}, fmt.Errorf("%.40q is no id of an epoch, which has %d characters a-z and 2-7", s, obfuscate.Base32Len(len(e)))
	}
	return e, nil
}

// parseBase32 fills dst from s, which must be the one spelling of it.
func parseBase32(dst []byte, s string) bool {
	if len(s) != obfuscate.Base32Len(len(dst)) {
		return false
	}
	b, ok := obfuscate.DecodeBase32(make([]byte, 0, len(dst)), []byte(s))
	if !ok || string(obfuscate.AppendBase32(nil, b)) != s {
		return false
	}
	copy(dst, b)
	return true
}

// keySize is the size of a seal key in bytes.
const keySize = 32

// commit computes the ID of key in context at home:
//
//	home ‖ first 12 bytes of SHA-256(key ‖ "isogate/seal/id/v1", zeros to 32 bytes ‖ home ‖ context)
//
// A collision-resistant hash of the key and of an injective encoding commits to
// both, which AES-GCM does not: one text that opens under two keys would need two
// keys with the same ID. It is not HKDF because HMAC would leave the key in the
// buffers of two hash states. Here the key fills the first block of a buffer that
// is wiped, and is read from there.
func commit(key *[keySize]byte, home [4]byte, context []byte) ID {
	b := make([]byte, 64, 64+len(home)+len(context))
	copy(b, key[:])
	copy(b[keySize:], "isogate/seal/id/v1")
	b = append(append(b, home[:]...), context...)
	sum := sha256.Sum256(b)
	clear(b[:keySize])
	var id ID
	copy(id[copy(id[:], home[:]):], sum[:])
	return id
}

// epochID names an epoch by its public half.
func epochID(public []byte) EpochID {
	sum := sha256.Sum256(append([]byte("isogate/seal/epoch/v1"), public...))
	return EpochID(sum[:8])
}

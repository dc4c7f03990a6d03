package access

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
)

// Digest is the SHA-256 of a secret, in lower-case hexadecimal. It is what the journal
// and the state know of a session, a token or a link, and its name there: it opens
// nothing. The empty digest is that of no secret.
type Digest string

// DigestOf is the digest of a secret as a browser or a program sends it.
func DigestOf(secret string) Digest {
	sum := sha256.Sum256([]byte(secret))
	return Digest(hex.EncodeToString(sum[:]))
}

// TokenPrefix is what every API token begins with, so that those who look for lost
// secrets know one when they see it.
const TokenPrefix = "igt_"

// newSecret makes a secret of 256 bits that survives URLs, headers and cookies.
func newSecret(prefix string) (string, Digest) {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	s := prefix + base64.RawURLEncoding.EncodeToString(b[:])
	return s, DigestOf(s)
}

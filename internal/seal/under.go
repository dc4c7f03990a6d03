package seal

import "errors"

// underSize is the size in bytes of a key that is encrypted under another one.
const underSize = nonceSize + keySize + tagSize

// WrapUnder appends key encrypted under w, with AES-256-GCM and a random nonce,
// bound to aad. Both keys may lie outside the Go heap; of neither does a copy or a
// key schedule stay behind. Use one w for fewer than 2^32 keys (NIST SP 800-38D, 8.3).
func WrapUnder(dst []byte, w, key *[keySize]byte, aad []byte) ([]byte, error) {
	gcm, err := newGCM(w)
	if err != nil {
		return dst, err
	}
	defer wipeGCM(gcm)
	var b [underSize]byte
	random(b[:nonceSize])
	plain := b[nonceSize : nonceSize+keySize]
	copy(plain, key[:])
	gcm.Seal(plain[:0], b[:nonceSize], plain, aad) // the ciphertext takes the plaintext's place
	return append(dst, b[:]...), nil
}

// UnwrapUnder leaves in key what [WrapUnder] made from it. It fails for anything
// else, and then leaves key zero.
func UnwrapUnder(w, key *[keySize]byte, wrapped, aad []byte) error {
	clear(key[:])
	if len(wrapped) != underSize {
		return errDamaged
	}
	gcm, err := newGCM(w)
	if err != nil {
		return err
	}
	defer wipeGCM(gcm)
	if _, err := gcm.Open(key[:0], wrapped[:nonceSize], wrapped[nonceSize:], aad); err != nil {
		clear(key[:])
		return errors.New("seal: the wrapped key does not belong to the key it is under, or to its context")
	}
	return nil
}

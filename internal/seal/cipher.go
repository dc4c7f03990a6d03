package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"reflect"
	"unsafe"
)

// Sizes of a seal's parts, in bytes.
const (
	nonceSize = 12
	tagSize   = 16
	headSize  = len(ID{}) + nonceSize
)

// newGCM makes a cipher of key. What it has of the key, in whatever form, is
// wiped by wipeGCM and nothing else: the standard library keeps key schedules in
// objects of its own, which it leaves to the garbage collector as they are.
func newGCM(key *[keySize]byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	overwrite(block) // the GCM has copied it
	return gcm, err
}

// wipeGCM overwrites the key schedule and the table made of it. The cipher must
// not be used any more: it would go on, with a key that everybody knows.
func wipeGCM(gcm cipher.AEAD) { overwrite(gcm) }

// overwrite clears the object that p points to. That is safe for one that holds
// no pointers, as TestCiphersHoldNoPointers sees of those that are given here.
func overwrite(p any) {
	v := reflect.ValueOf(p)
	clear(unsafe.Slice((*byte)(v.UnsafePointer()), v.Type().Elem().Size())) //nolint:gosec // there is no other way to a key schedule of the standard library
}

// random fills b. It never fails: crypto/rand ends the process first.
func random(b []byte) { _, _ = rand.Read(b) }

var errDamaged = errors.New("seal: changed, cut, or of another key or context")

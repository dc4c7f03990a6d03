package vault

import (
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"
)

// boxID names a member's box: the beginning of a hash of its public half.
type boxID [8]byte

// box is a key pair to which the other members seal what is for this one only: keys,
// and values on their way to a page. It is in memory only, and like an epoch it
// lives for minutes: who has recorded what was sealed to it, and takes every disk
// later, opens nothing.
//
// It is HPKE (RFC 9180) with MLKEM768-X25519, HKDF-SHA256 and AES-256-GCM.
type box struct {
	id      boxID
	public  []byte
	private hpke.PrivateKey
	from    time.Duration // of the boot clock
}

// boxes are a member's, the newest last; each is used for one life and opens for two.
type boxes struct {
	life time.Duration

	mu    sync.RWMutex // guards what follows
	alive []*box
}

// renew makes a new box if it is time, and forgets those that are over.
func (bs *boxes) renew(now instant) error {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	for len(bs.alive) > 0 && now.boot >= bs.alive[0].from+2*bs.life {
		bs.alive[0].private = nil
		bs.alive = bs.alive[1:]
	}
	if n := len(bs.alive); n > 0 && now.boot < bs.alive[n-1].from+bs.life {
		return nil
	}
	private, err := hpke.MLKEM768X25519().GenerateKey()
	if err != nil {
		return fmt.Errorf("vault: make a box: %w", err)
	}
	public := private.PublicKey().Bytes()
	bs.alive = append(bs.alive[:len(bs.alive):len(bs.alive)], &box{id: boxOf(public), public: public, private: private, from: now.boot})
	return nil
}

// forget destroys all boxes.
func (bs *boxes) forget() {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	for _, b := range bs.alive {
		b.private = nil
	}
	bs.alive = nil
}

// public is the public half of the newest box.
func (bs *boxes) public() []byte {
	bs.mu.RLock()
	defer bs.mu.RUnlock()
	if len(bs.alive) == 0 {
		return nil
	}
	return bs.alive[len(bs.alive)-1].public
}

func boxOf(public []byte) boxID {
	sum := sha256.Sum256(append([]byte("isogate/landing/box/v1"), public...))
	return boxID(sum[:8])
}

// boxInfo binds what is sealed to its use.
func boxInfo(use string) []byte { return []byte("isogate/landing/box/v1 " + use) }

// sealTo seals plain to a box, for one use.
func sealTo(public []byte, use string, plain []byte) ([]byte, error) {
	p, err := hpke.MLKEM768X25519().NewPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("vault: the box of a peer: %w", err)
	}
	sealed, err := hpke.Seal(p, hpke.HKDFSHA256(), hpke.AES256GCM(), boxInfo(use), plain)
	if err != nil {
		return nil, fmt.Errorf("vault: seal to the box of a peer: %w", err)
	}
	id := boxOf(public)
	return append(id[:], sealed...), nil
}

var errBox = errors.New("vault: it is sealed to no box of this landing's that is open, or was changed")

// open opens what was sealed for a use. The caller wipes it.
func (bs *boxes) open(use string, sealed []byte) ([]byte, error) {
	if len(sealed) < len(boxID{}) {
		return nil, errBox
	}
	bs.mu.RLock()
	defer bs.mu.RUnlock()
	for _, b := range bs.alive {
		if b.id != boxID(sealed) || b.private == nil {
			continue
		}
		plain, err := hpke.Open(b.private, hpke.HKDFSHA256(), hpke.AES256GCM(), boxInfo(use), sealed[len(boxID{}):])
		if err != nil {
			clear(plain)
			return nil, errBox
		}
		return plain, nil
	}
	return nil, errBox
}

// newInstance names one start of a member.
func newInstance() string { return rand.Text() }

// newHome is the beginning of the IDs of the keys of one start of a member. That two
// are alike is seen when it is entered.
func newHome() (home [4]byte) {
	for home == [4]byte{} {
		_, _ = rand.Read(home[:]) // it never fails: it ends the process first
	}
	return home
}

package seal

import (
	"bytes"
	"crypto/hpke"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
)

// PublicSize is the size in bytes of an epoch's public half: ML-KEM-768 and X25519.
const PublicSize = 1184 + 32

// wrappedSize is the size in bytes of a wrapped key: the encapsulation
// (ML-KEM-768 ciphertext and X25519 point), the key, and the tag.
const wrappedSize = 1088 + 32 + keySize + tagSize

// Epoch is a key pair of the landing side, in memory only and for minutes. Once
// it is destroyed, who has recorded all that was sent and takes the landing
// side's disk can unwrap nothing. It is safe for concurrent use and prints as REDACTED.
type Epoch struct {
	id     EpochID
	public []byte

	mu      sync.RWMutex // guards private
	private hpke.PrivateKey
}

// NewEpoch makes a key pair: HPKE (RFC 9180) with MLKEM768-X25519, HKDF-SHA256
// and AES-256-GCM.
func NewEpoch() (*Epoch, error) {
	private, err := hpke.MLKEM768X25519().GenerateKey()
	if err != nil {
		return nil, fmt.Errorf("seal: epoch key: %w", err)
	}
	return newEpoch(private), nil
}

func newEpoch(private hpke.PrivateKey) *Epoch {
	public := private.PublicKey().Bytes()
	return &Epoch{id: epochID(public), public: public, private: private}
}

// ID names the epoch.
func (e *Epoch) ID() EpochID { return e.id }

// Public is the public half, [PublicSize] bytes. It must not be changed.
func (e *Epoch) Public() []byte { return e.public }

// Unwrap leaves the key that a brings in key, which may lie outside the Go heap,
// having checked that it is wrapped to this epoch, for exactly a's context and ID,
// and that the ID commits to both. It fails for anything else, and for a
// destroyed epoch, and then leaves key zero. Of the key itself no copy stays
// behind.
//
// What the standard library derives on the way, with which the wrapped key could
// be opened again, it leaves to the garbage collector as it leaves the epoch's
// private half: who can read this process's memory and has recorded the request
// finds the key until that memory is used again.
func (e *Epoch) Unwrap(a Arrival, key *[32]byte) (err error) {
	clear(key[:])
	if err := a.Context.Check(); err != nil {
		return err
	}
	if a.Epoch != e.id {
		return errors.New("seal: the key is wrapped to another epoch")
	}
	if len(a.Wrapped) != wrappedSize {
		return fmt.Errorf("seal: the wrapped key has %d bytes, not %d", len(a.Wrapped), wrappedSize)
	}
	context := a.Context.append(make([]byte, 0, maxContext))
	info := wrapInfo(append(context, a.ID[:]...), e.id)
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.private == nil {
		return errors.New("seal: the epoch is over")
	}
	plain, err := hpke.Open(e.private, hpke.HKDFSHA256(), hpke.AES256GCM(), info, a.Wrapped)
	if err != nil || len(plain) != keySize {
		clear(plain)
		return errors.New("seal: the wrapped key does not belong to its epoch, context and id")
	}
	copy(key[:], plain)
	clear(plain)
	if commit(key, a.ID.Home(), context) != a.ID {
		clear(key[:])
		return errors.New("seal: the id does not commit to the key")
	}
	return nil
}

// Destroy forgets the private half.
func (e *Epoch) Destroy() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.private = nil
}

// wrapper is the public half of an epoch, ready to wrap keys to: expanding it is an
// eighth of the work of wrapping one key. The zero wrapper is of none.
type wrapper struct {
	public []byte
	key    hpke.PublicKey
}

func newWrapper(public []byte) (wrapper, error) {
	key, err := hpke.MLKEM768X25519().NewPublicKey(public)
	if err != nil {
		return wrapper{}, err
	}
	return wrapper{bytes.Clone(public), key}, nil
}

// wrapTo encapsulates key to a statement's epoch. A statement that was changed since
// it was opened is taken as it is now.
func (s *Statement) wrapTo(info []byte, key *[keySize]byte) ([]byte, error) {
	w := s.ready
	if w.key == nil || !bytes.Equal(w.public, s.Public) {
		var err error
		if w, err = newWrapper(s.Public); err != nil {
			return nil, err
		}
	}
	return w.wrap(info, key)
}

func (w wrapper) wrap(info []byte, key *[keySize]byte) ([]byte, error) {
	return hpke.Seal(w.key, hpke.HKDFSHA256(), hpke.AES256GCM(), info, key[:])
}

// wrapInfo is what a wrapped key is bound to: context and ID, and the epoch.
func wrapInfo(contextAndID []byte, e EpochID) []byte {
	const use = "isogate/seal/key/v1"
	b := make([]byte, 0, 2+len(use)+len(contextAndID)+len(e))
	b = binary.BigEndian.AppendUint16(b, uint16(len(use)))
	b = append(append(b, use...), contextAndID...)
	return append(b, e[:]...)
}

// LogValue implements [slog.LogValuer].
func (*Epoch) LogValue() slog.Value { return slog.StringValue(redacted) }

func (*Epoch) String() string { return redacted }

// Format implements [fmt.Formatter], so that no verb reaches a key.
func (*Epoch) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(redacted)) }

// MarshalText implements [encoding.TextMarshaler].
func (*Epoch) MarshalText() ([]byte, error) { return []byte(redacted), nil }

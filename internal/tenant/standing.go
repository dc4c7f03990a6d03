package tenant

import "errors"

// Standing is what may be told of a keyring: whoever reads it learns no key.
type Standing struct {
	// IDs are the keys that may still read, the primary first; as [Keyring.IDs].
	IDs []uint32
	// Wrapped says that a key-encryption key guards the keys at rest.
	Wrapped bool
	// Stale is [Keyring.Stale].
	Stale bool
	// Trouble is why the keys on disk could not be opened just now: files that are gone or
	// that others can reach, or a key-encryption key that was withdrawn. What is in
	// memory goes on until the process ends.
	Trouble error
}

// Standing looks at the keyring on disk, as [Config.Open] would, and takes nothing of
// it. Where the keys are wrapped it asks the key-encryption key once.
//
// promise: P42
func (k *Keyring) Standing() Standing {
	s := Standing{IDs: k.IDs(), Wrapped: k.cfg.KEK != nil, Stale: k.Stale()}
	if len(s.IDs) == 0 {
		s.Trouble = errors.New("keyring: not open; use Open")
		return s
	}
	_, s.Trouble = k.cfg.Open()
	return s
}

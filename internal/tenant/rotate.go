package tenant

import (
	"errors"
	"fmt"
	"slices"
)

// Rotate adds a key and makes it the primary: it mints from now on, and the
// older ones go on reading. The new keyring is on disk before Rotate returns;
// after an error the old one stays in force here. What was derived before (an
// obfuscator) has to be made anew. Processes that rotate at once do so one after
// the other.
//
// promise: P37 — what was minted under the older keys stays readable.
func (k *Keyring) Rotate() error {
	return k.replace(func(d *dir) (*state, error) {
		if err := d.lock(); err != nil {
			return nil, err
		}
		// Not from memory: another process may have rotated meanwhile.
		s, err := k.cfg.readKeyset(d)
		if err != nil {
			return nil, err
		}
		if s, err = s.rotated(); err != nil {
			return nil, fmt.Errorf("%s: rotate: %w", d.path, err)
		}
		if err := k.cfg.writeKeyset(d, s.handle); err != nil {
			return nil, err
		}
		return k.cfg.readKeyset(d)
	})
}

// Stale reports whether the keyset on disk is not the one in memory any more:
// another process has rotated, or the file cannot be reached. It costs one call
// of the system and reads nothing.
func (k *Keyring) Stale() bool {
	s := k.state.Load()
	return s == nil || markOf(k.cfg.Dir, keysetFile) != s.mark
}

// Reload reads the keyset again and reports whether it is another one. After an
// error the old one stays in force. A keyset that has lost a key which is in
// force here is refused: it was put back from before a rotation, and what was
// minted since could not be read any more.
func (k *Keyring) Reload() (changed bool, err error) {
	before := k.IDs()
	err = k.replace(k.cfg.readKeyset)
	return !slices.Equal(before, k.IDs()), err
}

// replace puts the state that next makes in the place of the present one.
func (k *Keyring) replace(next func(*dir) (*state, error)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.state.Load()
	if now == nil {
		return errors.New("keyring: not open; use Open")
	}
	d, err := openDir(k.cfg.Dir)
	if err != nil {
		return err
	}
	defer d.close()
	s, err := next(d)
	if err != nil {
		return err
	}
	for _, id := range now.ids {
		if !slices.Contains(s.ids, id) {
			return fmt.Errorf("%s: has lost key %08x, which is in use; put the newer file back, or restart to go on without that key",
				d.file(keysetFile), id)
		}
	}
	k.state.Store(s)
	return nil
}

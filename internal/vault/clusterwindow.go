package vault

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/isogate/isogate/internal/seal"
)

const (
	// windowKeys is how many window keys a member has room for.
	windowKeys = 1 << 18
	// letterUse is what letters are sealed for.
	letterUse = "letter"
	// letterKeys is how many window keys are in one letter at the most.
	letterKeys = 1000
)

// letter is sealed to one member's box and left in the database.
type letter struct {
	to     string // instance
	sealed []byte
}

// windowID names a window key: the window's end, and who made the key.
type windowID struct {
	maker string
	ends  int64 // milliseconds since 1970
}

// windowKey is one under which temporary keys are encrypted in the database.
type windowKey struct {
	slot uint32
	end  instant // when it is wiped, by this member's clocks, whichever says so first
}

// windows are the keys under which temporary keys are in the shared database: one
// for each member and each window of time in which keys end. They are in the
// members' memory only, so that with the window's end everything under its key has
// ended too, wherever a copy of it is: in the database's log, in a backup.
//
// promise: P18, P41
type windows struct {
	mu    sync.Mutex // guards what follows
	arena *arena
	at    map[windowID]windowKey
}

func newWindows() (*windows, error) {
	a, err := newArena(windowKeys)
	if err != nil {
		return nil, err
	}
	return &windows{arena: a, at: map[windowID]windowKey{}}, nil
}

// windowOf is the end of the window in which a key ends that was made then: its own
// end, rounded up to a whole multiple of what [seal.Window] says, which is 1 to 30
// seconds.
func windowOf(made, ttl int64) int64 {
	window := seal.Window(time.Duration(ttl))
	width := max(window.Truncate(time.Second).Milliseconds(), 1000)
	end := made + (time.Duration(ttl) + window).Milliseconds()
	return (end + width - 1) / width * width
}

var errWindows = errors.New("there is no room for more window keys")

// use calls f with the key of a window, made now if there is none; fresh says so.
func (w *windows) use(id windowID, now instant, f func(key *[keySize]byte) error) (fresh bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k, ok := w.at[id]
	if !ok {
		slot, room := w.arena.take()
		if !room {
			return false, errWindows
		}
		key := w.arena.key(slot)
		_, _ = rand.Read(key[:]) // it never fails: it ends the process first
		end := time.Duration(id.ends) * time.Millisecond
		k = windowKey{slot: slot, end: instant{boot: now.boot + end - now.wall, wall: end}}
		w.at[id] = k
	}
	if k.end.passed(now) {
		return !ok, errors.New("the window is over")
	}
	return !ok, f(w.arena.key(k.slot))
}

// with calls f with a key that is here and lasts.
func (w *windows) with(id windowID, now instant, f func(key *[keySize]byte) error) (has bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k, ok := w.at[id]
	if !ok || k.end.passed(now) {
		return false, nil
	}
	return true, f(w.arena.key(k.slot))
}

// has reports whether a key is here.
func (w *windows) has(id windowID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, ok := w.at[id]
	return ok
}

// expire wipes the keys of windows that are over.
func (w *windows) expire(now instant) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, k := range w.at {
		if k.end.passed(now) {
			w.arena.give(k.slot)
			delete(w.at, id)
		}
	}
}

func (w *windows) close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = nil
	return w.arena.close()
}

// write makes letters to a peer of those keys that choose says. Times are by the
// peer's clock, which is at least so far ahead of ours.
func (w *windows) write(to *peer, use string, ahead time.Duration, choose func(windowID) bool) (post []letter, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var plain []byte
	defer func() { clear(plain[:cap(plain)]) }()
	n := 0
	flush := func() error {
		if n == 0 {
			return nil
		}
		sealed, err := sealTo(to.note.Box, use, plain)
		clear(plain)
		plain, n = plain[:0], 0
		if err == nil {
			post = append(post, letter{to.note.Instance, sealed})
		}
		return err
	}
	for id, k := range w.at {
		if !choose(id) {
			continue
		}
		if plain == nil {
			plain = make([]byte, 0, letterKeys*(17+keySize+32)) // it never grows, and leaves nothing behind
		}
		plain = append(append(plain, byte(len(id.maker))), id.maker...)        //nolint:gosec // 26 characters
		plain = binary.BigEndian.AppendUint64(plain, uint64(id.ends))          //nolint:gosec // read back as an int64
		plain = binary.BigEndian.AppendUint64(plain, uint64(k.end.boot+ahead)) //nolint:gosec // as above
		plain = append(plain, w.arena.key(k.slot)[:]...)
		if n++; n == letterKeys {
			if err := flush(); err != nil {
				return nil, err
			}
		}
	}
	return post, flush()
}

// read takes the keys of a letter.
func (w *windows) read(plain []byte, now instant) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(plain) > 0 {
		n := int(plain[0])
		if len(plain) < 1+n+16+keySize {
			return errors.New("vault: a letter of a peer is cut short")
		}
		id := windowID{maker: string(plain[1 : 1+n]), ends: int64(binary.BigEndian.Uint64(plain[1+n:]))} //nolint:gosec // written from an int64
		end := instant{boot: time.Duration(binary.BigEndian.Uint64(plain[9+n:])), wall: time.Duration(id.ends) * time.Millisecond}
		key := plain[17+n : 17+n+keySize]
		plain = plain[17+n+keySize:]
		if _, ok := w.at[id]; ok || end.passed(now) {
			continue
		}
		slot, room := w.arena.take()
		if !room {
			return fmt.Errorf("vault: a letter of a peer: %w", errWindows)
		}
		copy(w.arena.key(slot)[:], key)
		w.at[id] = windowKey{slot: slot, end: end}
	}
	return nil
}

package vault

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// keySize is the length of a seal key.
const keySize = 32

// arena is the memory that seal keys are in: one mapping outside of Go's heap,
// which no garbage collector copies, that is kept out of swap as far as the
// process may lock memory, out of core files, and out of children.
//
// Slots are handed out lowest first where none was given back, so that what is
// locked, which is the beginning, is what is used.
type arena struct {
	mem    []byte
	locked int // bytes, from the beginning

	mu   sync.Mutex // guards what follows
	free []uint32   // given back, wiped
	next uint32     // the lowest that was never handed out
}

// newArena maps room for n keys. Pages that are never written to take no memory.
func newArena(n int) (*arena, error) {
	mem, err := unix.Mmap(-1, 0, n*keySize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("vault: map %d bytes for %d keys: %w; lower the number of keys or free memory", n*keySize, n, err)
	}
	return &arena{mem: mem, locked: guard(mem)}, nil
}

// slots is how many keys there is room for.
func (a *arena) slots() int { return len(a.mem) / keySize }

// take hands out a slot, which is all zeros.
func (a *arena) take() (slot uint32, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := len(a.free); n > 0 {
		slot = a.free[n-1]
		a.free = a.free[:n-1]
		return slot, true
	}
	if int(a.next) >= a.slots() {
		return 0, false
	}
	a.next++
	return a.next - 1, true
}

// key is the key in a slot. It must not be used once the slot is given back.
func (a *arena) key(slot uint32) *[keySize]byte {
	at := int(slot) * keySize
	return (*[keySize]byte)(a.mem[at : at+keySize])
}

// give wipes a slot and takes it back.
func (a *arena) give(slot uint32) {
	clear(a.key(slot)[:])
	a.mu.Lock()
	a.free = append(a.free, slot)
	a.mu.Unlock()
}

// close wipes everything and gives the memory back.
func (a *arena) close() error {
	if a.mem == nil {
		return nil
	}
	a.mu.Lock()
	used := int(a.next) * keySize
	a.mu.Unlock()
	clear(a.mem[:used])
	mem := a.mem
	a.mem = nil
	return unix.Munmap(mem)
}

// lockStep is the piece in which memory is locked where it cannot be as a whole.
const lockStep = 256 << 10

// lockPrefix locks all of mem or, where the kernel refuses, as much of its
// beginning as it takes.
func lockPrefix(mem []byte, lock func([]byte) error) (locked int) {
	if lock(mem) == nil {
		return len(mem)
	}
	for locked < len(mem) {
		piece := mem[locked:min(locked+lockStep, len(mem))]
		if lock(piece) != nil {
			break
		}
		locked += len(piece)
	}
	return locked
}

package vault

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/seal"
)

// The shelf is where temporary keys outlive the process: a file of slots of 256
// bytes that are written and wiped in place. A database would be the wrong thing
// for it: its pages are copied, into a log, into pages that are free by now, and
// each copy would have to be found and wiped. Here a key is in one place.
//
//	slot 0   mark, boot id, the latest reading of both clocks, checksum
//	slot n   mark, checksum, the key and what it is for; all zeros: free
//
// What is written need not be synced: keys outlive the process only, not the boot
// of the machine, and so does what the kernel has in its cache. What is wiped is
// synced, and read back, before a receipt says so.
const (
	shelfName  = "keys"
	slotSize   = 256
	headMark   = "isogate-keep-1\n\x00"
	slotMark   = 0x31544b49 // "IKT1"
	maxBootID  = 64
	maxNameLen = 63
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// kept is a temporary key on the shelf.
type kept struct {
	id         seal.ID
	tenant     isogate.Tenant
	transit    isogate.Transit
	born, made int64 // as in record
	ttl        int64
	key        [keySize]byte
}

// shelf is the file.
type shelf struct {
	path string
	f    *os.File
	boot string

	mu     sync.Mutex // guards what follows
	at     map[seal.ID]int64
	free   []int64 // slots that were wiped
	next   int64   // the lowest that was never used
	wiped  []int64 // slots to wipe, or wiped and not known to be synced
	buf    [slotSize]byte
	failed bool // the last settling did
}

// openShelf opens the shelf in a directory, or makes one. It hands every key that
// may have outlived its process to take, which says whether it wants it kept, and
// wipes the others. Doubt is set where a clock says that this cannot be later than
// the process before: nothing is handed out then.
func openShelf(dir string, onDisk bool, boot string, now instant, take func(*kept) bool) (_ *shelf, doubt bool, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, false, fmt.Errorf("vault: %w; the directory for kept keys must be writable", err)
	}
	path := filepath.Join(dir, shelfName)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // the directory is configured
	if err != nil {
		return nil, false, fmt.Errorf("vault: %w; the directory for kept keys must be writable", err)
	}
	s := &shelf{path: path, f: f, boot: boot, at: map[seal.ID]int64{}, next: 1}
	defer func() {
		if err != nil {
			_ = f.Close()
			err = fmt.Errorf("vault: kept keys in %s: %w", path, err)
		}
	}()
	switch {
	case len(boot) > maxBootID:
		return nil, false, errors.New("the boot's id is too long")
	case !onDisk && !inMemory(f):
		return nil, false, errors.New("it is on a disk, where keys could be found after a power cut; name a directory on a file system in memory, such as one below /run, or keep no keys")
	}
	if err := lockFile(f); err != nil {
		return nil, false, err
	}
	same, doubt := s.readHead(now)
	if err := s.restore(same, take); err != nil {
		return nil, false, err
	}
	if err := s.settle(now); err != nil {
		return nil, false, err
	}
	return s, doubt, nil
}

// readHead reports whether the slots are of this boot and of an earlier time in it.
func (s *shelf) readHead(now instant) (same, doubt bool) {
	b := s.buf[:]
	defer clear(b)
	if _, err := s.f.ReadAt(b, 0); err != nil || string(b[:16]) != headMark ||
		binary.LittleEndian.Uint32(b[slotSize-4:]) != crc32.Checksum(b[:slotSize-4], castagnoli) {
		return false, false
	}
	n := int(b[16])
	if n > maxBootID || string(b[17:17+n]) != s.boot {
		return false, false
	}
	//nolint:gosec // written from an int64
	was := instant{boot: time.Duration(binary.LittleEndian.Uint64(b[88:])), wall: time.Duration(binary.LittleEndian.Uint64(b[96:]))}
	if now.boot < was.boot || now.wall < was.wall {
		return false, true
	}
	return true, false
}

// writeHead notes the time, which a later process must not be before.
func (s *shelf) writeHead(now instant) error {
	var b [slotSize]byte
	copy(b[:], headMark)
	b[16] = byte(len(s.boot)) //nolint:gosec // at most maxBootID
	copy(b[17:], s.boot)
	binary.LittleEndian.PutUint64(b[88:], uint64(now.boot)) //nolint:gosec // read back as an int64
	binary.LittleEndian.PutUint64(b[96:], uint64(now.wall)) //nolint:gosec // as above
	binary.LittleEndian.PutUint32(b[slotSize-4:], crc32.Checksum(b[:slotSize-4], castagnoli))
	_, err := s.f.WriteAt(b[:], 0)
	return err
}

// restore goes through the slots.
func (s *shelf) restore(same bool, take func(*kept) bool) error {
	info, err := s.f.Stat()
	if err != nil {
		return err
	}
	var k kept
	defer func() { clear(k.key[:]) }()
	defer clear(s.buf[:])
	end := (info.Size() + slotSize - 1) / slotSize
	for slot := int64(1); slot < end; slot++ {
		clear(s.buf[:])
		if _, err := s.f.ReadAt(s.buf[:], slot*slotSize); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		switch {
		case s.buf == [slotSize]byte{}:
			s.free = append(s.free, slot)
		case same && k.decode(&s.buf) && s.at[k.id] == 0 && take(&k):
			s.at[k.id] = slot
		default:
			s.wiped = append(s.wiped, slot)
		}
	}
	s.next = max(end, 1)
	return nil
}

// put keeps a key, or what has changed about one that is kept. It reads the key
// while it writes, and has no copy of it after.
func (s *shelf) put(k *kept, key *[keySize]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	slot, again := s.at[k.id]
	if !again {
		slot = s.place()
	}
	defer clear(s.buf[:])
	k.encode(&s.buf, key)
	if _, err := s.f.WriteAt(s.buf[:], slot*slotSize); err != nil {
		s.wiped = append(s.wiped, slot) // a part of it may be there
		delete(s.at, k.id)
		return fmt.Errorf("vault: keep a key in %s: %w; it ends with this process", s.path, err)
	}
	s.at[k.id] = slot
	return nil
}

// place takes a slot that is free.
func (s *shelf) place() int64 {
	if n := len(s.free); n > 0 {
		slot := s.free[n-1]
		s.free = s.free[:n-1]
		return slot
	}
	s.next++
	return s.next - 1
}

// wipe wipes a key. It reports whether there was one, whose receipt must wait for
// settle.
func (s *shelf) wipe(id seal.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	slot, ok := s.at[id]
	if !ok {
		return false
	}
	delete(s.at, id)
	s.wiped = append(s.wiped, slot)
	var zero [slotSize]byte
	_, _ = s.f.WriteAt(zero[:], slot*slotSize) // settle does it again, and says what fails
	return true
}

// settle notes the time and returns when everything that was wiped before the call
// is wiped on the disk too.
//
// promise: P18, P41
func (s *shelf) settle(now instant) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	// With nothing on the shelf there is no life that a clock could lengthen; the
	// time is noted all the same while the file is new.
	if len(s.at) > 0 || s.next == 1 || len(s.wiped) > 0 {
		if err := s.writeHead(now); err != nil {
			return s.alarm(err)
		}
	}
	if len(s.wiped) == 0 {
		s.failed = false
		return nil
	}
	var zero, is [slotSize]byte
	for _, slot := range s.wiped {
		if _, err := s.f.WriteAt(zero[:], slot*slotSize); err != nil {
			return s.alarm(err)
		}
	}
	if err := s.f.Sync(); err != nil {
		return s.alarm(err)
	}
	for _, slot := range s.wiped {
		if _, err := s.f.ReadAt(is[:], slot*slotSize); err != nil {
			return s.alarm(err)
		}
		if is != zero {
			return s.alarm(errors.New("a slot that was wiped is not"))
		}
	}
	s.free = append(s.free, s.wiped...)
	s.wiped, s.failed = nil, false
	return nil
}

func (s *shelf) alarm(err error) error {
	s.failed = true
	return fmt.Errorf("vault: wipe kept keys in %s: %w; check its file system, or remove the file when the landing side is stopped", s.path, err)
}

// unwiped is how many slots are not known to be wiped though their keys have ended,
// if the last attempt to wipe them failed.
func (s *shelf) unwiped() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.failed {
		return 0
	}
	return len(s.wiped)
}

// has reports whether the shelf keeps a key.
func (s *shelf) has(id seal.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.at[id]
	return ok
}

func (s *shelf) close() error { return s.f.Close() }

// Where a slot's parts are.
const (
	slotSum     = 4
	slotID      = 8
	slotKey     = 24
	slotNumbers = 56
	slotTenant  = 80
	slotTransit = slotTenant + 1 + maxNameLen
)

// encode fills a slot. Names are at most maxNameLen long (see isogate.CheckName).
func (k *kept) encode(b *[slotSize]byte, key *[keySize]byte) {
	clear(b[:])
	binary.LittleEndian.PutUint32(b[:], slotMark)
	copy(b[slotID:], k.id[:])
	copy(b[slotKey:], key[:])
	for i, n := range [...]int64{k.born, k.made, k.ttl} {
		binary.LittleEndian.PutUint64(b[slotNumbers+8*i:], uint64(n)) //nolint:gosec // read back as an int64
	}
	b[slotTenant] = byte(copy(b[slotTenant+1:slotTransit], k.tenant))                 //nolint:gosec // at most maxNameLen
	b[slotTransit] = byte(copy(b[slotTransit+1:slotTransit+1+maxNameLen], k.transit)) //nolint:gosec // as above
	binary.LittleEndian.PutUint32(b[slotSum:], crc32.Checksum(b[slotID:], castagnoli))
}

// decode reads a slot, and reports whether it is whole.
func (k *kept) decode(b *[slotSize]byte) bool {
	if binary.LittleEndian.Uint32(b[:]) != slotMark || binary.LittleEndian.Uint32(b[slotSum:]) != crc32.Checksum(b[slotID:], castagnoli) {
		return false
	}
	copy(k.id[:], b[slotID:])
	copy(k.key[:], b[slotKey:])
	for i, n := range [...]*int64{&k.born, &k.made, &k.ttl} {
		*n = int64(binary.LittleEndian.Uint64(b[slotNumbers+8*i:])) //nolint:gosec // written from an int64
	}
	tenant, transit := int(b[slotTenant]), int(b[slotTransit])
	if tenant > maxNameLen || transit > maxNameLen {
		return false
	}
	k.tenant = isogate.Tenant(b[slotTenant+1 : slotTenant+1+tenant])
	k.transit = isogate.Transit(b[slotTransit+1 : slotTransit+1+transit])
	return true
}

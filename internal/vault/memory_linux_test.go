package vault

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/obfuscate"
	"github.com/isogate/isogate/internal/seal"
)

// mask is what a secret is hidden under while it is looked for, so that the search
// does not find itself.
const mask = 0x5c

type hidden []byte

func hide(b []byte) hidden {
	h := make(hidden, len(b))
	for i, c := range b {
		h[i] = c ^ mask
	}
	return h
}

// in reports whether the secret is in b. The race detector would make it slow.
//
//go:norace
func (h hidden) in(b []byte) bool {
	for i := bytes.IndexByte(b, h[0]^mask); i >= 0; {
		if i+len(h) > len(b) {
			return false
		}
		j := 1
		for j < len(h) && b[i+j]^mask == h[j] {
			j++
		}
		if j == len(h) {
			return true
		}
		n := bytes.IndexByte(b[i+1:], h[0]^mask)
		if n < 0 {
			return false
		}
		i += 1 + n
	}
	return false
}

// searchMemory reads all memory of this process that it may read and write, and
// names where each secret is.
func searchMemory(t *testing.T, secrets map[string]hidden) map[string][]string {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Skip(err)
	}
	mem, err := os.Open("/proc/self/mem")
	if err != nil {
		t.Skip(err)
	}
	defer mem.Close()
	where := map[string][]string{}
	// The buffer is memory of this process too: what it had is wiped before it is
	// read itself.
	buf, zeros := make([]byte, 1<<20), make([]byte, 1<<20)
	lines := bufio.NewScanner(bytes.NewReader(maps))
	for lines.Scan() {
		var from, to uint64
		var perm string
		if n, _ := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &perm); n != 3 || !strings.HasPrefix(perm, "rw") {
			continue
		}
		for at := from; at < to; at += uint64(len(buf)) / 2 {
			n, err := mem.ReadAt(buf[:min(uint64(len(buf)), to-at)], int64(at))
			if err != nil && n == 0 {
				break // such as a guard page
			}
			if bytes.Equal(buf[:n], zeros[:n]) {
				continue
			}
			for name, h := range secrets {
				if h.in(buf[:n]) && len(where[name]) < 5 {
					where[name] = append(where[name], fmt.Sprintf("%x-%x", at, at+uint64(n)))
				}
			}
			clear(buf)
		}
	}
	return where
}

// round2 is the second round key of AES-256 (FIPS 197 §5.2): what an expanded key
// that was left somewhere would have beside the key itself. Its words are computed
// from the key's.
func round2(key [keySize]byte) []byte {
	sub := func(w uint32) uint32 {
		var out uint32
		for shift := 0; shift < 32; shift += 8 {
			out |= uint32(sbox(byte(w>>shift))) << shift
		}
		return out
	}
	var w [12]uint32
	for i := range 8 {
		w[i] = binary.BigEndian.Uint32(key[4*i:])
	}
	for i := 8; i < 12; i++ {
		tmp := w[i-1]
		if i == 8 {
			tmp = sub(tmp<<8|tmp>>24) ^ 1<<24
		}
		w[i] = w[i-8] ^ tmp
	}
	var out []byte
	for _, x := range w[8:] {
		out = binary.BigEndian.AppendUint32(out, x)
	}
	return out
}

// sbox is FIPS 197 §5.1.1, by its definition.
func sbox(b byte) byte {
	mul := func(x, y byte) (p byte) {
		for ; y > 0; y >>= 1 {
			if y&1 > 0 {
				p ^= x
			}
			x = x<<1 ^ (x>>7)*0x1b
		}
		return p
	}
	inv := byte(1)
	for range 254 {
		inv = mul(inv, b)
	}
	if b == 0 {
		inv = 0
	}
	s := inv
	for i := 1; i < 5; i++ {
		s ^= inv<<i | inv>>(8-i)
	}
	return s ^ 0x63
}

// ATTACK: somebody reads the whole memory of the landing side after a session has
// ended, and has recorded all that was sent.
// THIS TEST VERIFIES: neither the key, nor what AES makes of it, nor a value that
// was revealed is anywhere in it.
//
// promise: P16, P41
func TestAttackMemoryAfterTheEnd(t *testing.T) {
	if sbox(0x53) != 0xed {
		t.Fatal("the test's own S-box is wrong")
	}
	// Nothing is used again by chance: what is not found was wiped.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	f := newFar(t, nil)
	secrets := map[string]hidden{}
	// In a frame of its own, which is overwritten before the search.
	func() {
		for name, c := range map[string]seal.Context{"session": bySession(sessionA), "request": byRequest(), "temporary": temporary(time.Second)} {
			s := f.arrive(c)
			// In one place only, of which the test knows.
			word := make([]byte, 0, 64)
			for _, part := range []string{"the value of ", name, " that nobody", " may keep"} {
				word = append(word, part...)
			}
			p := s.Passage()
			text, _ := p.Append(nil, email, isogate.Value{Kind: isogate.String, Text: word})
			key := f.secret(s)
			secrets[name+" key"], secrets[name+" value"] = hide(key[:]), hide(word[10:])
			r2 := round2(key)
			secrets[name+" round key"] = hide(r2)
			for i := 0; i < len(r2); i += 4 { // as assembly for little-endian machines may have it
				binary.LittleEndian.PutUint32(r2[i:], binary.BigEndian.Uint32(r2[i:]))
			}
			secrets[name+" round key, swapped"] = hide(r2)
			clear(r2)
			clear(key[:])
			clear(word)
			s.Destroy()
			vw := f.View(Viewer{Name: "agent", Allows: everybody})
			page := seal.RevealReader(bytes.NewReader(text), obfuscate.Plain, vw, false)
			out := make([]byte, 256)
			if n, _ := page.Read(out); !secrets[name+" value"].in(out[:n]) {
				t.Fatalf("the page has %d bytes and not the value", n)
			}
			clear(out)
			if err := page.Close(); err != nil {
				t.Fatal(err)
			}
			if err := vw.Record(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}()
	before := searchMemory(t, secrets)
	for name := range secrets {
		if isKey := strings.HasSuffix(name, " key") && !strings.HasSuffix(name, "round key"); isKey && before[name] == nil {
			t.Errorf("the %s is not found while it is held; the search finds nothing", name)
		}
	}
	f.EndSession(acme, sessionA, seal.CauseEnded)
	for id := range destroyedLater(f) {
		f.RequestDone([]seal.ID{id})
	}
	f.clock.pass(time.Minute)
	f.turnOver()
	scrub(1 << 16)
	for name, at := range searchMemory(t, secrets) {
		t.Errorf("the %s is at %v", name, at)
	}
}

// destroyedLater is the keys that are held.
func destroyedLater(f *far) map[seal.ID]bool {
	m := map[seal.ID]bool{}
	for _, s := range f.shards {
		for id := range s.byID {
			m[id] = true
		}
	}
	return m
}

// scrub overwrites the stack below, which has the test's own copies.
//
//go:noinline
func scrub(n int) byte {
	var b [512]byte
	for i := range b {
		b[i] = byte(n)
	}
	if n <= 0 {
		return b[n&511]
	}
	return scrub(n-len(b)) ^ b[n&511]
}

// TestArena: the memory of keys is not in core files and, as far as the limit goes,
// locked.
func TestArena(t *testing.T) {
	a, err := newArena(4096)
	if err != nil {
		t.Fatal(err)
	}
	if a.locked == 0 {
		t.Log("no memory could be locked here")
	}
	slot, ok := a.take()
	if !ok {
		t.Fatal("no slot")
	}
	a.key(slot)[5] = 7
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Skip(err)
	}
	var flags string
	start := fmt.Sprintf("%x", addressOf(a.mem))
	in := false
	for line := range strings.Lines(string(smaps)) {
		if from, _, ok := strings.Cut(line, "-"); ok && !strings.Contains(from, ":") {
			in = from == start || in && strings.Contains(line, "no such line")
		}
		if in && strings.HasPrefix(line, "VmFlags:") {
			flags = line
		}
	}
	for _, want := range []string{" dd", " wf"} {
		if !strings.Contains(flags, want) {
			t.Errorf("the flags of the mapping are %q, without%s", flags, want)
		}
	}
	if a.locked > 0 && !strings.Contains(flags, " lo") {
		t.Errorf("the flags of the mapping are %q, and it said that it locked it", flags)
	}
	a.give(slot)
	if again, _ := a.take(); again != slot || a.key(again)[5] != 0 {
		t.Errorf("slot %d was given back, and %d taken, with %d in it", slot, again, a.key(again)[5])
	}
	n := 1
	for ; ; n++ {
		if _, ok := a.take(); !ok {
			break
		}
	}
	if n != 4096 {
		t.Errorf("there is room for %d keys, want 4096", n)
	}
	if err := a.close(); err != nil {
		t.Fatal(err)
	}
	if err := a.close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
}

// TestLockPrefix: where not all memory may be locked, the beginning is.
func TestLockPrefix(t *testing.T) {
	mem := make([]byte, 10*lockStep+5)
	room := 3 * lockStep
	got := lockPrefix(mem, func(b []byte) error {
		if len(b) > room {
			return os.ErrPermission
		}
		room -= len(b)
		return nil
	})
	if got != 3*lockStep {
		t.Errorf("locked %d bytes, want %d", got, 3*lockStep)
	}
	if got := lockPrefix(mem, func([]byte) error { return nil }); got != len(mem) {
		t.Errorf("locked %d bytes, want all of %d", got, len(mem))
	}
}

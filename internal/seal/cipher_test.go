package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/obfuscate"
)

// Overwriting an object is safe as long as it holds no pointers. If this fails, a
// new version of Go keeps its ciphers in another way: find out where, and wipe there.
func TestCiphersHoldNoPointers(t *testing.T) {
	block, err := aes.NewCipher(make([]byte, keySize))
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []any{block, gcm} {
		typ := reflect.TypeOf(c)
		if typ.Kind() != reflect.Pointer {
			t.Fatalf("%s is no pointer", typ)
		}
		noPointers(t, typ.Elem(), typ.String())
	}
}

func noPointers(t *testing.T, typ reflect.Type, path string) {
	t.Helper()
	switch typ.Kind() {
	case reflect.Struct:
		for i := range typ.NumField() {
			noPointers(t, typ.Field(i).Type, path+"."+typ.Field(i).Name)
		}
	case reflect.Array:
		noPointers(t, typ.Elem(), path+"[]")
	case reflect.Bool, reflect.Int, reflect.Uint8, reflect.Uint32, reflect.Uint64:
	default:
		t.Errorf("%s is a %s", path, typ)
	}
}

// bytesOf is the memory of the object that p points to.
func bytesOf(p any) []byte {
	v := reflect.ValueOf(p)
	return unsafe.Slice((*byte)(v.UnsafePointer()), v.Type().Elem().Size())
}

// ATTACK: somebody reads the memory of the landing side, or of the gateway, after a
// key was destroyed, and finds its key schedule, from which the key follows.
//
// THIS TEST VERIFIES: ciphers are overwritten after use.
//
// promise: P16
func TestAttackKeyScheduleStays(t *testing.T) {
	s := newSide(t)
	k := mustSealer(t, transitOnly(), s)
	memory := bytesOf(k.gcm)
	if len(memory) < 240 || bytes.Count(memory, []byte{0}) > len(memory)/2 {
		t.Fatalf("a cipher of %d bytes, most of them zero: the test looks at the wrong place", len(memory))
	}
	k.Destroy()
	if !bytes.Equal(memory, make([]byte, len(memory))) {
		t.Error("Destroy leaves the key schedule")
	}

	key := new([keySize]byte)
	random(key[:])
	gcm, err := newGCM(key)
	if err != nil {
		t.Fatal(err)
	}
	memory = bytesOf(gcm)
	wipeGCM(gcm)
	if !bytes.Equal(memory, make([]byte, len(memory))) {
		t.Error("wipeGCM leaves something")
	}
}

// ATTACK: somebody searches the memory of the landing side for a key that has
// arrived, was used, and was destroyed.
//
// THIS TEST VERIFIES: the heap and the stacks of Go do not have it, nor a value
// that was revealed. The key is at one place, which its holder wipes.
//
// promise: P16
func TestAttackKeyInMemory(t *testing.T) {
	if raceEnabled || runtime.GOOS != "linux" {
		t.Skip("looks at the memory of a process on Linux, without the race detector's")
	}
	const mask = 0x5a // what is looked for is kept in this disguise
	s := newSide(t)
	disguised := make([]byte, 40) // text that is nowhere in the program
	random(disguised)
	value := make([]byte, len(disguised))
	for i := range disguised {
		disguised[i] = 'a' + disguised[i]%26 ^ mask
		value[i] = disguised[i] ^ mask
	}
	k := mustSealer(t, transitOnly(), s)
	p := k.Passage()
	seal := []byte(sealed(t, &p, email, isogate.Value{Kind: isogate.String, Text: value}))
	clear(value)
	h := hold(t, s, k)
	key := h[k.ID()].key
	needle := bytes.Clone(key[:])
	for i := range needle {
		needle[i] ^= mask
	}
	needles := map[string][]byte{"the key": needle, "the value": disguised}
	page := bytes.Repeat(append(seal, " and "...), 100)
	found := false
	for range 20 {
		r := RevealReader(bytes.NewReader(page), obfuscate.HTML, h, false)
		buf := make([]byte, 1000)
		for {
			n, err := r.Read(buf)
			clear(buf[:n])
			if err != nil {
				break
			}
		}
		if n := r.Counts(); n.Revealed != 100 {
			t.Fatal(n)
		}
		found = found || find(t, needles, mask)["the value"] > 0
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got := find(t, needles, mask); got["the key"] != 2 {
		t.Errorf("the key is at %d places, not at its holder's and in the gateway's cipher", got["the key"])
	}
	if !found {
		t.Error("nothing was found while there was something: the test looks at the wrong place")
	}
	k.Destroy()
	clear(key[:])
	for what, n := range find(t, needles, mask) {
		t.Errorf("%s is still at %d places", what, n)
	}
	runtime.KeepAlive(s)
}

// find counts where in the memory of this process the needles are, which are in disguise.
func find(t *testing.T, needles map[string][]byte, mask byte) map[string]int {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	mem, err := os.Open("/proc/self/mem")
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	out := map[string]int{}
	buf := make([]byte, 64<<10)
	self := uint64(uintptr(unsafe.Pointer(&buf[0])))
	for line := range strings.Lines(string(maps)) {
		var from, to uint64
		var mode string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err != nil || !strings.HasPrefix(mode, "rw") {
			continue
		}
		const overlap = 64
		for at := from; at < to; at += uint64(len(buf) - overlap) {
			n, _ := mem.ReadAt(buf[:min(uint64(len(buf)), to-at)], int64(at))
			for i := range buf[:n] {
				buf[i] ^= mask
			}
			for what, needle := range needles {
				for from := 0; ; {
					i := bytes.Index(buf[from:n], needle)
					if i < 0 {
						break
					}
					from += i + 1
					if place := at + uint64(from) - 1; from-1 < len(buf)-overlap && (place < self || place >= self+uint64(len(buf))) {
						out[what]++
					}
				}
			}
		}
	}
	return out
}

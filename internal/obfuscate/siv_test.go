package obfuscate

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"

	tinkdaead "github.com/tink-crypto/tink-go/v2/daead/subtle"
)

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func mustSIV(tb testing.TB, key []byte) *siv {
	tb.Helper()
	s, err := newSIV(key)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// NIST SP 800-38B, examples for AES-256, and RFC 4493 §4 for AES-128.
func TestCMAC(t *testing.T) {
	const message = "6bc1bee22e409f96e93d7e117393172a ae2d8a571e03ac9c9eb76fac45af8e51 30c81c46a35ce411e5fbc1191a0a52ef f69f2445df4f9b17ad2b417be66c3710"
	const key256 = "603deb1015ca71be2b73aef0857d7781 1f352c073b6108d72d9810a30914dff4"
	const key128 = "2b7e151628aed2a6abf7158809cf4f3c"
	for _, c := range []struct {
		key  string
		n    int
		want string
	}{
		{key256, 0, "028962f61b7bf89efc6b551f4667d983"},
		{key256, 16, "28a7023f452e8f82bd4bf28d8c37c35c"},
		{key256, 40, "aaf3d8f1de5640c232f5b169b9c911e6"},
		{key256, 64, "e1992190549f6ed5696a2c056c315410"},
		{key128, 0, "bb1d6929e95937287fa37d129b756746"},
		{key128, 16, "070a16b46b4d4144f79bdd9dd04a287c"},
		{key128, 40, "dfa66747de9ae63030ca32611497c827"},
		{key128, 64, "51f0bebf7e3b9d92fc49741779363cfe"},
	} {
		key := unhex(t, c.key)
		s := mustSIV(t, append(bytes.Clone(key), key...))
		var w blocks
		s.cmac(&w, unhex(t, message)[:c.n])
		if got := hex.EncodeToString(w.x[:]); got != c.want {
			t.Errorf("AES-%d, %d bytes: %s, want %s", len(key)*8, c.n, got, c.want)
		}
	}
}

// RFC 5297, appendix A.
func TestSIVVectors(t *testing.T) {
	for name, c := range map[string]struct {
		key, plain, want string
		ad               []string
	}{
		"A.1 deterministic": {
			key:   "fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0 f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
			ad:    []string{"101112131415161718191a1b1c1d1e1f2021222324252627"},
			plain: "112233445566778899aabbccddee",
			want:  "85632d07c6e8f37f950acd320a2ecc93 40c02b9690c4dc04daef7f6afe5c",
		},
		"A.2 nonce-based": {
			key: "7f7e7d7c7b7a79787776757473727170 404142434445464748494a4b4c4d4e4f",
			ad: []string{
				"00112233445566778899aabbccddeeffdeaddadadeaddadaffeeddccbbaa99887766554433221100",
				"102030405060708090a0",
				"09f911029d74e35bd84156c5635688c0",
			},
			plain: "7468697320697320736f6d6520706c61696e7465787420746f20656e6372797074207573696e67205349562d414553",
			want:  "7bdb6e3b432667eb06f4d14bff2fbd0f cb900f2fddbe404326601965c889bf17dba77ceb094fa663b7a3f748ba8af829ea64ad544a272e9c485b62a3fd5c0d",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := mustSIV(t, unhex(t, c.key))
			var ad [][]byte
			for _, a := range c.ad {
				ad = append(ad, unhex(t, a))
			}
			var w blocks
			var iv block
			p := unhex(t, c.plain)
			s.seal(&w, &iv, p, ad...)
			if got := append(iv[:], p...); !bytes.Equal(got, unhex(t, c.want)) {
				t.Fatalf("%x, want %s", got, c.want)
			}
			if !s.open(&w, &iv, p, ad...) || !bytes.Equal(p, unhex(t, c.plain)) {
				t.Fatalf("opened to %x", p)
			}
			s.seal(&w, &iv, p, ad...)
			ad[0][0] ^= 1
			if s.open(&w, &iv, p, ad...) {
				t.Fatal("opened under other associated data")
			}
			if !bytes.Equal(p, make([]byte, len(p))) {
				t.Fatalf("what failed to open is still there: %x", p)
			}
		})
	}
}

// Every length around the block boundaries, against an implementation of others.
func TestSIVAgainstTink(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	var w blocks
	for n := range 200 {
		key, plain, ad := random(64), random(n), random(n%40)
		peer, err := tinkdaead.NewAESSIV(key)
		if err != nil {
			t.Fatal(err)
		}
		want, err := peer.EncryptDeterministically(plain, ad)
		if err != nil {
			t.Fatal(err)
		}
		s := mustSIV(t, key)
		var iv block
		p := bytes.Clone(plain)
		s.seal(&w, &iv, p, ad)
		if got := append(iv[:], p...); !bytes.Equal(got, want) {
			t.Fatalf("%d bytes: %x, want %x", n, got, want)
		}
		if !s.open(&w, &iv, p, ad) || !bytes.Equal(p, plain) {
			t.Fatalf("%d bytes do not open", n)
		}
	}
}

// The counter of these IVs overflows unless the two bits are cleared that RFC 5297 §2.5 clears.
func TestSIVCounter(t *testing.T) {
	s := mustSIV(t, make([]byte, 64))
	peer, err := tinkdaead.NewAESSIV(make([]byte, 64))
	if err != nil {
		t.Fatal(err)
	}
	var w blocks
	found := 0
	for i := 0; found < 3; i++ {
		plain := append(make([]byte, 60), byte(i>>16), byte(i>>8), byte(i))
		want, err := peer.EncryptDeterministically(plain, nil)
		if err != nil {
			t.Fatal(err)
		}
		if want[8]&0x80 == 0 || want[12]&0x80 == 0 {
			continue
		}
		found++
		var iv block
		// Tink always takes one string of associated data, empty here.
		s.seal(&w, &iv, plain, nil)
		if got := append(iv[:], plain...); !bytes.Equal(got, want) {
			t.Fatalf("%x, want %x", got, want)
		}
	}
}

func TestSIVEveryBitCounts(t *testing.T) {
	s := mustSIV(t, bytes.Repeat([]byte{7}, 64))
	var w blocks
	var iv block
	sealed := []byte("thirty-two bytes of a plain text")
	s.seal(&w, &iv, sealed)
	for bit := range (16 + len(sealed)) * 8 {
		broken := append(bytes.Clone(iv[:]), sealed...)
		broken[bit/8] ^= 1 << (bit % 8)
		v := block(broken)
		if s.open(&w, &v, broken[16:]) {
			t.Fatalf("bit %d was changed unnoticed", bit)
		}
	}
}

func TestSIVKeySizes(t *testing.T) {
	for n := range 80 {
		_, err := newSIV(make([]byte, n))
		if ok := n == 32 || n == 48 || n == 64; ok != (err == nil) {
			t.Errorf("key of %d bytes: %v", n, err)
		}
	}
}

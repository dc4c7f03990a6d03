package obfuscate

import (
	"strconv"
	"strings"
	"testing"

	tinkdaead "github.com/tink-crypto/tink-go/v2/daead/subtle"

	"github.com/isogate/isogate"
)

func benchReplace(b *testing.B, v *isogate.Verdict, val isogate.Value) {
	b.Helper()
	o := mustNew(b)
	dst := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, _, err := o.Replace(dst, v, val); err != nil {
			b.Fatal(err)
		}
	}
}

var benchValue = isogate.Value{Kind: isogate.String, Text: []byte("mia.krystof@example.com!")} // 24 bytes

func BenchmarkToken24(b *testing.B) { benchReplace(b, verdictToken, benchValue) }
func BenchmarkEmail24(b *testing.B) { benchReplace(b, verdictEmail, benchValue) }
func BenchmarkHash24(b *testing.B)  { benchReplace(b, verdictHash, benchValue) }
func BenchmarkNumber(b *testing.B) {
	benchReplace(b, verdictToken, isogate.Value{Kind: isogate.Number, Text: []byte("12480498776781")})
}

func BenchmarkToken24Parallel(b *testing.B) {
	o := mustNew(b)
	b.RunParallel(func(pb *testing.PB) {
		dst := make([]byte, 0, 4096)
		for pb.Next() {
			_, _, _, _ = o.Replace(dst, verdictToken, benchValue)
		}
	})
}

// BenchmarkTinkDAEAD24 is the yardstick: the same cipher, without text form or padding.
func BenchmarkTinkDAEAD24(b *testing.B) {
	s, err := tinkdaead.NewAESSIV(make([]byte, 64))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.EncryptDeterministically(benchValue.Text, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkNew is what a hundred labels cost when a plan or a keyring is loaded.
func BenchmarkNew(b *testing.B) {
	cfg := config()
	for i := range 100 {
		cfg.Labels = append(cfg.Labels, isogate.Label("a.l"+strconv.Itoa(i)))
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := New(cfg); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRestore(b *testing.B) {
	o := mustNew(b)
	doc := strings.Repeat(`{"id":12480498776781,"created_at":"2019-06-03T02:23:47Z","email":"`+token(b, o, "mia.krystof@example.com")+`","status":"solved"},`, 100)
	src := []byte(doc)
	dst := make([]byte, 0, len(src))
	b.SetBytes(int64(len(src)))
	b.ReportAllocs()
	for b.Loop() {
		if _, n := o.Restore(dst, src, JSON); n != 100 {
			b.Fatal(n)
		}
	}
}

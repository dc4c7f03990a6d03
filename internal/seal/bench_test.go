package seal

import (
	"strings"
	"testing"

	"github.com/isogate/isogate/internal/obfuscate"
)

func BenchmarkAppend24(b *testing.B) {
	k := mustSealer(b, transitOnly(), newSide(b))
	p := k.Passage()
	dst := make([]byte, 0, 4096)
	v := text("mia.krystof@example.com!")
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := p.Append(dst, email, v); !ok {
			b.Fatal("not sealed")
		}
	}
}

func BenchmarkOpenKey24(b *testing.B) {
	s := newSide(b)
	k := mustSealer(b, transitOnly(), s)
	h := hold(b, s, k)
	p := k.Passage()
	id, raw, _ := Parse([]byte(sealed(b, &p, email, text("mia.krystof@example.com!"))))
	scratch := make([]byte, leastScratch)
	b.ReportAllocs()
	for b.Loop() {
		if _, outcome := h.OpenSeal(scratch, id, raw); outcome != Revealed {
			b.Fatal(outcome)
		}
	}
}

func BenchmarkReveal(b *testing.B) {
	s := newSide(b)
	k := mustSealer(b, transitOnly(), s)
	h := hold(b, s, k)
	p := k.Passage()
	doc := strings.Repeat(`{"id":12480498776781,"created_at":"2019-06-03T02:23:47Z","email":"`+sealed(b, &p, email, text("mia.krystof@example.com"))+`","status":"solved"},`, 100)
	src := []byte(doc)
	dst := make([]byte, 0, 2*len(src))
	b.SetBytes(int64(len(src)))
	b.ReportAllocs()
	for b.Loop() {
		if _, n := Reveal(dst, src, obfuscate.JSON, h, false); n.Revealed != 100 {
			b.Fatal(n)
		}
	}
}

func BenchmarkNewSealer(b *testing.B) {
	s := newSide(b)
	for b.Loop() {
		mustSealer(b, transitOnly(), s)
	}
}

func BenchmarkUnwrap(b *testing.B) {
	s := newSide(b)
	a := arrive(b, mustSealer(b, transitOnly(), s))
	b.ReportAllocs()
	for b.Loop() {
		unwrap(b, s, a)
	}
}

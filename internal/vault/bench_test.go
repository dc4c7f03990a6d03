package vault

import (
	"encoding/binary"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/seal"
)

// benchFar is a landing side with the machine's clock and room for so many keys.
func benchFar(b *testing.B, keys int) *Vault {
	b.Helper()
	skey, _, err := note.GenerateKey(nil, "landing.example/support-portal")
	if err != nil {
		b.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		b.Fatal(err)
	}
	v, err := Open(Config{Destination: portal, Tenants: []isogate.Tenant{acme}, Signer: signer, Dir: filepath.Join(b.TempDir(), "dir"), MaxKeys: keys})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = v.release() })
	return v
}

func benchSealer(b *testing.B, v *Vault, c seal.Context) *seal.Sealer {
	b.Helper()
	st := v.epochs.state
	e := v.epochs.newest().key
	st.Epoch, st.Public, st.NotBefore, st.NotAfter = e.ID(), e.Public(), time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
	s, err := seal.NewSealer(c, &st, nil)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// BenchmarkArriveNew is a key that was not known: an unwrapping.
func BenchmarkArriveNew(b *testing.B) {
	v := benchFar(b, 1<<20)
	as := make([]seal.Arrival, 0, b.N)
	for range b.N {
		as = append(as, header(b, benchSealer(b, v, byRequest())))
	}
	b.ResetTimer()
	for _, a := range as {
		if err := v.Arrive(a); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkArriveHeld is a key that is held, as most requests bring it.
func BenchmarkArriveHeld(b *testing.B) {
	v := benchFar(b, 1<<20)
	s := benchSealer(b, v, bySession(sessionA))
	if err := v.Arrive(header(b, s)); err != nil {
		b.Fatal(err)
	}
	a := header(b, s)
	a.Wrapped, a.Age = nil, 0
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := v.Arrive(a); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkOpenSeal is one value of 24 bytes, for a viewer with rights.
func BenchmarkOpenSeal(b *testing.B) {
	v := benchFar(b, 1<<20)
	s := benchSealer(b, v, temporary(time.Hour))
	if err := v.Arrive(header(b, s)); err != nil {
		b.Fatal(err)
	}
	p := s.Passage()
	text, _ := p.Append(nil, email, value("ada.lovelace@example.org"))
	id, raw, _ := seal.Parse(text)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		vw := v.View(Viewer{Name: "agent", Allows: everybody})
		scratch := make([]byte, 0, len(raw))
		for pb.Next() {
			if _, out := vw.OpenSeal(scratch, id, raw); out != seal.Revealed {
				b.Error("not revealed")
			}
		}
	})
}

// BenchmarkMillionKeys is what a million live keys, each of a session of its own,
// take of memory, and how long it takes to end them.
func BenchmarkMillionKeys(b *testing.B) {
	const n = 1_000_000
	for range b.N {
		b.StopTimer()
		v := benchFar(b, n)
		tn := v.named[acme]
		number, _ := tn.number(transit)
		_, now := read(v.cfg.Clock)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range n {
			// As put does it, without the unwrapping and the ledger.
			slot, ok := v.arena.take()
			if !ok || !v.share.take(0) {
				b.Fatal("no room")
			}
			fill := record{tenant: 0, transit: number, made: now.wall.Milliseconds(), born: int64(now.boot), used: int64(now.boot)}
			binary.BigEndian.PutUint64(fill.id[4:], uint64(i)*0x9e3779b97f4a7c15)
			fill.id[15] = byte(i)
			for k := range fill.session {
				fill.session[k] = 'a' + byte(i>>(4*(k%5)))&15
			}
			fill.due = int64(now.boot + fill.end(v.limits).sleep(now))
			v.arena.key(slot)[0] = 1
			s := v.shard(fill.id)
			s.mu.Lock()
			*v.records.at(slot) = fill
			s.insert(slot)
			s.mu.Unlock()
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n+keySize, "B/key")
		later := now
		later.boot += time.Hour
		later.wall += time.Hour
		b.StartTimer()
		v.expire(later)
		b.StopTimer()
		if len(v.arena.free) != n {
			b.Fatalf("%d keys ended", len(v.arena.free))
		}
		b.ReportMetric(float64(v.ledger.waiting()), "events")
	}
}

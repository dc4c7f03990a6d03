package custody

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/seal"
)

// What a request pays for the key of a session that it shares with others.
func BenchmarkKey(b *testing.B) {
	e, err := seal.NewEpoch()
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now().UTC().Truncate(time.Second)
	h := newHold(support, &Config{Now: time.Now, MaxKeys: DefaultMaxKeys, Metrics: NewMetrics(), Logger: slog.New(slog.DiscardHandler)})
	if err := h.state(&seal.Statement{Destination: support, Landing: "l", Epoch: e.ID(), Public: e.Public(), NotBefore: now, NotAfter: now.Add(time.Hour), Idle: time.Hour, Max: time.Hour}, nil); err != nil {
		b.Fatal(err)
	}
	d := &digester{}
	contexts := make([]seal.Context, 100)
	for i := range contexts {
		contexts[i] = seal.Context{Tenant: acme, Destination: support, Transit: login, Handling: isogate.TransitOnly, Session: d.of(fmt.Sprint(i))}
	}
	var n atomic.Uint64
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := h.key(contexts[n.Add(1)%uint64(len(contexts))]); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// What a start pays for each landing entry that it reads.
func BenchmarkFold(b *testing.B) {
	cx := seal.Context{Tenant: acme, Destination: support, Transit: login, Handling: isogate.Temporary, TTL: time.Minute}
	s := &State{}
	e := sentEntry(seal.ID{}, &cx, time.Now())
	b.ReportAllocs()
	for i := range b.N {
		e.Seq, e.Detail[inKey] = uint64(i), seal.ID{1, byte(i), byte(i >> 8), byte(i >> 16)}.String()
		if errs := s.Fold(*e); errs != nil {
			b.Fatal(errs)
		}
	}
}

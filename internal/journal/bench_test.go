package journal

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"golang.org/x/sys/unix"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/isogatetest/pgtest"
)

// big is an entry of about 1 KiB.
func big() *isogate.Entry {
	e := egress(1000)
	e.DigestIn, e.DigestOut = "hmac-sha256:5d41402abc4b2a76b9719d911017c592", "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
	for _, p := range []string{"user.displayName", "user.accountId", "user.locale", "attributes[key=user.email].value", "meta.*"} {
		e.Fields = append(e.Fields, isogate.Field{Path: p, Label: "identifier.user.account_id", Action: isogate.Token, N: 1})
	}
	return e
}

// writers spreads b.N calls over goroutines.
func writers(b *testing.B, n int, do func() error) {
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.ResetTimer()
	for range n {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := do(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{1, 32, 256} {
		b.Run(fmt.Sprintf("writers=%d", n), func(b *testing.B) {
			cfg := newKey(b, "isogate/acme").config(b.TempDir())
			cfg.SealEvery = 0
			j, _ := open(b, cfg)
			proto := big()
			b.SetBytes(int64(len(appendTail(nil, proto)) + 80))
			writers(b, n, func() error {
				e := *proto
				return j.Append(b.Context(), &e)
			})
			var m dto.Metric
			if err := j.cfg.Metrics.group.Write(&m); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(m.Histogram.GetSampleSum()/float64(m.Histogram.GetSampleCount()), "rows/commit")
		})
	}
}

// BenchmarkAppendPostgres is the same into PostgreSQL on this machine, by one gateway
// and by two that share the journal.
func BenchmarkAppendPostgres(b *testing.B) {
	for _, c := range []struct{ gateways, writers int }{{1, 1}, {1, 32}, {2, 32}} {
		b.Run(fmt.Sprintf("gateways=%d/writers=%d", c.gateways, c.writers), func(b *testing.B) {
			url, key := pgtest.Database(b), newKey(b, "isogate/acme")
			cfg := key.shared(url)
			cfg.SealEvery = 0
			var journals []*Journal
			for range c.gateways {
				j, _ := open(b, cfg)
				journals = append(journals, j)
			}
			proto := big()
			b.SetBytes(int64(len(appendTail(nil, proto)) + 80))
			var turn atomic.Int64
			writers(b, c.writers, func() error {
				e := *proto
				return journals[int(turn.Add(1))%len(journals)].Append(b.Context(), &e)
			})
		})
	}
}

// BenchmarkRawFdatasync is the yardstick: 1 KiB records appended to a file, each
// acknowledged after an fdatasync that covers it, many waiting ones sharing one.
func BenchmarkRawFdatasync(b *testing.B) {
	for _, n := range []int{1, 32, 256} {
		b.Run(fmt.Sprintf("writers=%d", n), func(b *testing.B) {
			f, err := os.Create(filepath.Join(b.TempDir(), "raw"))
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			row := bytes.Repeat([]byte{'x'}, 1024)
			b.SetBytes(1024)
			type batch struct {
				buf  []byte
				done chan struct{}
			}
			var mu sync.Mutex
			open := &batch{done: make(chan struct{})}
			wake, end := make(chan struct{}, 1), make(chan struct{})
			go func() {
				for {
					select {
					case <-wake:
					case <-end:
						return
					}
					mu.Lock()
					g := open
					open = &batch{done: make(chan struct{}), buf: make([]byte, 0, cap(g.buf))}
					mu.Unlock()
					if _, err := f.Write(g.buf); err != nil {
						b.Error(err)
					}
					if err := unix.Fdatasync(int(f.Fd())); err != nil {
						b.Error(err)
					}
					close(g.done)
				}
			}()
			defer close(end)
			writers(b, n, func() error {
				mu.Lock()
				g := open
				g.buf = append(g.buf, row...)
				mu.Unlock()
				select {
				case wake <- struct{}{}:
				default:
				}
				<-g.done
				return nil
			})
		})
	}
}

// BenchmarkSealed is the time from an entry's acknowledgement to the kept and
// published checkpoint over it: alone, and while 32 writers append.
func BenchmarkSealed(b *testing.B) {
	for _, load := range []int{0, 32} {
		b.Run(fmt.Sprintf("writers=%d", load), func(b *testing.B) {
			cfg := newKey(b, "isogate/acme").config(b.TempDir())
			cfg.SealEvery = 0
			j, _ := open(b, cfg)
			proto := big()
			stop := make(chan struct{})
			var wg sync.WaitGroup
			for range load {
				wg.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						e := *proto
						if err := j.Append(b.Context(), &e); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			var times []time.Duration
			for range b.N {
				e := *proto
				if err := j.Append(b.Context(), &e); err != nil {
					b.Fatal(err)
				}
				at := time.Now()
				eventually(b, "a checkpoint", func() bool { return j.seal.size() > e.Seq })
				times = append(times, time.Since(at))
			}
			close(stop)
			wg.Wait()
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(times[len(times)*99/100].Microseconds())/1000, "p99-ms")
			b.ReportMetric(0, "ns/op")
		})
	}
}

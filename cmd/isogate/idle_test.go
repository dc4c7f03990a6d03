package main

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// After a load has ended its memory is given back once, and not again and again.
func TestGiveBackAfterALoad(t *testing.T) {
	collections := func() uint32 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.NumForcedGC
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var n atomic.Uint64
		ended := make(chan error, 1)
		go func() { ended <- giveBack(ctx, n.Load) }()
		idle := func(d time.Duration) uint32 {
			before := collections()
			<-time.After(d)
			synctest.Wait()
			return collections() - before
		}
		if got := idle(10 * idleAfter); got != 0 {
			t.Errorf("%d collections although nothing was served", got)
		}
		n.Store(7)
		if got := idle(3 * idleAfter); got != 2 {
			t.Errorf("%d collections after a load, want 2", got)
		}
		if got := idle(10 * idleAfter); got != 0 {
			t.Errorf("%d more collections", got)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

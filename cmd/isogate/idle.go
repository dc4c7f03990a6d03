package main

import (
	"context"
	"runtime/debug"
	"time"
)

// idleAfter is how long nothing must have begun or ended before memory is given back.
const idleAfter = 5 * time.Second

// giveBack returns the memory of a load to the system once the load is over.
// The runtime does so by itself, over minutes: until then a gateway that served a
// burst looks as if it had grown. activity grows when a request begins or ends.
func giveBack(ctx context.Context, activity func() uint64) error {
	tick := time.NewTicker(idleAfter)
	defer tick.Stop()
	var last, returned uint64
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := activity()
		if now == last && now != returned {
			debug.FreeOSMemory() // twice, because pools are emptied over two collections
			debug.FreeOSMemory()
			returned = now
		}
		last = now
	}
}

package vault

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate/internal/seal"
)

// epoch is a key pair that seal keys come wrapped to.
type epoch struct {
	n     uint32 // counts from 1
	key   *seal.Epoch
	from  time.Duration  // of the boot clock: since when it is stated
	until time.Duration  // until when it unwraps; then it is destroyed
	tombs []atomic.Int64 // destroyed keys that are remembered until then, by tenant
}

// epochs is the key pairs that can still unwrap, one of which is stated.
//
// A private half lives for two epochs by the boot clock and is then forgotten. It
// was in Go's heap, inside crypto/hpke, which offers no way to wipe it: what is
// certain is that nothing refers to it any more, and the memory is cleared when the
// garbage collector hands it out again.
type epochs struct {
	life   time.Duration
	state  seal.Statement // without what differs between epochs
	signer note.Signer

	mu     sync.RWMutex // guards what follows
	alive  []*epoch     // oldest first
	count  uint32
	stated []byte
}

// find returns the epoch of that ID if it can unwrap now.
func (es *epochs) find(id seal.EpochID, now instant) *epoch {
	es.mu.RLock()
	defer es.mu.RUnlock()
	for _, e := range es.alive {
		if e.key.ID() == id && now.boot < e.until {
			return e
		}
	}
	return nil
}

// newest returns the epoch that lasts longest, nil if there is none.
func (es *epochs) newest() *epoch {
	es.mu.RLock()
	defer es.mu.RUnlock()
	if len(es.alive) == 0 {
		return nil
	}
	return es.alive[len(es.alive)-1]
}

// numbered returns an epoch that is alive.
func (es *epochs) numbered(n uint32) *epoch {
	es.mu.RLock()
	defer es.mu.RUnlock()
	for _, e := range es.alive {
		if e.n == n {
			return e
		}
	}
	return nil
}

// remembered is how many destroyed keys of a tenant are remembered.
func (es *epochs) remembered(tenant uint16) (n int64) {
	es.mu.RLock()
	defer es.mu.RUnlock()
	for _, e := range es.alive {
		n += e.tombs[tenant].Load()
	}
	return n
}

// destroy ends all epochs.
func (es *epochs) destroy() {
	es.mu.Lock()
	defer es.mu.Unlock()
	for _, e := range es.alive {
		e.key.Destroy()
	}
	es.alive = nil
}

// statement returns the statement in force.
func (es *epochs) statement() []byte {
	es.mu.RLock()
	defer es.mu.RUnlock()
	return es.stated
}

// renew makes a new epoch if it is time.
func (es *epochs) renew(now instant, tenants int) error {
	if e := es.newest(); e != nil && now.boot < e.from+es.life {
		return nil
	}
	key, err := seal.NewEpoch()
	if err != nil {
		return fmt.Errorf("vault: make an epoch: %w", err)
	}
	st := es.state
	st.Epoch, st.Public = key.ID(), key.Public()
	// The gateway's clock may be behind ours, and there is nothing to fear from
	// before: nobody had the public half then.
	st.NotBefore = now.wallTime().Add(-es.life).Truncate(time.Second)
	st.NotAfter = now.wallTime().Add(2 * es.life).Truncate(time.Second)
	stated, err := st.Sign(es.signer)
	if err != nil {
		key.Destroy()
		return fmt.Errorf("vault: sign the statement: %w", err)
	}
	es.mu.Lock()
	defer es.mu.Unlock()
	es.count++
	es.alive = append(es.alive, &epoch{n: es.count, key: key, from: now.boot, until: now.boot + 2*es.life, tombs: make([]atomic.Int64, tenants)})
	es.stated = stated
	return nil
}

// over destroys the epochs that have ended and returns their numbers.
func (es *epochs) over(now instant) (ended []uint32) {
	es.mu.Lock()
	defer es.mu.Unlock()
	keep := es.alive[:0]
	for _, e := range es.alive {
		if now.boot < e.until {
			keep = append(keep, e)
			continue
		}
		e.key.Destroy()
		ended = append(ended, e.n)
	}
	clear(es.alive[len(keep):])
	es.alive = keep
	return ended
}

// turn renews epochs and forgets what only mattered while old ones could unwrap.
func (v *Vault) turn(now instant) error {
	ended := v.epochs.over(now)
	if len(ended) > 0 {
		for _, s := range v.shards {
			s.mu.Lock()
			for _, n := range ended {
				delete(s.tombs, n)
			}
			s.mu.Unlock()
		}
	}
	was := v.epochs.newest()
	if err := v.epochs.renew(now, len(v.tenants)); err != nil {
		return err
	}
	if e := v.epochs.newest(); e != was {
		v.cfg.Metrics.epoch.Set(now.wall.Seconds())
		v.cfg.Logger.Debug("a new epoch", slog.String("epoch", e.key.ID().String()))
	}
	return nil
}

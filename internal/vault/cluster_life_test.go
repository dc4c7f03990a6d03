package vault

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isogate/isogate/internal/isogatetest/pgtest"
	"github.com/isogate/isogate/internal/seal"
)

// lived is what is true of one value, by a clock that nobody can set.
type lived struct {
	sealer  *seal.Sealer
	text    []byte
	made    time.Duration
	sealed  time.Duration
	used    time.Duration
	ttl     time.Duration // 0: by session
	destroy bool
}

// TestClusterLives holds what the members of a cluster show against a model that
// knows the true time: whatever is done to their wall clocks and the gateway's, and
// whoever dies, stops or joins meanwhile, nothing is shown after its life.
//
// promise: P16, P18
func TestClusterLives(t *testing.T) {
	for round := range 6 {
		seed := rand.Uint64()
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			t.Logf("seed %d", seed)
			clusterLives(t, rand.New(rand.NewPCG(seed, 1)))
		})
	}
}

func clusterLives(t *testing.T, r *rand.Rand) {
	w := newTown(t, pgtest.Database(t), 2)
	gateway := newFakeClock()
	var now time.Duration
	var all []*lived
	shown := 0
	some := func() *member {
		var up []*member
		for _, m := range w.members {
			if !m.closing.Load() {
				up = append(up, m)
			}
		}
		return up[r.IntN(len(up))]
	}
	check := func() {
		t.Helper()
		for _, v := range all {
			m := some()
			alive := !v.destroy && (v.ttl > 0 && now < v.sealed+v.ttl || v.ttl == 0 && now < v.used+DefaultIdle && now < v.made+DefaultMax)
			got := m.look(v.text)
			if got == "Ada" {
				shown++
				if !alive {
					t.Fatalf("at %s %s shows a value that was made at %s, sealed at %s, used at %s, ttl %s", now, m.cluster.cfg.Name, v.made, v.sealed, v.used, v.ttl)
				}
			}
		}
	}
	for range 40 {
		switch m := some(); r.IntN(10) {
		case 0, 1: // a key
			st, err := seal.OpenStatement(m.Statement(), m.verifier())
			if err != nil {
				t.Fatal(err)
			}
			v := &lived{made: now, sealed: now, used: now}
			c := bySession(sessionA)
			if r.IntN(3) > 0 {
				v.ttl = time.Duration(1+r.IntN(20)) * time.Minute
				c = temporary(v.ttl)
			}
			if v.sealer, err = seal.NewSealer(c, st, gateway.Now); err != nil {
				continue // its clock is too far from the landing's
			}
			if some().Arrive(header(t, v.sealer)) != nil {
				continue
			}
			v.text = sealed(t, v.sealer, "Ada")
			all = append(all, v)
		case 2: // a session is used
			for _, v := range all {
				if v.ttl == 0 && m.Arrive(header(t, v.sealer)) == nil {
					v.used = now
				}
			}
		case 3: // a clock is set
			by := time.Duration(r.IntN(7200)-3600) * time.Second
			if r.IntN(4) == 0 {
				gateway.set(by)
			} else {
				m.clock.set(by)
			}
		case 4:
			if r.IntN(2) == 0 && len(w.members) < 6 {
				w.join()
			}
		case 5: // somebody goes
			up := 0
			for _, m := range w.members {
				if !m.closing.Load() {
					up++
				}
			}
			switch {
			case up < 2:
			case r.IntN(2) == 0:
				m.die()
			default:
				if err := m.Vault.Close(); err != nil {
					t.Fatal(err)
				}
			}
		case 6:
			if n := m.EndSession(acme, sessionA, seal.CauseEnded); n > 0 {
				for _, v := range all {
					v.destroy = v.destroy || v.ttl == 0
				}
			}
		default:
			d := time.Duration(r.IntN(180)) * time.Second
			gateway.pass(d)
			now += d
			w.pass(d)
		}
		check()
	}
	if shown == 0 {
		t.Log("nothing was shown at all")
	}
}

// TestClusterDrainUnderLoad: while members run as they do in earnest and requests and
// pages come without end, one stops. No value is said to be over that is not, and no
// use of its key is refused.
func TestClusterDrainUnderLoad(t *testing.T) {
	machine, err := MachineClock()
	if err != nil {
		t.Fatal(err)
	}
	w := newTown(t, pgtest.Database(t), 3)
	_ = machine
	a := w.members[0]
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	run := func(m *member, ctx context.Context) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if err := m.Run(ctx); err != nil && !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
		}()
	}
	stopA, cancelA := context.WithCancel(ctx)
	defer cancelA()
	run(a, stopA)
	run(w.members[1], ctx)
	run(w.members[2], ctx)
	type use struct {
		s    *seal.Sealer
		text []byte
	}
	var uses []use
	for i := range 20 {
		c := bySession(fmt.Sprintf("%caaaaaaaaaaaaaaaaaaaaaaaaa", 'a'+i))
		if i%2 == 0 {
			c = temporary(time.Duration(i+1) * time.Hour)
		}
		s := a.arrive(c)
		uses = append(uses, use{s, sealed(t, s, "Ada")})
	}
	var looked, drained atomic.Int64
	for i, m := range w.members[1:] {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for n := i; ctx.Err() == nil; n++ {
				u := uses[n%len(uses)]
				if err := m.Arrive(header(t, u.s)); err != nil {
					t.Errorf("%s refuses a key: %v", m.cluster.cfg.Name, err)
					return
				}
				if got := m.look(u.text); got != "Ada" {
					t.Errorf("%s shows %q", m.cluster.cfg.Name, got)
					return
				}
				looked.Add(1)
				if drained.Load() > 0 {
					drained.Add(1)
				}
			}
		}()
	}
	wait := func(what string, f func() bool) {
		t.Helper()
		deadline := time.NewTimer(60 * time.Second)
		defer deadline.Stop()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for !f() && !t.Failed() {
			select {
			case <-deadline.C:
				t.Fatalf("waited in vain until %s", what)
			case <-tick.C:
			}
		}
	}
	wait("there is load", func() bool { return looked.Load() > 50 })
	cancelA()
	if err := a.Vault.Close(); err != nil {
		t.Error(err)
	}
	a.deaf()
	drained.Store(1)
	wait("there was load after the drain", func() bool { return drained.Load() > 100 })
}

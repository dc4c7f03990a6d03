package vault

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/seal"
)

// ATTACK: whoever recorded a request sends it again after its key was destroyed, to
// have the key come back.
// THIS TEST VERIFIES: it does not, in the same epoch, in the next, after both, after
// a restart and after a reboot; and asking for a key to end that never came keeps it
// from coming.
//
// promise: P16, P41
func TestAttackReplay(t *testing.T) {
	f := newFar(t, nil)
	session, request, temp := f.arrive(bySession(sessionA)), f.arrive(byRequest()), f.arrive(temporary(time.Hour))
	recorded := []seal.Arrival{header(t, session), header(t, request), header(t, temp)}
	f.EndSession(acme, sessionA, seal.CauseEnded)
	f.RequestDone([]seal.ID{request.ID()})
	f.EndKeys(acme, []seal.ID{temp.ID()})
	again := func(when, code string) {
		t.Helper()
		for _, a := range recorded {
			if err := f.Arrive(a); err == nil {
				t.Fatalf("%s: a %s key comes back", when, a.Context.Handling)
			}
			refused(t, f.Arrive(a), code)
			a.Wrapped = nil
			if err := f.Arrive(a); err == nil {
				t.Fatalf("%s: a %s key comes back without its wrapping", when, a.Context.Handling)
			}
		}
	}
	again("at once", seal.CodeGone)
	f.clock.pass(DefaultEpochLife)
	f.turnOver()
	again("in the next epoch", seal.CodeGone)
	f.clock.pass(DefaultEpochLife - 1)
	f.turnOver()
	again("an instant before its epoch is over", seal.CodeGone)
	f.clock.pass(1)
	again("when its epoch is over, before anybody has seen that", seal.CodeGone)
	f.turnOver()
	again("after its epoch", seal.CodeUnknownEpoch)
	if n := len(f.shard(session.ID()).tombs); n > 2 {
		t.Errorf("destroyed keys of %d epochs are remembered", n)
	}
	f.kill()
	f.start()
	again("after a restart", seal.CodeUnknownEpoch)
	f.kill()
	f.clock.reboot()
	f.start()
	again("after a reboot", seal.CodeUnknownEpoch)
}

// ATTACK: a header names a key that is held, or brings one, for something else than
// it was made for: another tenant, transit, session, time to live, handling.
// THIS TEST VERIFIES: each is refused, nothing about the key changes, and its values
// open as before.
//
// promise: P41, P06
func TestAttackOtherContext(t *testing.T) {
	f := newFar(t, nil)
	for _, held := range []bool{true, false} {
		for _, c := range []seal.Context{bySession(sessionA), temporary(time.Minute), byRequest()} {
			s := f.sealer(c)
			right := header(t, s)
			if held {
				if err := f.Arrive(right); err != nil {
					t.Fatal(err)
				}
			}
			for name, change := range map[string]func(*seal.Context){
				"tenant":      func(c *seal.Context) { c.Tenant = other },
				"third":       func(c *seal.Context) { c.Tenant = "third" },
				"destination": func(c *seal.Context) { c.Destination = "another" },
				"transit":     func(c *seal.Context) { c.Transit = "another" },
				"made":        func(c *seal.Context) { c.Made = c.Made.Add(time.Millisecond) },
				"made never":  func(c *seal.Context) { c.Made = time.UnixMilli(999_999_999_999_999) },
				"session":     func(c *seal.Context) { c.Session = sessionB },
				"ttl":         func(c *seal.Context) { c.TTL = 2 * time.Minute; c.Window = seal.Window(c.TTL) },
				"handling": func(c *seal.Context) {
					*c = seal.Context{Tenant: c.Tenant, Destination: c.Destination, Transit: c.Transit, Made: c.Made, Handling: isogate.Temporary, TTL: time.Hour, Window: seal.Window(time.Hour)}
				},
				"persisted": func(c *seal.Context) { c.Handling = isogate.Persisted },
				"nothing":   func(c *seal.Context) { *c = seal.Context{} },
			} {
				for _, wrapped := range []bool{true, false} {
					a := right
					change(&a.Context)
					if !wrapped {
						a.Wrapped = nil
					}
					if err := f.Arrive(a); err == nil {
						t.Errorf("held %v, wrapped %v: a key of a %s comes for another %s", held, wrapped, c.Handling, name)
					}
				}
			}
			for name, change := range map[string]func(*seal.Arrival){
				"epoch": func(a *seal.Arrival) { a.Epoch[0]++ }, "id": func(a *seal.Arrival) { a.ID[9]++ },
				"home": func(a *seal.Arrival) { a.ID[0]++ }, "age": func(a *seal.Arrival) { a.Age = -1 },
				"wrapping": func(a *seal.Arrival) { a.Wrapped = append([]byte{1}, a.Wrapped[1:]...) }, "cut": func(a *seal.Arrival) { a.Wrapped = a.Wrapped[1:] },
			} {
				a := right
				change(&a)
				err := f.Arrive(a)
				// What is held is not unwrapped again.
				if needs := !held || name == "id" || name == "home" || name == "age"; needs && err == nil {
					t.Errorf("held %v: a key comes with another %s", held, name)
				}
			}
			if err := f.Arrive(right); err != nil {
				t.Fatalf("the key itself: %v", err)
			}
			if got := f.look(sealed(t, s, "x")); got != "x" {
				t.Errorf("its value: got %s", got)
			}
		}
	}
	if n := f.arena.next; n > 12 {
		t.Errorf("%d slots were used for 6 keys", n)
	}
}

// ATTACK: a seal names a key under which it was not made.
// THIS TEST VERIFIES: it is withheld, whichever key it names; of a key that is not
// here it is said to be expired.
func TestAttackKeyConfusion(t *testing.T) {
	f := newFar(t, nil)
	c := bySession(sessionB)
	c.Tenant = other
	a, b := f.arrive(bySession(sessionA)), f.arrive(c)
	id, raw, _ := seal.Parse(sealed(t, a, "x"))
	vw := f.View(Viewer{Name: "agent", Allows: everybody})
	moved := append([]byte(nil), raw...)
	named := b.ID()
	copy(moved, named[:])
	for _, test := range []struct {
		name string
		id   seal.ID
		raw  []byte
		want seal.Outcome
	}{
		{"right", id, raw, seal.Revealed},
		{"named otherwise", b.ID(), raw, seal.Withheld},
		{"rewritten", b.ID(), moved, seal.Withheld},
		{"rewritten inside", id, moved, seal.Withheld},
		{"unknown", seal.ID{9}, raw, seal.Expired},
		{"cut", id, raw[:20], seal.Withheld},
		{"empty", id, nil, seal.Withheld},
	} {
		o, out := vw.OpenSeal(nil, test.id, test.raw)
		if out != test.want || (out != seal.Revealed) != (o.Value == nil) {
			t.Errorf("%s: outcome %d, value %v; want outcome %d", test.name, out, o.Value != nil, test.want)
		}
	}
}

// ATTACK: what decides on a viewer's rights is wrong: it changes the context that it
// is given, ends the session while it is asked, panics, or is not there.
// THIS TEST VERIFIES: the vault neither locks up nor believes it; nothing is shown
// that has ended, and no value stays in the scratch of what is not shown.
func TestAttackViewer(t *testing.T) {
	f := newFar(t, nil)
	for _, test := range []struct {
		name   string
		allows func(*seal.Context, isogate.Label) bool
		want   seal.Outcome
	}{
		{"nobody", nil, seal.Withheld},
		{"no right", func(*seal.Context, isogate.Label) bool { return false }, seal.Withheld},
		{"changes the context", func(c *seal.Context, _ isogate.Label) bool {
			*c = seal.Context{Tenant: other, Handling: isogate.Persisted}
			return true
		}, seal.Revealed},
		{"ends the session", func(*seal.Context, isogate.Label) bool {
			f.EndSession(acme, sessionA, seal.CauseEnded)
			return true
		}, seal.Expired},
		{"takes too long", func(*seal.Context, isogate.Label) bool { f.clock.pass(DefaultIdle); return true }, seal.Expired},
		{"asks for the label", func(c *seal.Context, l isogate.Label) bool {
			return l == email && c.Tenant == acme && c.Transit == transit && c.Session == sessionA
		}, seal.Revealed},
		{"panics", func(*seal.Context, isogate.Label) bool { panic("as it may") }, seal.Withheld},
	} {
		s := f.arrive(bySession(sessionA))
		id, raw, _ := seal.Parse(sealed(t, s, "a value"))
		scratch := make([]byte, 0, len(raw))
		var out seal.Outcome
		vw := f.View(Viewer{Name: "agent", Allows: test.allows})
		func() {
			defer func() { _ = recover() }()
			_, out = vw.OpenSeal(scratch, id, raw)
		}()
		if out != test.want {
			t.Errorf("%s: outcome %d, want %d", test.name, out, test.want)
		}
		if vw.Pending() != (test.want == seal.Revealed) {
			t.Errorf("%s: pending %v", test.name, vw.Pending())
		}
		if out != seal.Revealed {
			for _, c := range scratch[:cap(scratch)] {
				if c == 'v' {
					t.Errorf("%s: the value stays in the scratch", test.name)
				}
			}
			continue
		}
		if err := vw.Record(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.turnOver()
	}
	for _, e := range f.receipts(acme) {
		if e.Kind == seal.RevealedTo && e.Viewer != "agent" {
			t.Errorf("an event names %q", e.Viewer)
		}
	}
	text := sealed(t, f.arrive(bySession(sessionA)), "x")
	for _, name := range []string{"", "two\nlines", strings.Repeat("x", seal.MaxViewer+1)} {
		if got := show(t, f.View(Viewer{Name: name, Allows: everybody}), text); got != seal.TextWithheld {
			t.Errorf("to a viewer whose name no receipt can have: %s", got)
		}
	}
	f.EndSession(acme, sessionA, "no\ncause")
	f.turnOver()
}

// ATTACK: a gateway names ever new transits, or makes ever new keys that end at
// once, so that the landing side has to remember them.
// THIS TEST VERIFIES: it is refused at a limit; another tenant is not.
//
// promise: P06
func TestAttackMemory(t *testing.T) {
	f := newFar(t, func(c *Config) { c.MaxKeys = 10; c.EpochLife = time.Minute })
	limit := tombsPerKey * 10 / 2
	for i := range limit {
		s := f.arrive(byRequest())
		f.RequestDone([]seal.ID{s.ID()})
		if n := f.EndKeys(acme, []seal.ID{s.ID()}); n != 0 {
			t.Fatalf("key %d ended twice", i)
		}
	}
	refused(t, f.Arrive(header(t, f.sealer(byRequest()))), seal.CodeFull)
	if n := f.EndKeys(acme, []seal.ID{f.sealer(byRequest()).ID()}); n != 0 {
		t.Error("one more key that never came is remembered")
	}
	c := byRequest()
	c.Tenant = other
	f.arrive(c)
	f.clock.pass(2 * time.Minute)
	f.turnOver()
	f.arrive(byRequest())
	tn := f.named[acme]
	for i := range maxTransits + 1 {
		if _, ok := tn.number(isogate.Transit(fmt.Sprint("t", i))); ok != (i < maxTransits-1) {
			t.Fatalf("transit %d: %v", i, ok)
		}
	}
	c = byRequest()
	c.Transit = "one-more"
	refused(t, f.Arrive(header(t, f.sealer(c))), seal.CodeFull)
}

// TestAtOnce has everything happen at the same time, for the race detector; and of
// many requests that bring the same key, one is its arrival.
func TestAtOnce(t *testing.T) {
	f := newFar(t, nil)
	var wg sync.WaitGroup
	for i := range 8 {
		digest := []string{sessionA, sessionB}[i%2]
		for _, c := range []seal.Context{bySession(digest), temporary(time.Minute), byRequest()} {
			s := f.sealer(c)
			a, text := header(t, s), sealed(t, s, "x")
			for range 3 {
				wg.Go(func() {
					for range 5 {
						_ = f.Arrive(a)
						vw := f.View(Viewer{Name: "agent", Allows: everybody})
						if got := show(t, vw, text); got == seal.TextWithheld {
							t.Error("withheld")
						}
						if err := vw.Record(t.Context()); err != nil {
							t.Error(err)
						}
						if err := f.Settled(t.Context()); err != nil {
							t.Error(err)
						}
					}
					f.RequestDone([]seal.ID{a.ID})
				})
			}
		}
		wg.Go(func() {
			f.EndSession(acme, digest, seal.CauseEnded)
			f.clock.pass(time.Second)
			if err := f.tick(t.Context()); err != nil {
				t.Error(err)
			}
			_, _, _ = f.Receipts(t.Context(), acme, 0, 10)
			_ = f.Ready()
		})
	}
	wg.Wait()
	f.EndSession(acme, sessionA, seal.CauseEnded)
	f.EndSession(acme, sessionB, seal.CauseEnded)
	f.clock.pass(time.Hour)
	f.turnOver()
	for id, cause := range destroyed(f.receipts(acme)) {
		if len(cause) > len(seal.CauseMax) {
			t.Errorf("%s was destroyed: %s", id, cause)
		}
	}
	if f.share.live[0] != 0 || len(f.arena.free) != int(f.arena.next) {
		t.Errorf("%d keys are counted and %d of %d slots free when all have ended", f.share.live[0], len(f.arena.free), f.arena.next)
	}
	for i := range f.arena.next {
		if *f.arena.key(i) != [keySize]byte{} {
			t.Errorf("slot %d is not wiped", i)
		}
	}
}

// jumpingClock jumps when it was read so many times.
type jumpingClock struct {
	*fakeClock

	mu    sync.Mutex
	reads int // until then
	by    time.Duration
}

func (c *jumpingClock) Boot() (string, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reads--; c.reads == 0 {
		c.pass(c.by)
	}
	return c.fakeClock.Boot()
}

// ATTACK: a recorded request is sent again just when its epoch ends, so that the
// vault has forgotten what was destroyed in it when the key is unwrapped.
// THIS TEST VERIFIES: whenever between arrival and taking the epoch ends, the key is
// refused and its slot is given back.
//
// promise: P41
func TestAttackEpochEndsMeanwhile(t *testing.T) {
	for reads := 1; reads <= 4; reads++ {
		f := newFar(t, nil)
		clock := &jumpingClock{fakeClock: f.clock}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		f.cfg.Clock = clock
		f.start()
		s := f.sealer(temporary(time.Hour))
		f.clock.pass(2*DefaultEpochLife - 1)
		a := header(t, s)
		clock.mu.Lock()
		clock.reads, clock.by = reads, 1
		clock.mu.Unlock()
		err := f.Arrive(a)
		if reads == 4 {
			if err != nil {
				t.Errorf("the epoch ends after the key was taken: %v", err)
			}
			continue
		}
		refused(t, err, seal.CodeUnknownEpoch)
		if f.share.live[0] != 0 || len(f.arena.free) != int(f.arena.next) {
			t.Errorf("the epoch ends at reading %d: a slot is not given back", reads)
		}
	}
}

// TestClosedAtOnce: stopping while keys arrive and values are opened neither fails
// nor leaves a key.
func TestClosedAtOnce(t *testing.T) {
	for range 5 {
		f := newFar(t, nil)
		held := f.arrive(bySession(sessionA))
		text := sealed(t, held, "x")
		var as []seal.Arrival
		for range 40 {
			as = append(as, header(t, f.sealer(byRequest())))
		}
		if err := f.Settled(t.Context()); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for _, a := range as[10*w : 10*w+10] {
					if err := f.Arrive(a); err != nil && !errors.Is(err, ErrClosed) {
						t.Error(err)
					}
					vw := f.View(Viewer{Name: "agent", Allows: everybody})
					if got := show(t, vw, text); got == seal.TextWithheld {
						t.Error("withheld")
					}
					if err := vw.Record(t.Context()); err != nil && !errors.Is(err, ErrClosed) {
						t.Error(err)
					}
					f.RequestDone([]seal.ID{a.ID})
				}
			})
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if err := f.Run(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("running what is closed: %v", err)
		}
		f.start()
		f.turnOver()
		if got := destroyed(f.receipts(acme))[held.ID()]; got != seal.CauseDrain {
			t.Errorf("destroyed: %q", got)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

package vault

import (
	"encoding/base64"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isogate/isogate/internal/seal"
)

func b64(b []byte) []byte { return []byte(base64.RawStdEncoding.EncodeToString(b)[:40]) }

// TestEndsToTheInstant: a key opens one nanosecond before its end and not at it,
// though nothing has looked for keys to destroy.
//
// promise: P16, P18
func TestEndsToTheInstant(t *testing.T) {
	for _, test := range []struct {
		name  string
		c     seal.Context
		life  time.Duration
		cause string
	}{
		{"temporary value", temporary(5 * time.Minute), 5 * time.Minute, ""},
		{"short temporary value", temporary(50 * time.Millisecond), 50 * time.Millisecond, ""},
		{"idle session", bySession(sessionA), DefaultIdle, seal.CauseIdle},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFar(t, nil)
			s := f.arrive(test.c)
			text := sealed(t, s, "ada@example.org")
			f.clock.pass(test.life - 1)
			if got := f.look(text); got != "ada@example.org" {
				t.Fatalf("one instant before its end: got %s", got)
			}
			f.clock.pass(1)
			if got := f.look(text); got != seal.TextExpired {
				t.Fatalf("at its end: got %s", got)
			}
			if test.cause == "" {
				f.clock.pass(s.Context().Window) // the key's own end
				test.cause = seal.CauseExpired
			}
			refused(t, f.Arrive(header(t, s)), seal.CodeGone)
			f.turnOver()
			if got := destroyed(f.receipts(acme))[s.ID()]; got != test.cause {
				t.Fatalf("destroyed: %q, want %q", got, test.cause)
			}
		})
	}
}

// TestLongestSession: use does not keep a session beyond its longest life.
func TestLongestSession(t *testing.T) {
	f := newFar(t, nil)
	s := f.arrive(bySession(sessionA))
	text := sealed(t, s, "Ada")
	s.SetHeld()
	for range 48 { // of 10 minutes
		if got := f.look(text); got != "Ada" {
			t.Fatalf("in use: got %s", got)
		}
		f.clock.pass(10*time.Minute - time.Millisecond)
		if err := f.Arrive(header(t, s)); err != nil {
			t.Fatal(err)
		}
		f.clock.pass(time.Millisecond)
	}
	if got := f.look(text); got != seal.TextExpired {
		t.Fatalf("after eight hours: got %s", got)
	}
	f.turnOver()
	if got := destroyed(f.receipts(acme))[s.ID()]; got != seal.CauseMax {
		t.Fatalf("destroyed: %q", got)
	}
}

// TestEnds: what ends a key by word rather than by time.
func TestEnds(t *testing.T) {
	f := newFar(t, nil)
	one, two := f.arrive(bySession(sessionA)), f.arrive(bySession(sessionB))
	c := bySession(sessionA)
	c.Transit = "another"
	three := f.arrive(c)
	req, temp, asked := f.arrive(byRequest()), f.arrive(temporary(time.Minute)), f.arrive(temporary(time.Minute))
	lost := f.sealer(bySession(sessionA)) // never arrives
	texts := map[*seal.Sealer][]byte{}
	for _, s := range []*seal.Sealer{one, two, three, req, temp, asked} {
		texts[s] = sealed(t, s, "x")
	}
	f.RequestDone([]seal.ID{one.ID(), req.ID(), temp.ID(), lost.ID()})
	if got := f.look(texts[req]); got != seal.TextExpired {
		t.Errorf("after its request: got %s", got)
	}
	if got := f.look(texts[one]); got != "x" {
		t.Errorf("a session's after a request: got %s", got)
	}
	if n := f.EndSession(other, sessionA, seal.CauseEnded); n != 0 {
		t.Errorf("another tenant ended %d keys of the session", n)
	}
	if n := f.EndSession(acme, sessionA, seal.CauseEnded); n != 2 {
		t.Errorf("ending the session destroyed %d keys", n)
	}
	if n := f.EndSession(acme, sessionA, seal.CauseEnded); n != 0 {
		t.Errorf("ending it again destroyed %d keys", n)
	}
	if n := f.EndKeys(other, []seal.ID{asked.ID()}); n != 0 {
		t.Errorf("another tenant ended %d keys", n)
	}
	if n := f.EndKeys(acme, []seal.ID{asked.ID(), lost.ID(), one.ID(), {1, 2, 3, 4}}); n != 2 {
		t.Errorf("ended %d keys, want the one that is held and the one that never came", n)
	}
	refused(t, f.Arrive(header(t, lost)), seal.CodeGone)
	for s, want := range map[*seal.Sealer]string{one: seal.TextExpired, three: seal.TextExpired, asked: seal.TextExpired, two: "x", temp: "x"} {
		if got := f.look(texts[s]); got != want {
			t.Errorf("%v: got %s, want %s", s.Context().Session, got, want)
		}
	}
	f.turnOver()
	got := destroyed(f.receipts(acme))
	want := map[seal.ID]string{one.ID(): seal.CauseEnded, three.ID(): seal.CauseEnded, req.ID(): seal.CauseRequest, asked.ID(): seal.CauseAsked, lost.ID(): seal.CauseNotHeld}
	for id, cause := range want {
		if got[id] != cause {
			t.Errorf("%v: destroyed %q, want %q", id, got[id], cause)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d keys were destroyed, want %d", len(got), len(want))
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f.start()
	if got := destroyed(f.receipts(acme)); got[two.ID()] != seal.CauseDrain || got[temp.ID()] != "" {
		t.Errorf("after a stop: %q and %q; want the session's drained and the temporary one kept", got[two.ID()], got[temp.ID()])
	}
	if got := f.look(texts[temp]); got != "x" {
		t.Errorf("the temporary value after a stop and start: got %s", got)
	}
}

// TestRunEndsKeys: Run destroys within a second what has ended, with nobody asking,
// and tells.
func TestRunEndsKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		f := newFar(t, func(c *Config) { c.Clock = &runningClock{began} })
		ctx, done := t.Context(), make(chan error, 1)
		go func() { done <- f.Run(ctx) }()
		st, err := seal.OpenStatement(f.Statement(), f.verifier())
		if err != nil {
			t.Fatal(err)
		}
		s, err := seal.NewSealer(temporary(2*time.Second), st, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Arrive(header(t, s)); err != nil {
			t.Fatal(err)
		}
		key := f.secret(s)
		slot := f.shard(s.ID()).byID[s.ID()]
		text := sealed(t, s, "ada")
		wait(2*time.Second - 1)
		if got := f.look(text); got != "ada" {
			t.Errorf("an instant before the end: got %s", got)
		}
		wait(1)
		if got := f.look(text); got != seal.TextExpired {
			t.Errorf("at the end: got %s", got)
		}
		if *f.arena.key(slot) != key {
			t.Errorf("the key is gone before its window is over")
		}
		wait(s.Context().Window + 2*time.Second)
		synctest.Wait()
		if *f.arena.key(slot) != [keySize]byte{} {
			t.Errorf("the key was not wiped")
		}
		if got := destroyed(f.receipts(acme))[s.ID()]; got != seal.CauseExpired {
			t.Errorf("destroyed: %q", got)
		}
		first := string(f.Statement())
		wait(DefaultEpochLife)
		synctest.Wait()
		if string(f.Statement()) == first {
			t.Errorf("the epoch was not renewed")
		}
		if got := f.epochs.numbers(); len(got) != 2 || got[0] != 1 {
			t.Errorf("epochs %v are alive, want the one in force and the one before", got)
		}
		wait(DefaultEpochLife)
		synctest.Wait()
		if got := f.epochs.numbers(); len(got) != 2 || got[0] != 2 {
			t.Errorf("epochs %v are alive, want the second and the third", got)
		}
	})
}

// numbers is the epochs that are alive.
func (es *epochs) numbers() (ns []uint32) {
	es.mu.RLock()
	defer es.mu.RUnlock()
	for _, e := range es.alive {
		ns = append(ns, e.n)
	}
	return ns
}

// runningClock is the clocks of a synctest bubble.
type runningClock struct{ began time.Time }

func (c *runningClock) Now() time.Time { return time.Now() }
func (c *runningClock) Boot() (string, time.Duration) {
	return "bubble", time.Since(c.began) + time.Hour
}

func wait(d time.Duration) { <-time.After(d) }

// TestClocksNeverLengthen plays random schedules against a model of true time: keys
// are made, brought, late sometimes, and looked at, while either machine's wall
// clock is set either way at any time, and the landing side is stopped, killed and
// rebooted. Nothing ever opens that has ended in truth. Where no wall clock was set
// and nothing was restarted, everything opens that has not.
//
// promise: P16, P18
func TestClocksNeverLengthen(t *testing.T) {
	rounds := uint64(16)
	if testing.Short() {
		rounds = 4
	}
	for seed := range rounds {
		schedule(t, seed)
	}
}

type modelKey struct {
	s     *seal.Sealer
	born  time.Duration // the earliest that an arrival told of, in true time
	used  time.Duration
	texts []modelText
	gone  bool
}

type modelText struct {
	text []byte
	at   time.Duration // since born
}

func schedule(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	f := newFar(t, func(c *Config) { c.Idle, c.Max, c.EpochLife = 20*time.Second, time.Minute, 30*time.Second })
	defer f.Close()
	calm := seed%3 == 0 // nothing is set or restarted
	truth := time.Duration(0)
	pass := func(d time.Duration) { truth += d; f.clock.pass(d) }
	var skew time.Duration // of the gateway's wall clock
	var keys []*modelKey
	steps := []time.Duration{time.Millisecond, time.Second, 7 * time.Second, time.Minute, time.Hour, 24 * time.Hour}
	for range 80 {
		switch op := rnd.IntN(20); {
		case op < 4: // a key is made and brought
			c := bySession(sessionA)
			if rnd.IntN(2) == 0 {
				c = temporary([]time.Duration{time.Second, 10 * time.Second, 40 * time.Second}[rnd.IntN(3)])
			}
			st, err := seal.OpenStatement(f.Statement(), f.verifier())
			if err != nil {
				t.Fatal(err)
			}
			st.NotBefore, st.NotAfter = time.Time{}, time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC) // a gateway that does not look
			at := f.clock.Now().Add(skew)
			s, err := seal.NewSealer(c, st, func() time.Time { return at })
			if err != nil {
				t.Fatal(err)
			}
			a := header(t, s)
			a.Age = time.Duration(rnd.IntN(900)) * time.Millisecond
			born := truth
			pass(a.Age)
			// The request is held up on the way. Clocks that are right tell; where they
			// were set, it looks like a key that was made later, and is not lengthened
			// beyond that.
			if rnd.IntN(3) == 0 {
				late := time.Duration(rnd.IntN(3000)) * time.Millisecond
				pass(late)
				if !calm {
					born += late
				}
			}
			k := &modelKey{s: s, born: born, used: truth}
			p := s.Passage()
			text, _ := p.Append(nil, email, value("x"))
			k.texts = append(k.texts, modelText{text: text})
			if err := f.Arrive(a); err != nil {
				var r *Refusal
				if errors.As(err, &r) && r.Code == seal.CodeUnknownEpoch {
					continue // nobody has renewed it for long
				}
				if calm && !k.ended(truth, f.limits) {
					t.Fatalf("seed %d: %v", seed, err)
				}
				continue
			}
			keys = append(keys, k)
		case op < 8 && len(keys) > 0: // a later request with the same key
			k := keys[rnd.IntN(len(keys))]
			a := header(t, k.s)
			a.Age = truth - k.born
			if rnd.IntN(2) == 0 {
				a.Wrapped = nil
			}
			// It says that the key is older, by what the first one was late or more.
			if rnd.IntN(4) == 0 {
				early := time.Duration(rnd.IntN(2000)) * time.Millisecond
				a.Age += early
			}
			if err := f.Arrive(a); err == nil {
				k.born = min(k.born, truth-a.Age)
				k.used = truth
			} else if !k.ended(truth, f.limits) {
				if !calm {
					continue
				}
				if k.born = min(k.born, truth-a.Age); !k.ended(truth, f.limits) {
					t.Fatalf("seed %d: %v", seed, err)
				}
			}
		case op < 9 && !calm:
			f.clock.set(flip(rnd, steps[rnd.IntN(len(steps))]))
		case op < 10 && !calm:
			skew += flip(rnd, steps[rnd.IntN(len(steps))])
		case op < 11 && !calm:
			switch rnd.IntN(3) {
			case 0:
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
			case 1:
				f.kill()
			case 2:
				f.kill()
				f.clock.reboot()
				for _, k := range keys {
					k.gone = true
				}
			}
			for _, k := range keys {
				k.gone = k.gone || k.s.Context().Session != ""
			}
			f.clock.set(flip(rnd, time.Duration(rnd.IntN(2))*time.Minute))
			pass(time.Duration(rnd.IntN(2000)) * time.Millisecond)
			f.start()
		case op < 13:
			f.turnOver()
		default:
			pass(time.Duration(rnd.IntN(4000)) * time.Millisecond)
		}
		for _, k := range keys {
			for _, x := range k.texts {
				got := f.look(x.text)
				ended := k.gone || k.ended(truth, f.limits) || k.s.Context().TTL > 0 && truth >= k.born+x.at+k.s.Context().TTL
				if got == "x" && ended {
					t.Fatalf("seed %d: a %s value opens %s after its key was born, ttl %s, unused for %s, gone %v", seed, k.s.Context().Handling, truth-k.born, k.s.Context().TTL, truth-k.used, k.gone)
				}
				if got != "x" && !ended && calm {
					t.Fatalf("seed %d: a %s value does not open %s after its key was born, ttl %s, unused for %s", seed, k.s.Context().Handling, truth-k.born, k.s.Context().TTL, truth-k.used)
				}
			}
		}
	}
}

func (k *modelKey) ended(truth time.Duration, l limits) bool {
	c := k.s.Context()
	if c.TTL > 0 {
		return truth >= k.born+c.TTL+c.Window
	}
	return truth >= min(k.born+l.max, k.used+l.idle)
}

func flip(rnd *rand.Rand, d time.Duration) time.Duration {
	if rnd.IntN(2) == 0 {
		return -d
	}
	return d
}

// TestRealClocks: by the clocks of this machine too, nothing opens at a reading of
// them that is past the end, however the process was held up.
//
// promise: P18
func TestRealClocks(t *testing.T) {
	clock, err := MachineClock()
	if err != nil {
		t.Fatal(err)
	}
	f := newFar(t, func(c *Config) { c.Clock = clock })
	st, err := seal.OpenStatement(f.Statement(), f.verifier())
	if err != nil {
		t.Fatal(err)
	}
	const ttl = 150 * time.Millisecond
	_, made := clock.Boot() // not later than the key's
	s, err := seal.NewSealer(temporary(ttl), st, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Arrive(header(t, s)); err != nil {
		t.Fatal(err)
	}
	text := sealed(t, s, "x")
	_, latest := clock.Boot() // the value was sealed before
	for opened := 0; ; {
		_, before := clock.Boot()
		got := f.look(text)
		_, after := clock.Boot()
		switch {
		case got == "x" && before >= latest+ttl:
			t.Fatalf("it opens %s after it was sealed at the latest", before-latest)
		case got == "x":
			opened++
		case after < made+ttl-2*time.Millisecond: // ages are whole milliseconds, rounded the strict way
			t.Fatalf("it does not open %s after its key was made", after-made)
		default:
			t.Logf("opened %d times", opened)
			return
		}
	}
}

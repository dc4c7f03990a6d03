package vault

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/seal"
)

// The test binary runs itself as the process that is killed. The child takes keys,
// reveals values and ends sessions, and prints what it has acknowledged.
const (
	childDir  = "ISOGATE_TEST_VAULT_DIR"
	childSkey = "ISOGATE_TEST_VAULT_SKEY"
	childVkey = "ISOGATE_TEST_VAULT_VKEY"
)

func childConfig(dir, skey string) (Config, error) {
	signer, err := note.NewSigner(skey)
	return Config{Destination: portal, Tenants: []isogate.Tenant{acme, other}, Signer: signer, Dir: filepath.Join(dir, "dir"), Keep: filepath.Join(dir, "keep"), KeepOnDisk: true,
		MaxKeys: 100_000}, err
}

func child() int {
	if err := work(os.Getenv(childDir), os.Getenv(childSkey), os.Getenv(childVkey)); err != nil {
		fmt.Println("error", err)
		return 1
	}
	return 0
}

func work(dir, skey, vkey string) error {
	cfg, err := childConfig(dir, skey)
	if err != nil {
		return err
	}
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return err
	}
	v, err := Open(cfg)
	if err != nil {
		return err
	}
	ctx := context.Background()
	var mu sync.Mutex
	var wg sync.WaitGroup
	failed := make(chan error, 8)
	say := func(what string, id seal.ID) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Println(what, id)
	}
	one := func(i int) error {
		st, err := seal.OpenStatement(v.Statement(), verifier)
		if err != nil {
			return err
		}
		c := []seal.Context{bySession(sessionA), bySession(sessionB), byRequest(), temporary(time.Minute)}[i%4]
		s, err := seal.NewSealer(c, st, nil)
		if err != nil {
			return err
		}
		as, err := seal.ParseHeader([]string{string(s.AppendHeader(nil))}, acme, portal)
		if err != nil {
			return err
		}
		if err := v.Arrive(as[0]); err != nil {
			return err
		}
		p := s.Passage()
		text, _ := p.Append(nil, email, value("x"))
		_, raw, _ := seal.Parse(text)
		if i%3 == 0 {
			vw := v.View(Viewer{Name: "agent", Allows: everybody})
			_, out := vw.OpenSeal(nil, s.ID(), raw)
			if err := vw.Record(ctx); err != nil {
				return err
			}
			if out == seal.Revealed {
				say("revealed", s.ID())
			}
		}
		if err := v.Settled(ctx); err != nil {
			return err
		}
		say("held", s.ID())
		v.RequestDone([]seal.ID{s.ID()})
		if i%50 == 0 {
			v.EndSession(acme, sessionB, seal.CauseEnded)
		}
		return nil
	}
	wg.Go(func() { failed <- v.Run(ctx) })
	for w := range 4 {
		wg.Go(func() {
			for i := w; ; i++ {
				if err := one(i); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	return <-failed
}

// TestKilled kills the landing side in the midst of it, again and again.
//
// ATTACK: whoever runs the landing side kills it after a value was shown, or while
// it holds keys, so that no receipt tells of it.
// THIS TEST VERIFIES: after each kill every reveal that was acknowledged, and the
// end of every key that was, is in the receipts, once, and the chain has no gap;
// and a temporary key that is still alive still is held.
//
// promise: P41
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	skey, vkey, err := note.GenerateKey(nil, "landing.example/support-portal")
	if err != nil {
		t.Fatal(err)
	}
	f := &far{t: t, vkey: vkey}
	if f.cfg, err = childConfig(dir, skey); err != nil {
		t.Fatal(err)
	}
	revealed, held := map[seal.ID]bool{}, map[seal.ID]bool{}
	rounds := 6
	if testing.Short() {
		rounds = 2
	}
	for round := range rounds {
		crash(t, dir, skey, vkey, time.Duration(50+rand.IntN(1500))*time.Millisecond, revealed, held)
		f.start()
		f.turnOver()
		events := f.receipts(acme)
		ends := destroyed(events)
		shown := map[seal.ID]uint64{}
		for _, e := range events {
			if e.Kind == seal.RevealedTo {
				shown[e.Key] += e.N
			}
		}
		for id := range revealed {
			if shown[id] != 1 {
				t.Errorf("round %d: a value under %s was shown once, and receipts tell of %d", round, id, shown[id])
			}
		}
		back := 0
		for id := range held {
			sh := f.shard(id)
			sh.mu.RLock()
			_, lives := sh.byID[id]
			sh.mu.RUnlock()
			switch {
			case lives && ends[id] != "":
				t.Errorf("round %d: %s is held, and receipts say that it was destroyed: %s", round, id, ends[id])
			case lives:
				back++
			case ends[id] == "" || strings.Contains(ends[id], ","):
				t.Errorf("round %d: %s was held, is not, and receipts say: %q", round, id, ends[id])
			}
		}
		t.Logf("round %d: %d keys held, %d of them back, %d values shown, %d events in receipts", round, len(held), back, len(revealed), len(events))
		if back == 0 {
			t.Errorf("round %d: no temporary key came back", round)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			return
		}
	}
}

// crash runs a child for a while and kills it.
func crash(t *testing.T, dir, skey, vkey string, after time.Duration, revealed, held map[seal.ID]bool) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^$")
	cmd.Env = append(os.Environ(), childDir+"="+dir, childSkey+"="+skey, childVkey+"="+vkey)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var timer *time.Timer
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if timer == nil { // it is up
			timer = time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
		}
		what, rest, _ := strings.Cut(lines.Text(), " ")
		if what == "error" {
			t.Errorf("the child: %s", rest)
			_ = cmd.Process.Kill()
			break
		}
		id, err := seal.ParseID(rest)
		if err != nil {
			continue // a line cut off by the kill
		}
		if what == "revealed" {
			revealed[id] = true
		} else {
			held[id] = true
		}
	}
	_ = cmd.Wait()
}

// TestPutBack opens copies of the directories that were taken after each step of a
// life, at later times: what a crash at that point would leave, and what a thief or
// a careless restore brings back.
//
// ATTACK: whoever has the landing side's directories puts an older state of them
// back, to have keys again whose life is over.
// THIS TEST VERIFIES: no state of them, at no later time, opens a value whose life
// is over; and none ever has a key of a session.
//
// promise: P16, P18
func TestPutBack(t *testing.T) {
	f := newFar(t, nil)
	root := filepath.Dir(f.cfg.Dir)
	var states []string
	save := func() {
		// A copy while it is open is what the disk would have.
		to := t.TempDir()
		if err := os.CopyFS(to, os.DirFS(root)); err != nil {
			t.Fatal(err)
		}
		states = append(states, to)
	}
	session := f.arrive(bySession(sessionA))
	save()
	short, long := f.arrive(temporary(10*time.Second)), f.arrive(temporary(100*time.Second))
	save()
	born := f.clock.up
	texts := map[string][]byte{"session": sealed(t, session, "x"), "short": sealed(t, short, "x"), "long": sealed(t, long, "x")}
	secret := f.secret(session)
	if err := f.Settled(t.Context()); err != nil {
		t.Fatal(err)
	}
	save()
	for range 6 {
		f.clock.pass(20 * time.Second)
		f.turnOver()
		save()
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	save()
	opened := 0
	for i, state := range states {
		if in := found(t, state, secret); in != nil {
			t.Errorf("state %d: the key of a session is in %v", i, in)
		}
		for _, late := range []time.Duration{0, 10 * time.Second, 99 * time.Second, 100 * time.Second} {
			at := t.TempDir()
			if err := os.CopyFS(at, os.DirFS(state)); err != nil {
				t.Fatal(err)
			}
			clock := newFakeClock()
			clock.up = born + late
			clock.wall = clock.wall.Add(late)
			g := &far{t: t, clock: clock, cfg: f.cfg, vkey: f.vkey}
			g.cfg.Clock, g.cfg.Dir, g.cfg.Keep = clock, filepath.Join(at, "dir"), filepath.Join(at, "keep")
			g.start()
			for name, ttl := range map[string]time.Duration{"session": 0, "short": 10 * time.Second, "long": 100 * time.Second} {
				got := g.look(texts[name])
				if got == "x" {
					opened++
					if late >= ttl {
						t.Errorf("state %d, after %s: the %s value opens", i, late, name)
					}
				}
			}
			g.turnOver()
			g.receipts(acme)
			if err := g.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if opened == 0 {
		t.Error("nothing ever opened; this test shows nothing")
	}
}

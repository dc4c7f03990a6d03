package vault

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/isogate/isogate/internal/seal"
)

// TestNoFileHasAKey: keys of sessions and requests are in no file at any time;
// temporary ones in the shelf only, and nowhere once they have ended.
//
// promise: P16, P18, P41
func TestNoFileHasAKey(t *testing.T) {
	f := newFar(t, nil)
	session, request, temp := f.arrive(bySession(sessionA)), f.arrive(byRequest()), f.arrive(temporary(time.Minute))
	keys := map[string][keySize]byte{"session": f.secret(session), "request": f.secret(request), "temporary": f.secret(temp)}
	if err := f.Settled(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.turnOver()
	for name, key := range keys {
		if in := found(t, f.cfg.Dir, key); in != nil {
			t.Errorf("the %s key is in %v", name, in)
		}
		in := found(t, f.cfg.Keep, key)
		if want := name == "temporary"; (in != nil) != want {
			t.Errorf("the %s key is in %v of the kept ones", name, in)
		}
	}
	f.clock.pass(time.Hour)
	f.turnOver()
	for _, when := range []string{"ended", "stopped"} {
		for name, key := range keys {
			if in := append(found(t, f.cfg.Dir, key), found(t, f.cfg.Keep, key)...); in != nil {
				t.Errorf("%s: the %s key is in %v", when, name, in)
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestShelfOverRestarts: what a temporary key survives, and what not.
//
// promise: P18
func TestShelfOverRestarts(t *testing.T) {
	for _, test := range []struct {
		name  string
		do    func(*far)
		want  string
		cause string
	}{
		{"stop and start", func(f *far) { f.clock.pass(time.Second) }, "x", ""},
		{"at once", func(*far) {}, "x", ""},
		{"another boot", func(f *far) { f.clock.reboot() }, seal.TextExpired, seal.CauseRestart},
		{"wall clock set back", func(f *far) { f.clock.pass(time.Second); f.clock.set(-2 * time.Second) }, seal.TextExpired, seal.CauseClock},
		{"wall clock set back by an instant", func(f *far) { f.clock.set(-1) }, seal.TextExpired, seal.CauseClock},
		{"wall clock set forward a little", func(f *far) { f.clock.set(time.Second) }, "x", ""},
		{"wall clock set forward", func(f *far) { f.clock.set(time.Hour) }, seal.TextExpired, seal.CauseExpired},
		{"until it ended", func(f *far) { f.clock.pass(67 * time.Second) }, seal.TextExpired, seal.CauseExpired},
		{"until the value ended", func(f *far) { f.clock.pass(60 * time.Second) }, seal.TextExpired, ""},
		{"an instant before the value ends", func(f *far) { f.clock.pass(60*time.Second - 1) }, "x", ""},
		{"a boot clock that runs back", func(f *far) { f.clock.up -= time.Second }, seal.TextExpired, seal.CauseClock},
		{"a changed slot", func(f *far) { flipByte(f.t, filepath.Join(f.cfg.Keep, shelfName), slotSize+slotNumbers) }, seal.TextExpired, seal.CauseRestart},
		{"a changed head", func(f *far) { flipByte(f.t, filepath.Join(f.cfg.Keep, shelfName), 20) }, seal.TextExpired, seal.CauseRestart},
		{"a file cut short", func(f *far) {
			if err := os.Truncate(filepath.Join(f.cfg.Keep, shelfName), slotSize+100); err != nil {
				f.t.Fatal(err)
			}
		}, seal.TextExpired, seal.CauseRestart},
		{"no place for them any more", func(f *far) { f.cfg.Keep = "" }, seal.TextExpired, seal.CauseRestart},
		{"no such tenant any more", func(f *far) { f.cfg.Tenants = f.cfg.Tenants[1:] }, seal.TextExpired, "-"},
	} {
		for _, killed := range []bool{false, true} {
			t.Run(test.name, func(t *testing.T) {
				f := newFar(t, nil)
				s := f.arrive(temporary(time.Minute))
				text, key := sealed(t, s, "x"), f.secret(s)
				f.turnOver()
				if killed {
					f.kill()
				} else if err := f.Close(); err != nil {
					t.Fatal(err)
				}
				keep := f.cfg.Keep
				test.do(f)
				f.start()
				if got := f.look(text); got != test.want {
					t.Fatalf("got %s, want %s", got, test.want)
				}
				f.turnOver()
				if test.cause == "-" {
					return // nobody may fetch its receipts
				}
				if got := destroyed(f.receipts(acme))[s.ID()]; got != test.cause {
					t.Errorf("destroyed: %q, want %q", got, test.cause)
				}
				if in := found(t, keep, key); test.cause != "" && f.cfg.Keep != "" && in != nil {
					t.Errorf("it was destroyed and is in %v", in)
				}
				if test.cause != "" {
					refused(t, f.Arrive(header(t, s)), seal.CodeUnknownEpoch)
				}
			})
		}
	}
}

func flipByte(t *testing.T, path string, at int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[at] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestNoReceiptBeforeTheWipe: while the shelf cannot be wiped, no receipt says that
// the key is destroyed, and the metric says that something is wrong.
//
// promise: P41
func TestNoReceiptBeforeTheWipe(t *testing.T) {
	f := newFar(t, nil)
	s, keyless := f.arrive(temporary(time.Minute)), f.arrive(bySession(sessionA))
	whole := f.shelf.(*shelf).f
	readOnly, err := os.Open(whole.Name())
	if err != nil {
		t.Fatal(err)
	}
	f.shelf.(*shelf).f = readOnly
	f.clock.pass(time.Hour)
	for range 3 {
		f.cutAt -= cutEvery
		if err := f.tick(t.Context()); err == nil {
			t.Fatal("a wipe that failed is not told")
		}
	}
	if got := destroyed(f.receipts(acme)); got[s.ID()] != "" || got[keyless.ID()] == "" {
		t.Errorf("destroyed: %v; want the session's key only", got)
	}
	if n := gauge(t, f.Vault.cfg.Metrics.unwiped); n != 1 {
		t.Errorf("the metric says %v unwiped keys", n)
	}
	f.shelf.(*shelf).f = whole
	if err := readOnly.Close(); err != nil {
		t.Fatal(err)
	}
	f.turnOver()
	f.turnOver()
	if got := destroyed(f.receipts(acme))[s.ID()]; got != seal.CauseExpired {
		t.Errorf("after the wipe: destroyed %q", got)
	}
	if n := gauge(t, f.Vault.cfg.Metrics.unwiped); n != 0 {
		t.Errorf("after the wipe the metric says %v unwiped keys", n)
	}
}

// TestSlotsAreUsedAgain: the shelf does not grow with the number of keys that were
// ever on it.
func TestSlotsAreUsedAgain(t *testing.T) {
	f := newFar(t, nil)
	for range 50 {
		f.arrive(temporary(time.Second))
		f.clock.pass(3 * time.Second)
		f.turnOver()
	}
	info, err := f.shelf.(*shelf).f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 4*slotSize {
		t.Errorf("after 50 keys, one at a time, the shelf has %d bytes", info.Size())
	}
}

// TestShelfOnDisk: a directory on a disk is refused unless it is allowed.
func TestShelfOnDisk(t *testing.T) {
	for _, dir := range []string{t.TempDir(), "/dev/shm"} {
		dir, err := os.MkdirTemp(dir, "keep")
		if err != nil {
			t.Logf("%s: %v", dir, err)
			continue
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		file, err := os.Create(filepath.Join(dir, "probe"))
		if err != nil {
			t.Fatal(err)
		}
		memory := inMemory(file)
		_ = file.Close()
		f := newFar(t, func(c *Config) { c.Keep = "" })
		_ = f.Close()
		f.cfg.Keep, f.cfg.KeepOnDisk = dir, false
		v, err := Open(f.cfg)
		if memory != (err == nil) {
			t.Errorf("%s, in memory %v: %v", dir, memory, err)
		}
		if err == nil {
			if err := v.Close(); err != nil {
				t.Error(err)
			}
		} else if !strings.Contains(err.Error(), "/run") {
			t.Errorf("the error does not say what to do: %v", err)
		}
	}
}

// TestOneProcess: a second process is kept off both directories.
func TestOneProcess(t *testing.T) {
	f := newFar(t, nil)
	if _, err := Open(f.cfg); !errors.Is(err, ErrInUse) {
		t.Errorf("a second vault over the same directories: %v", err)
	}
	second := f.cfg
	second.Dir = t.TempDir()
	if _, err := Open(second); !errors.Is(err, ErrInUse) {
		t.Errorf("a second vault over the same kept keys: %v", err)
	}
}

func gauge(t *testing.T, g prometheus.Gauge) float64 {
	t.Helper()
	var m dto.Metric
	if err := g.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetGauge().GetValue()
}

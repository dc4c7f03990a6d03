package journal

import (
	"bufio"
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sys/unix"

	"github.com/isogate/isogate"
)

// The test binary runs itself as the process that is killed. The child appends
// under load and prints the ID of an entry once it is acknowledged.
const (
	childDir  = "ISOGATE_TEST_JOURNAL_DIR"
	childSkey = "ISOGATE_TEST_JOURNAL_SKEY"
	childVkey = "ISOGATE_TEST_JOURNAL_VKEY"
	childDB   = "ISOGATE_TEST_JOURNAL_DATABASE" // instead of the directory, if it is set
	// childWriters append at the same time.
	childWriters = 16
)

func child() int {
	signer, err := note.NewSigner(os.Getenv(childSkey))
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	cfg := testKey{signer, os.Getenv(childVkey)}.config(os.Getenv(childDir))
	if url := os.Getenv(childDB); url != "" {
		cfg.Database, cfg.Dial = url, dial
	}
	j, err := Open(context.Background(), cfg)
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	go func() { _ = j.Run(context.Background()) }()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for w := range childWriters {
		wg.Go(func() {
			for i := 0; ; i++ {
				e := egress(w*1_000_000 + i)
				if err := j.Append(context.Background(), e); err != nil {
					return
				}
				mu.Lock()
				fmt.Println(e.ID, e.Seq)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return 0
}

// acked is the entries that were acknowledged, by ID.
type acked map[isogate.EntryID]uint64

// crash runs a child over a journal for a while and calls end in the midst of it; it
// adds what was acknowledged, and returns when the child is gone.
func (a acked) crash(t *testing.T, cfg Config, skey, vkey string, after time.Duration, end func(*os.Process)) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^$")
	cmd.Env = append(os.Environ(), childDir+"="+filepath.Join(cfg.Dir, "."), childDB+"="+cfg.Database, childSkey+"="+skey, childVkey+"="+vkey)
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
			timer = time.AfterFunc(after, func() { end(cmd.Process) })
		}
		id, seq, _ := strings.Cut(lines.Text(), " ")
		if id == "error" {
			t.Errorf("the child: %s", seq)
			_ = cmd.Process.Kill()
			break
		}
		n, err := strconv.ParseUint(seq, 10, 64)
		if err != nil {
			continue // a line cut off by the kill
		}
		a[isogate.EntryID(id)] = n
	}
	_ = cmd.Wait()
}

// check verifies the journal after a crash: every acknowledged entry is there once,
// at the seq that was acknowledged, whole, and under a checkpoint.
func (a acked) check(t *testing.T, cfg Config, key testKey) {
	t.Helper()
	j, stop := open(t, cfg)
	defer stop()
	sealedAll(t, j)
	n, err := j.count(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[isogate.EntryID]uint64, n)
	err = j.each(t.Context(), 0, n, func(seq uint64, body []byte) error {
		e, err := decode(body)
		if err != nil {
			return err
		}
		if _, twice := seen[e.ID]; twice {
			t.Errorf("entry %s is there twice", e.ID)
		}
		seen[e.ID] = seq
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	lost := 0
	for id, seq := range a {
		if at, ok := seen[id]; !ok || at != seq {
			if lost++; lost < 5 {
				t.Errorf("entry %s was acknowledged as %d; found: %t, as %d", id, seq, ok, at)
			}
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d acknowledged entries are lost", lost, len(a))
	}
	rep, err := j.Verify(t.Context(), key.vkey)
	if err != nil || rep.Size != n {
		t.Errorf("%+v, %v", rep, err)
	}
}

func crashKey(t *testing.T) (skey string, key testKey) {
	t.Helper()
	skey, vkey, err := note.GenerateKey(crand.Reader, "isogate/acme")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	return skey, testKey{signer, vkey}
}

// Accident: the process is killed at any instant under load. This test verifies
// that no acknowledged entry is lost, doubled or half-written, and that the log
// goes on.
//
// promise: P23
func TestKill(t *testing.T) {
	conformance(t, func(t *testing.T, fresh func(testing.TB) site) { killed(t, fresh(t)) })
}

func killed(t *testing.T, at site) {
	rounds := 8
	if testing.Short() {
		rounds = 3
	}
	skey, key := crashKey(t)
	all := acked{}
	for range rounds {
		all.crash(t, at.config(key), skey, key.vkey, time.Duration(rand.IntN(250))*time.Millisecond, func(p *os.Process) { _ = p.Kill() })
		all.check(t, at.config(key), key)
	}
	if len(all) < rounds {
		t.Errorf("only %d entries were acknowledged in %d rounds", len(all), rounds)
	}
	t.Logf("%d entries acknowledged in %d rounds", len(all), rounds)
}

// Accident: the power fails. An ext4 file system of its own is shut down without
// a flush (EXT4_IOC_SHUTDOWN), which drops whatever was not synced, and mounted again.
//
// promise: P23
func TestPowerCut(t *testing.T) {
	skey, key := crashKey(t)
	all := acked{}
	image := filepath.Join(t.TempDir(), "disk")
	mount := mountExt4(t, image, 96<<20)
	for round := range 3 {
		cfg := key.config(filepath.Join(mount, "journal"))
		all.crash(t, cfg, skey, key.vkey, time.Duration(150+rand.IntN(250))*time.Millisecond, func(p *os.Process) {
			// Without power nothing runs on: a sync that the shutdown overtakes may still
			// return without an error, but nobody is left to take it for an answer.
			stopProcess(t, p)
			if err := shutdownExt4(mount); err != nil {
				t.Errorf("EXT4_IOC_SHUTDOWN: %v", err)
			}
			_ = p.Kill()
		})
		remount(t, image, mount)
		all.check(t, cfg, key)
		if len(all) == 0 {
			t.Fatalf("round %d: nothing was acknowledged", round)
		}
	}
	t.Logf("%d entries acknowledged", len(all))
}

// stopProcess has every thread of a process stand still.
func stopProcess(t *testing.T, p *os.Process) {
	if err := p.Signal(unix.SIGSTOP); err != nil {
		t.Errorf("SIGSTOP: %v", err)
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range 5000 {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Pid))
		if err != nil || strings.Contains(string(status), "State:\tT") {
			return
		}
		<-tick.C
	}
	t.Error("the process does not stop")
}

// mountExt4 mounts a new ext4 file system of its own, or skips the test.
func mountExt4(t *testing.T, image string, size int64) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a file system of its own")
	}
	mkfs, err := exec.LookPath("mkfs.ext4")
	if err != nil {
		t.Skip("mkfs.ext4 is not installed")
	}
	f, err := os.Create(image)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(mkfs, "-q", "-F", image).CombinedOutput(); err != nil {
		t.Skipf("mkfs.ext4: %v: %s", err, out)
	}
	mount := image + ".mnt"
	if err := os.Mkdir(mount, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-o", "loop", image, mount).CombinedOutput(); err != nil {
		t.Skipf("no loop mount here: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", mount).Run() })
	return mount
}

func remount(t *testing.T, image, mount string) {
	t.Helper()
	eventually(t, "umount", func() bool { return exec.Command("umount", mount).Run() == nil })
	if out, err := exec.Command("mount", "-o", "loop", image, mount).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v: %s", err, out)
	}
}

// shutdownExt4 is EXT4_IOC_SHUTDOWN, _IOR('X', 125, __u32), with EXT4_GOING_FLAGS_NOLOGFLUSH.
func shutdownExt4(mount string) error {
	const ioctl, noLogFlush = 0x8004587d, 2
	d, err := os.Open(mount)
	if err != nil {
		return err
	}
	defer d.Close()
	return unix.IoctlSetPointerInt(int(d.Fd()), ioctl, noLogFlush)
}

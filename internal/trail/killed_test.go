package trail

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/isogate/isogate/internal/journal"
)

// The test binary runs itself as the process that is killed.
const childDir = "ISOGATE_TEST_TRAIL_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		os.Exit(child(dir))
	}
	os.Exit(m.Run())
}

// child builds the trail of a journal, and says whenever there is more. It does not
// outlive the test, whose end of the standard input closes however the test ends.
func child(dir string) int {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	j, err := journal.OpenReader(filepath.Join(dir, "journal"))
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	tr, err := open(context.Background(), Config{Dir: filepath.Join(dir, "trail"), Journal: j, Every: time.Millisecond, Share: 1}, narrow)
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	go func() { _ = tr.Run(context.Background()) }()
	for {
		next, more := tr.Watch()
		fmt.Println("next", next)
		<-more
	}
}

// Fault: the gateway is killed (SIGKILL) while it builds the trail. This test verifies
// that whatever is on disk then is right as far as it goes, that it is not thrown away,
// and that what is read after it makes it whole.
func TestKilledWhileItIsBuilt(t *testing.T) {
	h := newHistory(t, 21)
	h.grow(400)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	begins := uint64(0)
	for i := range 12 {
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), childDir+"="+h.dir)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		// The first line says where it begins; another comes when there is something new.
		for more := h.r.IntN(3); lines.Scan() && more > 0; more-- {
			h.grow(1 + h.r.IntN(30))
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
		_ = in.Close()
		if i%3 < 2 {
			continue
		}
		tr := begun(t, Config{Dir: filepath.Join(h.dir, "trail"), Journal: h.j, Logger: quiet(t)}, narrow)
		if at := tr.Standing().Next; at < begins {
			t.Errorf("what was written up to entry %d goes up to %d", begins, at)
		} else {
			begins = at
		}
		caughtUp(t, tr)
		same(t, h, tr)
		if err := tr.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if begins == 0 {
		t.Error("nothing was ever written before a kill")
	}
}

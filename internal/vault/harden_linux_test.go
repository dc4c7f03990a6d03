package vault

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// childHarden has the test binary harden itself and say what came of it.
const childHarden = "ISOGATE_TEST_VAULT_HARDEN"

func hardened() int {
	if err := Harden(); err != nil {
		fmt.Println(err)
		return 1
	}
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	var core unix.Rlimit
	if err == nil {
		err = unix.Getrlimit(unix.RLIMIT_CORE, &core)
	}
	fmt.Println(dumpable, core.Cur, core.Max, err)
	return 0
}

// TestHarden: the process leaves no core file and is closed to others of its user.
func TestHarden(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^$")
	cmd.Env = append(os.Environ(), childHarden+"=1")
	if out, err := cmd.Output(); err != nil || string(out) != "0 0 0 <nil>\n" {
		t.Errorf("the child says %q, %v", out, err)
	}
}

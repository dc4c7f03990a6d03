package packs_test

import (
	"os"
	"testing"
	"time"

	"github.com/isogate/isogate/internal/policy"
	"github.com/isogate/isogate/packs"
)

// now is within the life of every rule of the packs here.
var now = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

// What is embedded is the pack that lies here, whole.
func TestTheEmbeddedPackIsThePack(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, packs.Reference()); err != nil {
		t.Fatal(err)
	}
	embedded, err := policy.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	here, err := policy.Load("reference")
	if err != nil {
		t.Fatal(err)
	}
	if a, b := embedded.Plan().Digest, here.Plan().Digest; a != b {
		t.Errorf("embedded %s, here %s", a, b)
	}
}

// runCases runs the tests that lie beside a pack's policy and returns how many passed.
func runCases(t *testing.T, dir string) int {
	t.Helper()
	p, err := policy.Check(dir, now)
	if err != nil {
		t.Fatal(err)
	}
	report, err := p.Test(now)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range report.Cases {
		for _, f := range c.Failures {
			t.Errorf("%s: %s:%d: %s", c.Name, f.File, f.Line, f.Message)
		}
	}
	return len(report.Cases) - report.Failed()
}

// promise: P08
func TestReferencePackPassesItsOwnTests(t *testing.T) {
	if n := runCases(t, "reference"); n < 20 {
		t.Errorf("%d cases passed; the pack should have 20 at least", n)
	}
}

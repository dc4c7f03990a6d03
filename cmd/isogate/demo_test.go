package main

import (
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate/internal/hub"
	"github.com/isogate/isogate/internal/policy"
	"github.com/isogate/isogate/packs"
)

// The demo's pack is good, and passes the shipped pack's tests and its own. Of the
// shipped files it takes the place of those alone that are a deployment's to write, and
// of tests of what a landing seals.
//
// promise: P08
func TestTheDemosPack(t *testing.T) {
	dir, at := t.TempDir(), time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	if err := writeDemoPack(dir, demoLandingKey(t)); err != nil {
		t.Fatal(err)
	}
	pack, err := policy.Check(dir, at)
	if err != nil {
		t.Fatal(err)
	}
	report, err := pack.Test(at)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range report.Cases {
		for _, f := range c.Failures {
			t.Errorf("%s: %s:%d: %s", c.Name, f.File, f.Line, f.Message)
		}
	}
	own, err := fs.Sub(demoFiles, "demo/pack")
	if err != nil {
		t.Fatal(err)
	}
	var replaced []string
	err = fs.WalkDir(own, ".", func(p string, e fs.DirEntry, err error) error {
		if _, missing := fs.Stat(packs.Reference(), p); err == nil && !e.IsDir() && missing == nil {
			replaced = append(replaced, p)
		}
		return err
	})
	if want := []string{"destinations.yaml", "never.yaml", "pack.yaml", "tests/support-login.yaml", "tests/support-session.yaml", "tests/support-ticket-list.yaml"}; err != nil || !slices.Equal(replaced, want) {
		t.Errorf("of the shipped pack, the demo replaces %v, want %v (%v)", replaced, want, err)
	}
	if len(report.Cases) < 25 {
		t.Errorf("there are %d cases", len(report.Cases))
	}
}

// demoLandingKey is the public half of some landing's key.
func demoLandingKey(t *testing.T) string {
	t.Helper()
	key, err := (&outside{dir: t.TempDir()}).key()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// What the shipped pack rules out for the vendor's own services, the demo's does too.
func TestTheDemosPackKeepsTheShippedInvariants(t *testing.T) {
	shipped, own := neverLines(t, packs.Reference(), "."), neverLines(t, demoFiles, "demo/pack")
	for _, line := range shipped {
		if line = towardsSupport(line); !slices.Contains(own, line) {
			t.Errorf("never.yaml of the demo lacks %s", line)
		}
	}
	if len(shipped) == 0 {
		t.Error("the shipped pack rules out nothing")
	}
}

// The manifests of the demo are understood without a warning that matters, and the
// second asks for one host more.
func TestTheDemosManifests(t *testing.T) {
	var rows [2][]string
	for i, name := range []string{botManifest1, botManifest2} {
		text, err := manifestOf(name)
		if err != nil {
			t.Fatal(err)
		}
		_, v, err := hub.ReadManifest(name, text, nil, false)
		if err != nil || len(v.Refused) > 0 {
			t.Fatalf("%s: %v %v", name, err, v.Refused)
		}
		for _, r := range v.Rows {
			rows[i] = append(rows[i], r.Row)
		}
	}
	if len(rows[0]) != 3 || len(rows[1]) != 4 || !slices.Equal(rows[0], rows[1][:3]) {
		t.Errorf("got %q and %q", rows[0], rows[1])
	}
}

// neverLines are the invariants of a pack, a line each.
func neverLines(t *testing.T, from fs.FS, dir string) (lines []string) {
	t.Helper()
	text, err := fs.ReadFile(from, path.Join(dir, "never.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "- never:") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// towardsSupport is an invariant for everywhere as one for the purpose that all of
// the vendor's own ways here have. A tunnel would break the former.
func towardsSupport(line string) string {
	return strings.Replace(line, `destination: "*"`, "purpose: support", 1)
}

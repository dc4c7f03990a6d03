package tenant

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"
)

// TestMain lets the test binary be the process that is killed.
func TestMain(m *testing.M) {
	dir := os.Getenv("ISOGATE_TEST_KEYS")
	switch os.Getenv("ISOGATE_TEST_ROLE") {
	case "rotate":
		k, err := Open(dir, "acme")
		for err == nil {
			if err = k.Rotate(); err == nil {
				fmt.Fprintln(os.Stdout, k.Primary())
			}
		}
		fmt.Fprintln(os.Stderr, err)
	case "authority":
		k, err := Open(dir, "acme")
		for i := 0; err == nil; i++ {
			change := k.RotateAuthority
			if i%2 == 1 {
				change = k.DistrustAuthority
			}
			var a *Authority
			if a, err = change(time.Now()); err == nil {
				fmt.Fprintln(os.Stdout, a.Fingerprint())
			}
		}
		fmt.Fprintln(os.Stderr, err)
	case "create":
		fmt.Fprintln(os.Stdout, "begin")
		for i := 0; ; i++ {
			if _, err := Create(filepath.Join(dir, strconv.Itoa(i)), "acme"); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return
			}
		}
	default:
		m.Run()
	}
}

// killed runs the test binary in a role and kills it at an arbitrary instant
// after it has printed a few lines, which are returned.
func killed(t *testing.T, role, dir string, lines, spin int) []string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "ISOGATE_TEST_ROLE="+role, "ISOGATE_TEST_KEYS="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var got []string
	r := bufio.NewScanner(out)
	for len(got) < lines && r.Scan() {
		got = append(got, r.Text())
	}
	for range spin {
		_, _ = os.Stat(dir) // a few hundred nanoseconds each
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for r.Scan() { // what it had printed before it died was done
		got = append(got, r.Text())
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the process ended by itself")
	}
	if len(got) < lines {
		t.Fatalf("the process ended by itself after %d of %d lines", len(got), lines)
	}
	return got
}

// A process that is killed while it rotates leaves the old keyring or the new
// one: it opens, and has every key that a rotation has returned for.
func TestKilledWhileRotating(t *testing.T) {
	_, dir := mustCreate(t)
	known := mustOpen(t, dir).IDs()
	for round := range 20 {
		for _, line := range killed(t, "rotate", dir, 1+rand.IntN(3), rand.IntN(2000)) {
			id, err := strconv.ParseUint(line, 10, 32)
			if err != nil {
				t.Fatal(err)
			}
			known = append(known, uint32(id))
		}
		k, err := Open(dir, "acme")
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		for _, id := range known {
			if !slices.Contains(k.IDs(), id) {
				t.Fatalf("round %d: key %08x was lost", round, id)
			}
		}
		if err := k.Rotate(); err != nil {
			t.Fatalf("round %d: what was left stands in the way: %v", round, err)
		}
		known = append(known, k.Primary())
	}
}

// A process that is killed while it changes the authority leaves the old one or
// the new one, and a public file that has it; no older one comes back.
func TestKilledWhileChangingTheAuthority(t *testing.T) {
	k, dir := mustCreate(t)
	first, err := k.CreateAuthority(noon)
	if err != nil {
		t.Fatal(err)
	}
	past := []string{first.Fingerprint()}
	for round := range 20 {
		past = append(past, killed(t, "authority", dir, 1+rand.IntN(4), rand.IntN(3000))...)
		a, err := k.Authority()
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if at := slices.Index(past, a.Fingerprint()); at >= 0 && at != len(past)-1 {
			t.Fatalf("round %d: the authority is change %d, after %d were made", round, at, len(past)-1)
		}
		bundle, err := os.ReadFile(filepath.Join(dir, interceptPublic))
		if err != nil {
			t.Fatal(err)
		}
		verify(t, mustLeaf(t, a, "api.example.com", time.Now()), bundle, "api.example.com", time.Now())
		if a, err = k.RotateAuthority(time.Now()); err != nil {
			t.Fatalf("round %d: what was left stands in the way: %v", round, err)
		}
		past = append(past, a.Fingerprint())
	}
}

// Every state that making and changing an authority passes through, one by one.
func TestUnfinishedAuthority(t *testing.T) {
	k, dir := mustCreate(t)
	put := func(name string, b []byte, mode fs.FileMode) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), b, mode); err != nil {
			t.Fatal(err)
		}
	}
	get := func(name string) []byte {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, name := range []string{interceptPublic + newSuffix, interceptPublic, interceptFile + newSuffix} {
		put(name, []byte("partly"), 0o600)
		_, err := k.Authority()
		wants(t, err, fs.ErrNotExist, interceptFile, "isogate tenant intercept create")
		mustOpen(t, dir)
	}
	first, err := k.CreateAuthority(noon)
	if err != nil {
		t.Fatal(err)
	}
	oldKey := get(interceptFile)
	second, err := k.DistrustAuthority(noon)
	if err != nil {
		t.Fatal(err)
	}
	// The public file was written, the key was not: the old one is in force.
	both := slices.Concat(second.PEM(), first.PEM())
	newKey := get(interceptFile)
	put(interceptFile, oldKey, 0o600)
	put(interceptPublic, both, 0o644)
	if a, err := k.Authority(); err != nil || a.Fingerprint() != first.Fingerprint() {
		t.Errorf("before the key: %v", err)
	}
	// The key was written, the public file not yet made shorter.
	put(interceptFile, newKey, 0o600)
	if a, err := k.Authority(); err != nil || a.Fingerprint() != second.Fingerprint() {
		t.Errorf("after the key: %v", err)
	}
}

// A process that is killed while it creates keyrings leaves each whole, not
// begun, or visibly unfinished, and what the message says helps.
func TestKilledWhileCreating(t *testing.T) {
	unfinished := 0
	for range 20 {
		base := t.TempDir()
		killed(t, "create", base, 1, rand.IntN(4000))
		entries, err := os.ReadDir(base)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			dir := filepath.Join(base, e.Name())
			_, err := Open(dir, "acme")
			switch {
			case err == nil:
				continue
			case errors.Is(err, ErrUnfinished):
				unfinished++
				_, err := Create(dir, "acme")
				wants(t, err, ErrUnfinished, dir, "remove the directory")
				if err := os.RemoveAll(dir); err != nil {
					t.Fatal(err)
				}
			case !errors.Is(err, fs.ErrNotExist):
				t.Fatal(err)
			}
			if _, err := Create(dir, "acme"); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d of 20 were caught in the middle", unfinished)
}

// Every state that a creation passes through, one by one.
func TestUnfinishedCreation(t *testing.T) {
	_, whole := mustCreate(t)
	steps := []string{checkpointFile + newSuffix, checkpointFile, publicFile + newSuffix, publicFile, keysetFile + newSuffix}
	for n := 1; n <= len(steps); n++ {
		dir := filepath.Join(t.TempDir(), "keys")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range steps[:n] {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("partly"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, err := Open(dir, "acme")
		wants(t, err, ErrUnfinished, dir, keysetFile, "remove the directory")
		_, err = Create(dir, "acme")
		wants(t, err, ErrUnfinished, dir)
	}
	// A file on its way in a keyring that is whole is what a killed rotation leaves.
	if err := os.WriteFile(filepath.Join(whole, keysetFile+newSuffix), []byte("partly"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := mustOpen(t, whole).Rotate(); err != nil {
		t.Error(err)
	}
}

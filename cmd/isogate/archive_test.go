package main

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/isogate/isogate/internal/archive"
	"github.com/isogate/isogate/internal/policy"
)

// TestEveryPackThatJudgedIsKept: each pack that was in force can be opened by the digest
// that entries name, and one that did not load is not among them.
func TestEveryPackThatJudgedIsKept(t *testing.T) {
	s := newSite(t, "")
	s.start()
	digest := func() string {
		files, err := policy.ReadFiles(filepath.Join(s.dir, "pack"))
		if err != nil {
			t.Fatal(err)
		}
		return files.Digest()
	}
	reload := func(text, say string) {
		s.write("pack/pack.yaml", text)
		if err := s.process.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		s.await(say)
	}
	want := []string{digest()}
	reload("pack: test\nversion: 2\n", "msg=reloaded")
	want = append(want, digest())
	reload("pack: test\nversion: 3\nunknown: key\n", "not reloaded")

	packs := filepath.Join(s.dir, "state", "packs")
	reload("pack: test\nversion: 4\n", "msg=reloaded")
	want = append(want, digest())
	if resp, body, err := s.post(`{"state":"open"}`); err != nil || resp.StatusCode != 200 {
		t.Errorf("%v %v %s", err, resp, body)
	}
	if status := s.stop(syscall.SIGTERM); status != 0 {
		t.Errorf("exit status %d", status)
	}
	a, err := archive.New(packs)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	var loaded []string
	for _, e := range s.entries() {
		if e.Act == "pack loaded" {
			loaded = append(loaded, e.Pack)
		}
		if e.Pack == "" {
			continue
		}
		if p, err := a.Open(e.Pack); err != nil || p.Plan().Digest != e.Pack {
			t.Errorf("the pack of entry %s: %v", e.ID, err)
		}
	}
	if !slices.Equal(loaded, want) {
		t.Errorf("loaded: %v, want %v", loaded, want)
	}
	list, err := a.List()
	if err != nil || len(list) != len(want) {
		t.Errorf("%d packs are kept, want %d: %v", len(list), len(want), err)
	}
}

// TestGatewayGoesOnWithoutItsArchive: what cannot be archived is said, and stops nothing.
func TestGatewayGoesOnWithoutItsArchive(t *testing.T) {
	s := newSite(t, "")
	s.start()
	packs := filepath.Join(s.dir, "state", "packs")
	if err := os.RemoveAll(packs); err != nil { // it is held open, and nothing can be made in it any more
		t.Fatal(err)
	}
	s.write("pack/pack.yaml", "pack: test\nversion: 2\n")
	if err := s.process.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.await("the pack was not archived")
	s.await("msg=reloaded")
	if resp, body, err := s.post(`{"state":"open"}`); err != nil || resp.StatusCode != 200 {
		t.Errorf("%v %v %s", err, resp, body)
	}
}

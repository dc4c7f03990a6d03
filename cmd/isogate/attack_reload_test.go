package main

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/isogate/isogate"
)

// ATTACK: keys are rotated while something else makes the reload fail, so that
// the next reload finds the new key already there and says nothing of it.
// THIS TEST VERIFIES: a reload that fails changes nothing, and the rotation is in
// the journal once one succeeds.
//
// promise: P21
func TestARotationBehindAFailedReloadIsRecorded(t *testing.T) {
	s := newSite(t, "")
	s.start()
	const note = `{"title":"a","state":"open"}`
	if _, _, err := s.post(note); err != nil {
		t.Fatal(err)
	}
	if out, err := s.command("tenant", "rotate", "-c", s.config).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	s.chmod("gateway.key", 0o644)
	s.hangup()
	s.await("not reloaded")
	if _, _, err := s.post(note); err != nil {
		t.Fatal(err)
	}
	s.chmod("gateway.key", 0o600)
	s.hangup()
	s.await("msg=reloaded")
	if _, _, err := s.post(note); err != nil {
		t.Fatal(err)
	}
	got := s.far.Received()
	if a, b, c := string(got[0].Body), string(got[1].Body), string(got[2].Body); a != b || b == c {
		t.Errorf("before, after the failed and after the good reload: %s %s %s", a, b, c)
	}
	if status := s.stop(syscall.SIGTERM); status != 0 {
		t.Errorf("exit status %d", status)
	}
	if !slices.ContainsFunc(s.entries(), func(e isogate.Entry) bool { return e.Kind == isogate.KindKey && e.Act == "keys rotated" }) {
		t.Error("the journal does not say that keys were rotated")
	}
}

// ATTACK: a signal to reload that comes while the gateway still starts ends it.
// THIS TEST VERIFIES: it starts and serves. Its configuration is a pipe, so that
// the signal surely comes before it was read.
func TestASignalToReloadDoesNotEndAStart(t *testing.T) {
	s := newSite(t, "")
	text, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	s.config = filepath.Join(s.dir, "pipe.yaml")
	if err := unix.Mkfifo(s.config, 0o600); err != nil {
		t.Fatal(err)
	}
	s.launch()
	pipe, err := os.OpenFile(s.config, os.O_WRONLY, 0) // waits for the reader
	if err != nil {
		t.Fatal(err)
	}
	s.hangup()
	if _, err := pipe.Write(text); err != nil {
		t.Error(err)
	}
	if err := pipe.Close(); err != nil {
		t.Error(err)
	}
	s.listening()
	if _, _, err := s.post(`{"state":"open"}`); err != nil {
		t.Error(err)
	}
	if status := s.stop(syscall.SIGTERM); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

// hangup asks the gateway to reload.
func (s *site) hangup() {
	s.t.Helper()
	if err := s.process.Process.Signal(syscall.SIGHUP); err != nil {
		s.t.Errorf("hang up: %v", err)
	}
}

package main

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/isogatetest"
)

// Keys are rotated while the gateway runs: new tokens differ from the old ones,
// and an old one that comes back is still turned into the original.
//
// promise: P37
func TestRotationKeepsOldTokensReadable(t *testing.T) {
	s := newSite(t, "")
	var stored string
	s.far.Answer(func(w http.ResponseWriter, r isogatetest.Received) {
		w.Header().Set("Content-Type", "application/json")
		if stored == "" {
			stored = string(r.Body)
		}
		_, _ = w.Write([]byte(stored)) // always what came first
	})
	s.start()
	const note = `{"title":"Grüße an alle","state":"open"}`
	if _, body, err := s.post(note); err != nil || body != note {
		t.Fatalf("came back as %s %v", body, err)
	}
	out, err := s.command("--json", "tenant", "rotate", "-c", s.config).Output()
	var told struct {
		Act  string
		Keys int
	}
	if err != nil || json.Unmarshal(out, &told) != nil || told.Act != "rotated" || told.Keys != 2 {
		t.Fatalf("tenant rotate: %v %s", err, out)
	}
	if err := s.process.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.await("msg=reloaded")
	if _, body, err := s.post(note); err != nil || body != note {
		t.Errorf("the old token came back as %s %v", body, err)
	}
	got := s.far.Received()
	if first, second := string(got[0].Body), string(got[1].Body); first == second || strings.Contains(second, "Grüße") {
		t.Errorf("after the rotation the far side got %s, before it %s", second, first)
	}
	if status := s.stop(syscall.SIGTERM); status != 0 {
		t.Errorf("exit status %d", status)
	}
	if !slices.ContainsFunc(s.entries(), func(e isogate.Entry) bool { return e.Kind == isogate.KindKey && e.Act == "keys rotated" }) {
		t.Error("the journal does not say that keys were rotated")
	}
}

func TestTenantCommands(t *testing.T) {
	s := newSite(t, "")
	if out, err := s.command("tenant", "rotate", "-c", s.config).CombinedOutput(); err == nil || !strings.Contains(string(out), "isogate tenant create") {
		t.Errorf("rotate without keys: %v %s", err, out)
	}
	if out, err := s.command("tenant", "create", "-c", s.config).CombinedOutput(); err != nil || !strings.Contains(string(out), "isogate/acme+") {
		t.Errorf("create: %v %s", err, out)
	}
	cmd := s.command("tenant", "create", "-c", s.config)
	if out, err := cmd.CombinedOutput(); err == nil || cmd.ProcessState.ExitCode() != exitNo || !strings.Contains(string(out), "has keys already") {
		t.Errorf("create twice: %v %s", err, out)
	}
}

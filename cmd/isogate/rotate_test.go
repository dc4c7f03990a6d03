package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
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

// An authority is made when somebody asks for it: by hand, or with the keys where
// there is a door for apps. Serving with keys that were there already makes none.
func TestInterceptCommands(t *testing.T) {
	s := newSite(t, "")
	run := func(status int, says string, args ...string) string {
		t.Helper()
		cmd := s.command(append(args, "-c", s.config)...)
		var out, told bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &told
		if err := cmd.Run(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != status {
			t.Fatalf("%q: %v, want exit status %d: %s%s", args, err, status, &out, &told)
		}
		if !strings.Contains(out.String()+told.String(), says) {
			t.Errorf("%q does not say %q: %s%s", args, says, &out, &told)
		}
		return out.String()
	}
	run(exitUnrun, "isogate tenant create", "tenant", "intercept", "create")
	run(exitDone, "keys created", "tenant", "create")
	run(exitUnrun, "isogate tenant intercept create", "tenant", "intercept", "show")
	run(exitUnrun, "isogate tenant intercept create", "tenant", "intercept", "rotate")
	run(exitDone, "interception authority created", "tenant", "intercept", "create")
	run(exitNo, "isogate tenant intercept rotate", "tenant", "intercept", "create")
	count := func(bundle string) int { return strings.Count(bundle, "BEGIN CERTIFICATE") }
	first := run(exitDone, "valid until", "tenant", "intercept", "show")
	if !strings.HasPrefix(first, "-----BEGIN") || count(first) != 1 || strings.Contains(first, "PRIVATE") {
		t.Errorf("show: %s", first)
	}
	run(exitDone, "SIGHUP", "tenant", "intercept", "rotate")
	if second := run(exitDone, "", "tenant", "intercept", "show"); count(second) != 2 || !strings.HasSuffix(second, first) {
		t.Errorf("after a rotation: %s", second)
	}
	var told struct{ Act, Fingerprint, PEM string }
	if err := json.Unmarshal([]byte(run(exitDone, "", "--json", "tenant", "intercept", "rotate", "--distrust-old")), &told); err != nil ||
		told.Act != "rotated" || len(told.Fingerprint) != 64 || count(told.PEM) != 1 {
		t.Errorf("%+v %v", told, err)
	}

	s = newSite(t, "")
	text, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	s.write("isogate.yaml", strings.Replace(string(text), "gateway:\n", "gateway:\n  remotes: {listen: \"127.0.0.1:0\"}\n", 1))
	run(exitDone, "keys created", "tenant", "create")
	if bundle := run(exitDone, "", "tenant", "intercept", "show"); count(bundle) != 1 {
		t.Errorf("with a door for apps: %s", bundle)
	}
}

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/isogatetest"
	"github.com/isogate/isogate/internal/journal"
)

// site is a deployment on disk: certificates, pack, configuration, and a
// destination outside. Its gateway is a process of its own.
type site struct {
	t       *testing.T
	dir     string
	inside  *isogatetest.Authority
	far     *isogatetest.Far
	client  *http.Client
	config  string
	process *exec.Cmd
	log     *watched
	base    string // of door one
	hub     string
}

func newSite(t *testing.T, extra string) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir()}
	var err error
	if s.inside, err = isogatetest.NewAuthority("inside", time.Hour); err != nil {
		t.Fatal(err)
	}
	outside, err := isogatetest.NewAuthority("outside", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if s.far, err = isogatetest.NewFar(outside, "far.example.com"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.far.Close)
	if _, _, err = s.inside.WriteFiles(s.dir, "gateway", isogatetest.Leaf{Name: "gateway", Hosts: []string{"127.0.0.1"}}); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"inside.pem":               string(s.inside.PEM()),
		"outside.pem":              string(outside.PEM()),
		"pack/pack.yaml":           "pack: test\nversion: 1\n",
		"pack/destinations.yaml":   "destinations:\n  - {name: far, url: https://far.example.com}\n",
		"pack/contracts/note.yaml": "contract: note\nformat: json\nfields:\n  state: system.status\n  title: ugc.title\n",
		"pack/transits/notes.yaml": "transit: notes\npurpose: support\nsource: [product/help-center]\ndestination: far\nconsent: none\n" +
			"match: [POST /v1/notes]\nrequest: {contract: note}\nresponse: {restore: true, max: 1MiB}\n",
		"isogate.yaml": fmt.Sprintf(`tenant: acme
state: ./state
pack: ./pack
gateway:
  transits: {listen: "127.0.0.1:0", tls: {cert: gateway.pem, key: gateway.key, client_ca: inside.pem}}
  upstream: {roots: outside.pem, allow: [127.0.0.0/8], hosts: {far.example.com: "%s"}}
sources:
  - {name: product/help-center, spiffe: spiffe://acme.isolated/help-center}
hub: {listen: "127.0.0.1:0"}
%s`, s.far.Address(), extra),
	} {
		s.write(name, text)
	}
	s.config = filepath.Join(s.dir, "isogate.yaml")
	if s.client, err = s.inside.Client(isogatetest.Leaf{Name: "help-center", SPIFFE: "spiffe://acme.isolated/help-center"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.client.CloseIdleConnections)
	return s
}

func (s *site) write(name, text string) {
	s.t.Helper()
	file := filepath.Join(s.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o600)); err != nil {
		s.t.Fatal(err)
	}
}

// watched keeps a process's log and lets a test wait for a line of it.
type watched struct {
	mu    sync.Mutex
	text  bytes.Buffer
	lines chan string
}

// command is isogate as a process of its own.
func (s *site) command(args ...string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), asCommand+"=1")
	return cmd
}

var serving = regexp.MustCompile(`msg=serving .*transits=(\S+) remotes=\S+ hub=(\S+)`)

// start starts the gateway and waits until it serves.
func (s *site) start() {
	s.t.Helper()
	s.launch()
	s.listening()
}

// launch starts the gateway and does not wait for it.
func (s *site) launch() {
	s.t.Helper()
	s.launchAs("serve", "-c", s.config)
}

// launchAs starts one of our commands that serve.
func (s *site) launchAs(args ...string) {
	s.t.Helper()
	s.process = s.command(args...)
	pipe, err := s.process.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.process.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.log = &watched{lines: make(chan string, 1024)}
	go func(log *watched) {
		defer close(log.lines)
		for r := bufio.NewScanner(pipe); r.Scan(); {
			log.mu.Lock()
			log.text.WriteString(r.Text() + "\n")
			log.mu.Unlock()
			select {
			case log.lines <- r.Text():
			default: // nobody waits for lines any more
			}
		}
	}(s.log)
	process := s.process.Process
	s.t.Cleanup(func() { _ = process.Kill() })
}

// listening waits until the gateway serves.
func (s *site) listening() {
	s.t.Helper()
	m := serving.FindStringSubmatch(s.await("msg=serving"))
	s.base, s.hub = "https://"+m[1], "http://"+m[2]
}

// await waits for a line of the log that has the text.
func (s *site) await(text string) string {
	s.t.Helper()
	deadline := time.After(60 * time.Second)
	for {
		select {
		case line, ok := <-s.log.lines:
			if !ok {
				s.t.Fatalf("the gateway ended before it said %q:\n%s", text, s.log.text.String())
			}
			if strings.Contains(line, text) {
				return line
			}
		case <-deadline:
			s.t.Fatalf("the gateway did not say %q", text)
		}
	}
}

// stop ends the gateway with a signal and returns its exit status.
func (s *site) stop(sig os.Signal) int {
	s.t.Helper()
	if err := s.process.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
	for range s.log.lines { //nolint:revive // the log must be read to its end before Wait
	}
	_ = s.process.Wait()
	s.client.CloseIdleConnections()
	return s.process.ProcessState.ExitCode()
}

// fails runs serve, which must not start, and returns what it says.
func (s *site) fails() string {
	s.t.Helper()
	out, err := s.command("serve", "-c", s.config).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitUnrun {
		s.t.Fatalf("serve: %v, want exit status %d\n%s", err, exitUnrun, out)
	}
	return string(out)
}

func (s *site) post(body string) (*http.Response, string, error) {
	resp, err := s.client.Post(s.base+"/to/far/v1/notes", "application/json", strings.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp, string(text), err
}

func (s *site) entries() []isogate.Entry {
	s.t.Helper()
	r, err := journal.OpenReader(filepath.Join(s.dir, "state", "journal"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Close()
	entries, err := r.List(context.Background(), journal.Filter{Limit: 1 << 20})
	if err != nil {
		s.t.Fatal(err)
	}
	return entries
}

// get asks the hub's listener.
func (s *site) get(path string) (int, string) {
	s.t.Helper()
	resp, err := (&http.Client{}).Get(s.hub + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// getUntil asks until the answer has the text.
func (s *site) getUntil(path, text string) (body string) {
	s.t.Helper()
	for range 1000 {
		if _, body = s.get(path); strings.Contains(body, text) {
			return body
		}
	}
	s.t.Fatalf("%s never said %q: %s", path, text, body)
	return ""
}

func TestServe(t *testing.T) {
	s := newSite(t, "")
	s.start()
	if resp, body, err := s.post(`{"state":"open","title":"secret"}`); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%v %v %s", err, resp, body)
	}
	if got := s.far.Received(); len(got) != 1 || strings.Contains(string(got[0].Body), "secret") {
		t.Fatalf("arrived: %+v", got)
	}
	if status, body := s.get("/healthz"); status != 200 {
		t.Errorf("/healthz: %d %s", status, body)
	}
	status, ready := s.get("/readyz")
	var r struct{ Status, Pack string }
	if err := json.Unmarshal([]byte(ready), &r); err != nil || status != 200 || r.Status != "ready" || !strings.HasPrefix(r.Pack, "sha256:") {
		t.Errorf("/readyz: %d %s", status, ready)
	}
	// A request is counted after its answer was sent.
	metrics := s.getUntil("/metrics", "isogate_gateway_requests_total{")
	for _, want := range []string{
		`isogate_gateway_requests_total{decision="released",reason="",status="200",transit="notes"} 1`,
		`isogate_gateway_fields_total{action="token"} 1`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("/metrics has no line %s", want)
		}
	}

	// promise: P10
	t.Run("a new pack is taken with SIGHUP", func(t *testing.T) {
		s.write("pack/pack.yaml", "pack: test\nversion: 2\n")
		if err := s.process.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		s.await("msg=reloaded")
		if _, after := s.get("/readyz"); after == ready {
			t.Error("the pack in force is still the old one")
		}
	})
	t.Run("a broken pack leaves the last good one in force", func(t *testing.T) {
		_, before := s.get("/readyz")
		s.write("pack/pack.yaml", "pack: test\nversion: 3\nunknown: key\n")
		if err := s.process.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		s.await("not reloaded")
		if _, after := s.get("/readyz"); after != before {
			t.Errorf("in force: %s, want %s", after, before)
		}
		if resp, body, err := s.post(`{"state":"open"}`); err != nil || resp.StatusCode != 200 {
			t.Errorf("%v %v %s", err, resp, body)
		}
		s.write("pack/pack.yaml", "pack: test\nversion: 2\n")
	})
	t.Run("a second process is kept out", func(t *testing.T) {
		if out := s.fails(); !strings.Contains(out, "journal") || !strings.Contains(out, fmt.Sprint(s.process.Process.Pid)) {
			t.Errorf("serve said: %s", out)
		}
	})
	if status := s.stop(syscall.SIGTERM); status != 0 {
		t.Errorf("exit status %d after SIGTERM", status)
	}
	for _, e := range s.entries() {
		if raw, err := json.Marshal(e); err != nil || bytes.Contains(raw, []byte("secret")) {
			t.Errorf("entry %s", raw)
		}
	}
	if strings.Contains(s.log.text.String(), "secret") {
		t.Error("the log holds a value")
	}
}

func TestServeRefusesToStart(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, tc := range map[string]struct {
		spoil func(s *site)
		says  []string
	}{
		"unknown key": {func(s *site) { s.edit("tenant: acme", "tenant: acme\ntennant: acme") },
			[]string{"isogate.yaml:2:1", "tennant"}},
		"no source": {func(s *site) {
			s.edit("sources:\n  - {name: product/help-center, spiffe: spiffe://acme.isolated/help-center}\n", "")
		},
			[]string{"sources: are missing"}},
		"unreadable pack": {func(s *site) { s.write("pack/transits/notes.yaml", "transit: notes\npurpose: nothing\n") },
			[]string{"notes.yaml:2:10", "isogate pack check"}},
		"no pack": {func(s *site) { s.edit("pack: ./pack", "pack: ./nowhere") }, []string{"nowhere"}},
		"expired certificate": {func(s *site) {
			if _, _, err := s.inside.WriteFiles(s.dir, "gateway", isogatetest.Leaf{Name: "gateway", Valid: -time.Minute}); err != nil {
				s.t.Fatal(err)
			}
		}, []string{"expired on", "issue a new one"}},
		"key for all to read": {func(s *site) { s.chmod("gateway.key", 0o644) }, []string{"gateway.key", "0644", "chmod 600"}},
		"tenant's keys for all to read": {func(s *site) {
			s.start()
			s.stop(syscall.SIGTERM)
			s.chmod("state/keys/keyset.json", 0o640)
		}, []string{"keyset.json", "chmod"}},
		"port taken": {func(s *site) {
			s.edit(`hub: {listen: "127.0.0.1:0"}`, fmt.Sprintf(`hub: {listen: "%s"}`, taken.Addr()))
		},
			[]string{"hub.listen", "address already in use", "another port"}},
		"a database in plain text": {func(s *site) { s.edit("pack: ./pack", "pack: ./pack\ndatabase: postgres://u:hunter2@db.example/x") },
			[]string{"database:", "sslmode=verify-full"}},
		"a database that is not there": {func(s *site) { s.edit("pack: ./pack", "pack: ./pack\ndatabase: postgres://u:hunter2@127.0.0.1:1/x") },
			[]string{"postgres://127.0.0.1:1/x", "connect"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, "")
			tc.spoil(s)
			out := s.fails()
			for _, want := range tc.says {
				if !strings.Contains(out, want) {
					t.Errorf("serve did not say %q: %s", want, out)
				}
			}
		})
	}
}

func (s *site) edit(old, replacement string) {
	s.t.Helper()
	text, err := os.ReadFile(s.config)
	if err != nil || !bytes.Contains(text, []byte(old)) {
		s.t.Fatalf("the configuration has no %q: %v", old, err)
	}
	s.write("isogate.yaml", strings.Replace(string(text), old, replacement, 1))
}

func (s *site) chmod(name string, mode os.FileMode) {
	s.t.Helper()
	if err := os.Chmod(filepath.Join(s.dir, name), mode); err != nil {
		s.t.Fatal(err)
	}
}

// ATTACK / ACCIDENT: the gateway is killed (kill -9) at random instants while
// requests are under way, so that something may leave without its record.
// THIS TEST VERIFIES: after twenty kills over the same state every request that
// the far side ever received has its entry in the journal, and the journal of
// the last round verifies from beginning to end.
//
// promise: P23
func TestKilledGatewayLosesNoEntry(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 3
	}
	s := newSite(t, "")
	for range rounds {
		s.start()
		kill := len(s.far.Received()) + 1 + rand.IntN(150)
		var wg sync.WaitGroup
		var down atomic.Bool
		for range 8 {
			wg.Go(func() {
				for !down.Load() {
					if _, _, err := s.post(`{"state":"open","title":"x"}`); err != nil {
						return
					}
					if len(s.far.Received()) >= kill && down.CompareAndSwap(false, true) {
						_ = s.process.Process.Kill()
					}
				}
			})
		}
		wg.Wait()
		s.stop(syscall.SIGKILL)
	}
	s.start()
	s.stop(syscall.SIGTERM)
	known := map[string]bool{}
	for _, e := range s.entries() {
		known[string(e.ID)] = true
	}
	received := s.far.Received()
	for _, r := range received {
		if !known[r.Header.Get("Isogate-Entry")] {
			t.Errorf("a request arrived whose entry %q is not in the journal", r.Header.Get("Isogate-Entry"))
		}
	}
	if len(received) < rounds {
		t.Errorf("only %d requests arrived in %d rounds", len(received), rounds)
	}
	t.Logf("%d kills, %d requests arrived, %d entries", rounds, len(received), len(known))
}

// ACCIDENT: the disk of the journal is full.
// THIS TEST VERIFIES: nothing leaves any more (503), and everything does again,
// without a restart, once there is room.
//
// promise: P23
func TestFullDiskLetsNothingOut(t *testing.T) {
	s := newSite(t, "")
	state := filepath.Join(s.dir, "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", state, "tmpfs", 0, "size=8m,mode=0700"); err != nil {
		t.Skipf("a small disk cannot be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(state, syscall.MNT_DETACH) })
	s.start()
	if resp, body, err := s.post(`{"state":"open"}`); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%v %v %s", err, resp, body)
	}
	ballast := filepath.Join(state, "ballast")
	fill(t, ballast)
	var arrived int
	for i := 0; ; i++ {
		before := len(s.far.Received())
		resp, body, err := s.post(`{"state":"open"}`)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode == 503 {
			if !strings.Contains(body, "cannot-record") {
				t.Errorf("503 says %s", body)
			}
			if arrived = len(s.far.Received()); arrived != before {
				t.Error("a request arrived although it could not be recorded")
			}
			break
		}
		if i > 100_000 {
			t.Fatal("the disk never filled up")
		}
	}
	if status, body := s.get("/readyz"); status != 503 {
		t.Errorf("/readyz: %d %s, want 503", status, body)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		resp, body, err := s.post(`{"state":"open"}`)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode == 200 {
			break
		}
		if i > 100_000 {
			t.Fatalf("nothing leaves although there is room again: %d %s", resp.StatusCode, body)
		}
	}
	s.stop(syscall.SIGTERM)
	known := map[string]bool{}
	for _, e := range s.entries() {
		known[string(e.ID)] = true
	}
	for _, r := range s.far.Received() {
		if !known[r.Header.Get("Isogate-Entry")] {
			t.Errorf("a request arrived whose entry %q is not in the journal", r.Header.Get("Isogate-Entry"))
		}
	}
}

// fill writes a file until the disk is full.
func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := 64 << 10; block >= 512; {
		if _, err := f.Write(make([]byte, block)); err != nil {
			block /= 2
		}
	}
}

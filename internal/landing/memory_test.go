package landing

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/isogatetest"
	"github.com/isogate/isogate/internal/isogatetest/pgtest"
	"github.com/isogate/isogate/internal/remote"
	"github.com/isogate/isogate/internal/seal"
	"github.com/isogate/isogate/internal/vault"
)

// childDir, when set, has this test binary be a landing whose files are there.
const childDir = "ISOGATE_TEST_LANDING"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := child(dir); err != nil {
			fmt.Println("failed", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	pgtest.Stop()
	os.Exit(code)
}

// child is a landing until its standard input ends. It says where it listens.
func child(dir string) error {
	read := func(name string) string {
		b, _ := os.ReadFile(filepath.Join(dir, name))
		return string(b)
	}
	signer, err := note.NewSigner(read("signer"))
	if err != nil {
		return err
	}
	leaf, err := tls.LoadX509KeyPair(filepath.Join(dir, "landing.pem"), filepath.Join(dir, "landing.key"))
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(read("ca.pem")))
	v, err := vault.Open(vault.Config{Destination: portal, Tenants: []isogate.Tenant{"acme"}, Signer: signer, Dir: filepath.Join(dir, "state"), MaxKeys: 1000})
	if err != nil {
		return err
	}
	dialer := &remote.Dialer{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	l, err := New(Config{Vault: v, Destination: portal, Signer: signer, Dir: filepath.Join(dir, "state"), Service: read("service"), Dial: dialer.DialContext,
		Gateways: []Gateway{{"acme", "spiffe://acme.isolated/gateway"}},
		Viewers:  []Viewer{{Name: "ada", TokenSHA256: sum(agent), Tenants: []isogate.Tenant{"*"}, Labels: []isogate.LabelPattern{"**"}, Transits: []isogate.Transit{"*"}}}})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var wg sync.WaitGroup
	run := func(do func(context.Context) error) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			_ = do(ctx)
		}()
	}
	run(v.Run)
	run(l.Run)
	for _, serve := range []func(context.Context, net.Listener, *tls.Config) error{l.ServeGateways, l.ServeViewers, l.ServeService} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		run(func(ctx context.Context) error {
			return serve(ctx, ln, &tls.Config{Certificates: []tls.Certificate{leaf}, ClientCAs: pool})
		})
		fmt.Println(ln.Addr())
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	cancel()
	wg.Wait()
	_ = l.Close()
	return v.Close()
}

// memory finds how often each of these is in the memory of a process.
func memory(t *testing.T, pid int, secrets ...string) (found map[string]int) {
	t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Skipf("there is no memory to look at here: %v", err)
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Skipf("another process's memory may not be read here: %v", err)
	}
	defer func() { _ = mem.Close() }()
	found = map[string]int{}
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		var perms string
		if n, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &perms); n != 3 || err != nil || !strings.HasPrefix(perms, "rw") || to-from > 512<<20 {
			continue // nothing was written there; or it is the race detector's
		}
		text := make([]byte, to-from)
		n, _ := mem.ReadAt(text, from) // some mappings cannot be read
		for _, s := range secrets {
			found[s] += bytes.Count(text[:n], []byte(s))
		}
	}
	return found
}

// ATTACK: a thief gets to read the landing's memory, and takes its disk, after a
// session in which values were shown had ended.
//
// THIS TEST VERIFIES: by page, stream, JSON and /.isogate/open alike, no value that
// was shown is in the memory of the process, nor in any file of it.
//
// Of some records crypto/tls leaves a copy of its own to the collector, by the chance
// of what its buffers were last used for. What the landing leaves, it leaves each
// time: so one of three processes has to be clean.
//
// promise: P41
func TestNothingShownStaysInMemory(t *testing.T) {
	var left []string
	for range 3 {
		if left = shownInMemory(t); len(left) == 0 {
			return
		}
	}
	t.Errorf("in each of three processes something stays: %q", left)
}

// shownInMemory shows values, ends their session, and finds what is left of them.
func shownInMemory(t *testing.T) (left []string) {
	t.Helper()
	dir := t.TempDir()
	ca, err := isogatetest.NewAuthority("landing test", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, far: &far{}, ca: ca, log: &bytes.Buffer{}}
	service := newFar(t, w.far)
	skey, vkey, err := note.GenerateKey(rand.Reader, string(portal))
	if err != nil {
		t.Fatal(err)
	}
	if w.verifier, err = note.NewVerifier(vkey); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"signer": skey, "ca.pem": string(ca.PEM()), "service": service} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	certFile, keyFile, err := ca.WriteFiles(dir, "landing", isogatetest.Leaf{Name: "landing", Hosts: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	_ = os.Rename(certFile, filepath.Join(dir, "landing.pem"))
	_ = os.Rename(keyFile, filepath.Join(dir, "landing.key"))

	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = os.Stderr
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
	defer func() {
		_ = in.Close()
		_ = cmd.Wait()
	}()
	lines := bufio.NewScanner(out)
	for _, at := range []*string{&w.gateways, &w.viewers, &w.service} {
		if !lines.Scan() || strings.HasPrefix(lines.Text(), "failed") {
			t.Fatalf("the landing did not start: %s", lines.Text())
		}
		*at = lines.Text()
	}

	g := w.gateway("acme")
	signed := w.do(g, "GET", "https://"+w.gateways+"/.isogate/statement", "").body
	statement, err := seal.OpenStatement([]byte(signed), w.verifier)
	if err != nil {
		t.Fatal(err)
	}
	k, err := seal.NewSealer(seal.Context{Tenant: "acme", Destination: portal, Transit: "support-session", Session: session}, statement, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.take(g, k)
	var secrets, igs []string
	for range 40 {
		secrets = append(secrets, "secret"+rand.Text())
		igs = append(igs, sealValue(t, k, display, secrets[len(secrets)-1]))
	}
	browser := w.browser()
	see := func(media, body string, stream bool) {
		t.Helper()
		w.far.answers(func(rw http.ResponseWriter, _ *http.Request, _ string) {
			rw.Header().Set("Content-Type", media)
			if stream {
				_ = http.NewResponseController(rw).Flush()
			}
			_, _ = io.WriteString(rw, body)
		})
		r := w.do(browser, "GET", "https://"+w.viewers+"/", "", "Authorization", "Bearer "+agent)
		if n := strings.Count(r.body, "secret"); n == 0 || strings.Contains(r.body, "igs1") {
			t.Fatalf("%s: ada sees %d values", media, n)
		}
	}
	for range 3 {
		for _, stream := range []bool{false, true} {
			see("text/html", "<p>"+strings.Join(igs, "</p><p title=\"x\">")+strings.Repeat("<p>filler</p>", 5000), stream)
			see("application/json", `["`+strings.Join(igs, `","`)+`"]`, stream)
			see("text/plain", strings.Join(igs, " "), stream)
		}
		for _, base := range []string{"https://" + w.service, "https://" + w.viewers} {
			r := w.do(browser, "POST", base+"/.isogate/open", `{"seals":["`+strings.Join(igs, `","`)+`"]}`, "Content-Type", "application/json", "Authorization", "Bearer "+agent)
			if strings.Count(r.body, "secret") != len(secrets) {
				t.Fatalf("%s: %d %s", base, r.status, r.body)
			}
		}
	}
	if r := w.do(g, "POST", "https://"+w.gateways+"/.isogate/sessions/end", `{"session":"`+session+`"}`, "Content-Type", "application/json"); r.body != "{\"ended\":1}\n" {
		t.Fatalf("the session did not end: %s", r.body)
	}
	held := signed[len(signed)-40:] // of the statement, which the landing has
	looked := append(make([]string, 0, 2*len(secrets)+1), held)
	for _, s := range secrets {
		looked = append(looked, s[:16], s[len(s)-16:])
	}
	for s, n := range memory(t, cmd.Process.Pid, looked...) {
		if s == held && n == 0 {
			t.Error("the test does not see the memory in which things are")
		}
		if s != held && n > 0 {
			left = append(left, s)
		}
	}
	looked = looked[1:]
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		for _, s := range looked {
			if bytes.Contains(b, []byte(s)) {
				t.Errorf("%s has %s", path, s)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return left
}

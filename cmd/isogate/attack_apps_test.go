package main

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/isogate/isogate/internal/isogatetest"
	"github.com/isogate/isogate/internal/isogatetest/pgtest"
)

// The app of these tests, its hosts and everybody's tokens.
const (
	botToken   = "the-bot-s-token"
	adaToken   = "ada-s-token"
	tunnelHost = "files.bot.example"
)

// appSite is a deployment with a second door: one or more gateways, an app, and a
// far side that echoes what its TLS carries.
type appSite struct {
	*site
	echo    net.Listener
	outside *isogatetest.Authority
}

// newAppSite writes what a deployment has on disk.
func newAppSite(t *testing.T, database string) *appSite {
	t.Helper()
	s := &appSite{site: newSite(t, "")}
	var err error
	s.outside, err = isogatetest.NewAuthority("outside", time.Hour)
	try(t, err)
	cert, err := s.outside.Issue(isogatetest.Leaf{Name: tunnelHost, Hosts: []string{tunnelHost}})
	try(t, err)
	s.echo, err = tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
	try(t, err)
	t.Cleanup(func() { _ = s.echo.Close() })
	go func() {
		for {
			c, err := s.echo.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	hash := func(token string) string {
		sum := sha256.Sum256([]byte(token))
		return hex.EncodeToString(sum[:])
	}
	s.write("outside.pem", string(s.outside.PEM()))
	s.write("pack/destinations.yaml", "destinations:\n  - {name: far, url: https://far.example.com}\n  - {name: bot-files, remote: "+tunnelHost+"}\n")
	s.write("pack/transits/bot.yaml", "transit: bot-files\npurpose: app\nsource: [app/bot]\ndestination: bot-files\nconsent: admin\nmode: tunnel\n"+
		"because: a protocol of its own\nowner: team-bot\nuntil: 2099-01-01\n")
	s.write("bot.yaml", "isogate: 1\napp: bot\nname: Bot\nversion: '1'\nremotes:\n  - {host: "+tunnelHost+", kind: backend, operations: [storage], end_user_data: true}\n")
	config := func(state string) string {
		return fmt.Sprintf(`tenant: acme
state: %s
pack: ./pack
%sgateway:
  drain: 2s
  transits: {listen: "127.0.0.1:0", tls: {cert: gateway.pem, key: gateway.key, client_ca: inside.pem}}
  remotes: {listen: "127.0.0.1:0"}
  upstream: {roots: outside.pem, allow: [127.0.0.0/8], hosts: {far.example.com: "%s", %s: "%s"}}
sources:
  - {name: product/help-center, spiffe: spiffe://acme.isolated/help-center}
  - {name: app/bot, token_sha256: %s}
hub: {listen: "127.0.0.1:0", administrators: [{name: ada, token_sha256: %s}]}
`, state, database, s.far.Address(), tunnelHost, s.echo.Addr(), hash(botToken), hash(adaToken))
	}
	s.write("isogate.yaml", config("./state"))
	s.write("other.yaml", config("./other"))
	return s
}

var servingApps = regexp.MustCompile(`msg=serving .*remotes=(\S+) hub=(\S+)`)

// door starts the gateway and returns where its second door is.
func (s *appSite) door(g *site) string {
	g.t.Helper()
	g.launch()
	m := servingApps.FindStringSubmatch(g.await("msg=serving"))
	g.hub = "http://" + m[2]
	// Acts of an administrator find the Hub by the configuration.
	text, err := os.ReadFile(g.config)
	try(g.t, err)
	s.write("admin.yaml", regexp.MustCompile(`hub: \{listen: "[^"]*"`).ReplaceAllString(string(text), `hub: {listen: "`+m[2]+`"`))
	return m[1]
}

// admin runs a command as ada.
func (s *appSite) admin(args ...string) (string, error) {
	cmd := s.command(append(args, "-c", filepath.Join(s.dir, "admin.yaml"))...)
	cmd.Env = append(cmd.Env, "ISOGATE_TOKEN="+adaToken)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// grant grants the one request that waits.
func (s *appSite) grant() {
	s.t.Helper()
	out, err := s.admin("--json", "consent", "list", "--status", "requested")
	try(s.t, err)
	id := regexp.MustCompile(`"id": "([0-9A-Z]{26})"`).FindStringSubmatch(out)
	if id == nil {
		s.t.Fatalf("no request waits: %s", out)
	}
	if out, err := s.admin("consent", "grant", id[1], "--reason", "a test", "--yes"); err != nil {
		s.t.Fatalf("%v: %s", err, out)
	}
}

// connect opens a tunnel by a door; without one it says how the door answered.
func (s *appSite) connect(door string) (*tls.Conn, int) {
	s.t.Helper()
	c, status, _ := s.ask(door)
	return c, status
}

// ask is connect, with what the door says to a refusal.
func (s *appSite) ask(door string) (*tls.Conn, int, string) {
	s.t.Helper()
	c, err := net.DialTimeout("tcp", door, 5*time.Second)
	try(s.t, err)
	s.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	_, err = fmt.Fprintf(c, "CONNECT %s:443 HTTP/1.1\r\nHost: %s:443\r\nProxy-Authorization: Bearer %s\r\n\r\n", tunnelHost, tunnelHost, botToken)
	try(s.t, err)
	res, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: http.MethodConnect}) // nobody speaks before we do
	try(s.t, err)
	if res.StatusCode != 200 {
		var problem struct{ Detail string }
		_ = json.NewDecoder(res.Body).Decode(&problem)
		return nil, res.StatusCode, problem.Detail
	}
	return tls.Client(c, &tls.Config{RootCAs: s.outside.Pool(), ServerName: tunnelHost, MinVersion: tls.VersionTLS12}), 200, ""
}

// ping sends a word through a tunnel and wants it back.
func ping(c net.Conn) error {
	if _, err := io.WriteString(c, "ping"); err != nil {
		return err
	}
	b := make([]byte, 4)
	if _, err := io.ReadFull(c, b); err != nil {
		return err
	}
	if string(b) != "ping" {
		return fmt.Errorf("%q came back", b)
	}
	return nil
}

// Two gateways on one database: a grant that an administrator gives at one holds
// at the other, and a revocation at one cuts the tunnels of both. When PostgreSQL
// is killed nothing more leaves, by either; when it is back, both go on, with the
// consents of before. A gateway that is killed leaves a journal that verifies, in
// which each tunnel that the far side saw has its entry.
//
// promise: P14
// promise: P23
func TestAppsAcrossGateways(t *testing.T) {
	pg := pgtest.New(t)
	s := newAppSite(t, "database: "+pg.URL("postgres")+"\n")
	one := s.site
	two := &site{t: t, dir: one.dir, inside: one.inside, far: one.far, client: one.client, config: filepath.Join(one.dir, "other.yaml")}
	doorOne := s.door(one)
	try(t, os.CopyFS(filepath.Join(one.dir, "other", "keys"), os.DirFS(filepath.Join(one.dir, "state", "keys"))))
	try(t, shut(filepath.Join(one.dir, "other")))
	doorTwo := s.door(two)

	if _, status := s.connect(doorOne); status != 403 {
		t.Fatalf("without a grant: %d", status)
	}
	if out, err := s.admin("app", "import", filepath.Join(s.dir, "bot.yaml")); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.grant()
	var open []*tls.Conn
	for _, door := range []string{doorOne, doorTwo, doorTwo} {
		var c *tls.Conn
		wait(t, "the grant to hold at "+door, func() bool {
			var status int
			c, status = s.connect(door)
			return status == 200
		})
		if err := ping(c); err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	if out, err := s.admin("consent", "revoke", "--party", "app/bot", "--reason", "a test"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for i, c := range open {
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("tunnel %d goes on after the revocation: %v", i, err)
		}
	}
	for _, door := range []string{doorOne, doorTwo} {
		if _, status := s.connect(door); status != 403 {
			t.Errorf("after the revocation: %d", status)
		}
	}

	// Somebody asks again, and the database goes.
	if out, err := s.admin("consent", "request", "app/bot", "--reason", "again"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.grant()
	var c *tls.Conn
	wait(t, "the grant", func() bool {
		var status int
		c, status = s.connect(doorTwo)
		return status == 200
	})
	if err := ping(c); err != nil {
		t.Fatal(err)
	}
	pg.Kill()
	wait(t, "both to refuse", func() bool {
		_, a, why := s.ask(doorOne)
		_, b, whyToo := s.ask(doorTwo)
		return a == 503 && b == 503 && strings.Contains(why, "ledger") && strings.Contains(whyToo, "ledger")
	})
	// What is open stands still: its word does not come through while the ledger is silent.
	if _, err := io.WriteString(c, "ping"); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	if n, err := c.Read(make([]byte, 4)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d bytes came back without the ledger: %v", n, err)
	}
	pg.Start()
	for _, door := range []string{doorOne, doorTwo} {
		wait(t, "recovery at "+door, func() bool {
			n, status := s.connect(door)
			return status == 200 && ping(n) == nil
		})
	}
	try(t, one.process.Process.Signal(syscall.SIGKILL))
	if n, status := s.connect(doorTwo); status != 200 || ping(n) != nil {
		t.Errorf("the other gateway: %d", status)
	}
	if status := two.stop(syscall.SIGTERM); status != 0 {
		t.Errorf("exit status %d:\n%s", status, two.log.text.String())
	}
	if out, err := two.command("journal", "verify", "-c", two.config).CombinedOutput(); err != nil || !strings.Contains(string(out), "verified: entries 0 to") {
		t.Errorf("verify: %v: %s", err, out)
	}
	out, err := two.command("--json", "journal", "list", "-c", two.config, "--limit", "1000").Output()
	try(t, err)
	opened := 0
	var entries []struct{ Stage, Remote, Consent string }
	try(t, json.Unmarshal(out, &entries))
	for _, e := range entries {
		if e.Stage == "opened" && e.Remote == tunnelHost+":443" && e.Consent != "" {
			opened++
		}
	}
	if opened < 6 {
		t.Errorf("%d tunnels have an opened entry with their consent", opened)
	}
}

// wait waits until something is so.
func wait(t *testing.T, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(60 * time.Second); !so(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%s did not come", what)
		}
	}
}

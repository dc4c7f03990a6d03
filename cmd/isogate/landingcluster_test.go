package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/isogate/isogate/internal/isogatetest"
	"github.com/isogate/isogate/internal/isogatetest/pgtest"
	"github.com/isogate/isogate/internal/seal"
)

// memberOf is the directory of one member of a landing's cluster, and its process.
type memberOf struct {
	*site
	gateways, viewers string
}

// join makes the landing of l a member of a cluster, or copies it to be another one.
func (l *landed) join(name, database string, ca *isogatetest.Authority) *memberOf {
	l.t.Helper()
	dir := filepath.Join(l.dir, name)
	text, err := os.ReadFile(l.landing.config)
	if err != nil {
		l.t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		l.t.Fatal(err)
	}
	at := ln.Addr().String()
	if err := ln.Close(); err != nil {
		l.t.Fatal(err)
	}
	m := &memberOf{site: &site{t: l.t, dir: dir, client: isogatetest.NewCaller(), config: filepath.Join(dir, "landing.yaml")}}
	m.write("landing.yaml", string(text)+fmt.Sprintf(`cluster:
  name: %s
  database: %q
  listen: %s
  address: %[3]s
  tls: {cert: cluster.pem, key: cluster.key, ca: members.pem}
  allow: [127.0.0.0/8]
  lease: 6s
health: {listen: "127.0.0.1:0"}
`, name, database, at))
	m.write("members.pem", string(ca.PEM()))
	if _, _, err := ca.WriteFiles(dir, "cluster", isogatetest.Leaf{Name: name, Hosts: []string{"127.0.0.1"}}); err != nil {
		l.t.Fatal(err)
	}
	for _, file := range []string{"landing.pem", "landing.key", "gateways.pem", "state/landing.key", "state/landing.pub"} {
		b, err := os.ReadFile(filepath.Join(l.outside, file))
		if err != nil {
			l.t.Fatal(err)
		}
		m.write(file, string(b))
		mode := os.FileMode(0o600)
		if strings.HasSuffix(file, ".pub") {
			mode = 0o644
		}
		m.chmod(file, mode)
	}
	if err := os.Chmod(filepath.Join(dir, "state"), 0o700); err != nil {
		l.t.Fatal(err)
	}
	return m
}

// serve starts the member and waits until the others have greeted it.
func (m *memberOf) serve() {
	m.t.Helper()
	m.launchAs("landing", "-c", m.config)
	line := m.await("msg=serving")
	at := landingServing.FindStringSubmatch(line)
	_, health, ok := strings.Cut(line, " health=")
	if at == nil || !ok {
		m.t.Fatalf("the landing does not say where it listens: %s", line)
	}
	m.gateways, m.viewers = at[1], at[2]
	health, _, _ = strings.Cut(health, " ")
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); ; <-tick.C {
		res, err := m.client.Get("http://" + health + "/readyz")
		if err == nil {
			body, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return
			}
			err = fmt.Errorf("%s", body)
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("the landing is not ready: %v", err)
		}
	}
}

// through has gateways come to one member, and viewers to another.
func (l *landed) through(gateways, viewers *memberOf) {
	l.hop.mu.Lock()
	defer l.hop.mu.Unlock()
	l.hop.to, l.viewers = gateways.gateways, viewers.viewers
}

// TestLandingCluster: two landings with one identity and one database serve one
// destination as processes of their own. A page is alike through either; a session
// outlives the stop of one, and not its death.
//
// promise: P16, P18, P41
func TestLandingCluster(t *testing.T) {
	l := newLanded(t, "")
	l.showNotes()
	database := pgtest.Database(t)
	ca, err := isogatetest.NewAuthority("cluster", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	a, b := l.join("member-a", database, ca), l.join("member-b", database, ca)
	a.serve()
	b.serve()
	l.through(a, b)
	l.start()
	note := fmt.Sprintf(`{"name":%q,"email":%q}`, thiefName, thiefEmail)
	l.say("session of Ada", note)
	l.until("through the other landing the page shows the name", func(page string) bool { return strings.Contains(page, thiefName) })

	// Gateways and viewers change places, and nobody notices.
	l.through(b, a)
	l.say("session of Ada", note)
	if page := l.page(); strings.Count(page, thiefName) != 2 {
		t.Errorf("the page is %s", page)
	}

	// One stops. Its keys are with the other.
	if status := a.stop(syscall.SIGTERM); status != exitDone {
		t.Errorf("the exit status is %d\n%s", status, a.log.text.String())
	}
	l.through(b, b)
	if page := l.page(); strings.Count(page, thiefName) != 2 {
		t.Errorf("after one has stopped the page is %s", page)
	}
	l.say("session of Ada", note)

	// The other is killed. Whoever is there then says that they are gone.
	a.serve()
	b.stop(syscall.SIGKILL)
	l.through(a, a)
	l.until("what the landing that was killed had is expired", func(page string) bool {
		return strings.Count(page, seal.TextExpired) == 3 && !strings.Contains(page, thiefName)
	})
	l.nothingOpens("one landing stopped and the other was killed")
	l.say("session of Ada", note)
	l.until("a new key opens", func(page string) bool { return strings.Count(page, thiefName) == 1 })
}

package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/custody"
	"github.com/isogate/isogate/internal/isogatetest"
	"github.com/isogate/isogate/internal/journal"
	"github.com/isogate/isogate/internal/seal"
)

// fetch gets a page that needs no token.
func fetch(t *testing.T, url string) (status int, body string) {
	t.Helper()
	c := isogatetest.NewCaller()
	defer c.CloseIdleConnections()
	res, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

var landingHealth = regexp.MustCompile(` health=(\S+)`)

// The example's landing.yaml serves as it stands, but for the ports that somebody may
// have, once there are certificates: it makes its key, says what packs need of it, is
// ready, shows no page to strangers, and ends well.
func TestExampleLandingServes(t *testing.T) {
	l := &site{t: t, dir: t.TempDir(), client: isogatetest.NewCaller()}
	text, err := os.ReadFile("../../examples/landing/landing.yaml")
	if err != nil {
		t.Fatal(err)
	}
	l.write("landing.yaml", regexp.MustCompile(`(listen: 127\.0\.0\.1):\d+`).ReplaceAllString(string(text), "$1:0"))
	ca, err := isogatetest.NewAuthority("test", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	l.write("tls/gateways-ca.pem", string(ca.PEM()))
	if _, _, err := ca.WriteFiles(filepath.Join(l.dir, "tls"), "landing", isogatetest.Leaf{Name: "support.example", Hosts: []string{"support.example"}}); err != nil {
		t.Fatal(err)
	}
	l.launchAs("landing", "-c", filepath.Join(l.dir, "landing.yaml"))
	line := l.await("msg=serving")
	pub, err := os.ReadFile(filepath.Join(l.dir, "state", "landing.pub"))
	if err != nil || !strings.Contains(line, strings.TrimSpace(string(pub))) {
		t.Errorf("it says %s, and landing.pub has %s (%v)", line, pub, err)
	}
	health := "http://" + landingHealth.FindStringSubmatch(line)[1]
	for path, want := range map[string]string{"/healthz": `"ok"`, "/readyz": `"ready"`, "/metrics": "isogate_landing_keys"} {
		if status, body := fetch(t, health+path); status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	viewers := landingServing.FindStringSubmatch(line)[2]
	if status, _ := fetch(t, "http://"+viewers+"/"); status != http.StatusUnauthorized && status/100 != 3 {
		t.Errorf("a stranger gets %d", status)
	}
	if status := l.stop(syscall.SIGTERM); status != exitDone {
		t.Errorf("exit status %d:\n%s", status, l.log.text.String())
	}
}

// ended waits for the receipt of what the first release sealed under a handling, and
// returns of what cause the key ended.
func (l *landed) ended(handling isogate.Handling) string {
	l.t.Helper()
	r, err := journal.OpenReader(filepath.Join(l.dir, "state", "journal"))
	if err != nil {
		l.t.Fatal(err)
	}
	defer r.Close()
	deadline := time.Now().Add(60 * time.Second)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for ; ; <-tick.C {
		entries, err := r.List(l.t.Context(), journal.Filter{Kind: isogate.KindEgress, Limit: 1000})
		if err != nil {
			l.t.Fatal(err)
		}
		i := slices.IndexFunc(entries, func(e isogate.Entry) bool { return len(e.Seals) > 0 })
		if i >= 0 {
			life, err := custody.ReadLife(l.t.Context(), r, &entries[i])
			if err != nil {
				l.t.Fatal(err)
			}
			for _, k := range life.Keys {
				if k.Handling == handling.String() && k.Receipt > 0 {
					return k.Cause
				}
			}
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("there is no receipt of the %s key", handling)
		}
	}
}

// A landing that is told to stop ends what ends with it, signs that it did, and hands
// that out when it is back. What it was told to keep lives on to its own end.
//
// promise: P41
func TestLandingDrains(t *testing.T) {
	l := newLanded(t, "")
	l.edit("sources:", "landings: {receipts: 200ms}\nsources:")
	l.showNotes()
	l.startLanding()
	l.start()
	l.say("session of Ada", fmt.Sprintf(`{"name":%q,"code":%q,"email":%q}`, thiefName, thiefPhone, thiefEmail))
	if page := l.page(); !strings.Contains(page, thiefName) {
		t.Fatalf("while it lives, the agent sees %s", page)
	}
	if status := l.landing.stop(syscall.SIGTERM); status != exitDone {
		t.Errorf("exit status %d:\n%s", status, l.landing.log.text.String())
	}
	if text := l.landing.log.text.String(); !strings.Contains(text, "msg=drained") || strings.Contains(text, thiefName) {
		t.Errorf("the log says:\n%s", text)
	}
	l.startLanding()
	if cause := l.ended(isogate.TransitOnly); cause != seal.CauseDrain {
		t.Errorf("the receipt says that the key ended of %q", cause)
	}
	// And everything goes on: a new key, for the same session.
	l.say("session of Ada", fmt.Sprintf(`{"name":%q}`, thiefName))
	l.until("the second note does not show", func(page string) bool { return strings.Contains(page, thiefName) })
	if n := strings.Count(l.page(), thiefName); n != 1 {
		t.Errorf("%d notes show the name; the first one's key is gone", n)
	}
}

// A landing that is killed (kill -9) in the middle of sessions says so as soon as it is
// back: nothing that it held is without a receipt.
//
// promise: P41
func TestLandingKilledOwesReceipts(t *testing.T) {
	l := newLanded(t, "")
	l.edit("sources:", "landings: {receipts: 200ms}\nsources:")
	l.startLanding()
	l.start()
	l.say("session of Ada", fmt.Sprintf(`{"name":%q}`, thiefName))
	l.landing.stop(syscall.SIGKILL)
	l.startLanding()
	if cause := l.ended(isogate.TransitOnly); cause != seal.CauseRestart {
		t.Errorf("the receipt says that the key ended of %q", cause)
	}
}

// SIGHUP puts new certificates and authorities in force, for connections that begin
// then; a file that does not load leaves the old.
func TestLandingReloads(t *testing.T) {
	l := newLanded(t, "")
	l.startLanding()
	other, err := isogatetest.NewAuthority("another authority of gateways", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	gateway := isogatetest.Leaf{Name: "gateway", SPIFFE: "spiffe://acme.isolated/gateway"}
	ask := func(by *isogatetest.Authority) (serial string, err error) {
		cert, err := by.Issue(gateway)
		if err != nil {
			t.Fatal(err)
		}
		transport := &http.Transport{TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: l.signer.Pool(), ServerName: "far.example.com", MinVersion: tls.VersionTLS13}}
		defer transport.CloseIdleConnections()
		res, err := (&http.Client{Transport: transport, Timeout: 30 * time.Second}).Get("https://" + l.gateways + "/.isogate/statement")
		if err != nil {
			return "", err
		}
		defer res.Body.Close()
		if body, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusOK {
			return "", fmt.Errorf("%d %s %w", res.StatusCode, body, err)
		}
		return res.TLS.PeerCertificates[0].SerialNumber.String(), nil
	}
	was, err := ask(l.inside)
	if err != nil {
		t.Fatalf("the gateway: %v", err)
	}
	if _, err := ask(other); err == nil {
		t.Error("a certificate of a strange authority is taken")
	}
	l.landing.write("landing.pem", "spoilt")
	l.landing.hangup()
	l.landing.await("not reloaded")
	if now, err := ask(l.inside); err != nil || now != was {
		t.Errorf("after a reload that failed: %v, certificate %s, was %s", err, now, was)
	}
	if _, _, err := l.signer.WriteFiles(l.outside, "landing", isogatetest.Leaf{Name: "far.example.com", Hosts: []string{"far.example.com"}}); err != nil {
		t.Fatal(err)
	}
	l.landing.write("gateways.pem", string(other.PEM()))
	l.landing.hangup()
	l.landing.await("msg=reloaded")
	if now, err := ask(other); err != nil || now == was {
		t.Errorf("after the reload: %v, certificate %s, was %s", err, now, was)
	}
	if _, err := ask(l.inside); err == nil {
		t.Error("a certificate of an authority that is gone is taken")
	}
}

package main

import (
	"bytes"
	"crypto/hpke"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/isogate/isogate/internal/isogatetest"
	"github.com/isogate/isogate/internal/seal"
)

// landed is a site whose far side stands behind a landing, which is a process of its
// own. Between the two is somebody who has broken the TLS and writes everything down.
type landed struct {
	*site
	outside  string                 // directory of the landing
	keep     string                 // where temporary keys outlive the landing's process, in memory; "" is nowhere
	signer   *isogatetest.Authority // of the landing's certificate
	service  *isogatetest.Far
	landing  *site
	agent    string // token of a viewer who may see everything
	gateways string // where the landing listens to gateways
	viewers  string
	hop      *hop
	tried    map[[32]byte]bool // what the thief has tried as a key, in vain
}

// hop ends the gateway's TLS, writes down what it reads, and passes it on.
type hop struct {
	server *httptest.Server

	mu       sync.Mutex // guards what follows
	to       string
	client   *http.Client
	recorded bytes.Buffer  // both directions, heads and bodies
	seals    []http.Header // heads of requests that brought seals
}

func newHop(t *testing.T, cert tls.Certificate, client *http.Client) *hop {
	h := &hop{client: client}
	h.server = httptest.NewUnstartedServer(http.HandlerFunc(h.serve))
	h.server.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS13}
	h.server.StartTLS()
	t.Cleanup(h.server.Close)
	return h
}

func (h *hop) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	h.mu.Lock()
	to, client := h.to, h.client
	fmt.Fprintf(&h.recorded, "%s %s\n%v\n%s\n", r.Method, r.RequestURI, r.Header, body)
	if r.Header.Get(seal.HeaderSeal) != "" {
		h.seals = append(h.seals, r.Header.Clone())
	}
	h.mu.Unlock()
	req, err := http.NewRequest(r.Method, "https://"+to+r.RequestURI, bytes.NewReader(body))
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	req.Header, req.Host = r.Header.Clone(), r.Host
	res, err := client.Do(req)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer res.Body.Close()
	answer, _ := io.ReadAll(res.Body)
	h.mu.Lock()
	fmt.Fprintf(&h.recorded, "%d\n%v\n%s\n", res.StatusCode, res.Header, answer)
	h.mu.Unlock()
	for name, values := range res.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(res.StatusCode)
	_, _ = w.Write(answer)
}

// newLanded makes one. What the landing is configured with beside what it needs is extra.
func newLanded(t *testing.T, extra string) *landed {
	t.Helper()
	l := &landed{site: newSite(t, ""), agent: "the agent's token", service: isogatetest.NewService()}
	t.Cleanup(l.service.Close)
	l.outside = filepath.Join(l.dir, "outside")
	l.landing = &site{t: t, dir: l.outside, client: isogatetest.NewCaller(), config: filepath.Join(l.outside, "landing.yaml")}
	signer, err := isogatetest.NewAuthority("outside of landings", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	l.signer = signer
	leaf, err := signer.Issue(isogatetest.Leaf{Name: "far.example.com", Hosts: []string{"far.example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	// The thief in the middle has the gateway's certificate too.
	stolen, err := l.inside.Issue(isogatetest.Leaf{Name: "gateway", SPIFFE: "spiffe://acme.isolated/gateway"})
	if err != nil {
		t.Fatal(err)
	}
	l.hop = newHop(t, leaf, &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{
		Certificates: []tls.Certificate{stolen}, RootCAs: signer.Pool(), ServerName: "far.example.com", MinVersion: tls.VersionTLS13}}})
	t.Cleanup(l.hop.client.CloseIdleConnections)
	if _, _, err := l.inside.WriteFiles(l.dir, "outwards", isogatetest.Leaf{Name: "gateway", SPIFFE: "spiffe://acme.isolated/gateway"}); err != nil {
		t.Fatal(err)
	}
	l.write("outside.pem", string(signer.PEM()))
	l.landing.write("landing.yaml", fmt.Sprintf(`landing: portal
destination: far
state: ./state
tenants: [{name: acme, spiffe: spiffe://acme.isolated/gateway}]
gateways: {listen: "127.0.0.1:0", tls: {cert: landing.pem, key: landing.key, client_ca: gateways.pem}}
viewers:
  listen: 127.0.0.1:0
  allowed: [{name: agent, token_sha256: %s, labels: ["personal.**"], tenants: ["*"], transits: ["*"]}]
service: {url: "http://%s"}
acknowledges: [personal.contact.email]
erase: {url: "http://%[2]s/erasures"}
%s`, tokenSum(l.agent), l.service.Address(), extra))
	l.landing.write("gateways.pem", string(l.inside.PEM()))
	if _, _, err := signer.WriteFiles(l.outside, "landing", isogatetest.Leaf{Name: "far.example.com", Hosts: []string{"far.example.com"}}); err != nil {
		t.Fatal(err)
	}
	out, err := l.command("--json", "landing", "init", "--state", filepath.Join(l.outside, "state"), "--name", "portal").Output()
	if err != nil {
		t.Fatal(err)
	}
	key := regexp.MustCompile(`"public_key": "([^"]*)"`).FindSubmatch(out)
	if key == nil {
		t.Fatalf("no public key in %s", out)
	}
	l.write("pack/destinations.yaml", fmt.Sprintf("destinations:\n  - {name: far, url: https://far.example.com, landing: {public_key: %q}}\n", key[1]))
	l.write("pack/contracts/note.yaml", "contract: note\nformat: json\nfields:\n  name: personal.name.display\n  code: personal.contact.phone\n  email: personal.contact.email\n")
	l.write("pack/transits/notes.yaml", `transit: notes
purpose: support
source: [product/help-center]
destination: far
consent: none
match: [POST /v1/notes]
session: header Isogate-Session
request:
  contract: note
  release:
    - {label: personal.name.display, as: allow, handling: transit-only, because: shown, owner: team, until: 2099-01-01}
    - {label: personal.contact.phone, as: allow, handling: temporary, ttl: 2s, because: called, owner: team, until: 2099-01-01}
    - {label: personal.contact.email, as: allow, handling: persisted, because: kept, owner: team, until: 2099-01-01}
response: {restore: true, max: 1MiB}
`)
	conf, err := os.ReadFile(l.config)
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(`upstream: .*`).ReplaceAllString(string(conf), fmt.Sprintf(
		`upstream: {roots: outside.pem, cert: outwards.pem, key: outwards.key, allow: [127.0.0.0/8], hosts: {far.example.com: %q}}`, l.hop.server.Listener.Addr()))
	l.write("isogate.yaml", text)
	return l
}

// keepInMemory has temporary keys outlive the landing's process.
func (l *landed) keepInMemory() {
	l.t.Helper()
	var err error
	if l.keep, err = os.MkdirTemp("/dev/shm", "isogate-test-"); err != nil {
		l.t.Skipf("there is no file system in memory at /dev/shm, and nothing to keep temporary keys in: %v", err)
	}
	l.t.Cleanup(func() { _ = os.RemoveAll(l.keep) })
	text, err := os.ReadFile(l.landing.config)
	if err != nil {
		l.t.Fatal(err)
	}
	l.landing.write("landing.yaml", string(text)+"keep: "+l.keep+"\n")
}

var landingServing = regexp.MustCompile(`msg=serving .*gateways=(\S+) viewers=(\S+)`)

// startLanding starts the landing and waits until it serves.
func (l *landed) startLanding() {
	l.t.Helper()
	l.landing.launchAs("landing", "-c", l.landing.config)
	m := landingServing.FindStringSubmatch(l.landing.await("msg=serving"))
	if m == nil {
		l.t.Fatal("the landing does not say where it listens")
	}
	l.gateways, l.viewers = m[1], m[2]
	l.hop.mu.Lock()
	l.hop.to = l.gateways
	l.hop.mu.Unlock()
}

// say posts a note in a session and waits until the gateway has a statement.
func (l *landed) say(session, body string) {
	l.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for ; ; <-tick.C {
		req, err := http.NewRequest(http.MethodPost, l.base+"/to/far/v1/notes", strings.NewReader(body))
		if err != nil {
			l.t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Isogate-Session", session)
		res, err := l.client.Do(req)
		if err != nil {
			l.t.Fatal(err)
		}
		answer, _ := io.ReadAll(res.Body)
		res.Body.Close()
		switch {
		case res.StatusCode == http.StatusOK:
			return
		case res.StatusCode != http.StatusServiceUnavailable || time.Now().After(deadline):
			l.t.Fatalf("the note is answered with %d %s", res.StatusCode, answer)
		}
	}
}

// page is the service's page as the agent sees it. The service shows the last note.
func (l *landed) page() string {
	l.t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://"+l.viewers+"/", nil)
	if err != nil {
		l.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+l.agent)
	c := isogatetest.NewCaller()
	defer c.CloseIdleConnections()
	res, err := c.Do(req)
	if err != nil {
		l.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		l.t.Fatalf("the page: %d %s %v", res.StatusCode, body, err)
	}
	return string(body)
}

// showNotes has the service show all notes that it got, one a line.
func (l *landed) showNotes() {
	l.service.Answer(func(w http.ResponseWriter, r isogatetest.Received) {
		if r.Method != http.MethodGet {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"ok":true}`)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		for _, got := range l.service.Received() {
			if got.Method == http.MethodPost {
				_, _ = w.Write(append(got.Body, '\n'))
			}
		}
	})
}

// until looks at the page until it is as it must be.
func (l *landed) until(what string, as func(page string) bool) {
	l.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for ; ; <-tick.C {
		page := l.page()
		if as(page) {
			return
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("%s; the page is %s", what, page)
		}
	}
}

const (
	thiefName  = "Augusta Ada King"
	thiefPhone = "+44 20 7946 0958"
	thiefEmail = "augusta@acme.example"
)

// loot is everything that a thief has.
type loot struct {
	bytes []byte        // all files, all traffic, all that the service has, one after another
	seals []http.Header // heads with wrapped keys
	texts [][]byte      // seals, decoded
}

var anySeal = regexp.MustCompile(`(?i)igs1[a-z2-7]+`)

// steal takes the landing's directory, what the service stores, and the recording.
func (l *landed) steal() *loot {
	l.t.Helper()
	out := &loot{}
	take := func(file string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(file)
		out.bytes = append(append(out.bytes, text...), '\n')
		return err
	}
	err := filepath.WalkDir(l.outside, take)
	if err == nil && l.keep != "" {
		err = filepath.WalkDir(l.keep, take)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	for _, r := range l.service.Received() {
		out.bytes = append(out.bytes, fmt.Sprintf("%s %v %s\n", r.Target, r.Header, r.Body)...)
	}
	l.hop.mu.Lock()
	defer l.hop.mu.Unlock()
	out.bytes = append(out.bytes, l.hop.recorded.Bytes()...)
	out.seals = l.hop.seals
	for _, text := range anySeal.FindAll(out.bytes, -1) {
		if _, raw, ok := seal.Parse(text); ok && !slices.ContainsFunc(out.texts, func(b []byte) bool { return bytes.Equal(b, raw) }) {
			out.texts = append(out.texts, raw)
		}
	}
	return out
}

// long is the public half of an epoch, or a wrapped key, as it is written.
var long = regexp.MustCompile(`[A-Za-z0-9+/]{1000,}={0,2}`)

// keys are all strings of 32 bytes in the loot that could be a key: as they are, and
// written in hexadecimal or base64. Public halves and wrapped keys are no place to look
// in: there are thousands of such strings in each, and all are known to be none. Text and zeros are none: of 32 random bytes, at
// least 22 differ from one another and at least 4 are no ASCII, but once in a hundred
// thousand.
func (o *loot) keys() map[[32]byte]bool {
	loot := long.ReplaceAll(o.bytes, nil)
	found := map[[32]byte]bool{}
	take := func(b []byte) {
		var count [256]int
		distinct, high := 0, 0
		for i, c := range b {
			if count[c]++; count[c] == 1 {
				distinct++
			}
			if c >= 0x80 {
				high++
			}
			if i >= 32 {
				old := b[i-32]
				if count[old]--; count[old] == 0 {
					distinct--
				}
				if old >= 0x80 {
					high--
				}
			}
			if i >= 31 && distinct >= 22 && high >= 4 {
				found[[32]byte(b[i-31:i+1])] = true
			}
		}
	}
	take(loot)
	for _, m := range regexp.MustCompile(`[0-9a-fA-F]{64,}`).FindAll(loot, -1) {
		b, _ := hex.DecodeString(string(m[:len(m)&^1]))
		take(b)
	}
	for _, m := range regexp.MustCompile(`[A-Za-z0-9+/_-]{43,}`).FindAll(loot, -1) {
		text := strings.NewReplacer("-", "+", "_", "/").Replace(string(m))
		for skip := range 4 {
			if len(text) < skip+44 {
				break
			}
			part := text[skip:]
			b, _ := base64.RawStdEncoding.DecodeString(part[:len(part)&^3])
			take(b)
		}
	}
	return found
}

// arrivals are the keys as they were sent, wrapped.
func (o *loot) arrivals(t *testing.T) (out []seal.Arrival) {
	t.Helper()
	for _, h := range o.seals {
		a, err := seal.ParseHeader(h.Values(seal.HeaderSeal), "acme", "far")
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, a...)
	}
	return out
}

// opens tries every key that it finds on every seal, and as the private half of an
// epoch on every wrapped key. It answers with what it could read.
func (l *landed) opens(o *loot) (read []string) {
	t := l.t
	t.Helper()
	contexts := map[seal.ID]*seal.Context{}
	epochs := map[string]bool{} // public halves
	for _, a := range o.arrivals(t) {
		contexts[a.ID] = &a.Context
	}
	for _, m := range long.FindAll(o.bytes, -1) {
		if b, err := base64.StdEncoding.DecodeString(string(m)); err == nil && len(b) == 1216 {
			epochs[string(b)] = true
		}
	}
	if len(o.texts) == 0 || len(contexts) == 0 {
		t.Fatalf("the thief has %d seals and %d keys' contexts, and has nothing to try", len(o.texts), len(contexts))
	}
	keys := o.keys()
	t.Logf("the thief has %d bytes, %d seals of %d keys, %d epochs, and tries %d keys", len(o.bytes), len(o.texts), len(contexts), len(epochs), len(keys))
	var scratch [4096]byte
	kem := hpke.MLKEM768X25519()
	// A private half is 32 bytes too: otherwise the search would look for the wrong thing.
	if own, err := kem.GenerateKey(); err != nil {
		t.Fatal(err)
	} else if b, err := own.Bytes(); err != nil || len(b) != 32 {
		t.Fatalf("a private half has %d bytes: %v", len(b), err)
	}
	if l.tried == nil {
		l.tried = map[[32]byte]bool{}
	}
	for key := range keys {
		if l.tried[key] { // on these seals and epochs: there are no others
			continue
		}
		l.tried[key] = true
		for _, raw := range o.texts {
			c := contexts[seal.ID(raw[:16])]
			if c == nil {
				continue
			}
			if opened, err := seal.OpenKey(&key, c, raw, scratch[:0]); err == nil {
				read = append(read, string(opened.Value))
			}
		}
		if private, err := kem.NewPrivateKey(key[:]); err == nil && epochs[string(private.PublicKey().Bytes())] {
			read = append(read, "the private half of an epoch")
		}
	}
	return read
}

// ATTACK: somebody has broken the TLS between gateway and landing and recorded every
// byte of it, in the clear. After the session's end and the last time to live they
// take the disks of the landing and of the service as well, and try as a key whatever
// they find anywhere; and they send what they recorded to the landing once more.
// THIS TEST VERIFIES that nothing that was to end can be read: not by any key that is
// to be found, not by the landing that is running, and not by one that was started
// anew over the same disk. That the search finds a key where there is one is seen at
// the place for temporary keys, while they live.
//
// promise: P18
// promise: P41
func TestAttackThief(t *testing.T) {
	l := newLanded(t, "")
	l.keepInMemory()
	l.showNotes()
	l.startLanding()
	l.start()
	l.say("session of Ada", fmt.Sprintf(`{"name":%q,"code":%q,"email":%q}`, thiefName, thiefPhone, thiefEmail))
	if page := l.page(); !strings.Contains(page, thiefName) || !strings.Contains(page, thiefPhone) {
		t.Fatalf("while it lives, the agent sees %s", page)
	}
	if _, err := os.Stat(filepath.Join(l.keep, "keys")); err != nil {
		t.Fatal(err)
	}
	// The search works: what outlives the process is where the configuration says.
	if read := l.opens(l.steal()); !slices.Contains(read, thiefPhone) || slices.Contains(read, thiefName) {
		t.Errorf("while they live, the keys on disk open %q; want the temporary ones, and they alone", read)
	}

	l.endSession("session of Ada")
	l.until("the session ended and the time is over", func(page string) bool {
		return !strings.Contains(page, thiefName) && !strings.Contains(page, thiefPhone)
	})
	if page := l.page(); strings.Count(page, seal.TextExpired) != 2 || !strings.Contains(page, thiefEmail) {
		t.Errorf("after the end the agent sees %s", page)
	}
	l.nothingOpens("the session ended and the time is over")
	l.replay("the landing that was there")

	if status := l.landing.stop(syscall.SIGTERM); status != exitDone {
		t.Errorf("the landing's exit status is %d", status)
	}
	l.nothingOpens("the landing was stopped")
	l.startLanding()
	l.replay("the landing that was started anew")
	if page := l.page(); strings.Contains(page, thiefName) || strings.Contains(page, thiefPhone) {
		t.Errorf("after the restart the agent sees %s", page)
	}
	l.nothingOpens("the landing was started anew")
}

// ATTACK: the landing's machine is cut off in the middle of a session (kill -9), and
// the thief takes its disk, without a keep.
// THIS TEST VERIFIES that no key of anything sealed was ever on it.
//
// promise: P41
func TestAttackThiefOfAKilledLanding(t *testing.T) {
	l := newLanded(t, "")
	l.showNotes()
	l.startLanding()
	l.start()
	l.say("session of Ada", fmt.Sprintf(`{"name":%q,"code":%q,"email":%q}`, thiefName, thiefPhone, thiefEmail))
	if page := l.page(); !strings.Contains(page, thiefName) || !strings.Contains(page, thiefPhone) {
		t.Fatalf("while it lives, the agent sees %s", page)
	}
	l.landing.stop(syscall.SIGKILL)
	l.nothingOpens("the landing was killed")
	l.startLanding()
	if page := l.page(); strings.Count(page, seal.TextExpired) != 2 {
		t.Errorf("after the restart the agent sees %s", page)
	}
	l.replay("the landing that was started anew")
}

// nothingOpens has the thief come.
func (l *landed) nothingOpens(when string) {
	l.t.Helper()
	loot := l.steal()
	for _, secret := range []string{thiefName, thiefPhone, l.agent} {
		if bytes.Contains(loot.bytes, []byte(secret)) {
			l.t.Errorf("%s: %q is there as it is", when, secret)
		}
	}
	if !bytes.Contains(loot.bytes, []byte(thiefEmail)) {
		l.t.Errorf("%s: what the service may keep is not there: the thief does not look", when)
	}
	if read := l.opens(loot); len(read) > 0 {
		l.t.Errorf("%s: the thief reads %q", when, read)
	}
}

// replay has the thief send again every head that brought a key, with the gateway's
// certificate. The landing takes none of them, and opens nothing for it afterwards.
func (l *landed) replay(who string) {
	l.t.Helper()
	loot := l.steal()
	before := len(l.service.Received())
	n := 0
	for _, h := range loot.seals {
		if !strings.Contains(strings.Join(h.Values(seal.HeaderSeal), ""), "wrapped") && len(h.Get(seal.HeaderSeal)) < 1000 {
			continue
		}
		req, err := http.NewRequest(http.MethodPost, "https://"+l.gateways+"/v1/notes", strings.NewReader(`{}`))
		if err != nil {
			l.t.Fatal(err)
		}
		req.Header, req.Host = h.Clone(), "far.example.com"
		res, err := l.hop.client.Do(req)
		if err != nil {
			l.t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if code := res.Header.Get(seal.HeaderLanding); res.StatusCode < 400 || code == "" {
			l.t.Errorf("%s takes a key that is over: %d %q", who, res.StatusCode, code)
		}
		n++
	}
	if n == 0 {
		l.t.Errorf("%s: nothing was sent again", who)
	}
	if after := len(l.service.Received()); after != before {
		l.t.Errorf("%s passed on %d requests that it refused", who, after-before)
	}
	if page := l.page(); strings.Contains(page, thiefName) || strings.Contains(page, thiefPhone) {
		l.t.Errorf("%s opens again: %s", who, page)
	}
}

// endSession has the product say that a session is over.
func (l *landed) endSession(session string) {
	l.t.Helper()
	res, err := l.client.Post(l.base+"/sessions/end", "application/json", strings.NewReader(fmt.Sprintf(`{"session":%q}`, session)))
	if err != nil {
		l.t.Fatal(err)
	}
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); res.StatusCode/100 != 2 {
		l.t.Fatalf("the end of the session: %d %s", res.StatusCode, body)
	}
}

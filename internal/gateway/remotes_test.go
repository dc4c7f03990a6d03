package gateway_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/gateway"
	"github.com/isogate/isogate/internal/isogatetest"
	"github.com/isogate/isogate/internal/isogatetest/dnstest"
	"github.com/isogate/isogate/internal/journal"
	"github.com/isogate/isogate/internal/remote"
)

// The apps of these tests and the hosts of the outside. In them 127.0.0.2 is
// outside, and 127.0.0.1 inside: the dialer allows the one alone.
const (
	bot     isogate.Source = "app/bot"
	other   isogate.Source = "app/other"
	outside                = "127.0.0.2"
	inside                 = "127.0.0.1"

	apiHost   = "api.allowed.example.com"   // inspected
	fileHost  = "files.allowed.example.com" // tunnelled
	wildHost  = "*.wild.example.com"        // inspected
	elseHost  = "denied.example.com"        // declared by nobody
	laterHost = "later.example.com"         // declared, in the pack, and granted to nobody
)

// outsideHosts is a far side that is several hosts, on one port of 127.0.0.2, and
// counts every connection.
type outsideHosts struct {
	port uint16
	conn atomic.Int64
	got  chan isogatetest.Received
	// answer, when set, answers instead of {"ok":true}; and early before the body was
	// read, which is then its to read.
	answer, early atomic.Pointer[http.HandlerFunc]
}

// newOutside starts it with a certificate for the hosts.
func newOutside(t *testing.T, a *isogatetest.Authority, leaf isogatetest.Leaf) *outsideHosts {
	t.Helper()
	leaf.Name = "outside"
	cert, err := a.Issue(leaf)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", outside+":0")
	if err != nil {
		t.Fatal(err)
	}
	o := &outsideHosts{port: netip.MustParseAddrPort(l.Addr().String()).Port(), got: make(chan isogatetest.Received, 1<<16)}
	s := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if h := o.early.Load(); h != nil {
				(*h)(w, r)
				return
			}
			body, err := io.ReadAll(r.Body)
			o.got <- isogatetest.Received{Method: r.Method, Target: r.Host + r.RequestURI, Header: r.Header.Clone(), Body: body, Broken: err != nil}
			if h := o.answer.Load(); h != nil {
				(*h)(w, r)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"ok":true}`)
		}),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12},
		ConnState: func(_ net.Conn, s http.ConnState) {
			if s == http.StateNew {
				o.conn.Add(1)
			}
		},
		ErrorLog: discard(),
	}
	done := make(chan error, 1)
	go func() { done <- s.ServeTLS(l, "", "") }()
	t.Cleanup(func() {
		_ = s.Close()
		<-done
	})
	return o
}

// received is what has arrived so far.
func (o *outsideHosts) received() (all []isogatetest.Received) {
	for {
		select {
		case r := <-o.got:
			all = append(all, r)
		default:
			return all
		}
	}
}

// appPack is a pack with an inspected host, a wildcard, a tunnel and a host that
// nobody granted, all on one port.
func appPack(port uint16) map[string]string {
	transit := func(name, destination, more string) string {
		return fmt.Sprintf("transit: %s\npurpose: app\nsource: [app/bot]\ndestination: %s\nconsent: admin\n%s", name, destination, more)
	}
	inspect := `match: [POST /v1/items, GET /v1/items, "POST /v1/items/{id}"]
request:
  contract: item
  release:
    - {label: ugc.title, as: allow, handling: persisted, because: what the app is for, owner: team-bot, until: 2099-01-01}
    - {label: identifier.user.account_id, as: allow, handling: transit-only, because: to answer, owner: team-bot, until: 2099-01-01}
  path: {id: system.metadata}
response: {restore: true}
`
	return map[string]string{
		"pack.yaml": "pack: test\nversion: 1\n",
		"destinations.yaml": fmt.Sprintf(`destinations:
  - {name: bot-api, remote: "%s:%d"}
  - {name: bot-files, remote: "%s:%d"}
  - {name: bot-wild, remote: "%s:%d"}
  - {name: bot-later, remote: "%s:%d"}
  - {name: far, url: "https://far.example.com"}
`, apiHost, port, fileHost, port, wildHost, port, laterHost, port),
		"contracts/item.yaml":  "contract: item\nformat: json\nfields:\n  title: ugc.title\n  tags[]: ugc.title\n  user: identifier.user.account_id\n  mail: personal.contact.email\n",
		"transits/api.yaml":    transit("bot-api", "bot-api", inspect),
		"transits/wild.yaml":   transit("bot-wild", "bot-wild", inspect),
		"transits/later.yaml":  transit("bot-later", "bot-later", inspect),
		"transits/files.yaml":  transit("bot-files", "bot-files", "mode: tunnel\nbecause: it speaks a protocol of its own\nowner: team-bot\nuntil: 2099-01-01\n"),
		"transits/desk.yaml":   "transit: desk\npurpose: support\nsource: [product/help-center]\ndestination: far\nconsent: admin\nmatch: [POST /v1/desk]\nrequest: {contract: item}\n",
		"transits/attach.yaml": "transit: attach\npurpose: support\nsource: [product/help-center]\ndestination: far\nconsent: user-action\nmatch: [\"POST /v1/attach/{thing}\"]\nuser_action: {user: header X-User, subject: path thing}\nrequest: {contract: item, path: {thing: system.metadata}}\n",
	}
}

// appWorld is a world with a second door, its outside and its name server.
type appWorld struct {
	*isogatetest.World
	out *outsideHosts
	dns *dnstest.Server
}

// outsideNames are the hosts of the outside.
func outsideNames() []string {
	names := []string{apiHost, fileHost, laterHost, elseHost, "a.wild.example.com", "b.c.wild.example.com", "wild.example.com"}
	for _, s := range isogatetest.Spellings() {
		host, _, err := remote.ParseAuthority(s.Text, 0)
		if s.Want == isogatetest.Reach && err == nil && !slices.Contains(names, host) {
			names = append(names, host)
		}
	}
	return names
}

func newAppWorld(t *testing.T, change func(*isogatetest.Config)) *appWorld {
	t.Helper()
	signer, err := isogatetest.NewAuthority("outside", 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return newAppWorldWith(t, signer, newOutside(t, signer, isogatetest.Leaf{Hosts: outsideNames()}), change)
}

// newAppWorldWith is one with another outside, and the authority that the gateway
// trusts there.
func newAppWorldWith(t *testing.T, signer *isogatetest.Authority, out *outsideHosts, change func(*isogatetest.Config)) *appWorld {
	t.Helper()
	dns := dnstest.New(t, map[string]dnstest.Answer{})
	for _, h := range outsideNames() {
		dns.Set(h, dnstest.Always(outside))
	}
	cfg := isogatetest.Config{Pack: appPack(out.port), Apps: []gateway.SourceID{{Name: bot}, {Name: other}}, Resolver: dns.Resolver(),
		Allow: []netip.Prefix{netip.MustParsePrefix(outside + "/32")}, Outside: signer,
		// A machine that runs many tests at once may starve the ledger for a while.
		Ledger: &consent.Config{Lease: time.Minute}}
	if change != nil {
		change(&cfg)
	}
	w := &appWorld{World: isogatetest.New(t, cfg), out: out, dns: dns}
	w.Apps.Install(bot, w.row(apiHost), w.row(fileHost), w.row(wildHost), w.row(laterHost))
	return w
}

func (w *appWorld) row(host string) remote.Row { return isogatetest.Backend(host, w.out.port) }

func (w *appWorld) at(host string) string { return fmt.Sprintf("%s:%d", host, w.out.port) }

// grant grants hosts to the bot without limits.
func (w *appWorld) grant(hosts ...string) consent.Act {
	rows := make([]remote.Row, len(hosts))
	for i, h := range hosts {
		rows[i] = w.row(h)
	}
	return w.Apps.Grant(consent.App(bot), consent.Terms{}, rows...)
}

// post sends a JSON body by the bot's proxy.
func (w *appWorld) post(t *testing.T, c *http.Client, host, path, body string) (*http.Response, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+w.at(host)+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := c.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	return res, string(answer), err
}

// problemOf reads the refusal in an answer.
func problemOf(t *testing.T, res *http.Response) gateway.Problem {
	t.Helper()
	var p gateway.Problem
	if err := json.NewDecoder(res.Body).Decode(&p); err != nil {
		t.Fatalf("status %d without a problem: %v", res.StatusCode, err)
	}
	return p
}

// An app reaches nothing until it is granted; then what it sends is judged field
// by field, and what comes back is restored; once revoked, it reaches nothing
// again.
//
// promise: P11
// promise: P12
// promise: P14
func TestAnAppGetsOutByConsentAlone(t *testing.T) {
	w := newAppWorld(t, nil)
	c := w.Apps.Client(bot)
	const body = `{"title":"A fault","user":"acc-1","mail":"ada@example.com","more":"hush"}`
	if _, _, err := w.post(t, c, apiHost, "/v1/items", body); err == nil || !strings.Contains(err.Error(), "Forbidden") {
		t.Fatalf("without a grant: %v", err)
	}
	if n := w.dns.Names(); len(n) != 0 || w.out.conn.Load() != 0 {
		t.Fatalf("%v was looked up and %d connections made without a grant", n, w.out.conn.Load())
	}
	w.grant(apiHost)
	w.out.answer.Store(handler(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(rw, `{"ok":true}`)
	}))
	res, answer, err := w.post(t, c, apiHost, "/v1/items", body)
	if err != nil || res.StatusCode != 200 || answer != `{"ok":true}` {
		t.Fatalf("granted: %v %s %v", res, answer, err)
	}
	got := w.out.received()
	if len(got) != 1 || got[0].Target != w.at(apiHost)+"/v1/items" {
		t.Fatalf("arrived: %+v", got)
	}
	sent := string(got[0].Body)
	for _, plain := range []string{`"title":"A fault"`, `"user":"acc-1"`} {
		if !strings.Contains(sent, plain) {
			t.Errorf("%s did not arrive: %s", plain, sent)
		}
	}
	for _, secret := range []string{"ada@example.com", "hush", "more"} {
		if strings.Contains(sent, secret) {
			t.Errorf("%s left: %s", secret, sent)
		}
	}
	for name := range got[0].Header {
		if strings.HasPrefix(name, "Proxy-") || name == "X-Forwarded-For" || name == "Via" {
			t.Errorf("the header %s left", name)
		}
	}
	entry, err := w.Journal.Get(t.Context(), isogate.EntryID(res.Header.Get("Isogate-Entry")))
	if err != nil {
		t.Fatal(err)
	}
	if entry.Remote != w.at(apiHost) || entry.Source != bot || entry.Purpose != "app" || entry.Transit != "bot-api" || entry.Consent == "" || entry.Destination != "bot-api" {
		t.Errorf("the entry says %+v", entry)
	}
	if _, ok := w.Apps.Ledger.State().Grant(entry.Consent); !ok {
		t.Errorf("the entry's consent %s is no grant", entry.Consent)
	}
	w.Apps.Revoke(consent.App(bot))
	// The connection is cut, or its next request is refused before that.
	res, _, err = w.post(t, c, apiHost, "/v1/items", body)
	if err == nil && res.StatusCode != 403 || err != nil && !strings.Contains(err.Error(), "Forbidden") && !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "reset") {
		t.Fatalf("revoked: %v %v", res, err)
	}
	if n := len(w.out.received()); n != 0 {
		t.Errorf("%d requests arrived after the revocation", n)
	}
}

func handler(f func(http.ResponseWriter, *http.Request)) *http.HandlerFunc {
	h := http.HandlerFunc(f)
	return &h
}

// A refused attempt has an administrator asked once, and tells the app where.
//
// promise: P12
func TestARefusedAttemptOpensOneRequest(t *testing.T) {
	w := newAppWorld(t, nil)
	var first string
	for i := range 3 {
		_, res := w.Apps.Connect(bot, w.at(apiHost))
		p := problemOf(t, res)
		if res.StatusCode != 403 || !strings.HasPrefix(p.Consent, "/api/v1/consents/") || p.Entry == "" {
			t.Fatalf("%d: %+v", res.StatusCode, p)
		}
		if i == 0 {
			first = p.Consent
		} else if p.Consent != first {
			t.Fatalf("attempt %d asked again: %s, then %s", i, first, p.Consent)
		}
	}
	if n := len(w.Apps.Ledger.State().Party(consent.App(bot)).Requests); n != 1 {
		t.Fatalf("%d requests", n)
	}
	// What no manifest declares is not asked for.
	_, res := w.Apps.Connect(bot, w.at(elseHost))
	if p := problemOf(t, res); res.StatusCode != 403 || p.Consent != "" || !strings.Contains(p.Detail, "declare") {
		t.Fatalf("%d: %+v", res.StatusCode, p)
	}
	_, res = w.Apps.Connect(other, w.at(apiHost))
	if p := problemOf(t, res); res.StatusCode != 403 || !strings.Contains(p.Detail, "manifest") {
		t.Fatalf("%d: %+v", res.StatusCode, p)
	}
}

// A tunnel passes bytes as they are, in both directions, and its entries say how
// many.
//
// promise: P12
// promise: P21
func TestATunnel(t *testing.T) {
	w := newAppWorld(t, nil)
	w.grant(fileHost)
	c := w.Apps.Client(bot)
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "https://"+w.at(fileHost)+"/x", bytes.NewReader(big))
	if err != nil {
		t.Fatal(err)
	}
	w.out.answer.Store(handler(func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(big) }))
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	back, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil || !bytes.Equal(back, big) {
		t.Fatalf("%d bytes came back: %v", len(back), err)
	}
	if got := w.out.received(); len(got) != 1 || !bytes.Equal(got[0].Body, big) {
		t.Fatal("it did not arrive as it was sent")
	}
	c.CloseIdleConnections()
	var closed isogate.Entry
	w.Apps.Await(func() bool {
		for _, e := range w.Entries() {
			if e.Stage == isogate.StageClosed && e.Remote == w.at(fileHost) {
				closed = e
				return true
			}
		}
		return false
	})
	if closed.BytesOut < int64(len(big)) || closed.BytesIn < int64(len(big)) || closed.Reason != "" {
		t.Errorf("%+v", closed)
	}
}

// ATTACK: an app has one host granted and connects to it, and then means another
// one: by the name in its TLS, by no name, by no TLS at all.
// THIS TEST VERIFIES that no byte of any of them reaches the outside, in a tunnel
// or an inspection, and that the journal says what was wrong.
//
// promise: P12
func TestTLSInATunnelIsForItsHost(t *testing.T) {
	w := newAppWorld(t, nil)
	w.grant(fileHost, apiHost)
	arrived := atomic.Int64{}
	w.out.answer.Store(handler(func(http.ResponseWriter, *http.Request) { arrived.Add(1) }))
	hello := func(name string) func(net.Conn) error {
		return func(c net.Conn) error {
			return tls.Client(c, &tls.Config{ServerName: name, InsecureSkipVerify: true}).HandshakeContext(t.Context())
		}
	}
	raw := func(text string) func(net.Conn) error {
		return func(c net.Conn) error {
			if _, err := io.WriteString(c, text); err != nil {
				return err
			}
			_, err := bufio.NewReader(c).ReadByte()
			return err
		}
	}
	for _, host := range []string{fileHost, apiHost} {
		for name, attack := range map[string]func(net.Conn) error{
			"another host":         hello(elseHost),
			"another granted host": hello(map[string]string{fileHost: apiHost, apiHost: fileHost}[host]),
			"no name":              hello(""),
			"an address":           hello("127.0.0.2"),
			"no TLS":               raw("GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n"),
			"another protocol":     raw("SSH-2.0-OpenSSH_9.6\r\n"),
			"an old client hello":  raw("\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10\x01\x00\x80"),
			"a broken handshake":   raw("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"),
		} {
			c, res := w.Apps.Connect(bot, w.at(host))
			if res.StatusCode != 200 {
				t.Fatalf("%s, %s: CONNECT was answered %d", host, name, res.StatusCode)
			}
			if err := attack(c); err == nil {
				t.Errorf("%s, %s: it went through", host, name)
			}
			_ = c.Close()
		}
	}
	if n := arrived.Load(); n != 0 {
		t.Errorf("%d requests arrived", n)
	}
	var told int
	for _, e := range w.Entries() {
		if strings.HasPrefix(e.Reason, "nothing left:") {
			told++
		}
		if e.BytesOut != 0 {
			t.Errorf("%d bytes left: %+v", e.BytesOut, e)
		}
	}
	if told != 16 {
		t.Errorf("%d entries say what was wrong, of 16", told)
	}
}

// ATTACK: inside an inspected connection, or in absolute form, the Host names
// another place than the one granted; on the second request too, once the first
// has gone through (smokescreen issue 279).
// THIS TEST VERIFIES that every request's Host is the CONNECT's host, and that
// the connection ends with the first that is not.
//
// promise: P12
func TestTheHostInsideIsTheOneOutside(t *testing.T) {
	w := newAppWorld(t, nil)
	w.grant(apiHost)
	for name, hosts := range map[string][]string{
		"another":          {w.at(elseHost)},
		"another, second":  {w.at(apiHost), w.at(elseHost)},
		"without the port": {apiHost},
		"another port":     {apiHost + ":443"},
		"a list":           {w.at(apiHost) + ", " + w.at(elseHost)},
		"a trailing dot":   {apiHost + ".:" + fmt.Sprint(w.out.port)},
		"user information": {"x@" + w.at(apiHost)},
		"an address":       {w.at(outside)},
		"a subdomain":      {"x." + w.at(apiHost)},
	} {
		c, res := w.Apps.Connect(bot, w.at(apiHost))
		if res.StatusCode != 200 {
			t.Fatalf("CONNECT: %d", res.StatusCode)
		}
		s := tls.Client(c, &tls.Config{RootCAs: w.Apps.Roots(), ServerName: apiHost})
		in := bufio.NewReader(s)
		for i, host := range hosts {
			_, err := fmt.Fprintf(s, "GET /v1/items HTTP/1.1\r\nHost: %s\r\n\r\n", host)
			if err != nil {
				t.Fatal(err)
			}
			res, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			_, _ = io.Copy(io.Discard, res.Body)
			if last := i == len(hosts)-1; last && res.StatusCode != 421 && res.StatusCode != 400 || !last && res.StatusCode != 200 {
				t.Errorf("%s: request %d is answered %d", name, i, res.StatusCode)
			}
		}
		if _, err := in.ReadByte(); err == nil {
			t.Errorf("%s: the connection goes on", name)
		}
	}
	for _, r := range w.out.received() {
		if r.Target != w.at(apiHost)+"/v1/items" {
			t.Errorf("%s arrived", r.Target)
		}
	}
}

// A revocation cuts what is open by the revoked row, and leaves the rest alone.
//
// promise: P14
func TestARevocationCutsWhatIsOpen(t *testing.T) {
	w := newAppWorld(t, nil)
	w.grant(fileHost, apiHost)
	w.out.answer.Store(handler(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		for i := 0; ; i++ {
			if _, err := fmt.Fprintf(rw, "data: %d\n\n", i); err != nil {
				return
			}
			rw.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
				return
			case <-time.After(time.Millisecond):
			}
		}
	}))
	stream := func(host string) *bufio.Reader {
		t.Helper()
		c, res := w.Apps.Connect(bot, w.at(host))
		if res.StatusCode != 200 {
			t.Fatalf("CONNECT %s: %d", host, res.StatusCode)
		}
		s := tls.Client(c, &tls.Config{RootCAs: w.Apps.Roots(), ServerName: host})
		if _, err := fmt.Fprintf(s, "GET /v1/items HTTP/1.1\r\nHost: %s\r\n\r\n", w.at(host)); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(s)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				t.Fatalf("%s: %v", host, err)
			}
			if strings.HasPrefix(line, "data: 3") {
				return in
			}
		}
	}
	tunnel, inspected := stream(fileHost), stream(apiHost)
	untilEnd := func(in *bufio.Reader) error {
		for {
			if _, err := in.ReadString('\n'); err != nil {
				return err
			}
		}
	}
	w.Apps.Revoke(consent.App(bot), w.row(fileHost))
	if err := untilEnd(tunnel); errors.Is(err, io.EOF) || err == nil || timeout(err) {
		t.Errorf("the revoked tunnel ended with %v, and not cut off", err)
	}
	for range 20 {
		if _, err := inspected.ReadString('\n'); err != nil {
			t.Fatalf("a stream of another row was cut: %v", err)
		}
	}
	w.Apps.Revoke(consent.Everybody)
	if err := untilEnd(inspected); err == nil || timeout(err) {
		t.Errorf("the revoked stream ended with %v", err)
	}
	w.Apps.Await(func() bool {
		n := 0
		for _, e := range w.Entries() {
			if e.Stage == isogate.StageClosed && strings.Contains(e.Reason, "revoked") {
				n++
			}
		}
		return n == 2
	})
}

func timeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// Absolute form goes the same way, without a tunnel.
func TestAbsoluteForm(t *testing.T) {
	w := newAppWorld(t, nil)
	w.grant(apiHost, wildHost)
	send := func(target, host, body string) *http.Response {
		t.Helper()
		c, err := net.Dial("tcp", w.Apps.Addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		_, err = fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: %s\r\nProxy-Authorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
			target, host, isogatetest.AppToken(bot), len(body), body)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	if res := send("https://"+w.at(apiHost)+"/v1/items", w.at(apiHost), `{"title":"x","mail":"a@b.example"}`); res.StatusCode != 200 {
		t.Fatalf("%d", res.StatusCode)
	}
	if res := send("https://"+w.at("b.c.wild.example.com")+"/v1/items/7", w.at("b.c.wild.example.com"), `{"title":"x"}`); res.StatusCode != 200 {
		t.Fatalf("%d %+v", res.StatusCode, problemOf(t, res))
	}
	got := w.out.received()
	if len(got) != 2 || strings.Contains(string(got[0].Body), "a@b") {
		t.Fatalf("%+v", got)
	}
	for target, status := range map[string]int{
		"http://" + w.at(apiHost) + "/v1/items":             403, // not encrypted
		"https://" + w.at("wild.example.com") + "/v1/items": 403, // the domain of a wildcard is not in it
		"https://" + w.at(fileHost) + "/v1/items":           403, // not granted
		"https://" + apiHost + "/v1/items":                  403, // another port
		"https://" + w.at(apiHost) + "/v2/items":            403, // another path
	} {
		_, rest, _ := strings.Cut(target, "://")
		host, _, _ := strings.Cut(rest, "/")
		if res := send(target, host, "{}"); res.StatusCode != status || problemOf(t, res).Detail == "" {
			t.Errorf("%s: %d", target, res.StatusCode)
		}
	}
	if n := len(w.out.received()); n != 0 {
		t.Errorf("%d arrived", n)
	}
}

// Who is not known, or is no app, gets no further, and is told as a proxy tells it.
//
// promise: P04
func TestDoorTwoKnowsItsCallers(t *testing.T) {
	w := newAppWorld(t, nil)
	w.grant(apiHost)
	try := func(authorization string) *http.Response {
		t.Helper()
		c, err := net.Dial("tcp", w.Apps.Addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if authorization != "" {
			authorization = "Proxy-Authorization: " + authorization + "\r\n"
		}
		_, err = fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", w.at(apiHost), w.at(apiHost), authorization)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: http.MethodConnect})
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	for authorization, status := range map[string]int{
		"":                              407,
		"Bearer wrong":                  407,
		"Basic ???":                     407,
		"Basic " + b64("app/bot:wrong"): 407,
		"Basic " + b64("app/other:"+isogatetest.AppToken(bot)): 407, // one's name, another's token
		"Bearer " + isogatetest.Token:                          403, // a product is no app
		"Bearer " + isogatetest.AppToken(bot):                  200,
		"Basic " + b64("bot:"+isogatetest.AppToken(bot)):       200,
		"basic " + b64("app/bot:"+isogatetest.AppToken(bot)):   200,
		"Basic " + b64(":"+isogatetest.AppToken(bot)):          200,
	} {
		res := try(authorization)
		if res.StatusCode != status {
			t.Errorf("%s: %d, want %d", authorization, res.StatusCode, status)
		}
		if status == 407 && (len(res.Header.Values("Proxy-Authenticate")) != 2 || problemOf(t, res).Entry == "") {
			t.Errorf("%s: %v", authorization, res.Header)
		}
	}
}

// A gateway that has lost touch with the ledger lets nothing out by its word, and
// tunnels that are open stand still.
//
// promise: P14
// promise: P23
func TestWithoutTheLedgerNothingLeaves(t *testing.T) {
	w := newAppWorld(t, func(c *isogatetest.Config) { c.Ledger = &consent.Config{Lease: 200 * time.Millisecond} })
	w.grant(apiHost, fileHost)
	c, res := w.Apps.Connect(bot, w.at(fileHost))
	if res.StatusCode != 200 {
		t.Fatal(res.StatusCode)
	}
	s := tls.Client(c, &tls.Config{RootCAs: w.Apps.Roots(), ServerName: fileHost})
	if err := s.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.Apps.Silence(true)
	w.Apps.Await(func() bool { return w.Apps.Ledger.InTouch() != nil })
	_, res = w.Apps.Connect(bot, w.at(apiHost))
	if p := problemOf(t, res); res.StatusCode != 503 || p.Type != "urn:isogate:problem:no-ledger" {
		t.Fatalf("%d %+v", res.StatusCode, p)
	}
	if _, err := fmt.Fprintf(s, "GET /late HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", fileHost); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	if _, err := s.Read(make([]byte, 1)); err == nil || len(w.out.received()) != 0 {
		t.Fatalf("something left without the ledger: %v", err)
	}
	w.Apps.Silence(false)
	w.Apps.Await(func() bool { return len(w.out.received()) == 1 })
}

// What a grant is limited to leaves, and no more, whatever the pack would let out;
// and a tunnel, in which nothing can be limited, is not opened by a limited grant.
//
// promise: P14
func TestAGrantLimitsWhatLeaves(t *testing.T) {
	w := newAppWorld(t, nil)
	c := w.Apps.Client(bot)
	body := `{"title":"A fault","user":"acc-1"}`
	send := func() string {
		t.Helper()
		res, answer, err := w.post(t, c, apiHost, "/v1/items", body)
		if err != nil || res.StatusCode != 200 {
			t.Fatalf("%v %s", err, answer)
		}
		got := w.out.received()
		if len(got) != 1 {
			t.Fatalf("%d arrived", len(got))
		}
		return string(got[0].Body)
	}
	g := w.Apps.Grant(consent.App(bot), consent.Terms{Labels: []isogate.LabelPattern{"ugc.title", "identifier.user.account_id"}}, w.row(apiHost), w.row(fileHost))
	if got := send(); got != body {
		t.Errorf("within the grant: %s", got)
	}
	_, res := w.Apps.Connect(bot, w.at(fileHost))
	if p := problemOf(t, res); res.StatusCode != 403 || p.Type != "urn:isogate:problem:limited-grant" {
		t.Errorf("a tunnel by a limited grant: %d %+v", res.StatusCode, p)
	}
	w.Apps.Do(consent.Act{What: consent.Modified, Party: consent.App(bot), Of: g.ID, Rows: []remote.Row{w.row(apiHost)}, Terms: consent.Terms{Labels: []isogate.LabelPattern{"ugc.title"}}})
	if got := send(); strings.Contains(got, "acc-1") || !strings.Contains(got, "A fault") {
		t.Errorf("after narrowing: %s", got)
	}
	// A row without storage lets nothing out that would be kept.
	w.Apps.Revoke(consent.App(bot))
	kept := w.row(apiHost)
	kept.Operations = remote.Compute
	w.Apps.Install(bot, kept)
	w.Apps.Grant(consent.App(bot), consent.Terms{}, kept)
	if got := send(); strings.Contains(got, "A fault") || !strings.Contains(got, "acc-1") {
		t.Errorf("without storage: %s", got)
	}
}

// HTTP/2 to the door is CONNECT by another framing: the same answers, and the same
// bytes.
func TestConnectOverHTTP2(t *testing.T) {
	w := newAppWorld(t, nil)
	w.grant(apiHost, fileHost)
	for _, host := range []string{apiHost, fileHost} {
		tun, status := w.Apps.ConnectHTTP2(t, bot, w.at(host))
		if status != 200 {
			t.Fatalf("%s: %d", host, status)
		}
		s := tls.Client(tun, &tls.Config{RootCAs: w.Apps.Roots(), ServerName: host})
		if _, err := fmt.Fprintf(s, "GET /v1/items HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", w.at(host)); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(s), nil)
		if err != nil || res.StatusCode != 200 {
			t.Fatalf("%s: %v %v", host, res, err)
		}
		_ = tun.Close()
	}
	if n := len(w.out.received()); n != 2 {
		t.Errorf("%d arrived", n)
	}
	for authority, want := range map[string]int{w.at(laterHost): 403, w.at(elseHost): 403, "127.0.0.1:443": 403, apiHost: 400} {
		if _, status := w.Apps.ConnectHTTP2(t, bot, authority); status != want {
			t.Errorf("%s: %d, want %d", authority, status, want)
		}
	}
	if _, status := w.Apps.ConnectHTTP2(t, "app/nobody", w.at(apiHost)); status != 407 {
		t.Errorf("a stranger: %d", status)
	}
}

// A transit of ours that waits for an administrator: refused and asked for, then
// granted, then revoked.
//
// promise: P11
func TestATransitWaitsForAnAdministrator(t *testing.T) {
	w := newAppWorld(t, func(c *isogatetest.Config) { c.Allow = nil })
	c := w.Client(isogatetest.Product)
	send := func() int {
		t.Helper()
		res, err := c.Post(w.URL("/v1/desk"), "application/json", strings.NewReader(`{"title":"x"}`))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if res.StatusCode == 403 {
			if p := problemOf(t, res); p.Consent == "" {
				t.Errorf("the caller is not told where to ask: %+v", p)
			}
		}
		return res.StatusCode
	}
	if s := send(); s != 403 {
		t.Fatal(s)
	}
	party := consent.OfTransit("desk")
	q := w.Apps.Ledger.State().Party(party).Requests
	if len(q) != 1 {
		t.Fatalf("%d requests", len(q))
	}
	w.Apps.Do(consent.Act{What: consent.Granted, Party: party, Of: q[0].ID, Rows: q[0].Rows, Base: w.Apps.Ledger.State().Party(party).Last})
	if s := send(); s != 200 {
		t.Fatal(s)
	}
	w.Apps.Revoke(party)
	res, err := c.Post(w.URL("/v1/desk"), "application/json", strings.NewReader(`{"title":"x"}`))
	if err != nil || res.StatusCode != 403 {
		t.Fatal(res, err)
	}
	if n := len(w.Far.Received()); n != 1 {
		t.Errorf("%d arrived", n)
	}
}

// ATTACK: a consent that one user gave for one thing is used for another user, for
// another thing, by another source, twice, or too late.
// THIS TEST VERIFIES that each is refused and recorded, and that the right one goes
// through once.
//
// promise: P11
// promise: P20
func TestAUsersOwnAction(t *testing.T) {
	w := newAppWorld(t, func(c *isogatetest.Config) { c.Allow = nil })
	c := w.Client(isogatetest.Product)
	give := func(body string) (id string, status int) {
		t.Helper()
		res, err := c.Post("https://"+w.Addr+"/consents", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var got struct{ Consent string }
		_ = json.NewDecoder(res.Body).Decode(&got)
		return got.Consent, res.StatusCode
	}
	send := func(id, user, thing string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.URL("/v1/attach/"+thing), strings.NewReader(`{"title":"x"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if id != "" {
			req.Header.Set("Isogate-Consent", id)
		}
		req.Header.Set("X-User", user)
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return res.StatusCode
	}
	id, status := give(`{"transit":"attach","user":"ada","subject":"t-17"}`)
	if status != 201 || id == "" {
		t.Fatal(status, id)
	}
	for name, got := range map[string]int{
		"none":            send("", "ada", "t-17"),
		"an unknown one":  send("01JD3T8CZ0W6X2V8V5W7K9QJ4M", "ada", "t-17"),
		"another user":    send(id, "bob", "t-17"),
		"another subject": send(id, "ada", "t-18"),
		"nobody":          send(id, "", "t-17"),
	} {
		if got != 403 {
			t.Errorf("%s: %d", name, got)
		}
	}
	if n := len(w.Far.Received()); n != 0 {
		t.Fatalf("%d arrived", n)
	}
	if s := send(id, "ada", "t-17"); s != 200 {
		t.Fatal(s)
	}
	if s := send(id, "ada", "t-17"); s != 403 {
		t.Errorf("a second use: %d", s)
	}
	if n := len(w.Far.Received()); n != 1 {
		t.Errorf("%d arrived", n)
	}
	for body, want := range map[string]int{
		`{"transit":"desk","user":"a","subject":"b"}`:         403, // waits for an administrator
		`{"transit":"nowhere","user":"a","subject":"b"}`:      403,
		`{"transit":"attach","user":"a","subject":"b","x":1}`: 400,
		`{"transit":"attach","user":"","subject":"b"}`:        400,
		`{"transit":"attach","user":"a","subject":"b"}{}`:     400,
		`not json`: 400,
		`{"transit":"` + strings.Repeat("x", 5000) + `"}`: 413,
	} {
		if _, got := give(body); got != want {
			t.Errorf("%.60s: %d, want %d", body, got, want)
		}
	}
	for _, e := range w.Entries() {
		if text := fmt.Sprintf("%+v", e); strings.Contains(text, "t-17") || strings.Contains(text, " ada") && e.Kind == isogate.KindConsent && e.Act == "given" {
			t.Errorf("the journal names a user or subject: %s", text)
		}
	}
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func discard() *log.Logger { return log.New(io.Discard, "", 0) }

// heldJournal is a journal that can be said not to be ready.
type heldJournal struct {
	gateway.Journal
	fault atomic.Pointer[error]
}

// Ready implements [gateway.Journal].
func (h *heldJournal) Ready() error {
	if err := h.fault.Load(); err != nil {
		return *err
	}
	return h.Journal.Ready()
}

// ATTACK: the journal's disk is full, so that no revocation can be recorded; what
// is open goes on.
// THIS TEST VERIFIES that a tunnel that is open stands still until the journal can
// be written again.
//
// promise: P23
func TestATunnelStandsStillWithoutTheJournal(t *testing.T) {
	var held *heldJournal
	w := newAppWorld(t, func(c *isogatetest.Config) {
		c.Journal = func(j *journal.Journal) gateway.Journal {
			held = &heldJournal{Journal: j}
			return held
		}
	})
	w.grant(fileHost)
	c, res := w.Apps.Connect(bot, w.at(fileHost))
	if res.StatusCode != 200 {
		t.Fatal(res.StatusCode)
	}
	s := tls.Client(c, &tls.Config{RootCAs: w.Apps.Roots(), ServerName: fileHost})
	if err := s.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	full := errors.New("the disk is full")
	held.fault.Store(&full)
	if _, err := fmt.Fprintf(s, "GET /late HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", fileHost); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	if _, err := s.Read(make([]byte, 1)); !timeout(err) || len(w.out.received()) != 0 {
		t.Fatalf("something left without the journal: %v", err)
	}
	held.fault.Store(nil)
	w.Apps.Await(func() bool { return len(w.out.received()) == 1 })
}

// ATTACK: an app that is refused knocks on, to fill the journal with its refusals.
// THIS TEST VERIFIES that they are recorded up to a rate, that what was not is
// counted, and that another app's refusals are recorded all the same.
//
// promise: P06
func TestAnAppCannotFillTheJournal(t *testing.T) {
	w := newAppWorld(t, nil)
	before, many := len(w.Entries()), atomic.Int64{}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 300 {
				c, res := w.Apps.Connect(other, w.at(apiHost))
				_ = c.Close()
				if res.StatusCode == 429 {
					many.Add(1)
				}
			}
		})
	}
	all.Wait()
	if n := len(w.Entries()) - before; many.Load() == 0 || n > 2390 {
		t.Fatalf("%d of 2400 refusals were answered 429, and %d recorded", many.Load(), n)
	}
	_, res := w.Apps.Connect(bot, w.at(elseHost))
	if p := problemOf(t, res); res.StatusCode != 403 || p.Entry == "" {
		t.Errorf("another app's refusal: %d %+v", res.StatusCode, p)
	}
}

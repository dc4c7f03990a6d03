package gateway_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/isogatetest"
	"github.com/isogate/isogate/internal/remote"
)

// clock is a policy's clock that a test sets.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.set(time.Now())
	return c
}
func (c *clock) set(t time.Time) { c.at.Store(t.UnixNano()) }
func (c *clock) now() time.Time  { return time.Unix(0, c.at.Load()) }

// events has the outside answer with streams of events, one each time something is
// sent on the host's channel.
func (w *appWorld) events() map[string]chan struct{} {
	next := map[string]chan struct{}{apiHost: make(chan struct{}), fileHost: make(chan struct{})}
	w.out.answer.Store(handler(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			rw.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(rw, `{}`)
			return
		}
		rw.Header().Set("Content-Type", "text/event-stream")
		for {
			select {
			case <-next[strings.Split(r.Host, ":")[0]]:
			case <-r.Context().Done():
				return
			}
			_, _ = io.WriteString(rw, "data: x\n")
			rw.(http.Flusher).Flush()
		}
	}))
	return next
}

// stream opens a stream of events of a host, over one of the bot's connections.
func (w *appWorld) stream(t *testing.T, host string, next map[string]chan struct{}) *bufio.Reader {
	t.Helper()
	c, res := w.Apps.Connect(bot, w.at(host))
	if res.StatusCode != 200 {
		t.Fatalf("CONNECT %s: %d", host, res.StatusCode)
	}
	s, in := w.toHost(c, host)
	_, _ = fmt.Fprintf(s, "GET /v1/items HTTP/1.1\r\nHost: %s\r\n\r\n", w.at(host))
	select {
	case next[host] <- struct{}{}:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: the request did not arrive", host)
	}
	res, err := http.ReadResponse(in, nil)
	if err != nil || res.StatusCode != 200 {
		t.Fatal(res, err)
	}
	body := bufio.NewReader(res.Body)
	if _, err := body.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return body
}

// goesOn makes sure that a stream does.
func goesOn(t *testing.T, what string, r *bufio.Reader, next chan<- struct{}) {
	t.Helper()
	select {
	case next <- struct{}{}:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: the outside waits for nothing any more", what)
	}
	if _, err := r.ReadString('\n'); err != nil {
		t.Errorf("%s was cut: %v", what, err)
	}
}

// isCut makes sure that a stream ends, and not as if it were complete.
func isCut(t *testing.T, what string, r io.Reader) {
	t.Helper()
	if _, err := io.Copy(io.Discard, r); err == nil || timeout(err) {
		t.Errorf("%s ended with %v", what, err)
	}
}

// reasons waits for n ways out to have been closed for a reason that has the text.
func (w *appWorld) reasons(t *testing.T, text string, n int) {
	t.Helper()
	w.Apps.Await(func() bool {
		got := 0
		for _, e := range w.Entries() {
			if e.Stage == isogate.StageClosed && strings.Contains(e.Reason, text) {
				got++
			}
		}
		return got == n
	})
}

// ATTACK: the pack is swapped, the keys are rotated, while a tunnel and an
// inspected stream are open, so that one request might be judged by two packs, or
// a connection by an old one for ever.
// THIS TEST VERIFIES that what was begun goes on as it began, that the next request
// of the same connection is judged by the new pack, and that a tunnel which the
// pack does not have any more is not opened.
//
// promise: P10
func TestAttackSwapUnderOpenConnections(t *testing.T) {
	w := newAppWorld(t, nil)
	w.grant(apiHost, fileHost)
	next := w.events()
	tunnel, inspected := w.stream(t, fileHost, next), w.stream(t, apiHost, next)
	send := w.openInspected(t, apiHost)
	post := func(plain bool) {
		t.Helper()
		w.out.received()
		if res, text, err := send("POST", "/v1/items", `{"title":"A fault","user":"acc-1"}`); err != nil || res.StatusCode != 200 {
			t.Fatalf("%v %v %s", res, err, text)
		}
		got := w.out.received()
		if len(got) != 1 || strings.Contains(string(got[0].Body), "A fault") != plain {
			t.Errorf("plain %v: %d arrived: %s", plain, len(got), got[0].Body)
		}
	}
	post(true)
	files := appPack(w.out.port)
	delete(files, "transits/files.yaml")
	before, rest, _ := strings.Cut(files["transits/api.yaml"], "    - {label: ugc.title")
	_, after, _ := strings.Cut(rest, "\n")
	files["transits/api.yaml"] = before + after
	w.WritePack(files)
	if err := w.Keys.Rotate(); err != nil {
		t.Fatal(err)
	}
	w.Gateway.Swap(w.Rules())
	post(false)
	goesOn(t, "the tunnel", tunnel, next[fileHost])
	goesOn(t, "the stream", inspected, next[apiHost])
	_, res := w.Apps.Connect(bot, w.at(fileHost))
	if p := problemOf(t, res); res.StatusCode != 403 || p.Type != "urn:isogate:problem:no-transit" {
		t.Errorf("a tunnel that the pack has not: %d %+v", res.StatusCode, p)
	}
	w.Apps.Revoke(consent.App(bot))
	isCut(t, "the tunnel", tunnel)
	isCut(t, "the stream", inspected)
}

// ATTACK: a grant is used at the instant at which it ends; then the clock is set
// back.
// THIS TEST VERIFIES that it lets out until the last nanosecond and not at its end,
// that what is open is cut, and that no clock brings it into force again.
//
// promise: P11
// promise: P14
func TestAttackGrantThatEndsAtUse(t *testing.T) {
	c := newClock()
	w := newAppWorld(t, func(cfg *isogatetest.Config) {
		cfg.Now = c.now
		cfg.Ledger = &consent.Config{Now: c.now, Lease: time.Minute}
	})
	end := time.Now().Add(time.Hour).Round(time.Second)
	w.Apps.Grant(consent.App(bot), consent.Terms{Until: end}, w.row(apiHost), w.row(fileHost))
	next := w.events()
	tunnel, inspected := w.stream(t, fileHost, next), w.stream(t, apiHost, next)
	connect := func(host string) int {
		t.Helper()
		conn, res := w.Apps.Connect(bot, w.at(host))
		defer conn.Close()
		if res.StatusCode != 200 {
			if p := problemOf(t, res); p.Type != "urn:isogate:problem:no-consent" {
				t.Errorf("%+v", p)
			}
		}
		return res.StatusCode
	}
	send := w.openInspected(t, apiHost)
	c.set(end.Add(-1))
	for _, host := range []string{apiHost, fileHost} {
		if s := connect(host); s != 200 {
			t.Errorf("a nanosecond before its end: %s: %d", host, s)
		}
	}
	if res, _, err := send("POST", "/v1/items", `{}`); err != nil || res.StatusCode != 200 {
		t.Errorf("a nanosecond before its end: %v %v", res, err)
	}
	c.set(end)
	for _, host := range []string{apiHost, fileHost} {
		if s := connect(host); s != 403 {
			t.Errorf("at its end: %s: %d", host, s)
		}
	}
	if res, _, err := send("POST", "/v1/items", `{}`); err == nil && res.StatusCode != 403 {
		t.Errorf("at its end: %d", res.StatusCode)
	}
	isCut(t, "the tunnel", tunnel)
	isCut(t, "the stream", inspected)
	w.reasons(t, "the grant's time is over", 2)
	for _, back := range []time.Duration{time.Nanosecond, time.Minute, 24 * time.Hour} {
		c.set(end.Add(-back))
		for _, host := range []string{apiHost, fileHost} {
			if s := connect(host); s != 403 {
				t.Errorf("the clock set back by %s: %s: %d", back, host, s)
			}
		}
	}
}

// ATTACK: a tunnel is held open beyond the end that the pack gives it.
// THIS TEST VERIFIES that it is cut then, and not opened again.
//
// promise: P09
func TestAttackTunnelBeyondItsEndInThePack(t *testing.T) {
	c := newClock()
	w := newAppWorld(t, func(cfg *isogatetest.Config) { cfg.Now = c.now })
	w.grant(apiHost, fileHost)
	next := w.events()
	tunnel := w.stream(t, fileHost, next)
	c.set(time.Date(2098, 12, 31, 23, 59, 59, 0, time.UTC))
	goesOn(t, "the tunnel", tunnel, next[fileHost])
	c.set(time.Date(2099, 1, 2, 0, 0, 0, 0, time.UTC))
	isCut(t, "the tunnel", tunnel)
	w.reasons(t, "the tunnel's time in the pack is over", 1)
	_, res := w.Apps.Connect(bot, w.at(fileHost))
	if p := problemOf(t, res); res.StatusCode != 403 || !strings.Contains(p.Detail, "time in the pack is over") {
		t.Errorf("%d %+v", res.StatusCode, p)
	}
}

// ATTACK: between a CONNECT and the first request inside, or while a tunnel is
// open, an administrator revokes the grant, limits it, or blocks the app; or does
// so to another app.
// THIS TEST VERIFIES that it holds at once, for what is open too, and for nobody
// else.
//
// promise: P14
func TestAttackChangesUnderOpenConnections(t *testing.T) {
	w := newAppWorld(t, func(c *isogatetest.Config) { c.Hold = 1 << 10 })
	next := w.events()
	w.Apps.Install(other, w.row(apiHost), w.row(fileHost))

	// Revoked between CONNECT and the handshake inside, and the first request.
	for _, handshake := range []bool{false, true} {
		w.grant(apiHost)
		conn, res := w.Apps.Connect(bot, w.at(apiHost))
		if res.StatusCode != 200 {
			t.Fatal(res.StatusCode)
		}
		s, in := w.toHost(conn, apiHost)
		if handshake {
			if err := s.HandshakeContext(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		w.Apps.Revoke(consent.App(bot))
		_, _ = fmt.Fprintf(s, "POST /v1/items HTTP/1.1\r\nHost: %s\r\nContent-Length: 0\r\n\r\n", w.at(apiHost))
		if res, err := http.ReadResponse(in, nil); err == nil && res.StatusCode != 403 {
			t.Errorf("handshake %v: %d", handshake, res.StatusCode)
		}
	}
	if n := len(w.out.received()); n != 0 {
		t.Errorf("%d requests arrived by a revoked grant", n)
	}

	// Another app's grant is revoked, and another app is blocked.
	w.grant(fileHost, apiHost)
	w.Apps.Grant(consent.App(other), consent.Terms{}, w.row(apiHost), w.row(fileHost))
	tunnel, inspected := w.stream(t, fileHost, next), w.stream(t, apiHost, next)
	w.Apps.Revoke(consent.App(other))
	w.Apps.Do(consent.Act{What: consent.Blocked, Party: consent.App(other), Reason: "a test"})
	goesOn(t, "the tunnel of another app", tunnel, next[fileHost])
	goesOn(t, "the stream of another app", inspected, next[apiHost])

	// Limited: a tunnel, in which nothing can be limited, is cut; and so is a body
	// that is judged while it leaves by what the grant was.
	g := w.Apps.Ledger.State().Party(consent.App(bot)).Grants
	last := g[len(g)-1]
	up := w.upload(t, apiHost)
	up.send(strings.Repeat("a", 256<<10))
	w.Apps.Await(func() bool { return up.arrived.Load() > 0 })
	w.Apps.Do(consent.Act{What: consent.Modified, Party: consent.App(bot), Of: last.ID, Rows: last.Rows, Terms: consent.Terms{Labels: []isogate.LabelPattern{"system.**"}}})
	isCut(t, "the tunnel of a limited grant", tunnel)
	goesOn(t, "the stream inward", inspected, next[apiHost])
	if err := <-up.broken; err == nil {
		t.Error("the outside takes an upload by a limited grant for complete")
	}
	w.reasons(t, "the grant was limited", 2)

	w.Apps.Do(consent.Act{What: consent.Blocked, Party: consent.App(bot), Reason: "a test"})
	isCut(t, "the stream of a blocked app", inspected)
	_, res := w.Apps.Connect(bot, w.at(apiHost))
	if p := problemOf(t, res); res.StatusCode != 403 || !strings.Contains(p.Detail, "block") {
		t.Errorf("%d %+v", res.StatusCode, p)
	}
	w.Apps.Await(func() bool { return w.Gateway.Open() == 0 })
}

// upload is a body that is on its way through an inspection.
type upload struct {
	send    func(text string)
	end     func() (*http.Response, error)
	arrived *atomic.Int64 // bytes
	broken  chan error    // what the outside saw at the end
}

// upload begins one. It is larger than the gateway holds once 1 KiB was sent.
func (w *appWorld) upload(t *testing.T, host string) *upload {
	t.Helper()
	u := &upload{arrived: &atomic.Int64{}, broken: make(chan error, 1)}
	was := w.out.answer.Load()
	w.out.early.Store(handler(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			(*was)(rw, r)
			return
		}
		b := make([]byte, 32<<10)
		for {
			n, err := r.Body.Read(b)
			u.arrived.Add(int64(n))
			if err != nil {
				if errors.Is(err, io.EOF) {
					err = nil
				}
				u.broken <- err
				return
			}
		}
	}))
	t.Cleanup(func() { w.out.early.Store(nil) })
	c, res := w.Apps.Connect(bot, w.at(host))
	if res.StatusCode != 200 {
		t.Fatal(res.StatusCode)
	}
	s, in := w.toHost(c, host)
	_, _ = fmt.Fprintf(s, "POST /v1/items HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n", w.at(host))
	piece := func(text string) { _, _ = fmt.Fprintf(s, "%x\r\n%s\r\n", len(text), text) }
	piece(`{"title":"small","tags":[`)
	first := true
	u.send = func(text string) {
		comma := ","
		if first {
			comma, first = "", false
		}
		piece(comma + `"` + text + `"`)
	}
	u.end = func() (*http.Response, error) {
		piece("]}")
		_, _ = io.WriteString(s, "0\r\n\r\n")
		return http.ReadResponse(in, nil)
	}
	return u
}

// ATTACK: two gateways follow one journal, each at its own pace and in pieces of its
// own, while administrators act at both at once.
// THIS TEST VERIFIES that they never disagree: at the same place of the journal they
// have the same state, and answer every question alike.
//
// promise: P10
func TestAttackTwoGatewaysNeverDisagree(t *testing.T) {
	w := newAppWorld(t, nil)
	second, err := consent.New(consent.Config{Journal: isogatetest.Follower{Journal: w.Journal}, Logger: slog.New(slog.DiscardHandler), Lease: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- second.Run(ctx) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	w.Apps.Await(func() bool { return second.State().Revision == w.Apps.Ledger.State().Revision })

	ledgers := []*consent.Ledger{w.Apps.Ledger, second}
	party := consent.App(bot)
	rows := []remote.Row{w.row(apiHost), w.row(fileHost), w.row(wildHost), w.row(laterHost)}
	ended := make(chan struct{})
	for i, l := range ledgers {
		go func() {
			defer func() { ended <- struct{}{} }()
			r := rand.New(rand.NewPCG(uint64(i), 7))
			for range 60 {
				st := l.State().Party(party)
				row := rows[r.IntN(len(rows))]
				act := consent.Act{Party: party, Actor: isogatetest.Administrator, Rows: []remote.Row{row}, Base: st.Last, Reason: "a test"}
				switch n := len(st.Requests); r.IntN(5) {
				case 0, 1:
					act = l.NewRequest(party, []remote.Row{row}, isogatetest.Administrator, "a test")
				case 2, 3:
					if n == 0 {
						continue
					}
					act.What, act.Of, act.Rows = consent.Granted, st.Requests[n-1].ID, st.Requests[n-1].Rows
				default:
					act.What = consent.Revoked
				}
				if _, err := l.Do(ctx, act); err != nil && !errors.Is(err, consent.ErrNoEffect) {
					t.Error(err)
				}
			}
		}()
	}
	compared := 0
	same := func() {
		a, b := ledgers[0].State(), ledgers[1].State()
		if a.Revision != b.Revision {
			return
		}
		compared++
		if !reflect.DeepEqual(a, b) {
			t.Fatalf("at %d the states differ", a.Revision)
		}
		for _, row := range rows {
			ask := consent.Ask{Party: party, Kinds: []remote.Kind{remote.Backend}, Host: strings.Replace(row.Host, "*", "a", 1), Port: row.Port}
			p, no := a.Allows(ask, time.Now())
			q, no2 := b.Allows(ask, time.Now())
			if (p.Grant == nil) != (q.Grant == nil) || p.Grant != nil && p.Grant.ID != q.Grant.ID || no.Why != no2.Why || no.Request != no2.Request {
				t.Fatalf("at %d: %s: %+v %+v, %+v %+v", a.Revision, row.Host, p, no, q, no2)
			}
		}
	}
	for left := len(ledgers); left > 0; {
		select {
		case <-ended:
			left--
		default:
			same()
		}
	}
	w.Apps.Await(func() bool { return ledgers[0].State().Revision == ledgers[1].State().Revision })
	same()
	if compared < 2 {
		t.Errorf("they were compared %d times", compared)
	}
}

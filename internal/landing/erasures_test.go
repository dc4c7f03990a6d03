package landing

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate/internal/seal"
	"github.com/isogate/isogate/internal/vault"
)

func b64sum(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func registerRow(id, subject string) string {
	return string(seal.AppendRegister(nil, &seal.RegisterRow{Label: email, ID: "igt1c" + id, Subject: "igt1c" + subject, Because: "Primary identifier", Rule: "transits/x.yaml:7"}))
}

func erasure(id string, values ...string) string {
	var rows []string
	for i, v := range values {
		rows = append(rows, `{"label":"personal.contact.email","id":"igt1c`+strings.Repeat("abcdefgh"[i:i+1], 4)+`","value":"`+v+`"}`)
	}
	return `{"id":"` + id + `","rows":[` + strings.Join(rows, ",") + `]}`
}

func (w *world) erase(c *http.Client, body string) reply {
	w.t.Helper()
	return w.do(c, "POST", "https://"+w.gateways+"/.isogate/erasures", body, "Content-Type", "application/json")
}

// waitState waits until an erasure is in a state.
func (w *world) waitState(c *http.Client, id string, want erasureState) {
	w.t.Helper()
	state := erasureState("")
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); <-time.After(20 * time.Millisecond) {
		if state = getJSON[erasureAnswer](w, c, "/.isogate/erasures/"+id).State; state == want {
			return
		}
	}
	w.t.Fatalf("the erasure %s is %s, want %s", id, state, want)
}

// THIS TEST VERIFIES: the service is called, signed and with the values, until it
// has erased; then the register has none of it, in no file, and a receipt says so.
//
// promise: P17
func TestErasure(t *testing.T) {
	w := newWorld(t, nil)
	w.l.erasures.mu.Lock()
	w.l.erasures.first = 20 * time.Millisecond
	w.l.erasures.mu.Unlock()
	g := w.gateway("acme")
	w.send(g, "", nil, seal.HeaderRegister, registerRow("aaaa", "ssss")+", "+registerRow("bbbb", "ssss")+", "+registerRow("zzzz", "ssss"))
	calls := 0
	called := make(chan reply, 10)
	w.far.answers(func(rw http.ResponseWriter, r *http.Request, body string) {
		if r.URL.Path != "/erase" {
			return
		}
		called <- reply{header: r.Header, body: body}
		calls++
		rw.WriteHeader([]int{500, 202, 301, 200}[min(calls-1, 3)])
	})
	if r := w.erase(g, erasure("e1", "ada@example.com", "ada@x.example")); r.status != 200 || r.body != `{"erasure":"e1","state":"waiting"}`+"\n" {
		t.Fatalf("answered %d %s", r.status, r.body)
	}
	if r := w.erase(g, erasure("e1", "ada@example.com")); r.status != 409 {
		t.Errorf("the same id with other rows is answered %d", r.status)
	}
	e := w.events("acme", func(e seal.Event) bool { return e.Kind == seal.Erased })
	if e.Erasure != "e1" || e.N != 2 {
		t.Errorf("the receipt says %+v", e)
	}
	w.waitState(g, "e1", erasureConfirmed)
	if len(called) != 4 {
		t.Errorf("the service was called %d times", len(called))
	}
	c := <-called
	var body struct {
		Erasure, Tenant, Deadline string
		Identifiers               []struct{ Label, Value string }
	}
	if err := json.Unmarshal([]byte(c.body), &body); err != nil || body.Erasure != "e1" || body.Tenant != "acme" || len(body.Identifiers) != 2 || body.Identifiers[0].Value != "ada@example.com" {
		t.Errorf("the service was sent %s", c.body)
	}
	signed, err := base64.StdEncoding.DecodeString(c.header.Get(HeaderSignature))
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open(signed, note.VerifierList(w.verifier))
	if err != nil || n.Text != "isogate/erasure/v1\ne1\n"+b64sum(c.body)+"\n" {
		t.Errorf("the signature is over %q: %v", n.Text, err)
	}
	type list struct{ Rows []struct{ ID string } }
	if l := getJSON[list](w, g, "/.isogate/register"); len(l.Rows) != 1 || l.Rows[0].ID != "igt1czzzz" {
		t.Errorf("the register has %+v", l)
	}
	if r := w.erase(g, erasure("e1", "ada@example.com", "ada@x.example")); r.body != `{"erasure":"e1","state":"confirmed"}`+"\n" {
		t.Errorf("asked again: %d %s", r.status, r.body)
	}
	for _, f := range w.files() {
		if bytes.Contains(f, []byte("ada@")) {
			t.Error("a file has the value")
		}
	}
}

// files reads every file of the landing's directory.
func (w *world) files() (texts [][]byte) {
	w.t.Helper()
	err := filepath.WalkDir(w.l.cfg.Dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		texts = append(texts, b)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return texts
}

// ATTACK: an identifier comes again while it is being erased; the register forgets
// what the service now has anew.
//
// THIS TEST VERIFIES: what was registered after the service was called stays.
func TestErasureOfWhatComesAgain(t *testing.T) {
	w := newWorld(t, nil)
	g := w.gateway("acme")
	w.send(g, "", nil, seal.HeaderRegister, registerRow("aaaa", "ssss"))
	calling, answer := make(chan struct{}), make(chan struct{})
	w.far.answers(func(rw http.ResponseWriter, r *http.Request, _ string) {
		if r.URL.Path == "/erase" {
			close(calling)
			<-answer
		}
	})
	w.erase(g, erasure("e1", "ada@example.com"))
	<-calling
	if r := w.send(g, "", nil, seal.HeaderRegister, registerRow("aaaa", "ssss")); r.status != 200 {
		t.Fatalf("answered %d %s", r.status, r.body)
	}
	close(answer)
	w.waitState(g, "e1", erasureConfirmed)
	type list struct{ Rows []struct{ ID string } }
	if l := getJSON[list](w, g, "/.isogate/register"); len(l.Rows) != 1 {
		t.Errorf("the register has %+v", l)
	}
}

// THIS TEST VERIFIES: no call is made about an identifier while a request that
// brings it is on its way to the service.
func TestErasureWaitsForRequestsOnTheWay(t *testing.T) {
	w := newWorld(t, nil)
	g := w.gateway("acme")
	arrived, answer := make(chan struct{}), make(chan struct{})
	order := make(chan string, 4)
	w.far.answers(func(_ http.ResponseWriter, r *http.Request, _ string) {
		if r.URL.Path == "/erase" {
			order <- "erased"
			return
		}
		close(arrived)
		<-answer
		order <- "stored"
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.send(g, "", nil, seal.HeaderRegister, registerRow("aaaa", "ssss"))
	}()
	<-arrived
	w.erase(g, erasure("e1", "ada@example.com"))
	if !w.l.register.busy("acme", []identifier{{Label: email, ID: "igt1caaaa"}}) {
		t.Error("the request is not on its way")
	}
	close(answer)
	<-done
	if first, second := <-order, <-order; first != "stored" || second != "erased" {
		t.Errorf("it was %s and then %s", first, second)
	}
}

// THIS TEST VERIFIES: an erasure that the service does not confirm is overdue, and
// said so once; it goes on, also over a restart, after which the gateway brings the
// values again; and the service can confirm by itself.
func TestErasureOverdueAndRestart(t *testing.T) {
	w := newWorld(t, func(c *Config, _ *vault.Config) { c.Erase.EscalateAfter = 50 * time.Millisecond })
	g := w.gateway("acme")
	w.send(g, "", nil, seal.HeaderRegister, registerRow("aaaa", "ssss"))
	w.far.answers(func(rw http.ResponseWriter, _ *http.Request, _ string) { rw.WriteHeader(202) })
	w.erase(g, erasure("e1", "ada@example.com"))
	w.events("acme", func(e seal.Event) bool { return e.Kind == seal.ErasureOverdue && e.Erasure == "e1" })
	w.waitState(g, "e1", erasureOverdue)

	// As after a restart: a second reader of the same register.
	again, err := newErasures(w.l, w.l.register.store)
	if err != nil {
		t.Fatal(err)
	}
	j := again.jobs[jobKey{"acme", "e1"}]
	if j == nil || j.valued || !j.overdue || j.state != erasureOverdue || len(j.rows) != 1 || j.rows[0].Value != "" {
		t.Fatalf("after a restart the erasure is %+v", j)
	}
	if state, err := again.ask(t.Context(), "acme", "e1", []identifier{{Label: email, ID: "igt1caaaa", Value: "ada@example.com"}}); err != nil || state != erasureOverdue || !j.valued {
		t.Errorf("brought again: %s %v", state, err)
	}

	plain := &http.Client{Transport: &http.Transport{}}
	confirm := func(tenant, token string) int {
		return w.do(plain, "POST", "http://"+w.service+"/.isogate/erasures/e1/confirm", `{"tenant":"`+tenant+`"}`, "Content-Type", "application/json", "Authorization", "Bearer "+token).status
	}
	if s := confirm("acme", agent); s != 401 {
		t.Errorf("a viewer's token confirms: %d", s)
	}
	if s := confirm("globex", program); s != 404 {
		t.Errorf("another tenant's erasure is answered %d", s)
	}
	if s := confirm("acme", program); s != 204 {
		t.Errorf("the service's confirmation is answered %d", s)
	}
	w.events("acme", func(e seal.Event) bool { return e.Kind == seal.Erased && e.Erasure == "e1" })
	w.waitState(g, "e1", erasureConfirmed)
}

// ATTACK: an identifier comes again in the moment in which the service is called to
// erase it.
//
// THIS TEST VERIFIES: it is not struck from the register while the service gets it.
//
// promise: P17
func TestErasureMeetsWhatComesAgain(t *testing.T) {
	var between atomic.Pointer[func()]
	w := newWorld(t, func(c *Config, _ *vault.Config) {
		c.Now = func() time.Time {
			now := time.Now()
			if f := between.Swap(nil); f != nil {
				(*f)()
				return now.Add(10 * time.Millisecond)
			}
			return now
		}
	})
	rows := []identifier{{Label: email, ID: "igt1caaaa", Value: "ada@example.com"}}
	j := &job{task: task{tenant: "acme", id: "e1", state: erasureWaiting, asked: time.Now(), rows: rows}, valued: true}
	if err := w.l.erasures.store.ask(t.Context(), &j.task); err != nil {
		t.Fatal(err)
	}
	w.l.register.opened("acme", rows)
	comes := func() {
		if err := w.l.register.put(t.Context(), "acme", "entry", []seal.RegisterRow{{Label: email, ID: "igt1caaaa", Subject: "igt1cssss", Because: "b", Rule: "r"}}); err != nil {
			t.Error(err)
		}
	}
	between.Store(&comes)
	w.l.erasures.call(t.Context(), j)
	if list, _, err := w.l.register.list(t.Context(), "acme", "", "", "", 10); err != nil || len(list) != 1 {
		t.Errorf("the register has %v, %v", list, err)
	}
}

// ATTACK: one tenant asks for many erasures, which the service never answers, so that
// another's wait behind them without anybody being told; and for ever more, so that
// their values fill the memory.
//
// THIS TEST VERIFIES: what is overdue is said to be while the service is waited for,
// and there is an end to what is kept.
func TestErasuresBehindOthers(t *testing.T) {
	w := newWorld(t, func(c *Config, _ *vault.Config) {
		c.Erase.EscalateAfter, c.Erase.Timeout = time.Millisecond, 2*time.Second
	})
	hang := make(chan struct{})
	defer close(hang)
	var calls atomic.Int32
	w.far.answers(func(http.ResponseWriter, *http.Request, string) {
		calls.Add(1)
		<-hang
	})
	for i := range 20 {
		if r := w.erase(w.gateway("globex"), erasure("e"+strconv.Itoa(i), "x")); r.status != 200 {
			t.Fatalf("answered %d %s", r.status, r.body)
		}
	}
	w.erase(w.gateway("acme"), erasure("e1", "ada@example.com"))
	w.events("acme", func(e seal.Event) bool { return e.Kind == seal.ErasureOverdue })
	if n := calls.Load(); n > 5 {
		t.Errorf("it was said after %d calls", n)
	}
	full := false
	for i := 0; i < 40 && !full; i++ {
		r := w.erase(w.gateway("globex"), erasure("f"+strconv.Itoa(i), strings.Repeat("x", 1<<20)))
		full = r.status == 503
	}
	if !full {
		t.Error("there is no end to the values that are kept")
	}
	if r := w.erase(w.gateway("acme"), erasure("e2", "ada@example.com")); r.status != 200 {
		t.Errorf("another tenant is answered %d", r.status)
	}
}

// ATTACK: another tenant asks about or erases by the id of an erasure.
//
// THIS TEST VERIFIES: ids are each tenant's own.
func TestErasuresAreEachTenantsOwn(t *testing.T) {
	w := newWorld(t, nil)
	w.far.answers(func(rw http.ResponseWriter, _ *http.Request, _ string) { rw.WriteHeader(202) })
	w.erase(w.gateway("acme"), erasure("e1", "ada@example.com"))
	if r := w.do(w.gateway("globex"), "GET", "https://"+w.gateways+"/.isogate/erasures/e1", ""); r.status != 404 {
		t.Errorf("answered %d %s", r.status, r.body)
	}
	for _, body := range []string{"", "{}", `{"id":"a/b","rows":[]}`, `{"id":"e2","rows":[{"label":"UP","id":"x","value":"y"}]}`, erasure("e2"), `{"id":"e2","rows":[],"more":1}`, erasure("e2", "x") + "x"} {
		if r := w.erase(w.gateway("acme"), body); r.status != 400 {
			t.Errorf("%s is answered %d", body, r.status)
		}
	}
}

// THIS TEST VERIFIES: many requests register at once, each is durable when it is
// answered, and a repeat writes nothing.
func TestRegisterTogether(t *testing.T) {
	s, err := openStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r, err := newRegister(s, 1000, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	rows := func(i int) []seal.RegisterRow {
		return []seal.RegisterRow{{Label: email, ID: "igt1c" + strconv.Itoa(i), Subject: "igt1cs", Because: "b", Rule: "r"}}
	}
	errs := make(chan error)
	for i := range 200 {
		go func() {
			err := r.put(context.Background(), "acme", "e", rows(i%100))
			if got, _ := s.list(context.Background(), "acme", "", "igt1c"+strconv.Itoa(i%100), place{}, 10); err == nil && len(got) != 1 {
				t.Errorf("%d is not in the register when it was answered", i)
			}
			errs <- err
		}()
	}
	for range 200 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if n := r.counts["acme"]; n != 100 {
		t.Errorf("it counts %d", n)
	}
	// What is being erased is written down each time that it comes.
	being := []identifier{{Label: email, ID: "igt1c8"}}
	r.opened("acme", being)
	if err := r.put(context.Background(), "acme", "again", rows(8)); err != nil {
		t.Fatal(err)
	}
	r.closed("acme", being)
	if got, err := s.list(context.Background(), "acme", "", "igt1c8", place{}, 10); err != nil || got[0].entry != "again" {
		t.Errorf("the register has %+v, %v", got, err)
	}
	if err := s.db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.put(context.Background(), "acme", "e2", rows(7)); err != nil {
		t.Errorf("what is known to be registered was written again: %v", err)
	}
	if err := r.put(context.Background(), "acme", "e2", rows(777)); err == nil || r.ready() == nil {
		t.Error("what cannot be written was taken")
	}
}

// THIS TEST VERIFIES: labels are not acknowledged without somebody to erase them,
// and what is not configured well does not start.
func TestConfigIsChecked(t *testing.T) {
	w := newWorld(t, nil)
	for what, change := range map[string]func(*Config){
		"no erase.url":      func(c *Config) { c.Erase.URL = "" },
		"plain erase.url":   func(c *Config) { c.Erase.URL = "http://service.example/erase" },
		"plain service":     func(c *Config) { c.Service = "http://10.0.0.7" },
		"service path":      func(c *Config) { c.Service += "/base" },
		"user":              func(c *Config) { c.Service = "https://a:b@service.example" },
		"no dial":           func(c *Config) { c.Dial = nil },
		"two tenants":       func(c *Config) { c.Gateways = append(c.Gateways, Gateway{"initech", c.Gateways[0].SPIFFE}) },
		"two equal tokens":  func(c *Config) { c.Viewers = append(c.Viewers, Viewer{Name: "c", TokenSHA256: sum(agent)}) },
		"two equal viewers": func(c *Config) { c.Viewers = append(c.Viewers, Viewer{Name: "ada", TokenSHA256: sum("x")}) },
		"empty token":       func(c *Config) { c.ServiceTokenSHA256 = []string{sum("")} },
	} {
		cfg := w.l.cfg
		cfg.Dir = t.TempDir()
		change(&cfg)
		if l, err := New(cfg); err == nil {
			t.Errorf("%s: it starts", what)
			_ = l.Close()
		}
	}
	if (&Viewer{}).allows(&seal.Context{Tenant: "acme"}, display) {
		t.Error("a viewer without rights sees something")
	}
}

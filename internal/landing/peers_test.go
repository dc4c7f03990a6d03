package landing

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/isogatetest"
	"github.com/isogate/isogate/internal/isogatetest/pgtest"
	"github.com/isogate/isogate/internal/seal"
	"github.com/isogate/isogate/internal/vault"
)

// eventually waits for what must come about.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-deadline.C:
			t.Fatalf("waited in vain until %s", what)
		case <-tick.C:
		}
	}
}

// peers are two landings of one service. The metrics are b's.
func peers(t *testing.T) (a, b *world, metrics *vault.Metrics) {
	t.Helper()
	database := pgtest.Database(t)
	ca, err := isogatetest.NewAuthority("cluster", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	var first *Config
	metrics = vault.NewMetrics()
	member := func(name string) *world {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		cert, err := ca.Issue(isogatetest.Leaf{Name: name, Hosts: []string{"127.0.0.1"}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		t.Cleanup(func() { // after the world's own, which hands keys over
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
		w := newWorld(t, func(c *Config, vc *vault.Config) {
			if first == nil {
				first = c
			} else {
				c.Signer, vc.Signer, c.Service, c.Erase = first.Signer, first.Signer, first.Service, first.Erase
			}
			if name == "b" {
				vc.Metrics = metrics
			}
			vc.Cluster = &vault.Cluster{Name: name, Database: database, Address: ln.Addr().String(), Authorities: ca.Pool(), Lease: 10 * time.Second,
				Certificate: func() (*tls.Certificate, error) { return &cert, nil }, Dial: c.Dial}
		})
		go func() { done <- w.v.ServePeers(ctx, ln) }()
		return w
	}
	a, b = member("a"), member("b")
	b.far, b.verifier = a.far, a.verifier
	for _, w := range []*world{a, b} {
		eventually(t, "the members know one another", func() bool { return w.l.Ready() == nil })
	}
	return a, b, metrics
}

// TestClusterEdges: behind two landings of one service it does not matter which one a
// gateway, a viewer, a program or the end of a session comes to.
//
// promise: P16, P41
func TestClusterEdges(t *testing.T) {
	a, b, metrics := peers(t)
	session := a.key(seal.Context{Handling: isogate.TransitOnly, Session: session})
	request := a.key(seal.Context{Handling: isogate.TransitOnly, ByRequest: true})
	b.take(b.gateway("acme"), session)
	if r := b.send(b.gateway("acme"), "", []*seal.Sealer{request}); r.status != 200 || !holds(r, request) {
		t.Errorf("a key by request is answered %d %v", r.status, r.header)
	}
	var page, list strings.Builder
	for i := range 20 {
		fmt.Fprintf(&page, "<p>%s</p>", sealValue(t, session, "personal.name.given", fmt.Sprintf("Ada %d", i)))
		fmt.Fprintf(&list, "%s%q", map[bool]string{true: ","}[i > 0], sealValue(t, session, "personal.name.given", fmt.Sprintf("Ada %d", i)))
	}
	a.far.answers(func(w http.ResponseWriter, r *http.Request, _ string) {
		if r.URL.Path == "/list" {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, "["+list.String()+"]")
			return
		}
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, page.String())
	})
	for name, w := range map[string]*world{"a": a, "b": b} {
		for _, path := range []string{"/page", "/list"} {
			if r := w.look(agent, path); strings.Count(r.body, "Ada ") != 20 {
				t.Errorf("%s shows %s", name, r.body)
			}
			if r := w.look(other, path); strings.Contains(r.body, "Ada ") {
				t.Errorf("%s shows it to a viewer without rights: %s", name, r.body)
			}
		}
		body := fmt.Sprintf(`{"seals":[%s]}`, list.String())
		if r := w.do(a.browser(), "POST", "http://"+w.service+"/.isogate/open", body, "Authorization", "Bearer "+agent, "Content-Type", "application/json"); strings.Count(r.body, `"Ada `) != 20 {
			t.Errorf("%s opens %s", name, r.body)
		}
	}
	// Five answers with twenty seals each, of which one was for nobody.
	if n := calls(t, metrics, "open"); n < 3 || n > 10 {
		t.Errorf("b asked a %v times, want about once per piece of a body", n)
	}
	if r := b.do(b.gateway("acme"), "POST", "https://"+b.gateways+"/.isogate/sessions/end", `{"session":"`+session.Context().Session+`"}`, "Content-Type", "application/json"); !strings.Contains(r.body, `"ended":1`) {
		t.Errorf("the end of the session is answered %d %s", r.status, r.body)
	}
	for name, w := range map[string]*world{"a": a, "b": b} {
		if r := w.look(agent, "/page"); strings.Contains(r.body, "Ada ") || strings.Count(r.body, seal.TextExpired) != 20 {
			t.Errorf("after the session's end %s shows %s", name, r.body)
		}
		for _, k := range []*seal.Sealer{session, request} {
			w.events("acme", func(e seal.Event) bool { return e.Kind == seal.Destroyed && e.Key == k.ID() })
		}
		w.events("acme", func(e seal.Event) bool {
			return e.Kind == seal.RevealedTo && e.Viewer == "ada" && e.Key == session.ID()
		})
	}
}

// calls is how many calls of a kind a member has made.
func calls(t *testing.T, m *vault.Metrics, call string) (n float64) {
	t.Helper()
	r := prometheus.NewRegistry()
	r.MustRegister(m)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "isogate_landing_cluster_calls_total" {
			continue
		}
		for _, c := range f.GetMetric() {
			for _, l := range c.GetLabel() {
				if l.GetName() == "call" && l.GetValue() == call {
					n += c.GetCounter().GetValue()
				}
			}
		}
	}
	return n
}

// TestClusterRegister: the landings of a cluster keep one register. What one has
// erased the other registers again when it comes again, and an erasure waits for
// requests that are under way through either. It is enough that one of them is asked
// to erase, and the receipts say so once.
//
// promise: P17
func TestClusterRegister(t *testing.T) {
	a, b, _ := peers(t)
	a.l.register.store.settling, b.l.register.store.settling = 300*time.Millisecond, 300*time.Millisecond
	ga, gb := a.gateway("acme"), b.gateway("acme")
	row := registerRow("aaaa", "ssss")
	arrived, answer := make(chan struct{}), make(chan struct{})
	var erased atomic.Int64
	a.far.answers(func(w http.ResponseWriter, r *http.Request, body string) {
		switch {
		case r.URL.Path == "/erase":
			erased.Add(1)
		case body == "slowly":
			close(arrived)
			<-answer
		}
	})
	listed := func(w *world, c *http.Client) int {
		t.Helper()
		r := w.do(c, "GET", "https://"+w.gateways+"/.isogate/register", "")
		if r.status != 200 {
			t.Fatalf("the register is answered %d %s", r.status, r.body)
		}
		return strings.Count(r.body, "igt1caaaa")
	}
	done := make(chan reply, 1)
	go func() { done <- b.send(gb, "slowly", nil, seal.HeaderRegister, row) }()
	<-arrived
	if listed(a, ga) != 1 {
		t.Error("a does not list what came through b")
	}
	if r := a.erase(ga, erasure("e1", "ada@example.com")); r.status != 200 {
		t.Fatalf("the erasure is answered %d %s", r.status, r.body)
	}
	// It is asked again, of the other one.
	if r := b.erase(gb, erasure("e1", "ada@example.com")); r.status != 200 {
		t.Fatalf("the erasure is answered %d %s", r.status, r.body)
	}
	waits := time.NewTimer(2 * time.Second)
	defer waits.Stop()
	<-waits.C
	if erased.Load() > 0 {
		t.Error("the service was told to erase what was on its way to it")
	}
	close(answer)
	if r := <-done; r.status != 200 {
		t.Errorf("the request is answered %d", r.status)
	}
	a.waitState(ga, "e1", erasureConfirmed)
	b.waitState(gb, "e1", erasureConfirmed)
	if listed(a, ga)+listed(b, gb) != 0 {
		t.Error("what was erased is listed")
	}
	b.events("acme", func(e seal.Event) bool { return e.Kind == seal.Erased && e.Erasure == "e1" })
	again := func() {
		t.Helper()
		if r := b.send(gb, "", nil, seal.HeaderRegister, row); r.status != 200 {
			t.Errorf("answered %d", r.status)
		}
		if listed(a, ga) != 1 {
			t.Error("what came again is not listed")
		}
	}
	again()
	// What b knows to be registered a has erased, and b was not asked.
	if r := a.erase(ga, erasure("e2", "ada@example.com")); r.status != 200 {
		t.Fatalf("the erasure is answered %d %s", r.status, r.body)
	}
	a.waitState(ga, "e2", erasureConfirmed)
	again()
}

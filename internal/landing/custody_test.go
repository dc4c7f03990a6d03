package landing

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/custody"
	"github.com/isogate/isogate/internal/http1"
	"github.com/isogate/isogate/internal/isogatetest"
	"github.com/isogate/isogate/internal/journal"
	"github.com/isogate/isogate/internal/obfuscate"
	"github.com/isogate/isogate/internal/seal"
	"github.com/isogate/isogate/internal/tenant"
)

// The inside and the landing as they are, over TLS with a certificate on either
// side: a key's way from the statement to its receipt, a session's end, an
// identifier that is registered, listed and erased, and a key that never got there.
//
// promise: P16
// promise: P17
// promise: P41
func TestCustodyAndALanding(t *testing.T) {
	w := newWorld(t, nil)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	keys, err := tenant.Config{Dir: dir + "/keys", Tenant: "acme"}.Create()
	must(err)
	obf, err := obfuscate.New(obfuscate.Config{Tenant: "acme", Destination: portal, Labels: []isogate.Label{email, display}, Keys: keys})
	must(err)
	j, err := journal.Open(t.Context(), journal.Config{Dir: dir + "/journal", Tenant: "acme", Signer: keys.Signer(), Verifier: keys.Verifier()})
	must(err)
	leaf, err := w.ca.Issue(isogatetest.Leaf{Name: "gateway", SPIFFE: "spiffe://acme.isolated/gateway"})
	must(err)
	client := &http1.Client{Dial: (&net.Dialer{}).DialContext, TLS: &tls.Config{RootCAs: w.ca.Pool(), Certificates: []tls.Certificate{leaf}, MinVersion: tls.VersionTLS13}}
	c, err := custody.New(custody.Config{Tenant: "acme", Journal: j, Client: client, Keys: keys, Logger: slog.New(slog.DiscardHandler), Receipts: 20 * time.Millisecond, Repeat: 20 * time.Millisecond},
		custody.Landing{Destination: portal, URL: &url.URL{Scheme: "https", Host: w.gateways}, Key: w.verifier, Identifiers: obf, Subjects: obf})
	must(err)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := j.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	working, stopWork := context.WithCancel(ctx)
	worked := make(chan error, 1)
	go func() { worked <- c.Run(working) }()
	t.Cleanup(func() {
		stopWork()
		if err := <-worked; err != nil {
			t.Error(err)
		}
		stop()
		wg.Wait()
		client.CloseIdle()
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	until := func(what string, is func() bool) {
		t.Helper()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for end := time.Now().Add(30 * time.Second); !is(); <-tick.C {
			if time.Now().After(end) {
				t.Fatalf("waited for %s in vain: %+v", what, c.Landings())
			}
		}
	}
	standing := func() custody.Standing { return c.Landings()[0] }

	digest := c.SessionDigest(portal, "session-1")
	cx := seal.Context{Tenant: "acme", Destination: portal, Transit: "desk", Handling: isogate.TransitOnly, Session: digest}
	var sealer *seal.Sealer
	until("a key", func() bool {
		sealer, err = c.Key(portal, cx)
		return err == nil
	})
	p := sealer.Passage()
	text, ok := p.Append(nil, display, isogate.Value{Kind: isogate.String, Text: []byte("Ada Lovelace")})
	if !ok {
		t.Fatal("a name is too long for a seal")
	}
	if !c.Acknowledged(portal, email) {
		t.Fatal("the landing does not register e-mail addresses")
	}
	token, _, _, err := obf.Replace(nil, &isogate.Verdict{Action: isogate.Token, Label: email}, isogate.Value{Kind: isogate.String, Text: []byte("ada@example.com")})
	must(err)
	must(c.Sending(portal, []seal.ID{sealer.ID()}))
	e := &isogate.Entry{Kind: isogate.KindEgress, Stage: isogate.StageOpened, Destination: portal, Transit: "desk",
		Seals:  []isogate.SealUse{{Key: sealer.ID().String(), Request: p.Number(), Handling: "transit-only"}},
		Fields: []isogate.Field{{Path: "name", Label: display, Action: isogate.Seal, Handling: "transit-only", N: 1, Sealed: true}}}
	must(j.Append(t.Context(), e))
	in, err := client.Do(t.Context(), &http1.Outgoing{Scheme: "https", Host: "127.0.0.1", Port: portOf(t, w.gateways), Method: "POST", Target: "/v1/tickets",
		Header: http1.Fields{{Name: "Content-Type", Value: "application/json"}, {Name: "Isogate-Entry", Value: string(e.ID)}, {Name: seal.HeaderSeal, Value: string(sealer.AppendHeader(nil))},
			{Name: seal.HeaderRegister, Value: string(seal.AppendRegister(nil, &seal.RegisterRow{Label: email, ID: string(token), Subject: string(token), Because: "tickets", Rule: "t.yaml:3"}))}},
		Body: []byte(`{"name":"` + string(text) + `"}`)})
	must(err)
	answer, err := in.ReadBody(nil)
	must(err)
	held, err := seal.ParseHeld([]string{in.Header.Get(seal.HeaderHeld)})
	if err != nil || len(held) != 1 {
		t.Fatalf("status %d, held %v, %v: %s", in.Status, held, err, answer)
	}
	c.Held(portal, held)

	// Somebody looks, and the journal tells of it.
	w.far.says("text/html", "<p>"+string(text)+"</p>")
	if page := w.look(agent, "/page"); !strings.Contains(page.body, "Ada Lovelace") {
		t.Fatalf("the page: %s", page.body)
	}
	until("the key to be known", func() bool { return standing().KeysOut == 1 })
	var l *custody.Life
	until("the reveal", func() bool {
		l, err = custody.ReadLife(t.Context(), j, e)
		must(err)
		return l.Fields[0].Revealed == 1 && l.Fields[0].Viewers[0] == "ada"
	})

	// The session ends.
	must(c.EndSession(t.Context(), "product/help-center", "session-1"))
	until("the receipt", func() bool { return standing().KeysOut == 0 })
	if l, err = custody.ReadLife(t.Context(), j, e); err != nil || l.Keys[0].Cause != seal.CauseEnded || l.Keys[0].Receipt == 0 {
		t.Errorf("got %+v, %v", l.Keys, err)
	}

	// What stays is listed, and erased.
	list, err := c.Subjects(t.Context(), custody.Query{Value: "ada@example.com"})
	if err != nil || len(list.Subjects) != 1 || list.Subjects[0].Value != "ada@example.com" || list.Subjects[0].Because != "tickets" || list.Subjects[0].Since.IsZero() {
		t.Fatalf("got %+v, %v", list, err)
	}
	var asked bytes.Buffer
	var mu sync.Mutex
	w.far.answers(func(_ http.ResponseWriter, r *http.Request, body string) {
		if r.URL.Path == "/erase" {
			mu.Lock()
			defer mu.Unlock()
			asked.WriteString(body)
		}
	})
	ordered, err := c.Erase(t.Context(), custody.Order{Value: "ada@example.com", Reason: "she asked", By: custody.Actor{Name: "carol"}})
	if err != nil || len(ordered) != 1 {
		t.Fatalf("got %+v, %v", ordered, err)
	}
	until("the confirmation", func() bool { return c.Erasures()[0].State == custody.ErasureConfirmed })
	mu.Lock()
	if !strings.Contains(asked.String(), `"ada@example.com"`) {
		t.Errorf("the service was asked to erase %s", asked.String())
	}
	mu.Unlock()
	if list, err = c.Subjects(t.Context(), custody.Query{}); err != nil || len(list.Subjects) != 0 {
		t.Errorf("what was erased is listed: %+v, %v", list, err)
	}

	// A key that never got there: the landing says so when it is asked.
	until("another key", func() bool {
		sealer, err = c.Key(portal, seal.Context{Tenant: "acme", Destination: portal, Transit: "desk", Handling: isogate.TransitOnly, ByRequest: true})
		return err == nil
	})
	must(c.Sending(portal, []seal.ID{sealer.ID()}))
	until("the key to be out", func() bool { return standing().KeysOut == 1 })
	ids, err := json.Marshal(map[string][]seal.ID{"keys": {sealer.ID()}})
	must(err)
	in, err = client.Do(t.Context(), &http1.Outgoing{Scheme: "https", Host: "127.0.0.1", Port: portOf(t, w.gateways), Method: "POST", Target: "/.isogate/sessions/end",
		Header: http1.Fields{{Name: "Content-Type", Value: "application/json"}}, Body: ids})
	must(err)
	must(in.Body.Close())
	until("its receipt", func() bool { return standing().KeysOut == 0 })
	if st := standing(); st.Broken != "" || st.Trouble != "" || st.Receipt < 4 {
		t.Errorf("got %+v", st)
	}
}

func portOf(t *testing.T, address string) uint16 {
	t.Helper()
	a, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return a.AddrPort().Port()
}

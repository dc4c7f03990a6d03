package gateway_test

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/isogate/isogate/internal/http1"
	"github.com/isogate/isogate/internal/isogatetest"
)

// BenchmarkRequest is a 1 KiB JSON POST through everything: TLS on both sides,
// identity, policy, rewriting, a durable entry. Callers and far side run in the
// same process, so that a profile shows all three; make bench measures the
// gateway as a process of its own, beside its peers.
func BenchmarkRequest(b *testing.B) {
	w := isogatetest.New(b, isogatetest.Config{Pack: pack()})
	body := []byte(`{"user":{"email":"ada@acme.example","name":"Ada L"},"title":"` + strings.Repeat("x", 40) + `","state":"open","items":[` +
		strings.Repeat(`{"state":"open","n":12345,"text":"some words"},`, 19) + `{}]}`)
	requests(b, sender(b, w, body), len(body))
}

// sender returns what sends a body to far, again and again.
func sender(b *testing.B, w *isogatetest.World, body []byte, header ...http1.Field) func() {
	client := &http1.Client{
		Dial:           (&net.Dialer{}).DialContext,
		TLS:            w.TLS(isogatetest.Product),
		MaxIdlePerHost: 128,
	}
	client.TLS.ServerName = ""
	_, port, err := net.SplitHostPort(w.Addr)
	if err != nil {
		b.Fatal(err)
	}
	n, err := net.LookupPort("tcp", port)
	if err != nil {
		b.Fatal(err)
	}
	header = append(header, http1.Field{Name: "Content-Type", Value: "application/json"})
	return func() {
		in, err := client.Do(context.Background(), &http1.Outgoing{
			Scheme: "https", Host: "127.0.0.1", Port: uint16(n), Method: "POST", Target: "/to/far/v1/tickets", Header: header, Body: body,
		})
		if err != nil {
			b.Error(err)
			return
		}
		if text, err := in.ReadBody(nil); err != nil || in.Status != 200 {
			b.Errorf("%d %s %v", in.Status, text, err)
		}
	}
}

// requests measures what sends bodies of a size, from many callers at once.
func requests(b *testing.B, send func(), size int) {
	b.SetBytes(int64(size))
	b.SetParallelism(16)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			send()
		}
	})
}

// BenchmarkTenFields is a 1 KiB body in which ten of thirty values are let out,
// leave as tokens, or leave sealed for a session. The three differ in what the
// ten cost; the path is BenchmarkRequest's.
func BenchmarkTenFields(b *testing.B) {
	for name, rule := range map[string]string{
		"allow":  "    - {label: personal.name.nickname, as: allow, handling: transit-only, because: Shown to agents, owner: team-a, until: 2099-01-01}\n",
		"token":  "",
		"sealed": "    - {label: personal.name.nickname, as: allow, handling: transit-only, because: Shown to agents, owner: team-a, until: 2099-01-01}\n",
	} {
		b.Run(name, func(b *testing.B) {
			l := newLanding(b)
			files := pack()
			if name == "sealed" {
				files["destinations.yaml"] = "destinations:\n  - {name: far, url: https://far.example.com/base, landing: {public_key: " + l.vkey + "}}\n"
			}
			files["contracts/ticket.yaml"] += "  \"people[].nick\": personal.name.nickname\n"
			files["transits/tickets.yaml"] = strings.Replace(files["transits/tickets.yaml"], "consent: none\n", "consent: none\nsession: header X-Session\n", 1)
			files["transits/tickets.yaml"] = strings.Replace(files["transits/tickets.yaml"], "  release:\n", "  release:\n"+rule, 1)
			delete(files, "transits/private.yaml")
			w := isogatetest.New(b, isogatetest.Config{Pack: files, Landings: l.inside})
			w.Far.Answer(l.pass)
			body := []byte(`{"people":[` + strings.Repeat(`{"nick":"countess of lovelace","state":"open","text":"some more words to be read"},`, 10) + `{}],"state":"open"}`)
			send := sender(b, w, body, http1.Field{Name: "X-Session", Value: "one"})
			send() // the key is made, and held
			requests(b, send, len(body))
		})
	}
}

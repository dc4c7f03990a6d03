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
	b.SetBytes(int64(len(body)))
	b.SetParallelism(16)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			in, err := client.Do(context.Background(), &http1.Outgoing{
				Scheme: "https", Host: "127.0.0.1", Port: uint16(n), Method: "POST", Target: "/to/far/v1/tickets",
				Header: http1.Fields{{Name: "Content-Type", Value: "application/json"}}, Body: body,
			})
			if err != nil {
				b.Error(err)
				return
			}
			if text, err := in.ReadBody(nil); err != nil || in.Status != 200 {
				b.Errorf("%d %s %v", in.Status, text, err)
				return
			}
		}
	})
}

package main

import (
	"encoding/json"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/isogate/isogate/internal/hub"
)

// health asks the running gateway, until the answer is as it should be: the trail follows
// the journal a little behind.
func (s *site) health(as func(*hub.Health) bool) *hub.Health {
	s.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		status, body := s.hubAs("ada", "GET", "/health", nil)
		var h hub.Health
		if err := json.Unmarshal([]byte(body), &h); status != 200 || err != nil {
			s.t.Fatalf("GET /health: %d %v %s", status, err, body)
		}
		if as(&h) {
			return &h
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("health stays %s", body)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// TestHealthOfARunningGateway: a gateway says by its name what it judges by, after its
// start, after a reload and after one that failed, and that it stops.
//
// promise: P10
func TestHealthOfARunningGateway(t *testing.T) {
	s := newSite(t, "")
	s.edit(anyPort, fmt.Sprintf("%s, administrators: [{name: ada, token_sha256: %s}]", anyPort, tokenSum("token-of-ada")))
	s.edit("gateway:\n", "gateway:\n  name: gate-7\n")
	s.startReachable()
	h := s.health(func(h *hub.Health) bool { return h.Ready && len(h.Gateways) == 1 })
	first := h.Pack.Digest
	if g := h.Gateways[0]; g.Name != "gate-7" || !g.Here || g.Pack != first || g.Act != "pack loaded" || h.Gateway != "gate-7" {
		t.Errorf("the gateway %+v, of %q", g, h.Gateway)
	}
	if len(h.Certificates) != 1 || h.Certificates[0].What != "gateway.transits.tls" || h.Certificates[0].NotAfter.Before(time.Now()) {
		t.Errorf("certificates %+v", h.Certificates)
	}
	if k := h.Keys; k == nil || len(k.Primary) != 8 || k.Since == nil || k.Wrapped || k.Trouble != "" || k.Verifier == "" {
		t.Errorf("keys %+v", k)
	}
	if c := h.Journal.Checkpoint; c == nil || c.Size == 0 || len(c.Root) != 64 {
		t.Errorf("checkpoint %+v", c)
	}
	s.write("pack/pack.yaml", "pack: test\nversion: 2\n")
	if err := s.process.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	h = s.health(func(h *hub.Health) bool { return h.Gateways[0].Pack != first })
	second := h.Pack.Digest
	if h.Gateways[0].Pack != second || second == first || h.Pack.Version != 2 {
		t.Errorf("after the reload: %+v, %+v", h.Gateways, h.Pack)
	}
	s.write("pack/pack.yaml", "pack: test\nversion: none\n")
	if err := s.process.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	h = s.health(func(h *hub.Health) bool { return h.Gateways[0].Act == "pack refused" })
	if h.Gateways[0].Pack != second || h.Pack.Digest != second {
		t.Errorf("after a pack that does not load: %+v, %+v", h.Gateways, h.Pack)
	}
	if status := s.stop(syscall.SIGTERM); status != 0 {
		t.Errorf("exit status %d", status)
	}
	entries := s.entries()
	if last := entries[len(entries)-1]; last.Act != "gateway stopped" || last.Detail["gateway"] != "gate-7" || last.Pack != second {
		t.Errorf("the last entry is %+v", last)
	}
}

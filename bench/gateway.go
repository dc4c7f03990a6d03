package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/isogate/isogate/internal/isogatetest"
)

// gatewayQuestion: TLS in, TLS out, HTTP/1.1, connections that stay open. The
// peers pass the body on; isogate knows its caller by certificate, finds the
// transit, rewrites the body, and has an entry durable on disk before it sends.
func gatewayQuestion(ctx context.Context, b *bench, r *report) error {
	w, err := newWorld(ctx, b)
	if err != nil {
		return err
	}
	defer w.stop()
	if err := w.arrived(ctx); err != nil {
		return err
	}
	r.say("## Gateway")
	r.say("TLS 1.3 in, TLS 1.3 out, HTTP/1.1, JSON by POST, connections kept open on both sides, every contestant, the far side and the " +
		"load each a process of its own, all on loopback and sharing the same cores. nginx, haproxy and `httputil.ReverseProxy` pass the body on and do nothing else. " +
		"Isogate has everything on: the caller known by its client certificate, a transit matched, the body rewritten field by field, the entry durable " +
		"on disk before the first byte leaves, the response searched for tokens. Before measuring, the body that arrived is looked at: the " +
		"titles must have been replaced.")

	names := []string{"direct", "nginx", "haproxy", "ReverseProxy", "isogate"}
	before, err := w.memory("isogate")
	if err != nil {
		return err
	}
	var rates [][]series
	sizes := []struct{ file, title string }{{"small.json", "1 KiB"}, {"large.json", "64 KiB"}}
	for _, size := range sizes {
		var cs []contestant
		for _, name := range names {
			cs = append(cs, contestant{name, func(ctx context.Context, d time.Duration) (float64, error) {
				l, err := w.load(ctx, name, size.file, 32, d)
				return l.PerSecond, err
			}})
		}
		ss, err := b.race(ctx, "gateway "+size.title, 3*b.turn, cs)
		if err != nil {
			return err
		}
		rates = append(rates, ss)
	}
	var rows [][]string
	for i, size := range sizes {
		ss := rates[i]
		us := find(ss, "isogate").median()
		proxy := best(ss, "direct", "isogate", "ReverseProxy")
		rows = append(rows, []string{size.title,
			times(us / find(ss, "ReverseProxy").median()),
			fmt.Sprintf("%s (%s)", times(us/proxy.median()), proxy.name),
			times(us / find(ss, "direct").median())})
	}
	r.table([]string{"isogate, 32 connections", "× ReverseProxy", "× better of nginx and haproxy", "× direct"}, rows)
	for i, size := range sizes {
		ratio := find(rates[i], "isogate").median() / find(rates[i], "ReverseProxy").median()
		r.budget("requests per second, "+size.title+", 32 connections", "≥ 0.9 × ReverseProxy", ratio >= 0.9, times(ratio))
	}
	rows = nil
	for _, name := range names {
		rows = append(rows, []string{name, number(find(rates[0], name)), number(find(rates[1], name))})
	}
	r.table([]string{"requests per second", "1 KiB", "64 KiB"}, rows)

	if err := w.latency(ctx, b, r, names); err != nil {
		return err
	}
	return w.footprint(ctx, b, r, before)
}

// arrived sends one request through isogate and looks at what came out.
func (w *world) arrived(ctx context.Context) error {
	for _, body := range []string{"small.json", "large.json"} {
		if _, err := w.load(ctx, "isogate", body, 1, 50*time.Millisecond); err != nil {
			return err
		}
	}
	return w.rewritten()
}

// rewritten looks at the first body that arrived last: a title would be plaintext.
func (w *world) rewritten() error {
	got, err := os.ReadFile(w.path("arrived.json"))
	if err != nil {
		return err
	}
	switch {
	case bytes.Contains(got, []byte(secret)):
		return errors.New("a title left in plaintext")
	case !bytes.Contains(got, []byte("ada.byron@example.com")):
		return errors.New("the e-mail address, which a rule releases, did not arrive")
	}
	return nil
}

// latency: one connection, so that nothing waits for anything but the work.
func (w *world) latency(ctx context.Context, b *bench, r *report, names []string) error {
	p50, p99 := map[string]*series{}, map[string]*series{}
	for _, n := range names {
		p50[n], p99[n] = &series{name: n}, &series{name: n}
	}
	for round := range b.rounds {
		for i := range names {
			n := names[(i+round)%len(names)]
			l, err := w.load(ctx, n, "small.json", 1, 2*b.turn)
			if err != nil {
				return err
			}
			p50[n].figures = append(p50[n].figures, float64(l.P50)/float64(time.Millisecond))
			p99[n].figures = append(p99[n].figures, float64(l.P99)/float64(time.Millisecond))
		}
		fmt.Fprintf(os.Stderr, "gateway latency: round %d of %d\n", round+1, b.rounds)
	}
	var rows [][]string
	for _, n := range names {
		added := func(m map[string]*series) string {
			if n == "direct" {
				return ""
			}
			return fmt.Sprintf("%.2f ms", m[n].median()-m["direct"].median())
		}
		rows = append(rows, []string{n, added(p50), added(p99),
			fmt.Sprintf("%.2f ms ± %.0f %%", p50[n].median(), 100*p50[n].spread()),
			fmt.Sprintf("%.2f ms ± %.0f %%", p99[n].median(), 100*p99[n].spread())})
	}
	a50, a99 := p50["isogate"].median()-p50["direct"].median(), p99["isogate"].median()-p99["direct"].median()
	r.budget("added latency, one connection, p50 / p99", "≤ 0.6 ms / ≤ 3 ms", a50 <= 0.6 && a99 <= 3, fmt.Sprintf("%.2f ms / %.2f ms", a50, a99))
	r.say("One connection, 1 KiB. Added is what is more than direct; isogate's has a disk sync in it.")
	r.table([]string{"latency", "added p50", "added p99", "p50", "p99"}, rows)
	return nil
}

// footprint: memory before and after all that load, swaps under load, time to ready, size of the binary.
func (w *world) footprint(ctx context.Context, b *bench, r *report, before held) error {
	after, err := w.memory("isogate")
	if err != nil {
		return err
	}
	// What the runtime gives back, it gives back behind.
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(30 * time.Second):
	}
	idle, err := w.memory("isogate")
	if err != nil {
		return err
	}
	info, err := os.Stat(w.isogate)
	if err != nil {
		return err
	}
	cold := series{name: "cold"}
	for range b.rounds {
		took, err := w.coldStart(ctx)
		if err != nil {
			return err
		}
		cold.figures = append(cold.figures, took.Seconds()*1000)
	}
	swaps, swapped, err := w.swap(ctx, 10*b.turn)
	if err != nil {
		return err
	}
	r.table([]string{"isogate", ""}, [][]string{
		{"resident memory after the first requests", before.String()},
		{"right after all the load above", after.String()},
		{"after 30 s of rest", idle.String()},
		{"reloads of a pack of 1,001 transits and 20,017 fields under load, 32 connections", fmt.Sprintf("%d, with %d of %d requests failed", swaps, swapped.Failed, swapped.Requests)},
		{"from start to `/readyz`, new tenant, keys and journal made", fmt.Sprintf("%.0f ms ± %.0f %%", cold.median(), 100*cold.spread())},
		{"binary, static, stripped", fmt.Sprintf("%.1f MiB", float64(info.Size())/(1<<20))},
	})
	r.budget("memory after load, at rest", "within 10 % of before, < 80 MiB", idle.all <= 1.1*before.all && idle.all < 80, fmt.Sprintf("%+.0f %%, %.0f MiB", 100*(idle.all/before.all-1), idle.all))
	r.budget("start to ready", "≤ 300 ms", cold.median() <= 300, fmt.Sprintf("%.0f ms", cold.median()))
	r.budget("binary", "≤ 60 MiB", info.Size() <= 60<<20, fmt.Sprintf("%.1f MiB", float64(info.Size())/(1<<20)))
	r.budget("swap of a large pack under load", "no failed request", swapped.Failed == 0 && swaps > 0, fmt.Sprintf("%d of %d", swapped.Failed, swapped.Requests))
	return nil
}

// swap adds 1,000 transits to the pack and has it loaded again and again while
// the load goes on. It counts the reloads that were signalled; the gateway's log
// says that each was done.
func (w *world) swap(ctx context.Context, d time.Duration) (int, loaded, error) {
	if err := writeTransits(w.path("pack"), 1000, 20, string(isogatetest.Product), "support-portal"); err != nil {
		return 0, loaded{}, err
	}
	p, err := w.process("isogate")
	if err != nil {
		return 0, loaded{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				_ = p.Signal(syscall.SIGHUP)
			}
		}
	}()
	l, err := w.load(ctx, "isogate", "small.json", 32, d)
	cancel()
	<-done
	if err != nil {
		return 0, l, err
	}
	log, err := os.ReadFile(w.path("isogate.out"))
	if err != nil {
		return 0, l, err
	}
	if bytes.Contains(log, []byte("not reloaded")) {
		return 0, l, fmt.Errorf("the pack of 1,000 transits was not taken:\n%s", log)
	}
	return bytes.Count(log, []byte("msg=reloaded")), l, nil
}

// coldStart starts a gateway with a state of its own and waits until it says that it is ready.
func (w *world) coldStart(ctx context.Context) (time.Duration, error) {
	dir, err := os.MkdirTemp(w.dir, "cold-")
	if err != nil {
		return 0, err
	}
	src, err := os.ReadFile(w.path("isogate.yaml"))
	if err != nil {
		return 0, err
	}
	door, err := freePort()
	if err != nil {
		return 0, err
	}
	hub, err := freePort()
	if err != nil {
		return 0, err
	}
	text := strings.NewReplacer("state: ./state", "state: "+filepath.Join(dir, "state"), w.at["isogate"], door, w.at["hub"], hub).Replace(string(src))
	file := w.path(filepath.Base(dir) + ".yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, w.isogate, "serve", "-c", file)
	cmd.Dir = w.dir
	var log bytes.Buffer
	cmd.Stderr = &log
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+hub+"/readyz", nil)
		if err != nil {
			return 0, err
		}
		if resp, err := client.Do(req); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return time.Since(begin), nil
			}
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("not ready: %w\n%s", ctx.Err(), log.String())
		case <-tick.C:
		}
	}
}

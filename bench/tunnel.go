package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"
)

// tunnelers are the contestants that pass what they do not read.
var tunnelers = []string{"direct", "isogate", "goproxy", "squid tunnel", "haproxy"}

const haproxyTunnel = `global
  nbthread 2
  maxconn 4000
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend in
  bind @HAPROXY
  default_backend far
backend far
  server far @SINK
`

// tunnelQuestion: how much passes through a tunnel, and how many requests through
// an inspected connection that is kept?
func tunnelQuestion(ctx context.Context, b *bench, r *report) error {
	r.say("## Tunnels and inspected connections")
	r.say("Bytes outward through tunnels that stay open, MB/s, without a limit. Bare is a ClientHello and then bytes that nobody encrypts, so that what a proxy costs is " +
		"not hidden behind what the ends do; TLS is what an app has, encrypted and decrypted by load and far side on the same cores. isogate asks before each piece " +
		"whether the ledger is in touch and counts it against the budget; it copies through a buffer, as squid does, while goproxy has the kernel move the bytes. haproxy, in mode tcp, is no forward proxy and has no CONNECT: it is there to compare with.")
	if err := b.push(ctx, r, false); err != nil {
		return err
	}
	if err := b.push(ctx, r, true); err != nil {
		return err
	}
	return b.inspected(ctx, r)
}

// push measures bytes through tunnels.
func (b *bench) push(ctx context.Context, r *report, overTLS bool) error {
	what := "bare"
	if overTLS {
		what = "TLS"
	}
	w, err := newAppWorld(ctx, b, "tunnel-"+what, 0)
	if err != nil {
		return err
	}
	defer w.stop()
	if err := w.startTunnelers(ctx, overTLS); err != nil {
		return err
	}
	var rates, ratios, costs [][]string
	for _, name := range tunnelers {
		rates, ratios, costs = append(rates, []string{name}), append(ratios, []string{name}), append(costs, []string{name})
	}
	for _, conns := range []int{1, 32} {
		cpu := map[string]*series{}
		var cs []contestant
		for _, name := range tunnelers {
			cs = append(cs, contestant{name, func(ctx context.Context, d time.Duration) (float64, error) {
				p, err := w.push(ctx, name, conns, overTLS, d)
				if cpu[name] == nil {
					cpu[name] = &series{name: name}
				} else {
					cpu[name].figures = append(cpu[name].figures, p.CPU.Seconds()*1e3/(float64(p.Bytes)/1e6))
				}
				return p.PerSecond / 1e6, err
			}})
		}
		ss, err := b.race(ctx, fmt.Sprintf("tunnel %s %d", what, conns), b.turn, cs)
		if err != nil {
			return err
		}
		for i, name := range tunnelers {
			rates[i] = append(rates[i], number(find(ss, name)))
			ratios[i] = append(ratios[i], times(find(ss, name).median()/find(ss, "direct").median()))
			costs[i] = append(costs[i], number(*cpu[name])+" ms")
		}
	}
	head := func(s string) []string { return []string{s, "one tunnel", "32 tunnels"} }
	r.table(head("× direct, "+what), ratios[1:])
	r.table(head("MB/s, "+what), rates)
	r.table(head("CPU time per MB of all that take part, "+what), costs)
	return nil
}

// startTunnelers starts the sink and everybody who has tunnels to it.
func (w *world) startTunnelers(ctx context.Context, overTLS bool) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	sink := []string{self, "sink", "-addr", w.at["sink"]}
	if overTLS {
		sink = append(sink, "-cert", w.cert, "-key", w.key)
	}
	if err := w.launch(ctx, "sink", sink, awaitTCP); err != nil {
		return err
	}
	conf := bytes.ReplaceAll(bytes.ReplaceAll([]byte(haproxyTunnel), []byte("@HAPROXY"), []byte(w.at["haproxy"])), []byte("@SINK"), []byte(w.at["sink"]))
	if err := os.WriteFile(w.path("tunnel.cfg"), conf, 0o600); err != nil {
		return err
	}
	if err := w.launch(ctx, "haproxy", []string{program("haproxy"), "-q", "-db", "-f", w.path("tunnel.cfg")}, awaitTCP); err != nil {
		return err
	}
	return errors.Join(w.startApps(ctx), w.startGoproxy(ctx), w.startSquid(ctx))
}

// push runs the load of tunnels against one contestant.
func (w *world) push(ctx context.Context, name string, conns int, overTLS bool, d time.Duration) (out pushed, err error) {
	args, err := w.wayTo(name, "sink")
	if err != nil {
		return out, err
	}
	args = append(args, "-conns", strconv.Itoa(conns), "-for", d.String())
	if overTLS {
		args = append(args, "-ca", w.ca)
	}
	used, err := w.cost(name, "sink", func() (time.Duration, error) { return w.measure(ctx, &out, "push", args...) })
	out.CPU = used
	return out, err
}

// inspected measures requests through inspected connections that are kept.
func (b *bench) inspected(ctx context.Context, r *report) error {
	w, err := newAppWorld(ctx, b, "inspected", 0)
	if err != nil {
		return err
	}
	defer w.stop()
	if err := errors.Join(w.startFar(ctx), w.startApps(ctx), w.startGoproxy(ctx)); err != nil {
		return err
	}
	for _, door := range []string{"isogate, door one", "isogate, inspected"} {
		if _, err := w.requests(ctx, door, 50*time.Millisecond); err != nil {
			return err
		}
		if err := w.rewritten(); err != nil {
			return fmt.Errorf("%s: %w", door, err)
		}
	}
	names := []string{"direct", "isogate, door one", "isogate, inspected", "goproxy"}
	var cs []contestant
	cpu := map[string]*series{}
	for _, name := range names {
		cs = append(cs, contestant{name, func(ctx context.Context, d time.Duration) (float64, error) {
			l, err := w.requests(ctx, name, d)
			if cpu[name] == nil {
				cpu[name] = &series{name: name}
			} else {
				cpu[name].figures = append(cpu[name].figures, l.CPU.Seconds()*1e6/float64(l.Requests))
			}
			return l.PerSecond, err
		}})
	}
	ss, err := b.race(ctx, "inspected", 3*b.turn, cs)
	if err != nil {
		return err
	}
	us := find(ss, "isogate, inspected").median()
	r.say("Requests of 1 KiB of JSON by POST through 32 connections that stay open, with goproxy as above, and with isogate's two doors side by side: the same contract and rules, the " +
		"same body, in by TLS with a client certificate at the one and inside a CONNECT at the other.")
	r.table([]string{"isogate, inspected", "× door one", "× goproxy", "× direct"}, [][]string{{"1 KiB, 32 connections",
		times(us / find(ss, "isogate, door one").median()), times(us / find(ss, "goproxy").median()), times(us / find(ss, "direct").median())}})
	var rows [][]string
	for _, name := range names {
		rows = append(rows, []string{name, number(find(ss, name)), number(*cpu[name]) + " µs"})
	}
	r.table([]string{"", "requests per second", "CPU time of one, of all that take part"}, rows)
	return nil
}

// requests runs the load of requests against one contestant.
func (w *world) requests(ctx context.Context, name string, d time.Duration) (out loaded, err error) {
	args := []string{"-body", w.path("small.json"), "-conns", "32", "-for", d.String(), "-ca", w.path("roots.pem")}
	proc := name
	switch name {
	case "direct":
		args = append(args, "-addr", w.at["direct"], "-path", "/v1/tickets")
	case "isogate, door one":
		proc = "isogate"
		args = append(args, "-addr", w.at["one"], "-path", "/to/support-portal/v1/tickets", "-cert", w.client, "-key", w.clientKey)
	default:
		if name != "goproxy" {
			proc = "isogate"
		}
		through, err := w.wayTo(proc, "direct")
		if err != nil {
			return out, err
		}
		args = append(append(args, "-path", "/v1/tickets", "-host", apiHost), through...)
	}
	used, err := w.cost(proc, "direct", func() (time.Duration, error) { return w.measure(ctx, &out, "load", args...) })
	out.CPU = used
	if err == nil && out.Failed > 0 {
		err = fmt.Errorf("%d of %d answers of %s were not 200; the first: %s", out.Failed, out.Requests, name, out.Answer)
	}
	return out, err
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"time"
)

// interceptors are the contestants that end TLS and begin it anew.
var interceptors = []string{"direct", "isogate", "goproxy", "squid", "mitmproxy"}

// interceptQuestion: how many new connections per second, each with a CONNECT, a TLS
// handshake, one GET and its end?
func interceptQuestion(ctx context.Context, b *bench, r *report) error {
	w, err := newAppWorld(ctx, b, "intercept", wildNames)
	if err != nil {
		return err
	}
	defer w.stop()
	if err := w.startInterceptors(ctx); err != nil {
		return err
	}
	r.say("## New intercepted connections")
	r.say("An app opens a connection to its proxy, asks by CONNECT for a host, does a full TLS 1.3 handshake with whoever answers in the host's place, sends one small " +
		"GET, reads the answer and closes; 16 do so at once. Direct is the same without a proxy: one handshake instead of that and the proxy's work. With the same name the " +
		"proxies that keep connections to the far side do; with a name that was never used before, " +
		"they have to make a certificate and connect to the far side, so that direct's one handshake stands against two: 0.5 is about what can be reached. " +
		"Isogate has everything on: the app known by its token, a grant in force, the ClientHello judged before it is answered, the request through the pack's transit, the " +
		"entry durable on disk before its first byte leaves. goproxy has a store of certificates and inspects nothing; squid has ssl-bump with its helpers for certificates; mitmproxy has no script that looks at anything.")
	var rates [2][]series
	costs := [2]map[string]*series{{}, {}}
	next := map[string]int{}
	for i, unique := range []bool{false, true} {
		var cs []contestant
		for _, name := range interceptors {
			cs = append(cs, contestant{name, func(ctx context.Context, d time.Duration) (float64, error) {
				l, err := w.connects(ctx, name, unique, next[name], d)
				if unique {
					next[name] += int(l.Requests) + 64
				}
				if costs[i][name] == nil {
					costs[i][name] = &series{name: name} // of the turn that does not count
					return l.PerSecond, err
				}
				costs[i][name].figures = append(costs[i][name].figures, l.CPU.Seconds()*1e6/float64(l.Requests))
				return l.PerSecond, err
			}})
		}
		what := "same name"
		if unique {
			what = "unique names"
		}
		if rates[i], err = b.race(ctx, "intercept "+what, 3*b.turn, cs); err != nil {
			return err
		}
	}
	var rows [][]string
	for _, name := range interceptors[1:] {
		row := []string{name}
		for _, ss := range rates {
			row = append(row, times(find(ss, name).median()/find(ss, "direct").median()))
		}
		rows = append(rows, row)
	}
	r.table([]string{"× direct", "same name", "unique names"}, rows)
	rows = nil
	for _, name := range interceptors {
		rows = append(rows, []string{name, number(find(rates[0], name)), number(find(rates[1], name))})
	}
	r.table([]string{"connections per second", "same name", "unique names"}, rows)
	r.say("CPU time of one connection, of all processes that take part: load, proxy and far side. On a machine that does nothing else, direct's cost divided by a proxy's is the ratio above " +
		"if nobody waits for the disk; on one that is busy it is the better figure, because more processes then get more of the cores.")
	rows = nil
	for _, name := range interceptors {
		row := []string{name}
		for i := range costs {
			row = append(row, times(costs[i]["direct"].median()/costs[i][name].median()), number(*costs[i][name])+" µs")
		}
		rows = append(rows, row)
	}
	r.table([]string{"CPU time", "same name, × direct", "same name", "unique names, × direct", "unique names"}, rows)
	for i, want := range []float64{0.5, 0.35} {
		ratio := find(rates[i], "isogate").median() / find(rates[i], "direct").median()
		r.budget("new intercepted connections, "+[]string{"same name", "unique names"}[i], fmt.Sprintf("≥ %.2g × direct", want), ratio >= want, times(ratio))
	}
	return nil
}

// startInterceptors starts the far side and everybody who intercepts.
func (w *world) startInterceptors(ctx context.Context) error {
	if err := w.startFar(ctx); err != nil {
		return err
	}
	for _, start := range []func(context.Context) error{w.startApps, w.startGoproxy, w.startSquid, w.startMitmproxy} {
		if err := start(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) startFar(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return w.start(ctx, "direct", []string{self, "far", "-addr", w.at["direct"], "-cert", w.cert, "-key", w.key, "-keep", w.path("arrived.json")})
}

// wayTo is how a load reaches a contestant, as arguments.
func (w *world) wayTo(name, far string) ([]string, error) {
	_, port, err := net.SplitHostPort(w.at[far])
	if err != nil {
		return nil, err
	}
	switch name {
	case "direct":
		return []string{"-at", w.at[far], "-port", port}, nil
	case "haproxy":
		return []string{"-at", w.at["haproxy"], "-port", port}, nil
	case "isogate":
		return []string{"-proxy", w.at[name], "-auth", "Bearer " + appToken, "-port", port}, nil
	}
	return []string{"-proxy", w.at[name], "-port", port}, nil
}

// connects runs the load of new connections against one contestant.
func (w *world) connects(ctx context.Context, name string, unique bool, from int, d time.Duration) (out loaded, err error) {
	args, err := w.wayTo(name, "direct")
	if err != nil {
		return out, err
	}
	host := apiHost
	if unique {
		host = wildHost
	}
	args = append(args, "-host", host, "-from", fmt.Sprint(from), "-ca", w.path("roots.pem"), "-for", d.String())
	used, err := w.cost(name, "direct", func() (time.Duration, error) { return w.measure(ctx, &out, "connects", args...) })
	out.CPU = used
	return out, err
}

// cost is the CPU time that a load, which says its own, a contestant and the far
// side used together.
func (w *world) cost(name, far string, load func() (time.Duration, error)) (time.Duration, error) {
	names := []string{far}
	if name != far && name != "direct" {
		names = append(names, name)
	}
	sum := func() (all time.Duration, err error) {
		for _, n := range names {
			c, e := w.cpuOf(n)
			all, err = all+c, errors.Join(err, e)
		}
		return all, err
	}
	before, err := sum()
	if err != nil {
		return 0, err
	}
	own, err := load()
	if err != nil {
		return 0, err
	}
	after, err := sum()
	return own + after - before, err
}

// measure runs a part of this program that prints what it measured as JSON, and
// returns the CPU time that it used.
func (w *world) measure(ctx context.Context, out any, part string, args ...string) (time.Duration, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, self, append([]string{part}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	raw, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("%s: %w: %s", part, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), json.Unmarshal(raw, out)
}

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// sealedWays are the ways by which the body of this question leaves.
func sealedWays(w *world) []sealedWay {
	through := func(of, transit, body string) asking {
		to, _, _ := strings.Cut(transit, "-")
		if transit == "tokens" {
			to = "plain"
		}
		return asking{of: of, path: "/to/" + to + "/v1/" + transit, body: body, lines: "sessions", cert: w.client, key: w.clientKey}
	}
	return []sealedWay{
		{"direct", asking{of: "direct", path: "/v1/tickets", body: "desk.json"}, "", ""},
		{"declared", through("isogate", "plain-session", "desk.json"), sealText, "far side"},
		{"tokens", through("isogate", "tokens", "desk.json"), "igt1", "far side"},
		{"sealed", through("isogate", "double-session", "desk.json"), "igs1", "double"},
		{"sealed, a key for each request", through("isogate", "double-request", "desk.json"), "igs1", "double"},
		{"sealed, through a landing", through("isogate", "landed-session", "desk.json"), "igs1", "landing"},
		{"sealed, a key for each request, through a landing", through("isogate", "landed-request", "desk.json"), "igs1", "landing"},
	}
}

type sealedWay struct {
	name string
	ask  asking
	mark string // what each of its values begins with when it arrives; "" is not looked at
	to   string // what the gateway sends to; "" is without a gateway
}

// sealedQuestion: what does a gateway's request cost more when what it lets out is sealed?
func sealedQuestion(ctx context.Context, b *bench, r *report) error {
	w, err := newSealWorld(ctx, b, "sealed")
	if err != nil {
		return err
	}
	defer w.stop()
	if err := w.start(ctx, "isogate", []string{w.isogate, "serve", "-c", w.path("isogate.yaml")}); err != nil {
		return err
	}
	ways := sealedWays(w)
	sizes := map[string]int{}
	for _, way := range ways {
		if sizes[way.name], err = w.leaves(ctx, way); err != nil {
			return err
		}
	}
	r.say("## Gateway, sealed")
	r.say("As in the part about the gateway, everything on; a body of %d bytes with ten values of %d bytes each in it, which a rule lets out for the session only. "+
		"Declared is to a destination without a landing, which gets them as they are with the handling in a header; as tokens they would leave without a rule. Sealed is to a destination with a landing: "+
		"under one key for each of 32 sessions, one to a connection, and, where the transit has no session, under a key of its own for each request, which is made, wrapped, recorded and sent with it. "+
		"What stands behind the gateway is the same program that answers everybody here; for what is sealed it is a double of a landing, which says that it holds every key and opens none, so that what is compared is the gateway. Through a landing is with a process of `isogate landing serve` between the two, which shares the cores, and which signs receipts that the gateway fetches and records. "+
		"Before measuring, it is looked at that ten values arrived, each as it should; then the body has %d bytes as it was, %d with tokens and %d with seals.",
		len(deskBody(func(int) string { return sealText })), len(sealText), sizes["declared"], sizes["tokens"], sizes["sealed"])

	// Keys for each request leave work behind, in the journal and of receipts, which
	// must not be the others': they have a race of their own.
	each := slices.Clone(ways[1:2])
	var session []sealedWay
	for _, way := range ways {
		if strings.Contains(way.name, "each request") {
			each = append(each, way)
		} else {
			session = append(session, way)
		}
	}
	ratio, err := w.sealedRace(ctx, b, r, "32 connections", session)
	if err != nil {
		return err
	}
	r.say("The same with a key for each request, in rounds of their own.")
	if _, err := w.sealedRace(ctx, b, r, "32 connections, a key for each request", each); err != nil {
		return err
	}
	p50, p99, err := w.waits(ctx, b, ways)
	if err != nil {
		return err
	}
	var slow [][]string
	for _, way := range ways {
		n := way.name
		added := func(m map[string]*series) string {
			if n == "direct" {
				return ""
			}
			return fmt.Sprintf("%.2f ms", m[n].median()-m["direct"].median())
		}
		slow = append(slow, []string{n, added(p50), added(p99),
			fmt.Sprintf("%.2f ms ± %.0f %%", p50[n].median(), 100*p50[n].spread()), fmt.Sprintf("%.2f ms ± %.0f %%", p99[n].median(), 100*p99[n].spread())})
	}
	r.say("One connection. Added is what is more than direct.")
	r.table([]string{"latency", "added p50", "added p99", "p50", "p99"}, slow)
	r.budget("requests per second sealed, 1 KiB, ten values, 32 connections", "≥ 0.8 × declared", ratio >= 0.8, times(ratio))
	return nil
}

// sealedRace has some ways of which one is called declared take turns, and returns
// what the one called sealed reaches beside it, if there is one.
func (w *world) sealedRace(ctx context.Context, b *bench, r *report, head string, ways []sealedWay) (ratio float64, err error) {
	costs, outside := make([]series, len(ways)), make([]series, len(ways))
	var cs []contestant
	for i, way := range ways {
		costs[i].name, outside[i].name = way.name, way.name
		cs = append(cs, contestant{way.name, func(ctx context.Context, d time.Duration) (float64, error) {
			before, err := w.cpuOf("landing")
			if err != nil {
				return 0, err
			}
			l, err := w.ask(ctx, way.ask, 32, d)
			if err != nil {
				return 0, err
			}
			after, err := w.cpuOf("landing")
			if err == nil && d == 3*b.turn { // not the turn before the first
				costs[i].figures = append(costs[i].figures, l.CPU.Seconds()*1e6/float64(l.Requests))
				outside[i].figures = append(outside[i].figures, (after-before).Seconds()*1e6/float64(l.Requests))
			}
			return l.PerSecond, err
		}})
	}
	ss, err := b.race(ctx, "sealed, "+head, 3*b.turn, cs)
	if err != nil {
		return 0, err
	}
	declared, cheapest := find(ss, "declared"), find(costs, "declared")
	var rows [][]string
	for i, way := range ways {
		row := []string{way.name, times(ss[i].median() / declared.median()), number(ss[i]), "", "", ""}
		if way.to != "" {
			row[3], row[4] = times(cheapest.median()/costs[i].median()), fmt.Sprintf("%.0f µs ± %.0f %%", costs[i].median(), 100*costs[i].spread())
		}
		if way.to == "landing" {
			row[5] = fmt.Sprintf("%.0f µs", outside[i].median())
		}
		if way.name == "sealed" {
			ratio = ss[i].median() / declared.median()
		}
		rows = append(rows, row)
	}
	r.table([]string{head, "× declared", "requests per second", "by CPU time × declared", "the gateway's CPU time for one", "the landing's"}, rows)
	return ratio, nil
}

// leaves sends a few requests and looks at what arrived. A gateway that has only just
// started has no statement yet of the landings that it wants to seal for.
func (w *world) leaves(ctx context.Context, way sealedWay) (size int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err = w.ask(ctx, way.ask, 1, 20*time.Millisecond); err == nil {
			break
		}
		select {
		case <-ctx.Done():
			return 0, err
		case <-tick.C:
		}
	}
	got, err := os.ReadFile(w.path("arrived.json"))
	if err != nil {
		return 0, err
	}
	if n := bytes.Count(got, []byte(`":"`+way.mark)); way.mark != "" && n != sealFields {
		return 0, fmt.Errorf("%s: %d of %d values arrived as they should", way.name, n, sealFields)
	}
	if way.mark != "" && way.mark != sealText && bytes.Contains(got, []byte(sealText)) {
		return 0, fmt.Errorf("%s: a value left in plaintext", way.name)
	}
	return len(got), nil
}

// waits is how long one request takes when nothing waits for anything but the work,
// in milliseconds.
func (w *world) waits(ctx context.Context, b *bench, ways []sealedWay) (p50, p99 map[string]*series, err error) {
	p50, p99 = map[string]*series{}, map[string]*series{}
	for _, way := range ways {
		p50[way.name], p99[way.name] = &series{name: way.name}, &series{name: way.name}
	}
	for round := range b.rounds {
		for i := range ways {
			way := ways[(i+round)%len(ways)]
			l, err := w.ask(ctx, way.ask, 1, 2*b.turn)
			if err != nil {
				return nil, nil, err
			}
			p50[way.name].figures = append(p50[way.name].figures, float64(l.P50)/float64(time.Millisecond))
			p99[way.name].figures = append(p99[way.name].figures, float64(l.P99)/float64(time.Millisecond))
		}
		fmt.Fprintf(os.Stderr, "sealed latency: round %d of %d\n", round+1, b.rounds)
	}
	return p50, p99, nil
}

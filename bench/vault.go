package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"golang.org/x/mod/sumdb/note"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/seal"
	"github.com/isogate/isogate/internal/vault"
)

// ahead is the machine's clocks, both of which are put forward at once, as if the
// time had passed.
type ahead struct {
	vault.Clock
	by atomic.Int64
}

func (c *ahead) Now() time.Time { return c.Clock.Now().Add(time.Duration(c.by.Load())) }

func (c *ahead) Boot() (string, time.Duration) {
	id, at := c.Clock.Boot()
	return id, at + time.Duration(c.by.Load())
}

// store is a vault with who signs for it.
type store struct {
	*vault.Vault
	clock    *ahead
	metrics  *vault.Metrics
	verifier note.Verifier
	public   string // the verifier, as text
}

// openStore opens a vault with room for so many keys, all of one tenant.
func openStore(dir string, keys int) (*store, error) {
	signing, verifying, err := note.GenerateKey(nil, "landing")
	if err != nil {
		return nil, err
	}
	signer, err := note.NewSigner(signing)
	if err != nil {
		return nil, err
	}
	s := &store{metrics: vault.NewMetrics(), public: verifying}
	if s.verifier, err = note.NewVerifier(verifying); err != nil {
		return nil, err
	}
	machine, err := vault.MachineClock()
	if err != nil {
		return nil, err
	}
	s.clock = &ahead{Clock: machine}
	// No key ends before it is looked at, however long this machine takes to make them.
	s.Vault, err = vault.Open(vault.Config{Destination: sealDestination, Tenants: []isogate.Tenant{sealTenant}, Signer: signer, Dir: dir, MaxKeys: keys,
		Idle: 24 * time.Hour, Max: 24 * time.Hour, EpochLife: 7 * time.Hour, Clock: s.clock, Metrics: s.metrics})
	return s, err
}

// sealer makes a key for the vault as it states now.
func (s *store) sealer(c seal.Context) (*seal.Sealer, error) {
	st, err := seal.OpenStatement(s.Statement(), s.verifier)
	if err != nil {
		return nil, err
	}
	return seal.NewSealer(c, st, s.clock.Now)
}

// take has a key arrive as a request's header brings it.
func (s *store) take(line []byte) error {
	as, err := seal.ParseHeader([]string{string(line)}, sealTenant, sealDestination)
	if err != nil {
		return err
	}
	return s.Arrive(as[0])
}

// held is how many keys there are, as the vault's metrics have it.
func (s *store) held() float64 {
	ch := make(chan prometheus.Metric, 256)
	s.metrics.Collect(ch)
	close(ch)
	sum := 0.0
	for m := range ch {
		var d dto.Metric
		if m.Write(&d) == nil && d.Gauge != nil && isKeys(m) {
			sum += d.Gauge.GetValue()
		}
	}
	return sum
}

func isKeys(m prometheus.Metric) bool {
	return bytes.Contains([]byte(m.Desc().String()), []byte(`"isogate_landing_keys"`))
}

// everywhere does f so many times, by as many goroutines as there are cores or more.
func everywhere(n, by int, f func(i int) error) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, by)
	for w := range by {
		wg.Go(func() {
			for errs[w] == nil {
				i := int(next.Add(1) - 1)
				if i >= n {
					return
				}
				errs[w] = f(i)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// session is one session's digest.
func session(n int) string {
	const letters = "abcdefghijklmnopqrstuvwxyz234567"
	b := bytes.Repeat([]byte{'a'}, seal.SessionChars)
	for i := 0; n > 0; i++ {
		b[i] = letters[n%32]
		n /= 32
	}
	return string(b)
}

// scaled is how many of so many things to make: all of them in a measurement, and
// fewer where turns are short, which is to try the bench out.
func (b *bench) scaled(n int) int {
	return min(n, max(1000, int(float64(n)*b.turn.Seconds())))
}

// vaultQuestion: how many keys fit, how fast do they come, and how do they go?
func vaultQuestion(ctx context.Context, b *bench, r *report) (err error) {
	r.say("## Keys of seals at a landing")
	s, err := openStore(filepath.Join(b.dir, "vault"), vault.DefaultMaxKeys)
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.Run(running) }()
	defer func() {
		stop()
		err = errors.Join(err, <-done, s.Close())
	}()
	if err := s.arrivals(ctx, b, r); err != nil {
		return err
	}
	if err := s.endings(ctx, b, r); err != nil {
		return err
	}
	return keysInMemory(ctx, b, r)
}

// arrivals: how many requests bring their keys in a second.
func (s *store) arrivals(ctx context.Context, b *bench, r *report) error {
	one, err := s.sealer(bySession(session(1)))
	if err != nil {
		return err
	}
	if err := s.take(one.AppendHeader(nil)); err != nil {
		return err
	}
	one.SetHeld()
	known := one.AppendHeader(nil)
	p := one.Passage()
	text, _ := p.Append(nil, replaced, isogate.Value{Kind: isogate.String, Text: []byte(sealText)})
	id, raw, ok := seal.Parse(text)
	if !ok {
		return errors.New("what was sealed is no seal")
	}
	made := 10
	// fresh takes new keys, which are made beforehand.
	fresh := func(by int, after func() error) func(context.Context, time.Duration) (float64, error) {
		return func(_ context.Context, d time.Duration) (float64, error) {
			lines := make([][]byte, max(200, int(5000*d.Seconds())))
			from := made
			made += len(lines)
			if err := everywhere(len(lines), runtime.NumCPU(), func(i int) error {
				k, err := s.sealer(bySession(session(from + i)))
				if err == nil {
					lines[i] = k.AppendHeader(nil)
				}
				return err
			}); err != nil {
				return 0, err
			}
			begin := time.Now()
			err := everywhere(len(lines), by, func(i int) error { return errors.Join(s.take(lines[i]), after()) })
			return float64(len(lines)) / time.Since(begin).Seconds(), err
		}
	}
	// shown opens one seal for somebody and has it recorded.
	shown := func(by int) func(context.Context, time.Duration) (float64, error) {
		return func(ctx context.Context, d time.Duration) (float64, error) {
			rate, _, err := writeFor(d, by, func() error {
				vw := s.View(vault.Viewer{Name: "agent", Allows: func(*seal.Context, isogate.Label) bool { return true }})
				if _, outcome := vw.OpenSeal(make([]byte, 0, 1024), id, raw); outcome != seal.Revealed {
					return errors.New("a seal was not shown")
				}
				return vw.Record(ctx)
			})
			return rate, err
		}
	}
	nothing := func() error { return nil }
	written := func() error { return s.Settled(ctx) }
	const many = 32
	ss, err := b.race(ctx, "vault", b.turn, []contestant{
		{"a key that is new: header read, key unwrapped and held", fresh(many, nothing)},
		{"the same, and durably written down that it is there, as before the landing says that it holds it", fresh(many, written)},
		{"a key that is held: header read, key found", func(_ context.Context, d time.Duration) (float64, error) {
			rate, _, err := writeFor(d, many, func() error { return s.take(known) })
			return rate, err
		}},
		{"one seal opened for a viewer, durably written down, one viewer", shown(1)},
		{"the same, 32 viewers", shown(many)},
	})
	if err != nil {
		return err
	}
	r.say("The vault of a landing by itself, in one process that uses all cores. Keys are each of a session of its own, and come by 32 requests at once.")
	var rows [][]string
	for _, s := range ss {
		rows = append(rows, []string{s.name, number(s)})
	}
	r.table([]string{"", "per second"}, rows)
	return nil
}

// endings: how keys go, many at once and one by one.
func (s *store) endings(ctx context.Context, b *bench, r *report) error {
	n := b.scaled(100_000)
	wiped, told, slowest := series{name: "wiped"}, series{name: "told"}, series{name: "slowest"}
	var read receiptsRead
	temporary := func(ttl time.Duration) seal.Context {
		return seal.Context{Tenant: sealTenant, Destination: sealDestination, Transit: sealTransit, Handling: isogate.Temporary, TTL: ttl}
	}
	for round := range min(b.rounds, 3) {
		before := s.held()
		due := make(map[seal.ID]time.Time, n)
		var mu sync.Mutex
		if err := everywhere(n, runtime.NumCPU(), func(int) error {
			k, err := s.sealer(temporary(time.Hour))
			if err != nil {
				return err
			}
			mu.Lock()
			due[k.ID()] = time.Time{}
			mu.Unlock()
			return s.take(k.AppendHeader(nil))
		}); err != nil {
			return err
		}
		if err := s.Settled(ctx); err != nil {
			return err
		}
		stays, err := s.sealer(temporary(5 * time.Hour))
		if err != nil {
			return err
		}
		if err := s.take(stays.AppendHeader(nil)); err != nil {
			return err
		}
		stays.SetHeld()
		line := stays.AppendHeader(nil)
		begin := time.Now()
		s.clock.by.Add(int64(2 * time.Hour))
		var longest time.Duration
		tick := time.NewTicker(time.Millisecond)
		for s.held() > before+1 {
			<-tick.C
			at := time.Now()
			if err := s.take(line); err != nil {
				return err
			}
			longest = max(longest, time.Since(at))
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		tick.Stop()
		wiped.figures = append(wiped.figures, time.Since(begin).Seconds()*1000)
		slowest.figures = append(slowest.figures, longest.Seconds()*1000)
		if err := s.await(ctx, &read, len(due), func(e seal.Event) bool { _, ours := due[e.Key]; return ours }); err != nil {
			return err
		}
		told.figures = append(told.figures, time.Since(begin).Seconds()*1000)
		fmt.Fprintf(os.Stderr, "vault endings: round %d of %d\n", round+1, min(b.rounds, 3))
	}

	// One by one: keys of a second, each with an end of its own.
	few := b.scaled(5000)
	due := make(map[seal.ID]time.Time, few)
	var mu sync.Mutex
	if err := everywhere(few, 2, func(int) error {
		k, err := s.sealer(temporary(time.Second))
		if err != nil {
			return err
		}
		c := k.Context()
		mu.Lock()
		due[k.ID()] = c.Made.Add(c.Life(0))
		mu.Unlock()
		return s.take(k.AppendHeader(nil))
	}); err != nil {
		return err
	}
	var late []time.Duration
	if err := s.await(ctx, &read, few, func(e seal.Event) bool {
		at, ours := due[e.Key]
		if ours {
			late = append(late, e.At.Sub(at))
		}
		return ours
	}); err != nil {
		return err
	}
	slices.Sort(late)
	r.say("%d keys of temporary values whose lives end at the same moment, for which both clocks are put forward. A key opens nothing from the very moment of its end; here it is until the last of them is wiped, and until all of it stands in signed receipts that a gateway can fetch. "+
		"Meanwhile another key is used every millisecond. Below, %d keys with an end of their own each, as receipts have it; a vault looks for what has ended every 250 ms.", n, few)
	ms := func(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }
	figure := func(s series) string { return fmt.Sprintf("%.0f ms ± %.0f %%", s.median(), 100*s.spread()) }
	r.table([]string{"", ""}, [][]string{
		{fmt.Sprintf("until %d keys are wiped", n), figure(wiped)},
		{"until their receipts are signed", figure(told)},
		{"longest that the other key's requests waited", fmt.Sprintf("%.1f ms", slowest.max())},
		{"wiped after its end, one key: p50 / p99 / last", ms(late[len(late)/2]) + " / " + ms(late[len(late)*99/100]) + " / " + ms(late[len(late)-1])},
	})
	return nil
}

// receiptsRead is up to where receipts were read.
type receiptsRead struct{ after uint64 }

// await reads receipts until so many destructions were counted.
func (s *store) await(ctx context.Context, read *receiptsRead, n int, counts func(seal.Event) bool) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for seen := 0; seen < n; {
		notes, more, err := s.Receipts(ctx, sealTenant, read.after, 500)
		if err != nil {
			return err
		}
		for _, text := range notes {
			rc, err := seal.OpenReceipt(text, s.verifier)
			if err != nil {
				return err
			}
			read.after = rc.Number
			for _, e := range rc.Events {
				if e.Kind == seal.Destroyed && counts(e) {
					seen++
				}
			}
		}
		if more || seen >= n {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// vaultPart is a vault in a process of its own. It prints its statement, and the
// verifier's key, takes header lines from its standard input, and at the end of it
// prints what is resident: before it opened anything, after all keys, and at rest.
func vaultPart(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("vault: name a directory")
	}
	before := resident()
	s, err := openStore(args[0], vault.DefaultMaxKeys)
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- s.Run(running) }()
	opened := resident()
	fmt.Println(s.public, base64.StdEncoding.EncodeToString(s.Statement()))
	lines := make(chan []byte, 256)
	errs := make(chan error, runtime.NumCPU())
	for range runtime.NumCPU() {
		go func() {
			var err error
			for line := range lines {
				if err == nil {
					err = s.take(line)
				}
			}
			errs <- err
		}()
	}
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 16<<10)
	for in.Scan() {
		lines <- bytes.Clone(in.Bytes())
	}
	close(lines)
	for range runtime.NumCPU() {
		err = errors.Join(err, <-errs)
	}
	if err = errors.Join(err, in.Err(), s.Settled(ctx)); err != nil {
		return err
	}
	full := resident()
	debug.FreeOSMemory()
	fmt.Println(before, opened, full, resident(), int(s.held()))
	stop()
	return <-done // without Close, which would wipe and tell a million ends
}

// resident is the resident memory of this process, in KiB.
func resident() (kib int) {
	_, _ = fmt.Sscan(field("/proc/self/status", "VmRSS"), &kib)
	return kib
}

// keysInMemory: what a million live keys take.
func keysInMemory(ctx context.Context, b *bench, r *report) (err error) {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	n := b.scaled(vault.DefaultMaxKeys)
	cmd := exec.CommandContext(ctx, self, "vault", filepath.Join(b.dir, "vault-alone"))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		_ = in.Close() // it may be closed already
		err = errors.Join(err, cmd.Wait())
	}()
	answers := bufio.NewReader(out)
	first, err := answers.ReadString('\n')
	if err != nil {
		return fmt.Errorf("the vault does not come up: %w", err)
	}
	public, stated, _ := strings.Cut(strings.TrimSpace(first), " ")
	verifier, err := note.NewVerifier(public)
	if err != nil {
		return err
	}
	text, err := base64.StdEncoding.DecodeString(stated)
	if err != nil {
		return err
	}
	st, err := seal.OpenStatement(text, verifier)
	if err != nil {
		return err
	}
	pipe := bufio.NewWriterSize(in, 1<<20)
	var mu sync.Mutex
	begin := time.Now()
	if err := everywhere(n, runtime.NumCPU(), func(i int) error {
		k, err := seal.NewSealer(bySession(session(i)), st, nil)
		if err != nil {
			return err
		}
		line := append(k.AppendHeader(nil), '\n')
		mu.Lock()
		defer mu.Unlock()
		if i%50_000 == 0 {
			fmt.Fprintf(os.Stderr, "vault memory: %d of %d keys\n", i, n)
		}
		_, err = pipe.Write(line)
		return err
	}); err != nil {
		return err
	}
	if err := errors.Join(pipe.Flush(), in.Close()); err != nil {
		return err
	}
	took := time.Since(begin)
	last, err := io.ReadAll(answers)
	if err != nil {
		return err
	}
	var before, opened, full, rest, held int
	if _, err := fmt.Sscan(string(last), &before, &opened, &full, &rest, &held); err != nil {
		return fmt.Errorf("%w: %s", err, last)
	}
	if held != n {
		return fmt.Errorf("%d of %d keys are held", held, n)
	}
	each := float64(rest-before) * 1024 / float64(n)
	r.say("%d keys that are alive at once, each of a session of its own, in a process that has nothing but a vault with room for %d; of its %d MiB for the keys themselves, as much as the process may lock is resident from the beginning. They came wrapped from another process, which made them, in %.0f s, in which the two shared the cores. "+
		"At rest is after a collection whose memory was given back.", n, vault.DefaultMaxKeys, vault.DefaultMaxKeys*32>>20, took.Seconds())
	mib := func(kib int) string { return fmt.Sprintf("%.1f MiB", float64(kib)/1024) }
	r.table([]string{"resident", ""}, [][]string{
		{"the process before it opened the vault", mib(before)},
		{"with an empty vault", mib(opened)},
		{"with all keys, as it came", mib(full)},
		{"with all keys, at rest", mib(rest)},
		{"bytes for a live key, everything counted, at rest", fmt.Sprintf("%.0f", each)},
		{"keys in a GB", plain(1e9 / each)},
	})
	return nil
}

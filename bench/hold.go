package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// manyTunnels is how many tunnels are open at once in holdQuestion.
const manyTunnels = 20_000

// holdPart opens tunnels, says so, and keeps them open and silent until its
// standard input ends.
func holdPart(ctx context.Context, args []string) error {
	fl := flag.NewFlagSet("hold", flag.ContinueOnError)
	var w way
	w.flags(fl)
	conns := fl.Int("conns", manyTunnels, "tunnels")
	if err := fl.Parse(args); err != nil {
		return err
	}
	hello := clientHello(fileHost)
	lines, errs := make([]net.Conn, *conns), make([]error, 64)
	var next atomic.Int64
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			for n := next.Add(1) - 1; int(n) < *conns && errs[i] == nil && ctx.Err() == nil; n = next.Add(1) - 1 {
				c, err := w.open(ctx, fileHost)
				if err == nil {
					lines[n] = c
					_, err = c.Write(hello)
				}
				errs[i] = err
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	fmt.Println("open")
	_, _ = io.Copy(io.Discard, os.Stdin)
	for _, c := range lines {
		_ = c.Close()
	}
	return nil
}

// raiseDescriptors has this process and those that it starts open enough files for
// n tunnels; it says for how many tunnels there are.
func raiseDescriptors(n int) int {
	var lim syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim) != nil {
		return 0
	}
	want := uint64(2*n + 1000)
	lim.Cur = max(lim.Max, want)
	if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: want, Max: lim.Cur}) == nil {
		return n
	}
	lim.Cur = lim.Max // a program that is not root's cannot raise the hard limit
	_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lim)
	return min(n, int(lim.Max-1000)/2)
}

// holdQuestion: what do twenty thousand tunnels cost while they are open, and after?
func holdQuestion(ctx context.Context, b *bench, r *report) error {
	n := raiseDescriptors(manyTunnels)
	w, err := newAppWorld(ctx, b, "hold", 0)
	if err != nil {
		return err
	}
	defer w.stop()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := w.launch(ctx, "sink", []string{self, "sink", "-addr", w.at["sink"], "-buffer", "512"}, awaitTCP); err != nil {
		return err
	}
	if err := w.startApps(ctx); err != nil {
		return err
	}
	r.say("## Memory of tunnels")
	if n < manyTunnels {
		r.say("A process of this machine may open too few files for %d tunnels, of two each; there are %d.", manyTunnels, n)
	}
	r.say("%d tunnels of an app, opened one after another by 64 at once, each with its durable entry and its ClientHello judged; then they are silent, and then the app closes them all. Resident memory of the process of "+
		"`isogate serve`, whose baseline is taken after 100 tunnels were opened and closed. Rest is 30 s.", n)
	if _, err := w.hold(ctx, 100); err != nil {
		return err
	}
	before, err := w.rested(ctx)
	if err != nil {
		return err
	}
	rows := [][]string{{"baseline", before.String(), "", ""}}
	var last held
	for cycle := range 3 {
		open, err := w.hold(ctx, n)
		if err != nil {
			return err
		}
		if last, err = w.rested(ctx); err != nil {
			return err
		}
		rows = append(rows, []string{fmt.Sprintf("%d tunnels, time %d", n, cycle+1), open.String(),
			fmt.Sprintf("%.1f KiB", (open.all-before.all)*1024/float64(n)), last.String()})
		fmt.Fprintf(os.Stderr, "hold: round %d of 3\n", cycle+1)
	}
	r.table([]string{"isogate", "resident while open", "each", "after they were closed, and a rest"}, rows)
	r.budget(fmt.Sprintf("memory after %d tunnels", n), "within 10 % of before, < 80 MiB", last.all <= 1.1*before.all && last.all < 80,
		fmt.Sprintf("%+.0f %%, %.1f MiB", 100*(last.all/before.all-1), last.all))
	return nil
}

// hold opens n tunnels, says what the gateway holds then, and closes them.
func (w *world) hold(ctx context.Context, n int) (open held, err error) {
	self, err := os.Executable()
	if err != nil {
		return open, err
	}
	args, err := w.wayTo("isogate", "sink")
	if err != nil {
		return open, err
	}
	cmd := exec.CommandContext(ctx, self, append([]string{"hold", "-conns", strconv.Itoa(n)}, args...)...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return open, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return open, err
	}
	if err := cmd.Start(); err != nil {
		return open, err
	}
	defer func() { err = errors.Join(err, in.Close(), cmd.Wait()) }()
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		return open, fmt.Errorf("%d tunnels were not opened: %w %s", n, err, line)
	}
	return w.memory("isogate")
}

// rested is what isogate holds after a rest.
func (w *world) rested(ctx context.Context) (held, error) {
	select {
	case <-ctx.Done():
		return held{}, ctx.Err()
	case <-time.After(30 * time.Second):
	}
	return w.memory("isogate")
}

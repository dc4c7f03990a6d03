package journal

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/isogate/isogate/internal/isogatetest/pgtest"
)

// cable is a network namespace with one cable to here.
type cable struct {
	namespace  string
	here       string // name of the end here
	address    string // of the end here
	network    string
	unplugging func(up bool) error
}

// newCable lays one, or skips the test where it may not.
func newCable(t *testing.T) cable {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can make a network namespace")
	}
	id := os.Getpid() & 0x3fff
	c := cable{namespace: fmt.Sprintf("isogate-%d", id), here: fmt.Sprintf("isoh%d", id),
		address: fmt.Sprintf("10.213.%d.%d", id>>6, id&0x3f<<2|1), network: fmt.Sprintf("10.213.%d.%d/30", id>>6, id&0x3f<<2)}
	there := fmt.Sprintf("isot%d", id)
	ip := func(args ...string) error {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
		}
		return nil
	}
	t.Cleanup(func() {
		_ = ip("link", "del", c.here)
		_ = ip("netns", "del", c.namespace)
	})
	for _, args := range [][]string{
		{"netns", "add", c.namespace},
		{"link", "add", c.here, "type", "veth", "peer", "name", there, "netns", c.namespace},
		{"addr", "add", c.address + "/30", "dev", c.here},
		{"link", "set", c.here, "up"},
		{"-n", c.namespace, "addr", "add", fmt.Sprintf("10.213.%d.%d/30", id>>6, id&0x3f<<2|2), "dev", there},
		{"-n", c.namespace, "link", "set", there, "up"},
	} {
		if err := ip(args...); err != nil {
			t.Skipf("no network namespaces here: %v", err)
		}
	}
	c.unplugging = func(up bool) error {
		if up {
			return ip("link", "set", c.here, "up")
		}
		return ip("link", "set", c.here, "down")
	}
	return c
}

func (c cable) plug(t testing.TB, in bool) {
	t.Helper()
	if err := c.unplugging(in); err != nil {
		t.Fatal(err)
	}
}

// dial connects from within the namespace to the end of the cable that is here,
// whatever host is asked for.
func (c cable) dial(ctx context.Context, network, address string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	type result struct {
		conn net.Conn
		err  error
	}
	dialled := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: a thread in another namespace is of no use here
		ns, err := os.Open("/run/netns/" + c.namespace)
		if err != nil {
			dialled <- result{err: err}
			return
		}
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			dialled <- result{err: err}
			return
		}
		conn, err := dial(ctx, network, net.JoinHostPort(c.address, port))
		dialled <- result{conn, err}
	}()
	r := <-dialled
	return r.conn, r.err
}

// Accident: the cable between one gateway and the database is cut; the other gateway
// has its own. This test verifies that the one appends nothing and that its follower is
// told of no contact, that the locks it held are let go, so that the other goes on
// appending and sealing, and that once the cable is whole both go on and nothing is lost.
//
// promise: P14
// promise: P23
func TestPartition(t *testing.T) {
	c := newCable(t)
	pg := pgtest.New(t)
	pg.Kill()
	pg.Listen(c.address, c.network)
	pg.Start()
	at, key := siteOf(pg.URL("postgres")), newKey(t, "isogate/acme")
	cfg := at.config(key)
	cfg.Patience = time.Second
	far := cfg
	far.Dial = c.dial
	one, _ := open(t, far) // alone at first, so that it has the seat
	w := follow(t, one.Reader, 0, 20*time.Millisecond)
	cut := loadOn(t, one)
	cut.grows(t, 50)
	sealing := one.seal.size()
	eventually(t, "sealing", func() bool { return one.seal.size() > sealing })
	two, _ := open(t, cfg)
	near := loadOn(t, two)
	near.grows(t, 20)

	c.plug(t, false)
	since := time.Now()
	if err := one.Append(t.Context(), egress(1)); err == nil {
		t.Error("Append without a cable is acknowledged")
	}
	eventually(t, "Ready to fail", func() bool { return one.Ready() != nil })
	acknowledged := cut.acknowledged()
	near.grows(t, 200)
	sealing = two.seal.size()
	eventually(t, "the other to take the seat", func() bool { return two.seal.size() > sealing })
	if now := cut.acknowledged(); now != acknowledged {
		t.Errorf("%d entries were acknowledged without a cable", now-acknowledged)
	}
	w.mu.Lock()
	for _, b := range w.batches {
		if b.At.After(since) {
			t.Errorf("a look that began %s after the cable was cut was answered", b.At.Sub(since))
		}
	}
	w.mu.Unlock()

	c.plug(t, true)
	cut.grows(t, 50)
	eventually(t, "Ready", func() bool { return one.Ready() == nil && two.Ready() == nil })
	near.stop()
	cut.stop()
	for id, seq := range near.acked {
		cut.acked[id] = seq
	}
	cut.later = append(cut.later, near.later...)
	cut.check(t, at, key, one)
	toldAll(t, w, at)
}

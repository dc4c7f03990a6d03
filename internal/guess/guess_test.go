package guess

import (
	"net/netip"
	"testing"
	"time"
)

// ATTACK: tokens are guessed from many addresses of one network, in every spelling
// of them. THIS TEST VERIFIES that the network is slowed down, and nobody else, and
// that it goes on at one guess a second.
func TestAttackOneNetworkManyAddresses(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	l := New(func() time.Time { return now })
	ours := []string{"2001:db8::1", "2001:db8::2", "2001:db8::ffff:1", "2001:db8::1%eth0"}
	for i := range AtOnce {
		from := netip.MustParseAddr(ours[i%len(ours)])
		if l.Reached(from) {
			t.Fatalf("guess %d is not tried", i)
		}
		l.Wrong(from)
	}
	for _, a := range ours {
		if !l.Reached(netip.MustParseAddr(a)) {
			t.Errorf("%s may guess on", a)
		}
	}
	if l.Reached(netip.MustParseAddr("2001:db8:1::1")) {
		t.Error("another network is slowed down")
	}
	now = now.Add(time.Second)
	if l.Reached(netip.MustParseAddr(ours[0])) {
		t.Error("a second later none is tried")
	}
	l.Wrong(netip.MustParseAddr(ours[0]))
	if !l.Reached(netip.MustParseAddr(ours[1])) {
		t.Error("a second is for one guess")
	}

	for range AtOnce {
		l.Wrong(netip.MustParseAddr("::ffff:192.0.2.1"))
		l.Wrong(netip.Addr{})
	}
	if !l.Reached(netip.MustParseAddr("192.0.2.1")) || l.Reached(netip.MustParseAddr("192.0.2.2")) {
		t.Error("IPv4 counts otherwise than by address")
	}
	if !l.Reached(netip.Addr{}) {
		t.Error("what has no address may guess on")
	}
}

// ATTACK: wrong tokens from ever new addresses fill the memory. THIS TEST VERIFIES
// that only so many are remembered, and the newest of them.
func TestAttackManyNetworks(t *testing.T) {
	l := New(time.Now)
	for i := range 3 * most {
		from := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		for range AtOnce {
			l.Wrong(from)
		}
		if !l.Reached(from) {
			t.Fatalf("address %d is forgotten at once", i)
		}
	}
	if len(l.by) > most {
		t.Errorf("%d addresses are remembered", len(l.by))
	}
}

package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isogate/isogate/internal/isogatetest/dnstest"
)

// listen opens a listener that counts what connects to it.
func listen(t *testing.T, address string) (netip.AddrPort, func() int) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Skipf("this machine cannot listen on %s: %v", address, err)
	}
	var mu sync.Mutex
	n := 0
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			n++
			mu.Unlock()
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().(*net.TCPAddr).AddrPort(), func() int {
		mu.Lock()
		defer mu.Unlock()
		return n
	}
}

// In these tests 127.0.0.1 is inside, and 127.0.0.2 stands for an allowed
// address outside: the dialer knows the one as loopback, the other as allowed.
const (
	inside  = "127.0.0.1"
	outside = "127.0.0.2"
)

var allowOutside = []netip.Prefix{netip.MustParsePrefix(outside + "/32")}

// refused dials and wants a refusal that says why.
func refused(t *testing.T, d *Dialer, address, why string) {
	t.Helper()
	conn, err := d.DialContext(t.Context(), "tcp", address)
	if err == nil {
		_ = conn.Close()
		t.Fatalf("%s was dialled", address)
	}
	var r *Refusal
	if !errors.As(err, &r) || !strings.Contains(r.Reason, why) || !strings.Contains(err.Error(), r.Reason) {
		t.Fatalf("%s: %v, want a refusal with %q", address, err, why)
	}
}

// ATTACK: DNS rebinding. A name's first answer is an allowed address and is
// checked; its second, which a dialer that looks the name up again would
// connect to, is inside.
// THIS TEST VERIFIES that a name is looked up once per connection and that the
// address checked is the one dialled.
//
// promise: P01
func TestRebinding(t *testing.T) {
	at, hits := listen(t, inside+":0")
	out, outHits := listen(t, fmt.Sprintf("%s:%d", outside, at.Port()))
	s := dnstest.New(t, map[string]dnstest.Answer{
		"rebind.test": func(turn int) []string {
			if turn == 0 {
				return []string{outside}
			}
			return []string{inside}
		},
	})
	d := &Dialer{Allow: allowOutside, Resolver: s.Resolver()}
	address := fmt.Sprintf("rebind.test:%d", at.Port())
	conn, err := d.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if conn.RemoteAddr().String() != out.String() {
		t.Errorf("connected to %s", conn.RemoteAddr())
	}
	if n := s.Asked("rebind.test", "A"); n != 1 {
		t.Errorf("the name was looked up %d times", n)
	}
	refused(t, d, address, Loopback.String())
	if hits() != 0 {
		t.Errorf("the inside was reached (%d, %d outside)", hits(), outHits())
	}
}

// ATTACK: a name has an allowed address and one inside, in the hope that the
// check looks at the first and the dialer falls back to the second; or it is an
// alias of a name inside.
// THIS TEST VERIFIES that one denied address refuses the name, wherever it
// stands among the answers, and that aliases change nothing.
//
// promise: P01
func TestMixedAnswers(t *testing.T) {
	at, hits := listen(t, inside+":0")
	var many []string
	for i := range 40 {
		many = append(many, fmt.Sprintf("8.8.%d.8", i))
	}
	s := dnstest.New(t, map[string]dnstest.Answer{
		"first.test":    dnstest.Always(inside, outside),
		"last.test":     dnstest.Always(outside, inside),
		"six.test":      dnstest.Always(outside, "::1"),
		"mapped.test":   dnstest.Always(outside, "::ffff:127.0.0.1"),
		"nat64.test":    dnstest.Always(outside, "64:ff9b::7f00:1"),
		"metadata.test": dnstest.Always("169.254.169.254"),
		"ec2.test":      dnstest.Always("fd00:ec2::254"),
		"alias.test":    dnstest.Always("CNAME internal.test.", inside),
		"chain.test":    dnstest.Always("CNAME a.test.", "CNAME b.test.", "10.1.2.3"),
		"many.test":     dnstest.Always(slices.Concat(many, []string{"192.168.1.1"})...),
		"zero.test":     dnstest.Always("0.0.0.0"),
		"public.test":   dnstest.Always("8.8.8.8"),
	})
	d := &Dialer{Allow: allowOutside, Resolver: s.Resolver()}
	for name, class := range map[string]Class{
		"first": Loopback, "last": Loopback, "six": Loopback, "mapped": Loopback, "nat64": NAT64, "metadata": Metadata, "ec2": Metadata,
		"alias": Loopback, "chain": Private, "many": Private, "zero": Unspecified,
	} {
		refused(t, d, fmt.Sprintf("%s.test:%d", name, at.Port()), class.String())
	}
	if hits() != 0 {
		t.Errorf("the inside was reached %d times", hits())
	}
	// Nothing is refused that is public: the check passes, whatever the network then does.
	if err := d.check("public.test", netip.MustParseAddrPort("8.8.8.8:443")); err != nil {
		t.Error(err)
	}
}

// ATTACK: a name with thousands of addresses, to keep a dialer busy or to hide
// one address among many.
// THIS TEST VERIFIES that the number of answers is bounded.
func TestManyAnswers(t *testing.T) {
	addrs := make([]netip.Addr, 0, maxAttempts+2)
	for range maxAttempts + 2 {
		addrs = append(addrs, netip.MustParseAddr(outside))
	}
	at, hits := listen(t, outside+":0")
	d := &Dialer{Allow: allowOutside}
	// None of the others answers; the one that would is too far down the list.
	closed := netip.MustParseAddr("127.0.0.3")
	d.Allow = append(d.Allow, netip.PrefixFrom(closed, 32))
	for i := range maxAttempts {
		addrs[i] = closed
	}
	if _, err := d.connect(t.Context(), "tcp", "many.test", addrs, at.Port()); err == nil || hits() != 0 {
		t.Errorf("%v after %d hits", err, hits())
	}
	// One place higher it is reached: the addresses are tried in turn.
	conn, err := d.connect(t.Context(), "tcp", "many.test", addrs[1:], at.Port())
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()

	lines := make([]string, 0, maxAnswers+1)
	for i := range maxAnswers + 1 {
		lines = append(lines, fmt.Sprintf("8.8.%d.8", i))
	}
	s := dnstest.New(t, map[string]dnstest.Answer{"flood.test": dnstest.Always(lines...)})
	s2 := &Dialer{Resolver: tcpResolver(t, s)}
	refused(t, s2, "flood.test:443", "65 addresses")
}

// tcpResolver lets answers be larger than a datagram that the resolver accepts.
func tcpResolver(t *testing.T, s *dnstest.Server) *net.Resolver {
	t.Helper()
	return &net.Resolver{PreferGo: true, StrictErrors: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer func() { _ = server.Close() }()
			var size [2]byte
			for {
				if _, err := server.Read(size[:1]); err != nil {
					return
				}
				if _, err := server.Read(size[1:]); err != nil {
					return
				}
				query := make([]byte, int(size[0])<<8|int(size[1]))
				for n := 0; n < len(query); {
					m, err := server.Read(query[n:])
					if err != nil {
						return
					}
					n += m
				}
				reply, err := s.Reply(query)
				if err != nil {
					return
				}
				if _, err := server.Write(append([]byte{byte(len(reply) >> 8), byte(len(reply))}, reply...)); err != nil {
					return
				}
			}
		}()
		return client, nil
	}}
}

// ATTACK: the host or the port is spelled in a way that is looked up, or read,
// differently from how it was judged; or the name would be completed by a
// search domain of the machine.
// THIS TEST VERIFIES that only canonical spellings get as far as DNS, and that
// names are asked for as they are.
func TestSpelling(t *testing.T) {
	s := dnstest.New(t, map[string]dnstest.Answer{"ok.test": dnstest.Always(outside)})
	d := &Dialer{Allow: allowOutside, Resolver: s.Resolver()}
	for address, why := range map[string]string{
		"OK.test:443": "use ok.test", "ok.test.:443": "dot", "ok..test:443": "dot", "0x7f.1:80": "number", "127.1:80": "number", "2130706433:80": "number",
		"017700000001:80": "number", "[::1%25lo]:80": "zone", "[::1%lo]:80": "zone", "[::ffff:127.0.0.1]:80": "spelled as IPv6", "[0::1]:80": "canonical spelling",
		"user@ok.test:443": "user information", "ok.test%00:443": "percent", "ok.test/x:443": "character", "bücher.test:443": "use xn--bcher-kva.test", ":443": "empty",
		"ok.test": "host:port", "ok.test:443:443": "host:port", "::1:80": "host:port", "": "host:port", "[ok.test:443": "host:port",
		"ok.test:": "port", "ok.test:0": "port", "ok.test:00": "port", "ok.test:0443": "port", "ok.test:+443": "port", "ok.test:-1": "port", "ok.test:65536": "port",
		"ok.test:84979": "port", "ok.test:https": "port", "ok.test:443 ": "port", "ok.test: 443": "port", "ok.test:4４3": "port", "ok.test:0x1bb": "port",
		"ok.test:443.0": "port", "ok.test:99999999999999999999": "port",
		"127.0.0.1:80": Loopback.String(), "[::1]:80": Loopback.String(), "0.0.0.0:80": Unspecified.String(), "[::]:80": Unspecified.String(),
		"10.0.0.1:80": Private.String(), "169.254.169.254:80": Metadata.String(), "8.8.8.8:53": "named by address", "[2606:4700::1111]:53": "named by address",
	} {
		refused(t, d, address, why)
	}
	if asked := s.Names(); len(asked) != 0 {
		t.Errorf("%v were looked up", asked)
	}
	for _, network := range []string{"udp", "unix", "", "tcp5", "ip4:icmp"} {
		var r *Refusal
		if _, err := d.DialContext(t.Context(), network, "ok.test:443"); !errors.As(err, &r) {
			t.Errorf("network %q: %v", network, err)
		}
	}
	if _, err := d.DialContext(t.Context(), "tcp", "intranet:443"); err == nil {
		t.Error("intranet was dialled")
	}
	if s.Asked("intranet", "A") != 1 {
		t.Errorf("asked for %v, want intranet. as it is", s.Names())
	}
	var refusal *Refusal
	if _, err := d.DialContext(t.Context(), "tcp", "nowhere.test:443"); err == nil || errors.As(err, &refusal) {
		t.Errorf("a name that does not exist: %v, want a failure that is not a refusal", err)
	}
}

// ATTACK: a request is sent to the gateway's own door, and goes round for ever
// (smokescreen #282).
// THIS TEST VERIFIES that listeners of the gateway are not dialled, by the
// address they listen on or, where that is unspecified, by any of the machine's.
func TestSelf(t *testing.T) {
	at, hits := listen(t, outside+":0")
	d := &Dialer{Allow: allowOutside, Self: []netip.AddrPort{at}}
	refused(t, d, at.String(), "gateway itself")
	if hits() != 0 {
		t.Error("the gateway dialled itself")
	}
	d.Self = []netip.AddrPort{netip.AddrPortFrom(netip.IPv4Unspecified(), at.Port())}
	refused(t, d, at.String(), "gateway itself")
	d.Self = []netip.AddrPort{netip.AddrPortFrom(netip.IPv6Unspecified(), at.Port()+1)}
	conn, err := d.DialContext(t.Context(), "tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}

// The zero dialer reaches public addresses by name and nothing else; each
// loosening is one field.
func TestZeroDialer(t *testing.T) {
	at, hits := listen(t, inside+":0")
	var zero Dialer
	refused(t, &zero, at.String(), Loopback.String())
	refused(t, &zero, "8.8.8.8:443", "named by address")
	if hits() != 0 {
		t.Fatal("loopback was reached")
	}
	literals := Dialer{Literals: true}
	refused(t, &literals, at.String(), Loopback.String())
	if _, err := literals.resolve(t.Context(), "tcp", "8.8.8.8"); err != nil {
		t.Error(err)
	}
	allowed := Dialer{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	conn, err := allowed.DialContext(t.Context(), "tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	// An allowed network never allows another spelling of its addresses.
	six := Dialer{Allow: []netip.Prefix{netip.MustParsePrefix("::ffff:127.0.0.0/104"), netip.MustParsePrefix("::/0")}, Literals: true}
	for _, a := range []string{"::ffff:127.0.0.1", "fe80::1%lo"} {
		if six.allowed(netip.MustParseAddr(a)) {
			t.Errorf("%s is allowed", a)
		}
	}
}

// What was connected to is compared with what was checked, before and after
// connecting, so that no layer in between can change it unnoticed.
func TestCheckedTwice(t *testing.T) {
	d := &Dialer{Allow: allowOutside}
	to := netip.MustParseAddrPort(outside + ":443")
	if err := d.control("h", to, to.String()); err != nil {
		t.Error(err)
	}
	for _, other := range []string{inside + ":443", outside + ":444", "nonsense", ""} {
		if d.control("h", to, other) == nil {
			t.Errorf("%q was about to be dialled", other)
		}
	}
	if d.control("h", netip.MustParseAddrPort(inside+":443"), inside+":443") == nil {
		t.Error("a denied address was about to be dialled")
	}
	tcp := func(s string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }
	if err := d.verify("h", to, tcp("127.0.0.1:9"), tcp(to.String())); err != nil {
		t.Error(err)
	}
	for name, ends := range map[string][2]net.Addr{
		"another address":   {tcp("127.0.0.1:9"), tcp(inside + ":443")},
		"another port":      {tcp("127.0.0.1:9"), tcp(outside + ":444")},
		"itself":            {tcp(to.String()), tcp(to.String())},
		"no address":        {tcp("127.0.0.1:9"), &net.UnixAddr{Name: "x"}},
		"no address either": {&net.UnixAddr{Name: "x"}, tcp(to.String())},
	} {
		if d.verify("h", to, ends[0], ends[1]) == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	denied := netip.MustParseAddrPort(inside + ":443")
	if d.verify("h", denied, tcp("127.0.0.1:9"), tcp(denied.String())) == nil {
		t.Error("a denied address was accepted")
	}
}

// Time and families: an address that does not answer leaves time for the next,
// the context bounds everything, and families alternate.
func TestAttempts(t *testing.T) {
	s := dnstest.New(t, map[string]dnstest.Answer{
		"both.test": dnstest.Always("2a00::1", "2a00::2", "2a00::1", "8.8.8.1", "8.8.8.2", "8.8.8.3"),
		"none.test": dnstest.Always(),
	})
	d := &Dialer{Resolver: s.Resolver()}
	addrs, err := d.resolve(t.Context(), "tcp", "both.test")
	if err != nil {
		t.Fatal(err)
	}
	var families strings.Builder
	for _, a := range addrs {
		families.WriteString(map[bool]string{true: "4", false: "6"}[a.Is4()])
	}
	if families.String() != "64644" {
		t.Errorf("families %s of %v", families.String(), addrs)
	}
	if addrs, err = d.resolve(t.Context(), "tcp4", "both.test"); err != nil || len(addrs) != 3 {
		t.Errorf("tcp4: %v, %v", addrs, err)
	}
	if addrs, err = d.resolve(t.Context(), "tcp6", "both.test"); err != nil || len(addrs) != 2 {
		t.Errorf("tcp6: %v, %v", addrs, err)
	}
	if addrs, err = d.resolve(t.Context(), "tcp", "none.test"); err == nil {
		t.Errorf("none: %v", addrs)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.DialContext(ctx, "tcp", "both.test:443"); !errors.Is(err, context.Canceled) && (err == nil || !strings.Contains(err.Error(), "cancel")) {
		t.Errorf("a cancelled dial: %v", err)
	}
	at, _ := listen(t, outside+":0")
	quick := &Dialer{Allow: allowOutside, Timeout: time.Minute}
	conn, err := quick.DialContext(t.Context(), "tcp4", at.String())
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}

package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"
)

// Dialer opens connections. Its zero value reaches public addresses by name and
// nothing else. Its fields may not change once it was used.
type Dialer struct {
	// Allow are networks that may be reached although they are not public. They
	// may also be named by address. Addresses with a zone, and IPv4 addresses
	// spelled as IPv6, are never allowed.
	Allow []netip.Prefix
	// Literals allows public addresses to be named by address.
	Literals bool
	// Self are the addresses that this program listens on, which it must not talk
	// to: a request would go round for ever. An unspecified address stands for
	// every address of the machine.
	Self []netip.AddrPort
	// Resolver looks names up; nil uses Go's own with the system's servers. Names
	// are always looked up as they are, never with a search domain.
	Resolver *net.Resolver
	// Timeout bounds lookup and connecting together; 0 means 10 s. The context may
	// be shorter.
	Timeout time.Duration
}

// Refusal is the error of a destination that may not be reached. Nothing was
// sent to it; if it is the spelling or the port that is refused, its name was
// not looked up either.
type Refusal struct {
	Host   string     // as it was asked for
	Addr   netip.Addr // what it resolved to, if an address is refused
	Class  Class      // of Addr
	Reason string
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("the destination %.80q is refused: %s", r.Host, r.Reason)
}

const (
	defaultTimeout = 10 * time.Second
	minAttempt     = 2 * time.Second // what an address is given to answer, if there is that much time
	maxAnswers     = 64              // addresses of one name; more are refused
	maxAttempts    = 8               // addresses of one name that are tried
)

// DialContext connects to address, "host:port". The host must be in canonical
// form ([CanonicalHost]), the port a plain decimal number. The name is looked up
// once; if any of its addresses may not be reached, none is tried, for a name
// that points inside and outside is an attack or a mistake. What was checked is
// what is dialled, and what was connected to is checked again.
//
// A destination that may not be reached is a *[Refusal].
//
// promise: P01
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if network != "tcp" && network != "tcp4" && network != "tcp6" {
		return nil, &Refusal{Host: address, Reason: fmt.Sprintf("the network %.20q is not TCP", network)}
	}
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, &Refusal{Host: address, Reason: "the address is not host:port"}
	}
	port, err := parsePort(portText)
	if err != nil {
		return nil, &Refusal{Host: host, Reason: err.Error()}
	}
	canonical, err := CanonicalHost(host)
	if err != nil {
		return nil, &Refusal{Host: host, Reason: err.Error()}
	}
	if canonical != host {
		return nil, &Refusal{Host: host, Reason: "the host is not in canonical form; use " + canonical}
	}
	timeout := d.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	addrs, err := d.resolve(ctx, network, host)
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		if err := d.check(host, netip.AddrPortFrom(a, port)); err != nil {
			return nil, err
		}
	}
	return d.connect(ctx, network, host, addrs, port)
}

// parsePort reads a port as everybody reads it: no name, sign or leading zero.
func parsePort(s string) (uint16, error) {
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' || i > 4 {
			return 0, errPort
		}
		n = n*10 + int(s[i]-'0')
	}
	if n == 0 || n > 65535 || s[0] == '0' {
		return 0, errPort
	}
	return uint16(n), nil
}

var errPort = errors.New("the port is not a plain number from 1 to 65535")

// resolve returns the addresses of a host in the order in which to try them.
func (d *Dialer) resolve(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		if !d.Literals && !d.allowed(a) {
			reason := "it is named by address; use its name"
			class := Classify(a)
			if class != Public {
				reason = "it is " + class.String()
			}
			return nil, &Refusal{Host: host, Addr: a, Class: class, Reason: reason}
		}
		return []netip.Addr{a}, nil
	}
	r := d.Resolver
	if r == nil {
		r = &net.Resolver{PreferGo: true, StrictErrors: true}
	}
	family := "ip" + network[len("tcp"):]
	found, err := r.LookupNetIP(ctx, family, host+".") // the final dot keeps search domains out
	if err != nil {
		return nil, fmt.Errorf("looking up %s: %w", host, err)
	}
	if len(found) > maxAnswers {
		return nil, &Refusal{Host: host, Reason: fmt.Sprintf("its name has %d addresses; %d are the most", len(found), maxAnswers)}
	}
	var four, six []netip.Addr
	for _, a := range found {
		a = a.Unmap() // Go's resolver writes IPv4 addresses either way
		switch {
		case slices.Contains(four, a) || slices.Contains(six, a):
		case a.Is4():
			four = append(four, a)
		default:
			six = append(six, a)
		}
	}
	// Alternate, so that one family that leads nowhere costs one attempt.
	var addrs []netip.Addr
	for i := range max(len(four), len(six)) {
		if i < len(six) {
			addrs = append(addrs, six[i])
		}
		if i < len(four) {
			addrs = append(addrs, four[i])
		}
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("looking up %s: no address", host)
	}
	return addrs, nil
}

// check refuses an address that may not be reached.
func (d *Dialer) check(host string, to netip.AddrPort) error {
	a := to.Addr()
	if class := Classify(a); class != Public && !d.allowed(a) {
		return &Refusal{Host: host, Addr: a, Class: class, Reason: "it is " + class.String()}
	}
	if slices.Contains(d.Self, to) {
		return &Refusal{Host: host, Addr: a, Class: Classify(a), Reason: "it is this gateway itself"}
	}
	return nil
}

func (d *Dialer) allowed(a netip.Addr) bool {
	if a.Zone() != "" || a.Is4In6() {
		return false
	}
	for _, p := range d.Allow {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// connect tries the addresses in turn.
func (d *Dialer) connect(ctx context.Context, network, host string, addrs []netip.Addr, port uint16) (net.Conn, error) {
	if len(addrs) > maxAttempts {
		addrs = addrs[:maxAttempts]
	}
	var first error
	for i, a := range addrs {
		conn, err := d.attempt(ctx, network, host, netip.AddrPortFrom(a, port), len(addrs)-i)
		if err == nil {
			return conn, nil
		}
		var refusal *Refusal
		if errors.As(err, &refusal) {
			return nil, refusal
		}
		if first == nil {
			first = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, first
}

// attempt connects to one address, leaving time for the others.
func (d *Dialer) attempt(ctx context.Context, network, host string, to netip.AddrPort, turns int) (net.Conn, error) {
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, max(left/time.Duration(turns), min(left, minAttempt)))
		defer cancel()
	}
	nd := net.Dialer{ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
		return d.control(host, to, address)
	}}
	conn, err := nd.DialContext(ctx, network, to.String())
	if err != nil {
		return nil, err
	}
	if err := d.verify(host, to, conn.LocalAddr(), conn.RemoteAddr()); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// control is called between the making of a socket and its connecting, with the
// address that the system will be given.
func (d *Dialer) control(host string, to netip.AddrPort, address string) error {
	if a, err := netip.ParseAddrPort(address); err != nil || a != to {
		return &Refusal{Host: host, Reason: "another address was about to be dialled than the one checked"}
	}
	return d.check(host, to)
}

// verify checks the two ends of a connection that was made.
func (d *Dialer) verify(host string, to netip.AddrPort, local, remote net.Addr) error {
	r, err := netip.ParseAddrPort(remote.String())
	l, err2 := netip.ParseAddrPort(local.String())
	if err != nil || err2 != nil || netip.AddrPortFrom(r.Addr().Unmap(), r.Port()) != to {
		return &Refusal{Host: host, Reason: "another address answered than the one dialled"}
	}
	if err := d.check(host, to); err != nil {
		return err
	}
	// Both ends on one address, or loopback: it is this machine, and so perhaps this program.
	here := l.Addr().Unmap() == to.Addr() || to.Addr().IsLoopback()
	if here && slices.ContainsFunc(d.Self, func(s netip.AddrPort) bool {
		return s.Port() == to.Port() && s.Addr().IsUnspecified()
	}) || l == r {
		return &Refusal{Host: host, Addr: to.Addr(), Class: Classify(to.Addr()), Reason: "it is this gateway itself"}
	}
	return nil
}

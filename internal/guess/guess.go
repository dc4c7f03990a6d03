// Package guess slows down whoever guesses tokens, by the address that they guess
// from.
package guess

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// AtOnce is how many wrong tokens one address may send at once; after that it is
// one each second.
const AtOnce = 10

const (
	each = 1
	most = 4096 // addresses that are remembered
)

// Limit counts wrong tokens by address: for IPv6 by the network of one customer, who
// has more addresses in it than there are tokens. A right one costs nothing. While
// an address has none left, no token of it is to be tried at all: else guessing
// would go on as fast as before. It is safe for concurrent use.
type Limit struct {
	now func() time.Time
	mu  sync.Mutex // guards by
	by  map[netip.Prefix]*rate.Limiter
}

// New makes a limit that goes by a clock.
func New(now func() time.Time) *Limit {
	return &Limit{now: now, by: map[netip.Prefix]*rate.Limiter{}}
}

// Network is what an address counts for. Of the zero address, which is one that
// could not be read, it is the zero prefix.
func Network(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}

// Reached reports whether no token may be tried that comes from there.
func (l *Limit) Reached(from netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	left := l.by[Network(from)]
	return left != nil && left.TokensAt(l.now()) < 1
}

// Wrong notes that a wrong token came from there.
func (l *Limit) Wrong(from netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := Network(from)
	left := l.by[p]
	if left == nil {
		if len(l.by) >= most {
			l.forget()
		}
		left = rate.NewLimiter(each, AtOnce)
		l.by[p] = left
	}
	left.AllowN(l.now(), 1)
}

// forget makes room for some time: of those that have waited long enough first,
// else of any.
func (l *Limit) forget() {
	for p, left := range l.by {
		if left.TokensAt(l.now()) >= AtOnce {
			delete(l.by, p)
		}
	}
	for p := range l.by {
		if len(l.by) < most*3/4 {
			return
		}
		delete(l.by, p)
	}
}

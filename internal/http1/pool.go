package http1

import (
	"crypto/tls"
	"errors"
	"os"
	"sync"
	"time"
)

// pool keeps connections that are between two requests.
type pool struct {
	max int

	mu    sync.Mutex // guards what follows, and clientConn's spent and place
	idle  map[poolKey][]*clientConn
	used  []*clientConn // being dialled, or by requests; each at its place
	timer *time.Timer   // runs sweep; nil while nothing is kept
}

// use counts a connection among those in use.
func (p *pool) use(cc *clientConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.useLocked(cc)
}

func (p *pool) useLocked(cc *clientConn) {
	cc.place = len(p.used)
	p.used = append(p.used, cc)
}

// drop forgets a connection that was in use and has ended.
func (p *pool) drop(cc *clientConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropLocked(cc)
}

func (p *pool) dropLocked(cc *clientConn) {
	n := len(p.used) - 1
	last := p.used[n]
	p.used[cc.place], last.place = last, cc.place
	p.used[n] = nil
	p.used = p.used[:n]
}

// get takes the connection out that was used last, if one is still good.
func (p *pool) get(key poolKey) *clientConn {
	for {
		p.mu.Lock()
		kept := p.idle[key]
		if len(kept) == 0 {
			p.mu.Unlock()
			return nil
		}
		cc := kept[len(kept)-1]
		kept[len(kept)-1] = nil
		p.idle[key] = kept[:len(kept)-1]
		p.useLocked(cc)
		p.mu.Unlock()
		if time.Now().Before(cc.until) && cc.silent() {
			return cc
		}
		cc.close()
		p.drop(cc)
	}
}

// put keeps a connection that was in use, unless it is not to be used again or
// there are enough.
func (p *pool) put(cc *clientConn, timeout time.Duration) bool {
	if cc.keep > 0 {
		timeout = min(timeout, cc.keep)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropLocked(cc)
	if cc.spent || len(p.idle[cc.key]) >= p.max {
		return false
	}
	if p.idle == nil {
		p.idle = map[poolKey][]*clientConn{}
	}
	cc.until = time.Now().Add(timeout)
	p.idle[cc.key] = append(p.idle[cc.key], cc)
	if p.timer == nil {
		p.timer = time.AfterFunc(timeout, func() { p.sweep(timeout) })
	}
	return true
}

// sweep closes what was kept long enough. The timer that runs it exists only
// while there is something to close.
func (p *pool) sweep(again time.Duration) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = nil
	for key, kept := range p.idle {
		live := kept[:0]
		for _, cc := range kept {
			if now.Before(cc.until) {
				live = append(live, cc)
			} else {
				cc.close()
			}
		}
		clear(kept[len(live):])
		if p.idle[key] = live; len(live) == 0 {
			delete(p.idle, key)
		}
	}
	if len(p.idle) > 0 {
		p.timer = time.AfterFunc(again, func() { p.sweep(again) })
	}
}

// closeIf closes the kept connections to the destinations that which picks, and
// has those in use not be kept.
func (p *pool) closeIf(which func(poolKey) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, cc := range p.used {
		cc.spent = cc.spent || which(cc.key)
	}
	p.closeKept(which)
}

// closeAll closes the kept connections.
func (p *pool) closeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closeKept(func(poolKey) bool { return true })
}

func (p *pool) closeKept(which func(poolKey) bool) {
	for key, kept := range p.idle {
		if !which(key) {
			continue
		}
		for _, cc := range kept {
			cc.close()
		}
		delete(p.idle, key)
	}
	if len(p.idle) > 0 {
		return
	}
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
}

// silent reports whether the server neither closed the connection nor said
// anything since the last response: bytes that nobody asked for would be taken
// for the response to the next request.
func (cc *clientConn) silent() bool {
	quiet, known := cc.peek.silent()
	if known && !quiet {
		return false
	}
	_, overTLS := cc.nc.(*tls.Conn)
	if known && !overTLS {
		return true
	}
	// TLS may hold bytes that the socket has not any more. A read whose deadline
	// has passed returns those, and does not wait for others.
	_ = cc.raw.SetReadDeadline(longAgo)
	n, err := cc.nc.Read(cc.one[:])
	return n == 0 && errors.Is(err, os.ErrDeadlineExceeded)
}

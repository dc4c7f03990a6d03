package gateway

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/policy"
)

// open is one way out that a grant keeps open: a tunnel, or a request that is
// under way. When the grant ends, it is cut.
type open struct {
	permit consent.Permit
	whole  bool      // everything passes unread: any limit of the grant ends it
	ends   time.Time // when the pack's tunnel is over; zero is never
	cancel context.CancelCauseFunc

	until  time.Time    // guarded by opens.mu, as is what follows: when the grant is over
	limit  policy.Limit // what is judged while it leaves is judged within
	leaves bool         // something is
}

// opens are the ways out that grants keep open. There are as many as there are
// tunnels, so that each change of the ledger costs a pass over them; nothing is
// asked of the ledger per byte.
type opens struct {
	mu    sync.Mutex // guards what follows
	all   map[*open]struct{}
	pools map[pool]consent.Permit // by whose permit connections to a host are kept
}

// pool is a host that connections are kept to, as the client names it.
type pool struct {
	host string
	port uint16
}

// maxPools bounds the hosts remembered; the client lets go of what is idle by itself.
const maxPools = 4096

// errCut says why a way out was cut; its text is for the journal.
type errCut struct{ why string }

func (e *errCut) Error() string { return e.why }

var (
	errRevoked = &errCut{"cut: the grant was revoked"}
	errOver    = &errCut{"cut: the grant's time is over"}
	errTunnel  = &errCut{"cut: the tunnel's time in the pack is over"}
	errLimited = &errCut{"cut: the grant was limited"}
)

func (o *opens) add(w *open) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.all == nil {
		o.all = map[*open]struct{}{}
	}
	o.all[w] = struct{}{}
}

func (o *opens) remove(w *open) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.all, w)
	if len(o.all) == 0 {
		o.all = nil // a map keeps the room of its largest size
	}
}

// leaving notes that something is judged within the limit while it leaves.
func (o *opens) leaving(w *open, l policy.Limit) {
	o.mu.Lock()
	defer o.mu.Unlock()
	w.limit, w.leaves = l, true
}

func (o *opens) len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.all)
}

// of counts those of a party, or of [consent.Everybody].
func (o *opens) of(party consent.Party) (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for w := range o.all {
		if g := w.permit.Grant; party == consent.Everybody || g != nil && g.Party == party {
			n++
		}
	}
	return n
}

// Underway is how many tunnels and requests of a party, or of [consent.Everybody], are
// under way by grants: what ends with them. It is what is here now, on this gateway.
func (g *Gateway) Underway(party consent.Party) int { return g.opens.of(party) }

// kept notes that connections to a host may be kept by a permit.
func (o *opens) kept(at pool, p consent.Permit) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.pools == nil || len(o.pools) >= maxPools {
		o.pools = map[pool]consent.Permit{}
	}
	o.pools[at] = p
}

// check cuts what the state does not allow any more, and returns when the next
// one ends by itself, zero if none does. Connections to the hosts in stale are
// not to be kept any longer.
func (o *opens) check(state *consent.State, now time.Time) (next time.Time, stale []pool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for at, p := range o.pools {
		if _, ok := state.Holds(p, now); !ok {
			stale = append(stale, at)
			delete(o.pools, at)
		}
	}
	for w := range o.all {
		p, ok := state.Holds(w.permit, now)
		switch {
		case !ok && !w.until.IsZero() && !now.Before(w.until):
			w.cancel(errOver)
			continue
		case !ok:
			w.cancel(errRevoked)
			continue
		case !w.ends.IsZero() && !now.Before(w.ends):
			w.cancel(errTunnel)
			continue
		case w.whole && !limitOf(p).Everything(), w.leaves && !limitOf(p).Equal(w.limit):
			w.cancel(errLimited)
			continue
		}
		w.until = p.Until()
		for _, end := range []time.Time{w.until, w.ends} {
			if !end.IsZero() && (next.IsZero() || end.Before(next)) {
				next = end
			}
		}
	}
	return next, stale
}

// Run cuts ways out as soon as the ledger does not allow them any more, until ctx
// ends. Without it a revocation only holds for what begins after it.
//
// promise: P14
func (g *Gateway) Run(ctx context.Context) error {
	if g.cfg.Ledger == nil {
		<-ctx.Done()
		return nil
	}
	wake := time.NewTimer(0)
	defer wake.Stop()
	for {
		state, changed := g.cfg.Ledger.Watch()
		next, stale := g.opens.check(state, g.clock())
		for _, at := range stale {
			g.cfg.Client.CloseHost(at.host, at.port)
		}
		wait := time.Hour
		if !next.IsZero() {
			// The clock may be set forward meanwhile, and no timer hears of that.
			wait = min(max(next.Sub(g.clock()), time.Millisecond), time.Second)
		}
		wake.Reset(wait)
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
			if n := g.opens.len(); n > 0 {
				g.cfg.Logger.Debug("the ledger changed", slog.Uint64("revision", state.Revision), slog.Int("open", n))
			}
		case <-g.ends: // something was opened that ends by itself
		case <-wake.C:
		}
	}
}

// keep has the passage cut when its grant ends: p.ctx ends then, with an *errCut
// as its cause. It refuses if the grant ended in this moment.
func (p *passage) keep(whole bool) *refusal {
	ctx, cancel := context.WithCancelCause(p.x.Context())
	p.ctx = ctx
	p.open = &open{permit: p.permit, whole: whole, until: p.permit.Until(), cancel: cancel}
	if whole {
		p.open.ends = p.tunnel.TunnelEnds()
	}
	endless := p.open.until.IsZero() && p.open.ends.IsZero()
	p.gate.opens.add(p.open)
	if !endless {
		select {
		case p.gate.ends <- struct{}{}:
		default:
		}
	}
	// Asked again, now that a change will find it.
	now, ok := p.gate.cfg.Ledger.State().Holds(p.permit, p.gate.clock())
	if !ok || whole && !limitOf(now).Everything() {
		return changed()
	}
	p.take(now)
	return nil
}

func changed() *refusal {
	return &refusal{status: 403, code: "no-consent", detail: "the grant was revoked or limited at this moment"}
}

// release lets go of what keep began.
func (p *passage) release() {
	if p.open != nil {
		p.gate.opens.remove(p.open)
		p.open.cancel(context.Canceled)
		p.open = nil
	}
}

// cut says why the passage was cut, if it was. What is inside an inspected
// connection may see that one cut before it is told itself, so the ledger is
// asked too.
func (p *passage) cut() *refusal {
	if p.open == nil {
		return nil
	}
	var c *errCut
	if !errors.As(context.Cause(p.ctx), &c) {
		if _, ok := p.gate.cfg.Ledger.State().Holds(p.permit, p.gate.clock()); ok {
			return nil
		}
		c = errRevoked
		if until := p.permit.Until(); !until.IsZero() && !p.gate.clock().Before(until) {
			c = errOver
		}
	}
	return &refusal{status: 403, code: "no-consent", detail: c.why}
}

// still asks once more, now that the entry is durable: recording may have taken
// long enough for the grant to end, or for the ledger to fall silent.
//
// promise: P14
func (p *passage) still() *refusal {
	if p.open == nil {
		return nil
	}
	if r := p.cut(); r != nil {
		return r
	}
	if p.streams && p.tunnel == nil {
		p.gate.opens.leaving(p.open, p.limit) // from now on, to be limited is to be cut
	}
	now, ok := p.gate.cfg.Ledger.State().Holds(p.permit, p.gate.clock())
	if !ok || p.tunnel == nil && !limitOf(now).Equal(p.limit) {
		return changed()
	}
	return p.inTouch()
}

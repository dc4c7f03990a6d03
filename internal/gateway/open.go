package gateway

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/isogate/isogate/internal/consent"
)

// open is one way out that a grant keeps open: a tunnel, or a request that is
// under way. When the grant ends, it is cut.
type open struct {
	permit consent.Permit
	whole  bool // everything passes unread: any limit of the grant ends it
	until  time.Time
	cancel context.CancelCauseFunc
}

// opens are the ways out that grants keep open. There are as many as there are
// tunnels, so that each change of the ledger costs a pass over them; nothing is
// asked of the ledger per byte.
type opens struct {
	mu  sync.Mutex // guards all
	all map[*open]struct{}
}

// errCut says why a way out was cut; its text is for the journal.
type errCut struct{ why string }

func (e *errCut) Error() string { return e.why }

var (
	errRevoked = &errCut{"cut: the grant was revoked"}
	errOver    = &errCut{"cut: the grant's time is over"}
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

func (o *opens) len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.all)
}

// check cuts what the state does not allow any more, and returns when the next
// one ends by itself, zero if none does.
func (o *opens) check(state *consent.State, now time.Time) (next time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for w := range o.all {
		p, ok := state.Holds(w.permit, now)
		switch {
		case ok && (!w.whole || limitOf(p).Everything()):
			w.until = p.Until()
		case !w.until.IsZero() && !now.Before(w.until):
			w.cancel(errOver)
			continue
		default:
			w.cancel(errRevoked)
			continue
		}
		if !w.until.IsZero() && (next.IsZero() || w.until.Before(next)) {
			next = w.until
		}
	}
	return next
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
		next := g.opens.check(state, g.clock())
		wait := time.Hour
		if !next.IsZero() {
			wait = max(next.Sub(g.clock()), time.Millisecond)
		}
		// A grant that ends sooner may be used at any moment; so look once a second.
		wake.Reset(min(wait, time.Second))
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
			if n := g.opens.len(); n > 0 {
				g.cfg.Logger.Debug("the ledger changed", slog.Uint64("revision", state.Revision), slog.Int("open", n))
			}
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
	p.gate.opens.add(p.open)
	// Asked again, now that a change will find it.
	if now, ok := p.gate.cfg.Ledger.State().Holds(p.permit, p.gate.clock()); !ok || whole && !limitOf(now).Everything() {
		return &refusal{status: 403, code: "no-consent", detail: "the grant was revoked at this moment"}
	}
	return nil
}

// release lets go of what keep began.
func (p *passage) release() {
	if p.open != nil {
		p.gate.opens.remove(p.open)
		p.open.cancel(context.Canceled)
		p.open = nil
	}
}

// cut says why the passage was cut, if it was.
func (p *passage) cut() *refusal {
	var c *errCut
	if p.open == nil || !errors.As(context.Cause(p.ctx), &c) {
		return nil
	}
	return &refusal{status: 403, code: "no-consent", detail: c.why}
}

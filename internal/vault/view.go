package vault

import (
	"context"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/seal"
)

// Viewer is who sees a response.
type Viewer struct {
	// Name is for receipts: at most [seal.MaxViewer] bytes of readable text. With
	// another one everything is withheld.
	Name string
	// Allows reports whether the viewer may see values of this label and context. It
	// may take its time and call the vault; what it does to the context changes
	// nothing. Nil allows nothing.
	Allows func(*seal.Context, isogate.Label) bool
}

// maxRevealed is how many different things one view reveals between two records:
// beyond it, values are withheld. Things are alike that left under one label with
// one request.
const maxRevealed = 10_000

// revealed is what events of reveals are counted by.
type revealed struct {
	tenant  isogate.Tenant
	key     seal.ID
	request uint64
	label   isogate.Label
}

// View opens seals for one response and remembers what it revealed. It implements
// [seal.Opener], and is for one goroutine.
type View struct {
	v    *Vault
	w    Viewer
	seen map[revealed]uint64
	mark uint64 // up to where the ledger has what was revealed

	ahead map[string]away // by seal: what other members of a cluster have answered
}

// View begins a response to w.
func (v *Vault) View(w Viewer) *View { return &View{v: v, w: w} }

// OpenSeal implements [seal.Opener].
func (vw *View) OpenSeal(scratch []byte, id seal.ID, raw []byte) (seal.Opened, seal.Outcome) {
	o, out := vw.open(scratch, id, raw)
	vw.v.cfg.Metrics.outcomes[out].Inc()
	return o, out
}

func (vw *View) open(scratch []byte, id seal.ID, raw []byte) (_ seal.Opened, out seal.Outcome) {
	elsewhere := vw.v.elsewhere(id)
	var o seal.Opened
	var c seal.Context
	if elsewhere {
		o, c, out = vw.openAway(scratch, id, raw)
	} else {
		o, c, out = vw.v.openKey(scratch, id, raw)
	}
	if out != seal.Revealed {
		return seal.Opened{}, out
	}
	shown := false
	defer func() {
		// Also where Allows panics.
		if !shown {
			clear(o.Value)
		}
	}()
	k := revealed{c.Tenant, id, o.Request, o.Label}
	// What no receipt could tell is not shown.
	if e := vw.event(k, 1, instant{}); e.Check() != nil {
		return seal.Opened{}, seal.Withheld
	}
	if vw.w.Allows == nil || !vw.w.Allows(&c, o.Label) {
		return seal.Opened{}, seal.Withheld
	}
	if vw.seen[k] == 0 && len(vw.seen) >= maxRevealed {
		return seal.Opened{}, seal.Withheld
	}
	// Last, for all that came before took time, and asking for the viewer's rights may
	// have ended the session.
	if !elsewhere && !vw.v.opens(id, o.Age) || elsewhere && vw.stale(raw) {
		return seal.Opened{}, seal.Expired
	}
	if vw.seen == nil {
		vw.seen = map[revealed]uint64{}
	}
	vw.seen[k]++
	shown = true
	return o, seal.Revealed
}

// openKey opens a seal, if its key's life is not over. Whether the value's is, opens
// says.
func (v *Vault) openKey(scratch []byte, id seal.ID, raw []byte) (o seal.Opened, c seal.Context, out seal.Outcome) {
	s := v.shard(id)
	s.mu.RLock()
	defer s.mu.RUnlock()
	slot, ok := s.byID[id]
	if !ok {
		return o, c, seal.Expired
	}
	r := s.records.at(slot)
	// Read inside, so that no wait for the lock lies between it and the answer.
	if _, now := read(v.cfg.Clock); r.end(v.limits).passed(now) || v.fenced() {
		return o, c, seal.Expired
	}
	c = v.context(r)
	o, err := seal.OpenKey(v.arena.key(slot), &c, raw, scratch)
	if err != nil {
		return seal.Opened{}, c, seal.Withheld
	}
	return o, c, seal.Revealed
}

// opens reports whether a value of that age still opens.
//
// promise: P16, P18
func (v *Vault) opens(id seal.ID, age time.Duration) bool {
	s := v.shard(id)
	s.mu.RLock()
	defer s.mu.RUnlock()
	slot, ok := s.byID[id]
	if !ok {
		return false
	}
	_, now := read(v.cfg.Clock)
	return !s.records.at(slot).valueEnd(age, v.limits).passed(now) && !v.fenced()
}

// context is what a key is for, as it was when it was made.
func (v *Vault) context(r *record) seal.Context {
	t := v.tenants[r.tenant]
	c := seal.Context{Tenant: t.name, Destination: v.cfg.Destination, Transit: t.transit(r.transit), Handling: r.handling(),
		ByRequest: r.byRequest, TTL: time.Duration(r.ttl), Window: r.window(), Made: time.UnixMilli(r.made).UTC()}
	if r.session != (session{}) {
		c.Session = string(r.session[:])
	}
	return c
}

// event is what a receipt says of things that were revealed.
func (vw *View) event(k revealed, n uint64, now instant) seal.Event {
	return seal.Event{Kind: seal.RevealedTo, At: now.stamp(), Key: k.key, Request: k.request, Label: k.label, Viewer: vw.w.Name, N: n}
}

// Pending reports whether something was revealed that is not recorded yet.
func (vw *View) Pending() bool { return len(vw.seen) > 0 || !vw.v.ledger.written(vw.mark) }

// Record makes durable what was revealed since the last call, and that the keys
// were here; it is called before the values leave. After an error nothing of them
// may be shown. Concurrent calls share a write to the disk.
//
// promise: P21, P41
func (vw *View) Record(ctx context.Context) error {
	vw.Forget()
	if len(vw.seen) > 0 {
		_, now := read(vw.v.cfg.Clock)
		for k, n := range vw.seen {
			vw.mark = vw.v.ledger.note(k.tenant, vw.event(k, n, now))
		}
		clear(vw.seen)
	}
	return vw.v.ledger.sync(ctx, vw.mark)
}

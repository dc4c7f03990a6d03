package landing

import (
	"context"
	"sync"
	"time"

	"github.com/isogate/isogate/internal/seal"
	"github.com/isogate/isogate/internal/vault"
)

// meter bounds how many different seals each viewer sees as values in a minute:
// somebody with a stolen token copies a page, not the database.
type meter struct {
	most int
	now  func() time.Time

	mu sync.Mutex // guards by
	by map[string]*minute
}

type minute struct {
	begin time.Time
	seen  map[sealID]struct{}
}

// sealID names one seal: its key's ID and its nonce, with which it begins.
type sealID [28]byte

func newMeter(most int, now func() time.Time) *meter {
	return &meter{most: most, now: now, by: map[string]*minute{}}
}

// room reports whether the viewer may see this seal.
func (m *meter) room(viewer string, s sealID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	u := m.of(viewer)
	_, again := u.seen[s]
	return again || len(u.seen) < m.most
}

func (m *meter) saw(viewer string, s sealID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.of(viewer).seen[s] = struct{}{}
}

func (m *meter) of(viewer string) *minute {
	now := m.now()
	u := m.by[viewer]
	if u == nil || now.Sub(u.begin) >= time.Minute || now.Before(u.begin) {
		u = &minute{begin: now, seen: map[sealID]struct{}{}}
		m.by[viewer] = u
	}
	return u
}

// view opens seals for one response to a viewer within their measure.
type view struct {
	*vault.View
	l      *Landing
	viewer *Viewer
	over   bool // something was withheld for it
}

func (l *Landing) view(w *Viewer) *view {
	if w == nil {
		return &view{View: l.cfg.Vault.View(vault.Viewer{}), l: l}
	}
	return &view{View: l.cfg.Vault.View(vault.Viewer{Name: w.Name, Allows: w.allows}), l: l, viewer: w}
}

// OpenSeal implements [seal.Opener].
func (v *view) OpenSeal(scratch []byte, id seal.ID, raw []byte) (seal.Opened, seal.Outcome) {
	if v.viewer == nil {
		return seal.Opened{}, seal.Withheld
	}
	if len(raw) < len(sealID{}) {
		return seal.Opened{}, seal.Withheld
	}
	name := sealID(raw)
	if !v.l.meter.room(v.viewer.Name, name) {
		if !v.over {
			v.over = true
			v.l.overMeasure(v.viewer.Name)
		}
		return seal.Opened{}, seal.Withheld
	}
	o, out := v.View.OpenSeal(scratch, id, raw)
	if out == seal.Revealed {
		v.l.meter.saw(v.viewer.Name, name)
	}
	return o, out
}

// record makes what was revealed durable, if something was.
func (v *view) record(ctx context.Context) error {
	if !v.Pending() {
		return nil
	}
	return v.Record(ctx)
}

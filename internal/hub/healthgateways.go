package hub

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/trail"
)

// gateways are those that have said in the journal what they judge by, by the newest
// entry of each. Those that were started before gateways gave their names share one
// without a name.
//
// promise: P10
func (h *Hub) gateways(ctx context.Context) ([]GatewayStanding, error) {
	rows, err := h.newest.packs.list(ctx, h.trail, trail.Query{Kind: isogate.KindPack})
	if err != nil {
		return nil, err
	}
	out, seen := []GatewayStanding{}, map[string]bool{}
	for _, row := range rows {
		e := row.Entry
		name := e.Detail["gateway"]
		if row.Unreadable || seen[name] || !slices.Contains([]string{packLoaded, packRefused, gatewayStopped}, e.Act) {
			continue
		}
		seen[name] = true
		g := GatewayStanding{Name: name, Pack: e.Pack, Act: e.Act, At: e.Time.UTC(), Entry: e.ID, Stopped: e.Act == gatewayStopped}
		if e.Detail["name"] != "" {
			g.Title = e.Detail["name"] + " " + e.Detail["version"]
		}
		g.Here = h.running != nil && name == h.running.Gateway()
		out = append(out, g)
	}
	slices.SortStableFunc(out, func(a, b GatewayStanding) int {
		return cmp.Or(order(a.Stopped, b.Stopped), strings.Compare(a.Name, b.Name))
	})
	return out, nil
}

// order puts false before true.
func order(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// keyAge finds since when the primary key mints: the oldest entry that names it as
// the primary, of those looked at. Gateways name it with the pack that they judge by.
func (h *Hub) keyAge(ctx context.Context, k *KeyStanding) error {
	packs, err := h.newest.packs.list(ctx, h.trail, trail.Query{Kind: isogate.KindPack})
	if err != nil {
		return err
	}
	keys, err := h.newest.keys.list(ctx, h.trail, trail.Query{Kind: isogate.KindKey})
	if err != nil {
		return err
	}
	for _, row := range slices.Concat(keys, packs) {
		if e := row.Entry; e.Detail["primary"] == k.Primary && (k.Since == nil || e.Time.Before(*k.Since)) {
			k.Since, k.Entry = instant(e.Time), e.ID
		}
	}
	return nil
}

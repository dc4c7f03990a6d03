package main

import (
	"slices"
	"strings"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/consent"
	"github.com/isogate/isogate/internal/policy"
	"github.com/isogate/isogate/internal/remote"
)

// describer tells administrators what would leave over a row, by the pack in force.
type describer struct {
	pack func() *policy.Pack // its answer is nil while no pack loads
	now  func() time.Time
	// sources are those that send traffic of a kind for an app; nil is the app itself alone.
	sources func(app isogate.Source, kind remote.Kind) []isogate.Source
}

// describe is a [consent.Describe].
func (d describer) describe(party consent.Party, row remote.Row) consent.Egress {
	pack := d.pack()
	if pack == nil { // whoever acts may have to revoke; granting, the Hub refuses
		return consent.Egress{Words: "the pack does not load, so that nobody can say what would leave: see isogate pack check"}
	}
	out := consent.Egress{Pack: pack.Plan().Digest}
	if name, is := party.Transit(); is {
		t, found := pack.Plan().Transit(name)
		if !found {
			out.Words = "the pack has no such transit: nothing leaves until it has"
			return out
		}
		out.Ways = []consent.Way{d.way(pack, t, policy.Limit{Persist: true, EndUserData: true})}
		out.Words = "fields leave as listed; what no contract names does not leave in plaintext"
		return out
	}
	app, _ := party.Source()
	senders := []isogate.Source{app}
	if d.sources != nil {
		senders = d.sources(app, row.Kind)
	}
	if len(senders) == 0 {
		out.Words = "no source of the configuration sends such traffic for the app: nothing leaves until one does"
		return out
	}
	limit := policy.Limit{Persist: row.Operations&remote.Storage != 0, EndUserData: row.EndUserData}
	open, shut, inspects := false, false, false
	for _, t := range pack.Plan().Transits() {
		to := t.Destination.Remote
		if to == nil || to.Port != row.Port || !overlap(to.Host, row.Host) ||
			!slices.ContainsFunc(t.Sources, func(s isogate.Source) bool { return slices.Contains(senders, s) }) {
			continue
		}
		w := d.way(pack, t, limit)
		switch {
		case w.Tunnel == nil:
			inspects = true
		case w.Tunnel.InForce && limit.Everything():
			open = true
		default:
			shut = true
		}
		out.Ways = append(out.Ways, w)
	}
	var words []string
	if len(out.Ways) == 0 {
		words = append(words, "the pack has no way there: nothing leaves until it has")
	}
	if open {
		words = append(words, "everything that is sent through the tunnel leaves unread, whatever it is")
	}
	if shut {
		words = append(words, "nothing leaves through the tunnel: it is over, or the row is not for keeping end-user data, of which nobody can see whether it is sent")
	}
	if inspects {
		words = append(words, "fields leave as listed; what no contract names does not leave in plaintext")
	}
	if row.Wildcard() && len(out.Ways) > 0 && !slices.ContainsFunc(out.Ways, func(w consent.Way) bool { return strings.HasPrefix(w.To, row.Host+":") }) {
		words = append(words, "to the other hosts of the row the pack has no way")
	}
	out.Words = strings.Join(words, "; ")
	return out
}

// senders are the sources that send traffic of a kind for an app.
func (c *config) senders(app isogate.Source, kind remote.Kind) (out []isogate.Source) {
	for _, s := range c.Sources {
		kinds := []remote.Kind{remote.Backend, remote.Remote} // an app's servers', as the gateway takes it
		if len(s.Kinds) > 0 {
			kinds = nil
			for _, name := range s.Kinds {
				if k, err := remote.ParseKind(name); err == nil {
					kinds = append(kinds, k)
				}
			}
		}
		if (s.App == app || s.App == "" && s.Name == app) && slices.Contains(kinds, kind) {
			out = append(out, s.Name)
		}
	}
	return out
}

// overlap reports whether two hosts, either of which may be a wildcard, have one in common.
func overlap(a, b string) bool {
	below := func(wide, host string) bool {
		return strings.HasPrefix(wide, "*.") && strings.HasSuffix(host, wide[1:])
	}
	return a == b || below(a, b) || below(b, a)
}

// way says what leaves over one transit.
func (d describer) way(pack *policy.Pack, t *policy.Transit, limit policy.Limit) consent.Way {
	w := consent.Way{Transit: t.Name}
	switch dst := t.Destination; {
	case dst.Remote != nil:
		w.To = dst.Remote.String()
	default:
		w.To = string(dst.Name) + " (" + dst.URL.Host + ")"
	}
	now := d.now()
	if t.Mode == policy.Tunnel {
		w.Tunnel = &consent.Exemption{InForce: t.OpenAt(now)}
		if x, err := t.Explain(t.Fields()[0], now); err == nil && x.Tunnel != nil {
			w.Tunnel.Because, w.Tunnel.Owner, w.Tunnel.Until = x.Tunnel.Because, x.Tunnel.Owner, x.Tunnel.Until
		}
		return w
	}
	for _, l := range t.Leaves(now, limit) {
		action := l.Action.String()
		if l.Form != "" {
			action += " " + l.Form
		}
		w.Leaves = append(w.Leaves, consent.Leaf{Label: l.Label, Action: action, Handling: l.Handling, TTL: l.TTL, Enforced: l.Enforced, Because: l.Because})
	}
	if before, after, ok := pack.Sample(t, now, limit); ok {
		w.Sample = &consent.Sample{Before: before, After: after}
	}
	return w
}

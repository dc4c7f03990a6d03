package trail

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/isogate/isogate"
)

// Usage tells of what use a consent, a remote, a rule or anything else that the query selects
// was: how often, when first and last, and which labels left by it. Refused requests do not count.
func (t *Trail) Usage(ctx context.Context, q Query) (Usage, error) {
	released := isogate.Released.String()
	if q.Decision != "" && q.Decision != released || q.Kind != "" && q.Kind != isogate.KindEgress {
		return Usage{}, nil
	}
	q.Decision, q.Kind = released, isogate.KindEgress
	done, err := t.turn(ctx)
	if err != nil {
		return Usage{}, err
	}
	defer done()
	s, err := t.chosen(ctx, q)
	if err != nil {
		return Usage{}, err
	}
	var u Usage
	labels := &tally{s: s, by: []By{ByLabel, ByAction}, groups: map[string]*Group{}}
	u.Unlisted, err = s.sum(ctx, summing{rows: true}, func(since int64, lines map[lineKey]*line) error {
		for _, l := range lines {
			u.add(s.v, l)
			u.values(s, l, nil)
		}
		return labels.take(since, lines)
	})
	if err != nil {
		return Usage{}, err
	}
	for _, g := range labels.groups {
		a, _ := isogate.ParseAction(g.Key[1]) // it was written by it
		u.Labels = append(u.Labels, LabelUse{Label: isogate.Label(g.Key[0]), Action: a, Rows: g.Rows, Values: g.Values[a], First: g.First, Last: g.Last})
	}
	slices.SortFunc(u.Labels, func(a, b LabelUse) int {
		return cmp.Or(cmp.Compare(b.Action, a.Action), strings.Compare(string(a.Label), string(b.Label)))
	})
	return u, nil
}

// Facets returns what a query could be narrowed by.
func (t *Trail) Facets(ctx context.Context, q Query) (Facets, error) {
	done, err := t.turn(ctx)
	if err != nil {
		return Facets{}, err
	}
	defer done()
	v, err := t.view()
	if err != nil {
		return Facets{}, err
	}
	var f Facets
	dims := [...]struct {
		by    By
		into  *[]Facet
		asked bool
		leave func(q *Query)
	}{
		{ByKind, &f.Kind, q.Kind != "", func(q *Query) { q.Kind = "" }},
		{BySource, &f.Source, q.Source != "" || q.App != "", func(q *Query) { q.Source, q.App = "", "" }},
		{ByPurpose, &f.Purpose, q.Purpose != "", func(q *Query) { q.Purpose = "" }},
		{ByTransit, &f.Transit, q.Transit != "", func(q *Query) { q.Transit = "" }},
		{ByDestination, &f.Destination, q.Destination != "", func(q *Query) { q.Destination = "" }},
		{ByDecision, &f.Decision, q.Decision != "", func(q *Query) { q.Decision = "" }},
		{ByPack, &f.Pack, q.Pack != "", func(q *Query) { q.Pack = "" }},
		{ByLabel, &f.Label, q.Label != "", func(q *Query) { q.Label = "" }},
		{ByAction, &f.Action, len(q.Actions) > 0, func(q *Query) { q.Actions = nil }},
		{ByHandling, &f.Handling, q.Handling != "", func(q *Query) { q.Handling = "" }},
		{ByRule, &f.Rule, q.Rule != "", func(q *Query) { q.Rule = "" }},
	}
	// What is asked for is left out by a query of its own; all else needs one.
	var plain []*tally
	var s *selection
	run := func(s *selection, tallies []*tally) error {
		_, err := s.sum(ctx, summing{rows: true}, func(since int64, lines map[lineKey]*line) error {
			for _, y := range tallies {
				if err := y.take(since, lines); err != nil {
					return err
				}
			}
			return nil
		})
		return err
	}
	if s, err = t.choose(ctx, q, v); err != nil {
		return f, err
	}
	tallies := make([]*tally, len(dims))
	for i := range dims {
		d := &dims[i]
		y := &tally{s: s, by: []By{d.by}, groups: map[string]*Group{}, most: 1 << 20}
		if tallies[i] = y; !d.asked {
			plain = append(plain, y)
			continue
		}
		less := q
		d.leave(&less)
		if y.s, err = t.choose(ctx, less, v); err == nil {
			err = run(y.s, []*tally{y})
		}
		if err != nil {
			return f, err
		}
	}
	remotes := &tally{s: tallies[4].s, by: []By{ByRemote}, groups: map[string]*Group{}, most: 1 << 20}
	if dims[4].asked {
		err = run(remotes.s, []*tally{remotes})
	} else {
		plain = append(plain, remotes)
	}
	if err == nil {
		err = run(s, plain)
	}
	if err != nil {
		return f, err
	}
	for i := range dims {
		*dims[i].into = facets(tallies[i])
	}
	f.Remote = facets(remotes)
	for i := range f.Source {
		if app, ok := strings.CutPrefix(f.Source[i].Value, appPrefix); ok {
			f.App = append(f.App, Facet{app, f.Source[i].Rows})
		}
	}
	return f, nil
}

// facets are the groups of a tally, those with the most rows first.
func facets(y *tally) (all []Facet) {
	for _, g := range y.groups {
		if g.Key[0] != "" {
			all = append(all, Facet{g.Key[0], g.Rows})
		}
	}
	slices.SortFunc(all, func(a, b Facet) int { return cmp.Or(cmp.Compare(b.Rows, a.Rows), strings.Compare(a.Value, b.Value)) })
	return all[:min(len(all), MaxFacets)]
}

package trail

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/isogate/isogate"
)

// Count counts what the query selects. It is exact, but for what it says is unlisted.
func (t *Trail) Count(ctx context.Context, q Query) (Count, error) {
	done, err := t.turn(ctx)
	if err != nil {
		return Count{}, err
	}
	defer done()
	s, err := t.chosen(ctx, q)
	if err != nil {
		return Count{}, err
	}
	var c Count
	c.Unlisted, err = s.sum(ctx, summing{}, func(_ int64, lines map[lineKey]*line) error {
		for _, l := range lines {
			c.add(s.v, l)
			c.values(s, l, nil)
		}
		return nil
	})
	return c, err
}

// chosen works a query out for the trail of now.
func (t *Trail) chosen(ctx context.Context, q Query) (*selection, error) {
	v, err := t.view()
	if err != nil {
		return nil, err
	}
	return t.choose(ctx, q, v)
}

// add counts a line's rows.
func (c *Count) add(v *view, l *line) {
	s := v.shapes[l.shape]
	c.Rows += l.n
	if s.egress(isogate.Released) {
		c.Released += l.n
	} else if s.egress(isogate.Refused) {
		c.Refused += l.n
	}
	c.Open += l.open
	c.Failed += l.failed
	c.BytesIn += l.in
	c.BytesOut += l.out
	c.Took += time.Duration(l.took) * time.Microsecond
	first, last := time.UnixMilli(l.first).UTC(), time.UnixMilli(l.last).UTC()
	if c.First.IsZero() || first.Before(c.First) {
		c.First = first
	}
	if last.After(c.Last) {
		c.Last = last
	}
}

// values counts a line's values, of those selected fields that of wants; nil wants all.
func (c *Count) values(s *selection, l *line, of func(f uint32) bool) {
	s.each(l, func(f uint32, n uint64) {
		if of == nil || of(f) {
			c.Values[s.v.fields[f].action] += n
		}
	})
}

// each calls do with the selected fields of a line, and how many values there are.
func (s *selection) each(l *line, do func(f uint32, values uint64)) {
	sh := s.v.shapes[l.shape]
	if sh.wide {
		asks := s.q.asksFields()
		for _, w := range l.wide {
			if !asks || s.field(w.field) {
				do(w.field, w.values)
			}
		}
		return
	}
	chosen := s.of(l.shape).fields
	for i, f := range sh.fields {
		if chosen != nil && !chosen[i] {
			continue
		}
		n := l.n
		if l.values != nil {
			n = l.values[i]
		}
		do(f, n)
	}
}

// MaxGroups is how many groups Tally makes.
const MaxGroups = 100_000

// Tally counts what the query selects by one dimension, or by several together, such
// as ByDay and ByFamily. Groups are ordered by their keys. Where it is by fields, a row is in the
// group of each key that one of its selected fields has, and in none if it has no such field. More
// than MaxGroups groups are an error.
//
// It is also what knows what is in use: by consent, by remote, by rule, by path of what is
// "unclassified", with the first and last time of each. What is not among the groups was never used.
func (t *Trail) Tally(ctx context.Context, q Query, by ...By) ([]Group, error) {
	done, err := t.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	s, err := t.chosen(ctx, q)
	if err != nil {
		return nil, err
	}
	y := &tally{s: s, by: by, groups: map[string]*Group{}}
	how, err := y.how()
	if err != nil {
		return nil, err
	}
	if _, err := s.sum(ctx, how, y.take); err != nil {
		return nil, err
	}
	return y.sorted(), nil
}

// tally is the groups of one call of Tally.
type tally struct {
	s      *selection
	by     []By
	groups map[string]*Group
	most   int // how many groups there may be; 0 is MaxGroups

	// Keys are made once for each field of a shape, without their time, and numbered.
	numbers map[placed]int
	known   map[string]int
	since   int64    // of what follows
	timed   []*Group // by number: those of the span that was counted last
}

// placed is a field of a shape, or -1 for what is not by fields.
type placed struct {
	shape uint32
	field int64
}

// how is what lines must keep apart for it.
func (y *tally) how() (how summing, err error) {
	for _, b := range y.by {
		switch {
		case b == 0 || b > ByRule:
			return how, fmt.Errorf("trail: there is nothing to count by in By(%d)", b)
		case b == ByHour:
			how.span = hourly
		case b == ByDay && how.span == ever:
			how.span = daily
		case b == ByConsent:
			how.consents = true
		case b >= ByFamily:
			how.rows = true
		}
	}
	return how, nil
}

// fieldly reports whether it is by fields.
func (y *tally) fieldly() bool {
	return slices.ContainsFunc(y.by, func(b By) bool { return b >= ByFamily })
}

// take counts the lines of a span.
func (y *tally) take(since int64, lines map[lineKey]*line) error {
	fieldly, consents := y.fieldly(), slices.Contains(y.by, ByConsent)
	if y.numbers == nil {
		y.numbers, y.known = map[placed]int{}, map[string]int{}
	}
	if since != y.since {
		y.since = since
		clear(y.timed)
	}
	var key []string
	spell := func(since int64, l *line, f int64) {
		if key = y.key(key, since, l); f >= 0 {
			y.fieldKey(key, &y.s.v.fields[f])
		}
	}
	group := func(l *line, f int64) (*Group, error) {
		if consents { // there may be one for each line
			spell(since, l, f)
			return y.group(key)
		}
		number, ok := y.numbers[placed{l.shape, f}]
		if !ok {
			spell(0, l, f)
			name := strings.Join(key, "\x00")
			if number, ok = y.known[name]; !ok {
				number = len(y.known)
				y.known[name] = number
			}
			y.numbers[placed{l.shape, f}] = number
		}
		for len(y.timed) <= number {
			y.timed = append(y.timed, nil)
		}
		if g := y.timed[number]; g != nil {
			return g, nil
		}
		spell(since, l, f)
		g, err := y.group(key)
		y.timed[number] = g
		return g, err
	}
	var in []*Group
	for _, l := range lines {
		if !fieldly {
			g, err := group(l, -1)
			if err != nil {
				return err
			}
			g.add(y.s.v, l)
			g.values(y.s, l, nil)
			continue
		}
		// The fields by the keys that they have, so that a row is counted once in each.
		in = in[:0]
		var failed error
		y.s.each(l, func(f uint32, n uint64) {
			g, err := group(l, int64(f))
			if err != nil {
				failed = err
				return
			}
			if !slices.Contains(in, g) {
				in = append(in, g)
				g.add(y.s.v, l)
			}
			g.Values[y.s.v.fields[f].action] += n
		})
		if failed != nil {
			return failed
		}
	}
	return nil
}

// key is a line's, with room for what is a field's.
func (y *tally) key(key []string, since int64, l *line) []string {
	if key == nil {
		key = make([]string, len(y.by))
	}
	sh := y.s.v.shapes[l.shape]
	for i, b := range y.by {
		switch b {
		case ByHour:
			key[i] = time.UnixMilli(since).UTC().Format(time.RFC3339)
		case ByDay:
			key[i] = time.UnixMilli(since).UTC().Format(time.DateOnly)
		case ByConsent:
			key[i] = l.consent
		default:
			if d, ok := dimOf[b]; ok {
				key[i] = sh.at[d]
			}
		}
	}
	return key
}

// dimOf is which member a dimension is.
var dimOf = map[By]dim{ByKind: dKind, BySource: dSource, ByPurpose: dPurpose, ByTransit: dTransit, ByDestination: dDestination, ByRemote: dRemote,
	ByDecision: dDecision, ByPack: dPack, ByMethod: dMethod, ByActor: dActor, ByAct: dAct}

// fieldKey puts in what is a field's.
func (y *tally) fieldKey(key []string, f *field) {
	for i, b := range y.by {
		switch b {
		case ByFamily:
			key[i] = first(string(f.label), 1)
		case ByBranch:
			key[i] = first(string(f.label), 2)
		case ByLabel:
			key[i] = string(f.label)
		case ByPath:
			key[i] = f.path
		case ByAction:
			key[i] = f.action.String()
		case ByHandling:
			key[i] = f.handling
		case ByRule:
			key[i] = f.rule
		}
	}
}

// first is the first n segments of a label.
func first(label string, n int) string {
	for i := range len(label) {
		if label[i] == '.' {
			if n--; n == 0 {
				return label[:i]
			}
		}
	}
	return label
}

func (y *tally) group(key []string) (*Group, error) {
	at := strings.Join(key, "\x00")
	if g := y.groups[at]; g != nil {
		return g, nil
	}
	if len(y.groups) >= cmp.Or(y.most, MaxGroups) {
		return nil, fmt.Errorf("trail: more than %d groups; count by less, or select fewer rows", len(y.groups))
	}
	g := &Group{Key: slices.Clone(key)}
	y.groups[at] = g
	return g, nil
}

func (y *tally) sorted() []Group {
	groups := make([]Group, 0, len(y.groups))
	for _, g := range y.groups {
		groups = append(groups, *g)
	}
	slices.SortFunc(groups, func(a, b Group) int { return slices.Compare(a.Key, b.Key) })
	return groups
}

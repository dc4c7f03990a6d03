package trail

import (
	"context"
	"database/sql"
	"math"
	"slices"
)

type rawBytes = sql.RawBytes

// span is how far rows may be apart that are summed up together.
type span int64

const (
	ever   span = 0
	hourly span = 3600_000
	daily  span = 24 * 3600_000
)

// summing is what lines must keep apart.
type summing struct {
	span     span
	consents bool
	rows     bool // of wide shapes: each row is a line, because what fields are together in it matters
}

// sums is what a query selects, by shape, for one span at a time.
type sums struct {
	s        *selection
	how      summing
	flush    func(since int64, lines map[lineKey]*line) error
	since    int64
	lines    map[lineKey]*line
	unlisted uint64
	w        written
	rows     []row
}

// sum sums up what a query selects. flush is called with the lines of each span, in the order of time where nobody
// changed the journal's; spans in which there is nothing are left out.
func (s *selection) sum(ctx context.Context, how summing, flush func(since int64, lines map[lineKey]*line) error) (unlisted uint64, err error) {
	a := &sums{s: s, how: how, flush: flush, since: math.MinInt64, lines: map[lineKey]*line{}}
	v := s.v
	nos, err := a.throughDays(ctx)
	if err != nil {
		return 0, err
	}
	if err := v.digests(ctx, nos, func(no int64, digest []byte) error {
		k := &v.blocks[no]
		if err := a.at(k.since); err != nil {
			return err
		}
		sure := k.since >= s.since && k.until < s.before && !v.behind[no] && (s.own < k.first || s.own > k.last)
		if sure {
			if sure, err = a.whole(k.shapes, digest); err != nil || sure {
				return err
			}
		}
		rows, err := v.rows(ctx, no, a.rows)
		if err != nil {
			return err
		}
		a.rows = rows
		return a.some(rows)
	}); err != nil {
		return 0, err
	}
	if n := len(v.tail); n > 0 {
		if err := a.at(v.tail[0].ms); err != nil {
			return 0, err
		}
		if err := a.some(v.tail); err != nil {
			return 0, err
		}
	}
	return a.unlisted, a.at(math.MaxInt64)
}

// throughDays takes the days that are selected as a whole, and returns the blocks that are left.
func (a *sums) throughDays(ctx context.Context) (nos []int64, err error) {
	s, v := a.s, a.s.v
	take := func(first, last int64) {
		for no := first; no <= last; no++ {
			if k := &v.blocks[no]; k.until >= s.since && k.since < s.before && s.meets(k) {
				nos = append(nos, no)
			}
		}
	}
	if a.how.span == hourly {
		take(0, int64(len(v.blocks))-1)
		return nos, nil
	}
	of := perConsent{one: string(s.q.Consent), each: a.how.consents}
	next := int64(0)
	var whole []int
	for i := range v.days {
		d := &v.days[i]
		take(next, d.first-1)
		next = d.last + 1
		switch {
		case d.until < s.since || d.since >= s.before || !v.dirty(d) && !s.any(d.shapes):
		case d.since >= s.since && d.until < s.before && !v.dirty(d) && (s.own < d.from || s.own > d.to) && !(of.each && (a.how.rows || s.hard(d.shapes))):
			whole = append(whole, i)
		default:
			take(d.first, d.last)
		}
	}
	take(next, int64(len(v.blocks))-1)
	left, err := v.dayDigests(ctx, whole, of, func(i int, consent, digest []byte) error {
		d := &v.days[i]
		if err := a.at(d.since); err != nil {
			return err
		}
		if of != (perConsent{}) {
			a.w.of = consent
		}
		sure, err := a.whole(d.shapes, digest)
		a.w.of = nil
		if err == nil && !sure {
			take(d.first, d.last)
		}
		return err
	})
	for _, i := range left {
		take(v.days[i].first, v.days[i].last)
	}
	slices.Sort(nos)
	return nos, err
}

// dirty reports whether a day has ends that are not in its digest.
func (v *view) dirty(d *day) bool {
	for no := range v.behind {
		if no >= d.first && no <= d.last {
			return true
		}
	}
	return false
}

// meets reports whether a block has a shape of which rows might be selected.
func (s *selection) meets(k *block) bool {
	if s.v.behind[k.no] {
		return true
	}
	return s.any(k.shapes)
}

// any reports whether rows of one of these shapes might be selected.
func (s *selection) any(shapes []uint32) bool {
	for _, no := range shapes {
		if !s.of(no).no {
			return true
		}
	}
	return false
}

// hard reports whether rows of one of these shapes must be looked at.
func (s *selection) hard(shapes []uint32) bool {
	for _, no := range shapes {
		if s.of(no).rows {
			return true
		}
	}
	return false
}

// at goes on to the span of a time.
func (a *sums) at(ms int64) error {
	if ms != math.MaxInt64 && a.how.span == ever {
		return nil
	}
	since := ms
	if a.how.span != ever && ms != math.MaxInt64 {
		since = floor(ms, int64(a.how.span))
	}
	if since == a.since {
		return nil
	}
	if len(a.lines) > 0 {
		if err := a.flush(a.since, a.lines); err != nil {
			return err
		}
		clear(a.lines)
	}
	a.since = since
	return nil
}

func floor(ms, length int64) int64 {
	f := ms - ms%length
	if f > ms {
		f -= length
	}
	return f
}

// careful reports whether a digest might not tell everything.
func (a *sums) careful(shapes []uint32) bool {
	if a.s.q.Consent != "" || a.s.q.Open || a.how.consents || a.how.rows {
		return true
	}
	return a.s.hard(shapes)
}

// whole takes a block by its digest, if that tells everything.
func (a *sums) whole(shapes []uint32, raw []byte) (sure bool, err error) {
	s, v := a.s, a.s.v
	sure = true
	if !a.careful(shapes) {
		// Nothing to ask first.
	} else if err := readDigest(raw, &a.w, v.shapes, len(v.fields), func() error {
		l := &a.w.line
		all, known := s.whole(&a.w, s.of(l.shape))
		if !known || all && (l.various && a.how.consents || len(l.wide) > 0 && a.how.rows) {
			sure = false
			return errEnough
		}
		return nil
	}); err != nil && err != errEnough { //nolint:errorlint // it is ours, and never wrapped
		return false, v.wrap(err)
	}
	if !sure {
		return false, nil
	}
	err = readDigest(raw, &a.w, v.shapes, len(v.fields), func() error {
		l := &a.w.line
		m := s.of(l.shape)
		if all, _ := s.whole(&a.w, m); !all {
			return nil
		}
		if m.unlisted {
			a.unlisted += l.n
			return nil
		}
		a.join(l)
		return nil
	})
	if err != nil {
		return false, v.wrap(err)
	}
	return true, nil
}

// join adds a line to those of its kind.
func (a *sums) join(l *line) {
	key := lineKey{shape: l.shape}
	if a.how.consents {
		key.consent = string(a.w.consent)
	}
	have := a.lines[key]
	if have == nil {
		have = &line{shape: l.shape, consent: key.consent}
		a.lines[key] = have
	}
	have.join(l, len(a.s.v.shapes[l.shape].fields))
}

// some takes those rows that are selected.
func (a *sums) some(rows []row) error {
	s := a.s
	for i := range rows {
		r := &rows[i]
		selected, unlisted := s.row(r)
		if unlisted {
			a.unlisted++
		}
		if !selected {
			continue
		}
		sh := s.v.shapes[r.shape]
		key := lineKey{shape: r.shape}
		if a.how.consents {
			key.consent = r.consent
		}
		if sh.wide && a.how.rows {
			one := &line{shape: r.shape, consent: r.consent}
			one.add(r, sh)
			if err := a.flush(a.since, map[lineKey]*line{key: one}); err != nil {
				return err
			}
			continue
		}
		have := a.lines[key]
		if have == nil {
			have = &line{shape: r.shape, consent: key.consent}
			a.lines[key] = have
		}
		have.add(r, sh)
	}
	return nil
}

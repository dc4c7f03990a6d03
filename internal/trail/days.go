package trail

import (
	"context"
	"slices"
)

// day is the blocks of one day that is over, with a digest of them all, so that what
// goes back a year looks at a few hundred digests. That tells no consents apart, for users may give
// thousands a day; each consent has a digest of its own of what left by it on this day. They are made from the digests of the
// blocks, and thrown away when one of them is written again.
type day struct {
	first, last  int64 // blocks
	since, until int64 // milliseconds, of the first row and the last
	from, to     uint64
	shapes       []uint32
}

// over is the days of which the last block is not the newest, by their blocks.
func over(blocks []block) (days []day) {
	for i := 0; i < len(blocks); {
		j := i
		d := day{first: blocks[i].no, since: blocks[i].since, until: blocks[i].until, from: blocks[i].first}
		for ; j < len(blocks) && floor(blocks[j].since, int64(daily)) == floor(blocks[i].since, int64(daily)); j++ {
			d.last, d.since, d.until, d.to = blocks[j].no, min(d.since, blocks[j].since), max(d.until, blocks[j].until), blocks[j].last
		}
		if j < len(blocks) && j-i > 1 {
			days = append(days, d)
		}
		i = j
	}
	return days
}

// digestDays makes digests of days that are over and have none; of one day, so that others
// have their turn, and reports whether there was any.
func (t *Trail) digestDays(ctx context.Context) (more bool, err error) {
	for _, d := range over(t.blocks[t.digested:]) {
		if _, ok := dayFrom(t.days, d.first); ok {
			continue
		}
		nos := make([]int64, 0, d.last-d.first+1)
		for no := d.first; no <= d.last; no++ {
			nos = append(nos, no)
		}
		v, err := t.view()
		if err != nil {
			return false, err
		}
		lines, used, err := v.together(ctx, nos)
		if err != nil {
			return false, err
		}
		for i := range lines {
			if !slices.Contains(d.shapes, lines[i].shape) {
				d.shapes = append(d.shapes, lines[i].shape)
			}
		}
		if err := t.store.writeDay(ctx, &d, lines, used); err != nil {
			return false, v.wrap(err)
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		at, _ := dayFrom(t.days, d.first)
		t.days = slices.Insert(slices.Clone(t.days), at, d)
		return true, nil
	}
	// All that was looked at has one, but for what is not over.
	t.digested = dayStart(t.blocks, len(t.blocks)-1)
	return false, nil
}

// dayStart is the first block of the day that a block is in.
func dayStart(blocks []block, i int) int {
	for i > 0 && floor(blocks[i].since, int64(daily)) == floor(blocks[i-1].since, int64(daily)) {
		i--
	}
	return max(i, 0)
}

// together sums the digests of blocks up, and what is of each consent.
func (v *view) together(ctx context.Context, nos []int64) (lines []line, used map[string][]line, err error) {
	type key struct {
		consent string
		shape   uint32
		open    bool
	}
	at, whole := map[key]int{}, map[lineKey]int{}
	used = map[string][]line{}
	add := func(l *line, consent []byte) {
		fields := len(v.shapes[l.shape].fields)
		i, ok := whole[lineKey{shape: l.shape, open: l.open > 0}]
		if !ok {
			i = len(lines)
			whole[lineKey{shape: l.shape, open: l.open > 0}] = i
			lines = append(lines, line{shape: l.shape})
		}
		lines[i].join(l, fields)
		of := used[string(consent)]
		if i, ok = at[key{string(consent), l.shape, l.open > 0}]; !ok {
			i = len(of)
			at[key{string(consent), l.shape, l.open > 0}] = i
			of = append(of, line{shape: l.shape})
			used[string(consent)] = of
		}
		of[i].join(l, fields)
	}
	var w written
	var crowded []int64
	if err := v.digests(ctx, nos, func(no int64, digest []byte) error {
		if hasRare(digest) {
			crowded = append(crowded, no)
			return nil
		}
		return readDigest(digest, &w, v.shapes, len(v.fields), func() error {
			add(&w.line, w.consent)
			return nil
		})
	}); err != nil {
		return nil, nil, err
	}
	var rows []row
	for _, no := range crowded { // their digests do not tell all consents apart
		if rows, err = v.written(ctx, no, rows); err != nil {
			return nil, nil, err
		}
		of := digest(rows, v.shapes)
		for i := range of {
			add(&of[i], []byte(of[i].consent))
		}
	}
	return lines, used, nil
}

// writeDay writes the digests of a day.
func (s *store) writeDay(ctx context.Context, d *day, lines []line, used map[string][]line) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(ctx, `INSERT OR REPLACE INTO day (first, last, digest) VALUES (?, ?, ?)`, d.first, d.last, appendLines(nil, lines, nil)); err != nil {
		return err
	}
	insert, err := tx.PrepareContext(ctx, `INSERT OR REPLACE INTO used (consent, day, digest) VALUES (?, ?, ?)`)
	if err != nil {
		return err
	}
	defer insert.Close()
	for consent, of := range used {
		if _, err := insert.ExecContext(ctx, consent, d.first, appendLines(nil, of, nil)); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// dayFrom finds the day that begins with a block.
func dayFrom(days []day, first int64) (int, bool) {
	return slices.BinarySearchFunc(days, first, func(d day, first int64) int { return int(d.first - first) })
}

// dayOf finds the day that a block is in.
func dayOf(days []day, no int64) (int, bool) {
	i, ok := dayFrom(days, no)
	if !ok {
		i--
	}
	return i, i >= 0 && no <= days[i].last
}

// withoutDays are days without those that have one of the blocks.
func withoutDays(days []day, has func(no int64) bool) []day {
	return slices.DeleteFunc(slices.Clone(days), func(d day) bool {
		for no := d.first; no <= d.last; no++ {
			if has(no) {
				return true
			}
		}
		return false
	})
}

// dayDigests calls do with the digests of days, by the places that they have in v.days: with one of all rows or,
// where of says so, one for each consent, or the one of a consent if the day has any. A day
// that has been written again meanwhile is left out, and returned.
func (v *view) dayDigests(ctx context.Context, places []int, of perConsent, do func(place int, consent, digest []byte) error) (left []int, err error) {
	if len(places) == 0 {
		return nil, nil
	}
	want := map[int64]int{}
	for _, p := range places {
		want[v.days[p].first] = p
	}
	query, args := `SELECT first, last, '', digest FROM day WHERE first >= ? AND first <= ? ORDER BY first`, []any{v.days[places[0]].first, v.days[places[len(places)-1]].first}
	switch {
	case of.one != "":
		query = `SELECT d.first, d.last, ?, u.digest FROM day AS d LEFT JOIN used AS u ON u.consent = ? AND u.day = d.first WHERE d.first >= ? AND d.first <= ? ORDER BY d.first`
		args = append([]any{of.one, of.one}, args...)
	case of.each:
		query = `SELECT d.first, d.last, u.consent, u.digest FROM day AS d JOIN used AS u ON u.day = d.first WHERE d.first >= ? AND d.first <= ? ORDER BY d.first`
	}
	had := map[int64]bool{}
	var failed error
	err = v.store.each(ctx, query, args, func(scan func(...any) error) error {
		var first, last int64
		var consent, raw rawBytes
		if err := scan(&first, &last, &consent, &raw); err != nil {
			return err
		}
		p, ok := want[first]
		if !ok || v.days[p].last != last {
			return nil
		}
		had[first] = true
		if len(raw) > 0 { // else there is nothing by that consent
			failed = do(p, consent, raw)
		}
		return failed
	})
	if failed != nil {
		return nil, failed
	}
	if err != nil {
		return nil, v.wrap(err)
	}
	for first, p := range want {
		if !had[first] {
			left = append(left, p)
		}
	}
	return left, nil
}

// perConsent says which digests of a day are wanted; the zero value is that of all rows.
type perConsent struct {
	one  string // those of this consent
	each bool   // of each consent
}

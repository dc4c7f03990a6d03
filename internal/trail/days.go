package trail

import (
	"context"
	"slices"
)

// day is the blocks of one day that is over, with a digest of them all, so that what
// goes back a year looks at a few hundred digests. It is made from those of the blocks,
// and thrown away when one of them is written again.
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
		lines, rare, err := v.together(ctx, nos)
		if err != nil {
			return false, err
		}
		for i := range lines {
			if !slices.Contains(d.shapes, lines[i].shape) {
				d.shapes = append(d.shapes, lines[i].shape)
			}
		}
		if _, err := t.store.db.ExecContext(ctx, `INSERT OR REPLACE INTO day (first, last, digest) VALUES (?, ?, ?)`, d.first, d.last, appendLines(nil, lines, rare)); err != nil {
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

// together sums the digests of blocks up.
func (v *view) together(ctx context.Context, nos []int64) (lines []line, rare []string, err error) {
	type key struct {
		lineKey
		various bool
	}
	at := map[key]int{}
	var w written
	err = v.digests(ctx, nos, func(_ int64, digest []byte) error {
		if err := readDigest(digest, &w, v.shapes, len(v.fields), func() error {
			k := key{lineKey{w.line.shape, string(w.consent), w.line.open > 0}, w.line.various}
			i, ok := at[k]
			if !ok {
				i = len(lines)
				at[k] = i
				lines = append(lines, line{shape: w.line.shape, consent: k.consent, various: k.various})
			}
			lines[i].join(&w.line, len(v.shapes[w.line.shape].fields))
			return nil
		}); err != nil {
			return err
		}
		for _, c := range w.rare {
			rare = append(rare, string(c))
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	lines, more := shorten(lines, v.shapes, maxDayLines)
	rare = append(rare, more...)
	slices.Sort(rare)
	return lines, slices.Compact(rare), nil
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

// dayDigests calls do with the digests of days, by the places that they have in v.days. A day that has been written
// again meanwhile is left out, and returned.
func (v *view) dayDigests(ctx context.Context, places []int, do func(place int, digest []byte) error) (left []int, err error) {
	if len(places) == 0 {
		return nil, nil
	}
	want := map[int64]int{}
	for _, p := range places {
		want[v.days[p].first] = p
	}
	var failed error
	err = v.store.each(ctx, `SELECT first, last, digest FROM day WHERE first >= ? AND first <= ? ORDER BY first`,
		[]any{v.days[places[0]].first, v.days[places[len(places)-1]].first}, func(scan func(...any) error) error {
			var first, last int64
			var raw rawBytes
			if err := scan(&first, &last, &raw); err != nil {
				return err
			}
			p, ok := want[first]
			if !ok || v.days[p].last != last {
				return nil
			}
			delete(want, first)
			failed = do(p, raw)
			return failed
		})
	if failed != nil {
		return nil, failed
	}
	if err != nil {
		return nil, v.wrap(err)
	}
	for _, p := range want {
		left = append(left, p)
	}
	return left, nil
}

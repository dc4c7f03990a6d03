package trail

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/journal"
)

// Directions of a cursor, which is one of them and a seq.
const (
	older = "o" // rows before the seq, newest first
	newer = "n" // rows from the seq on, oldest first
)

// List returns the rows that the query selects, newest first or, with Paging.From, oldest
// first. The entries are read from the journal. Rows that Count says are unlisted are not
// among them.
func (t *Trail) List(ctx context.Context, q Query, p Paging) (Page, error) {
	done, err := t.turn(ctx)
	if err != nil {
		return Page{}, err
	}
	defer done()
	s, err := t.chosen(ctx, q)
	if err != nil {
		return Page{}, err
	}
	limit := min(max(p.Limit, 0), MaxLimit)
	if limit == 0 {
		limit = DefaultLimit
	}
	from, forward, err := p.begin()
	if err != nil {
		return Page{}, err
	}
	w := &walk{s: s, limit: limit + 1, from: from}
	if forward {
		err = w.forward(ctx)
	} else {
		err = w.back(ctx)
	}
	if err != nil {
		return Page{}, err
	}
	var page Page
	found := w.found
	switch more := len(found) > limit; {
	case more:
		found = found[:limit]
		if page.Next = older + strconv.FormatUint(found[limit-1].seq, 10); forward {
			page.Next = newer + strconv.FormatUint(found[limit-1].seq+1, 10)
		}
	case forward:
		page.Next = newer + strconv.FormatUint(max(from, s.v.next), 10)
	}
	page.Rows, err = t.fetch(ctx, found)
	return page, err
}

// begin is where a list begins, and in which direction it goes.
func (p *Paging) begin() (from uint64, forward bool, err error) {
	if p.After == "" {
		if p.From != nil {
			return *p.From, true, nil
		}
		return 1 << 62, false, nil
	}
	digits, ok := strings.CutPrefix(p.After, older)
	if !ok {
		if digits, ok = strings.CutPrefix(p.After, newer); ok {
			forward = true
		}
	}
	if ok {
		from, err = strconv.ParseUint(digits, 10, 62)
	}
	if !ok || err != nil {
		return 0, false, fmt.Errorf("trail: %q is no cursor; begin with the first page", p.After)
	}
	return from, forward, nil
}

// walk goes over rows, in one direction, until it has found enough.
type walk struct {
	s     *selection
	from  uint64
	limit int
	found []row
	rows  []row
	w     written
}

func (w *walk) take(r *row) (more bool) {
	if ok, _ := w.s.row(r); ok {
		w.found = append(w.found, *r)
	}
	return len(w.found) < w.limit
}

// digestsAtOnce is how many digests are looked at together for one that has something.
const digestsAtOnce = 32

func (w *walk) back(ctx context.Context) error {
	v := w.s.v
	for i := len(v.tail) - 1; i >= 0; i-- {
		if v.tail[i].seq < w.from && !w.take(&v.tail[i]) {
			return nil
		}
	}
	return w.blocks(ctx, func(yield func(*block) bool) {
		for i := len(v.blocks) - 1; i >= 0; i-- {
			if k := &v.blocks[i]; k.first < w.from && !yield(k) {
				return
			}
		}
	}, func(rows []row) bool {
		for i := len(rows) - 1; i >= 0; i-- {
			if rows[i].seq < w.from && !w.take(&rows[i]) {
				return false
			}
		}
		return true
	})
}

func (w *walk) forward(ctx context.Context) error {
	v := w.s.v
	if err := w.blocks(ctx, func(yield func(*block) bool) {
		at, _ := firstFrom(v.blocks, w.from)
		for i := at; i < len(v.blocks); i++ {
			if !yield(&v.blocks[i]) {
				return
			}
		}
	}, func(rows []row) bool {
		for i := range rows {
			if rows[i].seq >= w.from && !w.take(&rows[i]) {
				return false
			}
		}
		return true
	}); err != nil || len(w.found) >= w.limit {
		return err
	}
	for i := range v.tail {
		if v.tail[i].seq >= w.from && !w.take(&v.tail[i]) {
			return nil
		}
	}
	return nil
}

// blocks looks through blocks in an order, as far as they might have something.
func (w *walk) blocks(ctx context.Context, order func(yield func(*block) bool), look func(rows []row) (more bool)) error {
	s := w.s
	var failed error
	var nos []int64
	flush := func() bool {
		var has map[int64]bool
		if has, failed = w.promising(ctx, nos); failed != nil {
			return false
		}
		for _, no := range nos {
			if !has[no] {
				continue
			}
			if w.rows, failed = s.v.rows(ctx, no, w.rows); failed != nil {
				return false
			}
			if !look(w.rows) {
				return false
			}
		}
		nos = nos[:0]
		return true
	}
	none, err := w.barren(ctx)
	if err != nil {
		return err
	}
	atOnce := 1 // mostly the first has enough
	for k := range order {
		if i, ok := dayOf(s.v.days, k.no); ok && none[i] {
			continue
		}
		if k.until < s.since || k.since >= s.before || !s.meets(k) {
			continue
		}
		if nos = append(nos, k.no); len(nos) < atOnce {
			continue
		}
		if !flush() {
			return failed
		}
		atOnce = min(2*atOnce, digestsAtOnce)
	}
	flush()
	return failed
}

// promising are those blocks that might have something by their digests.
func (w *walk) promising(ctx context.Context, nos []int64) (has map[int64]bool, err error) {
	s, v := w.s, w.s.v
	has = map[int64]bool{}
	if s.q.Consent == "" && !s.q.Open {
		for _, no := range nos {
			has[no] = true
		}
		return has, nil
	}
	sorted := append([]int64(nil), nos...)
	if len(sorted) > 1 && sorted[0] > sorted[1] {
		for i, j := 0, len(sorted)-1; i < j; i, j = i+1, j-1 {
			sorted[i], sorted[j] = sorted[j], sorted[i]
		}
	}
	err = v.digests(ctx, sorted, func(no int64, digest []byte) error {
		if k := &v.blocks[no]; v.behind[no] || s.own >= k.first && s.own <= k.last {
			has[no] = true
			return nil
		}
		some, err := w.some(digest)
		has[no] = some
		return err
	})
	return has, err
}

// some reports whether a digest has a line of which rows might be selected.
func (w *walk) some(digest []byte) (some bool, err error) {
	s, v := w.s, w.s.v
	err = readDigest(digest, &w.w, v.shapes, len(v.fields), func() error {
		if all, sure := s.whole(&w.w, s.of(w.w.line.shape)); all || !sure {
			some = true
			return errEnough
		}
		return nil
	})
	if some || err == nil {
		return some, nil
	}
	return false, v.wrap(err)
}

// barren are the days that have nothing by their digests.
func (w *walk) barren(ctx context.Context) (none map[int]bool, err error) {
	s, v := w.s, w.s.v
	none = map[int]bool{}
	var places []int
	if s.q.Consent != "" || s.q.Open {
		for i := range v.days {
			if d := &v.days[i]; d.until >= s.since && d.since < s.before && !v.dirty(d) && (s.own < d.from || s.own > d.to) {
				places = append(places, i)
			}
		}
	}
	for _, i := range places {
		none[i] = true
	}
	left, err := v.dayDigests(ctx, places, kept{one: string(s.q.Consent)}, func(i int, consent, digest []byte) error {
		if s.q.Consent != "" {
			w.w.of = consent
		}
		some, err := w.some(digest)
		w.w.of = nil
		none[i] = !some
		return err
	})
	for _, i := range left {
		none[i] = false
	}
	return none, err
}

// fetch reads the entries of rows from the journal, and those that say how they ended.
func (t *Trail) fetch(ctx context.Context, rows []row) ([]Row, error) {
	seqs := make([]uint64, 0, 2*len(rows))
	for i := range rows {
		seqs = append(seqs, rows[i].seq)
		if rows[i].end != 0 {
			seqs = append(seqs, rows[i].end)
		}
	}
	entries := make(map[uint64]*isogate.Entry, len(seqs))
	if err := t.cfg.Journal.Pick(ctx, seqs, func(seq uint64, body []byte) error {
		if e, err := journal.Decode(body); err == nil && e.Seq == seq {
			entries[seq] = &e
		}
		return nil // of what cannot be read there is no entry, and the row says so
	}); err != nil {
		return nil, err
	}
	out := make([]Row, len(rows))
	for i := range rows {
		r := &rows[i]
		e := entries[r.seq]
		if e == nil {
			out[i] = Row{Entry: isogate.Entry{Seq: r.seq}, Unreadable: true}
			continue
		}
		out[i] = Row{Entry: *e}
		if r.end != 0 {
			out[i].End = &End{Seq: r.end, Status: int(r.status), Took: time.Duration(r.took) * time.Microsecond}
			out[i].ended(entries[r.end])
		}
	}
	return out, nil
}

// ended takes over what a closing entry of this row alone says.
func (r *Row) ended(c *isogate.Entry) {
	if c == nil || c.Of != r.Entry.ID {
		return
	}
	r.End.Reason = c.Reason
	if r.Entry.Streamed {
		e := &r.Entry
		e.Fields, e.BytesIn, e.BytesOut = c.Fields, c.BytesIn, c.BytesOut
		if c.DigestIn != "" {
			e.DigestIn = c.DigestIn
		}
		if c.DigestOut != "" {
			e.DigestOut = c.DigestOut
		}
	}
}

// Get returns the row of one entry. An entry that closes others is no row; then the row
// is of that entry as it is. The error is the journal's where there is no such entry.
func (t *Trail) Get(ctx context.Context, id isogate.EntryID) (Row, error) {
	seq, body, err := t.cfg.Journal.Find(ctx, id)
	if err != nil {
		return Row{}, err
	}
	v, err := t.view()
	if err != nil {
		return Row{}, err
	}
	rows := v.tail
	if no, ok := blockOf(v.blocks, seq); ok {
		if rows, err = v.rows(ctx, no, nil); err != nil {
			return Row{}, err
		}
	}
	if i, ok := rowOf(rows, seq); ok {
		found, err := t.fetch(ctx, rows[i:i+1])
		if err != nil {
			return Row{}, err
		}
		return found[0], nil
	}
	// It closes others, or is newer than what the trail has read.
	e, err := journal.Decode(body)
	return Row{Entry: e}, err
}

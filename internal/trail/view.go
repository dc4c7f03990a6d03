package trail

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
)

// view is the trail at one moment. Blocks that are written again meanwhile are the same
// rows with more ends, so that what is read of them later is as good.
type view struct {
	store  *store
	doubt  *atomic.Pointer[error]
	next   uint64 // seq of the first entry that is not in it
	shapes []*shape
	fields []field
	blocks []block
	days   []day
	tail   []row
	late   map[uint64]ending
	behind map[int64]bool // the blocks that have such ends
}

// view is the trail of now.
func (t *Trail) view() (*view, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.store == nil || t.now.next == 0 && !t.standing.Current() {
		return nil, ErrBehind
	}
	v := &view{store: t.store, doubt: &t.doubt, next: t.now.next, shapes: t.dict.shapes, fields: t.dict.fields, blocks: t.blocks, days: t.days, tail: slices.Clone(t.tail), late: maps.Clone(t.late), behind: map[int64]bool{}}
	for seq := range v.late {
		if no, ok := blockOf(v.blocks, seq); ok {
			v.behind[no] = true
		}
	}
	return v, nil
}

// written are the rows of a block as they are in the file.
func (v *view) written(ctx context.Context, no int64, into []row) ([]row, error) {
	raw, err := v.store.columns(ctx, no)
	if err == nil {
		into, err = readRows(raw, into, len(v.shapes))
	}
	if err != nil {
		return nil, v.wrap(err)
	}
	return into, nil
}

// rows are those of a block, with the ends that are not written yet.
func (v *view) rows(ctx context.Context, no int64, into []row) ([]row, error) {
	into, err := v.written(ctx, no, into)
	if err != nil {
		return nil, err
	}
	if v.behind[no] {
		for i := range into {
			if e, ok := v.late[into[i].seq]; ok {
				into[i].finish(&e)
			}
		}
	}
	return into, nil
}

func (v *view) wrap(err error) error {
	if harmed(err) {
		v.doubt.Store(&err)
	}
	return fmt.Errorf("trail %s: %w; where this stays, delete it: it is built again", v.store.path, err)
}

// gap is how many digests are read for nothing rather than by a query of their own.
const gap = 8

// digests calls do with the digests of blocks, in their order.
func (v *view) digests(ctx context.Context, nos []int64, do func(no int64, digest []byte) error) error {
	for len(nos) > 0 {
		n := 1
		for n < len(nos) && nos[n]-nos[n-1] <= gap {
			n++
		}
		run := nos[:n]
		nos = nos[n:]
		var failed error
		err := v.store.each(ctx, `SELECT no, digest FROM block WHERE no >= ? AND no <= ? ORDER BY no`, []any{run[0], run[n-1]}, func(scan func(...any) error) error {
			var no int64
			var raw rawBytes
			if err := scan(&no, &raw); err != nil {
				return err
			}
			if len(run) > 0 && run[0] == no {
				run = run[1:]
				failed = do(no, raw)
			}
			return failed
		})
		switch {
		case failed != nil:
			return failed
		case err != nil:
			return v.wrap(err)
		case len(run) > 0:
			return v.wrap(errDamaged)
		}
	}
	return nil
}

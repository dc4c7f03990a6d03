package trail

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/journal"
)

// openRow is a release that has not ended.
type openRow struct {
	seq   uint64
	shape uint32
}

// keptOpen is how many releases without an end are remembered by ID. Others are looked
// up in the journal when their end comes.
const keptOpen = 1 << 15

// opened are the newest releases that have not ended.
type opened struct {
	rows map[isogate.EntryID]openRow
	ring []isogate.EntryID // in the order of their coming, with those that have ended meanwhile
	at   int
}

func (o *opened) add(id isogate.EntryID, r openRow) {
	if o.rows == nil {
		o.rows = map[isogate.EntryID]openRow{}
	}
	if len(o.ring) < keptOpen {
		o.ring = append(o.ring, id)
	} else {
		delete(o.rows, o.ring[o.at])
		o.ring[o.at] = id
		o.at = (o.at + 1) % keptOpen
	}
	o.rows[id] = r
}

// found is an end, and the row that it is of.
type found struct {
	id isogate.EntryID
	openRow
	ending
}

// ends are those that a closing entry tells of, and how many of them are of no release.
func (t *Trail) ends(ctx context.Context, e *isogate.Entry) (ends []found, stray uint64, err error) {
	one := func(of isogate.EntryID, end ending) error {
		r, ok := t.open.rows[of]
		var s *shape
		if ok {
			s = t.dict.shapes[r.shape]
		} else {
			_, body, err := t.cfg.Journal.Find(ctx, of)
			if errors.Is(err, journal.ErrNotFound) {
				stray++
				return nil
			}
			if err != nil {
				return err
			}
			release, err := journal.Decode(body)
			if err != nil || release.Kind != isogate.KindEgress || release.Stage != isogate.StageOpened || release.Seq >= e.Seq {
				stray++
				return nil //nolint:nilerr // what cannot be read has no end; the row of it says so
			}
			t.mu.Lock() // the dictionary may grow
			envelope := t.dict.envelope(&release)
			t.mu.Unlock()
			r.seq, s = release.Seq, &envelope
		}
		end.seq = e.Seq
		if s.streamed && e.Of == of {
			end.body = t.streamed(s, e)
		}
		ends = append(ends, found{of, r, end})
		return nil
	}
	if e.Of != "" {
		err = one(e.Of, ending{status: statusOf(e.Status), took: e.DurationUS})
	}
	for i := range e.Closes {
		if c := &e.Closes[i]; err == nil {
			err = one(c.Of, ending{status: statusOf(c.Status), took: c.DurationUS})
		}
	}
	return ends, stray, err
}

// streamed is what a closing entry says of the body that its release did not know yet.
func (t *Trail) streamed(s *shape, e *isogate.Entry) *streamed {
	b := streamed{in: e.BytesIn, out: e.BytesOut}
	var host uint64
	if s.loses(dRemote) {
		host = hostHash(e.Remote)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	b.shape, b.more = t.dict.place(*s, t.dict.count(e.Fields), host)
	return &b
}

func statusOf(status int) int32 { return int32(min(max(status, 0), 1<<16)) }

// end folds an end into its row, or keeps it until the row's block is written again.
func (t *Trail) end(f *found) {
	delete(t.open.rows, f.id)
	if i, ok := rowOf(t.tail, f.seqOfRow()); ok {
		t.tail[i].finish(&f.ending)
		return
	}
	if had, ok := t.late[f.seqOfRow()]; !ok || f.ending.seq < had.seq {
		t.late[f.seqOfRow()] = f.ending
	}
}

func (f *found) seqOfRow() uint64 { return f.openRow.seq }

// rowOf finds a row by its seq.
func rowOf(rows []row, seq uint64) (int, bool) {
	return slices.BinarySearchFunc(rows, seq, func(r row, seq uint64) int { return cmp.Compare(r.seq, seq) })
}

// firstFrom is the place of the first block that ends at a seq or behind it.
func firstFrom(blocks []block, seq uint64) (int, bool) {
	return slices.BinarySearchFunc(blocks, seq, func(k block, seq uint64) int { return cmp.Compare(k.last, seq) })
}

// blockOf finds the block in which a seq is.
func blockOf(blocks []block, seq uint64) (int64, bool) {
	i, _ := firstFrom(blocks, seq)
	if i == len(blocks) || seq < blocks[i].first {
		return 0, false
	}
	return blocks[i].no, true
}

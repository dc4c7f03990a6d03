package trail

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/isogate/isogate"
)

// row is one entry, as far as its shape does not say it.
type row struct {
	seq     uint64
	ms      int64 // of its ID
	in, out int64
	end     uint64 // seq of the entry that says how it ended; 0 if none does, for an end is never the first entry
	took    int64  // microseconds
	consent string
	shape   uint32
	status  int32
	more    *more // nil for most
}

// more is what only some rows have.
type more struct {
	host uint64   // hashed, of a remote that the shape does not tell apart
	n    []uint32 // how often each field is there; nil is once each
	wide []uint32 // its fields, where they are not in the shape
}

// hostHash tells hosts apart that are not in the dictionary (FNV-1a). Who finds two hosts of one
// hash has them counted together; lists look at the entries themselves.
func hostHash(host string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(host) {
		h = (h ^ uint64(host[i])) * 1099511628211
	}
	return h
}

// open reports whether it is a release without an end.
func (r *row) open(s *shape) bool { return r.end == 0 && s.release() }

// fields are the row's, and their counts, nil for once each.
func (r *row) fields(s *shape) (fields, n []uint32) {
	fields = s.fields
	if r.more != nil {
		if n = r.more.n; s.wide {
			fields = r.more.wide
		}
	}
	return fields, n
}

// made makes a row of an entry.
func (d *dictionary) made(e *isogate.Entry, ms int64) row {
	s := d.envelope(e)
	c := d.count(e.Fields)
	r := row{seq: e.Seq, ms: ms, in: e.BytesIn, out: e.BytesOut, consent: strings.Clone(string(e.Consent)), status: statusOf(e.Status), took: e.DurationUS}
	var host uint64
	if s.loses(dRemote) {
		host = hostHash(e.Remote)
	}
	r.put(d, s, c, host)
	return r
}

// put gives a row its shape and fields.
func (r *row) put(d *dictionary, s shape, c counted, host uint64) {
	r.shape, r.more = d.place(s, c, host)
}

// place numbers a shape with fields, and says what rows of it must have themselves.
func (d *dictionary) place(s shape, c counted, host uint64) (uint32, *more) {
	no, wide := d.shape(s, c.fields)
	m := more{host: host}
	if slices.ContainsFunc(c.n, func(n uint32) bool { return n != 1 }) {
		m.n = c.n
	}
	if wide {
		m.wide = c.fields
	}
	if m.host == 0 && m.n == nil && len(m.wide) == 0 {
		return no, nil
	}
	return no, &m
}

// ending is how a release ended, as what is changed in its row.
type ending struct {
	seq    uint64 // of the entry that says so
	status int32
	took   int64
	body   *streamed // nil of what was not streamed
}

// streamed is what of a release is known only when it has ended.
type streamed struct {
	shape   uint32
	more    *more
	in, out int64
}

// finish folds an end into the row that it is of. The first end counts; to be told it again
// changes nothing.
func (r *row) finish(e *ending) {
	if r.end != 0 && r.end <= e.seq {
		return
	}
	r.end, r.status, r.took = e.seq, e.status, e.took
	if b := e.body; b != nil {
		r.shape, r.more, r.in, r.out = b.shape, b.more, b.in, b.out
	}
}

// blockRows is how many rows a block has at the most.
const blockRows = 4096

// hour is what all rows of a block have in common.
func hour(ms int64) int64 { return floor(ms, int64(hourly)) }

// appendRows writes the rows of a block, column by column.
func appendRows(dst []byte, rows []row) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(rows)))
	shapes, consents := []uint32{}, []string{}
	shapeAt, consentAt := map[uint32]int64{}, map[string]int64{}
	column := make([]int64, len(rows))
	for i := range rows {
		at, ok := shapeAt[rows[i].shape]
		if !ok {
			at = int64(len(shapes))
			shapeAt[rows[i].shape] = at
			shapes = append(shapes, rows[i].shape)
		}
		column[i] = at
	}
	dst = binary.AppendUvarint(dst, uint64(len(shapes)))
	for _, s := range shapes {
		dst = binary.AppendUvarint(dst, uint64(s))
	}
	dst = appendColumn(dst, column)
	for i := range rows {
		at, ok := consentAt[rows[i].consent]
		if !ok {
			at = int64(len(consents))
			consentAt[rows[i].consent] = at
			consents = append(consents, rows[i].consent)
		}
		column[i] = at
	}
	dst = binary.AppendUvarint(dst, uint64(len(consents)))
	for _, c := range consents {
		dst = binary.AppendUvarint(dst, uint64(len(c)))
		dst = append(dst, c...)
	}
	dst = appendColumn(dst, column)
	for _, of := range [...]func(r *row) int64{
		func(r *row) int64 { return int64(r.seq) }, //nolint:gosec // sizes fit
		func(r *row) int64 { return r.ms },
		func(r *row) int64 { return r.in },
		func(r *row) int64 { return r.out },
		func(r *row) int64 {
			if r.end == 0 {
				return 0
			}
			return int64(r.end - r.seq) //nolint:gosec // an end is behind what it ends
		},
		func(r *row) int64 { return int64(r.status) },
		func(r *row) int64 { return r.took },
	} {
		for i := range rows {
			column[i] = of(&rows[i])
		}
		dst = appendColumn(dst, column)
	}
	special := 0
	for i := range rows {
		if rows[i].more != nil {
			special++
		}
	}
	dst = binary.AppendUvarint(dst, uint64(special))
	for i := range rows {
		m := rows[i].more
		if m == nil {
			continue
		}
		dst = binary.AppendUvarint(dst, uint64(i))
		dst = binary.AppendUvarint(dst, m.host)
		dst = appendNumbers(dst, m.n)
		dst = appendNumbers(dst, m.wide)
	}
	return dst
}

func appendNumbers(dst []byte, ns []uint32) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(ns)))
	for _, n := range ns {
		dst = binary.AppendUvarint(dst, uint64(n))
	}
	return dst
}

func (r *reader) numbers() (ns []uint32) {
	n := r.below(len(r.b) + 1)
	if n == 0 {
		return nil
	}
	ns = make([]uint32, n)
	for i := range ns {
		ns[i] = uint32(r.below(1 << 32)) //nolint:gosec // below 2^32
	}
	return ns
}

// readRows is the inverse of appendRows, into rows.
func readRows(b []byte, rows []row, shapes int) ([]row, error) {
	r := reader{b: b}
	n := r.below(blockRows + 1)
	rows = slices.Grow(rows[:0], n)[:n]
	kinds := make([]uint32, r.below(blockRows+1))
	for i := range kinds {
		kinds[i] = uint32(r.below(shapes)) //nolint:gosec // below a length
	}
	bad := false
	r.column(n, func(i int, v int64) {
		if v < 0 || v >= int64(len(kinds)) {
			bad = true
			return
		}
		rows[i] = row{shape: kinds[v]}
	})
	consents := make([]string, r.below(blockRows+1))
	for i := range consents {
		consents[i] = r.text()
	}
	r.column(n, func(i int, v int64) {
		if v < 0 || v >= int64(len(consents)) {
			bad = true
			return
		}
		rows[i].consent = consents[v]
	})
	r.column(n, func(i int, v int64) { rows[i].seq = uint64(v) }) //nolint:gosec // as it was written
	r.column(n, func(i int, v int64) { rows[i].ms = v })
	r.column(n, func(i int, v int64) { rows[i].in = v })
	r.column(n, func(i int, v int64) { rows[i].out = v })
	r.column(n, func(i int, v int64) {
		if v != 0 {
			rows[i].end = rows[i].seq + uint64(v) //nolint:gosec // as it was written
		}
	})
	r.column(n, func(i int, v int64) { rows[i].status = int32(v) }) //nolint:gosec // as it was written
	r.column(n, func(i int, v int64) { rows[i].took = v })
	for range r.below(n + 1) {
		i := r.below(n)
		m := &more{host: r.uvarint(), n: r.numbers(), wide: r.numbers()}
		if r.err != nil {
			break
		}
		rows[i].more = m
	}
	if bad || r.err != nil {
		return nil, errDamaged
	}
	return rows, nil
}

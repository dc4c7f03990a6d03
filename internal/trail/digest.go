package trail

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
)

// line is what the rows of one shape and one consent have altogether, in one block or of
// some of its rows. What is written has lines of its own for releases without an end, so that
// open is n or 0.
type line struct {
	shape   uint32
	consent string
	various bool // rows of several consents, because there are too many for a line each

	n, open, failed uint64
	in, out, took   int64
	first, last     int64 // milliseconds
	// values is how many there are of each field of the shape; nil is n of each.
	values []uint64
	// wide is of a wide shape: each field, in how many rows, how many values.
	wide []wideField
}

type wideField struct {
	field        uint32
	rows, values uint64
}

// lineKey is what a line is of.
type lineKey struct {
	shape   uint32
	consent string
	open    bool // only where lines are told apart by it
}

// digest sums rows up by shape and consent.
func digest(rows []row, shapes []*shape) []line {
	at := map[lineKey]int{}
	var lines []line
	for i := range rows {
		r := &rows[i]
		key := lineKey{r.shape, r.consent, r.open(shapes[r.shape])}
		k, ok := at[key]
		if !ok {
			k = len(lines)
			at[key] = k
			lines = append(lines, line{shape: r.shape, consent: r.consent, first: r.ms})
		}
		lines[k].add(r, shapes[r.shape])
	}
	return lines
}

// add counts a row.
func (l *line) add(r *row, s *shape) {
	if l.n == 0 {
		l.first, l.last = r.ms, r.ms
	}
	l.first, l.last = min(l.first, r.ms), max(l.last, r.ms)
	if r.open(s) {
		l.open++
	}
	if s.release() && r.end != 0 {
		l.took += r.took
		if r.status >= 500 {
			l.failed++
		}
	}
	l.in += r.in
	l.out += r.out
	fields, n := r.fields(s)
	if s.wide {
		for i, f := range fields {
			l.widen(f, 1, uint64(count(n, i)))
		}
	} else if n != nil || l.values != nil {
		if l.values == nil {
			l.values = make([]uint64, len(fields))
			for i := range l.values {
				l.values[i] = l.n
			}
		}
		for i := range l.values {
			l.values[i] += uint64(count(n, i))
		}
	}
	l.n++
}

func count(n []uint32, i int) uint32 {
	if n == nil {
		return 1
	}
	return n[i]
}

func (l *line) widen(f uint32, rows, values uint64) {
	i, ok := slices.BinarySearchFunc(l.wide, f, func(w wideField, f uint32) int { return cmp.Compare(w.field, f) })
	if !ok {
		l.wide = slices.Insert(l.wide, i, wideField{field: f})
	}
	l.wide[i].rows += rows
	l.wide[i].values += values
}

// join adds another line of the same shape.
func (l *line) join(o *line, fields int) {
	if l.n == 0 {
		l.first, l.last = o.first, o.last
	}
	if l.values != nil || o.values != nil {
		if l.values == nil {
			l.values = make([]uint64, fields)
			for i := range l.values {
				l.values[i] = l.n
			}
		}
		for i := range l.values {
			if o.values == nil {
				l.values[i] += o.n
			} else {
				l.values[i] += o.values[i]
			}
		}
	}
	for _, w := range o.wide {
		l.widen(w.field, w.rows, w.values)
	}
	l.n += o.n
	l.open += o.open
	l.failed += o.failed
	l.in += o.in
	l.out += o.out
	l.took += o.took
	l.first, l.last = min(l.first, o.first), max(l.last, o.last)
}

// shorten puts lines of rare consents together, where there are more than fit, and
// returns those consents, sorted. Two lines of a shape may be of several.
func shorten(lines []line, shapes []*shape, most int) ([]line, []string) {
	distinct := map[uint32]bool{}
	for i := range lines {
		distinct[lines[i].shape] = true
	}
	if len(lines) <= most+len(distinct) {
		return lines, nil
	}
	slices.SortStableFunc(lines, func(a, b line) int { return cmp.Compare(b.n, a.n) })
	short, rest := slices.Clone(lines[:most]), lines[most:]
	at := map[lineKey]int{}
	var rare []string
	for i := range rest {
		key := lineKey{shape: rest[i].shape, open: rest[i].open > 0}
		k, ok := at[key]
		if !ok {
			k = len(short)
			at[key] = k
			short = append(short, line{shape: rest[i].shape, various: true})
		}
		short[k].join(&rest[i], len(shapes[rest[i].shape].fields))
		if !rest[i].various {
			rare = append(rare, rest[i].consent)
		}
	}
	slices.Sort(rare)
	return short, slices.Compact(rare)
}

// appendDigest writes down what rows have altogether, by shape and consent.
func appendDigest(dst []byte, rows []row, shapes []*shape, most int) []byte {
	lines, rare := shorten(digest(rows, shapes), shapes, most)
	return appendLines(dst, lines, rare)
}

// appendLines writes lines, and the consents of those that are of several.
func appendLines(dst []byte, lines []line, rare []string) []byte {
	var base int64
	if len(lines) > 0 {
		base = lines[0].first
	}
	dst = binary.AppendVarint(dst, base)
	dst = binary.AppendUvarint(dst, uint64(len(rare)))
	for _, c := range rare {
		dst = binary.AppendUvarint(dst, uint64(len(c)))
		dst = append(dst, c...)
	}
	dst = binary.AppendUvarint(dst, uint64(len(lines)))
	for i := range lines {
		l := &lines[i]
		flags := byte(0)
		if l.various {
			flags |= 1
		}
		if l.values != nil {
			flags |= 2
		}
		dst = append(dst, flags)
		dst = binary.AppendUvarint(dst, uint64(l.shape))
		if !l.various {
			dst = binary.AppendUvarint(dst, uint64(len(l.consent)))
			dst = append(dst, l.consent...)
		}
		for _, v := range [...]uint64{l.n, l.open, l.failed} {
			dst = binary.AppendUvarint(dst, v)
		}
		for _, v := range [...]int64{l.in, l.out, l.took, l.first - base, l.last - base} {
			dst = binary.AppendVarint(dst, v)
		}
		for _, v := range l.values {
			dst = binary.AppendUvarint(dst, v)
		}
		dst = binary.AppendUvarint(dst, uint64(len(l.wide)))
		for _, w := range l.wide {
			dst = binary.AppendUvarint(dst, uint64(w.field))
			dst = binary.AppendUvarint(dst, w.rows)
			dst = binary.AppendUvarint(dst, w.values)
		}
	}
	return dst
}

// written is what readDigest reads into.
type written struct {
	rare    [][]byte // the consents that are in a line of several, in order
	consent []byte   // of the line
	of      []byte   // of all lines, where those do not say it
	line    line     // without its consent
	values  []uint64
}

// readDigest calls do with each line. What is in w is valid during the call.
func readDigest(b []byte, w *written, shapes []*shape, fields int, do func() error) error {
	r := reader{b: b}
	base := r.varint()
	w.rare = w.rare[:0]
	for range r.below(len(r.b) + 1) {
		w.rare = append(w.rare, r.bytes(r.uvarint()))
	}
	l := &w.line
	for range r.below(len(r.b) + 1) {
		flag := r.bytes(1)
		if r.err != nil {
			return r.err
		}
		*l = line{various: flag[0]&1 != 0, wide: l.wide[:0]}
		l.shape = uint32(r.below(len(shapes))) //nolint:gosec // below a length
		if w.consent = nil; !l.various {
			if w.consent = r.bytes(r.uvarint()); w.of != nil {
				w.consent = w.of
			}
		}
		l.n, l.open, l.failed = r.uvarint(), r.uvarint(), r.uvarint()
		l.in, l.out, l.took = r.varint(), r.varint(), r.varint()
		l.first, l.last = base+r.varint(), base+r.varint()
		if flag[0]&2 != 0 {
			w.values = w.values[:0]
			if r.err == nil {
				for range shapes[l.shape].fields {
					w.values = append(w.values, r.uvarint())
				}
			}
			l.values = w.values
		}
		for range r.below(len(r.b) + 1) {
			l.wide = append(l.wide, wideField{uint32(r.below(fields)), r.uvarint(), r.uvarint()}) //nolint:gosec // below a length
		}
		if r.err != nil {
			return r.err
		}
		if err := do(); err != nil {
			return err
		}
	}
	return r.err
}

// hasRare reports whether a digest has lines of several consents.
func hasRare(b []byte) bool {
	r := reader{b: b}
	r.varint()
	return r.uvarint() > 0
}

// isRare reports whether a consent is in a line of several.
func (w *written) isRare(consent string) bool {
	_, ok := slices.BinarySearchFunc(w.rare, consent, func(b []byte, c string) int { return strings.Compare(string(b), c) })
	return ok
}

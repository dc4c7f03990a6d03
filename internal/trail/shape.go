package trail

import (
	"encoding/binary"
	"strings"

	"github.com/isogate/isogate"
)

// A journal has few different entries: what differs from one release of a transit to the next is
// its place, its time, its sizes and its consent. All else is its shape. Shapes are
// in memory, so that a query is asked of each shape, once, and of rows hardly at all.
//
// Somebody inside can make as many different ones as they like, by the hosts that they
// ask for and the fields that they send. So there are bounds, and what is beyond them is
// kept in the row, or not told apart (see [Others]).

// dim is a member of an entry by which rows differ.
type dim uint8

const (
	dKind dim = iota
	dStage
	dSource
	dPurpose
	dTransit
	dRemote
	dDestination
	dMethod
	dURL
	dPack
	dDecision
	dActor
	dAct
	dims
)

// named are the members that Query.Text is looked for in.
var named = [...]dim{dSource, dPurpose, dTransit, dRemote, dDestination, dMethod, dURL, dActor, dAct}

// kindUnreadable is the kind of a row whose entry cannot be read.
const kindUnreadable isogate.EntryKind = "unreadable"

// field is a field as rows have it, without its count.
type field struct {
	path, handling, rule string
	label                isogate.Label
	action               isogate.Action
}

// shape is what rows have in common.
type shape struct {
	at       [dims]string
	lost     uint16   // the members that are not told apart, as bits
	streamed bool     // its end brings its fields
	wide     bool     // rows have their fields themselves
	fields   []uint32 // by number, each once; of a wide shape none
}

func (s *shape) loses(d dim) bool { return s.lost&(1<<d) != 0 }

// release reports whether rows of the shape can have an end.
func (s *shape) release() bool {
	return s.at[dStage] == string(isogate.StageOpened) && s.at[dKind] == string(isogate.KindEgress)
}

func (s *shape) egress(decision isogate.Decision) bool {
	return s.at[dKind] == string(isogate.KindEgress) && s.at[dDecision] == decision.String()
}

// bounds are how much is told apart.
type bounds struct {
	rows    int // of a block, and blockRows at the most
	lines   int // of the digest of a block, beside one for each shape
	names   int // different values of a member
	refused int // different hosts that were asked for in vain
	fields  int // different fields
	sets    int // different sets of fields of what is alike otherwise
	shapes  int
}

var usual = bounds{rows: blockRows, lines: 256, names: 4096, refused: 512, fields: 1 << 17, sets: 2048, shapes: 1 << 15}

// methods are those that a refused request may have and be told apart by.
var methods = map[string]bool{"": true, "GET": true, "HEAD": true, "POST": true, "PUT": true, "PATCH": true, "DELETE": true, "OPTIONS": true, "TRACE": true, "CONNECT": true}

// dictionary numbers shapes and fields. Numbers are never given anew, and what has one
// never changes, so that a copy of the slices is a dictionary of its moment.
type dictionary struct {
	bounds bounds
	shapes []*shape
	fields []field

	shapeNo map[string]uint32
	fieldNo map[field]uint32
	sets    map[string]int // of fields, by all else
	names   [dims]map[string]bool
	vain    map[string]bool // hosts of refused requests

	key []byte
}

func newDictionary(b bounds) *dictionary {
	d := &dictionary{bounds: b, shapeNo: map[string]uint32{}, fieldNo: map[field]uint32{}, sets: map[string]int{}, vain: map[string]bool{}}
	for i := range d.names {
		d.names[i] = map[string]bool{}
	}
	return d
}

// name bounds the values of a member. What it returns is not a part of whatever it
// was a part of.
func (d *dictionary) name(s *shape, m dim, value string) {
	if value == "" {
		return
	}
	known, most := d.names[m], d.bounds.names
	if m == dKind || m == dStage || m == dDecision {
		most = max(most, 64) // the journal's own words
	}
	if refused := s.at[dStage] == string(isogate.StageRefused); refused && m == dRemote && !known[value] {
		known, most = d.vain, d.bounds.refused
	} else if refused && m == dMethod && !methods[value] {
		most = 0
	}
	if !known[value] {
		if len(known) >= most {
			s.at[m], s.lost = Others, s.lost|1<<m
			return
		}
		value = strings.Clone(value)
		known[value] = true
	}
	s.at[m] = value
}

// envelope is the shape of an entry without its fields.
func (d *dictionary) envelope(e *isogate.Entry) shape {
	s := shape{streamed: e.Streamed && e.Stage == isogate.StageOpened}
	for _, m := range [...]struct {
		dim   dim
		value string
	}{
		{dKind, string(e.Kind)}, {dStage, string(e.Stage)}, // first: what is refused has bounds of its own
		{dSource, string(e.Source)}, {dPurpose, e.Purpose}, {dTransit, string(e.Transit)}, {dRemote, e.Remote}, {dDestination, string(e.Destination)},
		{dMethod, e.Method}, {dURL, e.URL}, {dPack, e.Pack}, {dDecision, e.Decision}, {dActor, e.Actor}, {dAct, e.Act},
	} {
		d.name(&s, m.dim, m.value)
	}
	return s
}

// counted are fields by number, each once, and how often it is there.
type counted struct {
	fields []uint32
	n      []uint32
}

// count numbers the fields of an entry.
func (d *dictionary) count(fields []isogate.Field) (c counted) {
	c.fields, c.n = make([]uint32, 0, len(fields)), make([]uint32, 0, len(fields))
next:
	for i := range fields {
		f := &fields[i]
		no := d.field(field{f.Path, f.Handling, f.Rule, f.Label, f.Action})
		for k := range c.fields {
			if c.fields[k] == no {
				c.n[k] += f.N
				continue next
			}
		}
		c.fields, c.n = append(c.fields, no), append(c.n, f.N)
	}
	return c
}

func (d *dictionary) field(f field) uint32 {
	if no, ok := d.fieldNo[f]; ok {
		return no
	}
	if len(d.fields) >= d.bounds.fields {
		// Label and action are what matters; of those there are few.
		f.path, f.rule = Others, Others
		if no, ok := d.fieldNo[f]; ok {
			return no
		}
	}
	f.path, f.handling, f.rule = strings.Clone(f.path), strings.Clone(f.handling), strings.Clone(f.rule)
	f.label = isogate.Label(strings.Clone(string(f.label)))
	no := uint32(len(d.fields)) //nolint:gosec // bounded
	d.fields = append(d.fields, f)
	d.fieldNo[f] = no
	return no
}

// shape numbers a shape with these fields, and says whether rows of it must have them
// themselves.
func (d *dictionary) shape(s shape, fields []uint32) (no uint32, wide bool) {
	s.fields, s.wide = nil, false
	bare := string(s.spell(d.key[:0]))
	s.fields = fields
	d.key = s.spell(d.key[:0])
	if no, ok := d.shapeNo[string(d.key)]; ok {
		return no, false
	}
	if d.sets[bare] < d.bounds.sets && len(d.shapes) < d.bounds.shapes {
		s.fields = append([]uint32(nil), fields...)
		return d.add(s, bare), false
	}
	s.fields, s.wide = nil, true
	d.key = s.spell(d.key[:0])
	if no, ok := d.shapeNo[string(d.key)]; ok {
		return no, true
	}
	if len(d.shapes) >= 2*d.bounds.shapes {
		for m := dSource; m < dims; m++ {
			if s.at[m] != "" && m != dDecision {
				s.at[m], s.lost = Others, s.lost|1<<m
			}
		}
		d.key = s.spell(d.key[:0])
		if no, ok := d.shapeNo[string(d.key)]; ok {
			return no, true
		}
	}
	return d.add(s, bare), true
}

func (d *dictionary) add(s shape, bare string) uint32 {
	no := uint32(len(d.shapes)) //nolint:gosec // bounded
	d.shapes = append(d.shapes, &s)
	d.shapeNo[string(s.spell(nil))] = no
	d.sets[bare]++
	return no
}

// again takes what was written before, in the order of its numbers.
func (d *dictionary) again(s shape) {
	for m := range dims {
		if s.at[m] == "" || s.loses(m) {
			continue
		}
		switch value := s.at[m]; {
		case m != dRemote || s.at[dStage] != string(isogate.StageRefused):
			d.names[m][value] = true
			if m == dRemote {
				delete(d.vain, value)
			}
		case !d.names[m][value]:
			d.vain[value] = true
		}
	}
	bare := s
	bare.fields, bare.wide = nil, false
	d.add(s, string(bare.spell(nil)))
}

// spell writes a shape down. It is its key, and what is in the file.
func (s *shape) spell(dst []byte) []byte {
	for _, v := range s.at {
		dst = binary.AppendUvarint(dst, uint64(len(v)))
		dst = append(dst, v...)
	}
	flags := uint64(s.lost) << 2
	if s.streamed {
		flags |= 1
	}
	if s.wide {
		flags |= 2
	}
	dst = binary.AppendUvarint(dst, flags)
	for _, f := range s.fields {
		dst = binary.AppendUvarint(dst, uint64(f))
	}
	return dst
}

// spelled is the inverse of spell.
func spelled(b []byte, fields int) (s shape, err error) {
	r := reader{b: b}
	for m := range s.at {
		s.at[m] = r.text()
	}
	flags := r.uvarint()
	s.lost, s.streamed, s.wide = uint16(flags>>2), flags&1 != 0, flags&2 != 0 //nolint:gosec // checked by the reader's end
	for len(r.b) > 0 && r.err == nil {
		no := r.uvarint()
		if no >= uint64(fields) { //nolint:gosec // a length
			return s, errDamaged
		}
		s.fields = append(s.fields, uint32(no)) //nolint:gosec // below a length
	}
	return s, r.err
}

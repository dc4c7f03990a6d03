package trail

import (
	"encoding/binary"
	"errors"
	"math/bits"
)

// errDamaged says that what is in the file was not written there by us.
var errDamaged = errors.New("the trail's file is damaged")

// reader reads what was written with package binary's Append functions.
type reader struct {
	b   []byte
	err error
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.b, r.err = nil, errDamaged
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.b, r.err = nil, errDamaged
		return 0
	}
	r.b = r.b[n:]
	return v
}

// below is a uvarint that must be smaller than n.
func (r *reader) below(n int) int {
	v := r.uvarint()
	if v >= uint64(n) { //nolint:gosec // a length
		r.b, r.err = nil, errDamaged
		return 0
	}
	return int(v) //nolint:gosec // below a length
}

func (r *reader) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.b, r.err = nil, errDamaged
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) text() string { return string(r.bytes(r.uvarint())) }

// appendColumn writes numbers as differences from the smallest, each in as few bytes as
// the largest needs.
func appendColumn(dst []byte, column []int64) []byte {
	if len(column) == 0 {
		return dst
	}
	least, most := column[0], column[0]
	for _, v := range column {
		least, most = min(least, v), max(most, v)
	}
	width := (bits.Len64(uint64(most)-uint64(least)) + 7) / 8 //nolint:gosec // wraps around and back
	if width > 4 {
		width = 8
	}
	dst = binary.AppendVarint(dst, least)
	dst = append(dst, byte(width))
	for _, v := range column {
		d := uint64(v) - uint64(least) //nolint:gosec // wraps around and back
		for range width {
			dst = append(dst, byte(d))
			d >>= 8
		}
	}
	return dst
}

// column is the inverse of appendColumn; set gets each number.
func (r *reader) column(n int, set func(i int, v int64)) {
	if n == 0 {
		return
	}
	least := r.varint()
	w := r.bytes(1)
	if r.err != nil {
		return
	}
	width := int(w[0])
	b := r.bytes(uint64(n * width)) //nolint:gosec // never negative
	if r.err != nil {
		return
	}
	switch width {
	case 0:
		for i := range n {
			set(i, least)
		}
	case 1:
		for i, v := range b {
			set(i, least+int64(v))
		}
	case 2:
		for i := range n {
			set(i, least+int64(b[2*i])+int64(b[2*i+1])<<8)
		}
	case 3:
		for i := range n {
			set(i, least+int64(b[3*i])+int64(b[3*i+1])<<8+int64(b[3*i+2])<<16)
		}
	case 4:
		for i := range n {
			set(i, least+int64(binary.LittleEndian.Uint32(b[4*i:])))
		}
	case 8:
		for i := range n {
			set(i, int64(uint64(least)+binary.LittleEndian.Uint64(b[8*i:]))) //nolint:gosec // wraps around and back
		}
	default:
		r.err = errDamaged
	}
}

// errEnough ends a reading early.
var errEnough = errors.New("enough")

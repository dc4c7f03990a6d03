package payload

// seen remembers the names of the open objects that the contract does not spell,
// by their hashes under a seed that nobody outside knows. Equal names have equal
// hashes, so no duplicate is missed; two of a thousand different names would be
// taken for duplicates, and refused, once in 10^13 objects. The names of one
// object lie above those of the objects around it, so that closing it is a cut.
type seen struct {
	hashes []uint64
	names  int // in all the open objects
}

// names is one object's part of a seen: a list at first, then a hash table with
// open addressing whose zeros are free.
type names struct {
	at, n, size int // size 0: a list
}

const listed = 16 // names that are looked for one by one

func (s *seen) open() names { return names{at: len(s.hashes)} }

func (s *seen) close(o *names) {
	s.hashes = s.hashes[:o.at]
	s.names -= o.n
}

// add remembers a hash and reports whether it is new.
func (s *seen) add(o *names, h uint64) bool {
	h |= 1 // never zero; costs one bit of 64
	if o.size == 0 {
		for _, x := range s.hashes[o.at:] {
			if x == h {
				return false
			}
		}
		if o.n < listed {
			s.hashes = append(s.hashes, h)
			o.n++
			s.names++
			return true
		}
	}
	if 2*o.n >= o.size {
		s.grow(o)
	}
	table := s.hashes[o.at : o.at+o.size]
	if !insert(table, h) {
		return false
	}
	o.n++
	s.names++
	return true
}

// grow makes room: a new table above the old one, then moved down over it.
func (s *seen) grow(o *names) {
	old := len(s.hashes) - o.at
	size := max(4*listed, 2*o.size)
	s.hashes = append(s.hashes, make([]uint64, size)...)
	table := s.hashes[o.at+old:]
	for _, h := range s.hashes[o.at : o.at+old] {
		if h != 0 {
			insert(table, h)
		}
	}
	copy(s.hashes[o.at:], table)
	s.hashes = s.hashes[:o.at+size]
	o.size = size
}

// insert puts h into a table that has room, and reports whether it is new.
func insert(table []uint64, h uint64) bool {
	mask := uint64(len(table) - 1) //nolint:gosec // a table is never empty
	for at := h >> 7 & mask; ; at = (at + 1) & mask {
		switch table[at] {
		case 0:
			table[at] = h
			return true
		case h:
			return false
		}
	}
}

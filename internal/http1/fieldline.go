package http1

// span is where one field line's name and value lie in the head.
type span struct{ n0, n1, v0, v1 int32 }

// fieldLines collects the lines of a head or a trailer section.
type fieldLines struct {
	spans []span
	seen  uint64    // bits of the known fields that were met
	at    [64]int16 // 1 + index into spans of the last line of a known field
}

func (fl *fieldLines) reset() {
	fl.spans = fl.spans[:0]
	fl.seen = 0
	fl.at = [64]int16{}
}

// add reads one field line (RFC 9112, 5), which begins at offset off of the
// head. The name is brought into canonical spelling where it lies.
func (fl *fieldLines) add(line []byte, off int, limit int) *Fault {
	if line[0] == ' ' || line[0] == '\t' {
		return fault(LineFolding)
	}
	if len(fl.spans) >= limit {
		return fault(TooManyFields)
	}
	i := 0
	under := false
	for i < len(line) && is(line[i], isToken) {
		under = under || line[i] == '_'
		i++
	}
	switch {
	case i == len(line):
		return fault(MissingColon)
	case line[i] == ':' && i > 0:
	case line[i] == ' ' || line[i] == '\t':
		for ; i < len(line) && (line[i] == ' ' || line[i] == '\t'); i++ {
		}
		if i < len(line) && line[i] == ':' {
			return fault(SpaceBeforeColon)
		}
		return fault(BadFieldName)
	case line[i] == '\r':
		return fault(BareCR)
	default:
		return fault(BadFieldName)
	}
	name := line[:i]
	canonicalise(name)
	if under && aliases(name) {
		return fault(AliasFieldName)
	}
	v0, v1 := i+1, len(line)
	for v0 < v1 && (line[v0] == ' ' || line[v0] == '\t') {
		v0++
	}
	for v1 > v0 && (line[v1-1] == ' ' || line[v1-1] == '\t') {
		v1--
	}
	for _, c := range line[v0:v1] {
		if !is(c, isValue) {
			if c == '\r' {
				return fault(BareCR)
			}
			return faultAt(BadFieldValue, knownName(name))
		}
	}
	if k := knownOf(name); k != unknown {
		if k.in(singles) && k.in(fl.seen) {
			return faultAt(DuplicateField, string(name))
		}
		fl.seen |= 1 << k
		fl.at[k] = int16(len(fl.spans) + 1) //nolint:gosec // there are at most maxFields lines
	}
	fl.spans = append(fl.spans, span{int32(off), int32(off + i), int32(off + v0), int32(off + v1)}) //nolint:gosec // heads are far below 2 GiB
	return nil
}

// knownName is the name if it is a standard one, which says nothing about the sender.
func knownName(name []byte) string {
	if knownOf(name) == unknown {
		return ""
	}
	return string(name)
}

// fields makes the fields out of the head they lie in, appending to dst.
func (fl *fieldLines) fields(dst Fields, head string) Fields {
	for _, s := range fl.spans {
		dst = append(dst, Field{head[s.n0:s.n1], head[s.v0:s.v1]})
	}
	return dst
}

// value returns the value of a known field that was seen.
func (fl *fieldLines) value(k known, head string) (string, bool) {
	i := fl.at[k]
	if i == 0 {
		return "", false
	}
	s := fl.spans[i-1]
	return head[s.v0:s.v1], true
}

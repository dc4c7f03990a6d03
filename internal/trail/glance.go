package trail

import (
	"bytes"
	"encoding/binary"

	"github.com/oklog/ulid/v2"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/journal"
)

// Decoding an entry costs several times what is done with it, and most entries have, but for
// their place, sizes and digests, the bytes of an earlier one. So the bytes of the members that make
// an entry's shape are remembered with the shape, and an entry that has the same is not
// decoded. That rests on entries being written in one way only (internal/journal):
// what looks any different is decoded as anything else.

// members of an entry, in their order, and what a glance does with them.
var members = [...]struct {
	name string
	does glanced
}{
	{"id", skips}, {"seq", reads}, {"time", skips}, {"tenant", skips}, {"kind", shapes}, {"stage", shapes}, {"of", gives}, {"closes", gives},
	{"source", shapes}, {"purpose", shapes}, {"transit", shapes}, {"remote", shapes}, {"destination", shapes}, {"method", shapes}, {"url", shapes},
	{"pack", shapes}, {"consent", reads}, {"decision", shapes}, {"reason", skips}, {"streamed", shapes}, {"fields", shapes}, {"seals", skips},
	{"bytes_in", reads}, {"bytes_out", reads}, {"digest_in", skips}, {"digest_out", skips}, {"tls", skips}, {"status", reads}, {"duration_us", reads},
	{"actor", shapes}, {"act", shapes}, {"detail", skips},
}

// always is how many of them every entry has.
const always = 5

type glanced uint8

const (
	skips  glanced = iota
	reads          // its value is the row's
	shapes         // it makes the shape
	gives          // the entry is decoded
)

// keptGlances is how many are remembered. Beyond it they are forgotten, all of them, and those that are
// frequent are soon there again.
const keptGlances = 1 << 13

// glances remembers shapes by bytes.
type glances struct {
	known map[string]seen
	key   []byte // of the last entry looked at
}

// seen is what rows of entries with the same bytes have in common.
type seen struct {
	shape  uint32
	more   *more
	opened bool
}

// glance makes the row of an entry if one with the same bytes was seen before.
func (g *glances) glance(seq uint64, body []byte) (r row, was seen, ok bool) {
	r.seq = seq
	if !g.look(body, &r) || r.seq != seq {
		return r, was, false
	}
	was, ok = g.known[string(g.key)]
	r.shape, r.more = was.shape, was.more
	return r, was, ok
}

// remember keeps what an entry of these bytes was made to.
func (g *glances) remember(key string, s seen) {
	if g.known == nil || len(g.known) >= keptGlances {
		g.known = map[string]seen{}
	}
	if key != "" {
		g.known[key] = s
	}
}

// look goes over the members of an entry. Whatever is not as it is always written ends it.
func (g *glances) look(body []byte, r *row) bool {
	g.key = g.key[:0]
	if len(body) < 2 || body[0] != '{' || body[len(body)-1] != '}' {
		return false
	}
	b := body[1 : len(body)-1]
	at := 0
	for len(b) > 0 {
		if b[0] != '"' {
			return g.no()
		}
		end := bytes.IndexByte(b[1:], '"')
		if end < 0 || len(b) < end+4 || b[end+2] != ':' {
			return g.no()
		}
		name, rest := b[1:1+end], b[end+3:]
		for at < len(members) && members[at].name != string(name) {
			if at++; at <= always {
				return g.no()
			}
		}
		if at == len(members) {
			return g.no()
		}
		n := valueEnd(rest)
		if n < 0 || n < len(rest) && rest[n] != ',' {
			return g.no()
		}
		value := rest[:n]
		switch members[at].does {
		case gives:
			return g.no()
		case shapes:
			g.key = append(g.key, byte(at))
			g.key = binary.AppendUvarint(g.key, uint64(n))
			g.key = append(g.key, value...)
		case reads:
			if !r.read(members[at].name, value) {
				return g.no()
			}
		}
		at++
		if n == len(rest) {
			return at >= always || g.no()
		}
		if b = rest[n+1:]; len(b) == 0 {
			return g.no()
		}
	}
	return g.no()
}

func (g *glances) no() bool {
	g.key = g.key[:0]
	return false
}

// valueEnd is where a JSON value ends, or -1.
func valueEnd(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
			if i >= len(b) {
				return -1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth < 0 {
				return -1
			}
		case ',':
			if depth == 0 {
				return i
			}
		}
	}
	if depth != 0 || len(b) == 0 {
		return -1
	}
	return len(b)
}

// read takes a value that is the row's.
func (r *row) read(name string, value []byte) bool {
	if name == "consent" {
		n := len(value)
		if n < 2 || value[0] != '"' || bytes.IndexByte(value, '\\') >= 0 {
			return false
		}
		r.consent = string(value[1 : n-1])
		return true
	}
	if len(value) == 0 || len(value) > 18 || value[0] == '0' && len(value) > 1 {
		return false
	}
	var v int64
	for _, c := range value {
		if c < '0' || c > '9' {
			return false
		}
		v = 10*v + int64(c-'0')
	}
	switch name {
	case "seq":
		r.seq = uint64(v)
	case "bytes_in":
		r.in = v
	case "bytes_out":
		r.out = v
	case "status":
		r.status = statusOf(int(min(v, 1<<16)))
	case "duration_us":
		r.took = v
	}
	return true
}

// piece is an entry that was read, before it is taken in.
type piece struct {
	seq uint64
	id  isogate.EntryID // "" if it cannot be read
	ms  int64
	bad bool // the entry cannot be read
	// Either it was seen before, or it is decoded.
	row   row
	was   seen
	known bool
	key   string // by which it is remembered; "" if it is not
	entry isogate.Entry
}

// piece reads an entry.
func (g *glances) piece(seq uint64, body []byte) piece {
	p := piece{seq: seq, id: idOf(body)}
	id, err := ulid.ParseStrict(string(p.id))
	if err != nil {
		p.bad, p.id = true, ""
		return p
	}
	p.ms = int64(id.Time()) //nolint:gosec // 48 bits
	if p.row, p.was, p.known = g.glance(seq, body); p.known {
		p.row.ms = p.ms
		return p
	}
	p.key = string(g.key)
	p.entry, err = journal.Decode(body)
	p.bad = err != nil || p.entry.Seq != seq || p.entry.ID != p.id
	return p
}

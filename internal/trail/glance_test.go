package trail

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/isogate/isogate/internal/journal"
)

// What is taken at a glance is what decoding would have given. This test looks at each entry
// of a journal twice, and at what somebody made of its bytes: where such an
// entry can be read and is taken at a glance, its row is the same.
func TestAGlanceIsEnough(t *testing.T) {
	h := newHistory(t, 7)
	for range 300 {
		h.act()
	}
	r := rand.New(rand.NewPCG(7, 7))
	d, g := newDictionary(usual), &glances{}
	taken, tried := 0, 0
	look := func(seq uint64, body []byte) {
		t.Helper()
		tried++
		p := g.piece(seq, body)
		e, err := journal.Decode(body)
		if !p.known {
			if !p.bad {
				made := d.made(&p.entry, p.ms)
				g.remember(p.key, seen{made.shape, made.more, d.shapes[made.shape].release()})
			}
			return
		}
		taken++
		if err != nil {
			return // members that no row has are not looked at
		}
		want := d.made(&e, p.ms)
		if d.shapes[p.row.shape].lost != 0 {
			return // a name that was not told apart once may be by now
		}
		if !reflect.DeepEqual(p.row, want) || p.was.opened != d.shapes[want.shape].release() {
			t.Fatalf("at a glance %+v, decoded %+v:\n%s", p.row, want, body)
		}
	}
	var bodies [][]byte
	if _, _, err := h.j.Bodies(t.Context(), 0, 1<<20, func(seq uint64, body []byte) error {
		bodies = append(bodies, append([]byte(nil), body...))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for seq, body := range bodies {
			look(uint64(seq), body)
		}
	}
	if taken < len(bodies)/2 {
		t.Errorf("%d of %d entries are taken at a glance", taken, tried)
	}
	taken = 0
	for range 200_000 {
		seq := r.IntN(len(bodies))
		body := append([]byte(nil), bodies[seq]...)
		for range 1 + r.IntN(2) {
			i := 34 + r.IntN(len(body)-34)
			switch other := bodies[r.IntN(len(bodies))]; r.IntN(4) {
			case 0:
				body[i] = `0123456789"\{}[],:abc`[r.IntN(21)]
			case 1:
				body = append(body[:i], body[i+1:]...)
			case 2: // another entry's end
				body = append(body[:i:i], other[min(34+r.IntN(len(other)-34), len(other)):]...)
			case 3:
				body = append(body[:i:i], append([]byte(fmt.Sprintf(`,"%s":%d`, members[r.IntN(len(members))].name, r.IntN(9))), body[i:]...)...)
			}
			if len(body) < 40 {
				body = append([]byte(nil), bodies[seq]...)
			}
		}
		look(uint64(seq), body)
	}
	if taken < 100 {
		t.Errorf("%d changed entries are taken at a glance; the test changes too much", taken)
	}
}

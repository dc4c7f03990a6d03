package journal

import (
	"errors"
	"slices"
	"testing"
)

// Who reads a journal in pieces gets each entry once, also beside who writes, and hears of
// what is missing by its absence.
func TestBodies(t *testing.T) {
	conformance(t, func(t *testing.T, fresh func(testing.TB) site) {
		at := fresh(t)
		j, _ := open(t, at.config(newKey(t, "isogate/acme")))
		entries := appendN(t, j, 10)
		r := at.reader(t)
		read := func(from uint64, limit int) (seqs []uint64, next uint64) {
			t.Helper()
			next, of, err := r.Bodies(t.Context(), from, limit, func(seq uint64, body []byte) error {
				if e, err := Decode(body); err != nil || seq != e.Seq || e.ID != entries[seq].ID {
					t.Errorf("seq %d has entry %d %s: %v", seq, e.Seq, e.ID, err)
				}
				seqs = append(seqs, seq)
				return nil
			})
			if err != nil || of != 10 {
				t.Fatal(of, err)
			}
			return seqs, next
		}
		for _, c := range []struct {
			from  uint64
			limit int
			want  []uint64
			next  uint64
		}{
			{0, 3, []uint64{0, 1, 2}, 3},
			{8, 5, []uint64{8, 9}, 10},
			{10, 5, nil, 10},
			{99, 5, nil, 10}, // the journal is shorter than it was: its end is what is said
		} {
			if seqs, next := read(c.from, c.limit); !slices.Equal(seqs, c.want) || next != c.next {
				t.Errorf("from %d, %d: %v up to %d, want %v up to %d", c.from, c.limit, seqs, next, c.want, c.next)
			}
		}
		at.change(t, `DELETE FROM entry WHERE seq = 4`)
		if seqs, next := read(3, 3); !slices.Equal(seqs, []uint64{3, 5}) || next != 6 {
			t.Errorf("around the missing entry: %v up to %d", seqs, next)
		}
		var picked []uint64
		if err := r.Pick(t.Context(), []uint64{7, 4, 2}, func(seq uint64, body []byte) error {
			if idOf(body) != entries[seq].ID {
				t.Errorf("seq %d has %s", seq, idOf(body))
			}
			picked = append(picked, seq)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if slices.Sort(picked); !slices.Equal(picked, []uint64{2, 7}) {
			t.Errorf("picked %v", picked)
		}
		stop := errors.New("stop")
		if _, _, err := r.Bodies(t.Context(), 0, 5, func(uint64, []byte) error { return stop }); !errors.Is(err, stop) {
			t.Errorf("an error of do's is lost: %v", err)
		}
		if _, err := Decode([]byte(`{"id":"`)); err == nil {
			t.Error("what is no entry is decoded")
		}
	})
}

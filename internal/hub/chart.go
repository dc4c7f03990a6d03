package hub

import (
	"fmt"
	"time"
)

// Geometry of charts, in per cent of the drawing, so that it fits any width without
// a style. Patterns keep their size, for there is no viewBox that would stretch them.

// columns is a chart of requests over time. Refused ones stand on released ones.
type columns struct {
	Most    uint64 // requests in the highest column
	Unit    string // hour or day
	Columns []column
}

// column is one hour or day.
type column struct {
	At                                             time.Time
	When                                           string // as people read it
	Released, Refused                              uint64
	X, W, ReleasedY, ReleasedH, RefusedY, RefusedH string
}

// newColumns lays slots out.
func newColumns(slots []Slot, unit string) columns {
	c := columns{Unit: unit}
	for _, s := range slots {
		c.Most = max(c.Most, s.Released+s.Refused)
	}
	step := 100 / float64(max(len(slots), 1))
	for i, s := range slots {
		col := column{At: s.At, When: s.At.Format("2 Jan"), Released: s.Released, Refused: s.Refused, X: per(float64(i)*step + step*0.1), W: per(step * 0.8)}
		if unit == "hour" {
			col.When = s.At.Format("2 Jan 15:04")
		}
		released, refused := height(s.Released, c.Most), height(s.Refused, c.Most)
		if released+refused > 100 { // what is there at all is drawn, however small
			released = 100 - refused
		}
		col.ReleasedY, col.ReleasedH = per(100-released), per(released)
		col.RefusedY, col.RefusedH = per(100-released-refused), per(refused)
		c.Columns = append(c.Columns, col)
	}
	return c
}

// Middle is the column in the middle.
func (c columns) Middle() column { return c.Columns[len(c.Columns)/2] }

// height is how high n stands where most is all there is; what is not nothing can be seen.
func height(n, most uint64) float64 {
	if n == 0 || most == 0 {
		return 0
	}
	return max(100*float64(n)/float64(most), 1)
}

// per writes a percentage.
func per(f float64) string { return fmt.Sprintf("%.2f%%", f) }

// named is a part of a whole with the group that the style sheet knows it by.
type named struct {
	Group, Name string
	Actions     string // as the explorer's filter has them
	N           uint64
	X, W        string
}

// parts are the forms with their places in a bar, from those that say the most.
func (f Forms) parts() []named {
	all := []named{
		{Group: "plain", Name: "plaintext", Actions: "allow", N: f.Plain},
		{Group: "seal", Name: "sealed", Actions: "seal", N: f.Sealed},
		{Group: "part", Name: "in part", Actions: "mask generalise", N: f.InPart},
		{Group: "hide", Name: "replaced", Actions: "token hash redact", N: f.Replaced},
		{Group: "stop", Name: "withheld", Actions: "drop refuse", N: f.Withheld},
	}
	total, least, shown := float64(f.All()), 1.0, 0
	for _, p := range all {
		if p.N > 0 {
			shown++
		}
	}
	// Each part that is there has at least one per cent; the rest is shared as it is.
	x, free := 0.0, 100-least*float64(shown)
	for i := range all {
		w := 0.0
		if all[i].N > 0 {
			w = least + free*float64(all[i].N)/total
		}
		all[i].X, all[i].W = per(x), per(w)
		x += w
	}
	return all
}

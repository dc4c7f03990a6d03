package taxonomy

import (
	"strings"

	"github.com/isogate/isogate"
)

// nearest returns the key that was most likely meant by l, or "" if none is
// near. Segments are compared one by one, so that a slip in one segment weighs
// the same however long the others are, and a key with the same last segment
// below another family is found too.
func (t *Taxonomy) nearest(l isogate.Label) isogate.Label {
	var best isogate.Label
	bestCost := 0
	for _, k := range t.labels {
		d := t.byLabel[k]
		if k.Reserved() && len(l) < len(k)-3 {
			continue
		}
		if d.ReplacedBy != "" {
			k = d.ReplacedBy
		}
		cost := distance(string(l), string(d.Label))
		if cost > 2 {
			cost = min(cost, segmentCost(string(l), string(d.Label)))
		}
		if cost <= max(2, len(l)/3) && (best == "" || cost < bestCost) {
			best, bestCost = k, cost
		}
	}
	return best
}

// segmentCost compares two labels segment by segment from the end, which says
// most, and counts a missing or surplus segment as two slips.
func segmentCost(a, b string) int {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	cost := 2 * abs(len(as)-len(bs))
	for i := range min(len(as), len(bs)) {
		cost += min(3, distance(as[len(as)-1-i], bs[len(bs)-1-i]))
	}
	return cost
}

func abs(n int) int { return max(n, -n) }

// distance is the number of letters to insert, delete, change or swap with
// their neighbour that turns a into b (optimal string alignment).
func distance(a, b string) int {
	prev2, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := prev[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(prev[j]+1, row[j-1]+1, change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], prev2[j-2]+1)
			}
		}
		prev2, prev, row = prev, row, prev2
	}
	return prev[len(b)]
}

package taxonomy

import (
	"strings"

	"github.com/isogate/isogate"
)

// nearest returns the key that was most likely meant by l, or "" if none is
// near. Labels are compared letter by letter, for slips of the finger, and
// segment by segment, for a forgotten or invented one: personal.email means
// personal.contact.email though five letters of personal.note fit as well.
func (t *Taxonomy) nearest(l isogate.Label) isogate.Label {
	var best isogate.Label
	bestCost := 0
	for _, k := range t.labels {
		cost := min(distance(string(l), string(k)), segmentDistance(string(l), string(k)))
		near := max(2, len(l)/4)
		if lastSegment(l) == lastSegment(k) {
			near = max(near, 2*segmentCost)
		}
		if cost <= near && (best == "" || cost < bestCost) {
			best, bestCost = k, cost
		}
	}
	if best != "" && t.byLabel[best].ReplacedBy != "" {
		return t.byLabel[best].ReplacedBy
	}
	return best
}

func lastSegment(l isogate.Label) string {
	return string(l[strings.LastIndexByte(string(l), '.')+1:])
}

// segmentCost is what one missing, surplus or wholly different segment costs, in letters.
const segmentCost = 2

func segmentDistance(a, b string) int {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	return align(len(as), len(bs), segmentCost, func(i, j int) int {
		return min(2*segmentCost, distance(as[i], bs[j]))
	}, nil)
}

// distance is the number of letters to insert, delete, change or swap with
// their neighbour that turns a into b (optimal string alignment).
func distance(a, b string) int {
	return align(len(a), len(b), 1, func(i, j int) int {
		if a[i] == b[j] {
			return 0
		}
		return 1
	}, func(i, j int) bool { return a[i] == b[j-1] && a[i-1] == b[j] })
}

// align is the least cost of turning a sequence of n items into one of m:
// change(i, j) for putting item j in the place of item i, gap for each item
// without a counterpart, and 1 for two neighbours that swapped reports as each other.
func align(n, m, gap int, change func(i, j int) int, swapped func(i, j int) bool) int {
	prev2, prev, row := make([]int, m+1), make([]int, m+1), make([]int, m+1)
	for j := range prev {
		prev[j] = j * gap
	}
	for i := 1; i <= n; i++ {
		row[0] = i * gap
		for j := 1; j <= m; j++ {
			row[j] = min(prev[j]+gap, row[j-1]+gap, prev[j-1]+change(i-1, j-1))
			if swapped != nil && i > 1 && j > 1 && swapped(i-1, j-1) {
				row[j] = min(row[j], prev2[j-2]+1)
			}
		}
		prev2, prev, row = prev, row, prev2
	}
	return prev[m]
}

package hub

import (
	"bytes"
	"slices"
	"unicode/utf8"

	"github.com/isogate/isogate/internal/policy"
)

// fileDiff is how one file of two packs differs.
type fileDiff struct {
	Path  string
	What  string // new, removed or changed
	Lines []diffLine
	Large bool // too large to be shown
}

// diffLine is a line of a difference: of both (' '), of the first alone ('-'), of the second
// alone ('+'), or left out ('…').
type diffLine struct {
	Sign     string
	Old, New int // its number in either; 0 if it is not there
	Text     string
}

// filesDiff is how the files of two packs differ; nil where one of them is not kept here.
func (h *Hub) filesDiff(before, after string) []fileDiff {
	a, err := h.filesOf(before)
	if err != nil {
		return nil
	}
	b, err := h.filesOf(after)
	if err != nil {
		return nil
	}
	var paths []string
	for _, f := range []*policy.Files{a, b} {
		for p := range f.All() {
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	out := []fileDiff{}
	for _, p := range slices.Compact(paths) {
		was, had := a.File(p)
		is, has := b.File(p)
		if had && has && bytes.Equal(was, is) {
			continue
		}
		d := fileDiff{Path: p, What: "changed"}
		if !had {
			d.What = "new"
		} else if !has {
			d.What = "removed"
		}
		if d.Lines, d.Large = linesDiff(was, is); len(d.Lines) == 0 {
			d.Large = true // only line ends differ, or it is no text
		}
		out = append(out, d)
	}
	return out
}

// maxDiff bounds the table that a difference is worked out in, in cells, and maxDiffLines
// what of it is shown.
const (
	maxDiff      = 4 << 20
	maxDiffLines = 2000
	aroundDiff   = 3 // lines of both that are shown before and after a difference
)

// linesDiff compares two texts line by line.
func linesDiff(before, after []byte) (out []diffLine, large bool) {
	if !utf8.Valid(before) || !utf8.Valid(after) || len(before) > maxShownFile || len(after) > maxShownFile {
		return nil, true
	}
	var a, b []string
	if len(before) > 0 {
		a = splitLines(string(before))
	}
	if len(after) > 0 {
		b = splitLines(string(after))
	}
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	x, y := a[head:len(a)-tail], b[head:len(b)-tail]
	if (len(x)+1)*(len(y)+1) > maxDiff {
		return nil, true
	}
	for i := range a[:head] {
		out = append(out, diffLine{" ", i + 1, i + 1, a[i]})
	}
	out = append(out, middle(x, y, head)...)
	for i := range tail {
		o, n := len(a)-tail+i, len(b)-tail+i
		out = append(out, diffLine{" ", o + 1, n + 1, a[o]})
	}
	if out = folded(out); len(out) > maxDiffLines {
		return nil, true
	}
	return out, false
}

// middle is the difference by a longest common subsequence.
func middle(x, y []string, head int) (out []diffLine) {
	w := len(y) + 1
	common := make([]int32, (len(x)+1)*w) // how many lines x[i:] and y[j:] have in common
	for i := len(x) - 1; i >= 0; i-- {
		for j := len(y) - 1; j >= 0; j-- {
			if x[i] == y[j] {
				common[i*w+j] = common[(i+1)*w+j+1] + 1
			} else {
				common[i*w+j] = max(common[(i+1)*w+j], common[i*w+j+1])
			}
		}
	}
	for i, j := 0, 0; i < len(x) || j < len(y); {
		switch {
		case i < len(x) && j < len(y) && x[i] == y[j]:
			out = append(out, diffLine{" ", head + i + 1, head + j + 1, x[i]})
			i, j = i+1, j+1
		case j == len(y) || i < len(x) && common[(i+1)*w+j] >= common[i*w+j+1]:
			out = append(out, diffLine{"-", head + i + 1, 0, x[i]})
			i++
		default:
			out = append(out, diffLine{"+", 0, head + j + 1, y[j]})
			j++
		}
	}
	return out
}

// folded leaves out what is the same and far from what is not.
func folded(lines []diffLine) (out []diffLine) {
	near := make([]bool, len(lines))
	for i := range lines {
		if lines[i].Sign == " " {
			continue
		}
		for j := max(0, i-aroundDiff); j <= min(len(lines)-1, i+aroundDiff); j++ {
			near[j] = true
		}
	}
	for i := range lines {
		switch {
		case near[i]:
			out = append(out, lines[i])
		case len(out) > 0 && out[len(out)-1].Sign != "…":
			out = append(out, diffLine{Sign: "…"})
		}
	}
	if n := len(out); n > 0 && out[n-1].Sign == "…" {
		out = out[:n-1]
	}
	return out
}

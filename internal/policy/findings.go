package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Finding is one mistake of a pack: where it is, what is wrong and what to do.
type Finding struct {
	File    string `json:"file"`   // inside the pack, with slashes
	Line    int    `json:"line"`   // from 1
	Column  int    `json:"column"` // from 1, in characters
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"` // the next step
}

func (f Finding) String() string {
	s := fmt.Sprintf("%s:%d:%d: %s", f.File, f.Line, f.Column, f.Message)
	if f.Hint != "" {
		s += "; " + f.Hint
	}
	return s
}

// Errors is every mistake that one run found in a pack, sorted by place.
type Errors struct {
	Findings []Finding `json:"findings"`
}

func (e *Errors) Error() string {
	var b strings.Builder
	for i, f := range e.Findings {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(f.String())
	}
	return b.String()
}

// position is a place in a file of the pack.
type position struct {
	file         string
	line, column int
}

func (p position) String() string { return fmt.Sprintf("%s:%d:%d", p.file, p.line, p.column) }

// rule is how a position is written in verdicts and entries: file:line.
func (p position) rule() string { return fmt.Sprintf("%s:%d", p.file, p.line) }

// findings collects mistakes while a pack is read.
type findings struct {
	list []Finding // the first maxFindings
	n    int       // how many there were
}

// maxFindings bounds what one run says about a pack; a text of nothing but
// mistakes must not fill the memory.
const maxFindings = 1000

// add notes a mistake. What comes after the first "; " of the text is the next step.
func (f *findings) add(at position, format string, args ...any) {
	if f.n++; f.n > maxFindings {
		return
	}
	msg, hint, _ := strings.Cut(fmt.Sprintf(format, args...), "; ")
	if f.n == maxFindings {
		msg, hint = fmt.Sprintf("there are more than %d mistakes", maxFindings), "fix those before"
	}
	f.list = append(f.list, Finding{File: at.file, Line: at.line, Column: at.column, Message: msg, Hint: hint})
}

// err is everything noted, sorted and without repetitions, or nil.
func (f *findings) err() error {
	if len(f.list) == 0 {
		return nil
	}
	slices.SortFunc(f.list, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Message, b.Message), cmp.Compare(a.Hint, b.Hint))
	})
	return &Errors{Findings: slices.Compact(f.list)}
}

// didYouMean is `did you mean "x"?` for the known word closest to s, or the
// known words, the first of them when they are many.
func didYouMean[S ~string](s string, known []S) string {
	best, dist := "", min(len(s)/3+2, len(s))
	for _, k := range known {
		if d := editDistance(s, string(k), dist); d < dist {
			best, dist = string(k), d
		}
	}
	switch {
	case best != "":
		return fmt.Sprintf("did you mean %q?", best)
	case len(known) == 0:
		return "there are none yet"
	}
	const most = 12
	words := make([]string, 0, len(known))
	for _, k := range known {
		words = append(words, string(k))
	}
	slices.Sort(words)
	if len(words) > most {
		words = append(words[:most], "…")
	}
	return "use one of " + strings.Join(words, ", ")
}

// editDistance is the number of insertions, deletions and substitutions of a
// byte that turn a into b, or limit when there are at least that many.
func editDistance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substitute := diagonal
			if a[i] != b[j] {
				substitute++
			}
			diagonal = row[j+1]
			row[j+1] = min(substitute, diagonal+1, row[j]+1)
		}
	}
	return min(row[len(b)], limit)
}

package remote

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Finding is one thing to say about a manifest: where it is, what it is and what
// to do. It quotes keys and names of the manifest, shortened.
type Finding struct {
	File    string `json:"file"`
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

// ManifestError is every mistake for which a manifest cannot be understood, sorted
// by place.
type ManifestError struct {
	Findings []Finding `json:"findings"`
}

func (e *ManifestError) Error() string {
	lines := make([]string, 0, len(e.Findings))
	for _, f := range e.Findings {
		lines = append(lines, f.String())
	}
	return strings.Join(lines, "\n")
}

// maxFindings bounds what is said about one manifest; a text of nothing but
// mistakes must not fill the memory.
const maxFindings = 100

func sorted(list []Finding) []Finding {
	slices.SortStableFunc(list, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Message, b.Message))
	})
	return slices.Compact(list)
}

// nearMiss is `; did you mean "x"?` for the known word that differs from s by
// case and at most two letters, else "".
func nearMiss(s string, known []string) string {
	for _, k := range known {
		if s != k && len(s) > 3 && distance(strings.ToLower(s), strings.ToLower(k)) <= 2 {
			return fmt.Sprintf("; did you mean %q?", k)
		}
	}
	return ""
}

// distance is the number of bytes inserted, left out or replaced between a and b;
// 9 for words that are much longer than each other.
func distance(a, b string) int {
	if len(a) > len(b)+2 || len(b) > len(a)+2 {
		return 9
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}

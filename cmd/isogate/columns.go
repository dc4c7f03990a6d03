package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/isogate/isogate"
)

// columnWidth is how many characters one of two columns has.
const columnWidth = 62

// columns prints two texts beside each other, line by line, with = between lines
// that are equal, ~ between those that differ and - where the right one has none.
func columns(w io.Writer, leftTitle, rightTitle string, left, right []string) {
	_, _ = fmt.Fprintf(w, "   %s   %s\n", pad(leftTitle), rightTitle)
	for _, row := range align(left, right) {
		mark := "~"
		switch {
		case row[1] == "":
			mark = "-"
		case row[0] == row[1]:
			mark = "="
		}
		_, _ = fmt.Fprintf(w, "   %s %s %s\n", pad(row[0]), mark, strings.TrimRight(pad(row[1]), " "))
	}
}

// align pairs lines. A member of the left that is missing on the right leaves a
// gap; one whose name was replaced stands beside its replacement.
func align(left, right []string) (rows [][2]string) {
	i, j := 0, 0
	for i < len(left) && j < len(right) {
		if member(left[i]) != member(right[j]) && i+1 < len(left) && member(left[i+1]) == member(right[j]) {
			rows = append(rows, [2]string{left[i], ""})
			i++
			continue
		}
		rows = append(rows, [2]string{left[i], right[j]})
		i, j = i+1, j+1
	}
	for ; i < len(left); i++ {
		rows = append(rows, [2]string{left[i], ""})
	}
	for ; j < len(right); j++ {
		rows = append(rows, [2]string{"", right[j]})
	}
	return rows
}

// member is a line's indent and member name, which is what lines are paired by.
func member(line string) string {
	name, _, _ := strings.Cut(line, ":")
	return name
}

// pad makes a text exactly one column wide.
func pad(s string) string {
	n := utf8.RuneCountInString(s)
	if n > columnWidth {
		r := []rune(s)
		return string(r[:columnWidth-1]) + "…"
	}
	return s + strings.Repeat(" ", columnWidth-n)
}

// pretty is a JSON text in lines; a text that is not JSON is one line.
func pretty(b []byte) []string {
	if len(b) == 0 {
		return nil
	}
	var out bytes.Buffer
	if json.Indent(&out, b, "", "  ") != nil {
		return []string{string(b)}
	}
	return strings.Split(out.String(), "\n")
}

// counts says how many values were treated how.
func counts(fields []isogate.Field) string {
	var n [isogate.Allow + 1]uint32
	for _, f := range fields {
		n[f.Action] += f.N
	}
	var parts []string
	for a := isogate.Allow; ; a-- {
		if n[a] > 0 {
			parts = append(parts, strconv.Itoa(int(n[a]))+" "+a.String())
		}
		if a == 0 {
			break
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return ": " + strings.Join(parts, ", ")
}

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
)

// report is the part of one question.
type report struct {
	name    string
	run     string // how it was measured, for the end of the part
	b       strings.Builder
	budgets [][]string
}

// String is the part with the table of its budgets at its end.
func (r *report) String() string {
	var with report
	with.b.WriteString(r.b.String())
	if len(r.budgets) > 0 {
		with.table([]string{"budget", "is", "reached", ""}, r.budgets)
	}
	with.say("%s", r.run)
	return with.b.String()
}

// budget says whether a figure is where it must be.
func (r *report) budget(what, is string, met bool, reached string) {
	word := "met"
	if !met {
		word = "**missed**"
	}
	r.budgets = append(r.budgets, []string{what, is, reached, word})
}

// say writes a paragraph, or whatever Markdown is given.
func (r *report) say(format string, args ...any) { fmt.Fprintf(&r.b, format+"\n\n", args...) }

// table writes a table; the first column is left-aligned, the others to the right.
func (r *report) table(head []string, rows [][]string) {
	line := func(cells []string) { r.b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	line(head)
	rule := make([]string, len(head))
	for i := range rule {
		rule[i] = "--:"
	}
	rule[0] = "---"
	line(rule)
	for _, row := range rows {
		line(row)
	}
	r.b.WriteString("\n")
}

// document is the file with the parts of all questions, each between comments
// that name it, so that one question can be asked again without the others.
type document struct {
	file string
	head string
	part map[string]string
}

// notesFile is written by hand: where a budget is missed, why.
const notesFile = "notes.md"

var partRE = regexp.MustCompile(`(?s)<!-- begin (\w+) -->\n(.*?)<!-- end (\w+) -->\n`)

func openReport(file, head string) (*document, error) {
	d := &document{file: file, head: head, part: map[string]string{}}
	if file == "" {
		return d, nil
	}
	src, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, m := range partRE.FindAllStringSubmatch(string(src), -1) {
		d.part[m[1]] = m[2]
	}
	return d, nil
}

func (d *document) put(r *report) { d.part[r.name] = r.String() }

func (d *document) save() error {
	if d.file == "" {
		return nil
	}
	var b strings.Builder
	b.WriteString(d.head)
	for _, q := range questions {
		if p, ok := d.part[q.name]; ok {
			fmt.Fprintf(&b, "<!-- begin %s -->\n%s<!-- end %s -->\n\n", q.name, p, q.name)
		}
	}
	notes, err := os.ReadFile(notesFile)
	if err != nil {
		return err
	}
	b.Write(notes)
	return os.WriteFile(d.file, []byte(strings.TrimRight(b.String(), "\n")+"\n"), 0o644)
}

// times prints a ratio: 3.1×.
func times(f float64) string {
	switch {
	case f >= 100:
		return fmt.Sprintf("%.0f×", f)
	case f >= 10:
		return fmt.Sprintf("%.1f×", f)
	}
	return fmt.Sprintf("%.2f×", f)
}

// number prints a figure with three digits or so, and its spread.
func number(s series) string { return fmt.Sprintf("%s ± %.0f %%", plain(s.median()), 100*s.spread()) }

func plain(f float64) string {
	switch {
	case f >= 100_000:
		return fmt.Sprintf("%.0fk", f/1000)
	case f >= 10_000:
		return fmt.Sprintf("%.1fk", f/1000)
	case f >= 100:
		return fmt.Sprintf("%.0f", f)
	case f >= 10:
		return fmt.Sprintf("%.1f", f)
	}
	return fmt.Sprintf("%.2f", f)
}

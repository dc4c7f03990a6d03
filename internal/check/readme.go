package check

import (
	"fmt"
	"regexp"
	"strings"
)

// Example is one command of a console block in a Markdown page and what the
// page says that it prints.
type Example struct {
	Line    int // of the command, from 1
	Command string
	Want    []string // lines; one that is "…" stands for any number of lines
}

// Examples finds the commands of every block that is marked console: lines that
// begin with "$ ", each followed by what it prints.
func Examples(page string) []Example {
	var out []Example
	inside := false
	for n, line := range strings.Split(page, "\n") {
		switch {
		case !inside:
			inside = line == "```console"
		case line == "```":
			inside = false
		case strings.HasPrefix(line, "$ "):
			out = append(out, Example{Line: n + 1, Command: line[2:]})
		case len(out) > 0:
			last := &out[len(out)-1]
			last.Want = append(last.Want, line)
		}
	}
	return out
}

// what differs from run to run, with a word that says what it is
var perRun = []struct {
	re *regexp.Regexp
	is string
}{
	{regexp.MustCompile(`\big[th]1[a-z0-9]+(?:@[a-z.-]+)?`), "TOKEN"},
	{regexp.MustCompile(`\b01[0-9A-HJKMNP-TV-Z]{24}\b`), "ENTRY"},
	{regexp.MustCompile(`\b[0-9a-f]{12,64}\b`), "DIGEST"},
	{regexp.MustCompile(`\b[a-z/]+\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+`), "KEY"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "ADDRESS"},
	{regexp.MustCompile(`\b\d{4}-\d{2}-\d{2}T[0-9:.]+Z`), "TIME"},
	// How often a world's parts hear of one another depends on the machine.
	{regexp.MustCompile(`\bentries 0 to \d+\b`), "ENTRIES"},
	{regexp.MustCompile(`\bover \d+ entries\b`), "ENTRIES"},
	{regexp.MustCompile(`[ \t]+`), " "},
}

func settle(line string) string {
	for _, p := range perRun {
		line = p.re.ReplaceAllString(line, p.is)
	}
	return strings.TrimSpace(line)
}

// Differs compares what a command printed with what the page says, and returns
// where they part, or "". Tokens, entry ids, digests, keys, loopback addresses,
// times and how many entries a journal has count as equal, and so does any white space
// as any other.
func (e Example) Differs(printed string) string {
	got := strings.Split(strings.TrimRight(printed, "\n"), "\n")
	want := e.Want
	for len(want) > 0 && strings.TrimSpace(want[len(want)-1]) == "" {
		want = want[:len(want)-1]
	}
	if len(want) == 0 && printed == "" {
		return ""
	}
	return differs(want, got)
}

func differs(want, got []string) string {
	for i, w := range want {
		if strings.TrimSpace(w) == "…" {
			rest := want[i+1:]
			for skip := i; skip <= len(got); skip++ {
				if differs(rest, got[skip:]) == "" {
					return ""
				}
			}
			if len(rest) == 0 {
				return ""
			}
			return fmt.Sprintf("after …, no line like %q and what follows it", rest[0])
		}
		if i >= len(got) {
			return fmt.Sprintf("it ends before %q", w)
		}
		if settle(w) != settle(got[i]) {
			return fmt.Sprintf("the page says %q, it prints %q", w, got[i])
		}
	}
	if len(got) > len(want) {
		return fmt.Sprintf("it goes on with %q", got[len(want)])
	}
	return ""
}

package browsertest

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// axe is axe-core 4.14.1, under the licence beside it, as its makers publish it.
//
//go:embed testdata/axe/axe.min.js
var axe string

// axeSum is its SHA-256.
const axeSum = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"

// axeTags are the rules that pages are held to: WCAG 2.2, levels A and AA.
var axeTags = []string{"wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"}

// Violation is a rule of accessibility that a page breaks.
type Violation struct {
	Rule  string `json:"id"`
	Help  string
	Nodes []struct {
		Target []json.RawMessage // selectors
		HTML   string
		Why    string `json:"failureSummary"`
	}
}

// String is the violation for a person: each element, and why.
func (v Violation) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s (%s)", v.Rule, v.Help)
	for _, n := range v.Nodes {
		fmt.Fprintf(&s, "\n\t%s  %s\n\t\t%s", n.Target, n.HTML, strings.ReplaceAll(n.Why, "\n", "\n\t\t"))
	}
	return s.String()
}

// Axe holds the page against WCAG 2.2 A and AA, the size of targets included. What it
// cannot decide by itself is unsure: somebody must look. Named rules are asked alone.
func (b *Browser) Axe(rules ...string) (violations, unsure []Violation) {
	b.tb.Helper()
	only, err := json.Marshal(map[string]any{"type": "tag", "values": axeTags})
	if len(rules) > 0 {
		only, err = json.Marshal(map[string]any{"type": "rule", "values": rules})
	}
	if err != nil {
		b.tb.Fatalf("axe: %v", err)
	}
	var text string
	b.Do("axe", chromedp.Evaluate(`if (typeof axe === "undefined") { `+axe+` }; ""`, nil),
		chromedp.Evaluate(`axe.run(document, {runOnly: `+string(only)+`, rules: {"target-size": {enabled: `+fmt.Sprint(len(rules) == 0)+`}}, resultTypes: ["violations", "incomplete"]})
			.then(r => JSON.stringify({violations: r.violations, incomplete: r.incomplete}))`, &text,
			func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
	var found struct{ Violations, Incomplete []Violation }
	if err := json.Unmarshal([]byte(text), &found); err != nil {
		b.tb.Fatalf("axe: %v", err)
	}
	return found.Violations, found.Incomplete
}

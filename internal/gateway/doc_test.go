package gateway_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// Every code of a refusal stands in docs/formats.md, and no other does.
func TestRefusalsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/formats.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(doc), "### Refusals")
	if !ok {
		t.Fatal("docs/formats.md has no section on refusals")
	}
	table, _, _ = strings.Cut(table, "\n### ")
	codes := map[string]bool{}
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	inCode := regexp.MustCompile(`refusal\{(?:status: )?[^,{}]+, (?:code: )?"([a-z-]+)"`)
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		src, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range inCode.FindAllStringSubmatch(string(src), -1) {
			codes[m[1]] = true
			if !strings.Contains(table, "`"+m[1]+"`") {
				t.Errorf("the refusal %q is not in docs/formats.md", m[1])
			}
		}
	}
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]*)\\|").FindAllStringSubmatch(table, -1) {
		for _, m := range regexp.MustCompile("`([a-z-]+)`").FindAllStringSubmatch(row[1], -1) {
			if !codes[m[1]] {
				t.Errorf("docs/formats.md has the code %q, which no refusal has", m[1])
			}
		}
	}
	if len(codes) < 10 {
		t.Errorf("only %d codes found", len(codes))
	}
}

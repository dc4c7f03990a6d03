package packs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/taxonomy"
)

// The examples of docs/policy.md, put together, are a pack that is good and
// passes the tests it shows.
func TestThePolicyPageIsAPack(t *testing.T) {
	src, err := os.ReadFile("../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, text string) {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("pack.yaml", "pack: page\nversion: 1\n")
	cases := 0
	blocks := strings.Split(string(src), "```yaml\n")[1:]
	for i, b := range blocks {
		text, _, _ := strings.Cut(b, "```")
		key, _, _ := strings.Cut(text, ":")
		switch key {
		case "contract", "transit":
			write(fmt.Sprintf("%ss/%d.yaml", key, i), text)
		case "destinations":
			write("destinations.yaml", text)
		case "labels":
			write("taxonomy.yaml", text)
		case "- never":
			write("never.yaml", text)
		case "- test":
			write(fmt.Sprintf("tests/%d.yaml", i), text)
			cases += strings.Count("\n"+text, "\n- test:")
		default:
			t.Errorf("block %d begins with %q, which is no file of a pack", i+1, key)
		}
	}
	if n := runCases(t, dir); n != cases || n < 6 {
		t.Errorf("%d cases passed, want the %d of the page, of which there are some", n, cases)
	}
}

// The page lists what is not end-user data as the taxonomy has it.
func TestThePolicyPageSaysWhatEndUserDataIs(t *testing.T) {
	src, err := os.ReadFile("../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	_, list, found := strings.Cut(string(src), "End-user data is every label but ")
	list, _, ends := strings.Cut(list, ". A pack's own label")
	if !found || !ends {
		t.Fatal("the page does not say what end-user data is")
	}
	var not []isogate.LabelPattern
	for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(list, -1) {
		p, err := isogate.ParseLabelPattern(m[1])
		if err != nil {
			t.Error(err)
		}
		if len(taxonomy.Default().Match(p)) == 0 {
			t.Errorf("%s selects nothing", p)
		}
		not = append(not, p)
	}
	for _, d := range taxonomy.Default().All() {
		listed := slices.ContainsFunc(not, func(p isogate.LabelPattern) bool { return p.Match(d.Label) })
		if listed == taxonomy.Default().EndUser(d.Label) {
			t.Errorf("%s: end-user data %v, but the page says %v", d.Label, listed, !listed)
		}
	}
}

package remote

import (
	"os"
	"strings"
	"testing"
)

// The worked example of docs/formats.md is a manifest, and makes the rows that the
// page says; so are the rows that it shows.
func TestWorkedExample(t *testing.T) {
	doc, err := os.ReadFile("../../docs/formats.md")
	if err != nil {
		t.Fatal(err)
	}
	_, page, found := strings.Cut(string(doc), "\n## App manifests\n")
	if !found {
		t.Fatal("docs/formats.md has no section on app manifests")
	}
	page, _, _ = strings.Cut(page, "\n## ")
	var blocks []string
	for rest := page; ; {
		_, after, found := strings.Cut(rest, "\n```")
		if !found {
			break
		}
		block, next, _ := strings.Cut(after, "\n```\n")
		_, block, _ = strings.Cut(block, "\n")
		blocks, rest = append(blocks, block), "\n"+next
	}
	if len(blocks) != 3 {
		t.Fatalf("the section has %d examples, not rows, a manifest and what it makes", len(blocks))
	}
	for _, r := range rows(t, blocks[0]) {
		t.Log(r)
	}
	m, err := ParseManifest("formats.md", []byte(blocks[1]+"\n"), ManifestOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range m.Rows {
		got = append(got, d.Row.String())
	}
	for _, r := range m.Refused {
		got = append(got, "refused "+r.Written+": "+r.Reason)
	}
	if made := strings.Join(got, "\n"); made != blocks[2] {
		t.Errorf("the manifest makes\n%s\nand the page says\n%s", made, blocks[2])
	}
	if s, err := m.Source(); err != nil || !strings.Contains(blocks[1], "the source will be "+string(s)) {
		t.Errorf("the source is %q, %v", s, err)
	}
}

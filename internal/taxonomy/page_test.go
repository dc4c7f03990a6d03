package taxonomy

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of docs/policy.md anew")

// The table of labels that people read is the taxonomy.
func TestPolicyPage(t *testing.T) {
	const file = "../../docs/policy.md"
	const begin, end = "-update -->\n", "<!-- taxonomy: end -->"
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(src), begin)
	table, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s: the marks around the table are gone", file)
	}
	var want strings.Builder
	want.WriteString("| label | means | such as | but not | default | takes | elsewhere |\n|---|---|---|---|---|---|---|\n")
	for _, d := range Default().All() {
		takes := make([]string, len(d.Types))
		for i, k := range d.Types {
			takes[i] = k.String()
		}
		if len(takes) == 0 {
			takes = []string{"any"}
		}
		means := d.Definition
		if d.ReplacedBy != "" {
			means += "; use `" + string(d.ReplacedBy) + "`"
		}
		fmt.Fprintf(&want, "| `%s` | %s | %s · %s | %s | %s | %s | %s |\n", d.Label, means, d.Examples[0], d.Examples[1], d.Not,
			strings.TrimSpace(d.Treat.String()+" "+d.Form.String()), strings.Join(takes, ", "), strings.Join(strings.Fields(d.DPV+" "+d.Fides), ", "))
	}
	if table == want.String() {
		return
	}
	if !*update {
		t.Fatalf("%s: the table is not the taxonomy; write it anew with -update", file)
	}
	if err := os.WriteFile(file, []byte(head+begin+want.String()+end+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}

package policy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// TestFailingCases compares what failing cases print with testdata/failing.txtar.
func TestFailingCases(t *testing.T) {
	file := filepath.Join("testdata", "failing.txtar")
	a, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p := archive(t, "failing.txtar").with(files{"want": ""}).load(t)
	report, err := p.Test(instantOfTests)
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	passed := 0
	for _, c := range report.Cases {
		if len(c.Failures) == 0 {
			passed++
			if !strings.HasPrefix(c.Name, "ok: ") {
				t.Errorf("%s:%d: %s passed", c.File, c.Line, c.Name)
			}
			continue
		}
		got.WriteString(c.Name + "\n")
		for _, f := range c.Failures {
			got.WriteString("  " + f.String() + "\n")
		}
	}
	if report.Failed() != len(report.Cases)-passed {
		t.Errorf("%d failed of %d, %d passed", report.Failed(), len(report.Cases), passed)
	}
	last := &a.Files[len(a.Files)-1]
	if *update {
		last.Data = []byte(got.String())
		if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want := string(last.Data); got.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", got.String(), want)
	}
}

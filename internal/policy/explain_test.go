package policy

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/payload"
)

// TestExplain compares the explanations of testdata/explain.txtar, whose file ask
// has one question on a line: transit, field, instant.
func TestExplain(t *testing.T) {
	file := filepath.Join("testdata", "explain.txtar")
	a, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pack := archive(t, "explain.txtar").with(files{"ask": "", "want": ""}).load(t)
	var got strings.Builder
	for line := range strings.Lines(string(a.Files[0].Data)) {
		f := strings.Fields(line)
		tr, ok := pack.Plan().Transit(isogate.Transit(f[0]))
		if !ok {
			t.Fatalf("no transit %s", f[0])
		}
		at, err := time.Parse(time.RFC3339, f[2])
		if err != nil {
			t.Fatal(err)
		}
		x, err := tr.Explain(f[1], at)
		if err != nil {
			t.Fatal(err)
		}
		got.WriteString("> " + line + x.String())
		// What is explained is what is decided.
		v, err := tr.verdict(f[1], tr.table(tr.stretch(at), 1<<len(tr.guards)-1))
		if err != nil || tr.answer(v) != x.Verdict {
			t.Errorf("%s: explained %+v, decided %+v %v", line, x.Verdict, v, err)
		}
		var again Explanation
		b, err := json.Marshal(x)
		if err != nil || json.Unmarshal(b, &again) != nil || again.String() != x.String() {
			t.Errorf("%s: JSON does not say the same: %s %v", line, b, err)
		}
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

func TestExplainBadPath(t *testing.T) {
	tr, _ := good(t).load(t).Plan().Transit("support-session")
	if _, err := tr.Explain("a..b", instantOfTests); !errors.As(err, new(*payload.PathError)) {
		t.Error(err)
	}
	if _, err := tr.verdict("a..b", tr.Decide(Envelope{})); !errors.As(err, new(*payload.PathError)) {
		t.Error(err)
	}
}

// TestFields: every field that the transit names can be asked for.
func TestFields(t *testing.T) {
	tr, _ := good(t).load(t).Plan().Transit("support-session")
	got := strings.Join(tr.Fields(), "\n")
	const want = `attributes[key=user.email].value.stringValue
labels.'app.kubernetes.io/name'
meta.*
raw
raw.user.email
tickets[].id
tickets[].title
user.displayName
user.email
user.pager
query:tab
path:accountId
header:x-request-id
header:x-urgent
cookie:locale
trailer:x-checksum`
	if got != want {
		t.Errorf("%s", got)
	}
}

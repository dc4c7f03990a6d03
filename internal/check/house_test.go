package check

import (
	"os"
	"testing"
)

// The house's own tree, seen from this directory.
const root = "../.."

func report(t *testing.T, findings []Finding, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range findings {
		t.Error(f)
	}
}

func TestHousePromises(t *testing.T) {
	tree, err := Load(os.DirFS(root), "github.com/isogate/isogate")
	if err != nil {
		t.Fatal(err)
	}
	findings, err := tree.Promises()
	report(t, findings, err)
}

func TestHouseDependencies(t *testing.T) {
	findings, err := Dependencies(os.DirFS(root))
	report(t, findings, err)
}

func TestHouseWords(t *testing.T) {
	findings, err := Words(os.DirFS(root))
	report(t, findings, err)
}

func TestHouseDecisions(t *testing.T) {
	findings, err := Decisions(os.DirFS(root))
	report(t, findings, err)
}

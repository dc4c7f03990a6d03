package payload

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/isogate/isogate"
)

// tree compiles paths with labels, "PATH LABEL".
func treeOf(t *testing.T, lines ...string) *Tree {
	t.Helper()
	var specs []Spec
	for _, line := range lines {
		path, label, _ := strings.Cut(line, " ")
		p, err := ParsePath(path)
		if err != nil {
			t.Fatal(err)
		}
		specs = append(specs, Spec{Path: p, Label: isogate.Label(label)})
	}
	tree, err := Compile(specs)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// TestPairsOfWildcards: where wildcards of the two cross, the places that only they
// together tell apart are among the pairs.
func TestPairsOfWildcards(t *testing.T) {
	got := map[string]bool{} // path, and labels of either
	err := Pairs(treeOf(t, "a.*.c x.one", "d[k=v].e x.two"), treeOf(t, "a.b.* y.one", "d[j=w].* y.two"), func(p Pair) error {
		if !p.Name {
			got[fmt.Sprint(p.Path, p.Before.Labels, p.After.Labels)] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"a.b.c[x.one] [y.one]",
		"a.b.*[unclassified] [y.one]",
		"a.*.c[x.one] [unclassified]",
		"d[j=w].*[unclassified] [y.two]",
		"d[k=v].e[x.two] [unclassified]",
		"d[k=v].e[x.two] [y.two]", // an element that both select
	} {
		if !got[want] {
			t.Errorf("no pair %s among %v", want, got)
		}
	}
}

// TestPairsAreBounded: two contracts that have very many places between them are an
// error, not a long wait.
func TestPairsAreBounded(t *testing.T) {
	var a, b []string
	for i := range 700 {
		a = append(a, fmt.Sprintf("l[a=%d].x.y x.one", i))
		b = append(b, fmt.Sprintf("l[b=%d].x.z y.one", i))
	}
	err := Pairs(treeOf(t, a...), treeOf(t, b...), func(Pair) error { return nil })
	if !errors.Is(err, ErrManyPairs) {
		t.Errorf("%v", err)
	}
	stop := errors.New("stop")
	if err := Pairs(treeOf(t, "a x.one"), treeOf(t, "b x.one"), func(Pair) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
}

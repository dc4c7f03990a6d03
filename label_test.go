package isogate

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func TestParseLabel(t *testing.T) {
	for _, s := range []string{"a", "ugc.title", "personal.contact.email", "a.b.c.d", "a1.b_2", "unclassified"} {
		if l, err := ParseLabel(s); err != nil || string(l) != s {
			t.Errorf("ParseLabel(%q) = %q, %v", s, l, err)
		}
	}
	for s, want := range map[string]string{
		"":          "is empty",
		".":         "empty segment",
		"a.":        "empty segment",
		".a":        "empty segment",
		"a..b":      "empty segment",
		"a.b.c.d.e": "more than 4 segments",
		"A":         `segment "A" does not begin with a letter`,
		"1a":        "does not begin with a letter",
		"_a":        "does not begin with a letter",
		"a.*":       "does not begin with a letter",
		"**":        "does not begin with a letter",
		"a-b":       `has the character '-'`,
		"a.bC":      `has the character 'C'`,
		"a b":       "has the character",
		"á":         "does not begin with a letter",
		"aé":        "has the character",
	} {
		if l, err := ParseLabel(s); err == nil || l != "" || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseLabel(%q) = %q, %v; want an error with %q", s, l, err, want)
		}
	}
}

func TestParseLabelPattern(t *testing.T) {
	for _, s := range []string{"a.b", "*", "**", "a.*", "*.b", "a.*.c", "a.b.c.d", "a.b.c.d.**", "security.secret.**"} {
		if p, err := ParseLabelPattern(s); err != nil || string(p) != s {
			t.Errorf("ParseLabelPattern(%q) = %q, %v", s, p, err)
		}
	}
	for s, want := range map[string]string{
		"":            "is empty",
		"**.a":        "** before its last segment",
		"a.**.b":      "** before its last segment",
		"a*":          `has the character '*'`,
		"a.***":       "does not begin",
		"*.*.*.*.*":   "more than 4 segments",
		"a.b.c.d.e.f": "more than 4 segments",
		"a.":          "empty segment",
	} {
		if p, err := ParseLabelPattern(s); err == nil || p != "" || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseLabelPattern(%q) = %q, %v; want an error with %q", s, p, err, want)
		}
	}
}

func TestParent(t *testing.T) {
	for l, want := range map[Label]Label{"a.b.c": "a.b", "a.b": "a", "a": "", "": ""} {
		if got := l.Parent(); got != want {
			t.Errorf("%q.Parent() = %q", l, got)
		}
	}
}

func TestReserved(t *testing.T) {
	for l, want := range map[Label]bool{"": true, Unclassified: true, Opaque: true, "ugc.title": false, "unclassified.x": false} {
		if l.Reserved() != want {
			t.Errorf("%q.Reserved() = %t", l, !want)
		}
	}
}

func TestLabelPatternMatch(t *testing.T) {
	for _, c := range []struct {
		p    LabelPattern
		l    Label
		want bool
	}{
		{"a.b", "a.b", true},
		{"a.b", "a.bc", false}, // whole segments, never prefixes
		{"a.b", "a", false},
		{"a", "a.b", false},
		{"a.*", "a.b", true},
		{"a.*", "a.b.c", false},
		{"a.*", "a", false},
		{"*.b", "a.b", true},
		{"*", "a", true},
		{"*", "a.b", false},
		{"a.*.c", "a.b.c", true},
		{"a.**", "a", true},
		{"a.**", "a.b", true},
		{"a.**", "a.b.c.d", true},
		{"a.**", "ab", false},
		{"a.**", "b.a", false},
		{"a.*.**", "a", false},
		{"a.*.**", "a.b", true},
		{"a.b.c.d.**", "a.b.c.d", true},
		{"**", "a", true},
		{"**", "a.b.c.d", true},
		{"", "a", false},
		{"", "", false},
		{"**", "", false},
		{"**", Unclassified, false},
		{"*", Opaque, false},
		{"unclassified", Unclassified, false},
	} {
		if got := c.p.Match(c.l); got != c.want {
			t.Errorf("%q.Match(%q) = %t", c.p, c.l, got)
		}
	}
}

// The pattern agrees with a slow model of it on every short pattern and label.
func TestLabelPatternMatchAgreesWithAModel(t *testing.T) {
	var model func(p, l []string) bool
	model = func(p, l []string) bool {
		switch {
		case len(p) == 0:
			return len(l) == 0
		case p[0] == "**":
			return true
		case len(l) == 0 || p[0] != "*" && p[0] != l[0]:
			return false
		}
		return model(p[1:], l[1:])
	}
	segs := []string{"a", "b", "*", "**"}
	word := func(n, k int) string {
		w := make([]string, 1+rand.IntN(n))
		for i := range w {
			w[i] = segs[rand.IntN(k)]
		}
		return strings.Join(w, ".")
	}
	matched := 0
	for range 20000 {
		p, err := ParseLabelPattern(word(5, 4))
		if err != nil {
			continue
		}
		l, err := ParseLabel(word(4, 2))
		if err != nil {
			t.Fatal(err)
		}
		want := model(strings.Split(string(p), "."), strings.Split(string(l), "."))
		if p.Match(l) != want {
			t.Fatalf("%q.Match(%q) = %t", p, l, !want)
		}
		if want {
			matched++
		}
	}
	if matched < 100 {
		t.Errorf("only %d pairs matched: the test looks at too little", matched)
	}
}

func TestExact(t *testing.T) {
	if l, ok := LabelPattern("a.b").Exact(); !ok || l != "a.b" {
		t.Errorf("%q, %t", l, ok)
	}
	for _, p := range []LabelPattern{"", "*", "a.*", "a.**"} {
		if _, ok := p.Exact(); ok {
			t.Errorf("%q is said to select one label", p)
		}
	}
}

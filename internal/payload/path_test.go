package payload

import (
	"errors"
	"strings"
	"testing"
)

func TestParsePath(t *testing.T) {
	for _, c := range []struct{ in, canonical string }{
		{"$", "$"},
		{"'$'", "'$'"},
		{"user.email", ""},
		{"a.$.b", "a.'$'.b"},
		{"$ref", ""},
		{"tickets[].title", ""},
		{"[]", ""},
		{"[].x", ""},
		{"[][].x", ""},
		{"*", ""},
		{"**", ""},
		{"meta.*.x.**", ""},
		{"**.email", ""},
		{"**.*.**", ""},
		{"labels.'app.kubernetes.io/name'", ""},
		{"''", ""},
		{"a.''.b", ""},
		{"'it''s'", ""},
		{"''''", ""},
		{"'plain'", "plain"},
		{"'*'", ""},
		{"'?'", ""},
		{"'a b'", ""},
		{"'#name'", ""},
		{"'user[email]'", ""},
		{"attributes[key=user.email].value", ""},
		{"attributes['odd=key'='text]'].value", ""},
		{"a[k='']", ""},
		{"a[k=x y]", ""},
		{"a[k='it''s']", ""},
		{"[k=v][].x", ""},
		{"имя.é-1:2/3", ""},
	} {
		p, err := ParsePath(c.in)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		if c.canonical == "" {
			c.canonical = c.in
		}
		if p.String() != c.canonical {
			t.Errorf("%s is written %s, not %s", c.in, p, c.canonical)
		}
	}
	if (Path{}).String() != "$" {
		t.Error("the zero path is not the body")
	}
}

func TestParsePathErrors(t *testing.T) {
	for _, c := range []struct {
		in     string
		offset int
		msg    string
	}{
		{"", 0, "use $"},
		{"\xff", 0, "UTF-8"},
		{"$.user", 0, "leave out the $"},
		{"$[]", 0, "leave out the $"},
		{".a", 0, "a step is empty"},
		{"a..b", 2, "a step is empty"},
		{"a.", 2, "a step is empty"},
		{"a.[]", 2, "without a dot"},
		{"a[]b", 3, "use . or ["},
		{"'a'b", 3, "use . or ["},
		{"**.**", 3, "one is enough"},
		{"a*", 1, "must be quoted"},
		{"a b", 1, "must be quoted"},
		{"a]", 1, "must be quoted"},
		{"it's", 2, "'it''s'"},
		{"a=b", 1, "must be quoted"},
		{"a#name", 1, "must be quoted"},
		{"?", 0, "use '?'"},
		{"a.?", 2, "use '?'"},
		{"'open", 0, "not closed"},
		{"a.'open", 2, "not closed"},
		{"a[", 2, "missing"},
		{"a[=x]", 2, "missing"},
		{"a[k]", 3, "[key=value]"},
		{"a[3]", 3, "[] for every element"},
		{"a[k", 3, "[key=value]"},
		{"a[a b=c]", 3, "must be quoted"},
		{"a['k=v]", 2, "not closed"},
		{"a[k='v]", 4, "not closed"},
		{"a[k=]", 4, "use [key='']"},
		{"a[k=v", 5, "bracket is not closed"},
		{"a[k=it's]", 6, "must be quoted"},
		{"a[k='v'x]", 7, "bracket is not closed"},
	} {
		_, err := ParsePath(c.in)
		var pe *PathError
		if !errors.As(err, &pe) || pe.Offset != c.offset || !strings.Contains(pe.Error(), c.msg) {
			t.Errorf("%q: %v, want %q at %d", c.in, err, c.msg, c.offset)
		}
	}
}

// FuzzPath: what is read is written so that it is read the same.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"user.email", "a[k='x'].**.*", "''", "'it''s'[][a=b]", "$", "[].x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePath(s)
		if err != nil {
			var pe *PathError
			if !errors.As(err, &pe) || pe.Offset < 0 || pe.Offset > len(s) {
				t.Fatalf("%v", err)
			}
			return
		}
		again, err := ParsePath(p.String())
		if err != nil || again.String() != p.String() || len(again.segs) != len(p.segs) {
			t.Fatalf("%q is written %q: %v", s, p, err)
		}
		tree, err := Compile([]Spec{{Path: p, Label: "x"}})
		if err != nil {
			t.Fatal(err)
		}
		if place, err := tree.Find(p.String()); err != nil || !place.Declared || place.Path != p.String() {
			t.Fatalf("%s is found as %+v, %v", p, place, err)
		}
	})
}

package taxonomy

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/isogate/isogate"
)

func TestParse(t *testing.T) {
	defs, err := Parse("taxonomy.yaml", []byte(`# comment
labels:
  - label: acme.order
    definition: |
      An order
    examples: ["12", 'a "b"']
    not: c
    treat: token
    form: text
    types: [string, number]
    dpv: dpv-pd:Purchase
    fides: user.behavior.purchase_history
    replaced_by: acme.sale
  - {label: acme.sale, treat: drop, fides: system}
`))
	if err != nil || len(defs) != 2 {
		t.Fatalf("%v, %v", defs, err)
	}
	d := defs[0]
	if d.Label != "acme.order" || d.Definition != "An order" || !slices.Equal(d.Examples, []string{"12", `a "b"`}) || d.Not != "c" ||
		d.Treat != isogate.Token || d.Form.Name != "text" || !slices.Equal(d.Types, []isogate.Kind{isogate.String, isogate.Number}) ||
		d.DPV != "dpv-pd:Purchase" || d.Fides != "user.behavior.purchase_history" || d.ReplacedBy != "acme.sale" ||
		d.File != "taxonomy.yaml" || d.Line != 3 || d.Column != 5 {
		t.Errorf("%+v", d)
	}
	if defs[1].Treat != isogate.Drop || defs[1].Line != 14 || defs[1].Column != 6 || defs[1].Types != nil {
		t.Errorf("%+v", defs[1])
	}
}

func TestParseRefuses(t *testing.T) {
	for name, c := range map[string]struct{ src, want string }{
		"empty":           {"", "taxonomy.yaml: the file is empty; write labels:"},
		"comment only":    {"# nothing\n", "the file is empty"},
		"two documents":   {"labels: []\n---\nlabels: []\n", "taxonomy.yaml:3:7: there is a second YAML document; keep one"},
		"not YAML":        {"labels: [\n", "taxonomy.yaml:1:9: "},
		"tab":             {"labels:\n\t- label: a\n", "taxonomy.yaml:2:1: "},
		"duplicate key":   {"labels:\n  - label: a\n    label: b\n", `taxonomy.yaml:3:5: key "label" is given twice, first in line 2; remove one of the two`},
		"a list":          {"- labels\n", "taxonomy.yaml:1:1: this is not a mapping; write key: value"},
		"unknown key":     {"lables: []\n", `taxonomy.yaml:1:1: unknown key "lables"; use one of labels`},
		"no value":        {"labels:\n", "taxonomy.yaml:1:1: labels has no value; give it a value or remove it"},
		"not a list":      {"labels: {a: b}\n", "labels is not a list; write a list"},
		"not a mapping":   {"labels: [a]\n", "taxonomy.yaml:1:10: this is not a mapping"},
		"unknown subkey":  {"labels: [{label: a, treat: drop, action: drop}]\n", `unknown key "action"; use one of label, definition`},
		"no label":        {"labels: [{treat: drop}]\n", "taxonomy.yaml:1:11: the definition has no label"},
		"empty mapping":   {"labels: [{}]\n", "taxonomy.yaml:1:10: the definition has no label"},
		"no treatment":    {"labels: [{label: a}]\n", "the definition has no treatment; add treat:"},
		"bad label":       {"labels: [{label: A.b, treat: drop}]\n", `taxonomy.yaml:1:18: label "A.b": segment "A" does not begin`},
		"deep label":      {"labels: [{label: a.b.c.d.e, treat: drop}]\n", "more than 4 segments"},
		"label number":    {"labels: [{label: 7, treat: drop}]\n", "this is not text; put it in quotes"},
		"bad action":      {"labels: [{label: a, treat: encrypt}]\n", `unknown action "encrypt"; use one of`},
		"bad form":        {"labels: [{label: a, treat: token, form: month}]\n", `taxonomy.yaml:1:41: form "month" belongs to generalise, not to token`},
		"missing form":    {"labels: [{label: a, treat: generalise}]\n", "taxonomy.yaml:1:11: generalise needs a form"},
		"bad type":        {"labels: [{label: a, treat: drop, types: [text]}]\n", `unknown type "text"`},
		"type twice":      {"labels: [{label: a, treat: drop, types: [string, string]}]\n", "type string is named twice"},
		"types no list":   {"labels: [{label: a, treat: drop, types: string}]\n", "this is not a list; write [string, number]"},
		"types empty":     {"labels: [{label: a, treat: drop, types: []}]\n", "types is empty"},
		"examples text":   {"labels: [{label: a, treat: drop, examples: one}]\n", "this is not a list; write [one, two]"},
		"example number":  {"labels: [{label: a, treat: drop, examples: [1, 2]}]\n", "taxonomy.yaml:1:45: this is not text"},
		"empty text":      {"labels: [{label: a, treat: drop, not: ' '}]\n", "the text is empty"},
		"bad dpv":         {"labels: [{label: a, treat: drop, dpv: EmailAddress}]\n", `"EmailAddress" is not a term of that vocabulary; write it as dpv-pd:… or dpv:…`},
		"bad fides":       {"labels: [{label: a, treat: drop, fides: username}]\n", `"username" is not a term`},
		"fides and space": {"labels: [{label: a, treat: drop, fides: 'user. x'}]\n", "is not a term"},
		"bad successor":   {"labels: [{label: a, treat: drop, replaced_by: 'a b'}]\n", `label "a b"`},
		"anchor":          {"labels: &x []\n", "taxonomy.yaml:1:9: there is an anchor; write the value out"},
		"alias":           {"labels: [{label: &x a, treat: drop}, {label: *x, treat: drop}]\n", "there is an alias"},
		"merge key":       {"labels: [{<<: {label: a}, treat: drop}]\n", "there is a merge key"},
		"tag":             {"labels: [{label: !!str a, treat: drop}]\n", "there is a tag"},
	} {
		t.Run(name, func(t *testing.T) {
			defs, err := Parse("taxonomy.yaml", []byte(c.src))
			var errs Errors
			if !errors.As(err, &errs) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if len(defs) != 0 {
				t.Errorf("definitions beside the error: %+v", defs)
			}
			for _, e := range errs {
				if e.Message == "" || e.Hint == "" || e.File != "taxonomy.yaml" {
					t.Errorf("place, cause or next step is missing: %+v", e)
				}
			}
		})
	}
}

func TestParseReportsAllAndKeepsTheRest(t *testing.T) {
	defs, err := Parse("taxonomy.yaml", []byte(`labels:
  - {label: a b, treat: encrypt, types: [text]}
  - {label: acme.fine, treat: drop}
  - {label: acme.x, treat: token, form: year, colour: red}
`))
	var errs Errors
	if !errors.As(err, &errs) || len(errs) != 5 {
		t.Fatalf("want five errors, got\n%v", err)
	}
	if !slices.IsSortedFunc(errs, func(a, b *Error) int { return a.Line*100 + a.Column - b.Line*100 - b.Column }) {
		t.Errorf("not in the order of the file:\n%v", err)
	}
	if len(defs) != 1 || defs[0].Label != "acme.fine" {
		t.Errorf("%+v", defs)
	}
	var one *Error
	if !errors.As(err, &one) || one != errs[0] {
		t.Error("errors.As does not reach the single errors")
	}
}

func TestErrors(t *testing.T) {
	es := Errors{{File: "b", Line: 1, Column: 1, Message: "m"}, {File: "a", Line: 2, Column: 1, Message: "m"}, {File: "a", Line: 1, Column: 5, Message: "m", Hint: "h"}, {File: "a", Line: 1, Column: 2, Message: "m"}, {File: "a", Message: "m"}}
	if got, want := es.err().Error(), "a: m\na:1:2: m\na:1:5: m; h\na:2:1: m\nb:1:1: m"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if Errors(nil).err() != nil {
		t.Error("no errors are an error")
	}
}

// Whatever the bytes, Parse answers with definitions or with placed errors.
func FuzzParse(f *testing.F) {
	f.Add([]byte("labels:\n  - {label: a.b, treat: drop}\n"))
	f.Add([]byte("labels: [{label: &x a, <<: *x}]"))
	f.Add([]byte("labels: [!!binary aGk=]\n---\n"))
	f.Add([]byte("? [a]\n: b"))
	f.Fuzz(func(t *testing.T, src []byte) {
		defs, err := Parse("f", src)
		if err == nil {
			_, _ = Default().Extend(defs)
			return
		}
		var errs Errors
		if !errors.As(err, &errs) || len(errs) == 0 {
			t.Fatalf("%T: %v", err, err)
		}
	})
}

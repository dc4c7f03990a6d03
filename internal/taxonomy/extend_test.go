package taxonomy

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/isogate/isogate"
)

// labelYAML is one definition, whole but for what a case changes.
func labelYAML(label, treat string, more ...string) string {
	return "  - label: " + label + "\n    treat: " + treat + "\n    definition: What it means\n    examples: [one, two]\n    not: another (ugc.body)\n" +
		strings.Join(more, "")
}

func extend(t *testing.T, base *Taxonomy, yaml string) (*Taxonomy, error) {
	t.Helper()
	defs, err := Parse("taxonomy.yaml", []byte("labels:\n"+yaml))
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	return base.Extend(defs)
}

func TestExtendAdds(t *testing.T) {
	tx, err := extend(t, Default(),
		labelYAML("personal.contact.pager.old", "hash")+ // below a label of the same file that comes later
			labelYAML("personal.contact.pager", "token", "    form: email\n    types: [string]\n")+
			labelYAML("acme.order", "drop")+
			labelYAML("system.metadata.build", "token")+
			labelYAML("acme.parcel", "drop", "    replaced_by: acme.order\n"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := tx.Lookup("personal.contact.pager")
	if err != nil || d.Treat != isogate.Token || d.Form.Name != "email" || d.File != "taxonomy.yaml" || d.Line != 7 || d.Column != 5 {
		t.Errorf("%+v, %v", d, err)
	}
	if got := tx.Treatment("acme.order").Action; got != isogate.Drop {
		t.Errorf("acme.order: %s", got)
	}
	var replaced *ReplacedError
	if _, err := tx.Lookup("acme.parcel"); !errors.As(err, &replaced) || replaced.By != "acme.order" {
		t.Errorf("acme.parcel: %v", err)
	}
	if len(tx.All()) != len(Default().All())+5 {
		t.Errorf("%d labels", len(tx.All()))
	}
	if _, err := Default().Lookup("acme.order"); err == nil {
		t.Error("Extend changed the taxonomy it was called on")
	}
}

func TestExtendMakesStricter(t *testing.T) {
	defs, err := Parse("taxonomy.yaml", []byte(`labels:
  - {label: unclassified, treat: drop}
  - {label: personal.contact.email, treat: redact}
  - {label: system.timestamp, treat: generalise, form: day}
  - {label: telemetry.severity, treat: allow}
  - label: ugc.title
    treat: hash
    definition: Titles at Acme
    examples: [a, b]
    not: c (ugc.body)
    dpv: dpv-pd:Communication
    fides: user.content
    types: [string]
`))
	if err != nil {
		t.Fatal(err)
	}
	tx, err := Default().Extend(defs)
	if err != nil {
		t.Fatal(err)
	}
	for l, want := range map[isogate.Label]string{"unclassified": "drop", "personal.contact.email": "redact", "system.timestamp": "generalise day", "telemetry.severity": "allow", "ugc.title": "hash"} {
		v := tx.Treatment(l)
		if got := strings.TrimSpace(v.Action.String() + " " + v.Form.String()); got != want {
			t.Errorf("%s: %s, want %s", l, got, want)
		}
	}
	email, _ := tx.Lookup("personal.contact.email")
	if email.Definition == "" || len(email.Examples) != 2 || email.DPV != "dpv-pd:EmailAddress" || email.Fides != "user.contact.email" || email.File != "taxonomy.yaml" || !email.Takes(isogate.String) || email.Takes(isogate.Number) {
		t.Errorf("what the pack left out did not stay: %+v", email)
	}
	title, _ := tx.Lookup("ugc.title")
	if title.Definition != "Titles at Acme" || title.Examples[0] != "a" || title.Not != "c (ugc.body)" || title.DPV != "dpv-pd:Communication" || title.Fides != "user.content" {
		t.Errorf("what the pack restated was not taken: %+v", title)
	}
}

func TestExtendRefuses(t *testing.T) {
	for name, c := range map[string]struct{ yaml, want string }{
		"looser than shipped":        {labelYAML("personal.contact.phone", "allow"), "taxonomy.yaml:2:5: label personal.contact.phone: allow is looser than token, its default in the taxonomy; use token or stricter here"},
		"secret loosened":            {labelYAML("security.secret.key", "drop"), "drop is looser than refuse"},
		"unclassified loosened":      {labelYAML("unclassified", "token"), "token is looser than redact"},
		"opaque":                     {labelYAML("opaque", "refuse"), "label opaque is reserved"},
		"the same form":              {labelYAML("system.timestamp", "generalise", "    form: hour\n") + labelYAML("acme.x", "drop"), ""},
		"looser form":                {labelYAML("system.timestamp", "generalise", "    form: step-5\n"), `the form "step-5" is looser than "hour"`},
		"other token form":           {labelYAML("personal.contact.email", "token", "    form: text\n"), `the form "text" is looser than "email"`},
		"types changed":              {labelYAML("ugc.title", "token", "    types: [string, number]\n"), "cannot change which types"},
		"shipped deprecated":         {labelYAML("ugc.title", "token", "    replaced_by: ugc.body\n"), "cannot deprecate"},
		"new label in plaintext":     {labelYAML("acme.thing", "allow"), "label acme.thing: allow is looser than token, the loosest default of a label that a pack adds; use treat: token, and let it out"},
		"below an allowed one":       {labelYAML("system.metadata.build", "allow"), "allow is looser than token"},
		"masked":                     {labelYAML("personal.contact.pager", "mask", "    form: last-2\n"), "mask is looser than token"},
		"below a dropped one":        {labelYAML("personal.special.health.ward", "token"), "token is looser than drop, the loosest default of a label below personal.special.health"},
		"below a refused one":        {labelYAML("security.secret.pepper", "redact"), "redact is looser than refuse, the loosest default of a label below security.secret"},
		"below one of its own":       {labelYAML("acme.b.c", "token") + labelYAML("acme.b", "hash"), "taxonomy.yaml:2:5: label acme.b.c: token is looser than hash, the loosest default of a label below acme.b"},
		"twice":                      {labelYAML("acme.x", "drop") + labelYAML("acme.x", "token"), "taxonomy.yaml:7:5: label acme.x is defined twice, first at taxonomy.yaml:2:5; remove one of the two"},
		"no definition":              {"  - {label: acme.x, treat: drop, examples: [a, b], not: c}\n", "label acme.x has no definition"},
		"no examples":                {"  - {label: acme.x, treat: drop, definition: a, not: c}\n", "label acme.x has 0 examples; give exactly two"},
		"three examples":             {"  - {label: acme.x, treat: drop, definition: a, not: c, examples: [a, b, c]}\n", "label acme.x has 3 examples"},
		"no counter-example":         {"  - {label: acme.x, treat: drop, definition: a, examples: [a, b]}\n", "label acme.x has no counter-example"},
		"dropped but for some types": {labelYAML("acme.x", "drop", "    types: [string]\n"), "does not take every type"},
		"replaced by nothing":        {labelYAML("acme.x", "drop", "    replaced_by: acme.y\n"), "label acme.x is replaced by acme.y, which is not a key"},
		"replaced by itself":         {labelYAML("acme.x", "drop", "    replaced_by: acme.x\n"), "which is deprecated itself"},
		"replaced by deprecated":     {labelYAML("acme.x", "drop", "    replaced_by: ugc.description\n"), "use ugc.body"},
		"replaced by a stricter one": {labelYAML("acme.x", "token", "    replaced_by: personal.note\n"), "looser than its successor personal.note with redact"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := extend(t, Default(), c.yaml)
			if c.want == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestExtendReportsAllAndKeepsTheRest(t *testing.T) {
	tx, err := extend(t, Default(), labelYAML("zeta.z", "allow")+labelYAML("acme.fine", "drop")+labelYAML("opaque", "refuse")+labelYAML("a", "allow"))
	var errs Errors
	if !errors.As(err, &errs) || len(errs) != 3 || errs[0].Line != 2 || errs[1].Line != 12 || errs[2].Line != 17 {
		t.Fatalf("want three errors in the order of the file, got\n%v", err)
	}
	if _, err := tx.Lookup("acme.fine"); err != nil {
		t.Errorf("what was right is gone: %v", err)
	}
	if _, err := tx.Lookup("zeta.z"); err == nil {
		t.Error("what was wrong is in")
	}
}

// Whatever a pack says, no value of a shipped label is treated more loosely
// than the shipped taxonomy treats it, and no added label leaves in plaintext.
func TestExtendNeverLoosens(t *testing.T) {
	base := Default()
	labels := base.Match("**")
	for i := range 500 {
		rnd := rand.New(rand.NewPCG(uint64(i), 1))
		var defs []Definition
		for range 1 + rnd.IntN(8) {
			l := labels[rnd.IntN(len(labels))]
			switch rnd.IntN(4) {
			case 0:
				l = isogate.Unclassified
			case 1:
				if n, err := isogate.ParseLabel(string(l) + ".x"); err == nil {
					l = n
				}
			}
			a := isogate.Action(rnd.IntN(int(isogate.Allow) + 1))
			d := Definition{Label: l, Treat: a, Definition: "d", Examples: []string{"a", "b"}, Not: "c"}
			if a == isogate.Generalise {
				d.Form = []isogate.Form{{Name: "year"}, {Name: "hour"}, {Name: "network", N: 8}}[rnd.IntN(3)]
			}
			defs = append(defs, d)
		}
		got, _ := base.Extend(defs)
		for _, d := range got.All() {
			if _, err := base.Lookup(d.Label); errors.As(err, new(*UnknownError)) {
				if d.Treat > isogate.Token {
					t.Fatalf("%d: added %s leaves with %s", i, d.Label, d.Treat)
				}
				continue
			}
			v, shipped := got.Treatment(d.Label), base.Treatment(d.Label)
			if s := v.Strictest(shipped); s.Action != v.Action || s.Form != v.Form {
				t.Fatalf("%d: %s is treated with %+v, the shipped taxonomy with %+v", i, d.Label, v, shipped)
			}
		}
	}
}

package taxonomy

import (
	"errors"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/isogate/isogate"
)

// promise: P07
func TestEveryShippedLabelIsWhole(t *testing.T) {
	all := Default().All()
	if n := len(all); n < 80 || n > 120 {
		t.Errorf("%d labels; about 90 to 110 can still be learnt", n)
	}
	dpv := regexp.MustCompile(`^dpv-pd:[A-Z][A-Za-z]+$`)
	fides := regexp.MustCompile(`^(user|system)(\.[a-z_]+)*$`)
	seen := map[string]isogate.Label{}
	for _, d := range all {
		if l, err := isogate.ParseLabel(string(d.Label)); err != nil || l != d.Label {
			t.Errorf("%s: %v", d.Label, err)
		}
		if err := d.complete(); err != nil {
			t.Errorf("%s: %v", d.Label, err)
		}
		if strings.HasSuffix(d.Definition, ".") {
			t.Errorf("%s: the definition ends in a full stop", d.Label)
		}
		if d.Examples[0] == d.Examples[1] || slices.Contains(d.Examples, d.Not) {
			t.Errorf("%s: an example comes twice", d.Label)
		}
		if other, ok := seen[d.Definition]; ok {
			t.Errorf("%s and %s have the same definition", d.Label, other)
		}
		seen[d.Definition] = d.Label
		if d.Verdict() != Default().Treatment(d.Label) || d.Verdict().Label != d.Label || d.Verdict().Rule != "" {
			t.Errorf("%s: the treatment is not its own", d.Label)
		}
		if _, err := isogate.ParseForm(d.Treat, d.Form.String()); err != nil {
			t.Errorf("%s: %v", d.Label, err)
		}
		if d.DPV != "" && !dpv.MatchString(d.DPV) || d.Fides != "" && !fides.MatchString(d.Fides) {
			t.Errorf("%s: mapping %q or %q is malformed", d.Label, d.DPV, d.Fides)
		}
		if d.Line == 0 || d.Column == 0 || d.File == "" {
			t.Errorf("%s: no place", d.Label)
		}
	}
}

// A counter-example says where the thing belongs instead, and that place exists.
func TestEveryCounterExampleNamesAKey(t *testing.T) {
	ref := regexp.MustCompile(`\(([a-z_.]+)\)$`)
	for _, d := range Default().All() {
		m := ref.FindStringSubmatch(d.Not)
		if m == nil {
			if !d.Label.Reserved() {
				t.Errorf("%s: not: %q names no other label", d.Label, d.Not)
			}
			continue
		}
		if _, err := Default().Lookup(isogate.Label(m[1])); err != nil || isogate.Label(m[1]) == d.Label {
			t.Errorf("%s: not: %q: %v", d.Label, d.Not, err)
		}
	}
}

// What leaves in plaintext with nobody's say must be plainly about nobody.
//
// promise: P03
func TestPlaintextByDefaultIsAboutNobody(t *testing.T) {
	harmless := isogate.LabelPattern("public.**")
	open := []isogate.LabelPattern{harmless, "usage.**", "telemetry.**", "system.**"}
	n := 0
	for _, d := range Default().All() {
		if d.Treat <= isogate.Token {
			continue
		}
		n++
		if !slices.ContainsFunc(open, func(p isogate.LabelPattern) bool { return p.Match(d.Label) }) {
			t.Errorf("%s: %s by default; let it out by a rule", d.Label, d.Treat)
		}
	}
	if n == 0 {
		t.Error("no label is allowed by default: the test looks at nothing")
	}
	strict := map[isogate.LabelPattern]isogate.Action{
		"security.secret.**": isogate.Refuse, "personal.special.**": isogate.Drop, "personal.financial.**": isogate.Drop,
		"personal.government_id": isogate.Drop, "personal.location.precise": isogate.Redact,
	}
	for p, a := range strict {
		labels := Default().Match(p)
		if len(labels) == 0 {
			t.Errorf("%s selects nothing", p)
		}
		for _, l := range labels {
			if got := Default().Treatment(l).Action; got > a {
				t.Errorf("%s: %s, looser than %s", l, got, a)
			}
		}
	}
	if got := Default().Treatment(isogate.Opaque).Action; got != isogate.Refuse {
		t.Errorf("opaque: %s", got)
	}
	// promise: P02
	if got := Default().Treatment(isogate.Unclassified).Action; got > isogate.Redact {
		t.Errorf("unclassified: %s", got)
	}
}

func TestShippedFamiliesAndKeys(t *testing.T) {
	families := map[string]int{}
	for _, d := range Default().All() {
		f, _, _ := strings.Cut(string(d.Label), ".")
		families[f]++
	}
	for _, f := range []string{"ugc", "personal", "identifier", "security", "billing", "corporate", "telemetry", "usage", "system", "legal", "public", "unclassified", "opaque"} {
		if families[f] == 0 {
			t.Errorf("family %s is empty", f)
		}
		delete(families, f)
	}
	if len(families) > 0 {
		t.Errorf("families nobody asked for: %v", families)
	}
	for _, l := range []isogate.Label{"personal.contact.email", "personal.name.display", "ugc.title", "system.metadata",
		"identifier.user.account_id", "identifier.correlation.request_id", "security.secret.password",
		"personal.special.health", "personal.special.religion", "personal.special.politics", "personal.special.union",
		"personal.special.sexuality", "personal.special.ethnicity", "personal.special.biometric", "personal.special.genetic", "personal.special.criminal"} {
		if _, err := Default().Lookup(l); err != nil {
			t.Error(err)
		}
	}
}

func TestLookup(t *testing.T) {
	for label, want := range map[isogate.Label]isogate.Label{
		"personal.contct.email":    "personal.contact.email",
		"personal.contact.emial":   "personal.contact.email",
		"personal.email":           "personal.contact.email",
		"email":                    "personal.contact.email",
		"personalcontact.email":    "personal.contact.email",
		"personal.contact.mail":    "personal.contact.email",
		"user.contact.email":       "personal.contact.email",
		"pii.contact.email":        "personal.contact.email",
		"ugc.titel":                "ugc.title",
		"identifier.user.accountd": "identifier.user.account_id",
		"security.secrets.token":   "security.secret.token",
		"unclasified":              "unclassified",
		"ugc.descripton":           "ugc.body", // near a deprecated key: its successor is meant
		"quux":                     "",
		"":                         "",
		"zebra.stripe.width.left":  "",
	} {
		_, err := Default().Lookup(label)
		var unknown *UnknownError
		if !errors.As(err, &unknown) || unknown.Label != label || unknown.Nearest != want {
			t.Errorf("Lookup(%q): %v; want the suggestion %q", label, err, want)
			continue
		}
		if want != "" && !strings.Contains(err.Error(), "did you mean "+string(want)+"?") || want == "" && !strings.Contains(err.Error(), "taxonomy.yaml") {
			t.Errorf("Lookup(%q): %v", label, err)
		}
	}
	d, err := Default().Lookup("ugc.description")
	var replaced *ReplacedError
	if !errors.As(err, &replaced) || replaced.By != "ugc.body" || err.Error() != `label "ugc.description" is deprecated; use ugc.body` {
		t.Errorf("Lookup(ugc.description): %v", err)
	}
	if d.Label != "ugc.description" || d.Treat != isogate.Token {
		t.Errorf("the deprecated key's definition is gone: %+v", d)
	}
	if d, err := Default().Lookup("ugc.title"); err != nil || d.Label != "ugc.title" {
		t.Errorf("Lookup(ugc.title): %+v, %v", d, err)
	}
}

func TestABrokenDefaultStopsTheProgram(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a taxonomy that does not parse was built all the same")
		}
	}()
	mustBuild(Parse("default.yaml", []byte("labels: [{label: a}]")))
}

func TestZeroTaxonomyRefuses(t *testing.T) {
	var zero Taxonomy
	if v := zero.Treatment("public.standard"); v.Action != isogate.Refuse || v.Label != "public.standard" {
		t.Errorf("%+v", v)
	}
	if _, err := zero.Lookup("public.standard"); err == nil {
		t.Error("the zero taxonomy knows a label")
	}
	if zero.All() == nil || len(zero.All()) != 0 || zero.Match("**") != nil {
		t.Error("the zero taxonomy is not empty")
	}
}

func TestMatch(t *testing.T) {
	if got, want := Default().Match("personal.name.*"), []isogate.Label{"personal.name.display", "personal.name.full", "personal.name.nickname", "personal.name.username"}; !slices.Equal(got, want) {
		t.Errorf("personal.name.*: %v", got)
	}
	all := Default().Match("**")
	if len(all) != len(Default().All())-2 || slices.Contains(all, isogate.Unclassified) || slices.Contains(all, isogate.Opaque) || !slices.IsSorted(all) {
		t.Errorf("**: %v", all)
	}
	if !slices.Contains(Default().Match("ugc.*"), "ugc.description") {
		t.Error("a deprecated key escapes a pattern, and so an invariant over it")
	}
}

func TestTakes(t *testing.T) {
	d, _ := Default().Lookup("usage.count")
	for k, want := range map[isogate.Kind]bool{isogate.Number: true, isogate.String: false, isogate.Bool: false, isogate.Null: true} {
		if d.Takes(k) != want {
			t.Errorf("usage.count takes %s: %t", k, !want)
		}
	}
	d, _ = Default().Lookup("personal.special.health")
	for k := range isogate.String + 1 {
		if !d.Takes(k) {
			t.Errorf("personal.special.health does not take %s, which would then be treated as unclassified, less strictly", k)
		}
	}
}

// All hands out copies: nobody can change the shipped taxonomy through them.
func TestAllIsACopy(t *testing.T) {
	all := Default().All()
	all[0].Treat, all[0].Label = isogate.Allow, "x"
	if Default().All()[0].Label == "x" {
		t.Error("All hands out the taxonomy's own definitions")
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"abc", "abc", 0}, {"abc", "acb", 1}, {"abc", "axc", 1}, {"kitten", "sitting", 3}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
	letters := "ab.c"
	word := func() string {
		b := make([]byte, rand.IntN(8))
		for i := range b {
			b[i] = letters[rand.IntN(len(letters))]
		}
		return string(b)
	}
	for range 2000 {
		a, b := word(), word()
		if distance(a, b) != distance(b, a) || (distance(a, b) == 0) != (a == b) {
			t.Fatalf("distance(%q, %q) = %d, the other way %d", a, b, distance(a, b), distance(b, a))
		}
	}
}

package policy

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/taxonomy"
)

// TestInvariantsHold compares the check of invariants with trying every instant and
// every combination of guards: it finds a counterexample exactly where there is
// one. promise: P39
func TestInvariantsHold(t *testing.T) {
	w := newWorld(6)
	found := 0
	for range 6000 {
		tr := &Transit{Name: "t", Purpose: isogate.Support, Sources: []isogate.Source{"s"}, Destination: &Destination{Name: "d", landing: w.IntN(2) == 0},
			taxonomy: taxonomy.Default(), rules: w.rules(), guards: make([]*guard, 3)}
		tr.parts[partQuery].labels = map[string]isogate.Label{"q": pick(w, w.labels...)}
		tr.prepare()
		inv := invariant{
			label:       pick(w, isogate.LabelPattern("personal.contact.email"), "personal.**", "**", "ugc.title", "*.metadata"),
			as:          []isogate.Action{pick(w, isogate.Drop, isogate.Hash, isogate.Token, isogate.Mask, isogate.Seal, isogate.Allow), pick(w, isogate.Redact, isogate.Allow)},
			purpose:     pick(w, isogate.NoPurpose, isogate.NoPurpose, isogate.Support, isogate.Billing),
			destination: pick(w, isogate.Destination(""), "", "d", "e"),
			source:      pick(w, isogate.Source(""), "", "s", "r"),
			at:          position{"never.yaml", 1, 3},
		}
		inv.labels = taxonomy.Default().Match(inv.label)
		covered := inv.purpose != isogate.Billing && inv.destination != "e" && inv.source != "r"
		var want []string
		for _, l := range inv.labels {
			for day := -1; day < 6; day++ {
				for guards := range uint32(8) {
					v := judge(tr.taxonomy.Treatment(l), tr.rules, moment{time: instantOfTests.AddDate(0, 0, day), guards: guards})
					sealed := tr.landed() && v.Action == isogate.Allow && v.Rule != "" && v.Handling != isogate.Persisted
					carried := l == tr.parts[partQuery].labels["q"]
					if covered && (slices.Contains(inv.as, v.Action) || sealed && slices.Contains(inv.as, isogate.Seal)) && (v.Rule != "" || carried) {
						want = append(want, string(l))
					}
				}
			}
		}
		r := reader{}
		r.hold(inv, []*Transit{tr})
		if (r.n > 0) != (len(want) > 0) {
			t.Fatalf("rules %+v\ninvariant %+v\nfound %v, want %v", tr.rules, inv, r.list, want)
		}
		for _, f := range r.list {
			found++
			if f.File != "never.yaml" || !strings.Contains(f.Message, "the transit t treats ") || !slices.ContainsFunc(want, func(l string) bool { return strings.Contains(f.Message, "treats "+l+" ") }) {
				t.Errorf("%+v, want one of %v", f, want)
			}
		}
	}
	if found < 500 {
		t.Errorf("only %d counterexamples were tried", found)
	}
}

// ATTACK: a pack forbids that a class of data leaves in plaintext; a change adds a
// landing to the destination, after which a rule that allows it comes to a seal.
// THIS TEST VERIFIES: what was forbidden without the landing is forbidden with it,
// and only a rule that says seal by itself is not an allow.
//
// promise: P39
func TestALandingLiftsNoInvariant(t *testing.T) {
	allowed := good(t).with(files{"never.yaml": "- never: {label: personal.name.**, as: allow}\n"})
	sealed := allowed.landed(t).replace(t, "transits/support-session.yaml", "{label: personal.name.display, as: allow,", "{label: personal.name.display, as: seal,").
		with(files{"tests/session.yaml": ""})
	const want = "never.yaml:1:3: the transit support-session treats personal.name.display with allow by the rule"
	for name, pack := range map[string]files{"without": allowed, "with": allowed.landed(t)} {
		if got := pack.mistakes(t); !strings.Contains(got, want) {
			t.Errorf("%s a landing: %s", name, got)
		}
	}
	if got := sealed.mistakes(t); got != "" {
		t.Errorf("a rule that seals: %s", got)
	}
	for _, pack := range []files{sealed, allowed.landed(t)} {
		if got := pack.with(files{"never.yaml": "- never: {label: personal.name.**, as: seal}\n"}).mistakes(t); !strings.Contains(got, "treats personal.name.display with seal") {
			t.Errorf("seals can be forbidden: %s", got)
		}
	}
}

// TestInvariantsIgnoreTheClock: a rule that has ended still breaks what forbids it,
// so that whether a pack loads never depends on the date.
func TestInvariantsIgnoreTheClock(t *testing.T) {
	pack := good(t).with(files{"never.yaml": "- never: {label: personal.contact.email, as: allow}\n"})
	for _, now := range []time.Time{{}, instantOfTests, instantOfTests.AddDate(100, 0, 0)} {
		_, err := Check(pack.write(t), now)
		if err == nil || !strings.Contains(err.Error(), "never.yaml:1:3: the transit support-session treats personal.contact.email with allow") {
			t.Errorf("at %v: %v", now, err)
		}
	}
}

// TestLoadIgnoresTheClock: a pack whose rules have ended loads, and is a mistake to
// those who write it.
func TestLoadIgnoresTheClock(t *testing.T) {
	dir := good(t).write(t)
	if _, err := Load(dir); err != nil {
		t.Error(err)
	}
	_, err := Check(dir, instantOfTests.AddDate(100, 0, 0))
	if err == nil || strings.Count(err.Error(), " ended after ") != 3 {
		t.Error(err)
	}
}

// TestTypesOfLabels: a value of a type that its label does not take is judged as
// unclassified, unless the contract says that the field takes it.
func TestTypesOfLabels(t *testing.T) {
	pack := good(t).with(files{"tests/session.yaml": "", "tests/form.yaml": "", "tests/file.yaml": `
- test: an address is a text, and the contract may say otherwise
  transit: support-session
  at: 2026-11-02T12:00:00Z
  input: {user: {email: 7, displayName: null}}
  expect: {output: {user: {email: 0, displayName: null}}}
`})
	report, err := pack.load(t).Test(instantOfTests)
	if err != nil || report.Failed() > 0 {
		t.Errorf("%+v %v", report, err)
	}
	report, err = pack.replace(t, "contracts/support-session.yaml", "user.email: personal.contact.email\n  user.pager", "user.email: {label: personal.contact.email, types: [number]}\n  user.pager").
		replace(t, "tests/file.yaml", "{email: 0,", "{email: 7,").load(t).Test(instantOfTests)
	if err != nil || report.Failed() > 0 {
		t.Errorf("%+v %v", report, err)
	}
}

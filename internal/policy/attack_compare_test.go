package policy

import (
	"strings"
	"testing"
)

// TestAttackWhatNobodyNames: attack: a pack refuses what nobody has named; the next one drops that
// line of its taxonomy, so that requests leave again whose query or path has such a value. The
// transit has neither a contract nor names, so that there is no place to compare. It must count
// as more exposing, and the other way round as stricter.
func TestAttackWhatNobodyNames(t *testing.T) {
	base := files{
		"pack.yaml":         "pack: a\nversion: 1\n",
		"destinations.yaml": "destinations:\n  - {name: far, url: https://far.example}\n",
		"transits/t.yaml":   "transit: t\npurpose: support\nsource: [product/x]\ndestination: far\nconsent: admin\nmatch: [\"GET /v1/{id}\"]\n",
	}
	strict := base.with(files{"taxonomy.yaml": "labels:\n  - {label: unclassified, treat: refuse}\n"})
	if e := Compare(strict.plan(t), base.plan(t), instantOfTests); !e.MoreExposing || !strings.Contains(e.String(), "query:*: refuse (unclassified) becomes redact") {
		t.Errorf("the line gone: %s", e.String())
	}
	if e := Compare(base.plan(t), strict.plan(t), instantOfTests); e.MoreExposing || e.None() {
		t.Errorf("the line added: %s", e.String())
	}
}

// TestAttackAnotherKindOfConsent: attack: a transit that only a user's own action opens becomes one
// that an administrator opens, once and for everything (or had opened before, for an earlier pack);
// from then on it sends by itself, at night, what no user asked for. That, and the other way round,
// is no stricter consent. One where nothing was asked before is.
func TestAttackAnotherKindOfConsent(t *testing.T) {
	with := func(consent string) *Plan {
		action := ""
		if consent == "user-action" {
			action = "user_action: {user: header Isogate-User, subject: path id, ttl: 2m}\n"
		}
		return files{
			"pack.yaml":         "pack: a\nversion: 1\n",
			"destinations.yaml": "destinations:\n  - {name: far, url: https://far.example}\n",
			"transits/t.yaml":   "transit: t\npurpose: support\nsource: [product/x]\ndestination: far\nconsent: " + consent + "\n" + action + "match: [\"GET /v1/{id}\"]\n",
		}.plan(t)
	}
	for _, c := range []struct {
		was, is string
		looser  bool
	}{
		{"user-action", "admin", true}, {"admin", "user-action", true}, {"admin", "none", true}, {"user-action", "none", true},
		{"none", "admin", false}, {"none", "user-action", false},
	} {
		if e := Compare(with(c.was), with(c.is), instantOfTests); e.MoreExposing != c.looser || !strings.Contains(e.String(), "consent: "+c.was+" becomes "+c.is) {
			t.Errorf("%s to %s: %s", c.was, c.is, e.String())
		}
	}
}

// TestAttackWhoItBelongsTo: attack: what a landing registers is filed under nobody any more, or under
// another label, so that erasing a person finds none of it and it stays outside. That is kept
// longer, and so more exposing; filing it where it was not is no such thing.
func TestAttackWhoItBelongsTo(t *testing.T) {
	base := good(t)
	for file := range base {
		if strings.HasPrefix(file, "tests/") {
			base = base.with(files{file: ""})
		}
	}
	without := base.edited(t, "transits/signals.yaml", "\nsubject: personal.contact.email", "\n#")
	if e := Compare(base.plan(t), without.plan(t), instantOfTests); !e.MoreExposing || !strings.Contains(e.String(), "subject: personal.contact.email is gone") {
		t.Errorf("gone: %s", e.String())
	}
	if e := Compare(without.plan(t), base.plan(t), instantOfTests); e.MoreExposing || e.None() {
		t.Errorf("new: %s", e.String())
	}
}

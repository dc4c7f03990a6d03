package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate"
)

// leavesPack is a transit with a rule for each way in which a label leaves, one of
// them guarded and one ended.
func leavesPack(t *testing.T) *Pack {
	t.Helper()
	return good(t).with(files{
		"contracts/leaves.yaml": "contract: leaves\nformat: json\nfields: {title: ugc.title, body: ugc.body, name: personal.name.display, state: system.status}\n",
		"transits/leaves.yaml": "transit: leaves\npurpose: support\ndestination: support-portal\nconsent: none\nsource: [leaves]\nmatch: [POST /leaves]\nrequest:\n  contract: leaves\n  release:\n" +
			"    - {label: ugc.title, as: allow, handling: persisted, because: Sorted by, owner: o, until: 2099-01-01}\n" +
			"    - {label: ugc.body, as: allow, handling: transit-only, because: Over, owner: o, until: 2020-01-01}\n" +
			"    - {label: personal.name.display, as: allow, handling: transit-only, because: Guarded, owner: o, until: 2099-01-01, when: 'method == \"PUT\"'}\n",
		"tests/leaves.yaml": "- {test: refused, transit: leaves, method: POST, path: /leaves, input: {title: \"much, much longer than the other\", title2: x}, expect: {refused: x}}\n" +
			"- {test: short, transit: leaves, method: POST, path: /leaves, input: {title: a}, expect: {output: {title: a}}}\n" +
			"- {test: long, transit: leaves, method: POST, path: /leaves, input: {title: Hello, body: World}, expect: {output: {title: Hello}}}\n",
	}).load(t)
}

// What is said to leave is what Decide lets out with every guard holding, and
// never looser for a limit.
//
// promise: P12
func TestLeavesIsTheMostThatLeaves(t *testing.T) {
	p := leavesPack(t)
	tr, _ := p.Plan().Transit("leaves")
	at := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	all := Limit{Persist: true, EndUserData: true}
	for _, c := range []struct {
		name  string
		limit Limit
		want  map[isogate.Label]string
	}{
		{"everything", all, map[isogate.Label]string{"ugc.title": "allow, persisted", "ugc.body": "token", "personal.name.display": "allow, transit-only", "system.status": "allow"}},
		{"not to be kept", Limit{EndUserData: true}, map[isogate.Label]string{"ugc.title": "token", "personal.name.display": "allow, transit-only"}},
		{"no end-user data", Limit{Persist: true}, map[isogate.Label]string{"ugc.title": "token", "personal.name.display": "token", "system.status": "allow"}},
		{"one label", Limit{Labels: []isogate.LabelPattern{"ugc.**"}, Persist: true, EndUserData: true}, map[isogate.Label]string{"ugc.title": "allow, persisted", "personal.name.display": "token"}},
	} {
		got := tr.Leaves(at, c.limit)
		for label, want := range c.want {
			found := ""
			for _, l := range got {
				if l.Label == label {
					found = l.String()
					if strings.HasPrefix(found, "allow,") != (l.Because != "") {
						t.Errorf("%s: %s is %s because %q", c.name, label, found, l.Because)
					}
				}
			}
			if !strings.HasPrefix(found, want) {
				t.Errorf("%s: %s is %q, want %q", c.name, label, found, want)
			}
		}
		for i := range got[1:] {
			if got[i].Action < got[i+1].Action {
				t.Errorf("%s: %s before %s", c.name, got[i].Action, got[i+1].Action)
			}
		}
	}
}

func TestSampleIsOfTheTests(t *testing.T) {
	p := leavesPack(t)
	tr, _ := p.Plan().Transit("leaves")
	at := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	before, after, ok := p.Sample(tr, at, Limit{Persist: true, EndUserData: true})
	if !ok || before != `{"title":"Hello","body":"World"}` || !strings.HasPrefix(after, `{"title":"Hello","body":"igt1`) {
		t.Errorf("%s leaves as %s, %v", before, after, ok)
	}
	if _, after, _ := p.Sample(tr, at, Limit{}); strings.Contains(after, "Hello") {
		t.Errorf("under a limit %s leaves", after)
	}
	if again, _, _ := p.Sample(tr, at, Limit{}); again != before {
		t.Errorf("another sample: %s", again)
	}
	for _, other := range p.Plan().Transits() {
		if b, _, _ := p.Sample(other, at, Limit{}); other != tr && b == before {
			t.Errorf("%s has the sample of %s", other.Name, tr.Name)
		}
	}
}

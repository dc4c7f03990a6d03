package policy

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/obfuscate"
	"github.com/isogate/isogate/internal/taxonomy"
)

// landingKey is a verifier key whose private half nobody uses.
const landingKey = "landing.example+c5902534+Aa03HmV1jTEiiVqgP1xg45rBwlAnDJyy4C9MgRD2LVbO"

// landed is a pack whose support-portal has a landing.
func (f files) landed(t testing.TB) files {
	t.Helper()
	return f.replace(t, "destinations.yaml", "url: https://support.example}", "url: https://support.example, landing: {public_key: "+landingKey+"}}")
}

// TestHandlingIsEnforced: whatever the rules, towards a landing nothing leaves in
// plaintext for a session or a time, nothing stays outside unregistered, and no
// verdict is looser than without one.
//
// promise: P16, P17, P18, P41
func TestHandlingIsEnforced(t *testing.T) {
	w := newWorld(11)
	seen := map[string]int{}
	for range rounds {
		rules, m := w.rules(), w.moment()
		all := make([]isogate.Verdict, 1+w.IntN(3))
		for i := range all {
			all[i] = judge(taxonomy.Default().Treatment(pick(w, w.labels...)), rules, m)
		}
		declared, asked := together(all)
		got := enforce(declared, asked, true)
		shuffled := slices.Clone(all)
		w.Shuffle(len(all), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if v, bound := together(shuffled); v != declared || bound != asked {
			t.Fatalf("in another order %+v becomes %+v", declared, v)
		}
		if v := enforce(got, bound(got), true); v != got {
			t.Fatalf("%+v, enforced again, becomes %+v", got, v)
		}
		if v := enforce(declared, asked, false); v.Sealed || v.Register || v.Action != declared.Action {
			t.Fatalf("without a landing %+v becomes %+v", declared, v)
		}
		if got.Action > declared.Action || got.Handling > declared.Handling {
			t.Fatalf("%+v loosens %+v", got, declared)
		}
		if !plaintext(declared.Action) && got != declared {
			t.Fatalf("%+v, which lets nothing be seen, becomes %+v", declared, got)
		}
		if got.Sealed && (got.Handling == isogate.Persisted || got.Action == isogate.Allow || got.Register) {
			t.Fatalf("sealed and kept: %+v", got)
		}
		for _, v := range all {
			if v.Action < declared.Action {
				t.Fatalf("%+v is looser than %+v", declared, v)
			}
			if v.Rule == "" || !plaintext(got.Action) {
				continue
			}
			if v.Action == declared.Action && declared.Rule == "" {
				t.Fatalf("%+v lets it out, and %+v names no rule", v, declared)
			}
			if v.Handling != isogate.Persisted && !got.Sealed {
				t.Fatalf("a rule asks %s, and it leaves as %+v", v.Handling, got)
			}
			if got.Sealed && (v.Handling < got.Handling || v.Handling == got.Handling && v.TTL < got.TTL) {
				t.Fatalf("a rule asks %s for %s, and the seal is to live as %+v", v.Handling, v.TTL, got)
			}
			if got.Action == isogate.Allow && !got.Register {
				t.Fatalf("it stays outside unregistered: %+v", got)
			}
		}
		seen[got.Action.String()+map[bool]string{true: " sealed"}[got.Sealed]+map[bool]string{true: " registered"}[got.Register]]++
	}
	for _, want := range []string{"seal sealed", "mask sealed", "generalise sealed", "allow registered", "allow", "mask", "token"} {
		if seen[want] == 0 {
			t.Errorf("no verdict came to %s: %v", want, seen)
		}
	}
}

// ATTACK: a contract gives a field a second label whose own default lets the value
// out, or whose rule may keep it, so that the field seems to ask for nothing.
// THIS TEST VERIFIES: the value is sealed all the same, for the shortest time that
// any rule asks.
//
// promise: P16, P41
func TestASecondLabelIsNoWayAroundTheSeal(t *testing.T) {
	released := isogate.Verdict{Action: isogate.Allow, Label: "personal.name.display", Rule: "r:1"}
	for _, second := range []isogate.Verdict{
		{Action: isogate.Allow, Label: "aaa"},                                               // by default
		{Action: isogate.Allow, Handling: isogate.Persisted, Label: "aaa", Rule: "r:2"},     // for good
		{Action: isogate.Allow, Handling: isogate.Temporary, TTL: 1, Label: "a", Rule: "q"}, // for a time
		{Action: isogate.Mask, Label: "aaa"},                                                // less, by default
		{Action: isogate.Mask, Handling: isogate.Persisted, Label: "aaa", Rule: "r:2"},      // less, for good
		{Action: isogate.Seal, Handling: isogate.Temporary, TTL: 1, Label: "aaa", Rule: "r:2"},
	} {
		v, asked := together([]isogate.Verdict{second, released})
		got := enforce(v, asked, true)
		if !got.Sealed || got.Handling != isogate.TransitOnly || got.TTL != 0 || got.Action == isogate.Allow {
			t.Errorf("with %+v it leaves as %+v", second, got)
		}
	}
}

// TestEveryPathSaysTheSame: the gateway's tables, explain, what a consent shows,
// preview and the tests of a pack tell one story of what a landing keeps.
//
// promise: P10, P41
func TestEveryPathSaysTheSame(t *testing.T) {
	p := good(t).landed(t).
		replace(t, "transits/support-session.yaml", "session: header Isogate-Session", "subject: personal.contact.email\nsession: header Isogate-Session").
		with(files{"tests/form.yaml": "", "tests/file.yaml": "", "tests/session.yaml": `
test: what a landing keeps
transit: support-session
at: 2026-11-02T12:00:00Z
headers: {X-Urgent: "1"}
input: {user: {email: ada@example.com, displayName: Ada, pager: "0123 456"}, meta: {a: 1}}
expect:
  output: {user: {email: ada@example.com, displayName: $seal, pager: $seal}, meta: {a: 1}}
  verdicts:
    user.email: {action: allow, handling: persisted, registered: true, sealed: false}
    user.displayName: {action: seal, handling: transit-only, sealed: true}
    user.pager: {action: mask, form: last-2, handling: temporary, ttl: 5m, sealed: true, registered: false}
    meta.*: {action: allow, sealed: false, registered: false}
`}).load(t)
	report, err := p.Test(instantOfTests)
	if err != nil || report.Failed() > 0 {
		t.Errorf("test: %+v %v", report, err)
	}
	tr, _ := p.Plan().Transit("support-session")
	if tr.Subject != "personal.contact.email" || tr.Destination.Landing.Name() != "landing.example" || tr.Destination.LandingKey != landingKey {
		t.Errorf("%+v", tr.Destination)
	}
	want := map[string]string{
		"user.email":       "allow, persisted: registered with the landing, which can have it erased",
		"user.displayName": "seal, transit-only: sealed to the landing until the session ends",
		"user.pager":       "mask last-2, temporary for 5m0s: sealed to the landing, which forgets the key after that",
		"meta.*":           "allow",
	}
	rules := tr.Decide(Envelope{Method: "POST", Time: instantOfTests, Header: func(string) string { return "1" }})
	for field, text := range want {
		v, err := tr.verdict(field, rules)
		if err != nil || tr.answer(v).String() != text {
			t.Errorf("decide: %s: %s %v", field, tr.answer(v), err)
		}
		x, err := tr.Explain(field, instantOfTests)
		if err != nil || x.Verdict.String() != text || !strings.Contains(x.String(), text) {
			t.Errorf("explain: %s: %s %v", field, x.Verdict, err)
		}
		if field == "user.displayName" && !strings.Contains(x.String(), "why not more: the landing of support-portal keeps handling: transit-only") {
			t.Errorf("explain does not say who seals: %s", x)
		}
		var again Explanation
		if b, err := json.Marshal(x); err != nil || json.Unmarshal(b, &again) != nil || again.String() != x.String() {
			t.Errorf("explain: JSON does not say the same: %s", b)
		}
		if !slices.ContainsFunc(tr.Leaves(instantOfTests, Limit{Persist: true, EndUserData: true}), func(l Leaf) bool { return l.String() == text && l.Label == v.Label }) {
			t.Errorf("leaves: %s is not there", field)
		}
	}
	if tr.Because(mustVerdict(t, tr, "user.displayName", rules).Rule) != "Shown in the support UI" || tr.Because("") != "" {
		t.Error("the rule's reason is lost")
	}
	if !rules.Registers || !slices.Equal(rules.Seals, []Lifetime{{isogate.TransitOnly, 0}, {isogate.Temporary, 5 * time.Minute}}) {
		t.Errorf("registers %t, seals %v", rules.Registers, rules.Seals)
	}
	out, err := tr.Preview(Request{Body: []byte(`{"user":{"email":"ada@example.com","displayName":"Ada","pager":null}}`), Time: instantOfTests, Headers: []Named{{"X-Urgent", "1"}}}, obfuscator(t, p, "a"))
	if err != nil {
		t.Fatal(err)
	}
	var body struct{ User map[string]any }
	if err := json.Unmarshal(out.Body, &body); err != nil || body.User["email"] != "ada@example.com" || body.User["pager"] != nil {
		t.Errorf("preview: %s %v", out.Body, err)
	}
	if s, _ := body.User["displayName"].(string); !obfuscate.IsSeal(s) {
		t.Errorf("preview: %s", out.Body)
	}
	for _, f := range out.Fields {
		if f.Sealed != (f.Path == "user.displayName") || f.Registered != (f.Path == "user.email") || f.Declared {
			t.Errorf("preview: %+v", f)
		}
	}
	// Of the rest a consent may withhold, all is as strict or stricter.
	narrow := tr.Narrow(rules, Limit{EndUserData: true})
	if narrow.Registers || !slices.Equal(narrow.Seals, []Lifetime{{isogate.TransitOnly, 0}}) {
		t.Errorf("without storage: registers %t, seals %v", narrow.Registers, narrow.Seals)
	}
	if none := tr.Narrow(rules, Limit{}); none.Registers || none.Seals != nil {
		t.Errorf("of nothing: registers %t, seals %v", none.Registers, none.Seals)
	}
}

func mustVerdict(t testing.TB, tr *Transit, field string, r *Rules) isogate.Verdict {
	t.Helper()
	v, err := tr.verdict(field, r)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestAsSeal: a rule may seal by itself, and what is longer than any seal is hashed.
func TestAsSeal(t *testing.T) {
	p := good(t).landed(t).
		replace(t, "transits/support-session.yaml", "{label: personal.name.display, as: allow, handling: transit-only,", "{label: personal.name.display, as: seal, handling: temporary, ttl: 1h,").
		with(files{"tests/session.yaml": "", "tests/form.yaml": "", "tests/file.yaml": ""}).load(t)
	tr, _ := p.Plan().Transit("support-session")
	v := mustVerdict(t, tr, "user.displayName", tr.Decide(Envelope{Method: "POST", Time: instantOfTests}))
	if !v.Sealed || v.Action != isogate.Seal || v.Handling != isogate.Temporary || v.TTL != time.Hour {
		t.Errorf("%+v", v)
	}
	rep := sampler{obfuscator(t, p, "a")}
	long := isogate.Value{Kind: isogate.String, Text: []byte(strings.Repeat("x", obfuscate.MaxToken))}
	out, kind, applied, err := rep.Replace(nil, &v, long)
	if err != nil || kind != isogate.String || applied != isogate.Hash || !isHash(string(out)) {
		t.Errorf("%.40s %s %s %v", out, kind, applied, err)
	}
	for _, val := range []isogate.Value{{Kind: isogate.Number, Text: []byte("7")}, {Kind: isogate.Bool, Text: []byte("true")}, {Kind: isogate.String}} {
		out, kind, applied, err := rep.Replace([]byte("x"), &v, val)
		if err != nil || kind != isogate.String || applied != isogate.Seal || out[0] != 'x' || !obfuscate.IsSeal(string(out[1:])) {
			t.Errorf("%s: %s %s %s %v", val.Kind, out, kind, applied, err)
		}
	}
	out, kind, applied, err = rep.Replace(nil, &v, isogate.Value{Text: []byte("null")})
	if err != nil || kind != isogate.Null || plaintext(applied) || string(out) != "null" {
		t.Errorf("null: %s %s %s %v", out, kind, applied, err)
	}
	// What a mask does not understand is redacted, and nothing is left to seal.
	v = isogate.Verdict{Action: isogate.Generalise, Form: isogate.Form{Name: "month"}, Sealed: true, Label: "personal.name.display"}
	out, _, applied, err = rep.Replace([]byte("x"), &v, isogate.Value{Kind: isogate.String, Text: []byte("no date")})
	if err != nil || applied != isogate.Redact || string(out) != "x"+obfuscate.Redacted {
		t.Errorf("%s %s %v", out, applied, err)
	}
}

// ATTACK: a consent withholds one of a value's two labels, whose default lets a
// part of the value out and asks nothing.
// THIS TEST VERIFIES: the part is sealed for as long as the other label's rule
// says, which the consent granted and which still lets the value out.
//
// promise: P14, P41
func TestWithholdingALabelLiftsNoSeal(t *testing.T) {
	tax := taxonomy.Default()
	labels := []isogate.Label{"personal.name.display", "system.timestamp"}
	rules := []rule{{label: "**", as: isogate.Allow, guard: noGuard, at: position{file: "t.yaml", line: 1}}}
	v := verdictOn(labels, rules, moment{}, true)
	if v.Action != isogate.Seal {
		t.Fatalf("%+v", v)
	}
	one := Limit{Labels: []isogate.LabelPattern{"personal.**"}, EndUserData: true}
	if got := one.narrow(v, labels, tax, true); got.Action != isogate.Generalise || !got.Sealed || got.Handling != isogate.TransitOnly {
		t.Errorf("with one label granted: %+v", got)
	}
	if got := (Limit{Labels: []isogate.LabelPattern{}}).narrow(v, labels, tax, true); got.Action > isogate.Token {
		t.Errorf("with none granted: %+v", got)
	}
	// Where each label leaves by its default alone, nothing is asked.
	both := []isogate.Label{"system.timestamp", "system.metadata"}
	if got := (Limit{Labels: []isogate.LabelPattern{}}).narrow(verdictOn(both, rules, moment{}, true), both, tax, true); got.Sealed || got.Action != isogate.Generalise {
		t.Errorf("by default alone: %+v", got)
	}
}

package policy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/taxonomy"
)

// world draws rules at random over a few labels, dates and guards.
type world struct {
	*rand.Rand
	labels []isogate.Label
}

func newWorld(seed uint64) *world {
	return &world{Rand: rand.New(rand.NewPCG(seed, 1)), labels: []isogate.Label{
		"personal.contact.email", "personal.contact.phone", "personal.name.display", "ugc.title", "system.metadata", "system.timestamp", "security.secret.password",
	}}
}

func pick[T any](w *world, from ...T) T { return from[w.IntN(len(from))] }

func (w *world) rule(line int) rule {
	r := rule{
		label: pick(w, isogate.LabelPattern("personal.contact.email"), "personal.contact.*", "personal.**", "ugc.title", "system.**", "**"),
		as:    pick(w, isogate.Refuse, isogate.Drop, isogate.Redact, isogate.Hash, isogate.Token, isogate.Mask, isogate.Generalise, isogate.Seal, isogate.Allow),
		guard: pick(w, noGuard, noGuard, 0, 1, 2),
		at:    position{file: "transits/t.yaml", line: line, column: 1},
	}
	var form string
	switch r.as {
	case isogate.Token:
		form = pick(w, "", "email")
	case isogate.Mask:
		form = pick(w, "", "last-2", "last-4", "first-1", "email")
	case isogate.Generalise:
		form = pick(w, "month", "day", "network-16", "network-24", "prefix-2")
	}
	r.form, _ = isogate.ParseForm(r.as, form)
	r.handling = pick(w, isogate.TransitOnly, isogate.Temporary, isogate.Persisted)
	if r.as == isogate.Seal && r.handling == isogate.Persisted {
		r.handling = isogate.TransitOnly // readRule refuses the other
	}
	if r.handling == isogate.Temporary {
		r.ttl = pick(w, time.Minute, time.Hour)
	}
	if w.IntN(3) > 0 {
		r.end = instantOfTests.AddDate(0, 0, w.IntN(4))
	}
	return r
}

func (w *world) rules() []rule {
	rules := make([]rule, w.IntN(6))
	for i := range rules {
		rules[i] = w.rule(i + 1)
	}
	return rules
}

func (w *world) moment() moment {
	at := instantOfTests.AddDate(0, 0, w.IntN(5)-1).Add(time.Duration(w.IntN(3) - 1))
	return moment{time: at, guards: uint32(w.IntN(8))}
}

// exposes reports whether v lets out more than w, or asks less of the far side.
func exposes(v, w isogate.Verdict) bool {
	if v.Action != w.Action {
		return v.Action > w.Action
	}
	if strictest := v.Strictest(w); strictest.Action != v.Action || strictest.Form != v.Form {
		return true
	}
	return v.Handling > w.Handling || v.Handling == w.Handling && v.TTL > w.TTL
}

const rounds = 20_000

// TestOrderOfRulesNeverMatters: the same rules in another order give the same verdict.
func TestOrderOfRulesNeverMatters(t *testing.T) {
	w := newWorld(1)
	for range rounds {
		rules, m, base := w.rules(), w.moment(), taxonomy.Default().Treatment(pick(w, w.labels...))
		want := judge(base, rules, m)
		shuffled := slices.Clone(rules)
		w.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if got := judge(base, shuffled, m); got != want {
			t.Fatalf("%+v\n%+v\n%+v", rules, got, want)
		}
	}
}

// TestLaterIsNeverMoreExposing: neither time passing nor a guard turning false lets
// more out. promise: P09
func TestLaterIsNeverMoreExposing(t *testing.T) {
	w := newWorld(2)
	for range rounds {
		rules, m, base := w.rules(), w.moment(), taxonomy.Default().Treatment(pick(w, w.labels...))
		later := moment{time: m.time.Add(time.Duration(w.IntN(72)) * time.Hour), guards: m.guards & uint32(w.IntN(8))}
		if v, then := judge(base, rules, m), judge(base, rules, later); exposes(then, v) {
			t.Fatalf("rules %+v\nat %v: %+v\nat %v: %+v", rules, m, v, later, then)
		}
		if v, never := judge(base, rules, m), judge(base, rules, moment{guards: m.guards}); exposes(never, v) {
			t.Fatalf("rules %+v\nat %v: %+v\nat no time: %+v", rules, m, v, never)
		}
	}
}

// TestStricterRuleNeverLoosens: a rule at least as strict as the verdict, added in
// any place, never lets more out.
func TestStricterRuleNeverLoosens(t *testing.T) {
	w := newWorld(3)
	for range rounds {
		rules, m, base := w.rules(), w.moment(), taxonomy.Default().Treatment(pick(w, w.labels...))
		v, more := judge(base, rules, m), w.rule(99)
		if exposes(more.verdict(base.Label), v) {
			continue
		}
		if got := judge(base, slices.Insert(slices.Clone(rules), w.IntN(len(rules)+1), more), m); exposes(got, v) {
			t.Fatalf("rules %+v\nand %+v\n%+v\n%+v", rules, more, v, got)
		}
	}
}

// TestStrictestRuleWins: nothing that a rule which selects a label forbids ever leaves.
func TestStrictestRuleWins(t *testing.T) {
	w := newWorld(4)
	for range rounds {
		rules, m, base := w.rules(), w.moment(), taxonomy.Default().Treatment(pick(w, w.labels...))
		got, released := judge(base, rules, m), false
		for i := range rules {
			r := &rules[i]
			if !r.label.Match(base.Label) {
				continue
			}
			released = released || r.inForce(m)
			if got.Action > r.as {
				t.Fatalf("%+v is looser than %+v", got, r)
			}
		}
		if !released && got.Action > base.Action {
			t.Fatalf("%+v is looser than the default, though no rule is in force: %+v", got, rules)
		}
		if released && got.Rule == "" {
			t.Fatalf("%+v names no rule", got)
		}
	}
}

// TestReservedLabels: no rule reaches what nobody has judged. promise: P02
func TestReservedLabels(t *testing.T) {
	rules := []rule{{label: "**", as: isogate.Allow, guard: noGuard}, {label: "unclassified", as: isogate.Allow, guard: noGuard}}
	for _, l := range []isogate.Label{isogate.Unclassified, isogate.Opaque} {
		want := taxonomy.Default().Treatment(l)
		if got := judge(want, rules, allGuards(instantOfTests)); got != want || got.Action > isogate.Token {
			t.Errorf("%s: %+v", l, got)
		}
	}
	loose := isogate.Verdict{Action: isogate.Allow, Label: isogate.Unclassified}
	if got := judge(loose, nil, moment{}); got.Action != isogate.Token {
		t.Errorf("a loose default of unclassified stays %s", got.Action)
	}
}

// TestInForce: the one place where end dates and guards are applied.
func TestInForce(t *testing.T) {
	end := time.Date(2027, 7, 1, 0, 0, 0, 0, time.UTC)
	berlin := time.FixedZone("UTC+2", 2*60*60)
	for _, c := range []struct {
		end   time.Time
		guard int
		m     moment
		want  bool
	}{
		{end, noGuard, moment{time: end.Add(-1)}, true},
		{end, noGuard, moment{time: end}, false},
		{end, noGuard, moment{time: end.Add(1)}, false},
		{end, noGuard, moment{time: end.Add(-1).In(berlin)}, true},
		{end, noGuard, moment{time: end.In(berlin)}, false},
		{end, noGuard, moment{}, false}, // a forgotten clock
		{time.Time{}, noGuard, moment{}, true},
		{time.Time{}, noGuard, moment{time: end}, true},
		{end, 1, moment{time: end.Add(-1), guards: 0b10}, true},
		{end, 1, moment{time: end.Add(-1), guards: 0b01}, false},
		{end, 1, moment{time: end, guards: 0b11}, false},
	} {
		r := rule{end: c.end, guard: c.guard}
		if got := r.inForce(c.m); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// TestDecideIsJudge: the tables hold what judging each label at the very instant
// gives, around every end date and for every combination of guards.
func TestDecideIsJudge(t *testing.T) {
	plan := good(t).load(t).Plan()
	tr, _ := plan.Transit("support-session")
	urgent := func(v string) func(string) string {
		return func(name string) string {
			if name == "x-urgent" {
				return v
			}
			return ""
		}
	}
	seen := map[*Rules]bool{}
	for _, end := range tr.ends {
		for _, at := range []time.Time{end.AddDate(0, 0, -400), end.Add(-1), end, end.Add(1), end.AddDate(9, 0, 0), {}} {
			for _, env := range []Envelope{
				{Method: "POST", Time: at, Header: urgent("1")},
				{Method: "POST", Time: at, Header: urgent("")},
				{Method: "GET", Time: at, Header: urgent("1")},
				{Method: "POST", Time: at},
			} {
				rules := tr.Decide(env)
				if rules != tr.Decide(env) {
					t.Error("two tables for one envelope")
				}
				seen[rules] = true
				m := moment{time: at}
				if env.Method == "POST" && env.Header != nil && env.Header("x-urgent") == "1" {
					m.guards = 1
				}
				for i, set := range tr.contract.tree.Sets() {
					var all []isogate.Verdict
					for _, l := range set {
						all = append(all, judge(taxonomyOf(tr, l), tr.rules, m))
					}
					want := tr.settle(all)
					if got := rules.Body.Verdicts[i]; got != want {
						t.Errorf("%v at %v guards %b: %+v, want %+v", set, at, m.guards, got, want)
					}
				}
			}
		}
	}
	if len(seen) < 4 {
		t.Errorf("%d tables only", len(seen))
	}
}

func taxonomyOf(tr *Transit, l isogate.Label) isogate.Verdict { return tr.taxonomy.Treatment(l) }

// TestEndsEverywhereAlike: the gateway's decision, explain, preview and pack test
// change at the same instant. promise: P09
func TestEndsEverywhereAlike(t *testing.T) {
	before := time.Date(2027, 6, 30, 23, 59, 59, 999_999_999, time.UTC)
	for _, c := range []struct {
		at   time.Time
		want isogate.Action
		out  string
	}{{before, isogate.Allow, "ada@example.com"}, {before.Add(1), isogate.Token, "$token"}} {
		p := good(t).with(files{"tests/session.yaml": "", "tests/form.yaml": "", "tests/file.yaml": fmt.Sprintf(`
test: x
transit: support-session
at: %s
input: {user: {email: ada@example.com}}
expect:
  output: {user: {email: %s}}
  verdicts: {user.email: {action: %s}}
`, c.at.Format(time.RFC3339Nano), c.out, c.want)}).load(t)
		tr, _ := p.Plan().Transit("support-session")
		v, err := tr.verdict("user.email", tr.Decide(Envelope{Method: "POST", Time: c.at}))
		if err != nil || v.Action != c.want {
			t.Errorf("decide at %v: %v %v", c.at, v, err)
		}
		x, err := tr.Explain("user.email", c.at)
		if err != nil || x.Verdict.Action != c.want {
			t.Errorf("explain at %v: %v %v", c.at, x.Verdict, err)
		}
		report, err := p.Test(instantOfTests)
		if err != nil || report.Failed() > 0 {
			t.Errorf("test at %v: %+v %v", c.at, report, err)
		}
		rep, err := p.Plan().Obfuscator("acme", "support-portal", ThrowawayKeys([]byte("s")))
		if err != nil {
			t.Fatal(err)
		}
		out, err := tr.Preview(Request{Body: []byte(`{"user":{"email":"ada@example.com"}}`), Time: c.at}, rep)
		if err != nil || out.Fields[0].Action != c.want {
			t.Errorf("preview at %v: %+v %v", c.at, out, err)
		}
	}
}

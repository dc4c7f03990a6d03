package policy

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// many writes n items by a format that takes the number of each.
func many(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

// TestLimitsOfTransits: each part of a transit is bounded, and says so.
func TestLimitsOfTransits(t *testing.T) {
	const head = "transit: big\npurpose: support\ndestination: support-portal\nconsent: none\n"
	for name, c := range map[string]struct{ transit, want string }{
		"sources":   {"match: [POST /big]\nsource:\n" + many(maxSources+1, "  - s%d\n"), "more than 256 sources"},
		"patterns":  {"source: [big]\nmatch:\n" + many(maxPatterns+1, "  - POST /p%d\n"), "more than 256 patterns"},
		"segments":  {"source: [big]\nmatch: [POST " + many(maxSegments+1, "/p%d") + "]\n", "more than 64 segments"},
		"rules":     {"source: [big]\nmatch: [POST /big]\nrequest:\n  release:\n" + many(maxRules+1, "    - {label: ugc.title, as: drop, owner: o%d}\n"), "more than 256 rules"},
		"names":     {"source: [big]\nmatch: [POST /big]\nrequest:\n  query:\n" + many(maxNames+1, "    n%d: system.metadata\n"), "more than 256 names"},
		"a header":  {"source: [big]\nmatch: [POST /big]\nrequest:\n  headers: {" + strings.Repeat("x", maxHeaderName+1) + ": system.metadata}\n", "is not the name of a header"},
		"a guard":   {"source: [big]\nmatch: [POST /big]\nrequest:\n  release: [{label: ugc.title, as: drop, when: '" + strings.Repeat("true || ", 200) + "true'}]\n", "longer than 1024 characters"},
		"just fits": {"match:\n" + many(maxPatterns, "  - POST /p%d\n") + "source:\n" + many(maxSources, "  - s%d\n") + "request:\n  query:\n" + many(maxNames, "    n%d: system.metadata\n") + "  release:\n" + many(maxRules, "    - {label: ugc.title, as: drop, owner: o%d}\n"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := good(t).with(files{"transits/big.yaml": head + c.transit}).mistakes(t)
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("%.500s\nwant %s", got, c.want)
			}
		})
	}
}

// TestManyEnds: 256 rules with as many end dates and eight guards are judged
// right, and only those tables are made that are asked for.
func TestManyEnds(t *testing.T) {
	var rules strings.Builder
	for i := range maxRules {
		fmt.Fprintf(&rules, "    - {label: ugc.title, as: allow, because: b, owner: o, until: %s, when: 'method != \"X%d\"'}\n", instantOfTests.AddDate(0, 0, i).Format("2006-01-02"), i%maxGuards)
	}
	p := good(t).with(files{
		"contracts/big.yaml": "contract: big\nformat: json\nfields: {t: ugc.title}\n",
		"transits/big.yaml":  "transit: big\npurpose: support\ndestination: support-portal\nconsent: none\nsource: [big]\nmatch: [POST /big]\nrequest:\n  contract: big\n  release:\n" + rules.String(),
	}).load(t)
	tr, _ := p.Plan().Transit("big")
	for i := range maxRules + 1 {
		v, err := tr.verdict("t", tr.Decide(Envelope{Method: "POST", Time: instantOfTests.AddDate(0, 0, i)}))
		if want := i < maxRules; err != nil || plaintext(v.Action) != want {
			t.Fatalf("day %d: %+v %v", i, v, err)
		}
	}
	made := 0
	for i := range tr.tables {
		if tr.tables[i].Load() != nil {
			made++
		}
	}
	if len(tr.tables) != (maxRules+1)<<maxGuards || made != maxRules+1 {
		t.Errorf("%d of %d tables", made, len(tr.tables))
	}
}

// TestDecideTogether: many requests at once get one table.
func TestDecideTogether(t *testing.T) {
	tr, _ := good(t).load(t).Plan().Transit("support-session")
	tables := make(chan *Rules)
	const n = 16
	for range n {
		go func() { tables <- tr.Decide(Envelope{Method: "POST", Time: instantOfTests}) }()
	}
	first := <-tables
	for range n - 1 {
		if <-tables != first {
			t.Error("two tables for one envelope")
		}
	}
}

// TestOrderOfFilesNeverMatters: the same texts under other names, so that they are
// read in another order, judge alike.
func TestOrderOfFilesNeverMatters(t *testing.T) {
	pack := good(t)
	other := pack.with(files{
		"contracts/support-session.yaml": "", "contracts/0.yaml": pack["contracts/support-session.yaml"],
		"transits/signals.yaml": "", "transits/zzz.yaml": pack["transits/signals.yaml"],
		"tests/session.yaml": "", "tests/0.yaml": pack["tests/session.yaml"],
	})
	a, b := pack.load(t), other.load(t)
	for _, x := range a.Plan().Transits() {
		y, ok := b.Plan().Transit(x.Name)
		if !ok {
			t.Fatal(x.Name)
		}
		for _, f := range x.Fields() {
			for _, day := range []int{0, 60, 400} {
				at := instantOfTests.AddDate(0, 0, day)
				p, err1 := x.Explain(f, at)
				q, err2 := y.Explain(f, at)
				if err1 != nil || err2 != nil || p.Verdict != q.Verdict {
					t.Errorf("%s: %+v %v, %+v %v", f, p.Verdict, err1, q.Verdict, err2)
				}
			}
		}
	}
	for _, path := range []string{"/v1/sessions", "/v1/users/7/tickets"} {
		x, p, err1 := a.Plan().Match("product/help-center", "support-portal", "GET", path)
		y, q, err2 := b.Plan().Match("product/help-center", "support-portal", "GET", path)
		if (x == nil) != (y == nil) || len(p) != len(q) || !errors.Is(err1, err2) {
			t.Errorf("%s: %v %v, %v %v", path, p, err1, q, err2)
		}
	}
}

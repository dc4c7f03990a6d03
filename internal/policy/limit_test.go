package policy

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/taxonomy"
)

// limit draws one at random.
func (w *world) limit() Limit {
	l := Limit{Persist: w.IntN(2) == 0, EndUserData: w.IntN(2) == 0}
	if w.IntN(3) > 0 {
		l.Labels = []isogate.LabelPattern{}
		for range w.IntN(3) {
			l.Labels = append(l.Labels, pick(w, isogate.LabelPattern("personal.contact.email"), "personal.contact.*", "personal.**", "ugc.**", "system.metadata", "**"))
		}
	}
	return l
}

// verdictOn is the verdict on a value with some labels.
func verdictOn(labels []isogate.Label, rules []rule, m moment, landing bool) isogate.Verdict {
	all := make([]isogate.Verdict, len(labels))
	for i, l := range labels {
		all[i] = judge(taxonomy.Default().Treatment(l), rules, m)
	}
	v, bound := together(all)
	return enforce(v, bound, landing)
}

// TestNarrowIsNeverMoreExposing: whatever the rules, the labels of a value and the
// limit, narrowing never lets more out; a label that is withheld leaves as by
// default at most, and nothing is kept that was not granted. promise: P14
func TestNarrowIsNeverMoreExposing(t *testing.T) {
	w, tax := newWorld(8), taxonomy.Default()
	changed := 0
	for range rounds {
		labels := make([]isogate.Label, 1+w.IntN(3))
		for i := range labels {
			labels[i] = pick(w, w.labels...)
		}
		rules, m, l, landing := w.rules(), w.moment(), w.limit(), w.IntN(2) == 0
		v := verdictOn(labels, rules, m, landing)
		got := l.narrow(v, labels, tax, landing)
		if exposes(got, v) {
			t.Fatalf("%v under %+v: %+v, narrowed from %+v", labels, l, got, v)
		}
		for _, label := range labels {
			base := tax.Treatment(label)
			selected := l.Labels == nil || slices.ContainsFunc(l.Labels, func(p isogate.LabelPattern) bool { return p.Match(label) })
			withheld := !selected || !l.EndUserData && tax.EndUser(label) || !l.Persist && v.Handling != isogate.TransitOnly
			// What a rule lets out by a label that is granted is kept as that rule asks.
			if by := judge(base, rules, m); landing && !withheld && by.Rule != "" && plaintext(got.Action) {
				if by.Handling != isogate.Persisted && !got.Sealed || got.Action == isogate.Allow && !got.Register {
					t.Fatalf("%v under %+v: %s is asked to be %s, and leaves as %+v", labels, l, label, by.Handling, got)
				}
			}
			if withheld && exposes(got, base) {
				t.Fatalf("%v under %+v: %s leaves as %+v, by default as %+v", labels, l, label, got, base)
			}
		}
		if !l.Persist && (got.Handling != isogate.TransitOnly || got.TTL != 0) {
			t.Fatalf("%v under %+v: kept: %+v", labels, l, got)
		}
		if got != v {
			changed++
		}
		if again := l.narrow(got, labels, tax, landing); again != got {
			t.Fatalf("%v under %+v: narrowing twice gives %+v, once %+v", labels, l, again, got)
		}
		everything := Limit{Persist: true, EndUserData: true}
		if got := everything.narrow(v, labels, tax, landing); got != v {
			t.Fatalf("everything was granted, and %+v became %+v", v, got)
		}
		// A grant for less never lets more out.
		less := l
		less.Persist, less.EndUserData = l.Persist && w.IntN(2) == 0, l.EndUserData && w.IntN(2) == 0
		if less.Labels == nil && w.IntN(2) == 0 {
			less.Labels = []isogate.LabelPattern{"personal.**"}
		} else if len(less.Labels) > 0 {
			less.Labels = less.Labels[1:]
		}
		if then := less.narrow(v, labels, tax, landing); exposes(then, got) {
			t.Fatalf("%v: %+v gives %+v, less than it %+v gives %+v", labels, l, got, less, then)
		}
	}
	if changed < rounds/10 {
		t.Errorf("only %d verdicts of %d were narrowed", changed, rounds)
	}
}

// TestNarrowLeavesTheUnjudgedAlone: unclassified and opaque are out of reach of
// rules, and so of what narrows them. promise: P02
func TestNarrowLeavesTheUnjudgedAlone(t *testing.T) {
	for _, label := range []isogate.Label{isogate.Unclassified, isogate.Opaque} {
		for _, v := range []isogate.Verdict{{Label: label}, {Action: isogate.Drop, Label: label}, {Action: isogate.Token, Label: label}} {
			if got := (Limit{Labels: []isogate.LabelPattern{}}).narrow(v, []isogate.Label{label}, taxonomy.Default(), false); got != v {
				t.Errorf("%+v became %+v", v, got)
			}
		}
	}
}

// TestNarrow: the tables that a limit gives, part by part.
func TestNarrow(t *testing.T) {
	tr, _ := good(t).load(t).Plan().Transit("support-session")
	rules := tr.Decide(Envelope{Method: "POST", Time: instantOfTests, Header: func(string) string { return "1" }})
	for name, c := range map[string]struct {
		limit Limit
		want  map[string]string // field to verdict
	}{
		"nothing": {Limit{}, map[string]string{
			"user.email": "token email", "user.displayName": "token", "user.pager": "token", "meta.*": "allow", "query:tab": "allow", "path:accountId": "token", "raw.nosuch": "allow", "nosuch": "redact",
		}},
		"no storage": {Limit{EndUserData: true}, map[string]string{
			"user.email": "token email", "user.displayName": "allow, transit-only", "user.pager": "token", "query:tab": "allow",
		}},
		"names only": {Limit{Labels: []isogate.LabelPattern{"personal.name.*"}, Persist: true, EndUserData: true}, map[string]string{
			"user.email": "token email", "user.displayName": "allow, transit-only", "user.pager": "token",
		}},
		"one label and its siblings": {Limit{Labels: []isogate.LabelPattern{"personal.contact.*"}, Persist: true, EndUserData: true}, map[string]string{
			"user.email": "allow, persisted", "user.displayName": "token", "user.pager": "mask last-2, temporary for 5m0s",
		}},
		"no end-user data": {Limit{Persist: true}, map[string]string{
			"user.email": "token email", "user.displayName": "token", "header:x-request-id": "token", "cookie:locale": "allow", "trailer:x-checksum": "allow",
		}},
		"everything": {Limit{Persist: true, EndUserData: true}, map[string]string{
			"user.email": "allow, persisted", "user.displayName": "allow, transit-only", "user.pager": "mask last-2, temporary for 5m0s",
		}},
		"every label": {Limit{Labels: []isogate.LabelPattern{"**"}, Persist: true, EndUserData: true}, map[string]string{
			"user.email": "allow, persisted", "nosuch": "redact",
		}},
	} {
		narrow := tr.Narrow(rules, c.limit)
		for field, want := range c.want {
			v, err := tr.verdict(field, narrow)
			if err != nil || answerOf(v).String() != want {
				t.Errorf("%s: %s leaves as %s %v, want %s", name, field, answerOf(v), err, want)
			}
		}
		if narrow.Body.Tree != rules.Body.Tree || len(narrow.Body.Verdicts) != len(rules.Body.Verdicts) || narrow.Body.Verdicts[0] != rules.Body.Verdicts[0] || len(narrow.Cookies.Verdicts) != len(rules.Cookies.Verdicts) {
			t.Errorf("%s: the tables have another shape", name)
		}
	}
	// A transit without a contract has no table for a body.
	other, _ := apps(t).load(t).Plan().Transit("triage-other")
	if got := other.Narrow(other.Decide(Envelope{}), Limit{}); got.Body.Tree != nil || got.Body.Verdicts != nil {
		t.Errorf("%+v", got.Body)
	}
}

// TestNarrowIsRemembered: the same rules and limit give the same table, whoever
// asks, and a table is never another limit's.
func TestNarrowIsRemembered(t *testing.T) {
	tr, _ := good(t).load(t).Plan().Transit("support-session")
	a, b := tr.Decide(Envelope{Method: "POST", Time: instantOfTests}), tr.Decide(Envelope{Method: "POST", Time: instantOfTests.AddDate(9, 0, 0)})
	limits := []Limit{
		{}, {Persist: true}, {EndUserData: true}, {Labels: []isogate.LabelPattern{}}, {Labels: []isogate.LabelPattern{"ugc.**"}}, {Labels: []isogate.LabelPattern{"ugc.**", "personal.**"}},
		{Labels: []isogate.LabelPattern{"ugc.**"}, Persist: true}, {Labels: []isogate.LabelPattern{"ugc.title"}},
	}
	made := map[*Rules]int{}
	for i, l := range limits {
		for j, from := range []*Rules{a, b} {
			got := tr.Narrow(from, l)
			if other, twice := made[got]; twice {
				t.Errorf("limits %d and %d share a table", other/2, i)
			}
			made[got] = 2*i + j
		}
	}
	for i, l := range limits {
		l.Labels = slices.Clone(l.Labels)
		if made[tr.Narrow(a, l)] != 2*i || made[tr.Narrow(b, l)] != 2*i+1 {
			t.Errorf("limit %d has two tables", i)
		}
	}
	if everything := (Limit{Persist: true, EndUserData: true}); tr.Narrow(a, everything) != a || !everything.Everything() {
		t.Error("a limit of everything makes a table of its own")
	}
	for _, l := range append(limits, Limit{Labels: []isogate.LabelPattern{"**"}, Persist: true, EndUserData: true}) {
		if l.Everything() {
			t.Errorf("%+v is everything", l)
		}
	}
	l := limits[5]
	if n := testing.AllocsPerRun(100, func() { tr.Narrow(a, l) }); n != 0 {
		t.Errorf("%v allocations for a table that is known", n)
	}
	// The caller's own list is the caller's to change.
	mine := Limit{Labels: []isogate.LabelPattern{"personal.**"}}
	first := tr.Narrow(a, mine)
	mine.Labels[0] = "system.**"
	if tr.Narrow(a, mine) == first || tr.Narrow(a, Limit{Labels: []isogate.LabelPattern{"personal.**"}}) != first {
		t.Error("a table changed its limit")
	}
}

// TestNarrowIsBounded: however many limits there are, the memory is not theirs.
func TestNarrowIsBounded(t *testing.T) {
	tr, _ := good(t).load(t).Plan().Transit("signals")
	rules := tr.Decide(Envelope{Method: "POST", Time: instantOfTests})
	for i := range 3 * maxNarrowed {
		tr.Narrow(rules, Limit{Labels: []isogate.LabelPattern{isogate.LabelPattern("ugc.x" + strings.Repeat("y", i))}})
	}
	if n := len(*tr.narrowed.Load()); n != maxNarrowed {
		t.Errorf("%d tables are remembered, want %d", n, maxNarrowed)
	}
}

// TestNarrowTogether: many requests at once get one table.
func TestNarrowTogether(t *testing.T) {
	tr, _ := good(t).load(t).Plan().Transit("support-session")
	rules := tr.Decide(Envelope{Method: "POST", Time: instantOfTests})
	for n := range maxNarrowed {
		var wg sync.WaitGroup
		start, got := make(chan struct{}), make([]*Rules, 8)
		l := Limit{Labels: []isogate.LabelPattern{"personal.**", isogate.LabelPattern("ugc.x" + strings.Repeat("y", n))}}
		for i := range got {
			wg.Go(func() {
				<-start
				got[i] = tr.Narrow(rules, l)
			})
		}
		close(start)
		wg.Wait()
		for _, r := range got {
			if r != got[0] {
				t.Fatal("two tables for one limit")
			}
		}
	}
}

// TestPreviewWithAGrant: what would leave is shown under the consent in force.
func TestPreviewWithAGrant(t *testing.T) {
	p := apps(t).load(t)
	tr, _ := p.Plan().Transit("triage-issues")
	rep, err := p.Plan().Obfuscator("acme", "triage-api", ThrowawayKeys([]byte("s")))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		grant *Limit
		plain bool
	}{"none": {nil, true}, "all": {&Limit{Persist: true, EndUserData: true}, true}, "the zero one": {&Limit{}, false}} {
		out, err := tr.Preview(Request{Grant: c.grant, Time: instantOfTests, Body: []byte(`{"title":"It jams"}`)}, rep)
		if err != nil || strings.Contains(string(out.Body), "It jams") != c.plain {
			t.Errorf("%s: %s %v", name, out.Body, err)
		}
	}
	tunnel, _ := p.Plan().Transit("files-upload")
	if _, err := tunnel.Preview(Request{Grant: &Limit{Persist: true}, Time: instantOfTests}, nil); err == nil || !strings.Contains(err.Error(), "no part can be withheld") {
		t.Errorf("a part of a tunnel: %v", err)
	}
	if _, err := tunnel.Preview(Request{Grant: &Limit{Persist: true, EndUserData: true}, Time: instantOfTests}, nil); err != nil {
		t.Error(err)
	}
}

func BenchmarkNarrow(b *testing.B) {
	tr, _ := good(b).load(b).Plan().Transit("support-session")
	rules := tr.Decide(Envelope{Method: "POST", Time: instantOfTests})
	l := Limit{Labels: []isogate.LabelPattern{"ugc.**", "personal.contact.email"}, Persist: true}
	b.ReportAllocs()
	for b.Loop() {
		tr.Narrow(rules, l)
	}
}

func TestUserAction(t *testing.T) {
	pack := apps(t)
	tr, _ := pack.load(t).Plan().Transit("ticket")
	if got, want := *tr.UserAction, (UserAction{User: Place{Header: "Isogate-User"}, Subject: Place{Path: "id"}, TTL: 2 * time.Minute, Once: true}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if tr.UserAction.User.String() != "header Isogate-User" || tr.UserAction.Subject.String() != "path id" {
		t.Errorf("%s, %s", tr.UserAction.User, tr.UserAction.Subject)
	}
	const line = "user_action: {user: header Isogate-User, subject: path id, ttl: 2m, once: true}\n"
	strict := UserAction{User: Place{Header: DefaultUserHeader}, Subject: Place{Header: DefaultSubjectHeader}, TTL: DefaultActionTTL, Once: true}
	for written, change := range map[string]func(*UserAction){
		"":                                   func(*UserAction) {},
		"user_action: {ttl: 1h}\n":           func(a *UserAction) { a.TTL = time.Hour },
		"user_action: {once: false}\n":       func(a *UserAction) { a.Once = false },
		"user_action: {user: path id}\n":     func(a *UserAction) { a.User = Place{Path: "id"} },
		"user_action: {subject: header X}\n": func(a *UserAction) { a.Subject = Place{Header: "X"} },
	} {
		want := strict
		change(&want)
		tr, _ := pack.replace(t, "transits/ticket.yaml", line, written).load(t).Plan().Transit("ticket")
		if *tr.UserAction != want {
			t.Errorf("%q: %+v, want %+v", written, *tr.UserAction, want)
		}
	}
	for _, name := range []isogate.Transit{"triage-issues", "files-upload"} {
		if other, _ := pack.load(t).Plan().Transit(name); other.UserAction != nil {
			t.Errorf("%s: %+v", name, other.UserAction)
		}
	}
}

// TestUserActionReleasesNothing:
// ATTACK: the header that says who acted is named for the consent, and so the
// user's name leaves with every request.
// THIS TEST VERIFIES that such a header is removed unless it has a label, and
// then follows the label. promise: P11
func TestUserActionReleasesNothing(t *testing.T) {
	for written, want := range map[string]string{
		"": "", "  headers: {X-Actor: personal.name.display}\n": "$token",
	} {
		pack := apps(t).replace(t, "transits/ticket.yaml", "header Isogate-User", "header X-Actor").
			replace(t, "transits/ticket.yaml", "  contract: portal\n", "  contract: portal\n"+written)
		headers := "{}"
		if want != "" {
			headers = "{X-Actor: " + want + "}"
		}
		report, err := pack.with(files{"tests/apps.yaml": "test: x\ntransit: ticket\nheaders: {X-Actor: Ada}\ninput: {}\nexpect: {headers: " + headers + "}\n"}).load(t).Test(instantOfTests)
		if err != nil || report.Failed() > 0 {
			t.Errorf("%q: %+v %v", written, report, err)
		}
	}
}

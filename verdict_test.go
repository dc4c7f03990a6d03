package isogate

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func TestParseForm(t *testing.T) {
	for _, c := range []struct {
		a    Action
		s    string
		want Form
	}{
		{Token, "", Form{}}, {Token, "text", Form{Name: "text"}}, {Token, "email", Form{Name: "email"}},
		{Mask, "", Form{}}, {Mask, "email", Form{Name: "email"}}, {Mask, "first-1", Form{"first", 1}}, {Mask, "last-8", Form{"last", 8}},
		{Generalise, "year", Form{Name: "year"}}, {Generalise, "hour", Form{Name: "hour"}}, {Generalise, "network-24", Form{"network", 24}},
		{Generalise, "step-1000", Form{"step", 1000}}, {Generalise, "prefix-3", Form{"prefix", 3}}, {Generalise, "geo-0", Form{"geo", 0}},
		{Allow, "", Form{}}, {Redact, "", Form{}},
	} {
		got, err := ParseForm(c.a, c.s)
		if err != nil || got != c.want || got.String() != c.s {
			t.Errorf("ParseForm(%s, %q) = %+v (%q), %v", c.a, c.s, got, got, err)
		}
	}
	for _, c := range []struct {
		a       Action
		s, want string
	}{
		{Generalise, "", "generalise needs a form"},
		{Token, "base64", `unknown form "base64"`},
		{Token, "month", "belongs to generalise, not to token"},
		{Allow, "email", "belongs to token, not to allow"},
		{Mask, "last", "needs a number, such as last-1"},
		{Mask, "email-2", "belongs to token"},
		{Token, "email-2", "takes no number"},
		{Generalise, "year-2", "takes no number"},
		{Mask, "last-0", "must be 1 to 8"},
		{Mask, "last-9", "must be 1 to 8"},
		{Mask, "last-x", "must be 1 to 8"},
		{Mask, "last-", "must be 1 to 8"},
		{Generalise, "network-65", "must be 8 to 64"},
	} {
		if got, err := ParseForm(c.a, c.s); err == nil || got != (Form{}) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("ParseForm(%s, %q) = %+v, %v; want %q", c.a, c.s, got, err, c.want)
		}
	}
}

func TestStrictest(t *testing.T) {
	gen := func(form string) Verdict {
		f, err := ParseForm(Generalise, form)
		if err != nil {
			t.Fatal(err)
		}
		return Verdict{Action: Generalise, Form: f, Label: Label("l." + f.Name)}
	}
	mask := func(form string) Verdict { f, _ := ParseForm(Mask, form); return Verdict{Action: Mask, Form: f} }
	for _, c := range []struct {
		name string
		v, w Verdict
		want string
	}{
		{"the stricter action", Verdict{Action: Allow}, Verdict{Action: Drop}, "drop "},
		{"refuse over all", Verdict{Action: Refuse}, Verdict{Action: Drop}, "refuse "},
		{"the coarser date", gen("hour"), gen("year"), "generalise year"},
		{"the coarser network", gen("network-24"), gen("network-8"), "generalise network-8"},
		{"the larger step", gen("step-10"), gen("step-100"), "generalise step-100"},
		{"the shorter prefix", gen("prefix-3"), gen("prefix-2"), "generalise prefix-2"},
		{"fewer decimals", gen("geo-2"), gen("geo-0"), "generalise geo-0"},
		{"forms that cannot be compared", gen("year"), gen("network-24"), "generalise "},
		{"another family", gen("step-10"), gen("prefix-1"), "generalise "},
		{"fewer characters", mask("last-4"), mask("last-2"), "mask last-2"},
		{"first and last", mask("first-2"), mask("last-2"), "mask "},
		{"e-mail and last", mask("email"), mask("last-2"), "mask "},
		{"the plain mask", mask(""), mask("last-2"), "mask "},
		{"the plain token", Verdict{Action: Token, Form: Form{Name: "email"}}, Verdict{Action: Token}, "token "},
		{"two token forms", Verdict{Action: Token, Form: Form{Name: "text"}}, Verdict{Action: Token, Form: Form{Name: "email"}}, "token email"},
	} {
		for _, got := range []Verdict{c.v.Strictest(c.w), c.w.Strictest(c.v)} {
			if s := got.Action.String() + " " + got.Form.String(); s != c.want {
				t.Errorf("%s: %s, want %s", c.name, s, c.want)
			}
		}
	}
	// Of two that let out the same, the one that asks more of the far side is named.
	a := Verdict{Action: Allow, Handling: TransitOnly, Label: "b", Rule: "r2"}
	b := Verdict{Action: Allow, Handling: Persisted, Label: "a", Rule: "r1"}
	if got := b.Strictest(a); got != a {
		t.Errorf("%+v", got)
	}
	short, long := Verdict{Action: Allow, Handling: Temporary, TTL: time.Minute}, Verdict{Action: Allow, Handling: Temporary, TTL: time.Hour}
	if got := long.Strictest(short); got != short {
		t.Errorf("%+v", got)
	}
}

func someVerdict(rnd *rand.Rand) Verdict {
	v := Verdict{
		Action:   Action(rnd.IntN(int(Allow) + 1)),
		Handling: Handling(rnd.IntN(3)),
		Label:    []Label{"a", "b", "c"}[rnd.IntN(3)],
		Rule:     []string{"", "r1", "r2"}[rnd.IntN(3)],
	}
	v.Sealed, v.Register = rnd.IntN(2) == 0, rnd.IntN(2) == 0
	if v.Handling == Temporary {
		v.TTL = time.Duration(1+rnd.IntN(2)) * time.Minute
	}
	forms := map[Action][]string{Token: {"", "text", "email"}, Mask: {"", "email", "first-1", "first-4", "last-2", "last-4"},
		Generalise: {"year", "month", "day", "hour", "network-8", "network-24", "step-10", "step-100", "prefix-2", "geo-1"}}
	if f := forms[v.Action]; f != nil {
		v.Form, _ = ParseForm(v.Action, f[rnd.IntN(len(f))])
	}
	return v
}

// exposesNoMore is an account of its own of how much a verdict lets out.
func exposesNoMore(v, w Verdict) bool {
	if v.Action != w.Action {
		return v.Action < w.Action
	}
	f, g := v.Form, w.Form
	date := map[string]int{"year": 1, "month": 2, "day": 3, "hour": 4}
	switch {
	case v.Action != Mask && v.Action != Generalise, f == (Form{}), f == g:
		return true
	case date[f.Name] > 0 && date[g.Name] > 0:
		return date[f.Name] <= date[g.Name]
	case f.Name != g.Name:
		return false
	case f.Name == "step":
		return f.N >= g.N
	}
	return f.N <= g.N
}

// promise: P03
func TestStrictestIsAMeet(t *testing.T) {
	plain := 0
	for i := range 200_000 {
		rnd := rand.New(rand.NewPCG(uint64(i), 3))
		a, b, c := someVerdict(rnd), someVerdict(rnd), someVerdict(rnd)
		if i%3 == 0 { // make it likely that all three share an action
			b.Action, b.Form = a.Action, a.Form
			if d := someVerdict(rnd); d.Action == a.Action {
				c.Action, c.Form = d.Action, d.Form
			}
		}
		ab := a.Strictest(b)
		if ba := b.Strictest(a); ab != ba {
			t.Fatalf("%d: the order shows:\n%+v\n%+v\ngive %+v\n or  %+v", i, a, b, ab, ba)
		}
		if a.Strictest(a) != a {
			t.Fatalf("%d: %+v is stricter than itself: %+v", i, a, a.Strictest(a))
		}
		if !exposesNoMore(ab, a) || !exposesNoMore(ab, b) {
			t.Fatalf("%d: looser than one of its parts:\n%+v\n%+v\ngive %+v", i, a, b, ab)
		}
		if left, right := ab.Strictest(c), a.Strictest(b.Strictest(c)); left != right {
			t.Fatalf("%d: the grouping shows:\n%+v\n%+v\n%+v\ngive %+v\n or  %+v", i, a, b, c, left, right)
		}
		if ab.Form == (Form{}) && a.Form != (Form{}) && b.Form != (Form{}) {
			plain++
		}
	}
	if plain == 0 {
		t.Error("no two forms could not be compared: the test looks at too little")
	}
}

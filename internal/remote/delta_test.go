package remote

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func rows(t testing.TB, text string) []Row {
	t.Helper()
	var out []Row
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, parsed(t, line))
		}
	}
	return out
}

func TestCompare(t *testing.T) {
	for _, c := range []struct {
		name, approved, declared, want, kept string
	}{
		{"nothing", "", "", "", ""},
		{"the first manifest", "", "backend a.example.com:443", "added backend a.example.com:443", ""},
		{"the same", "backend a.example.com:443", "backend a.example.com:443", "unchanged backend a.example.com:443 <- backend a.example.com:443", "backend a.example.com:443"},
		{
			"twice and in another order", "backend b.example.com:443\nbackend a.example.com:443\nbackend a.example.com:443", "backend a.example.com:443\nbackend b.example.com:443\nbackend a.example.com:443",
			"unchanged backend a.example.com:443 <- backend a.example.com:443\nunchanged backend b.example.com:443 <- backend b.example.com:443", "backend a.example.com:443\nbackend b.example.com:443",
		},
		{
			"another host of the same domain", "backend a.example.com:443", "backend a.example.com:443\nbackend b.example.com:443",
			"added backend b.example.com:443\nunchanged backend a.example.com:443 <- backend a.example.com:443", "backend a.example.com:443",
		},
		{"gone", "backend a.example.com:443", "", "removed <- backend a.example.com:443", ""},
		{
			"exact to wildcard", "backend a.example.com:443", "backend *.example.com:443",
			"widened backend *.example.com:443 <- backend a.example.com:443 (every subdomain of example.com instead of the host a.example.com)", "backend a.example.com:443",
		},
		{
			"wildcard to exact", "backend *.example.com:443", "backend a.example.com:443",
			"narrowed backend a.example.com:443 <- backend *.example.com:443 (the host a.example.com instead of every subdomain of example.com)", "backend a.example.com:443",
		},
		{
			"wildcard to its parent", "backend *.example.com:443", "backend example.com:443",
			"added backend example.com:443\nremoved <- backend *.example.com:443", "",
		},
		{
			"one of the wildcard's named besides", "backend *.example.com:443", "backend *.example.com:443\nbackend a.example.com:443",
			"unchanged backend *.example.com:443 <- backend *.example.com:443\nunchanged backend a.example.com:443 <- backend *.example.com:443", "backend *.example.com:443",
		},
		{
			"the path dropped", "images a.example.com:443/x/", "images a.example.com:443",
			"widened images a.example.com:443 <- images a.example.com:443/x/ (every path instead of /x/)", "images a.example.com:443/x/",
		},
		{
			"a longer path", "images a.example.com:443/x/", "images a.example.com:443/x/y",
			"narrowed images a.example.com:443/x/y <- images a.example.com:443/x/ (only the path /x/y)", "images a.example.com:443/x/y",
		},
		{
			"another path", "images a.example.com:443/x/", "images a.example.com:443/y/",
			"widened images a.example.com:443/y/ <- images a.example.com:443/x/ (the path /y/ instead of /x/)\nremoved <- images a.example.com:443/x/", "",
		},
		{
			"a new kind on the same host", "client a.example.com:443", "client a.example.com:443\nbackend a.example.com:443",
			"widened backend a.example.com:443 <- client a.example.com:443 (another kind of traffic: backend, not client)\nunchanged client a.example.com:443 <- client a.example.com:443", "client a.example.com:443",
		},
		{
			"another kind instead", "client a.example.com:443", "backend a.example.com:443",
			"widened backend a.example.com:443 <- client a.example.com:443 (another kind of traffic: backend, not client)\nremoved <- client a.example.com:443", "",
		},
		{
			"a new port", "backend a.example.com:443", "backend a.example.com:443\nbackend a.example.com:8443",
			"widened backend a.example.com:8443 <- backend a.example.com:443 (another port: 8443, not 443)\nunchanged backend a.example.com:443 <- backend a.example.com:443", "backend a.example.com:443",
		},
		{
			"a new operation", "remote a.example.com:443 operations=compute", "remote a.example.com:443 operations=storage,compute",
			"widened remote a.example.com:443 operations=storage,compute <- remote a.example.com:443 operations=compute (new operations: storage)", "remote a.example.com:443 operations=compute",
		},
		{
			"an operation for another", "remote a.example.com:443 operations=compute", "remote a.example.com:443 operations=storage",
			"widened remote a.example.com:443 operations=storage <- remote a.example.com:443 operations=compute (new operations: storage)", "remote a.example.com:443 operations=compute",
		},
		{
			"an operation less", "remote a.example.com:443 operations=storage,compute", "remote a.example.com:443 operations=compute",
			"narrowed remote a.example.com:443 operations=compute <- remote a.example.com:443 operations=storage,compute (no longer: storage)", "remote a.example.com:443 operations=compute",
		},
		{
			"a token and end-user data", "remote a.example.com:443 operations=compute", "remote a.example.com:443 operations=compute end-user-data tokens=app-user",
			"widened remote a.example.com:443 operations=compute end-user-data tokens=app-user <- remote a.example.com:443 operations=compute (new tokens handed over: app-user, end-user data goes there now)",
			"remote a.example.com:443 operations=compute",
		},
		{
			"a second false to true", "backend a.example.com:443 end-user-data\nbackend b.example.com:443", "backend a.example.com:443 end-user-data\nbackend b.example.com:443 end-user-data",
			"widened backend b.example.com:443 end-user-data <- backend b.example.com:443 (end-user data goes there now)\nunchanged backend a.example.com:443 end-user-data <- backend a.example.com:443 end-user-data",
			"backend a.example.com:443 end-user-data\nbackend b.example.com:443",
		},
		{
			"no end-user data any more, no token", "backend a.example.com:443 end-user-data tokens=app-user,app-system", "backend a.example.com:443 tokens=app-system",
			"narrowed backend a.example.com:443 tokens=app-system <- backend a.example.com:443 end-user-data tokens=app-user,app-system (tokens no longer handed over: app-user, no end-user data any more)",
			"backend a.example.com:443 tokens=app-system",
		},
		{
			"more of one thing, less of another", "backend *.example.com:443 end-user-data", "backend a.example.com:443 operations=storage",
			"widened backend a.example.com:443 operations=storage <- backend *.example.com:443 end-user-data (new operations: storage)", "backend a.example.com:443",
		},
		{
			"every region", "remote a.example.com:443 region=EU", "remote a.example.com:443",
			"widened remote a.example.com:443 <- remote a.example.com:443 region=EU (every region instead of EU)", "remote a.example.com:443 region=EU",
		},
		{
			"one region", "remote a.example.com:443", "remote a.example.com:443 region=EU\nremote b.example.com:443 region=US",
			"added remote b.example.com:443 region=US\nnarrowed remote a.example.com:443 region=EU <- remote a.example.com:443 (only the region EU)", "remote a.example.com:443 region=EU",
		},
		{
			"another region", "remote a.example.com:443 region=EU", "remote a.example.com:443 region=US",
			"widened remote a.example.com:443 region=US <- remote a.example.com:443 region=EU (another region: US, not EU)\nremoved <- remote a.example.com:443 region=EU", "",
		},
		{
			"two approvals make no third", "backend a.example.com:443 operations=storage\nbackend a.example.com:443 operations=compute", "backend a.example.com:443 operations=storage,compute",
			"widened backend a.example.com:443 operations=storage,compute <- backend a.example.com:443 operations=storage & backend a.example.com:443 operations=compute (new operations: compute)",
			"backend a.example.com:443 operations=storage\nbackend a.example.com:443 operations=compute",
		},
		{
			"what a widened row still covers is unchanged", "backend *.example.com:443 operations=compute", "backend *.example.com:443 operations=storage,compute\nbackend a.example.com:443 operations=compute",
			"widened backend *.example.com:443 operations=storage,compute <- backend *.example.com:443 operations=compute (new operations: storage)\n" +
				"unchanged backend a.example.com:443 operations=compute <- backend *.example.com:443 operations=compute", "backend *.example.com:443 operations=compute",
		},
		{"a transit of ours", "transit support", "transit support", "unchanged transit support <- transit support", "transit support"},
		{
			"a transit is no host", "transit support.example", "backend support.example:443",
			"added backend support.example:443\nremoved <- transit support.example", "",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			approved, declared := rows(t, c.approved), rows(t, c.declared)
			got := Compare(approved, declared)
			if text := changesText(got); text != c.want {
				t.Errorf("got\n%s\nwant\n%s", text, c.want)
			}
			if kept := Keep(approved, declared); !slices.Equal(kept, rows(t, c.kept)) {
				t.Errorf("kept %v; want %v", kept, c.kept)
			}
			b, err := json.Marshal(got)
			var back []Change
			if err != nil || json.Unmarshal(b, &back) != nil || changesText(back) != c.want {
				t.Errorf("as JSON %s, %v; back\n%s", b, err, changesText(back))
			}
		})
	}
	if err := new(ChangeClass).UnmarshalText([]byte("wider")); err == nil {
		t.Error("there is a class called wider")
	}
	if !Added.Asks() || !Widened.Asks() || Narrowed.Asks() || Removed.Asks() || Unchanged.Asks() || !ChangeClass(9).Asks() || (Change{}).Class != Added {
		t.Error("what waits for a prompt is not what lets out more")
	}
}

func changesText(changes []Change) string {
	var lines []string
	for _, c := range changes {
		line := c.Class.String()
		if c.Row != (Row{}) {
			line += " " + c.Row.String()
		}
		for i, f := range c.From {
			line += map[bool]string{true: " <- ", false: " & "}[i == 0] + f.String()
		}
		if len(c.Why) > 0 {
			line += fmt.Sprintf(" (%s)", strings.Join(c.Why, ", "))
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// ATTACK: a new version of an app hides what it wants in a change that asks for
// nothing: rows in another order, doubled, split over several, a second switch of
// inScopeEUD, an approved domain for another kind of traffic.
// THIS TEST VERIFIES, for thousands of approvals and manifests, that whatever is
// not covered by a row that was approved waits for a prompt; that what remains by
// itself lets out nothing that was not approved and nothing that is declared no
// longer; and that what was approved and is still declared goes on working.
//
// promise: P13
func TestNothingNewFlowsUnasked(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	classes := map[ChangeClass]int{}
	for range 3000 {
		approved, declared := randomRows(r, 5), randomRows(r, 5)
		if len(approved) > 0 && r.IntN(2) == 0 {
			declared = append(declared, approved[r.IntN(len(approved))])
		}
		changes := Compare(approved, declared)
		kept := Keep(approved, declared)
		for _, c := range changes {
			classes[c.Class]++
			covered := slices.ContainsFunc(approved, func(a Row) bool { return a.Covers(c.Row) })
			if c.Class != Removed && c.Class.Asks() == covered {
				t.Fatalf("approved %v\ndeclared %v\n%+v", approved, declared, c)
			}
			if c.Class == Removed && (len(c.From) != 1 || c.Row != (Row{}) || slices.Contains(kept, c.From[0]) && !slices.Contains(declared, c.From[0])) {
				t.Fatalf("approved %v\ndeclared %v\n%+v", approved, declared, c)
			}
			if (c.Class == Widened || c.Class == Narrowed) && (len(c.Why) == 0 || len(c.From) == 0) {
				t.Fatalf("%+v says not why", c)
			}
			for _, f := range c.From {
				if !slices.Contains(approved, f) {
					t.Fatalf("%+v is held against what was not approved", c)
				}
			}
			if c.Class != Removed && !slices.Contains(declared, c.Row) {
				t.Fatalf("%+v was not declared", c)
			}
		}
		for _, d := range declared {
			if n := len(slices.DeleteFunc(slices.Clone(changes), func(c Change) bool { return c.Row != d })); n != 1 {
				t.Fatalf("%s is in %d changes", d, n)
			}
		}
		for _, k := range kept {
			if !slices.ContainsFunc(approved, func(a Row) bool { return a.Covers(k) }) {
				t.Fatalf("approved %v\ndeclared %v\nkept %s", approved, declared, k)
			}
		}
		for q := range questions {
			before, now := allowed(approved, q), allowed(declared, q)
			if allowed(kept, q) != (before && now) && withoutRegions(approved, declared) || allowed(kept, q) && (!before || !now) {
				t.Fatalf("approved %v\ndeclared %v\nkept %v\nasked for %+v", approved, declared, kept, q)
			}
		}
		// Neither order nor repetition makes a difference, and keeping again none.
		shuffled := append(slices.Clone(declared), declared...)
		r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		mixedUp := append(slices.Clone(approved), approved...)
		r.Shuffle(len(mixedUp), func(i, j int) { mixedUp[i], mixedUp[j] = mixedUp[j], mixedUp[i] })
		if changesText(Compare(mixedUp, shuffled)) != changesText(changes) || !slices.Equal(Keep(mixedUp, shuffled), kept) {
			t.Fatalf("approved %v\ndeclared %v: the order matters", approved, declared)
		}
		if !slices.Equal(Keep(kept, declared), kept) {
			t.Fatalf("approved %v\ndeclared %v\nkept %v, then %v", approved, declared, kept, Keep(kept, declared))
		}
		for _, c := range Compare(kept, declared) {
			if c.Class == Narrowed || c.Class == Removed {
				t.Fatalf("approved %v\ndeclared %v\nkept %v: there is still %+v", approved, declared, kept, c)
			}
		}
	}
	for _, c := range []ChangeClass{Added, Widened, Narrowed, Removed, Unchanged} {
		if classes[c] < 50 {
			t.Errorf("only %d were %s", classes[c], c)
		}
	}
}

// withoutRegions reports whether no row is for one region: Allows does not ask for
// it, and two regions of one host do not meet.
func withoutRegions(lists ...[]Row) bool {
	for _, l := range lists {
		if slices.ContainsFunc(l, func(r Row) bool { return r.Region != "" }) {
			return false
		}
	}
	return true
}

package payload

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/isogate/isogate"
)

func formRules(t testing.TB, unclassified isogate.Action) *Rules {
	return rulesFor(compile(t,
		line(t, "name", "allow.name"),
		line(t, "email", "token.email"),
		line(t, "'user[plan]'", "allow.plan"),
		line(t, "note", "drop.note"),
		line(t, "secret", "refuse.secret"),
		line(t, "gone", "redact.gone"),
		line(t, "count", "allow.count", takes(isogate.Number)),
		line(t, "payload", "token.payload", parses),
		line(t, "payload.ok", "allow.ok"),
	), unclassified)
}

func TestForm(t *testing.T) {
	r := formRules(t, isogate.Token)
	tok := regexp.MustCompile(`(tok|k)_[0-9a-f]{24}`)
	for _, c := range []struct{ name, in, want string }{
		{"allowed fields keep their spelling", "name=A%64a+L.&user[plan]=pro&user%5Bplan%5D2=x", "name=A%64a+L.&user[plan]=pro&K=T"},
		{"a replaced value", "email=ada%40example.com&name=x", "email=T&name=x"},
		{"the name is matched as decoded", "%65mail=ada", "%65mail=T"},
		{"an unknown field", "zz=1", "K=T"},
		{"a dropped field at the beginning", "note=1&name=x", "name=x"},
		{"in the middle", "name=x&note=1&email=y", "name=x&email=T"},
		{"at the end", "name=x&note=1", "name=x"},
		{"alone", "note=1", ""},
		{"redacted", "gone=1", "gone=%5Bredacted%5D"},
		{"all values are strings", "count=12", "count=T"},
		{"an empty value", "name=", "name="},
		{"an empty name", "=x", "K=T"},
		{"a value with = signs", "name=a==", "name=a=="},
		{"JSON in a field", "payload=%7B%22ok%22%3A1%2C%22no%22%3A%22x%22%7D&name=y", "payload=%7B%22ok%22%3A1%2C%22K%22%3A%22T%22%7D&name=y"},
		{"JSON in a field, all allowed", "payload=%7b%22ok%22:1%7D", "payload=%7b%22ok%22:1%7D"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, _, err := run(t, formFormat{}, []byte(c.in), r, 1, 2, 3, 1000)
			if err != nil {
				t.Fatal(err)
			}
			got := tok.ReplaceAllStringFunc(string(out), func(s string) string { return strings.ToUpper(s[:1]) })
			if got != c.want {
				t.Errorf("%s leaves, not %s", got, c.want)
			}
		})
	}
}

func TestFormRefuses(t *testing.T) {
	r := formRules(t, isogate.Token)
	r.Limits = Limits{Value: 64, Members: 4, Body: 100}
	for _, c := range []struct {
		name, in string
		offset   int64
		reason   string
	}{
		{"nothing", "", 0, "empty"},
		{"a byte order mark", "\xef\xbb\xbfname=x", 0, "byte order mark"},
		{"duplicates", "name=1&name=2", 7, "same name"},
		{"duplicates spelled differently", "name=1&n%61me=2", 7, "same name"},
		{"unknown duplicates", "zz=1&zz=2", 5, "same name"},
		{"a semicolon", "name=1;email=2", 6, "semicolon"},
		{"%u", "name=%u0041", 5, "hexadecimal"},
		{"a cut percent sign", "name=%4", 5, "hexadecimal"},
		{"NUL", "name=a%00b", 6, "NUL"},
		{"not UTF-8", "name=%ff", 5, "UTF-8"},
		{"not UTF-8 in a name", "%ff=1", 0, "UTF-8"},
		{"a bare space", "name=a b", 6, "percent-encoded"},
		{"a raw letter outside ASCII", "name=é", 5, "percent-encoded"},
		{"no =", "name", 0, "no ="},
		{"an empty field", "name=1&&email=2", 7, "no ="},
		{"an & at the end", "name=1&", 7, "no ="},
		{"an & at the beginning", "&name=1", 0, "no ="},
		{"too many fields", "a=1&b=2&c=3&d=4&e=5", 16, "more than 4"},
		{"a long field", "name=1&email=" + strings.Repeat("x", 65), 7, "longer than 64"},
		{"a large body", "name=" + strings.Repeat("x", 50) + "&email=" + strings.Repeat("x", 50), 100, "larger than 100"},
		{"a verdict of refuse", "name=1&secret=x", 14, "refuse"},
		{"JSON that is none", "payload=x", 8, "opaque"},
	} {
		t.Run(c.name, func(t *testing.T) {
			chunks := []int{1, 3, 1000}
			_, _, err := run(t, formFormat{}, []byte(c.in), r, chunks...)
			var refusal *Refusal
			if !errors.As(err, &refusal) || refusal.Offset != c.offset || !strings.Contains(refusal.Reason, c.reason) {
				t.Errorf("%v, not %q at %d", err, c.reason, c.offset)
			}
		})
	}
}

func TestFormNames(t *testing.T) {
	specs := []Spec{line(t, "*", "allow.any", keyed("allow.name"))}
	r := rulesFor(compile(t, specs...), isogate.Token)
	out, _, err := run(t, formFormat{}, []byte("plain=1&ada%40example.com=2"), r, 1)
	if err != nil || !strings.HasPrefix(string(out), "plain=1&k_") || !strings.HasSuffix(string(out), "=2") {
		t.Errorf("%s, %v", out, err)
	}
	for unclassified, want := range map[isogate.Action]string{isogate.Drop: "a=1", isogate.Refuse: ""} {
		r := rulesFor(compile(t, line(t, "a", "allow.a"), line(t, "b.c", "allow.c")), unclassified)
		out, _, err := run(t, formFormat{}, []byte("a=1&zz=2"), r, 1)
		if string(out) != want || (err == nil) != (want != "") {
			t.Errorf("%s: %s, %v", unclassified, out, err)
		}
	}
	r = rulesFor(compile(t, line(t, "*", "allow.any", keyed("refuse.name"))), isogate.Token)
	if out, _, err := run(t, formFormat{}, []byte("zz=1"), r, 1); err == nil {
		t.Errorf("a refused name leaves: %s", out)
	}
	// Dropped for its name, but what its JSON holds still counts.
	r = rulesFor(compile(t, line(t, "*", "allow.any", keyed("drop.name"), parses), line(t, "*.no", "refuse.no")), isogate.Token)
	if out, _, err := run(t, formFormat{}, []byte("zz=1"), r, 1); err != nil || len(out) != 0 {
		t.Errorf("%s, %v", out, err)
	}
	if _, _, err := run(t, formFormat{}, []byte("zz={\"no\":1}"), r, 1); err == nil {
		t.Error("accepted with braces")
	}
	if _, _, err := run(t, formFormat{}, []byte("zz=%7B%22no%22:1%7D"), r, 1); err == nil || !strings.Contains(err.Error(), "refuse") {
		t.Errorf("a refused value in a dropped field: %v", err)
	}
}

func queryRules(unclassified isogate.Action) *NameRules {
	n := CompileNames("query", map[string]isogate.Label{
		"tab": "allow.tab", "email": "token.email", "note": "drop.note", "secret": "refuse.secret", "gone": "redact.gone", "none": "",
	})
	return &NameRules{Names: n, Verdicts: verdictsFor(n.Sets(), unclassified)}
}

func TestQuery(t *testing.T) {
	r := queryRules(isogate.Token)
	tok := regexp.MustCompile(`(tok|k)_[0-9a-f]{24}`)
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"tab=1&tab=%32", "tab=1&tab=%32"},
		{"email=a&email=b&tab", "email=T&email=T&tab"},
		{"x=1&y", "K=T&K"},
		{"note=1&tab=2", "tab=2"},
		{"tab=2&note&note=", "tab=2"},
		{"gone=1", "gone=%5Bredacted%5D"},
		{"none=1", "none=T"},
		{"TAB=1", "K=T"},
		{"tab=a=b", "tab=a=b"},
	} {
		var tally Tally
		out, err := RewriteQuery([]byte("/p?"), c.in, r, fakeReplacer{}, &tally)
		got := tok.ReplaceAllStringFunc(string(out), func(s string) string { return strings.ToUpper(s[:1]) })
		if err != nil || got != "/p?"+c.want {
			t.Errorf("%s: %s, %v; want %s", c.in, got, err, c.want)
		}
	}
	var tally Tally
	for range 2 {
		if _, err := RewriteQuery(nil, "x=1&email=ada&note=1", r, fakeReplacer{}, &tally); err != nil {
			t.Fatal(err)
		}
	}
	want := []isogate.Field{
		{Path: "query:?", Label: isogate.Unclassified, Action: isogate.Token, N: 2},
		{Path: "query:?#name", Label: isogate.Unclassified, Action: isogate.Hash, N: 2},
		{Path: "query:email", Label: "token.email", Action: isogate.Token, Handling: "transit-only", Rule: "rules.yaml:1", N: 2},
		{Path: "query:note", Label: "drop.note", Action: isogate.Drop, Handling: "transit-only", Rule: "rules.yaml:1", N: 2},
	}
	if got := tally.Fields(nil); !slices.Equal(got, want) {
		t.Errorf("counted %v", got)
	}
}

func TestQueryRefuses(t *testing.T) {
	for _, c := range []struct {
		in     string
		offset int64
		reason string
	}{
		{"&", 0, "empty"},
		{"tab=1&", 6, "empty"},
		{"tab=1&&x", 6, "empty"},
		{"tab=1;x=2", 5, "semicolon"},
		{"t;b=1", 1, "semicolon"},
		{"tab=%u0041", 4, "hexadecimal"},
		{"tab=%ff", 4, "UTF-8"},
		{"tab=#", 4, "percent-encoded"},
		{"secret=1", 0, "refuse"},
		{strings.Repeat("a&", MaxParameters) + "a", 2 * MaxParameters, "more than"},
	} {
		dst := []byte("kept")
		out, err := RewriteQuery(dst, c.in, queryRules(isogate.Token), fakeReplacer{}, &Tally{})
		var refusal *Refusal
		if !errors.As(err, &refusal) || refusal.Offset != c.offset || !strings.Contains(refusal.Reason, c.reason) || string(out) != "kept" {
			t.Errorf("%.20s: %q, %v; want %q at %d", c.in, out, err, c.reason, c.offset)
		}
	}
	if _, err := RewriteQuery(nil, "x=1", queryRules(isogate.Refuse), fakeReplacer{}, &Tally{}); err == nil {
		t.Error("an unknown parameter leaves though unclassified is refused")
	}
	if out, err := RewriteQuery(nil, "x=1&tab=2", queryRules(isogate.Drop), fakeReplacer{}, &Tally{}); err != nil || string(out) != "tab=2" {
		t.Errorf("%s, %v", out, err)
	}
	if _, err := RewriteQuery(nil, "x=1", queryRules(isogate.Allow), fakeReplacer{}, &Tally{}); !errors.Is(err, errUnclassified) {
		t.Errorf("unclassified may leave: %v", err)
	}
}

func TestNamed(t *testing.T) {
	labels := map[string]isogate.Label{"Plain": "allow.x", "Token": "token.x", "Drop": "drop.x", "Refuse": "refuse.x", "Redact": "redact.x"}
	for _, c := range []struct {
		part, name, value string
		keep              bool
		want, reason      string
	}{
		{"header", "plain", "a\tb", true, "a\tb", ""},
		{"header", "PLAIN", "x", true, "x", ""},
		{"header", "Other", "x", false, "", ""},
		{"header", "Token", "x", true, "tok_", ""},
		{"header", "Redact", "x", true, "[redacted]", ""},
		{"header", "Drop", "x", false, "", ""},
		{"header", "Refuse", "x", false, "", "refuse"},
		{"header", "Plain", "a\r\nb", false, "", "control"},
		{"header", "Plain", "é", false, "", "ASCII"},
		{"trailer", "plain", "x", true, "x", ""},
		{"trailer", "Other", "\r\n", false, "", ""},
		{"cookie", "Plain", "x", true, "x", ""},
		{"cookie", "plain", "x", false, "", ""},
		{"cookie", "Plain", "a;b", false, "", "cookies"},
		{"cookie", "Plain", "a\tb", false, "", "control"},
		{"cookie", "Token", "ü", false, "", "cookies"},
		{"path", "Plain", "ada", true, "ada", ""},
		{"path", "other", "ada", true, "tok_", ""},
		{"path", "Token", "ada", true, "tok_", ""},
		{"path", "Drop", "ada", false, "", "cannot be dropped"},
		{"path", "Plain", "..", false, "", "segment"},
		{"path", "Plain", "", false, "", "segment"},
		{"path", "Plain", "a/b", false, "", "segment"},
		{"path", "Plain", "\xff", false, "", "UTF-8"},
		{"path", "Plain", "a\tb", false, "", "control"},
		{"query", "Plain", "a b", true, "a b", ""},
	} {
		n := CompileNames(c.part, labels)
		r := &NameRules{Names: n, Verdicts: verdictsFor(n.Sets(), isogate.Token)}
		var tally Tally
		out, keep, err := RewriteNamed([]byte("x:"), c.name, c.value, r, fakeReplacer{}, &tally)
		if keep != c.keep || !strings.HasPrefix(string(out), "x:"+c.want) || (c.want == "" && len(out) > 2) {
			t.Errorf("%s %s=%q: %q, %v, %v", c.part, c.name, c.value, out, keep, err)
		}
		if (err != nil) != (c.reason != "") || err != nil && !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s %s=%q: %v, want %q", c.part, c.name, c.value, err, c.reason)
		}
		if n := len(tally.Fields(nil)); (n == 1) != (err == nil) {
			t.Errorf("%s %s=%q: %d fields counted", c.part, c.name, c.value, n)
		}
	}
	n := CompileNames("header", map[string]isogate.Label{"A": "allow.x", "a": "drop.y"})
	if got := fmt.Sprint(n.Sets()); got != "[[unclassified] [allow.x drop.y]]" {
		t.Errorf("two spellings of a header carry %s", got)
	}
	r := &NameRules{Names: n, Verdicts: []isogate.Verdict{{Action: isogate.Allow}}}
	if _, _, err := RewriteNamed(nil, "b", "", r, fakeReplacer{}, &Tally{}); !errors.Is(err, errUnclassified) {
		t.Errorf("unclassified may leave: %v", err)
	}
	r.Verdicts = nil
	if _, _, err := RewriteNamed(nil, "a", "x", r, fakeReplacer{}, &Tally{}); err == nil || !strings.Contains(err.Error(), "no verdict") {
		t.Errorf("a set without a verdict: %v", err)
	}
}

// FuzzForm compares with net/url and checks that nothing unnamed leaves.
func FuzzForm(f *testing.F) {
	for _, s := range []string{"name=x&email=y", "a=1&a=2", "note=1", "%65mail=%zz", "payload=%7B%7D&zz=;", "user[plan]=1&=", "name=a+b%20c&x="} {
		f.Add([]byte(s))
	}
	r := formRules(f, isogate.Token)
	f.Fuzz(func(t *testing.T, src []byte) {
		out, _, err := run(t, formFormat{}, src, r, 1, 3)
		in, perr := url.ParseQuery(string(src))
		if err != nil {
			return
		}
		if perr != nil {
			t.Fatalf("net/url refuses what is accepted: %v", perr)
		}
		leaves, perr := url.ParseQuery(string(out))
		if perr != nil || bytes.ContainsAny(out, "; \x00") {
			t.Fatalf("%q leaves: %v", out, perr)
		}
		for name, values := range leaves {
			if len(values) != 1 {
				t.Fatalf("%q leaves twice", name)
			}
			if len(in[name]) == 1 && in[name][0] == values[0] && values[0] != "" && name != "name" && name != "user[plan]" && name != "payload" && name != "gone" {
				t.Fatalf("%q leaves as it was", name)
			}
		}
	})
}

// FuzzQuery checks the same of query strings.
func FuzzQuery(f *testing.F) {
	for _, s := range []string{"tab=x&email=y", "a=1&a=2", "note=1&note", "%74ab=%zz", "tab=1;x=2", "&", "=", "tab=a+b%20c&x="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		r := queryRules(isogate.Token)
		out, err := RewriteQuery(nil, raw, r, fakeReplacer{}, &Tally{})
		if err != nil {
			return
		}
		in, perr := url.ParseQuery(raw)
		if perr != nil {
			t.Fatalf("net/url refuses what is accepted: %v", perr)
		}
		leaves, perr := url.ParseQuery(string(out))
		if perr != nil {
			t.Fatalf("%q leaves: %v", out, perr)
		}
		if !slices.Equal(leaves["tab"], in["tab"]) {
			t.Fatalf("tab: %q leaves of %q", leaves["tab"], in["tab"])
		}
		for name, values := range leaves {
			for _, v := range values {
				if name != "tab" && name != "gone" && v != "" && slices.Contains(in[name], v) {
					t.Fatalf("%q leaves as it was", name)
				}
			}
		}
	})
}

package payload

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/isogate/isogate"
)

// TestEveryRegisteredValueIsNotedOnce goes through the positions of a body in
// which a value may leave as it is: what leaves is untouched, and what is noted
// is the decoded text.
//
// promise: P17
func TestEveryRegisteredValueIsNotedOnce(t *testing.T) {
	const mail = isogate.Label("allow.registered.mail")
	for _, c := range []struct {
		name, format, in string
		fields           []Spec
		want             []string // as noting writes them
	}{
		{"a member, twice the same", "json", `{"a": "ada@x.example", "b": "ada@x.example"}`,
			[]Spec{line(t, "a", mail), line(t, "b", mail)}, []string{"string allow.registered.mail ada@x.example", "string allow.registered.mail ada@x.example"}},
		{"escapes", "json", `{"a": "\u0061d\/a"}`, []Spec{line(t, "a", mail)}, []string{"string allow.registered.mail ad/a"}},
		{"numbers and booleans", "json", `[7.50, true, null, ""]`, []Spec{line(t, "[]", mail)},
			[]string{"number allow.registered.mail 7.50", "bool allow.registered.mail true"}},
		{"the body itself", "json", ` "x" `, []Spec{line(t, "$", mail)}, []string{"string allow.registered.mail x"}},
		{"of keyed arrays the elements that match", "json", `{"t": [{"key": "mail", "v": "a"}, {"key": "other", "v": "b"}, {"v": "c", "key": "mail"}]}`,
			[]Spec{line(t, "t[].key", "allow.x"), line(t, "t[key=mail].v", mail), line(t, "t[key=other].v", "allow.x")},
			[]string{"string allow.registered.mail a", "string allow.registered.mail c"}},
		{"under a wildcard, the value alone", "json", `{"m": {"work": "a", "home": "b"}}`, []Spec{line(t, "m.*", mail)},
			[]string{"string allow.registered.mail a", "string allow.registered.mail b"}},
		{"names with a label of their own", "json", `{"m": {"ada": "a", "bo": {"x": 1}}}`,
			[]Spec{line(t, "m.*", "allow.x", keyed(mail)), line(t, "m.*.x", "allow.x")},
			[]string{"string allow.registered.mail ada", "string allow.registered.mail bo"}},
		{"inside a string", "json", `{"raw": "{\"a\": \"deep\"}"}`, []Spec{line(t, "raw", "allow.x", parses), line(t, "raw.a", mail)},
			[]string{"string allow.registered.mail deep"}},
		{"lines", "ndjson", "{\"a\": \"1\"}\n{\"a\": \"2\"}\n", []Spec{line(t, "a", mail)},
			[]string{"string allow.registered.mail 1", "string allow.registered.mail 2"}},
		{"a form", "form", "a=ada%40x.example&b=1&e=", []Spec{line(t, "a", mail), line(t, "b", "allow.x"), line(t, "e", mail)},
			[]string{"string allow.registered.mail ada@x.example"}},
		{"names of a form", "form", "ada=1", []Spec{line(t, "*", "allow.x", keyed(mail))}, []string{"string allow.registered.mail ada"}},
		{"JSON in a form", "form", "raw=" + "%7B%22a%22%3A%22deep%22%7D", []Spec{line(t, "raw", "allow.x", parses), line(t, "raw.a", mail)},
			[]string{"string allow.registered.mail deep"}},
	} {
		tree := compile(t, c.fields...)
		out, fields, noted, err := runNoting(t, format(t, c.format), []byte(c.in), rulesFor(tree, isogate.Token), 1, 3, 100)
		if err != nil || string(out) != c.in {
			t.Errorf("%s: %s leaves as %s: %v", c.name, c.in, out, err)
		}
		if !slices.Equal(noted, c.want) {
			t.Errorf("%s: noted %q, want %q", c.name, noted, c.want)
		}
		if !slices.ContainsFunc(fields, func(f isogate.Field) bool { return f.Registered }) {
			t.Errorf("%s: no field says that it is registered: %v", c.name, fields)
		}
	}
}

// TestWhatDoesNotLeaveIsNotNoted: neither what is left out nor what is replaced.
func TestWhatDoesNotLeaveIsNotNoted(t *testing.T) {
	tree := compile(t, line(t, "gone.*", "drop.d", keyed("drop.d")), line(t, "gone.*.a", "allow.registered"),
		line(t, "n", "allow.registered", takes(isogate.Number)), line(t, "k.*", "drop.d", keyed("allow.registered")))
	in := `{"gone": {"x": {"a": "secret"}}, "n": "no number", "k": {"ada": "dropped"}}`
	out, _, noted, err := runNoting(t, jsonFormat{}, []byte(in), rulesFor(tree, isogate.Token), 1, 100)
	if err != nil || len(noted) > 0 || strings.Contains(string(out), "ada") {
		t.Errorf("%s: noted %q, %v", out, noted, err)
	}
}

func TestNamedValuesAreNoted(t *testing.T) {
	for _, part := range []string{"path", "header", "cookie", "trailer"} {
		n := CompileNames(part, map[string]isogate.Label{"who": "allow.registered"})
		r := &NameRules{Names: n, Verdicts: verdictsFor(n.Sets(), isogate.Token)}
		var rep noting
		var tally Tally
		out, keep, err := RewriteNamed(nil, "who", "ada@x.example", r, &rep, &tally)
		if err != nil || !keep || string(out) != "ada@x.example" || !slices.Equal(rep.noted, []string{"string allow.registered ada@x.example"}) {
			t.Errorf("%s: %s, %t, %v, noted %q", part, out, keep, err, rep.noted)
		}
	}
	n := CompileNames("query", map[string]isogate.Label{"who": "allow.registered"})
	r := &NameRules{Names: n, Verdicts: verdictsFor(n.Sets(), isogate.Token)}
	var rep noting
	var tally Tally
	out, err := RewriteQuery(nil, "who=ada%40x.example&who=b&who=&who", r, &rep, &tally)
	if err != nil || string(out) != "who=ada%40x.example&who=b&who=&who" || !slices.Equal(rep.noted, []string{"string allow.registered ada@x.example", "string allow.registered b"}) {
		t.Errorf("%s, %v, noted %q", out, err, rep.noted)
	}
}

// ATTACK: a replacer that knows nothing of the register is put before a
// destination that has one, as any replacer written before the register was.
// THIS TEST VERIFIES: what must be registered then does not leave, in any
// position, and neither does it when the register has no room.
//
// promise: P17
func TestWhatCannotBeNotedDoesNotLeave(t *testing.T) {
	tree := compile(t, line(t, "a", "allow.registered"), line(t, "m.*", "allow.x", keyed("allow.registered")), line(t, "raw", "allow.x", parses), line(t, "raw.a", "allow.registered"))
	var full refusing
	for _, rep := range []Replacer{fakeReplacer{}, &full} {
		for _, c := range []struct{ format, in string }{
			{"json", `{"a": "x"}`}, {"json", `{"m": {"ada": 1}}`}, {"json", `{"m": {"ada": {}}}`}, {"json", `{"raw": "{\"a\": 1}"}`},
			{"form", `a=x`}, {"form", "raw=%7B%22a%22%3A1%7D"},
		} {
			var tally Tally
			out, err := format(t, c.format).Rewrite(nil, []byte(c.in), rulesFor(tree, isogate.Token), rep, &tally)
			var refusal *Refusal
			if err == nil || len(out) > 0 || errors.As(err, &refusal) || strings.Contains(err.Error(), "ada") {
				t.Errorf("%T: %s leaves as %q: %v", rep, c.in, out, err)
			}
		}
		for _, part := range []string{"path", "header", "cookie", "trailer", "query"} {
			n := CompileNames(part, map[string]isogate.Label{"who": "allow.registered"})
			r := &NameRules{Names: n, Verdicts: verdictsFor(n.Sets(), isogate.Token)}
			var tally Tally
			var out []byte
			var err error
			if part == "query" {
				out, err = RewriteQuery(nil, "who=ada", r, rep, &tally)
			} else {
				out, _, err = RewriteNamed(nil, "who", "ada", r, rep, &tally)
			}
			if err == nil || len(out) > 0 {
				t.Errorf("%T: %s: %q, %v", rep, part, out, err)
			}
		}
	}
}

// refusing is a Noter without room.
type refusing struct{ fakeReplacer }

var errNoRoom = errors.New("no room")

func (*refusing) Note(*isogate.Verdict, isogate.Value) error { return errNoRoom }

// TestSealedFieldsAreCounted: a field says that it left sealed when a seal is
// really what left.
//
// promise: P41
func TestSealedFieldsAreCounted(t *testing.T) {
	tree := compile(t, line(t, "s", "seal.s"), line(t, "m", "mask.m"), line(t, "long", "seal.s"))
	r := rulesFor(tree, isogate.Token)
	for i := range r.Verdicts {
		r.Verdicts[i].Sealed = r.Verdicts[i].Action > isogate.Token
	}
	var tally Tally
	out, err := jsonFormat{}.Rewrite(nil, []byte(`{"s": 12, "m": "ada", "long": "longer than any seal"}`), r, sealing{}, &tally)
	if want := `{"s": "igs1", "m": "igs1", "long": "igh1"}`; err != nil || string(out) != want {
		t.Errorf("%s, %v, want %s", out, err, want)
	}
	for _, f := range tally.Fields(nil) {
		if want := f.Path != "long"; f.Sealed != want {
			t.Errorf("%+v: want sealed %t", f, want)
		}
	}
}

// sealing seals what its verdict has sealed, unless it is long.
type sealing struct{ fakeReplacer }

func (sealing) Replace(dst []byte, v *isogate.Verdict, val isogate.Value) ([]byte, isogate.Kind, isogate.Action, error) {
	if len(val.Text) > 10 {
		return append(dst, "igh1"...), isogate.String, isogate.Hash, nil
	}
	return append(dst, "igs1"...), isogate.String, v.Action, nil
}

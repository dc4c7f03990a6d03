package payload

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/isogate/isogate"
)

var pseudonyms = regexp.MustCompile(`(tok|k)_[0-9a-f]{24}`)

// short writes the fake's replacements as T and K.
func short(out []byte) string {
	return pseudonyms.ReplaceAllStringFunc(string(out), func(s string) string { return strings.ToUpper(s[:1]) })
}

func supportContract(t testing.TB) []Spec {
	return []Spec{
		line(t, "user.email", "token.email"),
		line(t, "user.name", "allow.name"),
		line(t, "user.age", "redact.age"),
		line(t, "tickets[].title", "drop.title"),
		line(t, "tickets[].id", "allow.id", takes(isogate.Number)),
		line(t, "attributes[key=user.email].value.stringValue", "allow.email"),
		line(t, "attributes[].value.intValue", "allow.int"),
		line(t, "meta.*", "allow.meta"),
		line(t, "users.*.plan", "allow.plan", keyed("hash.account")),
		line(t, "deep.**", "allow.deep"),
		line(t, "labels.'app.kubernetes.io/name'", "allow.name"),
		line(t, "''", "allow.empty"),
		line(t, "raw", "token.raw", parses),
		line(t, "raw.ok", "allow.ok"),
		line(t, "secret", "refuse.secret"),
	}
}

func TestJSON(t *testing.T) {
	r := rulesFor(compile(t, supportContract(t)...), isogate.Token)
	for _, c := range []struct{ name, in, want string }{
		{"labelled", `{"user":{"email":"ada@example.com","name":"Ada","age":36}}`, `{"user":{"email":"T","name":"Ada","age":0}}`},
		{"white space stays", " {\r\n\t\"user\" : { \"name\" : \"Ada\" }\n} ", " {\r\n\t\"user\" : { \"name\" : \"Ada\" }\n} "},
		{"an unknown member", `{"note":"x"}`, `{"K":"T"}`},
		{"an unknown object", `{"note":{"a":["x",{"b":"y"}]}}`, `{"K":{"K":["T",{"K":"T"}]}}`},
		{"an escaped name is the name", `{"us\u0065r":{"n\u0061me":"Ada"}}`, `{"us\u0065r":{"n\u0061me":"Ada"}}`},
		{"a name that only looks like it", `{"User":{"name":"Ada"},"user\u0000":"x"}`, `{"K":{"K":"T"},"K":"T"}`},
		{"a scalar where an object was", `{"user":"Ada"}`, `{"user":"T"}`},
		{"an object where a scalar was", `{"user":{"name":{"first":"Ada"}}}`, `{"user":{"name":{"K":"T"}}}`},
		{"an array where a scalar was", `{"user":{"name":["Ada"]}}`, `{"user":{"name":["T"]}}`},
		{"another type", `{"tickets":[{"id":"x"},{"id":7}]}`, `{"tickets":[{"id":"T"},{"id":7}]}`},
		{"dropped first", `{"tickets":[{"title":"x" , "id":1}]}`, `{"tickets":[{ "id":1}]}`},
		{"dropped in the middle", `{"tickets":[{"id":1, "title":"x","zz":null}]}`, `{"tickets":[{"id":1,"K":null}]}`},
		{"dropped last", `{"tickets":[{"id":1 ,"title":"x"}]}`, `{"tickets":[{"id":1 }]}`},
		{"dropped alone", `{"tickets":[{ "title":"x" }]}`, `{"tickets":[{ }]}`},
		{"selected", `{"attributes":[{"key":"user.email","value":{"stringValue":"a"}}]}`, `{"attributes":[{"key":"T","value":{"stringValue":"a"}}]}`},
		{"selected, the other way round", `{"attributes":[{"value":{"stringValue":"a"},"key":"user.email"}]}`, `{"attributes":[{"value":{"stringValue":"a"},"key":"T"}]}`},
		{"selected by an escaped text", `{"attributes":[{"value":{"stringValue":"a"},"k\u0065y":"user\u002eemail"}]}`, `{"attributes":[{"value":{"stringValue":"a"},"k\u0065y":"T"}]}`},
		{"not selected", `{"attributes":[{"key":"other","value":{"stringValue":"a","intValue":1}}, 5]}`, `{"attributes":[{"key":"T","value":{"K":"T","intValue":1}}, 5]}`},
		{"not selected by a member inside", `{"attributes":[{"value":{"key":"user.email","stringValue":"a"}}]}`, `{"attributes":[{"value":{"K":"T","K":"T"}}]}`},
		{"not selected by another type", `{"attributes":[{"key":["user.email"],"value":{"stringValue":"a"}}]}`, `{"attributes":[{"key":["T"],"value":{"K":"T"}}]}`},
		{"any name", `{"meta":{"a":1,"not a name":2,"ada@example.com":3}}`, `{"meta":{"a":1,"K":2,"K":3}}`},
		{"any name, of an object", `{"meta":{"a":{"b":"x"}}}`, `{"meta":{"a":{"K":"T"}}}`},
		{"names with a label", `{"users":{"ada":{"plan":"pro"}}}`, `{"users":{"K":{"plan":"pro"}}}`},
		{"any depth", `{"deep":{"a":[{"b":"x"}]}}`, `{"deep":{"a":[{"b":"x"}]}}`},
		{"any depth, none", `{"deep":"x"}`, `{"deep":"x"}`},
		{"quoted names", `{"labels":{"app.kubernetes.io/name":"x"},"":"y"}`, `{"labels":{"app.kubernetes.io/name":"x"},"":"y"}`},
		{"parsed", `{"raw":"{\"ok\":\"x\",\"no\":\"y\"}"}`, `{"raw":"{\"ok\":\"x\",\"K\":\"T\"}"}`},
		{"parsed and untouched", `{"raw":"{\u0022ok\": \"\\u0078\"}"}`, `{"raw":"{\u0022ok\": \"\\u0078\"}"}`},
		{"parsed scalar", `{"raw":"\"x\""}`, `{"raw":"\"T\""}`},
		{"not a string where one is parsed", `{"raw":{"ok":1,"no":"x"}}`, `{"raw":{"ok":1,"K":"T"}}`},
		{"literals", `{"note":[true,false,null]}`, `{"K":[false,false,null]}`},
		{"numbers keep their spelling", `{"meta":{"a":-0,"b":12345678901234567890,"c":1E+2,"d":1e-400,"e":0.10}}`, `{"meta":{"a":-0,"b":12345678901234567890,"c":1E+2,"d":1e-400,"e":0.10}}`},
		{"text outside ASCII", "{\"user\":{\"name\":\"é€𝄞 \u2028\"}}", "{\"user\":{\"name\":\"é€𝄞 \u2028\"}}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, _, err := run(t, jsonFormat{}, []byte(c.in), r, 1, 2, 3, 5, 100)
			got := strings.ReplaceAll(short(out), `"K":[0-9]+`, "")
			if err != nil || normal(got) != normal(c.want) {
				t.Errorf("%v\n%s leaves, not\n%s", err, got, c.want)
			}
		})
	}
}

// normal writes the fake's replacements of numbers as 5.
func normal(s string) string {
	return regexp.MustCompile(`("K":|, )[0-9]+`).ReplaceAllString(s, "${1}5")
}

func TestTopLevel(t *testing.T) {
	for _, c := range []struct{ path, label, in, want string }{
		{"$", "allow.x", `"x"`, `"x"`},
		{"$", "allow.x", ` 12 `, ` 12 `},
		{"$", "token.x", `"x"`, `"T"`},
		{"$", "redact.x", `true`, `false`},
		{"[]", "allow.x", `["x",{"a":"b"}]`, `["x",{"K":"T"}]`},
		{"[].id", "allow.x", `[{"id":"x"},"y"]`, `[{"id":"x"},"T"]`},
		{"[][]", "drop.x", `[[1,2],[ 3 ],[],4]`, `[[],[ ],[],5]`},
		{"[]", "drop.x", `[ 1 , [], 2 , 3 ]`, `[ []  ]`},
		{"*", "drop.x", `{ "a":1 , "b":{} }`, `{ }`},
	} {
		r := rulesFor(compile(t, line(t, c.path, isogate.Label(c.label))), isogate.Token)
		out, _, err := run(t, jsonFormat{}, []byte(c.in), r, 1, 3)
		if err != nil || regexp.MustCompile(`\d{3,}`).ReplaceAllString(short(out), "5") != c.want {
			t.Errorf("%s %s: %s leaves %s, not %s: %v", c.path, c.label, c.in, short(out), c.want, err)
		}
	}
}

// TestUnclassifiedDropped: what nobody names is gone with its name and all it holds.
func TestUnclassifiedDropped(t *testing.T) {
	r := rulesFor(compile(t, line(t, "a", "allow.a"), line(t, "b.*.no", "refuse.no"), line(t, "r", "allow.r", parses), line(t, "x.*", "redact.x", parses, keyed("drop.k"))), isogate.Drop)
	for _, c := range []struct{ in, want string }{
		{`{"a":1,"zz":{"y":[1,{"z":2}]},"zzz":3}`, `{"a":1}`},
		{`{"zz":{"y":[1,{"z":2}]} , "a":1}`, `{ "a":1}`},
		{`{"zz":[1,2],"y":"x"}`, `{}`},
		{`{"a":[1,[2],{"b":3}]}`, `{"a":[[],{}]}`},
		{`{"b":{"ada":{"x":1}},"a":1}`, `{"b":{},"a":1}`},
		{`{"x":{"k":"[1]","l":2},"a":1}`, `{"x":{},"a":1}`},
	} {
		out, _, err := run(t, jsonFormat{}, []byte(c.in), r, 1, 2, 3)
		if err != nil || string(out) != c.want {
			t.Errorf("%s leaves %s, not %s: %v", c.in, out, c.want, err)
		}
	}
	// What is left out is judged all the same.
	for _, in := range []string{`{"b":{"ada":{"no":1}}}`, `{"zz":{"a":[1}}`, `{"x":{"k":"[1"}}`, `{"b":{"ada":{"x":{"y":1,"y":1}}}}`} {
		if out, _, err := run(t, jsonFormat{}, []byte(in), r, 1, 2); err == nil {
			t.Errorf("%s leaves as %s", in, out)
		}
	}
}

func TestNameLike(t *testing.T) {
	for name, want := range map[string]bool{
		"created_at": true, "_id": true, "http.status_2xx": true, "app.kubernetes.io/name": true, "x-request-id": true, "urn:foo": true, "sha256": true, "A": true,
		"": false, "1st": false, "-x": false, "é": false, "a b": false, "ada@example.com": false, "id12345": false, "10.0.0.1": false, "user-2026-11-23": false,
		"0f8fad5b-d9cb-469f-a165-70867728950e": false, strings.Repeat("a", 33): false, strings.Repeat("ab_", 22): false, strings.Repeat("ab_", 21): true, "a\x00": false,
	} {
		if NameLike([]byte(name)) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}

// TestJSONRefuses has the traps of RFC 8259 and RFC 7493.
func TestJSONRefuses(t *testing.T) {
	r := rulesFor(compile(t, line(t, "**", "allow.all"), line(t, "named", "allow.x")), isogate.Token)
	r.Limits = Limits{Depth: 4, Value: 40, Number: 25, Members: 4, Body: 40_000}
	for _, c := range []struct {
		in     string
		offset int64
		reason string
	}{
		{"", 0, "empty"},
		{" ", 1, "ends too early"},
		{"\xef\xbb\xbf{}", 0, "byte order mark"},
		{"\xfe\xff\x00{", 0, "no value"},
		{"{", 1, "ends too early"},
		{"[", 1, "ends too early"},
		{"[1", 2, "ends too early"},
		{"[1,", 3, "ends too early"},
		{"[1,]", 3, "no value"},
		{"[,1]", 1, "no value"},
		{"[1,,2]", 3, "no value"},
		{"[1 2]", 3, "comma"},
		{"[1}", 2, "other's bracket"},
		{`{"a":1]`, 6, "other's bracket"},
		{`{"a"`, 4, "ends too early"},
		{`{"a" `, 5, "ends too early"},
		{`{"a":`, 5, "ends too early"},
		{`{"a":1`, 6, "ends too early"},
		{`{"a":1,`, 7, "ends too early"},
		{`{"a":1,}`, 7, "name of a member"},
		{`{,}`, 1, "name of a member"},
		{`{a:1}`, 1, "name of a member"},
		{`{'a':1}`, 1, "name of a member"},
		{`{1:1}`, 1, "name of a member"},
		{`{"a",1}`, 4, "colon"},
		{`{"a"}`, 4, "colon"},
		{`{"a":1 "b":2}`, 7, "comma"},
		{`{"a":}`, 5, "no value"},
		{`{} {}`, 3, "follows the value"},
		{`{}x`, 2, "follows the value"},
		{`1 2`, 2, "follows the value"},
		{`{}/* */`, 2, "follows the value"},
		{`// x`, 0, "no value"},
		{`nul`, 0, "no value"},
		{`nulL`, 0, "no value"},
		{`True`, 0, "no value"},
		{`truex`, 4, "follows the value"},
		{`NaN`, 0, "no value"},
		{`Infinity`, 0, "no value"},
		{`-Infinity`, 1, "spelled"},
		{`+1`, 0, "no value"},
		{`.5`, 0, "no value"},
		{`-`, 1, "spelled"},
		{`-.5`, 1, "spelled"},
		{`01`, 1, "follows the value"},
		{`[01]`, 2, "comma"},
		{`1.`, 2, "spelled"},
		{`[1.]`, 3, "spelled"},
		{`[1e]`, 3, "spelled"},
		{`[1e+]`, 4, "spelled"},
		{`1e`, 2, "spelled"},
		{`0x10`, 1, "follows the value"},
		{`1e400`, 0, "float64"},
		{`[-1e309]`, 1, "float64"},
		{`1.8e308`, 0, "float64"},
		{`0.0001e+313`, 0, "float64"},
		{`12345678901234567890123456`, 0, "longer than 25"},
		{`[12345678901234567890123456]`, 1, "longer than 25"},
		{`"`, 1, "ends too early"},
		{`"abc`, 4, "ends too early"},
		{`"abcdefghijk`, 12, "ends too early"},
		{"\"a\nb\"", 2, "control"},
		{"\"a\x00b\"", 2, "control"},
		{"\"abcdefgh\x1f\"", 9, "control"},
		{`"\x"`, 1, "escape"},
		{`"\u12"`, 1, "escape"},
		{`"\u12g4"`, 1, "escape"},
		{`"\u`, 3, "ends too early"},
		{`"\`, 2, "ends too early"},
		{`"\ud800"`, 1, "surrogate"},
		{`"\udc00"`, 1, "surrogate"},
		{`"\ud800\n"`, 1, "surrogate"},
		{`"\ud800x"`, 1, "surrogate"},
		{`"\ud800\u0041"`, 1, "surrogate"},
		{`"\ud800\ud800"`, 1, "surrogate"},
		{`"\ud800\uzzzz"`, 1, "escape"},
		{`"\uffff"`, 1, "noncharacter"},
		{`"\ufdd0"`, 1, "noncharacter"},
		{`"\ud83f\udffe"`, 1, "noncharacter"},
		{"\"\xef\xbf\xbf\"", 1, "noncharacter"},
		{"\"\xef\xb7\x90\"", 1, "noncharacter"},
		{"\"\xf4\x8f\xbf\xbe\"", 1, "noncharacter"},
		{"\"a\xff\"", 2, "UTF-8"},
		{"\"\x80\"", 1, "UTF-8"},
		{"\"\xc0\xaf\"", 1, "UTF-8"},
		{"\"\xc3\"", 1, "UTF-8"},
		{"\"\xe0\x80\x80\"", 1, "UTF-8"},
		{"\"\xed\xa0\x80\"", 1, "UTF-8"},
		{"\"\xf0\x80\x80\x80\"", 1, "UTF-8"},
		{"\"\xf4\x90\x80\x80\"", 1, "UTF-8"},
		{"\"\xe2\x82\"", 1, "UTF-8"},
		{"\"é\xc3", 4, "ends too early"},
		{"{\"\xff\":1}", 2, "UTF-8"},
		{"{\"a\nb\":1}", 3, "control"},
		{`{"a":1,"a":2}`, 7, "same name"},
		{`{"a":1,"\u0061":2}`, 7, "same name"},
		{`{"named":1,"named":2}`, 11, "same name"},
		{`{"named":1,"n\u0061med":2}`, 11, "same name"},
		{`{"n\u0061med":1,"named":2}`, 16, "same name"},
		{`{"":1,"":2}`, 6, "same name"},
		{`[{"b":{"a":1,"a":2}}]`, 13, "same name"},
		{`[[[[[1]]]]]`, 4, "nested deeper than 4"},
		{`{"a":{"b":{"c":{"d":{}}}}}`, 20, "nested deeper than 4"},
		{`{"a":1,"b":1,"c":1,"d":1,"named":1}`, 25, "more than 4 members"},
		{`[{"a":1,"b":{"c":1,"d":1,"e":1}}]`, 25, "more than 4 members"},
		{`"` + strings.Repeat("x", 41) + `"`, 0, "longer than 40"},
		{`"` + strings.Repeat("é", 21) + `"`, 0, "longer than 40"},
		{`{"` + strings.Repeat("x", 41) + `":1}`, 1, "longer than 40"},
		{"[1" + strings.Repeat(" ", maxSpace+1) + "]", 2, "white space"},
		{"[" + strings.Repeat(" ", maxSpace+1) + "1]", 1, "white space"},
		{"[1]" + strings.Repeat("\n", maxSpace+1), 3, "white space"},
		{"{" + strings.Repeat(" ", maxSpace+1) + "}", 1, "white space"},
		{"{\"a\"" + strings.Repeat(" ", maxSpace+1) + ":1}", 4, "white space"},
		{"{\"a\":" + strings.Repeat(" ", maxSpace+1) + "1}", 5, "white space"},
		{"{\"a\":1," + strings.Repeat(" ", maxSpace+1) + "\"b\":1}", 7, "white space"},
		{"[" + strings.Repeat("1,", 20_000) + "1]", 40_000, "larger than 40000"},
	} {
		_, _, err := run(t, jsonFormat{}, []byte(c.in), r, 1, 2, 7, 1<<20)
		var refusal *Refusal
		if !errors.As(err, &refusal) || refusal.Offset != c.offset || !strings.Contains(refusal.Error(), c.reason) {
			t.Errorf("%.40q: %v, want %q at %d", c.in, err, c.reason, c.offset)
		}
	}
	for _, in := range []string{
		`"` + strings.Repeat("x", 40) + `"`, `12345678901234567890`, `[[[[]]]]`, `{"a":1,"b":1,"c":1}`, `1.7976931348623157e308`, `-0`, `0e999999999999999`, `1e-999999999999`,
		`"\u0000\ud834\udd1e\/\b\f\n\r\t\"\\"`, "\"\x7f\"", `{"named":{"named":{"named":1}}}`, "[1" + strings.Repeat(" ", 1000) + "]",
	} {
		if out, _, err := run(t, jsonFormat{}, []byte(in), r, 1, 7); err != nil || string(out) != in {
			t.Errorf("%s leaves as %s: %v", in, out, err)
		}
	}
}

// TestRefusalTellsNothing: the place of a refusal has no name that the contract does not spell.
func TestRefusalTellsNothing(t *testing.T) {
	r := rulesFor(compile(t, supportContract(t)...), isogate.Token)
	for in, path := range map[string]string{
		`{"user":{"email":bob}}`:               "user.email",
		`{"user":{"bob":x}}`:                   "user.?",
		`{"user":{"bob":{"carol":[x]}}}`:       "user.?",
		`{"meta":{"bob":x}}`:                   "meta.*",
		`{"bob":1,"bob":2}`:                    "?",
		`{"user":{"name":1,"name":2}}`:         "user.name",
		`{"raw":"{\"bob\":bob}"}`:              "raw.?",
		`{"raw":""}`:                           "raw",
		`{"secret":"bob"}`:                     "secret",
		`{"attributes":[{"value":{"bob":x}}]}`: "attributes[].value.?",
		`["bob",`:                              "[]",
	} {
		_, _, err := run(t, jsonFormat{}, []byte(in), r, 1)
		var refusal *Refusal
		if !errors.As(err, &refusal) || refusal.Path != path || strings.Contains(err.Error(), "bob") || strings.Contains(err.Error(), "carol") {
			t.Errorf("%s: %v, want it at %s", in, err, path)
		}
	}
}

func TestNDJSON(t *testing.T) {
	r := rulesFor(compile(t, line(t, "a", "allow.a"), line(t, "t", "token.t"), line(t, "$", "drop.s")), isogate.Token)
	f := format(t, "ndjson")
	for _, c := range []struct{ in, want string }{
		{"{\"a\":1}\n{\"t\":\"x\"}\n", "{\"a\":1}\n{\"t\":\"T\"}\n"},
		{"{\"a\":1}\r\n \t{\"a\":1,\"t\":\"x\"} \r\n[]", "{\"a\":1}\r\n \t{\"a\":1,\"t\":\"T\"} \r\n[]"},
		{"{\"a\":1}", "{\"a\":1}"},
		{"{}\n{}", "{}\n{}"},
	} {
		out, _, err := run(t, f, []byte(c.in), r, 1, 2, 3, 100)
		if err != nil || short(out) != c.want {
			t.Errorf("%q leaves as %q: %v", c.in, out, err)
		}
	}
	for _, c := range []struct {
		in     string
		offset int64
		reason string
	}{
		{"\n", 0, "blank"},
		{"{}\n\n{}", 3, "blank"},
		{"{}\n \r\n{}", 3, "blank"},
		{"{}\n  ", 3, "blank"},
		{"{}\n{\"a\":\n1}", 8, "a line ends inside"},
		{"{\n}", 1, "a line ends inside"},
		{"{\"a\"\n:1}", 4, "a line ends inside"},
		{"[\n1]", 1, "a line ends inside"},
		{"[1\n]", 2, "a line ends inside"},
		{"[1,\n1]", 3, "a line ends inside"},
		{"{\"a\":1,\n\"t\":1}", 7, "a line ends inside"},
		{"{} {}", 3, "follows"},
		{"{}\n{\"a\":1,\"a\":1}", 10, "same name"},
		{"{}\n1\n", 3, "cannot be dropped"},
		{"{}\n" + strings.Repeat(" ", maxSpace+1) + "{}", 3, "white space"},
	} {
		_, _, err := run(t, f, []byte(c.in), r, 1, 2, 100)
		var refusal *Refusal
		if !errors.As(err, &refusal) || refusal.Offset != c.offset || !strings.Contains(refusal.Reason, c.reason) {
			t.Errorf("%.20q: %v, want %q at %d", c.in, err, c.reason, c.offset)
		}
	}
}

func TestFormats(t *testing.T) {
	for name, media := range map[string][]string{
		"json":   {"application/json", "application/json", "application/vnd.api+json", "application/problem+json"},
		"ndjson": {"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"},
		"form":   {"application/x-www-form-urlencoded"},
	} {
		f := format(t, name)
		if f.Name() != name || f.MediaType() != media[0] {
			t.Errorf("%s is %s, %s", name, f.Name(), f.MediaType())
		}
		for _, m := range media {
			for other := range map[string]bool{"json": true, "ndjson": true, "form": true} {
				if format(t, other).Accepts(m) != (other == name) {
					t.Errorf("%s and %s", other, m)
				}
			}
		}
		for _, m := range []string{"", "text/plain", "text/json", "application/jsonx", "image/x+json", "application/json; charset=utf-8"} {
			if f.Accepts(m) {
				t.Errorf("%s accepts %s", name, m)
			}
		}
	}
	if _, ok := FormatNamed("xml"); ok {
		t.Error("there is a format xml")
	}
}

func TestTally(t *testing.T) {
	r := rulesFor(compile(t, supportContract(t)...), isogate.Token)
	doc := `{"user":{"email":"a","name":"b"},"tickets":[{"id":1,"title":"x"},{"id":"2"},{"id":3}],"zz":[1,"x",{"y":null}],"meta":{"a":1,"not a name":2}}`
	want := strings.Join([]string{
		"? unclassified redact 1",
		"? unclassified hash 1", // a number cannot carry a token
		"? unclassified token 1",
		"?#name unclassified hash 2",
		"meta.* allow.meta allow 2",
		"meta.*#name unclassified hash 1",
		"tickets[].id allow.id allow 2",
		"tickets[].id unclassified token 1", // another type
		"tickets[].title drop.title drop 1",
		"user.email token.email token 1",
		"user.name allow.name allow 1",
	}, "\n")
	var tally Tally
	read := func() string {
		var lines []string
		for _, f := range tally.Fields(nil) {
			lines = append(lines, fmt.Sprint(f.Path, " ", f.Label, " ", f.Action, " ", f.N))
		}
		return strings.Join(lines, "\n")
	}
	for range 2 {
		tally.Reset()
		if _, err := (jsonFormat{}).Rewrite(nil, []byte(doc), r, fakeReplacer{}, &tally); err != nil {
			t.Fatal(err)
		}
		if got := read(); got != want {
			t.Errorf("counted\n%s\nnot\n%s", got, want)
		}
	}
	// The same contract under another table of verdicts is counted apart, and forgotten on Reset.
	for range 12 {
		other := rulesFor(r.Tree, isogate.Redact)
		if _, err := (jsonFormat{}).Rewrite(nil, []byte(`{"zz":"x"}`), other, fakeReplacer{}, &tally); err != nil {
			t.Fatal(err)
		}
	}
	if got := read(); !strings.Contains(got, "? unclassified redact 13\n") {
		t.Errorf("counted\n%s", got)
	}
	tally.Reset()
	if got := tally.Fields(nil); len(got) != 0 {
		t.Errorf("after Reset: %v", got)
	}
	for range 3 { // the room of a table that is gone is used again
		tally.Reset()
		if _, err := (jsonFormat{}).Rewrite(nil, []byte(`{"zz":"x"}`), rulesFor(r.Tree, isogate.Redact), fakeReplacer{}, &tally); err != nil {
			t.Fatal(err)
		}
	}
	if got := read(); got != "? unclassified redact 1\n?#name unclassified hash 1" || len(tally.parts) != 1 {
		t.Errorf("counted in %d parts\n%s", len(tally.parts), got)
	}
}

// TestSelected has elements that are too large to be looked through, and broken ones.
func TestSelected(t *testing.T) {
	r := rulesFor(compile(t, line(t, "[key=a].v", "allow.a"), line(t, "[id=b].v", "allow.b"), line(t, "[key=c][id=d].v", "allow.c")), isogate.Token)
	r.Limits = Limits{Value: 40, Body: 1 << 20}
	for _, c := range []struct{ in, want string }{
		{`[ {"v":"x","key":"a"} ,{"v":"x","key":"a","id":"b"},{"v":"x","id":"b"}]`, `[ {"v":"x","key":"T"} ,{"v":"x","key":"T","id":"T"},{"v":"x","id":"T"}]`},
		{`[{"v":"x","key":"b"},{"v":"x","id":"a"}]`, `[{"K":"T","key":"T"},{"K":"T","id":"T"}]`},
		{`[{"v":"x","k":{"key":"a"}},"a",[{"v":1}]]`, `[{"K":"T","K":{"K":"T"}},"T",[{"K":5}]]`},
		{`[{"v":"\"},{\"key\":","key":"\u0061"}]`, `[{"v":"\"},{\"key\":","key":"T"}]`},
		{`[{}]`, `[{}]`},
		{`[]`, `[]`},
	} {
		out, _, err := run(t, jsonFormat{}, []byte(c.in), r, 1, 2, 3, 7, 20)
		if err != nil || normal(short(out)) != c.want {
			t.Errorf("%s leaves %s, not %s: %v", c.in, short(out), c.want, err)
		}
	}
	for _, c := range []struct {
		in     string
		offset int64
		reason string
	}{
		{`[{"v":"0123456789012345678901234567","key":"a"}]`, 1, "longer than 40"},
		{`[{"v":"x"`, 9, "ends too early"},
		{`[{"v":"x","key":"a`, 18, "ends too early"},
		{`[{"v":"x\`, 9, "ends too early"},
		{`[{"v":]},{}]`, 6, "no value"},
		{`[`, 1, "ends too early"},
		{`[{},`, 4, "ends too early"},
		{`[{},  `, 6, "ends too early"},
		{`[{},` + strings.Repeat(" ", maxSpace+1) + `{}]`, 4, "white space"},
		{`[{"key":"a","key":"b"}]`, 12, "same name"},
	} {
		_, _, err := run(t, jsonFormat{}, []byte(c.in), r, 1, 2, 50)
		var refusal *Refusal
		if !errors.As(err, &refusal) || refusal.Offset != c.offset || !strings.Contains(refusal.Reason, c.reason) {
			t.Errorf("%.40s: %v, want %q at %d", c.in, err, c.reason, c.offset)
		}
	}
}

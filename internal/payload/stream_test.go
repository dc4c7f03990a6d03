package payload

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/isogate/isogate"
)

// endless gives out head, then middle n times, then tail.
type endless struct {
	head, middle, tail string
	n                  int
	at                 string
}

func (e *endless) Read(p []byte) (int, error) {
	for e.at == "" {
		switch {
		case e.head != "":
			e.at, e.head = e.head, ""
		case e.n > 0:
			e.at = e.middle
			e.n--
		case e.tail != "":
			e.at, e.tail = e.tail, ""
		default:
			return 0, io.EOF
		}
	}
	n := copy(p, e.at)
	e.at = e.at[n:]
	return n, nil
}

// TestStreamIsBounded streams bodies of 4 MiB and more and looks at what is held.
func TestStreamIsBounded(t *testing.T) {
	item := `{"id":1,"title":"` + strings.Repeat("x", 1000) + `","zz":{"a":["b"]},"name":"` + strings.Repeat("y", 1000) + `"}`
	r := rulesFor(compile(t, line(t, "[].id", "allow.id"), line(t, "[].title", "token.t"), line(t, "[].name", "drop.n"), line(t, "'f'", "token.f"), line(t, "**.f", "token.f")), isogate.Token)
	r.Limits.Body = 1 << 30
	seed := maphash.MakeSeed()
	for _, c := range []struct {
		format string
		src    endless
	}{
		{"json", endless{head: "[1", middle: "," + item, tail: "]", n: 2 << 10}},
		{"json", endless{head: `{"zz":[0`, middle: "," + item, tail: "]}", n: 2 << 10}},
		{"json", endless{head: `[0`, middle: ",0", tail: "]", n: 2 << 20}},
		{"ndjson", endless{middle: item + "\n", n: 2 << 10}},
	} {
		if err := format(t, c.format).Stream(io.Discard, &c.src, r, &quickReplacer{seed}, &Tally{}); err != nil {
			t.Fatal(err)
		}
		w := r.Tree.walker()
		if held := len(w.stored) + cap(w.result) + cap(w.text) + cap(w.made); held > 400<<10 {
			t.Errorf("%s: %d bytes are held after the body", c.format, held)
		}
	}
}

// TestDropsAcrossTheWindow drops and replaces around the edges of a window that moves.
func TestDropsAcrossTheWindow(t *testing.T) {
	r := rulesFor(compile(t, line(t, "[].keep", "allow.k"), line(t, "[].gone", "drop.g"), line(t, "[].tok", "token.t"), line(t, "[k=v].deep[].**", "allow.d")), isogate.Drop)
	var doc strings.Builder
	doc.WriteString("[")
	for i := range 400 {
		if i > 0 {
			doc.WriteString(" , ")
		}
		fmt.Fprintf(&doc, `{ "gone" : "%s" , "keep" : %d,"k":"v", "unknown":[{"a":1},[]] , "tok":"x%d" , "deep":[{"a":[%d]}] , "gone2":null }`, strings.Repeat("g", i), i, i, i)
	}
	doc.WriteString(" ]")
	run(t, jsonFormat{}, []byte(doc.String()), r, 1, 3, 64, 1000, 4096, 32<<10, 40<<10)
}

// failing is a writer that takes n writes.
type failing struct {
	n     int
	short bool
}

var errDisk = errors.New("no space")

func (f *failing) Write(p []byte) (int, error) {
	if f.n--; f.n >= 0 {
		return len(p), nil
	}
	if f.short {
		return len(p) / 2, nil
	}
	return 0, errDisk
}

type lying struct{}

func (lying) Read(p []byte) (int, error) { return len(p) + 1, nil }

type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }

func TestStreamErrors(t *testing.T) {
	r := rulesFor(compile(t, line(t, "**", "allow.x")), isogate.Token)
	doc := []byte(`[` + strings.Repeat(`"0123456789",`, 10_000) + `1]`)
	for _, f := range []Format{jsonFormat{}, ndjsonFormat{}, formFormat{}} {
		body := doc
		if f.Name() == "form" {
			body = []byte("a=" + strings.Repeat("b", 100_000) + "&" + strings.Repeat("c", 100_000) + "=d")
		}
		for _, n := range []int{0, 1, 2, 40_000} {
			broken := io.MultiReader(bytes.NewReader(body[:n]), iotest.ErrReader(errDisk))
			if err := f.Stream(io.Discard, broken, r, fakeReplacer{}, &Tally{}); !errors.Is(err, errDisk) || !errors.Is(err, errRead) {
				t.Errorf("%s: read failed after %d bytes: %v", f.Name(), n, err)
			}
		}
		for _, n := range []int{0, 1} {
			for _, short := range []bool{false, true} {
				err := f.Stream(&failing{n: n, short: short}, &chunked{body, 120_000}, r, fakeReplacer{}, &Tally{})
				if want := map[bool]error{false: errDisk, true: io.ErrShortWrite}[short]; !errors.Is(err, want) || !errors.Is(err, errWrite) {
					t.Errorf("%s: write %d failed: %v", f.Name(), n, err)
				}
			}
		}
		if err := f.Stream(io.Discard, lying{}, r, fakeReplacer{}, &Tally{}); !errors.Is(err, errRead) {
			t.Errorf("%s: a reader that lies: %v", f.Name(), err)
		}
		if err := f.Stream(io.Discard, idle{}, r, fakeReplacer{}, &Tally{}); !errors.Is(err, io.ErrNoProgress) {
			t.Errorf("%s: a reader that never gives anything: %v", f.Name(), err)
		}
		if err := f.Stream(io.Discard, iotest.DataErrReader(bytes.NewReader(body)), r, fakeReplacer{}, &Tally{}); err != nil {
			t.Errorf("%s: a reader whose last bytes come with io.EOF: %v", f.Name(), err)
		}
		r := &Rules{Tree: r.Tree, Verdicts: []isogate.Verdict{{Action: isogate.Mask}}}
		if err := f.Stream(io.Discard, bytes.NewReader(body), r, fakeReplacer{}, &Tally{}); !errors.Is(err, errUnclassified) {
			t.Errorf("%s: unclassified may leave: %v", f.Name(), err)
		}
		if _, err := f.Rewrite(nil, body, r, fakeReplacer{}, &Tally{}); !errors.Is(err, errUnclassified) {
			t.Errorf("%s: unclassified may leave: %v", f.Name(), err)
		}
	}
}

// TestNoAllocation: after the first body, another costs none.
func TestNoAllocation(t *testing.T) {
	rep := &quickReplacer{}
	rep.seed = compile(t).seed
	for _, d := range documents(t) {
		r := rulesFor(compile(t, d.specs...), isogate.Token)
		doc := d.doc
		var tally Tally
		dst := make([]byte, 0, 2*len(doc))
		src := bytes.NewReader(doc)
		for name, f := range map[string]func() error{
			"held": func() error {
				tally.Reset()
				_, err := jsonFormat{}.Rewrite(dst, doc, r, rep, &tally)
				return err
			},
			"streamed": func() error {
				tally.Reset()
				src.Reset(doc)
				return jsonFormat{}.Stream(io.Discard, src, r, rep, &tally)
			},
		} {
			if err := f(); err != nil {
				t.Fatal(err)
			}
			if n := testing.AllocsPerRun(10, func() { _ = f() }); n >= 1 && !raceEnabled {
				t.Errorf("%s, %s: %.0f allocations", d.name, name, n)
			}
		}
	}
}

// faulty is a replacer that does what it must not.
type faulty struct {
	kind    isogate.Kind
	applied isogate.Action
	text    string
	err     error
	name    string
	naming  isogate.Action
}

func (f faulty) Replace(dst []byte, _ *isogate.Verdict, _ isogate.Value) ([]byte, isogate.Kind, isogate.Action, error) {
	return append(dst, f.text...), f.kind, f.applied, f.err
}

func (f faulty) ReplaceName(dst []byte, _ *isogate.Verdict, _ []byte) ([]byte, isogate.Action, error) {
	return append(dst, f.name...), f.naming, f.err
}

// cutter returns less than it was given.
type cutter struct{ faulty }

func (cutter) Replace(dst []byte, _ *isogate.Verdict, _ isogate.Value) ([]byte, isogate.Kind, isogate.Action, error) {
	return dst[:0], isogate.String, isogate.Token, nil
}

func TestReplacements(t *testing.T) {
	r := rulesFor(compile(t, line(t, "t", "token.t"), line(t, "m.*", "allow.m")), isogate.Token)
	good := faulty{kind: isogate.String, applied: isogate.Token, text: "x", name: "n", naming: isogate.Hash}
	with := func(change func(*faulty)) faulty {
		f := good
		change(&f)
		return f
	}
	for _, c := range []struct {
		name string
		rep  faulty
		in   string
		json string // what leaves, or part of the error
		form string
	}{
		{"text that must be escaped", with(func(f *faulty) { f.text, f.name = "a\"\\\n\r\t\x01é/\U0001D11E", "b\"" }), "zz", `{"b\"":"a\"\\\n\r\t\u0001é/𝄞"}`, "b%22=a%22%5C%0A%0D%09%01%C3%A9%2F%F0%9D%84%9E"},
		{"empty text", with(func(f *faulty) { f.text = "" }), "t", `{"t":""}`, "t="},
		{"a number", with(func(f *faulty) { f.kind, f.text = isogate.Number, "-12.5e3" }), "t", `{"t":-12.5e3}`, "t=-12.5e3"},
		{"a boolean", with(func(f *faulty) { f.kind, f.text = isogate.Bool, "true" }), "t", `{"t":true}`, "t=true"},
		{"another boolean", with(func(f *faulty) { f.kind, f.text = isogate.Bool, "false" }), "t", `{"t":false}`, "t=false"},
		{"null", with(func(f *faulty) { f.kind, f.text = isogate.Null, "null" }), "t", `{"t":null}`, "t=null"},
		{"dropped after all", with(func(f *faulty) { f.applied = isogate.Drop }), "zz", `{}`, ""},
		{"refused after all", with(func(f *faulty) { f.applied = isogate.Refuse }), "t", "refuse", "refuse"},
		{"no number", with(func(f *faulty) { f.kind, f.text = isogate.Number, "1x" }), "t", "cannot stand here", "t=1x"},
		{"no number at all", with(func(f *faulty) { f.kind, f.text = isogate.Number, "" }), "t", "cannot stand here", "t="},
		{"a number with more after it", with(func(f *faulty) { f.kind, f.text = isogate.Number, `1,"x":2` }), "t", "cannot stand here", "t=1%2C%22x%22%3A2"},
		{"a long number", with(func(f *faulty) { f.kind, f.text = isogate.Number, strings.Repeat("1", 129) }), "t", "cannot stand here", "t=" + strings.Repeat("1", 129)},
		{"no boolean", with(func(f *faulty) { f.kind, f.text = isogate.Bool, "yes" }), "t", "cannot stand here", "t=yes"},
		{"no null", with(func(f *faulty) { f.kind, f.text = isogate.Null, "" }), "t", "cannot stand here", "t="},
		{"no kind", with(func(f *faulty) { f.kind = 9 }), "t", "cannot stand here", "t=x"},
		{"text that is not UTF-8", with(func(f *faulty) { f.text = "aaaaaaaaaaaa\xff" }), "t", "cannot stand here", "cannot stand here"},
		{"an action that lets out more", with(func(f *faulty) { f.applied = isogate.Mask }), "t", "lets out more", "lets out more"},
		{"an error", with(func(f *faulty) { f.err = errDisk }), "t", "at t: no space", "at t: no space"},
		{"an error for a name", with(func(f *faulty) { f.err = errDisk }), "zz", "at ?#name: no space", "at ?#name: no space"},
		{"an empty name", with(func(f *faulty) { f.name = "" }), "zz", "cannot stand here", "cannot stand here"},
		{"a name that is not UTF-8", with(func(f *faulty) { f.name = "\xff" }), "zz", "cannot stand here", "cannot stand here"},
		{"a name that is dropped", with(func(f *faulty) { f.naming = isogate.Drop }), "zz", "cannot stand here", "cannot stand here"},
		{"a name that lets out more", with(func(f *faulty) { f.naming = isogate.Allow }), "zz", "lets out more", "lets out more"},
		{"the name of a named member", with(func(f *faulty) { f.name = "t" }), "zz", "name of another member", "name of another member"},
		{"the name of an object", with(func(f *faulty) { f.err = errDisk }), "{", "at ?#name: no space", ""},
	} {
		in := `{"` + c.in + `":"v"}`
		if c.in == "{" {
			in = `{"zz":{}}`
		}
		for _, f := range []struct{ name, in, want string }{{"json", in, c.json}, {"form", c.in + "=v", c.form}} {
			if c.in == "{" && f.name == "form" {
				continue
			}
			out, err := format(t, f.name).Rewrite(nil, []byte(f.in), r, c.rep, &Tally{})
			got := string(out)
			if err != nil {
				got = err.Error()
			}
			if got != f.want && (err == nil || !strings.Contains(got, f.want)) {
				t.Errorf("%s, %s: %s, not %s", f.name, c.name, got, f.want)
			}
			if c.rep.err != nil && !errors.Is(err, c.rep.err) {
				t.Errorf("%s, %s: %v hides its cause", f.name, c.name, err)
			}
		}
	}
	if _, err := (jsonFormat{}).Rewrite(nil, []byte(`{"t":1}`), r, cutter{}, &Tally{}); !errors.Is(err, errReplacement) {
		t.Errorf("a replacer that cuts what was there: %v", err)
	}
	// Two unknown members whose replacements are the same.
	if _, err := (jsonFormat{}).Rewrite(nil, []byte(`{"y":1,"z":2}`), r, with(func(f *faulty) { f.kind = isogate.Null; f.text = "null" }), &Tally{}); err == nil || !strings.Contains(err.Error(), "name of another member") {
		t.Errorf("two members leave with one name: %v", err)
	}
	q := queryRules(isogate.Token)
	n := &NameRules{Names: CompileNames("header", map[string]isogate.Label{"a": "token.a"})}
	n.Verdicts = verdictsFor(n.Names.Sets(), isogate.Token)
	for _, c := range []struct {
		rep  faulty
		in   string
		want string
	}{
		{with(func(f *faulty) { f.err = errDisk }), "email=x", "at query:email: no space"},
		{with(func(f *faulty) { f.err = errDisk }), "zz=x", "at query:?#name: no space"},
		{with(func(f *faulty) { f.naming = isogate.Allow }), "zz=x", "lets out more"},
		{with(func(f *faulty) { f.name = "" }), "zz=x", "cannot stand here"},
		{with(func(f *faulty) { f.text = "\xff" }), "email=x", "cannot stand here"},
		{with(func(f *faulty) { f.applied = isogate.Refuse }), "email=x", "refuse"},
		{with(func(f *faulty) { f.applied = isogate.Drop }), "email=x&tab=1", "tab=1"},
	} {
		out, err := RewriteQuery(nil, c.in, q, c.rep, &Tally{})
		if got := string(out); err != nil && !strings.Contains(err.Error(), c.want) || err == nil && got != c.want {
			t.Errorf("%s: %s, %v; want %s", c.in, out, err, c.want)
		}
	}
	for want, rep := range map[string]faulty{
		"no space":          with(func(f *faulty) { f.err = errDisk }),
		"cannot stand here": with(func(f *faulty) { f.text = "a\r\nb" }),
		"lets out more":     with(func(f *faulty) { f.applied = isogate.Seal }),
		"refuse":            with(func(f *faulty) { f.applied = isogate.Refuse }),
	} {
		if _, keep, err := RewriteNamed(nil, "a", "x", n, rep, &Tally{}); keep || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, %v; want %s", keep, err, want)
		}
	}
	if _, keep, err := RewriteNamed(nil, "a", "x", n, with(func(f *faulty) { f.applied = isogate.Drop }), &Tally{}); keep || err != nil {
		t.Errorf("dropped after all: %v, %v", keep, err)
	}
}

// hearing notes the values that it is given.
type hearing struct {
	fakeReplacer
	heard []string
}

func (h *hearing) Replace(dst []byte, v *isogate.Verdict, val isogate.Value) ([]byte, isogate.Kind, isogate.Action, error) {
	h.heard = append(h.heard, val.Kind.String()+" "+string(val.Text))
	return h.fakeReplacer.Replace(dst, v, val)
}

func (h *hearing) ReplaceName(dst []byte, v *isogate.Verdict, name []byte) ([]byte, isogate.Action, error) {
	h.heard = append(h.heard, "name "+string(name))
	return h.fakeReplacer.ReplaceName(dst, v, name)
}

// TestValuesAreDecoded: a replacement depends on the text, not on how it is spelled.
func TestValuesAreDecoded(t *testing.T) {
	r := rulesFor(compile(t, line(t, "a", "allow.a")), isogate.Token)
	h := &hearing{}
	src := `{"n\u0061\/\"\\":["\b\f\n\r\t\/\"\\\u00e9\u20AC\ud834\udd1e",-1.50e+2,true,null,"plain","é"]}`
	if _, err := (jsonFormat{}).Rewrite(nil, []byte(src), r, h, &Tally{}); err != nil {
		t.Fatal(err)
	}
	want := []string{"name na/\"\\", "string \b\f\n\r\t/\"\\é€𝄞", "number -1.50e+2", "bool true", "null" + " null", "string plain", "string é"}
	if !slices.Equal(h.heard, want) {
		t.Errorf("%q, not %q", h.heard, want)
	}
}

// TestVerdictsRefuse: what the table does not have, or refuses, does not leave.
func TestVerdictsRefuse(t *testing.T) {
	tree := compile(t, line(t, "a", "refuse.a"), line(t, "b.*", "allow.b", keyed("refuse.k")), line(t, "d.*", "drop.d"), line(t, "c", "allow.c", takes(isogate.Number)))
	r := rulesFor(tree, isogate.Token)
	for _, in := range []string{`{"a":1}`, `{"b":{"x":1}}`, `{"b":{"x":{}}}`} {
		if out, _, err := run(t, jsonFormat{}, []byte(in), r, 1); err == nil {
			t.Errorf("%s leaves as %s", in, out)
		}
	}
	short := &Rules{Tree: tree, Verdicts: r.Verdicts[:1]}
	none := &Rules{Tree: tree}
	for _, in := range []string{`{"a":1}`, `{"c":1}`, `{"c":"another type"}`, `{"b":{"x":1}}`} {
		for _, r := range []*Rules{short, none} {
			if out, _, err := run(t, jsonFormat{}, []byte(in), r, 1); err == nil {
				t.Errorf("%s leaves as %s", in, out)
			}
		}
	}
	if _, _, err := run(t, jsonFormat{}, []byte(`{"zz":{}}`), none, 1); err == nil {
		t.Error("a name leaves without a verdict")
	}
	// Another type is judged by the stricter of its label and unclassified.
	strict := rulesFor(compile(t, line(t, "s", "drop.s", takes(isogate.Number))), isogate.Token)
	if out, _, err := run(t, jsonFormat{}, []byte(`{"s":"secret"}`), strict, 1); err != nil || string(out) != "{}" {
		t.Errorf("%s, %v", out, err)
	}
}

// FuzzJSON rewrites any bytes by a made-up contract, held and streamed, and asks the oracle.
func FuzzJSON(f *testing.F) {
	for seed := range uint64(20) {
		c := chanceOf(seed)
		f.Add(seed, c.spelled(c.value(5), true))
	}
	f.Add(uint64(1), []byte(`{"a":1,"\u0061":2}`))
	f.Add(uint64(2), []byte(`[1e400,"\ud800"]`))
	f.Fuzz(func(t *testing.T, seed uint64, src []byte) {
		c := chanceOf(seed)
		specs := c.contract()
		tree, err := Compile(specs)
		if err != nil {
			t.Skip()
		}
		r := rulesFor(tree, isogate.Token)
		r.Limits.Depth = 8 // the oracle tries every way through **
		out, _, err := run(t, jsonFormat{}, src, r, 1, 3, 16)
		limits := r.Limits.withDefaults()
		in, ierr := readJSON(src, 0, limits)
		if ierr != nil || len(src) > maxSpace {
			if err == nil && len(src) <= maxSpace {
				t.Fatalf("%q is accepted and is not I-JSON", src)
			}
			return
		}
		o := &oracle{specs: specs, rules: r, unnamed: r.Verdicts[0], rep: fakeReplacer{}, lim: limits}
		want, werr := o.rewrite(in, nil, nil, false)
		if (err == nil) != (werr == nil) {
			t.Fatalf("walker: %v, oracle: %v", err, werr)
		}
		if err != nil {
			return
		}
		got, gerr := readJSON(out, 0, limits)
		if gerr != nil || tight(got).String() != tight(want).String() {
			t.Fatalf("walker: %s\noracle: %s", out, want)
		}
	})
}

// FuzzStream cuts any body anywhere, in every format.
func FuzzStream(f *testing.F) {
	f.Add([]byte(`{"a":[1,"x",{"key":"a","raw":"{}"}]}`), uint8(1), uint64(3))
	f.Add([]byte("{}\n{\"a\":1}\r\n[]"), uint8(2), uint64(5))
	f.Add([]byte("a=1&b=%7B%7D"), uint8(3), uint64(7))
	f.Fuzz(func(t *testing.T, src []byte, n uint8, seed uint64) {
		tree, err := Compile(chanceOf(seed).contract())
		if err != nil {
			t.Skip()
		}
		r := rulesFor(tree, isogate.Token)
		r.Limits = Limits{Value: 50, Depth: 6, Members: 10}
		for _, f := range []Format{jsonFormat{}, ndjsonFormat{}, formFormat{}} {
			run(t, f, src, r, int(n)+1)
		}
	})
}

package payload

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/isogate/isogate"
)

func TestCompileErrors(t *testing.T) {
	wide := func(n int, paths ...string) []Spec {
		var specs []Spec
		for i := range n {
			for _, p := range paths {
				specs = append(specs, line(t, fmt.Sprintf(p, i), "allow.x"))
			}
		}
		return specs
	}
	for _, c := range []struct {
		name  string
		specs []Spec
		want  string
	}{
		{"no label", []Spec{line(t, "a.b", "")}, "a.b: has no label"},
		{"opaque", []Spec{line(t, "a", isogate.Opaque)}, "a: the label opaque"},
		{"opaque names", []Spec{line(t, "a.*", "allow.x", keyed(isogate.Opaque))}, "a.*: the label opaque"},
		{"names without a wildcard", []Spec{line(t, "a[].b", "allow.x", keyed("allow.y"))}, "a[].b: a label for names needs * or **"},
		{"parse without strings", []Spec{line(t, "a", "allow.x", parses, takes(isogate.Number, isogate.Null))}, "a: parse needs a place that takes strings"},
		{"too many places", wide(20, "**.a%d.*.*.*.*.*.x"), "places"},
		{"too many ways", wide(60, "**.a%d.b", "**.a%d.*.c"), "ways between places"},
		{"too many selections", wide(20, "[a=%d].x", "[b=%d].x", "[c=%d].x"), "combinations"},
		{"too many places for selections", wide(3, "**[a=%d].*.*.*.*.*.*.*.x", "**[b=%d].*[].*[].*[].*[].*[].x"), "use fewer"},
	} {
		if _, err := compileWithin(c.specs, 1000, 5000); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if _, err := Compile(wide(20_000, "**.a%d")); err != nil {
		t.Errorf("20,000 names at any depth: %v", err)
	}
}

func TestPlaces(t *testing.T) {
	tree := compile(t,
		line(t, "user.email", "personal.email"),
		line(t, "user.email", "personal.contact", takes(isogate.String)),
		line(t, "user.*", "system.any", keyed("personal.key")),
		line(t, "odd", "a.a", takes(isogate.String)),
		line(t, "odd", "a.b", takes(isogate.Number, isogate.Null)),
		line(t, "raw", "system.raw", parses),
		line(t, "raw.ok", "system.ok"),
		line(t, "list[k=v].x", "system.x"),
		line(t, "list[].y", "system.y"),
		line(t, "un", isogate.Unclassified),
		line(t, "$", "system.body"),
	)
	var got []string
	for _, p := range tree.Places() {
		got = append(got, fmt.Sprintf("%s %v types %d none %v parse %v keys %v", p.Path, p.Labels, p.Types, p.None, p.Parse, p.Keys))
		if !slices.Equal(tree.Sets()[p.Set], p.Labels) || len(p.Keys) > 0 && !slices.Equal(tree.Sets()[p.KeySet], p.Keys) || !p.Declared {
			t.Errorf("%+v", p)
		}
		again, err := tree.Find(p.Path)
		if err != nil || !reflect.DeepEqual(again, p) {
			t.Errorf("%s is found as %+v, %v", p.Path, again, err)
		}
	}
	want := []string{
		"$ [system.body] types 0 none false parse false keys []",
		"list[].y [system.y] types 0 none false parse false keys []",
		"list[k=v].x [system.x] types 0 none false parse false keys []",
		"odd [a.a a.b] types 0 none true parse false keys []",
		"raw [system.raw] types 0 none false parse true keys []",
		"raw.ok [system.ok] types 0 none false parse false keys []",
		"un [unclassified] types 0 none false parse false keys []",
		"user.* [system.any] types 0 none false parse false keys [personal.key]",
		"user.email [personal.contact personal.email system.any] types 8 none false parse false keys []",
	}
	if !slices.Equal(got, want) {
		t.Errorf("places\n%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if !slices.Equal(tree.Sets()[0], []isogate.Label{isogate.Unclassified}) {
		t.Errorf("the first set is %v", tree.Sets()[0])
	}
}

func TestFind(t *testing.T) {
	tree := compile(t,
		line(t, "user.email", "personal.email"),
		line(t, "tickets[].title", "ugc.title"),
		line(t, "tickets[][]", "ugc.inner"),
		line(t, "meta.*", "system.meta", keyed("personal.key")),
		line(t, "deep.**", "system.deep"),
		line(t, "raw", "system.raw", parses),
		line(t, "raw.ok", "system.ok"),
		line(t, "list[k=v].x", "system.x"),
		line(t, "list[j=w].x", "system.z"),
		line(t, "list[].x", "system.y"),
		line(t, "only[k=v].x", "system.only"),
	)
	for path, want := range map[string]string{
		"user.email":          "personal.email",
		"user.'email'":        "personal.email",
		"user":                "unclassified",
		"user.other":          "unclassified",
		"user.other.deep":     "unclassified",
		"user.email.more":     "unclassified",
		"user.*":              "unclassified",
		"tickets[3].title":    "ugc.title",
		"tickets[][12]":       "ugc.inner",
		"tickets[].'[3]'":     "unclassified",
		"meta.x":              "system.meta",
		"meta.*":              "system.meta",
		"deep":                "system.deep",
		"deep.a[1].b":         "system.deep",
		"raw":                 "system.raw",
		"raw.ok":              "system.ok",
		"raw.other[].x":       "system.raw",
		"list[k=v].x":         "system.x system.y",
		"list[j=w].x":         "system.y system.z",
		"list[k=other].x":     "system.y",
		"list[other=v].x":     "system.y",
		"list[].x":            "system.y",
		"only[].x":            "unclassified",
		"only[k=v].x":         "system.only",
		"only[0].k":           "unclassified",
		"'user'.*.**.x[].'y'": "unclassified",
	} {
		p, err := tree.Find(path)
		var labels []string
		for _, l := range p.Labels {
			labels = append(labels, string(l))
		}
		if err != nil || strings.Join(labels, " ") != want || !slices.Equal(tree.Sets()[p.Set], p.Labels) {
			t.Errorf("%s: %+v, %v; want %s", path, p, err, want)
		}
	}
	if p, _ := tree.Find("meta.x"); !slices.Equal(p.Keys, []isogate.Label{"personal.key"}) || p.Path != "meta.x" {
		t.Errorf("the names below meta: %+v", p)
	}
	if p, _ := tree.Find("zz.y"); p.Declared || p.Path != "zz.y" {
		t.Errorf("an unknown place: %+v", p)
	}
	var pe *PathError
	if _, err := tree.Find("a..b"); !errors.As(err, &pe) {
		t.Errorf("a broken path: %v", err)
	}
}

// TestOrderOfLines: a contract means the same whatever the order of its lines.
func TestOrderOfLines(t *testing.T) {
	for seed := range uint64(200) {
		c := chanceOf(seed)
		specs := c.contract()
		src := c.spelled(c.value(6), false)
		r := rulesFor(compile(t, specs...), isogate.Token)
		want, _, werr := run(t, jsonFormat{}, src, r)
		c.Shuffle(len(specs), func(i, j int) { specs[i], specs[j] = specs[j], specs[i] })
		got, _, err := run(t, jsonFormat{}, src, rulesFor(compile(t, specs...), isogate.Token))
		if (err == nil) != (werr == nil) || string(got) != string(want) {
			t.Fatalf("seed %d: %s, %v; in another order %s, %v", seed, want, werr, got, err)
		}
	}
}

// TestManyNames has objects with more names than a list, a word of bits and a
// small table hold, known and unknown, and a duplicate at every place.
func TestManyNames(t *testing.T) {
	var specs []Spec
	for i := range 200 {
		specs = append(specs, line(t, fmt.Sprintf("o[].k%d", i), "allow.k"), line(t, fmt.Sprintf("o[].k%d.k%d", i, i), "allow.kk"))
	}
	specs = append(specs, line(t, "o[].**", "allow.rest"))
	r := rulesFor(compile(t, specs...), isogate.Token)
	doc := func(n, dup int, key string) []byte {
		var b strings.Builder
		b.WriteString(`{"o":[{"`)
		for i := range n {
			fmt.Fprintf(&b, `%s%c":{"%s%d":{"deeper%d":1}},"`, key, rune(i)+0x4e00, key, i, i)
			fmt.Fprintf(&b, `%s%d":%d,"`, key, i, i)
		}
		if dup >= 0 {
			fmt.Fprintf(&b, `%s%d":0},{"`, key, dup)
		}
		b.WriteString(`kz":1},{},{"k70":1,"k199":{"k199":1},"k3":{"k100":{}}}]}`)
		return []byte(b.String())
	}
	for _, key := range []string{"k", "unknown"} {
		if _, _, err := run(t, jsonFormat{}, doc(190, -1, key), r, 1, 1000); err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{1, 10, 64, 65, 190} {
			for _, dup := range []int{0, n / 2, n - 1} {
				if _, _, err := run(t, jsonFormat{}, doc(n, dup, key), r); err == nil || !strings.Contains(err.Error(), "same name") {
					t.Fatalf("%d names, %s%d twice: %v", n, key, dup, err)
				}
			}
		}
	}
}

// TestWalkersForgetWhatIsLarge: a pooled walker keeps no more than it needs.
func TestWalkersForgetWhatIsLarge(t *testing.T) {
	tree := compile(t, line(t, "**", "token.x"), line(t, "raw", "token.r", parses))
	r := rulesFor(tree, isogate.Token)
	r.Limits = Limits{Value: 8 << 20, Members: 1 << 20, Body: 64 << 20}
	var names strings.Builder
	for i := range 150_000 {
		fmt.Fprintf(&names, `"%d":1,`, i)
	}
	w := tree.walker()
	tree.pool.Put(w)
	for _, doc := range []string{`["` + strings.Repeat(`\n`, 2<<20) + `"]`, `{` + names.String() + `"x":1}`, `{"raw":"[` + strings.Repeat(` \"\",`, 1<<19) + `1]"}`} {
		w := &walker{tree: tree, succ: make([]uint32, tree.slots), frames: make([]frame, 1)}
		w.begin(r, fakeReplacer{}, (&Tally{}).part(&tree.ledger, r.Verdicts))
		w.buf, w.last = []byte(doc), true
		if err := w.value(); err != nil {
			t.Fatal(err)
		}
		w.release()
		held := cap(w.text) + cap(w.made) + cap(w.result) + cap(w.stored) + 8*cap(w.seen.hashes)
		if w.inner != nil {
			held += cap(w.inner.text) + cap(w.inner.result)
		}
		if held > 5*keepable {
			t.Errorf("%d bytes are held after a body of %d", held, len(doc))
		}
	}
}

func TestTypes(t *testing.T) {
	if all := TypesOf(); all != 0 || !all.Has(isogate.Null) || !all.Has(isogate.String) {
		t.Error("no kinds are not every kind")
	}
	if s := TypesOf(isogate.String, isogate.Null); !s.Has(isogate.String) || !s.Has(isogate.Null) || s.Has(isogate.Number) || s.Has(isogate.Bool) {
		t.Errorf("%b", s)
	}
}

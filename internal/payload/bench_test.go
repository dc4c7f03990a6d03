package payload

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/isogate/isogate"
)

// quickReplacer costs about what a keyed replacement does (50 to 200 ns), without its keys.
type quickReplacer struct{ seed maphash.Seed }

func (r *quickReplacer) Replace(dst []byte, _ *isogate.Verdict, val isogate.Value) ([]byte, isogate.Kind, isogate.Action, error) {
	if val.Kind != isogate.String {
		return append(dst, redacted[val.Kind]...), val.Kind, isogate.Redact, nil
	}
	return r.token(append(dst, "tok_"...), val.Text), isogate.String, isogate.Token, nil
}

func (r *quickReplacer) ReplaceName(dst []byte, _ *isogate.Verdict, name []byte) ([]byte, isogate.Action, error) {
	return r.token(append(dst, "k_"...), name), isogate.Hash, nil
}

func (r *quickReplacer) token(dst, text []byte) []byte {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for range 3 {
		h := maphash.Bytes(r.seed, text)
		for range 10 {
			dst = append(dst, letters[h&63])
			h >>= 6
		}
	}
	return dst
}

// shapes of documents, each with the contract that labels all of it: about 200
// paths, of which about a tenth of the strings are replaced.
type shapeOf struct {
	name  string
	doc   []byte
	specs []Spec
}

// generator writes a document and its contract side by side.
type generator struct {
	t     testing.TB
	rnd   *rand.Rand
	doc   bytes.Buffer
	specs map[string]isogate.Label
	order []string
}

func (g *generator) label(path string, l isogate.Label) {
	if _, ok := g.specs[path]; !ok {
		g.specs[path] = l
		g.order = append(g.order, path)
	}
}

func (g *generator) compiled() []Spec {
	var specs []Spec
	for _, path := range g.order {
		specs = append(specs, line(g.t, path, g.specs[path]))
	}
	return specs
}

var fieldNames = strings.Fields(`id url name email created_at updated_at time_zone phone locale locale_id organization_id role verified external_id
alias active shared last_login_at signature details notes role_type custom_role_id moderator ticket_restriction only_private_comments suspended
default_group_id report_csv subject description priority status recipient requester_id submitter_id assignee_id group_id has_incidents is_public due_at
type raw_subject brand_id allow_channelback allow_attachments via_channel`)

// record writes an object of n fields whose names begin with fieldNames.
func (g *generator) record(path string, n, sub int, sep string) {
	g.doc.WriteByte('{')
	for i := range n {
		if i > 0 {
			g.doc.WriteByte(',')
		}
		name := fieldNames[i%len(fieldNames)]
		if i >= len(fieldNames) {
			name += fmt.Sprint("_", i/len(fieldNames))
		}
		at := name
		if path != "" {
			at = path + "." + name
		}
		fmt.Fprintf(&g.doc, `%s"%s":%s`, sep, name, strings.Repeat(" ", min(len(sep), 1)))
		switch k := i % 10; {
		case sub > 0 && k == 9:
			g.record(at, 14, sub-1, sep+strings.Repeat(" ", min(len(sep), 2)))
			continue
		case k == 3:
			fmt.Fprintf(&g.doc, `"person%d@customer-%d.example.com"`, g.rnd.IntN(1e6), g.rnd.IntN(1000))
			g.label(at, "token.email")
			continue
		case k == 0 || k == 8:
			fmt.Fprint(&g.doc, 377922500000+g.rnd.Int64N(1e9))
		case k == 5:
			fmt.Fprint(&g.doc, g.rnd.IntN(2) == 0)
		case k == 7:
			g.doc.WriteString("null")
		default:
			g.doc.WriteString(`"` + g.words(1+g.rnd.IntN(5)) + `"`)
		}
		g.label(at, isogate.Label(fmt.Sprint("allow.a", i%7)))
	}
	g.doc.WriteString(sep + "}")
}

func (g *generator) words(n int) string {
	words := strings.Fields("open pending solved incident customer Tokyo renewal dashboard timeout invoice 2026-11-23T10:00:00Z agent critical request en-US production")
	var out []string
	for range n {
		out = append(out, words[g.rnd.IntN(len(words))])
	}
	return strings.Join(out, " ")
}

// list writes an array of documents of n bytes or more at the path items.
func (g *generator) list(n int, item func()) {
	g.doc.WriteString(`{"items":[`)
	for i := 0; g.doc.Len() < n; i++ {
		if i > 0 {
			g.doc.WriteByte(',')
		}
		item()
	}
	g.doc.WriteString(`]}`)
}

func documents(t testing.TB) []shapeOf {
	const size = 256 << 10
	makers := []struct {
		name string
		make func(g *generator)
	}{
		{"compact", func(g *generator) { g.list(size, func() { g.record("items[]", 80, 2, "") }) }},
		{"small", func(g *generator) { g.record("", 30, 0, "") }},
		{"pretty", func(g *generator) { g.list(size, func() { g.record("items[]", 80, 2, "\n      ") }) }},
		{"numbers", func(g *generator) {
			g.label("items[].points[][]", "allow.points")
			g.label("items[].name", "token.name")
			g.list(size, func() {
				g.doc.WriteString(`{"name":"series","points":[`)
				for i := range 100 {
					if i > 0 {
						g.doc.WriteByte(',')
					}
					fmt.Fprintf(&g.doc, "[%d,%.4f,%.2e]", 1700000000+g.rnd.IntN(1e8), g.rnd.Float64()*1000, g.rnd.Float64())
				}
				g.doc.WriteString(`]}`)
			})
		}},
		{"strings", func(g *generator) {
			for i := range 200 {
				l := isogate.Label("allow.text")
				if i%10 == 0 {
					l = "token.text"
				}
				g.label(fmt.Sprintf("items[].field_%d", i), l)
			}
			g.list(size, func() {
				g.doc.WriteByte('{')
				for i := range 200 {
					if i > 0 {
						g.doc.WriteByte(',')
					}
					fmt.Fprintf(&g.doc, `"field_%d":"%s"`, i, g.words(12+g.rnd.IntN(20)))
				}
				g.doc.WriteByte('}')
			})
		}},
		{"deep", func(g *generator) {
			g.label("items[].**.leaf[]", "allow.leaf")
			g.label("items[].**.email", "token.email")
			g.label("items[].**.next", "allow.next")
			g.list(size, func() {
				for range 60 {
					g.doc.WriteString(`{"leaf":[1,2,"x"],"email":"ada@example.com","next":`)
				}
				g.doc.WriteString("1" + strings.Repeat("}", 60))
			})
		}},
	}
	var out []shapeOf
	for _, m := range makers {
		g := &generator{t: t, rnd: rand.New(rand.NewPCG(1, 2)), specs: map[string]isogate.Label{}}
		m.make(g)
		out = append(out, shapeOf{m.name, g.doc.Bytes(), g.compiled()})
	}
	return out
}

func BenchmarkRewrite(b *testing.B) {
	rep := &quickReplacer{maphash.MakeSeed()}
	for _, d := range documents(b) {
		r := rulesFor(compile(b, d.specs...), isogate.Token)
		b.Run(d.name, func(b *testing.B) { benchmark(b, d.doc, r, rep) })
	}
}

func benchmark(b *testing.B, doc []byte, r *Rules, rep Replacer) {
	f := format(b, "json")
	var tally Tally
	dst := make([]byte, 0, 2*len(doc))
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		tally.Reset()
		if _, err := f.Rewrite(dst, doc, r, rep, &tally); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStream(b *testing.B) {
	rep := &quickReplacer{maphash.MakeSeed()}
	for _, d := range documents(b)[:1] {
		r := rulesFor(compile(b, d.specs...), isogate.Token)
		b.Run(d.name, func(b *testing.B) {
			f := format(b, "json")
			var tally Tally
			src := bytes.NewReader(d.doc)
			b.SetBytes(int64(len(d.doc)))
			b.ReportAllocs()
			for b.Loop() {
				tally.Reset()
				src.Reset(d.doc)
				if err := f.Stream(io.Discard, src, r, rep, &tally); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkLabels walks one document by contracts with ever more paths beside its own.
func BenchmarkLabels(b *testing.B) {
	rep := &quickReplacer{maphash.MakeSeed()}
	d := documents(b)[0]
	for _, times := range []int{1, 10, 100} {
		specs := moreLabels(d, times)
		r := rulesFor(compile(b, specs...), isogate.Token)
		b.Run(fmt.Sprint(len(specs)), func(b *testing.B) { benchmark(b, d.doc, r, rep) })
	}
}

// moreLabels returns the contract of a document with times as many paths, the
// further ones in the same objects.
func moreLabels(d shapeOf, times int) []Spec {
	specs := slices.Clone(d.specs)
	for i := len(specs); i < times*len(d.specs); i++ {
		at := d.specs[i%len(d.specs)].Path.segs
		segs := append(slices.Clone(at[:len(at)-1]), segment{kind: segKey, key: fmt.Sprint("extra_", i)})
		specs = append(specs, Spec{Path: Path{segs: segs}, Label: isogate.Label(fmt.Sprint("allow.x", i%50))})
	}
	return specs
}

func BenchmarkCompile(b *testing.B) {
	d := documents(b)[0]
	for b.Loop() {
		if _, err := Compile(d.specs); err != nil {
			b.Fatal(err)
		}
	}
}

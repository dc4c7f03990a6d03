package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"reflect"
	"runtime"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/isogate/isogate/internal/payload"
)

const walkerPaths = 200

// walkerQuestion: a whole document in, the same document with about a tenth of
// its strings replaced out.
func walkerQuestion(ctx context.Context, b *bench, r *report) error {
	docs, err := readDocs()
	if err != nil {
		return err
	}
	rep, err := newObfuscator()
	if err != nil {
		return err
	}
	// One core for everybody: a collector that runs beside on another would be work that the figure does not show.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))

	r.say("## JSON walker")
	r.say("A document is read, every value's place is looked up in a contract of at least %d paths that names every place of it, "+
		"about a tenth of its strings are replaced by tokens, and it is written again. All contestants use the same contract and the same obfuscator, and before "+
		"measuring each output is decoded and compared with the others'. Isogate's walker alone also refuses invalid UTF-8, lone surrogates "+
		"and overlong numbers, counts what it did for the journal, and judges members' names. encoding/json, sonic (both ways) and fastjson accept duplicate "+
		"names; encoding/json's `any` turns numbers into float64. One core (GOMAXPROCS=1).", walkerPaths)

	names := []string{"isogate", "encoding/json any", "jsontext tokens", "sonic AST", "sonic preorder", "fastjson"}
	var ratios, rates, facts [][]string
	var toAny, toBest []float64
	var most float64
	for _, d := range docs {
		c, err := infer(d.body, walkerPaths)
		if err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
		rules, err := c.rules()
		if err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
		rewriters := []rewriter{
			isogatePeer(rules, rep), anyPeer(c.root, rep), jsontextPeer(c.root, rep),
			sonicASTPeer(c.root, rep), sonicPreorderPeer(c.root, rep), fastjsonPeer(c.root, rep),
		}
		if err := agree(d.body, names, rewriters); err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
		var cs []contestant
		for i, rw := range rewriters {
			cs = append(cs, contestant{names[i], func(ctx context.Context, t time.Duration) (float64, error) {
				runtime.GC() // what the one before left behind is not this one's to clear away
				n, err := repeat(ctx, t, func() error { _, err := rw(d.body); return err })
				return n * float64(len(d.body)) / 1e6, err
			}})
		}
		ss, err := b.race(ctx, "walker "+d.name, b.turn*2/5, cs)
		if err != nil {
			return err
		}
		us, lib := ss[0].median(), best(ss, "isogate", "encoding/json any")
		toAny, toBest = append(toAny, us/find(ss, "encoding/json any").median()), append(toBest, us/lib.median())
		ratios = append(ratios, []string{d.name, times(toAny[len(toAny)-1]), fmt.Sprintf("%s (%s)", times(toBest[len(toBest)-1]), lib.name), times(us / find(ss, "jsontext tokens").median())})
		row := []string{d.name}
		for _, s := range ss {
			row = append(row, number(s))
		}
		rates = append(rates, row)
		allocs := testing.AllocsPerRun(20, func() {
			if _, err := rewriters[0](d.body); err != nil {
				panic(err) // it has just worked
			}
		})
		most = max(most, allocs)
		facts = append(facts, []string{d.name, plain(float64(len(d.body)) / 1e3), fmt.Sprint(len(c.specs)), fmt.Sprintf("%.1f %%", 100*c.share), fmt.Sprintf("%.0f", allocs)})
	}
	ratios = append(ratios, []string{"**geometric mean**", "**" + times(mean(toAny)) + "**", "**" + times(mean(toBest)) + "**", ""})
	r.table([]string{"isogate ×", "encoding/json any", "the best library", "jsontext, the strictest"}, ratios)
	r.table(append([]string{"MB/s"}, names...), rates)
	r.table([]string{"document", "kB", "paths", "strings replaced", "isogate's allocations"}, facts)
	r.budget("× encoding/json any, geometric mean", "≥ 15", mean(toAny) >= 15, times(mean(toAny)))
	r.budget("× the best library, geometric mean", "≥ 2", mean(toBest) >= 2, times(mean(toBest)))
	r.budget("allocations per document after the first", "0", most == 0, fmt.Sprintf("%.0f", most))
	return streaming(ctx, r, docs, rep)
}

func mean(fs []float64) float64 {
	var logs float64
	for _, f := range fs {
		logs += math.Log(f)
	}
	return math.Exp(logs / float64(len(fs)))
}

// agree runs every contestant once and compares what they wrote.
func agree(src []byte, names []string, rs []rewriter) error {
	var first any
	for i, rw := range rs {
		out, err := rw(src)
		if err != nil {
			return fmt.Errorf("%s: %w", names[i], err)
		}
		var v any
		if err := json.Unmarshal(out, &v); err != nil {
			return fmt.Errorf("%s wrote what is no JSON: %w", names[i], err)
		}
		if i == 0 {
			first = v
		} else if !reflect.DeepEqual(first, v) {
			return fmt.Errorf("%s and %s wrote different documents; first at %s", names[0], names[i], differ(first, v, "$"))
		}
	}
	return nil
}

// differ is the path of a place where two documents differ.
func differ(a, b any, path string) string {
	switch x := a.(type) {
	case map[string]any:
		y, _ := b.(map[string]any)
		for k := range x {
			if !reflect.DeepEqual(x[k], y[k]) {
				return differ(x[k], y[k], path+"."+k)
			}
		}
	case []any:
		y, _ := b.([]any)
		for i := range min(len(x), len(y)) {
			if !reflect.DeepEqual(x[i], y[i]) {
				return differ(x[i], y[i], path+"[]")
			}
		}
	}
	return fmt.Sprintf("%s: %.80v and %.80v", path, a, b)
}

// streaming rewrites a body of 256 MB that is never held.
func streaming(ctx context.Context, r *report, docs []payloadDoc, rep payload.Replacer) error {
	var doc payloadDoc
	for _, d := range docs {
		if d.name == "twitter_status, compact" {
			doc = d
		}
	}
	body := append(append([]byte{'['}, doc.body...), ']')
	c, err := infer(body, walkerPaths)
	if err != nil {
		return err
	}
	rules, err := c.rules()
	if err != nil {
		return err
	}
	format, _ := payload.FormatNamed("json")
	endless := &repeated{ctx: ctx, doc: doc.body, n: 256_000_000 / len(doc.body)}
	var tally payload.Tally
	runtime.GC()
	base := heap() + 2*uint64(len(doc.body)) // the reader's own copies
	begin := time.Now()
	if err := format.Stream(io.Discard, endless, rules, rep, &tally); err != nil {
		return err
	}
	took := time.Since(begin)
	r.budget("memory when streaming", "bounded by the largest value", endless.peak < base+(4<<20), fmt.Sprintf("+%.1f MiB", float64(max(endless.peak, base)-base)/(1<<20)))
	r.say("Streamed, never held: an array of %d such documents (`%s`), %.0f MB, at %.0f MB/s; the heap grew by at most %.1f MiB.",
		endless.sent, doc.name, float64(endless.bytes)/1e6, float64(endless.bytes)/1e6/took.Seconds(), float64(max(endless.peak, base)-base)/(1<<20))
	return nil
}

// repeated reads as an array of n times the same document, in reads of at most 64 KiB.
type repeated struct {
	ctx   context.Context //nolint:containedctx // it lives as long as one call of Stream
	doc   []byte
	n     int
	sent  int
	bytes int64
	rest  []byte
	next  []byte // a comma and doc
	end   bool
	peak  uint64
}

func (d *repeated) Read(p []byte) (int, error) {
	if err := d.ctx.Err(); err != nil {
		return 0, err
	}
	if len(d.rest) == 0 {
		switch {
		case d.end:
			return 0, io.EOF
		case d.sent == d.n:
			d.rest, d.end = []byte("]"), true
		case d.sent == 0:
			d.rest = bytes.Join([][]byte{[]byte("["), d.doc}, nil)
			d.next = bytes.Join([][]byte{[]byte(","), d.doc}, nil)
			d.sent++
		default:
			d.rest = d.next
			d.sent++
		}
		d.peak = max(d.peak, heap())
	}
	n := copy(p[:min(len(p), 64<<10)], d.rest)
	d.rest = d.rest[n:]
	d.bytes += int64(n)
	return n, nil
}

func heap() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// contractQuestion: does a contract of ten or a hundred times as many paths cost more?
func contractQuestion(ctx context.Context, b *bench, r *report) error {
	docs, err := readDocs()
	if err != nil {
		return err
	}
	rep, err := newObfuscator()
	if err != nil {
		return err
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var cs []contestant
	body := docs[1].body
	for _, paths := range []int{200, 2_000, 20_000} {
		c, err := infer(body, paths)
		if err != nil {
			return err
		}
		rules, err := c.rules()
		if err != nil {
			return err
		}
		rw := isogatePeer(rules, rep)
		cs = append(cs, contestant{fmt.Sprint(paths), func(ctx context.Context, t time.Duration) (float64, error) {
			runtime.GC()
			n, err := repeat(ctx, t, func() error { _, err := rw(body); return err })
			return n * float64(len(body)) / 1e6, err
		}})
	}
	ss, err := b.race(ctx, "contract", b.turn, cs)
	if err != nil {
		return err
	}
	r.say("## Larger contracts")
	r.say("The walker on `%s`, whose %.0f kB stay the same, with contracts of ten and a hundred times as many paths.", docs[1].name, float64(len(body))/1e3)
	var rows [][]string
	for _, s := range ss {
		rows = append(rows, []string{s.name, times(s.median() / ss[0].median()), number(s)})
	}
	r.table([]string{"paths", "× 200 paths", "MB/s"}, rows)
	ten := ss[1].median() / ss[0].median()
	r.budget("ten times the paths", "< 10 % slower", ten > 0.9, times(ten))
	return nil
}

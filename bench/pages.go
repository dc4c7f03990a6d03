package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/obfuscate"
	"github.com/isogate/isogate/internal/seal"
)

// pageText is how much of a page there is beside what was replaced in it.
const pageText = 64 << 10

// aPage makes a page of an agent's desk of about so many bytes, with n values in it,
// each as of writes it; it may be a seal, a token, or anything.
func aPage(html bool, n int, of func(i int) string) string {
	var b strings.Builder
	rows := 300
	if html {
		b.WriteString("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Desk</title></head>\n<body><main><ul>\n")
	} else {
		b.WriteString(`{"tickets":[`)
		rows = 335
	}
	done := 0
	for i := range rows {
		var values strings.Builder
		for ; done < n*(i+1)/rows; done++ {
			if html {
				fmt.Fprintf(&values, "<dt>Asked by</dt><dd>%s</dd>", of(done))
			} else {
				fmt.Fprintf(&values, `,"by%d":"%s"`, done%7, of(done))
			}
		}
		if html {
			fmt.Fprintf(&b, "<li class=\"ticket\" id=\"t%d\"><h2>HELP-%d</h2><dl><dt>Status</dt><dd>waiting for support</dd><dt>Priority</dt><dd>medium</dd>"+
				"<dt>Created</dt><dd>2026-11-%02dT09:%02d:00Z</dd>%s<dt>Queue</dt><dd>first line</dd></dl></li>\n", i, 4000+i, 1+i%28, i%60, values.String())
			continue
		}
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"id":"%d","key":"HELP-%d","status":"waiting-for-support","priority":"medium","created":"2026-11-%02dT09:%02d:00Z","updated":"2026-11-%02dT17:%02d:00Z",`+
			`"queue":"first-line","watchers":%d,"open":%v%s}`, 100200+i, 4000+i, 1+i%28, i%60, 1+i%28, i*7%60, i%17, i%3 != 0, values.String())
	}
	if html {
		b.WriteString("</ul></main></body></html>\n")
	} else {
		b.WriteString("]}")
	}
	return b.String()
}

// sealedPages: pages with seals shown, beside pages with as many tokens.
func sealedPages(ctx context.Context, b *bench, r *report, s *seal.Sealer, o *opening) error {
	rep, err := newObfuscator()
	if err != nil {
		return err
	}
	value := isogate.Value{Kind: isogate.String, Text: []byte(sealText)}
	p := s.Passage()
	sealed := func(int) string {
		text, _ := p.Append(nil, replaced, value)
		return string(text)
	}
	token := func(int) string { return tokenOf(rep, value) }
	none := func(int) string { return sealText }

	type kind struct {
		name   string
		esc    obfuscate.Escape
		seals  string // the page with seals
		tokens string // with tokens; "" of what is compared with nothing
		n      int    // how many of each are in it
	}
	var kinds []kind
	for _, n := range []int{0, 50, 500} {
		for _, html := range []bool{false, true} {
			k := kind{name: fmt.Sprintf("JSON, %d", n), esc: obfuscate.JSON, n: n}
			if html {
				k.name, k.esc = fmt.Sprintf("HTML, %d", n), obfuscate.HTML
			}
			k.seals, k.tokens = aPage(html, n, sealed), aPage(html, n, token)
			kinds = append(kinds, k)
		}
	}
	larger := float64(len(kinds[4].seals)) / float64(len(kinds[0].seals))
	one := sealed(0)
	for _, h := range []struct{ name, unit string }{
		{"beginnings of seals", "igs1d "},
		{"the same without a gap", "igs1d"},
		{"beginnings of beginnings", "igsigigs"},
		{"seals that are cut", one[:len(one)-1] + " "},
		{"seals that are changed", one[:len(one)-2] + "aa "},
	} {
		kinds = append(kinds, kind{name: h.name, esc: obfuscate.HTML, seals: strings.Repeat(h.unit, pageText/len(h.unit))})
	}
	var pages, hostile [][]string
	for _, k := range kinds {
		want := aPage(k.esc == obfuscate.HTML, k.n, none)
		src, tokens := []byte(k.seals), []byte(k.tokens)
		dst := make([]byte, 0, 2*len(src))
		out, counts := seal.Reveal(dst, src, k.esc, o, false)
		if counts.Revealed != k.n || k.tokens != "" && string(out) != want {
			return fmt.Errorf("page %s: %d of %d seals were shown", k.name, counts.Revealed, k.n)
		}
		if out, n := rep.Restore(dst, tokens, k.esc); n != k.n || k.tokens != "" && string(out) != want {
			return fmt.Errorf("page %s: %d of %d tokens were restored", k.name, n, k.n)
		}
		var from bytes.Reader
		jobs := []job{
			{"seals", func() error {
				_, n := seal.Reveal(dst, src, k.esc, o, false)
				return unless(n.Revealed == k.n)
			}},
			{"seals, streamed", func() error {
				from.Reset(src)
				rr := seal.RevealReader(&from, k.esc, o, false)
				_, err := io.Copy(io.Discard, onlyReader{rr})
				_ = rr.Close()
				return err
			}},
			{"tokens", func() error {
				_, n := rep.Restore(dst, tokens, k.esc)
				return unless(n == k.n)
			}},
		}
		if k.tokens == "" {
			jobs = jobs[:2]
		}
		ss, err := b.raceJobs(ctx, "page "+k.name, 1, jobs)
		if err != nil {
			return err
		}
		// From pages a second to megabytes.
		for i, size := range []int{len(src), len(src), len(tokens)}[:len(ss)] {
			for at := range ss[i].figures {
				ss[i].figures[at] *= float64(size) / 1e6
			}
		}
		if k.tokens == "" {
			hostile = append(hostile, []string{k.name, number(ss[0]), number(ss[1])})
			continue
		}
		pages = append(pages, []string{k.name, fmt.Sprintf("%.0f kB / %.0f kB", float64(len(src))/1e3, float64(len(tokens))/1e3),
			times(ss[0].median() / ss[2].median()), number(ss[0]), number(ss[1]), number(ss[2])})
	}
	r.say("Pages of about 64 KiB of text with values in them, each in place of a seal, or of a token in the same page beside it. They are searched, and the values are put in their places, escaped; each is compared with the page that should come out before measuring. "+
		"Megabytes are of the page as it came; with 500 seals it is %.1f times as large as without. One core; where it is streamed, its buffers are made for each page, and wiped.", larger)
	r.table([]string{"MB/s of pages with so many values", "with seals / tokens", "seals × tokens", "seals", "seals, streamed", "tokens"}, pages)
	r.say("What somebody would send who wants the search to be slow; there is no seal in it that opens.")
	r.table([]string{"MB/s of 64 KiB of", "whole", "streamed"}, hostile)
	return nil
}

// onlyReader hides WriteTo and the like.
type onlyReader struct{ io.Reader }

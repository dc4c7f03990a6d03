package main

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/isogate/isogate"
	"github.com/isogate/isogate/internal/payload"
)

// document to rewrite: real ones that other modules ship as their test data.
type payloadDoc struct {
	name string
	body []byte
}

// sources of documents: module, file in it, and whether its white space is taken out.
var docSources = []struct {
	name, module, file string
	compact            bool
}{
	{"twitter_status", "github.com/bytedance/sonic", "testdata/twitter_status.json.gz", false},
	{"twitter_status, compact", "github.com/bytedance/sonic", "testdata/twitter_status.json.gz", true},
	{"twitterescaped", "github.com/bytedance/sonic", "testdata/twitterescaped.json", false},
	{"citm_catalog", "github.com/bytedance/sonic", "testdata/citm_catalog.json.gz", false},
	{"synthea_fhir", "github.com/bytedance/sonic", "testdata/synthea_fhir.json.gz", false},
	{"synthea_fhir, compact", "github.com/bytedance/sonic", "testdata/synthea_fhir.json.gz", true},
	{"golang_source", "github.com/bytedance/sonic", "testdata/golang_source.json.gz", false},
	{"canada_geometry", "github.com/bytedance/sonic", "testdata/canada_geometry.json.gz", false},
	{"string_unicode", "github.com/bytedance/sonic", "testdata/string_unicode.json.gz", false},
	{"string_escaped", "github.com/bytedance/sonic", "testdata/string_escaped.json.gz", false},
	{"forum", "github.com/valyala/fastjson", "testdata/large.json", false},
}

func readDocs() ([]payloadDoc, error) {
	dirs := map[string]string{}
	var docs []payloadDoc
	for _, s := range docSources {
		if dirs[s.module] == "" {
			out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", s.module).Output()
			if err != nil {
				return nil, fmt.Errorf("where is %s: %w", s.module, err)
			}
			dirs[s.module] = strings.TrimSpace(string(out))
		}
		body, err := os.ReadFile(filepath.Join(dirs[s.module], s.file))
		if err != nil {
			return nil, err
		}
		if strings.HasSuffix(s.file, ".gz") {
			z, err := gzip.NewReader(bytes.NewReader(body))
			if err != nil {
				return nil, err
			}
			if body, err = io.ReadAll(z); err != nil {
				return nil, err
			}
		}
		if s.compact {
			var b bytes.Buffer
			if err := json.Compact(&b, body); err != nil {
				return nil, err
			}
			body = b.Bytes()
		}
		docs = append(docs, payloadDoc{s.name, bytes.TrimSpace(body)})
	}
	return docs, nil
}

// place is a contract as the peers need it: a trie by name. A nil place is one
// that the contract does not name.
type place struct {
	members map[string]*place
	elem    *place
	verdict *isogate.Verdict // of the scalars here

	path    string
	strings int // how many strings of the document stand here
	scalars int
}

func (p *place) member(name string) *place {
	if p == nil {
		return nil
	}
	return p.members[name]
}

func (p *place) element() *place {
	if p == nil {
		return nil
	}
	return p.elem
}

// The labels of the contract, and what becomes of each.
const (
	passed   isogate.Label = "system.metadata"
	replaced isogate.Label = "personal.contact.email"
)

var (
	passVerdict    = isogate.Verdict{Action: isogate.Allow, Label: passed}
	replaceVerdict = isogate.Verdict{Action: isogate.Token, Label: replaced}
	unknownVerdict = isogate.Verdict{Action: isogate.Token, Label: isogate.Unclassified}
)

// contract is what was inferred of a document.
type contract struct {
	root  *place
	specs []payload.Spec
	share float64 // of the document's strings that are replaced
}

// infer makes a contract that names every place of a document, labels places
// that hold about a tenth of its strings to be replaced, and has at least so
// many paths; those beyond the document's own name members that it lacks, as a
// contract for many shapes does.
func infer(body []byte, paths int) (*contract, error) {
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		return nil, err
	}
	c := &contract{root: &place{}}
	c.root.see(v, "")
	var leaves []*place
	c.root.leaves(&leaves)
	total := 0
	for _, l := range leaves {
		total += l.strings
	}
	// In an order that has nothing to do with the document's.
	order := slices.Clone(leaves)
	slices.SortFunc(order, func(a, b *place) int { return cmp.Compare(sum(a.path), sum(b.path)) })
	taken := 0
	for _, l := range order {
		l.verdict = &passVerdict
		if l.strings > 0 && l.strings == l.scalars && (taken+l.strings)*10 <= total+5 {
			l.verdict = &replaceVerdict
			taken += l.strings
		}
	}
	if total > 0 {
		c.share = float64(taken) / float64(total)
	}
	prefix := ""
	pad := c.root
	if c.root.elem != nil {
		prefix, pad = "[]", c.root.elem
	}
	for i := len(leaves); i < paths; i++ {
		name := fmt.Sprintf("x_%c%c_extension_%d", 'a'+i%26, 'a'+i/26%26, i)
		l := &place{path: join(prefix, name), verdict: &passVerdict}
		if pad.members == nil {
			pad.members = map[string]*place{}
		}
		pad.members[name] = l
		leaves = append(leaves, l)
	}
	for _, l := range leaves {
		p, err := payload.ParsePath(l.path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", l.path, err)
		}
		c.specs = append(c.specs, payload.Spec{Path: p, Label: l.verdict.Label})
	}
	return c, nil
}

func sum(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s))
	return h.Sum64()
}

func (p *place) see(v any, path string) {
	p.path = path
	switch v := v.(type) {
	case map[string]any:
		if p.members == nil && len(v) > 0 {
			p.members = map[string]*place{}
		}
		for name, e := range v {
			m := p.members[name]
			if m == nil {
				m = &place{}
				p.members[name] = m
			}
			m.see(e, join(path, name))
		}
	case []any:
		if p.elem == nil && len(v) > 0 {
			p.elem = &place{}
		}
		for _, e := range v {
			p.elem.see(e, path+"[]")
		}
	case string:
		p.strings++
		p.scalars++
	default:
		p.scalars++
	}
}

// leaves are the places with scalars, and those that are always empty: their
// names must be in the contract too, or they do not leave as they are.
func (p *place) leaves(out *[]*place) {
	if p.scalars > 0 || p.members == nil && p.elem == nil {
		*out = append(*out, p)
	}
	names := make([]string, 0, len(p.members))
	for n := range p.members {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		p.members[n].leaves(out)
	}
	if p.elem != nil {
		p.elem.leaves(out)
	}
}

func join(path, name string) string {
	q := "'" + strings.ReplaceAll(name, "'", "''") + "'"
	if path == "" {
		return q
	}
	return path + "." + q
}

// rules compiles the contract for our walker.
func (c *contract) rules() (*payload.Rules, error) {
	tree, err := payload.Compile(c.specs)
	if err != nil {
		return nil, err
	}
	r := &payload.Rules{Tree: tree, Limits: payload.Limits{Body: 1 << 30}}
	for _, set := range tree.Sets() {
		v := unknownVerdict
		switch set[0] {
		case passed:
			v = passVerdict
		case replaced:
			v = replaceVerdict
		}
		r.Verdicts = append(r.Verdicts, v)
	}
	return r, nil
}
